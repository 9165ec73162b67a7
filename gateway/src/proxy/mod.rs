//! HOT PATH: the order of the stages, on types of our own.
//!
//! ```text
//! accept -> connection (head bytes, deadlines) -> head (raw refusals)
//!        -> admit:  identity                     client, identifier, owned fields
//!        -> direct: internal answers, route      canonical host and path, router
//!        -> upstream (server, connect, forward) -> response -> access_log
//! ```
//!
//! `pingora.rs` is the one file that knows `ProxyHttp` and `Session`.

mod accept;
mod access_log;
mod answer_clock;
mod client_io;
mod connection;
mod context;
pub mod entry_point;
mod head;
mod identity;
mod pingora;
mod proxy_protocol;
mod resolve;
mod response;
mod route;
mod socket;
mod tcp;
mod tls;
mod udp;
mod upstream;
mod upstream_tls;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use config::install::EntryPoint;
use config::install::acme::CHALLENGE_PATH;
use config::name::EntryPointName;
use config::routing::InternalService;
use http::request::Parts;
use http::{HeaderValue, Method, header};
use ipnet::IpNet;
use parking_lot::Mutex;
use security::client_ip::TrustedProxies;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use self::accept::Acceptor;
use self::context::{
    CoarseClock, Connection, Connections, EntryPointState, RequestContext, RequestIds, Shared, Workarounds,
};
use self::entry_point::{Listener, ListeningSocket};
use self::identity::Edits;
use self::pingora::{Engine, EntryPointApp};
use self::resolve::Resolver;
use self::response::Answer;
use self::route::Chosen;
use self::udp::Front;
use crate::internal::InternalServices;
use crate::rejection::Rejection;
use crate::snapshot::{EntryPointId, Snapshot, SnapshotReader};
use crate::telemetry::Recorder;

/// What happens to a request after the stages before a server.
#[derive(Debug)]
enum Next {
    /// It goes to a server of the context's service.
    Forward,
    /// One of our own services answers.
    Internal(InternalService),
    /// We answer.
    Answer(Answer),
    /// We refuse.
    Reject(Rejection),
}

/// Identity: who asks, and which fields of the head are ours to set.
fn admit(
    shared: &Shared,
    connection: &Connection,
    request: &Parts,
    context: &mut RequestContext,
) -> Result<Edits, Rejection> {
    let identified = identity::identify(shared, connection, request)?;
    context.identity = Some(identified.identity);
    context.wants_upgrade = identified.wants_upgrade;
    context.is_stream = identified.is_stream;
    if request.headers.get(header::EXPECT).is_some_and(|expect| !is_continue(expect)) {
        return Err(Rejection::ExpectationFailed);
    }
    Ok(identified.edits)
}

fn is_continue(expect: &HeaderValue) -> bool {
    expect.as_bytes().eq_ignore_ascii_case(b"100-continue")
}

/// Internal answers, then the route. Also gives the canonical target, where it differs from what was sent.
fn direct(
    snapshot: &Snapshot,
    connection: &Connection,
    request: &Parts,
    raw_target: &[u8],
    context: &mut RequestContext,
) -> Result<(Next, Option<String>), Rejection> {
    if raw_target == b"*" {
        return match request.method {
            Method::OPTIONS => Ok((Next::Answer(Answer::empty()), None)),
            _ => Err(Rejection::BadRequest("target_form")),
        };
    }
    if let Some(next) = challenge(snapshot, connection, raw_target) {
        return Ok((next, None));
    }
    let Some(identity) = &context.identity else {
        return Err(Rejection::Internal("internal"));
    };
    let found = route::find(snapshot, connection, identity, request, raw_target)?;
    context.route = found.route;
    let next = match found.destination {
        Ok(Chosen::Service(service)) => {
            context.service = Some(service);
            Next::Forward
        }
        Ok(Chosen::Internal(service)) => Next::Internal(service),
        Ok(Chosen::Answer(answer)) => Next::Answer(answer),
        Err(rejection) => Next::Reject(rejection),
    };
    Ok((next, found.target))
}

/// ACME's HTTP-01: the proof for a token, whatever the host, before every redirect. Where a certificate resolver
/// looks for challenges, nobody else answers for them, unless the entry point lets routers do so.
fn challenge(snapshot: &Snapshot, connection: &Connection, raw_target: &[u8]) -> Option<Next> {
    if connection.tls.is_some() {
        return None;
    }
    let token = raw_target.strip_prefix(CHALLENGE_PATH.as_bytes())?;
    let token = token.split(|byte| *byte == b'?').next()?;
    let proof = std::str::from_utf8(token).ok().and_then(|token| snapshot.challenges.http.get(token));
    let entry_point = &connection.entry_point;
    match proof {
        Some(proof) => Some(Next::Answer(Answer::text(proof))),
        None if entry_point.answers_challenges && !entry_point.acme_by_pass => {
            Some(Next::Reject(Rejection::NoRoute))
        }
        None => None,
    }
}

