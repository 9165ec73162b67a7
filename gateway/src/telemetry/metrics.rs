//! All metrics, counted here and named in `exposition`. Names, labels and buckets of `traefik_*` are Traefik's, so
//! that existing dashboards go on working; what is ours is `hearthgate_*`.
//!
//! Counting a request takes no lock: a thread keeps the counters of the combinations it has seen
//! ([`Counters`]), and forgets them when series were let go of ([`Metrics::published`]).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use config::Install;
use config::name::{EntryPointName, RouterName, ServiceName};
use config::problem::Severity;
use http::header;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use security::certificate::Certificate;
use smallvec::SmallVec;

use super::exposition::{Scrape, Values, to_prometheus_text};
use super::streams::Streams;
use super::{AccessRecord, Exposition, Handshake};
use crate::snapshot::{EntryPointId, Snapshot};

/// Combinations that one thread keeps at hand; beyond, it starts again. Names, codes, methods and protocols are
/// bounded, so this is reached only by an extreme configuration.
const CACHED_COMBINATIONS: usize = 16_384;

/// Traefik's buckets where none are configured, in seconds.
const DEFAULT_BUCKETS: [f64; 4] = [0.1, 0.3, 1.2, 5.0];

/// Every instance has a number, so that a thread that serves two (in tests) does not mix them up.
static NEXT_INSTANCE: AtomicU64 = AtomicU64::new(1);

/// All counters of the process.
#[derive(Debug)]
pub(super) struct Metrics {
    instance: u64,
    /// Grows whenever series are let go of: what threads keep at hand is then out of date.
    generation: AtomicU64,
    entry_points: Vec<EntryPointName>,
    /// Of each entry point for TCP: those for UDP have flows, which [`Streams`] counts.
    open_connections: Box<[Option<AtomicI64>]>,
    /// TLS handshakes of each entry point, in the order of [`Handshake::ALL`].
    handshakes: Box<[[AtomicU64; Handshake::ALL.len()]]>,
    by_entry_point: bool,
    by_router: bool,
    by_service: bool,
    /// Upper bounds of the duration buckets.
    bounds: Arc<[f64]>,
    series: Mutex<AllSeries>,
    pub(super) streams: Streams,
    reloads: AtomicU64,
    /// Unix seconds; 0 after a reload that failed.
    last_reload_success: AtomicU64,
}

/// Everything that has been counted, by what it is counted for.
#[derive(Debug, Default)]
struct AllSeries {
    requests: BTreeMap<Key, Arc<Series>>,
    tls_requests: BTreeMap<TlsKey, Arc<AtomicU64>>,
    retries: BTreeMap<ServiceName, Arc<AtomicU64>>,
    refusals: BTreeMap<(usize, &'static str), Arc<AtomicU64>>,
    /// Owners that the snapshot before the current one no longer had.
    gone: BTreeSet<Owner>,
}

/// One label set of the `*_requests_*` families.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) owner: Owner,
    pub(super) code: u16,
    pub(super) method: &'static str,
    pub(super) protocol: &'static str,
}

/// One label set of the `*_requests_tls` families: for what, version, cipher.
pub(super) type TlsKey = (Owner, &'static str, &'static str);

/// What a series is counted for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    EntryPoint(usize),
    Router(RouterName, Option<ServiceName>),
    Service(ServiceName),
}

/// The counters of one label set.
#[derive(Debug)]
struct Series {
    requests: AtomicU64,
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
    duration_nanos: AtomicU64,
    /// One for each bound and one beyond the last; not cumulative.
    buckets: Box<[AtomicU64]>,
}

/// The counters that one combination of entry point, router, service, code, method and protocol adds to.
#[derive(Debug, Clone)]
struct Counters {
    key: CountersKey,
    series: SmallVec<[Arc<Series>; 3]>,
    tls: SmallVec<[Arc<AtomicU64>; 3]>,
    refusals: Option<Arc<AtomicU64>>,
}

