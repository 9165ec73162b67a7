//! The rule language of routers: `Host(..) && PathPrefix(..)`, Traefik v3 syntax. [`parse()`] makes a [`Rule`],
//! [`parse_tcp`] a [`TcpRule`]; errors point at the column.

mod parse;
mod re2;
mod syntax;
mod tcp;
#[cfg(test)]
mod tests;

pub(crate) use parse::fold_mapped;
pub use parse::{ParseRuleError, parse};
pub use re2::Pattern;
pub use tcp::{TcpConnection, TcpMatcher, TcpRule, parse_tcp};

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;

/// A parsed rule. Equal when the texts are equal. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Rule {
    text: Arc<str>,
    expression: Arc<Expression>,
    suspicions: Arc<[Suspicion]>,
}

/// The syntax tree, over the matchers of HTTP rules ([`Matcher`]) or TCP rules ([`TcpMatcher`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression<M = Matcher> {
    /// All of them; two or more.
    And(Vec<Self>),
    /// Any of them; two or more.
    Or(Vec<Self>),
    /// Not this one.
    Not(Box<Self>),
    /// One matcher.
    Matcher(M),
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
    HostRegexp(Pattern),
    /// Routing path equals.
    Path(Arc<str>),
    /// Routing path starts with, by bytes.
    PathPrefix(Arc<str>),
    /// Found in the routing path.
    PathRegexp(Pattern),
    /// Method equals, upper case.
    Method(Arc<str>),
    /// Some line named (lower case) has exactly this value.
    Header(Arc<str>, Arc<str>),
    /// Some line named (lower case) contains a match.
    HeaderRegexp(Arc<str>, Pattern),
    /// Some decoded value of the parameter equals; empty value for the form with one argument.
    Query(Arc<str>, Arc<str>),
    /// Some decoded value of the parameter contains a match.
    QueryRegexp(Arc<str>, Pattern),
    /// The client's address lies in the range. IPv4-mapped IPv6 is folded.
    ClientIp(IpNet),
}

/// Something in a valid rule that hardly means what it says: a matcher that can never match, or a habit of
/// another version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspicion {
    /// Column in the rule's text, in characters from 1.
    pub column: usize,
    /// What is odd, in lower case and without a full stop.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

/// One host that a rule asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequiredHost {
    /// Exactly this host, in canonical form.
    Exact(Arc<str>),
    /// One label in front of this; it begins with a dot.
    Wildcard(Arc<str>),
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

    /// What to warn of although the rule is valid.
    pub fn suspicions(&self) -> &[Suspicion] {
        &self.suspicions
    }

    /// The hosts that the rule names outside of a negation, in the order written, lower-cased, without trailing
    /// dot, each once; wildcards as `*.example.com`. ``Host(`*`)`` and regular expressions name none.
    pub fn hosts(&self) -> Vec<String> {
        let mut hosts = Vec::new();
        let mut seen = BTreeSet::new();
        self.expression.visit(false, &mut |matcher, negated| {
            let host = match matcher {
                Matcher::Host(host) if !negated => host.to_string(),
                Matcher::HostWildcard(suffix) if !negated => format!("*{suffix}"),
                Matcher::Host(_)
                | Matcher::HostWildcard(_)
                | Matcher::AnyHost
                | Matcher::HostRegexp(_)
                | Matcher::Path(_)
                | Matcher::PathPrefix(_)
                | Matcher::PathRegexp(_)
                | Matcher::Method(_)
                | Matcher::Header(..)
                | Matcher::HeaderRegexp(..)
                | Matcher::Query(..)
                | Matcher::QueryRegexp(..)
                | Matcher::ClientIp(_) => return,
            };
            if seen.insert(host.clone()) {
                hosts.push(host);
            }
        });
        hosts
    }

    /// Hosts such that every request that matches is for one of them; none where any host may match.
    pub fn required_hosts(&self) -> Option<BTreeSet<RequiredHost>> {
        required_hosts(&self.expression, false, &|matcher| match matcher {
            Matcher::Host(host) => Some(RequiredHost::Exact(Arc::clone(host))),
            Matcher::HostWildcard(suffix) => Some(RequiredHost::Wildcard(Arc::clone(suffix))),
            Matcher::AnyHost
            | Matcher::HostRegexp(_)
            | Matcher::Path(_)
            | Matcher::PathPrefix(_)
            | Matcher::PathRegexp(_)
            | Matcher::Method(_)
            | Matcher::Header(..)
            | Matcher::HeaderRegexp(..)
            | Matcher::Query(..)
            | Matcher::QueryRegexp(..)
            | Matcher::ClientIp(_) => None,
        })
    }
}

