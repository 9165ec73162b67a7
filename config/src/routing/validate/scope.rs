//! `labelScope: container`: a host that a file or an older container claims is not taken by a newer one,
//! whatever its priority; `||` does not widen a rule to such a host.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Fault;
use crate::name::RouterName;
use crate::routing::raw::{Defined, RawRouter, Scope};
use crate::rule::{self, RequiredHost, Rule};

/// Routers that reach for a host of others, and why they are left out.
pub(super) fn refused<'a>(
    routers: impl Iterator<Item = (&'a RouterName, &'a Defined<RawRouter>)>,
) -> BTreeMap<RouterName, Fault> {
    let mut routers: Vec<_> = routers.collect();
    let mut refused = BTreeMap::new();
    if routers.iter().all(|(_, item)| item.scope == Scope::Shared) {
        return refused;
    }
    // Files and the table first, then containers by age.
    routers.sort_by_key(|(name, item)| (item.scope != Scope::Shared, item.since, &item.scope, *name));
    let mut claims = Claims::default();
    for (name, item) in routers {
        let Ok(rule) = rule::parse(&item.value.rule) else { continue };
        match &item.scope {
            Scope::Shared => {
                for host in hosts(&rule) {
                    claims.add(host, item);
                }
            }
            Scope::Container { .. } => match claims.check(&rule, item) {
                Ok(hosts) => {
                    for host in hosts {
                        claims.add(host, item);
                    }
                }
                Err(fault) => drop(refused.insert(name.clone(), fault)),
            },
        }
    }
    refused
}

/// Every host that a rule names or could match by a wildcard.
fn hosts(rule: &Rule) -> impl Iterator<Item = RequiredHost> {
    rule.hosts().into_iter().map(|host| match host.strip_prefix('*') {
        Some(suffix) => RequiredHost::Wildcard(Arc::from(suffix)),
        None => RequiredHost::Exact(Arc::from(host)),
    })
}

#[derive(Default)]
struct Claims<'a> {
    hosts: BTreeMap<RequiredHost, &'a Defined<RawRouter>>,
}

impl<'a> Claims<'a> {
    fn add(&mut self, host: RequiredHost, item: &'a Defined<RawRouter>) {
        self.hosts.entry(host).or_insert(item);
    }

    /// The hosts that a container's rule takes, if none of them is another's.
    fn check(&self, rule: &Rule, item: &Defined<RawRouter>) -> Result<BTreeSet<RequiredHost>, Fault> {
        let Some(hosts) = rule.required_hosts() else {
            return Err(Fault::new(
                "the rule reaches every host, which `labelScope: container` does not allow",
                "name the host: ``Host(`app.example.com`) && …``",
            ));
        };
        for host in &hosts {
            let owner = self.owner(host).filter(|owner| owner.scope != item.scope);
            if let Some(owner) = owner {
                return Err(Fault::new(
                    format!("host `{}` is already claimed by {}", text(host), owner.origin),
                    "with `labelScope: container` a host stays with who claimed it first",
                ));
            }
        }
        Ok(hosts)
    }

    /// Who claimed the host, or hosts among which it is, or a host that is among it.
    fn owner(&self, host: &RequiredHost) -> Option<&'a Defined<RawRouter>> {
        if let Some(owner) = self.hosts.get(host) {
            return Some(owner);
        }
        match host {
            RequiredHost::Exact(name) => {
                let parent = &name[name.find('.')?..];
                self.hosts.get(&RequiredHost::Wildcard(Arc::from(parent))).copied()
            }
            RequiredHost::Wildcard(suffix) => self.hosts.iter().find_map(|(other, owner)| match other {
                RequiredHost::Exact(name) => {
                    let parent = name.find('.').map_or("", |at| &name[at..]);
                    (parent == &**suffix).then_some(*owner)
                }
                RequiredHost::Wildcard(_) => None,
            }),
        }
    }
}

fn text(host: &RequiredHost) -> String {
    match host {
        RequiredHost::Exact(name) => name.to_string(),
        RequiredHost::Wildcard(suffix) => format!("*{suffix}"),
    }
}
