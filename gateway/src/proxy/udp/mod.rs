//! UDP entry points: a flow for each client address, with a connected socket to a server of the router in force.
//!
//! The task of an entry point receives for all flows and hands each datagram on at once; the task of a flow takes the
//! answers back, and ends when neither side has said anything for the entry point's `udp.timeout`.

mod packet;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use self::packet::FrontSocket;
use super::context::{Connection, EntryPointState, OpenConnection, OpenStreamRecord, Shared};
use super::resolve::ServerAddress;
use crate::snapshot::stream::{UdpRoute, UdpUpstream};
use crate::telemetry::{StreamProtocol, StreamRecord, StreamResult};

/// The largest datagram.
const DATAGRAM_BYTES: usize = 65_535;
/// Flows of one entry point; beyond, those go that have been silent for longest.
const MOST_FLOWS: usize = 65_536;
/// Which part of them makes way at once, so that looking for the longest silence is rare.
const EVICTED_PART: usize = 16;
/// Datagrams of a flow that wait for its server's name to be resolved.
const MOST_WAITING: usize = 16;
/// Pause after an error that will not go away at once.
const BACK_OFF: Duration = Duration::from_millis(100);

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; DATAGRAM_BYTES].into_boxed_slice());
}

/// One UDP entry point at work.
pub(super) struct Front {
    shared: Arc<Shared>,
    entry_point: Arc<EntryPointState>,
    socket: FrontSocket,
    timeout: Duration,
    started: Instant,
    flows: Mutex<HashMap<SocketAddr, Arc<Flow>, RandomState>>,
}

/// What one client says to its server, and hears from it.
struct Flow {
    /// Where the client sent to: its answers come from there.
    local: Option<IpAddr>,
    socket: OnceLock<UdpSocket>,
    /// What came before there was a socket.
    waiting: Mutex<Vec<Box<[u8]>>>,
    /// When a datagram last went either way, in milliseconds since the entry point's start.
    used: AtomicU64,
    /// The client spoke last.
    owed: AtomicBool,
    task: OnceLock<AbortHandle>,
}

impl Front {
    pub(super) fn new(
        shared: &Arc<Shared>,
        entry_point: &Arc<EntryPointState>,
        socket: UdpSocket,
        timeout: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::clone(shared),
            entry_point: Arc::clone(entry_point),
            socket: FrontSocket::new(socket),
            timeout,
            started: Instant::now(),
            flows: Mutex::default(),
        })
    }

    /// Receives until the task is ended. Flows end by themselves.
    pub(super) async fn run(self: Arc<Self>) {
        let mut datagram = vec![0; DATAGRAM_BYTES];
        let mut troubled = false;
        loop {
            match self.socket.receive(&mut datagram).await {
                Ok(Some(received)) => {
                    troubled = false;
                    self.take(received.from, received.to, &datagram[..received.length]);
                }
                // Without a sender that could be answered.
                Ok(None) => {}
                Err(error) if is_about_an_answer(&error) => {}
                Err(error) => {
                    if !troubled {
                        tracing::warn!(entry_point = &*self.entry_point.name, %error, "cannot receive");
                        troubled = true;
                    }
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn take(self: &Arc<Self>, client: SocketAddr, local: Option<IpAddr>, datagram: &[u8]) {
        let known = self.flows.lock().get(&client).cloned();
        match known {
            Some(flow) => {
                flow.used.store(self.now(), Ordering::Relaxed);
                flow.owed.store(true, Ordering::Relaxed);
                flow.send(datagram);
            }
            None => self.open(client, local, datagram),
        }
    }

    /// Begins a flow with its first datagram.
    fn open(self: &Arc<Self>, client: SocketAddr, local: Option<IpAddr>, datagram: &[u8]) {
        let snapshot = self.shared.snapshot.load();
        let routes = snapshot.routes.entry_points.get(self.entry_point.id.0);
        let Some(route) = routes.and_then(|routes| routes.udp.clone()) else {
            tracing::debug!(%client, entry_point = &*self.entry_point.name, "no UDP router: dropped");
            return;
        };
        let picked = match &route.service {
            Ok(service) => service.pick().ok_or_else(|| service.reason()),
            Err(reason) => Err(Arc::clone(reason)),
        };
        let upstream = match picked {
            Ok(upstream) => Arc::clone(upstream),
            Err(reason) => {
                self.record(&route, StreamResult::Unavailable);
                tracing::debug!(%client, router = %route.name, reason = &*reason, "dropped");
                return;
            }
        };
        let flow = Arc::new(Flow {
            local,
            socket: OnceLock::new(),
            waiting: Mutex::new(vec![datagram.into()]),
            used: AtomicU64::new(self.now()),
            owed: AtomicBool::new(true),
            task: OnceLock::new(),
        });
        {
            let mut flows = self.flows.lock();
            if flows.len() >= MOST_FLOWS {
                evict(&mut flows);
            }
            flows.insert(client, Arc::clone(&flow));
        }
        let connection = Arc::new(Connection::new(&self.shared, Arc::clone(&self.entry_point), Some(client)));
        let open = OpenConnection::new(&self.shared, &connection);
        let place = open.next_task();
        let member = Member { front: Arc::clone(self), client, flow: Arc::clone(&flow) };
        let task = tokio::spawn(async move {
            member.serve(&route, &upstream).await;
            drop((member, open));
        });
        // Who is evicted before this line goes by its silence.
        let _ = flow.task.set(task.abort_handle());
        self.shared.connections.set_abort(place, task.abort_handle());
    }

    fn record(&self, route: &UdpRoute, result: StreamResult) {
        self.shared.recorder.stream(&StreamRecord {
            entry_point: self.entry_point.id,
            protocol: StreamProtocol::Udp,
            router: &route.name,
            result,
        });
    }
}

/// What an earlier answer of ours met with, and nothing about this socket.
fn is_about_an_answer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::Interrupted
    )
}

/// Ends the flows that have been silent for longest.
fn evict(flows: &mut HashMap<SocketAddr, Arc<Flow>, RandomState>) {
    let mut by_silence: Vec<_> =
        flows.iter().map(|(client, flow)| (flow.used.load(Ordering::Relaxed), *client)).collect();
    let part = (by_silence.len() / EVICTED_PART).max(1).min(by_silence.len());
    if part == 0 {
        return;
    }
    by_silence.select_nth_unstable(part - 1);
    for (_, client) in &by_silence[..part] {
        if let Some(task) = flows.remove(client).and_then(|flow| flow.task.get().cloned()) {
            task.abort();
        }
    }
}

impl Flow {
    /// Sends to the server, or keeps a little for when there is one. What does not fit is lost, as datagrams are.
    fn send(&self, datagram: &[u8]) {
        let mut waiting = self.waiting.lock();
        match self.socket.get() {
            Some(socket) => {
                drop(waiting);
                let _ = socket.try_send(datagram);
            }
            None if waiting.len() < MOST_WAITING => waiting.push(datagram.into()),
            None => {}
        }
    }

    /// The socket is there: what waits goes out first.
    fn begin(&self, socket: UdpSocket) -> &UdpSocket {
        let mut waiting = self.waiting.lock();
        let socket = self.socket.get_or_init(|| socket);
        for datagram in waiting.drain(..) {
            let _ = socket.try_send(&datagram);
        }
        waiting.shrink_to_fit();
        socket
    }
}

/// A flow among those of its entry point, until dropped.
struct Member {
    front: Arc<Front>,
    client: SocketAddr,
    flow: Arc<Flow>,
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut flows = self.front.flows.lock();
        if flows.get(&self.client).is_some_and(|flow| Arc::ptr_eq(flow, &self.flow)) {
            flows.remove(&self.client);
        }
    }
}

