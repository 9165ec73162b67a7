//! [`Routing`] and the previous [`Snapshot`] -> the next one. Pure. What did not change is the same value as before,
//! and so live state (place in the round, counters, what is known of a server) goes on.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use config::install::Install;
use config::name::{EntryPointName, MiddlewareName, RouterName, ServiceName, TlsOptionsName};
use config::routing::middleware::Middleware as Settings;
use config::routing::tls::Tls;
use config::routing::{InStep, Router, Routing, Standing, Target};
use config::{Origin, Problem, Severity};
use foldhash::fast::RandomState;
use http::HeaderValue;
use security::certificate_store::CertificateStore;

use super::files::Files;
use super::route_table::{RouteEntry, RouteTable};
use super::service::Service;
use super::stream::{self, EntryPointStreams};
use super::tls::{Policies, ServerNames, TlsPolicy};
use super::trust::Reach;
use super::{Destination, EntryPointRoutes, ProviderState, Route, Routes, Snapshot};
use crate::middleware::Middleware;

/// What a snapshot is made of.
#[derive(Debug, Default)]
pub struct Parts {
    /// What can be routed.
    pub routing: Routing,
    /// All current problems.
    pub problems: Vec<Problem>,
    /// What each provider last said.
    pub providers: Vec<ProviderState>,
    /// Files that the routing configuration names.
    pub files: Arc<Files>,
    /// What can be served.
    pub certificates: Arc<CertificateStore>,
}

/// Builds the snapshot that follows `previous`.
pub fn compile(install: &Install, parts: Parts, previous: &Snapshot) -> Snapshot {
    let Parts { routing, mut problems, providers, files, certificates } = parts;
    let routes = compile_routes(install, &routing, &files, previous, &mut problems);
    problems.extend(unusable_policies(&routing.tls, &routes.policies));
    problems.extend(routes.streams.problems(&routing));
    problems.sort();
    problems.dedup();
    Snapshot {
        version: previous.version + 1,
        routes: Arc::new(routes),
        certificates,
        challenges: Arc::clone(&previous.challenges),
        orders: Arc::clone(&previous.orders),
        files,
        routing: Arc::new(routing),
        input_refused: problems.iter().any(is_about_a_whole_file),
        problems: problems.into(),
        providers: providers.into(),
    }
}

/// A file that cannot be read or parsed: its place says it all.
fn is_about_a_whole_file(problem: &Problem) -> bool {
    problem.severity == Severity::Error
        && problem.subject.is_empty()
        && matches!(problem.origin, Origin::File { .. })
}

/// Options that were fine as written, and cannot be used for what lies in their files.
fn unusable_policies(tls: &Tls, policies: &Policies) -> Vec<Problem> {
    let written = |name| tls.options.get(name).is_some_and(Result::is_ok);
    let unusable = policies.all().filter(|policy| written(&policy.name));
    unusable
        .filter_map(|policy| {
            let reason = policy.settings.as_ref().err()?;
            let subject = format!("TLS options `{}`", policy.name);
            let message = format!("{reason}: handshakes for hosts that use them are refused");
            Some(Problem::error(Origin::Gateway, subject, message))
        })
        .collect()
}

fn compile_routes(
    install: &Install,
    routing: &Routing,
    files: &Files,
    previous: &Snapshot,
    problems: &mut Vec<Problem>,
) -> Routes {
    let policies = Policies::compile(&routing.tls, files, &previous.routes.policies);
    let services = compile_services(routing, files, previous, problems);
    let middlewares = Middlewares { now: &routing.middlewares, before: &previous.routing.middlewares };
    let mut before = InStep::new(&previous.routing.routers);
    let by_name: HashMap<RouterName, Arc<Route>, RandomState> = routing
        .routers
        .values()
        .map(|router| {
            let before = before.get(&router.name);
            let before = before.zip(previous.routes.by_name.get(&router.name));
            (router.name.clone(), compile_route(router, &services, &policies, &middlewares, before))
        })
        .collect();
    let policy = |name: &TlsOptionsName| policies.get(name);
    let (streams, of_entry_points) = stream::compile(install, routing, files, previous, &policy);
    let entry_points = compile_tables(install, routing, &by_name, of_entry_points, &policies, previous);
    Routes { entry_points, policies, by_name, services, streams }
}

fn compile_services(
    routing: &Routing,
    files: &Files,
    previous: &Snapshot,
    problems: &mut Vec<Problem>,
) -> HashMap<ServiceName, Arc<Service>, RandomState> {
    let mut before = InStep::new(&previous.routing.services);
    routing
        .services
        .values()
        .map(|settings| {
            let kept = previous.routes.services.get(&settings.name);
            let same = before.get(&settings.name).is_some_and(|before| {
                // The place where it was written may move without a change to the service.
                (&before.servers, &before.down, before.pass_host_header)
                    == (&settings.servers, &settings.down, settings.pass_host_header)
            });
            let before = kept.and_then(|kept| kept.reach.as_ref());
            let reach = Reach::compile(settings, files, before, problems);
            let service = match (kept, before, &reach) {
                (Some(kept), Some(before), Ok(reach)) if same && Arc::ptr_eq(before, reach) => {
                    Arc::clone(kept)
                }
                _ => Arc::new(Service::new(settings, reach, kept.map(|kept| &**kept))),
            };
            (settings.name.clone(), service)
        })
        .collect()
}

