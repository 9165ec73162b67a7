//! Transports: how servers are reached, over HTTP and over TCP. One that cannot be kept as written is not replaced
//! by another: services that name it are not reached at all.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;

use super::tls::pair;
use super::tls::parameters::{self, Suites};
use super::{Fault, Referrer};
use crate::document::GoDuration;
use crate::problem::Problem;
use crate::routing::merge::Merged;
use crate::routing::raw::{
    Defined, RawCertificate, RawForwardingTimeouts, RawProxyProtocol, RawServersTransport, RawSpiffe,
    RawTcpClientTls, RawTcpServersTransport, Scope,
};
use crate::routing::stream::{ProxyVersion, TcpTransport};
use crate::routing::tls::{Pem, TlsVersion, UpstreamTls};
use crate::routing::transport::Transport;

/// Names of the transport of the install configuration.
const DEFAULTS: [&str; 3] = ["", "default", "default@internal"];

/// Transports by qualified name; what is wrong with a bad one is known by its name.
#[derive(Debug)]
pub(super) struct Transports<'a, T> {
    default: Arc<T>,
    named: BTreeMap<&'a str, (&'a Scope, Result<Arc<T>, Fault>)>,
}

/// Judges every HTTP transport.
pub(super) fn http<'a>(
    merged: &'a Merged,
    default: &Arc<Transport>,
    problems: &mut Vec<Problem>,
) -> Transports<'a, Transport> {
    Transports::new(&merged.servers_transports, default, "servers transport", problems, of_http)
}

/// Judges every TCP transport.
pub(super) fn tcp<'a>(
    merged: &'a Merged,
    default: &Arc<TcpTransport>,
    problems: &mut Vec<Problem>,
) -> Transports<'a, TcpTransport> {
    Transports::new(&merged.tcp_servers_transports, default, "TCP servers transport", problems, of_tcp)
}

impl<'a, T> Transports<'a, T> {
    fn new<R>(
        items: &'a BTreeMap<String, Defined<R>>,
        default: &Arc<T>,
        kind: &str,
        problems: &mut Vec<Problem>,
        judge: impl Fn(&R, &mut Vec<Fault>) -> Result<T, Fault>,
    ) -> Self {
        let mut judge = |(name, item): (&'a String, &'a Defined<R>)| {
            let subject = format!("{kind} `{}`", name.split('@').next().unwrap_or(name));
            let mut warnings = Vec::new();
            let transport = judge(&item.value, &mut warnings).map(Arc::new);
            problems.extend(warnings.iter().map(|fault| fault.warning(&item.origin, &subject)));
            let transport = transport.map_err(|fault| {
                let text = format!("{}: services that name it are not reached", fault.text);
                problems.push(Fault { text, hint: fault.hint.clone() }.error(&item.origin, &subject));
                Fault { text: format!("servers transport \"{name}\": {}", fault.text), hint: fault.hint }
            });
            (name.as_str(), (&item.scope, transport))
        };
        Self { default: Arc::clone(default), named: items.iter().map(&mut judge).collect() }
    }

    /// The transport that a reference means, and whether it is a named one.
    pub(super) fn find(
        &self,
        referrer: Referrer<'_>,
        reference: &str,
    ) -> Result<(Arc<T>, Option<String>), Fault> {
        if DEFAULTS.contains(&reference) {
            return Ok((Arc::clone(&self.default), None));
        }
        let known = |name: &str| self.named.get(name).map(|(scope, _)| (*scope, true));
        let all = self.named.keys().copied();
        let name = referrer.resolve("servers transport", reference, known, all)?;
        match self.named.get(name.as_str()) {
            Some((_, transport)) => transport.clone().map(|transport| (transport, Some(name))),
            None => Ok((Arc::clone(&self.default), None)),
        }
    }
}

/// Equal values as one.
#[derive(Debug)]
pub(super) struct Interned<T>(HashSet<Arc<T>, RandomState>);

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self(HashSet::default())
    }
}

impl<T: Eq + Hash> Interned<T> {
    /// The first value that was equal to it.
    pub(super) fn share(&mut self, value: Arc<T>) -> Arc<T> {
        if let Some(known) = self.0.get(&value) {
            return Arc::clone(known);
        }
        self.0.insert(Arc::clone(&value));
        value
    }
}

