//! The raw head of an HTTP/1 request: where it ends, how its body is framed, and what is refused before anything
//! parses it. The one place for refusals that need the bytes as sent.

use security::canonical;

use crate::rejection::Rejection;

/// Longest request target; beyond: 414.
const MAX_TARGET_BYTES: usize = 8 * 1024;
/// Most header fields; beyond: 431.
const MAX_FIELDS: usize = 100;
/// What an HTTP/2 client with prior knowledge sends first.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// First byte of a TLS record that opens a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1, or nothing we know: its head decides.
    Http1,
    /// The whole HTTP/2 preface.
    Http2,
    /// A TLS handshake.
    Tls,
    /// More bytes are needed to tell.
    Undecided,
}

/// Tells protocols apart at the first byte that differs, so that nobody waits for 24 bytes.
pub(super) fn protocol(bytes: &[u8]) -> Protocol {
    match bytes.first() {
        None => Protocol::Undecided,
        Some(&TLS_HANDSHAKE) => Protocol::Tls,
        Some(_) if bytes.starts_with(H2_PREFACE) => Protocol::Http2,
        Some(_) if H2_PREFACE.starts_with(bytes) => Protocol::Undecided,
        Some(_) => Protocol::Http1,
    }
}

/// How the body of a request is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes follow; 0 = no body.
    Length(u64),
    /// Chunks follow.
    Chunked,
    /// The client asks for a WebSocket: what follows belongs to the tunnel.
    Upgrade,
}

/// A whole head that may be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Where it begins: after an empty line that some clients send first.
    pub start: usize,
    /// Where it ends: after its empty line.
    pub end: usize,
    /// What follows it.
    pub framing: Framing,
}

/// Looks for a whole head in `bytes`. `Ok(None)`: more bytes are needed.
pub(super) fn scan(bytes: &[u8]) -> Result<Option<Head>, Rejection> {
    let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let mut fields = Fields::default();
    let mut line_start = start;
    let mut request_line = None;
    while let Some(line) = next_line(bytes, line_start)? {
        let next = line_start + line.len() + 2;
        match request_line {
            None => request_line = Some(check_request_line(line)?),
            Some(request_line) if line.is_empty() => {
                let framing = fields.framing(request_line.version)?;
                fields.check_target(request_line.target)?;
                return Ok(Some(Head { start, end: next, framing }));
            }
            Some(_) => fields.read(line)?,
        }
        line_start = next;
    }
    // A request line that goes on and on is not waited for.
    if request_line.is_none() && bytes.len() - start > MAX_TARGET_BYTES + 64 {
        return Err(Rejection::TargetTooLong);
    }
    Ok(None)
}

fn bad(reason: &'static str) -> Rejection {
    Rejection::BadRequest(reason)
}

/// The line that begins at `start`, without its CRLF. LF alone ends no line.
fn next_line(bytes: &[u8], start: usize) -> Result<Option<&[u8]>, Rejection> {
    let rest = bytes.get(start..).unwrap_or_default();
    match rest.iter().position(|byte| *byte == b'\n') {
        None => Ok(None),
        Some(0) => Err(bad("bare_line_feed")),
        Some(end) if rest[end - 1] != b'\r' => Err(bad("bare_line_feed")),
        Some(end) => Ok(Some(&rest[..end - 1])),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

/// The parts of a request line that count later.
#[derive(Debug, Clone, Copy)]
struct RequestLine<'a> {
    target: &'a [u8],
    version: Version,
}

fn check_request_line(line: &[u8]) -> Result<RequestLine<'_>, Rejection> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(bad("request_line"));
    };
    let is_method_byte = |byte: &u8| byte.is_ascii_uppercase() || *byte == b'-';
    if method.is_empty() || method.len() > 24 || !method.iter().all(is_method_byte) {
        return Err(bad("method"));
    }
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Rejection::VersionNotSupported);
        }
        _ => return Err(bad("request_line")),
    };
    if matches!(method, b"TRACE" | b"TRACK" | b"CONNECT") {
        return Err(Rejection::MethodNotAllowed);
    }
    if target.contains(&b'#') {
        // A fragment is dropped by whoever parses the target next.
        return Err(bad("path_fragment"));
    }
    if target.is_empty() || !target.iter().all(|byte| matches!(byte, b'!'..=b'~')) {
        return Err(bad("target_character"));
    }
    if target.len() > MAX_TARGET_BYTES {
        return Err(Rejection::TargetTooLong);
    }
    Ok(RequestLine { target, version })
}

