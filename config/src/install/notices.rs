//! Keys that are known and not served: not yet, not at all, or no longer a key. What is told once is told at the
//! highest place that is not served, and nothing of what is below it.

use crate::document::{Node, Value};
use crate::problem::Problem;

/// A path (`*` is any name), what to say, and what to write instead.
type Notice = (&'static str, &'static str, &'static str);

const NOT_YET: &str = "is not served yet";

/// Known keys that nothing serves.
const NOTICES: &[Notice] = &[
    // Entry points.
    ("entryPoints.*.http3", "HTTP/3 is not served", "remove it; HTTP/2 serves the same clients"),
    ("entryPoints.*.forwardedHeaders.connection", NOT_YET, ""),
    ("entryPoints.*.transport.keepAliveMaxTime", NOT_YET, "`keepAliveMaxRequests` is served"),
    ("entryPoints.*.http2.maxDecoderHeaderTableSize", "the HPACK table is fixed at 4096 bytes", "remove it"),
    ("entryPoints.*.http2.maxEncoderHeaderTableSize", "the HPACK table is fixed at 4096 bytes", "remove it"),
    ("entryPoints.*.observability.traceVerbosity", "tracing is not served yet", ""),
    ("entryPoints.*.security", "is not served yet: nothing is refused by it", ""),
    ("entryPoints.*.limits.headFields", NOT_YET, ""),
    ("entryPoints.*.limits.targetBytes", NOT_YET, ""),
    ("entryPoints.*.limits.connections", NOT_YET, ""),
    ("entryPoints.*.limits.connectionsPerClient", NOT_YET, ""),
    ("entryPoints.*.limits.streamsPerConnection", NOT_YET, ""),
    ("entryPoints.*.limits.bodyRate", NOT_YET, ""),
    // Providers.
    (
        "providers.docker.username",
        NOT_YET,
        "reach the engine by its socket, or by TLS with a client certificate",
    ),
    (
        "providers.docker.password",
        NOT_YET,
        "reach the engine by its socket, or by TLS with a client certificate",
    ),
    (
        "providers.docker.passwordFile",
        NOT_YET,
        "reach the engine by its socket, or by TLS with a client certificate",
    ),
    (
        "providers.docker.httpClientTimeout",
        "has nothing to do: calls have their own time limits",
        "remove it",
    ),
    (
        "providers.docker.tls.insecureSkipVerify",
        "the engine's certificate is always verified",
        "name its CA in `tls.ca`",
    ),
    ("providers.file.debugLogGeneratedTemplate", NOT_YET, ""),
    ("providers.swarm", "Swarm is not served", "label the containers and use `providers.docker`"),
    ("providers.http", "is not served", "have the settings written to a file for `providers.file`"),
    ("providers.rest", "is not served", "write the settings to a file for `providers.file`"),
    (
        "providers.kubernetesIngress",
        "Kubernetes is not served",
        "write the routes to a file for `providers.file`",
    ),
    (
        "providers.kubernetesIngressNGINX",
        "Kubernetes is not served",
        "write the routes to a file for `providers.file`",
    ),
    (
        "providers.kubernetesCRD",
        "Kubernetes is not served",
        "write the routes to a file for `providers.file`",
    ),
    (
        "providers.kubernetesGateway",
        "Kubernetes is not served",
        "write the routes to a file for `providers.file`",
    ),
    ("providers.knative", "Kubernetes is not served", "write the routes to a file for `providers.file`"),
    ("providers.consulCatalog", "is not served", "write the routes to a file for `providers.file`"),
    ("providers.consul", "is not served", "write the routes to a file for `providers.file`"),
    ("providers.nomad", "is not served", "write the routes to a file for `providers.file`"),
    ("providers.ecs", "is not served", "write the routes to a file for `providers.file`"),
    ("providers.etcd", "is not served", "write the routes to a file for `providers.file`"),
    ("providers.zooKeeper", "is not served", "write the routes to a file for `providers.file`"),
    ("providers.redis", "is not served", "write the routes to a file for `providers.file`"),
    ("providers.plugin", "plug-ins are not run", "write the routes to a file for `providers.file`"),
    // Certificates.
    ("certificatesResolvers.*.tailscale", "is not served", "use `acme` with a DNS challenge"),
    // What is seen.
    ("api.debug", "is not served", "remove it"),
    ("api.dashboardName", NOT_YET, ""),
    ("log.maxSize", "log files are not rotated", "rotate them from outside and send SIGUSR1"),
    ("log.maxAge", "log files are not rotated", "rotate them from outside and send SIGUSR1"),
    ("log.maxBackups", "log files are not rotated", "rotate them from outside and send SIGUSR1"),
    ("log.compress", "log files are not rotated", "rotate them from outside and send SIGUSR1"),
    ("log.otlp", NOT_YET, ""),
    ("accessLog.otlp", NOT_YET, ""),
    ("accessLog.dualOutput", NOT_YET, ""),
    ("metrics.prometheus.headerLabels", NOT_YET, ""),
    ("metrics.datadog", "is not served", "use `metrics.prometheus`"),
    ("metrics.statsD", "is not served", "use `metrics.prometheus`"),
    ("metrics.influxDB2", "is not served", "use `metrics.prometheus`"),
    ("metrics.otlp", NOT_YET, "`metrics.prometheus` is"),
    ("tracing", NOT_YET, ""),
    // Towards servers, and the rest.
    ("serversTransport.spiffe", "is not served", "name the roots of servers in `rootCAs`"),
    ("tcpServersTransport.tls.spiffe", "is not served", "name the roots of servers in `rootCAs`"),
    ("hostResolver", NOT_YET, ""),
    ("ocsp", "OCSP stapling is not offered", "remove it; certificates with short lives take its place"),
    ("spiffe", "is not served", "remove it"),
    ("experimental.otlpLogs", NOT_YET, ""),
    ("experimental.knative", "Kubernetes is not served", "remove it"),
    ("experimental.kubernetesGateway", "Kubernetes is not served", "remove it"),
    ("experimental.kubernetesIngressNGINX", "Kubernetes is not served", "remove it"),
    // Ours.
    ("crowdsec", "is not served yet: no client is refused by it", ""),
    ("geoip", NOT_YET, ""),
    ("redis", NOT_YET, ""),
];

/// Keys of Traefik v1 and v2, and what took their place. They are unknown keys: the gateway does not start.
const REMOVED: &[(&str, &str)] = &[
    ("pilot", "it was removed from Traefik: delete it"),
    ("hub", "it was removed from Traefik: delete it"),
    ("experimental.hub", "it was removed from Traefik: delete it"),
    ("experimental.http3", "it became `entryPoints.<name>.http3`, which is not served: delete it"),
    ("providers.docker.swarmMode", "Swarm is not served: label the containers"),
    ("providers.docker.swarmModeRefreshSeconds", "Swarm is not served: label the containers"),
    ("providers.marathon", "it was removed from Traefik: write the routes to a file for `providers.file`"),
    ("providers.rancher", "it was removed from Traefik: write the routes to a file for `providers.file`"),
    ("providers.consul.namespace", "it became `namespaces`"),
    ("providers.consulCatalog.namespace", "it became `namespaces`"),
    ("providers.nomad.namespace", "it became `namespaces`"),
    ("tracing.jaeger", "it was removed from Traefik: `tracing.otlp` took its place"),
    ("tracing.zipkin", "it was removed from Traefik: `tracing.otlp` took its place"),
    ("tracing.instana", "it was removed from Traefik: `tracing.otlp` took its place"),
    ("tracing.haystack", "it was removed from Traefik: `tracing.otlp` took its place"),
    ("tracing.datadog", "it was removed from Traefik: `tracing.otlp` took its place"),
    ("tracing.elastic", "it was removed from Traefik: `tracing.otlp` took its place"),
    ("tracing.spanNameLimit", "it was removed from Traefik: delete it"),
    ("metrics.influxDB", "it was removed from Traefik: use `metrics.prometheus`"),
    ("certificatesResolvers.*.acme.dnsChallenge.exec", "set the environment variables of the DNS provider"),
    ("entryPoints.*.enableHTTP3", "it became `http3`, which is not served: delete it"),
    ("entryPoints.*.compress", "an option of Traefik v1: use a `compress` middleware"),
    ("entryPoints.*.redirect", "an option of Traefik v1: use `http.redirections`"),
    ("entryPoints.*.tls", "an option of Traefik v1: use `http.tls`"),
    ("entryPoints.*.auth", "an option of Traefik v1: use a `basicAuth` middleware"),
    ("entryPoints.*.whiteList", "an option of Traefik v1: use an `ipAllowList` middleware"),
    ("defaultEntryPoints", "an option of Traefik v1: use `entryPoints.<name>.asDefault`"),
    ("docker", "an option of Traefik v1: use `providers.docker`"),
    ("file", "an option of Traefik v1: use `providers.file`"),
    ("rest", "an option of Traefik v1: it is not served"),
    ("kubernetes", "an option of Traefik v1: it is not served"),
    ("web", "an option of Traefik v1: use `api`, `ping` and `metrics`"),
    ("acme", "an option of Traefik v1: use `certificatesResolvers.<name>.acme`"),
    ("logLevel", "an option of Traefik v1: use `log.level`"),
    ("debug", "an option of Traefik v1: use `log.level: DEBUG`"),
    ("traefikLog", "an option of Traefik v1: use `log`"),
    ("accessLogsFile", "an option of Traefik v1: use `accessLog.filePath`"),
    ("checkNewVersion", "an option of Traefik v1: use `global.checkNewVersion`"),
    ("sendAnonymousUsage", "an option of Traefik v1: use `global.sendAnonymousUsage`"),
    ("insecureSkipVerify", "an option of Traefik v1: use `serversTransport.insecureSkipVerify`"),
    ("rootCAs", "an option of Traefik v1: use `serversTransport.rootCAs`"),
    ("respondingTimeouts", "an option of Traefik v1: use `entryPoints.<name>.transport.respondingTimeouts`"),
    ("lifeCycle", "an option of Traefik v1: use `entryPoints.<name>.transport.lifeCycle`"),
    ("providersThrottleDuration", "an option of Traefik v1: use `providers.providersThrottleDuration`"),
    ("maxIdleConnsPerHost", "an option of Traefik v1: use `serversTransport.maxIdleConnsPerHost`"),
];

/// What to say of a key that was removed from Traefik.
pub(super) fn removed(path: &str) -> Option<&'static str> {
    REMOVED.iter().find(|(pattern, _)| matches(pattern, path)).map(|(_, hint)| *hint)
}

