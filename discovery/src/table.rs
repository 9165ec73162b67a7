//! The table provider: guests of other hosts, each in a zone, become routers and services.
//!
//! ```yaml
//! zones:
//!   secure: { cidr: 10.20.0.0/24, middlewares: [lan-or-sso@file] }
//! guests:
//!   - { name: vaultwarden, zone: secure, host: vault.example.com, server: "http://10.20.0.10:8000" }
//! ```
//!
//! A guest that is wrong costs itself alone. One whose server lies outside its zone is not routed: the zone's
//! middlewares are there because of where its guests are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use async_trait::async_trait;
use config::Problem;
use config::document::{DecodeError, Key, Node, Style, Value, decode, parse_toml, parse_yaml, stand_alone};
use config::install::{self, FileSource};
use config::name::ProviderName;
use config::problem::did_you_mean;
use config::routing::file::FileRouting;
use config::routing::raw::{
    Defined, RawHealthCheck, RawLoadBalancer, RawObservability, RawRouter, RawRouterTls, RawServer,
    RawServerTls, RawService,
};
use ipnet::IpNet;
use serde::Deserialize;

use crate::files::Files;
use crate::{Environment, Freshness, Provider, ProviderChannels, Update};

/// Routing settings from the static table of zones and guests.
pub struct TableProvider {
    source: Source,
}

enum Source {
    Inline(FileRouting),
    File(Files),
}

impl std::fmt::Debug for TableProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableProvider").finish_non_exhaustive()
    }
}

impl TableProvider {
    /// A provider for these settings. The table has no templates: `environment` is not asked.
    pub fn new(settings: install::TableProvider, _environment: Environment) -> Self {
        let source = match settings {
            install::TableProvider::Inline(node) => Source::Inline(read_table(&node)),
            install::TableProvider::File(path) => {
                let name = ProviderName::from("table");
                Source::File(Files::new(name, FileSource::File(path), true, Box::new(parse_table)))
            }
        };
        Self { source }
    }
}

#[async_trait]
impl Provider for TableProvider {
    fn name(&self) -> ProviderName {
        ProviderName::from("table")
    }

    async fn load(&mut self) -> Update {
        let provider = self.name();
        match &mut self.source {
            Source::File(files) => files.load().await,
            Source::Inline(table) => Update {
                provider,
                routing: table.routing.clone(),
                problems: table.problems.clone(),
                freshness: Freshness::Current,
            },
        }
    }

    async fn run(mut self: Box<Self>, mut channels: ProviderChannels) {
        let update = self.load().await;
        match self.source {
            Source::File(files) => files.run(channels).await,
            Source::Inline(_) => {
                if channels.updates.send(update.clone()).await.is_err() {
                    return;
                }
                // Nothing changes, but who asks for a reload gets an answer.
                while let Some(reload) = tokio::select! {
                    reload = channels.reloads.recv() => reload,
                    () = channels.updates.closed() => None,
                } {
                    if channels.updates.send(update.clone()).await.is_err() {
                        return;
                    }
                    let _ = reload.send(());
                }
                channels.updates.closed().await;
            }
        }
    }
}

fn parse_table(text: &str, path: &Path) -> Result<FileRouting, Box<Problem>> {
    let toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    let node = if toml { parse_toml(text, path) } else { parse_yaml(text, path) }.map_err(Box::new)?;
    Ok(read_table(&node))
}

/// A part of the network with what its guests have in common.
struct Zone {
    /// None: its range is wrong, and its guests are not routed.
    ranges: Option<Vec<IpNet>>,
    middlewares: Vec<String>,
}

/// Keys of a zone.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct RawZone {
    cidr: String,
    middlewares: Vec<String>,
}

/// Keys of a guest, but for those that can be written in two ways.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct RawGuest {
    name: String,
    zone: String,
    preset: String,
    entry_points: Vec<String>,
    #[serde(deserialize_with = "stand_alone")]
    tls: Option<RawRouterTls>,
    middlewares: Vec<String>,
    priority: i64,
    observability: Option<RawObservability>,
    pass_host_header: Option<bool>,
    servers_transport: String,
    skip_verify: bool,
    ca_file: String,
    pin: String,
}

