//! What was written -> what it means: defaults, addresses, words.

mod acme;
mod entry_point;
mod providers;
mod redirection;
mod seeing;
mod transport;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::raw::{RawAccessLog, RawInstall};
use super::{
    AccessLog, AccessLogFormat, ClientIp, ClientIpMode, EntryPoint, EntryPointHttp, Install, Limits,
    ListenAddress, Metrics, Ping, Prometheus, Transport, UnderscoreHeaders, User,
};
use crate::document::{Node, Value};
use crate::name::EntryPointName;
use crate::problem::{Origin, Problem, did_you_mean};
use crate::routing::Observability;
use crate::routing::raw::RawRouterTls;
use crate::secret::Secret;

/// The entry point that Traefik makes when something internal needs it.
const TRAEFIK: &str = "traefik";

pub(super) struct Resolved {
    pub(super) install: Install,
    pub(super) problems: Vec<Problem>,
    /// The gateway does not start with these.
    pub(super) fatal: Vec<Problem>,
}

/// Secrets that stood in files of their own.
pub(super) struct FromFiles {
    pub(super) admin_token: Option<String>,
    /// Keys of `eab`, by resolver.
    pub(super) eab_keys: BTreeMap<String, Secret<String>>,
}

pub(super) fn resolve(
    raw: RawInstall,
    tree: &Node,
    file: Option<PathBuf>,
    secrets: FromFiles,
    environment: &[(String, String)],
) -> Resolved {
    let mut resolver = Resolver { tree, environment, problems: Vec::new(), fatal: Vec::new() };
    let is_default = file.is_none() && !says_what_to_serve(tree);
    let install = resolver.install(raw, file, secrets, is_default);
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
        secrets: FromFiles,
        is_default: bool,
    ) -> Install {
        let append = raw.global.not_append_forwarded_for == Some(false);
        let api = raw.api.map(|api| self.api(api));
        let ping = raw.ping.map(|ping| self.ping(ping));
        let metrics = Metrics {
            prometheus: raw.metrics.prometheus.map(|prometheus| self.prometheus(prometheus)),
            add_internals: raw.metrics.add_internals,
        };
        let redirections: Vec<_> = raw
            .entry_points
            .iter()
            .map(|(name, raw)| (name.clone(), raw.http.redirections.entry_point.clone()))
            .collect();
        let mut entry_points: Vec<_> =
            raw.entry_points.into_iter().map(|(name, raw)| self.entry_point(&name, raw, append)).collect();
        let none_written = self.tree.get("entryPoints").is_none_or(Node::is_empty);
        if is_default {
            entry_points.extend(Self::default_entry_points());
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
                entry_point.is_default = entry_point.udp.is_none() && entry_point.name.as_str() != TRAEFIK;
            }
        }
        for (name, redirection) in redirections {
            let redirection = self.redirection(&name, redirection, &entry_points);
            if let Some(from) = entry_points.iter_mut().find(|entry_point| entry_point.name.as_str() == name)
            {
                from.redirection = redirection;
            }
        }
        self.check_addresses(&entry_points);
        self.check_internal_entry_points(&entry_points, ping.as_ref(), metrics.prometheus.as_ref());
        self.check_rule_syntax(raw.core.default_rule_syntax.as_deref());

        let certificate_resolvers =
            self.certificate_resolvers(raw.certificates_resolvers, &entry_points, &secrets.eab_keys);
        let providers = self.providers(raw.providers, is_default);
        let admin = self.admin(raw.admin, secrets.admin_token);
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
            certificate_resolvers,
            servers_transport: Arc::new(self.servers_transport(raw.servers_transport)),
            tcp_servers_transport: Arc::new(self.tcp_servers_transport(raw.tcp_servers_transport)),
            state_dir: raw
                .state_dir
                .filter(|dir| !dir.is_empty())
                .map_or_else(|| PathBuf::from("/var/lib/hearthgate"), PathBuf::from),
            user: raw.user.filter(|user| !user.is_empty()).and_then(|user| self.user(&user)),
            file,
            is_default,
        }
    }

    fn default_entry_points() -> [EntryPoint; 2] {
        let web = EntryPoint { fallback_port: Some(8000), ..plain_entry_point("web", 80) };
        let mut secure = EntryPoint { fallback_port: Some(8443), ..plain_entry_point("websecure", 443) };
        secure.http.tls = Some(RawRouterTls::default());
        [web, secure]
    }

    /// Two listeners of one protocol cannot bind one address. Port 0 is a free port each time.
    fn check_addresses(&mut self, entry_points: &[EntryPoint]) {
        for (at, entry_point) in entry_points.iter().enumerate() {
            let any_port = match &entry_point.address {
                ListenAddress::AnyAddress { port } => *port == 0,
                ListenAddress::Address(address) => address.port() == 0,
                ListenAddress::Unix { .. } => false,
            };
            let same = |other: &&EntryPoint| {
                other.udp.is_some() == entry_point.udp.is_some()
                    && match (&other.address, &entry_point.address) {
                        (ListenAddress::Unix { path: a, .. }, ListenAddress::Unix { path: b, .. }) => a == b,
                        (a, b) => a == b,
                    }
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
        let known = |name: &EntryPointName| {
            entry_points.iter().any(|known| known.udp.is_none() && known.name == *name)
        };
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
        udp: None,
        redirection: None,
        acme_by_pass: false,
    }
}
