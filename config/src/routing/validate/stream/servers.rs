//! Addresses of TCP and UDP servers: `host:port`, each checked for itself.

use std::net::Ipv6Addr;

use super::super::Fault;
use crate::routing::raw;

/// Host (IPv6 without brackets) and port.
pub(super) fn address(written: &str) -> Result<(&str, u16), Fault> {
    let wrong = |why: &str| {
        Fault::new(
            format!("server `{}` is left out: {why}", written.escape_debug()),
            "write `host:port`, IPv6 as in `[fd00::1]:5432`",
        )
    };
    let (host, port) = match written.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once("]:").ok_or_else(|| wrong("missing port in address"))?;
            if host.parse::<Ipv6Addr>().is_err() {
                return Err(wrong("what stands in brackets is no IPv6 address"));
            }
            (host, port)
        }
        None => {
            let (host, port) = written.split_once(':').ok_or_else(|| wrong("missing port in address"))?;
            if port.contains(':') {
                return Err(wrong("too many colons in address"));
            }
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            if host.is_empty() || !host.chars().all(fits) {
                return Err(wrong("its host is missing or holds a character that no host has"));
            }
            (host, port)
        }
    };
    match raw::wanted_port(port) {
        Ok(Some(port)) => Ok((host, port)),
        Ok(None) | Err(_) => Err(wrong("its port is not a number from 1 to 65535")),
    }
}