/// `host` is the host that a matcher asks for. `negated` says that the expression stands under an odd number of `!`:
/// then De Morgan swaps And and Or.
fn required_hosts<M>(
    expression: &Expression<M>,
    negated: bool,
    host: &impl Fn(&M) -> Option<RequiredHost>,
) -> Option<BTreeSet<RequiredHost>> {
    match (expression, negated) {
        (Expression::Matcher(matcher), false) => Some(BTreeSet::from([host(matcher)?])),
        (Expression::Matcher(_), true) => None,
        (Expression::Not(inner), negated) => required_hosts(inner, !negated, host),
        // All must hold, so any one operand's hosts bound the whole: the fewest bound it best.
        (Expression::And(operands), false) | (Expression::Or(operands), true) => operands
            .iter()
            .filter_map(|operand| required_hosts(operand, negated, host))
            .min_by_key(BTreeSet::len),
        (Expression::Or(operands), false) | (Expression::And(operands), true) => {
            let mut hosts = BTreeSet::new();
            for operand in operands {
                hosts.append(&mut required_hosts(operand, negated, host)?);
            }
            Some(hosts)
        }
    }
}

impl<M> Expression<M> {
    /// Whether the expression holds, given which matchers do. Stops as soon as the answer is known.
    pub fn evaluate(&self, holds: &mut impl FnMut(&M) -> bool) -> bool {
        match self {
            Self::And(operands) => operands.iter().all(|operand| operand.evaluate(holds)),
            Self::Or(operands) => operands.iter().any(|operand| operand.evaluate(holds)),
            Self::Not(operand) => !operand.evaluate(holds),
            Self::Matcher(matcher) => holds(matcher),
        }
    }

    /// Calls `see` with every matcher from left to right, and whether it stands under an odd number of `!`.
    pub fn visit<'a>(&'a self, negated: bool, see: &mut impl FnMut(&'a M, bool)) {
        match self {
            Self::And(operands) | Self::Or(operands) => {
                for operand in operands {
                    operand.visit(negated, see);
                }
            }
            Self::Not(operand) => operand.visit(!negated, see),
            Self::Matcher(matcher) => see(matcher, negated),
        }
    }

    /// The same tree over other matchers.
    fn map<N, E>(self, change: &mut impl FnMut(M) -> Result<N, E>) -> Result<Expression<N>, E> {
        Ok(match self {
            Self::And(operands) => Expression::And(
                operands.into_iter().map(|operand| operand.map(change)).collect::<Result<_, _>>()?,
            ),
            Self::Or(operands) => Expression::Or(
                operands.into_iter().map(|operand| operand.map(change)).collect::<Result<_, _>>()?,
            ),
            Self::Not(operand) => Expression::Not(Box::new(operand.map(change)?)),
            Self::Matcher(matcher) => Expression::Matcher(change(matcher)?),
        })
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Rule {}

/// As written in a rule, in canonical spelling: `` PathPrefix(`/api`) ``.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => write!(f, "Host({})", Quoted(host)),
            Self::HostWildcard(suffix) => write!(f, "Host({})", Quoted(&format!("*{suffix}"))),
            Self::AnyHost => f.write_str("Host(`*`)"),
            Self::HostRegexp(pattern) => write!(f, "HostRegexp({})", Quoted(pattern.as_str())),
            Self::Path(path) => write!(f, "Path({})", Quoted(path)),
            Self::PathPrefix(path) => write!(f, "PathPrefix({})", Quoted(path)),
            Self::PathRegexp(pattern) => write!(f, "PathRegexp({})", Quoted(pattern.as_str())),
            Self::Method(method) => write!(f, "Method({})", Quoted(method)),
            Self::Header(name, value) => write!(f, "Header({}, {})", Quoted(name), Quoted(value)),
            Self::HeaderRegexp(name, pattern) => {
                write!(f, "HeaderRegexp({}, {})", Quoted(name), Quoted(pattern.as_str()))
            }
            Self::Query(name, value) if value.is_empty() => write!(f, "Query({})", Quoted(name)),
            Self::Query(name, value) => write!(f, "Query({}, {})", Quoted(name), Quoted(value)),
            Self::QueryRegexp(name, pattern) => {
                write!(f, "QueryRegexp({}, {})", Quoted(name), Quoted(pattern.as_str()))
            }
            Self::ClientIp(range) if range.prefix_len() == range.max_prefix_len() => {
                write!(f, "ClientIP(`{}`)", range.addr())
            }
            Self::ClientIp(range) => write!(f, "ClientIP(`{range}`)"),
        }
    }
}

/// An argument in back-quotes, or in double quotes where it contains a back-quote.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.contains('`') {
            return write!(f, "`{}`", self.0);
        }
        write!(f, "\"{}\"", self.0.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
    }
}

/// As written in a rule, in canonical spelling, with the parentheses that it needs.
impl<M: fmt::Display> fmt::Display for Expression<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operands, operator) = match self {
            Self::And(operands) => (operands, " && "),
            Self::Or(operands) => (operands, " || "),
            Self::Not(operand) => {
                return match **operand {
                    Self::And(_) | Self::Or(_) => write!(f, "!({operand})"),
                    Self::Not(_) | Self::Matcher(_) => write!(f, "!{operand}"),
                };
            }
            Self::Matcher(matcher) => return matcher.fmt(f),
        };
        for (index, operand) in operands.iter().enumerate() {
            if index > 0 {
                f.write_str(operator)?;
            }
            match (self, operand) {
                (Self::And(_), Self::Or(_)) => write!(f, "({operand})")?,
                (_, Self::And(_) | Self::Or(_) | Self::Not(_) | Self::Matcher(_)) => operand.fmt(f)?,
            }
        }
        Ok(())
    }
}
