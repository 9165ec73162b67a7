//! RouteTable: host map first, then rules by priority -> Route. Pure.
//!
//! The cost of a match does not grow with the number of other hosts.

mod condition;
mod explain;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use config::rule::{RequiredHost, Rule};
use foldhash::fast::RandomState;
use http::{HeaderMap, Method};

use self::condition::Condition;
use super::Route;

/// What a rule can see of a request. Everything in it is canonical: computed once, used by matching, limits,
/// rewriting and log.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a> {
    /// The method, as sent.
    pub method: &'a Method,
    /// Canonical host for comparison with `Host(..)`: lower-cased, no port, no brackets, one trailing dot
    /// removed; empty without a host.
    pub host: &'a str,
    /// The same before the trailing dot was removed: what `HostRegexp` searches (Traefik tolerates the dot only in `Host`).
    pub host_with_dot: &'a str,
    /// Routing path: decoded but for the reserved set.
    pub path: &'a str,
    /// Canonical query (`security::canonical::query`), without `?`.
    pub query: Option<&'a str>,
    /// Header fields, after the identity stage.
    pub headers: &'a HeaderMap,
    /// The believed client address.
    pub client: IpAddr,
}

/// One router on its way into the table. Priority, name and standing are the route's.
#[derive(Debug, Clone)]
pub struct RouteEntry {
    /// When it matches.
    pub rule: Rule,
    /// Position of its provider in `providers.precedence`: between equal priorities the smaller is asked first.
    pub precedence: usize,
    /// What is served.
    pub route: Arc<Route>,
}

/// Routes of one listener, ready to match.
#[derive(Default)]
pub struct RouteTable {
    /// In the order in which they are asked.
    ranked: Box<[Ranked]>,
    /// Host -> positions in `ranked`, ascending, of the routers that can match only for it (and maybe others).
    hosts: HashMap<Arc<str>, Vec<u32>, RandomState>,
    /// The same for `*.example.com`, by `.example.com`.
    wildcards: HashMap<Arc<str>, Vec<u32>, RandomState>,
    /// The routers that can match for any host.
    rest: Vec<u32>,
}

struct Ranked {
    condition: Condition,
    rule: Rule,
    route: Arc<Route>,
}

impl fmt::Debug for RouteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.routes().map(|route| &route.name)).finish()
    }
}

/// A router that was asked, or would have been, and what came of it.
#[derive(Debug, Clone)]
pub struct Considered {
    /// The router.
    pub route: Arc<Route>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of asking a router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It matches and is asked first: it serves the request.
    Wins,
    /// It matches as well, but another is asked before it.
    Shadowed,
    /// It does not match.
    Misses {
        /// The first condition that failed, as text: `` Path(`/api`) ``, or `` !Method(`GET`) ``.
        failed: String,
    },
}

impl RouteTable {
    /// Sorts once: running routers by priority (highest first), precedence, name; then the stopped ones likewise.
    pub fn build(mut entries: Vec<RouteEntry>) -> Self {
        entries.sort_by(|a, b| {
            (a.route.down.is_some().cmp(&b.route.down.is_some()))
                .then_with(|| b.route.priority.cmp(&a.route.priority))
                .then_with(|| a.precedence.cmp(&b.precedence))
                .then_with(|| a.route.name.cmp(&b.route.name))
        });
        let mut hosts: HashMap<Arc<str>, Vec<u32>, RandomState> =
            HashMap::with_capacity_and_hasher(entries.len(), RandomState::default());
        let mut wildcards: HashMap<Arc<str>, Vec<u32>, RandomState> = HashMap::default();
        let mut rest = Vec::new();
        for (position, entry) in (0_u32..).zip(&entries) {
            match entry.rule.required_hosts() {
                None => rest.push(position),
                Some(required) => {
                    for host in required {
                        match host {
                            RequiredHost::Exact(host) => hosts.entry(host).or_default().push(position),
                            RequiredHost::Wildcard(suffix) => {
                                wildcards.entry(suffix).or_default().push(position);
                            }
                        }
                    }
                }
            }
        }
        let ranked = entries
            .into_iter()
            .map(|RouteEntry { rule, route, .. }| Ranked {
                condition: Condition::compile(rule.expression()),
                rule,
                route,
            })
            .collect();
        Self { ranked, hosts, wildcards, rest }
    }

    /// The first router, by rank, whose rule matches. Allocates nothing, but to decode a query or a header line
    /// that a rule asks for.
    pub fn find(&self, request: &RequestView<'_>) -> Option<&Arc<Route>> {
        self.candidates(request).find(|ranked| ranked.condition.holds(request)).map(|ranked| &ranked.route)
    }

    /// The routers whose rule asks for this host or for none, by rank.
    fn candidates(&self, request: &RequestView<'_>) -> impl Iterator<Item = &Ranked> {
        let mut hosts = self.hosts.get(request.host).map_or(&[][..], Vec::as_slice);
        let mut wildcards = if self.wildcards.is_empty() {
            &[][..]
        } else {
            condition::parent(request.host)
                .and_then(|parent| self.wildcards.get(parent))
                .map_or(&[][..], Vec::as_slice)
        };
        let mut rest = self.rest.as_slice();
        std::iter::from_fn(move || {
            let next = *[hosts.first(), wildcards.first(), rest.first()].into_iter().flatten().min()?;
            // A rule may ask for a host and for its wildcard: it is asked once.
            for list in [&mut hosts, &mut wildcards, &mut rest] {
                if list.first() == Some(&next) {
                    *list = &list[1..];
                }
            }
            self.ranked.get(usize::try_from(next).ok()?)
        })
    }

    /// Some router may match whatever the host.
    pub fn serves_any_host(&self) -> bool {
        !self.rest.is_empty()
    }

    /// The routers in the order in which they are asked.
    pub fn routes(&self) -> impl ExactSizeIterator<Item = &Arc<Route>> {
        self.ranked.iter().map(|ranked| &ranked.route)
    }

    /// The winner, then routers that it shadows, then the nearest misses, nearest first: at most `limit` in all.
    /// Asks every router, so it is for people and not for requests.
    pub fn explain(&self, request: &RequestView<'_>, limit: usize) -> Vec<Considered> {
        explain::explain(self, request, limit)
    }
}

#[cfg(test)]
mod tests;
