//! Certificate resolvers as the program uses them: `certificatesResolvers.<name>.acme`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::EntryPointName;
use crate::routing::tls::Pem;
use crate::secret::Secret;

/// Below it, ACME servers look for what proves a name to them (HTTP-01, RFC 8555 section 8.3).
pub const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";

/// A certificate resolver: an account at an ACME server, and how names are proved to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateResolver {
    /// Its name, as routers refer to it.
    pub name: Arc<str>,
    /// Directory URL of the ACME server (Let's Encrypt's by default).
    pub ca_server: String,
    /// Contact; optional at most servers.
    pub email: Option<String>,
    /// The storage file, in Traefik's format (`acme.json` in the working directory by default, as in Traefik).
    pub storage: PathBuf,
    /// Kind of key of new certificates.
    pub key_type: KeyType,
    /// Lifetime that is expected where the server has no renewal information and the certificate says nothing else
    /// (`certificatesDuration`, 90 days).
    pub certificates_duration: Duration,
    /// Common name of the topmost issuer that is wanted, where the server offers several chains.
    pub preferred_chain: Option<String>,
    /// Profile that is asked for.
    pub profile: Option<String>,
    /// No common name in the request.
    pub disable_common_name: bool,
    /// Binding to an account outside of ACME.
    pub external_account: Option<ExternalAccount>,
    /// Who is believed to be the ACME server.
    pub trust: CaTrust,
    /// One request to the server, from the connect to the last byte (`clientTimeout`, 120 s).
    pub client_timeout: Duration,
    /// To the head of its answer (`clientResponseHeaderTimeout`, 30 s).
    pub response_header_timeout: Duration,
    /// From the finalised order to the certificate (`certificateTimeout`, 30 s).
    pub certificate_timeout: Duration,
    /// How names are proved. At least one is set.
    pub challenges: Challenges,
}

/// `keyType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyType {
    /// ECDSA P-256.
    Ec256,
    /// ECDSA P-384.
    Ec384,
    /// RSA, 2048 bits.
    Rsa2048,
    /// RSA, 4096 bits: Traefik's default.
    #[default]
    Rsa4096,
    /// RSA, 8192 bits.
    Rsa8192,
}

/// `eab`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalAccount {
    /// Key identifier.
    pub kid: String,
    /// The key, decoded from base64url.
    pub hmac: Secret<Vec<u8>>,
}

/// `caCertificates`, `caServerName`, `caSystemCertPool`; also from `LEGO_CA_CERTIFICATES`, `LEGO_CA_SERVER_NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CaTrust {
    /// Roots; empty: the system's.
    pub roots: Vec<Pem>,
    /// Name to verify in place of the URL's host.
    pub server_name: Option<String>,
    /// The system's roots too, beside `roots`.
    pub system_roots: bool,
}

/// How names are proved. With several, the first that is offered is used: TLS-ALPN, HTTP, DNS; wildcards: DNS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Challenges {
    /// TLS-ALPN-01 on every TLS entry point.
    pub tls: Option<TlsChallenge>,
    /// HTTP-01 on one entry point.
    pub http: Option<HttpChallenge>,
    /// DNS-01.
    pub dns: Option<DnsChallenge>,
}

/// `tlsChallenge`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsChallenge {
    /// Waited before the server is asked to look.
    pub delay: Duration,
}

/// `httpChallenge`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpChallenge {
    /// Where tokens are answered.
    pub entry_point: EntryPointName,
    /// Waited before the server is asked to look.
    pub delay: Duration,
}

/// `dnsChallenge`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsChallenge {
    /// lego's code of the provider: `cloudflare`, `rfc2136`, `exec`, …
    pub provider: String,
    /// DNS servers (`host:port`) to ask in place of the system's.
    pub resolvers: Vec<String>,
    /// How it is made sure that the record is seen.
    pub propagation: Propagation,
    /// Hearthgate: variables of the provider, written here (`credentials: {CF_DNS_API_TOKEN: …}`), so that two
    /// resolvers can have different ones. Names in upper case; what is not here comes from the environment.
    pub credentials: BTreeMap<String, Secret<String>>,
}

/// `dnsChallenge.propagation`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Propagation {
    /// Waited before the first look.
    pub delay_before_checks: Duration,
    /// Do not look at all.
    pub disable_checks: bool,
    /// Do not look at the authoritative servers.
    pub disable_authoritative: bool,
    /// Look at every recursive server of `resolvers` too.
    pub require_all_recursive: bool,
}