/// How often idle connections are looked through, at most.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// How often host names among the trusted proxies are resolved again.
const TRUSTED_HOSTS_INTERVAL: Duration = Duration::from_secs(30);
/// How often draining looks for connections that have become idle.
const DRAIN_INTERVAL: Duration = Duration::from_millis(50);
/// How long connections that were cut may take to go.
const CUT_LIMIT: Duration = Duration::from_secs(1);

/// What the hot path is built from.
#[derive(Debug)]
pub struct ProxyConfig {
    /// In the order of `Install::entry_points`: an [`EntryPointId`] is a position in it.
    pub entry_points: Vec<EntryPoint>,
    /// Those where a certificate resolver has its HTTP challenge.
    pub challenge_entry_points: Vec<EntryPointName>,
    /// Where each request finds its routes.
    pub snapshot: SnapshotReader,
    /// Where each request leaves its record.
    pub telemetry: Arc<dyn Recorder>,
    /// Who answers for `…@internal`.
    pub internal: Arc<dyn InternalServices>,
    /// Name of this machine, for `X-Forwarded-Server`.
    pub server_name: String,
    /// Worker threads of the runtime: sizes the pool of connections to servers.
    pub worker_threads: usize,
}

/// The hot path: accepts, routes, forwards.
pub struct Proxy {
    shared: Arc<Shared>,
    entry_points: Vec<Arc<EntryPointState>>,
    apps: Vec<Arc<EntryPointApp>>,
    /// The accept loop of each entry point.
    accepting: Mutex<Vec<(EntryPointId, AbortHandle)>>,
    /// Sweeper and resolver of trusted names.
    background: Mutex<Vec<AbortHandle>>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("entry_points", &self.apps).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Builds it; nothing is served yet.
    pub fn new(config: ProxyConfig) -> Arc<Self> {
        Self::with_workarounds(config, Workarounds::ALL)
    }

    fn with_workarounds(config: ProxyConfig, workarounds: Workarounds) -> Arc<Self> {
        let shared = Arc::new(Shared {
            snapshot: config.snapshot,
            recorder: config.telemetry,
            internal: config.internal,
            server_name: HeaderValue::try_from(config.server_name)
                .unwrap_or_else(|_| HeaderValue::from_static("hearthgate")),
            request_ids: RequestIds::new(),
            resolver: Resolver,
            connections: Connections::default(),
            clock: CoarseClock::default(),
            draining: watch::Sender::new(false),
            workarounds,
        });
        let engine: Arc<Engine> = pingora::engine(Arc::clone(&shared), config.worker_threads);
        let entry_points: Vec<_> = config
            .entry_points
            .iter()
            .enumerate()
            .map(|(position, entry_point)| {
                let answers = config.challenge_entry_points.contains(&entry_point.name);
                Arc::new(EntryPointState::new(EntryPointId(position), entry_point, answers))
            })
            .collect();
        let apps = entry_points
            .iter()
            .map(|entry_point| Arc::new(EntryPointApp::new(&shared, &engine, Arc::clone(entry_point))))
            .collect();
        Arc::new(Self {
            shared,
            entry_points,
            apps,
            accepting: Mutex::default(),
            background: Mutex::default(),
        })
    }

    /// Starts accepting on these listeners, in tasks of the current runtime. A listener whose entry point is
    /// not among the configured ones is dropped.
    pub fn serve(self: &Arc<Self>, listeners: Vec<Listener>) {
        self.start_background();
        for listener in listeners {
            let Some(app) = self.apps.get(listener.id.0) else {
                continue;
            };
            let (shared, state) = (Arc::clone(&self.shared), &app.entry_point);
            let spawned = match listener.socket {
                ListeningSocket::Tcp(socket) => tokio::net::TcpListener::from_std(socket)
                    .map(|socket| tokio::spawn(accept::run(shared, Arc::clone(app), Acceptor::Tcp(socket)))),
                ListeningSocket::Unix(socket, file) => {
                    tokio::net::UnixListener::from_std(socket).map(|socket| {
                        tokio::spawn(accept::run(shared, Arc::clone(app), Acceptor::Unix(socket, file)))
                    })
                }
                ListeningSocket::Udp(socket, timeout) => tokio::net::UdpSocket::from_std(socket)
                    .map(|socket| tokio::spawn(Front::new(&shared, state, socket, timeout).run())),
            };
            match spawned {
                Ok(task) => self.accepting.lock().push((listener.id, task.abort_handle())),
                Err(error) => {
                    tracing::error!(entry_point = &*app.entry_point.name, %error, "cannot accept connections");
                }
            }
        }
    }

