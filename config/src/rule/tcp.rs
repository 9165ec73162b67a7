//! Rules of TCP routers: the same grammar over what is known of a connection before its first byte of data.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::parse::{ParseRuleError, check_ascii, check_call, client_ip, count_regex, invalid, regex};
use super::syntax::{self, Call, abridge};
use super::{Expression, Pattern, RequiredHost, required_hosts};
use crate::problem::did_you_mean;

/// A parsed rule of a TCP router. Equal when the texts are equal.
#[derive(Debug, Clone)]
pub struct TcpRule {
    text: Arc<str>,
    expression: Arc<Expression<TcpMatcher>>,
}

/// One matcher of a TCP rule.
#[derive(Debug, Clone)]
pub enum TcpMatcher {
    /// The server name equals this, lower-cased, without trailing dot.
    HostSni(Arc<str>),
    /// Exactly one label in front of this; it begins with a dot.
    HostSniWildcard(Arc<str>),
    /// ``HostSNI(`*`)``: everything, even no server name.
    AnySni,
    /// Found in the lower-cased server name.
    HostSniRegexp(Pattern),
    /// The peer's address lies in the range.
    ClientIp(IpNet),
    /// Among the protocols that the client offers.
    Alpn(Arc<str>),
}

/// What a TCP rule can see of a connection.
#[derive(Debug, Clone, Copy)]
pub struct TcpConnection<'a> {
    /// Server name of the ClientHello; empty without one.
    pub server_name: &'a str,
    /// Protocols that the client offers.
    pub protocols: &'a [&'a str],
    /// The believed client address.
    pub client: IpAddr,
}

const MATCHERS: [(&str, &[usize]); 4] =
    [("HostSNI", &[1]), ("HostSNIRegexp", &[1]), ("ClientIP", &[1]), ("ALPN", &[1])];

/// Parses the rule of a TCP router.
pub fn parse_tcp(text: &str) -> Result<TcpRule, ParseRuleError> {
    let mut regexes = 0;
    let expression = syntax::parse(text)?.map(&mut |call: Call| {
        let name = check_call(text, &call, &MATCHERS, unknown_matcher)?;
        if name.ends_with("Regexp") {
            count_regex(text, &call, &mut regexes)?;
        }
        matcher(name, &call)
    })?;
    Ok(TcpRule { text: Arc::from(text), expression: Arc::new(expression) })
}

impl TcpRule {
    /// The text as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The syntax tree.
    pub fn expression(&self) -> &Expression<TcpMatcher> {
        &self.expression
    }

    /// The rule is ``HostSNI(`*`)`` and nothing else.
    pub fn is_catch_all(&self) -> bool {
        matches!(*self.expression, Expression::Matcher(TcpMatcher::AnySni))
    }

    /// The server names that the rule names outside of a negation, in the order written, each once; wildcards as
    /// `*.example.com`. ``HostSNI(`*`)`` and regular expressions name none.
    pub fn hosts(&self) -> Vec<String> {
        let mut hosts = Vec::new();
        self.expression.visit(false, &mut |matcher, negated| {
            let host = match matcher {
                TcpMatcher::HostSni(host) if !negated => host.to_string(),
                TcpMatcher::HostSniWildcard(suffix) if !negated => format!("*{suffix}"),
                TcpMatcher::HostSni(_)
                | TcpMatcher::HostSniWildcard(_)
                | TcpMatcher::AnySni
                | TcpMatcher::HostSniRegexp(_)
                | TcpMatcher::ClientIp(_)
                | TcpMatcher::Alpn(_) => return,
            };
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        });
        hosts
    }

