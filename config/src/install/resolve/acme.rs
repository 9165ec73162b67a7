//! Certificate resolvers: who asks which ACME server, and how names are proved to it. What is wrong with one is a
//! problem of that one: it is left out, and routers that name it say so.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Resolver;
use crate::document::GoDuration;
use crate::install::EntryPoint;
use crate::install::acme::{
    CaTrust, CertificateResolver, Challenges, DnsChallenge, ExternalAccount, HttpChallenge, KeyType,
    Propagation, TlsChallenge,
};
use crate::install::raw::{RawAcme, RawCertificateResolver, RawDnsChallenge, RawEab, RawHttpChallenge};
use crate::name::EntryPointName;
use crate::problem::did_you_mean;
use crate::routing::tls::Pem;
use crate::secret::Secret;

const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// `certificatesDuration`: 90 days, in hours.
const DURATION: i64 = 2160;

/// Words of `keyType`.
const KEY_TYPES: &[(&str, KeyType)] = &[
    ("EC256", KeyType::Ec256),
    ("EC384", KeyType::Ec384),
    ("RSA2048", KeyType::Rsa2048),
    ("RSA4096", KeyType::Rsa4096),
    ("RSA8192", KeyType::Rsa8192),
];

impl Resolver<'_> {
    /// All that can be used. `eab_keys` were read from files of their own, by resolver.
    pub(super) fn certificate_resolvers(
        &mut self,
        raw: BTreeMap<String, RawCertificateResolver>,
        entry_points: &[EntryPoint],
        eab_keys: &BTreeMap<String, Secret<String>>,
    ) -> Vec<CertificateResolver> {
        let mut resolvers = Vec::new();
        for (name, raw) in raw {
            match raw.acme {
                Some(acme) => resolvers.extend(self.acme(&name, acme, entry_points, eab_keys.get(&name))),
                // `tailscale` has its notice.
                None if raw.tailscale.is_some() => {}
                None => self.report(&["certificatesResolvers", &name], "has no `acme`", ""),
            }
        }
        resolvers
    }

    fn acme(
        &mut self,
        name: &str,
        raw: RawAcme,
        entry_points: &[EntryPoint],
        eab_key: Option<&Secret<String>>,
    ) -> Option<CertificateResolver> {
        let at = ["certificatesResolvers", name, "acme"];
        let below = |key: &'static str| [at[0], at[1], at[2], key];
        if raw.email_addresses.as_ref().is_some_and(|addresses| !addresses.is_empty()) {
            self.warn(&below("emailAddresses"), "is for certificates of mail: it is ignored", "remove it");
        }
        let key_type = match raw.key_type.as_deref().filter(|word| !word.is_empty()) {
            None => KeyType::default(),
            Some(word) => match KEY_TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)) {
                Some((_, key_type)) => *key_type,
                None => {
                    let words: Vec<_> = KEY_TYPES.iter().map(|(word, _)| *word).collect();
                    let hint = format!("write one of `{}`", words.join("`, `"));
                    self.warn(&below("keyType"), format!("`{word}` is not known: keys are RSA4096"), &hint);
                    KeyType::default()
                }
            },
        };
        let mut usable = true;
        let ca_server = written(raw.ca_server.clone()).unwrap_or_else(|| LETS_ENCRYPT.to_owned());
        if !is_url(&ca_server) {
            let hint = format!("write it as `{LETS_ENCRYPT}`");
            self.report(
                &below("caServer"),
                format!("`{ca_server}` is no URL: the resolver is left out"),
                &hint,
            );
            usable = false;
        }
        let hours = raw.certificates_duration.unwrap_or(DURATION);
        let certificates_duration = match u64::try_from(hours) {
            Ok(hours @ 1..=1_000_000) => Duration::from_secs(hours * 3600),
            _ => {
                let message = format!("`{hours}` is out of range: the resolver is left out");
                self.report(
                    &below("certificatesDuration"),
                    message,
                    "write the hours that a certificate lives",
                );
                usable = false;
                Duration::ZERO
            }
        };
        let external_account = match self.external_account(name, &raw.eab, eab_key) {
            Ok(account) => account,
            Err(LeftOut) => {
                usable = false;
                None
            }
        };
        let trust = self.ca_trust(&raw);
        let mut time = |key: &'static str, written: Option<GoDuration>, seconds: u64| match written {
            None => Duration::from_secs(seconds),
            Some(time) => time.limit().unwrap_or_else(|| {
                let message = format!("every call has a time limit: {seconds}s holds");
                self.warn(&below(key), message, "write how long it may take");
                Duration::from_secs(seconds)
            }),
        };
        let client_timeout = time("clientTimeout", raw.client_timeout, 120);
        let response_header_timeout =
            time("clientResponseHeaderTimeout", raw.client_response_header_timeout, 30);
        let certificate_timeout = time("certificateTimeout", raw.certificate_timeout, 30);
        let any_challenge =
            raw.tls_challenge.is_some() || raw.http_challenge.is_some() || raw.dns_challenge.is_some();
        let challenges = Challenges {
            tls: raw
                .tls_challenge
                .map(|challenge| TlsChallenge { delay: challenge.delay.unwrap_or_default().or_zero() }),
            http: raw.http_challenge.and_then(|raw| self.http_challenge(name, raw, entry_points)),
            dns: raw.dns_challenge.and_then(|raw| self.dns_challenge(name, raw)),
        };
        if !any_challenge {
            let message = "has no challenge: the resolver is left out";
            self.report(&at, message, "set `tlsChallenge`, `httpChallenge` or `dnsChallenge`");
        }
        if !usable || challenges == Challenges::default() {
            return None;
        }
        Some(CertificateResolver {
            name: Arc::from(name),
            ca_server,
            email: written(raw.email),
            storage: written(raw.storage).map_or_else(|| PathBuf::from("acme.json"), PathBuf::from),
            key_type,
            certificates_duration,
            preferred_chain: written(raw.preferred_chain),
            profile: written(raw.profile),
            disable_common_name: raw.disable_common_name.unwrap_or(false),
            external_account,
            trust,
            client_timeout,
            response_header_timeout,
            certificate_timeout,
            challenges,
        })
    }

    fn external_account(
        &mut self,
        name: &str,
        raw: &RawEab,
        from_file: Option<&Secret<String>>,
    ) -> Result<Option<ExternalAccount>, LeftOut> {
        let path = ["certificatesResolvers", name, "acme", "eab"];
        let kid = written(raw.kid.clone());
        let key = from_file.or(raw.hmac_encoded.as_ref()).filter(|key| !key.expose().is_empty());
        let key_file = written(raw.hmac_encoded_file.clone());
        match (kid, key) {
            (None, None) if key_file.is_none() => Ok(None),
            (Some(kid), Some(key)) => {
                let text = key.expose().trim().trim_end_matches('=');
                match URL_SAFE_NO_PAD.decode(text) {
                    Ok(key) => Ok(Some(ExternalAccount { kid, hmac: Secret::new(key) })),
                    // What is wrong with it would tell of it.
                    Err(_) => {
                        let message = "the key is no base64url: the resolver is left out";
                        let key = if from_file.is_some() { "hmacEncodedFile" } else { "hmacEncoded" };
                        let path = [path[0], path[1], path[2], path[3], key];
                        self.report(&path, message, "copy it as the authority gave it");
                        Err(LeftOut)
                    }
                }
            }
            // The file could not be read, which has been said.
            (Some(_), None) if key_file.is_some() && from_file.is_none() => Err(LeftOut),
            (Some(_), None) => {
                self.report(&path, "`kid` stands alone: the resolver is left out", "set `hmacEncoded` too");
                Err(LeftOut)
            }
            (None, _) => {
                self.report(&path, "`hmacEncoded` stands alone: the resolver is left out", "set `kid` too");
                Err(LeftOut)
            }
        }
    }

    /// The variables are those of the library that Traefik uses; they hold where nothing is written.
    fn ca_trust(&self, raw: &RawAcme) -> CaTrust {
        let roots: Vec<_> = raw
            .ca_certificates
            .iter()
            .flatten()
            .map(|pem| pem.trim())
            .filter(|pem| !pem.is_empty())
            .map(Pem::new)
            .collect();
        let server_name = written(raw.ca_server_name.clone());
        if !roots.is_empty() || server_name.is_some() {
            return CaTrust { roots, server_name, system_roots: raw.ca_system_cert_pool.unwrap_or(false) };
        }
        let variable = |wanted: &str| {
            self.environment
                .iter()
                .find(|(name, value)| name == wanted && !value.is_empty())
                .map(|(_, value)| value.as_str())
        };
        let flag = variable("LEGO_CA_SYSTEM_CERT_POOL").unwrap_or("");
        CaTrust {
            roots: match variable("LEGO_CA_CERTIFICATES") {
                None => Vec::new(),
                Some(text) if text.contains("-----BEGIN") => vec![Pem::new(text)],
                Some(paths) => paths.split(':').filter(|path| !path.is_empty()).map(Pem::new).collect(),
            },
            server_name: variable("LEGO_CA_SERVER_NAME").map(str::to_owned),
            system_roots: raw
                .ca_system_cert_pool
                .unwrap_or(matches!(flag, "1" | "t" | "T" | "TRUE" | "true" | "True")),
        }
    }

    fn http_challenge(
        &mut self,
        name: &str,
        raw: RawHttpChallenge,
        entry_points: &[EntryPoint],
    ) -> Option<HttpChallenge> {
        let path = ["certificatesResolvers", name, "acme", "httpChallenge", "entryPoint"];
        let Some(wanted) = written(raw.entry_point) else {
            self.report(&path[..4], "names no entry point", "set `entryPoint` to the one on port 80");
            return None;
        };
        match entry_points.iter().find(|entry_point| entry_point.name.as_str() == wanted) {
            Some(entry_point) if entry_point.udp.is_some() => {
                let hint = "name the one on port 80";
                self.report(&path, format!("entry point `{wanted}` is for UDP"), hint);
                None
            }
            Some(_) => Some(HttpChallenge {
                entry_point: EntryPointName::from(wanted),
                delay: raw.delay.unwrap_or_default().or_zero(),
            }),
            None => {
                let near = did_you_mean(&wanted, entry_points.iter().map(|known| known.name.as_str()));
                let hint = near.map_or_else(String::new, |near| format!("did you mean `{near}`?"));
                self.report(&path, format!("entryPoint \"{wanted}\" doesn't exist"), &hint);
                None
            }
        }
    }

    fn dns_challenge(&mut self, name: &str, raw: RawDnsChallenge) -> Option<DnsChallenge> {
        let at = ["certificatesResolvers", name, "acme", "dnsChallenge"];
        let below = |key: &'static str| [at[0], at[1], at[2], at[3], key];
        for (key, set, instead) in [
            ("delayBeforeCheck", raw.delay_before_check.is_some(), "delayBeforeChecks"),
            ("disablePropagationCheck", raw.disable_propagation_check.is_some(), "disableChecks"),
        ] {
            if set {
                self.warn(&below(key), "is an older spelling", &format!("write `propagation.{instead}`"));
            }
        }
        let mut resolvers = Vec::new();
        for text in raw.resolvers.iter().flatten().map(|text| text.trim()).filter(|text| !text.is_empty()) {
            match dns_server(text) {
                Some(server) => resolvers.push(server),
                None => {
                    let message = format!("`{text}` is no DNS server: it is left out");
                    self.report(
                        &below("resolvers"),
                        message,
                        "write it as `1.1.1.1:53` or `[2606:4700::1111]:53`",
                    );
                }
            }
        }
        let mut credentials = BTreeMap::new();
        for (name, value) in raw.credentials {
            let name = name.to_ascii_uppercase();
            if credentials.contains_key(&name) {
                let message = format!("`{name}` is set twice, in different spelling: one of the two holds");
                self.report(&below("credentials"), message, "write it once");
            }
            credentials.insert(name, value);
        }
        let Some(provider) = written(raw.provider) else {
            let hint = "set `provider`, as in `cloudflare` or `rfc2136`";
            self.report(&at, "names no provider", hint);
            return None;
        };
        let wait = raw.propagation.delay_before_checks.or(raw.delay_before_check);
        Some(DnsChallenge {
            provider,
            resolvers,
            propagation: Propagation {
                delay_before_checks: wait.unwrap_or_default().or_zero(),
                disable_checks: raw
                    .propagation
                    .disable_checks
                    .or(raw.disable_propagation_check)
                    .unwrap_or(false),
                disable_authoritative: raw.propagation.disable_ans_checks.unwrap_or(false),
                require_all_recursive: raw.propagation.require_all_rns.unwrap_or(false),
            },
            credentials,
        })
    }
}

/// The resolver cannot be used; why has been said.
struct LeftOut;

/// An empty text is a setting that was not made.
fn written(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn is_url(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let rest = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// `host:port`; the port is 53 where none is written.
fn dns_server(text: &str) -> Option<String> {
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        return Some(std::net::SocketAddr::new(address, 53).to_string());
    }
    if let Some(address) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().ok().map(|_| format!("{text}:53"));
    }
    match text.rsplit_once(':') {
        None if super::entry_point::is_host_name(text) => Some(format!("{text}:53")),
        None => None,
        Some((host, port)) => {
            let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
            let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            let known = match bracketed {
                Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok(),
                None => host.parse::<std::net::Ipv4Addr>().is_ok() || super::entry_point::is_host_name(host),
            };
            known.then(|| format!("{host}:{port}"))
        }
    }
}