    fn start_background(self: &Arc<Self>) {
        let mut background = self.background.lock();
        if !background.is_empty() {
            return;
        }
        let keep_alive =
            self.entry_points.iter().filter_map(|entry_point| entry_point.transport.keep_alive).min();
        let interval = keep_alive
            .map_or(SWEEP_INTERVAL, |limit| (limit / 4).clamp(Duration::from_millis(100), SWEEP_INTERVAL));
        background.push(tokio::spawn(sweep(Arc::clone(&self.shared), interval)).abort_handle());
        for entry_point in &self.entry_points {
            if !entry_point.trusted_hosts.is_empty() {
                let follow = follow_trusted_hosts(Arc::clone(entry_point), self.shared.resolver.clone());
                background.push(tokio::spawn(follow).abort_handle());
            }
        }
    }

    /// Ends in good order: each entry point goes on accepting for its `accept_grace`, then closes idle
    /// connections, lets open requests end within its `grace`, and cuts the rest. Returns how many were cut.
    pub async fn drain(&self) -> usize {
        let started = Instant::now();
        let accept_grace = |id: EntryPointId| {
            self.entry_points
                .get(id.0)
                .map_or(Duration::ZERO, |entry_point| entry_point.transport.accept_grace)
        };
        let mut accepting = std::mem::take(&mut *self.accepting.lock());
        accepting.sort_by_key(|(id, _)| accept_grace(*id));
        for (id, accept) in accepting {
            tokio::time::sleep_until(started + accept_grace(id)).await;
            accept.abort();
        }
        // Who was just accepted is counted already: accept and count happen without a pause in between.
        let draining = Instant::now();
        self.shared.draining.send_replace(true);
        let mut graces: Vec<_> = self
            .entry_points
            .iter()
            .map(|entry_point| (entry_point.transport.grace, entry_point.id))
            .collect();
        graces.sort_unstable_by_key(|(grace, _)| *grace);
        let mut cut = 0;
        for (grace, id) in graces {
            let deadline = draining + grace;
            loop {
                self.shared.connections.close_idle(|_| true);
                let wake = deadline.min(Instant::now() + DRAIN_INTERVAL);
                if tokio::time::timeout_at(wake, self.shared.connections.all_closed()).await.is_ok() {
                    self.stop();
                    return cut;
                }
                if Instant::now() >= deadline {
                    break;
                }
            }
            cut += self.shared.connections.cut(|connection| connection.entry_point.id == id);
        }
        self.stop();
        // What was cut leaves its records on the way out.
        drop(tokio::time::timeout(CUT_LIMIT, self.shared.connections.all_closed()).await);
        cut
    }

    /// Closes every listener and connection at once.
    pub fn stop(&self) {
        self.shared.draining.send_replace(true);
        for (_, accept) in std::mem::take(&mut *self.accepting.lock()) {
            accept.abort();
        }
        for task in std::mem::take(&mut *self.background.lock()) {
            task.abort();
        }
        self.shared.connections.cut(|_| true);
    }

    /// Client connections that are open now.
    pub fn open_connections(&self) -> usize {
        self.shared.connections.open()
    }

    /// Client connections of one entry point that are open now.
    pub fn open_connections_of(&self, entry_point: EntryPointId) -> usize {
        self.entry_points.get(entry_point.0).map_or(0, |entry_point| entry_point.open())
    }
}

/// Moves the coarse clock on and closes connections that were idle for too long.
async fn sweep(shared: Arc<Shared>, interval: Duration) {
    let started = Instant::now();
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        shared.clock.set(started.elapsed());
        shared.connections.sweep(shared.clock.now());
    }
}

/// Keeps the addresses of trusted host names current. A name that cannot be resolved keeps its last ones.
async fn follow_trusted_hosts(entry_point: Arc<EntryPointState>, resolver: Resolver) {
    let mut known: Vec<Vec<IpAddr>> = vec![Vec::new(); entry_point.trusted_hosts.len()];
    let mut ticks = tokio::time::interval(TRUSTED_HOSTS_INTERVAL);
    loop {
        ticks.tick().await;
        for (name, addresses) in entry_point.trusted_hosts.iter().zip(&mut known) {
            let found = resolver.look_up(name, 0).await;
            if !found.is_empty() {
                *addresses = found.into_iter().map(|address| address.ip().to_canonical()).collect();
            }
        }
        let hosts = known.iter().flatten().copied().map(IpNet::from);
        let ranges = entry_point.trusted_ranges.iter().copied().chain(hosts);
        entry_point.trusted.store(Arc::new(TrustedProxies::new(ranges, entry_point.trust_everyone)));
    }
}
