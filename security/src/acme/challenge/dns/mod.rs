//! DNS-01: a TXT record at `_acme-challenge.<name>`, set through the API of whoever holds the zone, seen at all its
//! servers before the ACME server is told to look, and removed afterwards.

mod acme_dns;
mod cloudflare;
mod error;
mod exec;
mod http;
mod http_hook;
mod library;
mod propagation;
mod providers;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use config::install::acme::DnsChallenge;
use config::secret::Secret;
use parking_lot::Mutex;
use tokio::time::timeout;

use self::propagation::Propagation;

pub use self::error::{BuildDnsError, DnsError};
pub use self::providers::codes;

/// Value of a variable, by its name: the environment.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<Secret<String>>;

/// No provider takes longer for one record; several requests to its API are made in this time.
const CALL_LIMIT: Duration = Duration::from_secs(120);

/// A record of a challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TxtRecord {
    /// The name that is proved, without `*.`.
    domain: String,
    /// Where the record is, at the end of all aliases; no dot at its end.
    name: String,
    /// The zone that holds it; empty where the provider does not want to know.
    zone: String,
    /// Its text.
    value: String,
}

impl TxtRecord {
    /// Its name with a dot at its end, as lego hands it to hooks.
    fn fqdn(&self) -> String {
        format!("{}.", self.name)
    }
}

/// Whoever can set a record. Other values at the same name are left alone.
#[async_trait]
pub(crate) trait DnsProvider: Send + Sync + fmt::Debug {
    /// Sets it. After an error it may be there or not.
    async fn present(&self, record: &TxtRecord) -> Result<(), DnsError>;

    /// Removes it; it is no error that it is not there.
    async fn clean_up(&self, record: &TxtRecord) -> Result<(), DnsError>;

    /// Where the name has to lead, if the user has to see to that.
    async fn alias(&self, _: &TxtRecord) -> Option<String> {
        None
    }
}

/// What differs from one provider to the next, beside how a record is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Traits {
    /// Its code.
    code: &'static str,
    /// It wants to know the zone.
    zone: bool,
    /// It wants the name at the end of all aliases.
    aliases: bool,
    /// It holds one value at a time.
    one_value: bool,
}

/// How long it takes until a record is seen, and how often it is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Timing {
    limit: Duration,
    interval: Duration,
}

/// A provider as a resolver uses it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DnsSolver {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    traits: Traits,
    provider: Box<dyn DnsProvider>,
    timing: Timing,
    propagation: Propagation,
    follow_aliases: bool,
    call_limit: Duration,
    // Many APIs replace a whole set of values: two changes at a time would lose one. Shared by all resolvers with the
    // same provider.
    turn: Arc<tokio::sync::Mutex<()>>,
    // Records that are set.
    active: Mutex<Vec<TxtRecord>>,
    // Records that may still be there although nobody needs them.
    leftovers: Mutex<Vec<TxtRecord>>,
}

/// Builds the provider of a resolver. Its variables come from its `credentials`, then from the environment, each also
/// as `<NAME>_FILE`.
pub fn build(settings: &DnsChallenge, environment: Lookup<'_>) -> Result<DnsSolver, BuildDnsError> {
    let ready = providers::build(settings, environment)?;
    Ok(DnsSolver {
        shared: Arc::new(Shared {
            turn: turn(ready.traits.code),
            traits: ready.traits,
            provider: ready.provider,
            timing: ready.timing,
            propagation: Propagation::new(settings).map_err(BuildDnsError::Resolver)?,
            follow_aliases: ready.follow_aliases,
            call_limit: CALL_LIMIT,
            active: Mutex::new(Vec::new()),
            leftovers: Mutex::new(Vec::new()),
        }),
    })
}

/// The turn of all resolvers with this provider.
fn turn(code: &'static str) -> Arc<tokio::sync::Mutex<()>> {
    static TURNS: Mutex<BTreeMap<&'static str, Arc<tokio::sync::Mutex<()>>>> = Mutex::new(BTreeMap::new());
    Arc::clone(TURNS.lock().entry(code).or_default())
}

impl DnsSolver {
    /// True if the provider holds one value at a name: `x` and `*.x` in one order are then proved one after the other,
    /// each cleaned up before the next is presented.
    pub fn one_at_a_time(&self) -> bool {
        self.shared.traits.one_value
    }

