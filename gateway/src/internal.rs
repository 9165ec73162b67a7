//! Services of the gateway itself (`api@internal`, `ping@internal`, …) as the hot path sees them. The proxy asks,
//! the control plane answers; `app.rs` joins the two, which never import each other.

use std::net::IpAddr;

use bytes::Bytes;
use config::routing::InternalService;

use crate::snapshot::EntryPointId;
use crate::telemetry::TlsDetails;

/// A request to one of our own services. Bodies are not passed on: all of these only read.
#[derive(Debug)]
pub struct InternalRequest<'a> {
    /// Which service.
    pub service: InternalService,
    /// Head of the request, after middlewares.
    pub head: &'a http::request::Parts,
    /// Believed client address.
    pub client: IpAddr,
    /// TCP peer; none on a Unix socket.
    pub peer: Option<IpAddr>,
    /// Why that address was believed, in one sentence.
    pub client_reason: &'a str,
    /// Where it arrived.
    pub entry_point: EntryPointId,
    /// What was agreed on, where it is a TLS connection.
    pub tls: Option<TlsDetails<'a>>,
}

/// Answers for our own services.
#[async_trait::async_trait]
pub trait InternalServices: Send + Sync + std::fmt::Debug {
    /// The whole answer.
    async fn answer(&self, request: InternalRequest<'_>) -> http::Response<Bytes>;
}
