//! TCP and UDP routers, compiled: tables of an entry point, their services, and what outlives a snapshot.

mod balance;
mod compile;
mod guard;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use config::name::{RouterName, ServiceName};
use config::routing::stream::{TcpHealthCheck, TcpServer, TcpTransport};
use config::rule::{Expression, TcpConnection, TcpMatcher, TcpRule};
use foldhash::fast::RandomState;

pub use self::balance::{Balanced, StreamService};
pub use self::compile::Streams;
pub(super) use self::compile::{EntryPointStreams, compile};
pub use self::guard::{Denial, Guard, InFlight, Passage};
use super::service::Slot;
use super::tls::TlsPolicy;
use super::trust::Trust;

/// A TCP service, compiled.
pub type TcpService = StreamService<TcpUpstream>;
/// A UDP service, compiled.
pub type UdpService = StreamService<UdpUpstream>;

/// One TCP router, compiled.
#[derive(Debug)]
pub struct TcpRoute {
    /// Its qualified name.
    pub name: RouterName,
    /// When it matches.
    pub rule: TcpRule,
    /// Its priority.
    pub priority: i64,
    /// Position of its provider: between equal priorities the smaller is asked first.
    pub precedence: usize,
    /// What happens to TLS.
    pub tls: TcpTls,
    /// In order.
    pub guards: Box<[Guard]>,
    /// Where connections go, or why they are closed.
    pub service: Result<Arc<TcpService>, Arc<str>>,
    /// Its container does not run: asked last, and connections are closed for this reason.
    pub down: Option<Arc<str>>,
}

/// What a TCP router does with TLS.
#[derive(Debug, Clone)]
pub enum TcpTls {
    /// Serves plain connections.
    None,
    /// Serves TLS connections, and forwards them untouched.
    Passthrough,
    /// Serves TLS connections, and ends TLS here under this policy.
    Terminate(Arc<TlsPolicy>),
}

/// One UDP router, compiled.
#[derive(Debug)]
pub struct UdpRoute {
    /// Its qualified name.
    pub name: RouterName,
    /// Where datagrams go, or why they are dropped.
    pub service: Result<Arc<UdpService>, Arc<str>>,
}

/// A TCP server, compiled.
#[derive(Debug)]
pub struct TcpUpstream {
    /// As validated.
    pub server: TcpServer,
    /// What it shares with the other servers of its service.
    pub group: Arc<TcpGroup>,
    /// Kept by the hot path for as long as the server lives, over all snapshots.
    pub slot: Arc<Slot>,
    state: Arc<ServerState>,
}

/// What the servers of one TCP service have in common.
#[derive(Debug)]
pub struct TcpGroup {
    /// The service.
    pub service: ServiceName,
    /// How they are reached.
    pub transport: Arc<TcpTransport>,
    /// Whom connections with TLS trust, or why there are none.
    pub trust: Result<Arc<Trust>, Arc<str>>,
    /// How their health is checked.
    pub health_check: Option<TcpHealthCheck>,
    /// Kept by the hot path for as long as transport and trust stay the same.
    pub slot: Arc<Slot>,
}

/// A UDP server, compiled.
#[derive(Debug)]
pub struct UdpUpstream {
    /// `host:port` as written.
    pub address: Arc<str>,
    /// Host name or address, IPv6 without brackets.
    pub host: Arc<str>,
    /// Port.
    pub port: u16,
    /// Kept by the hot path for as long as the server lives, over all snapshots.
    pub slot: Arc<Slot>,
}

/// What is known of a server, over all snapshots.
#[derive(Debug)]
struct ServerState {
    up: AtomicBool,
    open: AtomicUsize,
}

impl Default for ServerState {
    /// Servers start as up.
    fn default() -> Self {
        Self { up: AtomicBool::new(true), open: AtomicUsize::new(0) }
    }
}

/// A connection that a server has; counted until dropped.
#[derive(Debug)]
pub struct OpenStream(Arc<ServerState>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl TcpUpstream {
    /// Its last health check succeeded, or it has had none.
    pub fn is_up(&self) -> bool {
        self.state.up.load(Ordering::Relaxed)
    }

    /// What a health check found. Gives what was known before.
    pub fn set_up(&self, up: bool) -> bool {
        self.state.up.swap(up, Ordering::Relaxed)
    }

    /// Connections that it has.
    pub fn open_streams(&self) -> usize {
        self.state.open.load(Ordering::Relaxed)
    }

    /// Counts a connection until the value is dropped.
    pub fn open_stream(&self) -> OpenStream {
        self.state.open.fetch_add(1, Ordering::Relaxed);
        OpenStream(Arc::clone(&self.state))
    }
}

impl Balanced for TcpUpstream {
    fn is_up(&self) -> bool {
        Self::is_up(self)
    }
}

impl Balanced for UdpUpstream {
    /// Nothing checks them.
    fn is_up(&self) -> bool {
        true
    }
}

/// TCP routers of one entry point. Plain and TLS connections have lists of their own, as in Traefik.
#[derive(Default)]
pub struct TcpTable {
    plain: Ranked,
    tls: Ranked,
}

impl fmt::Debug for TcpTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.routes().map(|route| &route.name)).finish()
    }
}