    /// Sets the record that proves a name (with or without `*.`). Whatever an attempt before this one left behind is
    /// removed first. After an error nothing is left behind, or it is removed by the next attempt.
    pub async fn present(&self, domain: &str, value: &str) -> Result<(), DnsError> {
        self.clean_leftovers().await;
        let shared = &self.shared;
        let domain = plain(domain);
        let mut name = format!("_acme-challenge.{domain}");
        if shared.traits.aliases && shared.follow_aliases {
            name = shared.propagation.end_of_aliases(&name).await?;
        }
        let zone = if shared.traits.zone { shared.propagation.zone(&name).await? } else { String::new() };
        let record = TxtRecord { domain, name, zone, value: value.to_owned() };
        // Known from here on, so that it is cleaned up wherever this ends.
        shared.active.lock().push(record.clone());
        let outcome = {
            let _turn = shared.turn.lock().await;
            match timeout(shared.call_limit, shared.provider.present(&record)).await {
                Ok(outcome) => outcome,
                Err(_elapsed) => Err(shared.timed_out("present")),
            }
        };
        match outcome {
            Ok(()) => {
                tracing::debug!(provider = shared.traits.code, name = record.name, "TXT record set");
                Ok(())
            }
            Err(error @ DnsError::AliasNeeded { .. }) => {
                shared.active.lock().retain(|other| *other != record);
                Err(error)
            }
            Err(error) => {
                // The API may have failed after it did what was asked.
                if let Err(second) = self.clean_up(&record.domain, value).await {
                    tracing::debug!(provider = shared.traits.code, error = %second, "cannot clean up after a failure");
                }
                Err(error)
            }
        }
    }

    /// Waits until the record is seen where the ACME server will look: at all authoritative servers of its zone, and at
    /// the recursive servers where that is wanted.
    pub async fn wait_until_visible(&self, domain: &str, value: &str) -> Result<(), DnsError> {
        let Some(record) = self.shared.record(domain, value) else { return Ok(()) };
        let aliases = self.shared.follow_aliases;
        let waited = self.shared.propagation.wait(&record, self.shared.timing, aliases).await;
        if let Err(DnsError::NotVisible { .. }) = waited
            && let Some(target) = self.shared.provider.alias(&record).await
            && self.shared.propagation.end_of_aliases(&record.name).await.is_ok_and(|end| end != target)
        {
            return Err(DnsError::AliasNeeded { domain: record.domain, name: record.name, target });
        }
        waited
    }

    /// Removes the record; none is fine. After an error it is tried again by the next [`Self::present`].
    pub async fn clean_up(&self, domain: &str, value: &str) -> Result<(), DnsError> {
        let Some(record) = self.shared.record(domain, value) else { return Ok(()) };
        // Moved before it is tried: whoever drops this future leaves it to the next attempt.
        self.shared.active.lock().retain(|other| *other != record);
        self.shared.leftovers.lock().push(record.clone());
        self.shared.remove(&record).await
    }

    /// Removes what attempts before this one left behind. What still cannot be removed is kept for the next time.
    async fn clean_leftovers(&self) {
        let leftovers = self.shared.leftovers.lock().clone();
        for record in leftovers {
            match self.shared.remove(&record).await {
                Ok(()) => tracing::info!(name = record.name, "a TXT record that was left behind is removed"),
                Err(error) => tracing::warn!(
                    name = record.name, error = %error,
                    "a TXT record that was left behind cannot be removed; tried again at the next order",
                ),
            }
        }
    }
}

/// A name without `*.`, as it is asked for in DNS.
fn plain(domain: &str) -> String {
    domain.strip_prefix("*.").unwrap_or(domain).trim_end_matches('.').to_ascii_lowercase()
}

impl Shared {
    /// A record that is set.
    fn record(&self, domain: &str, value: &str) -> Option<TxtRecord> {
        let domain = plain(domain);
        self.active.lock().iter().find(|record| record.domain == domain && record.value == value).cloned()
    }

    async fn remove(&self, record: &TxtRecord) -> Result<(), DnsError> {
        {
            let _turn = self.turn.lock().await;
            match timeout(self.call_limit, self.provider.clean_up(record)).await {
                Ok(outcome) => outcome?,
                Err(_elapsed) => return Err(self.timed_out("clean_up")),
            }
        }
        self.leftovers.lock().retain(|other| other != record);
        Ok(())
    }

    fn timed_out(&self, action: &'static str) -> DnsError {
        DnsError::Provider {
            provider: self.traits.code,
            action,
            reason: format!("no answer within {} s", self.call_limit.as_secs()),
        }
    }
}
