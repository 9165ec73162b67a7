//! A certificate resolver at work: which names are wanted comes in; certificates, challenges, states and problems go out.
//!
//! One order at a time. A name that fails backs off alone; a server that is away holds everybody up, and nobody's count.

mod agenda;
mod news;
mod work;

use std::sync::Arc;
use std::time::SystemTime;

use config::install::CertificateResolver;
use config::routing::tls::Domain;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use self::agenda::Step;
use super::Clock;
use super::challenge::dns::{BuildDnsError, DnsSolver};
use super::in_words;
use super::ledger::{Ledger, covers};
use super::order::name_set;
use super::renewal::Window;
use super::session::{Desk, Session, blocking};
use super::state::StateFile;
use super::storage::{Storage, StorageError, Stored, StoredAccount, StoredCertificate};
use crate::certificate::{Certificate, CertificateSource};

pub use self::news::{News, Output, ResolverState, SameCertificate, dns_problem};

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
    /// What writes DNS records, if the resolver has a DNS challenge. Without it the resolver stands still.
    pub dns: Option<Result<DnsSolver, BuildDnsError>>,
    /// Whether a name is served already.
    pub covered: Covered,
    /// The wall clock.
    pub clock: Clock,
    /// Where news goes.
    pub outputs: mpsc::Sender<Output>,
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

impl Resolver {
    /// A resolver that does nothing until it is run.
    pub fn new(parts: ResolverParts) -> Self {
        let ResolverParts { settings, storage, state, ledger, dns, covered, clock, outputs } = parts;
        let (dns, standstill) = match dns {
            None => (None, None),
            Some(Ok(dns)) => (Some(dns), None),
            Some(Err(error)) => (None, Some(Standstill::without_dns(&settings, &error))),
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
