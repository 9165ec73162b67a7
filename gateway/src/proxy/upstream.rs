//! Servers of HTTP services: what is prepared once for each, and how a connection to it is made.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use config::routing::{Scheme, Server};
use http::HeaderValue;
use pingora::connectors::L4Connect;
use pingora::protocols::Digest;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy, PeerOptions};
use pingora::{Error, ErrorType};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::resolve::{Named, Resolver};
use super::upstream_tls::{ConfigError, SWITCHING_GROUP, Tls};
use crate::rejection::Rejection;
use crate::snapshot::service::Upstream;

/// TLS handshake, beyond the TCP connect.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence of a server, before its answer and within it: Pingora has one limit for both, and cutting an
/// answer short is worse than waiting for its first byte.
const READ_TIMEOUT: Duration = Duration::from_secs(120);
/// Limits to the head of an answer from here on are not worth cutting answers for that pause.
const DEFAULT_ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Longest time without progress of a request on its way to a server.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Concurrent requests on one HTTP/2 connection to a server.
const MAX_H2_STREAMS: usize = 100;
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
    way: Arc<Way>,
    address: Address,
}

/// How a server is reached, wherever it is.
#[derive(Debug)]
struct Way {
    options: PeerOptions,
    /// None: plain text.
    tls: Option<Tls>,
    /// To the head of an answer, where a connection carries one request at a time and has a socket to end.
    answer_limit: Option<Duration>,
}

#[derive(Debug)]
enum Address {
    Literal(Box<HttpPeer>),
    Named(Arc<Named>),
    /// It cannot be asked, and why.
    Unusable(&'static str),
}

impl Prepared {
    pub(super) fn new(upstream: &Upstream) -> Self {
        let server = &upstream.server;
        let host = host_value(server);
        let (way, unusable) = match Way::new(upstream) {
            Ok(way) => (way, host.is_none().then_some("server_host")),
            Err(error) => {
                tracing::error!(server = &*server.url, %error, "no connection to this server is possible");
                (Way { options: options(upstream), tls: None, answer_limit: None }, Some("tls_settings"))
            }
        };
        let way = Arc::new(way);
        let address = match (unusable, server.host.parse::<IpAddr>()) {
            (Some(reason), _) => Address::Unusable(reason),
            (None, Ok(address)) => {
                Address::Literal(Box::new(way.peer(SocketAddr::new(address, server.port))))
            }
            (None, Err(_)) => Address::Named(Named::new(&server.host, server.port)),
        };
        Self { host: host.unwrap_or_else(|| HeaderValue::from_static("")), way, address }
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
            Address::Named(named) => {
                let address = Box::pin(named.get(resolver, now)).await;
                Box::new(self.way.peer(address.ok_or(Rejection::BadGateway("server_name_not_resolved"))?))
            }
            Address::Unusable(reason) => return Err(Rejection::BadGateway(reason)),
        };
        match exchange {
            Exchange::Ordinary => {}
            Exchange::Stream => peer.options.read_timeout = None,
            Exchange::Switch { patient } => {
                peer.options.read_timeout = None;
                // Only HTTP/1.1 can switch.
                peer.options.set_http_version(1, 1);
                peer.group_key = self.way.tls.as_ref().map_or(SWITCHING_GROUP, Tls::switching_group);
                if patient {
                    peer.options.custom_l4 = Some(match &self.way.tls {
                        Some(Tls::Own(connect)) => Arc::new(connect.patient()),
                        Some(Tls::Pingora(_)) | None => Arc::new(PatientConnect),
                    });
                }
            }
        }
        Ok(peer)
    }

    /// Longest time from the end of a request to the head of its answer, where [`super::answer_clock`] can keep it.
    pub(super) fn answer_limit(&self, exchange: Exchange) -> Option<Duration> {
        self.way.answer_limit.filter(|_| exchange == Exchange::Ordinary)
    }

