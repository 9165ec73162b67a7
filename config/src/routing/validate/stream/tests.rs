//! TCP and UDP as written -> what can be routed, and what is said about the rest.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::super::route;
use super::super::tests::{PLAIN, container, context, file};
use super::*;
use crate::name::ProviderName;
use crate::routing::raw::RawRouting;
use crate::routing::stream::{ProxyVersion, StreamTls, TcpMiddleware, TcpServiceKind, UdpServiceKind};

/// Beside `web` and `websecure`, UDP entry points `dns` and `game`.
fn streams() -> Context {
    let flags = ["--entryPoints.dns.address=:53/udp", "--entryPoints.game.address=:7777/udp"];
    context(&[PLAIN.as_slice(), &flags].concat())
}

fn described(routing: &Routing, problems: &[Problem]) -> String {
    let mut text = String::new();
    let entry_points =
        |names: &[EntryPointName]| names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(",");
    let service = |service: &Result<ServiceName, Arc<str>>| match service {
        Ok(name) => name.to_string(),
        Err(reason) => format!("closed: {reason}"),
    };
    for router in routing.tcp.routers.values() {
        let tls = match &router.tls {
            StreamTls::None => String::new(),
            StreamTls::Passthrough => " passthrough".to_owned(),
            StreamTls::Terminate(tls) => {
                let names: Vec<_> =
                    tls.domains.iter().flat_map(|domain| domain.names().map(ToString::to_string)).collect();
                format!(" TLS {} {:?} {}", tls.options, tls.resolver, names.join(","))
            }
        };
        let middlewares: Vec<_> = router.middlewares.iter().map(ToString::to_string).collect();
        writeln!(
            text,
            "{} on {}{tls} {} [{}] {middlewares:?} -> {}",
            router.name,
            entry_points(&router.entry_points),
            router.rule.text(),
            router.priority,
            service(&router.service),
        )
        .unwrap();
    }
    for found in routing.tcp.services.values() {
        let kind = match &found.kind {
            TcpServiceKind::Servers { servers, .. } => servers
                .iter()
                .map(|server| {
                    format!("{}:{}{}", server.host, server.port, if server.tls { "+tls" } else { "" })
                })
                .collect::<Vec<_>>()
                .join(" "),
            TcpServiceKind::Weighted(children) => format!("{children:?}"),
        };
        let down = found.down.as_deref().map(|reason| format!(" down: {reason}")).unwrap_or_default();
        writeln!(text, "service {}: {kind}{down}", found.name).unwrap();
    }
    for router in routing.udp.routers.values() {
        writeln!(
            text,
            "{} on {} -> {}",
            router.name,
            entry_points(&router.entry_points),
            service(&router.service)
        )
        .unwrap();
    }
    for found in routing.udp.services.values() {
        let kind = match &found.kind {
            UdpServiceKind::Servers(servers) => servers.join(" "),
            UdpServiceKind::Weighted(children) => format!("{children:?}"),
        };
        writeln!(text, "service {}: {kind}", found.name).unwrap();
    }
    fn state<N: std::fmt::Display, T>(text: &mut String, items: &BTreeMap<N, Listed<T>>, kind: &str) {
        for (name, item) in items {
            writeln!(text, "listed {kind} {name}: {} {:?}", item.status.as_str(), item.used_by).unwrap();
        }
    }
    state(&mut text, &routing.listing.tcp_routers, "router");
    state(&mut text, &routing.listing.tcp_services, "service");
    state(&mut text, &routing.listing.tcp_middlewares, "middleware");
    state(&mut text, &routing.listing.udp_routers, "router");
    state(&mut text, &routing.listing.udp_services, "service");
    for problem in problems {
        writeln!(text, "{problem}").unwrap();
    }
    text
}

fn routed(text: &str) -> (Routing, Vec<Problem>) {
    route(vec![file(text)], &streams())
}

