//! Which certificates are served: those of routing files, those of certificate resolvers, and the default one; and what
//! there is to say about them.

use std::sync::Arc;

use config::Problem;
use config::routing::Routing;
use config::routing::tls::DefaultCertificate;
use security::acme::{Challenges, OrderState};
use security::certificate::{Certificate, CertificateSource};
use security::certificate_store::CertificateStore;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::{Reconciler, Sources, panic_text};
use crate::snapshot::Snapshot;

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
    /// The store of what is known now; the one before, if it is right still.
    pub(super) fn store(&self, routing: &Routing, before: &Arc<CertificateStore>) -> Arc<CertificateStore> {
        let now = self.clock.now();
        let certificates: Vec<_> = self.resolved.certificates.clone();
        let default = self.default_certificate(&routing.tls.default_certificate);
        if is_made_of(before, &certificates, &default)
            && before.holds_until().is_none_or(|moment| now < moment)
        {
            return Arc::clone(before);
        }
        Arc::new(CertificateStore::new(certificates, default, now))
    }

    fn default_certificate(&self, wanted: &DefaultCertificate) -> Arc<Certificate> {
        let found = match wanted {
            DefaultCertificate::Generated | DefaultCertificate::Pair(_) => None,
            DefaultCertificate::Resolver { resolver, domain, .. } => {
                let of_resolver = self.resolved.certificates.iter().filter(
                    |certificate| matches!(&certificate.source, CertificateSource::Resolver(name) if name == resolver),
                );
                of_resolver
                    .filter(|certificate| domain.names().all(|name| certificate.covers(name)))
                    .max_by_key(|certificate| certificate.not_after)
            }
        };
        Arc::clone(found.unwrap_or(&self.generated))
    }

    /// These problems, and those of certificates.
    pub(super) fn with_certificate_problems(&self, problems: &[Problem]) -> Arc<[Problem]> {
        let mut problems = problems.to_vec();
        problems.extend(self.resolved.problems.iter().cloned());
        problems.sort();
        problems.dedup();
        problems.into()
    }
}

impl Reconciler {
    /// Publishes what certificate resolvers say now, at once. Nothing else is looked at, and nothing else changes.
    pub(super) async fn publish_certificates(&mut self, update: CertificateUpdate) {
        let CertificateUpdate { certificates, challenges, orders, problems, published } = update;
        self.sources.resolved = Arc::new(Resolved { certificates, problems });
        let current = self.writer.current();
        let (sources, problems, previous) =
            (self.sources.clone(), Arc::clone(&self.problems), Arc::clone(&current));
        let build = move || {
            let certificates = sources.store(&previous.routing, &previous.certificates);
            let problems = sources.with_certificate_problems(&problems);
            (certificates, problems)
        };
        match spawn_blocking(build).await {
            Ok((certificates, problems)) => {
                let next = Snapshot {
                    version: current.version + 1,
                    certificates,
                    challenges,
                    orders,
                    problems,
                    ..Snapshot::clone(&current)
                };
                self.writer.publish(Arc::new(next));
                self.log_problems();
            }
            Err(error) => {
                tracing::error!("certificates could not be published: internal error: {}", panic_text(error));
                return;
            }
        }
        if let Some(published) = published {
            // Who asked may have gone away.
            let _ = published.send(());
        }
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
