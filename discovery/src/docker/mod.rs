//! The Docker provider: containers and their labels.

use async_trait::async_trait;
use config::install;
use config::name::ProviderName;

use crate::{Environment, Provider, ProviderChannels, Update};

/// Routing settings from the labels of containers.
pub struct DockerProvider {
    settings: install::DockerProvider,
    environment: Environment,
}

impl std::fmt::Debug for DockerProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DockerProvider").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl DockerProvider {
    /// A provider for one engine. `environment` serves `env` in the default rule.
    pub fn new(settings: install::DockerProvider, environment: Environment) -> Self {
        Self { settings, environment }
    }
}

#[async_trait]
impl Provider for DockerProvider {
    fn name(&self) -> ProviderName {
        ProviderName::from("docker")
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
mod api;
pub mod constraints;
pub mod container;
