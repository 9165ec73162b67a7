//! One record for every request, whatever its end: access log and metrics.

pub mod access_log;
pub mod logging;
pub mod metrics;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::snapshot::service::{Service, Upstream};
use crate::snapshot::{EntryPointId, Route};

/// Everything that is known of a request when it ends. Borrowed: nothing is copied unless a sink keeps it.
#[derive(Debug)]
pub struct AccessRecord<'a> {
    /// Where it arrived.
    pub entry_point: EntryPointId,
    /// Over TLS.
    pub tls: bool,
    /// TCP peer and port; none on a Unix socket.
    pub peer: Option<std::net::SocketAddr>,
    /// Believed client address.
    pub client: IpAddr,
    /// Head of the request as the client sent it after canonicalisation; none where no head could be read.
    pub request: Option<&'a http::request::Parts>,
    /// Host as sent, with its port.
    pub host: &'a str,
    /// Path and query as first received, after sanitising.
    pub target: &'a str,
    /// Bytes of request body read.
    pub request_body_bytes: u64,
    /// The router that served it.
    pub route: Option<&'a Arc<Route>>,
    /// The service that served it.
    pub service: Option<&'a Arc<Service>>,
    /// The server that served it.
    pub upstream: Option<&'a Arc<Upstream>>,
    /// Status of the server; 0 when we answered.
    pub origin_status: u16,
    /// Bytes of the server's body; 0 when we answered.
    pub origin_body_bytes: u64,
    /// Status the client got; 499 when it went away, 0 when nothing was answered.
    pub status: u16,
    /// Bytes of body the client got.
    pub response_body_bytes: u64,
    /// Header fields of the answer the client got, where one was sent.
    pub response_headers: Option<&'a http::HeaderMap>,
    /// Attempts beyond the first.
    pub retries: u32,
    /// Wall clock at its first byte.
    pub started: std::time::SystemTime,
    /// From the first byte of the head to the last byte of the answer.
    pub duration: Duration,
    /// Part of it that the server took.
    pub origin_duration: Duration,
    /// An upgraded connection (WebSocket).
    pub upgraded: bool,
    /// Why we answered in place of a server, or why the request ended early; empty for an ordinary one.
    pub reason: &'a str,
    /// Its identifier (`X-Request-Id`).
    pub request_id: &'a str,
}

/// Where the hot path leaves what it knows: once for every request, whatever its end, and once for each client
/// connection that opens or closes. Never blocks.
pub trait Recorder: Send + Sync + std::fmt::Debug {
    /// A request has ended.
    fn record(&self, record: &AccessRecord<'_>);
    /// A client connected.
    fn connection_opened(&self, entry_point: EntryPointId);
    /// Its connection is closed.
    fn connection_closed(&self, entry_point: EntryPointId);
}
