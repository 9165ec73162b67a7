//! TLS towards servers.
//!
//! Connections are made by Pingora's own connector wherever it can keep what the transport asks for: it pools by the
//! socket's descriptor, and a connection of our own below it (`custom_l4`) has none, so that it would serve one
//! request. Its connector takes roots, a name, one client certificate and "do not verify" for each peer, and verifies
//! the handshake's signature in any case. A pin and a lowest version are compared with what it says of the connection,
//! before anything is sent. What it has no place for (a URI, a highest version, cipher suites, a choice of client
//! certificates) is kept by connections of our own, one for each request.
//!
//! Whatever the trust, all of it is in the key of the pool.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use config::routing::tls::{CipherSuite, TlsVersion, UpstreamTls};
use pingora::connectors::L4Connect;
use pingora::protocols::Digest;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::tls::CaType;
use pingora::upstreams::peer::PeerOptions;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use pingora::{Error, ErrorType};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    SupportedProtocolVersion, version,
};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::upstream::{connect_tcp, patient, plain};
use crate::snapshot::service::Upstream;
use crate::snapshot::trust::{Reach, Trust};

/// Pool of plain connections that may be switched to another protocol.
pub(super) const SWITCHING_GROUP: u64 = 1;
/// TLS handshake of a connection of our own.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// No certificate file: read in place of the system's roots where Pingora would end the process over them.
const NO_ROOTS: &str = "/dev/null";

/// Why no connection can be made with a set of trust.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigError {
    /// Settings that exclude each other, or material that does not go together.
    #[error("TLS settings cannot be used")]
    Settings(#[from] rustls::Error),
    /// No roots at all, and nothing else to verify with.
    #[error("there is no trusted certificate")]
    Roots(#[from] rustls::client::VerifierBuilderError),
    /// `minVersion` above `maxVersion`.
    #[error("no version of TLS is left")]
    NoVersion,
    /// A name that is no name.
    #[error("`{0}` cannot be the name of a TLS server")]
    Name(String),
}

/// How TLS is spoken to a server.
#[derive(Debug)]
pub(super) enum Tls {
    /// By Pingora's connector.
    Pingora(Box<Native>),
    /// By ours.
    Own(Box<OwnConnect>),
}

/// What Pingora's connector is told, and what is left to compare.
#[derive(Debug)]
pub(super) struct Native {
    /// To send and to verify.
    pub(super) name: String,
    /// Ours.
    pub(super) certificate: Option<Arc<CertKey>>,
    roots: Option<Arc<CaType>>,
    verifies: bool,
    pin: Option<[u8; 32]>,
    tls13_alone: bool,
    group: u64,
    switching_group: u64,
}

/// Connects with a configuration of our own.
#[derive(Debug, Clone)]
pub(super) struct OwnConnect {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    dial: Option<Duration>,
    is_patient: bool,
    group: u64,
    switching_group: u64,
}

impl Tls {
    pub(super) fn new(upstream: &Upstream) -> Result<Self, ConfigError> {
        let reach = &*upstream.reach;
        let tls = &reach.transport.tls;
        let pin = upstream.server.pin;
        let name = tls.server_name.as_deref().unwrap_or(&upstream.server.host).trim_end_matches('.');
        let server_name =
            ServerName::try_from(name.to_owned()).map_err(|_| ConfigError::Name(name.into()))?;
        let group = group(reach, name, pin, false);
        let switching_group = self::group(reach, name, pin, true);
        if needs_own(tls) {
            return Ok(Self::Own(Box::new(OwnConnect {
                config: client_config(tls, &reach.trust, pin, &[b"http/1.1"])?,
                name: server_name,
                dial: Some(reach.transport.dial_timeout).filter(|limit| !limit.is_zero()),
                is_patient: false,
                group,
                switching_group,
            })));
        }
        versions(tls)?;
        let verifies = !tls.skip_verify && pin.is_none();
        let roots = match (verifies, reach.trust.roots.is_empty()) {
            (true, false) => Some(wrapped(&reach.trust.roots)),
            (true, true) => SYSTEM.fallback.clone(),
            // Pingora wants roots also where it does not look at them.
            (false, _) => PLACEHOLDER.clone(),
        };
        let certificate = reach.trust.pairs.first().map(|pair| {
            let chain = pair.chain.iter().map(|certificate| certificate.to_vec()).collect();
            Arc::new(CertKey::new(chain, pair.key.secret_der().to_vec()))
        });
        Ok(Self::Pingora(Box::new(Native {
            name: name.to_owned(),
            certificate,
            roots,
            verifies,
            pin,
            tls13_alone: tls.min_version == Some(TlsVersion::Tls13),
            group,
            switching_group,
        })))
    }

    /// What Pingora's options say of it.
    pub(super) fn adjust(&self, options: &mut PeerOptions, disable_http2: bool) {
        match self {
            Self::Pingora(native) => {
                options.set_http_version(if disable_http2 { 1 } else { 2 }, 1);
                options.verify_cert = native.verifies;
                options.verify_hostname = native.verifies;
                options.ca.clone_from(&native.roots);
            }
            Self::Own(connect) => options.custom_l4 = Some(Arc::new((**connect).clone())),
        }
    }

    /// Key of the pool.
    pub(super) fn group(&self) -> u64 {
        match self {
            Self::Pingora(native) => native.group,
            Self::Own(connect) => connect.group,
        }
    }

    /// Key of the pool of connections that may be switched to another protocol.
    pub(super) fn switching_group(&self) -> u64 {
        match self {
            Self::Pingora(native) => native.switching_group,
            Self::Own(connect) => connect.switching_group,
        }
    }

    /// Whether a connection keeps what Pingora's connector was not told. The error is the reason of the record.
    pub(super) fn check(&self, connection: Option<&Digest>) -> Result<(), &'static str> {
        let native = match self {
            Self::Pingora(native) => native,
            Self::Own(_) => return Ok(()),
        };
        if native.pin.is_none() && !native.tls13_alone {
            return Ok(());
        }
        let seen =
            connection.and_then(|connection| connection.ssl_digest.as_deref()).ok_or("tls_handshake")?;
        if native.pin.is_some_and(|pin| seen.cert_digest != pin) {
            return Err("tls_pin");
        }
        if native.tls13_alone && Some(&*seen.version) != rustls::ProtocolVersion::TLSv1_3.as_str() {
            return Err("tls_version");
        }
        Ok(())
    }
}

