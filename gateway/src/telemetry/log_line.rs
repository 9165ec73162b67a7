//! How an access-log line looks: Traefik's common, generic and JSON formats, in the form that CrowdSec's Traefik
//! parser reads whatever a client sends. One request is one line of at most 8 KiB: every byte that could end a
//! line or a field is escaped.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use config::Install;
use config::install::{AccessLog as Settings, AccessLogFormat, FieldMode, FieldModes};
use config::name::EntryPointName;
use config::routing::{Scheme, Server};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use smallvec::SmallVec;
use time::OffsetDateTime;

use super::AccessRecord;
use super::escape::{push_clf, push_json, push_number, push_padded};

/// A line's length without its newline. Fields are cut before it is reached.
const LINE_BYTES: usize = 8 * 1024;

/// Longest path and query, after escaping.
const PATH_BYTES: usize = 2048;

/// Longest user agent, referrer or other header field, after escaping.
const HEADER_BYTES: usize = 1024;

/// Longest host, reason, method and the like, after escaping.
const SHORT_BYTES: usize = 256;

/// What the program has to know to write a line.
#[derive(Debug)]
pub(super) struct LineFormat {
    format: AccessLogFormat,
    fields: FieldModes,
    headers: FieldModes,
    user_agent: FieldMode,
    keep_query: bool,
    entry_points: Vec<EntryPointName>,
}

impl LineFormat {
    pub(super) fn new(install: &Install, settings: &Settings) -> Self {
        let names = &settings.headers.names;
        Self {
            format: settings.format,
            fields: settings.fields.clone(),
            headers: settings.headers.clone(),
            // Written unless the operator names it: CrowdSec's scenarios for bad user agents need it, and
            // Traefik's default would leave them blind.
            user_agent: names.get("user-agent").copied().unwrap_or(FieldMode::Keep),
            keep_query: settings.keep_query,
            entry_points: install.entry_points.iter().map(|entry_point| entry_point.name.clone()).collect(),
        }
    }

    /// Appends one line, without its newline.
    pub(super) fn write(&self, line: &mut Vec<u8>, record: &AccessRecord<'_>, count: u64) {
        match self.format {
            AccessLogFormat::Common => self.write_common(line, record, Some(count)),
            AccessLogFormat::GenericClf => self.write_common(line, record, None),
            AccessLogFormat::Json => self.write_json(line, record, count),
        }
    }

    fn write_common(&self, line: &mut Vec<u8>, record: &AccessRecord<'_>, count: Option<u64>) {
        let headers = record.request.map(|request| &request.headers);
        push_address(line, record.client);
        line.extend_from_slice(b" - - [");
        with_second(record.started, |second| line.extend_from_slice(&second.common));
        line.extend_from_slice(b"] \"");
        // The parser wants a word: whatever is not a known method is one.
        match record.request {
            Some(request) => line.extend_from_slice(known_method(&request.method).as_bytes()),
            None => line.extend_from_slice(b"UNKNOWN"),
        }
        line.push(b' ');
        push_clf(line, self.path(record).as_bytes(), PATH_BYTES, true);
        line.push(b' ');
        line.extend_from_slice(protocol(record).as_bytes());
        line.extend_from_slice(b"\" ");
        push_number(line, u64::from(record.status));
        line.push(b' ');
        push_number(line, record.response_body_bytes);
        let referer = match mode(&self.headers, "referer") {
            FieldMode::Keep => headers.and_then(|headers| headers.get(header::REFERER)),
            FieldMode::Drop => None,
            FieldMode::Redact => Some(&REDACTED),
        };
        push_quoted(line, referer);
        let user_agent = match self.user_agent {
            FieldMode::Keep => headers.and_then(|headers| headers.get(header::USER_AGENT)),
            FieldMode::Drop => None,
            FieldMode::Redact => Some(&REDACTED),
        };
        push_quoted(line, user_agent);
        let Some(count) = count else { return };
        line.push(b' ');
        push_number(line, count);
        line.extend_from_slice(b" \"");
        match record.route.map(|route| route.name.as_str()).filter(|name| is_common_name(name)) {
            Some(name) => push_clf(line, name.as_bytes(), SHORT_BYTES, true),
            None => line.push(b'-'),
        }
        line.extend_from_slice(b"\" \"");
        match record.upstream.map(|upstream| &upstream.server).filter(|server| is_parsed_host(&server.host)) {
            Some(server) => {
                line.extend_from_slice(match server.scheme {
                    Scheme::Http | Scheme::H2c => b"http://",
                    Scheme::Https => b"https://",
                });
                line.extend_from_slice(server.host.as_bytes());
                line.push(b':');
                push_number(line, u64::from(server.port));
            }
            None => line.push(b'-'),
        }
        line.extend_from_slice(b"\" ");
        push_number(line, u64::try_from(record.duration.as_millis()).unwrap_or(u64::MAX));
        line.extend_from_slice(b"ms");
        // What follows the milliseconds is not looked at by the parser.
        if !record.request_id.is_empty() {
            line.extend_from_slice(b" id=");
            push_clf(line, record.request_id.as_bytes(), SHORT_BYTES, true);
        }
        if !record.reason.is_empty() {
            line.extend_from_slice(b" reason=\"");
            push_clf(line, record.reason.as_bytes(), SHORT_BYTES, false);
            line.push(b'"');
        }
    }

