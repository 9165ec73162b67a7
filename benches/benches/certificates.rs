//! Certificates: the one of a server name among 10,000 names, and the way of one renewed among 10,000 to the published
//! snapshot. The budgets are 200 ns and 10 ms.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config::install::load::{Disk, load};
use criterion::{Criterion, criterion_group, criterion_main};
use gateway::control::Clock;
use gateway::control::reconciler::{CertificateUpdate, Reconciler};
use rcgen::{CertificateParams, KeyPair};
use security::certificate::{Certificate, CertificateSource};
use security::certificate_store::CertificateStore;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

// The gateway's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const COUNT: usize = 10_000;

/// Noon of a day in 2026.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_262_400)
}

fn certificate(name: &str, key: &KeyPair) -> Arc<Certificate> {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("the name is valid");
    params.not_before = now().into();
    params.not_after = (now() + Duration::from_secs(90 * 86_400)).into();
    let chain = params.self_signed(key).expect("it can sign itself").pem();
    let source = CertificateSource::Resolver("le".into());
    let made = Certificate::from_pem(chain.as_bytes(), key.serialize_pem().as_bytes(), source);
    Arc::new(made.expect("the pair is good"))
}

/// Exact names, and a wildcard in every hundredth place.
fn certificates(key: &KeyPair) -> Vec<Arc<Certificate>> {
    let name = |index: usize| match index % 100 {
        99 => format!("*.zone{index}.example.com"),
        _ => format!("app{index}.example.com"),
    };
    (0..COUNT).map(|index| certificate(&name(index), key)).collect()
}

fn certificate_lookup(criterion: &mut Criterion) {
    let key = KeyPair::generate().expect("a key can be made");
    let default = Arc::new(Certificate::generate(now()).expect("a key can be made"));
    let store = CertificateStore::new(certificates(&key), default, now());
    let mut group = criterion.benchmark_group("certificate_lookup");
    for (what, name, found) in [
        ("exact", "app5000.example.com", true),
        ("wildcard", "www.zone5099.example.com", true),
        ("none", "www.example.org", false),
    ] {
        assert_eq!(store.find(name).is_some(), found, "{name}");
        group.bench_function(format!("{COUNT}_names/{what}"), |bencher| {
            bencher.iter(|| store.find(black_box(name)).is_some());
        });
    }
    group.finish();
}

fn publish_certificate(criterion: &mut Criterion) {
    let flags = ["--entryPoints.web.address=127.0.0.1:0".to_owned()];
    let install = load(&flags, [], &Disk).expect("the flags are good").install;
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads");
    let _inside = runtime.enter();
    let (reconciler, snapshot, _) =
        Reconciler::new(Arc::new(install), Vec::new(), Vec::new(), Clock::new(now));
    let updates = reconciler.certificates();
    runtime.spawn(reconciler.run());
    let key = KeyPair::generate().expect("a key can be made");
    let mut all = certificates(&key);
    let renewed = [(); 2].map(|()| certificate("app5000.example.com", &key));
    let mut group = criterion.benchmark_group("publish_certificate");
    group.sample_size(20);
    let mut turn = 0;
    group.bench_function(format!("one_of_{COUNT}"), |bencher| {
        bencher.iter(|| {
            turn += 1;
            all[5000] = Arc::clone(&renewed[turn % 2]);
            let (published, is_published) = oneshot::channel();
            let certificates = all.clone();
            let update = CertificateUpdate {
                certificates,
                published: Some(published),
                ..CertificateUpdate::default()
            };
            runtime.block_on(async {
                updates.send(update).await.expect("the reconciler listens");
                is_published.await.expect("it is published");
            });
        });
    });
    group.finish();
    let served = snapshot.load().certificates.find("app5000.example.com").map(Arc::clone);
    assert!(served.is_some_and(|served| Arc::ptr_eq(&served, &renewed[turn % 2])), "the last one is served");
}

criterion_group!(benches, certificate_lookup, publish_certificate);
criterion_main!(benches);
