//! Answers: our own, and what is taken out of a server's on its way back.

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use smallvec::SmallVec;

use crate::rejection::Rejection;

/// An answer of our own.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The connection is closed after it.
    pub(super) closes: bool,
}

impl Answer {
    /// The whole answer for a rejection.
    pub(super) fn rejection(rejection: &Rejection, request_id: Option<&HeaderValue>) -> Self {
        let mut headers = HeaderMap::with_capacity(5);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(after) = rejection.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        if let Some(id) = request_id {
            headers.insert(HeaderName::from_static("x-request-id"), id.clone());
        }
        Self {
            status: rejection.status(),
            headers,
            body: Bytes::from_static(rejection.sentence().as_bytes()),
            closes: rejection.closes(),
        }
    }

    /// 200 with this text.
    pub(super) fn text(text: &str) -> Self {
        let mut headers = HeaderMap::with_capacity(1);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        Self { headers, body: Bytes::copy_from_slice(text.as_bytes()), ..Self::empty() }
    }

    /// 200 and nothing else.
    pub(super) fn empty() -> Self {
        Self { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::new(), closes: false }
    }
}

impl From<http::Response<Bytes>> for Answer {
    fn from(response: http::Response<Bytes>) -> Self {
        let (parts, body) = response.into_parts();
        Self { status: parts.status, headers: parts.headers, body, closes: false }
    }
}

/// A rejection in bytes, for heads that no session sees.
pub(super) fn wire(rejection: &Rejection) -> Vec<u8> {
    let (status, sentence) = (rejection.status(), rejection.sentence());
    format!(
        "HTTP/1.1 {} {}\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{sentence}",
        status.as_str(),
        status.canonical_reason().unwrap_or_default(),
        sentence.len(),
    )
    .into_bytes()
}

/// Fields of a server's answer that end here. `upgraded`: a 101, whose `Upgrade` goes on.
pub(super) fn fields_that_end_here(headers: &HeaderMap, upgraded: bool) -> SmallVec<[HeaderName; 4]> {
    let mut ending = SmallVec::new();
    for value in headers.get_all(header::CONNECTION) {
        for option in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            // What nearly every server says names no field of its answer but `Keep-Alive`, which is met below.
            if option.eq_ignore_ascii_case(b"keep-alive") || option.eq_ignore_ascii_case(b"close") {
                continue;
            }
            if let Ok(name) = HeaderName::from_bytes(option)
                && !matches!(name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::UPGRADE)
                && headers.contains_key(&name)
            {
                ending.push(name);
            }
        }
    }
    for name in headers.keys() {
        let ends = match name.as_str() {
            // Pingora writes its own `Connection`.
            "keep-alive" | "proxy-connection" | "proxy-authenticate" | "trailer" | "alt-svc" => true,
            "upgrade" => !upgraded,
            _ => false,
        };
        if ends {
            ending.push(name.clone());
        }
    }
    ending
}

/// The server agreed to switch to what was asked for.
pub(super) fn agrees_to_websocket(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}
