//! A handshake shows a name and no more: routers of one host on one entry point cannot have different TLS options.
//! Where they do, `default` is in force for all of them, as in Traefik, and each is told.

use std::collections::{BTreeMap, HashMap};
use std::mem;

use foldhash::fast::RandomState;

use super::super::{Fault, Users};
use super::DEFAULT;
use crate::name::{EntryPointName, RouterName, TlsOptionsName};
use crate::problem::Problem;
use crate::routing::{Router, Routing, Standing, Status};

const TEXT: &str = "router's TLSOptions configuration is conflicting with other routers on the same entrypoint and \
                    host, default TLS options will be used instead";

/// The routers of a host on an entry point.
type Claim<'a> = ((&'a EntryPointName, String), Vec<&'a Router>);

/// What is in force in place of what a router asks for, on which of its entry points.
type Instead = BTreeMap<RouterName, BTreeMap<EntryPointName, (TlsOptionsName, Option<Fault>)>>;

/// Finds routers that disagree, and settles what is in force.
pub(in super::super) fn settle(routing: &mut Routing, users: &mut Users, problems: &mut Vec<Problem>) {
    let default = |router: &Router| router.tls.as_ref().is_none_or(|tls| tls.options.as_str() == DEFAULT);
    if routing.routers.values().all(default) {
        return;
    }
    let mut renamed: BTreeMap<RouterName, Vec<RouterName>> = BTreeMap::new();
    for (name, places) in instead(routing) {
        let Some(router) = routing.routers.remove(&name) else { continue };
        let names = replace(routing, router, places, problems);
        renamed.insert(name, names);
    }
    for users in users.services.values_mut().chain(users.middlewares.values_mut()) {
        if users.iter().any(|name| renamed.contains_key(name)) {
            *users = mem::take(users)
                .into_iter()
                .flat_map(|name| renamed.get(&name).cloned().unwrap_or_else(|| vec![name]))
                .collect();
        }
    }
}

fn instead(routing: &Routing) -> Instead {
    let mut claims: HashMap<_, Vec<_>, RandomState> = HashMap::default();
    for router in routing.routers.values().filter(|router| router.tls.is_some()) {
        for host in router.rule.hosts() {
            for entry_point in &router.entry_points {
                claims.entry((entry_point, host.clone())).or_default().push(router);
            }
        }
    }
    // Where the options of one cannot be used, handshakes for the host are refused, whoever else has it.
    let refused = |router: &&Router| {
        let options = router.tls.as_ref().and_then(|tls| routing.tls.options.get(&tls.options));
        options.is_some_and(Result::is_err)
    };
    claims.retain(|_, routers| routers.len() > 1 && !routers.iter().any(refused));
    let mut claims: Vec<Claim<'_>> = claims.into_iter().collect();
    claims.sort_by(|a, b| a.0.cmp(&b.0));

    let mut instead = Instead::new();
    // A router falls back with all its hosts, which may be news for the others of those: until nothing changes.
    // Options only ever become `default`, and so it ends.
    let mut changed = true;
    while changed {
        changed = false;
        for claim in &claims {
            changed |= fall_back(claim, &mut instead);
        }
    }
    for ((entry_point, _), routers) in &claims {
        let up = routers.iter().find(|router| router.standing == Standing::Up);
        let Some(options) = up.and_then(|router| in_force(&instead, entry_point, router)) else { continue };
        for router in routers.iter().filter(|router| router.standing != Standing::Up) {
            if in_force(&instead, entry_point, router).as_ref() != Some(&options) {
                let places = instead.entry(router.name.clone()).or_default();
                places.entry((*entry_point).clone()).or_insert_with(|| (options.clone(), None));
            }
        }
    }
    instead
}

fn in_force(instead: &Instead, entry_point: &EntryPointName, router: &Router) -> Option<TlsOptionsName> {
    let place = instead.get(&router.name).and_then(|places| places.get(entry_point));
    place.map(|(options, _)| options).or_else(|| router.tls.as_ref().map(|tls| &tls.options)).cloned()
}

