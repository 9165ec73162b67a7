//! A certificate resolver at work: which names are wanted comes in; certificates, challenges, states and problems go out.
//!
//! One order at a time. A name that fails backs off alone; a server that is away holds everybody up, and nobody's count.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config::install::CertificateResolver;
use config::routing::tls::Domain;
use config::{Origin, Problem};
use instant_acme::CertificateIdentifier;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::challenge::dns::DnsSolver;
use super::ledger::{Ledger, covers};
use super::order::{Clerk, name_set};
use super::renewal::{self, Advice, Window};
use super::session::{Desk, OrderError, Session, blocking};
use super::state::StateFile;
use super::storage::{Storage, StorageError, Stored, StoredAccount, StoredCertificate};
use super::{Challenges, Clock, Failure, OrderState, Phase, in_words};
use crate::certificate::{Certificate, CertificateSource};

/// However far the next thing to do is, the wall clock is looked at again: it may have been set.
const LONGEST_SLEEP: Duration = Duration::from_secs(10 * 60);

/// How often a resolver that stands still looks at its file again, and one that could not save tries to.
const RECHECK: Duration = Duration::from_secs(30);

/// How long an order waits for another resolver that orders one of its names.
const BUSY: Duration = Duration::from_secs(2);

/// How long an account's session is used before the directory is asked for again.
const SESSION_LIFE: Duration = Duration::from_secs(60 * 60);

/// When a server without renewal information, and one that could not answer, is asked again.
const NO_RENEWAL_INFO: Duration = Duration::from_secs(24 * 60 * 60);
const RENEWAL_INFO_FAILED: Duration = Duration::from_secs(60 * 60);

/// Whether a name is served by any certificate that is loaded.
pub type Covered = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// What a resolver is made of.
#[expect(missing_debug_implementations, reason = "it holds a function")]
pub struct ResolverParts {
    /// Its settings.
    pub settings: Arc<CertificateResolver>,
    /// Its storage file, shared with the others of that file.
    pub storage: Arc<Storage>,
    /// Failures and unfinished orders, shared with all.
    pub state: Arc<StateFile>,
    /// Names that are being ordered, shared with all.
    pub ledger: Arc<Ledger>,
    /// What writes DNS records, if the resolver has a DNS challenge. The error says why it cannot.
    pub dns: Option<Result<DnsSolver, String>>,
    /// Whether a name is served already.
    pub covered: Covered,
    /// The wall clock.
    pub clock: Clock,
    /// Where news goes.
    pub outputs: mpsc::Sender<Output>,
}

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

/// Asks for certificates before their time. `None`: all of the resolver's.
#[derive(Debug, Clone)]
pub struct RenewNow(pub Option<Arc<str>>);

/// A certificate resolver at work.
pub struct Resolver {
    desk: Desk,
    ledger: Arc<Ledger>,
    dns: Option<DnsSolver>,
    covered: Covered,
    outputs: mpsc::Sender<Output>,
    wanted: Option<Arc<[Domain]>>,
    account: Option<StoredAccount>,
    session: Option<(Session, Instant)>,
    held: Vec<Held>,
    /// Pairs of the file that cannot be served.
    broken: Vec<(Domain, String)>,
    standstill: Option<Standstill>,
    pause: Option<Pause>,
    ordering: Option<String>,
    /// Names that another resolver is ordering.
    busy_until: Option<Instant>,
    told: Option<ResolverState>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("name", &self.desk.settings.name).finish_non_exhaustive()
    }
}

/// A certificate that the resolver keeps up.
struct Held {
    domain: Domain,
    certificate: Arc<Certificate>,
    window: Option<Window>,
    /// When its server is asked for a window next.
    ask_at: SystemTime,
    /// Somebody wants it renewed now.
    forced: bool,
    /// It could not be written to the file.
    unsaved: Option<(StoredCertificate, String)>,
    /// Days left when somebody was last told that it ends.
    alarmed: Option<u64>,
}

/// Nothing is ordered.
#[derive(Debug, Clone)]
struct Standstill {
    reason: String,
    hint: String,
    /// Nothing could be loaded; the file is looked at again.
    unloaded: bool,
}

