//! One tree of values with places, whatever it was written in, and the one decoder from such a tree into the
//! `raw` types.
//!
//! Files, labels, flags and variables differ in how a value is written, not in what it means: each becomes a
//! [`Node`] tree, and [`decode`] turns a tree into any `serde` type with Traefik's rules: keys of structures in
//! any case, keys of maps as written, `10s` or `10` as a duration, `a, b` as a list where labels write lists so.

mod decode;
mod toml;
mod tree;
mod yaml;

pub use decode::{DecodeError, Decoded, Style, TextMap, decode, stand_alone};
pub use toml::parse_toml;
pub use tree::tree_from_paths;
pub use yaml::parse_yaml;

use crate::problem::Origin;

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it was written.
    pub origin: Origin,
}

/// What a document can hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing: an empty YAML value.
    Null,
    /// A scalar as text, and whether the document marked it as a string (quoted, or TOML's string type).
    Scalar {
        /// The text as written, unquoted.
        text: String,
        /// True for a string; false for a number, a boolean or anything plain.
        string: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the document; keys as written. Keys appear once (a doubled key is a parse error in
    /// files).
    Map(Vec<(Key, Node)>),
}

/// A key and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// As written.
    pub text: String,
    /// Where.
    pub origin: Origin,
}
