//! One entry point: who is believed, its limits, times and defaults.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::Resolver;
use crate::document::{GoDuration, Style, decode};
use crate::install::address::{self, Address};
use crate::install::raw::{RawClientIp, RawEncodedCharacters, RawEntryPoint};
use crate::install::{
    ClientIp, ClientIpMode, EntryPoint, EntryPointHttp, Limits, ListenAddress, Transport, TrustedProxy,
    UdpListener, UnderscoreHeaders,
};
use crate::name::EntryPointName;
use crate::problem::Problem;
use crate::routing::Observability;

impl Resolver<'_> {
    /// Its redirection is filled in once all entry points are known.
    pub(super) fn entry_point(&mut self, name: &str, raw: RawEntryPoint, append: bool) -> EntryPoint {
        let at = |keys: &[&'static str]| -> Vec<String> {
            ["entryPoints", name].iter().chain(keys).map(|key| (*key).to_owned()).collect()
        };
        let path = at(&["address"]);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let any = ListenAddress::AnyAddress { port: 0 };
        let (address, is_udp) = match raw.address.as_deref().map(address::parse) {
            None => {
                self.refuse(&path[..2], "has no address", "write `address: \":80\"`");
                (any, false)
            }
            Some(Err(error)) => {
                self.refuse(&path, error.message, error.hint);
                (any, false)
            }
            Some(Ok(Address::Udp(address))) => (address, true),
            Some(Ok(Address::Tcp(address))) => (address, false),
        };
        let udp = self.udp(name, &raw, is_udp);
        let client_ip = self.client_ip(name, &raw, append);
        let limits = self.limits(name, &raw);
        let transport = self.transport(name, &raw);
        let underscore_headers = {
            let path = at(&["http", "underscoreHeadersStrategy"]);
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            self.word(
                &path,
                raw.http.underscore_headers_strategy.as_deref(),
                UnderscoreHeaders::Delete,
                &[
                    ("keep", UnderscoreHeaders::Keep),
                    ("delete", UnderscoreHeaders::Delete),
                    ("reject", UnderscoreHeaders::Reject),
                ],
            )
        };
        let max_concurrent_streams = {
            let path = at(&["http2", "maxConcurrentStreams"]);
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            self.number(&path, raw.http2.max_concurrent_streams).unwrap_or(100)
        };
        EntryPoint {
            name: EntryPointName::from(name),
            address,
            fallback_port: None,
            is_default: raw.as_default && udp.is_none(),
            client_ip,
            limits,
            h2c: raw.http2.h2c.unwrap_or(true),
            max_concurrent_streams,
            transport,
            http: EntryPointHttp {
                middlewares: raw.http.middlewares,
                tls: raw.http.tls,
                sanitize_path: raw.http.sanitize_path.unwrap_or(true),
                encode_query_semicolons: raw.http.encode_query_semicolons,
                refused_encoded_characters: refused_characters(&raw.http.encoded_characters),
                underscore_headers,
            },
            observability: Observability {
                access_logs: raw.observability.access_logs.unwrap_or(true),
                metrics: raw.observability.metrics.unwrap_or(true),
                tracing: raw.observability.tracing.unwrap_or(true),
            },
            reuse_port: raw.reuse_port,
            udp,
            redirection: None,
            acme_by_pass: raw.allow_acme_by_pass.unwrap_or(false),
        }
    }

    /// What belongs to the other protocol is told: it has no effect.
    fn udp(&mut self, name: &str, raw: &RawEntryPoint, is_udp: bool) -> Option<UdpListener> {
        let path = ["entryPoints", name, "udp", "timeout"];
        if !is_udp {
            if raw.udp.timeout.is_some() {
                let message = "has no effect: the address is not for UDP";
                self.warn(&path, message, "write the address as `:53/udp`");
            }
            return None;
        }
        for key in
            ["http", "http2", "http3", "forwardedHeaders", "proxyProtocol", "transport", "clientIP", "limits"]
        {
            let path = ["entryPoints", name, key];
            let written = self.tree.get(path[0]).and_then(|all| all.get(name)).and_then(|node| node.get(key));
            if written.is_some_and(|node| !node.is_empty()) {
                self.warn(&path, "has no effect: the address is for UDP", "remove it");
            }
        }
        if raw.as_default {
            let path = ["entryPoints", name, "asDefault"];
            self.warn(&path, "has no effect: the address is for UDP", "remove it");
        }
        let timeout = match raw.udp.timeout {
            None => Some(Duration::from_secs(3)),
            Some(time) => time.limit(),
        };
        if timeout.is_none() {
            self.refuse(&path, "a flow that is never idle never ends", "write a time above zero, as in `3s`");
        }
        timeout.map(|timeout| UdpListener { timeout })
    }

    fn client_ip(&mut self, name: &str, raw: &RawEntryPoint, append: bool) -> ClientIp {
        let forwarded = &raw.forwarded_headers;
        let mut client_ip = ClientIp {
            mode: ClientIpMode::Peer,
            trusted: Vec::new(),
            trust_everyone: false,
            append_forwarded_for: forwarded.not_append_forwarded_for.map_or(append, |not_append| !not_append),
        };
        let path = ["entryPoints", name, "clientIP"];
        let forwards = forwarded.insecure || forwarded.trusted_ips.is_some();
        if let Some(node) = &raw.client_ip {
            for (key, set) in
                [("forwardedHeaders", forwards), ("proxyProtocol", raw.proxy_protocol.is_some())]
            {
                if set {
                    let path = ["entryPoints", name, key];
                    self.warn(&path, "has no effect beside `clientIP`", "set one of the two");
                }
            }
            let written = match node.text() {
                Some(word) => RawClientIp { mode: Some(word.to_owned()), ..RawClientIp::default() },
                None => match decode::<RawClientIp>(node, Style::File) {
                    Ok(written) => written,
                    Err(errors) => {
                        self.fatal.extend(errors.into_iter().map(|error| {
                            let subject = format!("option `{}.{}`", path.join("."), error.path);
                            Problem {
                                hint: error.hint,
                                ..Problem::error(error.origin, subject, error.message)
                            }
                        }));
                        return client_ip;
                    }
                },
            };
            #[derive(Clone, Copy)]
            enum Mode {
                Peer,
                XForwardedFor,
                ProxyProtocol,
                NotYet,
            }
            let mode = self.word(
                &path,
                written.mode.as_deref(),
                Mode::Peer,
                &[
                    ("peer", Mode::Peer),
                    ("xForwardedFor", Mode::XForwardedFor),
                    ("cloudflared", Mode::NotYet),
                    ("proxyProtocol", Mode::ProxyProtocol),
                ],
            );
            match mode {
                Mode::Peer => {}
                Mode::XForwardedFor => {
                    client_ip.mode = ClientIpMode::XForwardedFor { depth: written.depth.unwrap_or(0) };
                    let path = ["entryPoints", name, "clientIP", "trustedIPs"];
                    client_ip.trusted = self.trusted(&path, written.trusted_ips.as_deref());
                    if client_ip.trusted.is_empty() {
                        self.warn(
                            &path,
                            "nobody is trusted: the client is the peer",
                            "name the proxy's address",
                        );
                    }
                }
                Mode::ProxyProtocol => {
                    let path = ["entryPoints", name, "clientIP", "trustedIPs"];
                    client_ip.mode = ClientIpMode::ProxyProtocol;
                    client_ip.trusted = self.trusted(&path, written.trusted_ips.as_deref());
                    self.check_proxies(&path, &client_ip.trusted);
                }
                Mode::NotYet => {
                    let word = written.mode.as_deref().unwrap_or("");
                    let message = format!("mode `{word}` is not served yet: the client is the peer");
                    self.report(&path, message, "`xForwardedFor` with `trustedIPs` is");
                }
            }
            return client_ip;
        }
        if let Some(proxy) = &raw.proxy_protocol {
            if forwards {
                let path = ["entryPoints", name, "forwardedHeaders"];
                let message = "has no effect beside `proxyProtocol`: the client is the one that it names";
                self.warn(&path, message, "set one of the two");
            }
            client_ip.mode = ClientIpMode::ProxyProtocol;
            if proxy.insecure {
                client_ip.trust_everyone = true;
                self.warn(
                    &["entryPoints", name, "proxyProtocol", "insecure"],
                    "whoever reaches this entry point can claim any client address",
                    "name the proxies in `trustedIPs`",
                );
            } else {
                let path = ["entryPoints", name, "proxyProtocol", "trustedIPs"];
                client_ip.trusted = self.trusted(&path, proxy.trusted_ips.as_deref());
                self.check_proxies(&path, &client_ip.trusted);
            }
            return client_ip;
        }
        if forwarded.insecure {
            client_ip.mode = ClientIpMode::XForwardedFor { depth: 1 };
            client_ip.trust_everyone = true;
            self.warn(
                &["entryPoints", name, "forwardedHeaders", "insecure"],
                "whoever reaches this entry point can claim any client address",
                "name the proxies in `trustedIPs`",
            );
        } else if forwarded.trusted_ips.is_some() {
            let path = ["entryPoints", name, "forwardedHeaders", "trustedIPs"];
            client_ip.trusted = self.trusted(&path, forwarded.trusted_ips.as_deref());
            if !client_ip.trusted.is_empty() {
                client_ip.mode = ClientIpMode::XForwardedFor { depth: 0 };
            }
        }
        client_ip
    }

    fn check_proxies(&mut self, path: &[&str], trusted: &[TrustedProxy]) {
        if trusted.is_empty() {
            let message = "nobody is trusted: a connection that opens with the PROXY protocol is refused";
            self.warn(path, message, "name the proxy's address");
        }
    }

    fn trusted(&mut self, path: &[&str], written: Option<&[String]>) -> Vec<TrustedProxy> {
        let mut trusted = Vec::new();
        for text in written.unwrap_or(&[]).iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
            let proxy = if let Ok(range) = text.parse::<IpNet>() {
                Some(TrustedProxy::Range(canonical_range(range)))
            } else if let Ok(address) = text.parse::<IpAddr>() {
                Some(TrustedProxy::Range(IpNet::from(address.to_canonical())))
            } else {
                is_host_name(text).then(|| TrustedProxy::Host(Arc::from(text.to_ascii_lowercase())))
            };
            match proxy {
                Some(proxy) => trusted.push(proxy),
                None => self.refuse(
                    path,
                    format!("`{text}` is no address, range or host name"),
                    "write it as `10.0.0.1`, `10.0.0.0/8` or `cloudflared`",
                ),
            }
        }
        trusted
    }

    fn limits(&mut self, name: &str, raw: &RawEntryPoint) -> Limits {
        let own = |key: &'static str| {
            vec!["entryPoints".to_owned(), name.to_owned(), "limits".to_owned(), key.into()]
        };
        let path = own("headBytes");
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let head_bytes: Option<u64> = match raw.limits.head_bytes {
            Some(_) => self.number(&path, raw.limits.head_bytes),
            None => self.number(&["entryPoints", name, "http", "maxHeaderBytes"], raw.http.max_header_bytes),
        };
        let path = own("requestsPerConnection");
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let requests: Option<u32> = match raw.limits.requests_per_connection {
            Some(_) => self.number(&path, raw.limits.requests_per_connection),
            None => self.number(
                &["entryPoints", name, "transport", "keepAliveMaxRequests"],
                raw.transport.keep_alive_max_requests,
            ),
        };
        Limits {
            head_timeout: limit(raw.limits.head_timeout, Duration::from_secs(10)),
            head_bytes: match head_bytes {
                None => Some(32 << 10),
                Some(bytes) => usize::try_from(bytes).ok().filter(|bytes| *bytes > 0),
            },
            requests_per_connection: requests
                .map_or(Some(1000), |count| Some(count).filter(|count| *count > 0)),
        }
    }

    /// A number that may not be negative.
    fn number<T: TryFrom<i64>>(&mut self, path: &[&str], written: Option<i64>) -> Option<T> {
        let written = written?;
        let number = T::try_from(written).ok();
        if number.is_none() {
            self.refuse(path, format!("`{written}` is out of range"), "");
        }
        number
    }

    fn transport(&mut self, name: &str, raw: &RawEntryPoint) -> Transport {
        let times = &raw.transport.responding_timeouts;
        let life = &raw.transport.life_cycle;
        for (key, time) in [
            ("requestAcceptGraceTimeout", life.request_accept_grace_timeout),
            ("graceTimeOut", life.grace_time_out),
        ] {
            if time.is_some_and(GoDuration::is_negative) {
                self.refuse(
                    &["entryPoints", name, "transport", "lifeCycle", key],
                    "a time cannot be negative",
                    "",
                );
            }
        }
        Transport {
            read_idle: limit(raw.limits.body_idle.or(times.read_timeout), Duration::from_secs(60)),
            write_idle: limit(raw.limits.write_idle.or(times.write_timeout), Duration::from_secs(60)),
            keep_alive: limit(times.idle_timeout, Duration::from_secs(120)),
            accept_grace: life.request_accept_grace_timeout.unwrap_or_default().or_zero(),
            grace: life.grace_time_out.map_or(Duration::from_secs(9), GoDuration::or_zero),
        }
    }
}

