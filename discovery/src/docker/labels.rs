//! Containers into routing settings: which take part, what their routers and services are called, where their
//! servers are. Pure.
//!
//! A container's labels are decoded by `config`; here the rest of what Traefik's Docker provider does is added:
//! selection, addresses, default names and rules, and the joining of routers with services. A stopped or
//! unhealthy container keeps its routers, without a server and asked last, so that a visitor gets a reason.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use config::install::{self, LabelScope};
use config::name::normalize;
use config::routing::Standing;
use config::routing::labels::{LabelRouting, LeftOut, decode_labels};
use config::routing::merge::{Rule, combine};
use config::routing::raw::{
    Defined, Items, RawLoadBalancer, RawRouter, RawRouting, RawService, RawTcpLoadBalancer, RawTcpService,
    RawUdpLoadBalancer, RawUdpService, Scope, WantedServer,
};
use config::template::{ContainerData, TemplateContext, render};
use config::{Origin, Problem};

pub use super::address::Surroundings;
use super::address::{Addresses, Unplaced};
use super::constraints::Constraints;
use super::container::{Container, NetworkMode, State};
use crate::Environment;

/// Labels of one container are read up to this many bytes in all.
pub const MAX_LABEL_BYTES: usize = 256 * 1024;

/// Turns lists of containers into routing settings, by the same settings each time.
pub struct Labels {
    settings: install::DockerProvider,
    environment: Environment,
    /// None: no container passes, because the expression is wrong.
    constraints: Option<Option<Constraints>>,
    problems: Vec<Problem>,
}

/// What was made of the last list, container by container, so that those that stay as they are cost nothing.
#[derive(Debug, Default)]
pub struct Made {
    surroundings: Surroundings,
    own: Option<Container>,
    /// By identifier.
    containers: HashMap<String, Fragment>,
}

/// What was made of one container.
#[derive(Debug)]
struct Fragment {
    container: Container,
    /// None where it takes no part.
    routing: Option<Arc<RawRouting>>,
    problems: Vec<Problem>,
}

