//! Compiling a snapshot: all of it at the start, and after one of 10,000 routers changed. The budget for publishing a
//! change among 10,000 routers is 50 ms.

use std::hint::black_box;
use std::sync::Arc;

use config::Origin;
use config::install::Install;
use config::install::load::{Disk, load};
use config::name::{RouterName, ServiceName};
use config::routing::merge::{Rule, combine, qualify};
use config::routing::raw::{Defined, RawLoadBalancer, RawRouter, RawRouting, RawServer, RawService};
use config::routing::validate::{Context, validate_after};
use config::routing::{Observability, Router, Routing, Scheme, Server, Service, Standing, Target};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use gateway::snapshot::Snapshot;
use gateway::snapshot::compile::{Parts, compile};

// The gateway's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Entry point `web`, and nothing else.
fn install() -> Install {
    let flags = ["--entryPoints.web.address=127.0.0.1:0".to_owned()];
    load(&flags, [], &Disk).expect("the flags are good").install
}

fn router(index: usize, rule: &str) -> Router {
    let rule = config::rule::parse(rule).expect("the rule is good");
    Router {
        name: RouterName::from(format!("router-{index}@docker")),
        priority: rule.default_priority(),
        rule,
        precedence: 0,
        entry_points: vec!["web".into()],
        tls: None,
        middlewares: Vec::new(),
        target: Target::Service(format!("service-{index}@docker").into()),
        standing: Standing::Up,
        recursion_guard: false,
        observability: Observability::default(),
        origin: Origin::Gateway,
    }
}

fn service(index: usize) -> Service {
    let host: Arc<str> = format!("10.{}.{}.{}", index >> 16 & 255, index >> 8 & 255, index & 255).into();
    Service {
        name: ServiceName::from(format!("service-{index}@docker")),
        servers: vec![Server {
            url: format!("http://{host}:8080").into(),
            scheme: Scheme::Http,
            host,
            port: 8080,
            weight: 1,
            path_prefix: "".into(),
            pin: None,
        }],
        down: None,
        pass_host_header: true,
        transport: Arc::default(),
        origin: Origin::Gateway,
    }
}

fn routing(count: usize) -> Routing {
    let mut routing = Routing::default();
    for index in 0..count {
        let router = router(index, &format!("Host(`app-{index}.example.com`) && PathPrefix(`/api`)"));
        routing.routers.insert(router.name.clone(), router);
        let service = service(index);
        routing.services.insert(service.name.clone(), service);
    }
    routing
}

fn parts(routing: Routing) -> Parts {
    Parts { routing, ..Parts::default() }
}

fn snapshot_compile(criterion: &mut Criterion) {
    let install = install();
    let mut group = criterion.benchmark_group("snapshot_compile");
    group.sample_size(20);
    for count in [100, 1_000, 10_000] {
        let all = routing(count);
        group.bench_function(format!("{count}_routers/first"), |bencher| {
            let nothing = Snapshot::empty();
            let build = |parts| compile(&install, parts, black_box(&nothing));
            bencher.iter_batched(|| parts(all.clone()), build, BatchSize::LargeInput);
        });
        let before = compile(&install, parts(all.clone()), &Snapshot::empty());
        let mut changed = all;
        let replaced = router(count / 2, "Host(`moved.example.com`)");
        changed.routers.insert(replaced.name.clone(), replaced);
        group.bench_function(format!("{count}_routers/one_changed"), |bencher| {
            let build = |parts| compile(&install, parts, black_box(&before));
            bencher.iter_batched(|| parts(changed.clone()), build, BatchSize::LargeInput);
        });
    }
    group.finish();
}

/// `count` containers, each with a router and a service of its own.
fn containers(count: usize) -> Vec<RawRouting> {
    let container = |index: usize| {
        let mut fragment = RawRouting::default();
        let name = format!("app-{index}");
        let rule = format!("Host(`app-{index}.example.com`) && PathPrefix(`/api`)");
        let router = RawRouter { rule, service: name.clone(), ..RawRouter::default() };
        let url = format!("http://10.{}.{}.{}:8080", index >> 16 & 255, index >> 8 & 255, index & 255);
        let servers = vec![RawServer { url, ..RawServer::default() }];
        let load_balancer = Some(RawLoadBalancer { servers, ..RawLoadBalancer::default() });
        let service = RawService { load_balancer, ..RawService::default() };
        let origin = Origin::container(name.clone(), format!("{index:064x}"));
        fragment.http.routers.insert(name.clone(), Defined::new(router, origin.clone()));
        fragment.http.services.insert(name, Defined::new(service, origin));
        fragment
    };
    (0..count).map(container).collect()
}

/// All that lies between what is known of the containers and the published snapshot.
fn publish(install: &Install, context: &Context, containers: &[RawRouting], previous: &Snapshot) -> Snapshot {
    let (combined, mut problems) = combine(containers, Rule::Containers);
    let (merged, found) = qualify(vec![("docker".into(), combined)]);
    problems.extend(found);
    let (routing, found) = validate_after(&previous.routing, merged, context);
    problems.extend(found);
    compile(install, Parts { routing, problems, ..Parts::default() }, previous)
}

fn publish_change(criterion: &mut Criterion) {
    let install = install();
    let context = Context::new(&install);
    let mut group = criterion.benchmark_group("publish_change");
    group.sample_size(20);
    for count in [100, 1_000, 10_000] {
        let mut containers = containers(count);
        let before = publish(&install, &context, &containers, &Snapshot::empty());
        assert_eq!((before.routing.routers.len(), before.problems.len()), (count, 0), "all of it is served");
        if let Some(router) = containers[50].http.routers.get_mut("app-50") {
            router.value.rule = "Host(`moved.example.com`)".to_owned();
        }
        group.bench_function(format!("{count}_routers"), |bencher| {
            // What was published before goes with its last request: later, and not on the way.
            let publish = |()| publish(&install, &context, black_box(&containers), &before);
            bencher.iter_batched(|| (), publish, BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, snapshot_compile, publish_change);
criterion_main!(benches);
