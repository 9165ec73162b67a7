//! What the hot path knows: for the process, for an entry point, for a connection, for a request.

use std::borrow::Cow;
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use bytes::Bytes;
use config::install::{ClientIpMode, EntryPoint, EntryPointHttp, Limits, Transport, TrustedProxy};
use config::name::RouterName;
use http::HeaderValue;
use parking_lot::Mutex;
use security::client_ip::{NO_ADDRESS, Source, TrustedProxies};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::access_log;
use super::identity::Identity;
use super::resolve::Resolver;
use crate::internal::InternalServices;
use crate::rejection::Rejection;
use crate::snapshot::service::{OpenRequest, Service, Upstream};
use crate::snapshot::tls::TlsPolicy;
use crate::snapshot::{EntryPointId, Route, Snapshot, SnapshotReader};
use crate::telemetry::{Recorder, StreamProtocol, TlsDetails};

/// Shared by everything on the hot path of one gateway.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) snapshot: SnapshotReader,
    pub(super) recorder: Arc<dyn Recorder>,
    pub(super) internal: Arc<dyn InternalServices>,
    /// `X-Forwarded-Server`.
    pub(super) server_name: HeaderValue,
    pub(super) request_ids: RequestIds,
    pub(super) resolver: Resolver,
    pub(super) connections: Connections,
    pub(super) clock: CoarseClock,
    /// Turns true once, when draining begins. Shared with HTTP/2 connections.
    pub(super) draining: watch::Sender<bool>,
    pub(super) workarounds: Workarounds,
}

impl Shared {
    /// Draining has begun.
    pub(super) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }
}

/// Faults of Pingora 0.9.1 that are worked around. All are, but in the tests that show the fault itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Workarounds {
    /// Pingora 946: a WebSocket is torn down when the server answers before the request's empty body was
    /// handled.
    pub(super) early_switch: bool,
    /// Pingora 935: an upload that ends with an empty HTTP/2 frame gets two terminators over HTTP/1.
    pub(super) doubled_terminator: bool,
    /// Pingora 901: cookie fields of HTTP/2 go to an HTTP/1 server as several lines.
    pub(super) split_cookies: bool,
    /// Pingora 447: no deadline for a whole head.
    pub(super) head_deadline: bool,
}

impl Workarounds {
    /// As it is served.
    pub(super) const ALL: Self =
        Self { early_switch: true, doubled_terminator: true, split_cookies: true, head_deadline: true };
}

/// Time in tenths of a second since the start, moved on by the sweeper: what an idle connection can afford.
#[derive(Debug, Default)]
pub(super) struct CoarseClock(AtomicU32);

impl CoarseClock {
    pub(super) fn now(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, since_start: Duration) {
        self.0.store(tenths(since_start), Ordering::Relaxed);
    }
}

/// A duration in tenths of a second, at most four billion of them.
pub(super) fn tenths(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis() / 100).unwrap_or(u32::MAX)
}

/// Identifiers of requests: unique in this process, and not to be guessed from one another.
#[derive(Debug)]
pub(super) struct RequestIds {
    next: AtomicU64,
    left: foldhash::quality::RandomState,
    right: foldhash::quality::RandomState,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        Self {
            next: AtomicU64::new(0),
            left: foldhash::quality::RandomState::default(),
            right: foldhash::quality::RandomState::default(),
        }
    }

    /// 32 hexadecimal digits.
    pub(super) fn next(&self) -> HeaderValue {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = u128::from(self.left.hash_one(number)) << 64 | u128::from(self.right.hash_one(number));
        let mut text = [0_u8; 32];
        for (index, digit) in text.iter_mut().enumerate() {
            *digit = DIGITS[(id >> (124 - 4 * index) & 0xf) as usize];
        }
        HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&text))
            .expect("hexadecimal digits are a field value")
    }
}

