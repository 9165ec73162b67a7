//! The reconciler over providers that do as they are told, on paused time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::*;

/// A provider that sends what it is given, and when asked to read again, what was laid aside for that.
struct Scripted {
    name: &'static str,
    orders: mpsc::Receiver<Order>,
    aside: Option<Update>,
}

enum Order {
    Send(Update),
    LayAside(Update),
    Panic,
}

#[async_trait]
impl Provider for Scripted {
    fn name(&self) -> ProviderName {
        self.name.into()
    }

    async fn load(&mut self) -> Update {
        Update::empty(self.name())
    }

    async fn run(mut self: Box<Self>, mut channels: ProviderChannels) {
        loop {
            tokio::select! {
                Some(order) = self.orders.recv() => match order {
                    Order::Send(update) => channels.updates.send(update).await.unwrap(),
                    Order::LayAside(update) => self.aside = Some(update),
                    Order::Panic => panic!("a provider's fault"),
                },
                Some(read) = channels.reloads.recv() => {
                    if let Some(update) = self.aside.take() {
                        channels.updates.send(update).await.unwrap();
                    }
                    read.send(()).unwrap();
                }
            }
        }
    }
}

/// A reconciler that runs, with its providers' strings in hand.
struct Stage {
    docker: mpsc::Sender<Order>,
    file: mpsc::Sender<Order>,
    snapshot: SnapshotReader,
    reload: ReloadHandle,
    builds: Arc<AtomicUsize>,
    _folder: tempfile::TempDir,
}

impl Stage {
    fn new(throttle: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut install = crate::test_support::install(&["web"], folder.path());
        install.providers.throttle = throttle;
        let (docker, docker_orders) = mpsc::channel(1);
        let (file, file_orders) = mpsc::channel(1);
        let providers: Vec<Box<dyn Provider>> = vec![
            Box::new(Scripted { name: "docker", orders: docker_orders, aside: None }),
            Box::new(Scripted { name: "file", orders: file_orders, aside: None }),
        ];
        let builds = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&builds);
        let fragile: Build = Arc::new(move |sources, previous| {
            counted.fetch_add(1, Ordering::SeqCst);
            let next = build(sources, previous);
            assert!(
                next.snapshot.problems.iter().all(|problem| problem.message != "fatal"),
                "a fault of the gateway"
            );
            next
        });
        let (reconciler, snapshot, reload) = Reconciler::with_build(
            Arc::new(install),
            Vec::new(),
            providers,
            crate::test_support::clock(),
            fragile,
        );
        tokio::spawn(reconciler.run());
        Self { docker, file, snapshot, reload, builds, _folder: folder }
    }

    fn builds(&self) -> usize {
        self.builds.load(Ordering::SeqCst)
    }

    fn problems(&self) -> Vec<String> {
        self.snapshot.load().problems.iter().map(|problem| problem.message.clone()).collect()
    }

    async fn shows(&self, message: &str) {
        let has = |snapshot: &Snapshot| snapshot.problems.iter().any(|problem| problem.message == message);
        let shown = tokio::time::timeout(Duration::from_secs(60), self.snapshot.wait_for(has)).await;
        assert!(shown.is_ok(), "{message} is not shown; but {:?}", self.problems());
    }
}

/// An update that is known by its problem.
fn update(provider: &str, message: &str) -> Update {
    let problem = Problem::error(Origin::file("routes.yml", 1, 1), "router `a`", message);
    Update { problems: vec![problem], ..Update::empty(provider.into()) }
}

