//! How long a server may take to the head of its answer, from the end of the request.
//!
//! Pingora has one limit for every read from a server, and cutting an answer short is worse than waiting for its first
//! byte. So the head has a clock of its own. When it ends, the socket to the server is shut down, and Pingora reads an
//! end. This happens in the task that owns the connection, between two of its steps, and only before a head came: the
//! descriptor cannot have become another's.

use std::cell::Cell;
use std::future::poll_fn;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};
use tokio::time::{Instant, Sleep, sleep_until};

tokio::task_local! {
    /// The clock of the request that a task serves.
    static CLOCK: Clock;
}

#[derive(Debug, Default)]
struct Clock {
    /// When the head is due, and whose socket is shut down then.
    running: Cell<Option<(Instant, RawFd)>>,
    ended: Cell<bool>,
}

/// Serves a request, with a clock. No async function: it would keep everything twice.
pub(super) fn serve<F: Future + Unpin>(mut request: F) -> impl Future<Output = F::Output> {
    let mut timer = None;
    let watched = poll_fn(move |context| {
        let served = Pin::new(&mut request).poll(context);
        if served.is_pending() {
            CLOCK.with(|clock| clock.poll(&mut timer, context));
        }
        served
    });
    CLOCK.scope(Clock::default(), watched)
}

/// The request has ended: an answer is due within `limit`, on the connection with this socket.
pub(super) fn start(limit: Duration, socket: RawFd) {
    // Without a clock (a test of a stage) there is no limit.
    let _ = CLOCK.try_with(|clock| clock.running.set(Some((Instant::now() + limit, socket))));
}

/// A head came, or will not come any more.
pub(super) fn stop() {
    let _ = CLOCK.try_with(|clock| clock.running.set(None));
}

/// No head came in time, and the connection was ended for it.
pub(super) fn has_ended() -> bool {
    CLOCK.try_with(|clock| clock.ended.get()).unwrap_or(false)
}

impl Clock {
    fn poll(&self, timer: &mut Option<Pin<Box<Sleep>>>, context: &mut Context<'_>) {
        let Some((due, socket)) = self.running.get() else { return };
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        if timer.as_mut().poll(context).is_ready() {
            self.running.set(None);
            self.ended.set(true);
            // An error means that it is closed already.
            let _ = shutdown(socket, Shutdown::Both);
        }
    }
}
