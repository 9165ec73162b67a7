//! UDP routers and services. Datagrams have no name and no beginning: one router an entry point is in force.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::{Context, Fault, Referrer, Users, scope};
use super::{State, States, bind, nowhere, servers, weighted};
use crate::name::{EntryPointName, RouterName, ServiceName};
use crate::problem::Problem;
use crate::routing::merge::Merged;
use crate::routing::raw::{Defined, RawUdpRouter, RawUdpService};
use crate::routing::stream::{UdpRouter, UdpService, UdpServiceKind};
use crate::routing::{Routing, Standing, Status};

/// A router that may be in force.
struct Candidate<'a> {
    name: &'a RouterName,
    item: &'a Defined<RawUdpRouter>,
    entry_points: Vec<EntryPointName>,
    service: Result<ServiceName, Fault>,
    disabled: Vec<Fault>,
    warnings: Vec<Fault>,
}

/// Validates all of UDP.
pub(super) fn build(merged: &Merged, context: &Context, routing: &mut Routing, problems: &mut Vec<Problem>) {
    let states = services(merged, problems);
    let refused = scope::refused_udp(merged);
    let mut users = Users::default();
    let mut candidates: Vec<_> = merged
        .udp_routers
        .iter()
        .map(|(name, item)| {
            let mut candidate = candidate(name, item, context, &states, &mut users);
            candidate.disabled.extend(refused.get(name).cloned());
            candidate
        })
        .collect();
    // The one that can work comes before one that cannot, then the one whose name sorts last, as in Traefik.
    candidates.sort_by_key(|candidate| {
        let works = (candidate.service.is_ok(), candidate.item.standing == Standing::Up);
        Reverse((works, candidate.name))
    });
    let mut taken: BTreeMap<EntryPointName, &RouterName> = BTreeMap::new();
    for Candidate { name, item, entry_points, service, disabled, mut warnings } in candidates {
        let mut mine = BTreeSet::new();
        for entry_point in entry_points.into_iter().filter(|_| disabled.is_empty()) {
            match taken.get(&entry_point) {
                None => {
                    taken.insert(entry_point.clone(), name);
                    mine.insert(entry_point);
                }
                Some(other) => warnings.push(Fault::new(
                    format!(
                        "entry point `{entry_point}` has more than one UDP router: \"{other}\" is in force, and \
                         not this one"
                    ),
                    "give each an entry point of its own",
                )),
            }
        }
        let subject = format!("UDP router `{}`", name.name());
        problems.extend(disabled.iter().map(|fault| fault.error(&item.origin, &subject)));
        problems.extend(service.as_ref().err().map(|fault| {
            let text = format!("{}: the router drops datagrams", fault.text);
            Fault { text, hint: fault.hint.clone() }.error(&item.origin, &subject)
        }));
        problems.extend(warnings.iter().map(|fault| fault.warning(&item.origin, &subject)));
        let status = match (disabled.is_empty() && service.is_ok(), warnings.is_empty()) {
            (false, _) => Status::Disabled,
            (true, false) => Status::Warning,
            (true, true) => Status::Enabled,
        };
        let errors = disabled.iter().chain(service.as_ref().err()).chain(&warnings);
        let errors = errors.map(Fault::listed).collect();
        let using = mine.iter().map(ToString::to_string).collect();
        let listed = super::super::listed(item.clone(), status, errors, using);
        routing.listing.udp_routers.insert(name.clone(), listed);
        if !mine.is_empty() {
            let router = UdpRouter {
                name: name.clone(),
                entry_points: mine.into_iter().collect(),
                service: service.map_err(|fault| Arc::from(fault.text)),
                origin: item.origin.clone(),
            };
            routing.udp.routers.insert(name.clone(), router);
        }
    }
    routing.udp.services =
        super::keep(&merged.udp_services, states, &users, &mut routing.listing.udp_services);
}

fn candidate<'a>(
    name: &'a RouterName,
    item: &'a Defined<RawUdpRouter>,
    context: &Context,
    states: &States<UdpService>,
    users: &mut Users,
) -> Candidate<'a> {
    let RawUdpRouter { entry_points, service } = &item.value;
    let (entry_points, warnings) = bind(context, entry_points, true);
    let disabled = if entry_points.is_empty() { vec![nowhere(context, true)] } else { Vec::new() };
    let referrer = Referrer::new(name.provider(), &item.scope);
    let target = super::target(states, referrer, service, "the service is missing on the udp router");
    let service = target.and_then(|service| {
        users.services.entry(service.clone()).or_default().push(name.clone());
        super::usable(states, &service).map(|()| service)
    });
    Candidate { name, item, entry_points, service, disabled, warnings }
}

fn services(merged: &Merged, problems: &mut Vec<Problem>) -> States<UdpService> {
    let mut states = States::default();
    for (name, item) in &merged.udp_services {
        let mut warnings = Vec::new();
        let service = service(name, item, &mut warnings);
        states.insert(name.clone(), State { scope: item.scope.clone(), service, warnings });
    }
    let parents = merged.udp_services.iter().filter_map(|(name, item)| {
        let State { scope, service, .. } = states.get(name)?;
        let referrer = Referrer::new(name.provider(), scope);
        let weighted = item.value.weighted.as_ref().filter(|_| service.is_ok())?;
        Some((name.clone(), weighted::children(weighted, referrer, &states)))
    });
    super::adopt(parents.collect::<BTreeMap<_, _>>(), &mut states, |service, children| {
        service.kind = UdpServiceKind::Weighted(children);
    });
    super::report(&merged.udp_services, &states, "UDP service", problems);
    states
}

fn service(
    name: &ServiceName,
    item: &Defined<RawUdpService>,
    warnings: &mut Vec<Fault>,
) -> Result<UdpService, Fault> {
    // Every type is named here, so that a new one cannot be forgotten.
    let RawUdpService { load_balancer, weighted } = &item.value;
    let kind = match (load_balancer, weighted) {
        (Some(load_balancer), None) => {
            let mut servers: Vec<Arc<str>> = Vec::with_capacity(load_balancer.servers.len());
            for server in &load_balancer.servers {
                match servers::address(&server.address) {
                    Ok(_) => servers.push(Arc::from(server.address.as_str())),
                    Err(fault) => warnings.push(fault),
                }
            }
            servers.sort();
            servers.dedup();
            UdpServiceKind::Servers(servers)
        }
        // Its children are found once all services are known.
        (None, Some(_)) => UdpServiceKind::Weighted(Vec::new()),
        (None, None) => return Err(super::no_type(name.as_str())),
        (Some(_), Some(_)) => return Err(super::several_types()),
    };
    Ok(UdpService { name: name.clone(), kind, origin: item.origin.clone() })
}