/// Settings of middlewares, of this snapshot and of the previous one.
struct Middlewares<'a> {
    now: &'a BTreeMap<MiddlewareName, Settings>,
    before: &'a BTreeMap<MiddlewareName, Settings>,
}

impl Middlewares<'_> {
    fn of(&self, router: &Router) -> Box<[Middleware]> {
        router.middlewares.iter().filter_map(|name| self.now.get(name)).map(Middleware::new).collect()
    }

    fn are_the_same(&self, router: &Router) -> bool {
        router.middlewares.iter().all(|name| self.now.get(name) == self.before.get(name))
    }
}

fn compile_route(
    router: &Router,
    services: &HashMap<ServiceName, Arc<Service>, RandomState>,
    policies: &Policies,
    middlewares: &Middlewares<'_>,
    before: Option<(&Router, &Arc<Route>)>,
) -> Arc<Route> {
    let mut destination = match &router.target {
        Target::Service(name) => match services.get(name) {
            Some(service) => Destination::Service(Arc::clone(service)),
            None => Destination::Unavailable(format!("service `{name}` does not exist").into()),
        },
        Target::Internal(service) => Destination::Internal(*service),
        Target::Unavailable(reason) => Destination::Unavailable(Arc::clone(reason)),
    };
    // What it was to be in front of is not served without it.
    if let Some(name) = router.middlewares.iter().find(|name| !middlewares.now.contains_key(*name)) {
        destination = Destination::Unavailable(format!("middleware `{name}` does not exist").into());
    }
    let tls = router.tls.as_ref().map(|tls| policies.get(&tls.options));
    if let Some((before, kept)) = before
        && same_route(before, router)
        && middlewares.are_the_same(router)
        && same_policy(kept.tls.as_ref(), tls.as_ref())
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
        middlewares: middlewares.of(router),
        destination,
        recursion_guard: router.recursion_guard.then(|| guard(&router.name)).flatten(),
        tls,
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

fn same_policy(one: Option<&Arc<TlsPolicy>>, other: Option<&Arc<TlsPolicy>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
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
    streams: Vec<EntryPointStreams>,
    policies: &Policies,
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
            entries[*position][usize::from(router.tls.is_some())].push(RouteEntry {
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
        .zip(streams)
        .enumerate()
        .map(|(index, ((entry_point, [plain, tls]), streams))| {
            let before = previous.routes.entry_points.get(index);
            let plain = kept_table(&plain, before.map(|before| &before.plain))
                .unwrap_or_else(|| Arc::new(RouteTable::build(plain)));
            let default = policies.default_policy();
            let kept = kept_table(&tls, before.map(|before| &before.tls));
            let kept_names = before.filter(|before| {
                // The same routes have the same policies.
                kept.is_some() && Arc::ptr_eq(before.server_names.default_policy(), default)
            });
            let server_names = match kept_names {
                Some(before) => Arc::clone(&before.server_names),
                None => Arc::new(ServerNames::new(server_names(&tls), Arc::clone(default))),
            };
            let tls = kept.unwrap_or_else(|| Arc::new(RouteTable::build(tls)));
            EntryPointRoutes {
                name: entry_point.name.clone(),
                plain,
                tls,
                server_names,
                tcp: streams.tcp,
                udp: streams.udp,
            }
        })
        .collect()
}

/// Hosts of these routers, each with its policy.
fn server_names(entries: &[RouteEntry]) -> Vec<(String, Arc<TlsPolicy>)> {
    let policies = entries.iter().filter_map(|entry| Some((entry, entry.route.tls.as_ref()?)));
    policies
        .flat_map(|(entry, policy)| entry.rule.hosts().into_iter().map(|host| (host, Arc::clone(policy))))
        .collect()
}

/// The table before, if it holds just these routes.
fn kept_table(entries: &[RouteEntry], before: Option<&Arc<RouteTable>>) -> Option<Arc<RouteTable>> {
    let before = before.filter(|before| before.routes().len() == entries.len())?;
    let known: std::collections::HashSet<_, RandomState> = before.routes().map(Arc::as_ptr).collect();
    entries.iter().all(|entry| known.contains(&Arc::as_ptr(&entry.route))).then(|| Arc::clone(before))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use config::routing::{Observability, Scheme, Server};
    use http::{HeaderMap, Method};

    use super::*;
    use crate::snapshot::EntryPointId;
    use crate::snapshot::route_table::RequestView;
    use crate::test_support;

    /// Routers `r0`, `r1`, …, each with a service of its own.
    fn routing(count: usize) -> Routing {
        let mut routing = Routing::default();
        for index in 0..count {
            add_service(&mut routing, index, 1);
            add_router(&mut routing, index, &format!("Host(`{index}.test`)"));
        }
        routing
    }

    fn add_service(routing: &mut Routing, index: usize, weight: u32) {
        let server = |host: &str, weight| Server {
            url: format!("http://{host}:80").into(),
            scheme: Scheme::Http,
            host: host.into(),
            port: 80,
            weight,
            path_prefix: "".into(),
            pin: None,
        };
        let name = ServiceName::from(format!("s{index}@file"));
        let service = config::routing::Service {
            name: name.clone(),
            servers: vec![server("10.0.0.1", weight), server("10.0.0.2", 1)],
            down: None,
            pass_host_header: true,
            transport: Arc::default(),
            origin: Origin::Gateway,
        };
        routing.services.insert(name, service);
    }

    fn add_router(routing: &mut Routing, index: usize, rule: &str) {
        let name = RouterName::from(format!("r{index}@file"));
        let rule = config::rule::parse(rule).unwrap();
        let router = Router {
            name: name.clone(),
            priority: rule.default_priority(),
            rule,
            precedence: 0,
            entry_points: vec!["web".into()],
            tls: None,
            middlewares: Vec::new(),
            target: Target::Service(format!("s{index}@file").into()),
            standing: Standing::Up,
            recursion_guard: false,
            observability: Observability::default(),
            origin: Origin::Gateway,
        };
        routing.routers.insert(name, router);
    }

    fn compiled(routing: Routing, previous: &Snapshot) -> Snapshot {
        let install = test_support::install(&["web", "other"], std::path::Path::new(""));
        let parts = Parts { routing, ..Parts::default() };
        compile(&install, parts, previous)
    }

    fn find(snapshot: &Snapshot, host: &str) -> Option<Arc<Route>> {
        let request = RequestView {
            method: &Method::GET,
            host,
            host_with_dot: host,
            path: "/",
            query: None,
            headers: &HeaderMap::new(),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        snapshot.routes.find(EntryPointId(0), false, &request).cloned()
    }

    fn service(snapshot: &Snapshot, host: &str) -> Arc<Service> {
        match &find(snapshot, host).unwrap().destination {
            Destination::Service(service) => Arc::clone(service),
            other => panic!("not a service: {other:?}"),
        }
    }

    #[test]
    fn a_change_of_one_route_leaves_the_others_the_same_values() {
        let before = compiled(routing(3), &Snapshot::empty());
        let mut changed = routing(3);
        add_router(&mut changed, 1, "Host(`1.test`) || Host(`one.test`)");
        let after = compiled(changed, &before);
        assert_eq!((before.version, after.version), (1, 2));
        let same = |host| Arc::ptr_eq(&find(&before, host).unwrap(), &find(&after, host).unwrap());
        assert!(same("0.test") && same("2.test"));
        assert!(!same("1.test"));
        assert!(Arc::ptr_eq(&service(&before, "1.test"), &service(&after, "1.test")));
        assert_eq!(find(&after, "one.test").unwrap().name.as_str(), "r1@file");
    }

    #[test]
    fn a_changed_service_is_reached_by_its_routes_and_its_servers_keep_what_is_known_of_them() {
        let before = compiled(routing(2), &Snapshot::empty());
        let busy = service(&before, "0.test").pick().unwrap().open_request();
        let mut changed = routing(2);
        add_service(&mut changed, 0, 3);
        let after = compiled(changed, &before);
        let changed = service(&after, "0.test");
        assert!(!Arc::ptr_eq(&service(&before, "0.test"), &changed));
        assert_eq!(changed.servers()[0].server.weight, 3);
        assert_eq!(changed.servers().iter().map(|server| server.open_requests()).sum::<usize>(), 1);
        drop(busy);
    }

    #[test]
    fn a_table_in_which_nothing_changed_is_kept_whole() {
        let before = compiled(routing(3), &Snapshot::empty());
        let after = compiled(routing(3), &before);
        let table = |snapshot: &Snapshot| Arc::clone(&snapshot.routes.entry_points[0].plain);
        assert!(Arc::ptr_eq(&table(&before), &table(&after)));
        let fewer = compiled(routing(2), &after);
        assert!(find(&fewer, "2.test").is_none());
    }

    #[test]
    fn a_router_is_found_on_its_entry_points_alone() {
        let mut routing = routing(2);
        let moved = routing.routers.get_mut("r1@file").unwrap();
        moved.entry_points = vec!["other".into()];
        moved.tls = Some(config::routing::tls::RouterTls {
            options: TlsOptionsName::from("default"),
            resolver: None,
            domains: Vec::new(),
        });
        let snapshot = compiled(routing, &Snapshot::empty());
        assert!(find(&snapshot, "0.test").is_some());
        assert!(find(&snapshot, "1.test").is_none());
        assert_eq!(snapshot.routes.entry_points[1].tls.routes().len(), 1);
    }

    #[test]
    fn a_stopped_router_says_why() {
        let mut routing = routing(1);
        routing.routers.get_mut("r0@file").unwrap().standing =
            Standing::Down("container `blog` is stopped".into());
        let snapshot = compiled(routing, &Snapshot::empty());
        assert_eq!(find(&snapshot, "0.test").unwrap().down.as_deref(), Some("container `blog` is stopped"));
    }
}
