//! Options of middlewares about header fields and bodies: headers, encoded characters, error pages, compression, content types.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::value::{is_default, show_headers};
use crate::document::TextMap;

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
