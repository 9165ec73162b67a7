//! Variables of a provider: where they come from, and how their values stay out of every text.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::secret::Secret;

use super::providers::Provider;
use super::{BuildDnsError, Lookup};

/// Texts of APIs are cut here.
const TEXT_LIMIT: usize = 500;

/// Shorter values are no secrets, and would tear holes into words.
const SHORTEST_SECRET: usize = 5;

/// Takes the values of variables out of texts that others wrote.
#[derive(Debug, Clone, Default)]
pub(super) struct Scrubber {
    secrets: Vec<Secret<String>>,
}

impl Scrubber {
    /// Keeps a value out of texts, as it is and as it stands in a URL.
    pub(super) fn add(&mut self, value: &str) {
        for spelling in [value.to_owned(), percent_encoded(value)] {
            let secret = Secret::new(spelling);
            if secret.expose().len() >= SHORTEST_SECRET && !self.secrets.contains(&secret) {
                self.secrets.push(secret);
            }
        }
        // A value that holds another one goes first.
        self.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
    }

    /// The text without secrets, on one line, not longer than is useful.
    pub(super) fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret.expose(), "***");
        }
        let printable: String =
            text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        match printable.char_indices().nth(TEXT_LIMIT) {
            Some((end, _)) => format!("{}…", &printable[..end]),
            None => printable,
        }
    }
}

fn percent_encoded(value: &str) -> String {
    let mut encoded = String::new();
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                encoded.push(char::from(byte))
            }
            b' ' => encoded.push('+'),
            _ => {
                use std::fmt::Write;
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

/// Where the values of a resolver come from: its own settings first, then the environment.
pub(super) struct Sources<'a> {
    pub(super) credentials: &'a BTreeMap<String, Secret<String>>,
    pub(super) environment: Lookup<'a>,
}

impl Sources<'_> {
    /// The value of a variable, or of the file that `<NAME>_FILE` names. Empty is not set.
    pub(super) fn value(&self, name: &str) -> Result<Option<String>, BuildDnsError> {
        let own = |name: &str| self.credentials.get(name).cloned();
        for source in [&own as &dyn Fn(&str) -> Option<Secret<String>>, &self.environment] {
            let get = |name: &str| source(name).filter(|value| !value.expose().is_empty());
            match (get(name), get(&format!("{name}_FILE"))) {
                (Some(_), Some(_)) => return Err(BuildDnsError::Both { variable: name.to_owned() }),
                (Some(value), None) => {
                    return Ok(Some(value.expose().trim_end_matches(['\r', '\n']).to_owned()));
                }
                (None, Some(file)) => return read(name, Path::new(file.expose())).map(Some),
                (None, None) => {}
            }
        }
        Ok(None)
    }

    /// The first of several names that has a value.
    pub(super) fn first(&self, names: &[&str]) -> Result<Option<String>, BuildDnsError> {
        for name in names {
            if let Some(value) = self.value(name)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// A number of seconds, as lego takes it.
    pub(super) fn number(&self, name: &str, default: u64) -> Result<u64, BuildDnsError> {
        let Some(text) = self.value(name)? else { return Ok(default) };
        text.parse().map_err(|_| BuildDnsError::Value {
            variable: name.to_owned(),
            reason: format!("{text:?} is not a number of seconds"),
        })
    }

    /// Yes or no, as lego takes it.
    pub(super) fn flag(&self, name: &str) -> Result<bool, BuildDnsError> {
        let Some(text) = self.value(name)? else { return Ok(false) };
        match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(BuildDnsError::Value {
                variable: name.to_owned(),
                reason: format!("{text:?} is neither true nor false"),
            }),
        }
    }
}

pub(super) fn read(variable: &str, path: &Path) -> Result<String, BuildDnsError> {
    let failed =
        |source| BuildDnsError::File { variable: variable.to_owned(), path: path.to_path_buf(), source };
    let text = std::fs::read_to_string(path).map_err(failed)?;
    if std::fs::metadata(path).is_ok_and(|file| file.mode() & 0o077 != 0) {
        tracing::warn!(variable, path = %path.display(), "others than its owner may read this secret");
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The variables of a provider with their values.
pub(super) struct Values<'a> {
    pub(super) provider: &'static Provider,
    pub(super) values: BTreeMap<&'static str, String>,
    pub(super) ttl: u32,
    pub(super) http_timeout: Duration,
    pub(super) scrubber: Scrubber,
    pub(super) sources: Sources<'a>,
}

impl Values<'_> {
    /// A required variable, by the first of its names.
    pub(super) fn get(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// An optional one.
    pub(super) fn optional(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// A path that is the value of a variable.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(self.get(name))
    }

    /// A value that does not fit. `reason` does not repeat it.
    pub(super) fn wrong(&self, variable: &str, reason: impl Into<String>) -> BuildDnsError {
        BuildDnsError::Value { variable: variable.to_owned(), reason: self.scrubber.clean(&reason.into()) }
    }

    /// Nothing of one of several variables.
    pub(super) fn missing(&self, variables: &[&str]) -> BuildDnsError {
        BuildDnsError::Missing {
            provider: self.provider.code,
            name: self.provider.name,
            variables: variables.iter().map(|&name| name.to_owned()).collect(),
        }
    }
}
