//! Servers: what is prepared once for each, and the address behind a name. Names are resolved off the hot path.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use config::routing::{Scheme, Server};
use http::HeaderValue;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use pingora::{Error, ErrorType};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::rejection::Rejection;

/// TCP connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// TCP connect and TLS handshake.
const TOTAL_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence of a server, before its answer and within it: Pingora has one limit for both, and cutting an
/// answer short is worse than waiting for its first byte.
const READ_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest time without progress of a request on its way to a server.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an unused connection to a server is kept.
const POOL_IDLE: Duration = Duration::from_secs(90);
/// Concurrent requests on one HTTP/2 connection to a server.
const MAX_H2_STREAMS: usize = 100;
/// Pool of connections that may be switched to another protocol.
const SWITCHING_GROUP: u64 = 1;
/// How long an address behind a name is used before it is looked up again.
const RESOLVED_FOR: Duration = Duration::from_secs(30);
/// How long a name that could not be looked up is not looked up again.
const FAILED_FOR: Duration = Duration::from_secs(1);
/// Longest wait for the first look-up of a name.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// What kind of exchange a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exchange {
    /// One answer, soon.
    Ordinary,
    /// An answer that may be silent for long: event streams, gRPC.
    Stream,
    /// A request to switch protocols.
    Switch {
        /// Use the connection type that works around Pingora's early teardown.
        patient: bool,
    },
}

/// What is prepared once for a server.
#[derive(Debug)]
pub(super) struct Prepared {
    /// `Host` where the client's is not passed.
    pub(super) host: HeaderValue,
    address: Address,
}

#[derive(Debug)]
enum Address {
    Literal(Box<HttpPeer>),
    Named(Arc<Named>),
    /// A host that no field value can carry.
    Unusable,
}

/// A server known by name.
#[derive(Debug)]
struct Named {
    host: Arc<str>,
    port: u16,
    scheme: Scheme,
    resolved: ArcSwapOption<Resolved>,
    /// Which of the addresses is in use; moves on when one cannot be reached.
    position: AtomicUsize,
    refreshing: AtomicBool,
    /// When it was last looked up in vain.
    failed: ArcSwapOption<Instant>,
}

#[derive(Debug)]
struct Resolved {
    addresses: Vec<SocketAddr>,
    since: Instant,
}

impl Prepared {
    pub(super) fn new(server: &Server) -> Self {
        let host = host_value(server);
        let address = match (&host, server.host.parse::<IpAddr>()) {
            (None, _) => Address::Unusable,
            (Some(_), Ok(address)) => Address::Literal(Box::new(peer(
                SocketAddr::new(address, server.port),
                server.scheme,
                &server.host,
            ))),
            (Some(_), Err(_)) => Address::Named(Arc::new(Named {
                host: Arc::clone(&server.host),
                port: server.port,
                scheme: server.scheme,
                resolved: ArcSwapOption::empty(),
                position: AtomicUsize::new(0),
                refreshing: AtomicBool::new(false),
                failed: ArcSwapOption::empty(),
            })),
        };
        Self { host: host.unwrap_or_else(|| HeaderValue::from_static("")), address }
    }

    /// How to connect for this exchange. Waits only where a name was never resolved before.
    pub(super) async fn peer(
        &self,
        resolver: &Resolver,
        exchange: Exchange,
        now: Instant,
    ) -> Result<Box<HttpPeer>, Rejection> {
        let mut peer = match &self.address {
            Address::Literal(peer) => peer.clone(),
            Address::Named(named) => Box::pin(named.peer(resolver, now)).await?,
            Address::Unusable => return Err(Rejection::BadGateway("server_host")),
        };
        match exchange {
            Exchange::Ordinary => {}
            Exchange::Stream => peer.options.read_timeout = None,
            Exchange::Switch { patient } => {
                peer.options.read_timeout = None;
                // Only HTTP/1.1 can switch.
                peer.options.set_http_version(1, 1);
                peer.group_key = SWITCHING_GROUP;
                if patient {
                    peer.options.custom_l4 = Some(Arc::new(PatientConnect));
                    // Bounds the connect, which `connection_timeout` does not for a connector of our own.
                    peer.options.total_connection_timeout = Some(CONNECT_TIMEOUT);
                }
            }
        }
        Ok(peer)
    }

    /// The address in use could not be reached: the next attempt takes another, where the name has one.
    pub(super) fn unreachable(&self) {
        match &self.address {
            Address::Named(named) => {
                named.position.fetch_add(1, Ordering::Relaxed);
            }
            Address::Literal(_) | Address::Unusable => {}
        }
    }
}

/// `host:port` of the server's URL, without the scheme's own port.
fn host_value(server: &Server) -> Option<HeaderValue> {
    let own_port = match server.scheme {
        Scheme::Http | Scheme::H2c => 80,
        Scheme::Https => 443,
    };
    let host = if server.host.contains(':') { format!("[{}]", server.host) } else { server.host.to_string() };
    let text = if server.port == own_port { host } else { format!("{host}:{}", server.port) };
    HeaderValue::try_from(text).ok()
}

