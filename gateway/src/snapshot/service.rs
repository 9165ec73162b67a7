//! A service at work: its servers, weighted round robin among them, and what is known of each.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use config::name::ServiceName;
use config::routing::{Scheme, Server};

use super::trust::{Reach, TrustError};

/// What `Retry-After` says when a service has no server: a container that is replaced or restarted is back by then.
pub const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A service, compiled. An unchanged service is the same value in the next snapshot, and so its place in the round
/// and its counters go on; in a changed one, the servers that stay keep theirs.
#[derive(Debug)]
pub struct Service {
    /// Its qualified name.
    pub name: ServiceName,
    /// Why there is no server, when there is none.
    pub down: Option<Arc<str>>,
    /// Forward the client's Host, or the server's.
    pub pass_host_header: bool,
    /// How its servers are reached; none: they cannot be.
    pub reach: Option<Arc<Reach>>,
    servers: Box<[Arc<Upstream>]>,
    round: Round,
}

/// One server, compiled.
#[derive(Debug)]
pub struct Upstream {
    /// As written: `http://10.0.0.1:80`.
    pub server: Server,
    /// How it is reached.
    pub reach: Arc<Reach>,
    /// Kept by the hot path for as long as the server lives, over all snapshots.
    pub slot: Arc<Slot>,
    open_requests: Arc<AtomicUsize>,
}

/// A place where the hot path keeps what it prepares once for a server. Opaque to everybody else.
#[derive(Default)]
pub struct Slot(OnceLock<Box<dyn Any + Send + Sync>>);

/// A request that a server is busy with; counted until dropped.
#[derive(Debug)]
pub struct OpenRequest {
    open_requests: Arc<AtomicUsize>,
}

impl Slot {
    /// What was prepared, made on first use. There is one user, and so one type.
    pub fn get_or_init<T: Any + Send + Sync>(&self, prepare: impl FnOnce() -> T) -> &T {
        self.0
            .get_or_init(|| Box::new(prepare()))
            .downcast_ref()
            .expect("the hot path is the only user of the slot and keeps one type in it")
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "Slot(prepared)" } else { "Slot(empty)" })
    }
}

impl Service {
    /// Compiles a service. `previous` is the one of the same name that is served now. Without a way to reach them it
    /// has no servers, and says why.
    pub fn new(
        settings: &config::routing::Service,
        reach: Result<Arc<Reach>, TrustError>,
        previous: Option<&Self>,
    ) -> Self {
        let (reach, unreachable) = match reach {
            Ok(reach) => (Some(reach), None),
            Err(error) => (None, Some(Arc::from(error.to_string()))),
        };
        let servers: Box<[_]> = reach
            .iter()
            .flat_map(|reach| settings.servers.iter().map(move |server| (reach, server)))
            .map(|(reach, server)| {
                let kept = previous.and_then(|previous| previous.same_server(server));
                // What was prepared holds connections of the old trust.
                let prepared = kept.filter(|kept| kept.reach == *reach && kept.server.pin == server.pin);
                Arc::new(Upstream {
                    server: server.clone(),
                    reach: Arc::clone(reach),
                    slot: prepared.map_or_else(Arc::default, |kept| Arc::clone(&kept.slot)),
                    open_requests: kept.map_or_else(Arc::default, |kept| Arc::clone(&kept.open_requests)),
                })
            })
            .collect();
        Self {
            name: settings.name.clone(),
            down: unreachable.or_else(|| settings.down.clone()),
            pass_host_header: settings.pass_host_header,
            reach,
            round: Round::new(servers.iter().map(|upstream| upstream.server.weight)),
            servers,
        }
    }

    /// The next server of the round; `None` when there is none. Takes no lock.
    pub fn pick(&self) -> Option<&Arc<Upstream>> {
        self.servers.get(self.round.next()?)
    }

    /// The next server of the round that was not tried yet; `None` when all were.
    pub fn pick_other(&self, tried: &[Arc<Upstream>]) -> Option<&Arc<Upstream>> {
        let start = self.round.next()?;
        let (before, from) = self.servers.split_at_checked(start)?;
        from.iter().chain(before).find(|upstream| !tried.iter().any(|tried| Arc::ptr_eq(tried, upstream)))
    }

    /// All its servers, ordered by URL.
    pub fn servers(&self) -> &[Arc<Upstream>] {
        &self.servers
    }