/// What the fields of a head say about its framing.
#[derive(Debug, Default)]
struct Fields<'a> {
    count: usize,
    host: &'a [u8],
    hosts: usize,
    content_length: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

impl<'a> Fields<'a> {
    fn read(&mut self, line: &'a [u8]) -> Result<(), Rejection> {
        self.count += 1;
        if self.count > MAX_FIELDS {
            return Err(Rejection::HeadTooLarge);
        }
        if line.iter().any(|byte| matches!(byte, 0 | b'\r')) {
            return Err(bad("field_character"));
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Err(bad("field_without_colon"));
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.is_empty() || name.iter().any(|byte| !matches!(byte, b'!'..=b'~')) {
            // A blank before the colon or at the start of a line (folding) is here too.
            return Err(bad("field_name"));
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                canonical::host(value).map_err(|refusal| bad(refusal.reason()))?;
                self.host = value;
                self.hosts += 1;
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade |= trim(value).eq_ignore_ascii_case(b"websocket");
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = content_length(value).ok_or_else(|| bad("content_length"))?;
                if self.content_length.replace(length).is_some() {
                    return Err(bad("content_length_twice"));
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let is_chunked = trim(value).eq_ignore_ascii_case(b"chunked");
                if !is_chunked || std::mem::replace(&mut self.chunked, true) {
                    return Err(bad("transfer_encoding"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A path, `*`, or a URL whose host is the one that the `Host` field names.
    fn check_target(&self, target: &[u8]) -> Result<(), Rejection> {
        if target[0] == b'/' || target == b"*" {
            return Ok(());
        }
        let target = canonical::split_target(target).map_err(|refusal| bad(refusal.reason()))?;
        let authority = target.authority.unwrap_or_default();
        let authority = canonical::host(authority).map_err(|refusal| bad(refusal.reason()))?;
        let agrees = self.hosts == 0 || canonical::host(self.host).is_ok_and(|host| host == authority);
        if agrees { Ok(()) } else { Err(bad("host_mismatch")) }
    }

    fn framing(&self, version: Version) -> Result<Framing, Rejection> {
        let hosts_allowed = match version {
            Version::Http10 => self.hosts <= 1,
            Version::Http11 => self.hosts == 1,
        };
        if !hosts_allowed {
            return Err(bad(if self.hosts == 0 { "host_missing" } else { "host_twice" }));
        }
        match (self.chunked, self.content_length) {
            (true, Some(_)) => Err(bad("two_framings")),
            (true, None) if version == Version::Http10 => Err(bad("transfer_encoding")),
            (true, None) => Ok(Framing::Chunked),
            (false, None | Some(0)) if self.upgrade => Ok(Framing::Upgrade),
            (false, length) => Ok(Framing::Length(length.unwrap_or(0))),
        }
    }
}

/// Digits and nothing else.
fn content_length(value: &[u8]) -> Option<u64> {
    let digits = trim(value);
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0')))
}

/// Without the blanks and tabs around it, and nothing else.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Ok`: framing; `Err`: status.
    fn check(head: &str, expected: Result<Framing, u16>) {
        let found = scan(head.as_bytes());
        let found = match found {
            Ok(Some(found)) => Ok(found.framing),
            Ok(None) => Err(0),
            Err(rejection) => Err(rejection.status().as_u16()),
        };
        assert_eq!(found, expected, "{head:?}");
    }

    #[test]
    fn a_head_that_two_readers_could_read_differently_is_refused() {
        let with = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        for (fields, expected) in [
            ("", Ok(Framing::Length(0))),
            ("Content-Length: 5\r\n", Ok(Framing::Length(5))),
            ("content-length:5 \t\r\n", Ok(Framing::Length(5))),
            ("Transfer-Encoding: CHUNKED\r\n", Ok(Framing::Chunked)),
            ("Upgrade: websocket\r\n", Ok(Framing::Upgrade)),
            ("Upgrade: h2c\r\n", Ok(Framing::Length(0))),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Err(400)),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Err(400)),
            ("Content-Length: 0\r\nContent-Length: 37\r\n", Err(400)),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", Err(400)),
            ("Content-Length: 5, 5\r\n", Err(400)),
            ("Content-Length: +5\r\n", Err(400)),
            ("Content-Length: -1\r\n", Err(400)),
            ("Content-Length: 0x5\r\n", Err(400)),
            ("Content-Length:\r\n", Err(400)),
            ("Content-Length: 5 5\r\n", Err(400)),
            ("Content-Length: 18446744073709551621\r\n", Err(400)),
            ("Transfer-Encoding: xchunked\r\n", Err(400)),
            ("Transfer-Encoding: chunked, identity\r\n", Err(400)),
            ("Transfer-Encoding: gzip, chunked\r\n", Err(400)),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err(400)),
            ("Transfer-Encoding: ,chunked\r\n", Err(400)),
            ("Transfer-Encoding : chunked\r\n", Err(400)),
            ("Transfer-Encoding: \u{b}chunked\r\n", Err(400)),
            ("Host: b\r\n", Err(400)),
            ("X: a\rb\r\n", Err(400)),
            ("X: a\0b\r\n", Err(400)),
            ("X: a\r\n b\r\n", Err(400)),
            ("X\r\n", Err(400)),
            (": x\r\n", Err(400)),
        ] {
            check(&with(fields), expected);
        }
        let many = "X: y\r\n".repeat(300);
        check(&with(&many), Err(431));
    }

    #[test]
    fn a_request_line_has_one_form() {
        for (line, expected) in [
            ("GET / HTTP/1.1", Ok(Framing::Length(0))),
            ("GET / HTTP/1.0", Ok(Framing::Length(0))),
            ("GET  / HTTP/1.1", Err(400)),
            ("GET\t/\tHTTP/1.1", Err(400)),
            ("GET / HTTP/1.2", Err(505)),
            ("GET / HTTP/2.0", Err(505)),
            ("GET /", Err(400)),
            ("GET / http/1.1", Err(400)),
            ("G=\":<>(e),[T]; / HTTP/1.1", Err(400)),
            ("get / HTTP/1.1", Err(400)),
            ("CONNECT a:1 HTTP/1.1", Err(405)),
            ("TRACE / HTTP/1.1", Err(405)),
            ("TRACK / HTTP/1.1", Err(405)),
            ("GET /\u{1} HTTP/1.1", Err(400)),
            ("GET /ü HTTP/1.1", Err(400)),
        ] {
            check(&format!("{line}\r\nHost: a\r\n\r\n"), expected);
        }
        let long = "a".repeat(9000);
        check(&format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), Err(414));
        check(&format!("GET /{long}"), Err(414));
    }

    #[test]
    fn line_ends_and_hosts_are_checked() {
        for (head, expected) in [
            ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Ok(Framing::Length(0))),
            ("GET / HTTP/1.1\nHost: a\n\n", Err(400)),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", Err(400)),
            ("GET / HTTP/1.1\r\n\r\n", Err(400)),
            ("GET / HTTP/1.0\r\n\r\n", Ok(Framing::Length(0))),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Err(400)),
            ("GET / HTTP/1.1\r\nHost: a\r\n", Err(0)),
        ] {
            check(head, expected);
        }
    }

    #[test]
    fn a_head_ends_at_its_empty_line_and_the_rest_is_left() {
        let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2";
        let head = scan(bytes).unwrap().unwrap();
        assert_eq!(&bytes[head.end..], b"GET /2");
    }

    #[test]
    fn every_prefix_of_a_good_head_waits_for_more() {
        let bytes = b"POST /a?b=c HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
        for end in 0..bytes.len() {
            assert_eq!(scan(&bytes[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn protocols_are_told_apart_at_the_first_byte_that_differs() {
        for (bytes, expected) in [
            (&b""[..], Protocol::Undecided),
            (b"P", Protocol::Undecided),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n", Protocol::Undecided),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0", Protocol::Http2),
            (b"PO", Protocol::Http1),
            (b"G", Protocol::Http1),
            (b"\x16\x03", Protocol::Tls),
        ] {
            assert_eq!(protocol(bytes), expected, "{bytes:?}");
        }
    }
}
