//! HTTP middlewares.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::value::{is_default, milliseconds, seconds, show_headers, show_secret, show_tree, show_users};
use crate::document::{GoDuration, TextMap, stand_alone};
use crate::secret::Secret;

/// An HTTP middleware as written: one of these types.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawMiddleware {
    /// Puts a prefix in front of the path.
    #[serde(skip_serializing_if = "is_default")]
    pub add_prefix: Option<RawAddPrefix>,
    /// Takes a prefix off the path.
    #[serde(skip_serializing_if = "is_default")]
    pub strip_prefix: Option<RawStripPrefix>,
    /// The same by pattern.
    #[serde(skip_serializing_if = "is_default")]
    pub strip_prefix_regex: Option<RawStripPrefixRegex>,
    /// Puts another path in place.
    #[serde(skip_serializing_if = "is_default")]
    pub replace_path: Option<RawReplacePath>,
    /// The same by pattern.
    #[serde(skip_serializing_if = "is_default")]
    pub replace_path_regex: Option<RawReplacePathRegex>,
    /// Others, in order.
    #[serde(skip_serializing_if = "is_default")]
    pub chain: Option<RawChain>,
    /// Deprecated twin of `ipAllowList`.
    #[serde(skip_serializing_if = "is_default")]
    pub ip_white_list: Option<RawIpWhiteList>,
    /// Clients that may pass.
    #[serde(skip_serializing_if = "is_default")]
    pub ip_allow_list: Option<RawIpAllowList>,
    /// Headers of request and response.
    #[serde(skip_serializing_if = "is_default")]
    pub headers: Option<RawHeaders>,
    /// Reserved characters in encoded form.
    #[serde(skip_serializing_if = "is_default")]
    pub encoded_characters: Option<RawEncodedCharacters>,
    /// Pages in place of error answers.
    #[serde(skip_serializing_if = "is_default")]
    pub errors: Option<RawErrorPage>,
    /// Requests a time.
    #[serde(skip_serializing_if = "is_default")]
    pub rate_limit: Option<RawRateLimit>,
    /// Redirect by pattern.
    #[serde(skip_serializing_if = "is_default")]
    pub redirect_regex: Option<RawRedirectRegex>,
    /// Redirect to another scheme.
    #[serde(skip_serializing_if = "is_default")]
    pub redirect_scheme: Option<RawRedirectScheme>,
    /// User name and password.
    #[serde(skip_serializing_if = "is_default")]
    pub basic_auth: Option<RawBasicAuth>,
    /// The same by digest.
    #[serde(skip_serializing_if = "is_default")]
    pub digest_auth: Option<RawDigestAuth>,
    /// Asks a service.
    #[serde(skip_serializing_if = "is_default")]
    pub forward_auth: Option<RawForwardAuth>,
    /// Requests at one time.
    #[serde(skip_serializing_if = "is_default")]
    pub in_flight_req: Option<RawInFlightReq>,
    /// Whole bodies before they are passed on.
    #[serde(skip_serializing_if = "is_default")]
    pub buffering: Option<RawBuffering>,
    /// Pauses a failing service.
    #[serde(skip_serializing_if = "is_default")]
    pub circuit_breaker: Option<RawCircuitBreaker>,
    /// Smaller answers.
    #[serde(deserialize_with = "stand_alone", skip_serializing_if = "is_default")]
    pub compress: Option<RawCompress>,
    /// Tells the server about the client's certificate.
    #[serde(rename = "passTLSClientCert", skip_serializing_if = "is_default")]
    pub pass_tls_client_cert: Option<RawPassTlsClientCert>,
    /// Tries again.
    #[serde(skip_serializing_if = "is_default")]
    pub retry: Option<RawRetry>,
    /// Names the type of answers that have none.
    #[serde(deserialize_with = "stand_alone", skip_serializing_if = "is_default")]
    pub content_type: Option<RawContentType>,
    /// gRPC for browsers.
    #[serde(skip_serializing_if = "is_default")]
    pub grpc_web: Option<RawGrpcWeb>,
    /// Plug-ins, by alias.
    #[serde(serialize_with = "show_tree", skip_serializing_if = "is_default")]
    pub plugin: BTreeMap<String, serde_json::Value>,
    /// Hearthgate: where clients come from.
    #[serde(skip_serializing_if = "is_default")]
    pub geo: Option<RawGeo>,
    /// Hearthgate: with `labelScope: container`, other containers may use it.
    #[serde(skip_serializing_if = "is_default")]
    pub export: bool,
}

