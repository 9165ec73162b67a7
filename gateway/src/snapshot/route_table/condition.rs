//! Rules compiled for matching: names parsed, many hosts in a set, cheap tests before expensive ones. Matchers
//! have no effects, so their order changes nothing but the time.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use config::rule::{Expression, Matcher, Pattern};
use foldhash::fast::RandomState;
use http::HeaderName;
use ipnet::IpNet;

use super::RequestView;

/// From this many alternatives on, hosts are looked up in a set.
const MANY_HOSTS: usize = 8;

/// A rule, ready to be asked.
#[derive(Debug)]
pub(super) enum Condition {
    All(Box<[Self]>),
    Any(Box<[Self]>),
    Not(Box<Self>),
    Test(Test),
}

/// One matcher, ready to be asked.
#[derive(Debug)]
pub(super) enum Test {
    Always,
    /// A header that is never among the fields, or no header name at all.
    Never,
    Host(Arc<str>),
    HostWildcard(Arc<str>),
    /// Any of many: hosts, and suffixes that begin with a dot.
    Hosts(HashSet<Arc<str>, RandomState>),
    HostRegexp(Pattern),
    Path(Arc<str>),
    PathPrefix(Arc<str>),
    PathRegexp(Pattern),
    Method(Arc<str>),
    Header(HeaderName, Arc<str>),
    HeaderRegexp(HeaderName, Pattern),
    Query(Arc<str>, Arc<str>),
    QueryRegexp(Arc<str>, Pattern),
    ClientIp(IpNet),
}

impl Condition {
    pub(super) fn compile(expression: &Expression) -> Self {
        match expression {
            Expression::And(operands) => Self::All(Self::compile_operands(operands.iter())),
            Expression::Or(operands) => {
                let (hosts, others): (Vec<_>, Vec<_>) =
                    operands.iter().partition(|operand| host_key(operand).is_some());
                if hosts.len() < MANY_HOSTS {
                    return Self::Any(Self::compile_operands(operands.iter()));
                }
                let hosts =
                    Self::Test(Test::Hosts(hosts.into_iter().filter_map(host_key).cloned().collect()));
                if others.is_empty() {
                    return hosts;
                }
                let others = Self::compile_operands(others.into_iter()).into_vec();
                Self::Any(std::iter::once(hosts).chain(others).collect())
            }
            Expression::Not(operand) => Self::Not(Box::new(Self::compile(operand))),
            Expression::Matcher(matcher) => Self::Test(Test::compile(matcher)),
        }
    }

    fn compile_operands<'a>(operands: impl Iterator<Item = &'a Expression>) -> Box<[Self]> {
        let mut conditions: Vec<Self> = operands.map(Self::compile).collect();
        conditions.sort_by_key(Self::cost);
        conditions.into()
    }

    /// Roughly, in nanoseconds.
    fn cost(&self) -> u64 {
        match self {
            Self::All(operands) | Self::Any(operands) => operands.iter().map(Self::cost).sum(),
            Self::Not(operand) => operand.cost(),
            Self::Test(test) => test.cost(),
        }
    }

    pub(super) fn holds(&self, request: &RequestView<'_>) -> bool {
        match self {
            Self::All(operands) => operands.iter().all(|operand| operand.holds(request)),
            Self::Any(operands) => operands.iter().any(|operand| operand.holds(request)),
            Self::Not(operand) => !operand.holds(request),
            Self::Test(test) => test.holds(request),
        }
    }
}

/// What stands for a host in a set; none for everything else.
fn host_key(expression: &Expression) -> Option<&Arc<str>> {
    match expression {
        Expression::Matcher(Matcher::Host(host)) => Some(host),
        Expression::Matcher(Matcher::HostWildcard(suffix)) => Some(suffix),
        Expression::Matcher(_) | Expression::And(_) | Expression::Or(_) | Expression::Not(_) => None,
    }
}

