//! HTTP middlewares.

mod access;
mod content;
mod limits;
mod path;

pub use access::{
    RawBasicAuth, RawClientCertInfo, RawClientTls, RawDigestAuth, RawForwardAuth, RawGeo, RawIpAllowList,
    RawIpStrategy, RawIpWhiteList, RawIssuerInfo, RawPassTlsClientCert, RawSubjectInfo,
};
pub use content::{RawCompress, RawContentType, RawEncodedCharacters, RawErrorPage, RawGrpcWeb, RawHeaders};
pub use limits::{
    RawBuffering, RawCircuitBreaker, RawInFlightReq, RawRateLimit, RawRedis, RawRetry, RawSourceCriterion,
};
pub use path::{
    RawAddPrefix, RawRedirectRegex, RawRedirectScheme, RawReplacePath, RawReplacePathRegex, RawStripPrefix,
    RawStripPrefixRegex,
};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::value::{is_default, show_tree};
use crate::document::stand_alone;

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

/// `chain`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RawChain {
    /// In order, as referenced.
    #[serde(skip_serializing_if = "is_default")]
    pub middlewares: Vec<String>,
}
