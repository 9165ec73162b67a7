//! TCP and UDP: what can be routed, and what is said about the rest. As with HTTP, a router whose own settings are
//! wrong is left out, and one whose middleware or service is bad or missing stays and closes connections.

mod middlewares;
mod servers;
mod tcp;
mod udp;
mod weighted;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::{Context, Fault, Referrer, Users};
use crate::name::{EntryPointName, ServiceName};
use crate::problem::{Problem, did_you_mean};
use crate::routing::merge::Merged;
use crate::routing::raw::{Defined, Scope};
use crate::routing::{Listed, Routing, Standing, Status};

/// Validates all of TCP and UDP.
pub(super) fn build(
    previous: &Routing,
    merged: &Merged,
    context: &Context,
    routing: &mut Routing,
    problems: &mut Vec<Problem>,
) {
    tcp::build(previous, merged, context, routing, problems);
    udp::build(merged, context, routing, problems);
}

/// What a service comes to: itself, or why connections of what uses it are closed.
#[derive(Debug)]
struct State<S> {
    scope: Scope,
    service: Result<S, Fault>,
    warnings: Vec<Fault>,
}

/// Services with their weights.
type Children = Vec<(ServiceName, u32)>;

/// By qualified name.
type States<S> = HashMap<ServiceName, State<S>, RandomState>;

/// The entry points that a router names, or else the default ones, and what is wrong with the names.
fn bind(context: &Context, written: &[String], udp: bool) -> (Vec<EntryPointName>, Vec<Fault>) {
    let fitting = || context.entry_points.iter().filter(|entry_point| entry_point.udp.is_some() == udp);
    if written.is_empty() {
        let defaults = fitting().filter(|entry_point| udp || entry_point.is_default);
        return (defaults.map(|entry_point| entry_point.name.clone()).collect(), Vec::new());
    }
    let mut bound: Vec<EntryPointName> = Vec::new();
    let mut faults = Vec::new();
    for wish in written {
        match fitting().find(|entry_point| entry_point.name.as_str() == wish) {
            Some(entry_point) if bound.contains(&entry_point.name) => {}
            Some(entry_point) => bound.push(entry_point.name.clone()),
            None => {
                let text = format!("entryPoint \"{wish}\" doesn't exist");
                let other = context.entry_points.iter().any(|entry_point| entry_point.name.as_str() == wish);
                let hint = match (other, udp) {
                    (true, true) => Some("it serves TCP: write `/udp` behind its address".to_owned()),
                    (true, false) => Some("it serves UDP".to_owned()),
                    (false, _) => did_you_mean(wish, fitting().map(|entry_point| entry_point.name.as_str()))
                        .map(|near| format!("did you mean `{near}`?")),
                };
                faults.push(Fault { text, hint });
            }
        }
    }
    (bound, faults)
}

/// No entry point is left.
fn nowhere(context: &Context, udp: bool) -> Fault {
    let known = context.entry_points.iter().filter(|entry_point| entry_point.udp.is_some() == udp);
    let known: Vec<_> = known.map(|entry_point| entry_point.name.as_str()).collect();
    let hint = match (known.is_empty(), udp) {
        (false, _) => format!("there are `{}`", known.join("`, `")),
        (true, true) => "add an entry point for UDP, as in `address: \":53/udp\"`".to_owned(),
        (true, false) => "add an entry point".to_owned(),
    };
    Fault::new("no valid entryPoint for this router", hint)
}

/// The service that a reference means.
fn target<S>(
    states: &States<S>,
    referrer: Referrer<'_>,
    reference: &str,
    missing: &str,
) -> Result<ServiceName, Fault> {
    if reference.is_empty() {
        return Err(Fault::new(missing, "set `service`"));
    }
    let known = |name: &str| states.get(name).map(|state| (&state.scope, false));
    let all = states.keys().map(ServiceName::as_str);
    referrer.resolve("the service", reference, known, all).map(ServiceName::from)
}