/// One problem for each place in the tree that is known and not served.
pub(super) fn notices(tree: &Node) -> Vec<Problem> {
    let mut problems = Vec::new();
    walk(tree, "", &mut problems);
    plugins(tree, &mut problems);
    problems
}

fn walk(node: &Node, path: &str, problems: &mut Vec<Problem>) {
    for (key, child) in node.entries() {
        let path = if path.is_empty() { key.text.clone() } else { format!("{path}.{}", key.text) };
        if asks_for_nothing(child) {
            continue;
        }
        match NOTICES.iter().find(|(pattern, ..)| matches(pattern, &path)) {
            Some((_, message, hint)) => {
                let problem = Problem::error(key.origin.clone(), format!("option `{path}`"), *message);
                problems.push(if hint.is_empty() { problem } else { problem.with_hint(*hint) });
            }
            None => walk(child, &path, problems),
        }
    }
}

/// Plug-ins are not run. What the gateway does itself is no problem; the rest names what does it here.
fn plugins(tree: &Node, problems: &mut Vec<Problem>) {
    let Some(experimental) = tree.get("experimental") else { return };
    for section in ["plugins", "localPlugins"] {
        for (alias, plugin) in experimental.get(section).map_or(&[][..], Node::entries) {
            let module = plugin.get("moduleName").and_then(Node::text).unwrap_or("").to_ascii_lowercase();
            let hint = match plugin_hint(&module) {
                PluginHint::BuiltIn => continue,
                PluginHint::UseInstead(hint) => hint,
            };
            let subject = format!("plug-in `{}`", alias.text);
            problems
                .push(Problem::error(alias.origin.clone(), subject, "plug-ins are not run").with_hint(hint));
        }
    }
}

