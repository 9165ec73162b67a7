//! The connection to a TCP server: dial, PROXY protocol, TLS.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use config::routing::stream::{ProxyVersion, TcpTransport};
use ppp::{v1, v2};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::SSL_REQUEST;
use crate::proxy::context::Shared;
use crate::proxy::resolve::ServerAddress;
use crate::proxy::upstream_tls;
use crate::snapshot::stream::TcpUpstream;

/// What a server is told before the client's first byte.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    /// The client, for the PROXY protocol.
    pub(super) client: Option<SocketAddr>,
    /// Where the client connected to.
    pub(super) local: Option<SocketAddr>,
    /// The client has asked for TLS in PostgreSQL's way and got our yes: the server is asked likewise.
    pub(super) ssl_request: bool,
}

/// Why there is no connection to a server.
#[derive(Debug)]
pub(super) enum ConnectError {
    /// Nothing was sent.
    Unreachable(io::Error),
    /// It was reached, and then it went wrong.
    Refused(Box<str>),
}

/// A connection to a server.
#[derive(Debug)]
pub(super) enum ServerSocket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Connects, within the transport's dial timeout.
pub(super) async fn connect(
    shared: &Arc<Shared>,
    upstream: &Arc<TcpUpstream>,
    opening: &Opening,
) -> Result<ServerSocket, ConnectError> {
    let transport = &upstream.group.transport;
    let deadline = Instant::now() + transport.dial_timeout;
    let address =
        upstream.slot.get_or_init(|| ServerAddress::new(&upstream.server.host, upstream.server.port));
    let mut stream = match tokio::time::timeout_at(deadline, dial(shared, address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            address.unreachable();
            return Err(ConnectError::Unreachable(error));
        }
        Err(_) => {
            address.unreachable();
            return Err(ConnectError::Unreachable(io::ErrorKind::TimedOut.into()));
        }
    };
    prepare(&stream, transport);
    let opened = tokio::time::timeout_at(deadline, open(&mut stream, transport, opening)).await;
    match opened {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(ConnectError::Refused(error.to_string().into())),
        Err(_) => return Err(ConnectError::Refused("the server did not answer in time".into())),
    }
    if !upstream.server.tls {
        return Ok(ServerSocket::Plain(stream));
    }
    match tokio::time::timeout_at(deadline, handshake(stream, upstream)).await {
        Ok(Ok(stream)) => Ok(ServerSocket::Tls(Box::new(stream))),
        Ok(Err(reason)) => Err(ConnectError::Refused(reason)),
        Err(_) => Err(ConnectError::Refused("the server's TLS handshake did not end in time".into())),
    }
}

async fn dial(shared: &Shared, address: &ServerAddress) -> io::Result<TcpStream> {
    let Some(address) = address.get(&shared.resolver).await else {
        return Err(io::Error::new(io::ErrorKind::NotFound, "its name cannot be resolved"));
    };
    TcpStream::connect(address).await
}

/// Best effort: the connection works without these.
fn prepare(stream: &TcpStream, transport: &TcpTransport) {
    let _ = stream.set_nodelay(true);
    if let Some(interval) = transport.keep_alive {
        let probes = TcpKeepalive::new().with_time(interval).with_interval(interval);
        let _ = SockRef::from(stream).set_tcp_keepalive(&probes);
    }
}

/// Says what comes before the client's first byte.
async fn open(stream: &mut TcpStream, transport: &TcpTransport, opening: &Opening) -> io::Result<()> {
    if let Some(version) = transport.proxy_protocol {
        stream.write_all(&proxy_header(version, opening.client, opening.local)?).await?;
    }
    if opening.ssl_request {
        stream.write_all(&SSL_REQUEST).await?;
        // One byte and no more: what came with it unprotected would not be the server's.
        if stream.read_u8().await? != b'S' {
            return Err(io::Error::other("the server does not speak TLS"));
        }
    }
    Ok(())
}

/// TLS with a server. The error is in words.
async fn handshake(stream: TcpStream, upstream: &TcpUpstream) -> Result<TlsStream<TcpStream>, Box<str>> {
    let group = &upstream.group;
    let config: &Result<_, Arc<str>> = group.slot.get_or_init(|| match &group.trust {
        Ok(trust) => upstream_tls::client_config(&group.transport.tls, trust, None, &[])
            .map_err(|error| Arc::from(chain(&error))),
        Err(reason) => Err(Arc::clone(reason)),
    });
    let config: &Arc<ClientConfig> = match config {
        Ok(config) => config,
        Err(reason) => return Err(Box::<str>::from(&**reason)),
    };
    let name = group.transport.tls.server_name.as_deref().unwrap_or(&upstream.server.host);
    let name = ServerName::try_from(name.to_owned())
        .map_err(|_| format!("`{name}` cannot be the name of a TLS server"))?;
    let connector = TlsConnector::from(Arc::clone(config));
    connector.connect(name, stream).await.map_err(|error| error.to_string().into())
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .fold(error.to_string(), |text, error| format!("{text}: {error}"))
}

/// The line or block that says who the client is.
pub(super) fn proxy_header(
    version: ProxyVersion,
    client: Option<SocketAddr>,
    local: Option<SocketAddr>,
) -> io::Result<Vec<u8>> {
    let ends = client.zip(local).map(|(client, local)| one_family(client, local));
    match (version, ends) {
        (ProxyVersion::V1, Some(ends)) => Ok(v1::Addresses::from(ends).to_string().into_bytes()),
        (ProxyVersion::V1, None) => Ok(b"PROXY UNKNOWN\r\n".to_vec()),
        (ProxyVersion::V2, Some(ends)) => {
            v2::Builder::with_addresses(v2::Version::Two | v2::Command::Proxy, v2::Protocol::Stream, ends)
                .build()
        }
        (ProxyVersion::V2, None) => {
            let family = v2::AddressFamily::Unspecified | v2::Protocol::Unspecified;
            v2::Builder::new(v2::Version::Two | v2::Command::Local, family).build()
        }
    }
}

/// Both ends in one family: IPv4 where both are, in whatever form.
fn one_family(client: SocketAddr, local: SocketAddr) -> (SocketAddr, SocketAddr) {
    match (client.ip().to_canonical(), local.ip().to_canonical()) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            (SocketAddr::from((one, client.port())), SocketAddr::from((other, local.port())))
        }
        (one, other) => {
            (SocketAddr::from((mapped(one), client.port())), SocketAddr::from((mapped(other), local.port())))
        }
    }
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

impl AsyncRead for ServerSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ServerSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}
