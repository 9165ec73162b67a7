//! THE BORDER. Configuration flows in here from one writer and is read here by every request.
//!
//! A [`Snapshot`] is never changed after it is built. A request loads it once ([`SnapshotReader::load`]) and
//! keeps it to its end, so that no request sees a mixture.

pub mod compile;
pub mod route_table;
pub mod service;

use std::sync::Arc;

use arc_swap::ArcSwap;
use config::Problem;
use config::name::{EntryPointName, ProviderName, RouterName};
use config::routing::{InternalService, Observability, Routing};

use self::route_table::{RequestView, RouteTable};
use self::service::Service;
use crate::middleware::Middleware;

/// Everything a request needs to know.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts publications, from 1; 0 before the first.
    pub version: u64,
    /// Compiled routes.
    pub routes: Arc<Routes>,
    /// What they were compiled from, for the read API.
    pub routing: Arc<Routing>,
    /// All current problems, in order.
    pub problems: Arc<[Problem]>,
    /// What each provider last said.
    pub providers: Arc<[ProviderState]>,
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
}

/// Routes of one entry point. TLS and plain connections have tables of their own, as in Traefik.
#[derive(Debug)]
pub struct EntryPointRoutes {
    /// Its name.
    pub name: EntryPointName,
    /// For plain connections.
    pub plain: RouteTable,
    /// For TLS connections.
    pub tls: RouteTable,
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
}

/// Reads the current snapshot. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SnapshotReader {
    current: Arc<ArcSwap<Snapshot>>,
}

/// A writer and its readers, holding an empty snapshot of version 0.
pub fn border(first: Snapshot) -> (SnapshotWriter, SnapshotReader) {
    let current = Arc::new(ArcSwap::from_pointee(first));
    (SnapshotWriter { current: Arc::clone(&current) }, SnapshotReader { current })
}

impl SnapshotWriter {
    /// Makes `next` what every later request sees.
    pub fn publish(&mut self, next: Arc<Snapshot>) {
        self.current.store(next);
    }

    /// What is published now.
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }
}

impl SnapshotReader {
    /// The snapshot for one request (or one API answer), to be kept to its end.
    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }
}
