//! Durations as Traefik writes them: a bare integer is seconds, anything else is Go's syntax.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// A duration as Traefik takes it: `10` is ten seconds, `1h30m`, `500ms`, `0.9s`; negative where a setting
/// allows it. It prints and serialises as Go prints it (`1m30s`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct GoDuration {
    nanoseconds: i64,
}

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a duration")]
pub struct ParseDurationError {
    text: String,
}

impl GoDuration {
    /// From nanoseconds, negative ones too.
    pub fn from_nanoseconds(nanoseconds: i64) -> Self {
        Self { nanoseconds }
    }

    /// In nanoseconds, negative ones too.
    pub fn nanoseconds(self) -> i64 {
        self.nanoseconds
    }

    /// Less than nothing.
    pub fn is_negative(self) -> bool {
        self.nanoseconds < 0
    }

    /// As a time span; a negative one is none at all, zero.
    pub fn or_zero(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.nanoseconds).unwrap_or(0))
    }

    /// As a time limit: zero and less mean that there is none.
    pub fn limit(self) -> Option<Duration> {
        u64::try_from(self.nanoseconds).ok().filter(|nanoseconds| *nanoseconds > 0).map(Duration::from_nanos)
    }
}

impl From<Duration> for GoDuration {
    fn from(duration: Duration) -> Self {
        Self { nanoseconds: i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX) }
    }
}

impl FromStr for GoDuration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text)
            .map(Self::from_nanoseconds)
            .ok_or_else(|| ParseDurationError { text: text.chars().take(40).collect() })
    }
}

fn parse(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<i64>() {
        return seconds.checked_mul(1_000_000_000);
    }
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let whole = digits(rest);
        rest = &rest[whole.len()..];
        let mut fraction = "";
        if let Some(behind) = rest.strip_prefix('.') {
            fraction = digits(behind);
            rest = &behind[fraction.len()..];
        }
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let unit_length = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
        let unit: i128 = match &rest[..unit_length] {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        rest = &rest[unit_length..];
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total += i128::from(whole) * unit;
        // Eighteen places are more than a nanosecond of an hour needs.
        if !fraction.is_empty() {
            let places = &fraction[..fraction.len().min(18)];
            let value: i128 = places.parse().ok()?;
            total += value * unit / 10_i128.pow(u32::try_from(places.len()).ok()?);
        }
        if total > i128::from(i64::MAX) {
            return None;
        }
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

fn digits(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())]
}

/// As Go prints a duration: `0s`, `1.5ms`, `1h0m0.5s`.
impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.nanoseconds.unsigned_abs();
        if self.nanoseconds < 0 {
            f.write_str("-")?;
        }
        let with_fraction = |f: &mut fmt::Formatter<'_>, value: u64, unit: u64, places: usize, name: &str| {
            let fraction = format!("{:0places$}", value % unit);
            let fraction = fraction.trim_end_matches('0');
            write!(f, "{}", value / unit)?;
            if places > 0 && !fraction.is_empty() {
                write!(f, ".{fraction}")?;
            }
            f.write_str(name)
        };
        match total {
            0 => f.write_str("0s"),
            1..=999 => write!(f, "{total}ns"),
            1_000..=999_999 => with_fraction(f, total, 1_000, 3, "µs"),
            1_000_000..=999_999_999 => with_fraction(f, total, 1_000_000, 6, "ms"),
            _ => {
                let minutes = total / 60_000_000_000;
                if minutes >= 60 {
                    write!(f, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(f, "{}m", minutes % 60)?;
                }
                with_fraction(f, total % 60_000_000_000, 1_000_000_000, 9, "s")
            }
        }
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = GoDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration: seconds, or as in `1h30m`, `10s`, `500ms`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<GoDuration, E> {
                text.parse().map_err(|error: ParseDurationError| {
                    E::custom(format_args!("{error}; write seconds, or as in `1h30m`, `10s`, `500ms`"))
                })
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_go_syntax() {
        for (text, expected) in [
            ("0", Some(0)),
            ("10", Some(10_000_000_000)),
            ("-1", Some(-1_000_000_000)),
            ("+3", Some(3_000_000_000)),
            ("1h30m", Some(5_400_000_000_000)),
            ("500ms", Some(500_000_000)),
            ("0.9s", Some(900_000_000)),
            (".5s", Some(500_000_000)),
            ("1.s", Some(1_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            ("-1.5s", Some(-1_500_000_000)),
            ("100us", Some(100_000)),
            ("100µs", Some(100_000)),
            ("7ns", Some(7)),
            ("1h1m1s1ms1us1ns", Some(3_661_001_001_001)),
            ("0.000000000000000000000000001s", Some(0)),
            ("", None),
            ("-", None),
            ("s", None),
            (".s", None),
            ("10 s", None),
            (" 10s", None),
            ("1d", None),
            ("10S", None),
            ("1e3", None),
            ("9223372036854775808", None),
            ("9999999999999h", None),
            ("1.5", None),
        ] {
            assert_eq!(text.parse().ok().map(GoDuration::nanoseconds), expected, "{text}");
        }
    }

    #[test]
    fn durations_print_as_go_prints_them() {
        for (nanoseconds, expected) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (100_000_000, "100ms"),
            (10_000_000_000, "10s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_600_500_000_000, "1h0m0.5s"),
            (-1_000_000_000, "-1s"),
        ] {
            assert_eq!(GoDuration::from_nanoseconds(nanoseconds).to_string(), expected);
        }
    }

    #[test]
    fn a_limit_of_zero_or_less_is_none() {
        assert_eq!(GoDuration::from_nanoseconds(0).limit(), None);
        assert_eq!(GoDuration::from_nanoseconds(-1).limit(), None);
        assert_eq!(GoDuration::from_nanoseconds(5).limit(), Some(Duration::from_nanos(5)));
        assert_eq!(GoDuration::from_nanoseconds(-5).or_zero(), Duration::ZERO);
    }
}
