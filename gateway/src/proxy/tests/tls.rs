//! TLS and the PROXY protocol on an entry point, in this process: what needs the raw bytes, a hand on the clock, or
//! challenges of an ACME server.

use std::time::SystemTime;

use config::install::{ClientIpMode, TrustedProxy};
use config::routing::tls::{ClientAuth, TlsOptions, TlsVersion};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, ClientConnection, HandshakeKind, RootCertStore};
use security::acme::Challenges;
use security::certificate::{Certificate, CertificateSource};
use security::certificate_store::CertificateStore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: blog.test\r\n\r\n";

/// A certificate that signs itself, for these names.
fn certificate(names: &[&str]) -> (Arc<Certificate>, CertificateDer<'static>) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let der = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let certificate = Certificate::new(vec![der.clone()], key, CertificateSource::Generated).unwrap();
    (Arc::new(certificate), der)
}

impl Setup {
    /// TLS options of this name.
    fn options(mut self, name: &str, options: TlsOptions) -> Self {
        self.routing.tls.options.insert(name.into(), Ok(Arc::new(options)));
        self
    }

    /// The router of this name serves TLS connections under these options.
    fn tls_with(mut self, router: &str, options: &str) -> Self {
        self = self.tls(router);
        let router = self.routing.routers.get_mut(&RouterName::from(format!("{router}@test").as_str()));
        if let Some(tls) = &mut router.unwrap().tls {
            tls.options = options.into();
        }
        self
    }

    /// The PROXY protocol is demanded from these peers.
    fn behind(self, peers: &[&str]) -> Self {
        let trusted = peers.iter().map(|range| TrustedProxy::Range(range.parse().unwrap())).collect();
        self.with(|entry_point| {
            entry_point.client_ip.mode = ClientIpMode::ProxyProtocol;
            entry_point.client_ip.trusted = trusted;
        })
    }

    /// Serves with a certificate for every name, which comes back too.
    fn serve_certified(self) -> (TestProxy, CertificateDer<'static>) {
        let mut proxy = self.serve();
        let (certificate, root) = certificate(&["blog.test", "other.test"]);
        proxy.certify(certificate, Challenges::default());
        (proxy, root)
    }
}

impl TestProxy {
    /// Gives every name this certificate, and an ACME server these answers.
    fn certify(&mut self, certificate: Arc<Certificate>, challenges: Challenges) {
        let current = self.writer.current();
        let routing = Routing::clone(&current.routing);
        let mut next = compile::compile(&self.install, parts(routing), &current);
        next.certificates = Arc::new(CertificateStore::new(Vec::new(), certificate, SystemTime::UNIX_EPOCH));
        next.challenges = Arc::new(challenges);
        self.writer.publish(Arc::new(next));
    }

    /// The last handshake, once there are so many.
    async fn handshake(&self, count: usize) -> Handshake {
        eventually(|| {
            let all = self.records.handshakes.lock();
            (all.len() >= count).then(|| all[count - 1])
        })
        .await
    }
}

