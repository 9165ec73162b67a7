//! The rule language of routers: `Host(..) && PathPrefix(..)`, Traefik v3 syntax. [`parse`] makes a [`Rule`];
//! errors point at the column.

mod parse;

pub use parse::{ParseRuleError, parse};

use std::sync::Arc;

use ipnet::IpNet;
use regex::Regex;

/// A parsed rule. Equal when the texts are equal.
#[derive(Debug, Clone)]
pub struct Rule {
    text: Arc<str>,
    expression: Expression,
}

/// The syntax tree.
#[derive(Debug, Clone)]
pub enum Expression {
    /// All of them; two or more.
    And(Vec<Expression>),
    /// Any of them; two or more.
    Or(Vec<Expression>),
    /// Not this one.
    Not(Box<Expression>),
    /// One matcher.
    Matcher(Matcher),
}

/// One matcher with its arguments, checked and prepared.
#[derive(Debug, Clone)]
pub enum Matcher {
    /// Canonical host equals this, lower-cased, without trailing dot.
    Host(Arc<str>),
    /// `*.example.com`: exactly one label in front of `.example.com` (held without the `*`, lower-cased).
    HostWildcard(Arc<str>),
    /// ``Host(`*`)``: everything, even no host.
    AnyHost,
    /// Found in the lower-cased canonical host.
    HostRegexp(Regex),
    /// Routing path equals.
    Path(Arc<str>),
    /// Routing path starts with, by bytes.
    PathPrefix(Arc<str>),
    /// Found in the routing path.
    PathRegexp(Regex),
    /// Method equals, upper case.
    Method(Arc<str>),
    /// Some line named (lower case) has exactly this value.
    Header(Arc<str>, Arc<str>),
    /// Some line named (lower case) contains a match.
    HeaderRegexp(Arc<str>, Regex),
    /// Some decoded value of the parameter equals; empty value for the form with one argument.
    Query(Arc<str>, Arc<str>),
    /// Some decoded value of the parameter contains a match.
    QueryRegexp(Arc<str>, Regex),
    /// The client's address lies in the range. IPv4-mapped IPv6 is folded.
    ClientIp(IpNet),
}

impl Rule {
    /// The text as written: what the API shows and the default priority counts.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The syntax tree.
    pub fn expression(&self) -> &Expression {
        &self.expression
    }

    /// Priority of a router that gives none: the byte length of the text as written.
    pub fn default_priority(&self) -> i64 {
        i64::try_from(self.text.len()).unwrap_or(i64::MAX)
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Rule {}
