//! What a connection carries: streams in both directions, upgrades, trailers, continuations, forwarded headers.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::Value;
use tests::client::{Connection, RawClient, ask, ask_for, ask_h2c, get, request, websocket};
use tests::gateway::{GatewayPlan, GatewayProcess};
use tests::origin::{Afterwards, Origin, RawOrigin};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

/// A generous limit for one step that should take no time.
const SOON: Duration = Duration::from_secs(10);

/// Routes `app.test` to a server.
fn routed(url: &str) -> GatewayPlan {
    GatewayPlan::new().routes(&format!(
        "http:
  routers:
    app: {{ rule: Host(`app.test`), service: app }}
  services:
    app: {{ loadBalancer: {{ servers: [ {{ url: '{url}' }} ] }} }}
"
    ))
}

async fn in_front_of(origin: &Origin) -> GatewayProcess {
    routed(&origin.url()).start().await
}

/// The value of a request header as an [`Origin`] saw it; `null` where there was none.
fn seen(answer: &Value, name: &str) -> Value {
    let headers = answer["headers"].as_array().expect("the answer of an origin");
    headers.iter().find(|header| header[0] == name).map(|header| header[1].clone()).unwrap_or_default()
}

#[tokio::test]
async fn a_websocket_passes_and_stays_open() {
    let origin = Origin::start("app").await;
    let gateway = in_front_of(&origin).await;
    let mut socket = websocket(gateway.web(), "app.test", "/ws").await.expect("an open WebSocket");
    for text in ["one", "two", "three"] {
        socket.send(Message::text(text)).await.expect("it takes a message");
        let echo = timeout(SOON, socket.next()).await.expect("an echo in time");
        assert_eq!(echo.expect("it is open").expect("a message"), Message::text(text));
    }
    let large = vec![7; 1 << 20];
    socket.send(Message::binary(large.clone())).await.expect("it takes a message");
    let echo = timeout(SOON, socket.next()).await.expect("an echo in time");
    assert_eq!(echo.expect("it is open").expect("a message").into_data(), large);
}

#[tokio::test]
async fn each_event_arrives_when_it_is_sent() {
    let origin = Origin::start("app").await;
    let gateway = in_front_of(&origin).await;
    let mut connection = Connection::open(gateway.web()).await.expect("a connection");
    let mut events = connection.send(get("app.test", "/events")).await.expect("an answer").into_body();
    for (send, expected) in
        [(None, "data: hello\n\n"), (Some("a"), "data: a\n\n"), (Some("b"), "data: b\n\n")]
    {
        if let Some(data) = send {
            origin.emit(data);
        }
        let frame =
            timeout(SOON, events.frame()).await.expect("in time").expect("it goes on").expect("a frame");
        assert_eq!(frame.into_data().expect("data"), expected);
    }
}

#[tokio::test]
async fn trailers_arrive_from_an_http2_server() {
    let origin = Origin::start("app").await;
    let gateway = routed(&origin.h2c_url()).start().await;
    let mut call = request("POST", "app.test", "/trailers", "question");
    call.headers_mut().insert("te", HeaderValue::from_static("trailers"));
    call.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    let answer = ask_h2c(gateway.web(), call).await.expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "message"));
    let trailers = answer.trailers.expect("trailers");
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(trailers["x-checksum"], "42");
}

#[tokio::test]
async fn an_upload_of_any_size_arrives_whole() {
    let origin = Origin::start("app").await;
    let gateway = in_front_of(&origin).await;

    let with_length = request("PUT", "app.test", "/file", vec![b'x'; 5 << 20]);
    let answer = ask(gateway.web(), with_length).await.expect("an answer");
    assert_eq!(answer.json()["body_bytes"], 5 << 20);

    let pieces = (0..320).map(|_| Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![b'y'; 16 << 10]))));
    let chunked = Request::builder()
        .method("POST")
        .uri("/file")
        .header("host", "app.test")
        .body(StreamBody::new(stream::iter(pieces)))
        .expect("a request");
    let answer = ask(gateway.web(), chunked).await.expect("an answer");
    assert_eq!(answer.json()["body_bytes"], 5 << 20);
}

