//! `providers.docker.constraints`: which containers take part, by their labels. Pure.
//!
//! ```text
//! or    = and { "||" and }
//! and   = unary { "&&" unary }
//! unary = "!" unary | "(" or ")" | ("Label" | "LabelRegex") "(" text "," text ")"
//! text  = "…" with \ escapes | `…` as it is
//! ```

use std::collections::BTreeMap;

use regex::Regex;

/// A parsed expression.
#[derive(Debug, Clone)]
pub struct Constraints(Expression);

#[derive(Debug, Clone)]
enum Expression {
    Label(String, String),
    /// No expression where the pattern is not valid: Traefik counts that as false.
    LabelRegex(String, Option<Regex>),
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
}

/// Why an expression could not be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct ParseConstraintsError {
    /// Column, from 1, in characters.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

/// Deeper nesting than this is no honest expression.
const MAX_DEPTH: usize = 64;

impl Constraints {
    /// Parses an expression. Patterns that are not valid come back as texts: they match nothing.
    pub fn parse(text: &str) -> Result<(Self, Vec<String>), ParseConstraintsError> {
        let mut parser = Parser { text, at: 0, bad_patterns: Vec::new() };
        let expression = parser.or(0)?;
        parser.blank();
        if parser.at < text.len() {
            return Err(parser.error("expected `&&`, `||` or the end"));
        }
        Ok((Self(expression), parser.bad_patterns))
    }

    /// Whether a container with these labels takes part.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.matches(labels)
    }
}