enum PluginHint {
    BuiltIn,
    UseInstead(&'static str),
}

fn plugin_hint(module: &str) -> PluginHint {
    let has = |words: &[&str]| words.iter().any(|word| module.contains(word));
    if has(&["crowdsec"]) {
        PluginHint::BuiltIn
    } else if has(&["geoblock", "geo-block", "geoip", "geofence"]) {
        PluginHint::UseInstead("use the middleware `geo` in its place")
    } else if has(&["real-ip", "realip", "cloudflarewarp", "cloudflare"]) {
        PluginHint::UseInstead("use `entryPoints.<name>.clientIP` in its place")
    } else if has(&["fail2ban"]) {
        PluginHint::UseInstead("use `crowdsec`, or decisions of the admin API, in its place")
    } else if has(&["rewritebody", "rewrite-body", "rewriteheaders", "rewrite-headers"]) {
        PluginHint::UseInstead("use the middleware `headers`; bodies are not rewritten")
    } else {
        PluginHint::UseInstead("remove it; routers that use it answer 503")
    }
}

/// Switched off, zero, or nothing at all: as without the key.
fn asks_for_nothing(node: &Node) -> bool {
    match &node.value {
        Value::Null => true,
        Value::List(items) => items.is_empty(),
        Value::Scalar { text, .. } | Value::Block { text, .. } => {
            matches!(text.as_str(), "false" | "False" | "FALSE" | "f" | "F" | "0")
        }
        Value::Map(_) => false,
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('.'), path.split('.'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(word), Some(name)) if word.eq_ignore_ascii_case(name) => {}
            _ => return false,
        }
    }
}
