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

mod redirects;

/// What an install configuration of these flags says about routing.
pub(super) fn context(flags: &[&str]) -> Context {
    let flags: Vec<_> = flags.iter().map(|&flag| flag.to_owned()).collect();
    let loaded = install::load::load(&flags, Vec::new(), &NoFiles).expect("the flags are good");
    let resolver = |flag: &str| {
        let (name, challenge) = flag.strip_prefix("--certificatesResolvers.")?.split_once(".acme.")?;
        let http = challenge.strip_prefix("httpChallenge.entryPoint=");
        Some(Resolver {
            name: name.into(),
            dns: challenge.starts_with("dns"),
            http: http.map(EntryPointName::from),
        })
    };
    Context {
        certificate_resolvers: flags.iter().filter_map(|flag| resolver(flag)).collect(),
        ..Context::new(&loaded.install)
    }
}

/// Entry points `web` and `websecure`, and certificate resolver `le`.
pub(super) const PLAIN: [&str; 3] = [
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
pub(super) fn file(text: &str) -> (ProviderName, RawRouting) {
    let parsed = parse_file(text, Path::new("routes.yml"), &|_| None).expect("the file parses");
    assert_eq!(parsed.problems, []);
    (ProviderName::from("file"), parsed.routing)
}

/// A running container, whose one service is at `10.0.0.<since>`.
pub(super) fn container(name: &str, since: i64, labels: &[(&str, &str)]) -> RawRouting {
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

pub(super) fn docker(containers: Vec<RawRouting>) -> (ProviderName, RawRouting) {
    let (routing, problems) = combine(containers, merge::Rule::Containers);
    assert_eq!(problems, []);
    (ProviderName::from("docker"), routing)
}

pub(super) fn described(routing: &Routing, problems: &[Problem]) -> String {
    let mut text = String::new();
    for router in routing.routers.values() {
        let entry_points: Vec<_> = router.entry_points.iter().map(EntryPointName::as_str).collect();
        let target = match &router.target {
            Target::Service(name) => format!("service {name}"),
            Target::Internal(service) => format!("{service:?}"),
            Target::Unavailable(reason) => format!("503: {reason}"),
        };
        let middlewares: Vec<_> = router.middlewares.iter().map(MiddlewareName::as_str).collect();
        writeln!(
            text,
            "{} on {}{} {} [{}] -> {}{target}",
            router.name,
            entry_points.join(","),
            if router.tls.is_some() { " TLS" } else { "" },
            router.rule.text(),
            router.priority,
            middlewares.iter().map(|name| format!("{name} -> ")).collect::<String>(),
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

pub(super) fn check(providers: Vec<(ProviderName, RawRouting)>, context: &Context, expected: &str) {
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

/// A file with service `s` and these routers, written as flow maps.
pub(super) fn routers(routers: &str) -> (ProviderName, RawRouting) {
    let mut text = String::from(
        "http:\n  services:\n    s: { loadBalancer: { servers: [{ url: 'http://10.0.0.1:80' }] } }\n  routers:\n",
    );
    for line in routers.lines().map(str::trim).filter(|line| !line.is_empty()) {
        writeln!(text, "    {line}").unwrap();
    }
    file(&text)
}

pub(super) const SERVED: &str = "service s@file: http://10.0.0.1:80";

#[test]
fn a_bad_router_is_left_out_and_its_neighbours_live() {
    for (router, problem) in [
        (
            "b: { rule: 'Hots(`b`)', service: s }",
            "parsing rule Hots(`b`): unsupported function: Hots; did you mean `Host`? (column 1 of the rule)",
        ),
        ("b: { service: s }", "empty rule; set `rule`, as in ``Host(`app.example.com`)``"),
        (
            "b: { rule: 'Host(`b`)', service: s, priority: 9223372036854774808 }",
            "the router priority 9223372036854774808 exceeds the max user-defined priority 9223372036854774807; \
             give a smaller number",
        ),
        (
            "b: { rule: 'Host(`b`)', service: s, ruleSyntax: v2 }",
            "`ruleSyntax: v2` is not served; write the rule in the syntax of version 3 and take `ruleSyntax` \
             away: one argument a matcher, joined with `||`; `HostRegexp` and `PathRegexp` take plain regular \
             expressions",
        ),
        (
            "b: { rule: 'Host(`b`)', parentRefs: [c] }",
            "`parentRefs` (layers of routers) are not served yet; write one router with the rule and the \
             middlewares of both layers meanwhile",
        ),
    ] {
        let (routing, problems) = route(
            vec![routers(&format!("{router}\na: {{ rule: 'Host(`a`)', service: s }}"))],
            &context(&PLAIN),
        );
        let names: Vec<_> = routing.routers.keys().map(RouterName::as_str).collect();
        assert_eq!(names, ["a@file"], "{router}");
        let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(texts, [format!("routes.yml:5:5: error: router `b`: {problem}")], "{router}");
        let listed = &routing.listing.routers["b@file"];
        assert_eq!((listed.status, listed.used_by.as_slice()), (Status::Disabled, [].as_slice()), "{router}");
        assert_eq!(listed.errors, [problem], "{router}");
    }
}

#[test]
fn an_unknown_entry_point_is_told_and_the_others_serve() {
    check(
        vec![routers(
            "a: { rule: 'Host(`a`)', service: s, entryPoints: [web, websecrue] }
             b: { rule: 'Host(`b`)', service: s, entryPoints: [nowhere] }",
        )],
        &context(&PLAIN),
        &format!(
            "a@file on web Host(`a`) [9] -> service s@file
             {SERVED}
             routes.yml:6:5: error: router `b`: no valid entryPoint for this router; there are `web`, `websecure`
             routes.yml:5:5: warning: router `a`: entryPoint \"websecrue\" doesn't exist; did you mean `websecure`?
             routes.yml:6:5: warning: router `b`: entryPoint \"nowhere\" doesn't exist"
        ),
    );
}

#[test]
fn a_router_whose_service_or_middleware_is_bad_or_missing_answers_503() {
    for (router, reason) in [
        ("{ rule: 'Host(`a`)', service: nope }", "the service \"nope@file\" does not exist"),
        ("{ rule: 'Host(`a`)', service: s@docker }", "the service \"s@docker\" does not exist"),
        ("{ rule: 'Host(`a`)' }", "the service is missing on the router"),
        ("{ rule: 'Host(`a`)', service: s, middlewares: [auth] }", "middleware \"auth@file\" does not exist"),
        ("{ rule: 'Host(`a`)', service: api@internal }", "the service \"api@internal\" does not exist"),
        ("{ rule: 'Host(`a`)', service: rest@internal }", "the service \"rest@internal\" does not exist"),
    ] {
        let (routing, problems) = route(vec![routers(&format!("a: {router}"))], &context(&PLAIN));
        let expected = Target::Unavailable(reason.into());
        assert_eq!(routing.routers["a@file"].target, expected, "{router}");
        assert_eq!(problems.len(), 1, "{router}");
        assert!(problems[0].message.starts_with(reason), "{router}");
        assert!(problems[0].hint.is_some(), "{router}");
        let listed = &routing.listing.routers["a@file"];
        assert_eq!((listed.status, listed.used_by.len()), (Status::Disabled, 2), "{router}");
    }
}

/// What becomes of a router that uses one middleware of this form.
fn with_middleware(middleware: &str) -> (Routing, Vec<Problem>) {
    let (provider, mut routing) = routers("a: { rule: 'Host(`a`)', service: s, middlewares: [m] }");
    let (_, more) = file(&format!("http:\n  middlewares:\n    m: {middleware}\n"));
    routing.http.middlewares = more.http.middlewares;
    route(vec![(provider, routing)], &context(&PLAIN))
}

#[test]
fn what_restricts_or_changes_requests_is_never_left_out() {
    for middleware in [
        "{ addPrefix: { prefix: /a } }",
        "{ stripPrefix: { prefixes: [/a] } }",
        "{ stripPrefixRegex: { regex: [/a] } }",
        "{ replacePath: { path: /a } }",
        "{ replacePathRegex: { regex: a, replacement: b } }",
        "{ ipWhiteList: { sourceRange: [10.0.0.0/8] } }",
        "{ ipAllowList: { sourceRange: [10.0.0.0/8] } }",
        "{ headers: { frameDeny: true } }",
        "{ headers: {} }",
        "{ encodedCharacters: {} }",
        "{ rateLimit: { average: 1 } }",
        "{ redirectRegex: { regex: a, replacement: b } }",
        "{ redirectScheme: { permanent: true } }",
        "{ redirectScheme: { scheme: ftp } }",
        "{ redirectScheme: { scheme: https, port: https } }",
        "{ basicAuth: { users: ['u:h'] } }",
        "{ digestAuth: { users: ['u:r:h'] } }",
        "{ forwardAuth: { address: 'http://a' } }",
        "{ inFlightReq: { amount: 1 } }",
        "{ buffering: { maxRequestBodyBytes: 1 } }",
        "{ passTLSClientCert: { pem: true } }",
        "{ plugin: { bouncer: { enabled: true } } }",
        "{ plugin: { geoblock: { countries: [DE] } } }",
        "{ plugin: { a: {}, b: {} } }",
        "{ geo: { allowCountries: [DE] } }",
        "{ compress: {}, retry: { attempts: 1 } }",
        "{ chain: { middlewares: [m] } }",
        "{ chain: { middlewares: [nope] } }",
        "{}",
    ] {
        let (routing, problems) = with_middleware(middleware);
        let target = &routing.routers["a@file"].target;
        assert!(matches!(target, Target::Unavailable(_)), "{middleware}: {target:?}");
        let subjects: Vec<_> = problems.iter().map(|problem| problem.subject.as_str()).collect();
        assert_eq!(subjects, ["middleware `m`", "router `a`"], "{middleware}");
        assert_eq!(routing.listing.middlewares["m@file"].status, Status::Disabled, "{middleware}");
        assert_eq!(routing.listing.middlewares["m@file"].used_by, ["a@file"], "{middleware}");
    }
}

#[test]
fn what_lets_nothing_more_through_is_left_out_with_a_problem() {
    for middleware in [
        "{ compress: {} }",
        "{ contentType: {} }",
        "{ circuitBreaker: { expression: 'NetworkErrorRatio() > 0.5' } }",
        "{ retry: { attempts: 2 } }",
        "{ errors: { status: ['500'], service: s } }",
        "{ grpcWeb: { allowOrigins: ['*'] } }",
        "{ buffering: {} }",
        "{ headers: { sslRedirect: true } }",
    ] {
        let (routing, problems) = with_middleware(middleware);
        assert_eq!(routing.routers["a@file"].target, Target::Service("s@file".into()), "{middleware}");
        let subjects: Vec<_> = problems.iter().map(|problem| problem.subject.as_str()).collect();
        assert_eq!(subjects, ["middleware `m`"], "{middleware}");
        assert_eq!(routing.listing.routers["a@file"].status, Status::Warning, "{middleware}");
    }
    let (_, problems) = with_middleware("{ plugin: { bouncer: { enabled: 'false' } } }");
    assert_eq!(problems, [], "a bouncer that is switched off lets everything pass");
}

/// What becomes of a service of this form.
fn with_service(service: &str) -> (Routing, Vec<Problem>) {
    let (_, mut routing) = routers("a: { rule: 'Host(`a`)', service: s }");
    let (provider, more) = file(&format!(
        "http:\n  serversTransports:\n    skip: {{ insecureSkipVerify: true }}\n    slow: {{ forwardingTimeouts: {{ dialTimeout: 5 }} }}\n  services:\n    s: {service}\n"
    ));
    routing.http.services = more.http.services;
    routing.http.servers_transports = more.http.servers_transports;
    route(vec![(provider, routing)], &context(&PLAIN))
}

#[test]
fn services_that_are_not_served_yet_answer_503() {
    for (service, reason) in [
        ("{}", "the service \"s@file\" does not have any type defined"),
        ("{ weighted: { services: [{ name: t }] } }", "services of type `weighted` are not served yet"),
        ("{ mirroring: { service: t } }", "services of type `mirroring` are not served yet"),
        ("{ failover: { service: t, fallback: u } }", "services of type `failover` are not served yet"),
        ("{ highestRandomWeight: {} }", "services of type `highestRandomWeight` are not served yet"),
        ("{ loadBalancer: {}, weighted: {} }", "cannot create service: multi-types service not supported"),
        ("{ loadBalancer: { strategy: x } }", "unsupported load-balancer strategy \"x\""),
        (
            "{ loadBalancer: { servers: [{ url: 'http://a' }], serversTransport: nope } }",
            "servers transport \"nope@file\" does not exist",
        ),
        ("{ loadBalancer: {}, middlewares: [nope] }", "middleware \"nope@file\" does not exist"),
    ] {
        let (routing, problems) = with_service(service);
        let Target::Unavailable(found) = &routing.routers["a@file"].target else {
            panic!("{service}: {:?}", routing.routers["a@file"].target);
        };
        assert!(found.contains(reason), "{service}: {found}");
        let subjects: Vec<_> = problems.iter().map(|problem| problem.subject.as_str()).collect();
        assert_eq!(subjects, ["router `a`", "service `s`"], "{service}");
        assert!(!routing.services.contains_key("s@file"), "{service}");
    }
}

#[test]
fn settings_of_a_service_that_let_nothing_more_through_are_left_out_with_a_problem() {
    for (settings, what) in [
        ("sticky: { cookie: {} }", "`sticky.cookie` is not served yet"),
        ("healthCheck: { path: /h }", "`healthCheck` is not served yet"),
        ("passiveHealthCheck: {}", "`passiveHealthCheck` is not served yet"),
        ("strategy: p2c", "strategy `p2c` is not served yet"),
        ("tls: { caFile: /ca }", "`tls` of the load balancer means nothing: none of its servers is `https`"),
    ] {
        let (routing, problems) =
            with_service(&format!("{{ loadBalancer: {{ servers: [{{ url: 'http://a' }}], {settings} }} }}"));
        assert_eq!(routing.routers["a@file"].target, Target::Service("s@file".into()), "{settings}");
        assert_eq!(problems.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>(), [what]);
        assert_eq!(routing.listing.services["s@file"].status, Status::Warning, "{settings}");
        assert_eq!(routing.listing.services["s@file"].used_by, ["a@file"], "{settings}");
    }
    let (_, problems) = with_service(
        "{ loadBalancer: { servers: [{ url: 'https://a' }], serversTransport: default@internal, \
           responseForwarding: { flushInterval: -1 }, passHostHeader: false, sticky: {} } }",
    );
    assert_eq!(problems, []);
}

#[test]
fn servers_are_checked_one_by_one() {
    for (url, expected) in [
        ("http://10.0.0.1", "Http 10.0.0.1 80 ''"),
        ("https://nas.lan", "Https nas.lan 443 ''"),
        ("h2c://grpc:9000", "H2c grpc 9000 ''"),
        ("http://[fd00::1]:8080/", "Http fd00::1 8080 ''"),
        ("HTTP://a:81/base/", "Http a 81 '/base'"),
        ("10.0.0.1:80", "it is no absolute URL"),
        ("ftp://a", "its scheme is not `http`, `https` or `h2c`"),
        ("http://u:p@a", "user names and passwords do not belong into it"),
        ("http://a:0", "its port is not a number from 1 to 65535"),
        ("http://a:70000", "its port is not a number from 1 to 65535"),
        ("http://a:+80", "its port is not a number from 1 to 65535"),
        ("http://", "its host is missing or holds a character that no host has"),
        ("http://a b", "it holds a blank, a control character or a backslash"),
        ("http://[fd00::1", "`]` is missing"),
        ("http://[a]:80", "what stands in brackets is no IPv6 address"),
        ("http://fd00::1:80", "its port is not a number from 1 to 65535"),
    ] {
        let (routing, problems) = with_service(&format!(
            "{{ loadBalancer: {{ servers: [{{ url: '{url}', preservePath: true }}, {{ url: 'http://z' }}, \
               {{ url: 'http://y', weight: 0 }}] }} }}"
        ));
        let servers = &routing.services["s@file"].servers;
        match problems.first() {
            Some(problem) => {
                assert!(problem.message.contains(expected), "{url}: {problem}");
                assert!(!problem.to_string().contains("u:p@"), "{problem}");
                assert_eq!(servers.len(), 1, "{url}");
            }
            None => {
                let server = servers.iter().find(|server| &*server.host != "z").expect(url);
                let found =
                    format!("{:?} {} {} '{}'", server.scheme, server.host, server.port, server.path_prefix);
                assert_eq!(found, expected, "{url}");
            }
        }
    }
}

#[test]
fn entry_points_with_defaults_split_a_router() {
    let flags = ["--entryPoints.websecure.http.tls=true", "--entryPoints.websecure.http.middlewares=gz@file"];
    let (provider, mut routing) = routers("a: { rule: 'Host(`a`)', service: s }");
    routing.http.middlewares = file("http:\n  middlewares:\n    gz: { compress: {} }\n").1.http.middlewares;
    check(
        vec![(provider, routing)],
        &context(&[PLAIN.as_slice(), &flags].concat()),
        &format!(
            "a@file on web Host(`a`) [9] -> service s@file
             websecure-a@file on websecure TLS Host(`a`) [9] -> service s@file
             {SERVED}
             routes.yml:3:5: warning: middleware `gz`: `compress` is not served yet; routers that use it are served without it"
        ),
    );
}

#[test]
fn internal_routers_appear_as_in_traefik() {
    check(
        vec![],
        &context(&[
            "--entryPoints.web.address=:80",
            "--api.insecure=true",
            "--ping=true",
            "--metrics.prometheus=true",
            "--certificatesResolvers.le.acme.httpChallenge.entryPoint=web",
            // It would stand in the way of the ACME server.
            "--entryPoints.web.http.tls=true",
        ]),
        "acme-http@internal on web PathPrefix(`/.well-known/acme-challenge/`) [9223372036854775807] -> AcmeHttp
         api@internal on traefik PathPrefix(`/api`) [9223372036854775806] -> Api
         dashboard@internal on traefik PathPrefix(`/`) [9223372036854775805] -> Dashboard
         ping@internal on traefik PathPrefix(`/ping`) [9223372036854775807] -> Ping
         prometheus@internal on traefik PathPrefix(`/metrics`) [9223372036854775807] -> Prometheus",
    );
    let context = context(&["--entryPoints.web.address=:80", "--api=true"]);
    let (routing, _) = route(vec![], &context);
    let services: Vec<_> = routing.listing.services.keys().map(ServiceName::as_str).collect();
    assert_eq!(services, ["api@internal", "dashboard@internal", "noop@internal"]);
    assert!(routing.listing.routers.is_empty());
    let flags = [
        "--entryPoints.web.address=:80",
        "--entryPoints.web.allowACMEByPass=true",
        "--certificatesResolvers.le.acme.httpChallenge.entryPoint=web",
    ];
    let (routing, _) = route(vec![], &self::context(&flags));
    assert!(routing.listing.services.contains_key("acme-http@internal"));
    assert!(routing.listing.routers.is_empty(), "routers answer for tokens that the gateway does not know");
}

#[test]
fn where_nothing_is_configured_visitors_are_greeted() {
    let (routing, _) = route(vec![], &context(&[]));
    let greeting = routing.routers.values().find(|router| router.name.name().ends_with("whoami")).unwrap();
    assert_eq!(greeting.target, Target::Internal(crate::routing::InternalService::Whoami));
    assert!(greeting.priority < 0);
}

#[test]
fn two_containers_with_one_rule_are_told() {
    check(
        vec![docker(vec![
            container("one", 1, &[
                ("traefik.http.routers.a.rule", "Host(`x`)"),
                ("traefik.http.services.a.loadbalancer.server.port", "80"),
            ]),
            container("two", 2, &[
                ("traefik.http.routers.b.rule", "Host(`x`)"),
                ("traefik.http.services.b.loadbalancer.server.port", "80"),
            ]),
        ])],
        &context(&PLAIN),
        "a@docker on web,websecure Host(`x`) [9] -> service a@docker
         b@docker on web,websecure Host(`x`) [9] -> service b@docker
         service a@docker: http://10.0.0.1:80
         service b@docker: http://10.0.0.2:80
         container `two`: warning: router `b`: route conflict: router `a@docker` of container `one` has the same rule and priority and is asked first; change one of the rules, or give the one that is meant a `priority`",
    );
}

/// A running container under `labelScope: container`.
pub(super) fn scoped(name: &str, since: i64, labels: &[(&str, &str)]) -> RawRouting {
    let mut routing = container(name, since, labels);
    routing.stamp(&Standing::Up, since, &Scope::Container { id: format!("{name}-id").into() });
    routing
}

#[test]
fn with_label_scope_container_nobody_takes_what_is_anothers() {
    let service = ("traefik.http.services.s.loadbalancer.server.port", "80");
    let providers = |rule: &str, more: &[(&str, &str)]| {
        let labels = [&[("traefik.http.routers.r.rule", rule), service], more].concat();
        let victim = [("traefik.http.routers.r.rule", "Host(`old.lan`)"), service];
        let shared = [
            ("hearthgate.http.middlewares.open.compress", "true"),
            ("hearthgate.http.middlewares.open.export", "true"),
            ("hearthgate.http.middlewares.closed.compress", "true"),
        ];
        vec![
            docker(vec![scoped("old", 1, &[victim.as_slice(), &shared].concat()), scoped("new", 2, &labels)]),
            routers("f: { rule: 'Host(`file.lan`) || Host(`*.wild.lan`)', service: s }"),
        ]
    };
    for (rule, more, expected) in [
        ("Host(`new.lan`)", &[][..], Some("service s@docker:new-id")),
        ("Host(`old.lan`)", &[], None),
        ("Host(`new.lan`) || Host(`old.lan`)", &[], None),
        ("Host(`old.lan`) && PathPrefix(`/x`)", &[("traefik.http.routers.r.priority", "99999")], None),
        ("Host(`file.lan`)", &[], None),
        ("Host(`a.wild.lan`)", &[], None),
        ("Host(`*.wild.lan`)", &[], None),
        ("Host(`*.lan`)", &[], None),
        ("PathPrefix(`/`)", &[], None),
        ("HostRegexp(`.+`)", &[], None),
        ("!Host(`x`)", &[], None),
        (
            "Host(`new.lan`)",
            &[("traefik.http.routers.r.service", "s@docker")],
            Some("service s@docker:new-id"),
        ),
        ("Host(`new.lan`)", &[("traefik.http.routers.r.service", "s@file")], Some("503")),
        ("Host(`new.lan`)", &[("traefik.http.routers.r.service", "noop@internal")], Some("503")),
        (
            "Host(`new.lan`)",
            &[("traefik.http.routers.r.middlewares", "open")],
            Some("service s@docker:new-id"),
        ),
        ("Host(`new.lan`)", &[("traefik.http.routers.r.middlewares", "closed")], Some("503")),
    ] {
        let (routing, problems) = route(providers(rule, more), &context(&PLAIN));
        let found = routing.routers.get("r@docker:new-id").map(|router| match &router.target {
            Target::Service(name) => format!("service {name}"),
            Target::Internal(_) => "internal".to_owned(),
            Target::Unavailable(_) => "503".to_owned(),
        });
        assert_eq!(found.as_deref(), expected, "{rule} {more:?} {problems:?}");
        assert!(routing.routers.contains_key("r@docker:old-id"), "{rule}");
    }
}
