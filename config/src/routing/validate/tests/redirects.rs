//! Redirections of entry points, and the middleware that does their work.

use super::*;
use crate::routing::middleware::{Middleware, RedirectScheme, WebScheme};

#[test]
fn an_entry_point_redirects_with_traefiks_router() {
    let flags = [
        "--entryPoints.web.address=:80",
        "--entryPoints.web.http.redirections.entryPoint.to=web_secure",
        "--entryPoints.web_secure.address=:8443",
        "--entryPoints.lan.address=:81",
        "--entryPoints.lan.http.redirections.entryPoint.to=:443",
        "--entryPoints.lan.http.redirections.entryPoint.permanent=false",
        "--entryPoints.lan.http.redirections.entryPoint.priority=5",
        "--entryPoints.lan.allowACMEByPass=true",
    ];
    check(
        vec![],
        &context(&flags),
        "lan-to-443@internal on lan HostRegexp(`^.+$`) && !PathPrefix(`/.well-known/acme-challenge/`) [5] -> redirect-lan-to-443@internal -> Noop
         web-to-web-secure@internal on web HostRegexp(`^.+$`) [9223372036854775806] -> redirect-web-to-web-secure@internal -> Noop",
    );
    let (routing, _) = route(vec![], &context(&flags));
    let redirect = |port, permanent| {
        Middleware::RedirectScheme(RedirectScheme { scheme: WebScheme::Https, port, permanent })
    };
    assert_eq!(routing.middlewares["redirect-web-to-web-secure@internal"], redirect(Some(8443), true));
    assert_eq!(routing.middlewares["redirect-lan-to-443@internal"], redirect(None, false));
    let listed = &routing.listing.middlewares["redirect-lan-to-443@internal"];
    assert_eq!(
        (listed.status, &listed.used_by[..]),
        (Status::Enabled, &["lan-to-443@internal".to_owned()][..])
    );
}

#[test]
fn chains_are_taken_apart_and_what_is_left_out_is_told() {
    let (provider, mut routing) = routers(
        "a: { rule: 'Host(`a`)', service: s, middlewares: [outer] }\n    b: { rule: 'Host(`b`)', service: s, middlewares: [bad] }",
    );
    let (_, more) = file(
        "http:
  middlewares:
    to-https: { redirectScheme: { scheme: HTTPS, port: '443' } }
    inner: { chain: { middlewares: [gzip, to-https] } }
    outer: { chain: { middlewares: [inner, to-https@file] } }
    bad: { chain: { middlewares: [to-https, auth] } }
    gzip: { compress: {} }
    auth: { basicAuth: { users: ['u:h'] } }
",
    );
    routing.http.middlewares = more.http.middlewares;
    let (routing, _) = route(vec![(provider, routing)], &context(&PLAIN));
    assert_eq!(
        routing.routers["a@file"].middlewares,
        ["to-https@file", "to-https@file"].map(MiddlewareName::from)
    );
    assert_eq!(routing.listing.routers["a@file"].status, Status::Warning);
    assert!(matches!(routing.routers["b@file"].target, Target::Unavailable(_)));
    let served: Vec<_> = routing.middlewares.keys().map(MiddlewareName::as_str).collect();
    assert_eq!(served, ["to-https@file"]);
}

#[test]
fn a_service_with_a_middleware_that_it_needs_answers_503() {
    let (provider, mut routing) = routers("a: { rule: 'Host(`a`)', service: t }");
    let (_, more) = file(
        "http:
  middlewares:
    to-https: { redirectScheme: { scheme: https } }
  services:
    t: { middlewares: [to-https], loadBalancer: { servers: [{ url: 'http://10.0.0.1' }] } }
",
    );
    routing.http.middlewares = more.http.middlewares;
    routing.http.services = more.http.services;
    let (routing, _) = route(vec![(provider, routing)], &context(&PLAIN));
    let Target::Unavailable(reason) = &routing.routers["a@file"].target else { panic!("it is not served") };
    assert!(reason.contains("`middlewares` of services are not served yet"), "{reason}");
}
