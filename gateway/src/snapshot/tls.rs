//! TLS policies, compiled: which one a server name asks for.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use config::name::TlsOptionsName;
use config::routing::tls::{Tls, TlsOptions};
use foldhash::fast::RandomState;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::files::Files;
use super::service::Slot;

/// The options of whoever names none.
const DEFAULT: &str = "default";

/// A set of TLS options, compiled. An unchanged one is the same value in the next snapshot, and so what the hot path
/// prepared for it (its tickets among it) goes on.
#[derive(Debug)]
pub struct TlsPolicy {
    /// Its qualified name; `default`.
    pub name: TlsOptionsName,
    /// The options with the CA certificates (DER) of clients. The error says why handshakes are refused.
    pub settings: Result<PolicySettings, Arc<str>>,
    /// Kept by the hot path for as long as the policy lives, over all snapshots.
    pub slot: Arc<Slot>,
}

/// What a policy asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySettings {
    /// As validated.
    pub options: Arc<TlsOptions>,
    /// Who may have signed a client's certificate, DER; empty where that is not looked at.
    pub client_roots: Vec<Arc<[u8]>>,
}

impl TlsPolicy {
    /// Compiles one set of options, or the reason why it cannot be used.
    pub fn new(name: TlsOptionsName, options: Result<Arc<TlsOptions>, Arc<str>>, files: &Files) -> Self {
        let settings = options.and_then(|options| {
            let client_roots = client_roots(&options, files)?;
            Ok(PolicySettings { options, client_roots })
        });
        Self { name, settings, slot: Arc::default() }
    }

    /// Whether a connection made under `self` may carry requests for a route that asks for `other`: the same options,
    /// by value.
    pub fn allows(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || matches!((&self.settings, &other.settings), (Ok(one), Ok(other)) if one == other)
    }
}

/// All policies of a snapshot, by the name of their options.
#[derive(Debug)]
pub struct Policies {
    by_name: HashMap<TlsOptionsName, Arc<TlsPolicy>, RandomState>,
    default: Arc<TlsPolicy>,
}

impl Default for Policies {
    /// The default policy alone, as it is where nobody wrote it.
    fn default() -> Self {
        Self {
            by_name: HashMap::default(),
            default: Arc::new(default_policy(Ok(Arc::default()), &Files::default())),
        }
    }
}

impl Policies {
    /// Compiles all sets of options. What equals its predecessor in `previous` is the same value as there.
    pub fn compile(tls: &Tls, files: &Files, previous: &Self) -> Self {
        let kept = |next: TlsPolicy, before: Option<&Arc<TlsPolicy>>| match before {
            Some(before) if before.settings == next.settings => Arc::clone(before),
            Some(_) | None => Arc::new(next),
        };
        let mut by_name: HashMap<_, _, RandomState> = tls
            .options
            .iter()
            .map(|(name, options)| {
                let next = TlsPolicy::new(name.clone(), options.clone(), files);
                (name.clone(), kept(next, previous.by_name.get(name)))
            })
            .collect();
        let default = match by_name.remove(DEFAULT) {
            Some(default) => default,
            None => Arc::new(default_policy(Ok(Arc::default()), files)),
        };
        let default = if previous.default.settings == default.settings {
            Arc::clone(&previous.default)
        } else {
            default
        };
        Self { by_name, default }
    }

    /// The policy of this name. Options that do not exist refuse every handshake.
    pub fn get(&self, name: &TlsOptionsName) -> Arc<TlsPolicy> {
        if name.as_str() == DEFAULT {
            return Arc::clone(&self.default);
        }
        match self.by_name.get(name) {
            Some(policy) => Arc::clone(policy),
            None => Arc::new(TlsPolicy {
                name: name.clone(),
                settings: Err(format!("TLS options `{name}` do not exist").into()),
                slot: Arc::default(),
            }),
        }
    }

    /// The policy of names that ask for no other.
    pub fn default_policy(&self) -> &Arc<TlsPolicy> {
        &self.default
    }

    /// Every policy.
    pub fn all(&self) -> impl Iterator<Item = &Arc<TlsPolicy>> {
        std::iter::once(&self.default).chain(self.by_name.values())
    }
}

fn default_policy(options: Result<Arc<TlsOptions>, Arc<str>>, files: &Files) -> TlsPolicy {
    TlsPolicy::new(TlsOptionsName::from(DEFAULT), options, files)
}

/// The CA certificates of clients. One that cannot be read is an error: it never becomes "no CA, so anyone".
fn client_roots(options: &TlsOptions, files: &Files) -> Result<Vec<Arc<[u8]>>, Arc<str>> {
    let mut roots = Vec::new();
    for pem in options.client_auth.roots() {
        let place = match pem.path() {
            Some(path) => format!("CA file {}", path.display()),
            None => "CA certificate".to_owned(),
        };
        let bytes = files.bytes(pem).map_err(|error| format!("{place}: {error}"))?;
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(&bytes) {
            let certificate = certificate.map_err(|_| format!("{place}: it is not valid PEM"))?;
            let known = webpki::anchor_from_trusted_cert(&certificate).is_ok();
            if !known {
                return Err(format!("{place}: a certificate in it cannot be parsed").into());
            }
            roots.push(Arc::from(&*certificate));
        }
        if roots.len() == before {
            return Err(format!("{place}: there is no certificate in it").into());
        }
    }
    if roots.is_empty() && !options.client_auth.roots().is_empty() {
        return Err("there is no CA certificate".into());
    }
    Ok(roots)
}

/// Server names of the HTTPS routers of an entry point, and the policy of each.
#[derive(Debug)]
pub struct ServerNames {
    hosts: HashMap<Box<str>, Arc<TlsPolicy>, RandomState>,
    /// By what follows the `*`.
    wildcards: HashMap<Box<str>, Arc<TlsPolicy>, RandomState>,
    default: Arc<TlsPolicy>,
}

impl ServerNames {
    /// These hosts (lower case, no trailing dot, wildcards as `*.example.com`); `default` for all others. Where a host
    /// comes with several policies, one that refuses handshakes wins, else the default one, as in Traefik.
    pub fn new<Host: Into<Box<str>>>(
        hosts: impl IntoIterator<Item = (Host, Arc<TlsPolicy>)>,
        default: Arc<TlsPolicy>,
    ) -> Self {
        let mut names = Self { hosts: HashMap::default(), wildcards: HashMap::default(), default };
        for (host, policy) in hosts {
            let host: Box<str> = host.into();
            let (map, host) = match host.strip_prefix('*') {
                Some(suffix) => (&mut names.wildcards, Box::from(suffix)),
                None => (&mut names.hosts, host),
            };
            match map.entry(host) {
                Entry::Vacant(entry) => {
                    entry.insert(policy);
                }
                Entry::Occupied(mut entry) => {
                    let refused = entry.get().settings.is_err();
                    if policy.settings.is_err() {
                        entry.insert(policy);
                    } else if !refused && !entry.get().allows(&policy) {
                        entry.insert(Arc::clone(&names.default));
                    }
                }
            }
        }
        names
    }

    /// The policy of a name (lower case, no trailing dot) that a router's rule has as a literal or by a wildcard.
    pub fn find(&self, name: &str) -> Option<&Arc<TlsPolicy>> {
        if let Some(policy) = self.hosts.get(name) {
            return Some(policy);
        }
        if self.wildcards.is_empty() {
            return None;
        }
        self.wildcards.get(&name[name.find('.')?..])
    }

    /// The policy of every other name, and of none.
    pub fn default_policy(&self) -> &Arc<TlsPolicy> {
        &self.default
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
