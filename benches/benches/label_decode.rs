//! Labels of many containers into routing settings, as after each change of one container: a whole list at once.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;

use config::install::{DockerEndpoint, DockerProvider, LabelScope};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use discovery::docker::container::{Container, Health, Network, NetworkMode, Port, State};
use discovery::docker::labels::{Labels, Made, Surroundings};

fn settings() -> DockerProvider {
    DockerProvider {
        endpoint: DockerEndpoint::Unix(PathBuf::from("/var/run/docker.sock")),
        exposed_by_default: true,
        network: Some("web".to_owned()),
        default_rule: "Host(`{{ normalize .Name }}`)".to_owned(),
        constraints: None,
        allow_empty_services: false,
        use_bind_port_ip: false,
        watch: true,
        label_prefixes: vec!["traefik.".to_owned()],
        label_scope: LabelScope::Shared,
        implied: false,
    }
}

/// A container as Compose files label them: eleven labels, of which eight are ours.
fn container(number: usize) -> Container {
    let labels = [
        ("com.docker.compose.project".to_owned(), "stack".to_owned()),
        ("com.docker.compose.service".to_owned(), format!("app{number}")),
        ("com.docker.compose.container-number".to_owned(), "1".to_owned()),
        ("traefik.enable".to_owned(), "true".to_owned()),
        (format!("traefik.http.routers.app{number}.rule"), format!("Host(`app{number}.example.com`)")),
        (format!("traefik.http.routers.app{number}.entrypoints"), "websecure".to_owned()),
        (format!("traefik.http.routers.app{number}.tls.certresolver"), "le".to_owned()),
        (format!("traefik.http.routers.app{number}.middlewares"), format!("head{number}, auth@file")),
        (format!("traefik.http.middlewares.head{number}.headers.stsseconds"), "31536000".to_owned()),
        (
            format!("traefik.http.middlewares.head{number}.headers.customrequestheaders.X-App"),
            number.to_string(),
        ),
        (format!("traefik.http.services.app{number}.loadbalancer.server.port"), "8080".to_owned()),
    ];
    let address = std::net::Ipv4Addr::from(0x0a00_0002 + u32::try_from(number).expect("few containers"));
    let network = Network { ipv4: Some(address), ipv6: None, gateway: None };
    Container {
        id: format!("{number:064x}"),
        name: format!("stack_app{number}_1"),
        labels: BTreeMap::from(labels),
        created: 0,
        state: State::Running,
        health: Health::Healthy,
        mode: NetworkMode::Own,
        networks: BTreeMap::from([("web".to_owned(), network)]),
        ports: vec![Port { private: 8080, published: None }],
    }
}

fn label_decode(criterion: &mut Criterion) {
    let labels = Labels::new(settings(), Arc::new(|_| None));
    for count in [1, 40, 1_000] {
        let containers: Vec<Container> = (0..count).map(container).collect();
        let (routing, problems) = labels.routing(&containers, &Surroundings::default());
        assert!(routing.http.routers.len() == count && problems.is_empty(), "{problems:?}");
        criterion.bench_function(&format!("label_decode/{count}_containers"), |bencher| {
            bencher.iter(|| labels.routing(black_box(&containers), &Surroundings::default()));
        });
        let mut made = Made::default();
        let mut changed = containers.clone();
        changed[0].labels.insert("traefik.http.routers.app0.priority".to_owned(), "7".to_owned());
        let mut turn = [changed, containers].into_iter().cycle();
        criterion.bench_function(&format!("label_decode/{count}_containers/one_changed"), |bencher| {
            let decode = |containers: &mut Vec<Container>| {
                labels.routing_after(&mut made, black_box(containers), &Surroundings::default())
            };
            bencher.iter_batched_ref(|| turn.next().expect("it has no end"), decode, BatchSize::LargeInput);
        });
    }
}

criterion_group!(benches, label_decode);
criterion_main!(benches);