/// What Pingora's connector has no place for.
fn needs_own(tls: &UpstreamTls) -> bool {
    tls.peer_uri.is_some()
        || tls.max_version.is_some_and(|max| max < TlsVersion::Tls13)
        || !tls.cipher_suites.is_empty()
        || tls.client_pairs.len() > 1
}

/// A hash over everything that two connections must have in common: no field is left out, and nothing of a request is
/// in it. Keyed for each process, so that nobody can look for two settings with one hash.
fn group(reach: &Reach, name: &str, pin: Option<[u8; 32]>, is_switching: bool) -> u64 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let Reach { transport, trust } = reach;
    let UpstreamTls {
        // In `name`.
        server_name: _,
        skip_verify,
        // What they hold is in `trust`.
        roots: _,
        client_pairs: _,
        peer_uri,
        min_version,
        max_version,
        cipher_suites,
    } = &transport.tls;
    let mut hasher = KEY.build_hasher();
    (name, pin, is_switching, skip_verify, peer_uri).hash(&mut hasher);
    format!("{min_version:?} {max_version:?} {cipher_suites:?}").hash(&mut hasher);
    // How the connection was begun, and is kept alive.
    (transport.disable_http2, transport.ping_interval).hash(&mut hasher);
    let Trust { roots, pairs } = trust;
    let chain = |chain: &[CertificateDer<'_>], hasher: &mut dyn Hasher| {
        hasher.write_usize(chain.len());
        for certificate in chain {
            hasher.write_usize(certificate.len());
            hasher.write(certificate);
        }
    };
    chain(roots, &mut hasher);
    hasher.write_usize(pairs.len());
    for pair in pairs {
        chain(&pair.chain, &mut hasher);
        pair.key.secret_der().hash(&mut hasher);
    }
    hasher.finish()
}

