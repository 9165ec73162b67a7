//! Which certificate a server name gets.

use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use security::certificate_store::CertificateStore;

use crate::snapshot::WeakSnapshotReader;

/// There is nothing to show a client.
#[derive(Debug)]
pub(super) struct NoCertificate {
    /// The policy wants a certificate for the very name.
    pub(super) strict: bool,
}

/// Finds the certificate of each handshake in the snapshot of that moment, so that a certificate is renewed without
/// anything else. Reads through a weak handle: the snapshot holds policies, and they hold this.
#[derive(Debug)]
pub(super) struct CurrentCertificates {
    pub(super) snapshot: WeakSnapshotReader,
    pub(super) strict: bool,
}

impl ResolvesServerCert for CurrentCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let snapshot = self.snapshot.load()?;
        let name = hello.server_name().map(super::folded);
        find(&snapshot.certificates, name.as_deref(), self.strict).ok()
    }
}

/// The one certificate that was found already.
#[derive(Debug)]
pub(super) struct OneCertificate(pub(super) Arc<CertifiedKey>);

impl ResolvesServerCert for OneCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// The certificate of a name; else the default one, unless `strict`.
pub(super) fn find(
    store: &CertificateStore,
    name: Option<&str>,
    strict: bool,
) -> Result<Arc<CertifiedKey>, NoCertificate> {
    let named = name.and_then(|name| store.find(name));
    let found = if strict { named } else { named.or_else(|| store.default_certificate()) };
    found.map(|certificate| Arc::clone(&certificate.key)).ok_or(NoCertificate { strict })
}
