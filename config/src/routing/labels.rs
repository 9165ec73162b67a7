//! Labels of one container. Pure; ports, addresses, default rules and the joining of routers with services are
//! the Docker provider's.

use super::raw::RawRouting;
use crate::problem::{Origin, Problem};

/// What a container's labels say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LabelRouting {
    /// The good items, as written: services may hold the label form of their server.
    pub routing: RawRouting,
    /// What concerns the container as a whole.
    pub options: ContainerOptions,
    /// Items that were left out: named so that no default takes their place.
    pub left_out: LeftOut,
    /// What was left out, and what may not do what it seems to.
    pub problems: Vec<Problem>,
}

/// What concerns the container as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerOptions {
    /// `traefik.enable`; false where its value is no boolean.
    pub enable: Option<bool>,
    /// `traefik.docker.network`; empty cancels the provider's default.
    pub network: Option<String>,
    /// `traefik.docker.allownonrunning`.
    pub allow_non_running: bool,
    /// `traefik.docker.lbswarm`: Swarm only.
    pub lb_swarm: bool,
}

/// Names of items that were left out, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// HTTP routers.
    pub http_routers: Vec<String>,
    /// HTTP services.
    pub http_services: Vec<String>,
    /// HTTP middlewares.
    pub http_middlewares: Vec<String>,
    /// TCP routers.
    pub tcp_routers: Vec<String>,
    /// TCP services.
    pub tcp_services: Vec<String>,
    /// TCP middlewares.
    pub tcp_middlewares: Vec<String>,
    /// UDP routers.
    pub udp_routers: Vec<String>,
    /// UDP services.
    pub udp_services: Vec<String>,
}

/// Reads the labels of the container that `origin` names. Prefixes carry their dot (`traefik.`);
/// `hearthgate.` is always read and wins. Every item comes without state and age: [`RawRouting::stamp`] them.
pub fn decode_labels<'a>(
    _labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    _prefixes: &[String],
    _origin: &Origin,
) -> LabelRouting {
    LabelRouting::default()
}
