//! The path and query that a request asks for, in the one form that everything compares.
//!
//! The forwarded path is normalised (unreserved escapes decoded, hex in capitals) and sanitised (dot segments
//! and repeated slashes resolved, never above the root). The routing path, which rules see, is the same with
//! every escape decoded but those of reserved characters.

use std::borrow::Cow;

/// How a path is made canonical.
#[derive(Debug, Clone, Copy)]
pub struct PathOptions<'a> {
    /// Resolve dot segments and repeated slashes (`sanitizePath`).
    pub sanitize: bool,
    /// Characters that are refused in encoded form (`encodedCharacters`).
    pub refused_encoded: &'a [u8],
}

impl Default for PathOptions<'_> {
    fn default() -> Self {
        Self { sanitize: true, refused_encoded: &[] }
    }
}

/// A canonical path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path<'a> {
    forwarded: Cow<'a, str>,
    /// None where it is the same as the forwarded one.
    routing: Option<String>,
}

impl<'a> Path<'a> {
    /// What goes upstream and into the log.
    pub fn forwarded(&self) -> &str {
        &self.forwarded
    }

    /// What rules see.
    pub fn routing(&self) -> &str {
        self.routing.as_deref().unwrap_or(&self.forwarded)
    }

    /// The path as sent was canonical already, so nothing was copied.
    pub fn is_as_sent(&self) -> bool {
        matches!(self.forwarded, Cow::Borrowed(_))
    }

    /// The same, borrowing nothing.
    pub fn into_owned(self) -> Path<'static> {
        Path { forwarded: Cow::Owned(self.forwarded.into_owned()), routing: self.routing }
    }
}

/// Why a path is refused with 400. Its text is the fixed sentence for log and client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PathRefusal {
    /// It does not begin with `/`.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// A raw `#`.
    #[error("the path contains a raw fragment sign")]
    Fragment,
    /// A raw control character, blank, backslash or byte above `~`.
    #[error("the path contains a character that must be percent-encoded")]
    Character,
    /// `%` without two hexadecimal digits.
    #[error("the path contains a broken percent-escape")]
    Escape,
    /// `%00`.
    #[error("the path contains an encoded NUL")]
    Nul,
    /// A reserved character in encoded form that this entry point refuses.
    #[error("the path contains an encoded character that is not allowed here")]
    EncodedCharacter,
}

impl PathRefusal {
    /// A word for metrics and the access log's reason field.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotAbsolute => "path_not_absolute",
            Self::Fragment => "path_fragment",
            Self::Character => "path_character",
            Self::Escape => "path_escape",
            Self::Nul => "path_nul",
            Self::EncodedCharacter => "path_encoded_character",
        }
    }
}

/// A request target, taken apart and not yet canonical.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// Host and port of an absolute-form target; it must agree with `Host`. Its scheme is not believed.
    pub authority: Option<&'a [u8]>,
    /// The path; `/` where an absolute-form target has none.
    pub path: &'a [u8],
    /// What follows the first `?`.
    pub query: Option<&'a str>,
}

/// Why a target is refused with 400. Its text is the fixed sentence for log and client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TargetRefusal {
    /// Neither a path nor an `http` or `https` URL.
    #[error("the request target is neither a path nor a URL")]
    Form,
    /// The query has a raw control character, blank, `#` or byte above `~`.
    #[error("the query contains a character that must be percent-encoded")]
    Query,
}

impl TargetRefusal {
    /// A word for metrics and the access log's reason field.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Form => "target_form",
            Self::Query => "target_query",
        }
    }
}

/// Takes an origin-form or absolute-form target apart. `*` and the authority form of CONNECT are for the caller.
pub fn split_target(target: &[u8]) -> Result<Target<'_>, TargetRefusal> {
    let (authority, rest) = if target.first() == Some(&b'/') {
        (None, target)
    } else {
        let rest = strip_scheme(target).ok_or(TargetRefusal::Form)?;
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        (Some(&rest[..end]), &rest[end..])
    };
    let (path, query) = match rest.iter().position(|byte| *byte == b'?') {
        Some(mark) => (&rest[..mark], Some(&rest[mark + 1..])),
        None => (rest, None),
    };
    let query = match query {
        Some(query) if query.iter().any(|byte| !matches!(byte, b'!'..=b'~') || *byte == b'#') => {
            return Err(TargetRefusal::Query);
        }
        Some(query) => Some(std::str::from_utf8(query).map_err(|_| TargetRefusal::Query)?),
        None => None,
    };
    Ok(Target { authority, path: if path.is_empty() { b"/" } else { path }, query })
}

fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

/// Canonical form of a path. Allocates nothing where the path is canonical already.
pub fn path<'a>(path: &'a [u8], options: PathOptions<'_>) -> Result<Path<'a>, PathRefusal> {
    if path.first() != Some(&b'/') {
        return Err(PathRefusal::NotAbsolute);
    }
    if is_plain(path, options.sanitize) {
        let text = std::str::from_utf8(path).map_err(|_| PathRefusal::Character)?;
        return Ok(Path { forwarded: Cow::Borrowed(text), routing: None });
    }
    let normal = normalize(path, options.refused_encoded)?;
    let forwarded = if options.sanitize { sanitize(&normal) } else { normal };
    let routing = forwarded.contains('%').then(|| decode_for_routing(&forwarded));
    let forwarded = if forwarded.as_bytes() == path {
        Cow::Borrowed(std::str::from_utf8(path).map_err(|_| PathRefusal::Character)?)
    } else {
        Cow::Owned(forwarded)
    };
    Ok(Path { forwarded, routing })
}

