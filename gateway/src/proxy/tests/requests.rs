//! Requests and answers over HTTP/1.

use std::sync::Arc;

use config::install::{ClientIpMode, TrustedProxy, UnderscoreHeaders};
use config::routing::InternalService;

use super::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: blog.test\r\n\r\n";

async fn blog(server: &TestServer) -> TestProxy {
    Setup::new().route("blog", "Host(`blog.test`)", &[server.url()]).serve()
}

#[tokio::test]
async fn a_request_reaches_its_server_with_the_fields_that_are_ours() {
    let server = TestServer::text("hello").await;
    let proxy = blog(&server).await;
    let reply = proxy
        .ask("GET /a?b=1;c=2 HTTP/1.1\r\nHost: blog.test:8080\r\nAccept: */*\r\nX-Forwarded-For: 6.6.6.6\r\n\
              X-Forwarded-Prefix: /x\r\nForwarded: for=6.6.6.6\r\nCF-Connecting-IP: 6.6.6.6\r\nX_Real_Ip: 6.6.6.6\r\n\
              X-Request-Id: mine\r\nConnection: keep-alive, X-Secret, Authorization, X-Forwarded-Host\r\n\
              X-Secret: 1\r\nAuthorization: Basic x\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTE: trailers\r\n\r\n")
        .await;
    assert_eq!((reply.status(), reply.text()), (200, "hello"));
    let head = server.last_head();
    assert!(head.starts_with("GET /a?b=1&c=2 HTTP/1.1\r\n"), "{head}");
    let mut fields = fields(&head);
    let id = fields.remove("x-request-id").unwrap();
    assert!(id.len() == 1 && id[0].len() == 32, "{id:?}");
    let expected = [
        ("accept", "*/*"),
        ("authorization", "Basic x"),
        ("host", "blog.test:8080"),
        ("te", "trailers"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "blog.test:8080"),
        ("x-forwarded-port", "8080"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-server", "gate"),
        ("x-real-ip", "127.0.0.1"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), vec![value.to_owned()]));
    assert_eq!(fields, expected.into());
    let records = proxy.records(1).await;
    assert_eq!(records[0].target, "/a?b=1&c=2");
    assert_eq!(records[0].router, "blog@test");
    assert_eq!(records[0].request_id, id[0]);
    assert_eq!((records[0].status, records[0].origin_status, records[0].response_body_bytes), (200, 200, 5));
}

