//! The admin API as its callers see it: who is let in, and what shapes come back.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use config::document::{Node, Style, decode, parse_yaml};
use config::install::Api;
use config::problem::Origin;
use config::routing::middleware::{Middleware, RedirectScheme, WebScheme};
use config::routing::raw::{Defined, RawMiddleware, RawRouter, RawService};
use config::routing::{
    InternalService, Listed, Router, Routing, Scheme, Server, Service, Standing, Status, Target,
};
use config::secret::Secret;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use security::acme::Challenges;
use serde_json::Value;

use super::*;
use crate::control::certificates::{Certificates, CertificatesParts};
use crate::control::reconciler::Reconciler;
use crate::internal::{InternalRequest, InternalServices};
use crate::lifecycle::Lifecycle;
use crate::snapshot::compile::{Parts, compile};
use crate::snapshot::{EntryPointId, ProviderState, Snapshot, SnapshotWriter, border};
use crate::test_support;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// An admin API over a snapshot that a test made.
struct Fixture {
    state: Arc<AdminState>,
    /// What ends the readiness and the reloads when it goes.
    _kept: (tempfile::TempDir, Lifecycle, SnapshotWriter, tokio::task::JoinHandle<()>),
}

fn fixture(bound: AdminAddress) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let mut install = test_support::install(&["web", "websecure"], directory.path());
    install.admin.allowed_hosts = vec!["localhost".to_owned(), "[::1]".to_owned(), "gate.lan".to_owned()];
    install.admin.token = Some(Secret::new(TOKEN.to_owned()));
    install.api = Some(Api { insecure: false, dashboard: true, base_path: String::new() });
    let challenges = Challenges { http: [("token".into(), "proof".into())].into(), ..Challenges::default() };
    let snapshot =
        Snapshot { challenges: Arc::new(challenges), ..compile(&install, parts(), &Snapshot::empty()) };
    let (writer, reader) = border(snapshot);
    let install = Arc::new(install);
    let (reconciler, _, reload) =
        Reconciler::new(Arc::clone(&install), Vec::new(), Vec::new(), test_support::clock());
    let (_, certificates) = Certificates::new(CertificatesParts {
        install: Arc::clone(&install),
        snapshot: reader.clone(),
        updates: reconciler.certificates(),
        variables: Arc::new(|_| None),
        clock: test_support::clock(),
    });
    let lifecycle = Lifecycle::default();
    let (telemetry, _) = Telemetry::new(&install);
    let (state, problems) = AdminState::new(AdminParts {
        readiness: Readiness::new(reader.clone(), lifecycle.reader(), tokio::time::Instant::now()),
        install,
        snapshot: reader,
        telemetry,
        reload,
        certificates,
        bound,
        started: UNIX_EPOCH + Duration::from_secs(1_795_276_800),
    });
    assert!(problems.is_empty(), "{problems:?}");
    Fixture { state, _kept: (directory, lifecycle, writer, tokio::spawn(reconciler.run())) }
}

