//! The IO type that sessions read and write through: what a request may read of its connection, small writes gathered,
//! and the deadline of a write that makes no progress.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
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
use tokio::time::{Instant, Sleep};

use super::context::{Connection, Times};
use super::head::{Framing, Head};
use super::socket::{Socket, poll_read_behind};

/// Small writes gather up to this size before they go out.
const GATHER_BYTES: usize = 16 * 1024;
/// Gathering buffers that a thread keeps for later.
const SPARE_BUFFERS: usize = 64;
/// After a refusal: how long, and how many bytes, the rest of a request is read and thrown away, so that the
/// client reads the answer and not a reset.
pub(super) const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// What the session of a request may still read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readable {
    /// So many bytes of body; what comes after them is the next request and stays here.
    Bytes(u64),
    /// Nothing, until the server has agreed to switch protocols; then whatever comes.
    AfterSwitch,
    /// Whatever comes: chunks, a tunnel, HTTP/2 frames.
    Everything,
}

/// A client connection as sessions see it. Holds no buffer while idle.
pub(super) struct ClientIo {
    pub(super) socket: Socket,
    pub(super) connection: Arc<Connection>,
    /// Read already, not yet given to a session.
    pub(super) ahead: BytesMut,
    pub(super) readable: Readable,
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

impl ClientIo {
    /// `ahead` was read from the socket already.
    pub(super) fn new(socket: Socket, connection: Arc<Connection>, ahead: BytesMut) -> Self {
        Self {
            socket,
            connection,
            ahead,
            readable: Readable::Bytes(0),
            out: Vec::new(),
            out_position: 0,
            write_deadline: None,
            times: Times::now(),
            h2: None,
        }
    }

    pub(super) fn poll_read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        poll_read_behind(&mut self.socket, &mut self.ahead, cx)
    }

    /// Takes a whole head for its session, and sets what that session may read behind it.
    pub(super) fn take_head(&mut self, head: Head) -> BytesMut {
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

    /// The request is over, and what comes next on this connection is another. Bytes behind a refused switch
    /// could be either side of it.
    pub(super) fn may_go_on(&self) -> bool {
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
