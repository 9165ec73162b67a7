//! Addresses of listeners.

use std::net::{IpAddr, SocketAddr};

use super::ListenAddress;

/// Mode of a Unix socket unless `?mode=` says otherwise.
const SOCKET_MODE: u32 = 0o660;

/// What is wrong with an address, and what to write instead.
pub(super) struct AddressError {
    pub(super) message: String,
    pub(super) hint: &'static str,
}

/// An address, and what is spoken there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Address {
    Tcp(ListenAddress),
    /// Never a Unix socket.
    Udp(ListenAddress),
}

/// Reads `:80`, `0.0.0.0:80`, `[::]:80/tcp`, `localhost:80`, `:53/udp`, `unix:/run/web.sock`,
/// `unix:/run/web.sock?mode=0660`.
pub(super) fn parse(text: &str) -> Result<Address, AddressError> {
    if let Some(rest) = text.strip_prefix("unix:") {
        return unix(rest).map(Address::Tcp);
    }
    let (address, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let udp = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => false,
        "udp" => true,
        _ => {
            return Err(AddressError {
                message: format!("invalid protocol: {protocol}"),
                hint: "write `/tcp`, `/udp` or neither",
            });
        }
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(|| AddressError {
        message: format!("`{address}` has no port"),
        hint: "write it as `:80`, `127.0.0.1:80` or `[::1]:80`",
    })?;
    let port = match port.parse::<u16>() {
        Ok(port) if port.to_string().len() <= 5 => port,
        _ if port.is_empty() => {
            let message = format!("`{address}` has no port");
            return Err(AddressError { message, hint: "write it as `:80`" });
        }
        _ => {
            let message = format!("`{port}` is not a port");
            return Err(AddressError { message, hint: "write a number from 1 to 65535" });
        }
    };
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.strip_suffix(']').unwrap_or("["),
        // Without brackets the end of an IPv6 address would be read as the port.
        None if host.contains(':') => "[",
        None => host,
    };
    let address = match host {
        "" => ListenAddress::AnyAddress { port },
        "localhost" => ListenAddress::Address(SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port)),
        host => match host.parse::<IpAddr>() {
            Ok(ip) => ListenAddress::Address(SocketAddr::new(ip, port)),
            Err(_) => {
                return Err(AddressError {
                    message: format!("`{text}` does not begin with an address of this machine"),
                    hint: "write it as `:80`, `127.0.0.1:80` or `[::1]:80`",
                });
            }
        },
    };
    Ok(if udp { Address::Udp(address) } else { Address::Tcp(address) })
}

fn unix(rest: &str) -> Result<ListenAddress, AddressError> {
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    // `unix:///run/web.sock` is the same path.
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.ends_with('/') {
        let message = "the socket's file is missing".to_owned();
        return Err(AddressError { message, hint: "write it as `unix:/run/web.sock`" });
    }
    let mode = match query {
        None => SOCKET_MODE,
        Some(query) => query
            .strip_prefix("mode=")
            .filter(|mode| !mode.is_empty() && mode.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|mode| u32::from_str_radix(mode, 8).ok())
            .filter(|mode| *mode <= 0o777)
            .ok_or_else(|| AddressError {
                message: format!("`{query}` is not a socket's mode"),
                hint: "write it as `unix:/run/web.sock?mode=0660`",
            })?,
    };
    Ok(ListenAddress::Unix { path: path.into(), mode })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_all_families_one_family_one_address_or_a_socket() {
        for (text, expected) in [
            (":80", "any 80"),
            (":0", "any 0"),
            (":80/tcp", "any 80"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::]:443", "[::]:443"),
            ("[::1]:443/TCP", "[::1]:443"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("localhost:8080", "127.0.0.1:8080"),
            (":53/udp", "udp any 53"),
            ("127.0.0.1:53/UDP", "udp 127.0.0.1:53"),
            ("unix:/run/x.sock", "/run/x.sock 660"),
            ("unix:///run/x.sock", "/run/x.sock 660"),
            ("unix:/run/x.sock?mode=0600", "/run/x.sock 600"),
            (":80/sctp", "error: invalid protocol: sctp; write `/tcp`, `/udp` or neither"),
            ("80", "error: `80` has no port; write it as `:80`, `127.0.0.1:80` or `[::1]:80`"),
            (":", "error: `:` has no port; write it as `:80`"),
            (":65536", "error: `65536` is not a port; write a number from 1 to 65535"),
            (":-1", "error: `-1` is not a port; write a number from 1 to 65535"),
            (":http", "error: `http` is not a port; write a number from 1 to 65535"),
            (
                "::1:80",
                "error: `::1:80` does not begin with an address of this machine; write it as `:80`, `127.0.0.1:80` or `[::1]:80`",
            ),
            (
                "web.test:80",
                "error: `web.test:80` does not begin with an address of this machine; write it as `:80`, `127.0.0.1:80` or `[::1]:80`",
            ),
            ("unix:", "error: the socket's file is missing; write it as `unix:/run/web.sock`"),
            (
                "unix:/x?mode=9",
                "error: `mode=9` is not a socket's mode; write it as `unix:/run/web.sock?mode=0660`",
            ),
        ] {
            let show = |address| match address {
                ListenAddress::AnyAddress { port } => format!("any {port}"),
                ListenAddress::Address(address) => address.to_string(),
                ListenAddress::Unix { path, mode } => format!("{} {mode:o}", path.display()),
            };
            let read = match parse(text) {
                Ok(Address::Udp(address)) => format!("udp {}", show(address)),
                Ok(Address::Tcp(address)) => show(address),
                Err(error) => format!("error: {}; {}", error.message, error.hint),
            };
            assert_eq!(read, expected, "{text}");
        }
    }
}