impl Test {
    pub(super) fn compile(matcher: &Matcher) -> Self {
        match matcher {
            Matcher::Host(host) => Self::Host(Arc::clone(host)),
            Matcher::HostWildcard(suffix) => Self::HostWildcard(Arc::clone(suffix)),
            Matcher::AnyHost => Self::Always,
            Matcher::HostRegexp(pattern) => Self::HostRegexp(pattern.clone()),
            Matcher::Path(path) => Self::Path(Arc::clone(path)),
            Matcher::PathPrefix(path) => Self::PathPrefix(Arc::clone(path)),
            Matcher::PathRegexp(pattern) => Self::PathRegexp(pattern.clone()),
            Matcher::Method(method) => Self::Method(Arc::clone(method)),
            Matcher::Header(name, value) => {
                header_name(name).map_or(Self::Never, |name| Self::Header(name, Arc::clone(value)))
            }
            Matcher::HeaderRegexp(name, pattern) => {
                header_name(name).map_or(Self::Never, |name| Self::HeaderRegexp(name, pattern.clone()))
            }
            Matcher::Query(name, value) => Self::Query(Arc::clone(name), Arc::clone(value)),
            Matcher::QueryRegexp(name, pattern) => Self::QueryRegexp(Arc::clone(name), pattern.clone()),
            Matcher::ClientIp(range) => Self::ClientIp(*range),
        }
    }

    fn cost(&self) -> u64 {
        match self {
            Self::Always | Self::Never => 0,
            Self::Host(_) | Self::Method(_) | Self::Path(_) | Self::PathPrefix(_) | Self::ClientIp(_) => 2,
            Self::HostWildcard(_) => 5,
            Self::Hosts(_) => 20,
            Self::Header(..) => 25,
            Self::Query(..) => 60,
            Self::HostRegexp(_) | Self::PathRegexp(_) => 100,
            Self::HeaderRegexp(..) => 150,
            Self::QueryRegexp(..) => 200,
        }
    }

    pub(super) fn holds(&self, request: &RequestView<'_>) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Host(host) => **host == *request.host,
            Self::HostWildcard(suffix) => parent(request.host).is_some_and(|parent| *parent == **suffix),
            // No host begins with a dot, so a suffix in the set cannot be taken for a host.
            Self::Hosts(hosts) => {
                hosts.contains(request.host)
                    || parent(request.host).is_some_and(|parent| hosts.contains(parent))
            }
            Self::HostRegexp(pattern) => pattern.is_match(request.host_with_dot),
            Self::Path(path) => **path == *request.path,
            Self::PathPrefix(prefix) => request.path.as_bytes().starts_with(prefix.as_bytes()),
            Self::PathRegexp(pattern) => pattern.is_match(request.path),
            Self::Method(method) => **method == *request.method.as_str(),
            Self::Header(name, value) => {
                request.headers.get_all(name).iter().any(|line| line.as_bytes() == value.as_bytes())
            }
            Self::HeaderRegexp(name, pattern) => request
                .headers
                .get_all(name)
                .iter()
                .any(|line| pattern.is_match(&String::from_utf8_lossy(line.as_bytes()))),
            Self::Query(name, value) => values(request.query, name).any(|found| *found == *value.as_bytes()),
            Self::QueryRegexp(name, pattern) => {
                values(request.query, name).any(|found| pattern.is_match(&String::from_utf8_lossy(&found)))
            }
            Self::ClientIp(range) => range.contains(&request.client.to_canonical()),
        }
    }
}

/// The host without its first label, beginning with the dot. None where there is no label in front of a dot.
pub(super) fn parent(host: &str) -> Option<&str> {
    host.find('.').filter(|dot| *dot > 0).map(|dot| &host[dot..])
}

/// Go keeps these out of the header fields, so no rule of Traefik ever matched them.
fn header_name(name: &str) -> Option<HeaderName> {
    HeaderName::try_from(name)
        .ok()
        .filter(|name| !matches!(name.as_str(), "host" | "transfer-encoding" | "trailer"))
}

/// The decoded values of a parameter. A pair with a broken escape, or with a bare `;`, is left out as in Go.
fn values<'a>(query: Option<&'a str>, name: &'a str) -> impl Iterator<Item = Cow<'a, [u8]>> {
    query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')).filter_map(
        move |pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (*decode(key)? == *name.as_bytes()).then(|| decode(value)).flatten()
        },
    )
}

/// Copies only where there is something to decode.
fn decode(text: &str) -> Option<Cow<'_, [u8]>> {
    let bytes = text.as_bytes();
    let Some(first) = bytes.iter().position(|byte| matches!(byte, b'%' | b'+')) else {
        return Some(Cow::Borrowed(bytes));
    };
    let mut decoded = Vec::with_capacity(bytes.len());
    decoded.extend_from_slice(&bytes[..first]);
    let mut rest = bytes[first..].iter();
    while let Some(&byte) = rest.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(*rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    Some(Cow::Owned(decoded))
}
