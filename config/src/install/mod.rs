//! Install configuration: what is fixed for the process. `raw` is the file exactly as written, [`load`] joins
//! file, variables and flags and checks them, this file holds what comes out.

pub mod acme;
mod address;
pub mod load;
mod notices;
mod raw;
mod resolve;
mod sources;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

pub use self::acme::CertificateResolver;
use crate::document::Node;
use crate::name::{EntryPointName, ProviderName};
use crate::routing::raw::RawRouterTls;
use crate::routing::stream::TcpTransport;
use crate::routing::transport::Transport as ServersTransport;
use crate::secret::Secret;

/// Everything that is fixed for the process.
#[derive(Debug, Clone)]
pub struct Install {
    /// Listeners, by name. Includes `traefik` where Traefik would make it (`api.insecure`, `ping`, metrics).
    pub entry_points: Vec<EntryPoint>,
    /// Where routing settings come from.
    pub providers: Providers,
    /// Our admin listener.
    pub admin: Admin,
    /// Traefik's `api`.
    pub api: Option<Api>,
    /// Traefik's `ping`.
    pub ping: Option<Ping>,
    /// Traefik's `metrics`.
    pub metrics: Metrics,
    /// Access log; none = off.
    pub access_log: Option<AccessLog>,
    /// The program's own log.
    pub log: Log,
    /// Certificate resolvers that routers may refer to.
    pub certificate_resolvers: Vec<CertificateResolver>,
    /// How HTTP servers are reached by services that name no transport (`serversTransport`).
    pub servers_transport: Arc<ServersTransport>,
    /// The same for TCP servers (`tcpServersTransport`).
    pub tcp_servers_transport: Arc<TcpTransport>,
    /// Durable state.
    pub state_dir: PathBuf,
    /// Who to become when started as root.
    pub user: Option<User>,
    /// The install file that was read, if any.
    pub file: Option<PathBuf>,
    /// True when nothing at all was configured: design.md section 3, "no configuration at all".
    pub is_default: bool,
}

/// A listener.
#[derive(Debug, Clone)]
pub struct EntryPoint {
    /// Its name.
    pub name: EntryPointName,
    /// Where it listens.
    pub address: ListenAddress,
    /// Bound in place of the port of `address` when that cannot be bound, and a problem says so. Only where
    /// nothing was configured.
    pub fallback_port: Option<u16>,
    /// Routers without `entryPoints` are bound to it (already resolved from `asDefault`).
    pub is_default: bool,
    /// Who is believed about the client.
    pub client_ip: ClientIp,
    /// Bounds on what a client may do.
    pub limits: Limits,
    /// HTTP/2 with prior knowledge on this listener.
    pub h2c: bool,
    /// Concurrent HTTP/2 streams a connection.
    pub max_concurrent_streams: u32,
    /// Timeouts and life cycle.
    pub transport: Transport,
    /// Defaults for routers and path rules.
    pub http: EntryPointHttp,
    /// What is recorded.
    pub observability: crate::routing::Observability,
    /// `SO_REUSEPORT`.
    pub reuse_port: bool,
    /// UDP in place of TCP.
    pub udp: Option<UdpListener>,
    /// Every request is sent to another entry point (`http.redirections.entryPoint`).
    pub redirection: Option<Redirection>,
    /// Routers may answer ACME challenges although a resolver uses the entry point (`allowACMEByPass`).
    pub acme_by_pass: bool,
}

/// What a UDP listener adds (`udp`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpListener {
    /// How long a flow may be idle (3 s).
    pub timeout: Duration,
}

/// `http.redirections.entryPoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirection {
    /// Port of the target; none where it is the scheme's own.
    pub port: Option<u16>,
    /// Scheme of the target (`https`).
    pub scheme: Box<str>,
    /// 301 (true) or 302; methods other than GET get 308 or 307, as in Traefik.
    pub permanent: bool,
    /// Name of the target, for the router's name.
    pub to: Box<str>,
    /// Priority of the router (2^63 - 2).
    pub priority: i64,
}

/// Where a listener binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// `:80`: IPv6 and IPv4 in one socket; IPv4 alone where the machine has no IPv6. Port 0 = any free port.
    AnyAddress {
        /// TCP port.
        port: u16,
    },
    /// `0.0.0.0:80`, `[::]:80` (IPv6 alone), `127.0.0.1:80`.
    Address(SocketAddr),
    /// `unix:/run/hearthgate/web.sock`, with its file mode.
    Unix {
        /// The socket file.
        path: PathBuf,
        /// Its mode, 0o660 by default.
        mode: u32,
    },
}

impl ListenAddress {
    /// Its port; a Unix socket has none.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::AnyAddress { port } => Some(*port),
            Self::Address(address) => Some(address.port()),
            Self::Unix { .. } => None,
        }
    }
}

