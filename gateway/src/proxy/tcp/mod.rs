//! TCP routers: which connections are theirs, and the way to a server.
//!
//! The order on one entry point is Traefik's: a server that speaks first is connected before anything is read, where
//! nothing else is served there; PostgreSQL's wish for TLS is granted; then the first byte tells TLS from plain text.
//! Plain connections belong to a TCP router before HTTP. A TLS connection belongs to the HTTPS routers that name its
//! host, then to TCP routers, then to HTTPS routers without a host, then to a TCP router for everything.

mod connect;
mod splice;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use config::rule::TcpConnection;
use security::client_ip::NO_ADDRESS;
use smallvec::SmallVec;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;

use self::connect::ConnectError;
use super::context::{Connection, OpenConnection, OpenStreamRecord, Shared};
use super::pingora::EntryPointApp;
use super::socket::Socket;
use super::tls;
use crate::snapshot::stream::{Denial, Passage, TcpRoute, TcpTls, TcpUpstream};
use crate::snapshot::tls::TlsPolicy;
use crate::snapshot::{EntryPointId, EntryPointRoutes, Routes};
use crate::telemetry::{StreamProtocol, StreamRecord, StreamResult};

/// Between keep-alive probes to a client, as in Traefik.
const CLIENT_KEEP_ALIVE: Duration = Duration::from_secs(180);
/// How long a client may take to receive one byte.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// PostgreSQL's wish for TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// What a ClientHello says of where its connection wants to go.
#[derive(Debug)]
pub(super) struct Hello {
    /// Server name, lower case, without trailing dot.
    pub(super) sni: Option<Box<str>>,
    /// Protocols that the client offers.
    pub(super) alpn: Vec<Box<[u8]>>,
}

/// Whose a TLS connection is.
#[derive(Debug)]
pub(super) enum Claim {
    /// HTTPS, under this policy.
    Http(Arc<TlsPolicy>),
    /// A TCP server's, as it is.
    Passthrough(Arc<TcpRoute>),
    /// A TCP server's, TLS ended here under this policy.
    Terminate(Arc<TcpRoute>, Arc<TlsPolicy>),
    /// Nobody's.
    Nobody,
}

/// Whose a TLS connection is.
pub(super) fn claim(routes: &EntryPointRoutes, hello: &Hello, connection: &Connection) -> Claim {
    let protocols: SmallVec<[&str; 4]> =
        hello.alpn.iter().filter_map(|protocol| std::str::from_utf8(protocol).ok()).collect();
    let server_name = hello.sni.as_deref().unwrap_or_default();
    let asked = TcpConnection {
        server_name,
        protocols: &protocols,
        client: connection.peer_address().unwrap_or(NO_ADDRESS),
    };
    if connection.postgres {
        // What follows is PostgreSQL and no HTTP.
        return routes.tcp.find_tls(&asked).map_or(Claim::Nobody, claim_of);
    }
    if let Some(policy) = routes.server_names.find(server_name) {
        return Claim::Http(Arc::clone(policy));
    }
    let default = || Claim::Http(Arc::clone(routes.server_names.default_policy()));
    match routes.tcp.find_tls(&asked) {
        Some(route) if route.rule.is_catch_all() && routes.tls.serves_any_host() => default(),
        Some(route) => claim_of(route),
        None => default(),
    }
}

fn claim_of(route: &Arc<TcpRoute>) -> Claim {
    match &route.tls {
        TcpTls::Passthrough => Claim::Passthrough(Arc::clone(route)),
        TcpTls::Terminate(policy) => Claim::Terminate(Arc::clone(route), Arc::clone(policy)),
        TcpTls::None => Claim::Nobody,
    }
}

/// What TCP routers want of the plain connections of an entry point.
#[derive(Debug)]
pub(super) struct Plan {
    routes: Arc<Routes>,
    entry_point: EntryPointId,
    client: IpAddr,
}

impl Plan {
    /// None where there is no TCP router, or where TLS was there already.
    pub(super) fn of(shared: &Shared, connection: &Connection) -> Option<Self> {
        if connection.tls.is_some() {
            return None;
        }
        let routes = Arc::clone(&shared.snapshot.load().routes);
        let entry_point = connection.entry_point.id;
        let client = connection.peer_address().unwrap_or(NO_ADDRESS);
        let table = &routes.entry_points.get(entry_point.0)?.tcp;
        let has_any = table.has_plain() || table.has_tls();
        has_any.then_some(Self { routes, entry_point, client })
    }

    fn routes(&self) -> &EntryPointRoutes {
        &self.routes.entry_points[self.entry_point.0]
    }

    /// The TCP router that a plain connection belongs to.
    pub(super) fn plain(&self) -> Option<Arc<TcpRoute>> {
        let asked = TcpConnection { server_name: "", protocols: &[], client: self.client };
        self.routes().tcp.find_plain(&asked).cloned()
    }

    /// The TCP router that a connection belongs to before its first byte, so that its server may speak first: where
    /// nothing on the entry point is TLS.
    pub(super) fn immediate(&self) -> Option<Arc<TcpRoute>> {
        let routes = self.routes();
        if routes.tcp.has_tls() || routes.tls.routes().len() > 0 { None } else { self.plain() }
    }

    /// Whether a client that asks for TLS in PostgreSQL's way is answered. Without a TCP router for TLS its wish is
    /// for the server.
    pub(super) fn answers_ssl_request(&self) -> bool {
        self.routes().tcp.has_tls()
    }
}

