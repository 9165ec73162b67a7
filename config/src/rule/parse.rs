//! Text -> [`Rule`].
use super::Rule;

/// Why a rule is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseRuleError {
    /// Column in the rule's text, in characters from 1.
    pub column: usize,
    /// Traefik's text where it has one.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// Parses a rule in Traefik v3 syntax.
pub fn parse(_text: &str) -> Result<Rule, ParseRuleError> {
    Err(ParseRuleError { column: 1, message: String::new(), hint: None })
}
