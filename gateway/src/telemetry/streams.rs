//! Connections of TCP routers and flows of UDP routers, counted by entry point, router and what came of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use config::name::RouterName;
use parking_lot::Mutex;

use crate::snapshot::{EntryPointId, Snapshot};

/// What a router forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamProtocol {
    /// Connections.
    Tcp,
    /// Flows.
    Udp,
}

/// What came of a connection or flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamResult {
    /// A server has it.
    Served,
    /// The client is on no allow-list.
    Denied,
    /// The client, or all clients together, have too many.
    Limited,
    /// The router has no server.
    Unavailable,
    /// No server could be reached.
    Unreachable,
}

impl StreamResult {
    /// All of them.
    pub(super) const ALL: [Self; 5] =
        [Self::Served, Self::Denied, Self::Limited, Self::Unavailable, Self::Unreachable];

    /// The value of the label.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Denied => "denied",
            Self::Limited => "limited",
            Self::Unavailable => "unavailable",
            Self::Unreachable => "unreachable",
        }
    }
}

/// What came of one connection or flow.
#[derive(Debug, Clone, Copy)]
pub struct StreamRecord<'a> {
    /// Where it came in.
    pub entry_point: EntryPointId,
    /// What it is.
    pub protocol: StreamProtocol,
    /// Whose it is.
    pub router: &'a RouterName,
    /// What came of it.
    pub result: StreamResult,
}

/// One label set.
pub(super) type StreamKey = (StreamProtocol, usize, RouterName);

/// Its values, read at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StreamValues {
    pub(super) open: i64,
    /// In the order of [`StreamResult::ALL`].
    pub(super) results: [u64; StreamResult::ALL.len()],
}

/// All that was counted. A connection is rare beside its bytes, and so a lock costs nothing here.
#[derive(Debug, Default)]
pub(super) struct Streams(Mutex<BTreeMap<StreamKey, Arc<Series>>>);

#[derive(Debug, Default)]
struct Series {
    open: AtomicI64,
    results: [AtomicU64; StreamResult::ALL.len()],
}

impl Streams {
    pub(super) fn record(&self, record: &StreamRecord<'_>) {
        let series = self.series(record.entry_point, record.protocol, record.router);
        for (result, count) in StreamResult::ALL.iter().zip(&series.results) {
            if *result == record.result {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn opened(&self, entry_point: EntryPointId, protocol: StreamProtocol, router: &RouterName) {
        self.series(entry_point, protocol, router).open.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn closed(&self, entry_point: EntryPointId, protocol: StreamProtocol, router: &RouterName) {
        self.series(entry_point, protocol, router).open.fetch_sub(1, Ordering::Relaxed);
    }

    fn series(
        &self,
        entry_point: EntryPointId,
        protocol: StreamProtocol,
        router: &RouterName,
    ) -> Arc<Series> {
        Arc::clone(self.0.lock().entry((protocol, entry_point.0, router.clone())).or_default())
    }

    /// Lets go of the series of routers that are gone and have nothing open.
    pub(super) fn published(&self, snapshot: &Snapshot) {
        self.0.lock().retain(|(protocol, _, router), series| {
            let known = match protocol {
                StreamProtocol::Tcp => snapshot.routing.tcp.routers.contains_key(router),
                StreamProtocol::Udp => snapshot.routing.udp.routers.contains_key(router),
            };
            known || series.open.load(Ordering::Relaxed) != 0
        });
    }

    pub(super) fn read(&self) -> Vec<(StreamKey, StreamValues)> {
        let all = self.0.lock();
        all.iter()
            .map(|(key, series)| {
                let values = StreamValues {
                    open: series.open.load(Ordering::Relaxed),
                    results: series.results.each_ref().map(|count| count.load(Ordering::Relaxed)),
                };
                (key.clone(), values)
            })
            .collect()
    }
}
