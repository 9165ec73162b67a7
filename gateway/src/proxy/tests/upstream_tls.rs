//! TLS to servers: who is trusted, what is spoken, and that no connection serves another trust.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use config::routing::tls::{CipherSuite, Pem, TlsVersion};
use config::routing::transport::Transport;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

use super::*;

const URI: &str = "spiffe://mesh.test/app";

/// A certificate authority.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
}

/// A certificate that it signed.
struct Signed {
    certificate: CertificateDer<'static>,
    key: KeyPair,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        provider();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // A server names the authorities that it takes.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("authority {}", COUNT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap();
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Self { issuer: Issuer::new(params, key), pem, der }
    }

    fn sign(&self, names: &[&str]) -> Signed {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.subject_alt_names.push(SanType::URI(URI.try_into().unwrap()));
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Signed { pem: certificate.pem(), certificate: certificate.der().clone(), key }
    }

    /// A transport that trusts it.
    fn trusted(&self) -> Transport {
        let mut transport = Transport::default();
        transport.tls.roots = vec![Pem::new(&self.pem)];
        transport
    }
}

impl Signed {
    fn pin(&self) -> [u8; 32] {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.certificate);
        digest.as_ref().try_into().unwrap()
    }

    fn pair(&self) -> (Pem, Pem) {
        (Pem::new(&self.pem), Pem::new(&self.key.serialize_pem()))
    }
}

fn provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// An HTTPS server that says with which protocol, version and suite it was asked, and on which connection.
struct Server {
    url: String,
    task: tokio::task::AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(signed: &Signed) -> Self {
        Self::start_with(signed, |_| {}).await
    }

    /// One that takes clients of this authority alone.
    async fn mutual(signed: &Signed, clients: &Authority) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(clients.der.clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        Self::start_of(ServerConfig::builder().with_client_cert_verifier(verifier), signed, |_| {}).await
    }

    async fn start_with(signed: &Signed, change: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::start_of(ServerConfig::builder().with_no_client_auth(), signed, change).await
    }

    async fn start_of(
        builder: rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>,
        signed: &Signed,
        change: impl FnOnce(&mut ServerConfig),
    ) -> Self {
        let key = PrivateKeyDer::try_from(signed.key.serialize_der()).unwrap();
        let mut config = builder.with_single_cert(vec![signed.certificate.clone()], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        change(&mut config);
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let count = AtomicUsize::new(0);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::Relaxed);
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let session = stream.get_ref().1;
                    let seen = format!(
                        "{:?} {:?} {:?} {number}",
                        session.server_name().unwrap_or("-"),
                        session.protocol_version().unwrap(),
                        session.negotiated_cipher_suite().unwrap().suite(),
                    );
                    let is_h2 = session.alpn_protocol() == Some(b"h2");
                    let service = service_fn(move |request: Request<Incoming>| {
                        let body = format!("{:?} {seen}", request.version());
                        async {
                            Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(body))))
                        }
                    });
                    let stream = TokioIo::new(stream);
                    if is_h2 {
                        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        let _ = connection.serve_connection(stream, service).await;
                    } else {
                        let connection = hyper::server::conn::http1::Builder::new();
                        let _ = connection.serve_connection(stream, service).await;
                    }
                });
            }
        });
        Self { url: format!("https://{address}"), task: task.abort_handle() }
    }
}

/// Routes `x.test` to this server over this transport.
fn setup(server: &Server, transport: Transport, pin: Option<[u8; 32]>) -> Setup {
    also(Setup::new(), "x", &server.url, transport, pin)
}

fn also(setup: Setup, name: &str, url: &str, transport: Transport, pin: Option<[u8; 32]>) -> Setup {
    let mut setup = setup.route(name, &format!("Host(`{name}.test`)"), &[url.to_owned()]);
    let service = setup.routing.services.get_mut(format!("{name}@test").as_str()).unwrap();
    service.transport = Arc::new(transport);
    service.servers[0].pin = pin;
    setup
}

async fn ask(proxy: &TestProxy, name: &str) -> Reply {
    proxy.ask(&format!("GET / HTTP/1.1\r\nHost: {name}.test\r\n\r\n")).await
}

/// What the server said of a request that it got.
async fn served(server: &Server, transport: Transport, pin: Option<[u8; 32]>) -> String {
    let reply = ask(&setup(server, transport, pin).serve(), "x").await;
    assert_eq!(reply.status(), 200, "{}", reply.head);
    reply.text().to_owned()
}

/// The request did not reach the server, for this reason.
async fn refused(server: &Server, transport: Transport, pin: Option<[u8; 32]>, reason: &str) {
    refused_for(server, transport, pin, &[reason]).await;
}

