//! Text -> [`Rule`]: names and arguments of the HTTP matchers.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::syntax::{self, Argument, Call, abridge};
use super::{Matcher, Pattern, Rule, Suspicion, re2};
use crate::problem::did_you_mean;

/// Most regular expressions in one rule. Each may take 1 MiB once compiled.
const MAX_REGEXES: usize = 64;

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

/// Name and numbers of arguments of every HTTP matcher.
const MATCHERS: [(&str, &[usize]); 11] = [
    ("Host", &[1]),
    ("HostRegexp", &[1]),
    ("Path", &[1]),
    ("PathPrefix", &[1]),
    ("PathRegexp", &[1]),
    ("Method", &[1]),
    ("Header", &[2]),
    ("HeaderRegexp", &[2]),
    ("Query", &[1, 2]),
    ("QueryRegexp", &[1, 2]),
    ("ClientIP", &[1]),
];

/// Parses a rule in Traefik v3 syntax.
pub fn parse(text: &str) -> Result<Rule, ParseRuleError> {
    let mut suspicions = Vec::new();
    let mut regexes = 0;
    let expression = syntax::parse(text)?.map(&mut |call: Call| {
        let name = check_call(text, &call, &MATCHERS, unknown_matcher)?;
        if name.ends_with("Regexp") {
            count_regex(text, &call, &mut regexes)?;
        }
        let matcher = matcher(name, &call)?;
        suspect(&matcher, &call, &mut suspicions);
        Ok(matcher)
    })?;
    Ok(Rule { text: Arc::from(text), expression: Arc::new(expression), suspicions: suspicions.into() })
}

/// Finds the canonical name of a matcher and checks the number of its arguments, and that none is empty.
pub(super) fn check_call(
    text: &str,
    call: &Call,
    known: &[(&'static str, &'static [usize])],
    unknown: impl Fn(&str) -> String,
) -> Result<&'static str, ParseRuleError> {
    let Some((name, arities)) = known.iter().find(|(name, _)| is_spelling(&call.name, name)) else {
        return Err(ParseRuleError {
            column: call.column,
            message: format!("parsing rule {}: unsupported function: {}", abridge(text), abridge(&call.name)),
            hint: Some(unknown(&call.name)),
        });
    };
    let given = call.arguments.len();
    if let Some(empty) = call.arguments.iter().find(|argument| argument.text.is_empty()) {
        return Err(ParseRuleError {
            column: empty.column,
            message: format!("adding rule {name}: empty args for matcher {name}"),
            hint: Some(match *name {
                "Query" | "QueryRegexp" => {
                    format!("leave the value out to match an empty one: {name}(`{}`)", call.arguments[0].text)
                }
                _ => format!("give {name} a value"),
            }),
        });
    }
    if !arities.contains(&given) {
        let expected: Vec<String> = arities.iter().map(ToString::to_string).collect();
        return Err(ParseRuleError {
            column: call.column,
            message: format!(
                "adding rule {name}: unexpected number of parameters; got {given}, expected one of [{}]",
                expected.join(" ")
            ),
            hint: Some(arity_hint(name, arities, &call.arguments)),
        });
    }
    Ok(name)
}

pub(super) fn count_regex(text: &str, call: &Call, count: &mut usize) -> Result<(), ParseRuleError> {
    *count += 1;
    if *count <= MAX_REGEXES {
        return Ok(());
    }
    Err(ParseRuleError {
        column: call.column,
        message: format!("parsing rule {}: too many regular expressions", abridge(text)),
        hint: Some(format!("a rule has at most {MAX_REGEXES}: join them with | or split the rule")),
    })
}

/// Canonical, all lower, all upper, or only the first letter upper.
fn is_spelling(written: &str, name: &str) -> bool {
    written == name
        || (written.eq_ignore_ascii_case(name)
            && (written.bytes().all(|byte| byte.is_ascii_lowercase())
                || written.bytes().all(|byte| byte.is_ascii_uppercase())
                || (written.starts_with(|first: char| first.is_ascii_uppercase())
                    && written.bytes().skip(1).all(|byte| byte.is_ascii_lowercase()))))
}

fn arity_hint(name: &str, arities: &[usize], arguments: &[Argument]) -> String {
    if arities == [1] && arguments.len() > 1 {
        let alternatives: Vec<String> = arguments
            .iter()
            .take(4)
            .map(|argument| format!("{name}(`{}`)", abridge(&argument.text)))
            .collect();
        let more = if arguments.len() > 4 { " || …" } else { "" };
        format!("use || between alternatives: {}{more}", alternatives.join(" || "))
    } else if arities == [2] {
        format!("write {name}(`name`, `value`)")
    } else if arities == [1, 2] {
        format!("write {name}(`name`) or {name}(`name`, `value`)")
    } else {
        format!("give {name} a value")
    }
}

