//! The accept loop: one task an entry point, one task a connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;

use super::connection;
use super::context::{Connection, OpenConnection, Shared};
use super::entry_point::SocketFile;
use super::pingora::EntryPointApp;
use super::proxy_protocol;
use super::socket::Socket;

/// Pause after an error that will not go away at once: no file descriptors, no memory.
const BACK_OFF: Duration = Duration::from_millis(100);

/// A listening socket of this runtime.
#[derive(Debug)]
pub(super) enum Acceptor {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener, #[expect(dead_code, reason = "removes the file when dropped")] SocketFile),
}

impl Acceptor {
    async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Socket::Tcp(stream), Some(peer)))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Socket::Unix(stream), None))
            }
        }
    }
}

/// Accepts until the task is ended.
pub(super) async fn run(shared: Arc<Shared>, app: Arc<EntryPointApp>, acceptor: Acceptor) {
    let mut troubled = false;
    loop {
        match acceptor.accept().await {
            Ok((socket, peer)) => {
                troubled = false;
                spawn(&shared, &app, socket, peer);
            }
            Err(error) if ends_one_connection(&error) => {}
            Err(error) => {
                if !troubled {
                    tracing::warn!(entry_point = &*app.entry_point.name, %error, "cannot accept connections");
                    troubled = true;
                }
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

fn spawn(shared: &Arc<Shared>, app: &Arc<EntryPointApp>, socket: Socket, peer: Option<SocketAddr>) {
    let connection = Arc::new(Connection::new(shared, Arc::clone(&app.entry_point), peer));
    let open = OpenConnection::new(shared, &connection);
    if connection.entry_point.demands_proxy_protocol(connection.peer_address()) {
        proxy_protocol::spawn(shared, app, socket, connection, open);
    } else {
        connection::spawn(shared, app, socket, BytesMut::new(), connection, open);
    }
}

/// The client was gone before it was accepted.
fn ends_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