/// One entry point at work.
#[derive(Debug)]
pub(super) struct EntryPointState {
    pub(super) id: EntryPointId,
    pub(super) name: Arc<str>,
    pub(super) limits: Limits,
    pub(super) transport: Transport,
    pub(super) h2c: bool,
    /// ACME challenges are answered by routers too.
    pub(super) acme_by_pass: bool,
    /// A certificate resolver has its HTTP challenge here.
    pub(super) answers_challenges: bool,
    pub(super) max_concurrent_streams: u32,
    pub(super) http: EntryPointHttp,
    pub(super) client_source: Source,
    proxy_protocol: bool,
    pub(super) trusted: ArcSwap<TrustedProxies>,
    /// Host names among the trusted proxies: resolved again and again by a task.
    pub(super) trusted_hosts: Vec<Arc<str>>,
    pub(super) trusted_ranges: Vec<ipnet::IpNet>,
    pub(super) trust_everyone: bool,
    pub(super) append_forwarded_for: bool,
    open: AtomicUsize,
}

impl EntryPointState {
    pub(super) fn new(id: EntryPointId, entry_point: &EntryPoint, answers_challenges: bool) -> Self {
        let client_ip = &entry_point.client_ip;
        let mut trusted_hosts = Vec::new();
        let mut trusted_ranges = Vec::new();
        for proxy in &client_ip.trusted {
            match proxy {
                TrustedProxy::Range(range) => trusted_ranges.push(fold_range(*range)),
                TrustedProxy::Host(name) => trusted_hosts.push(Arc::clone(name)),
            }
        }
        let trusted = TrustedProxies::new(trusted_ranges.iter().copied(), client_ip.trust_everyone);
        Self {
            id,
            name: Arc::from(entry_point.name.as_str()),
            limits: entry_point.limits.clone(),
            transport: entry_point.transport.clone(),
            h2c: entry_point.h2c,
            acme_by_pass: entry_point.acme_by_pass,
            answers_challenges,
            max_concurrent_streams: entry_point.max_concurrent_streams,
            http: entry_point.http.clone(),
            client_source: match client_ip.mode {
                ClientIpMode::Peer | ClientIpMode::ProxyProtocol => Source::Peer,
                ClientIpMode::XForwardedFor { depth } => Source::XForwardedFor { depth },
            },
            proxy_protocol: client_ip.mode == ClientIpMode::ProxyProtocol,
            trusted: ArcSwap::from_pointee(trusted),
            trusted_hosts,
            trusted_ranges,
            trust_everyone: client_ip.trust_everyone,
            append_forwarded_for: client_ip.append_forwarded_for,
            open: AtomicUsize::new(0),
        }
    }

    /// Connections that are open now.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether this peer must say who its client is before anything else. Who connects over a Unix socket is trusted:
    /// the mode of its file says who may.
    pub(super) fn demands_proxy_protocol(&self, peer: Option<IpAddr>) -> bool {
        self.proxy_protocol && peer.is_none_or(|peer| self.trusted.load().contains(peer))
    }
}

/// A range written in the IPv6 form of IPv4 means the IPv4 range, because peers are folded before comparison.
fn fold_range(range: ipnet::IpNet) -> ipnet::IpNet {
    match (range.addr().to_canonical(), range) {
        (IpAddr::V4(address), ipnet::IpNet::V6(v6)) if v6.prefix_len() >= 96 => {
            ipnet::Ipv4Net::new(address, v6.prefix_len() - 96).map_or(range, ipnet::IpNet::V4)
        }
        (IpAddr::V4(_) | IpAddr::V6(_), _) => range,
    }
}

/// What a handshake agreed on.
#[derive(Debug)]
pub(super) struct TlsInfo {
    /// `1.2`, `1.3`.
    pub(super) version: &'static str,
    /// `TLS_AES_128_GCM_SHA256`.
    pub(super) cipher: &'static str,
    /// The policy of its server name.
    pub(super) policy: Arc<TlsPolicy>,
    /// HTTP/2 was agreed on.
    pub(super) http2: bool,
    /// Subject of the client's certificate; empty without one.
    pub(super) client_subject: Box<str>,
}