/// Keys of a guest that can be written in two ways, and are read one by one.
const TWO_WAYS: [&str; 4] = ["host", "server", "servers", "healthCheck"];

/// Reads a table.
fn read_table(root: &Node) -> FileRouting {
    let mut output = FileRouting::default();
    let problems = &mut output.problems;
    if !root.is_empty() && root.entries().is_empty() {
        let message = "the table is a block with `zones` and `guests`";
        problems.push(Problem::error(root.origin.clone(), String::new(), message));
        return output;
    }
    let mut zones = BTreeMap::new();
    let mut guests: &[Node] = &[];
    for (key, node) in root.entries() {
        match key.text.to_ascii_lowercase().as_str() {
            "zones" => zones = read_zones(node, problems),
            "guests" => {
                if let Value::List(items) = &node.value {
                    guests = items;
                } else if !node.is_empty() {
                    let message = "a list is expected: `- { name: …, zone: …, host: …, server: … }`";
                    problems.push(Problem::error(node.origin.clone(), "`guests`", message));
                }
            }
            // Where the table is written in the install file.
            "filename" => {}
            written => {
                let problem =
                    Problem::error(key.origin.clone(), String::new(), format!("unknown key `{}`", key.text));
                problems.push(match did_you_mean(written, ["zones", "guests"]) {
                    Some(near) => problem.with_hint(format!("did you mean `{near}`?")),
                    None => problem.with_hint("a table holds `zones` and `guests`"),
                });
            }
        }
    }
    let mut names = BTreeSet::new();
    for node in guests {
        match read_guest(node, &zones) {
            Ok((name, router, service)) => {
                if !names.insert(name.clone()) {
                    let message = "the name is taken by a guest above; this one is not routed";
                    problems.push(Problem::error(node.origin.clone(), format!("guest `{name}`"), message));
                    continue;
                }
                let http = &mut output.routing.http;
                http.routers.insert(name.clone(), Defined::new(router, node.origin.clone()));
                http.services.insert(name, Defined::new(service, node.origin.clone()));
            }
            Err(found) => problems.extend(found),
        }
    }
    output
}

fn read_zones(node: &Node, problems: &mut Vec<Problem>) -> BTreeMap<String, Zone> {
    if node.entries().is_empty() && !node.is_empty() {
        let message = "a block is expected: `secure: { cidr: 10.20.0.0/24 }`";
        problems.push(Problem::error(node.origin.clone(), "`zones`", message));
    }
    let read = |(key, node): &(Key, Node)| {
        let subject = format!("zone `{}`", key.text);
        let zone = match decode::<RawZone>(node, Style::File) {
            Ok(raw) => {
                let ranges = ranges(&raw.cidr).map_err(|message| {
                    let problem = Problem::error(node.origin.clone(), subject.clone(), message);
                    problems.push(problem.with_hint("for example `cidr: 10.20.0.0/24`"));
                });
                Zone { ranges: ranges.ok(), middlewares: raw.middlewares }
            }
            Err(errors) => {
                problems.extend(errors.into_iter().map(|error| problem_of(error, &subject)));
                Zone { ranges: None, middlewares: Vec::new() }
            }
        };
        (key.text.clone(), zone)
    };
    node.entries().iter().map(read).collect()
}

/// One range, or several with commas between them.
fn ranges(cidr: &str) -> Result<Vec<IpNet>, String> {
    if cidr.trim().is_empty() {
        return Err("it has no `cidr`, so its guests are not routed".to_owned());
    }
    cidr.split(',')
        .map(|range| {
            let range = range.trim();
            let net = range.parse::<IpNet>().or_else(|_| range.parse::<IpAddr>().map(IpNet::from));
            net.map_err(|_| format!("`{range}` is not a range of addresses, so its guests are not routed"))
        })
        .collect()
}

