//! CONTROL PLANE, on its own threads: what providers say becomes the published snapshot ([`reconciler`]), and the
//! admin API shows it. It knows the snapshot and never the hot path.

pub mod admin;
pub mod certificates;
pub(crate) mod health;
pub mod material;
pub mod reconciler;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use self::certificates::CertificateHandle;
use crate::lifecycle::{LifecycleReader, Phase};
use crate::snapshot::SnapshotReader;

/// A provider that has not answered after this long no longer keeps the gateway from being ready.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tells the time of day: certificates are valid by the calendar. Handed down, so that a test can make it up.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// A clock that says what this function says.
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time of day.
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Whether the gateway is ready, and why not.
#[derive(Debug, Clone)]
pub struct Readiness {
    snapshot: SnapshotReader,
    lifecycle: LifecycleReader,
    started: Instant,
    certificates: Option<CertificateHandle>,
}

/// What `/ready` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadinessReport {
    /// 200, or 503.
    pub ready: bool,
    /// Every part, with its reason.
    pub parts: Vec<PartReadiness>,
}

/// One part of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartReadiness {
    /// `gateway`, or `provider docker`.
    pub name: String,
    /// Its state.
    pub state: PartState,
    /// Why it is not ready or is degraded.
    pub reason: Option<String>,
}

/// State of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartState {
    /// Works.
    Ready,
    /// Does not answer; the gateway serves what it knows.
    Degraded,
    /// Keeps the gateway from being ready.
    NotReady,
}

impl PartState {
    /// As shown: `ready`, `degraded`, `not ready`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::NotReady => "not ready",
        }
    }
}

impl Readiness {
    /// For a gateway whose entry points listen since `started`.
    pub fn new(snapshot: SnapshotReader, lifecycle: LifecycleReader, started: Instant) -> Self {
        Self { snapshot, lifecycle, started, certificates: None }
    }

    /// Certificate resolvers are parts too: without one that works, the gateway serves what it has.
    #[must_use]
    pub fn with_certificates(mut self, certificates: CertificateHandle) -> Self {
        self.certificates = Some(certificates);
        self
    }

    /// Where the gateway is in its life.
    pub fn phase(&self) -> Phase {
        self.lifecycle.phase()
    }

    /// Waits until the gateway is ready. One that drains never will be, and this returns `false`.
    pub async fn ready(&self) -> bool {
        let patience = self.started + PATIENCE;
        let answered =
            self.snapshot.wait_for(|snapshot| snapshot.providers.iter().all(|provider| provider.answered));
        let _ = tokio::time::timeout_at(patience, answered).await;
        self.report().ready
    }

    /// The state of every part now.
    pub fn report(&self) -> ReadinessReport {
        let phase = self.lifecycle.phase();
        let gateway = PartReadiness {
            name: "gateway".to_owned(),
            state: if phase == Phase::Serving { PartState::Ready } else { PartState::NotReady },
            reason: (phase != Phase::Serving).then(|| "draining".to_owned()),
        };
        let patient = self.started.elapsed() < PATIENCE;
        let snapshot = self.snapshot.load();
        let providers = snapshot.providers.iter().map(|provider| {
            let (state, reason) = match (&provider.stale, provider.answered) {
                (None, true) => (PartState::Ready, None),
                (Some(reason), true) => (PartState::Degraded, Some(reason.clone())),
                (reason, false) => (
                    if patient { PartState::NotReady } else { PartState::Degraded },
                    Some(reason.clone().unwrap_or_else(|| "has not answered yet".to_owned())),
                ),
            };
            PartReadiness { name: format!("provider {}", provider.name), state, reason }
        });
        let health = self.certificates.as_ref().map(CertificateHandle::health).unwrap_or_default();
        let resolvers = health.iter().map(|resolver| PartReadiness {
            name: format!("certificate resolver {}", resolver.name),
            state: if resolver.trouble.is_some() { PartState::Degraded } else { PartState::Ready },
            reason: resolver.trouble.as_deref().map(str::to_owned),
        });
        let parts: Vec<_> = std::iter::once(gateway).chain(providers).chain(resolvers).collect();
        ReadinessReport { ready: parts.iter().all(|part| part.state != PartState::NotReady), parts }
    }
}
