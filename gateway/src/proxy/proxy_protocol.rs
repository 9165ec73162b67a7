//! The PROXY protocol of a load balancer in front of us: who its client is, said before anything else.
//!
//! Where an entry point demands it, a trusted peer must send it, whole and once; whoever else sends it sends a bad
//! request. The address becomes the peer for everything that follows.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use ppp::{v1, v2};

use super::connection;
use super::context::{Connection, OpenConnection, Shared};
use super::pingora::EntryPointApp;
use super::socket::{Socket, poll_read_behind};

/// A whole header, from the moment the connection is there.
const HEADER_LIMIT: Duration = Duration::from_secs(3);
/// Longest line of version 1, with its end.
const LINE_BYTES: usize = 107;
/// How version 1 begins.
const LINE_PREFIX: &[u8] = b"PROXY ";
/// What comes before the addresses of version 2.
const FIXED_BYTES: usize = 16;

/// Reads the header in a task of its own, and serves what follows it.
pub(super) fn spawn(
    shared: &Arc<Shared>,
    app: &Arc<EntryPointApp>,
    socket: Socket,
    connection: Arc<Connection>,
    open: OpenConnection,
) {
    let place = open.next_task();
    let task = receive(Arc::clone(shared), Arc::clone(app), socket, connection, open);
    let task = tokio::spawn(task);
    shared.connections.set_abort(place, task.abort_handle());
}

async fn receive(
    shared: Arc<Shared>,
    app: Arc<EntryPointApp>,
    mut socket: Socket,
    connection: Arc<Connection>,
    mut open: OpenConnection,
) {
    let mut ahead = BytesMut::new();
    let header = tokio::time::timeout(HEADER_LIMIT, read(&mut socket, &mut ahead)).await;
    let source = match header {
        Ok(Ok(source)) => source,
        Ok(Err(reason)) => return refuse(&connection, reason),
        Err(_) => return refuse(&connection, "it did not come in time"),
    };
    let connection = match source {
        Some(source) => Arc::new(connection.with_peer(source)),
        None => connection,
    };
    open.replace(&connection);
    connection::spawn(&shared, &app, socket, ahead, connection, open);
}

/// Closes the connection: nobody there could read an answer.
fn refuse(connection: &Connection, reason: &str) {
    tracing::debug!(
        peer = ?connection.peer,
        entry_point = &*connection.entry_point.name,
        reason,
        "no PROXY protocol"
    );
}

/// Reads one header, and leaves what follows it in `ahead`.
async fn read(socket: &mut Socket, ahead: &mut BytesMut) -> Result<Option<SocketAddr>, &'static str> {
    loop {
        match poll_fn(|cx| poll_read_behind(socket, ahead, cx)).await {
            Ok(0) | Err(_) => return Err("the peer left"),
            Ok(_) => {}
        }
        if let Some(header) = parse(ahead)? {
            ahead.advance(header.length);
            if ahead.is_empty() {
                // An idle connection keeps no memory.
                *ahead = BytesMut::new();
            } else if begins(ahead) {
                return Err("it came twice");
            }
            return Ok(header.source);
        }
    }
}

/// A whole header.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    length: usize,
    /// The client; none where the socket's own peer is.
    source: Option<SocketAddr>,
}

fn begins(bytes: &[u8]) -> bool {
    bytes.starts_with(LINE_PREFIX) || bytes.starts_with(v2::PROTOCOL_PREFIX)
}

/// Looks for a header at the head of `bytes`. `Ok(None)`: more bytes are needed.
fn parse(bytes: &[u8]) -> Result<Option<Header>, &'static str> {
    if bytes.starts_with(v2::PROTOCOL_PREFIX) {
        return parse_binary(bytes);
    }
    if bytes.starts_with(LINE_PREFIX) {
        return parse_line(bytes);
    }
    if v2::PROTOCOL_PREFIX.starts_with(bytes) || LINE_PREFIX.starts_with(bytes) {
        return Ok(None);
    }
    Err("it is absent")
}

fn parse_line(bytes: &[u8]) -> Result<Option<Header>, &'static str> {
    let longest = &bytes[..bytes.len().min(LINE_BYTES)];
    let Some(end) = longest.iter().position(|byte| *byte == b'\n') else {
        return if longest.len() == LINE_BYTES { Err("its line is too long") } else { Ok(None) };
    };
    let line = &longest[..=end];
    let header = v1::Header::try_from(line).map_err(|_| "its line is broken")?;
    if header.header.len() != line.len() {
        return Err("its line is broken");
    }
    let source = match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(tcp) => Some(SocketAddr::from((tcp.source_address, tcp.source_port))),
        v1::Addresses::Tcp6(tcp) => Some(SocketAddr::from((tcp.source_address, tcp.source_port))),
    };
    Ok(Some(Header { length: line.len(), source }))
}

