//! The one file that knows `ProxyHttp` and `Session`: stages in, Pingora's phases out.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{Digest, Stream};
use pingora::proxy::{FailToProxy, HttpProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use tokio::time::Instant;

use super::access_log::{self, Ending};
use super::answer_clock;
use super::client_io::ClientIo;
use super::context::{Connection, EntryPointState, RequestContext, Shared, Times};
use super::identity::Edits;
use super::response::{self, Answer};
use super::route;
use super::upstream::{Exchange, Prepared};
use super::upstream_tls;
use super::{Next, admit, direct};
use crate::internal::InternalRequest;
use crate::rejection::Rejection;
use crate::snapshot::service::Upstream;

/// Idle connections to servers that are kept, for each worker thread.
const POOL_SIZE: usize = 512;
/// Attempts for one request, over all servers.
const MAX_ATTEMPTS: u32 = 4;
/// Longest silence in both directions of a switched connection.
const TUNNEL_IDLE: Duration = Duration::from_secs(3600);
/// A body that our own answer leaves unread is read to its end within this time, or the connection closes.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest body that is worth reading to keep a connection.
const DRAIN_BYTES: u64 = 64 * 1024;
/// Decoded header list of an HTTP/2 request.
const H2_HEADER_LIST_BYTES: u32 = 32 * 1024;
/// Receive windows of HTTP/2: the protocol's 64 KiB make uploads wait for every round trip.
const H2_STREAM_WINDOW: u32 = 256 * 1024;
const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Pingora's proxy around our stages. One for all entry points, so that they share connections to servers.
pub(super) type Engine = HttpProxy<Gateway>;

/// Builds the engine.
pub(super) fn engine(shared: Arc<Shared>, worker_threads: usize) -> Arc<Engine> {
    let conf = ServerConf {
        threads: worker_threads,
        upstream_keepalive_pool_size: POOL_SIZE,
        ca_file: upstream_tls::ca_file(),
        max_retries: MAX_ATTEMPTS as usize,
        ..ServerConf::default()
    };
    let mut engine = HttpProxy::new(Gateway { shared }, Arc::new(conf));
    engine.handle_init_modules();
    Arc::new(engine)
}

/// What an entry point adds to the engine: options of its HTTP/2 connections.
pub(super) struct EntryPointApp {
    pub(super) entry_point: Arc<EntryPointState>,
    engine: Arc<Engine>,
    shutdown: ShutdownWatch,
    server_options: HttpServerOptions,
    h2_options: H2Options,
}

impl std::fmt::Debug for EntryPointApp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EntryPointApp").field("entry_point", &self.entry_point.name).finish_non_exhaustive()
    }
}

impl EntryPointApp {
    pub(super) fn new(shared: &Shared, engine: &Arc<Engine>, entry_point: Arc<EntryPointState>) -> Self {
        let mut server_options = HttpServerOptions::default();
        server_options.h2_idle_timeout = entry_point.transport.keep_alive;
        let mut h2_options = default_h2_options();
        h2_options
            .max_concurrent_streams(entry_point.max_concurrent_streams)
            .max_header_list_size(H2_HEADER_LIST_BYTES)
            .initial_window_size(H2_STREAM_WINDOW)
            .initial_connection_window_size(H2_CONNECTION_WINDOW);
        Self {
            entry_point,
            engine: Arc::clone(engine),
            shutdown: shared.draining.subscribe(),
            server_options,
            h2_options,
        }
    }

    /// Serves one HTTP/1 request whose head is whole. Returns the connection if it can serve another.
    pub(super) async fn serve_http1(
        &self,
        io: Box<ClientIo>,
        head: BytesMut,
        is_last: bool,
        shared: &Shared,
    ) -> Option<Box<ClientIo>> {
        let stream: Stream = io;
        let mut session = ServerSession::new_http1(stream);
        session.set_keepalive(Some(0));
        if is_last || shared.is_draining() {
            session.set_keepalive_reuses_remaining(Some(0));
        }
        session.set_read_timeout(self.entry_point.transport.read_idle);
        session.set_total_drain_timeout(Some(DRAIN_TIMEOUT));
        session.set_pipelined_prefix(head);
        let (stream, _) =
            answer_clock::serve(self.engine.process_new_http(session, &self.shutdown)).await?.consume();
        stream.into_any().downcast().ok()
    }