fn unknown_matcher(name: &str) -> String {
    match name.to_ascii_lowercase().as_str() {
        "headers" => "`Headers` is the name of version 2: write Header".to_owned(),
        "headersregexp" => "`HeadersRegexp` is the name of version 2: write HeaderRegexp".to_owned(),
        "hostheader" => "`HostHeader` is a name of version 2: write Host".to_owned(),
        "pathstrip" | "pathprefixstrip" => {
            "write PathPrefix, and put the stripPrefix middleware on the router".to_owned()
        }
        "hostsni" => "HostSNI belongs to TCP routers: write Host".to_owned(),
        "hostsniregexp" => "HostSNIRegexp belongs to TCP routers: write HostRegexp".to_owned(),
        "alpn" => "ALPN belongs to TCP routers".to_owned(),
        "country" | "asn" => {
            "Country and ASN are not served yet: leave them out, or use ClientIP with ranges".to_owned()
        }
        _ => match did_you_mean(name, MATCHERS.map(|(name, _)| name)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the matchers are {}", MATCHERS.map(|(name, _)| name).join(", ")),
        },
    }
}

fn matcher(name: &'static str, call: &Call) -> Result<Matcher, ParseRuleError> {
    let first = &call.arguments[0];
    Ok(match name {
        "Host" => host(name, first)?,
        "HostRegexp" => {
            check_ascii(name, first)?;
            Matcher::HostRegexp(regex(name, first)?)
        }
        "Path" => Matcher::Path(path(name, first)?),
        "PathPrefix" => Matcher::PathPrefix(path(name, first)?),
        "PathRegexp" => Matcher::PathRegexp(regex(name, first)?),
        "Method" => Matcher::Method(first.text.to_uppercase().into()),
        "Header" => Matcher::Header(first.text.to_lowercase().into(), call.arguments[1].text.as_str().into()),
        "HeaderRegexp" => {
            Matcher::HeaderRegexp(first.text.to_lowercase().into(), regex(name, &call.arguments[1])?)
        }
        "Query" => Matcher::Query(
            first.text.as_str().into(),
            call.arguments.get(1).map_or("", |value| &value.text).into(),
        ),
        "QueryRegexp" => match call.arguments.get(1) {
            Some(value) => Matcher::QueryRegexp(first.text.as_str().into(), regex(name, value)?),
            None => Matcher::Query(first.text.as_str().into(), "".into()),
        },
        _ => Matcher::ClientIp(client_ip(name, first)?),
    })
}

/// `adding rule Host: …`, pointing at the argument.
pub(super) fn invalid(name: &str, argument: &Argument, what: &str, hint: &str) -> ParseRuleError {
    ParseRuleError {
        column: argument.column,
        message: format!("adding rule {name}: {what}"),
        hint: Some(hint.to_owned()),
    }
}

pub(super) fn check_ascii(name: &str, argument: &Argument) -> Result<(), ParseRuleError> {
    if argument.text.is_ascii() {
        return Ok(());
    }
    let what = format!(
        "invalid value {:?} for {name} matcher, non-ASCII characters are not allowed",
        abridge(&argument.text)
    );
    Err(invalid(name, argument, &what, "write the host in punycode: xn--…"))
}

pub(super) fn regex(name: &str, argument: &Argument) -> Result<Pattern, ParseRuleError> {
    re2::compile(&argument.text).map_err(|error| {
        let what = format!("error parsing regexp: {}: `{}`", error.message, abridge(&argument.text));
        invalid(name, argument, &what, &error.hint)
    })
}

pub(super) fn client_ip(name: &str, argument: &Argument) -> Result<IpNet, ParseRuleError> {
    let range = match argument.text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => argument.text.parse::<IpNet>().map_err(|_| {
            let what = format!("parsing CIDR trusted IPs {}: invalid CIDR address", abridge(&argument.text));
            invalid(
                name,
                argument,
                &what,
                "write an address (192.0.2.1) or a range (192.0.2.0/24, 2001:db8::/32)",
            )
        })?,
    };
    Ok(fold_mapped(range).trunc())
}

/// `::ffff:192.0.2.0/120` is `192.0.2.0/24`.
pub(crate) fn fold_mapped(range: IpNet) -> IpNet {
    match range {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => v6
            .addr()
            .to_ipv4_mapped()
            .and_then(|address| IpNet::new(IpAddr::V4(address), v6.prefix_len() - 96).ok())
            .unwrap_or(range),
        IpNet::V4(_) | IpNet::V6(_) => range,
    }
}

fn host(name: &str, argument: &Argument) -> Result<Matcher, ParseRuleError> {
    check_ascii(name, argument)?;
    let host = argument.text.to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    Ok(match host.strip_prefix('*') {
        Some("") => Matcher::AnyHost,
        Some(suffix) if suffix.starts_with('.') => Matcher::HostWildcard(suffix.into()),
        Some(_) | None => Matcher::Host(host.into()),
    })
}

