//! What the configuration says of TCP and UDP, and what is served now -> what is served next. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use config::Problem;
use config::install::Install;
use config::name::{EntryPointName, RouterName, ServiceName, TlsOptionsName};
use config::routing::stream::{
    StreamTls, TcpMiddleware, TcpRouter, TcpService as TcpSettings, TcpServiceKind, UdpRouter,
    UdpService as UdpSettings, UdpServiceKind,
};
use config::routing::{Routing, Standing};
use foldhash::fast::RandomState;

use super::balance::Members;
use super::{
    Balanced, Guard, ServerState, StreamService, TcpGroup, TcpRoute, TcpService, TcpTable, TcpTls,
    TcpUpstream, UdpRoute, UdpService, UdpUpstream,
};
use crate::snapshot::Snapshot;
use crate::snapshot::files::Files;
use crate::snapshot::tls::TlsPolicy;
use crate::snapshot::trust::Trust;

/// How deep services may be nested. What lies deeper, or leads back to itself, is left out.
const MOST_LEVELS: usize = 32;

type ByName<K, V> = HashMap<K, Arc<V>, RandomState>;

/// TCP and UDP of all entry points: what an unchanged item of the next snapshot is taken from.
#[derive(Debug, Default)]
pub struct Streams {
    /// TCP services by name.
    pub tcp_services: ByName<ServiceName, TcpService>,
    /// UDP services by name.
    pub udp_services: ByName<ServiceName, UdpService>,
    tcp_routes: ByName<RouterName, TcpRoute>,
    udp_routes: ByName<RouterName, UdpRoute>,
}

impl Streams {
    /// TCP services that were fine as written, and cannot be used for what lies in their files.
    pub(in crate::snapshot) fn problems(&self, routing: &Routing) -> Vec<Problem> {
        let settings = routing.tcp.services.values();
        settings
            .filter_map(|settings| {
                let service = self.tcp_services.get(&settings.name)?;
                let reason = service.servers().first()?.group.trust.as_ref().err()?;
                let message = format!("{reason}: its servers with TLS are not connected to");
                Some(Problem::error(
                    settings.origin.clone(),
                    format!("TCP service `{}`", settings.name.name()),
                    message,
                ))
            })
            .collect()
    }
}

/// TCP and UDP of one entry point.
#[derive(Debug, Default)]
pub(in crate::snapshot) struct EntryPointStreams {
    pub(in crate::snapshot) tcp: Arc<TcpTable>,
    pub(in crate::snapshot) udp: Option<Arc<UdpRoute>>,
}

/// Compiles TCP and UDP, and gives what each entry point has of it, in their order. `policy` knows the TLS options.
pub(in crate::snapshot) fn compile(
    install: &Install,
    routing: &Routing,
    files: &Files,
    previous: &Snapshot,
    policy: &dyn Fn(&TlsOptionsName) -> Arc<TlsPolicy>,
) -> (Streams, Vec<EntryPointStreams>) {
    let before = &previous.routes.streams;
    let mut streams = Streams {
        tcp_services: Services::compile(
            &routing.tcp.services,
            &previous.routing.tcp.services,
            &before.tcp_services,
            files,
        ),
        udp_services: Services::compile(
            &routing.udp.services,
            &previous.routing.udp.services,
            &before.udp_services,
            files,
        ),
        tcp_routes: HashMap::default(),
        udp_routes: HashMap::default(),
    };
    for router in routing.tcp.routers.values() {
        let kept = before.tcp_routes.get(&router.name);
        let route = tcp_route(router, &routing.tcp.middlewares, &streams.tcp_services, kept, policy);
        streams.tcp_routes.insert(router.name.clone(), route);
    }
    for router in routing.udp.routers.values() {
        let kept = before.udp_routes.get(&router.name);
        let route = udp_route(router, &streams.udp_services, kept);
        streams.udp_routes.insert(router.name.clone(), route);
    }
    let entry_points = tables(install, routing, &streams, previous);
    (streams, entry_points)
}

