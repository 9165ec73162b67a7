//! Options of middlewares about what changes the path or answers with another: prefixes, replacements, redirects.

use serde::{Deserialize, Serialize};

use super::super::value::is_default;

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
