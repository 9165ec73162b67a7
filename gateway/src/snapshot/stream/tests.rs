//! Tables of TCP and UDP routers: Traefik's cases, weights, and what outlives a change.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use config::Origin;
use config::name::{MiddlewareName, RouterName, ServiceName};
use config::routing::stream::{
    StreamTls, TcpHealthCheck, TcpMiddleware, TcpRouter, TcpServer, TcpService as Settings, TcpServiceKind,
    TcpTransport, UdpRouter, UdpService as UdpSettings, UdpServiceKind,
};
use config::routing::{Routing, Standing};
use config::rule::{TcpConnection, parse_tcp};

use super::*;
use crate::snapshot::Snapshot;
use crate::snapshot::compile::{Parts, compile};
use crate::test_support;

fn compiled(routing: Routing, previous: &Snapshot) -> Snapshot {
    let install = test_support::install(&["web", "other"], std::path::Path::new(""));
    compile(&install, Parts { routing, ..Parts::default() }, previous)
}

fn router(name: &str, rule: &str, service: &str) -> TcpRouter {
    let rule = parse_tcp(rule).unwrap();
    TcpRouter {
        name: RouterName::from(name),
        priority: rule.default_priority(),
        rule,
        precedence: 0,
        entry_points: vec!["web".into()],
        tls: StreamTls::None,
        middlewares: Vec::new(),
        service: Ok(ServiceName::from(service)),
        standing: Standing::Up,
        origin: Origin::Gateway,
    }
}

fn servers(hosts: &[&str]) -> TcpServiceKind {
    TcpServiceKind::Servers {
        servers: hosts
            .iter()
            .map(|host| TcpServer {
                address: format!("{host}:1").into(),
                host: Arc::from(*host),
                port: 1,
                tls: false,
            })
            .collect(),
        health_check: None,
        transport: Arc::new(TcpTransport::default()),
    }
}

fn weighted(children: &[(&str, u32)]) -> TcpServiceKind {
    let children = children.iter().map(|(name, weight)| (ServiceName::from(*name), *weight));
    TcpServiceKind::Weighted(children.collect())
}

fn put_service(routing: &mut Routing, name: &str, kind: TcpServiceKind) {
    let name = ServiceName::from(name);
    let service = Settings { name: name.clone(), kind, down: None, origin: Origin::Gateway };
    routing.tcp.services.insert(name, service);
}

fn put_router(routing: &mut Routing, router: TcpRouter) {
    routing.tcp.routers.insert(router.name.clone(), router);
}

fn of_services(services: &[(&str, TcpServiceKind)]) -> Routing {
    let mut routing = Routing::default();
    for (name, kind) in services {
        put_service(&mut routing, name, kind.clone());
    }
    routing
}

fn service(snapshot: &Snapshot, name: &str) -> Arc<TcpService> {
    Arc::clone(&snapshot.routes.streams.tcp_services[name])
}

fn picks(service: &TcpService, count: usize) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for _ in 0..count {
        *seen.entry(service.pick().unwrap().server.host.to_string()).or_default() += 1;
    }
    seen
}

fn shares(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    expected.iter().map(|(host, count)| ((*host).to_owned(), *count)).collect()
}

fn connection<'a>(server_name: &'a str, protocols: &'a [&'a str], client: IpAddr) -> TcpConnection<'a> {
    TcpConnection { server_name, protocols, client }
}

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));

