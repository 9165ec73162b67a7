//! TLS towards servers: one configuration for a set of trust.

use std::sync::{Arc, LazyLock};

use config::routing::tls::{CipherSuite, TlsVersion, UpstreamTls};
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

use crate::snapshot::trust::Trust;

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

/// The system's roots, read once. Empty where there is no bundle: nothing is trusted then.
static SYSTEM_ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        tracing::warn!(
            errors = ?found.errors,
            "no trusted certificate on this system: servers that are not pinned and have no CA file are refused"
        );
    }
    Arc::new(store)
});

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
            Arc::clone(&SYSTEM_ROOTS)
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
