//! What was written -> what it means: defaults, addresses, words.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::address::{self, Address};
use super::raw::{
    RawAccessLog, RawAdmin, RawApi, RawClientIp, RawDocker, RawEncodedCharacters, RawEntryPoint, RawFile,
    RawInstall, RawLog, RawPing, RawPrometheus, RawProviders,
};
use super::{
    AccessLog, AccessLogFilters, AccessLogFormat, Admin, Api, ClientIp, ClientIpMode, DockerEndpoint,
    DockerProvider, EntryPoint, EntryPointHttp, FieldMode, FieldModes, FileProvider, FileSource, Install,
    LabelScope, Limits, ListenAddress, Log, Metrics, Ping, Prometheus, Providers, TableProvider, Transport,
    TrustedProxy, UnderscoreHeaders, User,
};
use crate::document::{GoDuration, Node, Style, TextMap, Value, decode};
use crate::name::{EntryPointName, ProviderName};
use crate::problem::{Origin, Problem, did_you_mean};
use crate::routing::Observability;
use crate::routing::raw::RawRouterTls;
use crate::secret::Secret;
use crate::template::{ContainerData, TemplateContext, render};

/// The entry point that Traefik makes when something internal needs it.
const TRAEFIK: &str = "traefik";

/// What a token must have where the admin listener is open to others.
const TOKEN_BYTES: usize = 32;

/// Settling time between two publications of one provider, unless written: a container is served, or refused, well
/// within a second. Traefik takes 2 s.
const THROTTLE: Duration = Duration::from_millis(100);

pub(super) struct Resolved {
    pub(super) install: Install,
    pub(super) problems: Vec<Problem>,
    /// The gateway does not start with these.
    pub(super) fatal: Vec<Problem>,
}

pub(super) fn resolve(
    raw: RawInstall,
    tree: &Node,
    file: Option<PathBuf>,
    admin_token: Option<String>,
    environment: &[(String, String)],
) -> Resolved {
    let mut resolver = Resolver { tree, environment, problems: Vec::new(), fatal: Vec::new() };
    let is_default = file.is_none() && !says_what_to_serve(tree);
    let install = resolver.install(raw, file, admin_token, is_default);
    Resolved { install, problems: resolver.problems, fatal: resolver.fatal }
}

/// Who the process is, where it keeps its state and how it logs says nothing about what is served: the image
/// sets `HEARTHGATE_USER`, and nothing is configured all the same.
fn says_what_to_serve(tree: &Node) -> bool {
    let beside = ["user", "stateDir", "admin", "log", "global"];
    tree.entries().iter().any(|(key, node)| {
        node.value != Value::Null && !beside.iter().any(|name| name.eq_ignore_ascii_case(&key.text))
    })
}

struct Resolver<'a> {
    tree: &'a Node,
    environment: &'a [(String, String)],
    problems: Vec<Problem>,
    fatal: Vec<Problem>,
}

