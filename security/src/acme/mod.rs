//! Certificates from an ACME server (RFC 8555): orders, renewals, the answers to challenges, storage.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use config::routing::tls::Domain;
use rustls::sign::CertifiedKey;

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
