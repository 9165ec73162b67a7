//! Who the client is: peer + trusted proxies + `X-Forwarded-For` -> [`Client`]. Pure.
//!
//! Addresses are folded (`::ffff:a.b.c.d` is `a.b.c.d`) before any comparison, so that nobody is trusted or
//! refused by spelling.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// Items of `X-Forwarded-For` that are looked at, from the right.
const MAX_ITEMS: usize = 32;

/// What stands for a peer without an address (a Unix socket): it lies in no range but "everything".
pub const NO_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Peers whose forwarding headers are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    ranges: Vec<IpNet>,
    everyone: bool,
}

/// Where the client's address comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The peer, whoever it is.
    Peer,
    /// `X-Forwarded-For` behind a trusted peer.
    XForwardedFor {
        /// 0: the rightmost item that is no trusted proxy; else the `depth`-th from the right.
        depth: usize,
    },
}

/// The believed client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Its address, folded.
    pub address: IpAddr,
    /// Why it is believed.
    pub basis: Basis,
}

/// Why an address is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// It is the peer, and forwarding headers are not asked.
    Peer,
    /// It is the peer, which is no trusted proxy.
    UntrustedPeer,
    /// It is a trusted proxy that named no client: it speaks for itself. No allow-list matches it.
    ProxySelf,
    /// The rightmost item of `X-Forwarded-For` that is no trusted proxy.
    RightmostUntrusted,
    /// All items are trusted proxies: the leftmost.
    AllTrusted,
    /// The item at the configured depth.
    Depth,
    /// The last item; every peer is trusted.
    LastItem,
}

/// A trusted peer named a client that cannot be used: 400. Its text is the fixed sentence for log and client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnusableClient {
    /// An item that had to be read is no address.
    #[error("the forwarded client address is not an address")]
    NotAnAddress,
    /// Fewer items than the configured depth.
    #[error("the forwarded client address has too few items")]
    TooFewItems,
    /// More than 32 trusted proxies in a row.
    #[error("the forwarded client address has too many items")]
    TooManyItems,
}

impl UnusableClient {
    /// A word for metrics and the access log's reason field.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotAnAddress => "client_address_invalid",
            Self::TooFewItems => "client_address_too_few",
            Self::TooManyItems => "client_address_too_many",
        }
    }
}

impl Basis {
    /// One sentence for people.
    pub fn explain(self) -> &'static str {
        match self {
            Self::Peer => "the address of the connection; this entry point asks no forwarding header",
            Self::UntrustedPeer => "the address of the connection; it is not a trusted proxy",
            Self::ProxySelf => "the address of a trusted proxy that named no client",
            Self::RightmostUntrusted => "the rightmost address in X-Forwarded-For that is no trusted proxy",
            Self::AllTrusted => "the leftmost address in X-Forwarded-For; all of them are trusted proxies",
            Self::Depth => "the address in X-Forwarded-For at the configured depth",
            Self::LastItem => "the last address in X-Forwarded-For; every peer is trusted here",
        }
    }

    /// The forwarding headers of this peer are believed.
    pub fn peer_is_trusted(self) -> bool {
        match self {
            Self::Peer | Self::UntrustedPeer => false,
            Self::ProxySelf | Self::RightmostUntrusted | Self::AllTrusted | Self::Depth | Self::LastItem => {
                true
            }
        }
    }
}

impl TrustedProxies {
    /// These ranges, or everyone.
    pub fn new(ranges: impl IntoIterator<Item = IpNet>, everyone: bool) -> Self {
        Self { ranges: ranges.into_iter().collect(), everyone }
    }

    /// Whether this address (folded) is a trusted proxy.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.everyone || self.ranges.iter().any(|range| range.contains(&address))
    }
}