impl Resolver<'_> {
    /// Where a path was written, or the nearest place above it.
    fn place(&self, path: &[&str]) -> Origin {
        let mut node = self.tree;
        for name in path {
            match node.get(name) {
                Some(below) => node = below,
                None => break,
            }
        }
        node.origin.clone()
    }

    fn refuse(&mut self, path: &[&str], message: impl Into<String>, hint: &str) {
        let problem = self.about(path, message);
        self.fatal.push(if hint.is_empty() { problem } else { problem.with_hint(hint) });
    }

    fn report(&mut self, path: &[&str], message: impl Into<String>, hint: &str) {
        let problem = self.about(path, message);
        self.problems.push(if hint.is_empty() { problem } else { problem.with_hint(hint) });
    }

    fn warn(&mut self, path: &[&str], message: impl Into<String>, hint: &str) {
        let problem = Problem { severity: crate::Severity::Warning, ..self.about(path, message) };
        self.problems.push(if hint.is_empty() { problem } else { problem.with_hint(hint) });
    }

    fn about(&self, path: &[&str], message: impl Into<String>) -> Problem {
        Problem::error(self.place(path), format!("option `{}`", path.join(".")), message)
    }

    /// One of several words; anything else is refused.
    fn word<T: Copy>(&mut self, path: &[&str], text: Option<&str>, default: T, words: &[(&str, T)]) -> T {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return default };
        if let Some((_, value)) = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)) {
            return *value;
        }
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let hint = match did_you_mean(text, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write one of `{}`", known.join("`, `")),
        };
        self.refuse(path, format!("`{text}` is not known"), &hint);
        default
    }

    fn install(
        &mut self,
        raw: RawInstall,
        file: Option<PathBuf>,
        admin_token: Option<String>,
        is_default: bool,
    ) -> Install {
        let append = raw.global.not_append_forwarded_for == Some(false);
        let api = raw.api.map(|api| self.api(api));
        let ping = raw.ping.map(|ping| self.ping(ping));
        let metrics = Metrics {
            prometheus: raw.metrics.prometheus.map(|prometheus| self.prometheus(prometheus)),
            add_internals: raw.metrics.add_internals,
        };
        let mut entry_points: Vec<_> = raw
            .entry_points
            .into_iter()
            .filter_map(|(name, raw)| self.entry_point(&name, raw, append))
            .collect();
        let none_written = self.tree.get("entryPoints").is_none_or(Node::is_empty);
        if is_default {
            entry_points.extend(self.default_entry_points());
        } else if none_written {
            entry_points.push(plain_entry_point("http", 80));
        }
        let wants_traefik = api.as_ref().is_some_and(|api| api.insecure)
            || ping.as_ref().is_some_and(|ping| ping.entry_point.as_str() == TRAEFIK)
            || metrics.prometheus.as_ref().is_some_and(|all| all.entry_point.as_str() == TRAEFIK);
        let traefik_written = self
            .tree
            .get("entryPoints")
            .is_some_and(|all| all.entries().iter().any(|(key, _)| key.text == TRAEFIK));
        if wants_traefik && !traefik_written {
            entry_points.push(plain_entry_point(TRAEFIK, 8080));
        }
        let any_default = entry_points.iter().any(|entry_point| entry_point.is_default);
        if !any_default {
            for entry_point in &mut entry_points {
                entry_point.is_default = entry_point.name.as_str() != TRAEFIK;
            }
        }
        self.check_addresses(&entry_points);
        self.check_internal_entry_points(&entry_points, ping.as_ref(), metrics.prometheus.as_ref());
        self.check_rule_syntax(raw.core.default_rule_syntax.as_deref());

        let providers = self.providers(raw.providers, is_default);
        let admin = self.admin(raw.admin, admin_token);
        let access_log = match raw.access_log {
            Some(access_log) => Some(self.access_log(access_log)),
            None if is_default => {
                let log = self.access_log(RawAccessLog::default());
                Some(AccessLog { format: AccessLogFormat::Json, ..log })
            }
            None => None,
        };
        Install {
            entry_points,
            providers,
            admin,
            api,
            ping,
            metrics,
            access_log,
            log: self.log(raw.log.unwrap_or_default(), is_default),
            certificate_resolvers: raw.certificates_resolvers.into_keys().collect(),
            state_dir: raw
                .state_dir
                .filter(|dir| !dir.is_empty())
                .map_or_else(|| PathBuf::from("/var/lib/hearthgate"), PathBuf::from),
            user: raw.user.filter(|user| !user.is_empty()).and_then(|user| self.user(&user)),
            file,
            is_default,
        }
    }

    fn default_entry_points(&mut self) -> [EntryPoint; 2] {
        self.problems.push(Problem::warning(
            Origin::Gateway,
            "entry point `websecure`",
            "TLS is not served yet: its routers answer no plain request",
        ));
        let web = EntryPoint { fallback_port: Some(8000), ..plain_entry_point("web", 80) };
        let mut secure = EntryPoint { fallback_port: Some(8443), ..plain_entry_point("websecure", 443) };
        secure.http.tls = Some(RawRouterTls::default());
        [web, secure]
    }

    /// None where nothing can be bound: the problem says why.
    fn entry_point(&mut self, name: &str, raw: RawEntryPoint, append: bool) -> Option<EntryPoint> {
        let at = |keys: &[&'static str]| -> Vec<String> {
            ["entryPoints", name].iter().chain(keys).map(|key| (*key).to_owned()).collect()
        };
        let path = at(&["address"]);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let address = match raw.address.as_deref().map(address::parse) {
            None => {
                self.refuse(&path[..2], "has no address", "write `address: \":80\"`");
                ListenAddress::AnyAddress { port: 0 }
            }
            Some(Err(error)) => {
                self.refuse(&path, error.message, error.hint);
                ListenAddress::AnyAddress { port: 0 }
            }
            Some(Ok(Address::Udp)) => {
                self.report(&path, "UDP is not served yet", "");
                return None;
            }
            Some(Ok(Address::Tcp(address))) => address,
        };
        let client_ip = self.client_ip(name, &raw, append);
        let limits = self.limits(name, &raw);
        let transport = self.transport(name, &raw);
        let underscore_headers = {
            let path = at(&["http", "underscoreHeadersStrategy"]);
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            self.word(
                &path,
                raw.http.underscore_headers_strategy.as_deref(),
                UnderscoreHeaders::Delete,
                &[
                    ("keep", UnderscoreHeaders::Keep),
                    ("delete", UnderscoreHeaders::Delete),
                    ("reject", UnderscoreHeaders::Reject),
                ],
            )
        };
        let max_concurrent_streams = {
            let path = at(&["http2", "maxConcurrentStreams"]);
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            self.number(&path, raw.http2.max_concurrent_streams).unwrap_or(100)
        };
        Some(EntryPoint {
            name: EntryPointName::from(name),
            address,
            fallback_port: None,
            is_default: raw.as_default,
            client_ip,
            limits,
            h2c: raw.http2.h2c.unwrap_or(true),
            max_concurrent_streams,
            transport,
            http: EntryPointHttp {
                middlewares: raw.http.middlewares,
                tls: raw.http.tls,
                sanitize_path: raw.http.sanitize_path.unwrap_or(true),
                encode_query_semicolons: raw.http.encode_query_semicolons,
                refused_encoded_characters: refused_characters(&raw.http.encoded_characters),
                underscore_headers,
            },
            observability: Observability {
                access_logs: raw.observability.access_logs.unwrap_or(true),
                metrics: raw.observability.metrics.unwrap_or(true),
                tracing: raw.observability.tracing.unwrap_or(true),
            },
            reuse_port: raw.reuse_port,
        })
    }

    fn client_ip(&mut self, name: &str, raw: &RawEntryPoint, append: bool) -> ClientIp {
        let forwarded = &raw.forwarded_headers;
        let mut client_ip = ClientIp {
            mode: ClientIpMode::Peer,
            trusted: Vec::new(),
            trust_everyone: false,
            append_forwarded_for: forwarded.not_append_forwarded_for.map_or(append, |not_append| !not_append),
        };
        let path = ["entryPoints", name, "clientIP"];
        if let Some(node) = &raw.client_ip {
            if forwarded.insecure || forwarded.trusted_ips.is_some() {
                let path = ["entryPoints", name, "forwardedHeaders"];
                self.warn(&path, "has no effect beside `clientIP`", "set one of the two");
            }
            let written = match node.text() {
                Some(word) => RawClientIp { mode: Some(word.to_owned()), ..RawClientIp::default() },
                None => match decode::<RawClientIp>(node, Style::File) {
                    Ok(written) => written,
                    Err(errors) => {
                        self.fatal.extend(errors.into_iter().map(|error| {
                            let subject = format!("option `{}.{}`", path.join("."), error.path);
                            Problem {
                                hint: error.hint,
                                ..Problem::error(error.origin, subject, error.message)
                            }
                        }));
                        return client_ip;
                    }
                },
            };
            #[derive(Clone, Copy)]
            enum Mode {
                Peer,
                XForwardedFor,
                NotYet,
            }
            let mode = self.word(
                &path,
                written.mode.as_deref(),
                Mode::Peer,
                &[
                    ("peer", Mode::Peer),
                    ("xForwardedFor", Mode::XForwardedFor),
                    ("cloudflared", Mode::NotYet),
                    ("proxyProtocol", Mode::NotYet),
                ],
            );
            match mode {
                Mode::Peer => {}
                Mode::XForwardedFor => {
                    client_ip.mode = ClientIpMode::XForwardedFor { depth: written.depth.unwrap_or(0) };
                    let path = ["entryPoints", name, "clientIP", "trustedIPs"];
                    client_ip.trusted = self.trusted(&path, written.trusted_ips.as_deref());
                    if client_ip.trusted.is_empty() {
                        self.warn(
                            &path,
                            "nobody is trusted: the client is the peer",
                            "name the proxy's address",
                        );
                    }
                }
                Mode::NotYet => {
                    let word = written.mode.as_deref().unwrap_or("");
                    let message = format!("mode `{word}` is not served yet: the client is the peer");
                    self.report(&path, message, "`xForwardedFor` with `trustedIPs` is");
                }
            }
            return client_ip;
        }
        if forwarded.insecure {
            client_ip.mode = ClientIpMode::XForwardedFor { depth: 1 };
            client_ip.trust_everyone = true;
            self.warn(
                &["entryPoints", name, "forwardedHeaders", "insecure"],
                "whoever reaches this entry point can claim any client address",
                "name the proxies in `trustedIPs`",
            );
        } else if forwarded.trusted_ips.is_some() {
            let path = ["entryPoints", name, "forwardedHeaders", "trustedIPs"];
            client_ip.trusted = self.trusted(&path, forwarded.trusted_ips.as_deref());
            if !client_ip.trusted.is_empty() {
                client_ip.mode = ClientIpMode::XForwardedFor { depth: 0 };
            }
        }
        client_ip
    }

    fn trusted(&mut self, path: &[&str], written: Option<&[String]>) -> Vec<TrustedProxy> {
        let mut trusted = Vec::new();
        for text in written.unwrap_or(&[]).iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
            let proxy = if let Ok(range) = text.parse::<IpNet>() {
                Some(TrustedProxy::Range(canonical_range(range)))
            } else if let Ok(address) = text.parse::<IpAddr>() {
                Some(TrustedProxy::Range(IpNet::from(address.to_canonical())))
            } else {
                is_host_name(text).then(|| TrustedProxy::Host(Arc::from(text.to_ascii_lowercase())))
            };
            match proxy {
                Some(proxy) => trusted.push(proxy),
                None => self.refuse(
                    path,
                    format!("`{text}` is no address, range or host name"),
                    "write it as `10.0.0.1`, `10.0.0.0/8` or `cloudflared`",
                ),
            }
        }
        trusted
    }

    fn limits(&mut self, name: &str, raw: &RawEntryPoint) -> Limits {
        let own = |key: &'static str| {
            vec!["entryPoints".to_owned(), name.to_owned(), "limits".to_owned(), key.into()]
        };
        let path = own("headBytes");
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let head_bytes: Option<u64> = match raw.limits.head_bytes {
            Some(_) => self.number(&path, raw.limits.head_bytes),
            None => self.number(&["entryPoints", name, "http", "maxHeaderBytes"], raw.http.max_header_bytes),
        };
        let path = own("requestsPerConnection");
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let requests: Option<u32> = match raw.limits.requests_per_connection {
            Some(_) => self.number(&path, raw.limits.requests_per_connection),
            None => self.number(
                &["entryPoints", name, "transport", "keepAliveMaxRequests"],
                raw.transport.keep_alive_max_requests,
            ),
        };
        Limits {
            head_timeout: limit(raw.limits.head_timeout, Duration::from_secs(10)),
            head_bytes: match head_bytes {
                None => Some(32 << 10),
                Some(bytes) => usize::try_from(bytes).ok().filter(|bytes| *bytes > 0),
            },
            requests_per_connection: requests
                .map_or(Some(1000), |count| Some(count).filter(|count| *count > 0)),
        }
    }

    /// A number that may not be negative.
    fn number<T: TryFrom<i64>>(&mut self, path: &[&str], written: Option<i64>) -> Option<T> {
        let written = written?;
        let number = T::try_from(written).ok();
        if number.is_none() {
            self.refuse(path, format!("`{written}` is out of range"), "");
        }
        number
    }

    fn transport(&mut self, name: &str, raw: &RawEntryPoint) -> Transport {
        let times = &raw.transport.responding_timeouts;
        let life = &raw.transport.life_cycle;
        for (key, time) in [
            ("requestAcceptGraceTimeout", life.request_accept_grace_timeout),
            ("graceTimeOut", life.grace_time_out),
        ] {
            if time.is_some_and(GoDuration::is_negative) {
                self.refuse(
                    &["entryPoints", name, "transport", "lifeCycle", key],
                    "a time cannot be negative",
                    "",
                );
            }
        }
        Transport {
            read_idle: limit(raw.limits.body_idle.or(times.read_timeout), Duration::from_secs(60)),
            write_idle: limit(raw.limits.write_idle.or(times.write_timeout), Duration::from_secs(60)),
            keep_alive: limit(times.idle_timeout, Duration::from_secs(120)),
            accept_grace: life.request_accept_grace_timeout.unwrap_or_default().or_zero(),
            grace: life.grace_time_out.map_or(Duration::from_secs(9), GoDuration::or_zero),
        }
    }

    /// Two listeners cannot bind one address. Port 0 is a free port each time.
    fn check_addresses(&mut self, entry_points: &[EntryPoint]) {
        for (at, entry_point) in entry_points.iter().enumerate() {
            let any_port = match &entry_point.address {
                ListenAddress::AnyAddress { port } => *port == 0,
                ListenAddress::Address(address) => address.port() == 0,
                ListenAddress::Unix { .. } => false,
            };
            let same = |other: &&EntryPoint| match (&other.address, &entry_point.address) {
                (ListenAddress::Unix { path: a, .. }, ListenAddress::Unix { path: b, .. }) => a == b,
                (a, b) => a == b,
            };
            if any_port || entry_point.reuse_port {
                continue;
            }
            if let Some(other) = entry_points[..at].iter().find(same) {
                let name = entry_point.name.as_str();
                let message = format!("entry point `{}` listens on the same address", other.name);
                self.refuse(&["entryPoints", name, "address"], message, "give each an address of its own");
            }
        }
    }

    fn check_internal_entry_points(
        &mut self,
        entry_points: &[EntryPoint],
        ping: Option<&Ping>,
        prometheus: Option<&Prometheus>,
    ) {
        let known = |name: &EntryPointName| entry_points.iter().any(|entry_point| entry_point.name == *name);
        let wanted: [(&[&str], _); 2] = [
            (&["ping", "entryPoint"], ping.map(|ping| &ping.entry_point)),
            (&["metrics", "prometheus", "entryPoint"], prometheus.map(|all| &all.entry_point)),
        ];
        for (path, name) in wanted {
            if let Some(name) = name.filter(|name| !known(name)) {
                let near = did_you_mean(name.as_str(), entry_points.iter().map(|known| known.name.as_str()));
                let hint = near.map_or_else(String::new, |near| format!("did you mean `{near}`?"));
                self.report(path, format!("entryPoint \"{name}\" doesn't exist"), &hint);
            }
        }
    }

    fn check_rule_syntax(&mut self, syntax: Option<&str>) {
        if syntax.is_some_and(|syntax| syntax.eq_ignore_ascii_case("v2")) {
            let path = ["core", "defaultRuleSyntax"];
            self.report(&path, "rules of Traefik v2 are not served", "write the rules as in Traefik v3");
        }
    }

    fn api(&mut self, raw: RawApi) -> Api {
        let base_path = raw.base_path.unwrap_or_default();
        let trimmed = base_path.trim_end_matches('/');
        if !base_path.is_empty() && !base_path.starts_with('/') {
            self.refuse(&["api", "basePath"], format!("`{base_path}` does not begin with `/`"), "");
        }
        Api {
            insecure: raw.insecure,
            dashboard: raw.dashboard.unwrap_or(true),
            base_path: trimmed.to_owned(),
        }
    }

    fn ping(&mut self, raw: RawPing) -> Ping {
        let status = raw.terminating_status_code.unwrap_or(503);
        if !(200..=599).contains(&status) {
            self.refuse(
                &["ping", "terminatingStatusCode"],
                format!("`{status}` is no status of an answer"),
                "",
            );
        }
        Ping {
            entry_point: entry_point_name(raw.entry_point),
            manual_routing: raw.manual_routing,
            terminating_status: status,
        }
    }

    fn prometheus(&mut self, raw: RawPrometheus) -> Prometheus {
        let mut buckets = raw.buckets.unwrap_or_else(|| vec![0.1, 0.3, 1.2, 5.0]);
        if buckets.iter().any(|bound| !bound.is_finite() || *bound <= 0.0) {
            self.refuse(&["metrics", "prometheus", "buckets"], "a bound must be a number above zero", "");
        }
        buckets.sort_by(f64::total_cmp);
        buckets.dedup();
        Prometheus {
            entry_point: entry_point_name(raw.entry_point),
            manual_routing: raw.manual_routing,
            buckets,
            entry_points_labels: raw.add_entry_points_labels.unwrap_or(true),
            routers_labels: raw.add_routers_labels.unwrap_or(false),
            services_labels: raw.add_services_labels.unwrap_or(true),
        }
    }

    fn providers(&mut self, raw: RawProviders, is_default: bool) -> Providers {
        let docker = match raw.docker {
            Some(docker) => self.docker(docker, false),
            None if is_default => self.docker(RawDocker::default(), true),
            None => None,
        };
        let mut precedence: Vec<_> =
            raw.precedence.unwrap_or_default().into_iter().map(ProviderName::from).collect();
        for name in ["docker", "file", "table"] {
            if !precedence.iter().any(|known| known.as_str() == name) {
                precedence.push(ProviderName::from(name));
            }
        }
        Providers {
            docker,
            file: raw.file.and_then(|file| self.file(file)),
            table: raw.table.filter(|node| node.value != Value::Null).and_then(|node| self.table(node)),
            throttle: raw.providers_throttle_duration.map_or(THROTTLE, GoDuration::or_zero),
            precedence,
        }
    }

    fn docker(&mut self, raw: RawDocker, implied: bool) -> Option<DockerProvider> {
        let label_scope = self.word(
            &["providers", "docker", "labelScope"],
            raw.label_scope.as_deref(),
            LabelScope::Shared,
            &[("shared", LabelScope::Shared), ("container", LabelScope::Container)],
        );
        let endpoint = self.docker_endpoint(&raw)?;
        let mut label_prefixes: Vec<String> = Vec::new();
        for prefix in raw.label_prefix.unwrap_or_else(|| vec!["traefik".to_owned()]) {
            let prefix = prefix.trim().trim_end_matches('.');
            let prefix = format!("{prefix}.");
            if prefix.len() > 1 && !label_prefixes.contains(&prefix) {
                label_prefixes.push(prefix);
            }
        }
        let default_rule = raw
            .default_rule
            .filter(|rule| !rule.is_empty())
            .unwrap_or_else(|| "Host(`{{ normalize .Name }}`)".to_owned());
        self.check_default_rule(&default_rule);
        Some(DockerProvider {
            endpoint,
            exposed_by_default: raw.exposed_by_default.unwrap_or(!implied),
            network: raw.network.filter(|network| !network.is_empty()),
            default_rule,
            constraints: raw.constraints.filter(|constraints| !constraints.trim().is_empty()),
            allow_empty_services: raw.allow_empty_services,
            use_bind_port_ip: raw.use_bind_port_ip,
            watch: raw.watch.unwrap_or(true),
            label_prefixes,
            label_scope,
            implied,
        })
    }

    /// A template that no container could fill in is told before the first container asks.
    fn check_default_rule(&mut self, rule: &str) {
        let container = ContainerData { name: "name", container_name: "name", labels: &|_| None };
        let context = TemplateContext { env: &|_| None, container: Some(container) };
        if let Err(error) = render(rule, &context) {
            let path = ["providers", "docker", "defaultRule"];
            let message =
                format!("{}, in column {}: routers without a rule are left out", error.message, error.column);
            self.report(&path, message, error.hint.as_deref().unwrap_or(""));
        }
    }

    /// The client's variables win over what is written, as in Traefik.
    fn docker_endpoint(&mut self, raw: &RawDocker) -> Option<DockerEndpoint> {
        let variable = |name: &str| {
            let set = self.environment.iter().find(|(known, value)| known == name && !value.is_empty());
            set.map(|(_, value)| value.clone())
        };
        let (host, certificates) = (variable("DOCKER_HOST"), variable("DOCKER_CERT_PATH"));
        let verify = variable("DOCKER_TLS_VERIFY").is_some();
        let origin = match host {
            Some(_) => Origin::Variable { name: "DOCKER_HOST".to_owned() },
            None => self.place(&["providers", "docker", "endpoint"]),
        };
        let written = host.or_else(|| raw.endpoint.clone()).filter(|endpoint| !endpoint.is_empty());
        let endpoint = written.as_deref().unwrap_or("unix:///var/run/docker.sock");
        let mut fail = |message: String, hint: &str| {
            let problem = Problem::error(origin.clone(), "option `providers.docker.endpoint`", message);
            self.problems.push(problem.with_hint(hint));
            None
        };
        let hint = "write it as `unix:///var/run/docker.sock` or `tcp://socket-proxy:2375`";
        let Some((scheme, rest)) = endpoint.split_once("://") else {
            return fail(format!("`{endpoint}` has no scheme"), hint);
        };
        let scheme = scheme.to_ascii_lowercase();
        let tls = certificates.is_some() || verify || raw.tls.is_some() || scheme == "https";
        match scheme.as_str() {
            "unix" if rest.is_empty() => fail("the socket's file is missing".to_owned(), hint),
            "unix" => Some(DockerEndpoint::Unix(PathBuf::from(rest))),
            "tcp" | "http" | "https" => {
                let authority = rest.split('/').next().unwrap_or("");
                if authority.is_empty() || authority.contains('@') {
                    return fail(format!("`{endpoint}` names no host"), hint);
                }
                let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| {
                    !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
                });
                let address = match (has_port, scheme.as_str(), tls) {
                    (true, ..) => authority.to_owned(),
                    (false, "https", _) => format!("{authority}:443"),
                    (false, "http", _) => format!("{authority}:80"),
                    (false, _, true) => format!("{authority}:2376"),
                    (false, _, false) => format!("{authority}:2375"),
                };
                if !tls {
                    return Some(DockerEndpoint::Http(address));
                }
                let written = raw.tls.clone().unwrap_or_default();
                let path = |name: &str, written: Option<String>| match &certificates {
                    Some(folder) => Some(Path::new(folder).join(name)),
                    None => written.filter(|path| !path.is_empty()).map(PathBuf::from),
                };
                Some(DockerEndpoint::Https {
                    address,
                    ca: path("ca.pem", written.ca),
                    cert: path("cert.pem", written.cert),
                    key: path("key.pem", written.key),
                })
            }
            "ssh" => fail(
                "Docker is not reached over SSH".to_owned(),
                "forward its socket with `ssh -L`, or offer it by TCP with TLS",
            ),
            "npipe" => fail("Docker is not reached through a Windows pipe".to_owned(), hint),
            _ => fail(format!("unknown scheme `{scheme}`"), hint),
        }
    }

    fn file(&mut self, raw: RawFile) -> Option<FileProvider> {
        let path = ["providers", "file"];
        let set = |text: Option<String>| text.filter(|text| !text.is_empty()).map(PathBuf::from);
        let source = match (set(raw.filename), set(raw.directory)) {
            (Some(file), None) => FileSource::File(file),
            (None, Some(directory)) => FileSource::Directory(directory),
            (Some(_), Some(_)) => {
                self.refuse(&path, "`filename` and `directory` are both set", "set one of the two");
                return None;
            }
            (None, None) => {
                self.refuse(&path, "names neither a file nor a directory", "set `filename` or `directory`");
                return None;
            }
        };
        Some(FileProvider { source, watch: raw.watch.unwrap_or(true) })
    }

    fn table(&mut self, node: Node) -> Option<TableProvider> {
        let path = ["providers", "table"];
        let known = ["filename", "zones", "guests"];
        if !matches!(node.value, Value::Map(_) | Value::Block { .. }) {
            self.refuse(&path, "expected a block of settings", "set `filename`, or `zones` and `guests`");
            return None;
        }
        for (key, _) in node.entries() {
            if known.iter().any(|name| name.eq_ignore_ascii_case(&key.text)) {
                continue;
            }
            let subject = format!("option `providers.table.{}`", key.text);
            let problem = Problem::error(key.origin.clone(), subject, format!("unknown key `{}`", key.text));
            self.fatal.push(match did_you_mean(&key.text, known) {
                Some(near) => problem.with_hint(format!("did you mean `{near}`?")),
                None => problem,
            });
        }
        match node.get("filename").and_then(Node::text).filter(|file| !file.is_empty()) {
            Some(_) if node.get("zones").or_else(|| node.get("guests")).is_some() => {
                self.refuse(&path, "has a file and guests of its own", "move all of them to the file");
                None
            }
            Some(file) => Some(TableProvider::File(PathBuf::from(file))),
            None => Some(TableProvider::Inline(node)),
        }
    }

    fn admin(&mut self, raw: RawAdmin, token_of_file: Option<String>) -> Admin {
        let default = ListenAddress::Address(([127, 0, 0, 1], 8080).into());
        let path = ["admin", "address"];
        let written = raw.address.filter(|address| !address.is_empty());
        let address_was_set = written.is_some();
        let address = match written.as_deref().map(address::parse) {
            None => default,
            Some(Ok(Address::Tcp(address))) => address,
            Some(Ok(Address::Udp)) => {
                self.refuse(&path, "the admin listener speaks no UDP", "");
                default
            }
            Some(Err(error)) => {
                self.refuse(&path, error.message, error.hint);
                default
            }
        };
        let token = token_of_file.map(Secret::new).or(raw.token).filter(|token| !token.expose().is_empty());
        let open = match &address {
            ListenAddress::AnyAddress { .. } => true,
            ListenAddress::Address(address) => !address.ip().to_canonical().is_loopback(),
            ListenAddress::Unix { .. } => false,
        };
        if open && token.as_ref().is_some_and(|token| token.expose().len() < TOKEN_BYTES) {
            self.refuse(
                &["admin", "token"],
                "is shorter than 32 bytes, and the admin listener is open to others",
                "write a longer one, as `openssl rand -hex 32` makes it",
            );
        }
        let mut allowed_hosts: Vec<String> = match raw.allowed_hosts {
            Some(hosts) => hosts.iter().map(|host| host.trim().to_ascii_lowercase()).collect(),
            None => {
                let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "[::1]".to_owned()];
                if let ListenAddress::Address(address) = &address
                    && !address.ip().is_unspecified()
                {
                    hosts.push(match address.ip() {
                        IpAddr::V4(ip) => ip.to_string(),
                        IpAddr::V6(ip) => format!("[{ip}]"),
                    });
                }
                hosts
            }
        };
        let mut seen = std::collections::BTreeSet::new();
        allowed_hosts.retain(|host| !host.is_empty() && seen.insert(host.clone()));
        Admin { address, address_was_set, token, allowed_hosts }
    }

    fn log(&mut self, raw: RawLog, is_default: bool) -> Log {
        let default = if is_default { "info" } else { "error" };
        let level = self.word(
            &["log", "level"],
            raw.level.as_deref(),
            default,
            &[
                ("trace", "trace"),
                ("debug", "debug"),
                ("info", "info"),
                ("warn", "warn"),
                ("error", "error"),
                ("fatal", "error"),
                ("panic", "error"),
            ],
        );
        let json =
            self.word(&["log", "format"], raw.format.as_deref(), false, &[("common", false), ("json", true)]);
        Log {
            level: level.to_owned(),
            json,
            file_path: raw.file_path.filter(|path| !path.is_empty()).map(PathBuf::from),
            no_color: raw.no_color,
        }
    }

    fn access_log(&mut self, raw: RawAccessLog) -> AccessLog {
        let format = self.word(
            &["accessLog", "format"],
            raw.format.as_deref(),
            AccessLogFormat::Common,
            &[
                ("common", AccessLogFormat::Common),
                ("json", AccessLogFormat::Json),
                ("genericCLF", AccessLogFormat::GenericClf),
            ],
        );
        let mut status_codes = Vec::new();
        for text in raw.filters.status_codes.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
            let (from, to) = text.split_once('-').unwrap_or((text, text));
            match (from.trim().parse::<u16>(), to.trim().parse::<u16>()) {
                (Ok(from), Ok(to)) if from <= to => status_codes.push((from, to)),
                _ => self.refuse(
                    &["accessLog", "filters", "statusCodes"],
                    format!("`{text}` is no status or range"),
                    "write it as `404` or `500-599`",
                ),
            }
        }
        let fields = ["accessLog", "fields"];
        let headers = ["accessLog", "fields", "headers"];
        let query = ["accessLog", "fields", "queryParameters", "defaultMode"];
        let query_mode = raw.fields.query_parameters.default_mode;
        AccessLog {
            file_path: raw.file_path.filter(|path| !path.is_empty()).map(PathBuf::from),
            format,
            filters: AccessLogFilters {
                status_codes,
                retry_attempts: raw.filters.retry_attempts,
                min_duration: raw.filters.min_duration.and_then(GoDuration::limit),
            },
            fields: self.field_modes(
                &fields,
                raw.fields.default_mode.as_deref(),
                FieldMode::Keep,
                &raw.fields.names,
                false,
            ),
            headers: self.field_modes(
                &headers,
                raw.fields.headers.default_mode.as_deref(),
                FieldMode::Drop,
                &raw.fields.headers.names,
                true,
            ),
            keep_query: self.word(&query, query_mode.as_deref(), false, &[("keep", true), ("drop", false)]),
            add_internals: raw.add_internals,
        }
    }

    fn field_modes(
        &mut self,
        path: &[&str],
        default_mode: Option<&str>,
        default: FieldMode,
        names: &TextMap,
        redact: bool,
    ) -> FieldModes {
        let mut words = vec![("keep", FieldMode::Keep), ("drop", FieldMode::Drop)];
        if redact {
            words.push(("redact", FieldMode::Redact));
        }
        let below =
            |keys: &[&str]| -> Vec<String> { path.iter().chain(keys).map(|key| (*key).to_owned()).collect() };
        let at = below(&["defaultMode"]);
        let default =
            self.word(&at.iter().map(String::as_str).collect::<Vec<_>>(), default_mode, default, &words);
        let mut modes = BTreeMap::new();
        for (name, mode) in &names.0 {
            let at = below(&["names", name]);
            let at: Vec<_> = at.iter().map(String::as_str).collect();
            modes.insert(name.to_ascii_lowercase(), self.word(&at, Some(mode), default, &words));
        }
        FieldModes { default, names: modes }
    }

    fn user(&mut self, text: &str) -> Option<User> {
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let ids = match (user.parse::<u32>(), group.map(str::parse::<u32>)) {
            (Ok(user), None) => Some(User::Ids(user, None)),
            (Ok(user), Some(Ok(group))) => Some(User::Ids(user, Some(group))),
            _ => None,
        };
        match ids {
            Some(ids) => Some(ids),
            None if group.is_none() && !digits(user) && !user.starts_with('-') => {
                Some(User::Name(user.to_owned()))
            }
            None => {
                let hint = "write a number (`65532`), two (`65532:65532`), or a name";
                self.refuse(&["user"], format!("`{text}` is no user"), hint);
                None
            }
        }
    }
}