#[tokio::test(start_paused = true)]
async fn the_first_state_of_a_provider_is_published_at_once_and_later_ones_settle() {
    let stage = Stage::new(Duration::from_secs(2));
    let start = Instant::now();
    stage.docker.send(Order::Send(update("docker", "one"))).await.unwrap();
    stage.shows("one").await;
    assert!(start.elapsed() < Duration::from_millis(10), "{:?}", start.elapsed());

    // Only the newest of those that wait is built.
    let before = stage.builds();
    for message in ["two", "three", "four"] {
        stage.docker.send(Order::Send(update("docker", message))).await.unwrap();
    }
    stage.shows("four").await;
    assert_eq!(stage.builds() - before, 1);
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());

    // A change after quiet need not wait.
    tokio::time::advance(Duration::from_secs(5)).await;
    let start = Instant::now();
    stage.docker.send(Order::Send(update("docker", "five"))).await.unwrap();
    stage.shows("five").await;
    assert!(start.elapsed() < Duration::from_millis(10), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_gone_does_not_wait_for_others_to_settle() {
    let stage = Stage::new(Duration::from_secs(20));
    let served = |message: &str, urls: &[&str]| {
        let mut balancer = config::routing::raw::RawLoadBalancer::default();
        balancer.place_servers(urls.iter().map(|url| (*url).to_owned()));
        let service = config::routing::raw::RawService {
            load_balancer: Some(balancer),
            ..config::routing::raw::RawService::default()
        };
        let mut update = update("docker", message);
        let item = config::routing::raw::Defined::new(service, Origin::container("blog", "1"));
        update.routing.http.services.insert("blog".to_owned(), item);
        update
    };
    stage
        .docker
        .send(Order::Send(served("both", &["http://10.0.0.1:80", "http://10.0.0.2:80"])))
        .await
        .unwrap();
    stage.shows("both").await;
    let start = Instant::now();
    stage.docker.send(Order::Send(served("one", &["http://10.0.0.2:80"]))).await.unwrap();
    stage.shows("one").await;
    assert!(start.elapsed() < Duration::from_millis(200), "{:?}", start.elapsed());

    // One that joins can wait.
    let start = Instant::now();
    stage
        .docker
        .send(Order::Send(served("two", &["http://10.0.0.2:80", "http://10.0.0.3:80"])))
        .await
        .unwrap();
    stage.shows("two").await;
    assert!(start.elapsed() >= Duration::from_secs(19), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_provider_does_not_wait_for_the_settling_of_another() {
    let stage = Stage::new(Duration::from_secs(2));
    stage.docker.send(Order::Send(update("docker", "docker one"))).await.unwrap();
    stage.shows("docker one").await;
    let start = Instant::now();
    stage.file.send(Order::Send(update("file", "file one"))).await.unwrap();
    stage.shows("file one").await;
    assert!(start.elapsed() < Duration::from_millis(10), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_state_is_not_published_again() {
    let stage = Stage::new(Duration::ZERO);
    stage.docker.send(Order::Send(update("docker", "one"))).await.unwrap();
    stage.shows("one").await;
    let (version, builds) = (stage.snapshot.load().version, stage.builds());
    stage.docker.send(Order::Send(update("docker", "one"))).await.unwrap();
    stage.reload.reload().await.unwrap();
    assert_eq!((stage.snapshot.load().version, stage.builds()), (version, builds));
}

#[tokio::test(start_paused = true)]
async fn each_provider_keeps_its_last_state() {
    let stage = Stage::new(Duration::ZERO);
    stage.docker.send(Order::Send(update("docker", "from docker"))).await.unwrap();
    stage.file.send(Order::Send(update("file", "from a file"))).await.unwrap();
    stage.shows("from docker").await;
    stage.shows("from a file").await;
    assert_eq!(stage.problems().len(), 2);
    let stale = Update { freshness: Freshness::Stale("gone".to_owned()), ..update("docker", "from docker") };
    stage.docker.send(Order::Send(stale)).await.unwrap();
    let is_stale = |snapshot: &Snapshot| snapshot.providers[0].stale.as_deref() == Some("gone");
    let snapshot = stage.snapshot.wait_for(is_stale).await.unwrap();
    assert!(snapshot.providers[0].answered);
    assert_eq!(stage.problems().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_built_changes_nothing_and_is_shown() {
    let stage = Stage::new(Duration::ZERO);
    stage.docker.send(Order::Send(update("docker", "good"))).await.unwrap();
    stage.shows("good").await;
    let routes = Arc::clone(&stage.snapshot.load().routes);

    let failure =
        "its new state could not be built and changes nothing: internal error: a fault of the gateway";
    stage.docker.send(Order::Send(update("docker", "fatal"))).await.unwrap();
    stage.shows(failure).await;
    assert!(stage.problems().contains(&"good".to_owned()));
    assert!(Arc::ptr_eq(&routes, &stage.snapshot.load().routes));
    assert!(stage.snapshot.load().input_refused);

    // It costs the other provider nothing, and stays shown until the first says something better.
    stage.file.send(Order::Send(update("file", "another"))).await.unwrap();
    stage.shows("another").await;
    assert!(stage.problems().contains(&failure.to_owned()));
    stage.docker.send(Order::Send(update("docker", "better"))).await.unwrap();
    stage.shows("better").await;
    assert!(!stage.problems().contains(&failure.to_owned()));
    assert!(!stage.snapshot.load().input_refused);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_ends_keeps_its_routes_and_is_shown() {
    let stage = Stage::new(Duration::ZERO);
    stage.docker.send(Order::Send(update("docker", "one"))).await.unwrap();
    stage.shows("one").await;
    stage.docker.send(Order::Panic).await.unwrap();
    stage.shows("has ended with an internal error: a provider's fault").await;
    assert!(stage.problems().contains(&"one".to_owned()));
    assert!(stage.snapshot.load().providers[0].stale.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_reload_reads_everything_again_and_answers_when_it_is_published() {
    let stage = Stage::new(Duration::from_secs(2));
    stage.docker.send(Order::Send(update("docker", "old"))).await.unwrap();
    stage.shows("old").await;
    stage.docker.send(Order::LayAside(update("docker", "new"))).await.unwrap();
    let start = Instant::now();
    let report = stage.reload.reload().await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(10), "it settles no further: {:?}", start.elapsed());
    assert_eq!(stage.problems(), ["new"]);
    assert_eq!(report.version, stage.snapshot.load().version);
    assert_eq!(report.problems.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reload_is_answered_without_a_provider_that_keeps_silent() {
    let stage = Stage::new(Duration::ZERO);
    stage.docker.send(Order::Panic).await.unwrap();
    stage.shows("has ended with an internal error: a provider's fault").await;
    let report = stage.reload.reload().await.unwrap();
    let silent = report.problems.iter().any(|problem| problem.message == "has not read again");
    assert!(silent, "{:?}", report.problems);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_is_ready_once_every_provider_has_answered_or_had_its_time() {
    use crate::control::Readiness;
    use crate::lifecycle::{Lifecycle, Phase};

    let stage = Stage::new(Duration::ZERO);
    let lifecycle = Lifecycle::default();
    let readiness = Readiness::new(stage.snapshot.clone(), lifecycle.reader(), Instant::now());
    assert!(!readiness.report().ready);
    stage.docker.send(Order::Send(update("docker", "one"))).await.unwrap();
    stage.shows("one").await;
    assert!(!readiness.report().ready);
    let start = Instant::now();
    assert!(readiness.ready().await);
    assert_eq!(start.elapsed().as_secs(), 10);
    lifecycle.enter(Phase::Draining);
    assert!(!readiness.report().ready);
}
