//! TLS options, certificates and the default certificate: each checked for itself. A set of options that cannot be
//! kept as written is not replaced by a laxer one: handshakes for the hosts that ask for it are refused.

pub(super) mod conflicts;
mod domains;
pub(super) mod parameters;
pub(super) mod router;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use self::parameters::Suites;
use super::{Context, Fault};
use crate::name::TlsOptionsName;
use crate::problem::{Origin, Problem, did_you_mean};
use crate::routing::merge::Merged;
use crate::routing::raw::{RawCertificate, RawClientAuth, RawTlsOptions, RawTlsStore};
use crate::routing::tls::{
    CertificateSource, ClientAuth, DefaultCertificate, Pem, Tls, TlsOptions, TlsVersion,
};

/// The one set of options, and the one store, that need no provider.
pub(super) const DEFAULT: &str = "default";

/// Longest name of an application protocol (RFC 7301).
const LONGEST_PROTOCOL: usize = 255;

/// All TLS settings; each that does not work as written is a problem.
pub(super) fn build(merged: &Merged, context: &Context, problems: &mut Vec<Problem>) -> Tls {
    Tls {
        options: all_options(merged, problems),
        certificates: certificates(merged, problems),
        default_certificate: merged
            .tls_stores
            .get(DEFAULT)
            .map(|store| default_certificate(&store.value, &store.origin, context, problems))
            .unwrap_or_default(),
    }
}

fn all_options(
    merged: &Merged,
    problems: &mut Vec<Problem>,
) -> BTreeMap<TlsOptionsName, Result<Arc<TlsOptions>, Arc<str>>> {
    let mut all = BTreeMap::new();
    // Of several definitions none counts, and what they wanted is not replaced by something laxer.
    let default = match merged.default_options_clash {
        true => Err(Arc::from("TLS options `default` are defined by several providers")),
        false => Ok(Arc::default()),
    };
    all.insert(TlsOptionsName::from(DEFAULT), default);
    for (name, item) in &merged.tls_options {
        let subject = format!("TLS options `{}`", name.split('@').next().unwrap_or(name));
        let mut warnings = Vec::new();
        let options = options(&item.value, &mut warnings);
        problems.extend(warnings.iter().map(|fault| fault.warning(&item.origin, &subject)));
        let options = options.map(Arc::new).map_err(|fault| {
            let text = format!("{}: handshakes for hosts that ask for it are refused", fault.text);
            problems.push(Fault { text, hint: fault.hint }.error(&item.origin, &subject));
            Arc::from(fault.text)
        });
        all.insert(TlsOptionsName::from(name.as_str()), options);
    }
    all
}

fn options(raw: &RawTlsOptions, warnings: &mut Vec<Fault>) -> Result<TlsOptions, Fault> {
    // Every key is named here, so that a new one cannot be forgotten.
    let RawTlsOptions {
        min_version,
        max_version,
        cipher_suites,
        curve_preferences,
        client_auth,
        sni_strict,
        alpn_protocols,
        disable_session_tickets,
        prefer_server_cipher_suites,
    } = raw;
    let default = TlsOptions::default();
    let (min, max) = parameters::versions(min_version, max_version, warnings)?;
    let mut min_version = min.unwrap_or(default.min_version);
    let max_version = max.unwrap_or(default.max_version);
    let Suites { chosen, only_tls13 } = parameters::cipher_suites(cipher_suites, warnings)?;
    if only_tls13 {
        min_version = TlsVersion::Tls13;
    }
    if min_version > max_version {
        return Err(Fault::new(
            "no version of TLS is left that could be spoken",
            "raise `maxVersion`, or take it away",
        ));
    }
    if prefer_server_cipher_suites.is_some() {
        warnings.push(Fault::new("`preferServerCipherSuites` has no effect", "take it away"));
    }
    Ok(TlsOptions {
        min_version,
        max_version,
        cipher_suites: chosen,
        curves: parameters::curves(curve_preferences)?,
        alpn: alpn_protocols.as_ref().map_or(Ok(default.alpn), |written| protocols(written))?,
        sni_strict: *sni_strict,
        client_auth: self::client_auth(client_auth)?,
        session_tickets: !disable_session_tickets,
    })
}

/// Application protocols as they are offered. `acme-tls/1` is the gateway's own affair.
fn protocols(written: &[String]) -> Result<Vec<Box<str>>, Fault> {
    let mut protocols: Vec<Box<str>> = Vec::with_capacity(written.len());
    for protocol in written {
        if protocol.is_empty() || protocol.len() > LONGEST_PROTOCOL {
            return Err(Fault::new(
                "invalid ALPN protocol",
                format!("a name of `alpnProtocols` has 1 to {LONGEST_PROTOCOL} bytes"),
            ));
        }
        if protocol != "acme-tls/1" && !protocols.iter().any(|known| **known == **protocol) {
            protocols.push(protocol.as_str().into());
        }
    }
    Ok(protocols)
}

