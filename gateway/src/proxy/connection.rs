//! A client connection: the IO type that sessions read and write through, head bytes before a session exists,
//! deadlines, keep-alive, drain.
//!
//! Between requests a connection holds its socket and nothing else: it waits with a scratch buffer that belongs
//! to the thread. Only when a whole head is there, a session is built around it. TLS joins at [`Socket`]: a first
//! byte that opens a handshake hands the connection to `tls`, which hands it back as a socket like any other.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::ALPN;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;

use super::context::{Connection, OpenConnection, Shared, Times};
use super::head::{self, Framing, Head, Protocol};
use super::pingora::EntryPointApp;
use super::tcp::{self, SslRequest};
use super::{access_log, response, tls};
use crate::rejection::Rejection;
use crate::snapshot::stream::TcpRoute;

/// Small writes gather up to this size before they go out.
const GATHER_BYTES: usize = 16 * 1024;
/// What is read at once while no session exists.
const SCRATCH_BYTES: usize = 64 * 1024;
/// Gathering buffers that a thread keeps for later.
const SPARE_BUFFERS: usize = 64;
/// After a refusal: how long, and how many bytes, the rest of a request is read and thrown away, so that the
/// client reads the answer and not a reset.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// What a client is connected by.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// TLS that ends here, over one of the others.
    Tls(Box<TlsStream<Self>>),
}

impl Socket {
    /// Our address of the connection; none on a Unix socket.
    pub(super) fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok(),
            Self::Unix(_) => None,
            Self::Tls(stream) => stream.get_ref().0.local_address(),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
            Self::Tls(stream) => stream.get_ref().0.as_raw_fd(),
        }
    }
}

/// Reads what is there behind what was read before, through the thread's scratch buffer. 0: the client closed.
pub(super) fn poll_read_behind(
    socket: &mut Socket,
    ahead: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buf = ReadBuf::new(scratch);
        ready!(Pin::new(socket).poll_read(cx, &mut buf))?;
        let read = buf.filled();
        if ahead.is_empty() {
            *ahead = BytesMut::from(read);
        } else {
            ahead.extend_from_slice(read);
        }
        Poll::Ready(Ok(read.len()))
    })
}

/// What the session of a request may still read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readable {
    /// So many bytes of body; what comes after them is the next request and stays here.
    Bytes(u64),
    /// Nothing, until the server has agreed to switch protocols; then whatever comes.
    AfterSwitch,
    /// Whatever comes: chunks, a tunnel, HTTP/2 frames.
    Everything,
}

/// A client connection as sessions see it. Holds no buffer while idle.
pub(super) struct ClientIo {
    socket: Socket,
    pub(super) connection: Arc<Connection>,
    /// Read already, not yet given to a session.
    ahead: BytesMut,
    readable: Readable,
    out: Vec<u8>,
    out_position: usize,
    /// Runs while a write makes no progress.
    write_deadline: Option<Pin<Box<Sleep>>>,
    /// When the head of the current request began.
    pub(super) times: Times,
    /// Carries the connection to HTTP/2 streams, which never see this type.
    h2: Option<Arc<ProxyDigest>>,
}

impl std::fmt::Debug for ClientIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientIo").field("peer", &self.connection.peer).finish_non_exhaustive()
    }
}

/// Serves a connection in a task of its own. `ahead` was read from it already.
pub(super) fn spawn(
    shared: &Arc<Shared>,
    app: &Arc<EntryPointApp>,
    socket: Socket,
    ahead: BytesMut,
    connection: Arc<Connection>,
    open: OpenConnection,
) {
    let place = open.next_task();
    let io = Box::new(ClientIo { ahead, ..ClientIo::new(socket, connection) });
    let task = serve(Arc::clone(shared), Arc::clone(app), io, open);
    let task = tokio::spawn(task);
    shared.connections.set_abort(place, task.abort_handle());
}