fn path(name: &str, argument: &Argument) -> Result<Arc<str>, ParseRuleError> {
    if argument.text.starts_with('/') {
        return Ok(argument.text.as_str().into());
    }
    let what = format!("path {:?} does not start with a '/'", abridge(&argument.text));
    Err(invalid(name, argument, &what, &format!("write {name}(`/{}`)", abridge(&argument.text))))
}

/// Finds what can never match although it is valid.
fn suspect(matcher: &Matcher, call: &Call, suspicions: &mut Vec<Suspicion>) {
    let argument = &call.arguments[0];
    let mut add = |message: String, hint: &str| {
        suspicions.push(Suspicion { column: argument.column, message, hint: hint.to_owned() });
    };
    let text = argument.text.as_str();
    match matcher {
        Matcher::Host(host) => {
            if has_placeholder(text) {
                add(placeholder(text), "use HostRegexp with a regular expression");
            } else if host.starts_with('[') {
                add(format!("the host `{text}` never matches"), "write an IPv6 address without brackets");
            } else if host.contains('*') {
                add(
                    format!("the `*` in the host `{text}` stands for itself"),
                    "only a whole first label can be a wildcard: *.example.com",
                );
            } else if host.parse::<IpAddr>().is_err()
                && host.split_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
            {
                add(
                    format!("the host `{text}` never matches"),
                    "leave the port out: the entry point decides it",
                );
            } else if host.parse::<IpAddr>().is_err()
                && !host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
            {
                add(format!("the host `{text}` never matches"), "write the name alone: www.example.com");
            }
        }
        Matcher::HostRegexp(_) => {
            if has_placeholder(text) {
                add(placeholder(text), "write a regular expression: ^[a-z]+\\.example\\.com$");
            } else if !text.contains("(?i") && has_plain_upper_case(text) {
                add(
                    format!("the expression `{text}` asks for capitals, and the host is in lower case"),
                    "write it in lower case",
                );
            }
        }
        Matcher::PathRegexp(_) if has_placeholder(text) => {
            add(placeholder(text), "write a regular expression: ^/users/[0-9]+$");
        }
        Matcher::Path(path) | Matcher::PathPrefix(path) => {
            if has_placeholder(text) {
                add(placeholder(text), "use PathRegexp with a regular expression");
            } else if path.contains('?') {
                add(
                    format!("the path `{text}` never matches"),
                    "match the query with Query(`name`, `value`)",
                );
            } else if has_unroutable_escape(path) {
                add(
                    format!("the path `{text}` never matches"),
                    "paths are compared decoded: write the character itself, reserved ones as %2F in capitals",
                );
            } else if path.contains("//") || path.split('/').any(|segment| matches!(segment, "." | "..")) {
                add(
                    format!("the path `{text}` matches only with sanitizePath: false"),
                    "write it without empty and dot segments",
                );
            }
        }
        Matcher::Header(name, _) | Matcher::HeaderRegexp(name, _) => {
            if matches!(&**name, "host" | "transfer-encoding" | "trailer") {
                add(format!("the header `{text}` never matches"), "use Host for the host");
            } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)) {
                add(format!("the header `{text}` never matches"), "write the name of a header field");
            }
        }
        Matcher::HostWildcard(_)
        | Matcher::AnyHost
        | Matcher::PathRegexp(_)
        | Matcher::Method(_)
        | Matcher::Query(..)
        | Matcher::QueryRegexp(..)
        | Matcher::ClientIp(_) => {}
    }
}

fn placeholder(text: &str) -> String {
    format!("`{text}` has a placeholder of version 2, which stands for itself now")
}

/// `{name}` or `{name:regex}`. A repetition begins with a digit or a comma.
fn has_placeholder(text: &str) -> bool {
    text.match_indices('{').any(|(start, _)| {
        let inside = &text[start + 1..];
        let escaped = text[..start].ends_with(['\\', 'p', 'P', 'x']);
        let name = inside.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-'));
        !escaped
            && inside.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.is_some_and(|end| inside[end..].starts_with([':', '}']))
    })
}

/// A capital that stands for itself: not part of an escape and not in a group's head.
fn has_plain_upper_case(pattern: &str) -> bool {
    let mut previous = ' ';
    for character in pattern.chars() {
        if character.is_ascii_uppercase() && !matches!(previous, '\\' | '?' | 'p' | '{') {
            return true;
        }
        previous = if previous == '\\' { ' ' } else { character };
    }
    false
}

/// An escape that the routing path never has: of a character that it shows decoded, or in lower-case hex.
fn has_unroutable_escape(path: &str) -> bool {
    path.match_indices('%').any(|(start, _)| {
        let Some(digits) = path.get(start + 1..start + 3) else { return true };
        let reserved = u8::from_str_radix(digits, 16)
            .is_ok_and(|byte| b":/?#[]@!$&'()*+,;=%\\".contains(&byte) || !byte.is_ascii());
        !reserved || digits.bytes().any(|digit| digit.is_ascii_lowercase())
    })
}
