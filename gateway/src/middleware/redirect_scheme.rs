//! `redirectScheme`: requests of another scheme, or to another port, are sent to this one. Redirections of entry points
//! are made of it.

use bytes::Bytes;
use config::routing::middleware::{RedirectScheme as Settings, WebScheme};
use http::{HeaderValue, Method, Response, StatusCode, header};

use super::{Asked, Outcome};

/// Built from its settings.
#[derive(Debug, Clone)]
pub struct RedirectScheme {
    scheme: WebScheme,
    /// None where a URL need not name it.
    port: Option<u16>,
    permanent: bool,
}

impl RedirectScheme {
    pub(super) fn new(settings: &Settings) -> Self {
        let Settings { scheme, port, permanent } = *settings;
        Self { scheme, port: port.filter(|port| *port != scheme.default_port()), permanent }
    }

    /// A request to what it would be sent to goes on. As in Traefik the port that it named counts, and is replaced:
    /// `https` without a port sends `https://host:8443/` to `https://host/`.
    pub(super) fn handle(&self, asked: &Asked<'_>) -> Outcome {
        let scheme = if asked.https { WebScheme::Https } else { WebScheme::Http };
        let port = asked.port.filter(|port| *port != scheme.default_port());
        if asked.host.is_empty() || (scheme, port) == (self.scheme, self.port) {
            return Outcome::Continue;
        }
        let status = match (asked.method == Method::GET, self.permanent) {
            (true, true) => StatusCode::MOVED_PERMANENTLY,
            (true, false) => StatusCode::FOUND,
            (false, true) => StatusCode::PERMANENT_REDIRECT,
            (false, false) => StatusCode::TEMPORARY_REDIRECT,
        };
        let mut response = Response::new(Bytes::from(status.canonical_reason().unwrap_or_default()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::LOCATION, self.location(asked));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        Outcome::Respond(response)
    }

    /// Always absolute, so that no path can be taken for a host.
    fn location(&self, asked: &Asked<'_>) -> HeaderValue {
        let query = asked.query.unwrap_or("");
        let mut url = String::with_capacity(24 + asked.host.len() + asked.path.len() + query.len());
        url.push_str(self.scheme.as_str());
        url.push_str("://");
        let is_ipv6 = asked.host.contains(':');
        if is_ipv6 {
            url.push('[');
        }
        url.push_str(asked.host);
        if is_ipv6 {
            url.push(']');
        }
        if let Some(port) = self.port {
            url.push(':');
            url.push_str(&port.to_string());
        }
        push_visible(&mut url, asked.path);
        if asked.query.is_some() {
            url.push('?');
            push_visible(&mut url, query);
        }
        HeaderValue::try_from(url).expect("a URL of visible characters is a field value")
    }
}

/// What no URL contains is escaped.
fn push_visible(url: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_graphic() {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_sent_to_the_scheme_and_port_unless_it_is_there() {
        let check = |settings: (&str, Option<u16>, bool),
                     asked: (&str, bool, &str, Option<u16>, &str),
                     expected: &str| {
            let (scheme, port, permanent) = settings;
            let scheme = WebScheme::parse(scheme).unwrap();
            let redirect = RedirectScheme::new(&Settings { scheme, port, permanent });
            let (method, https, host, port, target) = asked;
            let (path, query) =
                target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let found = match redirect.handle(&Asked { method: &method, https, host, port, path, query }) {
                Outcome::Continue => "goes on".to_owned(),
                Outcome::Respond(response) => {
                    let location = response.headers()[header::LOCATION].to_str().unwrap();
                    format!("{} {location}", response.status().as_u16())
                }
            };
            assert_eq!(found, expected, "{settings:?} {asked:?}");
        };
        let get = |target| ("GET", false, "example.com", None, target);
        let for_good = ("https", None, true);
        check(for_good, get("/a?b=1"), "301 https://example.com/a?b=1");
        check(("https", None, false), get("/a"), "302 https://example.com/a");
        check(for_good, ("POST", false, "example.com", None, "/a"), "308 https://example.com/a");
        check(
            ("https", None, false),
            ("POST", false, "example.com", None, "/a"),
            "307 https://example.com/a",
        );
        check(
            ("https", None, false),
            ("HEAD", false, "example.com", None, "/a"),
            "307 https://example.com/a",
        );
        check(for_good, ("GET", false, "example.com", Some(8080), "/a"), "301 https://example.com/a");
        check(("https", Some(8443), true), get("/a"), "301 https://example.com:8443/a");
        check(("https", Some(443), true), get("/a"), "301 https://example.com/a");
        check(for_good, ("GET", true, "example.com", None, "/a"), "goes on");
        check(for_good, ("GET", true, "example.com", Some(443), "/a"), "goes on");
        check(for_good, ("GET", true, "example.com", Some(8443), "/a"), "301 https://example.com/a");
        check(
            ("https", Some(8443), false),
            ("GET", true, "example.com", None, "/a"),
            "302 https://example.com:8443/a",
        );
        check(("https", Some(8443), false), ("GET", true, "example.com", Some(8443), "/a"), "goes on");
        check(("http", None, false), ("GET", true, "example.com", None, "/"), "302 http://example.com/");
        check(for_good, ("GET", false, "2001:db8::1", None, "/"), "301 https://[2001:db8::1]/");
        check(for_good, get("//evil.test/%2e?"), "301 https://example.com//evil.test/%2e?");
        check(for_good, get("/?q=a b\u{e9}\""), "301 https://example.com/?q=a%20b%C3%A9\"");
        check(for_good, ("GET", false, "", None, "/"), "goes on");
    }
}
