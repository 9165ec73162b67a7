//! Joining: fragments of one provider (containers, files), then the providers. Order never matters.

use std::collections::BTreeMap;

use super::raw::{
    Defined, RawCertificate, RawMiddleware, RawRouter, RawRouting, RawServersTransport, RawService,
    RawTcpMiddleware, RawTcpRouter, RawTcpServersTransport, RawTcpService, RawTlsOptions, RawTlsStore,
    RawUdpRouter, RawUdpService,
};
use crate::name::{MiddlewareName, ProviderName, RouterName, ServiceName};
use crate::problem::Problem;

/// What happens when two fragments of one provider define one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Replicas are joined; of two definitions that differ the older container's stays.
    Containers,
    /// The first file in name order wins.
    Files,
}

/// Joins the fragments of one provider.
pub fn combine(fragments: Vec<RawRouting>, rule: Rule) -> (RawRouting, Vec<Problem>) {
    let _ = rule;
    (fragments.into_iter().next().unwrap_or_default(), Vec::new())
}

/// All providers' items under qualified names; references in them as written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Merged {
    /// HTTP routers.
    pub routers: BTreeMap<RouterName, Defined<RawRouter>>,
    /// HTTP services.
    pub services: BTreeMap<ServiceName, Defined<RawService>>,
    /// HTTP middlewares.
    pub middlewares: BTreeMap<MiddlewareName, Defined<RawMiddleware>>,
    /// HTTP transports, `name@provider`.
    pub servers_transports: BTreeMap<String, Defined<RawServersTransport>>,
    /// TCP routers.
    pub tcp_routers: BTreeMap<RouterName, Defined<RawTcpRouter>>,
    /// TCP services.
    pub tcp_services: BTreeMap<ServiceName, Defined<RawTcpService>>,
    /// TCP middlewares.
    pub tcp_middlewares: BTreeMap<MiddlewareName, Defined<RawTcpMiddleware>>,
    /// TCP transports, `name@provider`.
    pub tcp_servers_transports: BTreeMap<String, Defined<RawTcpServersTransport>>,
    /// UDP routers.
    pub udp_routers: BTreeMap<RouterName, Defined<RawUdpRouter>>,
    /// UDP services.
    pub udp_services: BTreeMap<ServiceName, Defined<RawUdpService>>,
    /// Certificates of all providers.
    pub certificates: Vec<Defined<RawCertificate>>,
    /// TLS options, `name@provider`; `default` has no provider.
    pub tls_options: BTreeMap<String, Defined<RawTlsOptions>>,
    /// Certificate stores; only `default` exists, without provider.
    pub tls_stores: BTreeMap<String, Defined<RawTlsStore>>,
}

/// Brings the providers together: names become `name@provider`.
pub fn qualify(providers: Vec<(ProviderName, RawRouting)>) -> (Merged, Vec<Problem>) {
    let _ = providers;
    (Merged::default(), Vec::new())
}
