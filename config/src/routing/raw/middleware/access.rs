//! Options of middlewares about who may pass: addresses, passwords, an auth server, client certificates.

use serde::{Deserialize, Serialize};

use super::super::value::{is_default, show_secret, show_users};
use crate::document::stand_alone;
use crate::secret::Secret;

/// `ipStrategy`: which address is asked.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawIpStrategy {
    /// The n-th of `X-Forwarded-For` from the right.
    #[serde(skip_serializing_if = "is_default")]
    pub depth: i64,
    /// The right-most that is not among these.
    #[serde(rename = "excludedIPs", skip_serializing_if = "is_default")]
    pub excluded_ips: Vec<String>,
    /// Bits of IPv6 addresses that count.
    #[serde(skip_serializing_if = "is_default")]
    pub ipv6_subnet: Option<i64>,
}

/// `ipWhiteList`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawIpWhiteList {
    /// Addresses and ranges.
    #[serde(skip_serializing_if = "is_default")]
    pub source_range: Vec<String>,
    /// Which address is asked.
    #[serde(deserialize_with = "stand_alone", skip_serializing_if = "is_default")]
    pub ip_strategy: Option<RawIpStrategy>,
}

/// `ipAllowList`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawIpAllowList {
    /// Addresses and ranges.
    #[serde(skip_serializing_if = "is_default")]
    pub source_range: Vec<String>,
    /// Which address is asked.
    #[serde(deserialize_with = "stand_alone", skip_serializing_if = "is_default")]
    pub ip_strategy: Option<RawIpStrategy>,
    /// Status for the others; 403 when not set.
    #[serde(skip_serializing_if = "is_default")]
    pub reject_status_code: i64,
}

/// `tls` towards a neighbour: paths or PEM texts.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawClientTls {
    /// Authority.
    #[serde(skip_serializing_if = "is_default")]
    pub ca: String,
    /// Deprecated, ignored.
    #[serde(skip_serializing_if = "is_default")]
    pub ca_optional: Option<bool>,
    /// Client certificate.
    #[serde(skip_serializing_if = "is_default")]
    pub cert: String,
    /// Client key.
    #[serde(serialize_with = "show_secret", skip_serializing_if = "is_default")]
    pub key: Secret<String>,
    /// Take any certificate.
    #[serde(skip_serializing_if = "is_default")]
    pub insecure_skip_verify: bool,
}

/// `basicAuth`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawBasicAuth {
    /// `name:hash` entries.
    #[serde(serialize_with = "show_users", skip_serializing_if = "is_default")]
    pub users: Vec<Secret<String>>,
    /// A file of them.
    #[serde(skip_serializing_if = "is_default")]
    pub users_file: String,
    /// Name shown to the visitor.
    #[serde(skip_serializing_if = "is_default")]
    pub realm: String,
    /// Do not pass `Authorization` on.
    #[serde(skip_serializing_if = "is_default")]
    pub remove_header: bool,
    /// Header for the user's name.
    #[serde(skip_serializing_if = "is_default")]
    pub header_field: String,
}

/// `digestAuth`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawDigestAuth {
    /// `name:realm:hash` entries.
    #[serde(serialize_with = "show_users", skip_serializing_if = "is_default")]
    pub users: Vec<Secret<String>>,
    /// A file of them.
    #[serde(skip_serializing_if = "is_default")]
    pub users_file: String,
    /// Name shown to the visitor.
    #[serde(skip_serializing_if = "is_default")]
    pub realm: String,
    /// Do not pass `Authorization` on.
    #[serde(skip_serializing_if = "is_default")]
    pub remove_header: bool,
    /// Header for the user's name.
    #[serde(skip_serializing_if = "is_default")]
    pub header_field: String,
}

/// `forwardAuth`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawForwardAuth {
    /// Who is asked.
    #[serde(skip_serializing_if = "is_default")]
    pub address: String,
    /// TLS towards it.
    #[serde(skip_serializing_if = "is_default")]
    pub tls: Option<RawClientTls>,
    /// Deprecated: unset, true and false are three behaviours.
    #[serde(skip_serializing_if = "is_default")]
    pub trust_forward_header: Option<bool>,
    /// Headers of its answer that the server gets.
    #[serde(skip_serializing_if = "is_default")]
    pub auth_response_headers: Vec<String>,
    /// The same by pattern.
    #[serde(skip_serializing_if = "is_default")]
    pub auth_response_headers_regex: String,
    /// Headers that it gets; all when empty.
    #[serde(skip_serializing_if = "is_default")]
    pub auth_request_headers: Vec<String>,
    /// Its cookies that the client gets.
    #[serde(skip_serializing_if = "is_default")]
    pub add_auth_cookies_to_response: Vec<String>,
    /// Header of its answer with the user's name.
    #[serde(skip_serializing_if = "is_default")]
    pub header_field: String,
    /// It gets the body.
    #[serde(skip_serializing_if = "is_default")]
    pub forward_body: bool,
    /// Larger bodies are refused; -1 = no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub max_body_size: Option<i64>,
    /// Larger answers are refused; -1 = no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub max_response_body_size: Option<i64>,
    /// Pass its `Location` on as it is.
    #[serde(skip_serializing_if = "is_default")]
    pub preserve_location_header: bool,
    /// Ask with the request's method.
    #[serde(skip_serializing_if = "is_default")]
    pub preserve_request_method: bool,
    /// Where a 401 is redirected to.
    #[serde(rename = "authSigninURL", skip_serializing_if = "is_default")]
    pub auth_signin_url: String,
}

