//! A listener whose address is known before that of the server behind it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A listener that carries bytes on to an address that is known later. Stops on drop.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Relay {
    /// On a free port of 127.0.0.1.
    pub async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// On this address.
    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("the address is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (target, targets) = watch::channel(None::<SocketAddr>);
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            while let Ok((mut incoming, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                let mut targets = targets.clone();
                tokio::spawn(async move {
                    let target = targets.wait_for(Option::is_some).await.ok().and_then(|target| *target);
                    if let Some(target) = target
                        && let Ok(mut outgoing) = TcpStream::connect(target).await
                    {
                        // Whoever ends first, or badly, is what the test is about.
                        let _ = tokio::io::copy_bidirectional(&mut incoming, &mut outgoing).await;
                    }
                });
            }
        });
        Self { address, target, connections, accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections go there from now on; those that were waiting do too.
    pub fn lead_to(&self, target: SocketAddr) {
        self.target.send_replace(Some(target));
    }

    /// How many it has accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