fn parse_binary(bytes: &[u8]) -> Result<Option<Header>, &'static str> {
    let Some(fixed) = bytes.get(..FIXED_BYTES) else { return Ok(None) };
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let Some(whole) = bytes.get(..length) else { return Ok(None) };
    let header = v2::Header::try_from(whole).map_err(|_| "it is broken")?;
    if header.tlvs().any(|item| item.is_err()) {
        return Err("its items do not fill it");
    }
    let source = match (header.command, header.protocol, header.addresses) {
        (v2::Command::Local, ..) | (_, _, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => None,
        (v2::Command::Proxy, v2::Protocol::Datagram, _) => return Err("it is about datagrams"),
        (v2::Command::Proxy, _, v2::Addresses::IPv4(ip)) => {
            Some(SocketAddr::from((ip.source_address, ip.source_port)))
        }
        (v2::Command::Proxy, _, v2::Addresses::IPv6(ip)) => {
            Some(SocketAddr::from((ip.source_address, ip.source_port)))
        }
    };
    Ok(Some(Header { length, source }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Ok`: the source and what is left; `Ok("more")`; `Err`: why it is refused.
    fn check(bytes: &[u8], expected: Result<(&str, &[u8]), &str>) {
        let found = parse(bytes);
        let found = match &found {
            Ok(Some(header)) => {
                let source = header.source.map_or_else(|| "socket".to_owned(), |source| source.to_string());
                Ok((source, &bytes[header.length..]))
            }
            Ok(None) => Ok(("more".to_owned(), &b""[..])),
            Err(reason) => Err(*reason),
        };
        let expected = expected.map(|(source, rest)| (source.to_owned(), rest));
        assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(bytes));
    }

    fn binary(command: u8, family: u8, payload: &[u8], rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[command, family], &length, payload, rest].concat()
    }

    const V4: [u8; 12] = [203, 0, 113, 9, 10, 0, 0, 1, 0x9c, 0x40, 1, 187];

    #[test]
    fn a_line_names_the_client() {
        let rest = &b"GET /"[..];
        let line = |line: &str| [line.as_bytes(), rest].concat();
        check(&line("PROXY TCP4 203.0.113.9 10.0.0.1 40000 443\r\n"), Ok(("203.0.113.9:40000", rest)));
        check(&line("PROXY TCP6 2001:db8::9 ::1 40000 443\r\n"), Ok(("[2001:db8::9]:40000", rest)));
        check(&line("PROXY UNKNOWN\r\n"), Ok(("socket", rest)));
        check(&line("PROXY UNKNOWN ffff:f...f:ffff 1 2 3\r\n"), Ok(("socket", rest)));
        let longest = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                       ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
        check(&line(longest), Ok(("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", rest)));
        for end in 0..longest.len() {
            check(&longest.as_bytes()[..end], Ok(("more", b"")));
        }
    }

    #[test]
    fn a_broken_line_is_refused() {
        for line in [
            "PROXY TCP4 203.0.113.9 10.0.0.1 40000 443\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 40000\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 40000 443 1\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 40000 65536\r\n",
            "PROXY TCP4 203.0.113.09 10.0.0.1 40000 443\r\n",
            "PROXY TCP4 2001:db8::9 ::1 40000 443\r\n",
            "PROXY TCP4  203.0.113.9 10.0.0.1 40000 443\r\n",
            "PROXY UDP4 203.0.113.9 10.0.0.1 40000 443\r\n",
            "PROXY \r\n",
        ] {
            check(line.as_bytes(), Err("its line is broken"));
        }
        check(format!("PROXY UNKNOWN {}\r\n", "x".repeat(100)).as_bytes(), Err("its line is too long"));
        for other in ["GET / HTTP/1.1\r\n", "PROXY\tTCP4", "proxy TCP4", "\x16\x03\x01", "\r\nGET"] {
            check(other.as_bytes(), Err("it is absent"));
        }
    }

    #[test]
    fn a_binary_header_names_the_client() {
        let rest = &b"\x16\x03"[..];
        check(&binary(0x21, 0x11, &V4, rest), Ok(("203.0.113.9:40000", rest)));
        let mut v6 = [0; 36];
        (v6[0], v6[1], v6[15], v6[33]) = (0x20, 0x01, 9, 80);
        check(&binary(0x21, 0x21, &v6, rest), Ok(("[2001::9]:80", rest)));
        check(&binary(0x20, 0x11, &V4, rest), Ok(("socket", rest)));
        check(&binary(0x21, 0x00, b"whatever", rest), Ok(("socket", rest)));
        check(&binary(0x20, 0x00, b"", rest), Ok(("socket", rest)));
        let with_item = [&V4[..], &[4, 0, 2, 7, 7]].concat();
        let whole = binary(0x21, 0x11, &with_item, rest);
        check(&whole, Ok(("203.0.113.9:40000", rest)));
        for end in 0..whole.len() - rest.len() {
            check(&whole[..end], Ok(("more", b"")));
        }
    }

    #[test]
    fn a_broken_binary_header_is_refused() {
        for (command, family, payload) in [
            (0x31, 0x11, &V4[..]),
            (0x22, 0x11, &V4[..]),
            (0x21, 0x41, &V4[..]),
            (0x21, 0x13, &V4[..]),
            (0x21, 0x11, &V4[..11]),
        ] {
            check(&binary(command, family, payload, b""), Err("it is broken"));
        }
        check(&binary(0x21, 0x12, &V4, b""), Err("it is about datagrams"));
        for items in [&[4, 0, 3, 7, 7][..], &[4, 0], &[4, 0, 0, 4], &[4, 0xff, 0xff]] {
            let payload = [&V4[..], items].concat();
            check(&binary(0x21, 0x11, &payload, b""), Err("its items do not fill it"));
        }
    }
}
