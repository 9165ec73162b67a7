//! Joining: fragments of one provider (containers, files), then the providers. Order never matters.

use std::collections::BTreeMap;

use super::Standing;
use super::raw::{
    Defined, Items, RawCertificate, RawMiddleware, RawRouter, RawRouting, RawServersTransport, RawService,
    RawTcpMiddleware, RawTcpRouter, RawTcpServersTransport, RawTcpService, RawTlsOptions, RawTlsStore,
    RawUdpRouter, RawUdpService,
};
use crate::name::{MiddlewareName, ProviderName, RouterName, ServiceName};
use crate::problem::Problem;

/// What happens when two fragments of one provider define one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Replicas are joined; of two definitions that differ the older container's stays (a running one's before
    /// that of one that does not run).
    Containers,
    /// The first file in name order wins.
    Files,
}

/// Joins the fragments of one provider.
pub fn combine(fragments: Vec<RawRouting>, rule: Rule) -> (RawRouting, Vec<Problem>) {
    let mut parts = Parts::default();
    for fragment in fragments {
        parts.take(fragment);
    }
    let mut joining = Joining { rule, problems: Vec::new() };
    let routing = parts.join(&mut joining);
    let mut problems = joining.problems;
    problems.sort();
    problems.dedup();
    (routing, problems)
}

type Candidates<T> = BTreeMap<String, Vec<Defined<T>>>;

/// Every definition of every name.
#[derive(Default)]
struct Parts {
    routers: Candidates<RawRouter>,
    services: Candidates<RawService>,
    middlewares: Candidates<RawMiddleware>,
    servers_transports: Candidates<RawServersTransport>,
    tcp_routers: Candidates<RawTcpRouter>,
    tcp_services: Candidates<RawTcpService>,
    tcp_middlewares: Candidates<RawTcpMiddleware>,
    tcp_servers_transports: Candidates<RawTcpServersTransport>,
    udp_routers: Candidates<RawUdpRouter>,
    udp_services: Candidates<RawUdpService>,
    certificates: Vec<Defined<RawCertificate>>,
    tls_options: Candidates<RawTlsOptions>,
    tls_stores: Candidates<RawTlsStore>,
}

impl Parts {
    fn take(&mut self, fragment: RawRouting) {
        fn add<T>(candidates: &mut Candidates<T>, items: Items<T>) {
            for (name, item) in items {
                candidates.entry(name).or_default().push(item);
            }
        }
        let RawRouting { http, tcp, udp, tls } = fragment;
        add(&mut self.routers, http.routers);
        add(&mut self.services, http.services);
        add(&mut self.middlewares, http.middlewares);
        add(&mut self.servers_transports, http.servers_transports);
        add(&mut self.tcp_routers, tcp.routers);
        add(&mut self.tcp_services, tcp.services);
        add(&mut self.tcp_middlewares, tcp.middlewares);
        add(&mut self.tcp_servers_transports, tcp.servers_transports);
        add(&mut self.udp_routers, udp.routers);
        add(&mut self.udp_services, udp.services);
        self.certificates.extend(tls.certificates);
        add(&mut self.tls_options, tls.options);
        add(&mut self.tls_stores, tls.stores);
    }

