//! Where routing settings come from.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Resolver;
use crate::document::{GoDuration, Node, Value};
use crate::install::raw::{RawDocker, RawFile, RawProviders};
use crate::install::{
    DockerEndpoint, DockerProvider, FileProvider, FileSource, LabelScope, Providers, TableProvider,
};
use crate::name::ProviderName;
use crate::problem::{Origin, Problem, did_you_mean};
use crate::template::{ContainerData, TemplateContext, render};

/// Settling time between two publications of one provider, unless written: a container is served, or refused, well
/// within a second. Traefik takes 2 s.
const THROTTLE: Duration = Duration::from_millis(100);

impl Resolver<'_> {
    pub(super) fn providers(&mut self, raw: RawProviders, is_default: bool) -> Providers {
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
}