/// Who is believed about the client (security.md section 2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIp {
    /// Where the address comes from.
    pub mode: ClientIpMode,
    /// Peers whose forwarding headers are believed. Empty: nobody.
    pub trusted: Vec<TrustedProxy>,
    /// Every peer is trusted (`forwardedHeaders.insecure`).
    pub trust_everyone: bool,
    /// `X-Forwarded-For` carries the peer behind what it held (`notAppendXForwardedFor: false` written out).
    pub append_forwarded_for: bool,
}

/// Where the client's address comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientIpMode {
    /// The TCP peer.
    Peer,
    /// `X-Forwarded-For` behind a trusted peer: rightmost untrusted item, or the `depth`-th from the right.
    XForwardedFor {
        /// 0: rightmost untrusted.
        depth: usize,
    },
    /// The PROXY protocol's source behind a trusted peer, who must send it (security.md section 2 rule 7).
    ProxyProtocol,
}

/// A peer whose forwarding headers are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustedProxy {
    /// An address or range.
    Range(IpNet),
    /// A host name, resolved again every 30 seconds.
    Host(Arc<str>),
}

/// Bounds on what a client may do; `None` = no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From the first byte of a request head to its last (10 s).
    pub head_timeout: Option<Duration>,
    /// Size of a request head in bytes (32 KiB); beyond: 431.
    pub head_bytes: Option<usize>,
    /// Requests on one connection (1,000).
    pub requests_per_connection: Option<u32>,
}

/// Timeouts and life cycle of an entry point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transport {
    /// Longest silence of a client within a request body (60 s). Traefik's `readTimeout` when set.
    pub read_idle: Option<Duration>,
    /// Longest time without progress of a response write (60 s). Traefik's `writeTimeout` when set.
    pub write_idle: Option<Duration>,
    /// Keep-alive between requests (120 s, Traefik's `idleTimeout` when set).
    pub keep_alive: Option<Duration>,
    /// After SIGTERM, accept for this long (0).
    pub accept_grace: Duration,
    /// Then let open requests end for this long (9 s).
    pub grace: Duration,
}

/// Defaults for routers of an entry point, and path rules.
#[derive(Debug, Clone)]
pub struct EntryPointHttp {
    /// Put in front of every router's list, as referenced.
    pub middlewares: Vec<String>,
    /// TLS block of routers that have none of their own.
    pub tls: Option<RawRouterTls>,
    /// Resolve dot segments and repeated slashes (true).
    pub sanitize_path: bool,
    /// `;` in queries stays literal, as `%3B` (false).
    pub encode_query_semicolons: bool,
    /// Reserved characters that are refused in encoded form (`encodedCharacters`): each of `/`, `\`, NUL, `;`,
    /// `%`, `?`, `#` that is listed here is a 400.
    pub refused_encoded_characters: Vec<u8>,
    /// Header names with `_`.
    pub underscore_headers: UnderscoreHeaders,
}

/// What happens to header names with `_`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnderscoreHeaders {
    /// Dropped (ours by default).
    Delete,
    /// Kept, but for names that the gateway owns.
    Keep,
    /// 400.
    Reject,
}

/// Where routing settings come from.
#[derive(Debug, Clone, Default)]
pub struct Providers {
    /// Docker labels.
    pub docker: Option<DockerProvider>,
    /// Routing files.
    pub file: Option<FileProvider>,
    /// The static table.
    pub table: Option<TableProvider>,
    /// Settling time between two publications of one provider (`providersThrottleDuration`, 100 ms unless written;
    /// the first passes at once).
    pub throttle: Duration,
    /// Order in which equal priorities are broken: docker, file, table, others.
    pub precedence: Vec<ProviderName>,
}

/// `providers.docker`.
#[derive(Debug, Clone)]
pub struct DockerProvider {
    /// The engine.
    pub endpoint: DockerEndpoint,
    /// Containers without `traefik.enable` are routed.
    pub exposed_by_default: bool,
    /// Network whose address is used.
    pub network: Option<String>,
    /// Template of the rule of routers without one.
    pub default_rule: String,
    /// Filter by labels, as written.
    pub constraints: Option<String>,
    /// A starting or unhealthy container keeps its route among the others (503) instead of being asked last.
    pub allow_empty_services: bool,
    /// Use the host's address of a published port.
    pub use_bind_port_ip: bool,
    /// Listen for events.
    pub watch: bool,
    /// Label prefixes, each with its dot (`traefik.`); `hearthgate.` is always read and wins.
    pub label_prefixes: Vec<String>,
    /// How far labels reach.
    pub label_scope: LabelScope,
    /// True when this provider is on only because a socket answered, not because it was written.
    pub implied: bool,
}