fn read_guest(
    node: &Node,
    zones: &BTreeMap<String, Zone>,
) -> Result<(String, RawRouter, RawService), Vec<Problem>> {
    let written = node.get("name").and_then(Node::text).unwrap_or("");
    let subject = format!("guest `{written}`");
    let entries = node.entries();
    if entries.is_empty() {
        let message = "a block is expected: `{ name: …, zone: …, host: …, server: … }`";
        return Err(vec![Problem::error(node.origin.clone(), "guest", message)]);
    }
    let mut problems = Vec::new();
    let one_way = Node {
        value: Value::Map(
            entries
                .iter()
                .filter(|(key, _)| !TWO_WAYS.iter().any(|known| key.text.eq_ignore_ascii_case(known)))
                .cloned()
                .collect(),
        ),
        origin: node.origin.clone(),
    };
    let raw = decode::<RawGuest>(&one_way, Style::File).unwrap_or_else(|errors| {
        problems.extend(errors.into_iter().map(|error| {
            let near = error.message.contains("unknown").then(|| {
                let key = error.path.rsplit('.').next().unwrap_or("");
                did_you_mean(key, TWO_WAYS).map(|near| format!("did you mean `{near}`?"))
            });
            let problem = problem_of(error, &subject);
            match near.flatten() {
                Some(near) if problem.hint.is_none() => problem.with_hint(near),
                Some(_) | None => problem,
            }
        }));
        RawGuest::default()
    });
    let mut wrong = |origin: &config::Origin, message: String, hint: &str| {
        let problem = Problem::error(origin.clone(), subject.clone(), message);
        problems.push(if hint.is_empty() { problem } else { problem.with_hint(hint) });
    };

    if written.is_empty() {
        wrong(&node.origin, "it has no `name`".to_owned(), "");
    } else if written.contains('@') {
        wrong(&node.origin, "a name cannot hold `@`".to_owned(), "");
    }

    let hosts = texts(node.get("host"));
    match &hosts {
        Ok(hosts) if hosts.is_empty() => {
            wrong(&node.origin, "it has no `host`".to_owned(), "for example `host: app.example.com`");
        }
        Ok(hosts) => {
            for host in hosts.iter().filter(|host| !is_host(host)) {
                wrong(&node.origin, format!("`{host}` is not a host name"), "");
            }
        }
        Err(origin) => wrong(origin, "`host` is a host name or a list of them".to_owned(), ""),
    }

    let zone_name = node.get("zone").and_then(Node::text).unwrap_or("");
    let zone = zones.get(zone_name);
    if zone.is_none() {
        let message = match zone_name {
            "" => "it has no `zone`".to_owned(),
            zone => format!("unknown zone `{zone}`"),
        };
        let near = did_you_mean(zone_name, zones.keys().map(String::as_str));
        let hint = near.map_or_else(String::new, |near| format!("did you mean `{near}`?"));
        wrong(&node.origin, message, &hint);
    }

    let mut servers = Vec::new();
    let mut errors = Vec::new();
    let one = node.get("server").into_iter();
    let several: &[Node] = match node.get("servers").map(|node| &node.value) {
        Some(Value::List(items)) => items,
        Some(_) => {
            let message = "`servers` is a list of URLs or of blocks with `url`";
            wrong(
                &node.origin,
                message.to_owned(),
                "a single one is written `server: http://10.20.0.10:8000`",
            );
            &[]
        }
        None => &[],
    };
    for node in one.chain(several) {
        let server = match node.text() {
            Some(url) => RawServer { url: url.to_owned(), pin: raw.pin.clone(), ..RawServer::default() },
            None => match decode::<RawServer>(node, Style::File) {
                // What the server says itself is nearer.
                Ok(server) if server.pin.is_empty() => RawServer { pin: raw.pin.clone(), ..server },
                Ok(server) => server,
                Err(found) => {
                    errors.extend(found);
                    continue;
                }
            },
        };
        match address(&server.url) {
            Err(message) => {
                wrong(&node.origin, message, "for example `server: http://10.20.0.10:8000`");
            }
            Ok(ip) => match zone.map(|zone| &zone.ranges) {
                Some(Some(ranges)) if !ranges.iter().any(|range| range.contains(&ip)) => {
                    let ranges = ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                    let message = format!(
                        "its server {ip} lies outside zone `{zone_name}` ({ranges}); it is not routed"
                    );
                    wrong(
                        &node.origin,
                        message,
                        "move the guest to the zone it is in, or mend the zone's `cidr`",
                    );
                }
                Some(None) => {
                    let message = format!("the range of zone `{zone_name}` is wrong; it is not routed");
                    wrong(&node.origin, message, "");
                }
                Some(Some(_)) | None => {}
            },
        }
        servers.push(server);
    }
    if node.get("server").is_none() && node.get("servers").is_none() {
        wrong(&node.origin, "it has no `server`".to_owned(), "for example `server: http://10.20.0.10:8000`");
    }
    let health_check = match node.get("healthCheck") {
        None => None,
        Some(check) => match check.text() {
            Some(path) if path.starts_with('/') => {
                Some(RawHealthCheck { path: path.to_owned(), ..RawHealthCheck::default() })
            }
            Some(_) => {
                wrong(
                    &check.origin,
                    "`healthCheck` is a path or a block".to_owned(),
                    "for example `healthCheck: /health`",
                );
                None
            }
            None => match decode::<RawHealthCheck>(check, Style::File) {
                Ok(check) => Some(check),
                Err(found) => {
                    errors.extend(found);
                    None
                }
            },
        },
    };
    problems.extend(errors.into_iter().map(|error| problem_of(error, &subject)));
    let (Some(zone), Ok(hosts), true) = (zone, hosts, problems.is_empty()) else { return Err(problems) };

    let router = RawRouter {
        rule: hosts.iter().map(|host| format!("Host(`{host}`)")).collect::<Vec<_>>().join(" || "),
        service: raw.name.clone(),
        entry_points: raw.entry_points,
        middlewares: zone.middlewares.iter().chain(&raw.middlewares).cloned().collect(),
        priority: raw.priority,
        tls: raw.tls,
        preset: raw.preset,
        observability: raw.observability,
        ..RawRouter::default()
    };
    let tls = (raw.skip_verify || !raw.ca_file.is_empty())
        .then_some(RawServerTls { skip_verify: raw.skip_verify, ca_file: raw.ca_file });
    let balancer = RawLoadBalancer {
        servers,
        health_check,
        pass_host_header: raw.pass_host_header.unwrap_or(true),
        servers_transport: raw.servers_transport,
        tls,
        ..RawLoadBalancer::default()
    };
    let service = RawService { load_balancer: Some(balancer), ..RawService::default() };
    Ok((raw.name, router, service))
}

