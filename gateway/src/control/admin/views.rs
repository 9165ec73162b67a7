//! JSON shapes of the admin API. They are this file's own: built from a snapshot, Traefik's where Traefik has
//! one.

use std::collections::BTreeMap;
use std::time::Duration;

use config::install::{EntryPoint, Install, ListenAddress};
use config::problem::Origin;
use config::routing::raw::{RawRouter, RawService, RawTcpRouter, RawTcpService, RawUdpRouter};
use config::routing::{Listed, Listing, Observability, Routing, Status};
use config::{Problem, Severity};
use serde::Serialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::control::ReadinessReport;
use crate::snapshot::Snapshot;

/// Problems in their order, each with the text that people read.
pub(super) fn problems(problems: &[Problem]) -> Value {
    problems.iter().map(problem).collect()
}

/// One problem.
pub(crate) fn problem(problem: &Problem) -> Value {
    let mut view = json!({
        "severity": problem.severity.to_string(),
        "origin": origin(&problem.origin),
        "subject": problem.subject,
        "message": problem.message,
        "text": problem.to_string(),
    });
    if let Some(hint) = &problem.hint {
        view["hint"] = json!(hint);
    }
    view
}

fn origin(origin: &Origin) -> Value {
    match origin {
        Origin::File { path, line, column } => {
            let mut view = json!({ "kind": "file", "path": path.display().to_string() });
            // 0 means that the place within the file is not known.
            if *line > 0 {
                view["line"] = json!(line);
            }
            if *column > 0 {
                view["column"] = json!(column);
            }
            view
        }
        Origin::Container { name, id } => json!({ "kind": "container", "name": &**name, "id": &**id }),
        Origin::Flag { name } => json!({ "kind": "flag", "name": name }),
        Origin::Variable { name } => json!({ "kind": "variable", "name": name }),
        Origin::Gateway => json!({ "kind": "gateway" }),
    }
}

/// `GET /ready`.
pub(super) fn readiness(report: &ReadinessReport) -> Value {
    let parts: Vec<Value> = report
        .parts
        .iter()
        .map(|part| {
            let mut view = json!({ "name": part.name, "state": part.state.as_str() });
            if let Some(reason) = &part.reason {
                view["reason"] = json!(reason);
            }
            view
        })
        .collect();
    let degraded = report.parts.iter().any(|part| part.state == crate::control::PartState::Degraded);
    let state = match (report.ready, degraded) {
        (false, _) => "not ready",
        (true, true) => "degraded",
        (true, false) => "ready",
    };
    json!({ "state": state, "ready": report.ready, "parts": parts })
}

/// One element of Traefik's read API, with what lists are searched, filtered and sorted by.
#[derive(Debug, Clone)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) status: &'static str,
    pub(super) fields: Map<String, Value>,
}

impl Element {
    fn new<T: Serialize>(name: &str, listed: &Listed<T>, used_by_key: &str, always: bool) -> Self {
        let mut fields = object(&listed.item.value);
        if !listed.errors.is_empty() {
            fields.insert("error".to_owned(), json!(listed.errors));
        }
        fields.insert("status".to_owned(), json!(listed.status.as_str()));
        if always || !listed.used_by.is_empty() {
            fields.insert(used_by_key.to_owned(), json!(listed.used_by));
        }
        Self { name: name.to_owned(), status: listed.status.as_str(), fields }
    }

    /// With `name` and `provider`, as in lists and for single elements.
    pub(super) fn named(mut self) -> Self {
        let provider = self.name.rsplit_once('@').map_or("", |(_, provider)| provider).to_owned();
        self.fields.insert("name".to_owned(), json!(self.name));
        self.fields.insert("provider".to_owned(), json!(provider));
        self
    }

    pub(super) fn text(&self, key: &str) -> &str {
        self.fields.get(key).and_then(Value::as_str).unwrap_or("")
    }

    pub(super) fn number(&self, key: &str) -> i64 {
        self.fields.get(key).and_then(Value::as_i64).unwrap_or(0)
    }

    /// How many items a list holds.
    pub(super) fn count(&self, key: &str) -> usize {
        self.fields.get(key).and_then(Value::as_array).map_or(0, Vec::len)
    }

    pub(super) fn lists(&self, key: &str, item: &str) -> bool {
        self.fields
            .get(key)
            .and_then(Value::as_array)
            .is_some_and(|items| items.iter().any(|value| value.as_str() == Some(item)))
    }
}

fn object(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(fields)) => fields,
        // The raw types are structures; there is nothing to show of anything else.
        Ok(_) | Err(_) => Map::new(),
    }
}