fn wrapped(certificates: &[CertificateDer<'_>]) -> Arc<CaType> {
    certificates.iter().map(|certificate| WrappedX509::new(certificate.to_vec(), parse_x509)).collect()
}

/// Roots for connections on which nobody looks at them: signed by nobody, and nobody has its key.
static PLACEHOLDER: LazyLock<Option<Arc<CaType>>> = LazyLock::new(|| {
    let key = rcgen::KeyPair::generate().ok()?;
    let certificate = rcgen::CertificateParams::default().self_signed(&key).ok()?;
    Some(wrapped(&[certificate.der().clone()]))
});

impl OwnConnect {
    /// The same for a connection that may be switched to another protocol.
    pub(super) fn patient(&self) -> Self {
        Self { is_patient: true, ..self.clone() }
    }
}

#[async_trait]
impl L4Connect for OwnConnect {
    async fn connect(&self, address: &PeerAddress) -> pingora::Result<Stream> {
        let connect = connect_tcp(address);
        let stream = match self.dial {
            Some(limit) => tokio::time::timeout(limit, connect)
                .await
                .unwrap_or_else(|_| Error::e_explain(ErrorType::ConnectTimedout, "connect to server"))?,
            None => connect.await?,
        };
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.config));
        let handshake = Box::pin(connector.connect(self.name.clone(), stream));
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
            Ok(Ok(stream)) => Ok(if self.is_patient { patient(stream) } else { plain(stream) }),
            Ok(Err(error)) => Error::e_because(ErrorType::TLSHandshakeFailure, "TLS to server", error),
            Err(_) => Error::e_explain(ErrorType::TLSHandshakeTimedout, "TLS to server"),
        }
    }
}

/// What a record says of a handshake that failed. Pingora hands on the TLS library's words alone.
pub(super) fn handshake_reason(error: &Error) -> &'static str {
    const REASONS: [(&str, &str); 14] = [
        (WRONG_PIN, "tls_pin"),
        (WRONG_URI, "tls_peer_uri"),
        ("certificate not valid for name", "tls_name"),
        ("NotValidForName", "tls_name"),
        ("certificate expired", "tls_expired"),
        ("certificate not valid yet", "tls_expired"),
        ("invalid peer certificate", "tls_untrusted"),
        ("alert: CertificateRequired", "tls_client_certificate"),
        ("alert: BadCertificate", "tls_client_certificate"),
        ("alert: UnknownCA", "tls_client_certificate"),
        ("alert: CertificateUnknown", "tls_client_certificate"),
        ("peer is incompatible", "tls_version"),
        ("alert: ProtocolVersion", "tls_version"),
        ("corrupt message", "tls_not_spoken"),
    ];
    let text = error.to_string();
    REASONS.iter().find(|(words, _)| text.contains(words)).map_or("tls_handshake", |(_, reason)| reason)
}

/// What a record says of a server that closed: with TLS 1.3 it refuses our certificate after our handshake has ended.
pub(super) fn closing_reason(error: &Error) -> &'static str {
    match handshake_reason(error) {
        "tls_client_certificate" => "tls_client_certificate",
        _ => "server_closed",
    }
}