    /// Serves an HTTP/2 connection to its end.
    pub(super) async fn serve_http2(self: Arc<Self>, mut io: Box<ClientIo>) {
        let connection: Arc<Connection> = Arc::clone(&io.connection);
        if let Ok(response) = ResponseHeader::build_no_case(StatusCode::OK, Some(0)) {
            io.begin_http2(Arc::new(ProxyDigest::new(Box::new(response), Some(Box::new(connection)))));
            let shutdown = self.shutdown.clone();
            self.process_new(io, &shutdown).await;
        }
    }
}

#[async_trait]
impl HttpServerApp for EntryPointApp {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        answer_clock::serve(self.engine.process_new_http(session, shutdown)).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        Some(self.h2_options.clone())
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.server_options)
    }
}

/// The stages as Pingora's phases.
pub(super) struct Gateway {
    shared: Arc<Shared>,
}

/// The client connection of a session, and when its request began.
fn connection_of(session: &Session) -> Option<(Arc<Connection>, Times)> {
    if let Some(stream) = session.downstream_session.stream() {
        let io = stream.as_any().downcast_ref::<ClientIo>()?;
        return Some((Arc::clone(&io.connection), io.times));
    }
    let digest = session.digest()?.proxy_digest.as_ref()?;
    let connection = digest.user_data.as_ref()?.downcast_ref::<Arc<Connection>>()?;
    Some((Arc::clone(connection), Times::now()))
}

/// Makes the changes of the identity stage.
///
/// Pingora keeps the case of every name in a second map, and each field that is set through it costs two
/// allocations and two look-ups: with the seven that we own, a tenth of all work on a request. So the second map is
/// left behind, and names go on in lower case, as they do from every HTTP/2 client. A request to switch protocols
/// keeps it: old WebSocket servers compare names as written.
fn apply(edits: Edits, request: &mut RequestHeader, keeps_case: bool) -> Result<()> {
    // Only a target in origin form outlives the conversion.
    let from_uri =
        request.uri.path_and_query().is_some_and(|target| target.as_str().as_bytes() == request.raw_path());
    if keeps_case || !from_uri {
        for name in &edits.remove {
            request.remove_header(name);
        }
        for (field, value) in edits.set {
            request.insert_header(field.written, value)?;
        }
        return Ok(());
    }
    let mut parts: Parts = std::mem::replace(request, http::Request::new(()).into_parts().0.into()).into();
    for name in &edits.remove {
        parts.headers.remove(name);
    }
    parts.headers.reserve(edits.set.len());
    for (field, value) in edits.set {
        parts.headers.insert(&field.name, value);
    }
    *request = parts.into();
    Ok(())
}

fn prepared(upstream: &Upstream) -> &Prepared {
    upstream.slot.get_or_init(|| Prepared::new(upstream))
}

impl Gateway {
    /// Stages 4 to 9 of a request's life: everything before a server is asked.
    async fn stages(&self, session: &mut Session, context: &mut RequestContext) -> Result<Next> {
        let Some((connection, times)) = connection_of(session) else {
            return Error::e_explain(ErrorType::InternalError, "a session without its connection");
        };
        context.connection = Some(Arc::clone(&connection));
        context.times = Some(times);
        let snapshot = self.shared.snapshot.load();
        let edits = match admit(&self.shared, &connection, session.req_header(), context) {
            Ok(edits) => edits,
            Err(rejection) => return Ok(Next::Reject(rejection)),
        };
        apply(edits, session.req_header_mut(), context.wants_upgrade)?;
        let request = session.req_header();
        let next = direct(&snapshot, &connection, request, request.raw_path(), context);
        context.snapshot = Some(snapshot);
        Ok(match next {
            Ok((next, target)) => {
                if let Some(target) = target {
                    session.req_header_mut().set_raw_path(target.as_bytes())?;
                }
                next
            }
            Err(rejection) => Next::Reject(rejection),
        })
    }

    async fn answer_internal(
        &self,
        session: &Session,
        context: &RequestContext,
        service: config::routing::InternalService,
    ) -> Option<Answer> {
        let (connection, identity) = (context.connection.as_ref()?, context.identity.as_ref()?);
        let request = InternalRequest {
            service,
            head: session.req_header(),
            client: identity.client.address,
            peer: connection.peer_address(),
            client_reason: identity.client.basis.explain(),
            entry_point: connection.entry_point.id,
            tls: connection.tls_details(),
        };
        Some(self.shared.internal.answer(request).await.into())
    }

