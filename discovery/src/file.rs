//! The file provider: routing settings from a file or from all files of a folder.

use std::sync::Arc;

use async_trait::async_trait;
use config::install;
use config::name::ProviderName;
use config::routing::file::parse_file;

use crate::files::Files;
use crate::{Environment, Provider, ProviderChannels, Update};

/// Routing settings from a file or a folder of files.
pub struct FileProvider {
    files: Files,
    settings: install::FileProvider,
}

impl std::fmt::Debug for FileProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileProvider").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl FileProvider {
    /// A provider for these settings. `environment` serves `env` in templates.
    pub fn new(settings: install::FileProvider, environment: Environment) -> Self {
        let parse = move |text: &str, path: &std::path::Path| {
            let environment = Arc::clone(&environment);
            parse_file(text, path, &*environment)
        };
        let files =
            Files::new(ProviderName::from("file"), settings.source.clone(), settings.watch, Box::new(parse));
        Self { files, settings }
    }
}

#[async_trait]
impl Provider for FileProvider {
    fn name(&self) -> ProviderName {
        ProviderName::from("file")
    }

    async fn load(&mut self) -> Update {
        self.files.load().await
    }

    async fn run(self: Box<Self>, channels: ProviderChannels) {
        self.files.run(channels).await;
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