/// The cases T1 to T29 as a table answers them.
#[test]
fn tables_answer_as_traefik_does() {
    let cases: serde_json::Value =
        serde_json::from_str(include_str!("../../../../config/src/rule/tcp_cases.json")).unwrap();
    let mut checked = 0;
    for case in cases.as_array().unwrap() {
        let expect = case["expect"].as_str().unwrap();
        if expect == "rule invalid" {
            continue;
        }
        for tls in [StreamTls::None, StreamTls::Passthrough] {
            let mut routing = of_services(&[("s@file", servers(&["a"]))]);
            for rule in case["rules"].as_array().unwrap() {
                let mut router =
                    router(rule["name"].as_str().unwrap(), rule["rule"].as_str().unwrap(), "s@file");
                router.priority = rule["priority"].as_i64().unwrap_or(router.priority);
                router.tls = tls.clone();
                put_router(&mut routing, router);
            }
            let snapshot = compiled(routing, &Snapshot::empty());
            let table = &snapshot.routes.entry_points[0].tcp;
            let protocols: Vec<&str> =
                case["protocols"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
            let asked = connection(
                case["server_name"].as_str().unwrap(),
                &protocols,
                case["peer"].as_str().unwrap().parse().unwrap(),
            );
            let found = match tls {
                StreamTls::None => table.find_plain(&asked),
                StreamTls::Passthrough | StreamTls::Terminate(_) => table.find_tls(&asked),
            };
            let answer = match found {
                None => "no".to_owned(),
                Some(route) => {
                    let who =
                        if case["rules"].as_array().unwrap().len() > 1 { route.name.as_str() } else { "yes" };
                    format!("{who}{}", if route.rule.is_catch_all() { " (catch-all)" } else { "" })
                }
            };
            assert_eq!(answer, expect, "{case}");
            checked += 1;
        }
    }
    assert!(checked > 40, "{checked}");
}

#[test]
fn a_stopped_router_is_asked_after_all_others() {
    let mut routing = of_services(&[("s@file", servers(&["a"]))]);
    let mut stopped = router("a@docker", "HostSNI(`db.test`)", "s@file");
    stopped.standing = Standing::Down("container `db` is stopped".into());
    stopped.tls = StreamTls::Passthrough;
    stopped.priority = 1000;
    put_router(&mut routing, stopped);
    let mut fallback = router("b@file", "HostSNI(`*`)", "s@file");
    fallback.tls = StreamTls::Passthrough;
    put_router(&mut routing, fallback);
    let snapshot = compiled(routing.clone(), &Snapshot::empty());
    let table = &snapshot.routes.entry_points[0].tcp;
    assert_eq!(table.find_tls(&connection("db.test", &[], CLIENT)).unwrap().name.as_str(), "b@file");
    routing.tcp.routers.remove("b@file");
    let snapshot = compiled(routing, &snapshot);
    let table = &snapshot.routes.entry_points[0].tcp;
    let found = table.find_tls(&connection("db.test", &[], CLIENT)).unwrap();
    assert_eq!(found.down.as_deref(), Some("container `db` is stopped"));
}

#[test]
fn a_name_among_others_finds_its_router() {
    let mut routing = of_services(&[("s@file", servers(&["a"]))]);
    for (name, rule) in [
        ("one@file", "HostSNI(`one.test`) || HostSNI(`uno.test`)"),
        ("two@file", "HostSNI(`two.test`) && !ALPN(`h2`)"),
        ("wild@file", "HostSNI(`*.test`)"),
        ("rest@file", "HostSNI(`*`)"),
    ] {
        put_router(&mut routing, TcpRouter { tls: StreamTls::Passthrough, ..router(name, rule, "s@file") });
    }
    let snapshot = compiled(routing, &Snapshot::empty());
    let table = &snapshot.routes.entry_points[0].tcp;
    let found = |name: &str, protocols: &[&str]| {
        table.find_tls(&connection(name, protocols, CLIENT)).unwrap().name.to_string()
    };
    assert_eq!(found("uno.test", &[]), "one@file");
    assert_eq!(found("ONE.test.", &[]), "one@file");
    assert_eq!(found("two.test", &[]), "two@file");
    assert_eq!(found("two.test", &["h2"]), "wild@file");
    assert_eq!(found("", &[]), "rest@file");
}

#[test]
fn nested_weights_are_exact_and_their_round_goes_on_over_snapshots() {
    let routing = of_services(&[
        ("a@file", servers(&["a1", "a2"])),
        ("b@file", servers(&["b"])),
        ("inner@file", weighted(&[("a@file", 1), ("b@file", 1), ("off@file", 0)])),
        ("off@file", servers(&["off"])),
        ("c@file", servers(&["c"])),
        ("outer@file", weighted(&[("c@file", 3), ("inner@file", 1)])),
    ]);
    let before = compiled(routing.clone(), &Snapshot::empty());
    let outer = service(&before, "outer@file");
    assert_eq!(picks(&outer, 16), shares(&[("a1", 1), ("a2", 1), ("b", 2), ("c", 12)]));
    // Two of a round here, the other two after a change elsewhere.
    let mut seen = picks(&outer, 2);
    let mut changed = routing;
    put_service(&mut changed, "a@file", servers(&["a1", "a2", "a3"]));
    let after = compiled(changed, &before);
    assert!(!Arc::ptr_eq(&outer, &service(&after, "outer@file")));
    assert!(Arc::ptr_eq(&service(&before, "b@file"), &service(&after, "b@file")));
    for (host, count) in picks(&service(&after, "outer@file"), 2) {
        *seen.entry(host).or_default() += count;
    }
    assert_eq!(seen["c"], 3, "{seen:?}");
}

#[test]
fn servers_that_are_down_are_passed_over_and_the_others_keep_their_shares() {
    let routing = of_services(&[
        ("a@file", servers(&["a1", "a2", "a3"])),
        ("b@file", servers(&["b"])),
        ("w@file", weighted(&[("a@file", 1), ("b@file", 3)])),
    ]);
    let snapshot = compiled(routing.clone(), &Snapshot::empty());
    let (a, w) = (service(&snapshot, "a@file"), service(&snapshot, "w@file"));
    assert!(a.servers()[0].set_up(false));
    assert_eq!(picks(&a, 10), shares(&[("a2", 5), ("a3", 5)]));
    assert!(!a.servers()[0].set_up(true));
    let b = service(&snapshot, "b@file");
    b.servers()[0].set_up(false);
    assert_eq!(picks(&w, 3), shares(&[("a1", 1), ("a2", 1), ("a3", 1)]));
    // What is known of a server stays while its service is as it was, and so it does over a change elsewhere.
    let mut more = routing;
    put_service(&mut more, "more@file", servers(&["m"]));
    let after = compiled(more.clone(), &snapshot);
    assert!(!service(&after, "b@file").servers()[0].is_up());
    assert!(!service(&after, "b@file").is_up());
    for server in service(&after, "a@file").servers() {
        server.set_up(false);
    }
    assert!(service(&after, "w@file").pick().is_none());
    assert_eq!(&*service(&after, "w@file").reason(), "no server of the service is up");
    // Another health check begins anew.
    let mut checked = servers(&["b"]);
    if let TcpServiceKind::Servers { health_check, .. } = &mut checked {
        *health_check = Some(TcpHealthCheck {
            port: None,
            send: Box::default(),
            expect: Box::default(),
            interval: Duration::from_secs(30),
            unhealthy_interval: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
        });
    }
    put_service(&mut more, "b@file", checked);
    assert!(service(&compiled(more, &after), "b@file").is_up());
}

#[test]
fn another_server_is_found_wherever_it_is() {
    let routing = of_services(&[
        ("a@file", servers(&["a1", "a2"])),
        ("b@file", servers(&["b"])),
        ("w@file", weighted(&[("a@file", 1), ("b@file", 1)])),
    ]);
    let snapshot = compiled(routing, &Snapshot::empty());
    let w = service(&snapshot, "w@file");
    let mut tried = vec![Arc::clone(w.pick().unwrap())];
    while let Some(next) = w.pick_other(&tried) {
        let next = Arc::clone(next);
        assert!(!tried.iter().any(|tried| Arc::ptr_eq(tried, &next)));
        tried.push(next);
    }
    assert_eq!(tried.len(), 3);
}

#[test]
fn a_service_that_leads_back_to_itself_has_no_server_there() {
    let routing = of_services(&[
        ("a@file", servers(&["a"])),
        ("x@file", weighted(&[("y@file", 1), ("a@file", 1)])),
        ("y@file", weighted(&[("x@file", 1)])),
    ]);
    let snapshot = compiled(routing, &Snapshot::empty());
    assert_eq!(picks(&service(&snapshot, "x@file"), 2), shares(&[("a", 2)]));
}

#[test]
fn what_did_not_change_is_the_same_value() {
    let mut routing = of_services(&[("s@file", servers(&["a"])), ("t@file", servers(&["b"]))]);
    put_router(&mut routing, router("r@file", "HostSNI(`*`)", "s@file"));
    put_router(&mut routing, router("q@file", "ClientIP(`10.0.0.0/8`)", "t@file"));
    let before = compiled(routing.clone(), &Snapshot::empty());
    let same = compiled(routing.clone(), &before);
    let table = |snapshot: &Snapshot| Arc::clone(&snapshot.routes.entry_points[0].tcp);
    assert!(Arc::ptr_eq(&table(&before), &table(&same)));
    put_service(&mut routing, "t@file", servers(&["c"]));
    let after = compiled(routing, &same);
    assert!(!Arc::ptr_eq(&table(&before), &table(&after)));
    let find =
        |snapshot: &Snapshot| Arc::clone(table(snapshot).find_plain(&connection("", &[], CLIENT)).unwrap());
    assert!(Arc::ptr_eq(&find(&before), &find(&after)));
}

#[test]
fn connections_of_a_client_are_counted_over_snapshots() {
    let limited = |amount| {
        let mut routing = of_services(&[("s@file", servers(&["a"]))]);
        let name = MiddlewareName::from("few@file");
        routing.tcp.middlewares.insert(name.clone(), TcpMiddleware::InFlightConn(amount));
        let middlewares = vec![name];
        put_router(&mut routing, TcpRouter { middlewares, ..router("r@file", "HostSNI(`*`)", "s@file") });
        routing
    };
    let route = |snapshot: &Snapshot| {
        let table = &snapshot.routes.entry_points[0].tcp;
        Arc::clone(table.find_plain(&connection("", &[], CLIENT)).unwrap())
    };
    let before = compiled(limited(1), &Snapshot::empty());
    let first = route(&before).guards[0].admit(Some(CLIENT)).unwrap();
    assert_eq!(route(&before).guards[0].admit(Some(CLIENT)).unwrap_err(), Denial::TooMany);
    let other: IpAddr = "2001:db8::1".parse().unwrap();
    let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
    let second = route(&before).guards[0].admit(Some(other)).unwrap();
    assert_eq!(route(&before).guards[0].admit(Some(neighbour)).unwrap_err(), Denial::TooMany);
    let after = compiled(limited(2), &before);
    let third = route(&after).guards[0].admit(Some(CLIENT)).unwrap();
    assert_eq!(route(&after).guards[0].admit(Some(CLIENT)).unwrap_err(), Denial::TooMany);
    drop((first, second, third));
    assert!(route(&after).guards[0].admit(Some(CLIENT)).is_ok());
    assert_eq!(
        route(&compiled(limited(0), &after)).guards[0].admit(Some(CLIENT)).unwrap_err(),
        Denial::TooMany
    );
}

#[test]
fn only_clients_on_the_list_pass() {
    let ranges = vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    let guard = Guard::new(&MiddlewareName::from("lan@file"), &TcpMiddleware::IpAllowList(ranges), &[]);
    for (client, passes) in [
        (Some("192.0.2.1"), true),
        (Some("::ffff:192.0.2.1"), true),
        (Some("2001:db8::1"), true),
        (Some("198.51.100.1"), false),
        (None, false),
    ] {
        let client: Option<IpAddr> = client.map(|client| client.parse().unwrap());
        assert_eq!(guard.admit(client).is_ok(), passes, "{client:?}");
    }
}

#[test]
fn a_router_whose_middleware_is_missing_serves_nobody() {
    let mut routing = of_services(&[("s@file", servers(&["a"]))]);
    let middlewares = vec![MiddlewareName::from("gone@file")];
    put_router(&mut routing, TcpRouter { middlewares, ..router("r@file", "HostSNI(`*`)", "s@file") });
    let snapshot = compiled(routing, &Snapshot::empty());
    let table = &snapshot.routes.entry_points[0].tcp;
    let route = table.find_plain(&connection("", &[], CLIENT)).unwrap();
    assert_eq!(route.service.as_ref().unwrap_err().as_ref(), "middleware `gone@file` does not exist");
}

#[test]
fn a_udp_router_has_its_entry_point_alone() {
    let mut routing = Routing::default();
    let name = ServiceName::from("dns@file");
    let kind = UdpServiceKind::Servers(vec!["10.0.0.1:53".into(), "[2001:db8::1]:53".into()]);
    routing
        .udp
        .services
        .insert(name.clone(), UdpSettings { name: name.clone(), kind, origin: Origin::Gateway });
    let router = UdpRouter {
        name: RouterName::from("dns@file"),
        entry_points: vec!["other".into()],
        service: Ok(name),
        origin: Origin::Gateway,
    };
    routing.udp.routers.insert(router.name.clone(), router);
    let snapshot = compiled(routing.clone(), &Snapshot::empty());
    assert!(snapshot.routes.entry_points[0].udp.is_none());
    let route = Arc::clone(snapshot.routes.entry_points[1].udp.as_ref().unwrap());
    let service = route.service.as_ref().unwrap();
    let hosts: Vec<_> = service.servers().iter().map(|server| (&*server.host, server.port)).collect();
    assert_eq!(hosts, [("10.0.0.1", 53), ("2001:db8::1", 53)]);
    let after = compiled(routing, &snapshot);
    assert!(Arc::ptr_eq(&route, after.routes.entry_points[1].udp.as_ref().unwrap()));
}
