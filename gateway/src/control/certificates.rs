//! Names wanted by routers -> certificate resolvers -> reconciler.
//!
//! Each published snapshot is looked at for the names that its routers want from a resolver. What the resolvers have
//! and do goes back to the reconciler as one whole state.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::Problem;
use config::install::{CertificateResolver, Install};
use config::routing::Routing;
use config::routing::stream::StreamTls;
use config::routing::tls::{DefaultCertificate, Domain};
use config::secret::Secret;
use security::acme::challenge::dns::{self, BuildDnsError, DnsSolver};
use security::acme::{
    self, Challenges, Ledger, News, OrderState, Output, RenewNow, Resolver, ResolverParts, ResolverState,
    StateFile, Storage,
};
use security::certificate::Certificate;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout};

use super::Clock;
use super::reconciler::CertificateUpdate;
use crate::snapshot::{Snapshot, SnapshotReader};

/// A provider that has not answered after this long keeps nobody from a certificate.
const PATIENCE: Duration = Duration::from_secs(10);

/// News and commands that may wait. Both are small and rare.
const QUEUE: usize = 16;

/// What the certificates of resolvers are kept with.
#[expect(missing_debug_implementations, reason = "it holds a function")]
pub struct CertificatesParts {
    /// Resolvers, state directory.
    pub install: Arc<Install>,
    /// What is published.
    pub snapshot: SnapshotReader,
    /// The reconciler.
    pub updates: mpsc::Sender<CertificateUpdate>,
    /// Variables of DNS providers.
    pub variables: discovery::Environment,
    /// The wall clock.
    pub clock: Clock,
}

/// The task that keeps the certificates of resolvers.
pub struct Certificates {
    parts: CertificatesParts,
    commands: Vec<mpsc::Receiver<RenewNow>>,
    health: watch::Sender<Arc<[ResolverHealth]>>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

/// How it is with a resolver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolverHealth {
    /// Its name.
    pub name: Arc<str>,
    /// It has read its storage file, or said why it cannot.
    pub loaded: bool,
    /// Why it does not work as it should.
    pub trouble: Option<Arc<str>>,
}

/// Asks for certificates before their time, and tells how it is with the resolvers.
#[derive(Debug, Clone)]
pub struct CertificateHandle {
    commands: Arc<[mpsc::Sender<RenewNow>]>,
    snapshot: SnapshotReader,
    health: watch::Receiver<Arc<[ResolverHealth]>>,
}

/// Why nothing is renewed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenewError {
    /// No resolver is configured.
    #[error("no certificate resolver is configured")]
    NoResolver,
    /// No resolver has or wants a certificate for the name.
    #[error("no certificate resolver has a certificate for {0}, or wants one")]
    Unknown(String),
    /// The resolver stands still.
    #[error("certificate resolver `{resolver}` stands still: {reason}")]
    Halted {
        /// Its name.
        resolver: Arc<str>,
        /// Why.
        reason: Arc<str>,
    },
}

impl CertificateHandle {
    /// Renews the certificates that cover `name` (all without one), whatever their time, and tries at once what is
    /// backing off. Returns how many; they are ordered one after the other from now on.
    pub fn renew(&self, name: Option<&str>) -> Result<usize, RenewError> {
        if self.commands.is_empty() {
            return Err(RenewError::NoResolver);
        }
        let name = name.map(|name| Arc::from(name.trim_end_matches('.').to_ascii_lowercase()));
        let orders = Arc::clone(&self.snapshot.load().orders);
        let named = |order: &&OrderState| {
            name.as_ref().is_none_or(|name: &Arc<str>| order.domain.names().any(|has| covers(has, name)))
        };
        let found: Vec<_> = orders.iter().filter(named).collect();
        if let (Some(name), true) = (&name, found.is_empty()) {
            return Err(RenewError::Unknown(name.to_string()));
        }
        let able = found.iter().filter(|order| order.phase != acme::Phase::Halted).count();
        if let (Some(halted), 0) = (found.first(), able) {
            let reason = self.health().iter().find(|health| health.name == halted.resolver).cloned();
            return Err(RenewError::Halted {
                resolver: Arc::clone(&halted.resolver),
                reason: reason
                    .and_then(|health| health.trouble)
                    .unwrap_or_else(|| Arc::from("see the problems")),
            });
        }
        for commands in &*self.commands {
            // A full queue holds the same wish already, or will be worked off in a moment.
            let _ = commands.try_send(RenewNow(name.clone()));
        }
        Ok(able)
    }