/// The server is away, or does not want us now.
#[derive(Debug, Clone)]
struct Pause {
    reason: String,
    attempts: u32,
    at: SystemTime,
    until: SystemTime,
}

/// Something to order.
#[derive(Debug, Clone)]
struct Job {
    domain: Domain,
    names: String,
    due: SystemTime,
    attempts: u32,
    /// Index of the certificate that it renews.
    renews: Option<usize>,
}

impl Resolver {
    /// A resolver that does nothing until it is run.
    pub fn new(parts: ResolverParts) -> Self {
        let ResolverParts { settings, storage, state, ledger, dns, covered, clock, outputs } = parts;
        let (dns, standstill) = match dns {
            None => (None, None),
            Some(Ok(dns)) => (Some(dns), None),
            Some(Err(reason)) => {
                let provider = settings.challenges.dns.as_ref().map(|dns| dns.provider.clone());
                let reason = format!("DNS provider `{}`: {reason}", provider.unwrap_or_default());
                let hint = "certificates that are there are served, none is ordered or renewed".to_owned();
                (None, Some(Standstill { reason, hint, unloaded: false }))
            }
        };
        Self {
            desk: Desk { settings, storage, state, clock },
            ledger,
            dns,
            covered,
            outputs,
            wanted: None,
            account: None,
            session: None,
            held: Vec::new(),
            broken: Vec::new(),
            standstill,
            pause: None,
            ordering: None,
            busy_until: None,
            told: None,
        }
    }

    /// Works until the gateway ends. `wanted` holds nothing until it is known what is wanted.
    pub async fn run(
        mut self,
        mut wanted: watch::Receiver<Option<Arc<[Domain]>>>,
        mut commands: mpsc::Receiver<RenewNow>,
    ) {
        self.load().await;
        loop {
            while let Ok(RenewNow(name)) = commands.try_recv() {
                self.hurry(name.as_deref()).await;
            }
            self.wanted.clone_from(&wanted.borrow_and_update());
            if self.standstill.as_ref().is_some_and(|standstill| standstill.unloaded) {
                self.load().await;
            }
            self.save_unsaved().await;
            let next = self.next_step();
            self.tell(false).await;
            let sleep = match next {
                Step::Order(job) => {
                    self.order(job).await;
                    continue;
                }
                Step::AskRenewal(index) => {
                    self.ask_renewal(index).await;
                    continue;
                }
                Step::Sleep(sleep) => sleep,
            };
            tokio::select! {
                () = tokio::time::sleep(sleep) => {}
                Some(RenewNow(name)) = commands.recv() => self.hurry(name.as_deref()).await,
                changed = wanted.changed() => if changed.is_err() { return },
            }
        }
    }

    fn name(&self) -> &str {
        &self.desk.settings.name
    }

    fn now(&self) -> SystemTime {
        self.desk.clock.now()
    }

    /// Reads the storage file.
    async fn load(&mut self) {
        let desk = self.desk.clone();
        let read = blocking(move || {
            let name = Arc::clone(&desk.settings.name);
            desk.storage.open(&name).map(|stored| parse(stored, &name))
        });
        let read = match read.await {
            Ok(read) => read,
            Err(error) => return tracing::error!(resolver = self.name(), "{error}"),
        };
        match read {
            Ok(Loaded { account, certificates, broken }) => {
                let now = self.now();
                self.account = account;
                self.broken = broken;
                self.held = certificates
                    .into_iter()
                    .map(|(domain, certificate)| Held::new(domain, certificate, now))
                    .collect();
                if self.standstill.as_ref().is_some_and(|standstill| standstill.unloaded) {
                    self.standstill = None;
                }
            }
            Err(error) => self.stand_still(&error),
        }
    }

    fn stand_still(&mut self, error: &StorageError) {
        let reason = in_words(error);
        self.standstill = Some(Standstill { reason, hint: error.hint(), unloaded: true });
    }

