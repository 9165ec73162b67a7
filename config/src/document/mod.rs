//! One tree of values with places, whatever it was written in, and the one decoder from such a tree into the
//! `raw` types.
//!
//! Files, labels, flags and variables differ in how a value is written, not in what it means: each becomes a
//! [`Node`] tree, and [`decode()`] turns a tree into any `serde` type with Traefik's rules: keys of structures in
//! any case, keys of maps as written, `10s` or `10` as a duration, `a, b` as a list where labels write lists so.
//!
//! Depth and size are bounded everywhere: documents and labels are written by others.

mod decode;
mod duration;
mod shape;
mod toml;
mod tree;
mod yaml;

#[cfg(test)]
mod tests;

pub use decode::{DecodeError, Decoded, Style, TextMap, decode, stand_alone};
pub use duration::{GoDuration, ParseDurationError};
pub use shape::Shape;
pub use toml::parse_toml;
pub use tree::tree_from_paths;
pub use yaml::parse_yaml;

use crate::problem::Origin;

/// Largest document that is read.
const DOCUMENT_BYTES: usize = 16 << 20;

/// Deepest nesting that is read: far beyond any real key, far below the end of a thread's stack.
const DEPTH: usize = 64;

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
    /// A value and keys below it under one path (`tls=true` and `tls.options=x`), which only labels, flags and
    /// variables can write.
    Block {
        /// The value of the path itself.
        text: String,
        /// What is below it.
        entries: Vec<(Key, Node)>,
    },
}

/// A key and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// As written.
    pub text: String,
    /// Where.
    pub origin: Origin,
}

impl Node {
    /// Nothing, written at `origin`.
    pub fn null(origin: Origin) -> Self {
        Self { value: Value::Null, origin }
    }

    /// A map with nothing in it, written at `origin`.
    pub fn empty(origin: Origin) -> Self {
        Self { value: Value::Map(Vec::new()), origin }
    }

    /// The keys below this node; none for anything but a map or block.
    pub fn entries(&self) -> &[(Key, Self)] {
        match &self.value {
            Value::Map(entries) | Value::Block { entries, .. } => entries,
            Value::Null | Value::Scalar { .. } | Value::List(_) => &[],
        }
    }

    /// What is below `name`, compared without case.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.entries().iter().find(|(key, _)| key.text.eq_ignore_ascii_case(name)).map(|(_, node)| node)
    }

    /// The text of a scalar, or of a block's own value.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } | Value::Block { text, .. } => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// True where nothing was written: an empty value or a map or list with nothing in it.
    pub fn is_empty(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::List(items) => items.is_empty(),
            Value::Map(entries) => entries.is_empty(),
            Value::Scalar { .. } | Value::Block { .. } => false,
        }
    }
}
