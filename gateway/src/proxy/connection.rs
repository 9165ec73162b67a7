//! A client connection from its first byte to its last: head bytes before a session exists, deadlines, keep-alive,
//! drain.
//!
//! Between requests a connection holds its socket and nothing else: it waits with a scratch buffer that belongs
//! to the thread. Only when a whole head is there, a session is built around it. A first byte that opens a handshake
//! hands the connection to `tls`, which hands it back with a socket like any other.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::BytesMut;
use pingora::protocols::Shutdown;
use tokio::io::AsyncWriteExt;

use super::client_io::{ClientIo, LINGER, Readable};
use super::context::{Connection, OpenConnection, Shared, Times};
use super::head::{self, Head, Protocol};
use super::pingora::EntryPointApp;
use super::socket::Socket;
use super::tcp::{self, SslRequest};
use super::{access_log, response, tls};
use crate::rejection::Rejection;
use crate::snapshot::stream::TcpRoute;

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
    let io = Box::new(ClientIo::new(socket, connection, ahead));
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
}
