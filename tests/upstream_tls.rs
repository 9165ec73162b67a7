//! HTTPS servers: refused until they are trusted, by file and by label; and each trust has its own connections.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, SanType};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tests::client::ask_for;
use tests::docker::Docker;
use tests::eventually;
use tests::gateway::{GatewayPlan, GatewayProcess};
use tests::tls::{Authority, Pair};
use tests::wait::holds;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const SOON: Duration = Duration::from_secs(60);
const URI: &str = "spiffe://mesh.test/app";

/// An HTTPS server that says over what it was asked.
struct HttpsServer {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for HttpsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HttpsServer {
    /// One that asks nobody for a certificate, unless it is told whose it takes.
    async fn start(pair: &Pair, clients: Option<&Authority>) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let builder = match clients {
            None => ServerConfig::builder().with_no_client_auth(),
            Some(authority) => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(authority.root()).expect("an authority is a root");
                let verifier =
                    WebPkiClientVerifier::builder(Arc::new(roots)).build().expect("there are roots");
                ServerConfig::builder().with_client_cert_verifier(verifier)
            }
        };
        let mut config =
            builder.with_single_cert(pair.chain.clone(), pair.key.clone_key()).expect("the pair is whole");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, counter) = (acceptor.clone(), Arc::clone(&counter));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    counter.fetch_add(1, Ordering::Relaxed);
                    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let service = service_fn(|request: Request<Incoming>| async move {
                        let body = format!("{:?}", request.version());
                        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(body))))
                    });
                    let stream = TokioIo::new(stream);
                    if is_h2 {
                        let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        let _ = http2.serve_connection(stream, service).await;
                    } else {
                        let http1 = hyper::server::conn::http1::Builder::new();
                        let _ = http1.serve_connection(stream, service).await;
                    }
                });
            }
        });
        Self { address, connections, task }
    }

    fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Handshakes that it has ended.
    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// The fingerprint as `openssl x509 -fingerprint -sha256` writes it.
fn pin(pair: &Pair) -> String {
    let digest = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let digest = digest.tls13().expect("a suite of TLS 1.3").common.hash_provider.hash(&pair.chain[0]);
    digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// Routes `<name>.test` to a server of its own service: `load balancer, transport`.
fn routes(services: &[(&str, &str, String)]) -> String {
    let mut routers = String::from("http:\n  routers:\n");
    let mut all = String::from("  services:\n");
    for (name, balancer, _) in services {
        routers.push_str(&format!("    {name}: {{ rule: Host(`{name}.test`), service: {name} }}\n"));
        all.push_str(&format!("    {name}: {{ loadBalancer: {{ {balancer} }} }}\n"));
    }
    all.push_str("  serversTransports:\n    unused: {}\n");
    for (name, _, transport) in services.iter().filter(|(_, _, transport)| !transport.is_empty()) {
        all.push_str(&format!("    {name}: {{ {transport} }}\n"));
    }
    routers + &all
}

/// Each host answers with this status; a served one says over which version of HTTP.
async fn expect(gateway: &GatewayProcess, expected: &[(&str, u16, &str)]) {
    for (name, status, said) in expected {
        let answer = ask_for(gateway.web(), &format!("{name}.test"), "/").await.expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (*status, *said), "{name}: {}", gateway.log());
    }
}

/// The access log gives this reason for this host.
async fn logged(gateway: &GatewayProcess, name: &str, reason: &str) {
    eventually(&format!("the log says {reason} of {name}"), SOON, || async {
        let log = gateway.stdout();
        let host = format!("{name}.test");
        holds(log.lines().any(|line| line.contains(&host) && line.contains(reason)), log)
    })
    .await;
}

