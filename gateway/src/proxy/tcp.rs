//! TCP routers: which of them, or of the HTTP routers, a TLS connection belongs to.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::BytesMut;

use super::connection::Socket;
use super::context::{Connection, Shared};
use crate::snapshot::EntryPointRoutes;
use crate::snapshot::stream::TcpRoute;
use crate::snapshot::tls::TlsPolicy;

/// What a ClientHello asks for.
#[derive(Debug)]
pub(super) struct Hello {
    /// Server name: lower case, no trailing dot.
    pub(super) sni: Option<Box<str>>,
    /// Application protocols, in the client's order.
    pub(super) alpn: Vec<Box<[u8]>>,
}

/// Who serves a TLS connection.
#[derive(Debug)]
pub(super) enum Claim {
    /// HTTP routers, under this policy.
    Http(Arc<TlsPolicy>),
    /// A TCP router that forwards TLS untouched.
    #[expect(dead_code, reason = "made once TCP routers are asked")]
    Passthrough(Arc<TcpRoute>),
    /// A TCP router that ends TLS here under this policy.
    #[expect(dead_code, reason = "made once TCP routers are asked")]
    Terminate(Arc<TcpRoute>, Arc<TlsPolicy>),
}

/// Who serves a TLS connection.
pub(super) fn claim(routes: &EntryPointRoutes, hello: &Hello, _client: Option<IpAddr>) -> Claim {
    let names = &routes.server_names;
    let policy = hello.sni.as_deref().and_then(|name| names.find(name));
    Claim::Http(Arc::clone(policy.unwrap_or_else(|| names.default_policy())))
}

/// Forwards a connection to its end.
#[expect(clippy::unused_async, reason = "forwarding waits for both sides")]
pub(super) async fn forward(
    _shared: &Arc<Shared>,
    _connection: &Arc<Connection>,
    socket: Socket,
    _ahead: BytesMut,
    _route: Arc<TcpRoute>,
) {
    drop(socket);
}