/// Grants PostgreSQL's wish for TLS, which stands at the head of `ahead`, and goes on as with any other handshake.
pub(super) async fn postgres(
    shared: &Arc<Shared>,
    app: &Arc<EntryPointApp>,
    mut socket: Socket,
    mut ahead: BytesMut,
    connection: &Connection,
    mut open: OpenConnection,
) {
    ahead.advance(SSL_REQUEST.len());
    if !ahead.is_empty() {
        // It waits for our answer. What came along could be anybody's, and would pass for what TLS protects.
        return;
    }
    let answered = tokio::time::timeout(ANSWER_LIMIT, async {
        socket.write_all(b"S").await?;
        socket.flush().await
    });
    if !answered.await.is_ok_and(|answered| answered.is_ok()) {
        return;
    }
    let connection = Arc::new(connection.with_postgres());
    open.replace(&connection);
    tls::spawn(shared, app, socket, ahead, connection, open);
}

/// What the first bytes of a connection say of PostgreSQL's wish for TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SslRequest {
    No,
    /// So far.
    Maybe,
    Yes,
}

/// Looks for PostgreSQL's wish for TLS.
pub(super) fn ssl_request(first: &[u8]) -> SslRequest {
    if first.starts_with(&SSL_REQUEST) {
        SslRequest::Yes
    } else if SSL_REQUEST.starts_with(first) {
        SslRequest::Maybe
    } else {
        SslRequest::No
    }
}

/// Serves a connection of a TCP router to its end. `ahead` was read from it already.
pub(super) async fn forward(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    socket: Socket,
    ahead: BytesMut,
    route: Arc<TcpRoute>,
) {
    let record = |result| {
        shared.recorder.stream(&StreamRecord {
            entry_point: connection.entry_point.id,
            protocol: StreamProtocol::Tcp,
            router: &route.name,
            result,
        });
    };
    let refuse = |result, reason: &str| {
        record(result);
        tracing::debug!(
            peer = ?connection.peer,
            entry_point = &*connection.entry_point.name,
            router = %route.name,
            reason,
            "connection closed"
        );
    };
    let passages = match admit(&route, connection.peer_address()) {
        Ok(passages) => passages,
        Err(Denial::NotAllowed) => {
            return refuse(StreamResult::Denied, "the client is not on the allow-list");
        }
        Err(Denial::TooMany) => return refuse(StreamResult::Limited, "the client has too many connections"),
    };
    let service = match (&route.down, &route.service) {
        (Some(reason), _) | (None, Err(reason)) => return refuse(StreamResult::Unavailable, reason),
        (None, Ok(service)) => service,
    };
    let opening = connect::Opening {
        client: connection.peer,
        local: socket.local_address(),
        ssl_request: connection.postgres && matches!(route.tls, TcpTls::Passthrough),
    };
    let mut tried: Vec<Arc<TcpUpstream>> = Vec::new();
    let mut next = service.pick();
    let (server, upstream) = loop {
        let Some(upstream) = next else {
            if tried.is_empty() {
                return refuse(StreamResult::Unavailable, &service.reason());
            }
            return refuse(StreamResult::Unreachable, "no server could be reached");
        };
        match Box::pin(connect::connect(shared, upstream, &opening)).await {
            Ok(server) => break (server, Arc::clone(upstream)),
            Err(ConnectError::Unreachable(error)) => {
                tracing::debug!(
                    service = %upstream.group.service,
                    server = &*upstream.server.address,
                    %error,
                    "cannot connect"
                );
            }
            // What was sent may have had its effect: no other server is asked.
            Err(ConnectError::Refused(reason)) => return refuse(StreamResult::Unreachable, &reason),
        }
        tried.push(Arc::clone(upstream));
        next = service.pick_other(&tried);
    };
    drop(tried);
    record(StreamResult::Served);
    keep_alive(&socket);
    let id = connection.entry_point.id;
    let open = OpenStreamRecord::new(shared, id, StreamProtocol::Tcp, &route.name);
    let busy = upstream.open_stream();
    let delay = upstream.group.transport.termination_delay;
    let traffic = splice::splice(socket, server, ahead, delay).await;
    drop((busy, open, passages));
    tracing::debug!(
        peer = ?connection.peer,
        entry_point = &*connection.entry_point.name,
        router = %route.name,
        service = %upstream.group.service,
        server = &*upstream.server.address,
        from_client = traffic.from_client,
        from_server = traffic.from_server,
        "connection ended"
    );
}

/// Asks the router's middlewares in order.
fn admit(route: &TcpRoute, client: Option<IpAddr>) -> Result<SmallVec<[Passage; 2]>, Denial> {
    route.guards.iter().map(|guard| guard.admit(client)).collect()
}

/// A client that is gone without a word is noticed, however long its connection may rest.
fn keep_alive(socket: &Socket) {
    match socket {
        Socket::Tcp(stream) => {
            // Best effort: the connection works without it.
            let _ = stream.set_nodelay(true);
            let probes = TcpKeepalive::new().with_time(CLIENT_KEEP_ALIVE).with_interval(CLIENT_KEEP_ALIVE);
            let _ = SockRef::from(stream).set_tcp_keepalive(&probes);
        }
        Socket::Tls(stream) => keep_alive(stream.get_ref().0),
        Socket::Unix(_) => {}
    }
}