/// What kind of list of Traefik's API is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Routers,
    Services,
    Middlewares,
    TcpRouters,
    TcpServices,
    TcpMiddlewares,
    UdpRouters,
    UdpServices,
}

impl Kind {
    pub(super) const ALL: [Self; 8] = [
        Self::Routers,
        Self::Services,
        Self::Middlewares,
        Self::TcpRouters,
        Self::TcpServices,
        Self::TcpMiddlewares,
        Self::UdpRouters,
        Self::UdpServices,
    ];

    /// Below `/api/`.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Routers => "http/routers",
            Self::Services => "http/services",
            Self::Middlewares => "http/middlewares",
            Self::TcpRouters => "tcp/routers",
            Self::TcpServices => "tcp/services",
            Self::TcpMiddlewares => "tcp/middlewares",
            Self::UdpRouters => "udp/routers",
            Self::UdpServices => "udp/services",
        }
    }

    /// In `/api/rawdata`.
    pub(super) fn raw_key(self) -> &'static str {
        match self {
            Self::Routers => "routers",
            Self::Services => "services",
            Self::Middlewares => "middlewares",
            Self::TcpRouters => "tcpRouters",
            Self::TcpServices => "tcpServices",
            Self::TcpMiddlewares => "tcpMiddlewares",
            Self::UdpRouters => "udpRouters",
            Self::UdpServices => "udpServices",
        }
    }

    /// In "… not found".
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Routers | Self::TcpRouters | Self::UdpRouters => "router",
            Self::Services | Self::TcpServices | Self::UdpServices => "service",
            Self::Middlewares | Self::TcpMiddlewares => "middleware",
        }
    }

    /// All elements, by name.
    pub(super) fn elements(self, snapshot: &Snapshot, install: &Install) -> Vec<Element> {
        let routing = &*snapshot.routing;
        let listing = &routing.listing;
        match self {
            Self::Routers => listing
                .routers
                .iter()
                .map(|(name, listed)| router(name.as_str(), listed, routing, install))
                .collect(),
            Self::Services => listing
                .services
                .iter()
                .map(|(name, listed)| service(name.as_str(), listed, routing))
                .collect(),
            Self::Middlewares => {
                listing.middlewares.iter().map(|(name, listed)| typed(name.as_str(), listed)).collect()
            }
            Self::TcpRouters => listing
                .tcp_routers
                .iter()
                .map(|(name, listed)| tcp_router(name.as_str(), listed, install))
                .collect(),
            Self::TcpServices => listing
                .tcp_services
                .iter()
                .map(|(name, listed)| tcp_service(name.as_str(), listed, snapshot))
                .collect(),
            Self::TcpMiddlewares => {
                listing.tcp_middlewares.iter().map(|(name, listed)| typed(name.as_str(), listed)).collect()
            }
            Self::UdpRouters => listing
                .udp_routers
                .iter()
                .map(|(name, listed)| udp_router(name.as_str(), listed, install))
                .collect(),
            Self::UdpServices => {
                listing.udp_services.iter().map(|(name, listed)| typed(name.as_str(), listed)).collect()
            }
        }
    }
}

fn router(name: &str, listed: &Listed<RawRouter>, routing: &Routing, install: &Install) -> Element {
    let mut element = Element::new(name, listed, "using", true);
    let observability = routing.routers.get(name).map(|router| router.observability).unwrap_or_default();
    let written = listed.item.value.observability.as_ref();
    let Observability { access_logs, metrics, tracing } = observability;
    let verbosity = written
        .map(|observability| observability.trace_verbosity.as_str())
        .filter(|verbosity| !verbosity.is_empty())
        .unwrap_or("minimal");
    let fields = &mut element.fields;
    fields.insert(
        "observability".to_owned(),
        json!({
            "accessLogs": access_logs, "metrics": metrics, "tracing": tracing, "traceVerbosity": verbosity,
        }),
    );
    fields.insert("priority".to_owned(), json!(listed.priority));
    fields.insert("priorityStr".to_owned(), json!(listed.priority.to_string()));
    fill_entry_points(fields, &listed.used_by, install, |entry_point| {
        entry_point.is_default && entry_point.udp.is_none()
    });
    fill_options(fields);
    element
}

