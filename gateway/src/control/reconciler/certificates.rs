//! Which certificates are served: those of routing files, those of certificate resolvers, and the default one; and what
//! there is to say about them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config::routing::tls::DefaultCertificate;
use config::{Origin, Problem};
use security::acme::{Challenges, OrderState};
use security::certificate::{Certificate, CertificateSource};
use security::certificate_store::CertificateStore;
use time::OffsetDateTime;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::{Base, Reconciler, Sources, panic_text};
use crate::control::material::Material;
use crate::snapshot::Snapshot;

/// At least this often the time of day is compared with what certificates say.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

/// The default certificate is made anew when no more than this is left of it.
const GENERATED_LEFT: Duration = Duration::from_secs(30 * 86_400);

/// A certificate with less than these days left is a problem.
const WARN_DAYS: [u64; 4] = [1, 3, 7, 21];

/// The certificates of all certificate resolvers, and what goes with them. A whole state, never a difference.
#[derive(Debug, Default)]
pub struct CertificateUpdate {
    /// All of all resolvers.
    pub certificates: Vec<Arc<Certificate>>,
    /// What is answered to an ACME server that wants to see proof.
    pub challenges: Arc<Challenges>,
    /// How it stands with each certificate.
    pub orders: Arc<[OrderState]>,
    /// All current problems of certificate resolvers.
    pub problems: Vec<Problem>,
    /// Told once it is published.
    pub published: Option<oneshot::Sender<()>>,
}

/// What certificate resolvers last said, and is published.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    certificates: Vec<Arc<Certificate>>,
    problems: Vec<Problem>,
}

impl Sources {
    /// `snapshot`, with the certificates that are known now and all that there is to say about them. What did not
    /// change is the same value as before.
    pub(super) fn with_certificates(&self, base: &Base, snapshot: Snapshot) -> Snapshot {
        let now = self.clock.now();
        let certificates = self.store(&snapshot.routing.tls.default_certificate, &snapshot.certificates, now);
        let mut problems = base.problems.to_vec();
        problems.extend(self.resolved.problems.iter().cloned());
        problems.extend(self.material.problems());
        problems.extend(self.expiry(&certificates, now));
        problems.sort();
        problems.dedup();
        let problems =
            if *snapshot.problems == *problems { Arc::clone(&snapshot.problems) } else { problems.into() };
        let input_refused = base.input_refused || self.material.is_refused();
        Snapshot { certificates, problems, input_refused, ..snapshot }
    }

    /// The store of what is known now; the one before, if it is right still.
    fn store(
        &self,
        default: &DefaultCertificate,
        before: &Arc<CertificateStore>,
        now: SystemTime,
    ) -> Arc<CertificateStore> {
        let certificates: Vec<_> =
            self.material.certificates().chain(&self.resolved.certificates).cloned().collect();
        let default = self.default_certificate(default);
        if before.holds_until().is_none_or(|moment| now < moment)
            && is_made_of(before, &certificates, &default)
        {
            return Arc::clone(before);
        }
        Arc::new(CertificateStore::new(certificates, default, now))
    }

    fn default_certificate(&self, wanted: &DefaultCertificate) -> Arc<Certificate> {
        let found = match wanted {
            DefaultCertificate::Generated => None,
            DefaultCertificate::Pair(_) => self.material.default_certificate(),
            DefaultCertificate::Resolver { resolver, domain, .. } => {
                let is_right = |certificate: &&Arc<Certificate>| {
                    matches!(&certificate.source, CertificateSource::Resolver(name) if name == resolver)
                        && domain.names().all(|name| certificate.covers(name))
                };
                self.resolved
                    .certificates
                    .iter()
                    .filter(is_right)
                    .max_by_key(|certificate| certificate.not_after)
            }
        };
        Arc::clone(found.unwrap_or(&self.generated))
    }

    /// What there is to say about certificates that come to their end. One that is not served any more concerns
    /// nobody.
    fn expiry(&self, store: &CertificateStore, now: SystemTime) -> Vec<Problem> {
        let resolved = self.resolved.certificates.iter().map(|certificate| (&Origin::Gateway, certificate));
        let ending = self.material.written().chain(resolved).filter_map(|(origin, certificate)| {
            let end = ending(certificate, now)?;
            store.serves(certificate).then(|| end.problem(origin, certificate))
        });
        ending.collect()
    }

    /// When certificates have to be looked at again, although nothing changes but the time.
    pub(super) fn look_again_after(&self, store: &CertificateStore) -> Duration {
        let next = store.holds_until().and_then(|moment| moment.duration_since(self.clock.now()).ok());
        // A moment later, so that the clock is past it.
        next.map_or(LOOK_AGAIN, |next| (next + Duration::from_secs(1)).min(LOOK_AGAIN))
    }
}

/// How far the end of a certificate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It is over.
    Expired,
    /// Less than this many days are left.
    Days(u64),
}

/// Whether the end of a certificate is near. Those that live for weeks only are renewed when little is left: they are
/// late when a quarter of their life is.
pub(super) fn ending(certificate: &Certificate, now: SystemTime) -> Option<End> {
    let Ok(left) = certificate.not_after.duration_since(now) else { return Some(End::Expired) };
    if left.is_zero() {
        return Some(End::Expired);
    }
    let life = certificate.not_after.duration_since(certificate.not_before).unwrap_or_default();
    if left > life / 4 {
        return None;
    }
    let days = WARN_DAYS.into_iter().find(|days| left <= Duration::from_secs(days * 86_400))?;
    Some(End::Days(days))
}

