//! Waiting for a condition.

use std::time::Duration;

use tokio::time::{Instant, interval, timeout_at};

/// How often a condition is looked at.
const EVERY: Duration = Duration::from_millis(10);

/// Asks `condition` again and again until it gives a value, and panics with what it said last once `limit` has passed.
pub async fn eventually<T, Attempt>(what: &str, limit: Duration, mut condition: impl FnMut() -> Attempt) -> T
where
    Attempt: Future<Output = Result<T, String>>,
{
    let deadline = Instant::now() + limit;
    let mut ticks = interval(EVERY);
    let mut last = String::from("nothing yet");
    loop {
        ticks.tick().await;
        match timeout_at(deadline, condition()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(seen)) => last = seen,
            Err(_elapsed) => {}
        }
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}; last seen: {last}");
    }
}

/// `Ok` when the condition holds, else what was seen instead: the answer that [`eventually`] asks for.
pub fn holds(condition: bool, seen: impl std::fmt::Debug) -> Result<(), String> {
    if condition { Ok(()) } else { Err(format!("{seen:?}")) }
}

/// A port of 127.0.0.1 that was free a moment ago, for TCP and UDP, for programs that cannot choose one themselves. They
/// are started again where somebody else was faster.
pub fn free_port() -> u16 {
    loop {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = tcp.local_addr().expect("a bound socket has an address").port();
        if std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
