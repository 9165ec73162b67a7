//! Finding the router of a request among 10, 1,000 and 10,000 hosts; building that table; and the canonical host
//! and path that every request needs first.

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use config::name::RouterName;
use config::routing::{InternalService, Observability};
use config::rule;
use criterion::{BatchSize, Criterion};
use gateway::snapshot::route_table::{RequestView, RouteEntry, RouteTable};
use gateway::snapshot::{Destination, Route};
use http::{HeaderMap, Method};
use security::canonical::{self, PathOptions};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    find(&mut criterion);
    build(&mut criterion);
    canonical_forms(&mut criterion);
    criterion.final_summary();
}

fn find(criterion: &mut Criterion) {
    for count in [10, 1_000, 10_000] {
        let table = RouteTable::build(entries(count));
        let mut group = criterion.benchmark_group(format!("route_match/{count}_hosts"));
        let last = format!("host{}.example.com", count - 1);
        for (name, host, path) in [
            ("first", "host0.example.com", "/"),
            ("last", &*last, "/"),
            ("last_path", &*last, "/api/v1/items/4711"),
            ("wildcard", "any.wild.example.net", "/"),
            ("unknown", "nobody.example.org", "/"),
        ] {
            let headers = HeaderMap::new();
            let view = view(host, path, &headers);
            assert_eq!(table.find(&view).is_some(), name != "unknown", "{name}");
            group.bench_function(name, |bencher| bencher.iter(|| table.find(black_box(&view)).is_some()));
        }
        group.finish();
    }
}

fn build(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route_table");
    group.sample_size(20);
    let texts: Vec<String> = (0..10_000).map(rule_text).collect();
    group.bench_function("parse_10000_rules", |bencher| {
        bencher.iter(|| texts.iter().filter(|text| rule::parse(text).is_ok()).count());
    });
    group.bench_function("build_10000_routers", |bencher| {
        bencher.iter_batched(|| entries(10_000), RouteTable::build, BatchSize::LargeInput);
    });
    group.finish();
}

fn canonical_forms(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("canonical");
    for (name, path) in [
        ("path/plain", "/assets/app/main.4f3a9c.js"),
        ("path/escaped", "/files/Summer%20holiday/caf%C3%A9%2Fmenu.pdf"),
        ("path/dots", "/a//b/../c/./%2e%2e/d"),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| canonical::path(black_box(path.as_bytes()), PathOptions::default()).is_ok());
        });
    }
    for (name, host) in
        [("host/lower_case", "www.example.com:8443"), ("host/upper_case", "WWW.Example.COM:8443")]
    {
        group.bench_function(name, |bencher| {
            bencher.iter(|| canonical::host(black_box(host.as_bytes())).is_ok());
        });
    }
    group.finish();
}

fn view<'a>(host: &'a str, path: &'a str, headers: &'a HeaderMap) -> RequestView<'a> {
    RequestView {
        method: &Method::GET,
        host,
        host_with_dot: host,
        path,
        query: None,
        headers,
        client: IpAddr::from([192, 0, 2, 1]),
    }
}

/// Two routers for each host, as stacks have them, and one for a wildcard.
fn entries(hosts: usize) -> Vec<RouteEntry> {
    let mut entries: Vec<RouteEntry> = (0..hosts)
        .flat_map(|index| [entry(index, rule_text(index)), entry(index, api_rule_text(index))])
        .collect();
    entries.push(entry(hosts, "Host(`*.wild.example.net`)".to_owned()));
    entries
}

fn rule_text(index: usize) -> String {
    format!("Host(`host{index}.example.com`)")
}

fn api_rule_text(index: usize) -> String {
    format!("Host(`host{index}.example.com`) && PathPrefix(`/api/`)")
}

fn entry(index: usize, text: String) -> RouteEntry {
    let rule = rule::parse(&text).expect("the rule is written above");
    let route = Arc::new(Route {
        name: RouterName::from(format!("router{index}@docker")),
        rule: Arc::from(text),
        priority: rule.default_priority(),
        down: None,
        middlewares: Box::default(),
        destination: Destination::Internal(InternalService::Noop),
        recursion_guard: None,
        tls: None,
        observability: Observability::default(),
    });
    RouteEntry { rule, precedence: 0, route }
}
