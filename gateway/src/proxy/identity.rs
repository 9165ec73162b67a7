//! Who asks: the client's address, the request's identifier, and the header fields that only we may set.
//!
//! Everything a client can say about itself is removed here, before any rule or middleware looks at it, and
//! what we add later can no longer be removed by a `Connection` field, because none is left.

use std::net::IpAddr;

use config::install::UnderscoreHeaders;
use http::header::{self, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Version};
use security::canonical;
use security::client_ip::{self, Basis, Client, NO_ADDRESS};
use smallvec::SmallVec;

use super::context::{Connection, Shared, address_value};
use crate::rejection::Rejection;

/// `Connection` options that are read; more are refused.
const MAX_CONNECTION_OPTIONS: usize = 32;

/// Who asks.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) client: Client,
    pub(super) request_id: HeaderValue,
}

impl Identity {
    /// The address that rules compare. A trusted proxy that named no client could be anybody: it lies in no range,
    /// or a proxy that loses the header would turn every visitor into one of the local network.
    pub(super) fn compared(&self) -> IpAddr {
        match self.client.basis {
            Basis::ProxySelf => NO_ADDRESS,
            Basis::Peer
            | Basis::UntrustedPeer
            | Basis::RightmostUntrusted
            | Basis::AllTrusted
            | Basis::Depth
            | Basis::LastItem => self.client.address,
        }
    }
}

/// Changes to the fields of a request: removals first.
#[derive(Debug, Default)]
pub(super) struct Edits {
    pub(super) remove: SmallVec<[HeaderName; 4]>,
    pub(super) set: SmallVec<[(&'static Field, HeaderValue); 10]>,
}

/// A field that we set: its name, ready to be compared and inserted, and as it is written where case is kept.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: HeaderName,
    pub(super) written: &'static str,
}

impl Field {
    const fn new(name: &'static str, written: &'static str) -> Self {
        Self { name: HeaderName::from_static(name), written }
    }
}

/// What the stage finds.
#[derive(Debug)]
pub(super) struct Identified {
    pub(super) identity: Identity,
    pub(super) edits: Edits,
    /// A WebSocket is asked for, in the right form.
    pub(super) wants_upgrade: bool,
    /// The answer may stay open for as long as it likes: an event stream, gRPC, a WebSocket.
    pub(super) is_stream: bool,
}

/// Names the client and says how the head changes.
pub(super) fn identify(
    shared: &Shared,
    connection: &Connection,
    request: &Parts,
) -> Result<Identified, Rejection> {
    let entry_point = &connection.entry_point;
    let forwarded_for = request.headers.get_all(&FORWARDED_FOR.name).iter().map(HeaderValue::as_bytes);
    let client = client_ip::client(
        connection.peer_address(),
        entry_point.client_source,
        &entry_point.trusted.load(),
        forwarded_for,
    )
    .map_err(|unusable| Rejection::BadRequest(unusable.reason()))?;
    let trusted = client.basis.peer_is_trusted();

    let mut edits = Edits::default();
    let wants_upgrade = wants_websocket(request)?;
    remove_foreign(request, entry_point.http.underscore_headers, trusted, &mut edits)?;
    remove_nominated(&request.headers, &mut edits)?;

    let request_id =
        believed_request_id(&request.headers, trusted).unwrap_or_else(|| shared.request_ids.next());
    let set = &mut edits.set;
    let client_value = if Some(client.address) == connection.peer_address() {
        connection.peer_value().clone()
    } else {
        address_value(client.address)
    };
    let forwarded_for = if entry_point.append_forwarded_for && trusted {
        appended(&request.headers, connection.peer_value())
    } else {
        client_value.clone()
    };
    set.push((&FORWARDED_FOR, forwarded_for));
    set.push((&REAL_IP, client_value));
    set_forwarded_target(connection, request, trusted, &mut edits);
    let set = &mut edits.set;
    set.push((&FORWARDED_SERVER, shared.server_name.clone()));
    set.push((&REQUEST_ID, request_id.clone()));
    if wants_upgrade {
        set.push((&CONNECTION, HeaderValue::from_static("Upgrade")));
        set.push((&UPGRADE, HeaderValue::from_static("websocket")));
    }
    if request.headers.contains_key(header::TE) && lists(&request.headers, &header::TE, b"trailers") {
        set.push((&TE, HeaderValue::from_static("trailers")));
    }
    let is_stream = wants_upgrade || asks_for_stream(&request.headers);
    Ok(Identified { identity: Identity { client, request_id }, edits, wants_upgrade, is_stream })
}

static FORWARDED_FOR: Field = Field::new("x-forwarded-for", "X-Forwarded-For");
static FORWARDED_PROTO: Field = Field::new("x-forwarded-proto", "X-Forwarded-Proto");
static FORWARDED_HOST: Field = Field::new("x-forwarded-host", "X-Forwarded-Host");
static FORWARDED_PORT: Field = Field::new("x-forwarded-port", "X-Forwarded-Port");
static FORWARDED_SERVER: Field = Field::new("x-forwarded-server", "X-Forwarded-Server");
static REAL_IP: Field = Field::new("x-real-ip", "X-Real-Ip");
static REQUEST_ID: Field = Field::new("x-request-id", "X-Request-Id");
static CONNECTION: Field = Field::new("connection", "Connection");
static UPGRADE: Field = Field::new("upgrade", "Upgrade");
static TE: Field = Field::new("te", "Te");

/// Whose a field name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// The client's.
    Client,
    /// Ours alone: set once, whatever was sent.
    Ours,
    /// Believed from trusted peers only.
    Proxies,
    /// Of this hop, ends here.
    Hop,
}

