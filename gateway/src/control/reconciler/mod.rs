//! Holds the one snapshot writer: updates in, settle, merge, validate, compile, publish.
//!
//! The last state of each provider is kept; whenever one of them changes, the whole is built anew, on a thread where
//! nobody waits. What equals the published state is not published; what cannot be built is not published either, and
//! the last good snapshot stays.
//!
//! Certificates of certificate resolvers come by a way of their own ([`CertificateUpdate`]) and are published at once:
//! the routes are not looked at.

mod certificates;
mod reload;

#[cfg(test)]
mod tests;

pub use certificates::CertificateUpdate;
pub use reload::{Change, ChangeKind, ReloadError, ReloadHandle, ReloadReport};

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use config::install::Install;
use config::name::ProviderName;
use config::routing::Routing;
use config::routing::merge::qualify;
use config::routing::raw::Items;
use config::routing::validate::{Context, validate_after};
use config::{Origin, Problem, Severity};
use discovery::named::{self, Stamps};
use discovery::{Freshness, Provider, ProviderChannels, Update};
use security::certificate::Certificate;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use self::certificates::Resolved;
use self::reload::{Reload, all_read, read_again};
use super::Clock;
use super::material::Material;
use crate::snapshot::compile::{Parts, compile};
use crate::snapshot::{ProviderState, Snapshot, SnapshotReader, SnapshotWriter, border};

/// How long a state settles at most when a server is gone in it: whoever is sent there gets an error until it is
/// published, however patient the installation is with other changes.
const LOSS_SETTLES: Duration = Duration::from_millis(100);

/// Updates that may wait. Providers send whole states, so a full queue makes them wait and loses nothing.
const QUEUE: usize = 16;

/// Makes a snapshot of what the providers said. Given to the reconciler so that a test can make it fail.
type Build = Arc<dyn Fn(&Sources, &Snapshot) -> Built + Send + Sync>;

/// What a build makes.
#[derive(Debug)]
struct Built {
    snapshot: Snapshot,
    material: Arc<Material>,
    base: Base,
}

/// What a build says without its certificates, whose problems come and go by themselves.
#[derive(Debug, Clone)]
struct Base {
    problems: Arc<[Problem]>,
    input_refused: bool,
}

/// What a snapshot is built from.
#[derive(Debug, Clone)]
struct Sources {
    install: Arc<Install>,
    context: Arc<Context>,
    /// Problems of the install configuration and of the start: they stay.
    problems: Arc<[Problem]>,
    /// In the order of the install configuration.
    providers: Vec<Source>,
    /// What certificate resolvers last said.
    resolved: Arc<Resolved>,
    /// What lies in the files that the routing configuration names.
    material: Arc<Material>,
    /// Those of them that changed since.
    stale: BTreeSet<Arc<Path>>,
    /// What names without a certificate get where nothing else was written.
    generated: Arc<Certificate>,
    clock: Clock,
}

/// What a provider last said.
#[derive(Debug, Clone)]
struct Source {
    name: ProviderName,
    /// It has shown the present at least once.
    answered: bool,
    /// Its newest state; nothing before its first word.
    update: Option<Arc<Update>>,
    /// Its newest state that could be built: what is gone back to.
    good: Option<Arc<Update>>,
    /// Why a newer state could not be built.
    failure: Option<Problem>,
    /// Its task has ended, and why: nothing new will come.
    ended: Option<String>,
}

/// What the reconciler knows of a provider beside its state.
#[derive(Debug)]
struct Feed {
    reloads: mpsc::Sender<oneshot::Sender<()>>,
    /// When a state of it was last published.
    published: Option<Instant>,
    /// When its newest state shall be published; none if it is.
    due: Option<Instant>,
}

/// What whoever watches files needs.
#[derive(Debug)]
struct Watching {
    stamps: watch::Receiver<Arc<Stamps>>,
    notices: mpsc::Sender<BTreeSet<Arc<Path>>>,
}

/// The task that holds the snapshot writer.
pub struct Reconciler {
    build: Build,
    sources: Sources,
    writer: SnapshotWriter,
    feeds: Vec<Feed>,
    tasks: JoinSet<()>,
    /// Providers that are not started yet, with the ends of their channels.
    waiting: Vec<(Box<dyn Provider>, ProviderChannels)>,
    /// Providers by their task.
    running: HashMap<tokio::task::Id, usize>,
    updates: mpsc::Receiver<Update>,
    commands: mpsc::Receiver<oneshot::Sender<ReloadReport>>,
    certificates: mpsc::Receiver<CertificateUpdate>,
    certificates_sender: mpsc::Sender<CertificateUpdate>,
    /// Files of the routing configuration that changed.
    stale: mpsc::Receiver<BTreeSet<Arc<Path>>>,
    /// What those files were like when they were read, for whoever watches them.
    stamps: watch::Sender<Arc<Stamps>>,
    /// Both ends of the watching, until it starts.
    watching: Option<Watching>,
    /// When certificates are looked at again, although nothing has changed but the time.
    look_again: Instant,
    /// Of the last build, without what comes from certificates.
    base: Base,
    logged: BTreeSet<Problem>,
}