/// What a proxy on this machine says of its client is believed.
fn trust_loopback(entry_point: &mut EntryPoint) {
    entry_point.client_ip.mode = ClientIpMode::XForwardedFor { depth: 0 };
    entry_point.client_ip.trusted = vec![TrustedProxy::Range("127.0.0.0/8".parse().unwrap())];
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_about_the_client() {
    let server = TestServer::text("hello").await;
    let proxy = Setup::new()
        .route("blog", "Host(`blog.test`) && ClientIP(`9.9.9.9`)", &[server.url()])
        .with(trust_loopback)
        .serve();
    let reply = proxy
        .ask(
            "GET / HTTP/1.1\r\nHost: blog.test\r\nX-Forwarded-For: 6.6.6.6, 9.9.9.9\r\n\
              X-Forwarded-Proto: https\r\nX-Forwarded-Host: public.test\r\nX-Request-Id: abc\r\n\r\n",
        )
        .await;
    assert_eq!(reply.status(), 200);
    let fields = fields(&server.last_head());
    for (name, value) in [
        ("x-forwarded-for", "9.9.9.9"),
        ("x-real-ip", "9.9.9.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "public.test"),
        ("x-forwarded-port", "443"),
        ("x-request-id", "abc"),
    ] {
        assert_eq!(fields[name], [value], "{name}");
    }
    let reply = proxy.ask("GET / HTTP/1.1\r\nHost: blog.test\r\nX-Forwarded-For: unknown\r\n\r\n").await;
    assert_eq!(reply.status(), 400);
    assert_eq!(proxy.records(2).await[1].reason, "client_address_invalid");
}

#[tokio::test]
async fn a_trusted_proxy_that_names_no_client_is_in_no_range() {
    let server = TestServer::text("hello").await;
    let proxy =
        Setup::new().route("lan", "ClientIP(`127.0.0.0/8`)", &[server.url()]).with(trust_loopback).serve();
    assert_eq!(proxy.ask(GET).await.status(), 404);
    let named = "GET / HTTP/1.1\r\nHost: blog.test\r\nX-Forwarded-For: 127.0.0.9\r\n\r\n";
    assert_eq!(proxy.ask(named).await.status(), 200);
    assert_eq!(proxy.records(1).await[0].client, "127.0.0.1");
}

#[tokio::test]
async fn underscore_fields_follow_the_entry_point() {
    let server = TestServer::text("hello").await;
    let ask = "GET / HTTP/1.1\r\nHost: blog.test\r\nMy_App: 1\r\nX_Forwarded_For: 6.6.6.6\r\n\r\n";
    for (strategy, status, kept) in [
        (UnderscoreHeaders::Delete, 200, false),
        (UnderscoreHeaders::Keep, 200, true),
        (UnderscoreHeaders::Reject, 400, false),
    ] {
        server.heads.lock().clear();
        let proxy = Setup::new()
            .route("blog", "Host(`blog.test`)", &[server.url()])
            .with(|entry_point| entry_point.http.underscore_headers = strategy)
            .serve();
        assert_eq!(proxy.ask(ask).await.status(), status, "{strategy:?}");
        let fields = fields(&server.last_head());
        assert_eq!(fields.contains_key("my_app"), kept, "{strategy:?}");
        assert!(!fields.contains_key("x_forwarded_for"), "{strategy:?}");
    }
}

#[tokio::test]
async fn what_is_not_served_is_said_in_a_fixed_form() {
    let server = TestServer::text("hello").await;
    let proxy = Setup::new()
        .route("blog", "Host(`blog.test`)", &[server.url()])
        .route("down", "Host(`down.test`)", &[])
        .route("refused", "Host(`refused.test`)", &[nobody().await])
        .internal("noop", "Host(`noop.test`)", InternalService::Noop)
        .internal("who", "Host(`who.test`)", InternalService::Whoami)
        .serve();
    for (request, status, body, reason) in [
        ("GET / HTTP/1.1\r\nHost: other.test\r\n\r\n", 404, "404 page not found\n", "no_route"),
        (
            "GET / HTTP/1.1\r\nHost: down.test\r\n\r\n",
            503,
            "no available server\n",
            "container `blog` is stopped",
        ),
        ("GET / HTTP/1.1\r\nHost: refused.test\r\n\r\n", 502, "Bad Gateway", "connect_refused"),
        ("GET / HTTP/1.1\r\nHost: noop.test\r\n\r\n", 418, "I'm a teapot", "noop"),
        (
            "GET / HTTP/1.1\r\nHost: who.test\r\n\r\n",
            200,
            "127.0.0.1: the address of the connection; this entry point asks no forwarding header",
            "",
        ),
        ("OPTIONS * HTTP/1.1\r\nHost: blog.test\r\n\r\n", 200, "", ""),
        ("GET * HTTP/1.1\r\nHost: blog.test\r\n\r\n", 400, "Bad Request", "target_form"),
        ("GET /a%00 HTTP/1.1\r\nHost: blog.test\r\n\r\n", 400, "Bad Request", "path_nul"),
        ("GET /a#b HTTP/1.1\r\nHost: blog.test\r\n\r\n", 400, "Bad Request", "path_fragment"),
        ("GET foo HTTP/1.1\r\nHost: blog.test\r\n\r\n", 400, "Bad Request", "target_form"),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, "Bad Request", "host_character"),
        ("GET / HTTP/1.1\r\nHost: u@blog.test\r\n\r\n", 400, "Bad Request", "host_character"),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "Bad Request", "host_empty"),
        ("GET http://evil.test/ HTTP/1.1\r\nHost: blog.test\r\n\r\n", 400, "Bad Request", "host_mismatch"),
        ("GET / HTTP/1.1\r\n\r\n", 400, "Bad Request", "host_missing"),
        (
            "GET / HTTP/1.1\r\nHost: blog.test\r\nExpect: 200-ok\r\n\r\n",
            417,
            "Expectation Failed",
            "expectation_failed",
        ),
        (
            "GET / HTTP/1.1\r\nHost: blog.test\r\nConnection: Host\r\n\r\n",
            400,
            "Bad Request",
            "connection_options",
        ),
        ("TRACE / HTTP/1.1\r\nHost: blog.test\r\n\r\n", 405, "Method Not Allowed", "method_not_allowed"),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405, "Method Not Allowed", "method_not_allowed"),
    ] {
        let before = proxy.records.all.lock().len();
        let reply = proxy.ask(request).await;
        assert_eq!((reply.status(), reply.text()), (status, body), "{request}");
        assert_eq!(reply.field("server"), None, "{request}");
        if status == 503 {
            assert_eq!(reply.field("retry-after"), Some("5"));
        }
        let records = proxy.records(before + 1).await;
        assert_eq!((records[before].status, &*records[before].reason), (status, reason), "{request}");
    }
    assert_eq!(server.heads.lock().len(), 0);
}