/// `addPrefix`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawAddPrefix {
    /// What is put in front.
    #[serde(skip_serializing_if = "is_default")]
    pub prefix: String,
}

/// `stripPrefix`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawStripPrefix {
    /// The first that matches goes.
    #[serde(skip_serializing_if = "is_default")]
    pub prefixes: Vec<String>,
    /// Deprecated.
    #[serde(skip_serializing_if = "is_default")]
    pub force_slash: Option<bool>,
}

/// `stripPrefixRegex`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawStripPrefixRegex {
    /// The first that matches goes.
    #[serde(skip_serializing_if = "is_default")]
    pub regex: Vec<String>,
}

/// `replacePath`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawReplacePath {
    /// The new path.
    #[serde(skip_serializing_if = "is_default")]
    pub path: String,
}

/// `replacePathRegex`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawReplacePathRegex {
    /// Pattern.
    #[serde(skip_serializing_if = "is_default")]
    pub regex: String,
    /// What takes its place.
    #[serde(skip_serializing_if = "is_default")]
    pub replacement: String,
}

/// `chain`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawChain {
    /// In order, as referenced.
    #[serde(skip_serializing_if = "is_default")]
    pub middlewares: Vec<String>,
}

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

/// `headers`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawHeaders {
    /// Set, or removed when empty.
    #[serde(serialize_with = "show_headers", skip_serializing_if = "is_default")]
    pub custom_request_headers: TextMap,
    /// Set, or removed when empty.
    #[serde(serialize_with = "show_headers", skip_serializing_if = "is_default")]
    pub custom_response_headers: TextMap,
    /// CORS.
    #[serde(skip_serializing_if = "is_default")]
    pub access_control_allow_credentials: bool,
    /// CORS.
    #[serde(skip_serializing_if = "is_default")]
    pub access_control_allow_headers: Vec<String>,
    /// CORS.
    #[serde(skip_serializing_if = "is_default")]
    pub access_control_allow_methods: Vec<String>,
    /// CORS.
    #[serde(skip_serializing_if = "is_default")]
    pub access_control_allow_origin_list: Vec<String>,
    /// CORS.
    #[serde(skip_serializing_if = "is_default")]
    pub access_control_allow_origin_list_regex: Vec<String>,
    /// CORS.
    #[serde(skip_serializing_if = "is_default")]
    pub access_control_expose_headers: Vec<String>,
    /// CORS.
    #[serde(skip_serializing_if = "is_default")]
    pub access_control_max_age: i64,
    /// CORS.
    #[serde(skip_serializing_if = "is_default")]
    pub add_vary_header: bool,
    /// Hosts that may be asked for.
    #[serde(skip_serializing_if = "is_default")]
    pub allowed_hosts: Vec<String>,
    /// Headers that carry the host.
    #[serde(skip_serializing_if = "is_default")]
    pub hosts_proxy_headers: Vec<String>,
    /// No effect.
    #[serde(skip_serializing_if = "is_default")]
    pub ssl_redirect: Option<bool>,
    /// No effect.
    #[serde(skip_serializing_if = "is_default")]
    pub ssl_temporary_redirect: Option<bool>,
    /// No effect.
    #[serde(skip_serializing_if = "is_default")]
    pub ssl_host: Option<String>,
    /// Pairs that mean TLS.
    #[serde(skip_serializing_if = "is_default")]
    pub ssl_proxy_headers: TextMap,
    /// No effect.
    #[serde(skip_serializing_if = "is_default")]
    pub ssl_force_host: Option<bool>,
    /// `Strict-Transport-Security`.
    #[serde(skip_serializing_if = "is_default")]
    pub sts_seconds: i64,
    /// `Strict-Transport-Security`.
    #[serde(skip_serializing_if = "is_default")]
    pub sts_include_subdomains: bool,
    /// `Strict-Transport-Security`.
    #[serde(skip_serializing_if = "is_default")]
    pub sts_preload: bool,
    /// `Strict-Transport-Security` without TLS too.
    #[serde(rename = "forceSTSHeader", skip_serializing_if = "is_default")]
    pub force_sts_header: bool,
    /// `X-Frame-Options: DENY`.
    #[serde(skip_serializing_if = "is_default")]
    pub frame_deny: bool,
    /// `X-Frame-Options`.
    #[serde(skip_serializing_if = "is_default")]
    pub custom_frame_options_value: String,
    /// `X-Content-Type-Options`.
    #[serde(skip_serializing_if = "is_default")]
    pub content_type_nosniff: bool,
    /// `X-Xss-Protection`.
    #[serde(skip_serializing_if = "is_default")]
    pub browser_xss_filter: bool,
    /// `X-Xss-Protection`.
    #[serde(rename = "customBrowserXSSValue", skip_serializing_if = "is_default")]
    pub custom_browser_xss_value: String,
    /// `Content-Security-Policy`.
    #[serde(skip_serializing_if = "is_default")]
    pub content_security_policy: String,
    /// `Content-Security-Policy-Report-Only`.
    #[serde(skip_serializing_if = "is_default")]
    pub content_security_policy_report_only: String,
    /// `Public-Key-Pins`.
    #[serde(skip_serializing_if = "is_default")]
    pub public_key: String,
    /// `Referrer-Policy`.
    #[serde(skip_serializing_if = "is_default")]
    pub referrer_policy: String,
    /// `Permissions-Policy`.
    #[serde(skip_serializing_if = "is_default")]
    pub permissions_policy: String,
    /// No effect.
    #[serde(skip_serializing_if = "is_default")]
    pub feature_policy: Option<String>,
    /// Switches host check and HSTS off.
    #[serde(skip_serializing_if = "is_default")]
    pub is_development: bool,
}