    /// Whether the server at the other end is the one that is trusted. Asked for every request: Pingora keeps a new
    /// HTTP/2 connection even where its first request was not let through.
    pub(super) fn check(&self, connection: Option<&Digest>) -> Result<(), &'static str> {
        self.way.tls.as_ref().map_or(Ok(()), |tls| tls.check(connection))
    }

    /// The address in use could not be reached: the next attempt takes another, where the name has one.
    pub(super) fn unreachable(&self) {
        match &self.address {
            Address::Named(named) => named.unreachable(),
            Address::Literal(_) | Address::Unusable(_) => {}
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

impl Way {
    fn new(upstream: &Upstream) -> Result<Self, ConfigError> {
        let mut options = options(upstream);
        let tls = match upstream.server.scheme {
            Scheme::Http => None,
            Scheme::H2c => {
                options.set_http_version(2, 2);
                None
            }
            Scheme::Https => {
                let tls = Tls::new(upstream)?;
                tls.adjust(&mut options, upstream.reach.transport.disable_http2);
                Some(tls)
            }
        };
        let limit = upstream.reach.transport.response_header_timeout;
        let one_at_a_time = match (&tls, upstream.server.scheme) {
            (None, scheme) => scheme == Scheme::Http,
            (Some(Tls::Pingora(_)), _) => upstream.reach.transport.disable_http2,
            (Some(Tls::Own(_)), _) => false,
        };
        if !one_at_a_time && limit.is_some_and(|limit| limit < DEFAULT_ANSWER_LIMIT) {
            // No other request may lose its connection for it, so that the limit is Pingora's, for every silence.
            options.read_timeout = limit;
        }
        Ok(Self { options, tls, answer_limit: limit.filter(|_| one_at_a_time) })
    }

    fn peer(&self, address: SocketAddr) -> HttpPeer {
        let mut peer = match &self.tls {
            None | Some(Tls::Own(_)) => HttpPeer::new(address, false, String::new()),
            Some(Tls::Pingora(tls)) => {
                let mut peer = HttpPeer::new(address, true, tls.name.clone());
                peer.client_cert_key.clone_from(&tls.certificate);
                peer
            }
        };
        peer.group_key = self.tls.as_ref().map_or(0, Tls::group);
        peer.options = self.options.clone();
        peer
    }
}

/// What a transport says, but for TLS.
fn options(upstream: &Upstream) -> PeerOptions {
    let transport = &upstream.reach.transport;
    let mut options = PeerOptions::new();
    // 0 is no limit but the system's own.
    let dial = Some(transport.dial_timeout).filter(|limit| !limit.is_zero());
    let is_tls = upstream.is_tls();
    options.connection_timeout = dial;
    // Bounds the connect too where the connector is our own, which `connection_timeout` does not.
    options.total_connection_timeout = dial.map(|dial| if is_tls { dial + HANDSHAKE_TIMEOUT } else { dial });
    options.read_timeout = Some(READ_TIMEOUT);
    options.write_timeout = Some(WRITE_TIMEOUT);
    options.idle_timeout = match transport.max_idle {
        Some(0) => Some(Duration::ZERO),
        Some(_) | None => transport.idle_timeout,
    };
    options.h2_ping_interval = transport.ping_interval;
    options.max_h2_streams = MAX_H2_STREAMS;
    // The identity stage has taken out what belongs to the client's hop, before middlewares add to it.
    options.http_upstream_request_policy = HttpUpstreamRequestPolicy::preserve();
    options
}

/// Connects with [`PatientSocket`].
#[derive(Debug)]
struct PatientConnect;

#[async_trait]
impl L4Connect for PatientConnect {
    async fn connect(&self, address: &PeerAddress) -> pingora::Result<Stream> {
        Ok(patient(connect_tcp(address).await?))
    }
}

/// Connects over TCP, within what the peer allows in all.
pub(super) async fn connect_tcp(address: &PeerAddress) -> pingora::Result<TcpStream> {
    let Some(address) = address.as_inet() else {
        return Error::e_explain(ErrorType::ConnectError, "not an internet address");
    };
    TcpStream::connect(address).await.or_else(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
            _ => ErrorType::ConnectError,
        };
        Error::e_because(kind, "connect to server", error)
    })
}

/// A connection that may be switched to another protocol.
pub(super) fn patient<S: Transport>(stream: S) -> Stream {
    VirtualSocketStream::new(Box::new(PatientSocket { stream, waits: false, is_patient: true })).into()
}

/// A connection as it is.
pub(super) fn plain<S: Transport>(stream: S) -> Stream {
    VirtualSocketStream::new(Box::new(PatientSocket { stream, waits: false, is_patient: false })).into()
}

/// What a connection of our own is made of.
pub(super) trait Transport:
    AsyncRead + AsyncWrite + Unpin + Send + Sync + std::fmt::Debug + 'static
{
    fn set_nodelay(&self) -> std::io::Result<()>;
}

impl Transport for TcpStream {
    fn set_nodelay(&self) -> std::io::Result<()> {
        Self::set_nodelay(self, true)
    }
}

impl Transport for tokio_rustls::client::TlsStream<TcpStream> {
    fn set_nodelay(&self) -> std::io::Result<()> {
        self.get_ref().0.set_nodelay(true)
    }
}

/// A connection whose first read after each write, if it is patient, comes up empty once, and at once again.
///
/// Pingora's client half tears a switched connection down if it reads the server's 101 before it has handled the
/// request's (empty) body, which is then waiting in a channel (Pingora issue 946). Yielding once lets it.
#[derive(Debug)]
struct PatientSocket<S> {
    stream: S,
    waits: bool,
    is_patient: bool,
}

impl<S: Transport> AsyncRead for PatientSocket<S> {
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

impl<S: Transport> AsyncWrite for PatientSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.waits = self.is_patient;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: Transport> VirtualSocket for PatientSocket<S> {
    fn set_socket_option(&self, option: VirtualSockOpt) -> std::io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.stream.set_nodelay(),
            // Keep-alive probes are not asked for, and the enum may grow.
            _ => Ok(()),
        }
    }
}
