//! Listeners, keep-alive, limits, reload, drain.

use std::os::unix::fs::PermissionsExt;

use config::install::ListenAddress;
use tokio::net::UnixStream;

use super::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: blog.test\r\n\r\n";

#[tokio::test]
async fn an_entry_point_without_an_address_serves_both_families() {
    let server = TestServer::text("hello").await;
    let proxy = Setup::new()
        .route("blog", "Host(`blog.test`)", &[server.url()])
        .with(|entry_point| entry_point.address = ListenAddress::AnyAddress { port: 0 })
        .serve();
    for address in ["127.0.0.1", "::1"] {
        let address = SocketAddr::new(address.parse().unwrap(), proxy.address.port());
        let Ok(stream) = TcpStream::connect(address).await else {
            assert!(address.is_ipv6(), "IPv4 is always there");
            continue;
        };
        let mut client = Client { stream, read: Vec::new() };
        client.send(GET).await;
        assert_eq!(client.reply().await.status(), 200);
        let seen = fields(&server.last_head());
        assert_eq!(seen["x-real-ip"], [address.ip().to_string()], "a mapped address is folded");
    }
}

#[tokio::test]
async fn a_unix_socket_serves_with_its_mode_and_replaces_a_stale_file() {
    let server = TestServer::text("hello").await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let setup = || {
        let path = path.clone();
        Setup::new()
            .route("blog", "Host(`blog.test`)", &[server.url()])
            .with(|entry_point| entry_point.address = ListenAddress::Unix { path, mode: 0o600 })
    };
    let proxy = setup().serve();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(GET.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    // A socket that answers is not taken away from who serves it.
    let taken = Listener::bind(EntryPointId(0), &setup().entry_point).unwrap_err();
    assert_eq!(taken.source.kind(), std::io::ErrorKind::AddrInUse);
    drop(proxy);
    eventually(|| (!path.exists()).then_some(())).await;
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_the_entry_point() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let setup = Setup::new().with(|entry_point| entry_point.address = ListenAddress::Address(address));
    let error = Listener::bind(EntryPointId(0), &setup.entry_point).unwrap_err();
    assert_eq!(error.to_string(), format!("entry point `web`: listen on {address}"));
    assert_eq!(error.source.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn the_last_request_of_a_connection_says_so() {
    let server = TestServer::text("hello").await;
    let proxy = Setup::new()
        .route("blog", "Host(`blog.test`)", &[server.url()])
        .with(|entry_point| entry_point.limits.requests_per_connection = Some(3))
        .serve();
    let mut client = proxy.connect().await;
    for expected in ["keep-alive", "keep-alive", "close"] {
        client.send(GET).await;
        assert_eq!(client.reply().await.field("connection"), Some(expected));
    }
    client.is_closed().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time() {
    let server = TestServer::text("hello").await;
    let proxy = Setup::new()
        .route("blog", "Host(`blog.test`)", &[server.url()])
        .with(|entry_point| {
            entry_point.transport.keep_alive = Some(Duration::from_millis(400));
            entry_point.limits.requests_per_connection = None;
        })
        .serve();
    let mut silent = proxy.connect().await;
    let mut client = proxy.connect().await;
    // Whoever goes on asking stays, for longer than an idle connection may.
    let started = tokio::time::Instant::now();
    while started.elapsed() < Duration::from_millis(900) {
        client.send(GET).await;
        assert_eq!(client.reply().await.status(), 200);
    }
    client.is_closed().await;
    silent.is_closed().await;
    assert_eq!(proxy.proxy.open_connections(), 0);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let proxy = Setup::new().serve();
    for request in [
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(40_000)),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(300)),
    ] {
        assert_eq!(proxy.ask(&request).await.status(), 431);
    }
}

#[tokio::test]
async fn a_reload_cuts_nobody() {
    let (first, second) = (TestServer::text("first").await, TestServer::text("second").await);
    let mut proxy = Setup::new().route("blog", "Host(`blog.test`)", &[first.url()]).serve();
    let mut client = proxy.connect().await;
    client.send(GET).await;
    assert_eq!(client.reply().await.text(), "first");
    let routing = Setup::new().route("blog", "Host(`blog.test`)", &[second.url()]).routing;
    let next = compile::compile(&proxy.install, parts(routing), &proxy.writer.current());
    proxy.writer.publish(Arc::new(next));
    client.send(GET).await;
    assert_eq!(client.reply().await.text(), "second");
}

#[tokio::test]
async fn draining_closes_idle_connections_and_lets_open_requests_end() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let (address, task) = listen(move |mut client| {
        let mut wait = wait.clone();
        async move {
            client.head().await;
            wait.wait_for(|go| *go).await.unwrap();
            client.send(ok("late")).await;
        }
    })
    .await;
    let proxy = Setup::new().route("blog", "Host(`blog.test`)", &[format!("http://{address}")]).serve();
    let mut idle = proxy.connect().await;
    let mut busy = proxy.connect().await;
    busy.send(GET).await;
    eventually(|| (proxy.proxy.open_connections() == 2).then_some(())).await;
    let drain = tokio::spawn({
        let proxy = Arc::clone(&proxy.proxy);
        async move { proxy.drain().await }
    });
    idle.is_closed().await;
    assert!(TcpStream::connect(proxy.address).await.is_err(), "nothing accepts any more");
    go.send(true).unwrap();
    let reply = busy.reply().await;
    assert_eq!((reply.text(), reply.field("connection")), ("late", Some("close")));
    assert_eq!(drain.await.unwrap(), 0);
    task.abort();
}

#[tokio::test]
async fn draining_cuts_what_does_not_end() {
    let (address, task) = listen(|mut client| async move {
        client.rest().await;
    })
    .await;
    let proxy = Setup::new()
        .route("blog", "Host(`blog.test`)", &[format!("http://{address}")])
        .with(|entry_point| entry_point.transport.grace = Duration::from_millis(100))
        .serve();
    let mut client = proxy.connect().await;
    client.send(GET).await;
    eventually(|| (proxy.proxy.open_connections() == 1).then_some(())).await;
    assert_eq!(proxy.proxy.drain().await, 1);
    client.is_closed().await;
    let records = proxy.records(1).await;
    assert_eq!((&*records[0].reason, &*records[0].router), ("connection_cut", "blog@test"));
    task.abort();
}

#[tokio::test]
async fn a_client_that_leaves_is_recorded_as_499() {
    let (arrive, mut arrived) = tokio::sync::watch::channel(false);
    let (address, task) = listen(move |mut client| {
        let arrive = arrive.clone();
        async move {
            client.head().await;
            arrive.send_replace(true);
            client.rest().await;
        }
    })
    .await;
    let proxy = Setup::new().route("blog", "Host(`blog.test`)", &[format!("http://{address}")]).serve();
    let mut client = proxy.connect().await;
    client.send(GET).await;
    arrived.wait_for(|arrived| *arrived).await.unwrap();
    drop(client);
    let records = proxy.records(1).await;
    assert_eq!((records[0].status, &*records[0].reason), (499, "client_gone"));
    task.abort();
}

/// What an idle connection costs is this future, the IO type and the socket: it must not grow unnoticed.
#[tokio::test]
async fn an_idle_connection_stays_small() {
    assert!(size_of::<super::super::client_io::ClientIo>() <= 256);
    assert!(super::super::connection::future_size() <= 1024, "{}", super::super::connection::future_size());
}