impl End {
    fn problem(self, origin: &Origin, certificate: &Certificate) -> Problem {
        let name = certificate.names.first().unwrap_or(&certificate.common_name);
        let subject = format!("certificate for `{name}`");
        let end = date(certificate.not_after);
        let problem = match self {
            Self::Expired => {
                let message = format!("has expired on {end}: clients refuse it; it is served all the same");
                Problem::error(origin.clone(), subject, message)
            }
            Self::Days(1) => Problem::warning(
                origin.clone(),
                subject,
                format!("expires on {end}: less than a day is left"),
            ),
            Self::Days(days) => {
                let message = format!("expires on {end}: less than {days} days are left");
                Problem::warning(origin.clone(), subject, message)
            }
        };
        match &certificate.source {
            CertificateSource::Resolver(resolver) => problem
                .with_hint(format!("resolver `{resolver}` could not renew it: `certificates list` says why")),
            CertificateSource::File(_) => problem.with_hint("put the renewed pair in its place"),
            CertificateSource::Text | CertificateSource::Generated => {
                problem.with_hint("write a renewed pair")
            }
        }
    }
}

/// `2026-11-21`.
fn date(moment: SystemTime) -> String {
    let date = OffsetDateTime::from(moment).date();
    format!("{}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

impl Reconciler {
    /// Publishes what certificate resolvers say now, at once. Routes are not looked at, and do not change.
    pub(super) async fn publish_certificates(&mut self, update: CertificateUpdate) {
        let CertificateUpdate { certificates, challenges, orders, problems, published } = update;
        self.sources.resolved = Arc::new(Resolved { certificates, problems });
        let next = Snapshot { challenges, orders, ..self.next() };
        if let Some(next) = self.certificates_of(next).await {
            self.publish_next(next);
            if let Some(published) = published {
                // Who asked may have gone away.
                let _ = published.send(());
            }
        }
    }

    /// Publishes what lies in these files now. As long as they are pairs, routes are not looked at.
    pub(super) async fn publish_files(&mut self, stale: BTreeSet<Arc<Path>>) {
        self.sources.stale.extend(stale);
        if self.feeds.iter().all(|feed| feed.due.is_none()) {
            let (material, stale) = (Arc::clone(&self.sources.material), self.sources.stale.clone());
            let routing = Arc::clone(&self.writer.current().routing);
            let read = spawn_blocking(move || material.read_pairs(&routing, &stale)).await;
            if let Ok(Some(material)) = read {
                self.take_material(Arc::new(material));
                let next = self.next();
                if let Some(next) = self.certificates_of(next).await {
                    self.publish_next(next);
                }
                return;
            }
        }
        self.publish().await;
    }

    /// Looks at the certificates by the time that it is now, and publishes what is different for it.
    pub(super) async fn look_at_certificates(&mut self) {
        let now = self.sources.clock.now();
        if now + GENERATED_LEFT > self.sources.generated.not_after
            && let Ok(generated) = Certificate::generate(now)
        {
            self.sources.generated = Arc::new(generated);
        }
        let next = self.next();
        match self.certificates_of(next).await {
            Some(next) => {
                let current = self.writer.current();
                let same = Arc::ptr_eq(&next.certificates, &current.certificates)
                    && Arc::ptr_eq(&next.problems, &current.problems);
                self.look_again_after(&next);
                if !same {
                    self.publish_next(next);
                }
            }
            None => self.look_again = Instant::now() + LOOK_AGAIN,
        }
    }

    /// What is published now, as the one that follows.
    fn next(&self) -> Snapshot {
        let current = self.writer.current();
        Snapshot { version: current.version + 1, ..Snapshot::clone(&current) }
    }

    async fn certificates_of(&mut self, next: Snapshot) -> Option<Snapshot> {
        let (sources, base) = (self.sources.clone(), self.base.clone());
        match spawn_blocking(move || sources.with_certificates(&base, next)).await {
            Ok(next) => Some(next),
            Err(error) => {
                tracing::error!("certificates cannot be published: internal error: {}", panic_text(error));
                None
            }
        }
    }

    fn publish_next(&mut self, next: Snapshot) {
        self.look_again_after(&next);
        self.writer.publish(Arc::new(next));
        self.log_problems();
    }

    /// What was read is known from here on, and watched.
    pub(super) fn take_material(&mut self, material: Arc<Material>) {
        self.sources.stale.clear();
        self.stamps.send_replace(Arc::clone(material.stamps()));
        self.sources.material = material;
    }

    pub(super) fn look_again_after(&mut self, next: &Snapshot) {
        self.look_again = Instant::now() + self.sources.look_again_after(&next.certificates);
    }
}

fn is_made_of(
    store: &CertificateStore,
    certificates: &[Arc<Certificate>],
    default: &Arc<Certificate>,
) -> bool {
    let mut all = store.all();
    store.default_certificate().is_some_and(|before| Arc::ptr_eq(before, default))
        && certificates
            .iter()
            .all(|certificate| all.next().is_some_and(|before| Arc::ptr_eq(before, certificate)))
        && all.next().is_none()
}

#[cfg(test)]
#[path = "certificates_tests.rs"]
mod tests;
