//! The admin API: on a listener of its own ([`serve`]), and in part behind `api@internal`, `ping@internal` and
//! their like (`internal_services`). Its answers are built from a snapshot; nothing here changes one.

mod answer;
mod certificates;
pub mod explain;
mod guard;
mod internal_services;
mod openapi;
mod pages;
mod token;
mod traefik;
mod views;

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use config::{Install, Problem};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use self::internal_services::AdminServices;
pub use self::token::token_path;
pub(crate) use self::views::problem as problem_view;

use self::answer::{Answer, json, problem, text};
use self::explain::{Question, explain};
use self::guard::{BODY_BYTES, Guard};
use self::token::Token;
use super::Readiness;
use super::certificates::CertificateHandle;
use super::reconciler::{ChangeKind, ReloadHandle};
use crate::lifecycle::Phase;
use crate::snapshot::SnapshotReader;
use crate::telemetry::{Exposition, Telemetry};

/// Connections at one time; more wait to be accepted.
const CONNECTIONS: usize = 256;

/// How long a client may take for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take for a whole body of a call that changes something.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long open calls may go on once the listener ends.
const GRACE: Duration = Duration::from_secs(2);

/// What the admin API is built from.
#[derive(Debug)]
pub struct AdminParts {
    /// As it is in force: with the addresses that were really bound.
    pub install: Arc<Install>,
    /// What is published.
    pub snapshot: SnapshotReader,
    /// Whose metrics are shown.
    pub telemetry: Arc<Telemetry>,
    /// State of the parts.
    pub readiness: Readiness,
    /// For `POST /api/reload`.
    pub reload: ReloadHandle,
    /// For `POST /api/certificates/renew`.
    pub certificates: CertificateHandle,
    /// Where the admin listener really listens: reading is open on loopback and on a Unix socket only.
    pub bound: AdminAddress,
    /// When the process started.
    pub started: SystemTime,
}

/// Where the admin listener listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminAddress {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix,
}

/// The bound admin socket.
#[derive(Debug)]
pub enum AdminListener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

/// Everything the handlers need.
#[derive(Debug)]
pub struct AdminState {
    install: Arc<Install>,
    snapshot: SnapshotReader,
    telemetry: Arc<Telemetry>,
    readiness: Readiness,
    reload: ReloadHandle,
    certificates: CertificateHandle,
    guard: Guard,
    started: SystemTime,
}

impl AdminState {
    /// Reads the token, or makes one. What stands in its way is a problem.
    pub fn new(parts: AdminParts) -> (Arc<Self>, Vec<Problem>) {
        let mut problems = Vec::new();
        let private = match parts.bound {
            AdminAddress::Tcp(address) => address.ip().to_canonical().is_loopback(),
            AdminAddress::Unix => true,
        };
        let allowed_hosts =
            parts.install.admin.allowed_hosts.iter().map(|host| guard::bare_host(host)).collect();
        let token = Token::establish(&parts.install, private, &mut problems);
        let state = Self {
            guard: Guard { allowed_hosts, token, private },
            install: parts.install,
            snapshot: parts.snapshot,
            telemetry: parts.telemetry,
            readiness: parts.readiness,
            reload: parts.reload,
            certificates: parts.certificates,
            started: parts.started,
        };
        (Arc::new(state), problems)
    }
}

/// Serves the admin API until `shutdown` is there; open calls then have a moment to end. Also keeps the metrics in
/// step with what is published. Needs a runtime.
pub async fn serve(
    listener: AdminListener,
    state: Arc<AdminState>,
    shutdown: impl Future<Output = ()> + Send,
) -> std::io::Result<()> {
    let routes = router(Arc::clone(&state));
    let mut tasks = JoinSet::new();
    let metrics = tokio::spawn(follow_snapshots(state));
    let result = accept(listener, &routes, &mut tasks, shutdown).await;
    metrics.abort();
    if tokio::time::timeout(GRACE, async { while tasks.join_next().await.is_some() {} }).await.is_err() {
        tasks.shutdown().await;
    }
    result
}

/// A connection of either kind.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// The listener inside of the runtime.
enum Accepting {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Accepting {
    fn new(listener: AdminListener) -> std::io::Result<Self> {
        Ok(match listener {
            AdminListener::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                Self::Tcp(tokio::net::TcpListener::from_std(socket)?)
            }
            AdminListener::Unix(socket) => {
                socket.set_nonblocking(true)?;
                Self::Unix(tokio::net::UnixListener::from_std(socket)?)
            }
        })
    }

