//! Joining: fragments of one provider (containers, files), then the providers. Order never matters.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::mem;

use super::Standing;
use super::raw::{
    Defined, Items, RawCertificate, RawMiddleware, RawRouter, RawRouting, RawServer, RawServersTransport,
    RawService, RawTcpMiddleware, RawTcpRouter, RawTcpServer, RawTcpServersTransport, RawTcpService,
    RawTlsOptions, RawTlsStore, RawUdpRouter, RawUdpServer, RawUdpService,
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
pub fn combine(
    fragments: impl IntoIterator<Item: Borrow<RawRouting>>,
    rule: Rule,
) -> (RawRouting, Vec<Problem>) {
    let mut parts = Parts::default();
    for fragment in fragments {
        parts.take(fragment.borrow());
    }
    let mut joining = Joining { rule, problems: Vec::new() };
    let routing = parts.join(&mut joining);
    let mut problems = joining.problems;
    problems.sort();
    problems.dedup();
    (routing, problems)
}

/// In no order, with as many of one name as there are fragments that define it.
type Candidates<T> = Vec<(String, Defined<T>)>;

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
    fn take(&mut self, fragment: &RawRouting) {
        fn add<T>(candidates: &mut Candidates<T>, items: &Items<T>) {
            candidates.extend(items.iter().map(|(name, item)| (name.clone(), item.clone())));
        }
        let RawRouting { http, tcp, udp, tls } = fragment;
        add(&mut self.routers, &http.routers);
        add(&mut self.services, &http.services);
        add(&mut self.middlewares, &http.middlewares);
        add(&mut self.servers_transports, &http.servers_transports);
        add(&mut self.tcp_routers, &tcp.routers);
        add(&mut self.tcp_services, &tcp.services);
        add(&mut self.tcp_middlewares, &tcp.middlewares);
        add(&mut self.tcp_servers_transports, &tcp.servers_transports);
        add(&mut self.udp_routers, &udp.routers);
        add(&mut self.udp_services, &udp.services);
        self.certificates.extend(tls.certificates.iter().cloned());
        add(&mut self.tls_options, &tls.options);
        add(&mut self.tls_stores, &tls.stores);
    }

    fn join(self, joining: &mut Joining) -> RawRouting {
        let mut routing = RawRouting::default();
        routing.http.routers = joining.equal("router", self.routers);
        routing.http.services = joining.pooled("service", self.services);
        routing.http.middlewares = joining.equal("middleware", self.middlewares);
        routing.http.servers_transports = joining.equal("transport", self.servers_transports);
        routing.tcp.routers = joining.equal("TCP router", self.tcp_routers);
        routing.tcp.services = joining.pooled("TCP service", self.tcp_services);
        routing.tcp.middlewares = joining.equal("TCP middleware", self.tcp_middlewares);
        routing.tcp.servers_transports = joining.equal("TCP transport", self.tcp_servers_transports);
        routing.udp.routers = joining.equal("UDP router", self.udp_routers);
        routing.udp.services = joining.pooled("UDP service", self.udp_services);
        routing.tls.certificates = self.certificates;
        routing.tls.certificates.sort_by(|a, b| a.origin.cmp(&b.origin));
        let mut kept: Vec<Defined<RawCertificate>> = Vec::new();
        for certificate in mem::take(&mut routing.tls.certificates) {
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
    fn equal<T: Clone + PartialEq>(&mut self, what: &str, candidates: Candidates<T>) -> Items<T> {
        self.items(what, candidates, |kept, other| kept.value == other.value)
    }

    /// Joins definitions that must be equal apart from their servers, which are pooled: no address twice, in
    /// their order.
    fn pooled<T: Pooled>(&mut self, what: &str, candidates: Candidates<T>) -> Items<T> {
        let mut items = self.items(what, candidates, |kept, other| {
            let mut other = other.value.clone();
            let more = other.servers_mut().map(mem::take);
            let pool = kept.value.servers_mut().map(mem::take);
            let equal = kept.value == other;
            if let (Some(servers), Some(pool)) = (kept.value.servers_mut(), pool) {
                *servers = pool;
                servers.extend(more.into_iter().flatten().filter(|_| equal));
            }
            equal
        });
        if self.rule == Rule::Containers {
            // What has one server, as most have, stays as it is, and shared.
            for item in items.values_mut().filter(|item| item.value.servers().len() > 1) {
                if let Some(servers) = item.value.servers_mut() {
                    // Stable: of two servers with one address the older container's stays.
                    servers.sort_by(|a, b| T::address(a).cmp(T::address(b)));
                    servers.dedup_by(|a, b| T::address(a) == T::address(b));
                }
            }
        }
        items
    }

    fn items<T: Clone>(
        &mut self,
        what: &str,
        mut candidates: Candidates<T>,
        join: impl Fn(&mut Defined<T>, &Defined<T>) -> bool,
    ) -> Items<T> {
        let rule = self.rule;
        candidates.sort_by(|(a_name, a), (b_name, b)| {
            a_name.cmp(b_name).then_with(|| match rule {
                Rule::Containers => (is_down(a), a.since, &a.origin).cmp(&(is_down(b), b.since, &b.origin)),
                Rule::Files => a.origin.cmp(&b.origin),
            })
        });
        let mut items: Vec<(String, Defined<T>)> = Vec::with_capacity(candidates.len());
        for (name, item) in candidates {
            match items.last_mut() {
                Some((earlier, kept)) if *earlier == name => self.meet(what, &name, kept, &item, &join),
                Some(_) | None => items.push((name, item)),
            }
        }
        items.into_iter().collect()
    }

    /// `other` comes after `kept`; `join` says whether it went into it.
    fn meet<T: Clone>(
        &mut self,
        what: &str,
        name: &str,
        kept: &mut Defined<T>,
        other: &Defined<T>,
        join: &impl Fn(&mut Defined<T>, &Defined<T>) -> bool,
    ) {
        let problem = match self.rule {
            Rule::Files => {
                let message =
                    format!("already defined at {}, which comes first; this one is left out", kept.origin);
                let problem = Problem::warning(other.origin.clone(), subject(what, name), message);
                problem.with_hint("give it another name, or remove one of the two")
            }
            Rule::Containers if join(kept, other) => {
                if other.since < kept.since {
                    kept.since = other.since;
                }
                return;
            }
            Rule::Containers if is_down(other) && !is_down(kept) => {
                let message =
                    format!("defined differently by {}, which runs; this one is left out", kept.origin);
                let problem = Problem::warning(other.origin.clone(), subject(what, name), message);
                problem.with_hint("remove the container that does not run")
            }
            Rule::Containers => {
                let message =
                    format!("defined differently by the older {}; this one is left out", kept.origin);
                let problem = Problem::error(other.origin.clone(), subject(what, name), message);
                problem.with_hint("give it another name, or make the labels of both containers equal")
            }
        };
        self.problems.push(problem);
    }
}

fn subject(what: &str, name: &str) -> String {
    format!("{what} `{name}`")
}

/// A service whose definitions are joined by pooling their servers.
trait Pooled: Clone + PartialEq {
    type Server;

    fn servers(&self) -> &[Self::Server];
    fn servers_mut(&mut self) -> Option<&mut Vec<Self::Server>>;
    fn address(server: &Self::Server) -> &str;
}

macro_rules! pooled {
    ($service:ty, $server:ty, $address:ident) => {
        impl Pooled for $service {
            type Server = $server;

            fn servers(&self) -> &[$server] {
                self.load_balancer.as_ref().map_or(&[], |load_balancer| &load_balancer.servers)
            }

            fn servers_mut(&mut self) -> Option<&mut Vec<$server>> {
                self.load_balancer.as_mut().map(|load_balancer| &mut load_balancer.servers)
            }

            fn address(server: &$server) -> &str {
                &server.$address
            }
        }
    };
}

pooled!(RawService, RawServer, url);
pooled!(RawTcpService, RawTcpServer, address);
pooled!(RawUdpService, RawUdpServer, address);

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
    /// Several providers define the TLS options `default`, and so none of them counts.
    pub default_options_clash: bool,
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
        // Appended as a whole: a map is built from a list faster than item by item.
        into.append(&mut items.into_iter().map(|(written, item)| (name(&written, provider), item)).collect());
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
                store.origin.clone(),
                format!("TLS store `{name}`"),
                "only the store `default` exists; this one is left out",
            );
            problems.push(problem.with_hint("name it `default`"));
        }
    }
    merged.default_options_clash = default_options.len() > 1;
    let hint = "define it in one provider: meanwhile handshakes are refused, but for hosts with options of their own";
    if let Some(options) = only("TLS options", hint, default_options, &mut problems) {
        merged.tls_options.insert("default".to_owned(), options);
    }
    let hint = "define it in one provider";
    if let Some(store) = only("TLS store", hint, default_stores, &mut problems) {
        merged.tls_stores.insert("default".to_owned(), store);
    }
    problems.sort();
    (merged, problems)
}

/// The one definition of `default`; of several none counts, as in Traefik.
fn only<T>(
    what: &str,
    hint: &str,
    mut definitions: Vec<Defined<T>>,
    problems: &mut Vec<Problem>,
) -> Option<Defined<T>> {
    if definitions.len() < 2 {
        return definitions.pop();
    }
    for definition in definitions {
        let message = format!("default {what} defined in multiple providers: none of them is used");
        let problem = Problem::error(definition.origin.clone(), format!("{what} `default`"), message);
        problems.push(problem.with_hint(hint));
    }
    None
}

#[cfg(test)]
mod tests;