fn tables(
    install: &Install,
    routing: &Routing,
    streams: &Streams,
    previous: &Snapshot,
) -> Vec<EntryPointStreams> {
    let on = |entry_points: &[EntryPointName], name: &EntryPointName| entry_points.contains(name);
    install
        .entry_points
        .iter()
        .enumerate()
        .map(|(index, entry_point)| {
            let name = &entry_point.name;
            let routers = routing.tcp.routers.values().filter(|router| on(&router.entry_points, name));
            let routes = routers.filter_map(|router| streams.tcp_routes.get(&router.name).cloned()).collect();
            let udp = routing.udp.routers.values().rfind(|router| on(&router.entry_points, name));
            EntryPointStreams {
                tcp: table(routes, previous.routes.entry_points.get(index).map(|before| &before.tcp)),
                udp: udp.and_then(|router| streams.udp_routes.get(&router.name).cloned()),
            }
        })
        .collect()
}

/// The table of these routes: the one before, if it holds just these.
fn table(routes: Vec<Arc<TcpRoute>>, before: Option<&Arc<TcpTable>>) -> Arc<TcpTable> {
    if let Some(before) = before
        && before.len() == routes.len()
    {
        let known: HashSet<_, RandomState> = before.routes().map(Arc::as_ptr).collect();
        if routes.iter().all(|route| known.contains(&Arc::as_ptr(route))) {
            return Arc::clone(before);
        }
    }
    Arc::new(TcpTable::build(routes))
}

fn tcp_route(
    router: &TcpRouter,
    middlewares: &BTreeMap<config::name::MiddlewareName, TcpMiddleware>,
    services: &ByName<ServiceName, TcpService>,
    kept: Option<&Arc<TcpRoute>>,
    policy: &dyn Fn(&TlsOptionsName) -> Arc<TlsPolicy>,
) -> Arc<TcpRoute> {
    let guards_before = kept.map_or(&[][..], |kept| &kept.guards);
    let mut unknown = None;
    let guards: Box<[Guard]> = router
        .middlewares
        .iter()
        .filter_map(|name| match middlewares.get(name) {
            Some(settings) => Some(Guard::new(name, settings, guards_before)),
            None => {
                unknown = Some(Arc::from(format!("middleware `{name}` does not exist")));
                None
            }
        })
        .collect();
    let service = match (unknown, &router.service) {
        // Never unprotected.
        (Some(reason), _) => Err(reason),
        (None, Err(reason)) => Err(Arc::clone(reason)),
        (None, Ok(name)) => match services.get(name) {
            Some(service) => Ok(Arc::clone(service)),
            None => Err(Arc::from(format!("service `{name}` does not exist"))),
        },
    };
    let route = TcpRoute {
        name: router.name.clone(),
        rule: router.rule.clone(),
        priority: router.priority,
        precedence: router.precedence,
        tls: match &router.tls {
            StreamTls::None => TcpTls::None,
            StreamTls::Passthrough => TcpTls::Passthrough,
            StreamTls::Terminate(tls) => TcpTls::Terminate(policy(&tls.options)),
        },
        guards,
        service,
        down: match &router.standing {
            Standing::Up => None,
            Standing::Down(reason) => Some(Arc::clone(reason)),
        },
    };
    match kept {
        Some(kept) if same_route(kept, &route) => Arc::clone(kept),
        Some(_) | None => Arc::new(route),
    }
}

fn same_route(one: &TcpRoute, other: &TcpRoute) -> bool {
    one.rule == other.rule
        && (one.priority, one.precedence) == (other.priority, other.precedence)
        && one.down == other.down
        && same_tls(&one.tls, &other.tls)
        && one.guards.len() == other.guards.len()
        && one.guards.iter().zip(&other.guards).all(|(one, other)| same_guard(one, other))
        && same_target(&one.service, &other.service)
}

fn same_tls(one: &TcpTls, other: &TcpTls) -> bool {
    match (one, other) {
        (TcpTls::None, TcpTls::None) | (TcpTls::Passthrough, TcpTls::Passthrough) => true,
        (TcpTls::Terminate(one), TcpTls::Terminate(other)) => Arc::ptr_eq(one, other),
        (TcpTls::None | TcpTls::Passthrough | TcpTls::Terminate(_), _) => false,
    }
}

fn same_guard(one: &Guard, other: &Guard) -> bool {
    one.name() == other.name()
        && match (one, other) {
            (Guard::IpAllowList { ranges: one, .. }, Guard::IpAllowList { ranges: other, .. }) => {
                one == other
            }
            (Guard::InFlightConn { amount: one, .. }, Guard::InFlightConn { amount: other, .. }) => {
                one == other
            }
            (Guard::IpAllowList { .. } | Guard::InFlightConn { .. }, _) => false,
        }
}

