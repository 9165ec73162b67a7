//! Decoding a tree into `serde` types with Traefik's rules.
//!
//! `serde` stops at the first error. Here every unknown key is noted and passed over, and a value of a wrong
//! type is noted and the tree decoded again without it, so that the user sees all that is wrong at once.

mod access;
mod deserializer;
mod failure;
mod special;

use std::cell::RefCell;
use std::collections::HashSet;

use serde::de::DeserializeOwned;

use super::Node;
use crate::problem::Origin;
use deserializer::NodeDeserializer;
use failure::{Context, Part, Path};

pub(super) use special::{NODE, TEXT_MAP, pass_nothing};
pub use special::{TextMap, stand_alone};

/// Wrong values that are looked for before giving up; unknown keys are not counted.
const WRONG_VALUES: usize = 20;

/// Unknown keys that are reported of one tree.
const UNKNOWN_KEYS: usize = 100;

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

/// Decodes a tree. All unknown keys and wrong values are reported, not the first one alone.
///
/// Structures are matched without regard to case, maps keep their keys. An empty value is a setting that was
/// not made. Do not use `#[serde(flatten)]` or `#[serde(untagged)]` with it: `serde` then keeps the values for
/// itself, and places and the rules for keys are lost.
pub fn decode<T: DeserializeOwned>(node: &Node, style: Style) -> Decoded<T> {
    let mut wrong = Vec::new();
    let mut skipped = HashSet::new();
    loop {
        let context = Context { style, skipped: &skipped, unknown: RefCell::default() };
        let path = Path { parent: None, part: Part::Root };
        let result = T::deserialize(NodeDeserializer::new(node, &context, &path));
        let unknown = context.unknown.take();
        match result {
            Ok(value) if wrong.is_empty() && unknown.is_empty() => return Ok(value),
            Ok(_) => wrong.extend(unknown),
            Err(failure) => {
                let failure = failure.at(node, &path);
                let again = failure.address.is_some_and(|address| skipped.insert(address));
                wrong.push(failure.into_error(node));
                if again && wrong.len() < WRONG_VALUES {
                    continue;
                }
                wrong.extend(unknown);
            }
        }
        wrong.sort_by(|a, b| (&a.origin, &a.path).cmp(&(&b.origin, &b.path)));
        wrong.dedup();
        return Err(wrong);
    }
}