fn client_auth(raw: &RawClientAuth) -> Result<ClientAuth, Fault> {
    const TYPES: [&str; 5] = [
        "NoClientCert",
        "RequestClientCert",
        "RequireAnyClientCert",
        "VerifyClientCertIfGiven",
        "RequireAndVerifyClientCert",
    ];
    let RawClientAuth { ca_files, client_auth_type } = raw;
    let roots = || {
        if ca_files.is_empty() {
            return Err(Fault::new(
                format!("invalid clientAuthType: {client_auth_type}, CAFiles is required"),
                "set `caFiles` to the certificates of who may sign clients' certificates",
            ));
        }
        Ok(ca_files.iter().map(|written| Pem::new(written)).collect())
    };
    match client_auth_type.as_str() {
        "" if ca_files.is_empty() => Ok(ClientAuth::None),
        "NoClientCert" => Ok(ClientAuth::None),
        "RequestClientCert" => Ok(ClientAuth::Request),
        "RequireAnyClientCert" => Ok(ClientAuth::RequireAny),
        "VerifyClientCertIfGiven" => Ok(ClientAuth::VerifyIfGiven(roots()?)),
        "" | "RequireAndVerifyClientCert" => Ok(ClientAuth::RequireAndVerify(roots()?)),
        unknown => {
            let hint = match did_you_mean(unknown, TYPES) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are `{}`", TYPES.join("`, `")),
            };
            Err(Fault::new(format!("unknown client auth type {unknown:?}"), hint))
        }
    }
}

/// Every pair, once.
fn certificates(merged: &Merged, problems: &mut Vec<Problem>) -> Vec<CertificateSource> {
    let mut certificates = Vec::with_capacity(merged.certificates.len());
    let mut seen = HashSet::with_capacity(merged.certificates.len());
    for item in &merged.certificates {
        let subject = subject(&item.value);
        let strange: Vec<_> =
            item.value.stores.iter().filter(|store| *store != DEFAULT).map(String::as_str).collect();
        if !strange.is_empty() {
            let left_out = strange.len() == item.value.stores.len();
            let text = format!(
                "only the store `default` exists, and not `{}`{}",
                strange.join("`, `"),
                if left_out { ": the certificate is left out" } else { "" }
            );
            problems.push(Fault::new(text, "take `stores` away").error(&item.origin, &subject));
            if left_out {
                continue;
            }
        }
        match source(&item.value, &item.origin) {
            Ok(source) => {
                if seen.insert((source.chain.clone(), source.key.clone())) {
                    certificates.push(source);
                }
            }
            Err(fault) => problems.push(fault.error(&item.origin, &subject)),
        }
    }
    certificates
}

/// As a problem's subject. A key's place says nothing that the certificate's does not.
fn subject(raw: &RawCertificate) -> String {
    match Pem::new(&raw.cert_file).path() {
        Some(path) if !raw.cert_file.is_empty() => format!("TLS certificate `{}`", path.display()),
        Some(_) | None => "TLS certificate".to_owned(),
    }
}

/// A pair of which both halves are written.
fn source(raw: &RawCertificate, origin: &Origin) -> Result<CertificateSource, Fault> {
    let (chain, key) = pair(raw)?;
    Ok(CertificateSource { chain, key, origin: origin.clone() })
}

/// The same without its place.
pub(super) fn pair(raw: &RawCertificate) -> Result<(Pem, Pem), Fault> {
    let missing = match (raw.cert_file.is_empty(), raw.key_file.expose().is_empty()) {
        (false, false) => return Ok((Pem::new(&raw.cert_file), Pem::from(&raw.key_file))),
        (true, false) => "`certFile` is missing",
        (false, true) => "`keyFile` is missing",
        (true, true) => "`certFile` and `keyFile` are missing",
    };
    Err(Fault::new(missing, "a certificate is a pair: `{ certFile: cert.pem, keyFile: key.pem }`"))
}

fn default_certificate(
    raw: &RawTlsStore,
    origin: &Origin,
    context: &Context,
    problems: &mut Vec<Problem>,
) -> DefaultCertificate {
    let RawTlsStore { default_certificate, default_generated_cert } = raw;
    let subject = "TLS store `default`";
    if let Some(pair) = default_certificate {
        if default_generated_cert.is_some() {
            let text = "`defaultCertificate` and `defaultGeneratedCert` are both set: the latter is left out";
            problems.push(Fault::new(text, "keep one of them").warning(origin, subject));
        }
        match source(pair, origin) {
            Ok(source) => return DefaultCertificate::Pair(source),
            Err(fault) => {
                let text = format!("`defaultCertificate`: {}", fault.text);
                problems.push(Fault { text, hint: fault.hint }.error(origin, subject));
                return DefaultCertificate::Generated;
            }
        }
    }
    let Some(generated) = default_generated_cert else { return DefaultCertificate::Generated };
    let mut fail = |fault: Fault| {
        let text = format!("`defaultGeneratedCert`: {}", fault.text);
        problems.push(Fault { text, hint: fault.hint }.error(origin, subject));
    };
    let resolver = match context.resolver(&generated.resolver) {
        Ok(resolver) => resolver,
        Err(fault) => {
            fail(fault);
            return DefaultCertificate::Generated;
        }
    };
    let written = generated.domain.iter().collect::<Vec<_>>();
    let (domains, faults) = domains::of_blocks(written.into_iter(), resolver.dns);
    let none = domains.is_empty() && faults.is_empty();
    faults.into_iter().for_each(&mut fail);
    match domains.into_iter().next() {
        Some(domain) => {
            let (resolver, origin) = (Arc::clone(&resolver.name), origin.clone());
            DefaultCertificate::Resolver { resolver, domain, origin }
        }
        None => {
            if none {
                fail(Fault::new("it names no domain", "set `domain: { main: example.com }`"));
            }
            DefaultCertificate::Generated
        }
    }
}

#[cfg(test)]
mod tests;
