//! Trees from dotted paths: labels, flags, variables.
use super::{DecodeError, Node};
use crate::problem::Origin;

/// Builds a tree from `a.b[0].c` paths and their values (Traefik's label rules).
pub fn tree_from_paths<'a>(
    _paths: impl IntoIterator<Item = (&'a str, &'a str, Origin)>,
) -> (Node, Vec<DecodeError>) {
    (Node { value: super::Value::Null, origin: Origin::Gateway }, Vec::new())
}