#[tokio::test]
async fn an_absolute_target_is_forwarded_as_a_path() {
    let server = TestServer::text("hello").await;
    let proxy = blog(&server).await;
    let reply = proxy.ask("GET http://blog.test/a/../b HTTP/1.1\r\nHost: blog.test\r\n\r\n").await;
    assert_eq!(reply.status(), 200);
    assert!(server.last_head().starts_with("GET /b HTTP/1.1\r\n"), "{}", server.last_head());
}

#[tokio::test]
async fn the_path_of_a_servers_url_comes_first() {
    let server = TestServer::text("hello").await;
    let url = format!("{}/base", server.url());
    let proxy = Setup::new().route("blog", "Host(`blog.test`)", &[url]).serve();
    proxy.ask("GET /a?b HTTP/1.1\r\nHost: blog.test\r\n\r\n").await;
    assert!(server.last_head().starts_with("GET /base/a?b HTTP/1.1\r\n"), "{}", server.last_head());
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_order_however_their_bytes_arrive() {
    let server = TestServer::start(|head, body| {
        let path = head.split(' ').nth(1).unwrap();
        ok(&format!("{path} {}", String::from_utf8_lossy(body)))
    })
    .await;
    let proxy = blog(&server).await;
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: blog.test\r\n\r\n");
    let post =
        |path: &str| format!("POST {path} HTTP/1.1\r\nHost: blog.test\r\nContent-Length: 3\r\n\r\nabc");
    let all = [one("/1"), post("/2"), one("/3"), post("/4"), one("/5")].concat();
    let expected = ["/1 ", "/2 abc", "/3 ", "/4 abc", "/5 "];

    let mut at_once = proxy.connect().await;
    at_once.send(&all).await;
    for expected in expected {
        assert_eq!(at_once.reply().await.text(), expected);
    }

    let mut bytewise = proxy.connect().await;
    let sender = async {
        let (mut read, mut write) = bytewise.stream.split();
        let mut answers = Vec::new();
        let mut buffer = [0; 4096];
        for byte in all.as_bytes() {
            write.write_all(std::slice::from_ref(byte)).await.unwrap();
            tokio::task::yield_now().await;
        }
        while answers.windows(4).filter(|window| window == b"/5 " || window.ends_with(b"/5 ")).count() == 0 {
            let count = read.read(&mut buffer).await.unwrap();
            assert!(count > 0);
            answers.extend_from_slice(&buffer[..count]);
        }
        answers
    };
    let answers = tokio::time::timeout(LIMIT, sender).await.unwrap();
    bytewise.read = answers;
    for expected in expected {
        assert_eq!(bytewise.reply().await.text(), expected);
    }
}

#[tokio::test]
async fn chunks_are_streamed_both_ways() {
    let server = TestServer::start(|_, body| {
        let mut answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
        for piece in body.chunks(7) {
            answer.push_str(&format!("{:x}\r\n{}\r\n", piece.len(), std::str::from_utf8(piece).unwrap()));
        }
        answer + "0\r\n\r\n"
    })
    .await;
    let proxy = blog(&server).await;
    let mut client = proxy.connect().await;
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: blog.test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        for piece in ["5\r\nhello\r\n", "6\r\n world\r\n", "0\r\n\r\n"] {
            client.send(piece).await;
        }
        let reply = client.reply().await;
        assert_eq!((reply.status(), reply.text()), (200, "hello world"));
    }
    assert_eq!(proxy.records(2).await[1].request_body_bytes, 11);
}

