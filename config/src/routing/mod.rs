//! Routing configuration: what may change at any moment. Routers, services, middlewares, TLS options.
//!
//! [`raw`] is the one shape that files, labels and the static table decode into; [`merge`] joins what the
//! providers sent; [`validate`] makes a [`Routing`] of it and says what had to be left out.

pub mod file;
mod in_step;
mod item;
pub mod labels;
pub mod merge;
pub mod middleware;
pub mod raw;
pub mod stream;
pub mod tls;
pub mod transport;
pub mod validate;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use in_step::InStep;

use self::middleware::Middleware;
use self::stream::{Tcp, TcpServiceKind, Udp};
use self::tls::{CertificateSource, DefaultCertificate, Pem, RouterTls, Tls};
use self::transport::Transport;

use crate::name::{EntryPointName, MiddlewareName, RouterName, ServiceName};
use crate::problem::Origin;
use crate::rule::Rule;

/// Everything that can be routed, valid as a whole: each router's entry points exist, and each target is either
/// a service in [`Routing::services`] (or an internal one) or an explained 503.
#[derive(Debug, Clone, Default)]
pub struct Routing {
    /// HTTP routers. A router on several entry points with different defaults (TLS, middlewares) appears once
    /// an entry point, named `<entrypoint>-<router>@provider`, as in Traefik.
    pub routers: BTreeMap<RouterName, Router>,
    /// HTTP services.
    pub services: BTreeMap<ServiceName, Service>,
    /// HTTP middlewares that are served. Chains are taken apart where routers name them.
    pub middlewares: BTreeMap<MiddlewareName, Middleware>,
    /// TLS: options, certificates.
    pub tls: Tls,
    /// TCP.
    pub tcp: Tcp,
    /// UDP.
    pub udp: Udp,
    /// Every item as it was written, valid or not, for the read API.
    pub listing: Listing,
}

impl Routing {
    /// Every pair that names are served with: `tls.certificates`, and the default certificate's.
    pub fn pairs(&self) -> impl Iterator<Item = &CertificateSource> {
        self.tls.certificates.iter().chain(match &self.tls.default_certificate {
            DefaultCertificate::Pair(pair) => Some(pair),
            DefaultCertificate::Generated | DefaultCertificate::Resolver { .. } => None,
        })
    }

    /// Everything else in PEM that it names: who may have signed clients' and servers' certificates, and what servers
    /// are shown. In no order, and more than once what is named more than once.
    pub fn trust(&self) -> impl Iterator<Item = &Pem> {
        let options = self.tls.options.values().filter_map(|options| options.as_ref().ok());
        let http = self.services.values().map(|service| &service.transport.tls);
        let tcp = self.tcp.services.values().filter_map(|service| match &service.kind {
            TcpServiceKind::Servers { transport, .. } => Some(&transport.tls),
            TcpServiceKind::Weighted(_) => None,
        });
        let roots = options.flat_map(|options| options.client_auth.roots());
        roots.chain(http.chain(tcp).flat_map(tls::UpstreamTls::pems))
    }

    /// Everything in PEM that it names.
    pub fn pems(&self) -> impl Iterator<Item = &Pem> {
        self.pairs().flat_map(|pair| [&pair.chain, &pair.key]).chain(self.trust())
    }
}

/// A valid HTTP router.
#[derive(Debug, Clone, PartialEq)]
pub struct Router {
    /// Its qualified name.
    pub name: RouterName,
    /// What it matches.
    pub rule: Rule,
    /// Higher is asked first. Explicit, or the byte length of the rule's text.
    pub priority: i64,
    /// Breaks ties of priority: position of its provider in `providers.precedence`, lower first.
    pub precedence: usize,
    /// Where it listens; never empty.
    pub entry_points: Vec<EntryPointName>,
    /// Serves TLS connections only if there, plain ones only if not.
    pub tls: Option<RouterTls>,
    /// In order, the entry point's first; each is in [`Routing::middlewares`]. One that is left out is not here.
    pub middlewares: Vec<MiddlewareName>,
    /// Where a request goes.
    pub target: Target,
    /// Whether its container runs. Routers of stopped containers are asked after all others.
    pub standing: Standing,
    /// Refuses requests that have been through it (400): set for routers with the default rule.
    pub recursion_guard: bool,
    /// What is recorded of its requests.
    pub observability: Observability,
    /// Where it was written.
    pub origin: Origin,
}

