//! What is seen from outside: API, ping, metrics, logs, and our admin listener.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use super::{Resolver, TRAEFIK};
use crate::document::{GoDuration, TextMap};
use crate::install::address::{self, Address};
use crate::install::raw::{RawAccessLog, RawAdmin, RawApi, RawLog, RawPing, RawPrometheus};
use crate::install::{
    AccessLog, AccessLogFilters, AccessLogFormat, Admin, Api, FieldMode, FieldModes, ListenAddress, Log,
    Ping, Prometheus,
};
use crate::name::EntryPointName;
use crate::secret::Secret;

/// What a token must have where the admin listener is open to others.
const TOKEN_BYTES: usize = 32;

impl Resolver<'_> {
    pub(super) fn api(&mut self, raw: RawApi) -> Api {
        let base_path = raw.base_path.unwrap_or_default();
        let trimmed = base_path.trim_end_matches('/');
        if !base_path.is_empty() && !base_path.starts_with('/') {
            self.refuse(&["api", "basePath"], format!("`{base_path}` does not begin with `/`"), "");
        }
        Api {
            insecure: raw.insecure,
            dashboard: raw.dashboard.unwrap_or(true),
            base_path: trimmed.to_owned(),
        }
    }

    pub(super) fn ping(&mut self, raw: RawPing) -> Ping {
        let status = raw.terminating_status_code.unwrap_or(503);
        if !(200..=599).contains(&status) {
            self.refuse(
                &["ping", "terminatingStatusCode"],
                format!("`{status}` is no status of an answer"),
                "",
            );
        }
        Ping {
            entry_point: entry_point_name(raw.entry_point),
            manual_routing: raw.manual_routing,
            terminating_status: status,
        }
    }

    pub(super) fn prometheus(&mut self, raw: RawPrometheus) -> Prometheus {
        let mut buckets = raw.buckets.unwrap_or_else(|| vec![0.1, 0.3, 1.2, 5.0]);
        if buckets.iter().any(|bound| !bound.is_finite() || *bound <= 0.0) {
            self.refuse(&["metrics", "prometheus", "buckets"], "a bound must be a number above zero", "");
        }
        buckets.sort_by(f64::total_cmp);
        buckets.dedup();
        Prometheus {
            entry_point: entry_point_name(raw.entry_point),
            manual_routing: raw.manual_routing,
            buckets,
            entry_points_labels: raw.add_entry_points_labels.unwrap_or(true),
            routers_labels: raw.add_routers_labels.unwrap_or(false),
            services_labels: raw.add_services_labels.unwrap_or(true),
        }
    }

    pub(super) fn admin(&mut self, raw: RawAdmin, token_of_file: Option<String>) -> Admin {
        let default = ListenAddress::Address(([127, 0, 0, 1], 8080).into());
        let path = ["admin", "address"];
        let written = raw.address.filter(|address| !address.is_empty());
        let address_was_set = written.is_some();
        let address = match written.as_deref().map(address::parse) {
            None => default,
            Some(Ok(Address::Tcp(address))) => address,
            Some(Ok(Address::Udp(_))) => {
                self.refuse(&path, "the admin listener speaks no UDP", "");
                default
            }
            Some(Err(error)) => {
                self.refuse(&path, error.message, error.hint);
                default
            }
        };
        let token = token_of_file.map(Secret::new).or(raw.token).filter(|token| !token.expose().is_empty());
        let open = match &address {
            ListenAddress::AnyAddress { .. } => true,
            ListenAddress::Address(address) => !address.ip().to_canonical().is_loopback(),
            ListenAddress::Unix { .. } => false,
        };
        if open && token.as_ref().is_some_and(|token| token.expose().len() < TOKEN_BYTES) {
            self.refuse(
                &["admin", "token"],
                "is shorter than 32 bytes, and the admin listener is open to others",
                "write a longer one, as `openssl rand -hex 32` makes it",
            );
        }
        let mut allowed_hosts: Vec<String> = match raw.allowed_hosts {
            Some(hosts) => hosts.iter().map(|host| host.trim().to_ascii_lowercase()).collect(),
            None => {
                let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "[::1]".to_owned()];
                if let ListenAddress::Address(address) = &address
                    && !address.ip().is_unspecified()
                {
                    hosts.push(match address.ip() {
                        IpAddr::V4(ip) => ip.to_string(),
                        IpAddr::V6(ip) => format!("[{ip}]"),
                    });
                }
                hosts
            }
        };
        let mut seen = std::collections::BTreeSet::new();
        allowed_hosts.retain(|host| !host.is_empty() && seen.insert(host.clone()));
        Admin { address, address_was_set, token, allowed_hosts }
    }

    pub(super) fn log(&mut self, raw: RawLog, is_default: bool) -> Log {
        let default = if is_default { "info" } else { "error" };
        let level = self.word(
            &["log", "level"],
            raw.level.as_deref(),
            default,
            &[
                ("trace", "trace"),
                ("debug", "debug"),
                ("info", "info"),
                ("warn", "warn"),
                ("error", "error"),
                ("fatal", "error"),
                ("panic", "error"),
            ],
        );
        let json =
            self.word(&["log", "format"], raw.format.as_deref(), false, &[("common", false), ("json", true)]);
        Log {
            level: level.to_owned(),
            json,
            file_path: raw.file_path.filter(|path| !path.is_empty()).map(PathBuf::from),
            // `noColor` has nothing to do: the log is never in colour.
        }
    }

    pub(super) fn access_log(&mut self, raw: RawAccessLog) -> AccessLog {
        let format = self.word(
            &["accessLog", "format"],
            raw.format.as_deref(),
            AccessLogFormat::Common,
            &[
                ("common", AccessLogFormat::Common),
                ("json", AccessLogFormat::Json),
                ("genericCLF", AccessLogFormat::GenericClf),
            ],
        );
        let mut status_codes = Vec::new();
        for text in raw.filters.status_codes.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
            let (from, to) = text.split_once('-').unwrap_or((text, text));
            match (from.trim().parse::<u16>(), to.trim().parse::<u16>()) {
                (Ok(from), Ok(to)) if from <= to => status_codes.push((from, to)),
                _ => self.refuse(
                    &["accessLog", "filters", "statusCodes"],
                    format!("`{text}` is no status or range"),
                    "write it as `404` or `500-599`",
                ),
            }
        }
        let fields = ["accessLog", "fields"];
        let headers = ["accessLog", "fields", "headers"];
        let query = ["accessLog", "fields", "queryParameters", "defaultMode"];
        let query_mode = raw.fields.query_parameters.default_mode;
        AccessLog {
            file_path: raw.file_path.filter(|path| !path.is_empty()).map(PathBuf::from),
            format,
            filters: AccessLogFilters {
                status_codes,
                retry_attempts: raw.filters.retry_attempts,
                min_duration: raw.filters.min_duration.and_then(GoDuration::limit),
            },
            fields: self.field_modes(
                &fields,
                raw.fields.default_mode.as_deref(),
                FieldMode::Keep,
                &raw.fields.names,
                false,
            ),
            headers: self.field_modes(
                &headers,
                raw.fields.headers.default_mode.as_deref(),
                FieldMode::Drop,
                &raw.fields.headers.names,
                true,
            ),
            keep_query: self.word(&query, query_mode.as_deref(), false, &[("keep", true), ("drop", false)]),
            add_internals: raw.add_internals,
        }
    }

    fn field_modes(
        &mut self,
        path: &[&str],
        default_mode: Option<&str>,
        default: FieldMode,
        names: &TextMap,
        redact: bool,
    ) -> FieldModes {
        let mut words = vec![("keep", FieldMode::Keep), ("drop", FieldMode::Drop)];
        if redact {
            words.push(("redact", FieldMode::Redact));
        }
        let below =
            |keys: &[&str]| -> Vec<String> { path.iter().chain(keys).map(|key| (*key).to_owned()).collect() };
        let at = below(&["defaultMode"]);
        let default =
            self.word(&at.iter().map(String::as_str).collect::<Vec<_>>(), default_mode, default, &words);
        let mut modes = BTreeMap::new();
        for (name, mode) in &names.0 {
            let at = below(&["names", name]);
            let at: Vec<_> = at.iter().map(String::as_str).collect();
            modes.insert(name.to_ascii_lowercase(), self.word(&at, Some(mode), default, &words));
        }
        FieldModes { default, names: modes }
    }
}

fn entry_point_name(written: Option<String>) -> EntryPointName {
    EntryPointName::from(written.filter(|name| !name.is_empty()).unwrap_or_else(|| TRAEFIK.to_owned()))
}
