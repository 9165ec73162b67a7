//! MATERIAL: the files that the routing configuration names (certificates, keys, CA files), read and parsed. A value:
//! the next one is made from the one before, and nothing is read twice that did not change.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::routing::Routing;
use config::routing::tls::{self, DefaultCertificate, Pem};
use config::{Origin, Problem};
use discovery::named::{self, Stamps};
use foldhash::fast::RandomState;
use security::certificate::{Certificate, CertificateError, CertificateSource};
use zeroize::Zeroizing;

use crate::snapshot::files::{File, Files};

/// Larger files hold no certificates.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Permission bits that let others than the owner read.
const READABLE_BY_OTHERS: u32 = 0o044;

/// What lies in the files that the routing configuration names.
#[derive(Debug, Default, Clone)]
pub struct Material {
    /// Of [`Routing::pairs`], in order.
    pairs: Vec<Arc<Pair>>,
    /// The last pair is the default certificate's.
    has_default: bool,
    /// Of [`Routing::trust`].
    files: Arc<Files>,
    /// What every file was like before it was read.
    stamps: Arc<Stamps>,
}

/// A pair of files or texts.
#[derive(Debug)]
struct Pair {
    written: tls::CertificateSource,
    /// The newest version that could be read.
    good: Option<Arc<Certificate>>,
    /// Why what there is now cannot be served.
    trouble: Option<String>,
    /// Mode of the key's file, where others can read it.
    open_to_others: Option<u32>,
}

/// Files that were looked at already, each once.
struct Reading<'a> {
    before: &'a Stamps,
    stale: &'a BTreeSet<Arc<Path>>,
    stamps: Stamps,
}

impl Material {
    /// Reads what `routing` names and `previous` does not know, and the `stale` files again. Blocks.
    pub fn read(routing: &Routing, previous: &Self, stale: &BTreeSet<Arc<Path>>) -> Self {
        let mut reading = Reading { before: &previous.stamps, stale, stamps: Stamps::new() };
        let pairs: Vec<_> = {
            let mut known = Known::new(&previous.pairs);
            routing
                .pairs()
                .map(|written| {
                    let before = known.find(written);
                    let fresh = reading.is_fresh(&written.chain) & reading.is_fresh(&written.key);
                    match before {
                        Some(before) if fresh && before.written.origin == written.origin => {
                            Arc::clone(before)
                        }
                        Some(before) if fresh => Arc::new(before.moved(written)),
                        Some(_) | None => Arc::new(Pair::read(written, before.map(|before| &**before))),
                    }
                })
                .collect()
        };
        let files = reading.trust(routing, &previous.files);
        let stamps = if reading.stamps == *reading.before {
            Arc::clone(&previous.stamps)
        } else {
            Arc::new(reading.stamps)
        };
        let has_default = matches!(routing.tls.default_certificate, DefaultCertificate::Pair(_));
        Self { pairs, has_default, files, stamps }
    }

    /// Reads `stale` files again, if all of them belong to pairs: whatever depends on other files has to be compiled
    /// anew. Blocks.
    pub fn read_pairs(&self, routing: &Routing, stale: &BTreeSet<Arc<Path>>) -> Option<Self> {
        let only_pairs = stale.iter().all(|path| self.files.get(path).is_none());
        only_pairs.then(|| Self::read(routing, self, stale))
    }

    /// Certificates that can be served by name, those of `tls.certificates`.
    pub fn certificates(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.split().0.iter().filter_map(|pair| pair.good.as_ref())
    }

    /// The certificate of `defaultCertificate`.
    pub fn default_certificate(&self) -> Option<&Arc<Certificate>> {
        self.split().1?.good.as_ref()
    }

    /// Every certificate with the place where its pair was written.
    pub fn written(&self) -> impl Iterator<Item = (&Origin, &Arc<Certificate>)> {
        self.pairs.iter().filter_map(|pair| Some((&pair.written.origin, pair.good.as_ref()?)))
    }

    /// The other files.
    pub fn files(&self) -> &Arc<Files> {
        &self.files
    }

