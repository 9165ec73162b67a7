//! Values with a form of their own: default durations, secrets as they may be shown.

use serde::Serializer;

use crate::document::{GoDuration, TextMap};
use crate::secret::Secret;

/// True for what Traefik's API leaves out.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

pub(crate) fn seconds(seconds: i64) -> GoDuration {
    milliseconds(seconds * 1000)
}

pub(crate) fn milliseconds(milliseconds: i64) -> GoDuration {
    GoDuration::from_nanoseconds(milliseconds * 1_000_000)
}

/// A secret as it may be shown: `***` and a digest too short to find it by, long enough to see a change.
fn shown(secret: &str) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in secret.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let short = (hash ^ (hash >> 16) ^ (hash >> 32) ^ (hash >> 48)) & 0xffff;
    format!("***{short:04x}")
}

/// For `#[serde(serialize_with)]`: one secret.
pub(crate) fn show_secret<S: Serializer>(secret: &Secret<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&shown(secret.expose()))
}

/// For `#[serde(serialize_with)]`: `name:hash` entries, whose names are no secret.
pub(crate) fn show_users<S: Serializer>(users: &[Secret<String>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(users.iter().map(|user| match user.expose().split_once(':') {
        Some((name, hash)) => format!("{name}:{}", shown(hash)),
        None => shown(user.expose()),
    }))
}

/// For `#[serde(serialize_with)]`: headers, some of which carry credentials.
pub(crate) fn show_headers<S: Serializer>(headers: &TextMap, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headers.0.iter().map(|(name, value)| {
        (name, if value.is_empty() || !tells_a_secret(name) { value.clone() } else { shown(value) })
    }))
}

/// For `#[serde(serialize_with)]`: a free tree, some of whose options carry credentials.
pub(crate) fn show_tree<S: Serializer>(
    tree: &std::collections::BTreeMap<String, serde_json::Value>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    fn cleaned(value: &serde_json::Value, secret: bool) -> serde_json::Value {
        use serde_json::Value;
        match value {
            Value::Object(map) => Value::Object(
                map.iter()
                    .map(|(name, value)| (name.clone(), cleaned(value, secret || tells_a_secret(name))))
                    .collect(),
            ),
            Value::Array(list) => Value::Array(list.iter().map(|value| cleaned(value, secret)).collect()),
            Value::String(text) if secret && !text.is_empty() => Value::String(shown(text)),
            Value::Number(number) if secret => Value::String(shown(&number.to_string())),
            Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => value.clone(),
        }
    }
    serializer.collect_map(tree.iter().map(|(name, value)| (name, cleaned(value, false))))
}

fn tells_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["auth", "cookie", "key", "passw", "secret", "token", "credential"].iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_secret_does_not_tell_it() {
        assert_eq!(shown("hunter2").len(), 7);
        assert_ne!(shown("hunter2"), shown("hunter3"));
    }
}