#[test]
fn tcp_routers_are_listed_with_what_they_use_and_what_is_wrong_with_them() {
    let (routing, problems) = routed(
        "tcp:
  routers:
    all: { rule: HostSNI(`*`), service: s }
    client: { rule: 'HostSNI(`*`) && ClientIP(`10.0.0.0/8`)', service: s, entryPoints: [websecure, nowhere, websecure], priority: 7 }
    db: { rule: HostSNI(`DB.example.com`), service: s, tls: { certResolver: le }, middlewares: [lan, one] }
    pass: { rule: HostSNI(`pass.example.com`), service: w, tls: { passthrough: true, options: o } }
    named: { rule: HostSNI(`n.example.com`), service: s }
    http: { rule: Host(`n.example.com`), service: s }
    empty: { service: s }
    dns: { rule: HostSNI(`*`), service: s, entryPoints: [dns] }
    lost: { rule: HostSNI(`*`), service: nope }
    none: { rule: HostSNI(`*`) }
    bad: { rule: HostSNI(`*`), service: s, middlewares: [bad] }
    away: { rule: HostSNI(`*`), service: s, middlewares: [away] }
    high: { rule: HostSNI(`*`), service: s, priority: 9223372036854775807 }
    old: { rule: HostSNI(`*`), service: s, ruleSyntax: v2 }
    options: { rule: HostSNI(`o`), service: s, tls: { options: nope } }
    broken: { rule: HostSNI(`b`), service: s, tls: { options: broken } }
  services:
    s: { loadBalancer: { servers: [{ address: 'b:2' }, { address: '[fd00::1]:1', tls: true }, { address: 'b:2', tls: true }] } }
    w: { weighted: { services: [{ name: s, weight: 3 }, { name: e, weight: 0 }, { name: s@file }] } }
    e: { loadBalancer: {} }
  middlewares:
    lan: { ipAllowList: { sourceRange: [10.1.2.3/8, '::ffff:192.0.2.1'] } }
    one: { inFlightConn: { amount: 1 } }
    bad: { inFlightConn: {} }
tls: { options: { broken: { cipherSuites: [x] } } }
",
    );
    insta::assert_snapshot!(described(&routing, &problems));
    assert_eq!(
        routing.tcp.middlewares["lan@file"],
        TcpMiddleware::IpAllowList(vec!["10.0.0.0/8".parse().unwrap(), "192.0.2.1/32".parse().unwrap()])
    );
}

/// What becomes of a TCP service `s`, with a router that uses it.
fn with_service(service: &str) -> (Routing, Vec<Problem>) {
    routed(&format!(
        "tcp:
  routers: {{ r: {{ rule: HostSNI(`*`), service: s }} }}
  services:
    s: {service}
    a: {{ loadBalancer: {{ servers: [{{ address: 'a:1' }}] }} }}
    ring: {{ weighted: {{ services: [{{ name: s }}] }} }}
  serversTransports:
    proxy: {{ proxyProtocol: {{}}, dialTimeout: 1s, dialKeepAlive: -1s, terminationDelay: -1s, tls: {{ serverName: db, insecureSkipVerify: true }} }}
    v9: {{ proxyProtocol: {{ version: 9 }} }}
    id: {{ tls: {{ spiffe: {{}} }} }}
"
    ))
}

#[test]
fn a_tcp_service_that_cannot_be_what_was_written_closes_connections() {
    for (service, reason) in [
        ("{}", "the service \"s@file\" does not have any type defined"),
        ("{ loadBalancer: {}, weighted: {} }", "cannot create service: multi-types service not supported"),
        (
            "{ weighted: { services: [{ name: a }, { name: nope }] } }",
            "the service \"nope@file\" does not exist",
        ),
        ("{ weighted: { services: [{ name: ring }] } }", "recursion detected in"),
        ("{ loadBalancer: { serversTransport: nope } }", "servers transport \"nope@file\" does not exist"),
        (
            "{ loadBalancer: { serversTransport: v9 } }",
            "servers transport \"v9@file\": unknown proxyProtocol version: 9",
        ),
        (
            "{ loadBalancer: { serversTransport: id } }",
            "servers transport \"id@file\": `spiffe` is not supported",
        ),
        ("{ loadBalancer: { proxyProtocol: { version: 3 } } }", "unknown proxyProtocol version: 3"),
    ] {
        let (routing, problems) = with_service(service);
        let found = routing.tcp.routers["r@file"].service.as_ref().unwrap_err();
        assert!(found.contains(reason), "{service}: {found}");
        assert_eq!(routing.listing.tcp_services["s@file"].status, Status::Disabled, "{service}");
        assert!(!routing.tcp.services.contains_key("s@file"), "{service}");
        assert_eq!(routing.listing.tcp_routers["r@file"].status, Status::Disabled, "{service}");
        for subject in ["TCP router `r`", "TCP service `s`"] {
            assert!(problems.iter().any(|problem| problem.subject == subject), "{service}: {problems:?}");
        }
    }
}

