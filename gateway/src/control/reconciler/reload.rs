//! A reload: every provider reads again, and whoever asked hears what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use config::name::ProviderName;
use config::routing::Routing;
use config::{Origin, Problem};
use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::snapshot::Snapshot;

/// How long providers may take to read again before a reload is answered without them.
const DEADLINE: Duration = Duration::from_secs(5);

/// "Read everything again now", for `POST /api/reload` and SIGHUP. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ReloadHandle {
    commands: mpsc::Sender<oneshot::Sender<ReloadReport>>,
}

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReloadReport {
    /// The snapshot that is published now.
    pub version: u64,
    /// What is different from before.
    pub changes: Vec<Change>,
    /// All current problems.
    pub problems: Vec<Problem>,
}

/// One difference between two snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happened to it.
    pub kind: ChangeKind,
    /// What it is, in the form `` router `blog@docker` ``.
    pub subject: String,
}

/// What happened to an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// Its settings are different.
    Changed,
    /// It is gone.
    Removed,
}

/// Why a reload could not be asked for.
#[derive(Debug, thiserror::Error)]
#[error("the control plane has ended")]
pub struct ReloadError;

impl ReloadHandle {
    pub(super) fn new(commands: mpsc::Sender<oneshot::Sender<ReloadReport>>) -> Self {
        Self { commands }
    }

    /// Asks all providers to read again, waits for them (with a deadline), and says what changed.
    pub async fn reload(&self) -> Result<ReloadReport, ReloadError> {
        let (answer, report) = oneshot::channel();
        self.commands.send(answer).await.map_err(|_| ReloadError)?;
        report.await.map_err(|_| ReloadError)
    }
}

/// A reload that is under way.
pub(super) struct Reload {
    pub(super) before: Arc<Snapshot>,
    pub(super) answer: oneshot::Sender<ReloadReport>,
    /// Ends with the providers that did not answer in time.
    pub(super) silent: Pin<Box<dyn Future<Output = Vec<ProviderName>> + Send>>,
}

impl Reload {
    /// Answers with what is published now.
    pub(super) fn answer(self, current: &Snapshot, silent: Vec<ProviderName>) {
        let mut problems = current.problems.to_vec();
        problems.extend(silent.into_iter().map(|name| {
            let message = "has not read again";
            Problem::warning(Origin::Gateway, format!("provider `{name}`"), message)
        }));
        let changes = changes(&self.before.routing, &current.routing);
        // Who asked may have gone away; the reload is done all the same.
        let _ = self.answer.send(ReloadReport { version: current.version, changes, problems });
    }
}

/// Asks these providers to read again and waits for them. Returns those that did not in time.
pub(super) async fn read_again(
    providers: Vec<(ProviderName, mpsc::Sender<oneshot::Sender<()>>)>,
) -> Vec<ProviderName> {
    let asked = providers.into_iter().map(|(name, reloads)| async move {
        let (read, has_read) = oneshot::channel();
        let asked = async { reloads.send(read).await.is_ok() && has_read.await.is_ok() };
        match timeout(DEADLINE, asked).await {
            Ok(true) => None,
            Ok(false) | Err(_) => Some(name),
        }
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Waits for the providers of a reload; for ever when there is none.
pub(super) async fn all_read(reload: &mut Option<Reload>) -> Vec<ProviderName> {
    match reload {
        Some(reload) => (&mut reload.silent).await,
        None => std::future::pending().await,
    }
}

/// What is different between two states.
fn changes(before: &Routing, after: &Routing) -> Vec<Change> {
    let mut changes = Vec::new();
    diff("router", &before.routers, &after.routers, &mut changes);
    diff("service", &before.services, &after.services, &mut changes);
    changes
}

/// Both maps are sorted, and so are the changes.
fn diff<K: Ord + std::fmt::Display, V: PartialEq>(
    what: &str,
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
    changes: &mut Vec<Change>,
) {
    let names: BTreeSet<&K> = before.keys().chain(after.keys()).collect();
    for name in names {
        let kind = match (before.get(name), after.get(name)) {
            (Some(before), Some(after)) if before == after => continue,
            (Some(_), Some(_)) => ChangeKind::Changed,
            (None, _) => ChangeKind::Added,
            (Some(_), None) => ChangeKind::Removed,
        };
        changes.push(Change { kind, subject: format!("{what} `{name}`") });
    }
}
