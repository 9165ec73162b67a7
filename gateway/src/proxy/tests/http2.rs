//! HTTP/2 with prior knowledge, to clients and to servers.

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

pub(super) type AnyBody = http_body_util::combinators::UnsyncBoxBody<Bytes, std::convert::Infallible>;

pub(super) async fn client(proxy: &TestProxy) -> SendRequest<AnyBody> {
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(super) fn empty() -> AnyBody {
    Empty::new().boxed_unsync()
}

/// A gRPC-like server: answers with the request's body and a trailer.
async fn trailers_server() -> (SocketAddr, tokio::task::AbortHandle) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(|request: Request<Incoming>| async move {
                assert_eq!(request.headers()["te"], "trailers");
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let mut trailers = http::HeaderMap::new();
                trailers.insert("grpc-status", "7".parse().unwrap());
                let frames =
                    [Ok::<_, std::convert::Infallible>(Frame::data(body)), Ok(Frame::trailers(trailers))];
                Ok::<_, std::convert::Infallible>(Response::new(StreamBody::new(futures_util::stream::iter(
                    frames,
                ))))
            });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, task.abort_handle())
}

#[tokio::test]
async fn requests_over_one_connection_reach_an_http_1_server() {
    let server = TestServer::start(|head, _| ok(head.split(' ').nth(1).unwrap())).await;
    let proxy = Setup::new().route("blog", "Host(`blog.test`)", &[server.url()]).serve();
    let sender = client(&proxy).await;
    let asks = (0..50).map(|number| {
        let mut sender = sender.clone();
        async move {
            let request = Request::get(format!("http://blog.test/{number}")).body(empty()).unwrap();
            let reply = sender.send_request(request).await.unwrap();
            assert_eq!(reply.status(), 200);
            let body = reply.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, format!("/{number}"));
        }
    });
    futures_util::future::join_all(asks).await;
    let fields = fields(&server.last_head());
    assert_eq!(fields["host"], ["blog.test"]);
    assert_eq!(fields["x-forwarded-host"], ["blog.test"]);
    assert_eq!(fields["x-forwarded-for"], ["127.0.0.1"]);
    let mut sender = sender.clone();
    let request = Request::get("http://other.test/").body(empty()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 404);
    proxy.records(51).await;
}

#[tokio::test]
async fn trailers_reach_the_client() {
    let (address, task) = trailers_server().await;
    let proxy = Setup::new().route("grpc", "Host(`grpc.test`)", &[format!("h2c://{address}")]).serve();
    let mut sender = client(&proxy).await;
    let request = Request::post("http://grpc.test/a.B/C")
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .body(Full::new(Bytes::from_static(b"message")).boxed_unsync())
        .unwrap();
    let reply = sender.send_request(request).await.unwrap();
    assert_eq!(reply.status(), 200);
    let body = reply.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "7");
    assert_eq!(body.to_bytes(), "message");
    assert_eq!(proxy.records(1).await[0].grpc_status, Some(7));
    task.abort();
}

#[tokio::test]
async fn an_http_1_client_reaches_a_server_of_http_2() {
    let (address, task) = trailers_server().await;
    let proxy = Setup::new().route("grpc", "Host(`grpc.test`)", &[format!("h2c://{address}")]).serve();
    let reply =
        proxy.ask("POST / HTTP/1.1\r\nHost: grpc.test\r\nTE: trailers\r\nContent-Length: 3\r\n\r\nabc").await;
    assert_eq!((reply.status(), reply.text()), (200, "abc"));
    task.abort();
}

#[tokio::test]
async fn http_2_can_be_turned_off() {
    let proxy = Setup::new().with(|entry_point| entry_point.h2c = false).serve();
    let reply = proxy.ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(reply.status(), 400);
    assert_eq!(proxy.records(1).await[0].reason, "http2_not_offered");
}

#[tokio::test]
async fn draining_lets_open_streams_end() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let (arrive, mut arrived) = tokio::sync::watch::channel(false);
    let (address, task) = listen(move |mut client| {
        let (mut wait, arrive) = (wait.clone(), arrive.clone());
        async move {
            client.head().await;
            arrive.send_replace(true);
            wait.wait_for(|go| *go).await.unwrap();
            client.send(ok("late")).await;
        }
    })
    .await;
    let proxy = Setup::new().route("blog", "Host(`blog.test`)", &[format!("http://{address}")]).serve();
    let mut sender = client(&proxy).await;
    let reply = sender.send_request(Request::get("http://blog.test/").body(empty()).unwrap());
    let asked = async {
        let reply = reply.await.unwrap();
        reply.into_body().collect().await.unwrap().to_bytes()
    };
    let drain = async {
        arrived.wait_for(|arrived| *arrived).await.unwrap();
        let drain = proxy.proxy.drain();
        tokio::pin!(drain);
        assert!(tokio::time::timeout(Duration::from_millis(100), &mut drain).await.is_err());
        go.send(true).unwrap();
        drain.await
    };
    let (body, cut) = tokio::join!(asked, drain);
    assert_eq!((&body[..], cut), (&b"late"[..], 0));
    task.abort();
}

/// A body that ends with an empty frame.
pub(super) fn ends_with_an_empty_frame(
    part: &'static str,
) -> impl Body<Data = Bytes, Error = std::convert::Infallible> + Send {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    tokio::spawn(async move {
        sender.send(Bytes::from_static(part.as_bytes())).await.ok();
        // The end is known only after the last data was sent.
        tokio::time::sleep(Duration::from_millis(20)).await;
    });
    let frames = futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|bytes| (Ok(Frame::data(bytes)), receiver))
    });
    StreamBody::new(frames.boxed())
}