impl std::fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reconciler").field("sources", &self.sources).finish_non_exhaustive()
    }
}

impl Reconciler {
    /// A reconciler over these providers; they are started by [`Reconciler::run`]. What needs no provider is
    /// published from the first moment.
    pub fn new(
        install: Arc<Install>,
        problems: Vec<Problem>,
        providers: Vec<Box<dyn Provider>>,
        clock: Clock,
    ) -> (Self, SnapshotReader, ReloadHandle) {
        Self::with_build(install, problems, providers, clock, Arc::new(build))
    }

    fn with_build(
        install: Arc<Install>,
        problems: Vec<Problem>,
        providers: Vec<Box<dyn Provider>>,
        clock: Clock,
        build: Build,
    ) -> (Self, SnapshotReader, ReloadHandle) {
        let generated =
            Certificate::generate(clock.now()).expect("a key on P-256 needs nothing but randomness");
        let (updates_sender, updates) = mpsc::channel(QUEUE);
        let (commands_sender, commands) = mpsc::channel(QUEUE);
        let (certificates_sender, certificates) = mpsc::channel(QUEUE);
        let mut sources = Vec::new();
        let mut feeds = Vec::new();
        let mut waiting = Vec::new();
        for provider in providers {
            let (reloads, requests) = mpsc::channel(1);
            sources.push(Source {
                name: provider.name(),
                answered: false,
                update: None,
                good: None,
                failure: None,
                ended: None,
            });
            feeds.push(Feed { reloads, published: None, due: None });
            waiting.push((provider, ProviderChannels { updates: updates_sender.clone(), reloads: requests }));
        }
        let context = Arc::new(Context::new(&install));
        let mut sources = Sources {
            install,
            context,
            problems: problems.into(),
            providers: sources,
            resolved: Arc::default(),
            material: Arc::default(),
            stale: BTreeSet::new(),
            generated: Arc::new(generated),
            clock,
        };
        let Built { snapshot, material, base } = build(&sources, &Snapshot::empty());
        let (writer, reader) = border(snapshot);
        let (stale_sender, stale) = mpsc::channel(1);
        let (stamps, stamps_receiver) = watch::channel(Arc::clone(material.stamps()));
        sources.material = material;
        let reconciler = Self {
            build,
            sources,
            writer,
            feeds,
            tasks: JoinSet::new(),
            waiting,
            running: HashMap::new(),
            updates,
            commands,
            certificates,
            certificates_sender,
            stale,
            stamps,
            watching: Some(Watching { stamps: stamps_receiver, notices: stale_sender }),
            look_again: Instant::now(),
            base,
            logged: BTreeSet::new(),
        };
        (reconciler, reader, ReloadHandle::new(commands_sender))
    }

    /// Where the certificates of certificate resolvers are sent to.
    pub fn certificates(&self) -> mpsc::Sender<CertificateUpdate> {
        self.certificates_sender.clone()
    }

    /// Problems that were found after it was made: they stay, as those of the start do.
    #[must_use]
    pub fn with_problems(mut self, problems: Vec<Problem>) -> Self {
        if !problems.is_empty() {
            self.sources.problems = self.sources.problems.iter().cloned().chain(problems).collect();
            let built = (self.build)(&self.sources, &self.writer.current());
            self.publish_built(built);
        }
        self
    }

    /// Runs until the gateway ends.
    pub async fn run(mut self) {
        for (index, (provider, channels)) in std::mem::take(&mut self.waiting).into_iter().enumerate() {
            let task = self.tasks.spawn(provider.run(channels));
            self.running.insert(task.id(), index);
        }
        // Without watching, files are read again when the provider is asked to.
        let watched = self.sources.install.providers.file.as_ref().is_none_or(|file| file.watch);
        if let Some(Watching { stamps, notices }) = self.watching.take().filter(|_| watched) {
            self.tasks.spawn(named::watch(stamps, notices));
        }
        self.log_problems();
        let mut reload: Option<Reload> = None;
        loop {
            let due = self.feeds.iter().filter_map(|feed| feed.due).min();
            tokio::select! {
                Some(update) = self.certificates.recv() => self.publish_certificates(update).await,
                Some(update) = self.updates.recv() => self.accept(update),
                Some(ended) = self.tasks.join_next_with_id() => self.provider_ended(ended),
                Some(stale) = self.stale.recv() => self.publish_files(stale).await,
                () = sleep_until(self.look_again) => self.look_at_certificates().await,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.publish().await,
                silent = all_read(&mut reload) => {
                    if let Some(reload) = reload.take() {
                        self.finish_reload(reload, silent).await;
                    }
                }
                // One at a time: who asks in between waits for the next.
                Some(answer) = self.commands.recv(), if reload.is_none() => reload = Some(self.start_reload(answer)),
            }
        }
    }