fn tcp_router(name: &str, listed: &Listed<RawTcpRouter>, install: &Install) -> Element {
    let mut element = Element::new(name, listed, "using", true);
    let fields = &mut element.fields;
    fields.insert("priority".to_owned(), json!(listed.priority));
    fields.insert("priorityStr".to_owned(), json!(listed.priority.to_string()));
    fill_entry_points(fields, &listed.used_by, install, |entry_point| {
        entry_point.is_default && entry_point.udp.is_none()
    });
    let passes = listed.item.value.tls.as_ref().is_some_and(|tls| tls.passthrough);
    if !passes {
        fill_options(fields);
    }
    element
}

fn udp_router(name: &str, listed: &Listed<RawUdpRouter>, install: &Install) -> Element {
    let mut element = Element::new(name, listed, "using", true);
    fill_entry_points(&mut element.fields, &listed.used_by, install, |entry_point| entry_point.udp.is_some());
    element
}

/// A TLS block without `options` shows those that are in force.
fn fill_options(fields: &mut Map<String, Value>) {
    if let Some(Value::Object(tls)) = fields.get_mut("tls")
        && !tls.contains_key("options")
    {
        tls.insert("options".to_owned(), json!("default"));
    }
}

/// A router without `entryPoints` shows those that it was bound to.
fn fill_entry_points(
    fields: &mut Map<String, Value>,
    using: &[String],
    install: &Install,
    is_default: impl Fn(&EntryPoint) -> bool,
) {
    if !fields.contains_key("entryPoints") {
        let defaults = || {
            install
                .entry_points
                .iter()
                .filter(|entry_point| is_default(entry_point))
                .map(|entry_point| entry_point.name.as_str().to_owned())
                .collect()
        };
        let names: Vec<String> = if using.is_empty() { defaults() } else { using.to_vec() };
        fields.insert("entryPoints".to_owned(), json!(names));
    }
}

fn service(name: &str, listed: &Listed<RawService>, routing: &Routing) -> Element {
    let mut element = typed(name, listed);
    if let Some(service) = routing.services.get(name) {
        let state = if service.down.is_none() { "UP" } else { "DOWN" };
        let servers: BTreeMap<&str, &str> =
            service.servers.iter().map(|server| (&*server.url, state)).collect();
        if !servers.is_empty() {
            element.fields.insert("serverStatus".to_owned(), json!(servers));
        }
    }
    element
}

/// A TCP service with what its health checks found: of its servers, or of the services that it is made of.
fn tcp_service(name: &str, listed: &Listed<RawTcpService>, snapshot: &Snapshot) -> Element {
    let mut element = typed(name, listed);
    if let Some(service) = snapshot.routes.streams.tcp_services.get(name) {
        let state = |up: bool| if up { "UP" } else { "DOWN" };
        let servers = service.servers().iter().map(|server| (&*server.server.address, server.is_up()));
        let services = service.services().iter().map(|service| (service.name.as_str(), service.is_up()));
        let states: BTreeMap<&str, &str> =
            servers.chain(services).map(|(name, up)| (name, state(up))).collect();
        if !states.is_empty() {
            element.fields.insert("serverStatus".to_owned(), json!(states));
        }
    }
    element
}

/// A service or middleware: its type is the name of its one option block.
fn typed<T: Serialize>(name: &str, listed: &Listed<T>) -> Element {
    let mut element = Element::new(name, listed, "usedBy", false);
    let kind = element
        .fields
        .iter()
        .filter(|(key, _)| !matches!(key.as_str(), "error" | "status" | "usedBy" | "middlewares" | "export"))
        .map(|(key, value)| match value {
            Value::Object(plugins) if key == "plugin" => {
                plugins.keys().next().map_or_else(|| "plugin".to_owned(), |name| format!("plugin-{name}"))
            }
            _ => key.to_lowercase(),
        })
        .next();
    if let Some(kind) = kind {
        element.fields.insert("type".to_owned(), json!(kind));
    }
    element
}

/// `GET /api/overview`.
pub(super) fn overview(snapshot: &Snapshot, install: &Install) -> Value {
    fn section<K, T>(items: &BTreeMap<K, Listed<T>>) -> Value {
        let count = |status| items.values().filter(|listed| listed.status == status).count();
        json!({
            "errors": count(Status::Disabled), "total": items.len(), "warnings": count(Status::Warning),
        })
    }
    let Listing {
        routers,
        services,
        middlewares,
        tcp_routers,
        tcp_services,
        tcp_middlewares,
        udp_routers,
        udp_services,
    } = &snapshot.routing.listing;
    let providers: Vec<String> =
        snapshot.providers.iter().map(|provider| capitalised(provider.name.as_str())).collect();
    json!({
        "http": {
            "routers": section(routers), "services": section(services), "middlewares": section(middlewares),
        },
        "tcp": {
            "routers": section(tcp_routers),
            "services": section(tcp_services),
            "middlewares": section(tcp_middlewares),
        },
        "udp": { "routers": section(udp_routers), "services": section(udp_services) },
        "certificates": super::certificates::counts(snapshot),
        "features": {
            "tracing": "",
            "metrics": if install.metrics.prometheus.is_some() { "Prometheus" } else { "" },
            "accessLog": install.access_log.is_some(),
        },
        "providers": providers,
        // Ours: what a status page wants in one call.
        "problems": {
            "errors": severity(snapshot, Severity::Error), "warnings": severity(snapshot, Severity::Warning),
        },
    })
}

