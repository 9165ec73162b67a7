//! [`Routing`] and the previous [`Snapshot`] -> the next one. Pure. What did not change is the same value as before,
//! and so live state (place in the round, counters, what is known of a server) goes on.

use std::collections::HashMap;
use std::sync::Arc;

use config::Problem;
use config::install::Install;
use config::name::{EntryPointName, RouterName, ServiceName};
use config::routing::{Router, Routing, Standing, Target};
use foldhash::fast::RandomState;
use http::HeaderValue;

use super::route_table::{RouteEntry, RouteTable};
use super::service::Service;
use super::{Destination, EntryPointRoutes, ProviderState, Route, Routes, Snapshot};

/// What a snapshot is made of.
#[derive(Debug)]
pub struct Parts {
    /// What can be routed.
    pub routing: Routing,
    /// All current problems.
    pub problems: Vec<Problem>,
    /// What each provider last said.
    pub providers: Vec<ProviderState>,
}

/// Builds the snapshot that follows `previous`.
pub fn compile(install: &Install, parts: Parts, previous: &Snapshot) -> Snapshot {
    let Parts { routing, mut problems, providers } = parts;
    problems.sort();
    problems.dedup();
    Snapshot {
        version: previous.version + 1,
        routes: Arc::new(compile_routes(install, &routing, previous)),
        routing: Arc::new(routing),
        problems: problems.into(),
        providers: providers.into(),
    }
}

fn compile_routes(install: &Install, routing: &Routing, previous: &Snapshot) -> Routes {
    let services = compile_services(routing, previous);
    let by_name: HashMap<RouterName, Arc<Route>, RandomState> = routing
        .routers
        .values()
        .map(|router| (router.name.clone(), compile_route(router, &services, previous)))
        .collect();
    let mut routes = Routes { entry_points: Vec::new(), by_name, services };
    routes.entry_points = compile_tables(install, routing, &routes.by_name, previous);
    routes
}

fn compile_services(
    routing: &Routing,
    previous: &Snapshot,
) -> HashMap<ServiceName, Arc<Service>, RandomState> {
    routing
        .services
        .values()
        .map(|settings| {
            let kept = previous.routes.services.get(&settings.name);
            let same = previous.routing.services.get(&settings.name).is_some_and(|before| {
                // The place where it was written may move without a change to the service.
                (&before.servers, &before.down, before.pass_host_header)
                    == (&settings.servers, &settings.down, settings.pass_host_header)
            });
            let service = match kept {
                Some(kept) if same => Arc::clone(kept),
                Some(kept) => Arc::new(Service::new(settings, Some(kept))),
                None => Arc::new(Service::new(settings, None)),
            };
            (settings.name.clone(), service)
        })
        .collect()
}

fn compile_route(
    router: &Router,
    services: &HashMap<ServiceName, Arc<Service>, RandomState>,
    previous: &Snapshot,
) -> Arc<Route> {
    let destination = match &router.target {
        Target::Service(name) => match services.get(name) {
            Some(service) => Destination::Service(Arc::clone(service)),
            None => Destination::Unavailable(format!("service `{name}` does not exist").into()),
        },
        Target::Internal(service) => Destination::Internal(*service),
        Target::Unavailable(reason) => Destination::Unavailable(Arc::clone(reason)),
    };
    if let (Some(kept), Some(before)) =
        (previous.routes.by_name.get(&router.name), previous.routing.routers.get(&router.name))
        && same_route(before, router)
        && same_destination(&kept.destination, &destination)
    {
        return Arc::clone(kept);
    }
    Arc::new(Route {
        name: router.name.clone(),
        rule: Arc::from(router.rule.text()),
        priority: router.priority,
        down: match &router.standing {
            Standing::Up => None,
            Standing::Down(reason) => Some(Arc::clone(reason)),
        },
        middlewares: Box::default(),
        destination,
        recursion_guard: router.recursion_guard.then(|| guard(&router.name)).flatten(),
        observability: router.observability,
    })
}

/// Whether two routers compile to the same route and rank. Entry points only decide which tables it is in, and the
/// place where it was written may move.
fn same_route(one: &Router, other: &Router) -> bool {
    one.rule == other.rule
        && one.priority == other.priority
        && one.middlewares == other.middlewares
        && one.target == other.target
        && one.standing == other.standing
        && one.recursion_guard == other.recursion_guard
        && one.observability == other.observability
}

fn same_destination(one: &Destination, other: &Destination) -> bool {
    match (one, other) {
        (Destination::Service(one), Destination::Service(other)) => Arc::ptr_eq(one, other),
        (Destination::Internal(one), Destination::Internal(other)) => one == other,
        (Destination::Unavailable(one), Destination::Unavailable(other)) => one == other,
        (Destination::Service(_) | Destination::Internal(_) | Destination::Unavailable(_), _) => false,
    }
}

/// The value by which a request that comes back is known. A name that no header can carry guards nothing.
fn guard(name: &RouterName) -> Option<HeaderValue> {
    HeaderValue::from_str(name.as_str()).ok()
}

fn compile_tables(
    install: &Install,
    routing: &Routing,
    by_name: &HashMap<RouterName, Arc<Route>, RandomState>,
    previous: &Snapshot,
) -> Vec<EntryPointRoutes> {
    let positions: HashMap<&EntryPointName, usize> = install
        .entry_points
        .iter()
        .enumerate()
        .map(|(index, entry_point)| (&entry_point.name, index))
        .collect();
    // Plain and TLS of each entry point.
    let mut entries: Vec<[Vec<RouteEntry>; 2]> =
        install.entry_points.iter().map(|_| Default::default()).collect();
    for router in routing.routers.values() {
        let Some(route) = by_name.get(&router.name) else { continue };
        for entry_point in &router.entry_points {
            let Some(position) = positions.get(entry_point) else { continue };
            entries[*position][usize::from(router.tls)].push(RouteEntry {
                rule: router.rule.clone(),
                precedence: router.precedence,
                route: Arc::clone(route),
            });
        }
    }
    install
        .entry_points
        .iter()
        .zip(entries)
        .enumerate()
        .map(|(index, (entry_point, [plain, tls]))| {
            let before = previous.routes.entry_points.get(index);
            EntryPointRoutes {
                name: entry_point.name.clone(),
                plain: table(plain, before.map(|before| &before.plain)),
                tls: table(tls, before.map(|before| &before.tls)),
            }
        })
        .collect()
}

/// The table of these routes: the one before, if it holds just these.
fn table(entries: Vec<RouteEntry>, before: Option<&Arc<RouteTable>>) -> Arc<RouteTable> {
    if let Some(before) = before
        && before.routes().len() == entries.len()
    {
        let known: std::collections::HashSet<_, RandomState> = before.routes().map(Arc::as_ptr).collect();
        if entries.iter().all(|entry| known.contains(&Arc::as_ptr(&entry.route))) {
            return Arc::clone(before);
        }
    }
    Arc::new(RouteTable::build(entries))
}
