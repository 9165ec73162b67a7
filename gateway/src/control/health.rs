//! Active health checks of TCP servers: one task for each service that asks for them, for as long as it stays as it is.
//!
//! Servers start as up; the first check comes after one interval; the servers of a service are checked one after the
//! other. What is found lies at the server, where the hot path reads it.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use config::name::ServiceName;
use config::routing::stream::TcpHealthCheck;
use foldhash::fast::RandomState;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::snapshot::stream::{TcpService, TcpUpstream};
use crate::snapshot::{Snapshot, SnapshotReader};

/// Checks what each snapshot asks for, until there are no more.
pub(crate) async fn run(snapshots: SnapshotReader) {
    let mut checks = Checks::default();
    let mut seen = 0;
    while let Some(snapshot) = snapshots.wait_for(|snapshot| snapshot.version > seen).await {
        seen = snapshot.version;
        checks.follow(&snapshot);
    }
}

/// The services that are checked now. Dropped, they are checked no more.
#[derive(Default)]
struct Checks {
    tasks: JoinSet<()>,
    running: HashMap<ServiceName, (Arc<TcpService>, AbortHandle), RandomState>,
}

impl Checks {
    fn follow(&mut self, snapshot: &Snapshot) {
        let services = &snapshot.routes.streams.tcp_services;
        self.running.retain(|name, (service, task)| {
            let stays = services.get(name).is_some_and(|now| Arc::ptr_eq(now, service));
            if !stays {
                task.abort();
            }
            stays
        });
        // Those that were ended leave nothing behind.
        while self.tasks.try_join_next().is_some() {}
        for (name, service) in services {
            let check = service.servers().first().and_then(|server| server.group.health_check.clone());
            if let Some(check) = check
                && !self.running.contains_key(name)
            {
                let task = self.tasks.spawn(watch(Arc::clone(service), check));
                self.running.insert(name.clone(), (Arc::clone(service), task));
            }
        }
    }
}

/// Checks the servers of a service again and again: each after the interval that its state asks for.
async fn watch(service: Arc<TcpService>, check: TcpHealthCheck) {
    let start = Instant::now();
    let mut due: Vec<Instant> =
        service.servers().iter().map(|server| start + interval(&check, server)).collect();
    loop {
        let Some(next) = due.iter().min().copied() else { return };
        tokio::time::sleep_until(next).await;
        for (server, due) in service.servers().iter().zip(&mut due) {
            if *due > next {
                continue;
            }
            let found = probe(server, &check).await;
            let up = found.is_ok();
            if server.set_up(up) != up {
                match found {
                    Ok(()) => tracing::info!(
                        service = %service.name,
                        server = &*server.server.address,
                        "the server is up again"
                    ),
                    Err(error) => tracing::warn!(
                        service = %service.name,
                        server = &*server.server.address,
                        %error,
                        "the server is down"
                    ),
                }
            }
            *due = Instant::now() + interval(&check, server);
        }
    }
}

fn interval(check: &TcpHealthCheck, server: &TcpUpstream) -> std::time::Duration {
    if server.is_up() { check.interval } else { check.unhealthy_interval }
}

/// One check: connect, say what is to be said, hear what is to be heard.
async fn probe(server: &TcpUpstream, check: &TcpHealthCheck) -> io::Result<()> {
    let port = check.port.unwrap_or(server.server.port);
    let asked = async {
        let mut stream = TcpStream::connect((&*server.server.host, port)).await?;
        if !check.send.is_empty() {
            stream.write_all(&check.send).await?;
        }
        if !check.expect.is_empty() {
            let mut answer = vec![0; check.expect.len()];
            stream.read_exact(&mut answer).await?;
            if *answer != *check.expect {
                return Err(io::Error::other("it did not answer as expected"));
            }
        }
        Ok(())
    };
    match tokio::time::timeout(check.timeout, asked).await {
        Ok(asked) => asked,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

#[cfg(test)]
mod tests {
    use config::Origin;
    use config::routing::Routing;
    use config::routing::stream::{TcpServer, TcpService as Settings, TcpServiceKind};
    use std::time::Duration;
    use tokio::net::TcpListener;

    use super::*;
    use crate::snapshot::compile::{Parts, compile};
    use crate::test_support;

    async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(10), async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("{what}"));
    }

    #[tokio::test]
    async fn a_server_that_answers_wrong_or_not_is_down_until_it_answers_right() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = Arc::new(parking_lot::Mutex::new("+PONG\r\n"));
        let says = Arc::clone(&answer);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut question = [0; 6];
                if stream.read_exact(&mut question).await.is_ok() && question == *b"PING\r\n" {
                    let answer = *says.lock();
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }
        });
        let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let server = |port: u16| TcpServer {
            address: format!("127.0.0.1:{port}").into(),
            host: "127.0.0.1".into(),
            port,
            tls: false,
        };
        let kind = TcpServiceKind::Servers {
            servers: vec![server(port), server(dead)],
            health_check: Some(TcpHealthCheck {
                port: None,
                send: b"PING\r\n".as_slice().into(),
                expect: b"+PONG".as_slice().into(),
                interval: Duration::from_millis(20),
                unhealthy_interval: Duration::from_millis(10),
                timeout: Duration::from_secs(5),
            }),
            transport: Arc::default(),
        };
        let name = ServiceName::from("s@file");
        let mut routing = Routing::default();
        let settings = Settings { name: name.clone(), kind, down: None, origin: Origin::Gateway };
        routing.tcp.services.insert(name.clone(), settings);
        let install = test_support::install(&["web"], std::path::Path::new(""));
        let snapshot = compile(&install, Parts { routing, ..Parts::default() }, &Snapshot::empty());
        let service = Arc::clone(&snapshot.routes.streams.tcp_services[&name]);
        let mut checks = Checks::default();
        checks.follow(&snapshot);
        let state = |at: usize| service.servers()[at].is_up();
        assert!(state(0) && state(1), "servers start as up");
        eventually("the dead one is down", || !state(1)).await;
        assert!(state(0));
        *answer.lock() = "-LOADING\r\n";
        eventually("a wrong answer is no answer", || !state(0)).await;
        assert!(service.pick().is_none());
        *answer.lock() = "+PONG\r\n";
        eventually("it is back", || state(0)).await;
        assert_eq!(service.pick().unwrap().server.port, port);
        checks.follow(&snapshot);
        assert_eq!(checks.running.len(), 1);
        checks.follow(&Snapshot::empty());
        assert!(checks.running.is_empty());
    }
}
