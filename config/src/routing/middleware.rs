//! HTTP middlewares that are valid.

use crate::install::Redirection;

/// What a router does to a request before it is forwarded, or in place of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Middleware {
    /// `redirectScheme`.
    RedirectScheme(RedirectScheme),
}

/// `redirectScheme`: requests of another scheme, or to another port, are sent to this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectScheme {
    /// Over TLS or not.
    pub scheme: WebScheme,
    /// Port of the target; none: the scheme's own.
    pub port: Option<u16>,
    /// 301 and 308 in place of 302 and 307.
    pub permanent: bool,
}

/// Scheme of a web page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebScheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

impl WebScheme {
    /// Reads it, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            _ if text.eq_ignore_ascii_case("http") => Some(Self::Http),
            _ if text.eq_ignore_ascii_case("https") => Some(Self::Https),
            _ => None,
        }
    }

    /// As in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that a URL need not name.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl RedirectScheme {
    /// What an entry point's redirection does.
    pub(super) fn of_entry_point(redirection: &Redirection) -> Option<Self> {
        let scheme = WebScheme::parse(&redirection.scheme)?;
        let port = redirection.port.filter(|port| *port != scheme.default_port());
        Some(Self { scheme, port, permanent: redirection.permanent })
    }
}