/// Serves one connection to its end.
async fn serve(
    shared: Arc<Shared>,
    app: Arc<EntryPointApp>,
    mut io: Box<ClientIo>,
    mut open: OpenConnection,
) {
    if let Some(route) = tcp::Plan::of(&shared, &io.connection).and_then(|plan| plan.immediate()) {
        Box::pin(forward(&shared, io, route)).await;
        return drop(open);
    }
    let mut served = 0_u32;
    loop {
        if io.ahead.is_empty() && !io.wait_for_request(&shared).await {
            break;
        }
        io.times = Times::now();
        if served == 0
            && let Some(plan) = tcp::Plan::of(&shared, &io.connection)
        {
            match Box::pin(serve_stream(&shared, &app, io, plan, open)).await {
                Some(back) => (io, open) = back,
                None => return,
            }
        }
        let step = match io.head_in_hand(served == 0) {
            Ok(Step::More) => Box::pin(io.collect_head(&shared, served == 0)).await,
            step => step,
        };
        let head = match step {
            Ok(Step::Head(head)) => head,
            Ok(Step::Http2) => {
                Box::pin(app.serve_http2(io)).await;
                break;
            }
            Ok(Step::Tls) => {
                let ClientIo { socket, connection, ahead, .. } = *io;
                tls::spawn(&shared, &app, socket, ahead, connection, open);
                return;
            }
            Ok(Step::More) => break,
            Err(rejection) => {
                Box::pin(io.refuse(&shared, &rejection)).await;
                break;
            }
        };
        served += 1;
        let prefix = io.take_head(head);
        let is_last =
            io.connection.entry_point.limits.requests_per_connection.is_some_and(|max| served >= max);
        match app.serve_http1(io, prefix, is_last, &shared).await {
            Some(back) if back.may_go_on() && !shared.is_draining() => io = back,
            Some(_) | None => break,
        }
    }
    drop(open);
}

/// Serves a connection to its end, if it is a TCP router's; else gives it back, its first bytes read.
async fn serve_stream(
    shared: &Arc<Shared>,
    app: &Arc<EntryPointApp>,
    mut io: Box<ClientIo>,
    plan: tcp::Plan,
    open: OpenConnection,
) -> Option<(Box<ClientIo>, OpenConnection)> {
    match io.first_bytes(&plan).await {
        FirstBytes::Http => return Some((io, open)),
        FirstBytes::Stream(route) => {
            forward(shared, io, route).await;
            drop(open);
        }
        FirstBytes::Postgres => {
            let ClientIo { socket, connection, ahead, .. } = *io;
            tcp::postgres(shared, app, socket, ahead, &connection, open).await;
        }
    }
    None
}

async fn forward(shared: &Arc<Shared>, io: Box<ClientIo>, route: Arc<TcpRoute>) {
    let ClientIo { socket, connection, ahead, .. } = *io;
    tcp::forward(shared, &connection, socket, ahead, route).await;
}