impl TcpTable {
    /// Sorts once: running routers by priority (highest first), precedence, name; then the stopped ones likewise.
    pub fn build(mut routes: Vec<Arc<TcpRoute>>) -> Self {
        routes.sort_by(|a, b| {
            (a.down.is_some().cmp(&b.down.is_some()))
                .then_with(|| b.priority.cmp(&a.priority))
                .then_with(|| a.precedence.cmp(&b.precedence))
                .then_with(|| a.name.cmp(&b.name))
        });
        let (plain, tls) = routes.into_iter().partition(|route| matches!(route.tls, TcpTls::None));
        Self { plain: Ranked::new(plain), tls: Ranked::new(tls) }
    }

    /// The first router without TLS, by rank, whose rule matches.
    pub fn find_plain(&self, connection: &TcpConnection<'_>) -> Option<&Arc<TcpRoute>> {
        self.plain.find(connection)
    }

    /// The first router with TLS, by rank, whose rule matches.
    pub fn find_tls(&self, connection: &TcpConnection<'_>) -> Option<&Arc<TcpRoute>> {
        self.tls.find(connection)
    }

    /// There are routers without TLS.
    pub fn has_plain(&self) -> bool {
        !self.plain.routes.is_empty()
    }

    /// There are routers with TLS.
    pub fn has_tls(&self) -> bool {
        !self.tls.routes.is_empty()
    }

    /// All routers: those without TLS, then those with, each in the order in which they are asked.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<TcpRoute>> {
        self.plain.routes.iter().chain(&self.tls.routes)
    }

    fn len(&self) -> usize {
        self.plain.routes.len() + self.tls.routes.len()
    }
}

/// Routers in the order in which they are asked.
#[derive(Default)]
struct Ranked {
    routes: Box<[Arc<TcpRoute>]>,
    /// Server name -> positions, ascending, of the routers that can match only for it (and maybe others).
    names: HashMap<Arc<str>, Vec<usize>, RandomState>,
    /// The routers that can match for any name.
    rest: Vec<usize>,
}

impl Ranked {
    fn new(routes: Vec<Arc<TcpRoute>>) -> Self {
        let mut names: HashMap<Arc<str>, Vec<usize>, RandomState> = HashMap::default();
        let mut rest = Vec::new();
        for (position, route) in routes.iter().enumerate() {
            match required_names(route.rule.expression()) {
                None => rest.push(position),
                Some(mut required) => {
                    required.sort_unstable();
                    required.dedup();
                    for name in required {
                        names.entry(name).or_default().push(position);
                    }
                }
            }
        }
        Self { routes: routes.into(), names, rest }
    }

    fn find(&self, connection: &TcpConnection<'_>) -> Option<&Arc<TcpRoute>> {
        if self.routes.is_empty() {
            return None;
        }
        let mut named = if self.names.is_empty() {
            &[][..]
        } else {
            let name = connection.server_name.to_ascii_lowercase();
            let name = name.strip_suffix('.').unwrap_or(&name);
            self.names.get(name).map_or(&[][..], Vec::as_slice)
        };
        let mut rest = self.rest.as_slice();
        std::iter::from_fn(|| {
            let list = match (named.first(), rest.first()) {
                (Some(one), Some(other)) if one > other => &mut rest,
                (Some(_), _) => &mut named,
                (None, _) => &mut rest,
            };
            let (position, others) = list.split_first()?;
            *list = others;
            self.routes.get(*position)
        })
        .find(|route| route.rule.matches(connection))
    }
}

/// Server names such that every connection that matches asks for one of them; none where any may match.
fn required_names(expression: &Expression<TcpMatcher>) -> Option<Vec<Arc<str>>> {
    match expression {
        Expression::Matcher(TcpMatcher::HostSni(name)) => Some(vec![Arc::clone(name)]),
        Expression::Matcher(
            TcpMatcher::HostSniWildcard(_)
            | TcpMatcher::AnySni
            | TcpMatcher::HostSniRegexp(_)
            | TcpMatcher::ClientIp(_)
            | TcpMatcher::Alpn(_),
        )
        | Expression::Not(_) => None,
        Expression::And(operands) => operands.iter().filter_map(required_names).min_by_key(Vec::len),
        Expression::Or(operands) => {
            let names: Option<Vec<_>> = operands.iter().map(required_names).collect();
            names.map(|names| names.concat())
        }
    }
}
