//! The gateway in this process, with a provider that says what a test wants it to say: for behaviour that needs no
//! program, no file and no waiting for a watcher.

use std::net::SocketAddr;
use std::path::Path;

use async_trait::async_trait;
use config::install::load::{Disk, load};
use config::name::ProviderName;
use config::routing::file::parse_file;
use discovery::{Freshness, Provider, ProviderChannels, Update};
use gateway::app::{BoundAddress, Environment, Gateway, RunningGateway};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::client::Address;

/// The provider of a [`TestGateway`]: its routers are `name@test`.
const PROVIDER: &str = "test";

/// A gateway in this process. Stops on drop.
#[derive(Debug)]
pub struct TestGateway {
    running: RunningGateway,
    says: mpsc::Sender<Update>,
    // The last to go: the gateway's state lies in it.
    _folder: TempDir,
}

impl TestGateway {
    /// Starts it with these routes; `arguments` are further settings, as flags.
    pub async fn start(routes: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("hgt-").tempdir().expect("there is a temporary folder");
        let mut flags = vec![
            "--entryPoints.web.address=127.0.0.1:0".to_owned(),
            format!("--admin.address=unix:{}", folder.path().join("admin.sock").display()),
            format!("--stateDir={}", folder.path().join("state").display()),
            "--providers.providersThrottleDuration=0s".to_owned(),
        ];
        flags.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let loaded = load(&flags, [], &Disk).expect("a test's settings are valid");
        let (says, said) = mpsc::channel(16);
        says.send(update(routes)).await.expect("there is room for one");
        let environment = Environment {
            providers: vec![Box::new(Scripted { said })],
            worker_threads: 2,
            ..Environment::default()
        };
        let running = Gateway::start(loaded.install, loaded.problems, environment).expect("it can listen");
        assert!(running.ready().await, "it serves");
        Self { running, says, _folder: folder }
    }

    /// Entry point `web`.
    pub fn web(&self) -> SocketAddr {
        match self.running.address("web") {
            Some(BoundAddress::Tcp(address)) => *address,
            Some(BoundAddress::Unix(_) | BoundAddress::Udp(_)) | None => panic!("web listens on TCP"),
        }
    }

    /// Its admin listener.
    pub fn admin(&self) -> Address {
        match self.running.admin() {
            BoundAddress::Tcp(address) | BoundAddress::Udp(address) => Address::Tcp(*address),
            BoundAddress::Unix(path) => Address::Unix(path.clone()),
        }
    }

    /// The gateway itself.
    pub fn running(&self) -> &RunningGateway {
        &self.running
    }

    /// New routes in place of the old; returns once they are published.
    pub async fn say(&self, routes: &str) {
        let before = self.running.snapshot().load().version;
        self.says.send(update(routes)).await.expect("its provider listens");
        crate::eventually("the new routes are published", std::time::Duration::from_secs(10), || async {
            let now = self.running.snapshot().load().version;
            crate::wait::holds(now > before, now)
        })
        .await;
    }

    /// Ends it in good order; gives the number of connections that had to be cut.
    pub async fn shutdown(self) -> usize {
        self.running.shutdown().await
    }
}

fn update(routes: &str) -> Update {
    let read = parse_file(routes, Path::new("test.yml"), &|_| None).expect("a test's routes are valid");
    Update {
        provider: ProviderName::from(PROVIDER),
        routing: read.routing,
        problems: read.problems,
        freshness: Freshness::Current,
    }
}

/// Passes on what the test says.
struct Scripted {
    said: mpsc::Receiver<Update>,
}

#[async_trait]
impl Provider for Scripted {
    fn name(&self) -> ProviderName {
        ProviderName::from(PROVIDER)
    }

    async fn load(&mut self) -> Update {
        Update::empty(self.name())
    }

    async fn run(mut self: Box<Self>, mut channels: ProviderChannels) {
        loop {
            tokio::select! {
                update = self.said.recv() => {
                    let Some(update) = update else { return };
                    if channels.updates.send(update).await.is_err() {
                        return;
                    }
                },
                Some(acknowledge) = channels.reloads.recv() => {
                    // Nothing to read again: the last word stands.
                    let _ = acknowledge.send(());
                }
            }
        }
    }
}