#[derive(Debug, Clone)]
struct CountersKey {
    entry_point: usize,
    router: Option<RouterName>,
    service: Option<ServiceName>,
    code: u16,
    method: &'static str,
    protocol: &'static str,
    /// Version and cipher.
    tls: Option<(&'static str, &'static str)>,
    refusal: Option<&'static str>,
}

/// What a thread keeps at hand.
#[derive(Debug, Default)]
struct ThreadCache {
    instance: u64,
    generation: u64,
    len: usize,
    by_hash: HashMap<u64, SmallVec<[Counters; 1]>, foldhash::fast::FixedState>,
}

thread_local! {
    static CACHE: RefCell<ThreadCache> = RefCell::default();
}

impl Metrics {
    pub(super) fn new(install: &Install) -> Self {
        let prometheus = install.metrics.prometheus.as_ref();
        let bounds = match prometheus {
            Some(settings) if !settings.buckets.is_empty() => {
                let mut bounds = settings.buckets.clone();
                bounds.retain(|bound| bound.is_finite());
                bounds.sort_by(f64::total_cmp);
                bounds.dedup();
                bounds
            }
            Some(_) | None => DEFAULT_BUCKETS.to_vec(),
        };
        Self {
            instance: NEXT_INSTANCE.fetch_add(1, Ordering::Relaxed),
            generation: AtomicU64::new(0),
            entry_points: install.entry_points.iter().map(|entry_point| entry_point.name.clone()).collect(),
            open_connections: install
                .entry_points
                .iter()
                .map(|entry_point| entry_point.udp.is_none().then(AtomicI64::default))
                .collect(),
            handshakes: install.entry_points.iter().map(|_| Default::default()).collect(),
            by_entry_point: prometheus.is_none_or(|settings| settings.entry_points_labels),
            by_router: prometheus.is_some_and(|settings| settings.routers_labels),
            by_service: prometheus.is_none_or(|settings| settings.services_labels),
            bounds: bounds.into(),
            series: Mutex::default(),
            streams: Streams::default(),
            reloads: AtomicU64::new(0),
            last_reload_success: AtomicU64::new(0),
        }
    }