    /// Takes in what a provider says now, and decides when it shall be published.
    fn accept(&mut self, update: Update) {
        let Some(index) = self.sources.providers.iter().position(|source| source.name == update.provider)
        else {
            tracing::error!(provider = %update.provider, "an update from a provider that was not started is passed over");
            return;
        };
        let source = &mut self.sources.providers[index];
        if source.update.as_deref().is_some_and(|before| same(before, &update)) {
            return;
        }
        let loses = source.update.as_deref().is_some_and(|before| loses_servers(before, &update));
        source.answered |= update.freshness == Freshness::Current;
        source.failure = None;
        source.update = Some(Arc::new(update));
        let now = Instant::now();
        let feed = &mut self.feeds[index];
        // The first passes at once. Later ones wait until the settling time since the last one is over, and only
        // the newest is left of those that wait. A server that is gone waits for nobody's patience.
        let throttle = self.sources.install.providers.throttle;
        let throttle = if loses { throttle.min(LOSS_SETTLES) } else { throttle };
        let settled = feed.published.map_or(now, |published| (published + throttle).max(now));
        feed.due = Some(feed.due.map_or(settled, |due| due.min(settled)));
    }

    /// A provider's task has ended although nobody told it to: what it last said stays.
    fn provider_ended(&mut self, ended: Result<(tokio::task::Id, ()), JoinError>) {
        let (id, reason) = match ended {
            Ok((id, ())) => (id, "has ended".to_owned()),
            Err(error) => (error.id(), format!("has ended with an internal error: {}", panic_text(error))),
        };
        if let Some(index) = self.running.remove(&id) {
            self.sources.providers[index].ended = Some(reason);
            self.feeds[index].due = Some(Instant::now());
        }
    }

    /// Builds a snapshot of what is known and publishes it.
    async fn publish(&mut self) {
        let dirty: Vec<usize> =
            (0..self.feeds.len()).filter(|index| self.feeds[*index].due.is_some()).collect();
        for index in &dirty {
            self.feeds[*index].due = None;
            self.feeds[*index].published = Some(Instant::now());
        }
        let current = self.writer.current();
        let (build, sources, previous) =
            (Arc::clone(&self.build), self.sources.clone(), Arc::clone(&current));
        let next = match spawn_blocking(move || build(&sources, &previous)).await {
            Ok(next) => {
                for source in &mut self.sources.providers {
                    source.good.clone_from(&source.update);
                }
                next
            }
            Err(error) => self.go_back(&dirty, &current, &panic_text(error)),
        };
        self.publish_built(next);
        self.log_problems();
    }

    fn publish_built(&mut self, built: Built) {
        let Built { snapshot, material, base } = built;
        self.base = base;
        self.take_material(material);
        self.look_again_after(&snapshot);
        self.writer.publish(Arc::new(snapshot));
    }

    /// The published routes once more, with the problem that their successors could not be built. The providers
    /// that brought them are held at their last good state until they say something else.
    fn go_back(&mut self, dirty: &[usize], current: &Snapshot, error: &str) -> Built {
        let mut problems = self.base.problems.to_vec();
        for index in dirty {
            let source = &mut self.sources.providers[*index];
            let problem = Problem::error(
                Origin::Gateway,
                format!("provider `{}`", source.name),
                format!("its new state could not be built and changes nothing: internal error: {error}"),
            )
            .with_hint("this is a fault of the gateway: please report it");
            source.update.clone_from(&source.good);
            source.failure = Some(problem.clone());
            problems.push(problem);
        }
        problems.sort();
        problems.dedup();
        let base = Base { problems: problems.into(), input_refused: true };
        let next = Snapshot { version: current.version + 1, ..Snapshot::clone(current) };
        let snapshot = self.sources.with_certificates(&base, next);
        Built { snapshot, material: Arc::clone(&self.sources.material), base }
    }

    /// Asks every provider to read again.
    fn start_reload(&self, answer: oneshot::Sender<ReloadReport>) -> Reload {
        let providers = self.feeds.iter().zip(&self.sources.providers);
        let providers = providers.map(|(feed, source)| (source.name.clone(), feed.reloads.clone()));
        Reload { before: self.writer.current(), answer, silent: Box::pin(read_again(providers.collect())) }
    }