    /// Keys in byte order, as Traefik writes them.
    fn write_json(&self, line: &mut Vec<u8>, record: &AccessRecord<'_>, count: u64) {
        let mut object = Object { line, modes: &self.fields, any: false };
        object.line.push(b'{');
        let port = record.peer.map_or(0, |peer| peer.port());
        let client = record.client.to_canonical();
        let ended = record.started.checked_add(record.duration).unwrap_or(record.started);
        object.raw_text("ClientAddr", |line| push_address_and_port(line, client, port));
        object.raw_text("ClientHost", |line| push_address(line, client));
        object.raw_text("ClientPort", |line| push_number(line, u64::from(port)));
        object.raw_text("ClientUsername", |line| line.push(b'-'));
        object.number("DownstreamContentSize", record.response_body_bytes);
        object.number("DownstreamStatus", u64::from(record.status));
        object.number("Duration", nanos(record.duration));
        object.number("OriginContentSize", record.origin_body_bytes);
        object.number("OriginDuration", nanos(record.origin_duration));
        object.number("OriginStatus", u64::from(record.origin_status));
        object.number("Overhead", nanos(record.duration.saturating_sub(record.origin_duration)));
        // Where a proxy in front of us was believed, who it was.
        if let Some(peer) = record.peer.filter(|peer| peer.ip().to_canonical() != client) {
            object.raw_text("PeerAddr", |line| {
                push_address_and_port(line, peer.ip().to_canonical(), peer.port());
            });
        }
        if !record.reason.is_empty() {
            object.text("Reason", record.reason.as_bytes(), SHORT_BYTES);
        }
        let (host, host_port) = split_host(record.host);
        object.text("RequestAddr", record.host.as_bytes(), SHORT_BYTES);
        object.number("RequestContentSize", record.request_body_bytes);
        object.number("RequestCount", count);
        object.text("RequestHost", host.as_bytes(), SHORT_BYTES);
        if !record.request_id.is_empty() {
            object.text("RequestId", record.request_id.as_bytes(), SHORT_BYTES);
        }
        let method = record.request.map_or("UNKNOWN", |request| request.method.as_str());
        object.text("RequestMethod", method.as_bytes(), SHORT_BYTES);
        object.text("RequestPath", self.path(record).as_bytes(), PATH_BYTES);
        object.text("RequestPort", host_port.as_bytes(), SHORT_BYTES);
        object.text("RequestProtocol", protocol(record).as_bytes(), SHORT_BYTES);
        object.text("RequestScheme", if record.tls.is_some() { b"https" } else { b"http" }, SHORT_BYTES);
        object.number("RetryAttempts", u64::from(record.retries));
        // A name without provider, or with a blank in it, would hide the whole line from CrowdSec.
        if let Some(route) = record.route.filter(|route| is_parsed_name(route.name.as_str())) {
            object.text("RouterName", route.name.as_str().as_bytes(), SHORT_BYTES);
        }
        if let Some(upstream) = record.upstream {
            object.raw_text("ServiceAddr", |line| push_server_address(line, &upstream.server));
        }
        if let Some(service) = record.service {
            object.text("ServiceName", service.name.as_str().as_bytes(), SHORT_BYTES);
        }
        if let Some(upstream) = record.upstream {
            object.text("ServiceURL", upstream.server.url.as_bytes(), SHORT_BYTES);
        }
        // The program's own zone is UTC: an image without files has no other.
        object.raw_text("StartLocal", |line| push_rfc3339(line, record.started, true));
        object.raw_text("StartUTC", |line| push_rfc3339(line, record.started, true));
        if let Some(tls) = record.tls {
            object.text("TLSCipher", tls.cipher.as_bytes(), SHORT_BYTES);
            if !tls.client_subject.is_empty() {
                object.text("TLSClientSubject", tls.client_subject.as_bytes(), SHORT_BYTES);
            }
            object.text("TLSVersion", tls.version.as_bytes(), SHORT_BYTES);
        }
        self.write_headers(&mut object, "downstream_", record.response_headers);
        let entry_point = self.entry_points.get(record.entry_point.0).map_or("", EntryPointName::as_str);
        object.text("entryPointName", entry_point.as_bytes(), SHORT_BYTES);
        object.raw_text("level", |line| line.extend_from_slice(b"info"));
        object.raw_text("msg", |_| {});
        self.write_headers(&mut object, "request_", record.request.map(|request| &request.headers));
        object.raw_text("time", |line| push_rfc3339(line, ended, false));
        object.line.push(b'}');
    }