    fn join(self, joining: &mut Joining) -> RawRouting {
        let mut routing = RawRouting::default();
        routing.http.routers = joining.equal("router", self.routers);
        routing.http.services = joining.pooled(
            "service",
            self.services,
            |service| service.load_balancer.as_mut().map(|lb| &mut lb.servers),
            |server| server.url.clone(),
        );
        routing.http.middlewares = joining.equal("middleware", self.middlewares);
        routing.http.servers_transports = joining.equal("transport", self.servers_transports);
        routing.tcp.routers = joining.equal("TCP router", self.tcp_routers);
        routing.tcp.services = joining.pooled(
            "TCP service",
            self.tcp_services,
            |service| service.load_balancer.as_mut().map(|lb| &mut lb.servers),
            |server| server.address.clone(),
        );
        routing.tcp.middlewares = joining.equal("TCP middleware", self.tcp_middlewares);
        routing.tcp.servers_transports = joining.equal("TCP transport", self.tcp_servers_transports);
        routing.udp.routers = joining.equal("UDP router", self.udp_routers);
        routing.udp.services = joining.pooled(
            "UDP service",
            self.udp_services,
            |service| service.load_balancer.as_mut().map(|lb| &mut lb.servers),
            |server| server.address.clone(),
        );
        routing.tls.certificates = self.certificates;
        routing.tls.certificates.sort_by(|a, b| a.origin.cmp(&b.origin));
        let mut kept: Vec<Defined<RawCertificate>> = Vec::new();
        for certificate in std::mem::take(&mut routing.tls.certificates) {
            if !kept.iter().any(|other| other.value == certificate.value) {
                kept.push(certificate);
            }
        }
        routing.tls.certificates = kept;
        routing.tls.options = joining.equal("TLS options", self.tls_options);
        routing.tls.stores = joining.equal("TLS store", self.tls_stores);
        routing
    }
}

struct Joining {
    rule: Rule,
    problems: Vec<Problem>,
}

impl Joining {
    /// Joins definitions that must be equal.
    fn equal<T: PartialEq>(&mut self, what: &str, candidates: Candidates<T>) -> Items<T> {
        self.items(what, candidates, |kept, other| if *kept == other { Ok(()) } else { Err(other) })
    }

    /// Joins definitions that must be equal apart from their servers, which are pooled: no address twice, in
    /// their order.
    fn pooled<T: PartialEq, S>(
        &mut self,
        what: &str,
        candidates: Candidates<T>,
        servers: impl Fn(&mut T) -> Option<&mut Vec<S>>,
        address: impl Fn(&S) -> String,
    ) -> Items<T> {
        let mut items = self.items(what, candidates, |kept, mut other| {
            let mut pool = servers(kept).map(std::mem::take);
            let mut more = servers(&mut other).map(std::mem::take);
            let equal = *kept == other;
            if let (true, Some(pool), Some(more)) = (equal, &mut pool, &mut more) {
                pool.append(more);
            }
            if let (Some(place), Some(pool)) = (servers(kept), pool) {
                *place = pool;
            }
            if let (Some(place), Some(more)) = (servers(&mut other), more) {
                *place = more;
            }
            if equal { Ok(()) } else { Err(other) }
        });
        if self.rule == Rule::Containers {
            for item in items.values_mut() {
                if let Some(servers) = servers(&mut item.value) {
                    // Stable: of two servers with one address the older container's stays.
                    servers.sort_by_key(&address);
                    servers.dedup_by_key(|server| address(server));
                }
            }
        }
        items
    }

    fn items<T>(
        &mut self,
        what: &str,
        candidates: Candidates<T>,
        mut join: impl FnMut(&mut T, T) -> Result<(), T>,
    ) -> Items<T> {
        let mut items = Items::new();
        for (name, mut definitions) in candidates {
            match self.rule {
                Rule::Containers => {
                    definitions.sort_by(|a, b| {
                        let key = |item: &Defined<T>| (is_down(item), item.since);
                        key(a).cmp(&key(b)).then_with(|| a.origin.cmp(&b.origin))
                    });
                }
                Rule::Files => definitions.sort_by(|a, b| a.origin.cmp(&b.origin)),
            }
            let mut definitions = definitions.into_iter();
            let Some(mut kept) = definitions.next() else { continue };
            for other in definitions {
                self.meet(what, &name, &mut kept, other, &mut join);
            }
            items.insert(name, kept);
        }
        items
    }