#[tokio::test]
async fn large_bodies_pass_whole() {
    const SIZE: usize = 8 * 1024 * 1024;
    let server = TestServer::start(|_, body| {
        assert!(body.iter().all(|byte| *byte == b'x'));
        ok(&"y".repeat(body.len()))
    })
    .await;
    let proxy = blog(&server).await;
    let mut client = proxy.connect().await;
    client.send(format!("PUT / HTTP/1.1\r\nHost: blog.test\r\nContent-Length: {SIZE}\r\n\r\n")).await;
    client.send("x".repeat(SIZE)).await;
    let reply = client.reply().await;
    assert_eq!((reply.status(), reply.body.len()), (200, SIZE));
    assert!(reply.body.iter().all(|byte| *byte == b'y'));
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let server = TestServer::start(|head, _| {
        if head.starts_with("HEAD") {
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_owned()
        } else if head.contains("/204") {
            "HTTP/1.1 204 No Content\r\n\r\n".to_owned()
        } else {
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\n".to_owned()
        }
    })
    .await;
    let proxy = blog(&server).await;
    let mut client = proxy.connect().await;
    client.send("HEAD / HTTP/1.1\r\nHost: blog.test\r\n\r\n").await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("Content-Length: 5"), "{head}");
    client.send("HEAD / HTTP/1.1\r\nHost: other.test\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 404"));
    for (path, status) in [("/204", 204), ("/304", 304), ("/204", 204)] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: blog.test\r\n\r\n")).await;
        assert_eq!(client.reply().await.status(), status);
    }
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_no_chunks() {
    let server = TestServer::start(|_, _| {
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_owned()
    })
    .await;
    let proxy = blog(&server).await;
    let reply = proxy.ask("GET / HTTP/1.0\r\nHost: blog.test\r\n\r\n").await;
    assert_eq!((reply.status(), reply.text(), reply.field("transfer-encoding")), (200, "hello", None));
    assert_eq!(reply.field("connection"), Some("close"));
}