fn same_target<S>(one: &Result<Arc<S>, Arc<str>>, other: &Result<Arc<S>, Arc<str>>) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => Arc::ptr_eq(one, other),
        (Err(one), Err(other)) => one == other,
        (Ok(_) | Err(_), _) => false,
    }
}

fn udp_route(
    router: &UdpRouter,
    services: &ByName<ServiceName, UdpService>,
    kept: Option<&Arc<UdpRoute>>,
) -> Arc<UdpRoute> {
    let service = match &router.service {
        Err(reason) => Err(Arc::clone(reason)),
        Ok(name) => match services.get(name) {
            Some(service) => Ok(Arc::clone(service)),
            None => Err(Arc::from(format!("service `{name}` does not exist"))),
        },
    };
    match kept {
        Some(kept) if same_target(&kept.service, &service) => Arc::clone(kept),
        Some(_) | None => Arc::new(UdpRoute { name: router.name.clone(), service }),
    }
}

/// Settings of a service whose servers are `Self::Server`s.
trait Settings {
    type Server: Balanced;

    /// Other services with their weights; none where it has servers of its own.
    fn children(&self) -> Option<&[(ServiceName, u32)]>;
    /// Whether nothing that counts differs. The place where it was written may move.
    fn is_same(&self, other: &Self) -> bool;
    fn down(&self) -> Option<Arc<str>>;
    /// Whether the files that it names hold what they held.
    fn has_same_material(&self, before: &StreamService<Self::Server>, files: &Files) -> bool;
    fn servers(&self, before: &[Arc<Self::Server>], files: &Files) -> Box<[Arc<Self::Server>]>;
}

/// Services on their way: a service needs its children first.
struct Services<'a, T: Settings> {
    settings: &'a BTreeMap<ServiceName, T>,
    before_settings: &'a BTreeMap<ServiceName, T>,
    before: &'a ByName<ServiceName, StreamService<T::Server>>,
    files: &'a Files,
    done: ByName<ServiceName, StreamService<T::Server>>,
    /// Those that wait for their children now.
    open: Vec<&'a ServiceName>,
}

impl<'a, T: Settings> Services<'a, T> {
    fn compile(
        settings: &'a BTreeMap<ServiceName, T>,
        before_settings: &'a BTreeMap<ServiceName, T>,
        before: &'a ByName<ServiceName, StreamService<T::Server>>,
        files: &'a Files,
    ) -> ByName<ServiceName, StreamService<T::Server>> {
        let (done, open) = (HashMap::default(), Vec::new());
        let mut services = Self { settings, before_settings, before, files, done, open };
        for (name, settings) in settings {
            services.service(name, settings);
        }
        services.done
    }

    fn service(&mut self, name: &'a ServiceName, settings: &'a T) -> Option<Arc<StreamService<T::Server>>> {
        if let Some(done) = self.done.get(name) {
            return Some(Arc::clone(done));
        }
        if self.open.contains(&name) || self.open.len() >= MOST_LEVELS {
            return None;
        }
        let before = self.before.get(name);
        let same =
            before.is_some() && self.before_settings.get(name).is_some_and(|before| before.is_same(settings));
        let (members, weights): (_, Box<[u32]>) = match settings.children() {
            None => {
                if let Some(before) = before
                    && same
                    && settings.has_same_material(before, self.files)
                {
                    self.done.insert(name.clone(), Arc::clone(before));
                    return Some(Arc::clone(before));
                }
                let servers = settings.servers(before.map_or(&[][..], |before| before.servers()), self.files);
                let weights = vec![1; servers.len()].into();
                (Members::Servers(servers), weights)
            }
            Some(children) => {
                self.open.push(name);
                let mut services = Vec::with_capacity(children.len());
                let mut weights = Vec::with_capacity(children.len());
                for (child, weight) in children {
                    if let Some((child, settings)) = self.settings.get_key_value(child)
                        && let Some(service) = self.service(child, settings)
                    {
                        services.push(service);
                        weights.push(*weight);
                    }
                }
                self.open.pop();
                if let Some(before) = before
                    && same
                    && has_just(before, &services)
                {
                    self.done.insert(name.clone(), Arc::clone(before));
                    return Some(Arc::clone(before));
                }
                (Members::Services(services.into()), weights.into())
            }
        };
        let service = StreamService::new(
            name.clone(),
            settings.down(),
            members,
            weights,
            before.map(|before| &**before),
        );
        let service = Arc::new(service);
        self.done.insert(name.clone(), Arc::clone(&service));
        Some(service)
    }
}

