//! Labels of one container. Pure; ports, addresses, default rules and the joining of routers with services are
//! the Docker provider's.
//!
//! Traefik drops a container for one label that it cannot read. Here such a label costs the router, service or
//! middleware that it belongs to, whose name is kept in [`LeftOut`] so that no default takes its place.

use std::collections::BTreeMap;

use super::item::{self, Kind};
use super::raw::{Defined, RawRouting, RawTlsStore};
use crate::document::{DecodeError, Style, decode, tree_from_paths};
use crate::problem::{Origin, Problem, did_you_mean};

/// Longest label value that is read. No rule, header or key comes near it.
const VALUE_BYTES: usize = 64 << 10;

/// Longest label key that is read.
const KEY_BYTES: usize = 1 << 10;

/// Prefix of our own, which is always read.
const OWN_PREFIX: &str = "hearthgate.";

/// What a container's labels say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LabelRouting {
    /// The good items, as written: services may hold the label form of their server.
    pub routing: RawRouting,
    /// What concerns the container as a whole.
    pub options: ContainerOptions,
    /// Items that were left out: named so that no default takes their place.
    pub left_out: LeftOut,
    /// What was left out, and what may not do what it seems to.
    pub problems: Vec<Problem>,
}

/// What concerns the container as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerOptions {
    /// `traefik.enable`; false where its value is no boolean.
    pub enable: Option<bool>,
    /// `traefik.docker.network`; empty cancels the provider's default.
    pub network: Option<String>,
    /// `traefik.docker.allownonrunning`.
    pub allow_non_running: bool,
    /// `traefik.docker.lbswarm`: Swarm only.
    pub lb_swarm: bool,
}

/// Names of items that were left out, by kind; sorted. Empty where the label does not tell the name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// HTTP routers.
    pub http_routers: Vec<String>,
    /// HTTP services.
    pub http_services: Vec<String>,
    /// HTTP middlewares.
    pub http_middlewares: Vec<String>,
    /// TCP routers.
    pub tcp_routers: Vec<String>,
    /// TCP services.
    pub tcp_services: Vec<String>,
    /// TCP middlewares.
    pub tcp_middlewares: Vec<String>,
    /// UDP routers.
    pub udp_routers: Vec<String>,
    /// UDP services.
    pub udp_services: Vec<String>,
}

impl LeftOut {
    fn of(&mut self, kind: Kind) -> &mut Vec<String> {
        match kind {
            Kind::HttpRouter => &mut self.http_routers,
            Kind::HttpService => &mut self.http_services,
            Kind::HttpMiddleware => &mut self.http_middlewares,
            Kind::TcpRouter => &mut self.tcp_routers,
            Kind::TcpService => &mut self.tcp_services,
            Kind::TcpMiddleware => &mut self.tcp_middlewares,
            Kind::UdpRouter => &mut self.udp_routers,
            Kind::UdpService => &mut self.udp_services,
        }
    }
}

/// Reads the labels of the container that `origin` names. Prefixes carry their dot (`traefik.`); an earlier one
/// wins over a later one, and `hearthgate.` is always read and wins over all. Every item comes without state and
/// age: [`RawRouting::stamp`] them.
pub fn decode_labels<'a>(
    labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    prefixes: &[String],
    origin: &Origin,
) -> LabelRouting {
    let mut reader = Reader::new(origin);
    for label in chosen(labels, prefixes) {
        reader.take(&label);
    }
    reader.finish()
}

/// A label that takes part.
struct Label<'a> {
    /// As on the container.
    key: &'a str,
    /// Its prefix was written in another case.
    wrong_case: bool,
    /// It has our own prefix.
    own: bool,
    /// What follows the prefix.
    path: &'a str,
    value: &'a str,
}

/// The labels that take part, in byte order of their keys: of equal paths under several prefixes only those
/// under the strongest.
fn chosen<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>, prefixes: &[String]) -> Vec<Label<'a>> {
    let mut by_path: BTreeMap<String, (usize, Vec<Label<'a>>)> = BTreeMap::new();
    for (key, value) in labels {
        let found = std::iter::once(OWN_PREFIX)
            .chain(prefixes.iter().map(String::as_str))
            .enumerate()
            .find_map(|(rank, prefix)| {
                let start = key.get(..prefix.len())?;
                let path = &key[prefix.len()..];
                let label =
                    Label { key, wrong_case: start != prefix, own: prefix == OWN_PREFIX, path, value };
                start.eq_ignore_ascii_case(prefix).then_some((rank, label))
            });
        let Some((rank, label)) = found else { continue };
        let same = by_path.entry(label.path.to_lowercase()).or_insert_with(|| (rank, Vec::new()));
        if rank < same.0 {
            *same = (rank, Vec::new());
        }
        if rank == same.0 {
            same.1.push(label);
        }
    }
    let mut labels: Vec<_> = by_path.into_values().flat_map(|(_, labels)| labels).collect();
    labels.sort_by_key(|label| (label.path, label.key));
    labels
}

