//! Entry points as listening sockets: TCP on both families, on one, on one address, or a Unix socket.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::install::{EntryPoint, ListenAddress};
use config::name::EntryPointName;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::snapshot::EntryPointId;

/// Connections that may wait to be accepted. The kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// An entry point whose socket is bound and listens. Accepting starts with [`super::Proxy::serve`].
#[derive(Debug)]
pub struct Listener {
    pub(super) id: EntryPointId,
    pub(super) socket: ListeningSocket,
    name: EntryPointName,
}

/// A bound socket of either kind.
#[derive(Debug)]
pub(crate) enum ListeningSocket {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// Unix; the file is removed when the listener goes.
    Unix(std::os::unix::net::UnixListener, SocketFile),
    /// UDP, and how long a flow may be silent.
    Udp(std::net::UdpSocket, Duration),
}

/// The file of a Unix socket, removed on drop.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The entry point cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("entry point `{entry_point}`: listen on {address}")]
pub struct BindError {
    /// Its name.
    pub entry_point: EntryPointName,
    /// Where it was to listen, as written.
    pub address: String,
    /// Why it cannot.
    #[source]
    pub source: io::Error,
}

impl Listener {
    /// Binds and listens. Needs no runtime; may be called before privileges are dropped. `id` is the position of
    /// the entry point in `Install::entry_points`.
    pub fn bind(id: EntryPointId, entry_point: &EntryPoint) -> Result<Self, BindError> {
        let bound = match &entry_point.udp {
            None => listen(&entry_point.address, entry_point.reuse_port),
            Some(settings) => receive(&entry_point.address, entry_point.reuse_port)
                .map(|socket| ListeningSocket::Udp(socket, settings.timeout)),
        };
        match bound {
            Ok(socket) => Ok(Self { id, socket, name: entry_point.name.clone() }),
            Err(source) => Err(BindError {
                entry_point: entry_point.name.clone(),
                address: match &entry_point.address {
                    ListenAddress::AnyAddress { port } => format!(":{port}"),
                    ListenAddress::Address(address) => address.to_string(),
                    ListenAddress::Unix { path, .. } => format!("unix:{}", path.display()),
                },
                source,
            }),
        }
    }

    /// Which entry point this is.
    pub fn id(&self) -> EntryPointId {
        self.id
    }

    /// Its name.
    pub fn name(&self) -> &EntryPointName {
        &self.name
    }

    /// The address in use, with the port that the system chose for port 0; none on a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.socket {
            ListeningSocket::Tcp(socket) => socket.local_addr().ok(),
            ListeningSocket::Udp(socket, _) => socket.local_addr().ok(),
            ListeningSocket::Unix(..) => None,
        }
    }
}

/// Binds and listens.
pub(crate) fn listen(address: &ListenAddress, reuse_port: bool) -> io::Result<ListeningSocket> {
    match address {
        ListenAddress::AnyAddress { port } => {
            any_address(*port, |address, only_v6| tcp(address, only_v6, reuse_port)).map(ListeningSocket::Tcp)
        }
        ListenAddress::Address(address) => {
            tcp(*address, address.is_ipv6(), reuse_port).map(ListeningSocket::Tcp)
        }
        ListenAddress::Unix { path, mode } => unix(path, *mode),
    }
}

/// Binds for UDP.
fn receive(address: &ListenAddress, reuse_port: bool) -> io::Result<std::net::UdpSocket> {
    match address {
        ListenAddress::AnyAddress { port } => {
            any_address(*port, |address, only_v6| udp(address, only_v6, reuse_port))
        }
        ListenAddress::Address(address) => udp(*address, true, reuse_port),
        ListenAddress::Unix { .. } => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// IPv6 and IPv4 in one socket; IPv4 alone where the machine has no IPv6.
fn any_address<T>(port: u16, bind: impl Fn(SocketAddr, bool) -> io::Result<T>) -> io::Result<T> {
    match bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), false) {
        Err(error) if no_ipv6(&error) => bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), false),
        other => other,
    }
}

/// The machine has no IPv6, or it is switched off.
fn no_ipv6(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
        || error.raw_os_error() == Some(libc::EPROTONOSUPPORT)
}

fn tcp(address: SocketAddr, only_v6: bool, reuse_port: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn udp(address: SocketAddr, only_v6: bool, reuse_port: bool) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket.into())
}

fn unix(path: &Path, mode: u32) -> io::Result<ListeningSocket> {
    remove_stale_socket(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile(path.to_path_buf());
    // Before `listen`, so that nobody can connect under the mode that the process's umask gave it.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    Ok(ListeningSocket::Unix(socket.into(), file))
}

/// Removes the socket file of a process that is gone. A socket that still answers, or a file that is not a
/// socket, stays, and binding then fails.
fn remove_stale_socket(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if is_socket {
        match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}