    /// Why a request cannot be served when [`Service::pick`] finds nothing.
    pub fn reason(&self) -> Arc<str> {
        match &self.down {
            Some(reason) => Arc::clone(reason),
            None => Arc::from("service has no server"),
        }
    }

    /// The server at the same address, whatever its weight.
    fn same_server(&self, server: &Server) -> Option<&Upstream> {
        let identity =
            |server: &Server| (Arc::clone(&server.url), server.scheme, Arc::clone(&server.host), server.port);
        let wanted = identity(server);
        self.servers.iter().map(|upstream| &**upstream).find(|upstream| identity(&upstream.server) == wanted)
    }
}

impl Upstream {
    /// Whether the connection is over TLS.
    pub fn is_tls(&self) -> bool {
        self.server.scheme == Scheme::Https
    }

    /// Requests it is busy with.
    pub fn open_requests(&self) -> usize {
        self.open_requests.load(Ordering::Relaxed)
    }

    /// Counts a request until the value is dropped.
    pub fn open_request(&self) -> OpenRequest {
        self.open_requests.fetch_add(1, Ordering::Relaxed);
        OpenRequest { open_requests: Arc::clone(&self.open_requests) }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.open_requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Weighted round robin without a lock: exact over every `total` picks in a row, wherever they begin.
///
/// Each server owns as many of `total` slots as its (reduced) weight. The n-th pick takes slot `n * stride mod total`.
/// As `stride` and `total` have no common factor, each slot comes once a round; as `stride` is near the golden
/// section of the round, the slots of a heavy server are spread over it.
#[derive(Debug)]
pub(super) struct Round {
    picks: AtomicU64,
    total: u64,
    stride: u64,
    /// End of each server's slots; empty where every weight is equal and the slot is the server.
    ends: Box<[u64]>,
}

impl Round {
    pub(super) fn new(weights: impl Iterator<Item = u32> + Clone) -> Self {
        let divisor =
            weights.clone().fold(0, |divisor, weight| common_divisor(divisor, u64::from(weight))).max(1);
        let ends: Box<[u64]> = weights
            .scan(0, |end, weight| {
                *end += u64::from(weight) / divisor;
                Some(*end)
            })
            .collect();
        let total = ends.last().copied().unwrap_or(0);
        let equal = ends.len() as u64 == total;
        Self {
            picks: AtomicU64::new(0),
            total,
            stride: if equal { 1 } else { stride(total) },
            ends: if equal { Box::default() } else { ends },
        }
    }

    /// How many picks one round has.
    pub(super) fn turns(&self) -> u64 {
        self.total
    }

    pub(super) fn next(&self) -> Option<usize> {
        if self.total == 0 {
            return None;
        }
        let turn = self.picks.fetch_add(1, Ordering::Relaxed) % self.total;
        if self.ends.is_empty() {
            return usize::try_from(turn).ok();
        }
        let slot = u128::from(turn) * u128::from(self.stride) % u128::from(self.total);
        Some(self.ends.partition_point(|end| u128::from(*end) <= slot))
    }
}

/// The number next to the golden section of `total` that has no factor in common with it.
fn stride(total: u64) -> u64 {
    // 0.618 of it, in whole numbers: 2^64 would overflow, thousandths are near enough.
    let golden = (u128::from(total) * 618 / 1000).try_into().unwrap_or(1_u64).max(1);
    (golden..=total).find(|candidate| common_divisor(*candidate, total) == 1).unwrap_or(1)
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use config::problem::Origin;

    use super::*;

    fn settings(servers: &[(&str, u32)]) -> config::routing::Service {
        config::routing::Service {
            name: ServiceName::from("s@file"),
            servers: servers
                .iter()
                .map(|(host, weight)| Server {
                    url: format!("http://{host}:80").into(),
                    scheme: Scheme::Http,
                    host: Arc::from(*host),
                    port: 80,
                    weight: *weight,
                    path_prefix: Arc::from(""),
                    pin: None,
                })
                .collect(),
            down: None,
            pass_host_header: true,
            transport: Arc::default(),
            origin: Origin::Gateway,
        }
    }

    fn service(servers: &[(&str, u32)]) -> Service {
        Service::new(&settings(servers), Ok(Arc::default()), None)
    }

    fn picks(service: &Service, count: usize) -> BTreeMap<String, usize> {
        let mut seen = BTreeMap::new();
        for _ in 0..count {
            let host = service.pick().unwrap().server.host.to_string();
            *seen.entry(host).or_default() += 1;
        }
        seen
    }

    fn check(servers: &[(&str, u32)], round: usize) {
        let service = service(servers);
        let weights: u64 = servers.iter().map(|(_, weight)| u64::from(*weight)).sum();
        // Any window of a whole round is exact, not the first one alone.
        for offset in 0..3 {
            for (host, count) in picks(&service, round) {
                let weight = servers.iter().find(|(name, _)| *name == host).unwrap().1;
                let expected = u64::from(weight) * round as u64 / weights;
                assert_eq!(count as u64, expected, "{host} of {servers:?}, window {offset}");
            }
            service.pick();
        }
    }

    #[test]
    fn weighted_round_robin_is_exact() {
        check(&[("a", 3), ("b", 1)], 4);
        check(&[("a", 1), ("b", 1)], 2);
        check(&[("a", 10), ("b", 10), ("c", 10)], 3);
        check(&[("a", 5), ("b", 2), ("c", 1)], 8);
        check(&[("a", 300), ("b", 100)], 4);
        check(&[("a", 97), ("b", 3)], 100);
        check(&[("a", 4_000_000_000), ("b", 1_000_000_000)], 5);
        check(&[("a", 7)], 1);
    }

    #[test]
    fn a_heavy_server_does_not_take_its_whole_share_in_a_row() {
        let service = service(&[("a", 50), ("b", 50), ("c", 1)]);
        let hosts: Vec<_> = (0..101).map(|_| service.pick().unwrap().server.host.to_string()).collect();
        let longest = hosts.chunk_by(|one, next| one == next).map(<[_]>::len).max();
        assert!(longest <= Some(3), "{hosts:?}");
    }

    #[test]
    fn a_service_without_servers_picks_none_and_says_why() {
        let mut settings = settings(&[]);
        assert!(Service::new(&settings, Ok(Arc::default()), None).pick().is_none());
        assert_eq!(&*Service::new(&settings, Ok(Arc::default()), None).reason(), "service has no server");
        settings.down = Some(Arc::from("container `blog` is stopped"));
        assert_eq!(
            &*Service::new(&settings, Ok(Arc::default()), None).reason(),
            "container `blog` is stopped"
        );
    }

    #[test]
    fn a_server_that_was_tried_is_not_picked_again() {
        let service = service(&[("a", 1000), ("b", 1)]);
        let first = Arc::clone(service.pick().unwrap());
        let second = Arc::clone(service.pick_other(std::slice::from_ref(&first)).unwrap());
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(service.pick_other(&[first, second]).is_none());
    }

    #[test]
    fn a_server_that_stays_keeps_what_is_known_of_it() {
        let before = service(&[("a", 1), ("b", 1)]);
        let request = before.servers()[0].open_request();
        assert_eq!(before.servers()[0].slot.get_or_init(|| 7_u8), &7);
        let after = Service::new(&settings(&[("a", 5), ("c", 1)]), Ok(Arc::default()), Some(&before));
        assert_eq!(after.servers()[0].open_requests(), 1);
        assert_eq!(after.servers()[0].slot.get_or_init(|| 8_u8), &7);
        assert_eq!(after.servers()[1].slot.get_or_init(|| 9_u8), &9);
        drop(request);
        assert_eq!(after.servers()[0].open_requests(), 0);
    }

    #[test]
    fn a_server_that_is_reached_in_another_way_keeps_its_count_and_nothing_that_was_prepared() {
        let before = service(&[("a", 1)]);
        let _request = before.servers()[0].open_request();
        assert_eq!(before.servers()[0].slot.get_or_init(|| 7_u8), &7);
        let check = |settings: &config::routing::Service, reach: Reach, kept: u8| {
            let after = Service::new(settings, Ok(Arc::new(reach)), Some(&before));
            assert_eq!(after.servers()[0].open_requests(), 1);
            assert_eq!(after.servers()[0].slot.get_or_init(|| 8_u8), &kept);
        };
        check(&settings(&[("a", 2)]), Reach::default(), 7);
        let mut strict = config::routing::transport::Transport::default();
        strict.tls.server_name = Some("a.test".into());
        check(&settings(&[("a", 1)]), Reach { transport: Arc::new(strict), ..Reach::default() }, 8);
        let mut pinned = settings(&[("a", 1)]);
        pinned.servers[0].pin = Some([1; 32]);
        check(&pinned, Reach::default(), 8);
    }
}