    /// What every file was like when it was read.
    pub fn stamps(&self) -> &Arc<Stamps> {
        &self.stamps
    }

    /// The newest state of some pair cannot be used.
    pub fn is_refused(&self) -> bool {
        self.pairs.iter().any(|pair| pair.trouble.is_some())
    }

    /// What is wrong with the pairs.
    pub fn problems(&self) -> impl Iterator<Item = Problem> {
        self.pairs.iter().flat_map(|pair| pair.problems())
    }

    fn split(&self) -> (&[Arc<Pair>], Option<&Arc<Pair>>) {
        match self.pairs.split_last() {
            Some((default, pairs)) if self.has_default => (pairs, Some(default)),
            Some(_) | None => (&self.pairs, None),
        }
    }
}

impl Reading<'_> {
    /// Whether a file is the one that was read before. From here on it is known what it was like.
    fn is_fresh(&mut self, pem: &Pem) -> bool {
        let Some(path) = pem.path() else { return true };
        let fresh = !self.stale.contains(path);
        if self.stamps.contains_key(path) {
            return fresh && self.before.contains_key(path);
        }
        match self.before.get_key_value(path) {
            Some((path, stamp)) if fresh => {
                self.stamps.insert(Arc::clone(path), *stamp);
                true
            }
            Some(_) | None => {
                // Before it is read: a change in between makes it stale once more.
                self.stamps.insert(Arc::from(path), named::look(path));
                false
            }
        }
    }

    fn trust(&mut self, routing: &Routing, previous: &Arc<Files>) -> Arc<Files> {
        let mut contents: HashMap<PathBuf, Result<File, Arc<str>>> = HashMap::new();
        let mut same = true;
        for pem in routing.trust() {
            let Some(path) = pem.path() else { continue };
            if contents.contains_key(path) {
                continue;
            }
            let fresh = self.is_fresh(pem);
            let before = previous.get(path);
            let now = match before {
                Some(before) if fresh => before.clone(),
                Some(_) | None => read_file(path),
            };
            same &= before == Some(&now);
            contents.insert(path.to_owned(), now);
        }
        if same && contents.len() == previous.count() {
            Arc::clone(previous)
        } else {
            Arc::new(Files::new(contents))
        }
    }
}

/// Pairs by what was written. Most often they come in the order that they had before.
struct Known<'a> {
    pairs: &'a [Arc<Pair>],
    next: usize,
    by_key: Option<HashMap<(&'a Pem, &'a Pem), &'a Arc<Pair>, RandomState>>,
}

impl<'a> Known<'a> {
    fn new(pairs: &'a [Arc<Pair>]) -> Self {
        Self { pairs, next: 0, by_key: None }
    }

    fn find(&mut self, written: &tls::CertificateSource) -> Option<&'a Arc<Pair>> {
        if let Some(pair) = self.pairs.get(self.next)
            && pair.written.chain == written.chain
            && pair.written.key == written.key
        {
            self.next += 1;
            return Some(pair);
        }
        let pairs = self.pairs;
        let by_key = self.by_key.get_or_insert_with(|| {
            pairs.iter().map(|pair| ((&pair.written.chain, &pair.written.key), pair)).collect()
        });
        by_key.get(&(&written.chain, &written.key)).copied()
    }
}

impl Pair {
    fn read(written: &tls::CertificateSource, before: Option<&Self>) -> Self {
        let good = before.and_then(|before| before.good.clone());
        let written = written.clone();
        match certificate(&written) {
            Ok((certificate, mode)) => {
                // What is the same for all that it says stays the same value.
                let same = good.filter(|good| {
                    good.key.cert == certificate.key.cert
                        && good.key_pem.expose() == certificate.key_pem.expose()
                });
                Self {
                    written,
                    good: Some(same.unwrap_or_else(|| Arc::new(certificate))),
                    trouble: None,
                    open_to_others: mode.filter(|mode| mode & READABLE_BY_OTHERS != 0),
                }
            }
            Err(trouble) => Self { written, good, trouble: Some(trouble), open_to_others: None },
        }
    }

