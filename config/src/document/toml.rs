//! TOML.
use std::path::Path;

use super::Node;
use crate::problem::Problem;

/// Reads a TOML document.
pub fn parse_toml(_text: &str, path: &Path) -> Result<Node, Problem> {
    Err(Problem::error(crate::Origin::file(path, 0, 0), "", ""))
}
