//! Services made of services: every child is there, and none contains itself.

use std::collections::BTreeMap;

use super::super::{Fault, Referrer};
use super::{Children, States};
use crate::name::ServiceName;
use crate::routing::raw::RawStreamWeighted;

/// Deepest nesting.
const DEPTH: usize = 32;

/// Children with their weights; a weight of nothing or less means never.
pub(super) fn children<S>(
    weighted: &RawStreamWeighted,
    referrer: Referrer<'_>,
    states: &States<S>,
) -> Result<Children, Fault> {
    // That children tell their state upwards is not asked for: whoever has no server is never picked.
    let RawStreamWeighted { services, health_check: _ } = weighted;
    let known = |name: &str| states.get(name).map(|state| (&state.scope, false));
    services
        .iter()
        .map(|child| {
            let all = states.keys().map(ServiceName::as_str);
            let name = referrer.resolve("the service", &child.name, known, all)?;
            let weight = child.weight.unwrap_or(1).max(0);
            Ok((ServiceName::from(name), u32::try_from(weight).unwrap_or(u32::MAX)))
        })
        .collect()
}

/// Why a service made of services cannot be used, for each that cannot: a child that is bad, or a ring.
pub(super) fn broken(
    parents: &BTreeMap<ServiceName, Children>,
    reason: &dyn Fn(&ServiceName) -> Option<Fault>,
) -> BTreeMap<ServiceName, Fault> {
    let mut done: BTreeMap<ServiceName, Option<Fault>> = BTreeMap::new();
    for name in parents.keys() {
        judge(name, parents, reason, &mut Vec::new(), &mut done);
    }
    done.into_iter().filter_map(|(name, fault)| Some((name, fault?))).collect()
}

fn judge(
    name: &ServiceName,
    parents: &BTreeMap<ServiceName, Children>,
    reason: &dyn Fn(&ServiceName) -> Option<Fault>,
    path: &mut Vec<ServiceName>,
    done: &mut BTreeMap<ServiceName, Option<Fault>>,
) -> Option<Fault> {
    let Some(children) = parents.get(name) else { return reason(name) };
    if let Some(fault) = done.get(name) {
        return fault.clone();
    }
    if path.contains(name) {
        let route: Vec<_> = path.iter().chain([name]).map(ServiceName::as_str).collect();
        let text =
            format!("could not instantiate service {name}: recursion detected in {}", route.join("->"));
        return Some(Fault::new(text, "a service must not contain itself"));
    }
    if path.len() >= DEPTH {
        let text = format!("services are nested more than {DEPTH} deep at {name}");
        return Some(Fault::new(text, "name the servers' services directly"));
    }
    path.push(name.clone());
    let fault = children.iter().find_map(|(child, _)| {
        let fault = judge(child, parents, reason, path, done)?;
        let text = match fault.text.contains('"') || fault.text.contains("->") {
            true => fault.text,
            false => format!("service \"{child}\": {}", fault.text),
        };
        Some(Fault { text, hint: fault.hint })
    });
    path.pop();
    done.insert(name.clone(), fault.clone());
    fault
}
