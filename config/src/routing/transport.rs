//! How HTTP servers are reached: `serversTransport` of the install configuration, `http.serversTransports`, and what a
//! service says itself (`tls`, `pin`).

use std::time::Duration;

use super::tls::UpstreamTls;

/// How HTTP servers are reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Transport {
    /// TCP connect (`forwardingTimeouts.dialTimeout`; 5 s unless written: security.md section 7).
    pub dial_timeout: Duration,
    /// To the head of the answer (`responseHeaderTimeout`, 60 s unless written; none: no limit).
    pub response_header_timeout: Option<Duration>,
    /// How long an unused connection is kept (`idleConnTimeout`, 90 s; none: until the server closes it).
    pub idle_timeout: Option<Duration>,
    /// HTTP/2: silence before a ping (`readIdleTimeout`; none: no pings).
    pub ping_interval: Option<Duration>,
    /// HTTP/2: to the answer of a ping (`pingTimeout`, 15 s).
    pub ping_timeout: Duration,
    /// Idle connections kept for a server (`maxIdleConnsPerHost`); none: as many as there is room for.
    pub max_idle: Option<usize>,
    /// HTTP/1.1 alone towards HTTPS servers.
    pub disable_http2: bool,
    /// TLS.
    pub tls: UpstreamTls,
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            dial_timeout: Duration::from_secs(5),
            response_header_timeout: Some(Duration::from_secs(60)),
            idle_timeout: Some(Duration::from_secs(90)),
            ping_interval: None,
            ping_timeout: Duration::from_secs(15),
            max_idle: None,
            disable_http2: false,
            tls: UpstreamTls::default(),
        }
    }
}