/// The client of a request. `forwarded_for` are the `X-Forwarded-For` fields in order. A peer without an address
/// (a Unix socket) is trusted where a header is asked: the mode of its file says who may connect.
pub fn client<'a, Fields>(
    peer: Option<IpAddr>,
    source: Source,
    trusted: &TrustedProxies,
    forwarded_for: Fields,
) -> Result<Client, UnusableClient>
where
    Fields: DoubleEndedIterator<Item = &'a [u8]>,
{
    let address = peer.map_or(NO_ADDRESS, |address| address.to_canonical());
    let depth = match source {
        Source::Peer => return Ok(Client { address, basis: Basis::Peer }),
        Source::XForwardedFor { depth } => depth,
    };
    if peer.is_some() && !trusted.contains(address) {
        return Ok(Client { address, basis: Basis::UntrustedPeer });
    }
    let mut items = forwarded_for
        .rev()
        .flat_map(|field| field.rsplit(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|item| !item.is_empty());
    if depth > 0 {
        return match items.nth(depth.min(MAX_ITEMS + 1) - 1) {
            Some(item) if depth <= MAX_ITEMS => {
                Ok(Client { address: parse(item).ok_or(UnusableClient::NotAnAddress)?, basis: Basis::Depth })
            }
            Some(_) | None => Err(UnusableClient::TooFewItems),
        };
    }
    let mut leftmost = None;
    for (index, item) in items.enumerate() {
        if index == MAX_ITEMS {
            return Err(UnusableClient::TooManyItems);
        }
        let item = parse(item).ok_or(UnusableClient::NotAnAddress)?;
        if trusted.everyone {
            return Ok(Client { address: item, basis: Basis::LastItem });
        }
        if !trusted.contains(item) {
            return Ok(Client { address: item, basis: Basis::RightmostUntrusted });
        }
        leftmost = Some(item);
    }
    Ok(match leftmost {
        Some(address) => Client { address, basis: Basis::AllTrusted },
        None => Client { address, basis: Basis::ProxySelf },
    })
}

/// An address as proxies write it: dotted quad without leading zeros or RFC 4291 IPv6, with a port or not. Zones
/// and every other form are refused.
fn parse(item: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(item).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || match text.parse::<SocketAddr>().ok()? {
        SocketAddr::V4(address) => Some(IpAddr::V4(*address.ip())),
        SocketAddr::V6(address) if address.scope_id() == 0 && !text.contains('%') => {
            Some(IpAddr::V6(*address.ip()))
        }
        SocketAddr::V6(_) => None,
    };
    text.parse::<IpAddr>().ok().or_else(bracketed).or_else(with_port).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PEER: &str = "172.18.0.5";

    fn check(
        source: Source,
        trusted: &[&str],
        fields: &[&str],
        expected: Result<(&str, Basis), UnusableClient>,
    ) {
        let everyone = trusted == ["*"];
        let ranges = trusted.iter().filter_map(|range| range.parse().ok());
        let trusted = TrustedProxies::new(ranges, everyone);
        let peer = PEER.parse().ok();
        let found = client(peer, source, &trusted, fields.iter().map(|field| field.as_bytes()));
        let expected = expected.map(|(address, basis)| Client { address: address.parse().unwrap(), basis });
        assert_eq!(found, expected, "{source:?} {trusted:?} {fields:?}");
    }

    #[test]
    fn the_client_is_who_a_trusted_proxy_says() {
        use Basis::{AllTrusted, Depth, LastItem, Peer, ProxySelf, RightmostUntrusted, UntrustedPeer};
        const RIGHTMOST: Source = Source::XForwardedFor { depth: 0 };
        const SECOND: Source = Source::XForwardedFor { depth: 2 };
        let proxies: &[&str] = &["172.18.0.0/16", "2001:db8::/32"];
        for (source, trusted, fields, expected) in [
            (Source::Peer, proxies, &["1.2.3.4"][..], Ok((PEER, Peer))),
            (RIGHTMOST, &[], &["1.2.3.4"], Ok((PEER, UntrustedPeer))),
            (RIGHTMOST, proxies, &[], Ok((PEER, ProxySelf))),
            (RIGHTMOST, proxies, &[" , ,"], Ok((PEER, ProxySelf))),
            (RIGHTMOST, proxies, &["1.2.3.4"], Ok(("1.2.3.4", RightmostUntrusted))),
            (RIGHTMOST, proxies, &["6.6.6.6, 1.2.3.4"], Ok(("1.2.3.4", RightmostUntrusted))),
            (RIGHTMOST, proxies, &["6.6.6.6", "1.2.3.4,172.18.9.9"], Ok(("1.2.3.4", RightmostUntrusted))),
            (RIGHTMOST, proxies, &["1.2.3.4", "172.18.9.9"], Ok(("1.2.3.4", RightmostUntrusted))),
            (RIGHTMOST, proxies, &["a, 1.2.3.4"], Ok(("1.2.3.4", RightmostUntrusted))),
            (RIGHTMOST, proxies, &["1.2.3.4, a"], Err(UnusableClient::NotAnAddress)),
            (RIGHTMOST, proxies, &["172.18.0.9, 172.18.0.8"], Ok(("172.18.0.9", AllTrusted))),
            (RIGHTMOST, proxies, &["::ffff:1.2.3.4"], Ok(("1.2.3.4", RightmostUntrusted))),
            (RIGHTMOST, proxies, &["1.2.3.4, ::ffff:172.18.0.9"], Ok(("1.2.3.4", RightmostUntrusted))),
            (RIGHTMOST, proxies, &["[2001:db9::1]:443"], Ok(("2001:db9::1", RightmostUntrusted))),
            (RIGHTMOST, proxies, &["1.2.3.4:5555"], Ok(("1.2.3.4", RightmostUntrusted))),
            (RIGHTMOST, proxies, &["[2001:db9::1]"], Ok(("2001:db9::1", RightmostUntrusted))),
            (RIGHTMOST, proxies, &["01.2.3.4"], Err(UnusableClient::NotAnAddress)),
            (RIGHTMOST, proxies, &["1.2.3"], Err(UnusableClient::NotAnAddress)),
            (RIGHTMOST, proxies, &["0x7f000001"], Err(UnusableClient::NotAnAddress)),
            (RIGHTMOST, proxies, &["fe80::1%eth0"], Err(UnusableClient::NotAnAddress)),
            (RIGHTMOST, proxies, &["[fe80::1%2]:80"], Err(UnusableClient::NotAnAddress)),
            (RIGHTMOST, &["*"], &["6.6.6.6, 1.2.3.4"], Ok(("1.2.3.4", LastItem))),
            (RIGHTMOST, &["*"], &[], Ok((PEER, ProxySelf))),
            (SECOND, proxies, &["6.6.6.6, 1.2.3.4, 9.9.9.9"], Ok(("1.2.3.4", Depth))),
            (SECOND, proxies, &["1.2.3.4"], Err(UnusableClient::TooFewItems)),
            (SECOND, proxies, &[], Err(UnusableClient::TooFewItems)),
            (SECOND, &[], &["1.2.3.4, 9.9.9.9"], Ok((PEER, UntrustedPeer))),
        ] {
            check(source, trusted, fields, expected);
        }
    }

    #[test]
    fn at_most_32_items_are_read() {
        let trusted = ["172.18.0.1"; 33].join(",");
        let rightmost = Source::XForwardedFor { depth: 0 };
        check(rightmost, &["172.18.0.0/16"], &[&trusted], Err(UnusableClient::TooManyItems));
        let depth = Source::XForwardedFor { depth: 33 };
        check(depth, &["172.18.0.0/16"], &[&trusted], Err(UnusableClient::TooFewItems));
    }

    #[test]
    fn a_unix_socket_names_the_client_only_where_a_header_is_asked() {
        let fields = || [&b"1.2.3.4"[..]].into_iter();
        let nobody = TrustedProxies::default();
        let asked = client(None, Source::XForwardedFor { depth: 0 }, &nobody, fields()).unwrap();
        assert_eq!(asked.address, "1.2.3.4".parse::<IpAddr>().unwrap());
        let peer = client(None, Source::Peer, &nobody, fields()).unwrap();
        assert_eq!((peer.address, peer.basis), (NO_ADDRESS, Basis::Peer));
    }

    proptest! {
        #[test]
        fn nothing_an_untrusted_peer_sends_changes_its_address(fields in proptest::collection::vec(".*", 0..4)) {
            let trusted = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()], false);
            let source = Source::XForwardedFor { depth: 0 };
            let found = client(PEER.parse().ok(), source, &trusted, fields.iter().map(String::as_bytes)).unwrap();
            prop_assert_eq!(found.address.to_string(), PEER);
        }

        #[test]
        fn what_stands_left_of_the_client_never_matters(left in "[ -~]{0,40}") {
            let trusted = TrustedProxies::new(["172.18.0.0/16".parse().unwrap()], false);
            let field = format!("{left},1.2.3.4, 172.18.3.3");
            let source = Source::XForwardedFor { depth: 0 };
            let found = client(PEER.parse().ok(), source, &trusted, [field.as_bytes()].into_iter()).unwrap();
            prop_assert_eq!(found.address.to_string(), "1.2.3.4");
        }
    }
}