    async fn reject(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
        rejection: &Rejection,
    ) -> Result<()> {
        context.reason = Cow::Owned(rejection.reason().to_owned());
        let id = context.identity.as_ref().map(|identity| &identity.request_id);
        write(session, Answer::rejection(rejection, id)).await
    }
}

/// Writes an answer of ours. Reads what is left of a short body first, so that the connection can go on.
async fn write(session: &mut Session, answer: Answer) -> Result<()> {
    let is_head = session.req_header().method == Method::HEAD;
    if !answer.closes && !session.as_downstream_mut().is_body_done() {
        let length = session.req_header().headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let waits = session.req_header().headers.contains_key(header::EXPECT);
        if !waits && length.is_some_and(|length| length <= DRAIN_BYTES) {
            // A failure shows when the answer is written.
            let drained = session.as_downstream_mut().drain_request_body();
            drop(tokio::time::timeout(DRAIN_TIMEOUT, drained).await);
        }
    }
    if answer.closes {
        session.set_keepalive(None);
    }
    let mut response = ResponseHeader::build(answer.status, Some(answer.headers.len() + 4))?;
    for (name, value) in &answer.headers {
        response.append_header(titled(name), value)?;
    }
    let bodiless = matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || answer.status.is_informational();
    if !bodiless {
        response.insert_header(header::CONTENT_LENGTH, answer.body.len())?;
    }
    let has_body = !bodiless && !is_head && !answer.body.is_empty();
    session.write_response_header(Box::new(response), !has_body).await?;
    if has_body {
        session.write_response_body(Some(answer.body), true).await?;
    }
    session.as_downstream_mut().finish_body().await
}

/// A field name as HTTP/1 has always written it: `X-Content-Type-Options`.
fn titled(name: &HeaderName) -> String {
    let mut begins = true;
    let title = |letter: char| {
        let written = if begins { letter.to_ascii_uppercase() } else { letter };
        begins = letter == '-';
        written
    };
    name.as_str().chars().map(title).collect()
}

