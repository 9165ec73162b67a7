//! What a resolver does: orders, keeps what it got, backs off, asks when to renew.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::CertificateIdentifier;
use tokio::time::Instant;

use super::agenda::Job;
use super::news::in_time;
use super::{Held, Pause, Resolver};
use crate::acme::order::{Clerk, name_set};
use crate::acme::renewal::{self, Advice, Window};
use crate::acme::session::{OrderError, Session, blocking};
use crate::acme::storage::{StorageError, StoredCertificate};
use crate::acme::{Failure, client, in_words};
use crate::certificate::{Certificate, CertificateSource};

/// How long an order waits for another resolver that orders one of its names.
const BUSY: Duration = Duration::from_secs(2);

/// How long an account's session is used before the directory is asked for again.
const SESSION_LIFE: Duration = Duration::from_secs(60 * 60);

/// When a server without renewal information, and one that could not answer, is asked again.
const NO_RENEWAL_INFO: Duration = Duration::from_secs(24 * 60 * 60);
const RENEWAL_INFO_FAILED: Duration = Duration::from_secs(60 * 60);

impl Resolver {
    pub(super) async fn order(&mut self, job: Job) {
        let Some(_claim) = self.ledger.claim(&job.domain) else {
            self.busy_until = Some(Instant::now() + BUSY);
            return;
        };
        // Another resolver may have got it between the look and the claim.
        if job.renews.is_none() && job.domain.names().any(|name| (self.covered)(name)) {
            return;
        }
        self.ordering = Some(job.names.clone());
        self.tell(false).await;
        let result = self.attempt(&job).await;
        self.ordering = None;
        match result {
            Ok(stored) => self.accept(&job, stored).await,
            Err(error) => self.fail(&job.names, &error).await,
        }
        // Served before the claim ends: nobody orders it a second time.
        self.tell(true).await;
    }

    async fn attempt(&mut self, job: &Job) -> Result<StoredCertificate, OrderError> {
        let mut registered_again = false;
        loop {
            let session = self.open_session().await?;
            let replaced = job.renews.and_then(|index| self.held.get(index));
            let replaced =
                replaced.filter(|held| held.window.is_some()).map(|held| Arc::clone(&held.certificate));
            let clerk = Clerk {
                settings: &self.desk.settings,
                state: &self.desk.state,
                dns: self.dns.as_ref(),
                outputs: &self.outputs,
            };
            let result = Box::pin(clerk.obtain(&session, &job.domain, replaced.as_deref())).await;
            match result {
                Err(error) if error.is_account_gone() && !registered_again => {
                    registered_again = true;
                    self.desk.forget(&mut self.account).await?;
                }
                Err(error) => return Err(error),
                Ok(stored) => {
                    self.session = Some((session, Instant::now()));
                    return Ok(stored);
                }
            }
        }
    }

    async fn open_session(&mut self) -> Result<Session, OrderError> {
        if let Some((session, opened)) = self.session.take()
            && opened.elapsed() < SESSION_LIFE
        {
            return Ok(session);
        }
        Box::pin(self.desk.open(&mut self.account)).await
    }

    /// Keeps and serves a new certificate.
    async fn accept(&mut self, job: &Job, stored: StoredCertificate) {
        self.pause = None;
        let source = CertificateSource::Resolver(Arc::clone(&self.desk.settings.name));
        let certificate = match Certificate::from_pem(&stored.chain, &stored.key, source) {
            Ok(certificate) => Arc::new(certificate),
            Err(error) => return tracing::error!(resolver = self.name(), "{}", in_words(&error)),
        };
        let now = self.now();
        tracing::info!(
            resolver = self.name(),
            names = job.names,
            issuer = &*certificate.issuer,
            serial = &*certificate.serial,
            "{}",
            if job.renews.is_some() { "the certificate is renewed" } else { "a new certificate is there" },
        );
        let mut held = Held::new(job.domain.clone(), certificate, now);
        held.unsaved = Some((stored, String::new()));
        let renew_at = self.renew_at(&held);
        let place = self.held.iter().position(|held| held.domain == job.domain);
        match place {
            Some(index) => self.held[index] = held,
            None => self.held.push(held),
        }
        self.broken.retain(|(domain, _)| *domain != job.domain);
        self.save_unsaved().await;
        if renew_at <= now {
            // By our clock the new one is old already: asking again and again would not make it younger.
            let error = OrderError::Local(
                "the new certificate is past its time to renew already: is the clock of this machine right?"
                    .to_owned(),
            );
            self.fail(&job.names, &error).await;
        }
    }