    /// The kept header fields, by name. Stops where the line would grow too long.
    fn write_headers(&self, object: &mut Object<'_>, prefix: &str, headers: Option<&HeaderMap>) {
        let Some(headers) = headers else { return };
        let is_request = prefix == "request_";
        if self.headers.default == FieldMode::Drop && self.headers.names.is_empty() {
            if is_request && headers.contains_key(header::USER_AGENT) {
                self.write_header(object, prefix, &header::USER_AGENT, headers);
            }
            return;
        }
        let mut names: SmallVec<[&HeaderName; 32]> = headers.keys().collect();
        names.sort_unstable_by_key(|name| name.as_str());
        for name in names {
            if is_request || *name != header::USER_AGENT || self.headers.names.contains_key("user-agent") {
                self.write_header(object, prefix, name, headers);
            }
        }
    }

    fn write_header(&self, object: &mut Object<'_>, prefix: &str, name: &HeaderName, headers: &HeaderMap) {
        let mode =
            if *name == header::USER_AGENT { self.user_agent } else { mode(&self.headers, name.as_str()) };
        // Room for this field at its longest and for what closes the line.
        if mode == FieldMode::Drop || object.line.len() + 2 * HEADER_BYTES > LINE_BYTES {
            return;
        }
        object.header_key(prefix, name);
        object.line.push(b'"');
        if mode == FieldMode::Redact {
            object.line.extend_from_slice(b"REDACTED");
        } else {
            let mut left = HEADER_BYTES;
            for (position, value) in headers.get_all(name).iter().enumerate() {
                if position > 0 {
                    object.line.push(b',');
                }
                let before = object.line.len();
                push_json(object.line, value.as_bytes(), left);
                left = left.saturating_sub(object.line.len() - before + 1);
                if left == 0 {
                    break;
                }
            }
        }
        object.line.push(b'"');
    }