fn peer(address: SocketAddr, scheme: Scheme, host: &str) -> HttpPeer {
    let tls = scheme == Scheme::Https;
    let mut peer = HttpPeer::new(address, tls, if tls { host.to_owned() } else { String::new() });
    let options = &mut peer.options;
    options.connection_timeout = Some(CONNECT_TIMEOUT);
    options.total_connection_timeout = Some(TOTAL_CONNECT_TIMEOUT);
    options.read_timeout = Some(READ_TIMEOUT);
    options.write_timeout = Some(WRITE_TIMEOUT);
    options.idle_timeout = Some(POOL_IDLE);
    options.max_h2_streams = MAX_H2_STREAMS;
    // The identity stage has taken out what belongs to the client's hop, before middlewares add to it.
    options.http_upstream_request_policy = HttpUpstreamRequestPolicy::preserve();
    match scheme {
        Scheme::Http => {}
        Scheme::Https => options.set_http_version(2, 1),
        Scheme::H2c => options.set_http_version(2, 2),
    }
    peer
}

impl Named {
    async fn peer(self: &Arc<Self>, resolver: &Resolver, now: Instant) -> Result<Box<HttpPeer>, Rejection> {
        let resolved = match self.resolved.load_full() {
            Some(resolved) => {
                if now.saturating_duration_since(resolved.since) > RESOLVED_FOR {
                    self.refresh(resolver);
                }
                resolved
            }
            None if self
                .failed
                .load()
                .as_ref()
                .is_some_and(|failed| now.duration_since(**failed) < FAILED_FOR) =>
            {
                return Err(Rejection::BadGateway("server_name_not_resolved"));
            }
            None => self.resolve(resolver).await.ok_or(Rejection::BadGateway("server_name_not_resolved"))?,
        };
        let position = self.position.load(Ordering::Relaxed) % resolved.addresses.len();
        Ok(Box::new(peer(resolved.addresses[position], self.scheme, &self.host)))
    }

    /// Looks the name up behind the request's back; the old addresses serve until then.
    fn refresh(self: &Arc<Self>, resolver: &Resolver) {
        if !self.refreshing.swap(true, Ordering::AcqRel) {
            let (named, resolver) = (Arc::clone(self), resolver.clone());
            tokio::spawn(async move {
                named.resolve(&resolver).await;
                named.refreshing.store(false, Ordering::Release);
            });
        }
    }

    async fn resolve(&self, resolver: &Resolver) -> Option<Arc<Resolved>> {
        let addresses = resolver.look_up(&self.host, self.port).await;
        if addresses.is_empty() {
            // Names that vanish for a moment keep their last addresses.
            self.failed.store(Some(Arc::new(Instant::now())));
            return None;
        }
        let resolved = Arc::new(Resolved { addresses, since: Instant::now() });
        self.resolved.store(Some(Arc::clone(&resolved)));
        Some(resolved)
    }
}

/// Looks names up with the system's resolver, in threads made for blocking.
#[derive(Debug, Clone, Default)]
pub(super) struct Resolver;

impl Resolver {
    /// All addresses, IPv4 first; none on any failure.
    pub(super) async fn look_up(&self, host: &str, port: u16) -> Vec<SocketAddr> {
        let found = tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((host, port))).await;
        let mut addresses: Vec<SocketAddr> = match found {
            Ok(Ok(addresses)) => addresses.collect(),
            Ok(Err(error)) => {
                tracing::debug!(host, %error, "cannot resolve");
                Vec::new()
            }
            Err(_) => Vec::new(),
        };
        addresses.sort_by_key(SocketAddr::is_ipv6);
        addresses
    }
}

/// Connects with [`PatientSocket`].
#[derive(Debug)]
struct PatientConnect;

#[async_trait]
impl L4Connect for PatientConnect {
    async fn connect(&self, address: &PeerAddress) -> pingora::Result<Stream> {
        let Some(address) = address.as_inet() else {
            return Error::e_explain(ErrorType::ConnectError, "not an internet address");
        };
        match TcpStream::connect(address).await {
            Ok(stream) => {
                let socket = PatientSocket { stream, waits: false };
                Ok(VirtualSocketStream::new(Box::new(socket)).into())
            }
            Err(error) => {
                let kind = match error.kind() {
                    std::io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
                    _ => ErrorType::ConnectError,
                };
                Error::e_because(kind, "connect to server", error)
            }
        }
    }
}

/// A connection whose first read after each write comes up empty once, and at once again.
///
/// Pingora's client half tears a switched connection down if it reads the server's 101 before it has handled the
/// request's (empty) body, which is then waiting in a channel (Pingora issue 946). Yielding once lets it.
#[derive(Debug)]
struct PatientSocket {
    stream: TcpStream,
    waits: bool,
}

impl AsyncRead for PatientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if std::mem::take(&mut self.waits) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for PatientSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.waits = true;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl VirtualSocket for PatientSocket {
    fn set_socket_option(&self, option: VirtualSockOpt) -> std::io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.stream.set_nodelay(true),
            // Keep-alive probes are not asked for, and the enum may grow.
            _ => Ok(()),
        }
    }
}
