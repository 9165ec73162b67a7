//! Routing settings from the static table of zones and guests.

use async_trait::async_trait;
use config::install;
use config::name::ProviderName;

use crate::{Environment, Provider, ProviderChannels, Update};

/// Routing settings from the static table of zones and guests.
pub struct TableProvider {
    settings: install::TableProvider,
    environment: Environment,
}

impl std::fmt::Debug for TableProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableProvider").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl TableProvider {
    /// A provider for these settings. `environment` serves `env` in templates.
    pub fn new(settings: install::TableProvider, environment: Environment) -> Self {
        Self { settings, environment }
    }
}

#[async_trait]
impl Provider for TableProvider {
    fn name(&self) -> ProviderName {
        ProviderName::from("table")
    }

    async fn load(&mut self) -> Update {
        let _ = &self.environment;
        Update::empty(self.name())
    }

    async fn run(mut self: Box<Self>, channels: ProviderChannels) {
        let _ = channels.updates.send(self.load().await).await;
        channels.updates.closed().await;
    }
}