#[test]
fn a_tcp_transport_is_what_was_written() {
    let transport = |load_balancer: &str| {
        let (routing, problems) = with_service(&format!("{{ loadBalancer: {load_balancer} }}"));
        let TcpServiceKind::Servers { transport, .. } = &routing.tcp.services["s@file"].kind else {
            panic!("it has servers")
        };
        let mine = |problem: &&Problem| problem.subject == "TCP service `s`";
        let said: Vec<_> = problems.iter().filter(mine).map(|problem| problem.message.clone()).collect();
        ((**transport).clone(), said)
    };
    let default = crate::routing::stream::TcpTransport::default;
    assert_eq!(transport("{}"), (default(), vec![]));
    let (found, said) = transport(
        "{ serversTransport: proxy, terminationDelay: 5, servers: [{ address: 'a:1', tls: true }] }",
    );
    assert_eq!(found.dial_timeout.as_secs(), 1);
    assert_eq!((found.keep_alive, found.termination_delay), (None, None));
    assert_eq!(found.proxy_protocol, Some(ProxyVersion::V2));
    assert_eq!((found.tls.server_name.as_deref(), found.tls.skip_verify), (Some("db"), true));
    assert_eq!(
        said,
        [
            "`proxyProtocol` and `terminationDelay` of a load balancer mean nothing beside servers transport \"proxy@file\"",
            "certificates of its servers are not verified (`insecureSkipVerify`)",
        ]
    );
    let (found, said) = transport("{ proxyProtocol: { version: 1 }, terminationDelay: 250 }");
    assert_eq!(found.proxy_protocol, Some(ProxyVersion::V1));
    assert_eq!(found.termination_delay.map(|delay| delay.as_millis()), Some(250));
    assert_eq!(said, ["`proxyProtocol` and `terminationDelay` of a load balancer are deprecated"]);
}

#[test]
fn a_tcp_health_check_is_what_was_written() {
    let (routing, problems) = with_service(
        "{ loadBalancer: { healthCheck: { port: 99999, send: PING, expect: '+PONG', interval: 1s, timeout: 0s } } }",
    );
    let TcpServiceKind::Servers { health_check: Some(check), .. } = &routing.tcp.services["s@file"].kind
    else {
        panic!("it has a health check")
    };
    assert_eq!((check.port, &*check.send, &*check.expect), (None, &b"PING"[..], &b"+PONG"[..]));
    let seconds = [check.interval, check.unhealthy_interval, check.timeout].map(|time| time.as_secs());
    assert_eq!(seconds, [1, 1, 5]);
    let said: Vec<_> = problems
        .iter()
        .filter(|problem| problem.subject == "TCP service `s`")
        .map(|problem| problem.message.as_str())
        .collect();
    assert_eq!(
        said,
        [
            "`healthCheck.port: 99999` is not a port from 1 to 65535: the server's holds",
            "`healthCheck.timeout` must be more than nothing: 5s holds",
        ]
    );
}