/// Canonical form of a query: a raw `;` separates like `&`, or is data (`%3B`) with `encodeQuerySemicolons`.
pub fn query(query: &str, encode_semicolons: bool) -> Cow<'_, str> {
    if !query.contains(';') {
        Cow::Borrowed(query)
    } else if encode_semicolons {
        Cow::Owned(query.replace(';', "%3B"))
    } else {
        Cow::Owned(query.replace(';', "&"))
    }
}

/// One scan that proves a path canonical: no escapes, nothing to encode or refuse, and (when sanitising) no
/// empty or dot segment. A segment that merely begins with a dot takes the long way, which is right as well.
fn is_plain(path: &[u8], sanitize: bool) -> bool {
    let mut previous = b' ';
    for &byte in path {
        if CLASS[byte as usize] != Class::Plain
            || (sanitize && previous == b'/' && matches!(byte, b'/' | b'.'))
        {
            return false;
        }
        previous = byte;
    }
    true
}

/// What a raw byte of a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Stays as it is.
    Plain,
    /// Printable, yet never raw in a URL: becomes an escape, as Traefik forwards it.
    Encode,
    /// `%`.
    Escape,
    /// 400.
    Refuse,
}

const CLASS: [Class; 256] = {
    let mut table = [Class::Refuse; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        table[byte] = Class::Plain;
        byte += 1;
    }
    let encode = b"\"<>^`{|}";
    let mut index = 0;
    while index < encode.len() {
        table[encode[index] as usize] = Class::Encode;
        index += 1;
    }
    table[b'%' as usize] = Class::Escape;
    table[b'#' as usize] = Class::Refuse;
    table[b'\\' as usize] = Class::Refuse;
    table
};

fn normalize(path: &[u8], refused_encoded: &[u8]) -> Result<String, PathRefusal> {
    let mut normal = String::with_capacity(path.len() + 8);
    let mut index = 0;
    while let Some(&byte) = path.get(index) {
        index += 1;
        match CLASS[byte as usize] {
            Class::Plain => normal.push(byte as char),
            Class::Encode => push_escape(&mut normal, byte),
            Class::Refuse if byte == b'#' => return Err(PathRefusal::Fragment),
            Class::Refuse => return Err(PathRefusal::Character),
            Class::Escape => {
                let digits = path.get(index..index + 2).ok_or(PathRefusal::Escape)?;
                let decoded = decode_hex(digits[0], digits[1]).ok_or(PathRefusal::Escape)?;
                index += 2;
                if decoded == 0 {
                    return Err(PathRefusal::Nul);
                }
                if refused_encoded.contains(&decoded) {
                    return Err(PathRefusal::EncodedCharacter);
                }
                if is_unreserved(decoded) {
                    normal.push(decoded as char);
                } else {
                    push_escape(&mut normal, decoded);
                }
            }
        }
    }
    Ok(normal)
}

/// Resolves dot segments and repeated slashes. A slash at the end is kept, a dot segment at the end leaves none.
fn sanitize(path: &str) -> String {
    let mut clean = String::with_capacity(path.len());
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => clean.truncate(clean.rfind('/').unwrap_or(0)),
            segment => {
                clean.push('/');
                clean.push_str(segment);
            }
        }
    }
    if clean.is_empty() || path.ends_with('/') {
        clean.push('/');
    }
    clean
}

/// Decodes every escape but those of reserved characters. What is not UTF-8 stays an escape, so that the routing
/// path is text; `%25` stays, so that such an escape cannot be forged.
fn decode_for_routing(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        let escape = (byte == b'%')
            .then(|| bytes.get(index + 1..index + 3))
            .flatten()
            .and_then(|digits| decode_hex(digits[0], digits[1]));
        match escape {
            Some(value) if !is_reserved(value) => {
                decoded.push(value);
                index += 3;
            }
            Some(_) | None => {
                decoded.push(byte);
                index += 1;
            }
        }
    }
    match String::from_utf8(decoded) {
        Ok(text) => text,
        Err(error) => {
            let mut text = String::with_capacity(bytes.len());
            for chunk in error.as_bytes().utf8_chunks() {
                text.push_str(chunk.valid());
                for &byte in chunk.invalid() {
                    push_escape(&mut text, byte);
                }
            }
            text
        }
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The reserved set of RFC 3986 and `%`; `\` as well, which some servers take for a slash.
fn is_reserved(byte: u8) -> bool {
    b":/?#[]@!$&'()*+,;=%\\".contains(&byte)
}

fn push_escape(text: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    text.push('%');
    text.push(DIGITS[usize::from(byte >> 4)] as char);
    text.push(DIGITS[usize::from(byte & 15)] as char);
}

fn decode_hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    Some(digit(high)? << 4 | digit(low)?)
}
