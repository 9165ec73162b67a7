//! Whom we trust behind us, compiled: the contents of the PEM files that a transport names.

use std::fmt;
use std::sync::Arc;

use config::Problem;
use config::routing::tls::{Pem, TlsVersion, UpstreamTls};
use config::routing::transport::Transport;
use config::routing::{Scheme, Service};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::files::Files;

/// How the servers of a service are reached. Where any of it differs, no connection is shared.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// As validated.
    pub transport: Arc<Transport>,
    /// With these contents of the files that it names.
    pub trust: Trust,
}

impl Reach {
    /// How the servers of a service are reached: `previous` where nothing changed. What its transport asks for and
    /// does not get is a problem.
    pub(super) fn compile(
        service: &Service,
        files: &Files,
        previous: Option<&Arc<Self>>,
        problems: &mut Vec<Problem>,
    ) -> Result<Arc<Self>, TrustError> {
        let transport = &service.transport;
        let subject = || format!("service `{}`", service.name.as_str().split('@').next().unwrap_or_default());
        let speaks_tls = service.servers.iter().any(|server| server.scheme == Scheme::Https);
        for limit in transport_limits(transport, speaks_tls) {
            problems.push(Problem::warning(service.origin.clone(), subject(), limit));
        }
        let trust = if speaks_tls {
            Trust::read(&transport.tls, files).inspect_err(|error| {
                let problem = Problem::error(service.origin.clone(), subject(), error.to_string());
                problems.push(problem.with_hint("its requests are answered with 503 until it can be used"));
            })?
        } else {
            Trust::default()
        };
        Ok(match previous {
            Some(previous) if previous.transport == *transport && previous.trust == trust => {
                Arc::clone(previous)
            }
            Some(_) | None => Arc::new(Self { transport: Arc::clone(transport), trust }),
        })
    }
}

/// What a transport asks for that is not kept to the letter.
fn transport_limits(transport: &Transport, speaks_tls: bool) -> impl Iterator<Item = &'static str> {
    let tls = &transport.tls;
    let of_its_own = tls.peer_uri.is_some()
        || tls.max_version.is_some_and(|max| max < TlsVersion::Tls13)
        || !tls.cipher_suites.is_empty()
        || tls.client_pairs.len() > 1;
    let default = Transport::default();
    [
        transport.max_idle.is_some_and(|idle| idle > 0).then_some(
            "`maxIdleConnsPerHost` is not kept: idle connections have one limit over all servers",
        ),
        (transport.ping_interval.is_some() && transport.ping_timeout != default.ping_timeout)
            .then_some("`pingTimeout` is not kept: the answer of an HTTP/2 ping is awaited for 5s"),
        (speaks_tls && of_its_own).then_some(
            "`peerCertURI`, `maxVersion`, `cipherSuites` and a second client certificate cost a TLS connection for \
             each request, over HTTP/1.1",
        ),
    ]
    .into_iter()
    .flatten()
}

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
                // Pingora would end the process over one that its parser does not take.
                if store.add(root.clone()).is_err() || !can_be_parsed(root) {
                    let reason = "holds a certificate that cannot be used".to_owned();
                    return Err(TrustError::Useless { what, pem: pem.into(), reason });
                }
            }
            roots.extend(found);
        }
        let pairs =
            tls.client_pairs.iter().map(|(chain, key)| pair(chain, key, files)).collect::<Result<_, _>>()?;
        Ok(Self { roots, pairs })
    }
}

fn read(what: &'static str, pem: &Pem, files: &Files) -> Result<Arc<[u8]>, TrustError> {
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
    if !certificates.iter().all(can_be_parsed) {
        let reason = "cannot be parsed".to_owned();
        return Err(TrustError::Useless { what, pem: chain.into(), reason });
    }
    Ok(ClientPair { chain: certificates, key: der })
}

fn can_be_parsed(certificate: &CertificateDer<'_>) -> bool {
    x509_parser::parse_x509_certificate(certificate).is_ok()
}