    pub(super) fn connection_opened(&self, entry_point: EntryPointId) {
        if let Some(Some(open)) = self.open_connections.get(entry_point.0) {
            open.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn connection_closed(&self, entry_point: EntryPointId) {
        if let Some(Some(open)) = self.open_connections.get(entry_point.0) {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn handshake(&self, entry_point: EntryPointId, result: Handshake) {
        if let Some(handshakes) = self.handshakes.get(entry_point.0) {
            handshakes[result as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn record(&self, record: &AccessRecord<'_>) {
        let key = CountersKeyRef::of(record);
        let generation = self.generation.load(Ordering::Acquire);
        CACHE.with_borrow_mut(|cache| {
            if cache.instance != self.instance
                || cache.generation != generation
                || cache.len > CACHED_COMBINATIONS
            {
                cache.by_hash.clear();
                cache.len = 0;
                cache.instance = self.instance;
                cache.generation = generation;
            }
            let hash = key.hash_with(cache.by_hash.hasher());
            let found = cache.by_hash.entry(hash).or_default();
            let position = match found.iter().position(|counters| key.is(&counters.key)) {
                Some(position) => position,
                None => {
                    found.push(self.counters(key.to_owned()));
                    cache.len += 1;
                    found.len() - 1
                }
            };
            let counters = &found[position];
            for series in &counters.series {
                series.add(record, &self.bounds);
            }
            for requests in &counters.tls {
                requests.fetch_add(1, Ordering::Relaxed);
            }
            if let Some(refusals) = &counters.refusals {
                refusals.fetch_add(1, Ordering::Relaxed);
            }
        });
        if record.retries > 0
            && let Some(service) = record.service
        {
            let retries = Arc::clone(self.series.lock().retries.entry(service.name.clone()).or_default());
            retries.fetch_add(u64::from(record.retries), Ordering::Relaxed);
        }
    }

    /// The counters of a combination that this thread has not seen yet.
    fn counters(&self, key: CountersKey) -> Counters {
        let mut all = self.series.lock();
        let mut series = SmallVec::new();
        let mut owners: SmallVec<[Owner; 3]> = SmallVec::new();
        if self.by_entry_point && key.entry_point < self.entry_points.len() {
            owners.push(Owner::EntryPoint(key.entry_point));
        }
        if self.by_router
            && let Some(router) = &key.router
        {
            owners.push(Owner::Router(router.clone(), key.service.clone()));
        }
        if self.by_service
            && let Some(service) = &key.service
        {
            owners.push(Owner::Service(service.clone()));
        }
        let mut tls = SmallVec::new();
        for owner in owners {
            if let Some((version, cipher)) = key.tls {
                let key = (owner.clone(), version, cipher);
                tls.push(Arc::clone(all.tls_requests.entry(key).or_default()));
            }
            let key = Key { owner, code: key.code, method: key.method, protocol: key.protocol };
            series.push(Arc::clone(
                all.requests.entry(key).or_insert_with(|| Arc::new(Series::new(self.bounds.len()))),
            ));
        }
        let refusals =
            key.refusal.map(|reason| Arc::clone(all.refusals.entry((key.entry_point, reason)).or_default()));
        Counters { key, series, tls, refusals }
    }

    pub(super) fn published(&self, snapshot: &Snapshot, now: SystemTime) {
        self.reloads.fetch_add(1, Ordering::Relaxed);
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        self.last_reload_success.store(seconds, Ordering::Relaxed);
        self.streams.published(snapshot);
        let mut all = self.series.lock();
        // Without a scrape in between, a series stays for one more publication: whoever scrapes sees its last
        // value, and nobody scraping costs no memory.
        let gone: BTreeSet<Owner> = all
            .requests
            .keys()
            .map(|key| &key.owner)
            .filter(|owner| !owner.is_in(snapshot))
            .cloned()
            .collect();
        let (keep, forget): (BTreeSet<_>, BTreeSet<_>) =
            gone.into_iter().partition(|owner| !all.gone.contains(owner));
        all.gone = keep;
        self.forget(&mut all, snapshot, &forget);
    }

    pub(super) fn reload_failed(&self) {
        self.last_reload_success.store(0, Ordering::Relaxed);
    }

    fn forget(&self, all: &mut AllSeries, snapshot: &Snapshot, owners: &BTreeSet<Owner>) {
        all.retries.retain(|service, _| snapshot.routing.services.contains_key(service));
        if owners.is_empty() {
            return;
        }
        all.requests.retain(|key, _| !owners.contains(&key.owner));
        all.tls_requests.retain(|(owner, ..), _| !owners.contains(owner));
        self.generation.fetch_add(1, Ordering::Release);
    }

    pub(super) fn render(&self, snapshot: &Snapshot, dropped_lines: u64, exposition: Exposition) -> String {
        let mut registry = Registry::default();
        let (requests, tls_requests, retries, refusals) = {
            let mut all = self.series.lock();
            let taken = (
                all.requests.iter().map(|(key, series)| (key.clone(), series.read())).collect(),
                all.tls_requests.iter().map(|(key, count)| (key.clone(), load(count))).collect(),
                all.retries.iter().map(|(service, count)| (service.clone(), load(count))).collect(),
                all.refusals.iter().map(|(key, count)| (*key, load(count))).collect(),
            );
            let gone: BTreeSet<Owner> = all
                .requests
                .keys()
                .map(|key| &key.owner)
                .filter(|owner| !owner.is_in(snapshot))
                .cloned()
                .collect();
            all.gone.clear();
            self.forget(&mut all, snapshot, &gone);
            taken
        };
        let scrape = Scrape {
            entry_points: self.entry_points.clone(),
            open_connections: self
                .entry_points
                .iter()
                .zip(&self.open_connections)
                .filter_map(|(name, open)| Some((name.clone(), open.as_ref()?.load(Ordering::Relaxed))))
                .collect(),
            handshakes: self.handshakes.iter().map(|counts| counts.each_ref().map(load)).collect(),
            bounds: Arc::clone(&self.bounds),
            requests,
            tls_requests,
            retries,
            refusals,
            streams: self.streams.read(),
            reloads: load(&self.reloads),
            last_reload_success: load(&self.last_reload_success),
            dropped_lines,
            servers: snapshot
                .routing
                .services
                .values()
                .flat_map(|service| {
                    let up = i64::from(service.down.is_none());
                    service
                        .servers
                        .iter()
                        .map(move |server| (service.name.clone(), Arc::clone(&server.url), up))
                })
                .collect(),
            certificates: certificates(snapshot),
            errors: count(snapshot, Severity::Error),
            warnings: count(snapshot, Severity::Warning),
            providers: snapshot.providers.to_vec(),
            version: snapshot.version,
        };
        registry.register_collector(Box::new(scrape));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)
            .expect("writing to a string does not fail");
        match exposition {
            Exposition::OpenMetrics => text,
            Exposition::Prometheus => to_prometheus_text(&text),
        }
    }
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Every certificate that is served, the default one too, each once: two with the same names and number would be one
/// series.
fn certificates(snapshot: &Snapshot) -> Vec<(Arc<Certificate>, u64)> {
    let store = &snapshot.certificates;
    let mut certificates: Vec<_> = store.all().chain(store.default_certificate()).map(Arc::clone).collect();
    let series = |certificate: &Arc<Certificate>| {
        (certificate.common_name.clone(), certificate.names.clone(), certificate.serial.clone())
    };
    certificates.sort_by_cached_key(series);
    certificates.dedup_by(|one, other| {
        one.common_name == other.common_name && one.names == other.names && one.serial == other.serial
    });
    let seconds = |moment: SystemTime| moment.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    certificates
        .into_iter()
        .map(|certificate| {
            let not_after = seconds(certificate.not_after);
            (certificate, not_after)
        })
        .collect()
}

fn count(snapshot: &Snapshot, severity: Severity) -> i64 {
    let count = snapshot.problems.iter().filter(|problem| problem.severity == severity).count();
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Owner {
    fn is_in(&self, snapshot: &Snapshot) -> bool {
        match self {
            Self::EntryPoint(_) => true,
            Self::Router(router, _) => snapshot.routing.routers.contains_key(router),
            // A service of the gateway itself is not in the configuration and never goes.
            Self::Service(service) => {
                service.provider() == "internal" || snapshot.routing.services.contains_key(service)
            }
        }
    }
}

impl Series {
    fn new(bounds: usize) -> Self {
        Self {
            requests: AtomicU64::new(0),
            request_bytes: AtomicU64::new(0),
            response_bytes: AtomicU64::new(0),
            duration_nanos: AtomicU64::new(0),
            buckets: (0..=bounds).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn add(&self, record: &AccessRecord<'_>, bounds: &[f64]) {
        let seconds = record.duration.as_secs_f64();
        let bucket = bounds.iter().position(|bound| seconds <= *bound).unwrap_or(bounds.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(record.duration.as_nanos()).unwrap_or(u64::MAX);
        self.duration_nanos.fetch_add(nanos, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.request_bytes.fetch_add(record.request_body_bytes, Ordering::Relaxed);
        self.response_bytes.fetch_add(record.response_body_bytes, Ordering::Relaxed);
    }

    fn read(&self) -> Values {
        Values {
            requests: load(&self.requests),
            request_bytes: load(&self.request_bytes),
            response_bytes: load(&self.response_bytes),
            duration_seconds: Duration::from_nanos(load(&self.duration_nanos)).as_secs_f64(),
            buckets: self.buckets.iter().map(load).collect(),
        }
    }
}

/// A combination, borrowed from a record: looking it up copies nothing.
#[derive(Debug)]
struct CountersKeyRef<'a> {
    entry_point: usize,
    router: Option<&'a RouterName>,
    service: Option<&'a ServiceName>,
    code: u16,
    method: &'static str,
    protocol: &'static str,
    tls: Option<(&'static str, &'static str)>,
    refusal: Option<&'static str>,
}

impl<'a> CountersKeyRef<'a> {
    fn of(record: &AccessRecord<'a>) -> Self {
        let protocol = protocol(record);
        let code = match (protocol, record.grpc_status) {
            ("grpc" | "grpc-web", Some(status)) => status,
            _ => record.status,
        };
        Self {
            entry_point: record.entry_point.0,
            router: record.route.map(|route| &route.name),
            service: record.service.map(|service| &service.name),
            code,
            method: record.request.map_or("EXTENSION_METHOD", |request| method(&request.method)),
            protocol,
            tls: record.tls.map(|tls| (tls.version, tls.cipher)),
            refusal: refusal(record),
        }
    }

    fn hash_with(&self, state: &impl BuildHasher) -> u64 {
        let mut hasher = state.build_hasher();
        self.entry_point.hash(&mut hasher);
        self.router.hash(&mut hasher);
        self.service.hash(&mut hasher);
        self.code.hash(&mut hasher);
        // Both come from short lists whose items differ in their first bytes or their length.
        self.method.hash(&mut hasher);
        self.protocol.hash(&mut hasher);
        self.tls.map(|(_, cipher)| cipher).hash(&mut hasher);
        hasher.finish()
    }

    fn is(&self, key: &CountersKey) -> bool {
        self.entry_point == key.entry_point
            && self.code == key.code
            && self.method == key.method
            && self.protocol == key.protocol
            && self.tls == key.tls
            && self.refusal == key.refusal
            && self.router == key.router.as_ref()
            && self.service == key.service.as_ref()
    }

    fn to_owned(&self) -> CountersKey {
        CountersKey {
            entry_point: self.entry_point,
            router: self.router.cloned(),
            service: self.service.cloned(),
            code: self.code,
            method: self.method,
            protocol: self.protocol,
            tls: self.tls,
            refusal: self.refusal,
        }
    }
}

/// The method as a label: whatever a client invents is one value.
fn method(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "CONNECT" => "CONNECT",
        "OPTIONS" => "OPTIONS",
        "TRACE" => "TRACE",
        _ => "EXTENSION_METHOD",
    }
}

/// What the request spoke, as Traefik names it.
fn protocol(record: &AccessRecord<'_>) -> &'static str {
    let Some(request) = record.request else { return "http" };
    let field = |name: &header::HeaderName| request.headers.get(name).map(http::HeaderValue::as_bytes);
    if record.upgraded
        || field(&header::UPGRADE).is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"))
    {
        return "websocket";
    }
    if let Some(content_type) = field(&header::CONTENT_TYPE) {
        if content_type.starts_with(b"application/grpc-web") {
            return "grpc-web";
        }
        if content_type.starts_with(b"application/grpc") {
            return "grpc";
        }
    }
    if field(&header::ACCEPT).is_some_and(|value| value.starts_with(b"text/event-stream")) {
        return "sse";
    }
    "http"
}

/// Why we answered in place of a server, as a label from a short list. The reason in the log says it in full.
fn refusal(record: &AccessRecord<'_>) -> Option<&'static str> {
    if record.reason.is_empty() {
        return None;
    }
    Some(match record.status {
        0 => "no_answer",
        400 => "bad_request",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "no_route",
        405 => "method_not_allowed",
        408 => "head_timeout",
        417 => "expectation_failed",
        418 => "teapot",
        421 => "misdirected",
        429 => "too_many_requests",
        431 => "head_too_large",
        499 => "client_gone",
        502 => "bad_gateway",
        503 => "unavailable",
        504 => "gateway_timeout",
        _ => "other",
    })
}
