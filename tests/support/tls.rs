//! A certificate authority of the test's own, and clients that speak TLS as a test wants them to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P256_SHA256,
};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{SupportedKxGroup, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, NamedGroup,
    ProtocolVersion, RootCertStore, SignatureScheme, SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::{ANSWER_LIMIT, Address, Answer, Connection, Http2Connection, Stream, connect};

/// Who signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// A certificate with its key.
#[derive(Debug)]
pub struct Pair {
    /// The chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key.
    pub key: PrivateKeyDer<'static>,
    /// The chain as text.
    pub chain_pem: String,
    /// The key as text.
    pub key_pem: String,
}

impl Clone for Pair {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            chain_pem: self.chain_pem.clone(),
            key_pem: self.key_pem.clone(),
        }
    }
}

impl Authority {
    /// An authority with this common name.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = key();
        let certificate = params.self_signed(&key).expect("an authority can sign itself");
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// Its own certificate.
    pub fn root(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    /// The same as text.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate for servers of these names (or addresses); the first is its common name.
    pub fn server(&self, names: &[&str]) -> Pair {
        let mut params = params(names);
        params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or_default());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// A certificate for a client of this name.
    pub fn client(&self, name: &str) -> Pair {
        self.sign(client_params(name))
    }

    /// A certificate as `params` says.
    pub fn sign(&self, params: CertificateParams) -> Pair {
        let key = key();
        let certificate = params.signed_by(&key, &self.issuer).expect("the parameters can be signed");
        Pair {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).expect("the key is PKCS #8"),
            chain_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }
}

impl Pair {
    /// Writes `<name>.crt` and `<name>.key`, and gives their paths.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (chain, key) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
        std::fs::write(&chain, &self.chain_pem).expect("the folder can be written to");
        std::fs::write(&key, &self.key_pem).expect("the folder can be written to");
        (chain, key)
    }

    /// Writes them, and gives the entry of a routing file that names them.
    pub fn written(&self, folder: &Path, name: &str) -> String {
        let (chain, key) = self.write(folder, name);
        format!("{{ certFile: '{}', keyFile: '{}' }}", chain.display(), key.display())
    }
}

/// A certificate as text.
pub fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(certificate);
    let lines: String =
        text.as_bytes().chunks(64).map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect();
    format!("-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n")
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key can be made")
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("a test's names are valid");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.use_authority_key_identifier_extension = true;
    params
}

/// What a certificate for a client of this name says.
pub fn client_params(name: &str) -> CertificateParams {
    let mut params = params(&[]);
    params.distinguished_name.push(DnType::OrganizationName, "Tests");
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// How a client speaks TLS.
#[derive(Debug, Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
}

/// What a [`Client`] is made from.
#[derive(Debug, Clone)]
pub struct ClientPlan {
    /// Empty: any certificate is good.
    roots: Vec<CertificateDer<'static>>,
    versions: Vec<&'static SupportedProtocolVersion>,
    groups: Vec<&'static dyn SupportedKxGroup>,
    alpn: Vec<Vec<u8>>,
    pair: Option<Pair>,
}

impl ClientPlan {
    /// Trusts this authority; offers all versions and groups, and no application protocol.
    pub fn new(authority: &Authority) -> Self {
        Self::trusting(authority.root())
    }

    /// The same for one certificate.
    pub fn trusting(root: CertificateDer<'static>) -> Self {
        Self { roots: vec![root], ..Self::anybody() }
    }

    /// Takes any certificate.
    pub fn anybody() -> Self {
        Self {
            roots: Vec::new(),
            versions: rustls::ALL_VERSIONS.to_vec(),
            groups: aws_lc_rs::default_provider().kx_groups,
            alpn: Vec::new(),
            pair: None,
        }
    }

    /// Offers these versions alone.
    #[must_use]
    pub fn versions(mut self, versions: &[&'static SupportedProtocolVersion]) -> Self {
        self.versions = versions.to_vec();
        self
    }

    /// Offers these groups alone.
    #[must_use]
    pub fn groups(mut self, groups: &[&'static dyn SupportedKxGroup]) -> Self {
        self.groups = groups.to_vec();
        self
    }

    /// Offers these application protocols.
    #[must_use]
    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        self
    }

    /// Shows this certificate when asked for one.
    #[must_use]
    pub fn pair(mut self, pair: &Pair) -> Self {
        self.pair = Some(pair.clone());
        self
    }

    /// The client. Its connections share their session tickets.
    pub fn build(self) -> Client {
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups = self.groups;
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&self.versions)
            .expect("the versions have suites");
        let builder = if self.roots.is_empty() {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate))
        } else {
            let mut roots = RootCertStore::empty();
            for root in self.roots {
                roots.add(root).expect("a root is a certificate");
            }
            builder.with_root_certificates(roots)
        };
        let mut config = match self.pair {
            Some(pair) => builder.with_client_auth_cert(pair.chain, pair.key).expect("the pair fits"),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn;
        config.resumption = Resumption::in_memory_sessions(32);
        Client { config: Arc::new(config) }
    }
}