/// One client connection.
#[derive(Debug)]
pub(super) struct Connection {
    shared: Arc<Shared>,
    pub(super) entry_point: Arc<EntryPointState>,
    /// TCP peer, folded; none on a Unix socket.
    pub(super) peer: Option<SocketAddr>,
    /// What was agreed on, where it is a TLS connection.
    pub(super) tls: Option<TlsInfo>,
    /// The client asked for TLS in PostgreSQL's way and was told yes: what follows is PostgreSQL.
    pub(super) postgres: bool,
    state: AtomicU8,
    idle_since: AtomicU32,
    peer_value: OnceLock<HeaderValue>,
}

const BUSY: u8 = 0;
const IDLE: u8 = 1;
const CLOSING: u8 = 2;

impl Connection {
    pub(super) fn new(
        shared: &Arc<Shared>,
        entry_point: Arc<EntryPointState>,
        peer: Option<SocketAddr>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            entry_point,
            peer: peer.map(|peer| SocketAddr::new(peer.ip().to_canonical(), peer.port())),
            tls: None,
            postgres: false,
            state: AtomicU8::new(BUSY),
            idle_since: AtomicU32::new(0),
            peer_value: OnceLock::new(),
        }
    }

    /// The same connection, its handshake done.
    pub(super) fn with_tls(&self, tls: TlsInfo) -> Self {
        let plain = Self::new(&self.shared, Arc::clone(&self.entry_point), self.peer);
        Self { tls: Some(tls), ..plain }
    }

    /// The same connection, from this peer.
    pub(super) fn with_peer(&self, peer: SocketAddr) -> Self {
        Self::new(&self.shared, Arc::clone(&self.entry_point), Some(peer))
    }

    /// The same connection, PostgreSQL's wish for TLS granted.
    pub(super) fn with_postgres(&self) -> Self {
        let plain = Self::new(&self.shared, Arc::clone(&self.entry_point), self.peer);
        Self { postgres: true, ..plain }
    }

    /// Waits for a request from now on: may be closed at any moment.
    pub(super) fn rest(&self, now: u32) {
        self.idle_since.store(now, Ordering::Relaxed);
        self.state.store(IDLE, Ordering::Release);
    }

    /// The first bytes of a request are there. False: it was just closed under them.
    pub(super) fn wake(&self) -> bool {
        self.state.compare_exchange(IDLE, BUSY, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Claims it for closing, if it is idle.
    fn close_if_idle(&self) -> bool {
        self.state.compare_exchange(IDLE, CLOSING, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// How long it has been idle, in tenths of a second.
    fn idle_for(&self, now: u32) -> u32 {
        now.saturating_sub(self.idle_since.load(Ordering::Relaxed))
    }

    /// What was agreed on, where it is a TLS connection.
    pub(super) fn tls_details(&self) -> Option<TlsDetails<'_>> {
        self.tls.as_ref().map(|tls| TlsDetails {
            version: tls.version,
            cipher: tls.cipher,
            client_subject: &tls.client_subject,
        })
    }

    /// Address of the peer.
    pub(super) fn peer_address(&self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.ip())
    }

    /// The same as text, made once.
    pub(super) fn peer_value(&self) -> &HeaderValue {
        self.peer_value.get_or_init(|| address_value(self.peer_address().unwrap_or(NO_ADDRESS)))
    }
}

/// An address as a field value.
pub(super) fn address_value(address: IpAddr) -> HeaderValue {
    HeaderValue::try_from(address.to_string()).expect("an address is a field value")
}

/// All open client connections: what draining and the sweeper go through.
#[derive(Debug, Default)]
pub(super) struct Connections {
    slots: Mutex<Slots>,
    open: AtomicUsize,
    closed: Notify,
}

#[derive(Debug, Default)]
struct Slots {
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    /// Tasks that connections have had so far.
    tasks: u64,
}

#[derive(Debug)]
struct Entry {
    connection: Arc<Connection>,
    /// Its current task, which may be on its way to the next.
    task: u64,
    abort: Option<AbortHandle>,
}

/// A task that is about to serve a connection: for [`Connections::set_abort`].
#[derive(Debug, Clone, Copy)]
pub(super) struct TaskPlace {
    slot: usize,
    task: u64,
}

/// Counts a connection for as long as it lives.
#[derive(Debug)]
pub(super) struct OpenConnection {
    shared: Arc<Shared>,
    slot: usize,
    connection: Arc<Connection>,
}

impl OpenConnection {
    pub(super) fn new(shared: &Arc<Shared>, connection: &Arc<Connection>) -> Self {
        let connections = &shared.connections;
        connections.open.fetch_add(1, Ordering::Relaxed);
        connection.entry_point.open.fetch_add(1, Ordering::Relaxed);
        shared.recorder.connection_opened(connection.entry_point.id);
        let entry = Some(Entry { connection: Arc::clone(connection), task: 0, abort: None });
        let mut slots = connections.slots.lock();
        let slot = if let Some(slot) = slots.free.pop() {
            slots.entries[slot] = entry;
            slot
        } else {
            slots.entries.push(entry);
            slots.entries.len() - 1
        };
        drop(slots);
        Self { shared: Arc::clone(shared), slot, connection: Arc::clone(connection) }
    }

    /// More is known of the connection now: `connection` takes its place.
    pub(super) fn replace(&mut self, connection: &Arc<Connection>) {
        if let Some(entry) = &mut self.shared.connections.slots.lock().entries[self.slot] {
            entry.connection = Arc::clone(connection);
        }
        self.connection = Arc::clone(connection);
    }

    /// Another task is about to serve it, in place of the one before.
    pub(super) fn next_task(&self) -> TaskPlace {
        let mut slots = self.shared.connections.slots.lock();
        slots.tasks += 1;
        let task = slots.tasks;
        if let Some(entry) = &mut slots.entries[self.slot] {
            entry.task = task;
            entry.abort = None;
        }
        TaskPlace { slot: self.slot, task }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let connections = &self.shared.connections;
        let mut slots = connections.slots.lock();
        slots.entries[self.slot] = None;
        slots.free.push(self.slot);
        drop(slots);
        self.connection.entry_point.open.fetch_sub(1, Ordering::Relaxed);
        self.shared.recorder.connection_closed(self.connection.entry_point.id);
        if connections.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            connections.closed.notify_waiters();
        }
    }
}

