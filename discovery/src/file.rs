//! Routing settings from a file or a folder of files.

use async_trait::async_trait;
use config::install;
use config::name::ProviderName;

use crate::{Environment, Provider, ProviderChannels, Update};

/// Routing settings from a file or a folder of files.
pub struct FileProvider {
    settings: install::FileProvider,
    environment: Environment,
}

impl std::fmt::Debug for FileProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileProvider").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl FileProvider {
    /// A provider for these settings. `environment` serves `env` in templates.
    pub fn new(settings: install::FileProvider, environment: Environment) -> Self {
        Self { settings, environment }
    }
}

#[async_trait]
impl Provider for FileProvider {
    fn name(&self) -> ProviderName {
        ProviderName::from("file")
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
