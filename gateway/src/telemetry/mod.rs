//! One record for every request, whatever its end: access log and metrics.

mod access_log;
mod escape;
mod exposition;
mod handshake;
mod log_line;
mod log_writer;
pub mod logging;
mod metrics;
mod streams;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use config::name::RouterName;
use config::{Install, Problem};

use crate::snapshot::service::{Service, Upstream};
use crate::snapshot::{Destination, EntryPointId, Route, Snapshot};

use self::access_log::AccessLog;
pub use self::handshake::Handshake;
use self::metrics::Metrics;
pub use self::streams::{StreamProtocol, StreamRecord, StreamResult};

/// Everything that is known of a request when it ends. Borrowed: nothing is copied unless a sink keeps it.
#[derive(Debug)]
pub struct AccessRecord<'a> {
    /// Where it arrived.
    pub entry_point: EntryPointId,
    /// What was agreed on, where it is a TLS connection.
    pub tls: Option<TlsDetails<'a>>,
    /// TCP peer and port; none on a Unix socket.
    pub peer: Option<std::net::SocketAddr>,
    /// Believed client address.
    pub client: IpAddr,
    /// Head of the request as the client sent it after canonicalisation; none where no head could be read.
    pub request: Option<&'a http::request::Parts>,
    /// Host as sent, with its port.
    pub host: &'a str,
    /// Path and query as first received, after sanitising.
    pub target: &'a str,
    /// Bytes of request body read.
    pub request_body_bytes: u64,
    /// The router that served it.
    pub route: Option<&'a Arc<Route>>,
    /// The service that served it.
    pub service: Option<&'a Arc<Service>>,
    /// The server that served it.
    pub upstream: Option<&'a Arc<Upstream>>,
    /// Status of the server; 0 when we answered.
    pub origin_status: u16,
    /// Bytes of the server's body; 0 when we answered.
    pub origin_body_bytes: u64,
    /// Status the client got; 499 when it went away, 0 when nothing was answered.
    pub status: u16,
    /// Bytes of body the client got.
    pub response_body_bytes: u64,
    /// Header fields of the answer the client got, where one was sent.
    pub response_headers: Option<&'a http::HeaderMap>,
    /// Attempts beyond the first.
    pub retries: u32,
    /// Wall clock at its first byte.
    pub started: SystemTime,
    /// From the first byte of the head to the last byte of the answer.
    pub duration: Duration,
    /// Part of it that the server took.
    pub origin_duration: Duration,
    /// `grpc-status` of the answer, from its head or its trailers, where one was seen.
    pub grpc_status: Option<u16>,
    /// An upgraded connection (WebSocket).
    pub upgraded: bool,
    /// Why we answered in place of a server, or why the request ended early; empty for an ordinary one.
    pub reason: &'a str,
    /// Its identifier (`X-Request-Id`).
    pub request_id: &'a str,
}

/// What a TLS handshake agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsDetails<'a> {
    /// `1.2`, `1.3`.
    pub version: &'static str,
    /// `TLS_AES_128_GCM_SHA256`.
    pub cipher: &'static str,
    /// Subject of the client's certificate; empty without one.
    pub client_subject: &'a str,
}