/// The same for one of these reasons.
async fn refused_for(server: &Server, transport: Transport, pin: Option<[u8; 32]>, reasons: &[&str]) {
    let proxy = setup(server, transport, pin).serve();
    for _ in 0..2 {
        let reply = ask(&proxy, "x").await;
        assert_eq!(reply.status(), 502, "{}", reply.text());
    }
    for record in proxy.records(2).await {
        assert!(reasons.contains(&&*record.reason), "{} is not {reasons:?}", record.reason);
    }
}

fn with(transport: &Transport, change: impl FnOnce(&mut Transport)) -> Transport {
    let mut transport = transport.clone();
    change(&mut transport);
    transport
}

#[tokio::test]
async fn a_server_is_trusted_by_chain_and_name() {
    let (ours, other) = (Authority::new(), Authority::new());
    let signed = ours.sign(&["127.0.0.1", "app.test"]);
    let server = Server::start(&signed).await;
    refused(&server, Transport::default(), None, "tls_untrusted").await;
    refused(&server, other.trusted(), None, "tls_untrusted").await;
    assert!(served(&server, ours.trusted(), None).await.starts_with("HTTP/2.0 \"-\" TLSv1_3"));
    let named = |name: &str| with(&ours.trusted(), |transport| transport.tls.server_name = Some(name.into()));
    assert!(served(&server, named("app.test"), None).await.contains("\"app.test\""));
    refused(&server, named("other.test"), None, "tls_name").await;
    let skipping = with(&Transport::default(), |transport| transport.tls.skip_verify = true);
    served(&server, skipping, None).await;
}

#[tokio::test]
async fn a_pinned_server_is_that_one_whoever_signed_it() {
    let ours = Authority::new();
    let (signed, other) = (ours.sign(&["elsewhere.test"]), ours.sign(&["127.0.0.1"]));
    let server = Server::start(&signed).await;
    served(&server, Transport::default(), Some(signed.pin())).await;
    refused(&server, ours.trusted(), Some(other.pin()), "tls_pin").await;
    // Nor where nothing is verified: a pin is more than that.
    let skipping = with(&Transport::default(), |transport| transport.tls.skip_verify = true);
    refused(&server, skipping.clone(), Some(other.pin()), "tls_pin").await;
    // With HTTP/1.1 alone, and on a connection of our own.
    let old = with(&skipping, |transport| transport.disable_http2 = true);
    refused(&server, old, Some(other.pin()), "tls_pin").await;
    let own = with(&skipping, |transport| transport.tls.max_version = Some(TlsVersion::Tls12));
    refused(&server, own.clone(), Some(other.pin()), "tls_pin").await;
    served(&server, own, Some(signed.pin())).await;
}

#[tokio::test]
async fn a_certificate_without_its_key_is_no_proof() {
    // A server that shows a certificate and signs with another key.
    let ours = Authority::new();
    let signed = ours.sign(&["127.0.0.1"]);
    #[derive(Debug)]
    struct Thief(Arc<rustls::sign::CertifiedKey>);
    impl rustls::server::ResolvesServerCert for Thief {
        fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
            Some(Arc::clone(&self.0))
        }
    }
    let stolen = PrivateKeyDer::try_from(KeyPair::generate().unwrap().serialize_der()).unwrap();
    let stolen = rustls::crypto::aws_lc_rs::sign::any_supported_type(&stolen).unwrap();
    let thief = rustls::sign::CertifiedKey::new(vec![signed.certificate.clone()], stolen);
    let server =
        Server::start_with(&signed, |config| config.cert_resolver = Arc::new(Thief(thief.into()))).await;
    let skipping = with(&Transport::default(), |transport| transport.tls.skip_verify = true);
    refused(&server, ours.trusted(), None, "tls_untrusted").await;
    refused(&server, Transport::default(), Some(signed.pin()), "tls_untrusted").await;
    refused(&server, skipping.clone(), None, "tls_untrusted").await;
    let own = with(&skipping, |transport| transport.tls.max_version = Some(TlsVersion::Tls12));
    refused(&server, own, None, "tls_untrusted").await;
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_ours() {
    let (ours, clients) = (Authority::new(), Authority::new());
    let server = Server::mutual(&ours.sign(&["127.0.0.1"]), &clients).await;
    // The server says no after our half of the handshake: its words may come too late to be heard.
    let refusal = ["tls_client_certificate", "server_closed"];
    refused_for(&server, ours.trusted(), None, &refusal).await;
    let client = |authority: &Authority| {
        let pair = authority.sign(&["gateway.test"]).pair();
        with(&ours.trusted(), |transport| transport.tls.client_pairs.push(pair))
    };
    served(&server, client(&clients), None).await;
    refused_for(&server, client(&ours), None, &refusal).await;
    // Of two, the one that the server's authority signed.
    let both = with(&client(&ours), |transport| {
        transport.tls.client_pairs.push(clients.sign(&["gateway.test"]).pair());
    });
    served(&server, both, None).await;
}