/// Where a router sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A service in [`Routing::services`].
    Service(ServiceName),
    /// One of ours.
    Internal(InternalService),
    /// 503 with this reason: the service or a middleware is bad or missing, or would have to be left out.
    Unavailable(Arc<str>),
}

/// A service of the gateway itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InternalService {
    /// `api@internal`: read API (and dashboard).
    Api,
    /// `dashboard@internal`.
    Dashboard,
    /// `ping@internal`.
    Ping,
    /// `prometheus@internal`.
    Prometheus,
    /// `acme-http@internal`: what proves a name to an ACME server.
    AcmeHttp,
    /// `noop@internal`: always 418.
    Noop,
    /// `whoami@internal`: shows the visitor what the gateway saw, and why it believed the address.
    Whoami,
}

/// Whether what an item stands for is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Standing {
    /// It is.
    #[default]
    Up,
    /// Its container is stopped, starting or unhealthy: 503 with this reason.
    Down(Arc<str>),
}

/// A valid HTTP service.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Its qualified name.
    pub name: ServiceName,
    /// Servers, ordered by URL, no URL twice; empty = 503.
    pub servers: Vec<Server>,
    /// Why there is no server, when there is none.
    pub down: Option<Arc<str>>,
    /// Forward the client's Host (true), or the host of the server's URL.
    pub pass_host_header: bool,
    /// How its servers are reached.
    pub transport: Arc<Transport>,
    /// Where it was written.
    pub origin: Origin,
}

/// One upstream address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Server {
    /// As written, for display and as its identity: `http://10.0.0.1:80`.
    pub url: Arc<str>,
    /// How to talk to it.
    pub scheme: Scheme,
    /// Host name or address, IPv6 without brackets.
    pub host: Arc<str>,
    /// Port, from the URL or the scheme's default.
    pub port: u16,
    /// Share of requests, 1 or more (a server with 0 or less is left out).
    pub weight: u32,
    /// Path of the URL put in front of the request's path; empty unless `preservePath`.
    pub path_prefix: Arc<str>,
    /// SHA-256 of its certificate (DER): exactly this one, whoever signed it.
    pub pin: Option<[u8; 32]>,
}

/// How to talk to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// HTTP/1.1 in plain text.
    Http,
    /// HTTP/2 or HTTP/1.1 by ALPN, over TLS.
    Https,
    /// HTTP/2 with prior knowledge, in plain text.
    H2c,
}

/// What is recorded of a router's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observability {
    /// Access log.
    pub access_logs: bool,
    /// Metrics.
    pub metrics: bool,
    /// Tracing.
    pub tracing: bool,
}

impl Default for Observability {
    fn default() -> Self {
        Self { access_logs: true, metrics: true, tracing: true }
    }
}

/// Every item as it was written, with its state: what Traefik's read API shows.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// HTTP routers.
    pub routers: BTreeMap<RouterName, Listed<raw::RawRouter>>,
    /// HTTP services.
    pub services: BTreeMap<ServiceName, Listed<raw::RawService>>,
    /// HTTP middlewares.
    pub middlewares: BTreeMap<MiddlewareName, Listed<raw::RawMiddleware>>,
    /// TCP routers.
    pub tcp_routers: BTreeMap<RouterName, Listed<raw::RawTcpRouter>>,
    /// TCP services.
    pub tcp_services: BTreeMap<ServiceName, Listed<raw::RawTcpService>>,
    /// TCP middlewares.
    pub tcp_middlewares: BTreeMap<MiddlewareName, Listed<raw::RawTcpMiddleware>>,
    /// UDP routers.
    pub udp_routers: BTreeMap<RouterName, Listed<raw::RawUdpRouter>>,
    /// UDP services.
    pub udp_services: BTreeMap<ServiceName, Listed<raw::RawUdpService>>,
}

/// One item as it was written, with its state.
#[derive(Debug, Clone)]
pub struct Listed<T> {
    /// As written, and where; names in it as referenced.
    pub item: raw::Defined<T>,
    /// Its state.
    pub status: Status,
    /// Why it is not `enabled`.
    pub errors: Vec<String>,
    /// Routers: entry points that really serve it. Others: routers that use it. Sorted.
    pub used_by: Vec<String>,
    /// Priority as computed (routers), 0 for others.
    pub priority: i64,
}

/// Traefik's state of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Works.
    Enabled,
    /// Works, not as written.
    Warning,
    /// Left out.
    Disabled,
}

impl Status {
    /// The text that Traefik's API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Warning => "warning",
            Self::Disabled => "disabled",
        }
    }
}
