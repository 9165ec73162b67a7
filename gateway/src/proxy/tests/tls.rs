//! TLS on an entry point, in this process: what needs the raw bytes or a hand on the clock.

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use security::certificate::{Certificate, CertificateSource};
use security::certificate_store::CertificateStore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::telemetry::Handshake;

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

impl TestProxy {
    /// Gives every name this certificate.
    fn certify(&mut self, certificate: Arc<Certificate>) {
        let current = self.writer.current();
        let routing = Routing::clone(&current.routing);
        let mut next = compile::compile(&self.install, parts(routing), &current);
        next.certificates =
            Arc::new(CertificateStore::new(Vec::new(), certificate, std::time::SystemTime::UNIX_EPOCH));
        self.writer.publish(Arc::new(next));
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

async fn connect(proxy: &TestProxy, config: ClientConfig) -> TlsStream<TcpStream> {
    let socket = TcpStream::connect(proxy.address).await.unwrap();
    let name = ServerName::try_from("blog.test").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap()
}

async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(GET.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(LIMIT, stream.read(&mut answer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test]
async fn an_entry_point_speaks_tls_too() {
    let server = TestServer::text("hello").await;
    let mut proxy = Setup::new().route("blog", "Host(`blog.test`)", &[server.url()]).tls("blog").serve();
    let (certificate, root) = certificate(&["blog.test"]);
    proxy.certify(certificate);
    let mut stream = connect(&proxy, client_config(&root)).await;
    for _ in 0..3 {
        let answer = ask(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    }
    assert_eq!(*proxy.records.handshakes.lock(), [Handshake::Full]);
    assert_eq!(fields(&server.last_head())["x-forwarded-proto"], ["https"]);
}
