//! A routing file: template calls, then YAML or TOML, then each item for itself.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::item::{self, Kind};
use super::raw::{Defined, Items, RawRouting};
use crate::document::{DecodeError, Key, Node, Style, Value, decode, parse_toml, parse_yaml};
use crate::problem::{Origin, Problem, did_you_mean};
use crate::template::{TemplateContext, render};

/// Root keys of the install configuration: a file may be both, and each reader passes over the other's.
const INSTALL_KEYS: [&str; 23] = [
    "accessLog",
    "admin",
    "api",
    "certificatesResolvers",
    "core",
    "crowdsec",
    "entryPoints",
    "experimental",
    "geoip",
    "global",
    "hostResolver",
    "log",
    "metrics",
    "ocsp",
    "ping",
    "providers",
    "redis",
    "serversTransport",
    "spiffe",
    "stateDir",
    "tcpServersTransport",
    "tracing",
    "user",
];

/// What a routing file holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FileRouting {
    /// The good items.
    pub routing: RawRouting,
    /// What was left out.
    pub problems: Vec<Problem>,
}

/// Reads a routing file, YAML or TOML by its extension. An item that is wrong costs itself alone; a file that
/// does not parse as a whole is an error, and its last good version should stay. The environment is asked by
/// `{{ env "X" }}` in it.
pub fn parse_file(
    text: &str,
    path: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<FileRouting, Box<Problem>> {
    let text = expand(text, path, env)?;
    let toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    let root = if toml { parse_toml(&text, path) } else { parse_yaml(&text, path) }.map_err(Box::new)?;
    Ok(read_tree(&root))
}

fn expand(text: &str, path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Box<Problem>> {
    render(text, &TemplateContext { env, container: None }).map_err(|error| {
        let problem = Problem::error(Origin::file(path, error.line, error.column), "", error.message);
        Box::new(Problem { hint: error.hint, ..problem })
    })
}

/// Reads the tree of a routing file.
pub fn read_tree(root: &Node) -> FileRouting {
    let mut output = FileRouting::default();
    let Some(sections) = block(root, "the file", &mut output.problems) else { return output };
    for (key, node) in sections {
        match key.text.to_ascii_lowercase().as_str() {
            section @ ("http" | "tcp" | "udp") => read_section(section, node, &mut output),
            "tls" => read_tls(node, &mut output),
            section if INSTALL_KEYS.iter().any(|known| known.eq_ignore_ascii_case(section)) => {}
            section => {
                let near =
                    did_you_mean(section, ["http", "tcp", "udp", "tls"].into_iter().chain(INSTALL_KEYS));
                let hint = near.map_or_else(
                    || "a routing file holds `http`, `tcp`, `udp` and `tls`".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                let problem = Problem::error(key.origin.clone(), "", format!("unknown key `{}`", key.text));
                output.problems.push(problem.with_hint(hint));
            }
        }
    }
    output.problems.sort();
    output
}

fn read_section(section: &str, node: &Node, output: &mut FileRouting) {
    let Some(kinds) = block(node, section, &mut output.problems) else { return };
    for (key, node) in kinds {
        if key.text.eq_ignore_ascii_case("serversTransports") && section != "udp" {
            let routing = &mut output.routing;
            match section {
                "http" => {
                    read_items("transport", node, &mut routing.http.servers_transports, &mut output.problems)
                }
                _ => read_items(
                    "TCP transport",
                    node,
                    &mut routing.tcp.servers_transports,
                    &mut output.problems,
                ),
            }
            continue;
        }
        let Some(kind) = Kind::of(section, &key.text) else {
            let known = ["routers", "services", "middlewares", "serversTransports"];
            unknown(section, key, &known, &mut output.problems);
            continue;
        };
        let place = format!("{section}.{}", kind.keys().1);
        let Some(items) = block(node, &place, &mut output.problems) else { continue };
        for (key, node) in items {
            match item::add(&mut output.routing, kind, &key.text, node, Style::File, &key.origin) {
                Ok(warnings) => output.problems.extend(warnings),
                Err(errors) => report(&kind.subject(&key.text), errors, &mut output.problems),
            }
        }
    }
}

fn read_tls(node: &Node, output: &mut FileRouting) {
    let Some(kinds) = block(node, "tls", &mut output.problems) else { return };
    let tls = &mut output.routing.tls;
    for (key, node) in kinds {
        match key.text.to_ascii_lowercase().as_str() {
            "certificates" => match &node.value {
                Value::List(entries) => {
                    for entry in entries {
                        match decode(entry, Style::File) {
                            Ok(value) => tls.certificates.push(Defined::new(value, entry.origin.clone())),
                            Err(errors) => report("TLS certificate", errors, &mut output.problems),
                        }
                    }
                }
                _ if node.is_empty() => {}
                Value::Null | Value::Scalar { .. } | Value::Map(_) | Value::Block { .. } => {
                    let problem =
                        Problem::error(node.origin.clone(), "", "`tls.certificates`: expected a list")
                            .with_hint("write `- certFile: …` and `keyFile: …`");
                    output.problems.push(problem);
                }
            },
            "options" => read_items("TLS options", node, &mut tls.options, &mut output.problems),
            "stores" => read_items("TLS store", node, &mut tls.stores, &mut output.problems),
            _ => unknown("tls", key, &["certificates", "options", "stores"], &mut output.problems),
        }
    }
}

fn read_items<T: DeserializeOwned>(
    what: &str,
    node: &Node,
    items: &mut Items<T>,
    problems: &mut Vec<Problem>,
) {
    let Some(entries) = block(node, what, problems) else { return };
    for (key, node) in entries {
        match decode(node, Style::File) {
            Ok(value) => {
                items.insert(key.text.clone(), Defined::new(value, key.origin.clone()));
            }
            Err(errors) => report(&format!("{what} `{}`", key.text), errors, problems),
        }
    }
}

/// The entries of a block; nothing, with a problem, where something else is written.
fn block<'a>(node: &'a Node, what: &str, problems: &mut Vec<Problem>) -> Option<&'a [(Key, Node)]> {
    match &node.value {
        Value::Map(entries) | Value::Block { entries, .. } => Some(entries),
        Value::Null => None,
        Value::List(items) if items.is_empty() => None,
        Value::Scalar { .. } | Value::List(_) => {
            let message = format!("{what}: expected a block of settings");
            problems.push(Problem::error(node.origin.clone(), "", message));
            None
        }
    }
}

fn unknown(section: &str, key: &Key, known: &[&str], problems: &mut Vec<Problem>) {
    let hint = did_you_mean(&key.text, known.iter().copied()).map_or_else(
        || format!("known are `{}`", known.join("`, `")),
        |near| format!("did you mean `{near}`?"),
    );
    let message = format!("unknown key `{section}.{}`", key.text);
    problems.push(Problem::error(key.origin.clone(), "", message).with_hint(hint));
}

fn report(subject: &str, errors: Vec<DecodeError>, problems: &mut Vec<Problem>) {
    for DecodeError { origin, path, message, hint } in errors {
        let last = path.rsplit('.').next().unwrap_or_default();
        let message = if path.is_empty() || message.contains(&format!("`{last}`")) {
            message
        } else {
            format!("`{path}`: {message}")
        };
        let problem = Problem::error(origin, subject, message);
        problems.push(match hint {
            Some(hint) => problem.with_hint(hint),
            None => problem,
        });
    }
}

#[cfg(test)]
mod tests;
