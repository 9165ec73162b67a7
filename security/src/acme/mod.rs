//! Certificates from an ACME server (RFC 8555): orders, renewals, the answers to challenges, storage.

mod account_key;
mod atomic;
pub mod challenge;
mod client;
mod leaf_key;
mod ledger;
mod order;
mod renewal;
mod resolver;
mod session;
mod state;
mod storage;

pub use ledger::Ledger;
pub use resolver::{
    Covered, News, Output, RenewNow, Resolver, ResolverParts, ResolverState, SameCertificate, dns_problem,
};
pub use state::StateFile;
pub use storage::{Storage, StorageError};

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use config::routing::tls::Domain;
use rustls::sign::CertifiedKey;

/// The wall clock. Given, so that tests can turn it.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// This one.
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time.
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// What is answered to a server that wants to see proof. Immutable; the next one replaces it.
#[derive(Debug, Default, Clone)]
pub struct Challenges {
    /// HTTP-01: key authorisation by token.
    pub http: HashMap<Arc<str>, Arc<str>>,
    /// TLS-ALPN-01: certificate by name, lower case.
    pub tls: HashMap<Arc<str>, Arc<CertifiedKey>>,
}

/// How it stands with one certificate of a resolver, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderState {
    /// The resolver.
    pub resolver: Arc<str>,
    /// Its names.
    pub domain: Domain,
    /// What is going on.
    pub phase: Phase,
    /// Why the last attempt failed.
    pub failure: Option<Failure>,
    /// When it is tried next, or renewed.
    pub next: Option<SystemTime>,
}

/// What is going on with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// There, and not yet to be renewed.
    Valid,
    /// Waits for its turn.
    Waiting,
    /// Is being ordered.
    Ordering,
    /// The last attempt failed; the next is known.
    BackingOff,
    /// Its resolver stands still, and a problem says why.
    Halted,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In words.
    pub reason: Arc<str>,
    /// When.
    pub at: SystemTime,
    /// Attempts in a row that failed.
    pub attempts: u32,
}

/// An error with its causes, in one line.
fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    client::printable(&words)
}
