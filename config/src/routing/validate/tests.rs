//! Files and labels -> what can be routed, and what is said about the rest.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use super::*;
use crate::install;
use crate::name::EntryPointName;
use crate::routing::file::parse_file;
use crate::routing::labels::decode_labels;
use crate::routing::merge::{self, combine};
use crate::routing::{Standing, Target};

/// What an install configuration of these flags says about routing.
fn context(flags: &[&str]) -> Context {
    let flags: Vec<_> = flags.iter().map(|&flag| flag.to_owned()).collect();
    let loaded = install::load::load(&flags, Vec::new(), &NoFiles).expect("the flags are good");
    Context::new(&loaded.install)
}

/// Entry points `web` and `websecure`, and certificate resolver `le`.
const PLAIN: [&str; 3] = [
    "--entryPoints.web.address=:80",
    "--entryPoints.websecure.address=:443",
    "--certificatesResolvers.le.acme.tlsChallenge=true",
];

struct NoFiles;

impl install::load::Files for NoFiles {
    fn read(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn mode(&self, _: &Path) -> Option<u32> {
        None
    }
}

/// A file of the file provider.
fn file(text: &str) -> (ProviderName, RawRouting) {
    let parsed = parse_file(text, Path::new("routes.yml"), &|_| None).expect("the file parses");
    assert_eq!(parsed.problems, []);
    (ProviderName::from("file"), parsed.routing)
}

/// A running container, whose one service is at `10.0.0.<since>`.
fn container(name: &str, since: i64, labels: &[(&str, &str)]) -> RawRouting {
    let origin = Origin::container(name, format!("{name}-id"));
    let decoded = decode_labels(labels.iter().copied(), &["traefik.".to_owned()], &origin);
    assert_eq!(decoded.problems, []);
    let mut routing = decoded.routing;
    for service in routing.http.services.values_mut() {
        let load_balancer = service.value.load_balancer.as_mut().expect("it has servers");
        load_balancer.place_servers([format!("http://10.0.0.{since}:80")]);
    }
    let services: Vec<_> = routing.http.services.keys().cloned().collect();
    for router in routing.http.routers.values_mut() {
        if let ("", [service]) = (router.value.service.as_str(), services.as_slice()) {
            service.clone_into(&mut router.value.service);
        }
    }
    routing.stamp(&Standing::Up, since, &Scope::Shared);
    routing
}

fn docker(containers: Vec<RawRouting>) -> (ProviderName, RawRouting) {
    let (routing, problems) = combine(containers, merge::Rule::Containers);
    assert_eq!(problems, []);
    (ProviderName::from("docker"), routing)
}

fn described(routing: &Routing, problems: &[Problem]) -> String {
    let mut text = String::new();
    for router in routing.routers.values() {
        let entry_points: Vec<_> = router.entry_points.iter().map(EntryPointName::as_str).collect();
        let target = match &router.target {
            Target::Service(name) => format!("service {name}"),
            Target::Internal(service) => format!("{service:?}"),
            Target::Unavailable(reason) => format!("503: {reason}"),
        };
        writeln!(
            text,
            "{} on {}{} {} [{}] -> {target}",
            router.name,
            entry_points.join(","),
            if router.tls { " TLS" } else { "" },
            router.rule.text(),
            router.priority,
        )
        .unwrap();
    }
    for service in routing.services.values() {
        let servers: Vec<_> = service.servers.iter().map(|server| &*server.url).collect();
        let down = service.down.as_deref().map(|reason| format!(" down: {reason}")).unwrap_or_default();
        writeln!(text, "service {}: {}{down}", service.name, servers.join(" ")).unwrap();
    }
    for problem in problems {
        writeln!(text, "{problem}").unwrap();
    }
    text
}

fn check(providers: Vec<(ProviderName, RawRouting)>, context: &Context, expected: &str) {
    let (routing, problems) = route(providers, context);
    let expected: Vec<_> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let found = described(&routing, &problems);
    let found: Vec<_> = found.lines().collect();
    assert_eq!(found, expected);
}

#[test]
fn a_plain_router_listens_on_every_default_entry_point() {
    check(
        vec![file(
            "http:\n  routers:\n    a: { rule: Host(`a`), service: s }\n  services:\n    s: { loadBalancer: { servers: [{ url: 'http://10.0.0.1:80' }] } }\n",
        )],
        &context(&PLAIN),
        "a@file on web,websecure Host(`a`) [9] -> service s@file
         service s@file: http://10.0.0.1:80",
    );
}

#[test]
fn label_sets_in_the_wild_become_routes() {
    let mut text = String::new();
    let snippets = include_str!("../labels/snippets.txt");
    for block in snippets.split("\n\n").filter(|block| !block.starts_with('#')) {
        let (title, labels) = block.split_once('\n').unwrap();
        let labels: Vec<_> = labels.lines().map(|line| line.replace("$$", "$")).collect();
        let mut labels: Vec<_> = labels.iter().map(|line| line.split_once('=').unwrap()).collect();
        if !labels.iter().any(|(key, _)| key.starts_with("traefik.http.services")) {
            labels.push(("traefik.http.services.svc.loadbalancer.server.port", "80"));
        }
        let providers = vec![docker(vec![container("app", 1, &labels)])];
        let more = ["--api=true", "--certificatesResolvers.cloudflare.acme.dnsChallenge.provider=cloudflare"];
        let context = context(&[PLAIN.as_slice(), &more].concat());
        let (routing, problems) = route(providers, &context);
        writeln!(text, "{title}\n{}", described(&routing, &problems)).unwrap();
    }
    insta::assert_snapshot!(text);
}
