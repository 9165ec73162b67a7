//! Who may call the admin API (security.md section 9): no page of a stranger's site, whatever name it made
//! resolve to us, and nobody without the token where it is needed.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::answer::{Answer, problem};
use super::token::Token;

/// Largest body of a call that changes something.
pub(super) const BODY_BYTES: usize = 1024 * 1024;

/// The rules of one listener.
#[derive(Debug)]
pub(super) struct Guard {
    /// Without port, lower case, without brackets.
    pub(super) allowed_hosts: Vec<String>,
    pub(super) token: Token,
    /// On loopback or a Unix socket: reading needs no token.
    pub(super) private: bool,
}

impl Guard {
    /// Refuses a call, or lets it pass. What refuses is decided from the outside in: the name, the page, the
    /// token, the form of the body.
    pub(super) fn check(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<(), Box<Answer>> {
        let refuse = |status, detail| Err(Box::new(problem(status, detail)));
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return refuse(StatusCode::FORBIDDEN, "one Host header is needed");
        };
        let Some(host) = authority(host).filter(|host| self.allows(host)) else {
            return refuse(StatusCode::FORBIDDEN, "this Host is not on the list admin.allowedHosts");
        };
        if !headers.get_all(header::ORIGIN).iter().all(|origin| is_same_origin(origin, &host)) {
            return refuse(StatusCode::FORBIDDEN, "calls from pages of another origin are refused");
        }
        let reads = *method == Method::GET || *method == Method::HEAD;
        if reads && (self.private || path == "/ping") {
            return Ok(());
        }
        if !self.has_token(headers) {
            return refuse(StatusCode::UNAUTHORIZED, "a bearer token is needed: see admin.token in stateDir");
        }
        if reads {
            return Ok(());
        }
        if !is_json(headers.get(header::CONTENT_TYPE)) {
            return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content type has to be application/json");
        }
        Ok(())
    }

    fn allows(&self, authority: &Authority) -> bool {
        self.allowed_hosts.contains(&authority.host)
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else { return false };
        let field = field.as_bytes();
        match field.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => {
                self.token.is(token.trim_ascii())
            }
            _ => false,
        }
    }
}

/// Host and port as compared: lower case, without brackets and trailing dot.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Authority {
    host: String,
    port: Option<u16>,
}

fn authority(field: &HeaderValue) -> Option<Authority> {
    parse_authority(field.to_str().ok()?)
}

fn parse_authority(text: &str) -> Option<Authority> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        Some(port) => Some(port.parse().ok()?),
        None => None,
    };
    Some(Authority { host: bare_host(host), port })
}

/// A host as `allowed_hosts` holds it.
pub(super) fn bare_host(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Whether the page that calls was served under the name (and port) that it calls.
fn is_same_origin(origin: &HeaderValue, host: &Authority) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let (rest, default_port) = if let Some(rest) = origin.strip_prefix("http://") {
        (rest, 80)
    } else if let Some(rest) = origin.strip_prefix("https://") {
        (rest, 443)
    } else {
        return false;
    };
    parse_authority(rest).is_some_and(|origin| {
        origin.host == host.host && origin.port.unwrap_or(default_port) == host.port.unwrap_or(default_port)
    })
}

fn is_json(content_type: Option<&HeaderValue>) -> bool {
    content_type.and_then(|value| value.to_str().ok()).is_some_and(|value| {
        value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    })
}