impl std::fmt::Debug for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Labels").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Labels {
    /// Prepares what does not change from list to list.
    pub fn new(settings: install::DockerProvider, environment: Environment) -> Self {
        let subject = "`providers.docker.constraints`";
        let mut problems = Vec::new();
        let constraints = match settings.constraints.as_deref().map(str::trim).filter(|text| !text.is_empty())
        {
            None => Some(None),
            Some(text) => match Constraints::parse(text) {
                Ok((constraints, bad_patterns)) => {
                    problems.extend(
                        bad_patterns.into_iter().map(|text| Problem::error(Origin::Gateway, subject, text)),
                    );
                    Some(Some(constraints))
                }
                Err(error) => {
                    let message = format!("{error}; no container is routed");
                    problems.push(
                        Problem::error(Origin::Gateway, subject, message)
                            .with_hint("for example: Label(`tier`, `web`) && !LabelRegex(`name`, `^test`)"),
                    );
                    None
                }
            },
        };
        Self { settings, environment, constraints, problems }
    }

    /// Routing settings of all containers together.
    pub fn routing(
        &self,
        containers: &[Container],
        surroundings: &Surroundings,
    ) -> (RawRouting, Vec<Problem>) {
        self.routing_after(&mut Made::default(), containers, surroundings)
    }

    /// The same; only containers that differ from those that `made` was made of are decoded.
    pub fn routing_after(
        &self,
        made: &mut Made,
        containers: &[Container],
        surroundings: &Surroundings,
    ) -> (RawRouting, Vec<Problem>) {
        let addresses = Addresses::new(containers, surroundings, self.settings.use_bind_port_ip);
        // Addresses depend on where the gateway is.
        if made.surroundings != *surroundings || made.own.as_ref() != addresses.own() {
            *made = Made {
                surroundings: surroundings.clone(),
                own: addresses.own().cloned(),
                containers: HashMap::new(),
            };
        }
        let mut before = std::mem::replace(&mut made.containers, HashMap::with_capacity(containers.len()));
        let mut problems = self.problems.clone();
        let mut ordered: Vec<(String, &Container)> =
            containers.iter().map(|container| (base_name(container), container)).collect();
        ordered.sort_by(|(a_name, a), (b_name, b)| (a_name, &a.id).cmp(&(b_name, &b.id)));
        let mut fragments = Vec::with_capacity(ordered.len());
        for (name, container) in ordered {
            let kept = before.remove(&container.id).filter(|kept| {
                // Where another's network is shared, the address is that of the other.
                kept.container == *container && !matches!(container.mode, NetworkMode::Container(_))
            });
            let fragment = kept.unwrap_or_else(|| {
                let mut problems = Vec::new();
                let routing = self.one(&name, container, &addresses, &mut problems);
                Fragment { container: container.clone(), routing: routing.map(Arc::new), problems }
            });
            problems.extend(fragment.problems.iter().cloned());
            fragments.extend(fragment.routing.clone());
            made.containers.insert(container.id.clone(), fragment);
        }
        let (routing, clashes) = combine(fragments, Rule::Containers);
        problems.extend(clashes);
        problems.sort();
        problems.dedup();
        (routing, problems)
    }

    /// One container; none where it takes no part.
    fn one(
        &self,
        name: &str,
        container: &Container,
        addresses: &Addresses<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<RawRouting> {
        let origin = container.origin();
        let labels = || container.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let bytes: usize =
            labels().filter(|(key, _)| self.is_ours(key)).map(|(key, value)| key.len() + value.len()).sum();
        if bytes > MAX_LABEL_BYTES {
            let message = format!(
                "its labels hold {bytes} bytes, more than the {MAX_LABEL_BYTES} that are read; it is not routed"
            );
            problems.push(
                Problem::error(origin, String::new(), message)
                    .with_hint("put large lists into a routing file"),
            );
            return None;
        }
        let LabelRouting { mut routing, options, left_out, problems: found } =
            decode_labels(labels(), &self.settings.label_prefixes, &origin);
        if !options.enable.unwrap_or(self.settings.exposed_by_default) {
            // Whoever turned it off does not want to hear about the rest; but "off" has to be what was written.
            if !self.written_off(container) && options.enable.is_some() {
                problems.extend(found);
            }
            return None;
        }
        match &self.constraints {
            Some(Some(constraints)) if !constraints.matches(&container.labels) => return None,
            Some(Some(_) | None) => {}
            None => return None,
        }
        problems.extend(found);
        // Exposed by default, without a label of ours and without a port: a database or a job, not a mistake.
        if container.runs() && container.ports.is_empty() && !labels().any(|(key, _)| self.is_ours(key)) {
            return None;
        }

        let down: Option<Arc<str>> = container.down().map(Arc::from);
        let keeps_rank = options.allow_non_running
            || (self.settings.allow_empty_services && container.state == State::Running);
        let network = match options.network.as_deref() {
            Some("") => None,
            Some(name) => Some(name),
            None => self.settings.network.as_deref().filter(|name| !name.is_empty()),
        };
        let mut build = Build {
            settings: self,
            name,
            container,
            network,
            addresses,
            left_out: &left_out,
            down: down.as_ref(),
            reasons: BTreeMap::new(),
            problems,
            origin,
        };
        build.http(&mut routing);
        build.tcp(&mut routing);
        build.udp(&mut routing);
        let reasons = build.reasons;

        let standing = match down {
            Some(reason) if !keeps_rank => Standing::Down(reason),
            Some(_) | None => Standing::Up,
        };
        let scope = match self.settings.label_scope {
            LabelScope::Shared => Scope::Shared,
            LabelScope::Container => {
                Scope::Container { id: container.id.chars().take(12).collect::<String>().into() }
            }
        };
        routing.stamp(&standing, container.created, &scope);
        // A service without a server says why, whatever the standing of its routers.
        explain(&mut routing.http.services, &reasons);
        explain(&mut routing.tcp.services, &reasons);
        explain(&mut routing.udp.services, &reasons);
        Some(routing)
    }

    fn is_ours(&self, key: &str) -> bool {
        let starts =
            |prefix: &str| key.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        starts("hearthgate.") || self.settings.label_prefixes.iter().any(|prefix| starts(prefix))
    }

    fn written_off(&self, container: &Container) -> bool {
        container.labels.iter().any(|(key, value)| {
            self.is_ours(key)
                && key.to_ascii_lowercase().ends_with(".enable")
                && matches!(value.as_str(), "0" | "f" | "F" | "false" | "FALSE" | "False")
        })
    }

    fn default_rule(&self, name: &str, container: &Container) -> Result<String, String> {
        let context = TemplateContext {
            env: &*self.environment,
            container: Some(ContainerData {
                name,
                container_name: &container.name,
                labels: &|key| container.labels.get(key).cloned(),
            }),
        };
        let rule = render(&self.settings.default_rule, &context).map_err(|error| match error.hint {
            Some(hint) => format!("column {}: {}; {hint}", error.column, error.message),
            None => format!("column {}: {}", error.column, error.message),
        })?;
        if rule.trim().is_empty() { Err("it is empty".to_owned()) } else { Ok(rule) }
    }
}

fn explain<T: Clone>(services: &mut Items<T>, reasons: &BTreeMap<String, Arc<str>>) {
    for (name, service) in services {
        let plain = name.split('@').next().unwrap_or(name);
        if let Some(reason) = reasons.get(plain) {
            service.standing = Standing::Down(Arc::clone(reason));
        }
    }
}