/// Size of the future that serves a connection.
#[cfg(test)]
pub(super) fn future_size() -> usize {
    fn of<A, B, C, D, F>(_: impl FnOnce(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }
    of(serve)
}

/// Whose a connection is, by its first bytes.
enum FirstBytes {
    /// HTTP's, or TLS.
    Http,
    /// A TCP router's.
    Stream(Arc<TcpRoute>),
    /// A TCP router's, once TLS is there.
    Postgres,
}

/// What the bytes at hand are.
enum Step {
    Head(Head),
    Http2,
    Tls,
    More,
}

impl ClientIo {
    pub(super) fn new(socket: Socket, connection: Arc<Connection>) -> Self {
        Self {
            socket,
            connection,
            ahead: BytesMut::new(),
            readable: Readable::Bytes(0),
            out: Vec::new(),
            out_position: 0,
            write_deadline: None,
            times: Times::now(),
            h2: None,
        }
    }

    /// Waits for the first bytes of a request. False: closed, by either side.
    async fn wait_for_request(&mut self, shared: &Shared) -> bool {
        let mut resting = false;
        let read = poll_fn(|cx| match self.poll_read_ahead(cx) {
            Poll::Pending if !resting => {
                resting = true;
                self.connection.rest(shared.clock.now());
                // Draining looks for resting connections once it has begun; whoever rests later sees it here.
                if shared.is_draining() { Poll::Ready(Ok(0)) } else { Poll::Pending }
            }
            read => read,
        });
        let read = read.await;
        (!resting || self.connection.wake()) && read.is_ok_and(|read| read > 0)
    }

    fn poll_read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        poll_read_behind(&mut self.socket, &mut self.ahead, cx)
    }

    /// Looks at the first bytes of a connection on an entry point that has TCP routers, and reads on for as long as
    /// they may be PostgreSQL's wish for TLS.
    async fn first_bytes(&mut self, plan: &tcp::Plan) -> FirstBytes {
        let limit = self.connection.entry_point.limits.head_timeout;
        let deadline = limit.map(|limit| self.times.started + limit);
        let asks = loop {
            if !plan.answers_ssl_request() {
                break false;
            }
            match tcp::ssl_request(&self.ahead) {
                SslRequest::Yes => break true,
                SslRequest::No => break false,
                SslRequest::Maybe => {}
            }
            let read = poll_fn(|cx| self.poll_read_ahead(cx));
            let read = match deadline {
                Some(deadline) => tokio::time::timeout_at(deadline, read).await,
                None => Ok(read.await),
            };
            if !matches!(read, Ok(Ok(1..))) {
                break false;
            }
        };
        if asks {
            return FirstBytes::Postgres;
        }
        match (head::protocol(&self.ahead), plan.plain()) {
            (Protocol::Tls, _) | (_, None) => FirstBytes::Http,
            (Protocol::Http1 | Protocol::Http2 | Protocol::Undecided, Some(route)) => {
                FirstBytes::Stream(route)
            }
        }
    }

    fn head_in_hand(&self, is_first: bool) -> Result<Step, Rejection> {
        if is_first {
            let tls = self.connection.tls.as_ref();
            let speaks_http2 = tls.map_or(self.connection.entry_point.h2c, |tls| tls.http2);
            match head::protocol(&self.ahead) {
                Protocol::Undecided => return Ok(Step::More),
                Protocol::Tls if tls.is_none() => return Ok(Step::Tls),
                Protocol::Http2 if speaks_http2 => return Ok(Step::Http2),
                Protocol::Http2 => return Err(Rejection::BadRequest("http2_not_offered")),
                // Nothing else was agreed on.
                Protocol::Http1 | Protocol::Tls if tls.is_some_and(|tls| tls.http2) => {
                    return Err(Rejection::BadRequest("http2_preface"));
                }
                Protocol::Http1 | Protocol::Tls => {}
            }
        }
        let limit = self.connection.entry_point.limits.head_bytes;
        match head::scan(&self.ahead)? {
            Some(head) if limit.is_some_and(|limit| head.end - head.start > limit) => {
                Err(Rejection::HeadTooLarge)
            }
            Some(head) => Ok(Step::Head(head)),
            None if limit.is_some_and(|limit| self.ahead.len() > limit) => Err(Rejection::HeadTooLarge),
            None => Ok(Step::More),
        }
    }

    /// Reads on until the head is whole, under one deadline from its first byte. [`Step::More`]: the client left.
    async fn collect_head(&mut self, shared: &Shared, is_first: bool) -> Result<Step, Rejection> {
        let limit = self.connection.entry_point.limits.head_timeout;
        let deadline =
            limit.filter(|_| shared.workarounds.head_deadline).map(|limit| self.times.started + limit);
        loop {
            let read = poll_fn(|cx| self.poll_read_ahead(cx));
            let read = match deadline {
                Some(deadline) => match tokio::time::timeout_at(deadline, read).await {
                    Ok(read) => read,
                    Err(_) => return Err(Rejection::HeadTimeout),
                },
                None => read.await,
            };
            match read {
                Ok(0) | Err(_) => return Ok(Step::More),
                Ok(_) => {}
            }
            match self.head_in_hand(is_first)? {
                Step::More => {}
                step => return Ok(step),
            }
        }
    }

    /// Takes a whole head for its session, and sets what that session may read behind it.
    fn take_head(&mut self, head: Head) -> BytesMut {
        let mut prefix = if head.end == self.ahead.len() {
            std::mem::take(&mut self.ahead)
        } else {
            self.ahead.split_to(head.end)
        };
        prefix.advance(head.start);
        self.readable = match head.framing {
            Framing::Length(length) => Readable::Bytes(length),
            Framing::Chunked => Readable::Everything,
            Framing::Upgrade => Readable::AfterSwitch,
        };
        prefix
    }

    /// Answers a head that no session shall see, and closes.
    async fn refuse(&mut self, shared: &Shared, rejection: &Rejection) {
        let answer = response::wire(rejection);
        let sent = tokio::time::timeout(LINGER, async {
            self.write_all(&answer).await?;
            self.flush().await
        });
        let sent = sent.await.is_ok_and(|sent| sent.is_ok());
        access_log::record_refused_head(shared, &self.connection, self.times, rejection, sent);
        self.readable = Readable::Everything;
        Shutdown::shutdown(self).await;
    }

    /// The request is over, and what comes next on this connection is another. Bytes behind a refused switch
    /// could be either side of it.
    fn may_go_on(&self) -> bool {
        match self.readable {
            Readable::Bytes(left) => left == 0,
            Readable::AfterSwitch => self.ahead.is_empty(),
            Readable::Everything => true,
        }
    }

    /// From now on this carries HTTP/2.
    pub(super) fn begin_http2(&mut self, digest: Arc<ProxyDigest>) {
        self.readable = Readable::Everything;
        self.h2 = Some(digest);
    }

    /// Gives what the session may read; the rest stays.
    fn poll_read_session(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let allowed = match self.readable {
            Readable::Bytes(0) | Readable::AfterSwitch => {
                // The request is whole, so the session only wants to know whether the client left. What else
                // comes is the next request, or belongs to the tunnel.
                if self.ahead.is_empty() && ready!(self.poll_read_ahead(cx))? == 0 {
                    return Poll::Ready(Ok(()));
                }
                return Poll::Pending;
            }
            Readable::Bytes(left) => usize::try_from(left).unwrap_or(usize::MAX),
            Readable::Everything => usize::MAX,
        };
        let before = buf.filled().len();
        if self.ahead.is_empty() && allowed >= buf.remaining() {
            ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        } else {
            // At the end of a body, where the session has more room than it may fill.
            if self.ahead.is_empty() && ready!(self.poll_read_ahead(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
            let read = allowed.min(buf.remaining()).min(self.ahead.len());
            buf.put_slice(&self.ahead[..read]);
            self.ahead.advance(read);
            if self.ahead.is_empty() {
                // Gives its memory back: an idle connection keeps none.
                self.ahead = BytesMut::new();
            }
        }
        let read = buf.filled().len() - before;
        if let Readable::Bytes(left) = &mut self.readable {
            *left = left.saturating_sub(read as u64);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes out what has gathered.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.out_position < self.out.len() {
            let out = std::mem::take(&mut self.out);
            let written = self.poll_write_progress(cx, &[IoSlice::new(&out[self.out_position..])]);
            self.out = out;
            self.out_position += ready!(written)?;
        }
        self.give_back();
        Poll::Ready(Ok(()))
    }

    /// Returns the gathering buffer to its thread.
    fn give_back(&mut self) {
        self.out_position = 0;
        if self.out.capacity() > 0 {
            let mut buffer = std::mem::take(&mut self.out);
            buffer.clear();
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < SPARE_BUFFERS {
                    spare.push(buffer);
                }
            });
        }
    }

    /// Writes, and gives up when nothing could be written for the entry point's `write_idle`.
    fn poll_write_progress(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.socket).poll_write_vectored(cx, slices) {
            Poll::Ready(Ok(0)) if slices.iter().any(|slice| !slice.is_empty()) => {
                Poll::Ready(Err(io::ErrorKind::WriteZero.into()))
            }
            Poll::Ready(written) => {
                self.write_deadline = None;
                Poll::Ready(written)
            }
            Poll::Pending => self.poll_write_stuck(cx).map(Err),
        }
    }

    /// Nothing can be written now: ready with an error once that has lasted for the entry point's `write_idle`.
    fn poll_write_stuck(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(limit) = self.connection.entry_point.transport.write_idle else {
            return Poll::Pending;
        };
        let deadline = self.write_deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    /// What waits for the socket itself.
    fn poll_written(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        match written {
            Poll::Ready(written) => {
                self.write_deadline = None;
                Poll::Ready(written)
            }
            Poll::Pending => self.poll_write_stuck(cx).map(Err),
        }
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_read_session(cx, buf)
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.readable == Readable::AfterSwitch && bytes.starts_with(b"HTTP/1.1 101 ") {
            this.readable = Readable::Everything;
        }
        let waiting = this.out.len() - this.out_position;
        if waiting + bytes.len() <= GATHER_BYTES {
            if this.out.capacity() == 0 {
                this.out =
                    SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(GATHER_BYTES));
            }
            this.out.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        if waiting == 0 {
            return this.poll_write_progress(cx, &[IoSlice::new(bytes)]);
        }
        // What has gathered (a head) and this (its body) in one system call.
        let out = std::mem::take(&mut this.out);
        let slices = [IoSlice::new(&out[this.out_position..]), IoSlice::new(bytes)];
        let written = this.poll_write_progress(cx, &slices);
        this.out = out;
        let written = ready!(written)?;
        if written < waiting {
            this.out_position += written;
            ready!(this.poll_drain(cx))?;
            return this.poll_write_progress(cx, &[IoSlice::new(bytes)]);
        }
        this.give_back();
        if written > waiting {
            Poll::Ready(Ok(written - waiting))
        } else {
            this.poll_write_progress(cx, &[IoSlice::new(bytes)])
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(cx))?;
        self.poll_write_progress(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        // TLS keeps records that the socket had no room for.
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        self.poll_written(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        let closed = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.poll_written(cx, closed)
    }
}

#[async_trait::async_trait]
impl Shutdown for ClientIo {
    /// Says goodbye, and reads on for a moment where the client is still sending: closing with unread bytes
    /// would reset the connection and take our answer with it.
    async fn shutdown(&mut self) {
        if AsyncWriteExt::shutdown(self).await.is_err() || self.readable == Readable::Bytes(0) {
            return;
        }
        self.readable = Readable::Everything;
        let deadline = Instant::now() + LINGER;
        let mut read = 0;
        let mut rest = [0; 1024];
        while read < LINGER_BYTES {
            match tokio::time::timeout_at(deadline, self.read(&mut rest)).await {
                Ok(Ok(more)) if more > 0 => read += more,
                Ok(_) | Err(_) => return,
            }
        }
    }
}

impl UniqueID for ClientIo {
    fn id(&self) -> i32 {
        self.socket.as_raw_fd()
    }
}

impl Ssl for ClientIo {
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.h2.is_some().then_some(ALPN::H2)
    }
}

impl GetTimingDigest for ClientIo {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for ClientIo {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.h2.clone()
    }
}

impl GetSocketDigest for ClientIo {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl Peek for ClientIo {}