    /// `other` comes after `kept`.
    fn meet<T>(
        &mut self,
        what: &str,
        name: &str,
        kept: &mut Defined<T>,
        other: Defined<T>,
        join: &mut impl FnMut(&mut T, T) -> Result<(), T>,
    ) {
        let subject = format!("{what} `{name}`");
        match self.rule {
            Rule::Files => {
                let message =
                    format!("already defined at {}, which comes first; this one is left out", kept.origin);
                let problem = Problem::warning(other.origin, subject, message);
                self.problems.push(problem.with_hint("give it another name, or remove one of the two"));
            }
            Rule::Containers => {
                let (origin, since, down) = (other.origin.clone(), other.since, is_down(&other));
                match join(&mut kept.value, other.value) {
                    Ok(()) => kept.since = kept.since.min(since),
                    Err(_) if down && !is_down(kept) => {
                        let message = format!(
                            "defined differently by {}, which runs; this one is left out",
                            kept.origin
                        );
                        let problem = Problem::warning(origin, subject, message);
                        self.problems.push(problem.with_hint("remove the container that does not run"));
                    }
                    Err(_) => {
                        let message =
                            format!("defined differently by the older {}; this one is left out", kept.origin);
                        let hint = "give it another name, or make the labels of both containers equal";
                        self.problems.push(Problem::error(origin, subject, message).with_hint(hint));
                    }
                }
            }
        }
    }
}

fn is_down<T>(item: &Defined<T>) -> bool {
    match item.standing {
        Standing::Up => false,
        Standing::Down(_) => true,
    }
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
pub fn qualify(mut providers: Vec<(ProviderName, RawRouting)>) -> (Merged, Vec<Problem>) {
    fn all<T, N: Ord>(
        into: &mut BTreeMap<N, Defined<T>>,
        items: Items<T>,
        provider: &ProviderName,
        name: impl Fn(&str, &ProviderName) -> N,
    ) {
        into.extend(items.into_iter().map(|(written, item)| (name(&written, provider), item)));
    }
    let text = |name: &str, provider: &ProviderName| format!("{name}@{provider}");

    providers.sort_by(|a, b| a.0.cmp(&b.0));
    let mut merged = Merged::default();
    let mut default_options = Vec::new();
    let mut default_stores = Vec::new();
    let mut problems = Vec::new();
    for (provider, RawRouting { http, tcp, udp, mut tls }) in providers {
        all(&mut merged.routers, http.routers, &provider, RouterName::qualify);
        all(&mut merged.services, http.services, &provider, ServiceName::qualify);
        all(&mut merged.middlewares, http.middlewares, &provider, MiddlewareName::qualify);
        all(&mut merged.servers_transports, http.servers_transports, &provider, text);
        all(&mut merged.tcp_routers, tcp.routers, &provider, RouterName::qualify);
        all(&mut merged.tcp_services, tcp.services, &provider, ServiceName::qualify);
        all(&mut merged.tcp_middlewares, tcp.middlewares, &provider, MiddlewareName::qualify);
        all(&mut merged.tcp_servers_transports, tcp.servers_transports, &provider, text);
        all(&mut merged.udp_routers, udp.routers, &provider, RouterName::qualify);
        all(&mut merged.udp_services, udp.services, &provider, ServiceName::qualify);
        merged.certificates.extend(tls.certificates);
        default_options.extend(tls.options.remove("default"));
        all(&mut merged.tls_options, tls.options, &provider, text);
        default_stores.extend(tls.stores.remove("default"));
        for (name, store) in tls.stores {
            let problem = Problem::error(
                store.origin,
                format!("TLS store `{name}`"),
                "only the store `default` exists; this one is left out",
            );
            problems.push(problem.with_hint("name it `default`"));
        }
    }
    if let Some(options) = only("TLS options", default_options, &mut problems) {
        merged.tls_options.insert("default".to_owned(), options);
    }
    if let Some(store) = only("TLS store", default_stores, &mut problems) {
        merged.tls_stores.insert("default".to_owned(), store);
    }
    problems.sort();
    (merged, problems)
}

/// The one definition of `default`; of several none counts, as in Traefik.
fn only<T>(what: &str, mut definitions: Vec<Defined<T>>, problems: &mut Vec<Problem>) -> Option<Defined<T>> {
    if definitions.len() < 2 {
        return definitions.pop();
    }
    for definition in definitions {
        let message = format!("default {what} defined in multiple providers: none of them is used");
        let problem = Problem::error(definition.origin, format!("{what} `default`"), message);
        problems.push(problem.with_hint("define it in one provider"));
    }
    None
}

#[cfg(test)]
mod tests;