/// One good router, one that is left out, a middleware with a secret in it.
fn parts() -> Parts {
    fn raw<T: serde::de::DeserializeOwned>(yaml: &str) -> T {
        let node: Node = parse_yaml(yaml, std::path::Path::new("routes.yml")).unwrap();
        decode(&node, Style::File).unwrap()
    }
    fn listed<T>(raw: T, status: Status, errors: &[&str], used_by: &[&str], priority: i64) -> Listed<T> {
        Listed {
            item: Defined::new(raw, Origin::file("routes.yml", 3, 5)),
            status,
            errors: errors.iter().map(|error| (*error).to_owned()).collect(),
            used_by: used_by.iter().map(|name| (*name).to_owned()).collect(),
            priority,
        }
    }
    let mut routing = Routing::default();
    let blog: RawRouter = raw(
        "rule: Host(`blog.test`) && PathPrefix(`/`)\nservice: blog\nmiddlewares: [auth]\nentryPoints: [web]\n",
    );
    let odd: RawRouter = raw("rule: Hots(`<odd>`)\nservice: blog\ntls: {}\n");
    let service: RawService = raw("loadBalancer:\n  servers:\n    - url: http://10.0.0.1:80\n");
    let auth: RawMiddleware = raw("basicAuth:\n  users: ['admin:canary-of-a-password']\n");
    let listing = &mut routing.listing;
    listing.routers.insert("blog@file".into(), listed(blog, Status::Enabled, &[], &["web"], 42));
    let error = "parsing rule Hots(`<odd>`): unsupported function: Hots";
    listing.routers.insert("odd@file".into(), listed(odd, Status::Disabled, &[error], &[], 13));
    listing.services.insert("blog@file".into(), listed(service, Status::Enabled, &[], &["blog@file"], 0));
    listing.middlewares.insert("auth@file".into(), listed(auth, Status::Enabled, &[], &["blog@file"], 0));
    // Stands for one that lets the request pass.
    let passes = RedirectScheme { scheme: WebScheme::Http, port: None, permanent: false };
    routing.middlewares.insert("auth@file".into(), Middleware::RedirectScheme(passes));
    routing.services.insert(
        "blog@file".into(),
        Service {
            name: "blog@file".into(),
            servers: vec![Server {
                url: "http://10.0.0.1:80".into(),
                scheme: Scheme::Http,
                host: "10.0.0.1".into(),
                port: 80,
                weight: 1,
                path_prefix: "".into(),
                pin: None,
            }],
            down: None,
            pass_host_header: true,
            transport: std::sync::Arc::default(),
            origin: Origin::Gateway,
        },
    );
    for (name, rule, target) in [
        ("blog@file", "Host(`blog.test`) && PathPrefix(`/`)", Target::Service("blog@file".into())),
        (
            "api@file",
            "Host(`blog.test`) && PathPrefix(`/api`) && Method(`POST`)",
            Target::Unavailable("middleware `auth@file` is not served yet".into()),
        ),
    ] {
        let rule = config::rule::parse(rule).unwrap();
        routing.routers.insert(
            name.into(),
            Router {
                name: name.into(),
                priority: rule.default_priority(),
                rule,
                precedence: 1,
                entry_points: vec!["web".into()],
                tls: None,
                middlewares: vec!["auth@file".into()],
                target,
                standing: Standing::Up,
                recursion_guard: false,
                observability: config::routing::Observability::default(),
                origin: Origin::file("routes.yml", 3, 5),
            },
        );
    }
    Parts {
        routing,
        problems: vec![
            Problem::error(Origin::file("routes.yml", 7, 9), "router `odd`", error)
                .with_hint("did you mean `Host`?"),
        ],
        providers: vec![ProviderState { name: "file".into(), answered: true, stale: None }],
        ..Parts::default()
    }
}

impl Fixture {
    async fn call(&self, request: Request<Full<Bytes>>) -> Response<Bytes> {
        let response = TowerToHyperService::new(router(Arc::clone(&self.state))).call(request).await.unwrap();
        let (head, body) = response.into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }

    async fn get(&self, path: &str) -> Response<Bytes> {
        self.call(Request::get(path).header("host", "localhost:8080").body(Full::default()).unwrap()).await
    }

    async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json", "{path}");
        serde_json::from_slice(response.body()).unwrap()
    }
}

fn loopback() -> AdminAddress {
    AdminAddress::Tcp(([127, 0, 0, 1], 8080).into())
}

fn elsewhere() -> AdminAddress {
    AdminAddress::Tcp(([0, 0, 0, 0], 8080).into())
}

