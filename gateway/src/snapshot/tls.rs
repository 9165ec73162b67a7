//! TLS policies, compiled: which one a server name asks for.

use std::collections::HashMap;
use std::sync::Arc;

use config::name::TlsOptionsName;
use config::routing::tls::TlsOptions;
use foldhash::fast::RandomState;

use super::service::Slot;

/// A set of TLS options, compiled. An unchanged one is the same value in the next snapshot, and so what the hot path
/// prepared for it (its tickets among it) goes on.
#[derive(Debug)]
pub struct TlsPolicy {
    /// Its qualified name; `default`.
    pub name: TlsOptionsName,
    /// The options with the CA certificates (DER) of clients. The error says why handshakes are refused.
    pub settings: Result<PolicySettings, Arc<str>>,
    /// Kept by the hot path for as long as the policy lives, over all snapshots.
    pub slot: Arc<Slot>,
}

/// What a policy asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySettings {
    /// As validated.
    pub options: Arc<TlsOptions>,
    /// Who may have signed a client's certificate, DER; empty where that is not looked at.
    pub client_roots: Vec<Arc<[u8]>>,
}

impl TlsPolicy {
    /// Whether a connection made under `self` may carry requests for a route that asks for `other`: the same options,
    /// by value.
    pub fn allows(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || matches!((&self.settings, &other.settings), (Ok(one), Ok(other)) if one == other)
    }
}

/// Server names of the HTTPS routers of an entry point, and the policy of each.
#[derive(Debug)]
pub struct ServerNames {
    hosts: HashMap<Box<str>, Arc<TlsPolicy>, RandomState>,
    default: Arc<TlsPolicy>,
}

impl ServerNames {
    /// These hosts (lower case, no trailing dot); `default` for all others.
    pub fn new(hosts: impl IntoIterator<Item = (Box<str>, Arc<TlsPolicy>)>, default: Arc<TlsPolicy>) -> Self {
        Self { hosts: hosts.into_iter().collect(), default }
    }

    /// The policy of a name that a router's rule has as a literal.
    pub fn find(&self, name: &str) -> Option<&Arc<TlsPolicy>> {
        self.hosts.get(name)
    }

    /// The policy of every other name, and of none.
    pub fn default_policy(&self) -> &Arc<TlsPolicy> {
        &self.default
    }
}