fn has_just<S>(service: &StreamService<S>, children: &[Arc<StreamService<S>>]) -> bool {
    match &service.members {
        Members::Services(known) => {
            known.len() == children.len()
                && known.iter().zip(children).all(|(one, other)| Arc::ptr_eq(one, other))
        }
        Members::Servers(_) => false,
    }
}

/// What its transport trusts; nothing where no server has TLS.
fn trust(settings: &TcpSettings, files: &Files) -> Result<Arc<Trust>, Arc<str>> {
    match &settings.kind {
        TcpServiceKind::Servers { servers, transport, .. } if servers.iter().any(|server| server.tls) => {
            Trust::read(&transport.tls, files).map(Arc::new).map_err(|error| Arc::from(error.to_string()))
        }
        TcpServiceKind::Servers { .. } | TcpServiceKind::Weighted(_) => Ok(Arc::default()),
    }
}

impl Settings for TcpSettings {
    type Server = TcpUpstream;

    fn children(&self) -> Option<&[(ServiceName, u32)]> {
        match &self.kind {
            TcpServiceKind::Weighted(children) => Some(children),
            TcpServiceKind::Servers { .. } => None,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        (&self.kind, &self.down) == (&other.kind, &other.down)
    }

    fn down(&self) -> Option<Arc<str>> {
        self.down.clone()
    }

    fn has_same_material(&self, before: &TcpService, files: &Files) -> bool {
        before.servers().first().is_none_or(|server| server.group.trust == trust(self, files))
    }

    fn servers(&self, before: &[Arc<TcpUpstream>], files: &Files) -> Box<[Arc<TcpUpstream>]> {
        let TcpServiceKind::Servers { servers, health_check, transport } = &self.kind else {
            return Box::default();
        };
        let group_before = before.first().map(|server| &server.group);
        let trust = trust(self, files);
        let group = Arc::new(TcpGroup {
            service: self.name.clone(),
            transport: transport.clone(),
            health_check: health_check.clone(),
            slot: match group_before {
                Some(group) if group.transport == *transport && group.trust == trust => {
                    Arc::clone(&group.slot)
                }
                Some(_) | None => Arc::default(),
            },
            trust,
        });
        let same_check = group_before.is_some_and(|group| group.health_check == *health_check);
        servers
            .iter()
            .map(|server| {
                let kept = before.iter().find(|known| known.server == *server);
                Arc::new(TcpUpstream {
                    server: server.clone(),
                    group: Arc::clone(&group),
                    slot: kept.map_or_else(Arc::default, |kept| Arc::clone(&kept.slot)),
                    state: match kept {
                        Some(kept) if same_check => Arc::clone(&kept.state),
                        // What another check found says nothing: it starts as up.
                        Some(_) | None => Arc::new(ServerState::default()),
                    },
                })
            })
            .collect()
    }
}

impl Settings for UdpSettings {
    type Server = UdpUpstream;

    fn children(&self) -> Option<&[(ServiceName, u32)]> {
        match &self.kind {
            UdpServiceKind::Weighted(children) => Some(children),
            UdpServiceKind::Servers(_) => None,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind
    }

    fn down(&self) -> Option<Arc<str>> {
        None
    }

    fn has_same_material(&self, _before: &UdpService, _files: &Files) -> bool {
        true
    }

    fn servers(&self, before: &[Arc<UdpUpstream>], _files: &Files) -> Box<[Arc<UdpUpstream>]> {
        let UdpServiceKind::Servers(addresses) = &self.kind else {
            return Box::default();
        };
        addresses
            .iter()
            .filter_map(|address| {
                if let Some(kept) = before.iter().find(|known| known.address == *address) {
                    return Some(Arc::clone(kept));
                }
                let (host, port) = address.rsplit_once(':')?;
                let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
                Some(Arc::new(UdpUpstream {
                    address: Arc::clone(address),
                    host: Arc::from(host),
                    port: port.parse().ok()?,
                    slot: Arc::default(),
                }))
            })
            .collect()
    }
}