#[tokio::test]
async fn a_download_of_any_size_arrives_whole_and_head_has_no_body() {
    let origin = Origin::start("app").await;
    let gateway = in_front_of(&origin).await;
    let answer = ask_for(gateway.web(), "app.test", "/bytes/8000000").await.expect("an answer");
    assert_eq!((answer.status, answer.body.len()), (200, 8_000_000));
    let head = ask(gateway.web(), request("HEAD", "app.test", "/bytes/1000", Bytes::new()))
        .await
        .expect("an answer");
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it() {
    let origin = Origin::start("app").await;
    let gateway = in_front_of(&origin).await;
    let mut client = RawClient::connect(gateway.web()).await;
    client
        .send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .await;
    let interim = client.read_head().await.expect("an interim answer");
    assert!(interim.starts_with("HTTP/1.1 100"), "{interim}");
    client.send("hello").await;
    let answer = client.read_answer().await.expect("the answer");
    assert_eq!(answer.status(), 200);
    assert!(String::from_utf8_lossy(&answer.body).contains("\"body_bytes\":5"));
}

#[tokio::test]
async fn a_connection_serves_many_requests_and_servers_connections_are_reused() {
    let origin = Origin::start("app").await;
    let gateway = in_front_of(&origin).await;
    let mut client = RawClient::connect(gateway.web()).await;
    for number in 0..50 {
        client.send(format!("GET /{number} HTTP/1.1\r\nHost: app.test\r\n\r\n")).await;
        let answer = client.read_answer().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        assert!(String::from_utf8_lossy(&answer.body).contains(&format!("\"/{number}\"")), "{number}");
    }
    assert!(origin.connections() <= 3, "{} connections for one client in turn", origin.connections());
}

#[tokio::test]
async fn what_a_stranger_says_about_the_client_is_not_believed() {
    let origin = Origin::start("app").await;
    let gateway = in_front_of(&origin).await;
    let mut request = get("app.test", "/");
    for (name, value) in [
        ("x-forwarded-for", "8.8.8.8"),
        ("x-real-ip", "8.8.8.8"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "other.test"),
        ("forwarded", "for=8.8.8.8"),
    ] {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let answer = ask(gateway.web(), request).await.expect("an answer").json();
    assert_eq!(seen(&answer, "x-forwarded-for"), "127.0.0.1");
    assert_eq!(seen(&answer, "x-real-ip"), "127.0.0.1");
    assert_eq!(seen(&answer, "x-forwarded-proto"), "http");
    assert_eq!(seen(&answer, "x-forwarded-host"), "app.test");
    assert_eq!(seen(&answer, "host"), "app.test");
    assert!(seen(&answer, "x-forwarded-port").is_string());
    assert!(seen(&answer, "x-forwarded-server").is_string());
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_up_to_the_first_stranger() {
    let origin = Origin::start("app").await;
    let gateway = routed(&origin.url())
        .argument("--entryPoints.web.forwardedHeaders.trustedIPs=127.0.0.0/8,10.0.0.0/8")
        .start()
        .await;
    let mut request = get("app.test", "/");
    let chain = HeaderValue::from_static("6.6.6.6, 8.8.8.8, 10.1.2.3");
    request.headers_mut().insert("x-forwarded-for", chain);
    request.headers_mut().insert("x-forwarded-proto", HeaderValue::from_static("https"));
    let answer = ask(gateway.web(), request).await.expect("an answer").json();
    let forwarded = seen(&answer, "x-forwarded-for");
    assert!(forwarded.as_str().is_some_and(|list| list.contains("8.8.8.8")), "{forwarded}");
    assert_eq!(seen(&answer, "x-forwarded-proto"), "https");
}

#[tokio::test]
async fn a_server_that_refuses_is_502_and_one_that_talks_nonsense_too() {
    let nonsense = RawOrigin::start("what is this\r\n\r\n", Afterwards::Close).await;
    let nobody = {
        let origin = Origin::start("gone").await;
        origin.url()
    };
    for url in [nonsense.url(), nobody] {
        let gateway = routed(&url).start().await;
        let answer = ask_for(gateway.web(), "app.test", "/").await.expect("an answer");
        assert_eq!(answer.status, 502, "{url}");
        let text = answer.text();
        assert!(!text.contains("127.0.0.1"), "the client learns no address: {text}");
    }
}