    /// How it is with each resolver.
    pub fn health(&self) -> Arc<[ResolverHealth]> {
        Arc::clone(&self.health.borrow())
    }

    /// Waits until every resolver has read its storage file, so that what it holds is served.
    pub async fn loaded(&self) {
        let mut health = self.health.clone();
        // It ends with the gateway.
        let _ = health.wait_for(|health| health.iter().all(|resolver| resolver.loaded)).await;
    }
}

/// Whether a certificate for `pattern` is one for `name`.
fn covers(pattern: &str, name: &str) -> bool {
    pattern == name
        || pattern
            .strip_prefix('*')
            .is_some_and(|suffix| name.find('.').is_some_and(|dot| name[dot..] == *suffix))
}

impl Certificates {
    /// For these resolvers; nothing happens before [`Certificates::run`].
    pub fn new(parts: CertificatesParts) -> (Self, CertificateHandle) {
        let resolvers = &parts.install.certificate_resolvers;
        let (senders, receivers): (Vec<_>, Vec<_>) = resolvers.iter().map(|_| mpsc::channel(QUEUE)).unzip();
        let health: Arc<[_]> = resolvers
            .iter()
            .map(|resolver| ResolverHealth { name: Arc::clone(&resolver.name), loaded: false, trouble: None })
            .collect();
        let (health, observer) = watch::channel(health);
        let handle = CertificateHandle {
            commands: senders.into(),
            snapshot: parts.snapshot.clone(),
            health: observer,
        };
        (Self { parts, commands: receivers, health }, handle)
    }

    /// Runs until the gateway ends.
    pub async fn run(self) {
        let Self { parts, commands, health } = self;
        if parts.install.certificate_resolvers.is_empty() {
            return;
        }
        let (outputs, mut news) = mpsc::channel(QUEUE);
        let mut tasks = JoinSet::new();
        let wishes = start_resolvers(&parts, commands, &outputs, &mut tasks).await;
        drop(outputs);
        let mut gathered = Gathered::new(&parts.install, health);
        let deadline = Instant::now() + PATIENCE;
        let mut seen: Option<Arc<Routing>> = None;
        let mut version = None;
        loop {
            tokio::select! {
                Some(output) = news.recv() => {
                    let mut told: Vec<_> = gathered.take(output).into_iter().collect();
                    while let Ok(output) = news.try_recv() {
                        told.extend(gathered.take(output));
                    }
                    publish(&parts.updates, &gathered).await;
                    gathered.tell_health();
                    for published in told {
                        // Who asked may have gone away.
                        let _ = published.send(());
                    }
                }
                snapshot = parts.snapshot.wait_for(|snapshot| Some(snapshot.version) != version) => {
                    let Some(snapshot) = snapshot else { return };
                    version = Some(snapshot.version);
                    if gathered.is_loaded() && is_known(&snapshot, deadline)
                        && !seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &snapshot.routing))
                    {
                        tell_wishes(&wishes, &snapshot.routing);
                        seen = Some(Arc::clone(&snapshot.routing));
                    }
                }
                // A provider that never answers must not hold up those that did.
                () = tokio::time::sleep_until(deadline), if seen.is_none() && Instant::now() < deadline => {
                    version = None;
                }
                Some(ended) = tasks.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!("a certificate resolver has ended with an internal error: {error}");
                    }
                }
            }
        }
    }
}

type Wishes = HashMap<Arc<str>, watch::Sender<Option<Arc<[Domain]>>>>;