#[tokio::test]
async fn strangers_are_kept_out() {
    let bearer = format!("Bearer {TOKEN}");
    let wrong = format!("Bearer {}", TOKEN.replace('f', "0"));
    let json = ("content-type", "application/json");
    let host = ("host", "localhost:8080");
    type Fields<'a> = &'a [(&'a str, &'a str)];
    let cases: &[(AdminAddress, &str, &str, Fields<'_>, u16)] = &[
        // Reading on loopback: open, for whoever asks by a name of ours.
        (loopback(), "GET", "/api/overview", &[host], 200),
        (loopback(), "GET", "/api/overview", &[("host", "LOCALHOST")], 200),
        (loopback(), "GET", "/api/overview", &[("host", "localhost.:80")], 200),
        (loopback(), "GET", "/api/overview", &[("host", "[::1]:8080")], 200),
        (loopback(), "GET", "/api/overview", &[("host", "gate.lan")], 200),
        (AdminAddress::Unix, "GET", "/metrics", &[host], 200),
        (loopback(), "HEAD", "/ping", &[host], 200),
        // A name that somebody made resolve to us.
        (loopback(), "GET", "/api/overview", &[("host", "evil.test")], 403),
        (loopback(), "GET", "/api/overview", &[("host", "localhost.evil.test")], 403),
        (loopback(), "GET", "/ping", &[("host", "evil.test")], 403),
        (loopback(), "GET", "/ping", &[], 403),
        (loopback(), "GET", "/ping", &[host, host], 403),
        (loopback(), "GET", "/ping", &[("host", "localhost:x")], 403),
        // A page of another origin.
        (loopback(), "GET", "/api/overview", &[host, ("origin", "http://localhost:8080")], 200),
        (loopback(), "GET", "/api/overview", &[host, ("origin", "http://localhost:3000")], 403),
        (loopback(), "GET", "/api/overview", &[host, ("origin", "http://evil.test")], 403),
        (loopback(), "GET", "/api/overview", &[host, ("origin", "null")], 403),
        // Behind a proxy that ends TLS.
        (loopback(), "GET", "/api/overview", &[("host", "gate.lan"), ("origin", "https://gate.lan")], 200),
        (
            loopback(),
            "GET",
            "/api/overview",
            &[("host", "gate.lan:8080"), ("origin", "https://gate.lan")],
            403,
        ),
        (loopback(), "GET", "/api/overview", &[("host", "gate.lan"), ("origin", "http://gate.lan")], 200),
        (
            loopback(),
            "POST",
            "/api/reload",
            &[host, ("authorization", &bearer), json, ("origin", "http://evil.test")],
            403,
        ),
        // Elsewhere reading needs the token, but for /ping.
        (elsewhere(), "GET", "/ping", &[host], 200),
        (elsewhere(), "GET", "/ready", &[host], 401),
        (elsewhere(), "GET", "/metrics", &[host], 401),
        (elsewhere(), "GET", "/api/rawdata", &[host], 401),
        (elsewhere(), "GET", "/api/rawdata", &[host, ("authorization", &wrong)], 401),
        (elsewhere(), "GET", "/api/rawdata", &[host, ("authorization", &bearer)], 200),
        (elsewhere(), "GET", "/api/rawdata", &[("host", "evil.test"), ("authorization", &bearer)], 403),
        // Writing needs it everywhere, and says JSON.
        (loopback(), "POST", "/api/reload", &[host, json], 401),
        (AdminAddress::Unix, "POST", "/api/reload", &[host, json], 401),
        (loopback(), "POST", "/api/reload", &[host, json, ("authorization", &wrong)], 401),
        (loopback(), "POST", "/api/reload", &[host, json, ("authorization", TOKEN)], 401),
        (loopback(), "POST", "/api/reload", &[host, json, ("authorization", "Bearer ")], 401),
        (
            loopback(),
            "POST",
            "/api/reload",
            &[host, json, ("authorization", &bearer), ("authorization", &bearer)],
            401,
        ),
        (loopback(), "POST", "/api/reload", &[host, ("authorization", &bearer)], 415),
        (
            loopback(),
            "POST",
            "/api/reload",
            &[host, ("authorization", &bearer), ("content-type", "text/plain")],
            415,
        ),
        (loopback(), "POST", "/api/reload", &[host, ("authorization", &bearer), json], 200),
        (
            loopback(),
            "POST",
            "/api/reload",
            &[host, ("authorization", &bearer), ("content-type", "application/json; charset=utf-8")],
            200,
        ),
        (loopback(), "GET", "/api/reload", &[host], 405),
        (loopback(), "DELETE", "/api/problems", &[host, ("authorization", &bearer), json], 405),
        // What later versions offer is not there.
        (loopback(), "GET", "/api/decisions", &[host], 404),
        (loopback(), "GET", "/nothing", &[host], 404),
    ];
    for (bound, method, path, fields, expected) in cases {
        let fixture = fixture(*bound);
        let mut request = Request::builder().method(*method).uri(*path);
        for (name, value) in *fields {
            request = request.header(*name, *value);
        }
        let response = fixture.call(request.body(Full::from("{}")).unwrap()).await;
        let case = format!("{bound:?} {method} {path} {fields:?}");
        assert_eq!(response.status().as_u16(), *expected, "{case}");
        if *expected >= 400 {
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json", "{case}");
            let body: Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(body["status"], *expected, "{case}");
        }
        assert_eq!(response.headers().contains_key(header::WWW_AUTHENTICATE), *expected == 401, "{case}");
    }
}

#[tokio::test]
async fn a_body_has_at_most_one_mebibyte() {
    let fixture = fixture(loopback());
    for (bytes, expected) in [(BODY_BYTES, 200), (BODY_BYTES + 1, 413)] {
        let request = Request::post("/api/reload")
            .header("host", "localhost")
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("content-type", "application/json")
            .body(Full::from(vec![b' '; bytes]))
            .unwrap();
        assert_eq!(fixture.call(request).await.status().as_u16(), expected, "{bytes}");
    }
}

#[tokio::test]
async fn no_answer_shows_a_secret() {
    let fixture = fixture(loopback());
    for path in [
        "/api/rawdata",
        "/api/http/middlewares",
        "/api/http/middlewares/auth@file",
        "/api/problems",
        "/api/entrypoints",
        "/metrics",
        "/dashboard/",
        "/api/explain?url=http://blog.test/",
    ] {
        let response = fixture.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let body = String::from_utf8_lossy(response.body()).into_owned();
        assert!(!body.contains("canary") && !body.contains(TOKEN), "{path}: {body}");
    }
}

#[tokio::test]
async fn the_read_api_has_traefiks_shapes() {
    let fixture = fixture(loopback());
    let mut shapes = BTreeMap::new();
    for path in [
        "/api/version",
        "/api/overview",
        "/api/rawdata",
        "/api/entrypoints/web",
        "/api/http/routers",
        "/api/http/routers/blog@file",
        "/api/http/services/blog@file",
        "/api/http/middlewares/auth%40file",
        "/api/tcp/routers",
        "/api/udp/services",
        "/api/problems",
        "/ready",
    ] {
        shapes.insert(path, fixture.json(path).await);
    }
    let version = shapes.get_mut("/api/version").unwrap();
    assert_eq!(version["Version"], env!("CARGO_PKG_VERSION"));
    version["Version"] = "VERSION".into();
    insta::assert_json_snapshot!("read_api", shapes);
    let text = fixture.get("/api/http/routers/odd@file").await;
    let text = String::from_utf8_lossy(text.body()).into_owned();
    let rule = r#","rule":"Hots(`\u003codd\u003e`)","service":"blog","#;
    assert!(text.contains(rule), "compact, escaped as Go does: {text}");
}

#[tokio::test]
async fn lists_are_searched_filtered_sorted_and_paged() {
    async fn check(fixture: &Fixture, query: &str, expected: &[&str], next: &str) {
        let response = fixture.get(&format!("/api/http/routers?{query}")).await;
        assert_eq!(response.status(), StatusCode::OK, "{query}");
        let items: Vec<Value> = serde_json::from_slice(response.body()).unwrap();
        let names: Vec<&str> = items.iter().filter_map(|item| item["name"].as_str()).collect();
        assert_eq!(names, expected, "{query}");
        assert_eq!(response.headers()["x-next-page"], next, "{query}");
    }
    let fixture = fixture(loopback());
    check(&fixture, "", &["blog@file", "odd@file"], "1").await;
    check(&fixture, "search=BLOG.t", &["blog@file"], "1").await;
    check(&fixture, "status=disabled", &["odd@file"], "1").await;
    check(&fixture, "status=warning", &[], "1").await;
    check(&fixture, "sortBy=priority&direction=desc", &["blog@file", "odd@file"], "1").await;
    check(&fixture, "sortBy=priority", &["odd@file", "blog@file"], "1").await;
    check(&fixture, "direction=desc", &["odd@file", "blog@file"], "1").await;
    check(&fixture, "serviceName=blog@file", &["blog@file", "odd@file"], "1").await;
    check(&fixture, "middlewareName=auth%40file", &["blog@file"], "1").await;
    check(&fixture, "per_page=1", &["blog@file"], "2").await;
    check(&fixture, "per_page=1&page=2", &["odd@file"], "1").await;
}

#[tokio::test]
async fn errors_of_traefiks_paths_have_traefiks_form() {
    let fixture = fixture(loopback());
    for (path, status, message) in [
        ("/api/http/routers/none@file", 404, "router not found: none@file"),
        ("/api/http/services/none@file", 404, "service not found: none@file"),
        ("/api/tcp/middlewares/none@file", 404, "middleware not found: none@file"),
        ("/api/entrypoints/none", 404, "entry point not found: none"),
        ("/api/http/routers?page=0", 400, "invalid request: page: 0"),
        ("/api/http/routers?page=2", 400, "invalid request: page: 2, per_page: 100"),
    ] {
        let response = fixture.get(path).await;
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8", "{path}");
        let body = String::from_utf8_lossy(response.body()).into_owned();
        assert_eq!(body, format!("{{\"message\":\"{message}\"}}\n"), "{path}");
    }
}

#[tokio::test]
async fn explain_names_the_winner_and_the_nearest_miss() {
    let fixture = fixture(loopback());
    let explanation = fixture.json("/api/explain?url=http%3A%2F%2Fblog.test%2Fapi%2Fx&from=192.0.2.7").await;
    insta::assert_json_snapshot!("explain", explanation);
    let explanation = fixture.json("/api/explain?url=http://blog.test/api&method=POST").await;
    assert_eq!(explanation["router"]["name"], "api@file");
    assert_eq!(explanation["shadowed"][0]["name"], "blog@file");
    assert_eq!(explanation["answer"]["status"], 503);
    let explanation = fixture.json("/api/explain?url=http://other.test/").await;
    assert_eq!(explanation["router"], Value::Null);
    assert_eq!(explanation["answer"]["status"], 404);
    let explanation = fixture.json("/api/explain?url=https://blog.test/").await;
    let reason = explanation["answer"]["reason"].as_str().unwrap();
    assert_eq!(reason, "no router matches; router `blog@file` would without TLS");
    for path in ["/api/explain", "/api/explain?url=blog.test", "/api/explain?url=http://a/&entryPoint=none"] {
        assert_eq!(fixture.get(path).await.status(), StatusCode::BAD_REQUEST, "{path}");
    }
}

#[tokio::test]
async fn draining_shows_in_ping_and_ready() {
    let fixture = fixture(loopback());
    assert_eq!(fixture.get("/ping").await.body(), "OK");
    assert_eq!(fixture.json("/ready").await["state"], "ready");
    fixture._kept.1.enter(Phase::Draining);
    assert_eq!(fixture.get("/ping").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let ready = fixture.get("/ready").await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body: Value = serde_json::from_slice(ready.body()).unwrap();
    assert_eq!(body["parts"][0]["reason"], "draining");
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let fixture = fixture(loopback());
    let plain = fixture.get("/metrics").await;
    assert_eq!(plain.headers()[header::CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
    assert!(String::from_utf8_lossy(plain.body()).contains("# TYPE traefik_config_reloads_total counter\n"));
    let request = Request::get("/metrics")
        .header("host", "localhost")
        .header("accept", "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3")
        .body(Full::default())
        .unwrap();
    let open = fixture.call(request).await;
    assert_eq!(
        open.headers()[header::CONTENT_TYPE],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(open.body().ends_with(b"# EOF\n"));
}

#[tokio::test]
async fn the_document_lists_what_there_is() {
    let fixture = fixture(loopback());
    let document = fixture.json("/api/openapi.json").await;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.replace("{name}", "none@file");
        if methods.get("get").is_some() {
            let response = fixture.get(&path).await;
            let known = !response.body().starts_with(b"{\"detail\":\"there is nothing here");
            assert!(known, "{path}");
        }
    }
}

async fn internal(fixture: &Fixture, service: InternalService, method: &str, path: &str) -> Response<Bytes> {
    let (head, ()) = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "blog.test")
        .header("x-odd", "a\u{e9}")
        .body(())
        .unwrap()
        .into_parts();
    AdminServices::new(Arc::clone(&fixture.state))
        .answer(InternalRequest {
            service,
            head: &head,
            client: "198.51.100.9".parse().unwrap(),
            peer: Some("203.0.113.7".parse().unwrap()),
            client_reason: "the rightmost address in X-Forwarded-For that is no trusted proxy",
            entry_point: EntryPointId(0),
            tls: None,
        })
        .await
}

#[tokio::test]
async fn the_services_of_the_gateway_itself_answer() {
    let fixture = fixture(loopback());
    use InternalService::{AcmeHttp, Api, Dashboard, Noop, Ping, Prometheus, Whoami};
    for (service, method, path, expected) in [
        (Api, "GET", "/api/overview", 200),
        (Api, "GET", "/dashboard/", 200),
        (Api, "GET", "/", 302),
        (Api, "POST", "/api/overview", 405),
        // Ours beside Traefik's stays on the admin listener.
        (Api, "GET", "/api/problems", 404),
        (Api, "GET", "/api/explain?url=http://a/", 404),
        (Api, "POST", "/api/reload", 405),
        (Dashboard, "GET", "/dashboard/", 200),
        (Dashboard, "GET", "/api/overview", 404),
        (Ping, "GET", "/ping", 200),
        (Prometheus, "GET", "/metrics", 200),
        (AcmeHttp, "GET", "/.well-known/acme-challenge/token", 200),
        (AcmeHttp, "GET", "/.well-known/acme-challenge/other", 404),
        (Noop, "GET", "/", 418),
        (Whoami, "POST", "/", 200),
    ] {
        let response = internal(&fixture, service, method, path).await;
        assert_eq!(response.status().as_u16(), expected, "{service:?} {method} {path}");
    }
    let page = internal(&fixture, Whoami, "GET", "/x?y=1").await;
    assert_eq!(
        String::from_utf8_lossy(page.body()),
        "Client: 198.51.100.9\n\
         Why: the rightmost address in X-Forwarded-For that is no trusted proxy\n\
         Peer: 203.0.113.7\n\
         TLS: no\n\
         \n\
         GET /x?y=1 HTTP/1.1\n\
         host: blog.test\n\
         x-odd: aé\n"
    );
}

#[tokio::test]
async fn names_and_rules_are_text_in_the_page() {
    let fixture = fixture(loopback());
    let page = fixture.get("/dashboard/").await;
    let page = String::from_utf8_lossy(page.body()).into_owned();
    assert!(page.contains("Hots(`&lt;odd&gt;`)") && !page.contains("<odd>"), "{page}");
    let mut headers = HeaderMap::new();
    for (prefix, expected) in [
        ("/gate", "/gate/dashboard/"),
        ("/gate/", "/gate/dashboard/"),
        ("//evil.test", "/dashboard/"),
        ("https://evil.test", "/dashboard/"),
        ("/\\evil.test", "/dashboard/"),
    ] {
        headers.insert("x-forwarded-prefix", prefix.parse().unwrap());
        let answer = fixture.state.read_api(&Uri::from_static("/"), &headers).unwrap();
        assert_eq!(answer.headers()[header::LOCATION], expected, "{prefix}");
    }
}

#[tokio::test]
async fn the_listener_serves_until_it_is_told_to_end() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let fixture = fixture(loopback());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(serve(AdminListener::Tcp(listener), Arc::clone(&fixture.state), async {
        let _ = ended.await;
    }));
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = [0; 15];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    end.send(()).unwrap();
    // The idle connection is closed too.
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    serving.await.unwrap().unwrap();
}

#[test]
fn a_short_token_is_not_used_where_others_reach_the_listener() {
    let directory = tempfile::tempdir().unwrap();
    let mut install = test_support::install(&["web"], directory.path());
    install.admin.token = Some(Secret::new("short".to_owned()));
    let mut problems = Vec::new();
    assert!(Token::establish(&install, true, &mut problems).is(b"short"));
    assert!(problems.is_empty());
    assert!(!Token::establish(&install, false, &mut problems).is(b"short"));
    assert_eq!(problems.len(), 1);
}