fn owner(name: &str) -> Owner {
    match name.as_bytes()[0] {
        b'x' => match name {
            "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host" | "x-forwarded-port"
            | "x-forwarded-server" | "x-real-ip" | "x-request-id" => Owner::Ours,
            "x-rewrite-url" | "x-client-ip" | "x-cluster-client-ip" => Owner::Proxies,
            _ if ["x-forwarded-", "x-original-", "x-envoy-"].iter().any(|own| name.starts_with(own)) => {
                Owner::Proxies
            }
            _ => Owner::Client,
        },
        b'f' if matches!(name, "forwarded" | "fastly-client-ip") => Owner::Proxies,
        b't' if name == "true-client-ip" => Owner::Proxies,
        b't' if matches!(name, "te" | "trailer") => Owner::Hop,
        b'c' if matches!(name, "cf-connecting-ip" | "cf-connecting-ipv6" | "cf-visitor" | "cf-ipcountry") => {
            Owner::Proxies
        }
        b'c' if name == "connection" => Owner::Hop,
        b'p' if name == "proxy" => Owner::Proxies,
        b'p' if name.starts_with("proxy-") => Owner::Hop,
        b'k' if name == "keep-alive" => Owner::Hop,
        b'u' if name == "upgrade" => Owner::Hop,
        b'h' if name == "http2-settings" => Owner::Hop,
        // Transfer-Encoding stays: the session frames the body by it, and its one allowed value is passed on.
        _ => Owner::Client,
    }
}

fn remove_foreign(
    request: &Parts,
    underscores: UnderscoreHeaders,
    trusted: bool,
    edits: &mut Edits,
) -> Result<(), Rejection> {
    for name in request.headers.keys() {
        let text = name.as_str();
        let removed = if text.contains('_') {
            match underscores {
                UnderscoreHeaders::Delete => true,
                UnderscoreHeaders::Reject => return Err(Rejection::BadRequest("underscore_header")),
                // A server that folds `_` into `-` would take it for the field it imitates.
                UnderscoreHeaders::Keep => owner(&text.replace('_', "-")) != Owner::Client,
            }
        } else {
            match owner(text) {
                // What is set replaces what was sent.
                Owner::Client | Owner::Ours => false,
                Owner::Proxies => !trusted,
                Owner::Hop => true,
            }
        };
        if removed {
            edits.remove.push(name.clone());
        }
    }
    Ok(())
}

/// Fields that `Connection` names end here, unless they are not the client's to remove.
fn remove_nominated(headers: &HeaderMap, edits: &mut Edits) -> Result<(), Rejection> {
    let mut options = 0;
    for value in headers.get_all(header::CONNECTION) {
        for option in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if option.is_empty() {
                continue;
            }
            options += 1;
            if options > MAX_CONNECTION_OPTIONS || option[0] == b':' {
                return Err(Rejection::BadRequest("connection_options"));
            }
            let Ok(name) = HeaderName::from_bytes(option) else {
                return Err(Rejection::BadRequest("connection_options"));
            };
            match name {
                header::HOST | header::CONTENT_LENGTH | header::TRANSFER_ENCODING => {
                    return Err(Rejection::BadRequest("connection_options"));
                }
                header::AUTHORIZATION | header::COOKIE => {}
                _ if owner(&name.as_str().replace('_', "-")) != Owner::Client => {}
                _ if headers.contains_key(&name) => edits.remove.push(name),
                _ => {}
            }
        }
    }
    Ok(())
}

/// A WebSocket handshake as RFC 6455 wants it. What only looks like one passes as a plain request.
fn wants_websocket(request: &Parts) -> Result<bool, Rejection> {
    let headers = &request.headers;
    let asks = request.version == Version::HTTP_11
        && headers
            .get(header::UPGRADE)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && lists(headers, &header::CONNECTION, b"upgrade");
    if !asks {
        return Ok(false);
    }
    let has_body = headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
    if request.method == Method::GET && has_body {
        return Err(Rejection::BadRequest("websocket_with_body"));
    }
    Ok(request.method == Method::GET
        && headers.contains_key(header::SEC_WEBSOCKET_KEY)
        && headers.contains_key(header::SEC_WEBSOCKET_VERSION))
}