/// Makes the resolvers and starts them.
async fn start_resolvers(
    parts: &CertificatesParts,
    commands: Vec<mpsc::Receiver<RenewNow>>,
    outputs: &mpsc::Sender<Output>,
    tasks: &mut JoinSet<()>,
) -> Wishes {
    let state_dir = &parts.install.state_dir;
    let state_path = state_dir.join("acme-state.json");
    let Ok(state) = spawn_blocking(move || StateFile::open(state_path)).await else { return Wishes::new() };
    let state = Arc::new(state);
    let ledger = Arc::new(Ledger::default());
    let clock = parts.clock.clone();
    let clock = acme::Clock::new(move || clock.now());
    let snapshot = parts.snapshot.clone();
    let covered: acme::Covered = Arc::new(move |name| snapshot.load().certificates.covers(name));
    let mut storages: HashMap<PathBuf, Arc<Storage>> = HashMap::new();
    let mut wishes = Wishes::new();
    for (settings, commands) in parts.install.certificate_resolvers.iter().zip(commands) {
        let settings = Arc::new(settings.clone());
        let storage = storages
            .entry(settings.storage.clone())
            .or_insert_with(|| Arc::new(Storage::new(settings.storage.clone(), state_dir)));
        let dns = dns_solver(&settings, &parts.variables);
        let resolver = Resolver::new(ResolverParts {
            settings: Arc::clone(&settings),
            storage: Arc::clone(storage),
            state: Arc::clone(&state),
            ledger: Arc::clone(&ledger),
            dns,
            covered: Arc::clone(&covered),
            clock: clock.clone(),
            outputs: outputs.clone(),
        });
        let (wish, wanted) = watch::channel(None);
        wishes.insert(Arc::clone(&settings.name), wish);
        tasks.spawn(resolver.run(wanted, commands));
    }
    wishes
}

/// What writes the DNS records of a resolver, if it has a DNS challenge. Nobody is asked for that.
fn dns_solver(
    settings: &CertificateResolver,
    variables: &discovery::Environment,
) -> Option<Result<DnsSolver, BuildDnsError>> {
    let lookup = |name: &str| variables(name).map(Secret::new);
    settings.challenges.dns.as_ref().map(|dns| dns::build(dns, &lookup))
}

/// What can be said of the resolvers before they run.
pub(crate) fn resolver_problems(install: &Install, variables: &discovery::Environment) -> Vec<Problem> {
    let resolvers = install.certificate_resolvers.iter();
    resolvers
        .filter_map(|settings| {
            let error = dns_solver(settings, variables)?.err()?;
            Some(acme::dns_problem(settings, &error))
        })
        .collect()
}

/// Whether the routes are known so well that a name that nothing serves needs a certificate.
fn is_known(snapshot: &Snapshot, deadline: Instant) -> bool {
    let said = |answered: bool, stale: bool| answered || stale;
    Instant::now() >= deadline
        || snapshot.providers.iter().all(|provider| said(provider.answered, provider.stale.is_some()))
}

/// Tells each resolver what is wanted of it.
fn tell_wishes(wishes: &Wishes, routing: &Routing) {
    let mut wanted = wanted(routing);
    for (resolver, wish) in wishes {
        let domains: Arc<[Domain]> = wanted.remove(resolver).unwrap_or_default().into();
        wish.send_if_modified(|before| {
            let changed = before.as_ref() != Some(&domains);
            *before = Some(domains);
            changed
        });
    }
}

