//! TCP middlewares at work: who may pass, and how many connections of one client at a time.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use config::name::MiddlewareName;
use config::routing::stream::TcpMiddleware;
use foldhash::fast::RandomState;
use ipnet::IpNet;
use parking_lot::Mutex;

/// A TCP middleware, compiled.
#[derive(Debug)]
pub enum Guard {
    /// Clients that may pass.
    IpAllowList {
        /// The middleware.
        name: MiddlewareName,
        /// Addresses and ranges.
        ranges: Box<[IpNet]>,
    },
    /// Connections of one client at a time.
    InFlightConn {
        /// The middleware.
        name: MiddlewareName,
        /// How many.
        amount: u32,
        /// Those of now; goes on in the next snapshot.
        open: Arc<InFlight>,
    },
}

/// Why a connection may not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// The client is not on the list.
    NotAllowed,
    /// The client has too many connections.
    TooMany,
}

/// Connections of each client. Holds no client without one, and so it is bounded by the connections that are open.
#[derive(Debug, Default)]
pub struct InFlight(Mutex<HashMap<IpAddr, u32, RandomState>>);

/// A connection that has passed; counted until dropped.
#[derive(Debug)]
pub struct Passage(Option<(Arc<InFlight>, IpAddr)>);

impl Guard {
    /// `before` are the guards of the router's predecessor: counters of the same middleware go on.
    pub(super) fn new(name: &MiddlewareName, settings: &TcpMiddleware, before: &[Self]) -> Self {
        match settings {
            TcpMiddleware::IpAllowList(ranges) => {
                Self::IpAllowList { name: name.clone(), ranges: ranges.iter().copied().collect() }
            }
            TcpMiddleware::InFlightConn(amount) => {
                let known = before.iter().find_map(|guard| match guard {
                    Self::InFlightConn { name: known, open, .. } if known == name => Some(open),
                    Self::InFlightConn { .. } | Self::IpAllowList { .. } => None,
                });
                Self::InFlightConn {
                    name: name.clone(),
                    amount: *amount,
                    open: known.map_or_else(Arc::default, Arc::clone),
                }
            }
        }
    }

    /// Which middleware this is.
    pub fn name(&self) -> &MiddlewareName {
        match self {
            Self::IpAllowList { name, .. } | Self::InFlightConn { name, .. } => name,
        }
    }

    /// Lets a client's connection pass, or not. A client without an address (a Unix socket's) is on no list.
    pub fn admit(&self, client: Option<IpAddr>) -> Result<Passage, Denial> {
        match self {
            Self::IpAllowList { ranges, .. } => {
                let listed = client
                    .map(|client| client.to_canonical())
                    .is_some_and(|client| ranges.iter().any(|range| range.contains(&client)));
                if listed { Ok(Passage(None)) } else { Err(Denial::NotAllowed) }
            }
            Self::InFlightConn { amount, open, .. } => {
                let key = client_key(client);
                let mut counts = open.0.lock();
                let count = counts.entry(key).or_insert(0);
                if *count >= *amount {
                    if *count == 0 {
                        counts.remove(&key);
                    }
                    return Err(Denial::TooMany);
                }
                *count += 1;
                drop(counts);
                Ok(Passage(Some((Arc::clone(open), key))))
            }
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        if let Some((open, key)) = self.0.take() {
            let mut counts = open.0.lock();
            if let Some(count) = counts.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&key);
                }
            }
        }
    }
}

/// One client: an IPv4 address, or an IPv6 network of 64 bits, all of which one subscriber has.
fn client_key(client: Option<IpAddr>) -> IpAddr {
    match client.map(|client| client.to_canonical()) {
        Some(IpAddr::V6(address)) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        Some(address @ IpAddr::V4(_)) => address,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}
