//! Providers that the library `dns-update` speaks to, RFC 2136 among them.

use std::fmt;
use std::net::SocketAddr;

use async_trait::async_trait;
use config::secret::Secret;
use dns_update::providers::rfc2136::DnsAddress;
use dns_update::{DnsRecord, DnsRecordType, DnsUpdater, TsigAlgorithm};

use super::settings::Scrubber;
use super::{DnsError, DnsProvider, TxtRecord};

/// A provider with an HTTP API.
pub(super) struct Library {
    pub(super) code: &'static str,
    pub(super) updater: DnsUpdater,
    pub(super) ttl: u32,
    /// It holds one value, which is replaced.
    pub(super) one_value: bool,
    pub(super) scrubber: Scrubber,
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Library").field("code", &self.code).field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

impl Library {
    fn failed(&self, action: &'static str, error: &dns_update::Error) -> DnsError {
        failed(self.code, action, &self.scrubber, error)
    }
}

fn failed(
    provider: &'static str,
    action: &'static str,
    scrubber: &Scrubber,
    error: &dns_update::Error,
) -> DnsError {
    // Texts of the library hold URLs, and some APIs want the token in the URL.
    let reason = match error {
        dns_update::Error::Unauthorized => "the credentials were refused (401)".to_owned(),
        other => scrubber.clean(&other.to_string()),
    };
    DnsError::Provider { provider, action, reason }
}

#[async_trait]
impl DnsProvider for Library {
    async fn present(&self, record: &TxtRecord) -> Result<(), DnsError> {
        let values = vec![DnsRecord::TXT(record.value.clone())];
        let set = if self.one_value {
            self.updater.set_rrset(&record.name, DnsRecordType::TXT, self.ttl, values, &record.zone).await
        } else {
            // What others have set at this name stays.
            self.updater.add_to_rrset(&record.name, DnsRecordType::TXT, self.ttl, values, &record.zone).await
        };
        set.map_err(|error| self.failed("present", &error))
    }

    async fn clean_up(&self, record: &TxtRecord) -> Result<(), DnsError> {
        let removed = if self.one_value {
            self.updater.set_rrset(&record.name, DnsRecordType::TXT, self.ttl, Vec::new(), &record.zone).await
        } else {
            let values = vec![DnsRecord::TXT(record.value.clone())];
            self.updater.remove_from_rrset(&record.name, DnsRecordType::TXT, values, &record.zone).await
        };
        match removed {
            Ok(()) | Err(dns_update::Error::NotFound) => Ok(()),
            Err(error) => Err(self.failed("clean_up", &error)),
        }
    }
}

/// Signed updates to a DNS server (RFC 2136).
#[derive(Debug)]
pub(super) struct Rfc2136 {
    /// `host:port`; a name is looked up for each change.
    pub(super) server: String,
    /// Over TCP.
    pub(super) tcp: bool,
    pub(super) key_name: String,
    pub(super) key: Secret<Vec<u8>>,
    /// `hmac-sha256` or the like.
    pub(super) algorithm: String,
    pub(super) ttl: u32,
    pub(super) scrubber: Scrubber,
}

impl Rfc2136 {
    const CODE: &'static str = "rfc2136";

    async fn updater(&self, action: &'static str) -> Result<DnsUpdater, DnsError> {
        let unreachable = |reason| DnsError::Provider { provider: Self::CODE, action, reason };
        let mut addresses = tokio::net::lookup_host(&self.server)
            .await
            .map_err(|error| unreachable(format!("cannot look up {}: {error}", self.server)))?;
        let address: SocketAddr =
            addresses.next().ok_or_else(|| unreachable(format!("{} has no address", self.server)))?;
        let address = if self.tcp { DnsAddress::Tcp(address) } else { DnsAddress::Udp(address) };
        self.build(address).map_err(|error| failed(Self::CODE, action, &self.scrubber, &error))
    }

    /// Also a test of the key: a name that is none, an algorithm that nobody has.
    pub(super) fn build(&self, address: DnsAddress) -> dns_update::Result<DnsUpdater> {
        let algorithm: TsigAlgorithm = self.algorithm.parse().map_err(|()| {
            dns_update::Error::Parse(format!("there is no TSIG algorithm {:?}", self.algorithm))
        })?;
        DnsUpdater::new_rfc2136_tsig(address, &self.key_name, self.key.expose().clone(), algorithm)
    }
}

#[async_trait]
impl DnsProvider for Rfc2136 {
    async fn present(&self, record: &TxtRecord) -> Result<(), DnsError> {
        let values = vec![DnsRecord::TXT(record.value.clone())];
        let updater = self.updater("present").await?;
        let added =
            updater.add_to_rrset(&record.name, DnsRecordType::TXT, self.ttl, values, &record.zone).await;
        added.map_err(|error| failed(Self::CODE, "present", &self.scrubber, &error))
    }

    async fn clean_up(&self, record: &TxtRecord) -> Result<(), DnsError> {
        let values = vec![DnsRecord::TXT(record.value.clone())];
        let updater = self.updater("clean_up").await?;
        let removed = updater.remove_from_rrset(&record.name, DnsRecordType::TXT, values, &record.zone).await;
        removed.map_err(|error| failed(Self::CODE, "clean_up", &self.scrubber, &error))
    }
}