#[test]
fn tcp_middlewares_are_one_thing_and_never_left_out() {
    for (middleware, reason) in [
        ("{}", "invalid middleware type or middleware does not exist"),
        ("{ ipAllowList: {} }", "sourceRange is empty, IPAllowLister not created"),
        ("{ ipAllowList: { sourceRange: [10.0.0.0/33] } }", "cannot parse CIDRs"),
        ("{ inFlightConn: { amount: -1 } }", "`inFlightConn.amount: -1` lets no connection pass"),
        ("{ inFlightConn: { amount: 1 }, ipWhiteList: {} }", "cannot create middleware: multi-types"),
    ] {
        let (routing, problems) = routed(&format!(
            "tcp: {{ routers: {{ r: {{ rule: HostSNI(`*`), service: s, middlewares: [m] }} }}, services: {{ s: {{ loadBalancer: {{}} }} }}, middlewares: {{ m: {middleware} }} }}\n"
        ));
        let found = routing.tcp.routers["r@file"].service.as_ref().unwrap_err();
        assert!(found.contains(reason), "{middleware}: {found}");
        let mut subjects: Vec<_> = problems.iter().map(|problem| problem.subject.as_str()).collect();
        subjects.sort_unstable();
        assert_eq!(subjects, ["TCP middleware `m`", "TCP router `r`"], "{middleware}");
        assert_eq!(routing.listing.tcp_middlewares["m@file"].used_by, ["r@file"], "{middleware}");
    }
}

#[test]
fn one_udp_router_an_entry_point_is_in_force() {
    let (routing, problems) = routed(
        "udp:
  routers:
    a: { service: s }
    b: { service: w, entryPoints: [dns] }
    c: { service: nope, entryPoints: [dns, game] }
    d: { service: s, entryPoints: [web, none] }
    e: { entryPoints: [game] }
  services:
    s: { loadBalancer: { servers: [{ address: 'b:2' }, { address: 'a:1' }, { address: 'b:2' }, { address: b }, { address: 'fd00::1:2' }] } }
    w: { weighted: { services: [{ name: s, weight: 2 }, { name: s }] } }
    ring: { weighted: { services: [{ name: ring }] } }
",
    );
    insta::assert_snapshot!(described(&routing, &problems));
}

/// A container's labels with TCP and UDP, as the provider places its servers.
fn labelled(standing: &Standing, scope: &Scope) -> RawRouting {
    let mut routing = container(
        "db",
        1,
        &[
            ("traefik.tcp.routers.db.rule", "HostSNI(`db.lan`)"),
            ("traefik.tcp.routers.db.tls.passthrough", "true"),
            ("traefik.tcp.routers.db.service", "db"),
            ("traefik.tcp.routers.db.middlewares", "lan"),
            ("traefik.tcp.middlewares.lan.ipallowlist.sourcerange", "10.0.0.0/8, 192.0.2.1"),
            ("traefik.tcp.services.db.loadbalancer.server.port", "5432"),
            ("traefik.tcp.services.db.loadbalancer.server.tls", "true"),
            ("traefik.tcp.services.db.loadbalancer.proxyprotocol", "true"),
            ("traefik.udp.routers.dns.service", "dns"),
            ("traefik.udp.services.dns.loadbalancer.server.port", "53"),
            ("traefik.tls.stores.default.defaultgeneratedcert.resolver", "le"),
            ("traefik.tls.stores.default.defaultgeneratedcert.domain.main", "example.com"),
            ("traefik.tls.stores.default.defaultgeneratedcert.domain.sans", "a.example.com, b.example.com"),
        ],
    );
    let addresses = |port: u16| (*standing == Standing::Up).then(|| format!("10.0.0.1:{port}"));
    for service in routing.tcp.services.values_mut() {
        service.value.load_balancer.as_mut().unwrap().place_servers(addresses(5432));
    }
    for service in routing.udp.services.values_mut() {
        service.value.load_balancer.as_mut().unwrap().place_servers(addresses(53));
    }
    routing.stamp(standing, 1, scope);
    routing
}