#[tokio::test]
async fn an_https_server_is_refused_until_it_is_trusted() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let mut params = CertificateParams::new(vec!["app.internal".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::URI(URI.try_into().unwrap()));
    let pair = ours.sign(params);
    let server = HttpsServer::start(&pair, None).await;
    let plan = GatewayPlan::new();
    plan.write("ca.pem", &ours.pem());
    plan.write("other.pem", &other.pem());
    let ca = plan.path("ca.pem").display().to_string();
    let wrong_ca = plan.path("other.pem").display().to_string();
    let url = server.url();
    let servers = format!("servers: [ {{ url: '{url}' }} ]");
    let pinned = |pin: &str| format!("servers: [ {{ url: '{url}', pin: '{pin}' }} ]");
    let over = |name: &str| format!("{servers}, serversTransport: {name}");
    let none = String::new;
    let services = [
        ("default", servers.clone(), none()),
        ("ca", format!("{servers}, tls: {{ caFile: '{ca}' }}"), none()),
        ("wrongca", format!("{servers}, tls: {{ caFile: '{wrong_ca}' }}"), none()),
        ("noca", format!("{servers}, tls: {{ caFile: '{ca}.gone' }}"), none()),
        ("skip", format!("{servers}, tls: {{ skipVerify: true }}"), none()),
        ("pin", pinned(&pin(&pair)), none()),
        ("wrongpin", pinned(&"00".repeat(32)), none()),
        ("roots", over("roots"), format!("rootCAs: ['{ca}']")),
        ("http1", over("http1"), format!("rootCAs: ['{ca}'], disableHTTP2: true")),
        ("name", over("name"), format!("rootCAs: ['{ca}'], serverName: app.internal")),
        ("wrongname", over("wrongname"), format!("rootCAs: ['{ca}'], serverName: other.internal")),
        ("uri", over("uri"), format!("rootCAs: ['{ca}'], peerCertURI: '{URI}'")),
        ("wronguri", over("wronguri"), format!("rootCAs: ['{ca}'], peerCertURI: '{URI}/2'")),
    ];
    let written: Vec<_> = services
        .iter()
        .map(|(name, balancer, transport)| (*name, balancer.as_str(), transport.clone()))
        .collect();
    let gateway = plan
        .argument("--accesslog=true")
        .argument("--accesslog.format=json")
        .routes(&routes(&written))
        .start()
        .await;
    let (h2, h1, no) = ("HTTP/2.0", "HTTP/1.1", "Bad Gateway");
    expect(
        &gateway,
        &[
            // A connection that trusts anybody comes first: nobody who is stricter may be given it.
            ("skip", 200, h2),
            ("default", 502, no),
            ("ca", 200, h2),
            ("wrongca", 502, no),
            ("noca", 503, "no available server\n"),
            ("pin", 200, h2),
            ("wrongpin", 502, no),
            ("wrongpin", 502, no),
            ("roots", 200, h2),
            ("http1", 200, h1),
            ("name", 200, h2),
            ("wrongname", 502, no),
            ("uri", 200, h1),
            ("wronguri", 502, no),
        ],
    )
    .await;
    for (name, reason) in [
        ("default", "tls_untrusted"),
        ("wrongca", "tls_untrusted"),
        ("wrongpin", "tls_pin"),
        ("wrongname", "tls_name"),
        ("wronguri", "tls_peer_uri"),
    ] {
        logged(&gateway, name, reason).await;
    }
    // What was trusted is asked again over what is open.
    let before = server.connections();
    expect(&gateway, &[("skip", 200, h2), ("roots", 200, h2), ("pin", 200, h2), ("name", 200, h2)]).await;
    assert_eq!(server.connections(), before);
    // Another authority in the same file, and the open connections serve no more.
    gateway.plan().write("ca.pem", &other.pem());
    eventually("the new authority holds", SOON, || async {
        let answer = ask_for(gateway.web(), "ca.test", "/").await?;
        holds(answer.status == 502, answer.status)
    })
    .await;
    expect(&gateway, &[("roots", 502, no), ("skip", 200, h2)]).await;
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_gets_that_of_the_transport() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let server = HttpsServer::start(&servers.server(&["127.0.0.1"]), Some(&clients)).await;
    let plan = GatewayPlan::new();
    plan.write("ca.pem", &servers.pem());
    let ca = plan.path("ca.pem").display().to_string();
    let folder = plan.path("");
    let (good, good_key) = clients.client("gateway").write(&folder, "good");
    let (bad, bad_key) = servers.client("gateway").write(&folder, "bad");
    let balancer =
        |name: &str| format!("servers: [ {{ url: '{}' }} ], serversTransport: {name}", server.url());
    let transport = |chain: &std::path::Path, key: &std::path::Path| {
        let (chain, key) = (chain.display(), key.display());
        format!("rootCAs: ['{ca}'], certificates: [ {{ certFile: '{chain}', keyFile: '{key}' }} ]")
    };
    let services = [
        ("nobody", balancer("nobody"), format!("rootCAs: ['{ca}']")),
        ("good", balancer("good"), transport(&good, &good_key)),
        ("bad", balancer("bad"), transport(&bad, &bad_key)),
        ("mixed", balancer("mixed"), transport(&good, &bad_key)),
    ];
    let written: Vec<_> = services
        .iter()
        .map(|(name, balancer, transport)| (*name, balancer.as_str(), transport.clone()))
        .collect();
    let gateway = plan.routes(&routes(&written)).start().await;
    expect(
        &gateway,
        &[
            ("good", 200, "HTTP/2.0"),
            ("nobody", 502, "Bad Gateway"),
            ("bad", 502, "Bad Gateway"),
            ("mixed", 503, "no available server\n"),
        ],
    )
    .await;
    let problems = gateway.admin_json("/api/problems").await.to_string();
    assert!(problems.contains("does not belong to the client certificate"), "{problems}");
}

#[tokio::test]
async fn labels_say_whom_to_trust() {
    let ours = Authority::new("ours");
    let pair = ours.server(&["127.0.0.1"]);
    let server = HttpsServer::start(&pair, None).await;
    let docker = Docker::machine().await;
    let plan = GatewayPlan::new().docker(&docker.endpoint(), &docker.constraint());
    plan.write("ca.pem", &ours.pem());
    let ca = plan.path("ca.pem").display().to_string();
    let gateway = plan.start().await;
    let pin = pin(&pair).replace(':', "").to_lowercase();
    let forms = [
        ("bare", None, 502),
        ("pinned", Some(("server.pin", pin.as_str())), 200),
        ("trusted", Some(("tls.caFile", ca.as_str())), 200),
        ("skipped", Some(("tls.skipVerify", "true")), 200),
    ];
    let mut containers = Vec::new();
    for (name, label, _) in &forms {
        let rule = (format!("traefik.http.routers.{name}.rule"), format!("Host(`{name}.test`)"));
        let balancer = format!("traefik.http.services.{name}.loadbalancer");
        let mut labels = vec![
            ("traefik.enable".to_owned(), "true".to_owned()),
            rule,
            (format!("{balancer}.server.url"), server.url()),
        ];
        labels.extend(label.map(|(key, value)| (format!("{balancer}.{key}"), value.to_owned())));
        let labels: Vec<_> = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        containers.push(docker.start(name, &labels, &[]).await);
    }
    for (name, _, status) in forms {
        gateway.answers(&format!("{name}.test"), "/", status, SOON).await;
    }
}
