//! THE BORDER. Configuration flows in here from one writer and is read here by every request.
//!
//! A [`Snapshot`] is never changed after it is built. A request loads it once ([`SnapshotReader::load`]) and
//! keeps it to its end, so that no request sees a mixture.

pub mod compile;
pub mod files;
pub mod route_table;
pub mod service;
pub mod stream;
pub mod tls;
pub mod trust;

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use config::Problem;
use config::name::{EntryPointName, ProviderName, RouterName, ServiceName};
use config::routing::{InternalService, Observability, Routing};
use security::acme::{Challenges, OrderState};
use security::certificate_store::CertificateStore;
use tokio::sync::watch;

use self::files::Files;
use self::route_table::{RequestView, RouteTable};
use self::service::Service;
use self::stream::{Streams, TcpTable, UdpRoute};
use self::tls::{Policies, ServerNames, TlsPolicy};
use crate::middleware::Middleware;

/// Everything a request needs to know. Cheap to clone: the next one shares with it what did not change.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Counts publications, from 1; 0 before the first.
    pub version: u64,
    /// Compiled routes.
    pub routes: Arc<Routes>,
    /// Certificates by server name.
    pub certificates: Arc<CertificateStore>,
    /// What is answered to an ACME server that wants to see proof.
    pub challenges: Arc<Challenges>,
    /// How it stands with the certificates of the certificate resolvers.
    pub orders: Arc<[OrderState]>,
    /// Files that the routing configuration names, as they were read.
    pub files: Arc<Files>,
    /// What they were compiled from, for the read API.
    pub routing: Arc<Routing>,
    /// All current problems, in order.
    pub problems: Arc<[Problem]>,
    /// What each provider last said.
    pub providers: Arc<[ProviderState]>,
    /// The newest state of some input (a file, all that a provider said) could not be used at all: what is
    /// published of it is its last good one.
    pub input_refused: bool,
}

/// What a provider last said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderState {
    /// `docker`, `file`, `table`.
    pub name: ProviderName,
    /// It has sent at least one update.
    pub answered: bool,
    /// Its source does not answer now, and why.
    pub stale: Option<String>,
}

/// Position of an entry point in `Install::entry_points`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EntryPointId(pub usize);

/// Routes of all entry points.
#[derive(Debug, Default)]
pub struct Routes {
    /// By [`EntryPointId`].
    pub entry_points: Vec<EntryPointRoutes>,
    /// TLS policies: an unchanged one is carried over to the next snapshot.
    pub policies: Policies,
    /// Every route by name: an unchanged one is carried over to the next snapshot.
    pub(crate) by_name: HashMap<RouterName, Arc<Route>, foldhash::fast::RandomState>,
    /// Every service by name: an unchanged one is carried over to the next snapshot.
    pub(crate) services: HashMap<ServiceName, Arc<Service>, foldhash::fast::RandomState>,
    /// TCP and UDP by name.
    pub(crate) streams: Streams,
}

/// Routes of one entry point. TLS and plain connections have tables of their own, as in Traefik.
#[derive(Debug)]
pub struct EntryPointRoutes {
    /// Its name.
    pub name: EntryPointName,
    /// For plain connections.
    pub plain: Arc<RouteTable>,
    /// For TLS connections.
    pub tls: Arc<RouteTable>,
    /// TCP routers.
    pub tcp: Arc<TcpTable>,
    /// The UDP router in force.
    pub udp: Option<Arc<UdpRoute>>,
    /// Policies of the server names of its HTTPS routers.
    pub server_names: Arc<ServerNames>,
}

/// One router, compiled.
#[derive(Debug)]
pub struct Route {
    /// Its qualified name.
    pub name: RouterName,
    /// The rule as written.
    pub rule: Arc<str>,
    /// Its priority.
    pub priority: i64,
    /// Its container does not run: asked last, answers 503 with this reason.
    pub down: Option<Arc<str>>,
    /// In order.
    pub middlewares: Box<[Middleware]>,
    /// Where a request goes.
    pub destination: Destination,
    /// Value of `X-Traefik-Router` for routers with the default rule: a request that already carries it has
    /// been here and is refused (400).
    pub recursion_guard: Option<http::HeaderValue>,
    /// Serves TLS connections, under this policy; none: plain ones.
    pub tls: Option<Arc<TlsPolicy>>,
    /// What is recorded.
    pub observability: Observability,
}

/// Where a request goes.
#[derive(Debug, Clone)]
pub enum Destination {
    /// Servers.
    Service(Arc<Service>),
    /// One of ours.
    Internal(InternalService),
    /// 503 with this reason.
    Unavailable(Arc<str>),
}

impl Routes {
    /// The router that serves this request, if any.
    pub fn find(
        &self,
        entry_point: EntryPointId,
        tls: bool,
        request: &RequestView<'_>,
    ) -> Option<&Arc<Route>> {
        let routes = self.entry_points.get(entry_point.0)?;
        if tls { routes.tls.find(request) } else { routes.plain.find(request) }
    }
}

/// Publishes snapshots. There is one, and it cannot be cloned.
#[derive(Debug)]
pub struct SnapshotWriter {
    current: Arc<ArcSwap<Snapshot>>,
    version: watch::Sender<u64>,
}

/// Reads the current snapshot. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SnapshotReader {
    current: Arc<ArcSwap<Snapshot>>,
    version: watch::Receiver<u64>,
}

/// A writer and its readers, holding `first`.
pub fn border(first: Snapshot) -> (SnapshotWriter, SnapshotReader) {
    let (version, versions) = watch::channel(first.version);
    let current = Arc::new(ArcSwap::from_pointee(first));
    (SnapshotWriter { current: Arc::clone(&current), version }, SnapshotReader { current, version: versions })
}

impl SnapshotWriter {
    /// Makes `next` what every later request sees.
    pub fn publish(&mut self, next: Arc<Snapshot>) {
        let version = next.version;
        self.current.store(next);
        self.version.send_replace(version);
    }

    /// What is published now.
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }
}

/// Reads the current snapshot for as long as somebody else keeps it.
#[derive(Debug, Clone)]
pub struct WeakSnapshotReader(Weak<ArcSwap<Snapshot>>);

impl WeakSnapshotReader {
    /// The current snapshot; none once the gateway is gone.
    pub fn load(&self) -> Option<Arc<Snapshot>> {
        Some(self.0.upgrade()?.load_full())
    }
}

impl SnapshotReader {
    /// The snapshot for one request (or one API answer), to be kept to its end.
    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// A handle for what the snapshot itself may come to hold.
    pub fn downgrade(&self) -> WeakSnapshotReader {
        WeakSnapshotReader(Arc::downgrade(&self.current))
    }

    /// Waits for a snapshot that satisfies `condition` and returns it; `None` if no more will come. Not for the
    /// hot path.
    pub async fn wait_for(&self, mut condition: impl FnMut(&Snapshot) -> bool) -> Option<Arc<Snapshot>> {
        let mut version = self.version.clone();
        loop {
            version.mark_unchanged();
            let snapshot = self.load();
            if condition(&snapshot) {
                return Some(snapshot);
            }
            version.changed().await.ok()?;
        }
    }
}

impl Snapshot {
    /// Before anything is known: no routes, no problems.
    pub fn empty() -> Self {
        Self {
            version: 0,
            routes: Arc::default(),
            certificates: Arc::default(),
            challenges: Arc::default(),
            orders: Arc::default(),
            files: Arc::default(),
            routing: Arc::default(),
            problems: Arc::default(),
            providers: Arc::default(),
            input_refused: false,
        }
    }
}