    async fn accept(&self) -> std::io::Result<Box<dyn Connection>> {
        Ok(match self {
            Self::Tcp(socket) => Box::new(socket.accept().await?.0),
            Self::Unix(socket) => Box::new(socket.accept().await?.0),
        })
    }
}

async fn accept(
    listener: AdminListener,
    routes: &Router,
    tasks: &mut JoinSet<()>,
    shutdown: impl Future<Output = ()> + Send,
) -> std::io::Result<()> {
    let listener = Accepting::new(listener)?;
    let (ending, ended) = watch::channel(());
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = tasks.join_next() => {}
            accepted = listener.accept(), if tasks.len() < CONNECTIONS => match accepted {
                Ok(stream) => {
                    tasks.spawn(connection(stream, routes.clone(), ended.clone()));
                }
                Err(error) => {
                    // Out of descriptors, most likely: some will come back.
                    tracing::warn!(%error, "accept a connection to the admin listener");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(ending);
    Ok(())
}

/// One connection: HTTP/1.1 with keep-alive, until the client or the listener ends it.
async fn connection(stream: Box<dyn Connection>, routes: Router, mut ended: watch::Receiver<()>) {
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(64)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    tokio::pin!(serving);
    // What a client does wrong on this listener concerns nobody but the client.
    let _ = tokio::select! {
        result = serving.as_mut() => result,
        _ = ended.changed() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
}

/// Counts every publication and lets the metrics forget what is gone.
async fn follow_snapshots(state: Arc<AdminState>) {
    let mut seen = 0;
    let mut before = (std::sync::Weak::new(), false);
    while let Some(snapshot) = state.snapshot.wait_for(|snapshot| snapshot.version > seen).await {
        seen = snapshot.version;
        // A certificate that was renewed is no reload of the configuration.
        let now_is = (Arc::downgrade(&snapshot.routing), snapshot.input_refused);
        let same = before.0.ptr_eq(&now_is.0) && before.1 == now_is.1;
        before = now_is;
        if same {
            continue;
        }
        state.telemetry.published(&snapshot, now());
        if snapshot.input_refused {
            state.telemetry.reload_failed();
        }
    }
}

/// The wall clock, for what people read.
#[expect(clippy::disallowed_methods, reason = "the edge where the control plane reads the wall clock")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// All paths of the admin listener, behind the guard.
pub fn router(state: Arc<AdminState>) -> Router {
    Router::new()
        .route("/ping", any(ping))
        .route("/ready", any(ready))
        .route("/metrics", any(metrics))
        .route("/api/problems", any(problems))
        .route("/api/explain", any(explain_request))
        .route("/api/reload", any(reload))
        .route("/api/certificates", any(certificates::list))
        .route("/api/certificates/renew", any(certificates::renew))
        .route("/api/certificates/export", any(certificates::export))
        .route("/api/certificates/{id}", any(certificates::one))
        .route("/api/openapi.json", any(openapi_document))
        .fallback(rest)
        .layer(from_fn_with_state(Arc::clone(&state), guarded))
        .with_state(state)
}

/// Everything passes here first.
async fn guarded(State(state): State<Arc<AdminState>>, request: Request, next: Next) -> Response {
    let head_only = *request.method() == Method::HEAD;
    let answer = match state.guard.check(request.method(), request.uri().path(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.map(Body::from),
    };
    if head_only { answer.map(|_| Body::empty()) } else { answer }
}

/// Paths that only read take GET and HEAD.
fn reading(method: &Method, answer: impl FnOnce() -> Answer) -> Response {
    let answer = if *method == Method::GET || *method == Method::HEAD {
        answer()
    } else {
        let mut refusal = problem(StatusCode::METHOD_NOT_ALLOWED, "this path only reads");
        refusal.headers_mut().insert(header::ALLOW, http::HeaderValue::from_static("GET, HEAD"));
        refusal
    };
    answer.map(Body::from)
}

async fn ping(State(state): State<Arc<AdminState>>, method: Method) -> Response {
    reading(&method, || state.ping())
}

async fn ready(State(state): State<Arc<AdminState>>, method: Method) -> Response {
    reading(&method, || state.ready())
}

async fn metrics(State(state): State<Arc<AdminState>>, method: Method, headers: HeaderMap) -> Response {
    reading(&method, || state.metrics(&headers))
}

async fn problems(State(state): State<Arc<AdminState>>, method: Method) -> Response {
    reading(&method, || {
        let snapshot = state.snapshot.load();
        json(StatusCode::OK, &views::problems(&snapshot.problems))
    })
}

async fn explain_request(State(state): State<Arc<AdminState>>, method: Method, uri: Uri) -> Response {
    reading(&method, || match Question::from_query(uri.query().unwrap_or("")) {
        Ok(question) => match explain(&state.install, &state.snapshot.load(), &question) {
            Ok(explanation) => json(StatusCode::OK, &explanation),
            Err(error) => problem(StatusCode::BAD_REQUEST, &error.to_string()),
        },
        Err(error) => problem(StatusCode::BAD_REQUEST, &error.to_string()),
    })
}

async fn openapi_document(method: Method) -> Response {
    reading(&method, || json(StatusCode::OK, &openapi::document()))
}

async fn rest(
    State(state): State<Arc<AdminState>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    reading(&method, || {
        state.read_api(&uri, &headers).unwrap_or_else(|| {
            problem(StatusCode::NOT_FOUND, "there is nothing here; /api/openapi.json lists what there is")
        })
    })
}

async fn reload(State(state): State<Arc<AdminState>>, request: Request) -> Response {
    if *request.method() != Method::POST {
        let mut refusal = problem(StatusCode::METHOD_NOT_ALLOWED, "a reload is a POST");
        refusal.headers_mut().insert(header::ALLOW, http::HeaderValue::from_static("POST"));
        return refusal.map(Body::from);
    }
    let answer = match read_body(request).await {
        Err(refusal) => *refusal,
        // The body says nothing yet; it is read so that the connection stays usable.
        Ok(_) => match state.reload.reload().await {
            Ok(report) => {
                let changes: Vec<_> = report
                    .changes
                    .iter()
                    .map(|change| {
                        let kind = match change.kind {
                            ChangeKind::Added => "added",
                            ChangeKind::Changed => "changed",
                            ChangeKind::Removed => "removed",
                        };
                        json!({ "kind": kind, "subject": change.subject })
                    })
                    .collect();
                let problems = views::problems(&report.problems);
                json(
                    StatusCode::OK,
                    &json!({ "version": report.version, "changes": changes, "problems": problems }),
                )
            }
            Err(_) => problem(StatusCode::SERVICE_UNAVAILABLE, "the gateway is ending"),
        },
    };
    answer.map(Body::from)
}

/// A whole body, at most 1 MiB, in time.
async fn read_body(request: Request) -> Result<Bytes, Box<Answer>> {
    let body = Limited::new(request.into_body(), BODY_BYTES);
    match tokio::time::timeout(BODY_TIMEOUT, body.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Box::new(problem(StatusCode::PAYLOAD_TOO_LARGE, "a body has at most 1 MiB")))
        }
        Ok(Err(_)) => Err(Box::new(problem(StatusCode::BAD_REQUEST, "the body ended early"))),
        Err(_) => Err(Box::new(problem(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"))),
    }
}

impl AdminState {
    /// `OK`, or while draining the status that `ping.terminatingStatusCode` asks for.
    fn ping(&self) -> Answer {
        let status = match self.readiness.phase() {
            Phase::Serving => StatusCode::OK,
            Phase::Draining | Phase::Stopped => {
                let code = self.install.ping.as_ref().map_or(503, |ping| ping.terminating_status);
                StatusCode::from_u16(code).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
            }
        };
        text(status, "text/plain; charset=utf-8", status.canonical_reason().unwrap_or_default())
    }

    fn ready(&self) -> Answer {
        let report = self.readiness.report();
        let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        json(status, &views::readiness(&report))
    }

    fn metrics(&self, headers: &HeaderMap) -> Answer {
        let wants_open_metrics = headers.get_all(header::ACCEPT).iter().any(|accept| {
            accept.to_str().is_ok_and(|accept| accept.contains("application/openmetrics-text"))
        });
        let (exposition, content_type) = if wants_open_metrics {
            (Exposition::OpenMetrics, "application/openmetrics-text; version=1.0.0; charset=utf-8")
        } else {
            (Exposition::Prometheus, "text/plain; version=0.0.4; charset=utf-8")
        };
        text(StatusCode::OK, content_type, self.telemetry.render(&self.snapshot.load(), exposition))
    }

    fn start_date(&self) -> String {
        let seconds = self.started.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        views::rfc3339(seconds)
    }
}

#[cfg(test)]
mod tests;
