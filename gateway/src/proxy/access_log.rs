//! One record for every request, whatever its end.

use std::net::SocketAddr;
use std::time::Duration;

use http::HeaderMap;
use http::request::Parts;
use security::client_ip::NO_ADDRESS;
use tokio::time::Instant;

use super::context::{Connection, RequestContext, Shared, Times};
use crate::rejection::Rejection;
use crate::telemetry::AccessRecord;

/// What the session knows of a request at its end.
#[derive(Debug)]
pub(super) struct Ending<'a> {
    pub(super) request: &'a Parts,
    pub(super) status: u16,
    pub(super) response_headers: Option<&'a HeaderMap>,
    pub(super) request_body_bytes: u64,
    pub(super) response_body_bytes: u64,
    pub(super) upgraded: bool,
}

/// Leaves the record of a request.
pub(super) fn record(shared: &Shared, context: &RequestContext, ending: &Ending<'_>) {
    let (Some(connection), Some(times)) = (&context.connection, context.times) else {
        return;
    };
    let now = Instant::now();
    let request = ending.request;
    let host = match request.uri.authority() {
        Some(authority) => authority.as_str(),
        None => {
            request.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
        }
    };
    let identity = context.identity.as_ref();
    shared.recorder.record(&AccessRecord {
        entry_point: connection.entry_point.id,
        tls: connection.tls_details(),
        peer: connection.peer,
        client: identity.map_or_else(|| peer_address(connection.peer), |identity| identity.client.address),
        request: Some(request),
        host,
        target: request.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str),
        request_body_bytes: ending.request_body_bytes,
        route: context.route.as_ref(),
        service: context.service.as_ref(),
        upstream: context.upstream.as_ref(),
        origin_status: context.origin_status,
        origin_body_bytes: context.origin_body_bytes,
        status: context.status.unwrap_or(ending.status),
        response_body_bytes: ending.response_body_bytes,
        response_headers: ending.response_headers,
        retries: context.attempts.saturating_sub(1),
        started: times.wall,
        duration: now.saturating_duration_since(times.started),
        origin_duration: context
            .origin_started
            .map_or(Duration::ZERO, |started| now.saturating_duration_since(started)),
        grpc_status: context.grpc_status,
        upgraded: ending.upgraded,
        reason: &context.reason,
        request_id: identity.and_then(|identity| identity.request_id.to_str().ok()).unwrap_or_default(),
    });
}

/// Leaves the record of a request that was cut together with its connection; its head is gone with the session.
pub(super) fn record_cut(shared: &Shared, context: &RequestContext) {
    let (Some(connection), Some(times)) = (&context.connection, context.times) else {
        return;
    };
    let identity = context.identity.as_ref();
    shared.recorder.record(&AccessRecord {
        client: identity.map_or_else(|| peer_address(connection.peer), |identity| identity.client.address),
        route: context.route.as_ref(),
        service: context.service.as_ref(),
        upstream: context.upstream.as_ref(),
        origin_status: context.origin_status,
        retries: context.attempts.saturating_sub(1),
        origin_duration: context.origin_started.map_or(Duration::ZERO, |started| started.elapsed()),
        upgraded: context.origin_status == 101,
        request_id: identity.and_then(|identity| identity.request_id.to_str().ok()).unwrap_or_default(),
        ..without_head(connection, times, context.origin_status, "connection_cut")
    });
}

/// Leaves the record of a head that no session saw.
pub(super) fn record_refused_head(
    shared: &Shared,
    connection: &Connection,
    times: Times,
    rejection: &Rejection,
    sent: bool,
) {
    let status = if sent { rejection.status().as_u16() } else { 499 };
    shared.recorder.record(&AccessRecord {
        response_body_bytes: if sent { rejection.sentence().len() as u64 } else { 0 },
        ..without_head(connection, times, status, rejection.reason())
    });
}

/// What is known where no head is.
fn without_head<'a>(
    connection: &'a Connection,
    times: Times,
    status: u16,
    reason: &'a str,
) -> AccessRecord<'a> {
    AccessRecord {
        entry_point: connection.entry_point.id,
        tls: connection.tls_details(),
        peer: connection.peer,
        client: peer_address(connection.peer),
        request: None,
        host: "",
        target: "",
        request_body_bytes: 0,
        route: None,
        service: None,
        upstream: None,
        origin_status: 0,
        origin_body_bytes: 0,
        status,
        response_body_bytes: 0,
        response_headers: None,
        retries: 0,
        started: times.wall,
        duration: times.started.elapsed(),
        origin_duration: Duration::ZERO,
        grpc_status: None,
        upgraded: false,
        reason,
        request_id: "",
    }
}

fn peer_address(peer: Option<SocketAddr>) -> std::net::IpAddr {
    peer.map_or(NO_ADDRESS, |peer| peer.ip())
}
