//! Metrics as text: the families with their names, help and labels, for OpenMetrics and for Prometheus's older
//! format.

use std::fmt;
use std::sync::Arc;

use config::name::{EntryPointName, ServiceName};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use security::certificate::Certificate;
use smallvec::SmallVec;

use super::Handshake;
use super::metrics::{Key, Owner, TlsKey};
use super::streams::{StreamKey, StreamProtocol, StreamResult, StreamValues};
use crate::snapshot::ProviderState;

/// The counters of one label set, read at one moment.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) requests: u64,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    pub(super) duration_seconds: f64,
    pub(super) buckets: Vec<u64>,
}

/// Everything that one scrape shows.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) entry_points: Vec<EntryPointName>,
    pub(super) open_connections: Vec<(EntryPointName, i64)>,
    /// Of each entry point, in the order of [`Handshake::ALL`].
    pub(super) handshakes: Vec<[u64; Handshake::ALL.len()]>,
    pub(super) bounds: Arc<[f64]>,
    pub(super) requests: Vec<(Key, Values)>,
    pub(super) tls_requests: Vec<(TlsKey, u64)>,
    pub(super) retries: Vec<(ServiceName, u64)>,
    pub(super) refusals: Vec<((usize, &'static str), u64)>,
    pub(super) streams: Vec<(StreamKey, StreamValues)>,
    pub(super) reloads: u64,
    pub(super) last_reload_success: u64,
    pub(super) dropped_lines: u64,
    pub(super) servers: Vec<(ServiceName, Arc<str>, i64)>,
    /// With the second (Unix time) that each is valid to.
    pub(super) certificates: Vec<(Arc<Certificate>, u64)>,
    pub(super) errors: i64,
    pub(super) warnings: i64,
    pub(super) providers: Vec<ProviderState>,
    pub(super) version: u64,
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
            self.open_connections.iter(),
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
            "traefik_tls_certs_not_after",
            "When a certificate expires, in Unix seconds",
            MetricType::Gauge,
            self.certificates.iter(),
            |metric, (certificate, not_after)| {
                let names = certificate.names.join(",");
                let labels = [
                    ("cn", &*certificate.common_name),
                    ("serial", &*certificate.serial_decimal),
                    ("sans", &*names),
                ];
                metric.encode_family(&labels)?.encode_gauge(not_after)
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
        self.encode_streams(&mut encoder)?;
        family(
            &mut encoder,
            "hearthgate_tls_handshakes",
            "TLS handshakes of clients, by entry point and result",
            MetricType::Counter,
            self.entry_points.iter().zip(&self.handshakes).flat_map(|(name, counts)| {
                let counts = Handshake::ALL.into_iter().zip(counts).filter(|(_, count)| **count > 0);
                counts.map(move |(result, count)| (name, result, count))
            }),
            |metric, (name, result, count)| {
                metric
                    .encode_family(&[("entrypoint", name.as_str()), ("result", result.label())])?
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
    fn of(owner: &Owner) -> Self {
        match owner {
            Owner::EntryPoint(_) => Self::EntryPoint,
            Owner::Router(..) => Self::Router,
            Owner::Service(_) => Self::Service,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::EntryPoint => "entrypoint",
            Self::Router => "router",
            Self::Service => "service",
        }
    }
}

impl Scrape {
    /// Connections of TCP routers and flows of UDP routers.
    fn encode_streams(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (protocol, name, what) in [
            (StreamProtocol::Tcp, "hearthgate_tcp_connections", "connections of TCP routers"),
            (StreamProtocol::Udp, "hearthgate_udp_flows", "flows of UDP routers"),
        ] {
            let of_protocol = || self.streams.iter().filter(|((of, _, _), _)| *of == protocol);
            let entry_point = |at: usize| self.entry_points.get(at).map_or("", EntryPointName::as_str);
            family(
                encoder,
                name,
                &format!("What came of {what}, by entry point, router and result"),
                MetricType::Counter,
                of_protocol().flat_map(|(key, values)| {
                    let counts = StreamResult::ALL.iter().zip(values.results);
                    counts.filter(|(_, count)| *count > 0).map(move |(result, count)| (key, result, count))
                }),
                |metric, ((_, at, router), result, count)| {
                    let labels = [
                        ("entrypoint", entry_point(*at)),
                        ("router", router.as_str()),
                        ("result", result.label()),
                    ];
                    metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)
                },
            )?;
            family(
                encoder,
                &name.replacen("hearthgate_", "hearthgate_open_", 1),
                &format!("Open {what}, by entry point and router"),
                MetricType::Gauge,
                of_protocol(),
                |metric, ((_, at, router), values)| {
                    let labels = [("entrypoint", entry_point(*at)), ("router", router.as_str())];
                    metric.encode_family(&labels)?.encode_gauge(&values.open)
                },
            )?;
        }
        Ok(())
    }

    /// The four families of one kind.
    fn encode_requests(&self, encoder: &mut DescriptorEncoder<'_>, kind: Kind) -> fmt::Result {
        let of_kind = || self.requests.iter().filter(move |(key, _)| kind == Kind::of(&key.owner));
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
        family(
            encoder,
            &format!("{prefix}_requests_tls"),
            &format!("How many requests were processed over TLS on {what}, by version and cipher"),
            MetricType::Counter,
            self.tls_requests.iter().filter(|((owner, ..), _)| kind == Kind::of(owner)),
            |metric, ((owner, version, cipher), count)| {
                let mut labels: Labels<'_> = SmallVec::new();
                self.push_owner(owner, &mut labels);
                labels.extend([("tls_cipher", *cipher), ("tls_version", *version)]);
                metric.encode_family(&labels.as_slice())?.encode_counter::<NoLabelSet, _, u64>(count, None)
            },
        )?;
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
    /// In the order of their names.
    fn labels<'a>(&'a self, key: &'a Key, code: &'a str) -> Labels<'a> {
        let mut labels: Labels<'_> = SmallVec::new();
        labels.push(("code", code));
        self.push_owner(&key.owner, &mut labels);
        labels.extend([("method", key.method), ("protocol", key.protocol)]);
        labels.sort_unstable_by_key(|(name, _)| *name);
        labels
    }

    fn push_owner<'a>(&'a self, owner: &'a Owner, labels: &mut Labels<'a>) {
        match owner {
            Owner::EntryPoint(position) => {
                let name = self.entry_points.get(*position).map_or("", EntryPointName::as_str);
                labels.push(("entrypoint", name));
            }
            Owner::Router(router, service) => labels.extend([
                ("router", router.as_str()),
                ("service", service.as_ref().map_or("", ServiceName::as_str)),
            ]),
            Owner::Service(service) => labels.push(("service", service.as_str())),
        }
    }
}

/// Names and values.
type Labels<'a> = SmallVec<[(&'static str, &'a str); 5]>;

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
pub(super) fn to_prometheus_text(open_metrics: &str) -> String {
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