/// What a container's routers and services are called where its labels do not say: `service-project` in Compose.
pub fn base_name(container: &Container) -> String {
    let label = |key: &str| container.labels.get(key).filter(|value| !value.is_empty());
    match (label("com.docker.compose.service"), label("com.docker.compose.project")) {
        (Some(service), Some(project)) => normalize(&format!("{service}_{project}")),
        (_, _) => normalize(&container.name),
    }
}

/// The services that a router without one may mean.
enum Choice {
    /// This one.
    One(String),
    /// It cannot be told.
    Several(Vec<String>),
}

/// One container under way.
struct Build<'a, 'b> {
    settings: &'a Labels,
    name: &'a str,
    container: &'a Container,
    network: Option<&'a str>,
    addresses: &'a Addresses<'a>,
    left_out: &'a LeftOut,
    down: Option<&'a Arc<str>>,
    /// Why a service has no server, by name.
    reasons: BTreeMap<String, Arc<str>>,
    problems: &'b mut Vec<Problem>,
    origin: Origin,
}

impl Build<'_, '_> {
    fn http(&mut self, routing: &mut RawRouting) {
        let left = self.left_out;
        let http = &mut routing.http;
        let streams = !(routing.tcp.routers.is_empty()
            && routing.tcp.services.is_empty()
            && routing.tcp.middlewares.is_empty()
            && routing.udp.routers.is_empty()
            && routing.udp.services.is_empty()
            && left.tcp_routers.is_empty()
            && left.tcp_services.is_empty()
            && left.tcp_middlewares.is_empty()
            && left.udp_routers.is_empty()
            && left.udp_services.is_empty());
        let written = !(http.routers.is_empty()
            && http.services.is_empty()
            && http.middlewares.is_empty()
            && left.http_routers.is_empty()
            && left.http_services.is_empty()
            && left.http_middlewares.is_empty());
        if streams && !written {
            return;
        }

        let needed =
            http.routers.is_empty() || http.routers.values().any(|router| router.value.service.is_empty());
        let choice = choose(http.services.keys(), &left.http_services, self.name);
        if http.services.is_empty() && left.http_services.is_empty() {
            let mut service =
                RawService { load_balancer: Some(RawLoadBalancer::default()), ..RawService::default() };
            let problems = self.problems.len();
            self.place(self.name.to_owned().as_str(), &mut service);
            if needed || !self.reasons.contains_key(self.name) {
                http.services.insert(self.name.to_owned(), Defined::new(service, self.origin.clone()));
            } else {
                // Nobody asked for it: `api@internal` on the gateway's own container needs no port.
                self.problems.truncate(problems);
                self.reasons.remove(self.name);
            }
        } else {
            for (name, service) in &mut http.services {
                self.place(name, &mut service.value);
            }
        }

        if http.routers.is_empty() && left.http_routers.is_empty() {
            match &choice {
                Choice::One(_) => {
                    let router = Defined::new(RawRouter::default(), self.origin.clone());
                    http.routers.insert(self.name.to_owned(), router);
                }
                Choice::Several(services) => {
                    tracing::debug!(container = %self.container.name, ?services, "several services and no router: none is made");
                }
            }
        }
        http.routers.retain(|name, router| {
            let router = &mut router.value;
            if router.rule.trim().is_empty() {
                match self.settings.default_rule(self.name, self.container) {
                    Ok(rule) => {
                        router.rule = rule;
                        router.default_rule = true;
                    }
                    Err(error) => {
                        let message = format!("the default rule cannot be made: {error}");
                        self.problem(
                            "router",
                            name,
                            message,
                            Some("give the router a `rule`, or mend `providers.docker.defaultRule`"),
                        );
                        return false;
                    }
                }
            }
            if router.service.is_empty() {
                match &choice {
                    Choice::One(service) => router.service.clone_from(service),
                    Choice::Several(services) => {
                        self.cannot_link("router", name, services, "http");
                        return false;
                    }
                }
            }
            true
        });
    }

    fn tcp(&mut self, routing: &mut RawRouting) {
        let tcp = &mut routing.tcp;
        if tcp.routers.is_empty() && tcp.services.is_empty() {
            return;
        }
        let choice = choose(tcp.services.keys(), &self.left_out.tcp_services, self.name);
        if tcp.services.is_empty() && self.left_out.tcp_services.is_empty() {
            let load_balancer = Some(RawTcpLoadBalancer::default());
            let service = RawTcpService { load_balancer, ..RawTcpService::default() };
            tcp.services.insert(self.name.to_owned(), Defined::new(service, self.origin.clone()));
        }
        for (name, service) in &mut tcp.services {
            let Some(balancer) = &mut service.value.load_balancer else { continue };
            let wanted = balancer.wanted_port();
            let address = wanted.map_err(Unplaced::from).and_then(|port| self.address(port));
            balancer.place_servers(self.told("TCP service", name, address));
        }
        tcp.routers.retain(|name, router| {
            let router = &mut router.value;
            if router.rule.trim().is_empty() {
                let hint = Some("for example ``HostSNI(`*`)``");
                self.problem(
                    "TCP router",
                    name,
                    "it has no rule, and there is no default for TCP".to_owned(),
                    hint,
                );
                return false;
            }
            if router.service.is_empty() {
                match &choice {
                    Choice::One(service) => router.service.clone_from(service),
                    Choice::Several(services) => {
                        self.cannot_link("TCP router", name, services, "tcp");
                        return false;
                    }
                }
            }
            true
        });
    }

