//! What a resolver tells: its certificates, how it stands with its orders, and what the user should know.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config::install::CertificateResolver;
use config::{Origin, Problem};
use tokio::sync::oneshot;

use super::agenda::Job;
use super::{Held, Resolver, Standstill};
use crate::acme::challenge::dns::BuildDnsError;
use crate::acme::order::name_set;
use crate::acme::{Challenges, Failure, OrderState, Phase, in_words, renewal};
use crate::certificate::Certificate;

/// What a resolver tells.
#[derive(Debug)]
pub struct Output {
    /// Which one.
    pub resolver: Arc<str>,
    /// What.
    pub news: News,
    /// Told once it is published.
    pub published: Option<oneshot::Sender<()>>,
}

/// What a resolver tells: whole states, never differences.
#[derive(Debug)]
pub enum News {
    /// What it has and does.
    State(Box<ResolverState>),
    /// What is to be answered to the ACME server.
    Challenges(Arc<Challenges>),
}

/// What a resolver has and does.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct ResolverState {
    /// All its certificates.
    pub certificates: Vec<SameCertificate>,
    /// How it stands with each, and with what is wanted.
    pub orders: Vec<OrderState>,
    /// What the user should know.
    pub problems: Vec<Problem>,
    /// Why it does not work as it should.
    pub trouble: Option<Arc<str>>,
}

/// A certificate, equal to itself alone.
#[derive(Debug, Clone)]
pub struct SameCertificate(pub Arc<Certificate>);

impl PartialEq for SameCertificate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Resolver {
    /// Tells what has changed; with `wait` until it is served.
    pub(super) async fn tell(&mut self, wait: bool) {
        let state = self.state();
        if self.told.as_ref() == Some(&state) {
            return;
        }
        let (published, served) = oneshot::channel();
        let output = Output {
            resolver: Arc::clone(&self.desk.settings.name),
            news: News::State(Box::new(state.clone())),
            published: wait.then_some(published),
        };
        self.told = Some(state);
        if self.outputs.send(output).await.is_ok() && wait {
            let _ = served.await;
        }
    }

    fn state(&mut self) -> ResolverState {
        let now = self.now();
        self.sound_alarms(now);
        let subject = subject(self.name());
        let mut problems = Vec::new();
        let mut trouble = None;
        if let Some(standstill) = &self.standstill {
            trouble = Some(Arc::from(standstill.reason.as_str()));
            problems.push(standstill.problem(self.name()));
        }
        if let Some(pause) = &self.pause {
            trouble = Some(Arc::from(pause.reason.as_str()));
            // A name that is still without a certificate is a fault that somebody sees; a renewal has time.
            let problem = match self.uncovered().is_empty() {
                true => Problem::warning(Origin::Gateway, subject.as_str(), pause.reason.as_str()),
                false => Problem::error(Origin::Gateway, subject.as_str(), pause.reason.as_str()),
            };
            problems.push(problem);
        }
        for (domain, reason) in &self.broken {
            let message = format!(
                "the certificate for {} in {} {reason}",
                name_set(domain),
                self.desk.storage.path().display()
            );
            problems.push(Problem::warning(Origin::Gateway, subject.as_str(), message));
        }
        for domain in self.wanted.iter().flat_map(|wanted| wanted.iter()) {
            if let Some(reason) = self.impossible(domain) {
                problems.push(Problem::error(Origin::Gateway, subject.as_str(), reason));
            }
        }
        let mut orders = Vec::new();
        for job in self.jobs(now) {
            let held = job.renews.and_then(|index| self.held.get(index));
            let state = self.order_state(&job, held, now);
            let failure = self.desk.state.failure(self.name(), &job.names).map(|(failure, _)| failure);
            problems.extend(order_problems(&state, failure.as_ref(), held, now));
            if let Some((_, reason)) = held.and_then(|held| held.unsaved.as_ref())
                && !reason.is_empty()
            {
                let message = format!("the certificate is served, and could not be kept: {reason}");
                problems.push(Problem::error(
                    Origin::Gateway,
                    format!("certificate `{}`", job.names),
                    message,
                ));
            }
            orders.push(state);
        }
        problems.sort();
        problems.dedup();
        let certificates =
            self.held.iter().map(|held| SameCertificate(Arc::clone(&held.certificate))).collect();
        ResolverState { certificates, orders, problems, trouble }
    }

