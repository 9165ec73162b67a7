//! What must outlive a restart and has no place in Traefik's file: failures with their back-off, orders that are not
//! finished, with the keys of their certificates. `acme-state.json` in the state directory.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::atomic;
use super::{Clock, Failure};

/// Failures that are so old are forgotten.
const FORGOTTEN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The file, and what it holds.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
struct State {
    resolvers: BTreeMap<String, ResolverState>,
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
struct ResolverState {
    /// A key that an account is being made for, PKCS#1 in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    account_key: Option<String>,
    /// By name set.
    failures: BTreeMap<String, StoredFailure>,
    /// By name set.
    orders: BTreeMap<String, PendingOrder>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredFailure {
    reason: String,
    at: u64,
    attempts: u32,
    next: u64,
}

/// An order that is not finished.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PendingOrder {
    /// Where it is.
    pub(super) url: String,
    /// Whose it is.
    pub(super) account: String,
    /// Key of its certificate, PEM.
    pub(super) key: String,
}

impl std::fmt::Debug for PendingOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PendingOrder({})", self.url)
    }
}

impl StateFile {
    /// Reads the file; one that cannot be read counts as empty, and that is logged. Blocks.
    pub fn open(path: PathBuf) -> Self {
        let state = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(
                    "{} cannot be understood ({error}): what it knew of failed orders is forgotten",
                    path.display()
                );
                State::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => State::default(),
            Err(error) => {
                tracing::warn!("{} cannot be read ({error}): failed orders are tried anew", path.display());
                State::default()
            }
        };
        Self { path, state: Mutex::new(state) }
    }

    /// The last failure of a name set and when it may be tried again.
    pub(super) fn failure(&self, resolver: &str, names: &str) -> Option<(Failure, SystemTime)> {
        let state = self.state.lock();
        let failure = state.resolvers.get(resolver)?.failures.get(names)?;
        let time = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let found = Failure {
            reason: failure.reason.as_str().into(),
            at: time(failure.at),
            attempts: failure.attempts,
        };
        Some((found, time(failure.next)))
    }

    /// Notes a failure. Blocks.
    pub(super) fn set_failure(
        &self,
        resolver: &str,
        names: &str,
        failure: &Failure,
        next: SystemTime,
        clock: &Clock,
    ) {
        let oldest = seconds(clock.now()).saturating_sub(FORGOTTEN.as_secs());
        self.change(resolver, |state| {
            state.failures.retain(|_, failure| failure.at >= oldest);
            state.failures.insert(
                names.to_owned(),
                StoredFailure {
                    reason: failure.reason.to_string(),
                    at: seconds(failure.at),
                    attempts: failure.attempts,
                    next: seconds(next),
                },
            );
        });
    }

    /// A name set may be tried at once. Blocks.
    pub(super) fn hurry(&self, resolver: &str, names: &str) {
        self.change(resolver, |state| {
            if let Some(failure) = state.failures.get_mut(names) {
                failure.next = 0;
            }
        });
    }

    /// A name set has its certificate: neither failure nor order are left. Blocks.
    pub(super) fn done(&self, resolver: &str, names: &str) {
        self.change(resolver, |state| {
            state.failures.remove(names);
            state.orders.remove(names);
        });
    }

    /// Orders that are not finished, by name set.
    pub(super) fn order(&self, resolver: &str, names: &str) -> Option<PendingOrder> {
        self.state.lock().resolvers.get(resolver)?.orders.get(names).cloned()
    }

    /// Keeps an order, or forgets it. Blocks. False if it could not be written.
    pub(super) fn set_order(&self, resolver: &str, names: &str, order: Option<PendingOrder>) -> bool {
        self.change(resolver, |state| match order {
            Some(order) => {
                state.orders.insert(names.to_owned(), order);
            }
            None => {
                state.orders.remove(names);
            }
        })
    }

    /// The key that an account is being made for.
    pub(super) fn account_key(&self, resolver: &str) -> Option<String> {
        self.state.lock().resolvers.get(resolver)?.account_key.clone()
    }

    /// Keeps the key that an account is being made for, or forgets it. Blocks.
    pub(super) fn set_account_key(&self, resolver: &str, key: Option<String>) -> bool {
        self.change(resolver, |state| state.account_key = key)
    }

    fn change(&self, resolver: &str, change: impl FnOnce(&mut ResolverState)) -> bool {
        let mut state = self.state.lock();
        let entry = state.resolvers.entry(resolver.to_owned()).or_default();
        change(entry);
        let written = serde_json::to_vec_pretty(&*state)
            .map_err(io::Error::other)
            .and_then(|bytes| atomic::replace(&self.path, &bytes));
        if let Err(error) = &written {
            tracing::warn!("write {}: {error}: a restart will not know of this order", self.path.display());
        }
        written.is_ok()
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
