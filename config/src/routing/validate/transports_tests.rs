//! Transports as written -> how servers are reached.

use proptest::prelude::*;

use super::super::tests::{PLAIN, context, file};
use super::super::{Context, route};
use super::*;
use crate::routing::raw::RawRouting;
use crate::routing::tls::CipherSuite;
use crate::routing::{Routing, Status, Target};

fn plain() -> Context {
    context(&PLAIN)
}

fn messages(problems: &[Problem]) -> Vec<String> {
    problems
        .iter()
        .map(|problem| format!("{}: {}: {}", problem.severity, problem.subject, problem.message))
        .collect()
}

/// A router, a service with this load balancer, and this transport `t`.
fn routed(transport: &str, load_balancer: &str) -> (Routing, Vec<Problem>) {
    let text = format!(
        "http:
  routers: {{ a: {{ rule: Host(`a`), service: s }} }}
  services: {{ s: {{ loadBalancer: {load_balancer} }} }}
  serversTransports: {{ t: {transport} }}
"
    );
    route(vec![file(&text)], &plain())
}

/// The transport of a service that names this one.
fn check(written: &str, expected: Transport, said: &[&str]) {
    let (routing, problems) = routed(written, "{ servers: [{ url: 'https://a' }], serversTransport: t }");
    assert_eq!(*routing.services["s@file"].transport, expected, "{written}");
    assert_eq!(messages(&problems), said, "{written}");
}

#[test]
fn a_transport_is_what_was_written_and_ours_for_the_rest() {
    let default = Transport::default;
    let tls = |tls: UpstreamTls| Transport { tls, ..default() };
    let nothing = UpstreamTls::default;
    let seconds = Duration::from_secs;
    check("{}", default(), &[]);
    check(
        "{ serverName: nas, rootCAs: [ca.pem], peerCertURI: 'spiffe://a', certificates: [{ certFile: c, keyFile: k }] }",
        tls(UpstreamTls {
            server_name: Some("nas".into()),
            roots: vec![Pem::new("ca.pem")],
            peer_uri: Some("spiffe://a".into()),
            client_pairs: vec![(Pem::new("c"), Pem::new("k"))],
            ..nothing()
        }),
        &[],
    );
    check(
        "{ insecureSkipVerify: true }",
        tls(UpstreamTls { skip_verify: true, ..nothing() }),
        &[
            "warning: service `s`: certificates of its servers are not verified (`insecureSkipVerify` of servers transport \"t@file\")",
        ],
    );
    check(
        "{ minVersion: VersionTLS11, maxVersion: VersionTLS12, cipherSuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256] }",
        tls(UpstreamTls {
            min_version: Some(TlsVersion::Tls12),
            max_version: Some(TlsVersion::Tls12),
            cipher_suites: vec![CipherSuite::RsaAes128],
            ..nothing()
        }),
        &["warning: servers transport `t`: `minVersion: VersionTLS11` is not spoken, `VersionTLS12` is used"],
    );
    check(
        "{ disableHTTP2: true, maxIdleConnsPerHost: 7, forwardingTimeouts: { dialTimeout: 1s, responseHeaderTimeout: 0s, idleConnTimeout: -1s, readIdleTimeout: 2s, pingTimeout: 3s } }",
        Transport {
            dial_timeout: seconds(1),
            response_header_timeout: None,
            idle_timeout: None,
            ping_interval: Some(seconds(2)),
            ping_timeout: seconds(3),
            max_idle: Some(7),
            disable_http2: true,
            tls: nothing(),
        },
        &[],
    );
    check("{ forwardingTimeouts: {} }", default(), &[]);
    check("{ maxIdleConnsPerHost: -1 }", Transport { max_idle: Some(0), ..default() }, &[]);
    check(
        "{ forwardingTimeouts: { dialTimeout: 0 } }",
        default(),
        &[
            "warning: servers transport `t`: `forwardingTimeouts.dialTimeout`: every connect has a time limit, 5 s holds",
        ],
    );
}

#[test]
fn a_transport_that_cannot_be_kept_is_not_replaced() {
    for (written, reason) in [
        ("{ spiffe: {} }", "`spiffe` is not supported"),
        ("{ cipherSuites: [x] }", "invalid CipherSuite: x"),
        ("{ minVersion: x }", "unknown TLS version: `minVersion: x`"),
        ("{ certificates: [{ certFile: a }] }", "`keyFile` is missing"),
    ] {
        let (routing, problems) = routed(written, "{ servers: [{ url: 'http://a' }], serversTransport: t }");
        let Target::Unavailable(found) = &routing.routers["a@file"].target else { panic!("{written}") };
        let expected = format!("service \"s@file\": servers transport \"t@file\": {reason}");
        assert_eq!(**found, expected, "{written}");
        let subjects: Vec<_> = problems.iter().map(|problem| problem.subject.as_str()).collect();
        assert_eq!(subjects, ["router `a`", "service `s`", "servers transport `t`"], "{written}");
        assert_eq!(routing.listing.services["s@file"].status, Status::Disabled, "{written}");
    }
}

const PIN: &str = "AB:cd:0000000000000000000000000000000000000000000000000000000000EF";