/// How to reach the engine.
#[derive(Debug, Clone)]
pub enum DockerEndpoint {
    /// `unix:///var/run/docker.sock`.
    Unix(PathBuf),
    /// `tcp://` and `http://` without TLS: `host:port`.
    Http(String),
    /// `tcp://` with TLS or `https://`: `host:port`.
    Https {
        /// `host:port`.
        address: String,
        /// CA file; none: the system's.
        ca: Option<PathBuf>,
        /// Client certificate file.
        cert: Option<PathBuf>,
        /// Client key file.
        key: Option<PathBuf>,
    },
}

/// How far labels reach (security.md section 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelScope {
    /// As in Traefik.
    Shared,
    /// Names are scoped to the container; hosts that a file or an older container claims are not taken.
    Container,
}

/// `providers.file`.
#[derive(Debug, Clone)]
pub struct FileProvider {
    /// What is read.
    pub source: FileSource,
    /// Read again on change.
    pub watch: bool,
}

/// What the file provider reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileSource {
    /// One file.
    File(PathBuf),
    /// All `.yml`, `.yaml`, `.toml` below, in name order.
    Directory(PathBuf),
}

/// `providers.table`.
#[derive(Debug, Clone)]
pub enum TableProvider {
    /// In the install file itself.
    Inline(Node),
    /// A file of its own, watched.
    File(PathBuf),
}

/// Our admin listener.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where it listens.
    pub address: ListenAddress,
    /// True when the operator wrote the address: then a taken port is an error.
    pub address_was_set: bool,
    /// Token of writes (and of reads from elsewhere); none: made at first start in `stateDir/admin.token`.
    pub token: Option<Secret<String>>,
    /// Hosts that requests may name, without port, lower case.
    pub allowed_hosts: Vec<String>,
}

/// Traefik's `api`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Open on entry point `traefik`.
    pub insecure: bool,
    /// Dashboard too.
    pub dashboard: bool,
    /// In front of all its paths, without trailing slash; empty by default.
    pub base_path: String,
}

/// Traefik's `ping`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ping {
    /// Where `/ping` is answered.
    pub entry_point: EntryPointName,
    /// No router is made.
    pub manual_routing: bool,
    /// Status while draining (503).
    pub terminating_status: u16,
}

/// Traefik's `metrics`.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// `metrics.prometheus`; the admin listener has `/metrics` even without it.
    pub prometheus: Option<Prometheus>,
    /// Count requests to `…@internal` too.
    pub add_internals: bool,
}

/// `metrics.prometheus`.
#[derive(Debug, Clone)]
pub struct Prometheus {
    /// Where `/metrics` is answered.
    pub entry_point: EntryPointName,
    /// No router is made.
    pub manual_routing: bool,
    /// Upper bounds of the duration histograms, seconds.
    pub buckets: Vec<f64>,
    /// Series by entry point.
    pub entry_points_labels: bool,
    /// Series by router.
    pub routers_labels: bool,
    /// Series by service.
    pub services_labels: bool,
}

/// `accessLog`.
#[derive(Debug, Clone)]
pub struct AccessLog {
    /// A file, or standard output.
    pub file_path: Option<PathBuf>,
    /// Line format.
    pub format: AccessLogFormat,
    /// Keep a line if any set filter matches.
    pub filters: AccessLogFilters,
    /// JSON fields that are dropped, by name in lower case; `default_keep` says what happens to the others.
    pub fields: FieldModes,
    /// Header fields: dropped by default.
    pub headers: FieldModes,
    /// Keep the query in `RequestPath`. Ours drops it by default (security.md section 9); an explicit
    /// `fields.queryParameters.defaultMode: keep` keeps it.
    pub keep_query: bool,
    /// Log requests to `…@internal` too.
    pub add_internals: bool,
}

/// Line format of the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// Traefik's extension of the common log format.
    Common,
    /// Ends after the user agent.
    GenericClf,
    /// One object a line.
    Json,
}

/// `accessLog.filters`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessLogFilters {
    /// Inclusive ranges of status codes; empty = not set.
    pub status_codes: Vec<(u16, u16)>,
    /// Only retried requests.
    pub retry_attempts: bool,
    /// Only slower ones.
    pub min_duration: Option<Duration>,
}

/// Which fields are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldModes {
    /// For all that is not named.
    pub default: FieldMode,
    /// By name, lower case.
    pub names: std::collections::BTreeMap<String, FieldMode>,
}

/// What happens to a field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FieldMode {
    /// Written.
    #[default]
    Keep,
    /// Left out.
    Drop,
    /// Written as `REDACTED`.
    Redact,
}

/// `log`.
#[derive(Debug, Clone)]
pub struct Log {
    /// Level, lower case: trace, debug, info, warn, error.
    pub level: String,
    /// One JSON object a line.
    pub json: bool,
    /// A file, or standard output. Never in colour, whatever `noColor` says.
    pub file_path: Option<PathBuf>,
}

/// Who to become when started as root (design D16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum User {
    /// Numeric: uid and, if given, gid.
    Ids(u32, Option<u32>),
    /// A name to look up.
    Name(String),
}
