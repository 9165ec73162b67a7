//! What went wrong, and where in the tree.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de;

use super::{DecodeError, Style};
use crate::document::Node;
use crate::problem::Origin;

pub(super) struct Context<'a> {
    pub(super) style: Style,
    /// Addresses of nodes with a wrong value, which are passed over.
    pub(super) skipped: &'a HashSet<usize>,
    pub(super) unknown: RefCell<Vec<DecodeError>>,
}

impl Context<'_> {
    pub(super) fn skips(&self, node: &Node) -> bool {
        !self.skipped.is_empty() && self.skipped.contains(&address(node))
    }
}

pub(super) fn address(node: &Node) -> usize {
    std::ptr::from_ref(node).addr()
}

/// Where in the tree, for messages: put together only when there is one.
pub(super) struct Path<'a> {
    pub(super) parent: Option<&'a Self>,
    pub(super) part: Part<'a>,
}

pub(super) enum Part<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
            if matches!(self.part, Part::Key(_)) && parent.parent.is_some() {
                f.write_str(".")?;
            }
        }
        match self.part {
            Part::Root => Ok(()),
            Part::Key(key) => f.write_str(key),
            Part::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// What went wrong and, once it passed the nearest node, where.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) message: String,
    pub(super) hint: Option<String>,
    pub(super) origin: Option<Origin>,
    pub(super) path: String,
    pub(super) address: Option<usize>,
}

impl Failure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, origin: None, path: String::new(), address: None }
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the place, unless a nearer one is known.
    pub(super) fn at(mut self, node: &Node, path: &Path<'_>) -> Self {
        if self.origin.is_none() {
            self.origin = Some(node.origin.clone());
            self.path = path.to_string();
            self.address = Some(address(node));
        }
        self
    }

    pub(super) fn into_error(self, root: &Node) -> DecodeError {
        let origin = self.origin.unwrap_or_else(|| root.origin.clone());
        DecodeError { origin, path: self.path, message: self.message, hint: self.hint }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("`{field}` is missing"))
    }
}