/// The configuration for connections with this trust. Made once for a server and kept: sessions are resumed within
/// it, and never across two of them. `pin` is the SHA-256 of the one certificate that is taken, whoever signed it.
pub(super) fn client_config(
    tls: &UpstreamTls,
    trust: &Trust,
    pin: Option<[u8; 32]>,
    alpn: &[&[u8]],
) -> Result<Arc<ClientConfig>, ConfigError> {
    let mut provider = aws_lc_rs::default_provider();
    if !tls.cipher_suites.is_empty() {
        let tls13 = |suite: &rustls::SupportedCipherSuite| suite.tls13().is_some();
        let chosen = tls.cipher_suites.iter().map(|suite| cipher_suite(*suite));
        // Those of TLS 1.3 cannot be chosen, as in Traefik.
        provider.cipher_suites =
            aws_lc_rs::ALL_CIPHER_SUITES.iter().copied().filter(tls13).chain(chosen).collect();
    }
    let provider = Arc::new(provider);
    let versions = versions(tls)?;
    let verifier = Arc::new(verifier(tls, trust, pin, &provider)?);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = if trust.pairs.is_empty() {
        builder.with_no_client_auth()
    } else {
        let pairs = trust
            .pairs
            .iter()
            .map(|pair| {
                CertifiedKey::from_der(pair.chain.clone(), pair.key.clone_key(), &provider).map(Arc::new)
            })
            .collect::<Result<_, _>>()?;
        builder.with_client_cert_resolver(Arc::new(ClientCertificates(pairs)))
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

fn versions(tls: &UpstreamTls) -> Result<Vec<&'static SupportedProtocolVersion>, ConfigError> {
    let versions: Vec<_> = [(TlsVersion::Tls13, &version::TLS13), (TlsVersion::Tls12, &version::TLS12)]
        .into_iter()
        .filter(|(version, _)| {
            tls.min_version.is_none_or(|min| min <= *version)
                && tls.max_version.is_none_or(|max| *version <= max)
        })
        .map(|(_, version)| version)
        .collect();
    if versions.is_empty() { Err(ConfigError::NoVersion) } else { Ok(versions) }
}

fn cipher_suite(suite: CipherSuite) -> rustls::SupportedCipherSuite {
    use rustls::crypto::aws_lc_rs::cipher_suite::{
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    };
    match suite {
        CipherSuite::EcdsaAes128 => TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdsaAes256 => TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdsaChaCha20 => TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite::RsaAes128 => TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::RsaAes256 => TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::RsaChaCha20 => TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    }
}

/// The system's roots, read once.
struct System {
    /// Empty where there is no bundle: nothing is trusted then.
    roots: Arc<RootCertStore>,
    /// The same for Pingora, where it cannot read them itself.
    fallback: Option<Arc<CaType>>,
    /// Pingora reads them too, and ends the process over one that it cannot use.
    pingora_can: bool,
}

static SYSTEM: LazyLock<System> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let all = found.certs.len();
    let certificates: Vec<_> = found
        .certs
        .into_iter()
        .filter(|root| roots.add(root.clone()).is_ok() && X509Certificate::from_der(root).is_ok())
        .collect();
    let pingora_can = found.errors.is_empty() && certificates.len() == all;
    if certificates.is_empty() {
        tracing::warn!(
            errors = ?found.errors,
            "no trusted certificate on this system: HTTPS servers without a CA file or a pin are refused"
        );
    }
    let fallback = (!pingora_can && !certificates.is_empty()).then(|| wrapped(&certificates));
    System { roots: Arc::new(roots), fallback, pingora_can }
});

/// The file that Pingora shall read its roots from; none: the system's.
pub(super) fn ca_file() -> Option<String> {
    (!SYSTEM.pingora_can).then(|| NO_ROOTS.to_owned())
}

fn verifier(
    tls: &UpstreamTls,
    trust: &Trust,
    pin: Option<[u8; 32]>,
    provider: &Arc<CryptoProvider>,
) -> Result<Verifier, ConfigError> {
    let chain = if pin.is_some() || tls.skip_verify {
        None
    } else {
        let roots = if trust.roots.is_empty() {
            Arc::clone(&SYSTEM.roots)
        } else {
            let mut roots = RootCertStore::empty();
            for root in &trust.roots {
                roots.add(root.clone())?;
            }
            Arc::new(roots)
        };
        Some(WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider)).build()?)
    };
    Ok(Verifier {
        chain,
        pin,
        uri: tls.peer_uri.clone(),
        algorithms: provider.signature_verification_algorithms,
    })
}

