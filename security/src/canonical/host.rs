//! The host that a request names, in the one form that everything compares.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A host in canonical form: lower-cased, without port and brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host<'a> {
    name: Cow<'a, str>,
    port: Option<u16>,
}

/// Why a host is refused with 400. Its text is the fixed sentence for log and client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum HostRefusal {
    /// Nothing before the port, or nothing at all.
    #[error("the host is empty")]
    Empty,
    /// More than 253 characters.
    #[error("the host is longer than 253 characters")]
    TooLong,
    /// Something other than letters, digits, `.`, `_` and `-`.
    #[error("the host contains a character that no host name has")]
    Character,
    /// An empty label, or one of more than 63 characters.
    #[error("a label of the host is empty or longer than 63 characters")]
    Label,
    /// Brackets without an IPv6 address in them.
    #[error("the host is not an IPv6 address in brackets")]
    Ipv6,
    /// Not a number from 1 to 65535.
    #[error("the port of the host is not a number from 1 to 65535")]
    Port,
}

impl HostRefusal {
    /// A word for metrics and the access log's reason field.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Empty => "host_empty",
            Self::TooLong => "host_too_long",
            Self::Character => "host_character",
            Self::Label => "host_label",
            Self::Ipv6 => "host_ipv6",
            Self::Port => "host_port",
        }
    }
}

impl<'a> Host<'a> {
    /// No host at all: HTTP/1.0 without a `Host` field.
    pub const NONE: Host<'static> = Host { name: Cow::Borrowed(""), port: None };

    /// The name without a trailing dot: what `Host(..)` compares. An IPv6 address has no brackets.
    pub fn name(&self) -> &str {
        self.name.strip_suffix('.').unwrap_or(&self.name)
    }

    /// The name with the trailing dot that the client may have sent: what `HostRegexp(..)` searches.
    pub fn name_with_dot(&self) -> &str {
        &self.name
    }

    /// The port, where one was given.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The address, where the host is one.
    pub fn is_ip_address(&self) -> bool {
        self.name().parse::<Ipv4Addr>().is_ok() || self.name.contains(':')
    }

    /// The same, borrowing nothing.
    pub fn into_owned(self) -> Host<'static> {
        Host { name: Cow::Owned(self.name.into_owned()), port: self.port }
    }
}

/// Canonical form of a `Host` field, an `:authority`, or the authority of an absolute-form target. Allocates
/// only where a letter has to be lower-cased.
pub fn host(field: &[u8]) -> Result<Host<'_>, HostRefusal> {
    let field = field.trim_ascii();
    let (name, port) = match field.first() {
        None => return Err(HostRefusal::Empty),
        Some(b'[') => {
            let end = field.iter().position(|byte| *byte == b']').ok_or(HostRefusal::Ipv6)?;
            let address = std::str::from_utf8(&field[1..end]).map_err(|_| HostRefusal::Ipv6)?;
            address.parse::<Ipv6Addr>().map_err(|_| HostRefusal::Ipv6)?;
            let port = match &field[end + 1..] {
                [] => None,
                [b':', digits @ ..] => Some(port(digits)?),
                [..] => return Err(HostRefusal::Ipv6),
            };
            (address, port)
        }
        Some(_) => {
            let (name, port) = match field.iter().position(|byte| *byte == b':') {
                Some(colon) => (&field[..colon], Some(port(&field[colon + 1..])?)),
                None => (field, None),
            };
            (registered_name(name)?, port)
        }
    };
    let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    };
    Ok(Host { name, port })
}

fn registered_name(name: &[u8]) -> Result<&str, HostRefusal> {
    if !name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
        return Err(HostRefusal::Character);
    }
    let name = std::str::from_utf8(name).map_err(|_| HostRefusal::Character)?;
    let labels = name.strip_suffix('.').unwrap_or(name);
    if labels.is_empty() {
        return Err(HostRefusal::Empty);
    }
    if labels.len() > 253 {
        return Err(HostRefusal::TooLong);
    }
    if labels.split('.').any(|label| label.is_empty() || label.len() > 63) {
        return Err(HostRefusal::Label);
    }
    Ok(name)
}

fn port(digits: &[u8]) -> Result<u16, HostRefusal> {
    if digits.is_empty() || digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(HostRefusal::Port);
    }
    let number = digits.iter().fold(0_u32, |number, digit| number * 10 + u32::from(digit - b'0'));
    u16::try_from(number).ok().filter(|port| *port != 0).ok_or(HostRefusal::Port)
}