fn severity(snapshot: &Snapshot, severity: Severity) -> usize {
    snapshot.problems.iter().filter(|problem| problem.severity == severity).count()
}

fn capitalised(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// An element of `GET /api/entrypoints`.
pub(super) fn entry_point(entry_point: &EntryPoint) -> Value {
    let transport = &entry_point.transport;
    let mut responding = Map::new();
    for (key, limit) in [
        ("readTimeout", transport.read_idle),
        ("writeTimeout", transport.write_idle),
        ("idleTimeout", transport.keep_alive),
    ] {
        if let Some(limit) = limit {
            responding.insert(key.to_owned(), json!(go_duration(limit)));
        }
    }
    let mut life_cycle = json!({ "graceTimeOut": go_duration(transport.grace) });
    if !transport.accept_grace.is_zero() {
        life_cycle["requestAcceptGraceTimeout"] = json!(go_duration(transport.accept_grace));
    }
    let mut http = Map::new();
    if !entry_point.http.middlewares.is_empty() {
        http.insert("middlewares".to_owned(), json!(entry_point.http.middlewares));
    }
    if let Some(tls) = &entry_point.http.tls {
        http.insert("tls".to_owned(), json!(tls));
    }
    if let Some(bytes) = entry_point.limits.head_bytes {
        http.insert("maxHeaderBytes".to_owned(), json!(bytes));
    }
    let mut view = json!({
        "address": address(&entry_point.address),
        "forwardedHeaders": if entry_point.client_ip.trust_everyone { json!({ "insecure": true }) } else { json!({}) },
        "http": http,
        "http2": { "maxConcurrentStreams": entry_point.max_concurrent_streams },
        "name": entry_point.name.as_str(),
        "observability": {
            "accessLogs": entry_point.observability.access_logs,
            "metrics": entry_point.observability.metrics,
            "tracing": entry_point.observability.tracing,
        },
        "transport": { "lifeCycle": life_cycle, "respondingTimeouts": responding },
    });
    if entry_point.is_default {
        view["asDefault"] = json!(true);
    }
    if entry_point.reuse_port {
        view["reusePort"] = json!(true);
    }
    view
}

/// As written.
pub(super) fn address(address: &ListenAddress) -> String {
    match address {
        ListenAddress::AnyAddress { port } => format!(":{port}"),
        ListenAddress::Address(address) => address.to_string(),
        ListenAddress::Unix { path, .. } => format!("unix:{}", path.display()),
    }
}

/// As Go prints a duration: `1m30s`, `10s`, `500ms`.
fn go_duration(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    if seconds == 0 {
        return match nanos {
            0 => "0s".to_owned(),
            nanos if nanos % 1_000_000 == 0 => format!("{}ms", nanos / 1_000_000),
            nanos => format!("{}ms", f64::from(nanos) / 1e6),
        };
    }
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction =
        if nanos == 0 { String::new() } else { format!(".{}", format!("{nanos:09}").trim_end_matches('0')) };
    match (hours, minutes) {
        (0, 0) => format!("{rest}{fraction}s"),
        (0, minutes) => format!("{minutes}m{rest}{fraction}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}{fraction}s"),
    }
}

/// Seconds since 1970 as RFC 3339 in UTC.
pub(super) fn rfc3339(seconds: u64) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|time| time.format(format).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_does() {
        for (duration, expected) in [
            (Duration::ZERO, "0s"),
            (Duration::from_millis(500), "500ms"),
            (Duration::from_secs(9), "9s"),
            (Duration::from_millis(1500), "1.5s"),
            (Duration::from_secs(90), "1m30s"),
            (Duration::from_secs(7200), "2h0m0s"),
        ] {
            assert_eq!(go_duration(duration), expected);
        }
    }

    #[test]
    fn a_time_is_written_in_utc() {
        assert_eq!(rfc3339(1_795_276_800), "2026-11-21T16:00:00Z");
    }
}
