//! TCP and UDP items: known, listed, and not served yet.

use super::{Fault, listed};
use crate::problem::{Origin, Problem};
use crate::routing::merge::Merged;
use crate::routing::{Listing, Status};
use crate::rule;

const NOT_SERVED: &str = "TCP routers are not served yet";
const UDP_NOT_SERVED: &str = "UDP routers are not served yet";
const HINT: &str = "publish the port of its container directly meanwhile";

/// Lists every item; each router is a problem.
pub(super) fn list(merged: &Merged, listing: &mut Listing, problems: &mut Vec<Problem>) {
    let mut report = |origin: &Origin, subject: String, fault: Fault| {
        problems.push(fault.error(origin, &subject));
        fault.listed()
    };
    for (name, item) in &merged.tcp_routers {
        let subject = format!("TCP router `{}`", name.name());
        let mut errors = Vec::new();
        let priority = match rule::parse_tcp(&item.value.rule) {
            Ok(rule) if item.value.priority == 0 => rule.default_priority(),
            Ok(_) => item.value.priority,
            Err(error) => {
                let text = format!("invalid rule: {:?}, {error}", item.value.rule);
                errors.push(report(&item.origin, subject.clone(), Fault { text, hint: error.hint }));
                item.value.priority
            }
        };
        errors.push(report(&item.origin, subject, Fault::new(NOT_SERVED, HINT)));
        let mut computed = item.clone();
        computed.value.priority = priority;
        let mut entry = listed(computed, Status::Disabled, errors, Vec::new());
        entry.priority = priority;
        listing.tcp_routers.insert(name.clone(), entry);
    }
    for (name, item) in &merged.udp_routers {
        let subject = format!("UDP router `{}`", name.name());
        let errors = vec![report(&item.origin, subject, Fault::new(UDP_NOT_SERVED, HINT))];
        let entry = listed(item.clone(), Status::Disabled, errors, Vec::new());
        listing.udp_routers.insert(name.clone(), entry);
    }
    // Nothing uses them while routers are not served; the routers' problems say so.
    let idle = |message: &str| vec![message.to_owned()];
    for (name, item) in &merged.tcp_services {
        let entry = listed(item.clone(), Status::Warning, idle(NOT_SERVED), Vec::new());
        listing.tcp_services.insert(name.clone(), entry);
    }
    for (name, item) in &merged.tcp_middlewares {
        let entry = listed(item.clone(), Status::Warning, idle(NOT_SERVED), Vec::new());
        listing.tcp_middlewares.insert(name.clone(), entry);
    }
    for (name, item) in &merged.udp_services {
        let entry = listed(item.clone(), Status::Warning, idle(UDP_NOT_SERVED), Vec::new());
        listing.udp_services.insert(name.clone(), entry);
    }
}