    /// Somebody wants certificates before their time.
    async fn hurry(&mut self, name: Option<&str>) {
        let wants = |domain: &Domain| name.is_none_or(|name| domain.names().any(|has| covers(has, name)));
        let mut sets = Vec::new();
        for held in &mut self.held {
            if wants(&held.domain) {
                held.forced = true;
                sets.push(name_set(&held.domain));
            }
        }
        let now = self.now();
        sets.extend(self.jobs(now).iter().filter(|job| wants(&job.domain)).map(|job| job.names.clone()));
        self.pause = None;
        let desk = self.desk.clone();
        let _ = blocking(move || sets.iter().for_each(|names| desk.state.hurry(&desk.settings.name, names)))
            .await;
    }

    /// When a certificate is renewed.
    fn renew_at(&self, held: &Held) -> SystemTime {
        let jitter = renewal::own_jitter(&held.certificate);
        let expected = self.desk.settings.certificates_duration;
        renewal::renew_at(&held.certificate, held.window, expected, jitter)
    }

    /// All that is or will be to do, each with its time.
    fn jobs(&self, now: SystemTime) -> Vec<Job> {
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
    fn uncovered(&self) -> Vec<Domain> {
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
    fn impossible(&self, domain: &Domain) -> Option<String> {
        let wildcard = domain.names().find(|name| name.contains('*'))?;
        let rest = wildcard.strip_prefix("*.").unwrap_or(wildcard);
        if rest.contains('*') {
            return Some(format!("`{wildcard}` is not a name that can be certified"));
        }
        let dns = self.desk.settings.challenges.dns.is_some();
        (!dns).then(|| format!("a wildcard (`{wildcard}`) needs `dnsChallenge`, and the resolver has none"))
    }

    fn next_step(&mut self) -> Step {
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

    async fn order(&mut self, job: Job) {
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
    async fn save_unsaved(&mut self) {
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
    async fn ask_renewal(&mut self, index: usize) {
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
                    let why =
                        info.explanation_url.map(|url| super::client::printable(&url)).unwrap_or_default();
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

    /// Tells what has changed; with `wait` until it is served.
    async fn tell(&mut self, wait: bool) {
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
        let subject = format!("certificate resolver `{}`", self.name());
        let mut problems = Vec::new();
        let mut trouble = None;
        if let Some(Standstill { reason, hint, .. }) = &self.standstill {
            trouble = Some(Arc::from(reason.as_str()));
            problems.push(
                Problem::error(Origin::Gateway, subject.as_str(), format!("it stands still: {reason}"))
                    .with_hint(hint.as_str()),
            );
        }
        if let Some(pause) = &self.pause {
            trouble = Some(Arc::from(pause.reason.as_str()));
            problems.push(Problem::warning(Origin::Gateway, subject.as_str(), pause.reason.as_str()));
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

/// What to do next.
enum Step {
    Order(Job),
    AskRenewal(usize),
    Sleep(Duration),
}

impl Held {
    fn new(domain: Domain, certificate: Arc<Certificate>, now: SystemTime) -> Self {
        Self { domain, certificate, window: None, ask_at: now, forced: false, unsaved: None, alarmed: None }
    }
}

/// What a storage file holds, parsed.
struct Loaded {
    account: Option<StoredAccount>,
    certificates: Vec<(Domain, Arc<Certificate>)>,
    broken: Vec<(Domain, String)>,
}

fn parse(stored: Stored, resolver: &Arc<str>) -> Loaded {
    let mut loaded = Loaded { account: stored.account, certificates: Vec::new(), broken: Vec::new() };
    for StoredCertificate { domain, chain, key } in stored.certificates {
        let source = CertificateSource::Resolver(Arc::clone(resolver));
        match Certificate::from_pem(&chain, &key, source) {
            Ok(certificate) => loaded.certificates.push((domain, Arc::new(certificate))),
            Err(error) => {
                loaded.broken.push((
                    domain,
                    format!("cannot be used, and a new one is asked for: {}", in_words(&error)),
                ));
            }
        }
    }
    loaded
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

/// A number in `0.0..1.0`, different in each process and at each call.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let bits = u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or(0);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

/// A duration for people.
fn in_time(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