/// What the client is told about a failure on the way to a server or back.
fn rejection_of(error: &Error) -> Option<Rejection> {
    let etype = error.etype();
    match error.esource() {
        ErrorSource::Downstream => match etype {
            ErrorType::ReadTimedout => Some(Rejection::BodyTimeout),
            ErrorType::InvalidHTTPHeader => Some(Rejection::BadRequest("request_head")),
            ErrorType::ReadError
            | ErrorType::WriteError
            | ErrorType::ConnectionClosed
            | ErrorType::WriteTimedout
            | ErrorType::ConnectError
            | ErrorType::H2Error => None,
            _ => Some(Rejection::BadRequest("request_body")),
        },
        ErrorSource::Upstream => Some(match etype {
            ErrorType::ConnectTimedout | ErrorType::ConnectNoRoute => {
                Rejection::GatewayTimeout("connect_timeout")
            }
            ErrorType::ReadTimedout | ErrorType::WriteTimedout => Rejection::GatewayTimeout("server_timeout"),
            ErrorType::TLSHandshakeTimedout => Rejection::GatewayTimeout("tls_handshake_timeout"),
            ErrorType::ConnectRefused => Rejection::BadGateway("connect_refused"),
            ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert | ErrorType::HandshakeError => {
                Rejection::BadGateway(upstream_tls::handshake_reason(error))
            }
            ErrorType::ConnectError | ErrorType::BindError | ErrorType::SocketError => {
                Rejection::BadGateway("connect_failed")
            }
            ErrorType::InvalidHTTPHeader | ErrorType::InvalidH2 => Rejection::BadGateway("invalid_answer"),
            _ => Rejection::BadGateway(upstream_tls::closing_reason(error)),
        }),
        ErrorSource::Internal | ErrorSource::Unset => Some(Rejection::Internal("internal")),
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = RequestContext;

    fn new_ctx(&self) -> RequestContext {
        RequestContext::default()
    }

    /// None: each would cost an allocation a request.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, context: &mut RequestContext) -> Result<bool> {
        let next = self.stages(session, context).await?;
        match next {
            Next::Forward => {
                if context.wants_upgrade {
                    session.set_read_timeout(Some(TUNNEL_IDLE));
                }
                return Ok(false);
            }
            Next::Reject(rejection) => self.reject(session, context, &rejection).await?,
            Next::Answer(answer) => write(session, answer).await?,
            Next::Internal(service) => match self.answer_internal(session, context, service).await {
                Some(answer) => write(session, answer).await?,
                None => self.reject(session, context, &Rejection::Internal("internal")).await?,
            },
        }
        Ok(true)
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Box<HttpPeer>> {
        let now = Instant::now();
        context.origin_started.get_or_insert(now);
        context.attempts += 1;
        let fail = |rejection: Rejection, context: &mut RequestContext| {
            let status = rejection.status().as_u16();
            context.rejection = Some(rejection);
            Error::explain(ErrorType::HTTPStatus(status), "no server").into_up()
        };
        let Some(upstream) = next_server(context) else {
            let reason =
                context.service.as_ref().map_or_else(|| Arc::from("no service"), |service| service.reason());
            return Err(fail(route::no_server(&reason), context));
        };
        let exchange = if context.wants_upgrade {
            Exchange::Switch { patient: self.shared.workarounds.early_switch }
        } else if context.is_stream {
            Exchange::Stream
        } else {
            Exchange::Ordinary
        };
        context.open_request = Some(upstream.open_request());
        context.answer_limit = prepared(&upstream).answer_limit(exchange);
        let peer = prepared(&upstream).peer(&self.shared.resolver, exchange, now).await;
        context.upstream = Some(upstream);
        let mut peer = peer.map_err(|rejection| fail(rejection, context))?;
        if session.as_downstream_mut().is_body_empty() {
            // A head alone fits the socket's buffer: no timer for writing it.
            peer.options.write_timeout = None;
        }
        Ok(peer)
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        _reused: bool,
        _peer: &HttpPeer,
        socket: std::os::fd::RawFd,
        connection: Option<&Digest>,
        context: &mut RequestContext,
    ) -> Result<()> {
        let Some(upstream) = &context.upstream else {
            return Error::e_explain(ErrorType::InternalError, "a connection without its server");
        };
        context.server_socket = Some(socket);
        prepared(upstream).check(connection).map_err(|reason| {
            context.rejection = Some(Rejection::BadGateway(reason));
            Error::explain(ErrorType::InvalidCert, reason).into_up()
        })
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        context: &mut RequestContext,
    ) -> Result<()> {
        let Some(upstream) = &context.upstream else {
            return Error::e_explain(ErrorType::InternalError, "a request without its server");
        };
        let passes_host = context.service.as_ref().is_none_or(|service| service.pass_host_header);
        let has_host = session.req_header().uri.authority().is_some()
            || request.headers.get(header::HOST).is_some_and(|host| !host.is_empty());
        if !passes_host || !has_host {
            request.insert_header(header::HOST, prepared(upstream).host.clone())?;
        }
        if !upstream.server.path_prefix.is_empty() {
            let target = [upstream.server.path_prefix.as_bytes(), request.raw_path()].concat();
            request.set_raw_path(&target)?;
        }
        if let Some(guard) = context.route.as_ref().and_then(|route| route.recursion_guard.as_ref()) {
            request.insert_header("X-Traefik-Router", guard.clone())?;
        }
        if self.shared.workarounds.split_cookies {
            join_cookies(request)?;
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        context: &mut RequestContext,
    ) -> Result<()> {
        if end_of_stream
            && context.origin_status == 0
            && let (Some(limit), Some(socket)) = (context.answer_limit, context.server_socket)
        {
            answer_clock::start(limit, socket);
        }
        // An empty last piece would be written as a terminator, and the end of the body as another (Pingora
        // issue 935).
        if end_of_stream
            && self.shared.workarounds.doubled_terminator
            && body.as_ref().is_some_and(Bytes::is_empty)
        {
            *body = None;
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut RequestContext,
    ) -> Result<()> {
        let switches = response.status == StatusCode::SWITCHING_PROTOCOLS;
        if switches && !(context.wants_upgrade && response::agrees_to_websocket(&response.headers)) {
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, "a switch nobody asked for").into_up());
        }
        for name in response::fields_that_end_here(&response.headers, switches) {
            response.remove_header(&name);
        }
        if switches {
            response.insert_header(header::CONNECTION, "Upgrade")?;
        }
        if !response.status.is_informational() || switches {
            answer_clock::stop();
            context.origin_status = response.status.as_u16();
            context.grpc_status = grpc_status(&response.headers);
        }
        if session.req_header().version == Version::HTTP_10 {
            // It does not know chunks: the end of the connection is the end of the body.
            response.remove_header(&header::TRANSFER_ENCODING);
            if !response.headers.contains_key(header::CONTENT_LENGTH) {
                session.set_keepalive(None);
            }
        }
        if self.shared.is_draining() {
            session.set_keepalive(None);
        }
        Ok(())
    }

    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut HeaderMap,
        context: &mut RequestContext,
    ) -> Result<Option<Bytes>> {
        context.grpc_status = grpc_status(trailers).or(context.grpc_status);
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        context: &mut RequestContext,
        mut error: Box<Error>,
    ) -> Box<Error> {
        // Nothing was sent, so any request may be tried on another server.
        if let Some(upstream) = context.upstream.clone() {
            prepared(&upstream).unreachable();
            context.unreachable.push(upstream);
        }
        let another = context.attempts < MAX_ATTEMPTS && has_another_server(context);
        error.set_retry(another);
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        context: &mut RequestContext,
        reused: bool,
    ) -> Box<Error> {
        answer_clock::stop();
        if answer_clock::has_ended() {
            context.rejection = Some(Rejection::GatewayTimeout("server_timeout"));
            error.set_retry(false);
        } else if session.req_header().method.is_idempotent() && !session.as_ref().retry_buffer_truncated() {
            error.retry.decide_reuse(reused);
        } else {
            error.set_retry(false);
        }
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        context: &mut RequestContext,
    ) -> FailToProxy {
        let rejection = context.rejection.take().or_else(|| rejection_of(error));
        let answered = session.response_written().is_some_and(|response| {
            !response.status.is_informational() || response.status == StatusCode::SWITCHING_PROTOCOLS
        });
        match rejection {
            None => {
                context.reason = Cow::Borrowed("client_gone");
                if !answered {
                    context.status = Some(499);
                }
            }
            Some(rejection) if answered => {
                context.reason = Cow::Owned(rejection.reason().to_owned());
            }
            Some(rejection) => {
                session.set_keepalive(None);
                if self.reject(session, context, &rejection).await.is_err() {
                    context.status = Some(499);
                }
            }
        }
        if context.reason != "client_gone" {
            tracing::debug!(%error, reason = &*context.reason, "request failed");
        }
        FailToProxy { error_code: context.status.unwrap_or_default(), can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, _error: Option<&Error>, context: &mut RequestContext) {
        context.recorded = true;
        context.origin_body_bytes = session.upstream_body_bytes_received() as u64;
        let response = session.response_written();
        let ending = Ending {
            request: session.req_header(),
            status: response.map_or(0, |response| response.status.as_u16()),
            response_headers: response.map(|response| &response.headers),
            request_body_bytes: session.body_bytes_read() as u64,
            response_body_bytes: session.body_bytes_sent() as u64,
            upgraded: session.was_upgraded(),
        };
        access_log::record(&self.shared, context, &ending);
    }

    fn suppress_error_log(&self, _session: &Session, _context: &RequestContext, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _context: &RequestContext,
        _error: &Error,
        _what: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}

/// Picks the server for the next attempt: not one that this request could not reach, while there is another.
fn next_server(context: &RequestContext) -> Option<Arc<Upstream>> {
    let service = context.service.as_ref()?;
    let picked = if context.unreachable.is_empty() {
        service.pick()
    } else {
        service.pick_other(&context.unreachable)
    };
    picked.cloned()
}

/// Whether a server is left that this request has not tried in vain.
fn has_another_server(context: &RequestContext) -> bool {
    let unreachable = &context.unreachable;
    context.service.as_ref().is_some_and(|service| {
        service.servers().iter().any(|server| !unreachable.iter().any(|other| Arc::ptr_eq(other, server)))
    })
}

fn grpc_status(fields: &HeaderMap) -> Option<u16> {
    fields.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// HTTP/2 lets a client send its cookies one by one; HTTP/1 servers expect one field (Pingora pull request 901).
fn join_cookies(request: &mut RequestHeader) -> Result<()> {
    let mut cookies = request.headers.get_all(header::COOKIE).iter();
    if cookies.next().is_none() || cookies.next().is_none() {
        return Ok(());
    }
    let joined = joined_cookies(&request.headers);
    request.insert_header(header::COOKIE, joined)
}

fn joined_cookies(headers: &HeaderMap) -> HeaderValue {
    let fields: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    HeaderValue::from_maybe_shared(Bytes::from(fields.join(&b"; "[..])))
        .expect("field values joined with `; ` are a field value")
}