#[tokio::test]
async fn a_uri_must_be_among_the_names() {
    let ours = Authority::new();
    let server = Server::start(&ours.sign(&["127.0.0.1"])).await;
    let of = |transport: Transport, uri: &str| {
        with(&transport, |transport| transport.tls.peer_uri = Some(uri.into()))
    };
    served(&server, of(ours.trusted(), URI), None).await;
    refused(&server, of(ours.trusted(), "spiffe://mesh.test/other"), None, "tls_peer_uri").await;
    refused(&server, of(Transport::default(), URI), None, "tls_untrusted").await;
}

#[tokio::test]
async fn protocol_version_and_suites_are_those_of_the_transport() {
    let ours = Authority::new();
    let signed = ours.sign(&["127.0.0.1"]);
    let server = Server::start(&signed).await;
    let transport = ours.trusted();
    let check = async |expected: &str, change: &dyn Fn(&mut Transport)| {
        let seen = served(&server, with(&transport, change), None).await;
        assert!(seen.starts_with(expected), "{seen}");
    };
    check("HTTP/2.0 \"-\" TLSv1_3", &|_| {}).await;
    check("HTTP/1.1 \"-\" TLSv1_3", &|transport| transport.disable_http2 = true).await;
    check("HTTP/2.0 \"-\" TLSv1_3", &|transport| transport.tls.min_version = Some(TlsVersion::Tls13)).await;
    check("HTTP/1.1 \"-\" TLSv1_2 TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", &|transport| {
        transport.tls.max_version = Some(TlsVersion::Tls12);
        transport.tls.cipher_suites = vec![CipherSuite::EcdsaChaCha20];
    })
    .await;
    let old = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS12]).with_no_client_auth();
    let old = Server::start_of(old, &signed, |_| {}).await;
    let new = with(&transport, |transport| transport.tls.min_version = Some(TlsVersion::Tls13));
    refused(&old, new, None, "tls_version").await;
    served(&old, transport.clone(), None).await;
}

#[tokio::test]
async fn connections_are_kept_and_serve_one_trust_alone() {
    let ours = Authority::new();
    let signed = ours.sign(&["127.0.0.1"]);
    for disable_http2 in [false, true] {
        let server = Server::start(&signed).await;
        let transport = |change: &dyn Fn(&mut Transport)| {
            with(&with(&Transport::default(), change), |transport| transport.disable_http2 = disable_http2)
        };
        let skipping = transport(&|transport| transport.tls.skip_verify = true);
        let trusting = transport(&|transport| transport.tls.roots = ours.trusted().tls.roots);
        let mut setup = setup(&server, skipping.clone(), None);
        setup = also(setup, "same", &server.url, skipping, None);
        setup = also(setup, "strict", &server.url, transport(&|_| {}), None);
        setup = also(setup, "trusting", &server.url, trusting, None);
        let proxy = setup.serve();
        let connection = async |name: &str| {
            let reply = ask(&proxy, name).await;
            assert_eq!(reply.status(), 200, "{name}");
            let number = reply.text().rsplit(' ').next().unwrap().to_owned();
            // It is given back a moment after the client has its answer.
            tokio::task::yield_now().await;
            number
        };
        let first = connection("x").await;
        eventually_same(&connection, "x", &first).await;
        eventually_same(&connection, "same", &first).await;
        assert_eq!(ask(&proxy, "strict").await.status(), 502);
        assert_ne!(connection("trusting").await, first);
    }
}

/// Asks until the answer comes on that connection.
async fn eventually_same(connection: &impl AsyncFn(&str) -> String, name: &str, wanted: &str) {
    let asks = async { while connection(name).await != wanted {} };
    tokio::time::timeout(LIMIT, asks).await.expect("a kept connection is used again");
}

#[tokio::test]
async fn a_service_without_its_ca_file_is_not_served() {
    let ours = Authority::new();
    let server = Server::start(&ours.sign(&["127.0.0.1"])).await;
    let missing = with(&Transport::default(), |transport| {
        transport.tls.roots = vec![Pem::File("/nowhere/ca.pem".into())];
    });
    let proxy = setup(&server, missing, None).serve();
    assert_eq!(ask(&proxy, "x").await.status(), 503);
    assert_eq!(proxy.records(1).await[0].reason, "CA file `/nowhere/ca.pem` cannot be read: it was not read");
    let problems: Vec<_> = proxy.writer.current().problems.iter().map(ToString::to_string).collect();
    assert!(problems.iter().any(|problem| problem.contains("/nowhere/ca.pem")), "{problems:?}");
}

#[tokio::test]
async fn plain_text_is_no_handshake() {
    let (address, task) = listen(|mut client| async move {
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain").await;
        client.rest().await;
    })
    .await;
    let server = Server { url: format!("https://{address}"), task };
    let skipping = with(&Transport::default(), |transport| transport.tls.skip_verify = true);
    refused(&server, skipping, None, "tls_not_spoken").await;
}