/// Where the routers of a host disagree, they get `default`. Whether that changed anything.
fn fall_back(((entry_point, host), routers): &Claim<'_>, instead: &mut Instead) -> bool {
    // A stopped container's router takes nothing from one that serves.
    let any_up = routers.iter().any(|router| router.standing == Standing::Up);
    let deciding: Vec<_> =
        routers.iter().filter(|router| !any_up || router.standing == Standing::Up).collect();
    let options = |router: &Router| in_force(instead, entry_point, router);
    if deciding.iter().all(|router| options(router) == options(deciding[0])) {
        return false;
    }
    let default = TlsOptionsName::from(DEFAULT);
    let losing: Vec<_> =
        deciding.iter().filter(|router| options(router).as_ref() != Some(&default)).collect();
    for router in losing {
        let others = deciding.iter().map(|other| &other.name).filter(|other| **other != router.name);
        let others = others.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let fault = Fault::new(TEXT, format!("give it and {others} the same `tls.options` for `{host}`"));
        let places = instead.entry(router.name.clone()).or_default();
        places.insert((*entry_point).clone(), (default.clone(), Some(fault)));
    }
    true
}

/// Puts a router back, with what is in force: on entry points where it disagrees as a copy for each, as Traefik
/// lists it. Returns the names under which it is there now.
fn replace(
    routing: &mut Routing,
    mut router: Router,
    places: BTreeMap<EntryPointName, (TlsOptionsName, Option<Fault>)>,
    problems: &mut Vec<Problem>,
) -> Vec<RouterName> {
    let name = router.name.clone();
    let written = routing.listing.routers.remove(&name);
    let mut names = Vec::new();
    let first = places.values().next().map(|(options, _)| options.clone());
    let gives_way =
        places.values().all(|(options, fault)| fault.is_none() && Some(options) == first.as_ref());
    if gives_way && places.len() == router.entry_points.len() {
        // Everywhere the same, and so it is still the router itself.
        if let (Some(tls), Some(options)) = (&mut router.tls, first) {
            tls.options = options;
        }
        routing.listing.routers.extend(written.map(|listed| (name.clone(), listed)));
        routing.routers.insert(name.clone(), router);
        return vec![name];
    }
    for (entry_point, (options, fault)) in places {
        router.entry_points.retain(|other| *other != entry_point);
        let copy_name = RouterName::from(match fault {
            Some(_) => format!("{entry_point}-conflicted-{name}"),
            None => format!("{entry_point}-{name}"),
        });
        let mut copy =
            Router { name: copy_name.clone(), entry_points: vec![entry_point.clone()], ..router.clone() };
        if let Some(tls) = &mut copy.tls {
            tls.options = options.clone();
        }
        if let Some(mut listed) = written.clone() {
            listed.item.value.entry_points = vec![entry_point.to_string()];
            if let Some(tls) = &mut listed.item.value.tls {
                options.as_str().clone_into(&mut tls.options);
            }
            listed.used_by = vec![entry_point.to_string()];
            if let Some(fault) = &fault {
                listed.status = listed.status.max(Status::Warning);
                listed.errors.push(fault.listed());
            }
            routing.listing.routers.insert(copy_name.clone(), listed);
        }
        if let Some(fault) = fault {
            problems.push(fault.error(&router.origin, &format!("router `{}`", name.name())));
        }
        routing.routers.insert(copy_name.clone(), copy);
        names.push(copy_name);
    }
    if !router.entry_points.is_empty() {
        if let Some(mut listed) = written {
            listed.used_by = router.entry_points.iter().map(ToString::to_string).collect();
            listed.item.value.entry_points.clone_from(&listed.used_by);
            routing.listing.routers.insert(name.clone(), listed);
        }
        routing.routers.insert(name.clone(), router);
        names.push(name);
    }
    names
}