/// The labels of one item.
#[derive(Default)]
struct ItemLabels<'a> {
    /// As in the first key in byte order.
    name: String,
    /// Key, what follows the item's name, value.
    labels: Vec<(&'a str, &'a str, &'a str)>,
    /// It cannot be used, and a problem says so.
    bad: bool,
}

struct Reader<'a> {
    origin: &'a Origin,
    items: BTreeMap<(Kind, String), ItemLabels<'a>>,
    /// `tls.stores.default`.
    store: Vec<(&'a str, &'a str, &'a str)>,
    output: LabelRouting,
}

impl<'a> Reader<'a> {
    fn new(origin: &'a Origin) -> Self {
        Self { origin, items: BTreeMap::new(), store: Vec::new(), output: LabelRouting::default() }
    }

    fn take(&mut self, label: &Label<'a>) {
        let parts: Vec<&str> = label.path.splitn(4, '.').collect();
        let section = parts[0].to_lowercase();
        let takes_part = ["http", "tcp", "udp"].iter().any(|prefix| section.starts_with(prefix))
            || section == "docker"
            || section.starts_with("enable")
            || label.path.to_lowercase().starts_with("tls.stores.default");
        if !takes_part {
            self.pass_over(label, &section);
            return;
        }
        if let Some(reason) = unreadable(label) {
            self.spoil(label, &parts, reason.0, Some(reason.1));
            return;
        }
        match section.as_str() {
            "http" | "tcp" | "udp" => self.item(label, &parts),
            "docker" => self.docker(label, &parts),
            "tls" => self.tls(label, &parts),
            _ if section.starts_with("enable") => self.enable(label),
            _ => {
                let hint = meant(parts[0], parts.get(1).unwrap_or(&"routers"))
                    .map(|kind| format!("did you mean `{}`?", kind.keys().0));
                self.spoil(label, &parts, format!("field not found, node: {}", shown(parts[0])), hint);
            }
        }
    }

    /// A label of ours or Traefik's that means nothing here.
    fn pass_over(&mut self, label: &Label<'a>, section: &str) {
        let path = label.path.to_lowercase();
        let last = path.rsplit('.').next().unwrap_or_default();
        let first_generation = path.split('.').any(|part| part == "frontend" || part == "backend")
            || ["port", "protocol", "weight", "domain"].contains(&path.as_str());
        let found = if first_generation {
            let hint = match last {
                "port" => "write `traefik.http.services.<name>.loadbalancer.server.port`",
                "protocol" => "write `traefik.http.services.<name>.loadbalancer.server.scheme`",
                "rule" => "write `traefik.http.routers.<name>.rule`, in the syntax of version 3",
                _ => {
                    "use `traefik.http.routers.…`, `traefik.http.services.…` and `traefik.http.middlewares.…`"
                }
            };
            Some(("is a label of Traefik 1 and is ignored", hint.to_owned()))
        } else if section == "tls" {
            let hint = "write `tls.options`, `tls.certificates` and `tls.stores` in a routing file";
            Some((
                "is ignored: of `tls` only `tls.stores.default.defaultgeneratedcert` is read from labels",
                hint.to_owned(),
            ))
        } else if let Some(meant) = did_you_mean(section, ["http", "tcp", "udp", "docker", "enable", "tls"]) {
            Some(("is not known and is ignored", format!("did you mean `{meant}`?")))
        } else if label.own {
            Some((
                "is not known and is ignored",
                "known are `http`, `tcp`, `udp`, `docker`, `enable`, `tls`".to_owned(),
            ))
        } else {
            // Labels of other tools under the same prefix, such as marks that `constraints` ask for.
            None
        };
        if let Some((message, hint)) = found {
            let message = format!("label `{}` {message}", shown(label.key));
            self.output.problems.push(Problem::warning(self.origin.clone(), "", message).with_hint(hint));
        }
    }

