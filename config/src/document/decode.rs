//! Decoding a tree into `serde` types with Traefik's rules.

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};

use super::Node;
use crate::problem::Origin;

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// YAML and TOML: typed scalars, lists as lists.
    File,
    /// Labels, flags and variables: all values are text, `a, b` is a list, blocks may stand alone.
    Text,
}

/// Why a tree could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// Where.
    pub origin: Origin,
    /// Path within the decoded tree: `tls.domains[0].main`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// A decoded value, or everything that is wrong with it.
pub type Decoded<T> = Result<T, Vec<DecodeError>>;

/// Decodes a tree. All unknown keys are reported, not the first one alone.
pub fn decode<T: DeserializeOwned>(_node: &Node, _style: Style) -> Decoded<T> {
    Err(Vec::new())
}

/// For `#[serde(deserialize_with)]`: a block that may stand alone (`tls=true`, `tls=` or `[..tls]` with nothing in it).
pub fn stand_alone<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer)
}

/// A map of text to text whose keys may contain dots (header names).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct TextMap(pub std::collections::BTreeMap<String, String>);