/// Where the hot path leaves what it knows: once for every request, whatever its end, and once for each client
/// connection (or flow of a UDP entry point) that opens or closes. Never blocks.
pub trait Recorder: Send + Sync + std::fmt::Debug {
    /// A request has ended.
    fn record(&self, record: &AccessRecord<'_>);
    /// A client connected.
    fn connection_opened(&self, entry_point: EntryPointId);
    /// Its connection is closed.
    fn connection_closed(&self, entry_point: EntryPointId);
    /// It is known what came of a connection or flow of a TCP or UDP router.
    fn stream(&self, record: &StreamRecord<'_>);
    /// A server has it from now on.
    fn stream_opened(&self, entry_point: EntryPointId, protocol: StreamProtocol, router: &RouterName);
    /// It is over.
    fn stream_closed(&self, entry_point: EntryPointId, protocol: StreamProtocol, router: &RouterName);
    /// A TLS handshake has ended.
    fn handshake(&self, entry_point: EntryPointId, result: Handshake);
}

/// Access log and metrics. One for the process (or the test), shared by all workers.
#[derive(Debug)]
pub struct Telemetry {
    metrics: Metrics,
    access_log: Option<AccessLog>,
    requests: AtomicU64,
    add_internal_metrics: bool,
    add_internal_logs: bool,
}

impl Telemetry {
    /// Opens the access log and starts its writer. A log file that cannot be opened is a problem, and the lines
    /// go to standard output.
    pub fn new(install: &Install) -> (Arc<Self>, Vec<Problem>) {
        let mut problems = Vec::new();
        let access_log =
            install.access_log.as_ref().map(|settings| AccessLog::start(install, settings, &mut problems));
        let telemetry = Self {
            metrics: Metrics::new(install),
            access_log,
            requests: AtomicU64::new(0),
            add_internal_metrics: install.metrics.add_internals,
            add_internal_logs: install.access_log.as_ref().is_some_and(|settings| settings.add_internals),
        };
        (Arc::new(telemetry), problems)
    }

    /// `snapshot` is published: counts the reload and lets go of the series of what is gone. For the
    /// reconciler, after each publication.
    pub fn published(&self, snapshot: &Snapshot, now: SystemTime) {
        self.metrics.published(snapshot, now);
    }

    /// A reload changed nothing because its input was bad: `traefik_config_last_reload_success` becomes 0.
    pub fn reload_failed(&self) {
        self.metrics.reload_failed();
    }

    /// Opens the access log's file again (`SIGUSR1`, after a rotation).
    pub fn reopen(&self) {
        if let Some(access_log) = &self.access_log {
            access_log.reopen();
        }
    }

    /// Waits until every line recorded so far is written, or `limit` has passed. Blocks: for the end of the
    /// process, not for a request.
    pub fn flush(&self, limit: Duration) {
        if let Some(access_log) = &self.access_log {
            access_log.flush(limit);
        }
    }

    /// All metrics as text; series of what `snapshot` no longer has vanish after this.
    pub fn render(&self, snapshot: &Snapshot, exposition: Exposition) -> String {
        let dropped = self.access_log.as_ref().map_or(0, AccessLog::dropped);
        self.metrics.render(snapshot, dropped, exposition)
    }
}

impl Recorder for Telemetry {
    fn record(&self, record: &AccessRecord<'_>) {
        let count = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let internal =
            record.route.is_some_and(|route| matches!(route.destination, Destination::Internal(_)));
        let observability = record.route.map(|route| route.observability).unwrap_or_default();
        if observability.metrics && (!internal || self.add_internal_metrics) {
            self.metrics.record(record);
        }
        if let Some(access_log) = &self.access_log
            && observability.access_logs
            && (!internal || self.add_internal_logs)
        {
            access_log.record(record, count);
        }
    }

    fn connection_opened(&self, entry_point: EntryPointId) {
        self.metrics.connection_opened(entry_point);
    }

    fn connection_closed(&self, entry_point: EntryPointId) {
        self.metrics.connection_closed(entry_point);
    }

    fn stream(&self, record: &StreamRecord<'_>) {
        self.metrics.streams.record(record);
    }

    fn stream_opened(&self, entry_point: EntryPointId, protocol: StreamProtocol, router: &RouterName) {
        self.metrics.streams.opened(entry_point, protocol, router);
    }

    fn stream_closed(&self, entry_point: EntryPointId, protocol: StreamProtocol, router: &RouterName) {
        self.metrics.streams.closed(entry_point, protocol, router);
    }

    fn handshake(&self, entry_point: EntryPointId, result: Handshake) {
        self.metrics.handshake(entry_point, result);
    }
}

/// The two text formats that Prometheus asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// `text/plain; version=0.0.4`.
    Prometheus,
    /// `application/openmetrics-text; version=1.0.0`.
    OpenMetrics,
}

#[cfg(test)]
mod tests;