    /// Writes what could not be written yet.
    pub(super) async fn save_unsaved(&mut self) {
        for index in 0..self.held.len() {
            let Some((stored, before)) = self.held[index].unsaved.clone() else { continue };
            let desk = self.desk.clone();
            let names = name_set(&stored.domain);
            let saved = blocking(move || {
                desk.storage.put_certificate(&desk.settings.name, &stored)?;
                desk.state.done(&desk.settings.name, &names);
                Ok::<_, StorageError>(())
            });
            match saved.await {
                Ok(Ok(())) => self.held[index].unsaved = None,
                Ok(Err(error)) => {
                    let words = in_words(&error);
                    if words != before {
                        tracing::error!(
                            resolver = self.name(),
                            "a certificate could not be kept, is served from memory, and is written as soon as it can \
                             be: {words}"
                        );
                    }
                    if let Some((_, reason)) = &mut self.held[index].unsaved {
                        *reason = words;
                    }
                }
                Err(error) => tracing::error!(resolver = self.name(), "{error}"),
            }
        }
    }

    /// Notes a failure, and when it is tried again.
    async fn fail(&mut self, names: &str, error: &OrderError) {
        self.session = None;
        let now = self.now();
        let jitter = jitter();
        let reason = in_words(error);
        let whole = error.is_server_away() || matches!(error, OrderError::Account(_));
        if whole {
            let attempts = self.pause.as_ref().map_or(0, |pause| pause.attempts) + 1;
            let wait = match error.advice() {
                Advice::TooMany(advised) => renewal::back_off(attempts, Advice::TooMany(advised), jitter),
                advice if !error.is_server_away() => renewal::back_off(attempts, advice, jitter),
                Advice::Wait(advised) => renewal::server_away(attempts, Some(advised), jitter),
                Advice::None => renewal::server_away(attempts, None, jitter),
            };
            tracing::warn!(
                resolver = self.name(),
                names,
                "{reason}; everything is tried again in {}",
                in_time(wait)
            );
            self.pause = Some(Pause { reason, attempts, at: now, until: now + wait });
            return;
        }
        let before = self.desk.state.failure(self.name(), names);
        let attempts = before.map_or(0, |(failure, _)| failure.attempts) + 1;
        let wait = renewal::back_off(attempts, error.advice(), jitter);
        // The reason is told as a problem.
        tracing::info!(
            resolver = self.name(),
            names,
            attempts,
            "no certificate; tried again in {}",
            in_time(wait)
        );
        for held in &mut self.held {
            if name_set(&held.domain) == names {
                held.forced = false;
            }
        }
        let failure = Failure { reason: reason.into(), at: now, attempts };
        let (desk, names) = (self.desk.clone(), names.to_owned());
        let noted = blocking(move || {
            desk.state.set_failure(&desk.settings.name, &names, &failure, now + wait, &desk.clock);
        });
        if let Err(error) = noted.await {
            tracing::error!(resolver = self.name(), "{error}");
        }
    }

    /// Asks the server when it wants a certificate renewed.
    pub(super) async fn ask_renewal(&mut self, index: usize) {
        let now = self.now();
        let session = match self.open_session().await {
            Ok(session) => session,
            Err(error) => {
                self.held[index].ask_at = now + RENEWAL_INFO_FAILED;
                tracing::debug!(resolver = self.name(), "renewal information: {}", in_words(&error));
                return;
            }
        };
        let leaf = self.held[index].certificate.key.cert.first().cloned();
        let identifier = leaf.as_ref().and_then(|leaf| CertificateIdentifier::try_from(leaf).ok());
        let Some(identifier) = identifier else {
            self.held[index].ask_at = now + NO_RENEWAL_INFO;
            self.session = Some((session, Instant::now()));
            return;
        };
        let answer = session.account.renewal_info(&identifier).await;
        let held = &mut self.held[index];
        match answer {
            Ok((info, again)) => {
                let window = Window {
                    start: info.suggested_window.start.into(),
                    end: info.suggested_window.end.into(),
                };
                if held.window.is_some_and(|before| before != window) {
                    let why = info.explanation_url.map(|url| client::printable(&url)).unwrap_or_default();
                    tracing::info!(
                        resolver = &*self.desk.settings.name,
                        names = name_set(&held.domain),
                        "the ACME server has moved the time to renew {why}"
                    );
                }
                held.window = (window.start <= window.end).then_some(window);
                held.ask_at = now + again.clamp(Duration::from_secs(60), NO_RENEWAL_INFO);
                self.session = Some((session, Instant::now()));
            }
            Err(instant_acme::Error::Unsupported(_)) => {
                for held in &mut self.held {
                    held.ask_at = now + NO_RENEWAL_INFO;
                }
                self.session = Some((session, Instant::now()));
            }
            Err(error) => {
                held.ask_at = now + RENEWAL_INFO_FAILED;
                let error = OrderError::from(error);
                tracing::debug!(resolver = &*self.desk.settings.name, "renewal information: {error}");
            }
        }
    }
}

/// A number in `0.0..1.0`, different in each process and at each call.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let bits = u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or(0);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}
