//! What the configuration says, read once without a running gateway: for `check` and `explain`.

use std::collections::BTreeSet;
use std::sync::Arc;

use config::Problem;
use config::install::Install;
use config::install::load::Loaded;
use config::name::ProviderName;
use config::routing::merge::qualify;
use config::routing::raw::RawRouting;
use config::routing::validate::{Context, validate};
use discovery::{DockerProvider, FileProvider, Freshness, Provider, TableProvider};

use super::{Call, load_install};
use crate::control::certificates::resolver_problems;
use crate::control::material::Material;
use crate::snapshot::compile::{Parts, compile};
use crate::snapshot::{ProviderState, Snapshot};

/// The configuration and everything made of it.
#[derive(Debug)]
pub(super) struct Offline {
    pub(super) install: Install,
    /// With all problems, those of the install configuration included.
    pub(super) snapshot: Snapshot,
}

/// Loads everything; an error is what keeps the install configuration from being used. Containers are asked for
/// only with `docker`.
pub(super) async fn load(call: &Call, docker: bool) -> Result<Offline, Vec<Problem>> {
    let Loaded { install, mut problems } = load_install(call).map_err(|error| error.problems)?;
    problems.extend(resolver_problems(&install, &call.environment()));
    let mut sources: Vec<(ProviderName, RawRouting)> = Vec::new();
    let mut states = Vec::new();
    for mut provider in providers(&install, call, docker) {
        let update = provider.load().await;
        states.push(ProviderState {
            name: update.provider.clone(),
            answered: true,
            stale: match update.freshness {
                Freshness::Current => None,
                Freshness::Stale(reason) => Some(reason),
            },
        });
        problems.extend(update.problems);
        sources.push((update.provider, update.routing));
    }
    let (merged, found) = qualify(sources);
    problems.extend(found);
    let (routing, found) = validate(merged, &Context::new(&install));
    problems.extend(found);
    let material = Material::read(&routing, &Material::default(), &BTreeSet::new());
    problems.extend(material.problems());
    let snapshot = compile(
        &install,
        Parts {
            routing,
            problems,
            providers: states,
            files: Arc::clone(material.files()),
            ..Parts::default()
        },
        &Snapshot::empty(),
    );
    Ok(Offline { install, snapshot })
}

fn providers(install: &Install, call: &Call, docker: bool) -> Vec<Box<dyn Provider>> {
    let mut providers: Vec<Box<dyn Provider>> = Vec::new();
    if let Some(settings) = install.providers.docker.as_ref().filter(|_| docker) {
        providers.push(Box::new(DockerProvider::new(settings.clone(), call.environment())));
    }
    if let Some(settings) = &install.providers.file {
        providers.push(Box::new(FileProvider::new(settings.clone(), call.environment())));
    }
    if let Some(settings) = &install.providers.table {
        providers.push(Box::new(TableProvider::new(settings.clone(), call.environment())));
    }
    providers
}

/// A runtime for one command.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("start a runtime: {error}"))?;
    Ok(runtime.block_on(future))
}