impl Connections {
    /// How the task of a connection can be ended. It may be over already, or have handed the connection on.
    pub(super) fn set_abort(&self, place: TaskPlace, abort: AbortHandle) {
        let mut slots = self.slots.lock();
        if let Some(Some(entry)) = slots.entries.get_mut(place.slot)
            && entry.task == place.task
        {
            entry.abort = Some(abort);
        }
    }

    /// Connections that are open now.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Closes connections that wait for a request and for which `close` says so.
    pub(super) fn close_idle(&self, close: impl Fn(&Connection) -> bool) {
        for entry in self.slots.lock().entries.iter().flatten() {
            if let Some(abort) = &entry.abort
                && close(&entry.connection)
                && entry.connection.close_if_idle()
            {
                abort.abort();
            }
        }
    }

    /// Closes connections that have waited for a request longer than their entry point lets them.
    pub(super) fn sweep(&self, now: u32) {
        self.close_idle(|connection| {
            let limit = connection.entry_point.transport.keep_alive;
            limit.is_some_and(|limit| connection.idle_for(now) >= tenths(limit).max(1))
        });
    }

    /// Cuts every connection that `cut` chooses. Returns how many.
    pub(super) fn cut(&self, cut: impl Fn(&Connection) -> bool) -> usize {
        let slots = self.slots.lock();
        let chosen = slots.entries.iter().flatten().filter(|entry| cut(&entry.connection));
        chosen.filter_map(|entry| entry.abort.as_ref()).map(AbortHandle::abort).count()
    }

