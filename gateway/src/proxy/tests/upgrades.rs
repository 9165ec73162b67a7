//! WebSockets.

use super::*;

pub(super) const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: blog.test\r\nConnection: keep-alive, Upgrade\r\n\
     Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A server that switches and echoes.
pub(super) async fn echo_server() -> (SocketAddr, tokio::task::AbortHandle) {
    listen(|mut client| async move {
        let head = client.head().await;
        let asked = fields(&head);
        let asks = asked.get("upgrade").is_some_and(|value| value == &["websocket"])
            && asked.get("connection").is_some_and(|value| value == &["Upgrade"]);
        if !asks {
            client.send(ok(if asked.contains_key("upgrade") { "odd" } else { "plain" })).await;
            return;
        }
        client
            .send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nfirst",
            )
            .await;
        loop {
            let bytes = std::mem::take(&mut client.read);
            if !bytes.is_empty() {
                client.send(bytes).await;
            } else if !client.fill().await {
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn bytes_flow_both_ways_once_the_server_agreed() {
    let (address, task) = echo_server().await;
    let proxy = Setup::new().route("blog", "Host(`blog.test`)", &[format!("http://{address}")]).serve();
    let mut client = proxy.connect().await;
    // Bytes that arrive with the request wait for the server's answer.
    client.send(format!("{UPGRADE}early")).await;
    let reply = client.reply().await;
    assert_eq!((reply.status(), reply.field("upgrade")), (101, Some("websocket")));
    let mut echoed = client.exactly(10).await;
    echoed.sort_unstable();
    let mut expected = b"firstearly".to_vec();
    expected.sort_unstable();
    assert_eq!(echoed, expected);
    for round in 0..10 {
        let message = vec![b'a' + round; 10_000];
        client.send(&message).await;
        assert_eq!(client.exactly(10_000).await, message);
    }
    drop(client);
    let records = proxy.records(1).await;
    assert!(records[0].upgraded && records[0].status == 101, "{records:?}");
    task.abort();
}

#[tokio::test]
async fn what_only_looks_like_an_upgrade_passes_as_a_plain_request() {
    let (address, task) = echo_server().await;
    let proxy = Setup::new().route("blog", "Host(`blog.test`)", &[format!("http://{address}")]).serve();
    for request in [
        UPGRADE.replace("keep-alive, Upgrade", "keep-alive"),
        UPGRADE.replace("WebSocket\r", "h2c\r"),
        UPGRADE.replace("Sec-WebSocket-Key", "X"),
        UPGRADE.replace("GET", "POST"),
        "GET / HTTP/1.1\r\nHost: blog.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
            .to_owned(),
    ] {
        let reply = proxy.ask(&request).await;
        assert_eq!((reply.status(), reply.text()), (200, "plain"), "{request}");
    }
    let with_body = UPGRADE.replace("Upgrade: WebSocket", "Content-Length: 3\r\nUpgrade: websocket");
    let mut client = proxy.connect().await;
    client.send(format!("{with_body}abc")).await;
    assert_eq!(client.reply().await.status(), 400);
    task.abort();
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_answer() {
    let server = TestServer::text("no").await;
    let proxy = Setup::new().route("blog", "Host(`blog.test`)", &[server.url()]).serve();
    for _ in 0..3 {
        assert_eq!(proxy.ask(UPGRADE).await.text(), "no");
    }
}