    /// Server names such that every connection that matches asks for one of them; none where any may match.
    pub fn required_hosts(&self) -> Option<BTreeSet<RequiredHost>> {
        required_hosts(&self.expression, false, &|matcher| match matcher {
            TcpMatcher::HostSni(host) => Some(RequiredHost::Exact(Arc::clone(host))),
            TcpMatcher::HostSniWildcard(suffix) => Some(RequiredHost::Wildcard(Arc::clone(suffix))),
            TcpMatcher::AnySni
            | TcpMatcher::HostSniRegexp(_)
            | TcpMatcher::ClientIp(_)
            | TcpMatcher::Alpn(_) => None,
        })
    }

    /// Priority of a router that gives none: the byte length of the text, and -1 for a catch-all.
    pub fn default_priority(&self) -> i64 {
        if self.is_catch_all() { -1 } else { i64::try_from(self.text.len()).unwrap_or(i64::MAX) }
    }

    /// Whether the rule matches a connection.
    pub fn matches(&self, connection: &TcpConnection<'_>) -> bool {
        let server_name = connection.server_name.to_ascii_lowercase();
        let plain_name = server_name.strip_suffix('.').unwrap_or(&server_name);
        self.expression.evaluate(&mut |matcher| match matcher {
            TcpMatcher::AnySni => true,
            TcpMatcher::HostSni(name) => **name == *plain_name,
            TcpMatcher::HostSniWildcard(suffix) => {
                plain_name.find('.').is_some_and(|dot| dot > 0 && plain_name[dot..] == **suffix)
            }
            TcpMatcher::HostSniRegexp(regex) => regex.is_match(&server_name),
            TcpMatcher::ClientIp(range) => range.contains(&connection.client.to_canonical()),
            TcpMatcher::Alpn(protocol) => connection.protocols.contains(&&**protocol),
        })
    }
}

impl PartialEq for TcpRule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for TcpRule {}

fn unknown_matcher(name: &str) -> String {
    match name.to_ascii_lowercase().as_str() {
        "host" => "Host belongs to HTTP routers: write HostSNI".to_owned(),
        "hostregexp" => "HostRegexp belongs to HTTP routers: write HostSNIRegexp".to_owned(),
        "path" | "pathprefix" | "pathregexp" | "method" | "header" | "headerregexp" | "query"
        | "queryregexp" => format!("{name} belongs to HTTP routers: a TCP router sees no request"),
        _ => match did_you_mean(name, MATCHERS.map(|(name, _)| name)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the matchers are {}", MATCHERS.map(|(name, _)| name).join(", ")),
        },
    }
}

fn matcher(name: &'static str, call: &Call) -> Result<TcpMatcher, ParseRuleError> {
    let argument = &call.arguments[0];
    Ok(match name {
        "HostSNI" => {
            check_ascii(name, argument)?;
            let host = argument.text.to_ascii_lowercase();
            let host = host.strip_suffix('.').unwrap_or(&host);
            let (wildcard, rest) = match host.strip_prefix('*') {
                Some("") => return Ok(TcpMatcher::AnySni),
                Some(suffix) if suffix.starts_with('.') => (true, suffix),
                Some(_) | None => (false, host),
            };
            if !rest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':')) {
                let what =
                    format!("invalid value for HostSNI matcher, {:?} is not a valid hostname", abridge(host));
                return Err(invalid(name, argument, &what, "write a name, `*`, or `*.example.com`"));
            }
            if wildcard { TcpMatcher::HostSniWildcard(rest.into()) } else { TcpMatcher::HostSni(rest.into()) }
        }
        "HostSNIRegexp" => {
            check_ascii(name, argument)?;
            TcpMatcher::HostSniRegexp(regex(name, argument)?)
        }
        "ALPN" => {
            if argument.text == "acme-tls/1" {
                let what = "invalid protocol value for ALPN matcher, \"acme-tls/1\" is not allowed";
                return Err(invalid(name, argument, what, "the gateway answers this protocol itself"));
            }
            TcpMatcher::Alpn(argument.text.as_str().into())
        }
        _ => TcpMatcher::ClientIp(client_ip(name, argument)?),
    })
}