    /// Waits until none is open.
    pub(super) async fn all_closed(&self) {
        loop {
            let closed = self.closed.notified();
            tokio::pin!(closed);
            closed.as_mut().enable();
            if self.open() == 0 {
                return;
            }
            closed.await;
        }
    }
}

/// Counts a connection or flow that a server has among the open ones until dropped.
#[derive(Debug)]
pub(super) struct OpenStreamRecord {
    shared: Arc<Shared>,
    entry_point: EntryPointId,
    protocol: StreamProtocol,
    router: RouterName,
}

impl OpenStreamRecord {
    pub(super) fn new(
        shared: &Arc<Shared>,
        entry_point: EntryPointId,
        protocol: StreamProtocol,
        router: &RouterName,
    ) -> Self {
        shared.recorder.stream_opened(entry_point, protocol, router);
        Self { shared: Arc::clone(shared), entry_point, protocol, router: router.clone() }
    }
}

impl Drop for OpenStreamRecord {
    fn drop(&mut self) {
        self.shared.recorder.stream_closed(self.entry_point, self.protocol, &self.router);
    }
}

/// One request, from its head to its record.
#[derive(Debug, Default)]
pub(super) struct RequestContext {
    pub(super) connection: Option<Arc<Connection>>,
    pub(super) times: Option<Times>,
    pub(super) snapshot: Option<Arc<Snapshot>>,
    pub(super) identity: Option<Identity>,
    pub(super) route: Option<Arc<Route>>,
    pub(super) service: Option<Arc<Service>>,
    pub(super) upstream: Option<Arc<Upstream>>,
    /// Counts it among what that server is busy with.
    pub(super) open_request: Option<OpenRequest>,
    /// Servers that could not be reached for this request.
    pub(super) unreachable: Vec<Arc<Upstream>>,
    /// Attempts so far.
    pub(super) attempts: u32,
    pub(super) origin_started: Option<Instant>,
    pub(super) origin_status: u16,
    pub(super) origin_body_bytes: u64,
    pub(super) grpc_status: Option<u16>,
    /// Longest time from the end of the request to the head of the answer, where the connection can be ended for it.
    pub(super) answer_limit: Option<Duration>,
    /// The socket to the server.
    pub(super) server_socket: Option<std::os::fd::RawFd>,
    /// A WebSocket was asked for, and may pass.
    pub(super) wants_upgrade: bool,
    /// Nothing ends it but its own end: an event stream, gRPC.
    pub(super) is_stream: bool,
    /// What the client is told, where a phase without an answer of its own decided it.
    pub(super) rejection: Option<Rejection>,
    /// Why we answered, or why it ended early.
    pub(super) reason: Cow<'static, str>,
    /// Status recorded in place of the one on the wire: 499, or 0.
    pub(super) status: Option<u16>,
    /// Its record is left.
    pub(super) recorded: bool,
}

/// A request whose connection was cut has no phase left to record it.
impl Drop for RequestContext {
    fn drop(&mut self) {
        if !self.recorded
            && let Some(connection) = &self.connection
        {
            access_log::record_cut(&connection.shared, self);
        }
    }
}

/// When a request began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) started: Instant,
    pub(super) wall: SystemTime,
}

impl Times {
    /// Now: the one clock reading at the start of a request.
    #[expect(clippy::disallowed_methods, reason = "the edge where a request's wall-clock time is taken")]
    pub(super) fn now() -> Self {
        Self { started: Instant::now(), wall: SystemTime::now() }
    }
}