/// Why what uses a service cannot.
fn usable<S>(states: &States<S>, name: &ServiceName) -> Result<(), Fault> {
    match states.get(name).map(|state| &state.service) {
        Some(Err(fault)) => {
            let text = match fault.text.contains(name.as_str()) {
                true => fault.text.clone(),
                false => format!("service \"{name}\": {}", fault.text),
            };
            Err(Fault { text, hint: fault.hint.clone() })
        }
        Some(Ok(_)) | None => Ok(()),
    }
}

fn no_type(name: &str) -> Fault {
    Fault::new(
        format!("the service \"{name}\" does not have any type defined"),
        "give it `loadBalancer: { servers: [{ address: \"10.0.0.1:5432\" }] }`",
    )
}

fn several_types() -> Fault {
    Fault::new(
        "cannot create service: multi-types service not supported, consider declaring two different pieces of \
         service instead",
        "give each one type",
    )
}

/// Why a service has no server, of those that were written.
fn down(standing: &Standing, written: usize, left: usize) -> Option<Arc<str>> {
    (left == 0).then(|| match standing {
        Standing::Down(reason) => Arc::clone(reason),
        Standing::Up if written == 0 => Arc::from("the service has no server"),
        Standing::Up => Arc::from("no server of the service is valid"),
    })
}

/// Gives services that are made of services their children; one with a bad child, or in a ring, is bad itself.
fn adopt<S>(
    found: BTreeMap<ServiceName, Result<Children, Fault>>,
    states: &mut States<S>,
    set: impl Fn(&mut S, Children),
) {
    let mut parents = BTreeMap::new();
    for (name, children) in found {
        match children {
            Ok(children) => drop(parents.insert(name, children)),
            Err(fault) => {
                if let Some(state) = states.get_mut(&name) {
                    state.service = Err(fault);
                }
            }
        }
    }
    let broken = weighted::broken(&parents, &|name| states.get(name)?.service.as_ref().err().cloned());
    for (name, children) in parents {
        let Some(state) = states.get_mut(&name) else { continue };
        match (broken.get(&name), &mut state.service) {
            (Some(fault), service) => *service = Err(fault.clone()),
            (None, Ok(service)) => set(service, children),
            (None, Err(_)) => {}
        }
    }
}

/// Says what is wrong with services.
fn report<S, R>(
    items: &BTreeMap<ServiceName, Defined<R>>,
    states: &States<S>,
    kind: &str,
    problems: &mut Vec<Problem>,
) {
    for (name, item) in items {
        let Some(State { service, warnings, .. }) = states.get(name) else { continue };
        let subject = format!("{kind} `{}`", name.name());
        problems.extend(warnings.iter().map(|fault| fault.warning(&item.origin, &subject)));
        problems.extend(service.as_ref().err().map(|fault| fault.error(&item.origin, &subject)));
    }
}

/// Lists services and keeps the good ones.
fn keep<S, R>(
    items: &BTreeMap<ServiceName, Defined<R>>,
    mut states: States<S>,
    users: &Users,
    listing: &mut BTreeMap<ServiceName, Listed<R>>,
) -> BTreeMap<ServiceName, S> {
    let mut good = BTreeMap::new();
    for (name, item) in items {
        let Some(State { service, warnings, .. }) = states.remove(name) else { continue };
        let mut errors: Vec<_> = warnings.iter().map(Fault::listed).collect();
        let status = match service {
            Ok(service) => {
                good.insert(name.clone(), service);
                if errors.is_empty() { Status::Enabled } else { Status::Warning }
            }
            Err(fault) => {
                errors.insert(0, fault.listed());
                Status::Disabled
            }
        };
        let used_by = super::names(users.services.get(name));
        listing.insert(name.clone(), super::listed(item.clone(), status, errors, used_by));
    }
    good
}

#[cfg(test)]
mod tests;
