//! TLS settings that are valid: options, certificates, the default certificate.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::name::TlsOptionsName;
use crate::problem::Origin;
use crate::secret::Secret;

/// PEM text, or the file that holds it. Files are read by the control plane, each time they change.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pem {
    /// A file.
    File(PathBuf),
    /// The text itself. May hold a private key, and so it never prints.
    Text(Arc<str>),
}

impl Pem {
    /// As Traefik tells them apart: what holds `-----BEGIN` is text.
    pub fn new(written: &str) -> Self {
        if written.contains("-----BEGIN") {
            Self::Text(Arc::from(written))
        } else {
            Self::File(PathBuf::from(written))
        }
    }

    /// The file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Text(_) => None,
        }
    }
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.fmt(f),
            Self::Text(_) => f.write_str("(text)"),
        }
    }
}

/// All TLS settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tls {
    /// Options by qualified name, but for `default`, which is always there. The error says why a set cannot be used:
    /// handshakes for hosts that ask for it are refused.
    pub options: BTreeMap<TlsOptionsName, Result<Arc<TlsOptions>, Arc<str>>>,
    /// `tls.certificates`, each pair once.
    pub certificates: Vec<CertificateSource>,
    /// What names without a certificate get.
    pub default_certificate: DefaultCertificate,
}

/// A pair as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSource {
    /// Chain, leaf first.
    pub chain: Pem,
    /// Private key.
    pub key: Pem,
    /// Where it was written.
    pub origin: Origin,
}

/// What a name without a certificate gets, unless its options say `sniStrict`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DefaultCertificate {
    /// A self-signed one, made at the start.
    #[default]
    Generated,
    /// `defaultCertificate`.
    Pair(CertificateSource),
    /// `defaultGeneratedCert`: from a certificate resolver; the self-signed one until it is there.
    Resolver {
        /// Name of the resolver.
        resolver: Arc<str>,
        /// Names of the certificate.
        domain: Domain,
        /// Where it was written.
        origin: Origin,
    },
}

/// Names of one certificate: ASCII, lower case, no trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain {
    /// The first.
    pub main: Arc<str>,
    /// The others, in order, none twice.
    pub sans: Vec<Arc<str>>,
}

impl Domain {
    /// All names, the main one first.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        std::iter::once(&self.main).chain(&self.sans)
    }
}

/// How a TLS connection is made: one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsOptions {
    /// Lowest version (1.2: older ones are not spoken, and asking for one is a problem).
    pub min_version: TlsVersion,
    /// Highest version.
    pub max_version: TlsVersion,
    /// Cipher suites of TLS 1.2 in order; empty: all of ours. Those of TLS 1.3 cannot be chosen.
    pub cipher_suites: Vec<CipherSuite>,
    /// Key exchange groups in order; empty: all of ours, X25519MLKEM768 first.
    pub curves: Vec<Curve>,
    /// Application protocols in order (`h2`, `http/1.1`).
    pub alpn: Vec<Box<str>>,
    /// No certificate for the name: refuse the handshake.
    pub sni_strict: bool,
    /// Client certificates.
    pub client_auth: ClientAuth,
    /// Resumption by ticket.
    pub session_tickets: bool,
}

impl Default for TlsOptions {
    /// What `default` is where nobody wrote it.
    fn default() -> Self {
        Self {
            min_version: TlsVersion::Tls12,
            max_version: TlsVersion::Tls13,
            cipher_suites: Vec::new(),
            curves: Vec::new(),
            alpn: vec!["h2".into(), "http/1.1".into()],
            sni_strict: false,
            client_auth: ClientAuth::None,
            session_tickets: true,
        }
    }
}

/// A version of TLS that we speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// 1.2.
    Tls12,
    /// 1.3.
    Tls13,
}

/// A cipher suite of TLS 1.2 that we speak: ephemeral key exchange and AEAD only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CipherSuite {
    /// `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`.
    EcdsaAes128,
    /// `TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384`.
    EcdsaAes256,
    /// `TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256`.
    EcdsaChaCha20,
    /// `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`.
    RsaAes128,
    /// `TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384`.
    RsaAes256,
    /// `TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256`.
    RsaChaCha20,
}

/// A key exchange group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// `X25519MLKEM768`.
    X25519MlKem768,
    /// `X25519`.
    X25519,
    /// `CurveP256`.
    P256,
    /// `CurveP384`.
    P384,
    /// `CurveP521`.
    P521,
}

/// Traefik's five modes of client certificates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ClientAuth {
    /// `NoClientCert`: not asked for.
    #[default]
    None,
    /// `RequestClientCert`: asked for; none, or any, is fine.
    Request,
    /// `RequireAnyClientCert`: one must come, whoever signed it.
    RequireAny,
    /// `VerifyClientCertIfGiven`: none is fine; one that comes must be signed by these.
    VerifyIfGiven(Vec<Pem>),
    /// `RequireAndVerifyClientCert`: one must come and be signed by these.
    RequireAndVerify(Vec<Pem>),
}

impl ClientAuth {
    /// Who may have signed a client's certificate, where that is looked at.
    pub fn roots(&self) -> &[Pem] {
        match self {
            Self::None | Self::Request | Self::RequireAny => &[],
            Self::VerifyIfGiven(roots) | Self::RequireAndVerify(roots) => roots,
        }
    }
}

/// The TLS block of a router that ends TLS here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterTls {
    /// Options in force: those written, or `default` where routers of one host disagree (as in Traefik).
    pub options: TlsOptionsName,
    /// Certificate resolver, if one was named and exists.
    pub resolver: Option<Arc<str>>,
    /// Names of the certificates that are asked for: `tls.domains`, else the names in the rule, as one certificate.
    /// Empty without a resolver, and where the rule has no name.
    pub domains: Vec<Domain>,
}

/// TLS towards servers: one set of trust. What differs in any of it never shares a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct UpstreamTls {
    /// Name to send and to verify; none: the host of the server's URL.
    pub server_name: Option<Box<str>>,
    /// Take any certificate.
    pub skip_verify: bool,
    /// Who may have signed it; empty: the system's.
    pub roots: Vec<Pem>,
    /// Our certificate for servers that ask for one: chain and key.
    pub client_pairs: Vec<(Pem, Pem)>,
    /// URI that must be among the certificate's names.
    pub peer_uri: Option<Box<str>>,
    /// Lowest version.
    pub min_version: Option<TlsVersion>,
    /// Highest version.
    pub max_version: Option<TlsVersion>,
    /// Cipher suites of TLS 1.2 in order; empty: all of ours.
    pub cipher_suites: Vec<CipherSuite>,
}

impl UpstreamTls {
    /// Every PEM file that it names.
    pub fn pems(&self) -> impl Iterator<Item = &Pem> {
        self.roots.iter().chain(self.client_pairs.iter().flat_map(|(chain, key)| [chain, key]))
    }
}

/// A key is often written in place: it is a secret until it is known to be a path.
impl From<&Secret<String>> for Pem {
    fn from(secret: &Secret<String>) -> Self {
        Self::new(secret.expose())
    }
}
