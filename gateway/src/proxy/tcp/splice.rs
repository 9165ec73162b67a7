//! Bytes between a client and its server, both ways, until both have said their last.
//!
//! What is read lies in a scratch buffer that belongs to the thread. Only what the other side does not take at once
//! is kept, so that an idle connection holds no buffer, and a slow reader at most one scratch buffer's worth.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// What is read at once.
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
}

/// Bytes that went each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Traffic {
    pub(super) from_client: u64,
    pub(super) from_server: u64,
}

/// Copies both ways. `ahead` was read from the client already. Once one side has closed its half, the other has
/// `termination_delay` for the rest; without one, as long as it likes.
pub(super) async fn splice<C, S>(
    mut client: C,
    mut server: S,
    ahead: BytesMut,
    termination_delay: Option<Duration>,
) -> Traffic
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut up = Half::new(ahead);
    let mut down = Half::new(BytesMut::new());
    poll_fn(|cx| {
        loop {
            let ends = (up.ended, down.ended);
            // Who cannot be written to is gone: there is no other half to wait for.
            let gone = up.poll(&mut client, &mut server, cx).is_err()
                || down.poll(&mut server, &mut client, cx).is_err();
            if gone || (up.ended && down.ended) {
                return Poll::Ready(());
            }
            if (up.ended, down.ended) == ends {
                return Poll::Pending;
            }
            let other = if up.ended { &mut down } else { &mut up };
            if let Some(delay) = termination_delay {
                other.deadline = Some(Box::pin(tokio::time::sleep(delay)));
            }
        }
    })
    .await;
    Traffic { from_client: up.bytes, from_server: down.bytes }
}

/// One way.
struct Half {
    /// Read, and not yet taken by the other side.
    waiting: BytesMut,
    /// Nothing more is read.
    closing: bool,
    /// The writer has been told so.
    ended: bool,
    /// The writer may hold bytes of its own (TLS records).
    unflushed: bool,
    /// Nothing more is read from here on.
    deadline: Option<Pin<Box<Sleep>>>,
    bytes: u64,
}

impl Half {
    fn new(waiting: BytesMut) -> Self {
        let bytes = waiting.len() as u64;
        Self { waiting, closing: false, ended: false, unflushed: false, deadline: None, bytes }
    }

    /// Goes on until something has to be waited for. The error is the writer's.
    fn poll<R, W>(&mut self, reader: &mut R, writer: &mut W, cx: &mut Context<'_>) -> io::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        if self.ended {
            return Ok(());
        }
        if self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
            self.closing = true;
            self.waiting = BytesMut::new();
        }
        loop {
            if !self.waiting.is_empty() {
                match Pin::new(&mut *writer).poll_write(cx, &self.waiting) {
                    Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(written) => {
                        self.waiting.advance(written?);
                        self.unflushed = true;
                        if self.waiting.is_empty() {
                            // Gives its memory back.
                            self.waiting = BytesMut::new();
                        }
                        continue;
                    }
                    Poll::Pending => return Ok(()),
                }
            }
            if self.closing {
                if let Poll::Ready(closed) = Pin::new(&mut *writer).poll_shutdown(cx) {
                    self.ended = true;
                    // Who has left already needs no goodbye.
                    drop(closed);
                }
                return Ok(());
            }
            let read = SCRATCH.with_borrow_mut(|scratch| {
                let mut buf = ReadBuf::new(scratch);
                match Pin::new(&mut *reader).poll_read(cx, &mut buf) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(Err(_)) => Poll::Ready(Ok(0)),
                    Poll::Ready(Ok(())) => {
                        let read = buf.filled();
                        if read.is_empty() {
                            return Poll::Ready(Ok(0));
                        }
                        self.bytes += read.len() as u64;
                        match Pin::new(&mut *writer).poll_write(cx, read) {
                            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                            Poll::Ready(Ok(written)) => self.waiting = BytesMut::from(&read[written..]),
                            Poll::Pending => self.waiting = BytesMut::from(read),
                        }
                        self.unflushed = true;
                        Poll::Ready(Ok(read.len()))
                    }
                }
            });
            match read {
                Poll::Ready(read) => {
                    if read? == 0 {
                        self.closing = true;
                    }
                }
                Poll::Pending => {
                    if self.unflushed
                        && let Poll::Ready(flushed) = Pin::new(&mut *writer).poll_flush(cx)
                    {
                        flushed?;
                        self.unflushed = false;
                    }
                    return Ok(());
                }
            }
        }
    }
}