    fn order_state(&self, job: &Job, held: Option<&Held>, now: SystemTime) -> OrderState {
        let resolver = Arc::clone(&self.desk.settings.name);
        let stored = self.desk.state.failure(self.name(), &job.names);
        let mut failure = stored.map(|(failure, _)| failure);
        let mut next = Some(job.due);
        let due = job.due <= now;
        let phase = if self.standstill.is_some() {
            next = None;
            Phase::Halted
        } else if self.ordering.as_ref() == Some(&job.names) {
            Phase::Ordering
        } else if let Some(pause) = self.pause.as_ref().filter(|_| due) {
            next = Some(pause.until);
            failure = Some(Failure {
                reason: pause.reason.as_str().into(),
                at: pause.at,
                attempts: pause.attempts,
            });
            Phase::BackingOff
        } else if failure.is_some() && !due {
            Phase::BackingOff
        } else if held.is_some() && !due {
            Phase::Valid
        } else {
            next = None;
            Phase::Waiting
        };
        OrderState { resolver, domain: job.domain.clone(), phase, failure, next }
    }

    /// Says loudly, and once a step, that a certificate ends although it should have been renewed.
    fn sound_alarms(&mut self, now: SystemTime) {
        let overdue: Vec<bool> = self.held.iter().map(|held| self.renew_at(held) <= now).collect();
        let resolver = Arc::clone(&self.desk.settings.name);
        for (held, overdue) in self.held.iter_mut().zip(overdue) {
            let left = held.certificate.not_after.duration_since(now).ok();
            let level = match (overdue, left) {
                (false, _) => None,
                (true, None) => Some(0),
                (true, Some(left)) => renewal::alarm(left),
            };
            if level == held.alarmed {
                continue;
            }
            held.alarmed = level;
            let names = name_set(&held.domain);
            match (level, left) {
                (Some(_), None) => {
                    tracing::error!(
                        resolver = &*resolver,
                        names,
                        "the certificate has expired and is still served"
                    );
                }
                (Some(_), Some(left)) => {
                    tracing::warn!(
                        resolver = &*resolver,
                        names,
                        "the certificate should have been renewed, and ends in {}",
                        in_time(left)
                    );
                }
                (None, _) => {}
            }
        }
    }
}

impl Standstill {
    /// The DNS provider cannot be built.
    pub(super) fn without_dns(settings: &CertificateResolver, error: &BuildDnsError) -> Self {
        let provider = settings.challenges.dns.as_ref().map(|dns| dns.provider.as_str());
        let reason = format!("DNS provider `{}`: {}", provider.unwrap_or_default(), in_words(error));
        let hint = "certificates that are there are served, none is ordered or renewed".to_owned();
        Self { reason, hint, unloaded: false }
    }

    /// What the user is told.
    fn problem(&self, resolver: &str) -> Problem {
        let message = format!("it stands still: {}", self.reason);
        Problem::error(Origin::Gateway, subject(resolver), message).with_hint(self.hint.as_str())
    }
}

/// What is told of a resolver whose DNS provider cannot be built, before anything runs.
pub fn dns_problem(settings: &CertificateResolver, error: &BuildDnsError) -> Problem {
    Standstill::without_dns(settings, error).problem(&settings.name)
}

/// What problems of a resolver are about.
fn subject(resolver: &str) -> String {
    format!("certificate resolver `{resolver}`")
}

/// What the user should know of one certificate. A failure is told until it is overcome, also while it is tried again.
fn order_problems(
    state: &OrderState,
    failure: Option<&Failure>,
    held: Option<&Held>,
    now: SystemTime,
) -> Vec<Problem> {
    let names = name_set(&state.domain);
    let subject = format!("certificate `{names}` (resolver `{}`)", state.resolver);
    let mut problems = Vec::new();
    let expired = held.is_some_and(|held| held.certificate.not_after <= now);
    if expired {
        problems.push(Problem::error(
            Origin::Gateway,
            subject.as_str(),
            "it has expired, and is still served",
        ));
    }
    if let Some(failure) = failure {
        let message = match held {
            Some(_) => format!("it could not be renewed: {}", failure.reason),
            None => format!("it could not be obtained: {}", failure.reason),
        };
        problems.push(Problem::error(Origin::Gateway, subject, message).with_hint(format!(
            "`hearthgate certificates renew {}` tries it again at once",
            state.domain.main
        )));
    }
    problems
}

/// A duration for people.
pub(super) fn in_time(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