#[test]
fn labels_of_tcp_udp_and_the_default_store_are_routed() {
    let docker = |standing: &Standing| {
        let routing = labelled(standing, &Scope::Shared);
        route(vec![(ProviderName::from("docker"), routing)], &streams())
    };
    let (routing, problems) = docker(&Standing::Up);
    insta::assert_snapshot!(described(&routing, &problems));
    let crate::routing::tls::DefaultCertificate::Resolver { resolver, domain, .. } =
        &routing.tls.default_certificate
    else {
        panic!("{:?}", routing.tls.default_certificate)
    };
    let names: Vec<_> = domain.names().map(|name| &**name).collect();
    assert_eq!((&**resolver, names), ("le", vec!["example.com", "a.example.com", "b.example.com"]));

    let stopped = Standing::Down("container `db` is stopped".into());
    let (routing, _) = docker(&stopped);
    assert_eq!(routing.tcp.routers["db@docker"].standing, stopped);
    assert_eq!(routing.tcp.services["db@docker"].down.as_deref(), Some("container `db` is stopped"));
}

#[test]
fn with_label_scope_container_no_name_and_no_entry_point_of_others_is_taken() {
    let mine = |labels: &[(&str, &str)]| {
        let mut routing = container("new", 2, labels);
        routing.stamp(&Standing::Up, 2, &Scope::Container { id: "new".into() });
        (ProviderName::from("docker"), routing)
    };
    let theirs = file(
        "http: { routers: { a: { rule: Host(`http.lan`), service: s } } }
tcp: { routers: { a: { rule: HostSNI(`tcp.lan`), service: s, tls: { passthrough: true } } } }
udp: { routers: { a: { service: s, entryPoints: [dns] } } }
",
    );
    for (rule, refused) in [
        ("HostSNI(`new.lan`)", false),
        ("HostSNI(`http.lan`)", true),
        ("HostSNI(`tcp.lan`)", true),
        ("HostSNI(`new.lan`) || HostSNI(`tcp.lan`)", true),
        ("HostSNI(`*.lan`)", true),
        ("HostSNI(`*`)", true),
        ("HostSNI(`new.lan`) || ClientIP(`10.0.0.0/8`)", true),
        ("HostSNI(`new.lan`) && ClientIP(`10.0.0.0/8`)", false),
    ] {
        let labels = [("traefik.tcp.routers.r.rule", rule), ("traefik.tcp.routers.r.tls", "true")];
        let (routing, problems) = route(vec![theirs.clone(), mine(&labels)], &streams());
        assert_eq!(routing.tcp.routers.contains_key("r@docker:new"), !refused, "{rule} {problems:?}");
    }
    for (entry_points, refused) in [("game", false), ("dns", true), ("game, dns", true), ("", true)] {
        let labels =
            [("traefik.udp.routers.z.entrypoints", entry_points), ("traefik.udp.routers.z.service", "s")];
        let (routing, problems) = route(vec![theirs.clone(), mine(&labels)], &streams());
        assert_eq!(routing.udp.routers.contains_key("z@docker:new"), !refused, "{entry_points} {problems:?}");
    }
}

#[test]
fn a_rule_that_stays_is_not_parsed_again() {
    let text = "tcp: { routers: { r: { rule: HostSNI(`*`), service: s } }, services: { s: { loadBalancer: {} } } }\n";
    let merged = || super::super::super::merge::qualify(vec![file(text)]).0;
    let (before, _) = super::super::validate(merged(), &streams());
    let (after, _) = super::super::validate_after(&before, merged(), &streams());
    let expression = |routing: &Routing| std::ptr::from_ref(routing.tcp.routers["r@file"].rule.expression());
    assert_eq!(expression(&before), expression(&after));
}

proptest! {
    #[test]
    fn an_address_is_a_host_and_a_port_or_a_reason(written in "\\[?[a-c0-9.:]{0,8}\\]?(:[0-9]{0,6})?|\\PC{0,12}") {
        match servers::address(&written) {
            Ok((host, port)) => {
                prop_assert!(!host.is_empty() && port > 0);
                let again = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
                prop_assert_eq!(servers::address(&again).ok(), Some((host, port)));
            }
            Err(fault) => prop_assert!(!fault.text.contains('\n')),
        }
    }
}
