//! TLS options, certificates and stores, and transports towards servers.

use serde::{Deserialize, Serialize};

use super::RawDomain;
use super::value::{is_default, seconds, show_secret};
use crate::document::GoDuration;
use crate::secret::Secret;

/// `tls.certificates[]`, and client pairs of transports: a path or PEM text each.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawCertificate {
    /// Certificate chain.
    #[serde(skip_serializing_if = "is_default")]
    pub cert_file: String,
    /// Private key.
    #[serde(serialize_with = "show_secret", skip_serializing_if = "is_default")]
    pub key_file: Secret<String>,
    /// Only `default` exists.
    #[serde(skip_serializing_if = "is_default")]
    pub stores: Vec<String>,
}

/// `tls.options.<name>`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawTlsOptions {
    /// `VersionTLS12`.
    #[serde(skip_serializing_if = "is_default")]
    pub min_version: String,
    /// `VersionTLS13`.
    #[serde(skip_serializing_if = "is_default")]
    pub max_version: String,
    /// IANA names.
    #[serde(skip_serializing_if = "is_default")]
    pub cipher_suites: Vec<String>,
    /// Key exchange groups.
    #[serde(skip_serializing_if = "is_default")]
    pub curve_preferences: Vec<String>,
    /// Client certificates.
    #[serde(skip_serializing_if = "is_default")]
    pub client_auth: RawClientAuth,
    /// No certificate for the name: refuse the handshake.
    #[serde(skip_serializing_if = "is_default")]
    pub sni_strict: bool,
    /// Application protocols.
    #[serde(skip_serializing_if = "is_default")]
    pub alpn_protocols: Option<Vec<String>>,
    /// No resumption by ticket.
    #[serde(skip_serializing_if = "is_default")]
    pub disable_session_tickets: bool,
    /// Deprecated, no effect.
    #[serde(skip_serializing_if = "is_default")]
    pub prefer_server_cipher_suites: Option<bool>,
}

/// `tls.options.<name>.clientAuth`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawClientAuth {
    /// Paths or PEM texts.
    #[serde(skip_serializing_if = "is_default")]
    pub ca_files: Vec<String>,
    /// `RequireAndVerifyClientCert` and the like.
    #[serde(skip_serializing_if = "is_default")]
    pub client_auth_type: String,
}

/// `tls.stores.<name>`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawTlsStore {
    /// Certificate for names without one.
    #[serde(skip_serializing_if = "is_default")]
    pub default_certificate: Option<RawCertificate>,
    /// The same, from a certificate resolver.
    #[serde(skip_serializing_if = "is_default")]
    pub default_generated_cert: Option<RawGeneratedCertificate>,
}

/// `tls.stores.<name>.defaultGeneratedCert`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawGeneratedCertificate {
    /// Certificate resolver.
    #[serde(skip_serializing_if = "is_default")]
    pub resolver: String,
    /// Names.
    #[serde(skip_serializing_if = "is_default")]
    pub domain: Option<RawDomain>,
}

/// `http.serversTransports.<name>`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawServersTransport {
    /// Name to send and to verify.
    #[serde(skip_serializing_if = "is_default")]
    pub server_name: String,
    /// Take any certificate.
    #[serde(skip_serializing_if = "is_default")]
    pub insecure_skip_verify: bool,
    /// Paths or PEM texts; replace the system's.
    #[serde(rename = "rootCAs", skip_serializing_if = "is_default")]
    pub root_cas: Vec<String>,
    /// Client pairs.
    #[serde(skip_serializing_if = "is_default")]
    pub certificates: Vec<RawCertificate>,
    /// IANA names.
    #[serde(skip_serializing_if = "is_default")]
    pub cipher_suites: Vec<String>,
    /// `VersionTLS12`.
    #[serde(skip_serializing_if = "is_default")]
    pub min_version: String,
    /// `VersionTLS13`.
    #[serde(skip_serializing_if = "is_default")]
    pub max_version: String,
    /// Idle connections kept for a host.
    #[serde(skip_serializing_if = "is_default")]
    pub max_idle_conns_per_host: i64,
    /// Timeouts.
    #[serde(skip_serializing_if = "is_default")]
    pub forwarding_timeouts: Option<RawForwardingTimeouts>,
    /// HTTP/1.1 alone towards HTTPS servers.
    #[serde(rename = "disableHTTP2", skip_serializing_if = "is_default")]
    pub disable_http2: bool,
    /// URI that the server's certificate must carry.
    #[serde(rename = "peerCertURI", skip_serializing_if = "is_default")]
    pub peer_cert_uri: String,
    /// SPIFFE identities.
    #[serde(skip_serializing_if = "is_default")]
    pub spiffe: Option<RawSpiffe>,
}

/// `forwardingTimeouts` of a transport.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawForwardingTimeouts {
    /// To connect.
    pub dial_timeout: GoDuration,
    /// To the response head; 0 = none.
    pub response_header_timeout: GoDuration,
    /// Of idle connections.
    pub idle_conn_timeout: GoDuration,
    /// HTTP/2: silence before a ping; 0 = none.
    pub read_idle_timeout: GoDuration,
    /// HTTP/2: to the answer of a ping.
    pub ping_timeout: GoDuration,
}

impl Default for RawForwardingTimeouts {
    fn default() -> Self {
        Self {
            // Ours: Traefik waits for a connect for 30 s, and for an answer for ever.
            dial_timeout: seconds(5),
            response_header_timeout: seconds(60),
            idle_conn_timeout: seconds(90),
            read_idle_timeout: GoDuration::default(),
            ping_timeout: seconds(15),
        }
    }
}

/// `spiffe` of a transport.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawSpiffe {
    /// Allowed identities.
    #[serde(skip_serializing_if = "is_default")]
    pub ids: Vec<String>,
    /// Allowed trust domain.
    #[serde(skip_serializing_if = "is_default")]
    pub trust_domain: String,
}