    /// Publishes what was read, without settling, and answers.
    async fn finish_reload(&mut self, reload: Reload, silent: Vec<ProviderName>) {
        // An acknowledgement comes after its update, so every update is in the queue by now.
        while let Ok(update) = self.updates.try_recv() {
            self.accept(update);
        }
        let stamps = Arc::clone(self.sources.material.stamps());
        let stale = spawn_blocking(move || named::changed(&stamps)).await.unwrap_or_default();
        self.sources.stale.extend(stale);
        if !self.sources.stale.is_empty() || self.feeds.iter().any(|feed| feed.due.is_some()) {
            self.publish().await;
        }
        reload.answer(&self.writer.current(), silent);
    }

    /// Says each problem once when it appears and once when it is solved.
    fn log_problems(&mut self) {
        let current: BTreeSet<Problem> = self.writer.current().problems.iter().cloned().collect();
        for problem in current.difference(&self.logged) {
            match problem.severity {
                Severity::Error => tracing::error!("{problem}"),
                Severity::Warning => tracing::warn!("{problem}"),
            }
        }
        for problem in self.logged.difference(&current) {
            tracing::info!("solved: {problem}");
        }
        self.logged = current;
    }
}

fn same(one: &Update, other: &Update) -> bool {
    one.freshness == other.freshness && one.problems == other.problems && one.routing == other.routing
}

fn panic_text(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "cancelled".to_owned() };
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (None, Some(text)) => text.clone(),
        (None, None) => "unknown".to_owned(),
    }
}

/// Merge, validate, compile.
fn build(sources: &Sources, previous: &Snapshot) -> Built {
    let mut problems = sources.problems.to_vec();
    let mut providers = Vec::with_capacity(sources.providers.len());
    for source in &sources.providers {
        let update = source.update.as_deref();
        problems.extend(update.iter().flat_map(|update| update.problems.iter().cloned()));
        problems.extend(source.failure.clone());
        let stale = match update.map(|update| &update.freshness) {
            Some(Freshness::Stale(reason)) => Some(reason.clone()),
            Some(Freshness::Current) | None => None,
        };
        if let Some(reason) = &source.ended {
            problems.push(Problem::error(
                Origin::Gateway,
                format!("provider `{}`", source.name),
                reason.clone(),
            ));
        }
        providers.push(ProviderState {
            name: source.name.clone(),
            answered: source.answered,
            stale: source.ended.clone().or(stale),
        });
    }
    let (routing, found) = routing_of(sources, &previous.routing);
    problems.extend(found);
    let material = Arc::new(Material::read(&routing, &sources.material, &sources.stale));
    let files = Arc::clone(material.files());
    let certificates = Arc::clone(&previous.certificates);
    let snapshot =
        compile(&sources.install, Parts { routing, problems, providers, files, certificates }, previous);
    let failed = sources.providers.iter().any(|source| source.failure.is_some());
    let base =
        Base { problems: Arc::clone(&snapshot.problems), input_refused: snapshot.input_refused || failed };
    let snapshot =
        Sources { material: Arc::clone(&material), ..sources.clone() }.with_certificates(&base, snapshot);
    Built { snapshot, material, base }
}

/// What the providers said, brought together.
fn routing_of(sources: &Sources, previous: &Routing) -> (Routing, Vec<Problem>) {
    let said = sources.providers.iter().filter_map(|source| {
        let update = source.update.as_deref()?;
        Some((source.name.clone(), update.routing.clone()))
    });
    let (merged, mut problems) = qualify(said.collect());
    let (routing, found) = validate_after(previous, merged, &sources.context);
    problems.extend(found);
    (routing, problems)
}

/// Whether a server is gone, or a whole service.
fn loses_servers(before: &Update, after: &Update) -> bool {
    fn lost<T: PartialEq>(before: &Items<T>, after: &Items<T>, servers: impl Fn(&T) -> Vec<&str>) -> bool {
        before.iter().any(|(name, service)| {
            let left = after.get(name);
            if left.is_some_and(|left| left == service) {
                return false;
            }
            let left = left.map(|left| servers(&left.value)).unwrap_or_default();
            servers(&service.value).iter().any(|server| !left.contains(server))
        })
    }
    let (before, after) = (&before.routing, &after.routing);
    lost(&before.http.services, &after.http.services, |service| {
        let servers = service.load_balancer.iter().flat_map(|balancer| &balancer.servers);
        servers.map(|server| server.url.as_str()).collect()
    }) || lost(&before.tcp.services, &after.tcp.services, |service| {
        let servers = service.load_balancer.iter().flat_map(|balancer| &balancer.servers);
        servers.map(|server| server.address.as_str()).collect()
    }) || lost(&before.udp.services, &after.udp.services, |service| {
        let servers = service.load_balancer.iter().flat_map(|balancer| &balancer.servers);
        servers.map(|server| server.address.as_str()).collect()
    })
}
