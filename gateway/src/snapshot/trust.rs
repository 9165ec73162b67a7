//! Whom we trust behind us, compiled: the contents of the PEM files that a transport names.

use std::fmt;

use config::routing::tls::{Pem, UpstreamTls};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::files::Files;

/// What the PEM files and texts of a transport hold, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Who may have signed a server's certificate; empty: the system's roots.
    pub roots: Vec<CertificateDer<'static>>,
    /// Our own certificates.
    pub pairs: Vec<ClientPair>,
}

/// A certificate of ours for servers that ask for one.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientPair {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key; never prints.
    pub key: PrivateKeyDer<'static>,
}

/// Why a transport cannot be used: nothing is sent to its servers then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// A file that could not be read.
    #[error("{what} {pem} cannot be read: {reason}")]
    Unreadable {
        /// What it is for.
        what: &'static str,
        /// Which one.
        pem: Written,
        /// In words.
        reason: String,
    },
    /// A file without what it is for.
    #[error("{what} {pem} {reason}")]
    Useless {
        /// What it is for.
        what: &'static str,
        /// Which one.
        pem: Written,
        /// In words.
        reason: String,
    },
}

/// A PEM as messages name it: a path, or just that it is text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written(Option<std::path::PathBuf>);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(path) => write!(f, "`{}`", path.display()),
            None => f.write_str("(written in place)"),
        }
    }
}

impl From<&Pem> for Written {
    fn from(pem: &Pem) -> Self {
        Self(pem.path().map(std::path::Path::to_path_buf))
    }
}

impl Trust {
    /// Reads what a transport names. One bad file spoils it all: less trust than was written is as wrong as more.
    pub fn read(tls: &UpstreamTls, files: &Files) -> Result<Self, TrustError> {
        let mut roots = Vec::new();
        for pem in &tls.roots {
            let what = "CA file";
            let bytes = read(what, pem, files)?;
            let found = certificates(what, pem, &bytes)?;
            let mut store = rustls::RootCertStore::empty();
            for root in &found {
                store.add(root.clone()).map_err(|error| TrustError::Useless {
                    what,
                    pem: pem.into(),
                    reason: format!("holds a certificate that cannot be used: {error}"),
                })?;
            }
            roots.extend(found);
        }
        let pairs =
            tls.client_pairs.iter().map(|(chain, key)| pair(chain, key, files)).collect::<Result<_, _>>()?;
        Ok(Self { roots, pairs })
    }
}

fn read(what: &'static str, pem: &Pem, files: &Files) -> Result<std::sync::Arc<[u8]>, TrustError> {
    files.bytes(pem).map_err(|reason| TrustError::Unreadable {
        what,
        pem: pem.into(),
        reason: reason.as_ref().to_owned(),
    })
}

fn certificates(
    what: &'static str,
    pem: &Pem,
    bytes: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let useless = |reason: &str| TrustError::Useless { what, pem: pem.into(), reason: reason.to_owned() };
    let found: Vec<_> = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|_| useless("is not valid PEM"))?;
    if found.is_empty() { Err(useless("holds no certificate")) } else { Ok(found) }
}

fn pair(chain: &Pem, key: &Pem, files: &Files) -> Result<ClientPair, TrustError> {
    let what = "client certificate";
    let certificates = certificates(what, chain, &read(what, chain, files)?)?;
    let useless = |reason: String| TrustError::Useless { what: "client key", pem: key.into(), reason };
    let der = PrivateKeyDer::from_pem_slice(&read("client key", key, files)?)
        .map_err(|_| useless("holds no private key".to_owned()))?;
    let signing = aws_lc_rs::sign::any_supported_type(&der)
        .map_err(|error| useless(format!("cannot be used: {error}")))?;
    CertifiedKey::new(certificates.clone(), signing).keys_match().map_err(|_| {
        useless(format!("does not belong to the client certificate {}", Written::from(chain)))
    })?;
    // Pingora would end the process over a leaf that its parser does not take.
    if x509_parser::parse_x509_certificate(&certificates[0]).is_err() {
        return Err(TrustError::Useless { what, pem: chain.into(), reason: "cannot be parsed".to_owned() });
    }
    Ok(ClientPair { chain: certificates, key: der })
}