    fn udp(&mut self, routing: &mut RawRouting) {
        let udp = &mut routing.udp;
        if udp.routers.is_empty() && udp.services.is_empty() {
            return;
        }
        let choice = choose(udp.services.keys(), &self.left_out.udp_services, self.name);
        if udp.services.is_empty() && self.left_out.udp_services.is_empty() {
            let load_balancer = Some(RawUdpLoadBalancer::default());
            let service = RawUdpService { load_balancer, ..RawUdpService::default() };
            udp.services.insert(self.name.to_owned(), Defined::new(service, self.origin.clone()));
        }
        for (name, service) in &mut udp.services {
            let Some(balancer) = &mut service.value.load_balancer else { continue };
            let wanted = balancer.wanted_port();
            let address = wanted.map_err(Unplaced::from).and_then(|port| self.address(port));
            balancer.place_servers(self.told("UDP service", name, address));
        }
        udp.routers.retain(|name, router| {
            let router = &mut router.value;
            if router.service.is_empty() {
                match &choice {
                    Choice::One(service) => router.service.clone_from(service),
                    Choice::Several(services) => {
                        self.cannot_link("UDP router", name, services, "udp");
                        return false;
                    }
                }
            }
            true
        });
    }

    /// Puts the container's address into an HTTP service.
    fn place(&mut self, name: &str, service: &mut RawService) {
        let Some(balancer) = &mut service.load_balancer else { return };
        let address = match balancer.wanted_server() {
            Ok(WantedServer::Url(url)) => Ok(url),
            Ok(WantedServer::Address { scheme, port }) => {
                self.address(port).map(|address| format!("{scheme}://{address}"))
            }
            Err(message) => Err(message.into()),
        };
        balancer.place_servers(self.told("service", name, address));
    }

    /// The container's `host:port`.
    fn address(&mut self, port: Option<u16>) -> Result<String, Unplaced> {
        if self.down.is_some() {
            // Its ports and addresses are not known before it runs.
            return Ok(String::new());
        }
        let (address, problem) = self.addresses.of(self.container, self.network, port)?;
        if let Some(problem) = problem
            && !self.problems.contains(&problem)
        {
            self.problems.push(problem);
        }
        Ok(address)
    }

    /// The address of a container that serves; none, with a problem or a reason, otherwise.
    fn told(&mut self, kind: &str, name: &str, address: Result<String, Unplaced>) -> Option<String> {
        match address {
            Ok(address) => match self.down {
                None => Some(address),
                Some(reason) => {
                    self.reasons.insert(name.to_owned(), Arc::clone(reason));
                    None
                }
            },
            Err(Unplaced { message, hint }) => {
                self.reasons.insert(name.to_owned(), format!("service `{name}`: {message}").into());
                self.problem(kind, name, message, hint.as_deref());
                None
            }
        }
    }

    fn cannot_link(&mut self, kind: &str, name: &str, services: &[String], protocol: &str) {
        let list = services.join(", ");
        let message =
            format!("router {name} cannot be linked automatically with multiple Services: [{list}]");
        let hint = format!("say which one: `traefik.{protocol}.routers.{name}.service=…`");
        self.problem(kind, name, message, Some(&hint));
    }

    fn problem(&mut self, kind: &str, name: &str, message: String, hint: Option<&str>) {
        let problem = Problem::error(self.origin.clone(), format!("{kind} `{name}`"), message);
        self.problems.push(Problem { hint: hint.map(str::to_owned), ..problem });
    }
}

/// Which service a router without one means. One that was left out counts: its routers shall say so (503), and
/// not go elsewhere.
fn choose<'a>(services: impl Iterator<Item = &'a String>, left_out: &[String], default: &str) -> Choice {
    let mut names: Vec<String> = services.cloned().chain(left_out.iter().cloned()).collect();
    names.sort();
    names.dedup();
    match names.len() {
        0 => Choice::One(default.to_owned()),
        1 => Choice::One(names.remove(0)),
        _ => Choice::Several(names),
    }
}

#[cfg(test)]
#[path = "labels_tests.rs"]
mod tests;