    /// The same, written in another place.
    fn moved(&self, written: &tls::CertificateSource) -> Self {
        Self {
            written: written.clone(),
            good: self.good.clone(),
            trouble: self.trouble.clone(),
            open_to_others: self.open_to_others,
        }
    }

    fn problems(&self) -> impl Iterator<Item = Problem> {
        let origin = &self.written.origin;
        let trouble = self.trouble.as_ref().map(|trouble| {
            let subject = match self.written.chain.path() {
                Some(path) => format!("TLS certificate `{}`", path.display()),
                None => "TLS certificate".to_owned(),
            };
            let rest = match self.good {
                Some(_) => "its last good version is served",
                None => "it is not served",
            };
            Problem::error(origin.clone(), subject, format!("{trouble}; {rest}"))
        });
        let open = self.open_to_others.zip(self.written.key.path()).map(|(mode, path)| {
            let who = if mode & 0o004 == 0 { "its group" } else { "everyone" };
            let subject = format!("TLS key `{}`", path.display());
            let message = format!("{who} can read it (mode {mode:04o})");
            Problem::warning(origin.clone(), subject, message).with_hint("set its mode to 0600")
        });
        trouble.into_iter().chain(open)
    }
}

/// The certificate of a pair, and the mode of its key's file; an error is in words.
fn certificate(written: &tls::CertificateSource) -> Result<(Certificate, Option<u32>), String> {
    let (chain, _) = bytes("certificate", &written.chain)?;
    let (key, mode) = bytes("key", &written.key)?;
    let source = match written.chain.path() {
        Some(path) => CertificateSource::File(path.to_owned()),
        None => CertificateSource::Text,
    };
    let certificate = Certificate::from_pem(&chain, &key, source).map_err(|error| {
        let what = match &error {
            CertificateError::NoKey | CertificateError::Key(_) | CertificateError::KeyPem(_) => {
                place("key", &written.key)
            }
            CertificateError::Mismatch => return error.to_string(),
            CertificateError::NoCertificate
            | CertificateError::Pem(_)
            | CertificateError::Parse
            | CertificateError::Name
            | CertificateError::Generate(_) => place("certificate", &written.chain),
        };
        match &error {
            CertificateError::Key(cause) => format!("{what}: {error}: {cause}"),
            // What the library says of PEM is written for its own developers.
            CertificateError::NoCertificate
            | CertificateError::NoKey
            | CertificateError::Pem(_)
            | CertificateError::KeyPem(_)
            | CertificateError::Parse
            | CertificateError::Mismatch
            | CertificateError::Name
            | CertificateError::Generate(_) => format!("{what}: {error}"),
        }
    })?;
    Ok((certificate, mode))
}

/// `key /certs/a.key`.
fn place(what: &str, pem: &Pem) -> String {
    match pem.path() {
        Some(path) => format!("{what} {}", path.display()),
        None => what.to_owned(),
    }
}

/// The bytes of a PEM file or text, and the mode of the file; an error is in words.
fn bytes(what: &str, pem: &Pem) -> Result<(Zeroizing<Vec<u8>>, Option<u32>), String> {
    let mut bytes = Zeroizing::new(Vec::new());
    match pem {
        Pem::Text(text) => {
            bytes.extend_from_slice(text.as_bytes());
            Ok((bytes, None))
        }
        Pem::File(path) => {
            let mode = named::read(path, MAX_FILE_BYTES, &mut bytes)
                .map_err(|error| format!("{}: {error}", place(what, pem)))?;
            Ok((bytes, Some(mode)))
        }
    }
}

fn read_file(path: &Path) -> Result<File, Arc<str>> {
    let mut bytes = Vec::new();
    let mode = named::read(path, MAX_FILE_BYTES, &mut bytes)?;
    Ok(File { bytes: bytes.into(), mode })
}

#[cfg(test)]
#[path = "material_tests.rs"]
mod tests;
