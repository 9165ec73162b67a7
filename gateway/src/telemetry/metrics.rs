//! All metrics, and all metric names, in one place. Names, labels and buckets of `traefik_*` are Traefik's, so
//! that existing dashboards go on working; what is ours is `hearthgate_*`.
//!
//! Counting a request takes no lock: a thread keeps the counters of the combinations it has seen
//! ([`Counters`]), and forgets them when series were let go of ([`Metrics::published`]).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use config::Install;
use config::name::{EntryPointName, RouterName, ServiceName};
use config::problem::Severity;
use http::header;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use smallvec::SmallVec;

use super::{AccessRecord, Exposition};
use crate::snapshot::{EntryPointId, ProviderState, Snapshot};

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
    open_connections: Box<[AtomicI64]>,
    by_entry_point: bool,
    by_router: bool,
    by_service: bool,
    /// Upper bounds of the duration buckets.
    bounds: Arc<[f64]>,
    series: Mutex<AllSeries>,
    reloads: AtomicU64,
    /// Unix seconds; 0 after a reload that failed.
    last_reload_success: AtomicU64,
}

/// Everything that has been counted, by what it is counted for.
#[derive(Debug, Default)]
struct AllSeries {
    requests: BTreeMap<Key, Arc<Series>>,
    retries: BTreeMap<ServiceName, Arc<AtomicU64>>,
    refusals: BTreeMap<(usize, &'static str), Arc<AtomicU64>>,
    /// Owners that the snapshot before the current one no longer had.
    gone: BTreeSet<Owner>,
}

/// One label set of the `*_requests_*` families.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    owner: Owner,
    code: u16,
    method: &'static str,
    protocol: &'static str,
}

