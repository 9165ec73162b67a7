//! SNI -> certificate: exact name, then wildcard, then the default. Immutable and pure: which certificates are valid is
//! decided when the store is made, and [`CertificateStore::holds_until`] says when that has to be done again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use foldhash::fast::RandomState;

use crate::certificate::Certificate;

/// All certificates that can be served now.
#[derive(Debug)]
pub struct CertificateStore {
    all: Vec<Arc<Certificate>>,
    default: Option<Arc<Certificate>>,
    names: HashMap<Box<str>, Arc<Certificate>, RandomState>,
    /// By what follows the `*`.
    wildcards: HashMap<Box<str>, Arc<Certificate>, RandomState>,
    addresses: HashMap<IpAddr, Arc<Certificate>, RandomState>,
    holds_until: Option<SystemTime>,
}

impl Default for CertificateStore {
    /// Nothing, not even a default certificate: what there is before the first publication.
    fn default() -> Self {
        Self::of(Vec::new(), None, SystemTime::UNIX_EPOCH)
    }
}

impl CertificateStore {
    /// A store of these; `default` is for names without one.
    ///
    /// Where several certificates have a name, a valid one wins over one that is not; then the one whose names, sorted
    /// and joined, come last, as in Traefik; then the one that is valid for longer.
    pub fn new(certificates: Vec<Arc<Certificate>>, default: Arc<Certificate>, now: SystemTime) -> Self {
        Self::of(certificates, Some(default), now)
    }

    fn of(all: Vec<Arc<Certificate>>, default: Option<Arc<Certificate>>, now: SystemTime) -> Self {
        let mut store = Self {
            default,
            names: HashMap::with_capacity_and_hasher(all.len(), RandomState::default()),
            wildcards: HashMap::default(),
            addresses: HashMap::default(),
            holds_until: next_change(&all, now),
            all,
        };
        for certificate in &store.all {
            for name in &certificate.names {
                match name.strip_prefix('*') {
                    Some(suffix) => put(&mut store.wildcards, Box::from(suffix), certificate, now),
                    None => {
                        put(&mut store.names, name.clone(), certificate, now);
                        if let Ok(address) = name.parse() {
                            put(&mut store.addresses, address, certificate, now);
                        }
                    }
                }
            }
        }
        // A wildcard that is valid wins over an exact name that is not.
        for (name, certificate) in &mut store.names {
            if !certificate.is_valid(now)
                && let Some(other) = suffix(name).and_then(|suffix| store.wildcards.get(suffix))
                && other.is_valid(now)
            {
                *certificate = Arc::clone(other);
            }
        }
        store
    }

    /// The certificate for a server name (lower case, no trailing dot), but for the default one.
    pub fn find(&self, name: &str) -> Option<&Arc<Certificate>> {
        if let Some(certificate) = self.names.get(name) {
            return Some(certificate);
        }
        if self.wildcards.is_empty() {
            return None;
        }
        self.wildcards.get(suffix(name)?)
    }

    /// The certificate for a client that sends no name and has come to this address.
    pub fn find_address(&self, address: IpAddr) -> Option<&Arc<Certificate>> {
        self.addresses.get(&address.to_canonical())
    }

    /// The certificate for names without one; none before the first publication.
    pub fn default_certificate(&self) -> Option<&Arc<Certificate>> {
        self.default.as_ref()
    }

    /// All but the default one.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.all.iter()
    }

    /// Whether one of the certificates names this, exactly or by wildcard; a wildcard names itself. The default one
    /// counts: it is what the name gets.
    pub fn covers(&self, name: &str) -> bool {
        let found = match name.strip_prefix('*') {
            Some(suffix) => self.wildcards.contains_key(suffix),
            None => self.find(name).is_some(),
        };
        found || self.default.as_ref().is_some_and(|default| default.covers(name))
    }

    /// Whether this certificate is the one that some name gets; the default one is.
    pub fn serves(&self, certificate: &Arc<Certificate>) -> bool {
        let is =
            |other: Option<&Arc<Certificate>>| other.is_some_and(|other| Arc::ptr_eq(other, certificate));
        is(self.default.as_ref())
            || certificate.names.iter().any(|name| match name.strip_prefix('*') {
                Some(suffix) => is(self.wildcards.get(suffix)),
                None => is(self.names.get(name)),
            })
    }

    /// When one of the certificates becomes valid or expires: from then on, another store may be right. None if that
    /// never happens.
    pub fn holds_until(&self) -> Option<SystemTime> {
        self.holds_until
    }
}

/// `.example.com` of `app.example.com`: what a wildcard for it is known by.
fn suffix(name: &str) -> Option<&str> {
    name.find('.').map(|dot| &name[dot..])
}

fn put<Name: std::hash::Hash + Eq>(
    map: &mut HashMap<Name, Arc<Certificate>, RandomState>,
    name: Name,
    certificate: &Arc<Certificate>,
    now: SystemTime,
) {
    match map.entry(name) {
        Entry::Vacant(entry) => {
            entry.insert(Arc::clone(certificate));
        }
        Entry::Occupied(mut entry) => {
            if wins(certificate, entry.get(), now) {
                entry.insert(Arc::clone(certificate));
            }
        }
    }
}

/// Whether `one` is served for a name that both have. The last word, so that the order of the list never matters, is
/// the fingerprint's.
fn wins(one: &Certificate, other: &Certificate, now: SystemTime) -> bool {
    let rank = |certificate: &Certificate| certificate.is_valid(now);
    rank(one)
        .cmp(&rank(other))
        .then_with(|| joined(one).cmp(joined(other)))
        .then_with(|| one.not_after.cmp(&other.not_after))
        .then_with(|| one.fingerprint.cmp(&other.fingerprint))
        .is_gt()
}

/// The bytes of the names, sorted and joined by commas.
fn joined(certificate: &Certificate) -> impl Iterator<Item = u8> {
    let names = certificate.names.iter().enumerate();
    names.flat_map(|(index, name)| (index > 0).then_some(b',').into_iter().chain(name.bytes()))
}

fn next_change(all: &[Arc<Certificate>], now: SystemTime) -> Option<SystemTime> {
    all.iter()
        .flat_map(|certificate| [certificate.not_before, certificate.not_after])
        .filter(|moment| *moment > now)
        .min()
}

#[cfg(test)]
#[path = "certificate_store_tests.rs"]
mod tests;