    fn item(&mut self, label: &Label<'a>, parts: &[&'a str]) {
        let (Some(items), Some(name)) = (parts.get(1), parts.get(2)) else {
            let message = format!("`{}` cannot be a standalone element", shown(label.path));
            let hint = "set a key of a router, service or middleware, such as `http.routers.<name>.rule`";
            self.spoil(label, parts, message, Some(hint.to_owned()));
            return;
        };
        if items.eq_ignore_ascii_case("serversTransports") {
            let message =
                format!("label `{}` is ignored: a transport cannot be defined by labels", shown(label.key));
            let hint = "define it in a routing file and refer to it as `<name>@file`";
            self.output.problems.push(Problem::warning(self.origin.clone(), "", message).with_hint(hint));
            return;
        }
        let Some(kind) = Kind::of(parts[0], items) else {
            let hint = meant(parts[0], items).map(|kind| format!("did you mean `{}`?", kind.keys().1));
            self.spoil(label, parts, format!("field not found, node: {}", shown(items)), hint);
            return;
        };
        if name.is_empty() {
            let message = "invalid element: an empty name between two dots".to_owned();
            self.spoil(label, parts, message, None);
            return;
        }
        if name.contains('[') {
            let message = format!("a name cannot hold an index: {}", shown(name));
            self.spoil(label, parts, message, None);
            return;
        }
        let item = self.items.entry((kind, name.to_lowercase())).or_default();
        if item.name.is_empty() {
            (*name).clone_into(&mut item.name);
        }
        if let Some(rest) = parts.get(3) {
            item.labels.push((label.key, rest, label.value));
        }
    }

    fn docker(&mut self, label: &Label<'a>, parts: &[&str]) {
        let option = label.path.split_once('.').map_or("", |(_, option)| option).to_lowercase();
        match option.as_str() {
            "network" => self.output.options.network = Some(label.value.to_owned()),
            "allownonrunning" => {
                self.output.options.allow_non_running = self.boolean(label).unwrap_or(false);
            }
            "lbswarm" => self.output.options.lb_swarm = self.boolean(label).unwrap_or(false),
            _ => {
                let known = ["network", "allownonrunning", "lbswarm"];
                let hint = did_you_mean(&option, known).map_or_else(
                    || "known are `docker.network` and `docker.allownonrunning`".to_owned(),
                    |meant| format!("did you mean `docker.{meant}`?"),
                );
                self.spoil(label, parts, format!("field not found, node: {}", shown(&option)), Some(hint));
            }
        }
    }

    /// Whatever cannot be read as an answer means no: a container is not shown by mistake.
    fn enable(&mut self, label: &Label<'a>) {
        if label.path.eq_ignore_ascii_case("enable") {
            self.output.options.enable = Some(self.boolean(label).unwrap_or(false));
        } else {
            self.output.options.enable.get_or_insert(false);
            let message =
                format!("label `{}`: field not found, node: {}", shown(label.key), shown(label.path));
            let hint = "did you mean `enable`? The container is left out";
            self.output.problems.push(Problem::error(self.origin.clone(), "", message).with_hint(hint));
        }
    }

    fn tls(&mut self, label: &Label<'a>, parts: &[&str]) {
        match parts.get(3) {
            Some(_) if parts[2].eq_ignore_ascii_case("default") => {
                let at = label.path.len() - parts[3].len();
                self.store.push((label.key, &label.path[at..], label.value));
            }
            Some(_) | None => {
                let message = "only the store `default` exists".to_owned();
                let hint = "write `tls.stores.default.defaultgeneratedcert.resolver`".to_owned();
                self.spoil(label, parts, message, Some(hint));
            }
        }
    }

    fn boolean(&mut self, label: &Label<'_>) -> Option<bool> {
        match label.value {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
            other => {
                let message = format!("label `{}`: `{}` is no boolean", shown(label.key), shown(other));
                let hint = "write `true` or `false`";
                self.output.problems.push(Problem::error(self.origin.clone(), "", message).with_hint(hint));
                None
            }
        }
    }

    /// Reports a label that cannot be read, and takes the item with it that it was most probably meant for; an
    /// item without name where none can be told, so that no default router takes its place.
    fn spoil(&mut self, label: &Label<'a>, parts: &[&str], message: String, hint: Option<String>) {
        let plain = |at: usize| parts.get(at).map(|part| part.split('[').next().unwrap_or_default());
        let mut subject = String::new();
        if let Some(kind) = meant(parts[0], plain(1).unwrap_or("routers")) {
            let name = plain(2).filter(|name| name.len() <= KEY_BYTES).unwrap_or_default();
            let item = self.items.entry((kind, name.to_lowercase())).or_default();
            if item.name.is_empty() {
                name.clone_into(&mut item.name);
            }
            item.bad = true;
            if !name.is_empty() {
                subject = kind.subject(&item.name);
            }
        }
        let message = format!("label `{}`: {message}", shown(label.key));
        let problem = Problem::error(self.origin.clone(), subject, message);
        self.output.problems.push(match hint {
            Some(hint) => problem.with_hint(hint),
            None => problem,
        });
    }

    fn finish(mut self) -> LabelRouting {
        for ((kind, _), item) in std::mem::take(&mut self.items) {
            self.finish_item(kind, item);
        }
        self.finish_store();
        let mut output = self.output;
        for kind in [
            Kind::HttpRouter,
            Kind::HttpService,
            Kind::HttpMiddleware,
            Kind::TcpRouter,
            Kind::TcpService,
            Kind::TcpMiddleware,
            Kind::UdpRouter,
            Kind::UdpService,
        ] {
            output.left_out.of(kind).sort();
        }
        output.problems.sort();
        output.problems.dedup();
        output
    }

    fn finish_item(&mut self, kind: Kind, item: ItemLabels<'a>) {
        if item.bad && item.labels.is_empty() {
            self.output.left_out.of(kind).push(item.name);
            return;
        }
        let (node, mut errors) =
            tree_from_paths(item.labels.iter().map(|(_, path, value)| (*path, *value, self.origin.clone())));
        match item::add(&mut self.output.routing, kind, &item.name, &node, Style::Text, self.origin) {
            Ok(warnings) if errors.is_empty() && !item.bad => self.output.problems.extend(warnings),
            Ok(_) => item::remove(&mut self.output.routing, kind, &item.name),
            Err(more) => errors.extend(more),
        }
        let kept = errors.is_empty() && !item.bad;
        self.report(&kind.subject(&item.name), &item.labels, errors);
        if !kept {
            self.output.left_out.of(kind).push(item.name);
        }
    }

    fn finish_store(&mut self) {
        let labels = std::mem::take(&mut self.store);
        if labels.is_empty() {
            return;
        }
        let (node, mut errors) =
            tree_from_paths(labels.iter().map(|(_, path, value)| (*path, *value, self.origin.clone())));
        let subject = "TLS store `default`";
        match decode::<RawTlsStore>(&node, Style::Text) {
            Ok(mut store) if errors.is_empty() => {
                if store.default_certificate.take().is_some() {
                    let problem = Problem::warning(
                        self.origin.clone(),
                        subject,
                        "`defaultCertificate` cannot be set by a label and is left out",
                    );
                    self.output.problems.push(problem.with_hint("write it in a routing file"));
                }
                let stores = &mut self.output.routing.tls.stores;
                stores.insert("default".to_owned(), Defined::new(store, self.origin.clone()));
            }
            Ok(_) => {}
            Err(more) => errors.extend(more),
        }
        self.report(subject, &labels, errors);
    }

    fn report(&mut self, subject: &str, labels: &[(&str, &str, &str)], errors: Vec<DecodeError>) {
        for error in errors {
            let wanted = error.path.to_lowercase();
            let label = labels
                .iter()
                .find(|(_, path, _)| path.eq_ignore_ascii_case(&error.path))
                .or_else(|| labels.iter().find(|(_, path, _)| path.to_lowercase().starts_with(&wanted)));
            let message = match label {
                Some((key, ..)) => format!("label `{}`: {}", shown(key), error.message),
                None => error.message,
            };
            let problem = Problem::error(self.origin.clone(), subject, message);
            self.output.problems.push(match error.hint {
                Some(hint) => problem.with_hint(hint),
                None => problem,
            });
        }
    }
}

/// The kind that two keys name or were probably meant to name.
fn meant(section: &str, items: &str) -> Option<Kind> {
    let section = section.to_ascii_lowercase();
    let section = ["http", "tcp", "udp"].into_iter().find(|known| section.starts_with(known))?;
    Kind::of(section, items).or_else(|| Kind::guess(section, items))
}

/// Why a label cannot be read whatever it says.
fn unreadable(label: &Label<'_>) -> Option<(String, String)> {
    if label.wrong_case {
        let written = &label.key[..label.key.len() - label.path.len()];
        let hint = format!("write `{}` in lower case", written.to_lowercase());
        return Some((format!("invalid label root: `{}`", shown(written)), hint));
    }
    if label.key.len() > KEY_BYTES {
        return Some((format!("its key is longer than {KEY_BYTES} bytes"), "shorten it".to_owned()));
    }
    if label.value.len() > VALUE_BYTES {
        let message = format!("its value of {} bytes is longer than {VALUE_BYTES}", label.value.len());
        return Some((message, "shorten it, or write the item in a routing file".to_owned()));
    }
    None
}

/// A text of others in a message: not longer than it helps.
fn shown(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