/// What a server's certificate must be. The signature of the handshake is always verified: whoever shows a
/// certificate has its key.
#[derive(Debug)]
struct Verifier {
    /// Chain, time, purpose and name; none: not looked at.
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// Exactly this certificate.
    pin: Option<[u8; 32]>,
    /// A URI among its names. As in Traefik, also where the chain is not looked at.
    uri: Option<Box<str>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(pin) = &self.pin
            && digest(leaf) != *pin
        {
            return Err(rustls::Error::General(WRONG_PIN.to_owned()));
        }
        if let Some(chain) = &self.chain {
            chain.verify_server_cert(leaf, intermediates, name, ocsp, now)?;
        }
        if let Some(uri) = &self.uri
            && !has_uri(leaf, uri).ok_or(CertificateError::BadEncoding)?
        {
            return Err(rustls::Error::General(WRONG_URI.to_owned()));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// In an error: the certificate is not the pinned one.
const WRONG_PIN: &str = "the certificate is not the pinned one";
/// In an error: no name of the certificate is the URI.
const WRONG_URI: &str = "no name of the certificate is the URI";

/// SHA-256 of a certificate (DER).
fn digest(certificate: &[u8]) -> [u8; 32] {
    let digest = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, certificate);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Whether this URI is among the names of a certificate; none: it cannot be parsed.
fn has_uri(certificate: &[u8], uri: &str) -> Option<bool> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()?;
    Some(names.is_some_and(|names| {
        names.value.general_names.iter().any(|name| matches!(name, GeneralName::URI(name) if *name == uri))
    }))
}

/// Our certificates: the first that the server can verify a signature of.
#[derive(Debug)]
struct ClientCertificates(Vec<Arc<CertifiedKey>>);

impl rustls::client::ResolvesClientCert for ClientCertificates {
    fn resolve(&self, issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let signs = |pair: &&Arc<CertifiedKey>| pair.key.choose_scheme(schemes).is_some();
        // By issuer first, as in Go; the first of them where none is named, or none fits and the server shall say no.
        let issued = |pair: &&Arc<CertifiedKey>| {
            pair.cert.iter().any(|certificate| {
                X509Certificate::from_der(certificate)
                    .is_ok_and(|(_, certificate)| issuers.contains(&certificate.issuer().as_raw()))
            })
        };
        let fitting = self.0.iter().filter(signs);
        fitting.clone().find(issued).or_else(|| fitting.clone().next()).cloned()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use config::routing::transport::Transport;
    use proptest::prelude::*;

    use super::*;

    /// A setting in which each part is there or not, with few values, so that parts meet in all combinations.
    #[derive(Debug, Clone, PartialEq)]
    struct Setting {
        name: &'static str,
        pin: Option<[u8; 32]>,
        skip_verify: bool,
        roots: Vec<u8>,
        uri: Option<&'static str>,
        min: Option<TlsVersion>,
        max: Option<TlsVersion>,
        suites: usize,
        disable_http2: bool,
        is_switching: bool,
    }

    impl Setting {
        fn group(&self) -> u64 {
            let mut transport = Transport { disable_http2: self.disable_http2, ..Transport::default() };
            transport.tls = UpstreamTls {
                skip_verify: self.skip_verify,
                peer_uri: self.uri.map(Into::into),
                min_version: self.min,
                max_version: self.max,
                cipher_suites: [CipherSuite::RsaAes128, CipherSuite::EcdsaAes128][..self.suites].to_vec(),
                ..UpstreamTls::default()
            };
            // As if each had one byte.
            let roots = self.roots.iter().map(|byte| CertificateDer::from(vec![*byte])).collect();
            let trust = Trust { roots, pairs: Vec::new() };
            group(&Reach { transport: Arc::new(transport), trust }, self.name, self.pin, self.is_switching)
        }
    }

    fn setting() -> impl Strategy<Value = Setting> {
        let version = || prop::sample::select(vec![None, Some(TlsVersion::Tls12), Some(TlsVersion::Tls13)]);
        let names = prop::sample::select(vec!["a.test", "b.test"]);
        let pins = prop::sample::select(vec![None, Some([0; 32]), Some([1; 32])]);
        let uris = prop::sample::select(vec![None, Some("spiffe://a"), Some("spiffe://b")]);
        let roots = prop::collection::vec(0..3_u8, 0..3);
        let flags = any::<(bool, bool, bool)>();
        (names, pins, roots, uris, version(), version(), 0..3_usize, flags).prop_map(
            |(name, pin, roots, uri, min, max, suites, (skip_verify, disable_http2, is_switching))| Setting {
                name,
                pin,
                skip_verify,
                roots,
                uri,
                min,
                max,
                suites,
                disable_http2,
                is_switching,
            },
        )
    }

    proptest! {
        #[test]
        fn two_settings_share_connections_only_if_they_are_equal(one in setting(), other in setting()) {
            prop_assert_eq!(one.group() == other.group(), one == other);
            prop_assert_eq!(one.group(), one.clone().group());
        }
    }
}