fn entry_point_name(written: Option<String>) -> EntryPointName {
    EntryPointName::from(written.filter(|name| !name.is_empty()).unwrap_or_else(|| TRAEFIK.to_owned()))
}

/// An entry point that nobody wrote.
fn plain_entry_point(name: &str, port: u16) -> EntryPoint {
    EntryPoint {
        name: EntryPointName::from(name),
        address: ListenAddress::AnyAddress { port },
        fallback_port: None,
        is_default: false,
        client_ip: ClientIp {
            mode: ClientIpMode::Peer,
            trusted: Vec::new(),
            trust_everyone: false,
            append_forwarded_for: false,
        },
        limits: Limits {
            head_timeout: Some(Duration::from_secs(10)),
            head_bytes: Some(32 << 10),
            requests_per_connection: Some(1000),
        },
        h2c: true,
        max_concurrent_streams: 100,
        transport: Transport {
            read_idle: Some(Duration::from_secs(60)),
            write_idle: Some(Duration::from_secs(60)),
            keep_alive: Some(Duration::from_secs(120)),
            accept_grace: Duration::ZERO,
            grace: Duration::from_secs(9),
        },
        http: EntryPointHttp {
            middlewares: Vec::new(),
            tls: None,
            sanitize_path: true,
            encode_query_semicolons: false,
            refused_encoded_characters: Vec::new(),
            underscore_headers: UnderscoreHeaders::Delete,
        },
        observability: Observability::default(),
        reuse_port: false,
    }
}