impl Member {
    async fn serve(&self, route: &UdpRoute, upstream: &UdpUpstream) {
        let front = &self.front;
        let address = upstream.slot.get_or_init(|| ServerAddress::new(&upstream.host, upstream.port));
        let socket = match connect(&front.shared, address).await {
            Ok(socket) => socket,
            Err(error) => {
                front.record(route, StreamResult::Unreachable);
                tracing::debug!(client = %self.client, server = &*upstream.address, %error, "cannot connect");
                return;
            }
        };
        front.record(route, StreamResult::Served);
        let id = front.entry_point.id;
        let open = OpenStreamRecord::new(&front.shared, id, StreamProtocol::Udp, &route.name);
        let socket = self.flow.begin(socket);
        if let Err(error) = self.take_answers(socket).await {
            address.unreachable();
            tracing::debug!(client = %self.client, server = &*upstream.address, %error, "flow ended");
        }
        drop(open);
    }

    /// Until neither side says anything more, or the server is gone.
    async fn take_answers(&self, socket: &UdpSocket) -> io::Result<()> {
        let front = &self.front;
        let timeout = u64::try_from(front.timeout.as_millis()).unwrap_or(u64::MAX);
        let mut draining = front.shared.draining.subscribe();
        let silence = tokio::time::sleep(front.timeout);
        tokio::pin!(silence);
        loop {
            tokio::select! {
                ready = socket.readable() => {
                    ready?;
                    self.pass_answers(socket).await?;
                }
                () = &mut silence => {
                    let silent = front.now().saturating_sub(self.flow.used.load(Ordering::Relaxed));
                    if silent >= timeout {
                        return Ok(());
                    }
                    let rest = Duration::from_millis(timeout - silent);
                    silence.as_mut().reset(Instant::now() + rest);
                }
                changed = draining.changed() => {
                    // Dropped with the gateway.
                    if changed.is_err() {
                        return Ok(());
                    }
                }
            }
            if *draining.borrow() && !self.flow.owed.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
    }

    /// Hands on all answers that are there.
    async fn pass_answers(&self, socket: &UdpSocket) -> io::Result<()> {
        loop {
            // What the entry point's socket has no room for now.
            let left = SCRATCH.with_borrow_mut(|scratch| {
                let length = match socket.try_recv(scratch) {
                    Ok(length) => length,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                    Err(error) => return Err(error),
                };
                let answer = &scratch[..length];
                match self.front.socket.try_send(answer, self.flow.local, self.client) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(answer.to_vec())),
                    // The client cannot be reached: nothing that the server could do about it.
                    Ok(_) | Err(_) => Ok(Some(Vec::new())),
                }
            })?;
            self.flow.used.store(self.front.now(), Ordering::Relaxed);
            match left {
                None => return Ok(()),
                Some(answer) => {
                    self.flow.owed.store(false, Ordering::Relaxed);
                    if !answer.is_empty() {
                        let _ = self.front.socket.send(&answer, self.flow.local, self.client).await;
                    }
                }
            }
        }
    }
}

async fn connect(shared: &Shared, address: &ServerAddress) -> io::Result<UdpSocket> {
    let Some(address) = address.get(&shared.resolver).await else {
        return Err(io::Error::new(io::ErrorKind::NotFound, "its name cannot be resolved"));
    };
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    // Until it is known that there is room, nothing can be sent without waiting.
    socket.writable().await?;
    Ok(socket)
}