/// `encodedCharacters`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawEncodedCharacters {
    /// Let `%2F` pass.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_encoded_slash: bool,
    /// Let `%5C` pass.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_encoded_back_slash: bool,
    /// Let `%00` pass.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_encoded_null_character: bool,
    /// Let `%3B` pass.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_encoded_semicolon: bool,
    /// Let `%25` pass.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_encoded_percent: bool,
    /// Let `%3F` pass.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_encoded_question_mark: bool,
    /// Let `%23` pass.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_encoded_hash: bool,
}

/// `errors`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawErrorPage {
    /// Codes and ranges.
    #[serde(skip_serializing_if = "is_default")]
    pub status: Vec<String>,
    /// From code or range to code.
    #[serde(skip_serializing_if = "is_default")]
    pub status_rewrites: BTreeMap<String, i64>,
    /// As referenced.
    #[serde(skip_serializing_if = "is_default")]
    pub service: String,
    /// What is asked of it.
    #[serde(skip_serializing_if = "is_default")]
    pub query: String,
    /// Headers that it is sent; all when not set.
    #[serde(skip_serializing_if = "is_default")]
    pub error_request_headers: Option<Vec<String>>,
}

/// `rateLimit`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawRateLimit {
    /// Requests a period; 0 = no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub average: i64,
    /// The period.
    pub period: GoDuration,
    /// At one time.
    pub burst: i64,
    /// Who is counted.
    #[serde(skip_serializing_if = "is_default")]
    pub source_criterion: Option<RawSourceCriterion>,
    /// Shared between gateways.
    #[serde(skip_serializing_if = "is_default")]
    pub redis: Option<RawRedis>,
}