/// Nothing written: the default. Zero or less: no limit.
fn limit(written: Option<GoDuration>, default: Duration) -> Option<Duration> {
    written.map_or(Some(default), GoDuration::limit)
}

fn refused_characters(raw: &RawEncodedCharacters) -> Vec<u8> {
    [
        (raw.allow_encoded_slash, b'/'),
        (raw.allow_encoded_back_slash, b'\\'),
        (raw.allow_encoded_null_character, 0),
        (raw.allow_encoded_semicolon, b';'),
        (raw.allow_encoded_percent, b'%'),
        (raw.allow_encoded_question_mark, b'?'),
        (raw.allow_encoded_hash, b'#'),
    ]
    .into_iter()
    .filter(|(allowed, _)| *allowed == Some(false))
    .map(|(_, byte)| byte)
    .collect()
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`: peers are compared in their short form.
fn canonical_range(range: IpNet) -> IpNet {
    match range {
        IpNet::V6(v6) => match (v6.network().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
            (Some(v4), Some(length)) => IpNet::new(IpAddr::V4(v4), length).unwrap_or(range),
            _ => range,
        },
        IpNet::V4(_) => range,
    }
    .trunc()
}

/// A host name, and no misspelt address: its last label is not a number.
fn is_host_name(text: &str) -> bool {
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or("");
    text.len() <= 253
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        && !last.is_empty()
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}
