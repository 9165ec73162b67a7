//! Constant load: keep-alive connections that ask again and again, and tell what failed. Bounded in count and time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use crate::client::{Address, Connection, get};

/// What one worker may ask at the most; a test that needs more is a benchmark.
const MOST_REQUESTS: u64 = 100_000;

/// How many failures are told.
const FAILURES_TOLD: usize = 20;

/// What a load asks.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// Where.
    pub address: Address,
    /// Host and target of each request, in turn.
    pub pages: Vec<(String, String)>,
    /// Connections at once.
    pub connections: usize,
    /// Between two requests of one connection.
    pub pause: Duration,
    /// It ends by itself after this long.
    pub limit: Duration,
}

/// A load that runs.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    workers: JoinSet<Vec<String>>,
}

/// How a load went.
#[derive(Debug)]
pub struct LoadReport {
    /// Requests answered with 200.
    pub answered: u64,
    /// What every other request met.
    pub failures: Vec<String>,
}

impl Load {
    /// Starts it.
    pub fn start(plan: LoadPlan) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let mut workers = JoinSet::new();
        for worker in 0..plan.connections {
            workers.spawn(work(worker, plan.clone(), Arc::clone(&stop), Arc::clone(&answered)));
        }
        Self { stop, answered, workers }
    }

    /// Requests answered with 200 so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ends it and tells how it went.
    pub async fn stop(self) -> LoadReport {
        self.stop.store(true, Ordering::Relaxed);
        self.finish().await
    }

    /// Lets it run to its limit and tells how it went.
    pub async fn finish(mut self) -> LoadReport {
        let mut failures = Vec::new();
        while let Some(worker) = self.workers.join_next().await {
            failures.extend(worker.expect("a worker does not panic"));
        }
        LoadReport { answered: self.answered(), failures }
    }
}

impl LoadReport {
    /// Panics unless there were at least so many answers and no failure.
    pub fn assert_flawless(&self, at_least: u64) {
        let told: Vec<_> = self.failures.iter().take(FAILURES_TOLD).collect();
        assert!(
            self.failures.is_empty(),
            "{} of {} requests failed, among them: {told:#?}",
            self.failures.len(),
            self.answered + self.failures.len() as u64
        );
        assert!(self.answered >= at_least, "only {} requests were made", self.answered);
    }
}

async fn work(worker: usize, plan: LoadPlan, stop: Arc<AtomicBool>, answered: Arc<AtomicU64>) -> Vec<String> {
    let mut failures = Vec::new();
    let mut connection: Option<Connection<Full<Bytes>>> = None;
    let mut ticks = interval(plan.pause.max(Duration::from_millis(1)));
    let end = Instant::now() + plan.limit;
    // Workers do not ask for the same page at the same time.
    let pages = plan.pages.iter().cycle().skip(worker);
    for ((host, target), _count) in pages.zip(0..MOST_REQUESTS) {
        if stop.load(Ordering::Relaxed) || Instant::now() >= end {
            break;
        }
        ticks.tick().await;
        match ask(&plan.address, &mut connection, host, target).await {
            Ok(200) => {
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Ok(status) => failures.push(format!("{host}{target}: status {status}")),
            Err(error) => failures.push(format!("{host}{target}: {error}")),
        }
    }
    failures
}

/// Asks over the kept connection, or over a new one where the kept one has ended between two requests: that is how a
/// keep-alive connection may end at any time, and no failure.
async fn ask(
    address: &Address,
    kept: &mut Option<Connection<Full<Bytes>>>,
    host: &str,
    target: &str,
) -> Result<u16, String> {
    let mut request = get(host, target);
    if let Some(mut connection) = kept.take() {
        match connection.try_ask(request).await {
            Ok(answer) => {
                let status = answer?.status;
                *kept = Some(connection);
                return Ok(status);
            }
            Err(unsent) => request = unsent,
        }
    }
    let mut connection = Connection::open(address).await?;
    let status = connection.ask(request).await?.status;
    *kept = Some(connection);
    Ok(status)
}
