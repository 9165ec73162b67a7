//! Values with a form of their own: durations as Go writes them, secrets as they may be shown.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::document::TextMap;
use crate::secret::Secret;

/// True for what Traefik's API leaves out.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A duration as Traefik takes it: a bare number of seconds, or Go's notation (`1m30s`); it may be negative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RawDuration {
    nanoseconds: i64,
}

/// Not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration; write a number of seconds or a text like `500ms` or `1m30s`")]
pub struct ParseDurationError(String);

impl RawDuration {
    /// Whole seconds.
    pub const fn seconds(seconds: i64) -> Self {
        Self { nanoseconds: seconds.saturating_mul(1_000_000_000) }
    }

    /// Milliseconds.
    pub const fn milliseconds(milliseconds: i64) -> Self {
        Self { nanoseconds: milliseconds.saturating_mul(1_000_000) }
    }

    /// Reads `10`, `1.5h`, `-1s`, `1m30s`.
    pub fn parse(text: &str) -> Result<Self, ParseDurationError> {
        let fail = || ParseDurationError(text.to_owned());
        if let Ok(seconds) = text.parse::<i64>() {
            let nanoseconds = seconds.checked_mul(1_000_000_000).ok_or_else(fail)?;
            return Ok(Self { nanoseconds });
        }
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest.is_empty() {
            return Err(fail());
        }
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(fail)?;
            let (number, tail) = rest.split_at(digits);
            let unit_length = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit_length);
            let unit: i128 = match unit {
                "ns" => 1,
                "us" | "µs" | "μs" => 1_000,
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                _ => return Err(fail()),
            };
            let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
            if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
                return Err(fail());
            }
            if !whole.is_empty() {
                total += whole.parse::<i64>().map_err(|_| fail())? as i128 * unit;
            }
            let mut scale = unit;
            for digit in fraction.bytes() {
                scale /= 10;
                total += i128::from(digit - b'0') * scale;
            }
            rest = tail;
        }
        let nanoseconds = i64::try_from(if negative { -total } else { total }).map_err(|_| fail())?;
        Ok(Self { nanoseconds })
    }

    /// As a span of time; none for a negative one.
    pub fn to_std(self) -> Option<Duration> {
        u64::try_from(self.nanoseconds).ok().map(Duration::from_nanos)
    }

    /// Below zero: "flush at once" and the like.
    pub fn is_negative(self) -> bool {
        self.nanoseconds < 0
    }

    /// Zero.
    pub fn is_zero(self) -> bool {
        self.nanoseconds == 0
    }
}

/// As Go prints it: `100ms`, `30s`, `1m30s`.
impl fmt::Display for RawDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanoseconds == 0 {
            return f.write_str("0s");
        }
        if self.nanoseconds < 0 {
            f.write_str("-")?;
        }
        let total = self.nanoseconds.unsigned_abs();
        if total < 1_000 {
            return write!(f, "{total}ns");
        }
        if total < 1_000_000 {
            return write!(f, "{}µs", decimal(total, 1_000));
        }
        if total < 1_000_000_000 {
            return write!(f, "{}ms", decimal(total, 1_000_000));
        }
        let (minutes, rest) = (total / 60_000_000_000, total % 60_000_000_000);
        let (hours, minutes) = (minutes / 60, minutes % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        write!(f, "{}s", decimal(rest, 1_000_000_000))
    }
}

fn decimal(value: u64, unit: u64) -> String {
    let (whole, fraction) = (value / unit, value % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    format!("{whole}.{}", format!("{fraction:0width$}").trim_end_matches('0'))
}

impl Serialize for RawDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RawDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DurationVisitor;

        impl Visitor<'_> for DurationVisitor {
            type Value = RawDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration like `10s`, or a number of seconds")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawDuration, E> {
                RawDuration::parse(text.trim()).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<RawDuration, E> {
                RawDuration::parse(&seconds.to_string()).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<RawDuration, E> {
                RawDuration::parse(&seconds.to_string()).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(DurationVisitor)
    }
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
    fn durations_are_read_and_printed_as_go_does() {
        for (written, printed) in [
            ("10", "10s"),
            ("-1", "-1s"),
            ("500ms", "500ms"),
            ("1m30s", "1m30s"),
            ("1.5h", "1h30m0s"),
            ("0.9s", "900ms"),
            ("0", "0s"),
            ("100us", "100µs"),
            ("-1.5s", "-1.5s"),
        ] {
            assert_eq!(RawDuration::parse(written).unwrap().to_string(), printed, "{written}");
        }
        for wrong in ["", "s", "1x", "1.2.3s", "10 s", ".s", "99999999999999999999s"] {
            assert!(RawDuration::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_shown_secret_does_not_tell_it() {
        assert_eq!(shown("hunter2").len(), 7);
        assert_ne!(shown("hunter2"), shown("hunter3"));
    }
}