impl Default for RawRateLimit {
    fn default() -> Self {
        Self { average: 0, period: seconds(1), burst: 1, source_criterion: None, redis: None }
    }
}

/// `sourceCriterion`: who is counted.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawSourceCriterion {
    /// By address.
    #[serde(deserialize_with = "stand_alone", skip_serializing_if = "is_default")]
    pub ip_strategy: Option<RawIpStrategy>,
    /// By header.
    #[serde(skip_serializing_if = "is_default")]
    pub request_header_name: String,
    /// By host.
    #[serde(skip_serializing_if = "is_default")]
    pub request_host: bool,
}

/// `rateLimit.redis`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawRedis {
    /// `host:port`.
    #[serde(skip_serializing_if = "is_default")]
    pub endpoints: Vec<String>,
    /// TLS towards it.
    #[serde(skip_serializing_if = "is_default")]
    pub tls: Option<RawClientTls>,
    /// User name.
    #[serde(skip_serializing_if = "is_default")]
    pub username: String,
    /// Password.
    #[serde(serialize_with = "show_secret", skip_serializing_if = "is_default")]
    pub password: Secret<String>,
    /// Database number.
    #[serde(skip_serializing_if = "is_default")]
    pub db: i64,
    /// Connections.
    #[serde(skip_serializing_if = "is_default")]
    pub pool_size: i64,
    /// Connections kept idle.
    #[serde(skip_serializing_if = "is_default")]
    pub min_idle_conns: i64,
    /// Connections at most.
    #[serde(skip_serializing_if = "is_default")]
    pub max_active_conns: i64,
    /// Timeout.
    #[serde(skip_serializing_if = "is_default")]
    pub read_timeout: Option<GoDuration>,
    /// Timeout.
    #[serde(skip_serializing_if = "is_default")]
    pub write_timeout: Option<GoDuration>,
    /// Timeout.
    #[serde(skip_serializing_if = "is_default")]
    pub dial_timeout: Option<GoDuration>,
}

impl Default for RawRedis {
    fn default() -> Self {
        Self {
            endpoints: vec!["localhost:6379".to_owned()],
            tls: None,
            username: String::new(),
            password: Secret::default(),
            db: 0,
            pool_size: 0,
            min_idle_conns: 0,
            max_active_conns: 0,
            read_timeout: Some(seconds(3)),
            write_timeout: Some(seconds(3)),
            dial_timeout: Some(seconds(5)),
        }
    }
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

/// `redirectRegex`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawRedirectRegex {
    /// Pattern.
    #[serde(skip_serializing_if = "is_default")]
    pub regex: String,
    /// What takes its place.
    #[serde(skip_serializing_if = "is_default")]
    pub replacement: String,
    /// 301 and 308.
    #[serde(skip_serializing_if = "is_default")]
    pub permanent: bool,
}

/// `redirectScheme`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawRedirectScheme {
    /// The new scheme.
    #[serde(skip_serializing_if = "is_default")]
    pub scheme: String,
    /// The new port.
    #[serde(skip_serializing_if = "is_default")]
    pub port: String,
    /// 301 and 308.
    #[serde(skip_serializing_if = "is_default")]
    pub permanent: bool,
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

/// `inFlightReq`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawInFlightReq {
    /// How many.
    #[serde(skip_serializing_if = "is_default")]
    pub amount: i64,
    /// Who is counted.
    #[serde(skip_serializing_if = "is_default")]
    pub source_criterion: Option<RawSourceCriterion>,
}

/// `buffering`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawBuffering {
    /// Larger bodies are refused; 0 = no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub max_request_body_bytes: i64,
    /// Beyond it, on disk.
    #[serde(skip_serializing_if = "is_default")]
    pub mem_request_body_bytes: i64,
    /// Larger answers are an error; 0 = no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub max_response_body_bytes: i64,
    /// Beyond it, on disk.
    #[serde(skip_serializing_if = "is_default")]
    pub mem_response_body_bytes: i64,
    /// When to try again.
    #[serde(skip_serializing_if = "is_default")]
    pub retry_expression: String,
}

