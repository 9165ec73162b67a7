//! What a resolver has to do, and when.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use config::routing::tls::Domain;
use tokio::time::Instant;

use super::{Held, Resolver};
use crate::acme::order::name_set;
use crate::acme::renewal;

/// However far the next thing to do is, the wall clock is looked at again: it may have been set.
const LONGEST_SLEEP: Duration = Duration::from_secs(10 * 60);

/// How often a resolver that stands still looks at its file again, and one that could not save tries to.
const RECHECK: Duration = Duration::from_secs(30);

/// Something to order.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) domain: Domain,
    pub(super) names: String,
    pub(super) due: SystemTime,
    pub(super) attempts: u32,
    /// Index of the certificate that it renews.
    pub(super) renews: Option<usize>,
}

/// What to do next.
pub(super) enum Step {
    Order(Job),
    AskRenewal(usize),
    Sleep(Duration),
}

impl Resolver {
    /// When a certificate is renewed.
    pub(super) fn renew_at(&self, held: &Held) -> SystemTime {
        let jitter = renewal::own_jitter(&held.certificate);
        let expected = self.desk.settings.certificates_duration;
        renewal::renew_at(&held.certificate, held.window, expected, jitter)
    }

    /// All that is or will be to do, each with its time.
    pub(super) fn jobs(&self, now: SystemTime) -> Vec<Job> {
        let job = |domain: Domain, due: SystemTime, renews: Option<usize>| {
            let names = name_set(&domain);
            let failure = self.desk.state.failure(self.name(), &names);
            let attempts = failure.as_ref().map_or(0, |(failure, _)| failure.attempts);
            let due = failure.map_or(due, |(_, next)| due.max(next.min(now + renewal::LONGEST_ADVICE)));
            Job { domain, names, due, attempts, renews }
        };
        let renewals = self.held.iter().enumerate().map(|(index, held)| {
            let due = if held.forced { now } else { self.renew_at(held) };
            job(held.domain.clone(), due, Some(index))
        });
        let new = self.uncovered().into_iter().map(|domain| job(domain, now, None));
        renewals.chain(new).collect()
    }

    /// What is wanted and served by nothing: of each certificate the names that are left.
    pub(super) fn uncovered(&self) -> Vec<Domain> {
        let wanted = self.wanted.as_deref().unwrap_or_default();
        let possible = || wanted.iter().filter(|domain| self.impossible(domain).is_none());
        // A wildcard of this resolver that is still to come serves its children as well.
        let to_come: HashSet<&str> =
            possible().flat_map(Domain::names).filter_map(|name| name.strip_prefix("*.")).collect();
        let served = |name: &str| {
            (self.covered)(name)
                || !name.starts_with("*.")
                    && name.split_once('.').is_some_and(|(_, parent)| to_come.contains(parent))
        };
        let mut seen = HashSet::new();
        let mut found: Vec<Domain> = Vec::new();
        for domain in possible() {
            let mut names = domain.names().filter(|name| !served(name)).cloned();
            if let Some(main) = names.next() {
                let domain = Domain { main, sans: names.collect() };
                if seen.insert(domain.clone()) {
                    found.push(domain);
                }
            }
        }
        found
    }

    /// Why a certificate can never be had from this resolver.
    pub(super) fn impossible(&self, domain: &Domain) -> Option<String> {
        let wildcard = domain.names().find(|name| name.contains('*'))?;
        let rest = wildcard.strip_prefix("*.").unwrap_or(wildcard);
        if rest.contains('*') {
            return Some(format!("`{wildcard}` is not a name that can be certified"));
        }
        let dns = self.desk.settings.challenges.dns.is_some();
        (!dns).then(|| format!("a wildcard (`{wildcard}`) needs `dnsChallenge`, and the resolver has none"))
    }

    pub(super) fn next_step(&mut self) -> Step {
        let now = self.now();
        let at_most = |moment: SystemTime| moment.duration_since(now).unwrap_or_default();
        let mut sleep = LONGEST_SLEEP;
        if self.standstill.is_some() || self.held.iter().any(|held| held.unsaved.is_some()) {
            sleep = RECHECK;
        }
        if self.standstill.is_some() {
            return Step::Sleep(sleep);
        }
        if let Some(pause) = &self.pause
            && pause.until > now
        {
            return Step::Sleep(sleep.min(at_most(pause.until)));
        }
        if let Some(busy) = self.busy_until.take()
            && busy > Instant::now()
        {
            self.busy_until = Some(busy);
            return Step::Sleep(sleep.min(busy - Instant::now()));
        }
        let mut jobs = self.jobs(now);
        // Who has failed least goes first, so that nobody waits for the hopeless.
        jobs.sort_by_key(|job| (job.attempts, job.due));
        if let Some(job) = jobs.iter().find(|job| job.due <= now) {
            return Step::Order(job.clone());
        }
        // Without an account there is nobody to ask; one is made with the first order.
        let registered = self.account.as_ref().is_some_and(|account| !account.uri.is_empty());
        if registered {
            let ask = |held: &Held| held.certificate.not_after > now && held.unsaved.is_none();
            if let Some(index) = self.held.iter().position(|held| ask(held) && held.ask_at <= now) {
                return Step::AskRenewal(index);
            }
            let asks = self.held.iter().filter(|held| ask(held)).map(|held| at_most(held.ask_at));
            sleep = asks.fold(sleep, Duration::min);
        }
        sleep = jobs.iter().map(|job| at_most(job.due)).fold(sleep, Duration::min);
        Step::Sleep(sleep.max(Duration::from_millis(100)))
    }
}
