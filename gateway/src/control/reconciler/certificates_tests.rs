//! Which certificates are served, and what is said about them.

use std::sync::atomic::{AtomicU64, Ordering};

use config::routing::tls::Domain;
use security::acme::Phase;

use super::*;
use crate::control::Clock;
use crate::snapshot::SnapshotReader;
use crate::test_support::{self, DAY, pair};

/// A reconciler without providers, and the time in hand.
struct Stage {
    updates: tokio::sync::mpsc::Sender<CertificateUpdate>,
    snapshot: SnapshotReader,
    days: Arc<AtomicU64>,
    _folder: tempfile::TempDir,
}

fn day(day: u64) -> SystemTime {
    test_support::clock().now() + DAY * u32::try_from(day).unwrap()
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let install = test_support::install(&["web"], folder.path());
        let days = Arc::new(AtomicU64::new(0));
        let clock = Clock::new({
            let days = Arc::clone(&days);
            move || day(days.load(Ordering::SeqCst))
        });
        let (reconciler, snapshot, _) = Reconciler::new(Arc::new(install), Vec::new(), Vec::new(), clock);
        let updates = reconciler.certificates();
        tokio::spawn(reconciler.run());
        Self { updates, snapshot, days, _folder: folder }
    }

    async fn say(&self, certificates: &[&Arc<Certificate>], update: CertificateUpdate) {
        let (published, is_published) = oneshot::channel();
        let certificates = certificates.iter().map(|one| Arc::clone(one)).collect();
        let update = CertificateUpdate { certificates, published: Some(published), ..update };
        self.updates.send(update).await.unwrap();
        is_published.await.unwrap();
    }

    /// What is said about certificates on this day.
    async fn problems_on(&self, day: u64) -> Vec<String> {
        self.days.store(day, Ordering::SeqCst);
        // Whatever the time says is seen within an hour, and published if it differs.
        tokio::time::sleep(LOOK_AGAIN + Duration::from_secs(60)).await;
        self.snapshot.load().problems.iter().map(ToString::to_string).collect()
    }
}

fn resolved(names: &[&str], from: u64, to: u64) -> Arc<Certificate> {
    let (chain, key) = pair(names, day(from), day(to));
    let source = CertificateSource::Resolver("le".into());
    Arc::new(Certificate::from_pem(chain.as_bytes(), key.as_bytes(), source).unwrap())
}

#[tokio::test(start_paused = true)]
async fn certificates_of_resolvers_are_published_at_once_and_change_nothing_else() {
    let stage = Stage::new();
    let before = stage.snapshot.load();
    let certificate = resolved(&["a.test"], 0, 90);
    let challenges = Challenges { http: [("token".into(), "proof".into())].into(), ..Challenges::default() };
    let order = OrderState {
        resolver: "le".into(),
        domain: Domain { main: "a.test".into(), sans: Vec::new() },
        phase: Phase::Valid,
        failure: None,
        next: None,
    };
    let problem = Problem::error(Origin::Gateway, "certificate resolver `le`", "stands still");
    let update = CertificateUpdate {
        challenges: Arc::new(challenges),
        orders: vec![order].into(),
        problems: vec![problem.clone()],
        ..CertificateUpdate::default()
    };
    stage.say(&[&certificate], update).await;
    let after = stage.snapshot.load();
    assert_eq!(after.version, before.version + 1);
    assert!(Arc::ptr_eq(&before.routes, &after.routes) && Arc::ptr_eq(&before.routing, &after.routing));
    assert!(Arc::ptr_eq(&before.files, &after.files) && Arc::ptr_eq(&before.providers, &after.providers));
    assert!(Arc::ptr_eq(after.certificates.find("a.test").unwrap(), &certificate));
    assert_eq!(after.challenges.http.get("token").map(|proof| &**proof), Some("proof"));
    assert_eq!((after.orders.len(), after.problems.to_vec()), (1, vec![problem]));
    // The same certificates with other proof: the store is the same value.
    stage.say(&[&certificate], CertificateUpdate::default()).await;
    let last = stage.snapshot.load();
    assert!(Arc::ptr_eq(&after.certificates, &last.certificates));
    assert!(last.problems.is_empty() && last.challenges.http.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_certificate_is_told_in_time_and_ever_louder() {
    let stage = Stage::new();
    let certificate = resolved(&["a.test"], 0, 100);
    // Renewed already: the old one is served to nobody.
    let (old, renewed) = (resolved(&["b.test"], 0, 50), resolved(&["b.test"], 0, 365));
    stage.say(&[&certificate, &old, &renewed], CertificateUpdate::default()).await;
    let end = test_support::clock().now() + DAY * 100;
    let date = date(end);
    let left = |left: &str| {
        format!(
            "gateway: warning: certificate for `a.test`: expires on {date}: less than {left} left; resolver `le` could not renew it: `certificates list` says why"
        )
    };
    for (on, expected) in [
        (60, Vec::new()),
        (78, Vec::new()),
        (79, vec![left("21 days are")]),
        (92, vec![left("21 days are")]),
        (93, vec![left("7 days are")]),
        (97, vec![left("3 days are")]),
        (99, vec![left("a day is")]),
    ] {
        assert_eq!(stage.problems_on(on).await, expected, "on day {on}");
    }
    let problems = stage.problems_on(100).await;
    let expired = format!(
        "certificate for `a.test`: has expired on {date}: clients refuse it; it is served all the same"
    );
    assert!(problems.len() == 1 && problems[0].contains(&expired), "{problems:?}");
    assert!(stage.snapshot.load().certificates.find("a.test").is_some());
}

#[test]
fn a_short_life_is_near_its_end_when_a_quarter_of_it_is_left() {
    for (life, left, expected) in [
        (90, 22, None),
        (90, 21, Some(End::Days(21))),
        (45, 21, None),
        (45, 11, Some(End::Days(21))),
        (8, 3, None),
        (8, 2, Some(End::Days(3))),
        (8, 1, Some(End::Days(1))),
        (8, 0, Some(End::Expired)),
    ] {
        let certificate = resolved(&["a.test"], 0, life);
        assert_eq!(ending(&certificate, day(life - left)), expected, "{left} of {life} days");
    }
}

#[tokio::test(start_paused = true)]
async fn the_default_certificate_is_made_anew_before_it_expires() {
    let stage = Stage::new();
    let fingerprint = || {
        let snapshot = stage.snapshot.load();
        let default = snapshot.certificates.default_certificate().unwrap();
        (default.fingerprint, default.not_after)
    };
    let first = fingerprint();
    assert_eq!(first.1, day(365));
    assert!(stage.problems_on(300).await.is_empty());
    assert_eq!(fingerprint(), first);
    assert!(stage.problems_on(340).await.is_empty());
    assert_eq!(fingerprint().1, day(340 + 365));
}