#[tokio::test]
async fn hop_by_hop_fields_of_a_server_end_here() {
    let server = TestServer::start(|_, _| {
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
         Alt-Svc: h3=\":443\"\r\nServer: origin\r\nX-End: 1\r\n\r\n"
            .to_owned()
    })
    .await;
    let proxy = blog(&server).await;
    let reply = proxy.ask(GET).await;
    for (name, value) in [
        ("x-hop", None),
        ("keep-alive", None),
        ("alt-svc", None),
        ("via", None),
        ("server", Some("origin")),
        ("x-end", Some("1")),
    ] {
        assert_eq!(reply.field(name), value, "{name}");
    }
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_the_servers() {
    let (address, task) = listen(|mut client| async move {
        client.head().await;
        client.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        let body = client.exactly(5).await;
        client.send(ok(std::str::from_utf8(&body).unwrap())).await;
        client.rest().await;
    })
    .await;
    let proxy = Setup::new().route("blog", "Host(`blog.test`)", &[format!("http://{address}")]).serve();
    let mut client = proxy.connect().await;
    client
        .send("POST / HTTP/1.1\r\nHost: blog.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(client.reply().await.status(), 100);
    client.send("hello").await;
    assert_eq!(client.reply().await.text(), "hello");
    task.abort();
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let (go, wait) = tokio::sync::mpsc::channel::<()>(1);
    let wait = Arc::new(tokio::sync::Mutex::new(wait));
    let (address, task) = listen(move |mut client| {
        let wait = Arc::clone(&wait);
        async move {
            client.head().await;
            client.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await;
            for number in 0..3 {
                client.send(format!("data: {number}\n\n")).await;
                wait.lock().await.recv().await;
            }
        }
    })
    .await;
    let proxy = Setup::new().route("blog", "Host(`blog.test`)", &[format!("http://{address}")]).serve();
    let mut client = proxy.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: blog.test\r\nAccept: text/event-stream\r\n\r\n").await;
    client.head().await;
    for number in 0..3 {
        assert_eq!(client.line().await, "9");
        assert_eq!(client.exactly(11).await, format!("data: {number}\n\n\r\n").as_bytes());
        go.send(()).await.unwrap();
    }
    assert_eq!(client.line().await, "0");
    task.abort();
}

#[tokio::test]
async fn a_request_tries_another_server_when_one_refuses() {
    let server = TestServer::text("hello").await;
    let proxy = Setup::new()
        .route("blog", "Host(`blog.test`)", &[nobody().await, server.url(), nobody().await])
        .serve();
    for _ in 0..6 {
        let reply = proxy.ask("POST / HTTP/1.1\r\nHost: blog.test\r\nContent-Length: 3\r\n\r\nabc").await;
        assert_eq!((reply.status(), reply.text()), (200, "hello"));
    }
    assert!(proxy.records(6).await.iter().any(|record| record.retries > 0));
}

#[tokio::test]
async fn a_server_that_closes_an_unused_connection_costs_no_request() {
    let server = TestServer::start(|_, _| {
        // Closes after each answer without saying so.
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Note: connection: close\r\n\r\nhi".to_owned()
    })
    .await;
    let proxy = blog(&server).await;
    let mut client = proxy.connect().await;
    for _ in 0..20 {
        client.send(GET).await;
        assert_eq!(client.reply().await.text(), "hi");
    }
}

#[tokio::test]
async fn a_broken_server_is_a_502_and_the_connection_closes() {
    for answer in ["", "nonsense\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"] {
        let (address, task) = listen(move |mut client| async move {
            client.head().await;
            client.send(answer).await;
        })
        .await;
        let proxy = Setup::new().route("blog", "Host(`blog.test`)", &[format!("http://{address}")]).serve();
        let mut client = proxy.connect().await;
        client.send(GET).await;
        let reply = client.reply().await;
        assert_eq!((reply.status(), reply.text()), (502, "Bad Gateway"), "{answer:?}");
        client.is_closed().await;
        task.abort();
    }
}

#[tokio::test]
async fn a_server_known_by_name_is_resolved() {
    let server = TestServer::text("hello").await;
    let url = format!("http://localhost:{}", server.address.port());
    let proxy = Setup::new()
        .route("blog", "Host(`blog.test`)", &[url])
        .route("gone", "Host(`gone.test`)", &["http://gone.invalid:80".to_owned()])
        .serve();
    assert_eq!(proxy.ask(GET).await.text(), "hello");
    let reply = proxy.ask("GET / HTTP/1.1\r\nHost: gone.test\r\n\r\n").await;
    assert_eq!(reply.status(), 502);
    assert_eq!(proxy.records(2).await[1].reason, "server_name_not_resolved");
}

#[tokio::test]
async fn an_early_refusal_is_read_by_a_client_that_is_still_sending() {
    let proxy = Setup::new().serve();
    let mut client = proxy.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n").await;
    client.send("x".repeat(100_000)).await;
    let reply = client.reply().await;
    assert_eq!((reply.status(), reply.field("connection")), (404, Some("close")));
    // A short body is read to its end, and the connection goes on.
    let mut client = proxy.connect().await;
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").await;
        let reply = client.reply().await;
        assert_eq!((reply.status(), reply.field("connection")), (404, Some("keep-alive")));
    }
}