impl Default for RawForwardAuth {
    fn default() -> Self {
        Self {
            address: String::new(),
            tls: None,
            trust_forward_header: None,
            auth_response_headers: Vec::new(),
            auth_response_headers_regex: String::new(),
            auth_request_headers: Vec::new(),
            add_auth_cookies_to_response: Vec::new(),
            header_field: String::new(),
            forward_body: false,
            max_body_size: Some(-1),
            max_response_body_size: Some(-1),
            preserve_location_header: false,
            preserve_request_method: false,
            auth_signin_url: String::new(),
        }
    }
}

/// `passTLSClientCert`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawPassTlsClientCert {
    /// The whole certificate.
    #[serde(skip_serializing_if = "is_default")]
    pub pem: bool,
    /// Parts of it.
    #[serde(skip_serializing_if = "is_default")]
    pub info: Option<RawClientCertInfo>,
}

/// `passTLSClientCert.info`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawClientCertInfo {
    /// Its end.
    #[serde(skip_serializing_if = "is_default")]
    pub not_after: bool,
    /// Its begin.
    #[serde(skip_serializing_if = "is_default")]
    pub not_before: bool,
    /// Alternative names.
    #[serde(skip_serializing_if = "is_default")]
    pub sans: bool,
    /// Serial number.
    #[serde(skip_serializing_if = "is_default")]
    pub serial_number: bool,
    /// Of whom.
    #[serde(skip_serializing_if = "is_default")]
    pub subject: Option<RawSubjectInfo>,
    /// By whom.
    #[serde(skip_serializing_if = "is_default")]
    pub issuer: Option<RawIssuerInfo>,
}

/// `passTLSClientCert.info.subject`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawSubjectInfo {
    /// Part `C`.
    #[serde(skip_serializing_if = "is_default")]
    pub country: bool,
    /// Part `ST`.
    #[serde(skip_serializing_if = "is_default")]
    pub province: bool,
    /// Part `L`.
    #[serde(skip_serializing_if = "is_default")]
    pub locality: bool,
    /// Part `O`.
    #[serde(skip_serializing_if = "is_default")]
    pub organization: bool,
    /// Part `OU`.
    #[serde(skip_serializing_if = "is_default")]
    pub organizational_unit: bool,
    /// Part `CN`.
    #[serde(skip_serializing_if = "is_default")]
    pub common_name: bool,
    /// Part `SN`.
    #[serde(skip_serializing_if = "is_default")]
    pub serial_number: bool,
    /// Part `DC`.
    #[serde(skip_serializing_if = "is_default")]
    pub domain_component: bool,
}

/// `passTLSClientCert.info.issuer`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawIssuerInfo {
    /// Part `C`.
    #[serde(skip_serializing_if = "is_default")]
    pub country: bool,
    /// Part `ST`.
    #[serde(skip_serializing_if = "is_default")]
    pub province: bool,
    /// Part `L`.
    #[serde(skip_serializing_if = "is_default")]
    pub locality: bool,
    /// Part `O`.
    #[serde(skip_serializing_if = "is_default")]
    pub organization: bool,
    /// Part `CN`.
    #[serde(skip_serializing_if = "is_default")]
    pub common_name: bool,
    /// Part `SN`.
    #[serde(skip_serializing_if = "is_default")]
    pub serial_number: bool,
    /// Part `DC`.
    #[serde(skip_serializing_if = "is_default")]
    pub domain_component: bool,
}

/// Hearthgate: `geo`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawGeo {
    /// Countries that may pass, and no other.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_countries: Vec<String>,
    /// Countries that may not.
    #[serde(skip_serializing_if = "is_default")]
    pub deny_countries: Vec<String>,
    /// AS numbers that may pass, and no other.
    #[serde(rename = "allowASNs", skip_serializing_if = "is_default")]
    pub allow_asns: Vec<String>,
    /// AS numbers that may not.
    #[serde(rename = "denyASNs", skip_serializing_if = "is_default")]
    pub deny_asns: Vec<String>,
}