fn client_config(root: &CertificateDer<'static>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

async fn connect_over(
    socket: TcpStream,
    config: &Arc<ClientConfig>,
    name: &'static str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name).unwrap();
    TlsConnector::from(Arc::clone(config)).connect(name, socket).await
}

async fn connect(proxy: &TestProxy, config: &Arc<ClientConfig>, name: &'static str) -> TlsStream<TcpStream> {
    let socket = TcpStream::connect(proxy.address).await.unwrap();
    connect_over(socket, config, name).await.unwrap()
}

async fn ask(stream: &mut TlsStream<TcpStream>, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(LIMIT, stream.read(&mut answer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

/// What a client says first.
fn client_hello(config: ClientConfig) -> (ClientConnection, Vec<u8>) {
    let mut client =
        ClientConnection::new(Arc::new(config), ServerName::try_from("blog.test").unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    (client, hello)
}

/// A fatal alert before any key is there.
fn alert(description: AlertDescription) -> Vec<u8> {
    vec![21, 3, 3, 0, 2, 2, description.into()]
}

#[tokio::test]
async fn an_entry_point_speaks_tls_too() {
    let server = TestServer::text("hello").await;
    let (proxy, root) =
        Setup::new().route("blog", "Host(`blog.test`)", &[server.url()]).tls("blog").serve_certified();
    let config = Arc::new(client_config(&root));
    let mut stream = connect(&proxy, &config, "blog.test").await;
    for _ in 0..3 {
        let answer = ask(&mut stream, GET).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    }
    assert_eq!(fields(&server.last_head())["x-forwarded-proto"], ["https"]);
    let mut again = connect(&proxy, &config, "blog.test").await;
    assert_eq!(again.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed), "its ticket is good");
    assert!(ask(&mut again, GET).await.ends_with("hello"));
    assert_eq!(*proxy.records.handshakes.lock(), [Handshake::Full, Handshake::Resumed]);
}

#[tokio::test]
async fn keys_are_renewed_while_a_connection_rests_and_goodbye_is_heard() {
    let server = TestServer::text("hello").await;
    let (proxy, root) =
        Setup::new().route("blog", "Host(`blog.test`)", &[server.url()]).tls("blog").serve_certified();
    let mut stream = connect(&proxy, &Arc::new(client_config(&root)), "blog.test").await;
    for _ in 0..3 {
        stream.get_mut().1.refresh_traffic_keys().unwrap();
        stream.flush().await.unwrap();
        assert!(ask(&mut stream, GET).await.ends_with("hello"));
    }
    stream.get_mut().1.send_close_notify();
    stream.flush().await.unwrap();
    eventually(|| (proxy.proxy.open_connections() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_hello_may_come_in_the_smallest_pieces() {
    let (proxy, root) = Setup::new().serve_certified();
    let (mut client, hello) = client_hello(client_config(&root));
    let mut socket = TcpStream::connect(proxy.address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    // Every byte of the message in a record of its own, and every byte of those in a packet of its own.
    let message = &hello[5..];
    for byte in message {
        for piece in [22, 3, 1, 0, 1, *byte] {
            socket.write_all(&[piece]).await.unwrap();
        }
    }
    let mut answer = vec![0; 16 * 1024];
    while client.is_handshaking() {
        let read = tokio::time::timeout(LIMIT, socket.read(&mut answer)).await.unwrap().unwrap();
        assert!(read > 0, "the handshake goes on");
        client.read_tls(&mut &answer[..read]).unwrap();
        client.process_new_packets().unwrap();
        let mut out = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut out).unwrap();
        }
        socket.write_all(&out).await.unwrap();
    }
    assert_eq!(proxy.handshake(1).await, Handshake::Full);
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_stalls_ends_with_the_handshakes_deadline() {
    let (proxy, root) = Setup::new().serve_certified();
    let (_, hello) = client_hello(client_config(&root));
    for pieces in [&hello[..1], &hello[..6], &hello[..hello.len() - 1], &hello[..]] {
        let mut client = proxy.connect().await;
        let began = tokio::time::Instant::now();
        client.send(pieces).await;
        client.rest().await;
        let took = began.elapsed();
        assert!((Duration::from_secs(10)..Duration::from_secs(11)).contains(&took), "{took:?}");
    }
    assert_eq!(*proxy.records.handshakes.lock(), [Handshake::Timeout; 4]);
}

#[tokio::test]
async fn what_is_no_hello_is_told_so_by_an_alert() {
    let (proxy, root) = Setup::new().serve_certified();
    let (_, good) = client_hello(client_config(&root));
    let mut broken = good.clone();
    // The length of its session identifier.
    broken[43] = 0xff;
    // A message of nearly 64 KiB in many records, which never ends.
    let mut endless = vec![22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff];
    endless.resize(5 + 0x4000, 0);
    for _ in 0..4 {
        endless.extend([22, 3, 1, 0x40, 0]);
        endless.extend([0; 0x4000]);
    }
    for (bytes, expected, result) in [
        (broken, AlertDescription::DecodeError, Handshake::Malformed),
        (endless, AlertDescription::DecodeError, Handshake::TooLarge),
        (
            b"\x16\x03\x01\x00\x04\x0e\x00\x00\x00".to_vec(),
            AlertDescription::UnexpectedMessage,
            Handshake::Malformed,
        ),
    ] {
        let count = proxy.records.handshakes.lock().len() + 1;
        let mut client = proxy.connect().await;
        client.send(&bytes).await;
        assert_eq!(client.rest().await, alert(expected), "{:?}", &bytes[..16.min(bytes.len())]);
        assert_eq!(proxy.handshake(count).await, result);
    }
}

#[tokio::test]
async fn options_that_cannot_be_used_refuse_their_names_and_no_other() {
    let server = TestServer::text("hello").await;
    let broken =
        TlsOptions { client_auth: ClientAuth::RequireAndVerify(Vec::new()), ..TlsOptions::default() };
    let (proxy, root) = Setup::new()
        .route("blog", "Host(`blog.test`)", &[server.url()])
        .tls("blog")
        .route("other", "Host(`other.test`)", &[server.url()])
        .tls_with("other", "broken@test")
        .options("broken@test", broken)
        .serve_certified();
    let config = Arc::new(client_config(&root));
    let socket = TcpStream::connect(proxy.address).await.unwrap();
    let refused = connect_over(socket, &config, "other.test").await.unwrap_err();
    assert!(refused.to_string().contains("HandshakeFailure"), "{refused}");
    assert_eq!(proxy.handshake(1).await, Handshake::PolicyUnavailable);
    let mut stream = connect(&proxy, &config, "blog.test").await;
    assert!(ask(&mut stream, GET).await.ends_with("hello"));
    let misdirected = ask(&mut stream, "GET / HTTP/1.1\r\nHost: other.test\r\n\r\n").await;
    assert!(misdirected.starts_with("HTTP/1.1 421 Misdirected Request\r\n"), "{misdirected}");
    assert!(misdirected.ends_with("\r\n\r\nMisdirected Request\n"), "{misdirected}");
}

#[tokio::test]
async fn options_that_change_leave_open_connections_that_satisfy_them() {
    let server = TestServer::text("hello").await;
    let setup = |options: TlsOptions| {
        Setup::new()
            .route("blog", "Host(`blog.test`)", &[server.url()])
            .tls_with("blog", "own@test")
            .options("own@test", options)
    };
    let (mut proxy, root) = setup(TlsOptions::default()).serve_certified();
    let mut stream = connect(&proxy, &Arc::new(client_config(&root)), "blog.test").await;
    assert!(ask(&mut stream, GET).await.ends_with("hello"));
    let newer = TlsOptions { min_version: TlsVersion::Tls13, ..TlsOptions::default() };
    let older = TlsOptions { max_version: TlsVersion::Tls12, ..TlsOptions::default() };
    let mutual = TlsOptions { client_auth: ClientAuth::RequireAny, ..TlsOptions::default() };
    for (options, expected) in
        [(newer, "200"), (older, "421"), (mutual, "421"), (TlsOptions::default(), "200")]
    {
        let next = compile::compile(&proxy.install, parts(setup(options).routing), &proxy.writer.current());
        proxy.writer.publish(Arc::new(next));
        let answer = ask(&mut stream, GET).await;
        assert_eq!(answer.get(9..12), Some(expected), "{answer}");
    }
}

#[tokio::test]
async fn the_challenges_of_an_acme_server_are_answered() {
    let server = TestServer::text("hello").await;
    let with = |setup: Setup| {
        let mut proxy = setup.serve();
        let (proof, root) = certificate(&["new.test"]);
        let challenges = Challenges {
            http: [(Arc::from("token"), Arc::from("token.thumb"))].into(),
            tls: [(Arc::from("new.test"), Arc::clone(&proof.key))].into(),
        };
        proxy.certify(certificate(&["blog.test"]).0, challenges);
        (proxy, root)
    };
    let setup = || Setup::new().route("all", "PathPrefix(`/`)", &[server.url()]);
    let named = |by_pass| {
        let mut setup = setup().with(|entry_point| entry_point.acme_by_pass = by_pass);
        setup.challenges = vec!["web".into()];
        setup
    };
    for (setup, unknown) in [(setup(), 200), (named(false), 404), (named(true), 200)] {
        let (proxy, _) = with(setup);
        let path = "/.well-known/acme-challenge/";
        let known = proxy.ask(&format!("GET {path}token HTTP/1.1\r\nHost: any.test\r\n\r\n")).await;
        assert_eq!((known.status(), known.text()), (200, "token.thumb"));
        let other = proxy.ask(&format!("GET {path}other HTTP/1.1\r\nHost: any.test\r\n\r\n")).await;
        assert_eq!(other.status(), unknown);
    }
    let (proxy, root) = with(setup());
    let mut config = client_config(&root);
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let config = Arc::new(config);
    let mut stream = connect(&proxy, &config, "new.test").await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"acme-tls/1"[..]));
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "it is closed after the handshake");
    assert_eq!(proxy.handshake(1).await, Handshake::Challenge);
    let socket = TcpStream::connect(proxy.address).await.unwrap();
    let refused = connect_over(socket, &config, "blog.test").await.unwrap_err();
    assert!(refused.to_string().contains("UnrecognisedName"), "{refused}");
    assert_eq!(proxy.handshake(2).await, Handshake::UnknownChallenge);
}

#[tokio::test]
async fn the_proxy_protocol_is_demanded_from_those_that_are_trusted() {
    let line = "PROXY TCP4 203.0.113.9 10.0.0.1 40000 443\r\n";
    let whoami = || Setup::new().internal("who", "PathPrefix(`/`)", InternalService::Whoami);
    let proxy = whoami().behind(&["127.0.0.0/8"]).serve();
    let reply = proxy.ask(&format!("{line}{GET}")).await;
    assert!(reply.text().starts_with("203.0.113.9: "), "{}", reply.text());
    let mut slow = proxy.connect().await;
    for byte in line.bytes().chain(GET.bytes()) {
        slow.send([byte]).await;
    }
    assert!(slow.reply().await.text().starts_with("203.0.113.9: "));
    let reply = proxy.ask(&format!("PROXY UNKNOWN\r\n{GET}")).await;
    assert!(reply.text().starts_with("127.0.0.1: "), "{}", reply.text());
    let twice = format!("{line}{line}{GET}");
    for bytes in [GET, "PROXY TCP4 x\r\nGET / HTTP/1.1\r\n", &twice] {
        let mut client = proxy.connect().await;
        client.send(bytes).await;
        client.is_closed().await;
    }
    let stranger = whoami().behind(&["10.0.0.0/8"]).serve();
    assert_eq!(stranger.ask(&format!("{line}{GET}")).await.status(), 400);
    assert!(stranger.ask(GET).await.text().starts_with("127.0.0.1: "));
}

#[tokio::test]
async fn the_proxy_protocol_comes_before_tls() {
    let setup = Setup::new().internal("who", "PathPrefix(`/`)", InternalService::Whoami).tls("who");
    let (proxy, root) = setup.behind(&["127.0.0.0/8"]).serve_certified();
    let mut socket = TcpStream::connect(proxy.address).await.unwrap();
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24".to_vec();
    header.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
    header.extend([0; 16]);
    header.extend([0x9c, 0x40, 1, 187]);
    socket.write_all(&header).await.unwrap();
    let mut stream = connect_over(socket, &Arc::new(client_config(&root)), "blog.test").await.unwrap();
    let answer = ask(&mut stream, GET).await;
    assert!(answer.contains("\r\n\r\n2001:db8::9: "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn the_proxy_protocol_has_three_seconds_to_arrive() {
    let proxy = Setup::new().behind(&["127.0.0.0/8"]).serve();
    let mut client = proxy.connect().await;
    let began = tokio::time::Instant::now();
    client.send("PROXY TCP4 203.0.113.9 ").await;
    client.is_closed().await;
    let took = began.elapsed();
    assert!((Duration::from_secs(3)..Duration::from_secs(4)).contains(&took), "{took:?}");
}