    fn path<'a>(&self, record: &AccessRecord<'a>) -> &'a str {
        let target = if record.target.is_empty() { "-" } else { record.target };
        if self.keep_query { target } else { target.split_once('?').map_or(target, |(path, _)| path) }
    }
}

static REDACTED: HeaderValue = HeaderValue::from_static("REDACTED");

/// An object that is being written.
#[derive(Debug)]
struct Object<'a> {
    line: &'a mut Vec<u8>,
    modes: &'a FieldModes,
    any: bool,
}

impl Object<'_> {
    /// Begins a field; false where it is dropped. A field that is to be redacted is dropped: only header fields
    /// can be redacted.
    fn key(&mut self, key: &str) -> bool {
        let kept = if self.modes.names.is_empty() {
            self.modes.default == FieldMode::Keep
        } else {
            mode_in_any_case(self.modes, key) == FieldMode::Keep
        };
        if kept {
            self.separate();
            self.line.push(b'"');
            self.line.extend_from_slice(key.as_bytes());
            self.line.extend_from_slice(b"\":");
        }
        kept
    }

    fn header_key(&mut self, prefix: &str, name: &HeaderName) {
        self.separate();
        self.line.push(b'"');
        self.line.extend_from_slice(prefix.as_bytes());
        let mut start_of_word = true;
        let name = name.as_str().as_bytes();
        for byte in &name[..name.len().min(SHORT_BYTES)] {
            self.line.push(if start_of_word { byte.to_ascii_uppercase() } else { *byte });
            start_of_word = *byte == b'-';
        }
        self.line.extend_from_slice(b"\":");
    }

    fn separate(&mut self) {
        if self.any {
            self.line.push(b',');
        }
        self.any = true;
    }

    fn number(&mut self, key: &str, value: u64) {
        if self.key(key) {
            push_number(self.line, value);
        }
    }

    fn text(&mut self, key: &str, value: &[u8], limit: usize) {
        self.raw_text(key, |line| push_json(line, value, limit));
    }

    /// A value that `write` makes safe itself.
    fn raw_text(&mut self, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
        if self.key(key) {
            self.line.push(b'"');
            write(self.line);
            self.line.push(b'"');
        }
    }
}

fn mode(modes: &FieldModes, lower_case_name: &str) -> FieldMode {
    modes.names.get(lower_case_name).copied().unwrap_or(modes.default)
}

fn mode_in_any_case(modes: &FieldModes, name: &str) -> FieldMode {
    modes
        .names
        .iter()
        .find(|(named, _)| named.eq_ignore_ascii_case(name))
        .map_or(modes.default, |(_, mode)| *mode)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn protocol(record: &AccessRecord<'_>) -> &'static str {
    match record.request.map(|request| request.version) {
        Some(http::Version::HTTP_09) => "HTTP/0.9",
        Some(http::Version::HTTP_10) => "HTTP/1.0",
        Some(http::Version::HTTP_2) => "HTTP/2.0",
        Some(http::Version::HTTP_3) => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

/// The standard methods, and those of WebDAV, that are one word; any other is `UNKNOWN`.
fn known_method(method: &http::Method) -> &'static str {
    const KNOWN: [&str; 16] = [
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
        "CONNECT",
        "OPTIONS",
        "TRACE",
        "PROPFIND",
        "PROPPATCH",
        "MKCOL",
        "COPY",
        "MOVE",
        "LOCK",
        "UNLOCK",
    ];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("UNKNOWN")
}

/// Whether CrowdSec's pattern takes this router's name: a provider of letters, digits, `-` and `.`, and no blank.
fn is_parsed_name(name: &str) -> bool {
    name.rsplit_once('@').is_some_and(|(name, provider)| {
        !name.is_empty()
            && !provider.is_empty()
            && provider.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
            && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"')
    })
}

/// The same for the common format, where the whole name has to be plain.
fn is_common_name(name: &str) -> bool {
    is_parsed_name(name)
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"@._-".contains(&byte))
        && name.bytes().filter(|byte| *byte == b'@').count() == 1
}

/// Whether CrowdSec's pattern takes a server with this host: a name or an IPv4 address.
fn is_parsed_host(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
}

/// Host and port as Traefik shows them; `-` where there is none.
fn split_host(host: &str) -> (&str, &str) {
    if let Some(rest) = host.strip_prefix('[')
        && let Some((address, rest)) = rest.split_once(']')
    {
        return (address, rest.strip_prefix(':').unwrap_or("-"));
    }
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') => (name, port),
        _ if host.is_empty() => ("-", "-"),
        _ => (host, "-"),
    }
}

/// A bare address, never mapped, without brackets.
fn push_address(line: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            for (position, octet) in address.octets().into_iter().enumerate() {
                if position > 0 {
                    line.push(b'.');
                }
                push_number(line, u64::from(octet));
            }
        }
        IpAddr::V6(address) => line.extend_from_slice(address.to_string().as_bytes()),
    }
}