/// Whether a list field has this member, without its parameters and in any case.
fn lists(headers: &HeaderMap, name: &HeaderName, member: &[u8]) -> bool {
    headers.get_all(name).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|item| item.trim_ascii().eq_ignore_ascii_case(member))
    })
}

fn asks_for_stream(headers: &HeaderMap) -> bool {
    let begins = |name: HeaderName, start: &[u8]| {
        headers.get(name).is_some_and(|value| {
            value.as_bytes().get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
        })
    };
    begins(header::ACCEPT, b"text/event-stream") || begins(header::CONTENT_TYPE, b"application/grpc")
}

/// `X-Forwarded-Proto`, `-Host` and `-Port`, which agree with one another.
fn set_forwarded_target(connection: &Connection, request: &Parts, trusted: bool, edits: &mut Edits) {
    let headers = &request.headers;
    let https = believed_proto(headers, trusted).unwrap_or_else(|| connection.tls.is_some());
    edits.set.push((&FORWARDED_PROTO, HeaderValue::from_static(if https { "https" } else { "http" })));
    let host = believed_host(headers, trusted).or_else(|| sent_host(request));
    let port = believed_port(headers, trusted, https)
        .or_else(|| port_of(host.as_ref()?))
        .unwrap_or(if https { 443 } else { 80 });
    match host {
        Some(host) => edits.set.push((&FORWARDED_HOST, host)),
        None => edits.remove.push(FORWARDED_HOST.name.clone()),
    }
    let port = match port {
        443 => HeaderValue::from_static("443"),
        80 => HeaderValue::from_static("80"),
        port => HeaderValue::from(port),
    };
    edits.set.push((&FORWARDED_PORT, port));
}

/// The port that a host names. Most name none, which a glance shows.
fn port_of(host: &HeaderValue) -> Option<u16> {
    let host = host.as_bytes();
    if host.contains(&b':') { canonical::host(host).ok()?.port() } else { None }
}

/// The host as sent: `:authority`, else `Host`.
pub(super) fn sent_host(request: &Parts) -> Option<HeaderValue> {
    match request.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => request.headers.get(header::HOST).filter(|host| !host.is_empty()).cloned(),
    }
}

fn believed_proto(headers: &HeaderMap, trusted: bool) -> Option<bool> {
    if !trusted {
        return None;
    }
    let last = headers.get_all(&FORWARDED_PROTO.name).iter().next_back()?;
    let last = last.as_bytes().rsplit(|byte| *byte == b',').next()?.trim_ascii();
    match last {
        _ if last.eq_ignore_ascii_case(b"https") => Some(true),
        _ if last.eq_ignore_ascii_case(b"http") => Some(false),
        _ => None,
    }
}

fn believed_host(headers: &HeaderMap, trusted: bool) -> Option<HeaderValue> {
    if !trusted {
        return None;
    }
    let mut hosts = headers.get_all(&FORWARDED_HOST.name).iter();
    let only = hosts.next()?;
    let is_host = hosts.next().is_none() && canonical::host(only.as_bytes()).is_ok();
    is_host.then(|| only.clone())
}

fn believed_port(headers: &HeaderMap, trusted: bool, https: bool) -> Option<u16> {
    if !trusted {
        return None;
    }
    let mut ports = headers.get_all(&FORWARDED_PORT.name).iter();
    let only = ports.next().filter(|_| ports.next().is_none())?;
    let port = only.to_str().ok()?.trim().parse::<u16>().ok()?;
    let contradicts = if https { port == 80 } else { port == 443 };
    (port != 0 && !contradicts).then_some(port)
}

fn believed_request_id(headers: &HeaderMap, trusted: bool) -> Option<HeaderValue> {
    if !trusted {
        return None;
    }
    let mut ids = headers.get_all(&REQUEST_ID.name).iter();
    let only = ids.next().filter(|_| ids.next().is_none())?;
    let is_id = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    (!only.is_empty() && only.len() <= 128 && only.as_bytes().iter().all(is_id)).then(|| only.clone())
}

/// What the trusted peer sent, and the peer behind it.
fn appended(headers: &HeaderMap, peer: &HeaderValue) -> HeaderValue {
    let mut joined = Vec::new();
    for field in headers.get_all(&FORWARDED_FOR.name) {
        for item in field.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if !item.is_empty() {
                joined.extend_from_slice(item);
                joined.extend_from_slice(b", ");
            }
        }
    }
    joined.extend_from_slice(peer.as_bytes());
    HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)).unwrap_or_else(|_| peer.clone())
}
