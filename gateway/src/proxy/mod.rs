//! HOT PATH: the order of the stages, on types of our own.

pub mod entry_point;

use std::sync::Arc;

use config::install::EntryPoint;

use self::entry_point::Listener;
use crate::internal::InternalServices;
use crate::snapshot::{EntryPointId, SnapshotReader};
use crate::telemetry::Recorder;

/// What the hot path is built from.
#[derive(Debug)]
pub struct ProxyConfig {
    /// In the order of `Install::entry_points`: an [`EntryPointId`] is a position in it.
    pub entry_points: Vec<EntryPoint>,
    /// Where each request finds its routes.
    pub snapshot: SnapshotReader,
    /// Where each request leaves its record.
    pub telemetry: Arc<dyn Recorder>,
    /// Who answers for `…@internal`.
    pub internal: Arc<dyn InternalServices>,
    /// Name of this machine, for `X-Forwarded-Server`.
    pub server_name: String,
    /// Worker threads of the runtime: sizes the pool of connections to servers.
    pub worker_threads: usize,
}

/// The hot path: accepts, routes, forwards.
#[derive(Debug)]
pub struct Proxy {
    config: ProxyConfig,
}

impl Proxy {
    /// Builds it; nothing is served yet.
    pub fn new(config: ProxyConfig) -> Arc<Self> {
        Arc::new(Self { config })
    }

    /// Starts accepting on these listeners, in tasks of the current runtime.
    pub fn serve(self: &Arc<Self>, listeners: Vec<Listener>) {
        drop(listeners);
    }

    /// Ends in good order: each entry point goes on accepting for its `accept_grace`, then closes idle
    /// connections, lets open requests end within its `grace`, and cuts the rest. Returns how many were cut.
    pub async fn drain(&self) -> usize {
        0
    }

    /// Closes every listener and connection at once.
    pub fn stop(&self) {}

    /// Client connections that are open now.
    pub fn open_connections(&self) -> usize {
        0
    }

    /// Client connections of one entry point that are open now.
    pub fn open_connections_of(&self, entry_point: EntryPointId) -> usize {
        let _ = self.config.entry_points.get(entry_point.0);
        0
    }
}
