//! TCP routers on the hot path: who claims a connection, and what is forwarded.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use config::routing::stream::ProxyVersion;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::connect::proxy_header;
use super::splice::{Traffic, splice};
use super::{SSL_REQUEST, SslRequest, ssl_request};

/// The far ends of a client and a server, and what joins them.
fn joined(ahead: &[u8], delay: Option<Duration>) -> (DuplexStream, DuplexStream, JoinHandle<Traffic>) {
    let (client, near_client) = duplex(64);
    let (server, near_server) = duplex(64);
    let splicing = tokio::spawn(splice(near_client, near_server, BytesMut::from(ahead), delay));
    (client, server, splicing)
}

#[tokio::test]
async fn bytes_go_both_ways_whatever_the_room() {
    let (client, server, splicing) = joined(b"ahead ", None);
    let sent: Vec<u8> = (0..200_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let answer: Vec<u8> = sent.iter().rev().copied().collect();
    let (mut client_reads, mut client_writes) = tokio::io::split(client);
    let (mut server_reads, mut server_writes) = tokio::io::split(server);
    let (mut at_server, mut at_client) = (Vec::new(), Vec::new());
    let ((), (), read, other) = tokio::join!(
        async {
            client_writes.write_all(&sent).await.unwrap();
            client_writes.shutdown().await.unwrap();
        },
        async {
            server_writes.write_all(&answer).await.unwrap();
            server_writes.shutdown().await.unwrap();
        },
        server_reads.read_to_end(&mut at_server),
        client_reads.read_to_end(&mut at_client),
    );
    assert_eq!((read.unwrap(), other.unwrap()), (200_006, 200_000));
    assert!(at_server.starts_with(b"ahead ") && at_server[6..] == sent && at_client == answer);
    let traffic = splicing.await.unwrap();
    assert_eq!(traffic, Traffic { from_client: 200_006, from_server: 200_000 });
}

#[tokio::test(start_paused = true)]
async fn a_half_that_stays_open_has_its_time() {
    let delay = Duration::from_secs(7);
    let (mut client, mut server, splicing) = joined(b"", Some(delay));
    client.shutdown().await.unwrap();
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0, "the server hears of it");
    let started = Instant::now();
    server.write_all(b"late").await.unwrap();
    let mut heard = [0; 4];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"late");
    assert_eq!(client.read(&mut heard).await.unwrap(), 0);
    assert!(started.elapsed() >= delay && started.elapsed() < delay * 2);
    splicing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_a_delay_a_half_stays_open() {
    let (mut client, mut server, splicing) = joined(b"", None);
    client.shutdown().await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    server.write_all(b"late").await.unwrap();
    let mut heard = [0; 4];
    client.read_exact(&mut heard).await.unwrap();
    drop(server);
    assert_eq!(client.read(&mut heard).await.unwrap(), 0);
    splicing.await.unwrap();
}

#[tokio::test]
async fn a_side_that_is_gone_ends_both() {
    let (mut client, server, splicing) = joined(b"", None);
    drop(server);
    let mut heard = [0; 1];
    assert_eq!(client.read(&mut heard).await.unwrap(), 0);
    // There is nobody to send it to.
    let _ = client.write_all(b"hello").await;
    splicing.await.unwrap();
}

#[test]
fn postgresql_asks_for_tls_in_eight_bytes() {
    assert_eq!(ssl_request(&SSL_REQUEST[..1]), SslRequest::Maybe);
    assert_eq!(ssl_request(&SSL_REQUEST[..7]), SslRequest::Maybe);
    assert_eq!(ssl_request(&SSL_REQUEST), SslRequest::Yes);
    assert_eq!(ssl_request(b"GET / HT"), SslRequest::No);
    // GSSENCRequest is for the server, as in Traefik.
    assert_eq!(ssl_request(&[0, 0, 0, 8, 4, 210, 22, 48]), SslRequest::No);
}

#[test]
fn headers_of_the_proxy_protocol_name_both_ends_in_one_family() {
    let text = |client: Option<&str>, local: Option<&str>| {
        let address = |text: Option<&str>| text.map(|text| text.parse::<SocketAddr>().unwrap());
        let header = proxy_header(ProxyVersion::V1, address(client), address(local)).unwrap();
        String::from_utf8(header).unwrap()
    };
    assert_eq!(
        text(Some("192.0.2.1:1234"), Some("[::ffff:198.51.100.1]:443")),
        "PROXY TCP4 192.0.2.1 198.51.100.1 1234 443\r\n"
    );
    assert_eq!(
        text(Some("[2001:db8::1]:1234"), Some("[2001:db8::2]:443")),
        "PROXY TCP6 2001:db8::1 2001:db8::2 1234 443\r\n"
    );
    assert_eq!(
        text(Some("192.0.2.1:1234"), Some("[2001:db8::2]:443")),
        "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1234 443\r\n"
    );
    assert_eq!(text(None, None), "PROXY UNKNOWN\r\n");
    let local = proxy_header(ProxyVersion::V2, None, None).unwrap();
    assert_eq!(local, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
}
