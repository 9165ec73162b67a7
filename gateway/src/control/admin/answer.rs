//! How answers of the admin API are written: JSON as Traefik writes it, and errors in both dialects.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::json;

/// A whole answer.
pub(super) type Answer = Response<Bytes>;

/// Text of one type.
pub(super) fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// A value as compact JSON. `<`, `>` and `&` are escaped as Go's encoder does, so that the text may stand in a
/// page.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    text(status, "application/json", to_json(value))
}

/// These characters stand only inside of strings, so that replacing them in the text is enough.
pub(super) fn to_json(value: &impl Serialize) -> String {
    let plain = serde_json::to_string(value).expect("views are maps with text keys, lists and scalars");
    let mut text = String::with_capacity(plain.len() + plain.len() / 16);
    for character in plain.chars() {
        match character {
            '<' => text.push_str("\\u003c"),
            '>' => text.push_str("\\u003e"),
            '&' => text.push_str("\\u0026"),
            '\u{2028}' => text.push_str("\\u2028"),
            '\u{2029}' => text.push_str("\\u2029"),
            other => text.push(other),
        }
    }
    text
}

/// An error of our own paths (RFC 9457).
pub(super) fn problem(status: StatusCode, detail: &str) -> Answer {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = json!({ "title": title, "status": status.as_u16(), "detail": detail });
    let mut answer = text(status, "application/problem+json", to_json(&body));
    if status == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

/// An error of Traefik's paths: JSON that is sent as text, with a newline.
pub(super) fn traefik_error(status: StatusCode, message: &str) -> Answer {
    let body = format!("{}\n", to_json(&json!({ "message": message })));
    text(status, "text/plain; charset=utf-8", body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_escaped_as_go_does() {
        let rule = "Path(`/a`) && Header(`X`, `<\\d>`)";
        assert_eq!(
            to_json(&json!({ "rule": rule })),
            r#"{"rule":"Path(`/a`) \u0026\u0026 Header(`X`, `\u003c\\d\u003e`)"}"#
        );
    }
}