impl Default for RawBuffering {
    fn default() -> Self {
        Self {
            max_request_body_bytes: 0,
            mem_request_body_bytes: 1_048_576,
            max_response_body_bytes: 0,
            mem_response_body_bytes: 1_048_576,
            retry_expression: String::new(),
        }
    }
}

/// `circuitBreaker`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawCircuitBreaker {
    /// When to pause.
    #[serde(skip_serializing_if = "is_default")]
    pub expression: String,
    /// Between looks.
    #[serde(skip_serializing_if = "is_default")]
    pub check_period: GoDuration,
    /// Pause.
    #[serde(skip_serializing_if = "is_default")]
    pub fallback_duration: GoDuration,
    /// Slow start after it.
    #[serde(skip_serializing_if = "is_default")]
    pub recovery_duration: GoDuration,
    /// Status during the pause.
    #[serde(skip_serializing_if = "is_default")]
    pub response_code: i64,
}

impl Default for RawCircuitBreaker {
    fn default() -> Self {
        Self {
            expression: String::new(),
            check_period: milliseconds(100),
            fallback_duration: seconds(10),
            recovery_duration: seconds(10),
            response_code: 503,
        }
    }
}

/// `compress`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawCompress {
    /// Types that are left alone.
    #[serde(skip_serializing_if = "is_default")]
    pub excluded_content_types: Vec<String>,
    /// The only types.
    #[serde(skip_serializing_if = "is_default")]
    pub included_content_types: Vec<String>,
    /// Smaller answers are left alone.
    #[serde(skip_serializing_if = "is_default")]
    pub min_response_body_bytes: i64,
    /// In order of preference.
    #[serde(skip_serializing_if = "is_default")]
    pub encodings: Vec<String>,
    /// For clients that name none.
    #[serde(skip_serializing_if = "is_default")]
    pub default_encoding: String,
}

impl Default for RawCompress {
    fn default() -> Self {
        Self {
            excluded_content_types: Vec::new(),
            included_content_types: Vec::new(),
            min_response_body_bytes: 1024,
            encodings: ["gzip", "br", "zstd"].map(str::to_owned).to_vec(),
            default_encoding: String::new(),
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

/// `retry`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawRetry {
    /// Tries in all.
    #[serde(skip_serializing_if = "is_default")]
    pub attempts: i64,
    /// Wait before the second.
    #[serde(skip_serializing_if = "is_default")]
    pub initial_interval: GoDuration,
    /// No new try after it; 0 = none.
    #[serde(skip_serializing_if = "is_default")]
    pub timeout: GoDuration,
    /// Larger bodies are not sent again.
    #[serde(skip_serializing_if = "is_default")]
    pub max_request_body_bytes: Option<i64>,
    /// Codes that count as failure.
    #[serde(skip_serializing_if = "is_default")]
    pub status: Vec<String>,
    /// Only codes count.
    #[serde(skip_serializing_if = "is_default")]
    pub disable_retry_on_network_error: bool,
    /// POST and the like too.
    #[serde(skip_serializing_if = "is_default")]
    pub retry_non_idempotent_method: bool,
}

impl Default for RawRetry {
    fn default() -> Self {
        Self {
            attempts: 0,
            initial_interval: GoDuration::default(),
            timeout: GoDuration::default(),
            max_request_body_bytes: Some(2_097_152),
            status: Vec::new(),
            disable_retry_on_network_error: false,
            retry_non_idempotent_method: false,
        }
    }
}

/// `contentType`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawContentType {
    /// Deprecated: false switches it off.
    #[serde(skip_serializing_if = "is_default")]
    pub auto_detect: Option<bool>,
}

/// `grpcWeb`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawGrpcWeb {
    /// Origins that may ask.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_origins: Vec<String>,
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
