//! PROVIDERS: where routing settings come from. No Pingora, no CrowdSec.
//!
//! Each provider sends its **whole** current state, never a difference, and keeps sending the last good one in
//! mind: a neighbour that goes away costs no route.

pub mod backoff;
pub mod docker;
pub mod file;
mod files;
pub mod named;
pub mod table;

use std::sync::Arc;

use async_trait::async_trait;
use config::Problem;
use config::name::ProviderName;
use config::routing::raw::RawRouting;
use tokio::sync::{mpsc, oneshot};

pub use docker::DockerProvider;
pub use file::FileProvider;
pub use table::TableProvider;

/// Looks a variable up; handed down from `main`, which alone reads the environment.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A provider's whole current state.
#[derive(Debug, Clone)]
pub struct Update {
    /// Who sends it.
    pub provider: ProviderName,
    /// All its routing settings, names not yet qualified.
    pub routing: RawRouting,
    /// All its current problems.
    pub problems: Vec<Problem>,
    /// Whether this is the present or the last known state.
    pub freshness: Freshness,
}

impl Update {
    /// Nothing, and nothing wrong.
    pub fn empty(provider: ProviderName) -> Self {
        Self { provider, routing: RawRouting::default(), problems: Vec::new(), freshness: Freshness::Current }
    }
}

/// Whether an update shows the present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshness {
    /// It does.
    Current,
    /// The source does not answer: this is what was last known (nothing, if it never answered), and why.
    Stale(String),
}

/// The ends of a provider's channels.
#[derive(Debug)]
pub struct ProviderChannels {
    /// Where updates go. The provider ends when this is closed.
    pub updates: mpsc::Sender<Update>,
    /// "Read everything again now": acknowledged after the resulting update was sent.
    pub reloads: mpsc::Receiver<oneshot::Sender<()>>,
}

/// A source of routing settings.
#[async_trait]
pub trait Provider: Send {
    /// `docker`, `file` or `table`.
    fn name(&self) -> ProviderName;

    /// Reads once, without watching: for `hearthgate check` and `explain`.
    async fn load(&mut self) -> Update;

    /// Sends the whole state at once and after each change, until `channels.updates` is closed. An unchanged
    /// state need not be sent again.
    async fn run(self: Box<Self>, channels: ProviderChannels);
}