fn push_address_and_port(line: &mut Vec<u8>, address: IpAddr, port: u16) {
    match address {
        IpAddr::V4(_) => {
            push_address(line, address);
            line.push(b':');
            push_number(line, u64::from(port));
        }
        IpAddr::V6(_) => line.extend_from_slice(SocketAddr::new(address, port).to_string().as_bytes()),
    }
}

fn push_server_address(line: &mut Vec<u8>, server: &Server) {
    if server.host.contains(':') {
        line.push(b'[');
        push_json(line, server.host.as_bytes(), SHORT_BYTES);
        line.push(b']');
    } else {
        push_json(line, server.host.as_bytes(), SHORT_BYTES);
    }
    line.push(b':');
    push_number(line, u64::from(server.port));
}

fn push_quoted(line: &mut Vec<u8>, value: Option<&HeaderValue>) {
    line.extend_from_slice(b" \"");
    match value {
        Some(value) => push_clf(line, value.as_bytes(), HEADER_BYTES, false),
        None => line.push(b'-'),
    }
    line.push(b'"');
}

/// A second, written out.
#[derive(Debug, Clone, Default)]
struct Second {
    since_epoch: u64,
    /// `21/Nov/2026:15:53:03 +0000`.
    common: Vec<u8>,
    /// `2026-11-21T15:53:03`.
    rfc3339: Vec<u8>,
}

thread_local! {
    /// The last seconds that this thread wrote, one even and one odd: a request that spans two finds both.
    static SECONDS: RefCell<[Second; 2]> = RefCell::default();
}

fn with_second(at: SystemTime, write: impl FnOnce(&Second)) {
    let since_epoch = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    SECONDS.with_borrow_mut(|seconds| {
        let second = &mut seconds[usize::from(since_epoch % 2 == 1)];
        if second.since_epoch != since_epoch || second.common.is_empty() {
            *second = Second::new(since_epoch);
        }
        write(second);
    });
}

impl Second {
    fn new(since_epoch: u64) -> Self {
        let time = i64::try_from(since_epoch)
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let common = time::macros::format_description!(
            "[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000"
        );
        let rfc3339 = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
        Self {
            since_epoch,
            common: time.format(common).unwrap_or_default().into_bytes(),
            rfc3339: time.format(rfc3339).unwrap_or_default().into_bytes(),
        }
    }
}

/// RFC 3339 in UTC; a fraction as Go writes it, without zeros at its end.
fn push_rfc3339(line: &mut Vec<u8>, at: SystemTime, with_fraction: bool) {
    with_second(at, |second| line.extend_from_slice(&second.rfc3339));
    let nanos = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).subsec_nanos();
    if with_fraction && nanos > 0 {
        line.push(b'.');
        push_padded(line, nanos, 9);
        while line.last() == Some(&b'0') {
            line.pop();
        }
    }
    line.push(b'Z');
}
