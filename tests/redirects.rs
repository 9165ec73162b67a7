//! Requests that are sent elsewhere: redirections of entry points, and the middleware `redirectScheme`.

use http::{HeaderValue, Method};
use tests::client::{Address, Answer, ask, ask_for, request};
use tests::gateway::GatewayPlan;
use tests::origin::Origin;

async fn send(address: impl Into<Address>, method: &Method, host: &str, target: &str) -> Answer {
    ask(address, request(method.as_str(), host, target, "")).await.expect("an answer")
}

#[tokio::test]
async fn every_plain_request_of_an_entry_point_is_sent_to_the_other() {
    let app = Origin::start("app").await;
    let gateway = GatewayPlan::new()
        .entry_point("websecure")
        .entry_point("lan")
        .argument("--entryPoints.web.http.redirections.entryPoint.to=websecure")
        .argument("--entryPoints.lan.http.redirections.entryPoint.to=:443")
        .argument("--entryPoints.lan.http.redirections.entryPoint.permanent=false")
        .app(&app.url())
        .start()
        .await;
    let port = gateway.address("websecure").port();

    for (entry_point, method, target, status, location) in [
        ("web", Method::GET, "/a%20b?c=d&e", 301, format!("https://app.test:{port}/a%20b?c=d&e")),
        ("web", Method::POST, "/", 308, format!("https://app.test:{port}/")),
        ("web", Method::GET, "//evil.test/..", 301, format!("https://app.test:{port}/")),
        ("lan", Method::GET, "/x", 302, "https://app.test/x".to_owned()),
        ("lan", Method::HEAD, "/x", 307, "https://app.test/x".to_owned()),
    ] {
        let address = gateway.address(entry_point);
        let answer = send(address, &method, "APP.test:8080", target).await;
        assert_eq!((answer.status, answer.header("location")), (status, &*location), "{method} {target}");
    }
    assert_eq!(app.requests(), 0);

    let listed = gateway.admin_json("/api/http/routers/web-to-websecure@internal").await;
    assert_eq!(listed["rule"], "HostRegexp(`^.+$`)");
    assert_eq!(listed["priorityStr"], "9223372036854775806");
    assert_eq!(listed["middlewares"][0], "redirect-web-to-websecure@internal");
    let explained = gateway.admin_json("/api/explain?url=http://app.test/x&entryPoint=lan").await;
    assert_eq!(explained["answer"]["status"], 302);
    assert_eq!(explained["answer"]["reason"], "a middleware redirects to https://app.test/x");
}

#[tokio::test]
async fn a_router_redirects_unless_a_trusted_proxy_says_that_tls_ended_there() {
    let app = Origin::start("app").await;
    let gateway = GatewayPlan::new()
        .entry_point("tunnel")
        .argument("--entryPoints.tunnel.forwardedHeaders.trustedIPs=127.0.0.1")
        .routes(&format!(
            "http:
  routers:
    app: {{ rule: Host(`app.test`), service: app, middlewares: [to-https] }}
  middlewares:
    to-https: {{ redirectScheme: {{ scheme: https, permanent: true }} }}
  services:
    app: {{ loadBalancer: {{ servers: [ {{ url: '{}' }} ] }} }}
",
            app.url()
        ))
        .start()
        .await;

    let plain = ask_for(gateway.web(), "app.test", "/").await.expect("an answer");
    assert_eq!((plain.status, plain.header("location")), (301, "https://app.test/"));
    let https = || {
        let mut request = request("GET", "app.test", "/", "");
        request.headers_mut().insert("x-forwarded-proto", HeaderValue::from_static("https"));
        request
    };
    let forged = ask(gateway.web(), https()).await.expect("an answer");
    assert_eq!(forged.status, 301);
    let believed = ask(gateway.address("tunnel"), https()).await.expect("an answer");
    assert_eq!((believed.status, &believed.json()["server"]), (200, &"app".into()));
}