/// Takes any certificate of a server that has its key.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The other side said why.
    Alert(AlertDescription),
    /// Something else: its text.
    Other(String),
}

impl From<std::io::Error> for Refused {
    fn from(error: std::io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(alert)) => Self::Alert(*alert),
            Some(_) | None => Self::Other(error.to_string()),
        }
    }
}

impl Client {
    /// Shakes hands; `name` is the server's, or an address, which is not sent.
    pub async fn connect(&self, address: impl Into<Address>, name: &str) -> Result<TlsConnection, Refused> {
        let stream = connect(&address.into()).await.map_err(Refused::Other)?;
        self.over(stream, name).await
    }

    /// The same over what is open already.
    pub async fn over(&self, stream: Box<dyn Stream>, name: &str) -> Result<TlsConnection, Refused> {
        let name = ServerName::try_from(name.to_owned()).expect("a test's name is valid");
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = timeout(ANSWER_LIMIT, connector.connect(name, stream))
            .await
            .map_err(|_elapsed| Refused::Other("no handshake in time".to_owned()))??;
        Ok(TlsConnection { stream })
    }

    /// Why the server refuses: in the handshake, or, as TLS 1.3 has it for certificates of clients, right after it.
    /// `None`: it does not.
    pub async fn refusal(&self, address: impl Into<Address>, name: &str) -> Option<Refused> {
        match self.connect(address, name).await {
            Ok(mut connection) => connection.refusal().await,
            Err(refused) => Some(refused),
        }
    }

    /// Asks for a page over a connection of its own, in HTTP/2 where that was agreed on.
    pub async fn ask(
        &self,
        address: impl Into<Address>,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, String> {
        let host = request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
        let host = host.split(':').next().unwrap_or_default().to_owned();
        let connection = self.connect(address, &host).await.map_err(|refused| format!("{refused:?}"))?;
        connection.http().await?.ask(request).await
    }
}

/// A TLS connection.
#[derive(Debug)]
pub struct TlsConnection {
    stream: TlsStream<Box<dyn Stream>>,
}

/// A TLS connection that speaks HTTP.
#[derive(Debug)]
pub enum HttpConnection {
    /// HTTP/1.1.
    Http1(Connection<Full<Bytes>>),
    /// HTTP/2.
    Http2(Http2Connection<Full<Bytes>>),
}

impl HttpConnection {
    /// Asks, and reads the whole answer.
    pub async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        match self {
            Self::Http1(connection) => connection.ask(request).await,
            Self::Http2(connection) => connection.ask(request).await,
        }
    }
}

impl TlsConnection {
    /// The library's view of it.
    pub fn session(&self) -> &ClientConnection {
        self.stream.get_ref().1
    }

    /// The certificate that the server showed.
    pub fn certificate(&self) -> CertificateDer<'static> {
        let chain = self.session().peer_certificates().expect("a server shows a certificate");
        chain.first().expect("a chain has a leaf").clone().into_owned()
    }

    /// The application protocol that was agreed on; empty without.
    pub fn protocol(&self) -> String {
        String::from_utf8_lossy(self.session().alpn_protocol().unwrap_or_default()).into_owned()
    }

    /// The version that was agreed on.
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.session().protocol_version()
    }

    /// The group that was agreed on.
    pub fn group(&self) -> Option<NamedGroup> {
        self.session().negotiated_key_exchange_group().map(|group| group.name())
    }

    /// An earlier session went on.
    pub fn is_resumed(&self) -> bool {
        self.session().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Renews the keys of this side, and asks the server to.
    pub fn refresh_keys(&mut self) {
        self.stream.get_mut().1.refresh_traffic_keys().expect("a TLS 1.3 connection can");
    }

    /// Speaks HTTP over it, as was agreed on.
    pub async fn http(self) -> Result<HttpConnection, String> {
        if self.protocol() == "h2" {
            return Http2Connection::over(self.stream(), "https").await.map(HttpConnection::Http2);
        }
        Connection::over(self.stream()).await.map(HttpConnection::Http1)
    }

    /// Its bytes.
    pub fn stream(self) -> Box<dyn Stream> {
        Box::new(self.stream)
    }

    /// What the server says after the handshake, where it only says no. `None`: it waits for a request.
    async fn refusal(&mut self) -> Option<Refused> {
        let ask = async {
            // HTTP/2 begins with the server's settings whatever is sent; HTTP/1.1 answers this.
            self.stream.write_all(b"OPTIONS * HTTP/1.1\r\nHost: refusal.test\r\n\r\n").await?;
            self.stream.flush().await?;
            self.stream.read(&mut [0; 1]).await
        };
        match timeout(ANSWER_LIMIT, ask).await {
            Ok(Ok(0)) => Some(Refused::Other("closed".to_owned())),
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.into()),
            Err(_elapsed) => Some(Refused::Other("silence".to_owned())),
        }
    }
}
