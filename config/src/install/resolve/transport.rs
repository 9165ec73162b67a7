//! `serversTransport` and `tcpServersTransport`: how servers are reached whose service names no transport.

use std::time::Duration;

use super::Resolver;
use crate::document::GoDuration;
use crate::install::raw::{RawServersTransport, RawTcpServersTransport};
use crate::routing::stream::TcpTransport;
use crate::routing::tls::{Pem, UpstreamTls};
use crate::routing::transport::Transport;

/// Idle connections kept for a server where the block is written and says nothing of them.
const MAX_IDLE: usize = 200;

impl Resolver<'_> {
    pub(super) fn servers_transport(&mut self, raw: RawServersTransport) -> Transport {
        let default = Transport::default();
        let times = &raw.forwarding_timeouts;
        let path = |key| ["serversTransport", "forwardingTimeouts", key];
        let max_idle = match raw.max_idle_conns_per_host {
            None => {
                let is_written = self.tree.get("serversTransport").is_some_and(|block| !block.is_empty());
                is_written.then_some(MAX_IDLE)
            }
            // Zero is the default of the library that Traefik uses.
            Some(0) => Some(2),
            Some(count) => match usize::try_from(count) {
                Ok(count) => Some(count),
                Err(_) => Some(0),
            },
        };
        Transport {
            dial_timeout: self.time_to_connect(
                &path("dialTimeout"),
                times.dial_timeout,
                default.dial_timeout,
            ),
            response_header_timeout: times
                .response_header_timeout
                .map_or(default.response_header_timeout, GoDuration::limit),
            idle_timeout: times.idle_conn_timeout.map_or(default.idle_timeout, GoDuration::limit),
            max_idle,
            tls: UpstreamTls {
                skip_verify: self
                    .skip_verify(&["serversTransport", "insecureSkipVerify"], raw.insecure_skip_verify),
                roots: roots(raw.root_cas.as_deref()),
                ..UpstreamTls::default()
            },
            ..default
        }
    }

    pub(super) fn tcp_servers_transport(&mut self, raw: RawTcpServersTransport) -> TcpTransport {
        let default = TcpTransport::default();
        TcpTransport {
            dial_timeout: self.time_to_connect(
                &["tcpServersTransport", "dialTimeout"],
                raw.dial_timeout,
                default.dial_timeout,
            ),
            // As in Go: less than nothing means no probes, and zero means the default.
            keep_alive: match raw.dial_keep_alive {
                None => default.keep_alive,
                Some(time) if time.is_negative() => None,
                Some(time) => time.limit().or(default.keep_alive),
            },
            termination_delay: match raw.termination_delay {
                None => default.termination_delay,
                Some(time) if time.is_negative() => None,
                Some(time) => Some(time.or_zero()),
            },
            proxy_protocol: None,
            tls: UpstreamTls {
                skip_verify: self.skip_verify(
                    &["tcpServersTransport", "tls", "insecureSkipVerify"],
                    raw.tls.insecure_skip_verify,
                ),
                roots: roots(raw.tls.root_cas.as_deref()),
                ..UpstreamTls::default()
            },
        }
    }

    /// A connect always has a limit.
    fn time_to_connect(&mut self, path: &[&str], written: Option<GoDuration>, default: Duration) -> Duration {
        let Some(written) = written else { return default };
        written.limit().unwrap_or_else(|| {
            let message = format!("every connect has a time limit: {}s holds", default.as_secs());
            self.warn(path, message, "write how long it may take");
            default
        })
    }

    fn skip_verify(&mut self, path: &[&str], written: Option<bool>) -> bool {
        let skip = written.unwrap_or(false);
        if skip {
            let message =
                "any certificate of any server is taken: whoever is in between can read and change all";
            self.warn(path, message, "name the roots of your servers in `rootCAs`");
        }
        skip
    }
}

fn roots(written: Option<&[String]>) -> Vec<Pem> {
    let written = written.unwrap_or(&[]).iter().map(|pem| pem.trim());
    written.filter(|pem| !pem.is_empty()).map(Pem::new).collect()
}