/// What a series is counted for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
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
            open_connections: install.entry_points.iter().map(|_| AtomicI64::new(0)).collect(),
            by_entry_point: prometheus.is_none_or(|settings| settings.entry_points_labels),
            by_router: prometheus.is_some_and(|settings| settings.routers_labels),
            by_service: prometheus.is_none_or(|settings| settings.services_labels),
            bounds: bounds.into(),
            series: Mutex::default(),
            reloads: AtomicU64::new(0),
            last_reload_success: AtomicU64::new(0),
        }
    }

    pub(super) fn connection_opened(&self, entry_point: EntryPointId) {
        if let Some(open) = self.open_connections.get(entry_point.0) {
            open.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn connection_closed(&self, entry_point: EntryPointId) {
        if let Some(open) = self.open_connections.get(entry_point.0) {
            open.fetch_sub(1, Ordering::Relaxed);
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
        for owner in owners {
            let key = Key { owner, code: key.code, method: key.method, protocol: key.protocol };
            series.push(Arc::clone(
                all.requests.entry(key).or_insert_with(|| Arc::new(Series::new(self.bounds.len()))),
            ));
        }
        let refusals =
            key.refusal.map(|reason| Arc::clone(all.refusals.entry((key.entry_point, reason)).or_default()));
        Counters { key, series, refusals }
    }

    pub(super) fn published(&self, snapshot: &Snapshot, now: SystemTime) {
        self.reloads.fetch_add(1, Ordering::Relaxed);
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        self.last_reload_success.store(seconds, Ordering::Relaxed);
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
        self.generation.fetch_add(1, Ordering::Release);
    }

    pub(super) fn render(&self, snapshot: &Snapshot, dropped_lines: u64, exposition: Exposition) -> String {
        let mut registry = Registry::default();
        let (requests, retries, refusals) = {
            let mut all = self.series.lock();
            let taken = (
                all.requests.iter().map(|(key, series)| (key.clone(), series.read())).collect(),
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
            open_connections: self.open_connections.iter().map(|open| open.load(Ordering::Relaxed)).collect(),
            bounds: Arc::clone(&self.bounds),
            requests,
            retries,
            refusals,
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
        hasher.finish()
    }

    fn is(&self, key: &CountersKey) -> bool {
        self.entry_point == key.entry_point
            && self.code == key.code
            && self.method == key.method
            && self.protocol == key.protocol
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

/// The counters of one label set, read at one moment.
#[derive(Debug)]
struct Values {
    requests: u64,
    request_bytes: u64,
    response_bytes: u64,
    duration_seconds: f64,
    buckets: Vec<u64>,
}

/// Everything that one scrape shows.
#[derive(Debug)]
struct Scrape {
    entry_points: Vec<EntryPointName>,
    open_connections: Vec<i64>,
    bounds: Arc<[f64]>,
    requests: Vec<(Key, Values)>,
    retries: Vec<(ServiceName, u64)>,
    refusals: Vec<((usize, &'static str), u64)>,
    reloads: u64,
    last_reload_success: u64,
    dropped_lines: u64,
    servers: Vec<(ServiceName, Arc<str>, i64)>,
    errors: i64,
    warnings: i64,
    providers: Vec<ProviderState>,
    version: u64,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counters = [
            ("traefik_config_reloads", "Configuration reloads", self.reloads),
            (
                "hearthgate_access_log_dropped_lines",
                "Access log lines dropped because the log could not be written fast enough",
                self.dropped_lines,
            ),
        ];
        for (name, help, value) in counters {
            encoder
                .encode_descriptor(name, help, None, MetricType::Counter)?
                .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        let gauges = [
            (
                "traefik_config_last_reload_success",
                "Last successful configuration reload in Unix seconds, 0 after one that failed",
                self.last_reload_success,
            ),
            ("hearthgate_configuration_version", "Version of the published configuration", self.version),
        ];
        for (name, help, value) in gauges {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
        }
        family(
            &mut encoder,
            "traefik_open_connections",
            "How many open connections exist, by entry point and protocol",
            MetricType::Gauge,
            self.entry_points.iter().zip(&self.open_connections),
            |metric, (name, open)| {
                metric
                    .encode_family(&[("entrypoint", name.as_str()), ("protocol", "TCP")])?
                    .encode_gauge(open)
            },
        )?;
        for kind in [Kind::EntryPoint, Kind::Router, Kind::Service] {
            self.encode_requests(&mut encoder, kind)?;
        }
        family(
            &mut encoder,
            "traefik_service_retries",
            "How many request retries happened on a service",
            MetricType::Counter,
            self.retries.iter(),
            |metric, (service, count)| {
                metric
                    .encode_family(&[("service", service.as_str())])?
                    .encode_counter::<NoLabelSet, _, u64>(count, None)
            },
        )?;
        family(
            &mut encoder,
            "traefik_service_server_up",
            "Whether a server of a service is up, 0 or 1",
            MetricType::Gauge,
            self.servers.iter(),
            |metric, (service, url, up)| {
                metric.encode_family(&[("service", service.as_str()), ("url", url)])?.encode_gauge(up)
            },
        )?;
        family(
            &mut encoder,
            "hearthgate_refusals",
            "Requests answered by the gateway in place of a server, by entry point and reason",
            MetricType::Counter,
            self.refusals.iter(),
            |metric, ((entry_point, reason), count)| {
                let entry_point = self.entry_points.get(*entry_point).map_or("", EntryPointName::as_str);
                metric
                    .encode_family(&[("entrypoint", entry_point), ("reason", *reason)])?
                    .encode_counter::<NoLabelSet, _, u64>(count, None)
            },
        )?;
        family(
            &mut encoder,
            "hearthgate_problems",
            "Problems of the current configuration, by severity",
            MetricType::Gauge,
            [("error", self.errors), ("warning", self.warnings)].iter(),
            |metric, (severity, count)| metric.encode_family(&[("severity", *severity)])?.encode_gauge(count),
        )?;
        family(
            &mut encoder,
            "hearthgate_provider_up",
            "Whether a provider has answered and its source still does, 0 or 1",
            MetricType::Gauge,
            self.providers.iter(),
            |metric, provider| {
                let up = i64::from(provider.answered && provider.stale.is_none());
                metric.encode_family(&[("provider", provider.name.as_str())])?.encode_gauge(&up)
            },
        )?;
        family(
            &mut encoder,
            "hearthgate_build_info",
            "The running version, always 1",
            MetricType::Gauge,
            [env!("CARGO_PKG_VERSION")].iter(),
            |metric, version| metric.encode_family(&[("version", *version)])?.encode_gauge(&1_i64),
        )
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    EntryPoint,
    Router,
    Service,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::EntryPoint => "entrypoint",
            Self::Router => "router",
            Self::Service => "service",
        }
    }
}

impl Scrape {
    /// The four families of one kind.
    fn encode_requests(&self, encoder: &mut DescriptorEncoder<'_>, kind: Kind) -> fmt::Result {
        let of_kind = || {
            self.requests.iter().filter(move |(key, _)| {
                kind == match key.owner {
                    Owner::EntryPoint(_) => Kind::EntryPoint,
                    Owner::Router(..) => Kind::Router,
                    Owner::Service(_) => Kind::Service,
                }
            })
        };
        let prefix = format!("traefik_{}", kind.name());
        let what = match kind {
            Kind::EntryPoint => "an entry point",
            Kind::Router => "a router",
            Kind::Service => "a service",
        };
        let split = "by status code, method and protocol";
        let counter = |values: &Values, metric: &str| match metric {
            "requests" => values.requests,
            "requests_bytes" => values.request_bytes,
            _ => values.response_bytes,
        };
        for (metric_name, help) in [
            ("requests", format!("How many requests were processed on {what}, {split}")),
            ("requests_bytes", format!("Total size of request bodies on {what} in bytes, {split}")),
            ("responses_bytes", format!("Total size of response bodies on {what} in bytes, {split}")),
        ] {
            family(
                encoder,
                &format!("{prefix}_{metric_name}"),
                &help,
                MetricType::Counter,
                of_kind(),
                |metric, (key, values)| {
                    let code = key.code.to_string();
                    metric
                        .encode_family(&self.labels(key, &code).as_slice())?
                        .encode_counter::<NoLabelSet, _, u64>(&counter(values, metric_name), None)
                },
            )?;
        }
        family(
            encoder,
            &format!("{prefix}_request_duration_seconds"),
            &format!("How long requests took on {what}, {split}"),
            MetricType::Histogram,
            of_kind(),
            |metric, (key, values)| {
                let code = key.code.to_string();
                let buckets: Vec<(f64, u64)> = self
                    .bounds
                    .iter()
                    .copied()
                    .chain([f64::INFINITY])
                    .zip(values.buckets.iter().copied())
                    .collect();
                let count = values.buckets.iter().sum();
                metric.encode_family(&self.labels(key, &code).as_slice())?.encode_histogram::<NoLabelSet>(
                    values.duration_seconds,
                    count,
                    &buckets,
                    None,
                )
            },
        )
    }

    /// Labels in alphabetical order, as Traefik writes them.
    fn labels<'a>(&'a self, key: &'a Key, code: &'a str) -> SmallVec<[(&'static str, &'a str); 5]> {
        let mut labels = SmallVec::new();
        labels.push(("code", code));
        if let Owner::EntryPoint(position) = &key.owner {
            labels.push(("entrypoint", self.entry_points.get(*position).map_or("", EntryPointName::as_str)));
        }
        labels.push(("method", key.method));
        labels.push(("protocol", key.protocol));
        match &key.owner {
            Owner::EntryPoint(_) => {}
            Owner::Router(router, service) => {
                labels.push(("router", router.as_str()));
                labels.push(("service", service.as_ref().map_or("", ServiceName::as_str)));
            }
            Owner::Service(service) => labels.push(("service", service.as_str())),
        }
        labels
    }
}

/// One family; nothing at all where it has no series.
fn family<T>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: MetricType,
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut MetricEncoder<'_>, T) -> fmt::Result,
) -> fmt::Result {
    let mut items = items.peekable();
    if items.peek().is_none() {
        return Ok(());
    }
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    items.try_for_each(|item| write(&mut metric, item))
}

/// The older text format: there the `# HELP` and `# TYPE` lines of a counter carry `_total` too, and `# EOF` is
/// not part of it.
fn to_prometheus_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "# EOF" {
            continue;
        }
        let counter =
            |line: &str| line.strip_prefix("# TYPE ").is_some_and(|rest| rest.ends_with(" counter"));
        let of_counter = counter(line) || lines.peek().is_some_and(|next| counter(next));
        match line.split_once(' ').and_then(|(_, rest)| rest.split_once(' ')) {
            Some((keyword @ ("HELP" | "TYPE"), rest)) if of_counter && line.starts_with("# ") => {
                let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                text.push_str(&format!("# {keyword} {name}_total {rest}\n"));
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}
