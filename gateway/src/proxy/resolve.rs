//! The address behind a server's name. Names are resolved off the hot path.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

/// How long an address behind a name is used before it is looked up again.
const RESOLVED_FOR: Duration = Duration::from_secs(30);
/// How long a name that could not be looked up is not looked up again.
const FAILED_FOR: Duration = Duration::from_secs(1);
/// Longest wait for a look-up.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a server of a TCP or UDP service is.
#[derive(Debug)]
pub(super) enum ServerAddress {
    Literal(SocketAddr),
    Named(Arc<Named>),
}

/// A server known by name.
#[derive(Debug)]
pub(super) struct Named {
    host: Arc<str>,
    port: u16,
    resolved: ArcSwapOption<Resolved>,
    /// Which of the addresses is in use; moves on when one cannot be reached.
    position: AtomicUsize,
    refreshing: AtomicBool,
    /// When it was last looked up in vain.
    failed: ArcSwapOption<Instant>,
}

#[derive(Debug)]
struct Resolved {
    addresses: Vec<SocketAddr>,
    since: Instant,
}

impl ServerAddress {
    pub(super) fn new(host: &Arc<str>, port: u16) -> Self {
        match host.parse::<IpAddr>() {
            Ok(address) => Self::Literal(SocketAddr::new(address, port)),
            Err(_) => Self::Named(Named::new(host, port)),
        }
    }

    /// The address in use; none where a name has none. Waits only where a name was never resolved before.
    pub(super) async fn get(&self, resolver: &Resolver) -> Option<SocketAddr> {
        match self {
            Self::Literal(address) => Some(*address),
            Self::Named(named) => named.get(resolver, Instant::now()).await,
        }
    }

    /// The address in use could not be reached: the next attempt takes another, where the name has one.
    pub(super) fn unreachable(&self) {
        match self {
            Self::Literal(_) => {}
            Self::Named(named) => named.unreachable(),
        }
    }
}

impl Named {
    pub(super) fn new(host: &Arc<str>, port: u16) -> Arc<Self> {
        Arc::new(Self {
            host: Arc::clone(host),
            port,
            resolved: ArcSwapOption::empty(),
            position: AtomicUsize::new(0),
            refreshing: AtomicBool::new(false),
            failed: ArcSwapOption::empty(),
        })
    }

    /// The address in use; none where the name has none. Waits only where it was never resolved before.
    pub(super) async fn get(self: &Arc<Self>, resolver: &Resolver, now: Instant) -> Option<SocketAddr> {
        let failed_just_now = || {
            self.failed
                .load()
                .as_ref()
                .is_some_and(|failed| now.saturating_duration_since(**failed) < FAILED_FOR)
        };
        let resolved = match self.resolved.load_full() {
            Some(resolved) => {
                if now.saturating_duration_since(resolved.since) > RESOLVED_FOR {
                    self.refresh(resolver);
                }
                resolved
            }
            None if failed_just_now() => return None,
            None => self.resolve(resolver).await?,
        };
        let position = self.position.load(Ordering::Relaxed) % resolved.addresses.len();
        Some(resolved.addresses[position])
    }

    /// The address in use could not be reached: the next attempt takes another, where there is one.
    pub(super) fn unreachable(&self) {
        self.position.fetch_add(1, Ordering::Relaxed);
    }

    /// Looks the name up behind everybody's back; the old addresses serve until then.
    fn refresh(self: &Arc<Self>, resolver: &Resolver) {
        if !self.refreshing.swap(true, Ordering::AcqRel) {
            let (named, resolver) = (Arc::clone(self), resolver.clone());
            tokio::spawn(async move {
                named.resolve(&resolver).await;
                named.refreshing.store(false, Ordering::Release);
            });
        }
    }

    async fn resolve(&self, resolver: &Resolver) -> Option<Arc<Resolved>> {
        let addresses = resolver.look_up(&self.host, self.port).await;
        if addresses.is_empty() {
            // Names that vanish for a moment keep their last addresses.
            self.failed.store(Some(Arc::new(Instant::now())));
            return None;
        }
        let resolved = Arc::new(Resolved { addresses, since: Instant::now() });
        self.resolved.store(Some(Arc::clone(&resolved)));
        Some(resolved)
    }
}

/// Looks names up with the system's resolver, in threads made for blocking.
#[derive(Debug, Clone, Default)]
pub(super) struct Resolver;

impl Resolver {
    /// All addresses, IPv4 first; none on any failure.
    pub(super) async fn look_up(&self, host: &str, port: u16) -> Vec<SocketAddr> {
        let found = tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((host, port))).await;
        let mut addresses: Vec<SocketAddr> = match found {
            Ok(Ok(addresses)) => addresses.collect(),
            Ok(Err(error)) => {
                tracing::debug!(host, %error, "cannot resolve");
                Vec::new()
            }
            Err(_) => Vec::new(),
        };
        addresses.sort_by_key(SocketAddr::is_ipv6);
        addresses
    }
}