fn of_http(raw: &RawServersTransport, warnings: &mut Vec<Fault>) -> Result<Transport, Fault> {
    // Every key is named here, so that a new one cannot be forgotten.
    let RawServersTransport {
        server_name,
        insecure_skip_verify,
        root_cas,
        certificates,
        cipher_suites,
        min_version,
        max_version,
        max_idle_conns_per_host,
        forwarding_timeouts,
        disable_http2,
        peer_cert_uri,
        spiffe,
    } = raw;
    let default = Transport::default();
    let times = forwarding_timeouts.clone().unwrap_or_default();
    let RawForwardingTimeouts {
        dial_timeout,
        response_header_timeout,
        idle_conn_timeout,
        read_idle_timeout,
        ping_timeout,
    } = times;
    let (min, max) = parameters::versions(min_version, max_version, warnings)?;
    let Suites { chosen, only_tls13 } = parameters::cipher_suites(cipher_suites, warnings)?;
    if only_tls13 && max == Some(TlsVersion::Tls12) {
        return Err(Fault::new(
            "no version of TLS is left that could be spoken",
            "raise `maxVersion`, or take it away",
        ));
    }
    let tls = UpstreamTls {
        min_version: if only_tls13 { Some(TlsVersion::Tls13) } else { min },
        max_version: max,
        cipher_suites: chosen,
        ..tls(
            server_name,
            *insecure_skip_verify,
            root_cas,
            certificates,
            peer_cert_uri,
            spiffe.as_ref(),
            warnings,
        )?
    };
    Ok(Transport {
        dial_timeout: time_to_connect(
            "forwardingTimeouts.dialTimeout",
            dial_timeout,
            default.dial_timeout,
            warnings,
        ),
        response_header_timeout: response_header_timeout.limit(),
        idle_timeout: idle_conn_timeout.limit(),
        ping_interval: read_idle_timeout.limit(),
        ping_timeout: ping_timeout.limit().unwrap_or(default.ping_timeout),
        max_idle: match *max_idle_conns_per_host {
            0 => None,
            count => Some(usize::try_from(count).unwrap_or(0)),
        },
        disable_http2: *disable_http2,
        tls,
    })
}

fn of_tcp(raw: &RawTcpServersTransport, warnings: &mut Vec<Fault>) -> Result<TcpTransport, Fault> {
    // Every key is named here, so that a new one cannot be forgotten.
    let RawTcpServersTransport { dial_keep_alive, dial_timeout, proxy_protocol, termination_delay, tls } =
        raw;
    let default = TcpTransport::default();
    let upstream = match tls {
        None => UpstreamTls::default(),
        Some(RawTcpClientTls {
            server_name,
            insecure_skip_verify,
            root_cas,
            certificates,
            peer_cert_uri,
            spiffe,
        }) => self::tls(
            server_name,
            *insecure_skip_verify,
            root_cas,
            certificates,
            peer_cert_uri,
            spiffe.as_ref(),
            warnings,
        )?,
    };
    Ok(TcpTransport {
        dial_timeout: time_to_connect("dialTimeout", *dial_timeout, default.dial_timeout, warnings),
        // As in Go: less than nothing means no probes, and zero means the default.
        keep_alive: match dial_keep_alive.is_negative() {
            true => None,
            false => dial_keep_alive.limit().or(default.keep_alive),
        },
        termination_delay: termination_delay_of(*termination_delay),
        proxy_protocol: proxy_protocol.as_ref().map(proxy_version).transpose()?,
        tls: upstream,
    })
}

/// Less than nothing: for ever.
pub(super) fn termination_delay_of(written: GoDuration) -> Option<Duration> {
    (!written.is_negative()).then(|| written.or_zero())
}

/// 1 or 2.
pub(super) fn proxy_version(raw: &RawProxyProtocol) -> Result<ProxyVersion, Fault> {
    match raw.version {
        1 => Ok(ProxyVersion::V1),
        2 => Ok(ProxyVersion::V2),
        version => Err(Fault::new(
            format!("unknown proxyProtocol version: {version}"),
            "write `proxyProtocol: { version: 2 }` (or 1)",
        )),
    }
}

/// A connect always has a limit.
fn time_to_connect(key: &str, written: GoDuration, default: Duration, warnings: &mut Vec<Fault>) -> Duration {
    written.limit().unwrap_or_else(|| {
        let text = format!("`{key}`: every connect has a time limit, {} s holds", default.as_secs());
        warnings.push(Fault::new(text, "write how long it may take"));
        default
    })
}

/// What both kinds of transport say of TLS.
fn tls(
    server_name: &str,
    skip_verify: bool,
    root_cas: &[String],
    certificates: &[RawCertificate],
    peer_cert_uri: &str,
    spiffe: Option<&RawSpiffe>,
    warnings: &mut Vec<Fault>,
) -> Result<UpstreamTls, Fault> {
    if spiffe.is_some() {
        return Err(Fault::new(
            "`spiffe` is not supported",
            "verify servers by `rootCAs` and `peerCertURI`, and show `certificates` to them",
        ));
    }
    if skip_verify && !root_cas.is_empty() {
        let text = "`rootCAs` means nothing beside `insecureSkipVerify`: no certificate is verified";
        warnings.push(Fault::new(text, "take `insecureSkipVerify` away"));
    }
    Ok(UpstreamTls {
        server_name: (!server_name.is_empty()).then(|| server_name.into()),
        skip_verify,
        roots: root_cas.iter().map(|written| Pem::new(written)).collect(),
        client_pairs: certificates.iter().map(pair).collect::<Result<_, _>>()?,
        peer_uri: (!peer_cert_uri.is_empty()).then(|| peer_cert_uri.into()),
        ..UpstreamTls::default()
    })
}

#[cfg(test)]
#[path = "transports_tests.rs"]
mod tests;
