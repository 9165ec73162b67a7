//! `labelScope: container`: a host that a file or an older container claims is not taken by a newer one,
//! whatever its priority; `||` does not widen a rule to such a host. The same holds for names of TCP routers, and for
//! entry points of UDP routers, which have no names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Fault;
use crate::name::RouterName;
use crate::problem::Origin;
use crate::routing::merge::Merged;
use crate::routing::raw::{Defined, RawRouter, Scope};
use crate::rule::{self, RequiredHost};

/// Routers that reach for a host of others, and why they are left out.
pub(super) fn refused<'a>(
    routers: impl Iterator<Item = (&'a RouterName, &'a Defined<RawRouter>)>,
) -> BTreeMap<RouterName, Fault> {
    let mut candidates: Vec<_> = routers.collect();
    if candidates.iter().all(|(_, item)| item.scope == Scope::Shared) {
        return BTreeMap::new();
    }
    candidates.sort_by_key(|(name, item)| (item.scope != Scope::Shared, item.since, &item.scope, *name));
    let candidates = candidates.into_iter().filter_map(|(name, item)| {
        let rule = rule::parse(&item.value.rule).ok()?;
        let named = hosts(rule.hosts());
        Some(Candidate { name, owner: Owner::of(item), named, required: rule.required_hosts() })
    });
    first_come(candidates, &mut Claims::default())
}

/// TCP routers that reach for a name of others, of HTTP routers too, and why they are left out.
pub(super) fn refused_tcp(merged: &Merged) -> BTreeMap<RouterName, Fault> {
    if merged.tcp_routers.values().all(|item| item.scope == Scope::Shared) {
        return BTreeMap::new();
    }
    let mut claims = Claims::default();
    for item in merged.routers.values() {
        for host in rule::parse(&item.value.rule).iter().flat_map(|rule| hosts(rule.hosts())) {
            claims.add(host, Owner::of(item));
        }
    }
    let mut items: Vec<_> = merged.tcp_routers.iter().collect();
    items.sort_by_key(|(name, item)| (item.scope != Scope::Shared, item.since, &item.scope, *name));
    let candidates = items.into_iter().filter_map(|(name, item)| {
        let rule = rule::parse_tcp(&item.value.rule).ok()?;
        let named = hosts(rule.hosts());
        Some(Candidate { name, owner: Owner::of(item), named, required: rule.required_hosts() })
    });
    first_come(candidates, &mut claims)
}

/// UDP routers that reach for an entry point of others, and why they are left out.
pub(super) fn refused_udp(merged: &Merged) -> BTreeMap<RouterName, Fault> {
    let mut refused = BTreeMap::new();
    let mut items: Vec<_> = merged.udp_routers.iter().collect();
    if items.iter().all(|(_, item)| item.scope == Scope::Shared) {
        return refused;
    }
    items.sort_by_key(|(name, item)| (item.scope != Scope::Shared, item.since, &item.scope, *name));
    let mut taken: BTreeMap<&str, Owner<'_>> = BTreeMap::new();
    for (name, item) in items {
        let owner = Owner::of(item);
        let wanted = &item.value.entry_points;
        let others = wanted
            .iter()
            .find_map(|wish| taken.get(wish.as_str()).filter(|other| other.scope != owner.scope));
        let fault = match (owner.scope, others) {
            (Scope::Shared, _) => None,
            (Scope::Container { .. }, Some(other)) => Some(Fault::new(
                format!("its entry point is already claimed by {}", other.origin),
                "with `labelScope: container` an entry point stays with who claimed it first",
            )),
            (Scope::Container { .. }, None) if wanted.is_empty() => Some(Fault::new(
                "it reaches every UDP entry point, which `labelScope: container` does not allow",
                "set `entryPoints`",
            )),
            (Scope::Container { .. }, None) => None,
        };
        match fault {
            Some(fault) => drop(refused.insert(name.clone(), fault)),
            None => {
                for wish in wanted {
                    taken.entry(wish).or_insert(owner);
                }
            }
        }
    }
    refused
}

/// A router with the hosts that it names, and those without which it does not match.
struct Candidate<'a> {
    name: &'a RouterName,
    owner: Owner<'a>,
    named: Vec<RequiredHost>,
    required: Option<BTreeSet<RequiredHost>>,
}

/// Whose something is.
#[derive(Debug, Clone, Copy)]
struct Owner<'a> {
    scope: &'a Scope,
    origin: &'a Origin,
}

impl<'a> Owner<'a> {
    fn of<T>(item: &'a Defined<T>) -> Self {
        Self { scope: &item.scope, origin: &item.origin }
    }
}

/// Files and the table come first, then containers by age: each keeps what it claimed.
fn first_come<'a>(
    candidates: impl Iterator<Item = Candidate<'a>>,
    claims: &mut Claims<'a>,
) -> BTreeMap<RouterName, Fault> {
    let mut refused = BTreeMap::new();
    for Candidate { name, owner, named, required } in candidates {
        match owner.scope {
            Scope::Shared => named.into_iter().for_each(|host| claims.add(host, owner)),
            Scope::Container { .. } => match claims.check(required, owner) {
                Ok(hosts) => hosts.into_iter().for_each(|host| claims.add(host, owner)),
                Err(fault) => drop(refused.insert(name.clone(), fault)),
            },
        }
    }
    refused
}

/// Hosts as rules name them.
fn hosts(names: Vec<String>) -> Vec<RequiredHost> {
    let host = |name: &String| match name.strip_prefix('*') {
        Some(suffix) => RequiredHost::Wildcard(Arc::from(suffix)),
        None => RequiredHost::Exact(Arc::from(name.as_str())),
    };
    names.iter().map(host).collect()
}

#[derive(Default)]
struct Claims<'a> {
    hosts: BTreeMap<RequiredHost, Owner<'a>>,
}

impl<'a> Claims<'a> {
    fn add(&mut self, host: RequiredHost, owner: Owner<'a>) {
        self.hosts.entry(host).or_insert(owner);
    }

    /// The hosts that a container's rule takes, if none of them is another's.
    fn check(
        &self,
        required: Option<BTreeSet<RequiredHost>>,
        mine: Owner<'_>,
    ) -> Result<BTreeSet<RequiredHost>, Fault> {
        let Some(hosts) = required else {
            return Err(Fault::new(
                "the rule reaches every host, which `labelScope: container` does not allow",
                "name the host: ``Host(`app.example.com`) && …``",
            ));
        };
        for host in &hosts {
            let owner = self.owner(host).filter(|owner| owner.scope != mine.scope);
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
    fn owner(&self, host: &RequiredHost) -> Option<Owner<'a>> {
        if let Some(owner) = self.hosts.get(host) {
            return Some(*owner);
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
