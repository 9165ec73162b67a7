//! TCP and UDP that is valid.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::Standing;
use super::tls::{RouterTls, UpstreamTls};
use crate::name::{EntryPointName, MiddlewareName, RouterName, ServiceName};
use crate::problem::Origin;
use crate::rule::TcpRule;

/// TCP routers and what they use.
#[derive(Debug, Clone, Default)]
pub struct Tcp {
    /// Routers.
    pub routers: BTreeMap<RouterName, TcpRouter>,
    /// Services.
    pub services: BTreeMap<ServiceName, TcpService>,
    /// Middlewares.
    pub middlewares: BTreeMap<MiddlewareName, TcpMiddleware>,
}

/// A valid TCP router.
#[derive(Debug, Clone, PartialEq)]
pub struct TcpRouter {
    /// Its qualified name.
    pub name: RouterName,
    /// What it matches.
    pub rule: TcpRule,
    /// Higher is asked first. Explicit, or the length of the rule; ``HostSNI(`*`)`` alone -1.
    pub priority: i64,
    /// Breaks ties of priority: position of its provider, lower first.
    pub precedence: usize,
    /// Where it listens; never empty.
    pub entry_points: Vec<EntryPointName>,
    /// What happens to TLS.
    pub tls: StreamTls,
    /// In order; every one exists.
    pub middlewares: Vec<MiddlewareName>,
    /// A service in [`Tcp::services`], or why connections are closed: what would have to be left out.
    pub service: Result<ServiceName, Arc<str>>,
    /// Whether its container runs.
    pub standing: Standing,
    /// Where it was written.
    pub origin: Origin,
}

/// What a TCP router does with TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamTls {
    /// Serves plain connections.
    None,
    /// Serves TLS connections, and forwards them untouched.
    Passthrough,
    /// Serves TLS connections, and ends TLS here.
    Terminate(RouterTls),
}

/// A valid TCP service.
#[derive(Debug, Clone, PartialEq)]
pub struct TcpService {
    /// Its qualified name.
    pub name: ServiceName,
    /// What it is made of.
    pub kind: TcpServiceKind,
    /// Why there is no server, when there is none.
    pub down: Option<Arc<str>>,
    /// Where it was written.
    pub origin: Origin,
}

/// What a TCP service is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum TcpServiceKind {
    /// Servers.
    Servers {
        /// Ordered by address, none twice.
        servers: Vec<TcpServer>,
        /// Active health check.
        health_check: Option<TcpHealthCheck>,
        /// How they are reached.
        transport: Arc<TcpTransport>,
    },
    /// Other services of [`Tcp::services`], each with its weight (0: never).
    Weighted(Vec<(ServiceName, u32)>),
}

/// One address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TcpServer {
    /// `host:port` as written.
    pub address: Arc<str>,
    /// Host name or address, IPv6 without brackets.
    pub host: Arc<str>,
    /// Port.
    pub port: u16,
    /// TLS towards it.
    pub tls: bool,
}

/// How TCP servers are reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TcpTransport {
    /// To connect (30 s).
    pub dial_timeout: Duration,
    /// Between keep-alive probes (15 s); none: no probes.
    pub keep_alive: Option<Duration>,
    /// How long one direction may stay open after the other was closed (100 ms); none: for ever.
    pub termination_delay: Option<Duration>,
    /// PROXY protocol in front of each connection.
    pub proxy_protocol: Option<ProxyVersion>,
    /// TLS towards servers that have it.
    pub tls: UpstreamTls,
}

impl Default for TcpTransport {
    fn default() -> Self {
        Self {
            dial_timeout: Duration::from_secs(30),
            keep_alive: Some(Duration::from_secs(15)),
            termination_delay: Some(Duration::from_millis(100)),
            proxy_protocol: None,
            tls: UpstreamTls::default(),
        }
    }
}

/// Version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyVersion {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// Active health check of TCP servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpHealthCheck {
    /// Another port than the server's.
    pub port: Option<u16>,
    /// Sent after the connect.
    pub send: Box<[u8]>,
    /// What must come back first; empty: nothing is read.
    pub expect: Box<[u8]>,
    /// Between checks (30 s).
    pub interval: Duration,
    /// Between checks of a server that is down (`interval`).
    pub unhealthy_interval: Duration,
    /// Of one check (5 s).
    pub timeout: Duration,
}

/// A valid TCP middleware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TcpMiddleware {
    /// Clients that may pass.
    IpAllowList(Vec<IpNet>),
    /// Connections of one client at a time.
    InFlightConn(u32),
}

/// UDP routers and services.
#[derive(Debug, Clone, Default)]
pub struct Udp {
    /// Routers; one an entry point is in force.
    pub routers: BTreeMap<RouterName, UdpRouter>,
    /// Services.
    pub services: BTreeMap<ServiceName, UdpService>,
}

/// A valid UDP router.
#[derive(Debug, Clone, PartialEq)]
pub struct UdpRouter {
    /// Its qualified name.
    pub name: RouterName,
    /// Where it listens: the entry points on which it is the one in force (its name sorts last, as in Traefik).
    pub entry_points: Vec<EntryPointName>,
    /// A service in [`Udp::services`], or why datagrams are dropped.
    pub service: Result<ServiceName, Arc<str>>,
    /// Where it was written.
    pub origin: Origin,
}

/// A valid UDP service.
#[derive(Debug, Clone, PartialEq)]
pub struct UdpService {
    /// Its qualified name.
    pub name: ServiceName,
    /// What it is made of.
    pub kind: UdpServiceKind,
    /// Where it was written.
    pub origin: Origin,
}

/// What a UDP service is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum UdpServiceKind {
    /// `host:port`, ordered, none twice.
    Servers(Vec<Arc<str>>),
    /// Other services of [`Udp::services`], each with its weight.
    Weighted(Vec<(ServiceName, u32)>),
}