/// What is wanted of each resolver, none twice, wildcards first: they may serve what follows.
fn wanted(routing: &Routing) -> BTreeMap<Arc<str>, Vec<Domain>> {
    let http = routing.routers.values().filter_map(|router| router.tls.as_ref());
    let tcp = routing.tcp.routers.values().filter_map(|router| match &router.tls {
        StreamTls::None | StreamTls::Passthrough => None,
        StreamTls::Terminate(tls) => Some(tls),
    });
    let of_routers = http.chain(tcp).filter_map(|tls| Some((tls.resolver.as_ref()?, tls.domains.as_slice())));
    let default = match &routing.tls.default_certificate {
        DefaultCertificate::Generated | DefaultCertificate::Pair(_) => None,
        DefaultCertificate::Resolver { resolver, domain, .. } => {
            Some((resolver, std::slice::from_ref(domain)))
        }
    };
    let mut seen = HashSet::new();
    let mut wanted: BTreeMap<Arc<str>, Vec<Domain>> = BTreeMap::new();
    for (resolver, domains) in of_routers.chain(default) {
        for domain in domains {
            if seen.insert((resolver, domain)) {
                wanted.entry(Arc::clone(resolver)).or_default().push(domain.clone());
            }
        }
    }
    for domains in wanted.values_mut() {
        domains.sort_by_key(|domain| !domain.names().any(|name| name.starts_with("*.")));
    }
    wanted
}

/// What all resolvers last said.
struct Gathered {
    /// In the order of the install configuration.
    resolvers: Vec<(Arc<str>, Option<ResolverState>, Arc<Challenges>)>,
    health: watch::Sender<Arc<[ResolverHealth]>>,
}

impl Gathered {
    fn new(install: &Install, health: watch::Sender<Arc<[ResolverHealth]>>) -> Self {
        let resolvers = install.certificate_resolvers.iter();
        let resolvers =
            resolvers.map(|resolver| (Arc::clone(&resolver.name), None, Arc::default())).collect();
        Self { resolvers, health }
    }

    /// Takes news in. Who waits for their publication is returned.
    fn take(&mut self, output: Output) -> Option<oneshot::Sender<()>> {
        let place = self.resolvers.iter_mut().find(|(name, _, _)| *name == output.resolver);
        if let Some((_, state, challenges)) = place {
            match output.news {
                News::State(news) => *state = Some(*news),
                News::Challenges(news) => *challenges = news,
            }
        }
        output.published
    }

    fn is_loaded(&self) -> bool {
        self.resolvers.iter().all(|(_, state, _)| state.is_some())
    }

    fn tell_health(&self) {
        let health: Arc<[_]> = self
            .resolvers
            .iter()
            .map(|(name, state, _)| ResolverHealth {
                name: Arc::clone(name),
                loaded: state.is_some(),
                trouble: state.as_ref().and_then(|state| state.trouble.clone()),
            })
            .collect();
        self.health.send_if_modified(|before| {
            let changed = *before != health;
            *before = health;
            changed
        });
    }

    fn update(&self) -> CertificateUpdate {
        let states = || self.resolvers.iter().filter_map(|(_, state, _)| state.as_ref());
        let certificates: Vec<Arc<Certificate>> =
            states().flat_map(|state| state.certificates.iter().map(|same| Arc::clone(&same.0))).collect();
        let orders: Arc<[OrderState]> = states().flat_map(|state| state.orders.iter().cloned()).collect();
        let problems: Vec<Problem> = states().flat_map(|state| state.problems.iter().cloned()).collect();
        let mut challenges = Challenges::default();
        for (_, _, one) in &self.resolvers {
            challenges
                .http
                .extend(one.http.iter().map(|(token, proof)| (Arc::clone(token), Arc::clone(proof))));
            challenges.tls.extend(one.tls.iter().map(|(name, proof)| (Arc::clone(name), Arc::clone(proof))));
        }
        CertificateUpdate {
            certificates,
            challenges: Arc::new(challenges),
            orders,
            problems,
            published: None,
        }
    }
}

/// Gives the reconciler the whole state, and waits until it is published.
async fn publish(updates: &mpsc::Sender<CertificateUpdate>, gathered: &Gathered) {
    let (published, served) = oneshot::channel();
    let update = CertificateUpdate { published: Some(published), ..gathered.update() };
    if updates.send(update).await.is_ok() {
        // It always answers, but for an internal error of its own, or the end.
        let _ = timeout(PATIENCE, served).await;
    }
}