impl Expression {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        // A missing label compares as the empty text.
        let value = |key: &str| labels.get(key).map_or("", String::as_str);
        match self {
            Self::Label(key, expected) => value(key) == expected,
            Self::LabelRegex(key, regex) => regex.as_ref().is_some_and(|regex| regex.is_match(value(key))),
            Self::Not(inner) => !inner.matches(labels),
            Self::And(all) => all.iter().all(|one| one.matches(labels)),
            Self::Or(any) => any.iter().any(|one| one.matches(labels)),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    bad_patterns: Vec<String>,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn blank(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn error(&self, message: impl Into<String>) -> ParseConstraintsError {
        ParseConstraintsError { column: self.text[..self.at].chars().count() + 1, message: message.into() }
    }

    fn take(&mut self, token: &str) -> bool {
        self.blank();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str) -> Result<(), ParseConstraintsError> {
        if self.take(token) { Ok(()) } else { Err(self.error(format!("expected `{token}`"))) }
    }

    fn or(&mut self, depth: usize) -> Result<Expression, ParseConstraintsError> {
        let mut parts = vec![self.and(depth)?];
        while self.take("||") {
            parts.push(self.and(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::Or(parts) })
    }

    fn and(&mut self, depth: usize) -> Result<Expression, ParseConstraintsError> {
        let mut parts = vec![self.unary(depth)?];
        while self.take("&&") {
            parts.push(self.unary(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::And(parts) })
    }

    fn unary(&mut self, depth: usize) -> Result<Expression, ParseConstraintsError> {
        if depth > MAX_DEPTH {
            return Err(self.error("nested too deeply"));
        }
        if self.take("!") {
            return Ok(Expression::Not(Box::new(self.unary(depth + 1)?)));
        }
        if self.take("(") {
            let inner = self.or(depth + 1)?;
            self.expect(")")?;
            return Ok(inner);
        }
        self.blank();
        let name: String = self.rest().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        match name.as_str() {
            "Label" | "LabelRegex" => {}
            "" => return Err(self.error("expected `Label`, `LabelRegex`, `!` or `(`")),
            other => {
                let message = format!("unknown function `{other}`: there are `Label` and `LabelRegex`");
                return Err(self.error(message));
            }
        }
        self.at += name.len();
        self.expect("(")?;
        let key = self.string()?;
        self.expect(",")?;
        let value = self.string()?;
        self.expect(")")?;
        if name == "Label" {
            return Ok(Expression::Label(key, value));
        }
        let regex = Regex::new(&value);
        if let Err(error) = &regex {
            self.bad_patterns.push(format!("pattern `{value}` is not valid and matches nothing: {error}"));
        }
        Ok(Expression::LabelRegex(key, regex.ok()))
    }

    fn string(&mut self) -> Result<String, ParseConstraintsError> {
        self.blank();
        if self.take("`") {
            let Some((text, _)) = self.rest().split_once('`') else {
                return Err(self.error("the text that begins before has no closing back quote"));
            };
            let text = text.to_owned();
            self.at += text.len() + 1;
            return Ok(text);
        }
        if !self.take("\"") {
            return Err(self.error("expected a text in double or back quotes"));
        }
        let mut out = String::new();
        let mut chars = self.text[self.at..].char_indices();
        while let Some((offset, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += offset + 1;
                    return Ok(out);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => out.push('\n'),
                    Some((_, 't')) => out.push('\t'),
                    Some((_, 'r')) => out.push('\r'),
                    Some((_, c @ ('\\' | '"' | '\''))) => out.push(c),
                    Some((_, c)) => {
                        self.at += offset;
                        let message = format!("unknown escape `\\{c}`: write `\\\\{c}` or use back quotes");
                        return Err(self.error(message));
                    }
                    None => break,
                },
                c => out.push(c),
            }
        }
        Err(self.error("the text that begins before has no closing quote"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> BTreeMap<String, String> {
        [("tier", "web"), ("a.b", "x y"), ("traefik.tags", "public,blue"), ("empty", "")]
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn expressions_choose_by_labels() {
        for (text, expected) in [
            (r#"Label("tier","web")"#, true),
            ("Label(`tier`, `web`)", true),
            ("Label(`tier`, `we`)", false),
            ("Label(`Tier`, `web`)", false),
            ("Label(`missing`, ``)", true),
            ("!Label(`missing`, ``)", false),
            ("LabelRegex(`tier`, `w.b`)", true),
            ("LabelRegex(`traefik.tags`, `blue`)", true),
            ("LabelRegex(`traefik.tags`, `^blue`)", false),
            (r#"LabelRegex("a.b", "x\\sy")"#, true),
            ("LabelRegex(`tier`, `(`)", false),
            ("!LabelRegex(`tier`, `(`)", true),
            ("Label(`tier`,`no`) || Label(`tier`,`web`) && Label(`empty`,``)", true),
            ("(Label(`tier`,`web`) || Label(`tier`,`no`)) && Label(`empty`,`x`)", false),
            (" ! ( Label(`tier`,`no`) ) ", true),
            ("!!Label(`tier`,`web`)", true),
        ] {
            let (constraints, _) = Constraints::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(constraints.matches(&labels()), expected, "{text}");
        }
    }

    #[test]
    fn a_bad_pattern_is_told() {
        let (_, bad) = Constraints::parse("LabelRegex(`a`, `(`)").unwrap();
        assert!(bad[0].starts_with("pattern `(` is not valid"), "{bad:?}");
    }

    #[test]
    fn what_does_not_parse_says_where() {
        for (text, expected) in [
            ("", "column 1: expected `Label`, `LabelRegex`, `!` or `(`"),
            ("Tag(`a`)", "column 1: unknown function `Tag`: there are `Label` and `LabelRegex`"),
            ("Label(`a`)", "column 10: expected `,`"),
            ("Label(`a`,`b`) Label(`a`,`b`)", "column 16: expected `&&`, `||` or the end"),
            ("(Label(`a`,`b`)", "column 16: expected `)`"),
            ("Label(a,`b`)", "column 7: expected a text in double or back quotes"),
            ("Label(`a,b)", "column 8: the text that begins before has no closing back quote"),
            (r#"Label("a","b"#, "column 12: the text that begins before has no closing quote"),
            (r#"Label("a","\d")"#, r"column 12: unknown escape `\d`: write `\\d` or use back quotes"),
        ] {
            assert_eq!(Constraints::parse(text).unwrap_err().to_string(), expected, "{text}");
        }
        let deep = format!("{}Label(`a`,`b`){}", "(".repeat(500), ")".repeat(500));
        assert!(Constraints::parse(&deep).unwrap_err().message.contains("too deeply"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_an_expression_or_an_error(text in r#"[LabelRegex()`"',\\ !&|äß]{0,40}"#) {
            if let Err(error) = Constraints::parse(&text) {
                proptest::prop_assert!(error.column <= text.chars().count() + 1);
            }
        }
    }
}