#[test]
fn a_service_says_itself_whom_its_servers_are_trusted_by() {
    let skipped = "warning: service `s`: certificates of its servers are not verified (`tls.skipVerify`)";
    let pinned = format!("[{{ url: 'https://a', pin: '{PIN}' }}]");
    for (servers, more, tls, pins, said) in [
        (
            "[{ url: 'https://a' }]",
            "tls: { skipVerify: true }",
            UpstreamTls { skip_verify: true, ..UpstreamTls::default() },
            0,
            &[skipped][..],
        ),
        (
            "[{ url: 'https://a' }]",
            "tls: { caFile: ca.pem }",
            UpstreamTls { roots: vec![Pem::new("ca.pem")], ..UpstreamTls::default() },
            0,
            &[],
        ),
        ("[{ url: 'https://a' }]", "tls: {}", UpstreamTls::default(), 0, &[]),
        (&pinned, "serversTransport: default@internal", UpstreamTls::default(), 1, &[]),
        (
            &pinned,
            "tls: { skipVerify: true }",
            UpstreamTls { skip_verify: true, ..UpstreamTls::default() },
            1,
            &[],
        ),
        (
            "[{ url: 'http://a', pin: x }]",
            "tls: { caFile: ca.pem }",
            UpstreamTls { roots: vec![Pem::new("ca.pem")], ..UpstreamTls::default() },
            0,
            &[
                "warning: service `s`: `pin` means nothing: the server is not `https`",
                "warning: service `s`: `tls` of the load balancer means nothing: none of its servers is `https`",
            ],
        ),
        (
            "[{ url: 'https://a', pin: 'ab:cd' }]",
            "passHostHeader: true",
            UpstreamTls::default(),
            0,
            &["warning: service `s`: server `https://a` is left out: its `pin` is no SHA-256 digest"],
        ),
    ] {
        let (routing, problems) = routed("{}", &format!("{{ servers: {servers}, {more} }}"));
        let service = &routing.services["s@file"];
        assert_eq!(service.transport.tls, tls, "{servers} {more}");
        let found: Vec<_> = service.servers.iter().filter_map(|server| server.pin).collect();
        assert_eq!(found.len(), pins, "{servers} {more}");
        assert!(found.iter().all(|pin| pin[..2] == [0xab, 0xcd] && pin[31] == 0xef), "{found:?}");
        assert_eq!(messages(&problems), said, "{servers} {more}");
    }
}

#[test]
fn services_with_equal_transports_share_one() {
    let mut services = String::new();
    for (name, balancer) in [
        ("a", "{ servers: [], serversTransport: t }"),
        ("b", "{ servers: [], serversTransport: u }"),
        ("c", "{ servers: [], tls: { caFile: ca } }"),
        ("d", "{ servers: [], serversTransport: v }"),
        ("e", "{ servers: [] }"),
    ] {
        services.push_str(&format!("    {name}: {{ loadBalancer: {balancer} }}\n"));
    }
    let text = format!(
        "http:\n  serversTransports: {{ t: {{ rootCAs: [ca] }}, u: {{ rootCAs: [ca] }}, v: {{}} }}\n  services:\n{services}"
    );
    let (routing, problems) = route(vec![file(&text)], &plain());
    assert_eq!(problems, []);
    let transport = |name: &str| &routing.services[format!("{name}@file").as_str()].transport;
    for (one, other, same) in [("a", "b", true), ("a", "c", true), ("d", "e", true), ("a", "d", false)] {
        assert_eq!(Arc::ptr_eq(transport(one), transport(other)), same, "{one} {other}");
    }
    assert_eq!(routing.pems().collect::<Vec<_>>(), vec![&Pem::new("ca"); 3]);
}

#[test]
fn what_the_install_configuration_says_holds_where_no_transport_is_named() {
    let (_, routing): (_, RawRouting) = file(
        "http: { services: { s: { loadBalancer: { servers: [{ url: 'https://a' }], tls: { caFile: own } } }, t: { loadBalancer: {} } } }\ntcp: { services: { t: { loadBalancer: { servers: [{ address: 'a:1' }] } } } }\n",
    );
    let http = Transport { dial_timeout: Duration::from_secs(1), ..Transport::default() };
    let tcp = TcpTransport { dial_timeout: Duration::from_secs(2), ..TcpTransport::default() };
    let context =
        Context { servers_transport: Arc::new(http), tcp_servers_transport: Arc::new(tcp), ..plain() };
    let (routing, _) = route(vec![("file".into(), routing)], &context);
    let (own, default) = (&routing.services["s@file"].transport, &routing.services["t@file"].transport);
    assert_eq!((own.dial_timeout, own.tls.roots.len()), (Duration::from_secs(1), 1));
    assert!(Arc::ptr_eq(default, &context.servers_transport));
    let crate::routing::stream::TcpServiceKind::Servers { transport, .. } =
        &routing.tcp.services["t@file"].kind
    else {
        panic!("it has servers");
    };
    assert!(Arc::ptr_eq(transport, &context.tcp_servers_transport));
}

proptest! {
    #[test]
    fn a_pin_is_64_digits_or_none(written in "[0-9a-fA-F:]{60,72}|[a-z0-9: .]{0,8}") {
        let (routing, _) = routed("{}", &format!("{{ servers: [{{ url: 'https://a', pin: {written:?} }}] }}"));
        let digits = written.chars().filter(char::is_ascii_hexdigit).count();
        let clean = written.chars().all(|c| c.is_ascii_hexdigit() || c == ':');
        if let Some(server) = routing.services["s@file"].servers.first() {
            prop_assert_eq!(server.pin.is_some(), clean && digits == 64);
        } else {
            prop_assert!(!(clean && digits == 64));
        }
    }
}