/// Nothing written: the default. Zero or less: no limit.
fn limit(written: Option<GoDuration>, default: Duration) -> Option<Duration> {
    written.map_or(Some(default), GoDuration::limit)
}

fn refused_characters(raw: &RawEncodedCharacters) -> Vec<u8> {
    [
        (raw.allow_encoded_slash, b'/'),
        (raw.allow_encoded_back_slash, b'\\'),
        (raw.allow_encoded_null_character, 0),
        (raw.allow_encoded_semicolon, b';'),
        (raw.allow_encoded_percent, b'%'),
        (raw.allow_encoded_question_mark, b'?'),
        (raw.allow_encoded_hash, b'#'),
    ]
    .into_iter()
    .filter(|(allowed, _)| *allowed == Some(false))
    .map(|(_, byte)| byte)
    .collect()
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`: peers are compared in their short form.
fn canonical_range(range: IpNet) -> IpNet {
    match range {
        IpNet::V6(v6) => match (v6.network().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
            (Some(v4), Some(length)) => IpNet::new(IpAddr::V4(v4), length).unwrap_or(range),
            _ => range,
        },
        IpNet::V4(_) => range,
    }
    .trunc()
}

/// A host name, and no misspelt address: its last label is not a number.
pub(super) fn is_host_name(text: &str) -> bool {
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or("");
    text.len() <= 253
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        && !last.is_empty()
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}