/// One text or a list of them; where neither is written, its place.
fn texts(node: Option<&Node>) -> Result<Vec<String>, config::Origin> {
    let Some(node) = node else { return Ok(Vec::new()) };
    match &node.value {
        Value::Null => Ok(Vec::new()),
        Value::List(items) => {
            let text = |item: &Node| item.text().map(str::to_owned).ok_or_else(|| item.origin.clone());
            items.iter().map(text).collect()
        }
        Value::Scalar { text, .. } => Ok(vec![text.clone()]),
        Value::Map(_) | Value::Block { .. } => Err(node.origin.clone()),
    }
}

/// Nothing that could end a quoted text: hosts are put into a rule.
fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '*' | ':' | '[' | ']'))
}

/// The address that a server's URL names.
fn address(url: &str) -> Result<IpAddr, String> {
    let parsed: http::Uri = url.parse().map_err(|_| format!("`{url}` is not a URL"))?;
    match parsed.scheme_str() {
        Some("http" | "https" | "h2c") => {}
        Some(_) | None => {
            return Err(format!("`{url}` does not begin with `http://`, `https://` or `h2c://`"));
        }
    }
    let host = parsed.host().unwrap_or("");
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.parse()
        .map_err(|_| format!("`{host}` is not an address: only an address can be told to lie in a zone"))
}

fn problem_of(error: DecodeError, subject: &str) -> Problem {
    let message = match error.path.as_str() {
        "" => error.message,
        path if error.message.contains(path) => error.message,
        path => format!("`{path}`: {}", error.message),
    };
    Problem { hint: error.hint, ..Problem::error(error.origin, subject, message) }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
