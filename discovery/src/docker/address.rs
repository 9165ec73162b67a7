//! Which address a container is reached at. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use config::Problem;

use super::container::{Container, Network, NetworkMode};

/// What is around the containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Identifier of the gateway's own container; none where it runs on the host.
    pub own_id: Option<String>,
    /// The host as seen from here: for containers in the host's network.
    pub host: Option<String>,
}

/// Joined containers are followed this far.
const MAX_JOINS: usize = 4;

/// Finds addresses among the containers of one list.
#[derive(Debug)]
pub(super) struct Addresses<'a> {
    by_id: BTreeMap<&'a str, &'a Container>,
    own: Option<&'a Container>,
    host: Option<&'a str>,
    use_bind_port_ip: bool,
}

/// Why a service of a container has no server, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unplaced {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl From<String> for Unplaced {
    fn from(message: String) -> Self {
        Self { message, hint: None }
    }
}

/// Where a container is, or why that cannot be said; with what the operator should know either way.
struct Found {
    host: Result<String, Unplaced>,
    problem: Option<Problem>,
}

impl<'a> Addresses<'a> {
    pub(super) fn new(
        containers: &'a [Container],
        surroundings: &'a Surroundings,
        use_bind_port_ip: bool,
    ) -> Self {
        let by_id: BTreeMap<&str, &Container> =
            containers.iter().map(|container| (container.id.as_str(), container)).collect();
        let own = surroundings.own_id.as_deref().and_then(|id| by_prefix(&by_id, id));
        Self { by_id, own, host: surroundings.host.as_deref(), use_bind_port_ip }
    }

    /// The gateway's own container.
    pub(super) fn own(&self) -> Option<&'a Container> {
        self.own
    }

    /// `host:port` of a container for a wanted port, or its lowest exposed one. `network` is the network that was
    /// asked for by name.
    pub(super) fn of(
        &self,
        container: &Container,
        network: Option<&str>,
        wanted: Option<u16>,
    ) -> Result<(String, Option<Problem>), Unplaced> {
        let lowest = container.ports.iter().map(|port| port.private).min();
        let port = wanted.or(lowest).ok_or_else(|| Unplaced {
            message: "port is missing: the container exposes none and the labels name none".to_owned(),
            hint: Some("set `loadbalancer.server.port`".to_owned()),
        })?;
        if self.use_bind_port_ip {
            let published = container
                .ports
                .iter()
                .filter(|exposed| exposed.private == port)
                .filter_map(|exposed| exposed.published)
                .find(|(ip, _)| !ip.is_unspecified());
            if let Some((ip, port)) = published {
                return Ok((join(&ip.to_string(), port), None));
            }
        }
        let found = self.host_of(container, container, network, 0);
        found.host.map(|host| (join(&host, port), found.problem))
    }

    fn host_of(
        &self,
        subject: &Container,
        container: &Container,
        network: Option<&str>,
        joins: usize,
    ) -> Found {
        let nothing = |message: String| Found { host: Err(message.into()), problem: None };
        if let NetworkMode::Container(other) = &container.mode {
            let joined = by_prefix(&self.by_id, other)
                .or_else(|| self.by_id.values().copied().find(|candidate| candidate.name == *other));
            let Some(joined) = joined else {
                return nothing(format!("it shares the network of container `{other}`, which is not there"));
            };
            if joins >= MAX_JOINS {
                return nothing(
                    "it shares the network of a container that shares another's, and so on".to_owned(),
                );
            }
            let own_wish = joined.labels.iter().find(|(key, _)| {
                ["traefik.docker.network", "hearthgate.docker.network"]
                    .iter()
                    .any(|known| key.eq_ignore_ascii_case(known))
            });
            let wish = own_wish.map(|(_, name)| name.as_str()).filter(|name| !name.is_empty()).or(network);
            return self.host_of(subject, joined, wish, joins + 1);
        }
        let mut missing = None;
        if let Some(name) = network {
            match named(container, name) {
                Some(address) => return Found { host: Ok(address.to_string()), problem: None },
                None => missing = Some(name),
            }
        }
        if container.mode == NetworkMode::Host {
            return match self.host_address() {
                Some(host) => Found { host: Ok(host), problem: None },
                None => {
                    let message = "it uses the host's network, and the host's address is not known here";
                    let hint = "give the gateway `extra_hosts: [\"host.docker.internal:host-gateway\"]`";
                    let unplaced = Unplaced { message: message.to_owned(), hint: Some(hint.to_owned()) };
                    Found { host: Err(unplaced), problem: None }
                }
            };
        }
        self.fallback(subject, container, missing)
    }

    /// No network was asked for, or the container is not in it.
    fn fallback(&self, subject: &Container, container: &Container, missing: Option<&str>) -> Found {
        let mut usable =
            container.networks.iter().filter_map(|(name, network)| Some((name.as_str(), network.address()?)));
        let shared = usable.clone().find(|(name, _)| self.shares(name));
        let Some((name, address)) = shared.or_else(|| usable.next()) else {
            let message = match missing {
                Some(name) => format!("it has no address: it is not in network `{name}` nor in any other"),
                None => "it has no address: it is in no network".to_owned(),
            };
            let hint = Some("put the container into the gateway's network".to_owned());
            return Found { host: Err(Unplaced { message, hint }), problem: None };
        };
        let problem = |message: String| Problem::warning(subject.origin(), String::new(), message);
        let names =
            || container.networks.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let problem = if let Some(missing) = missing {
            let message = format!("could not find network named `{missing}`; network `{name}` is used");
            Some(problem(message).with_hint(format!(
                "`traefik.docker.network` takes the name that `docker network ls` shows; this container is in {}",
                names()
            )))
        } else if shared.is_none() && self.unreachable_networks() {
            let message =
                format!("shares no network with the gateway; its address in network `{name}` is used");
            Some(problem(message).with_hint(format!(
                "put the gateway and this container in one network; it is in {}",
                names()
            )))
        } else {
            // From the host every network can be reached.
            None
        };
        Found { host: Ok(address.to_string()), problem }
    }

    fn shares(&self, network: &str) -> bool {
        self.own.is_some_and(|own| own.networks.contains_key(network))
    }

    /// Whether networks that the gateway is not in are out of its reach.
    fn unreachable_networks(&self) -> bool {
        self.own.is_some_and(|own| own.mode != NetworkMode::Host && !own.networks.is_empty())
    }

    fn host_address(&self) -> Option<String> {
        match self.own {
            None => Some("127.0.0.1".to_owned()),
            Some(own) if own.mode == NetworkMode::Host => Some("127.0.0.1".to_owned()),
            Some(own) => self.host.map(str::to_owned).or_else(|| {
                own.networks.values().find_map(|network| network.gateway).map(|gateway| gateway.to_string())
            }),
        }
    }
}

/// The address in the network of that name, or of the name that Compose makes of it.
fn named(container: &Container, name: &str) -> Option<IpAddr> {
    let exact = container.networks.get(name).and_then(Network::address);
    exact.or_else(|| {
        let project = container.labels.get("com.docker.compose.project")?;
        container.networks.get(&format!("{project}_{name}"))?.address()
    })
}

/// A container by its identifier or the beginning of it.
fn by_prefix<'a>(by_id: &BTreeMap<&'a str, &'a Container>, id: &str) -> Option<&'a Container> {
    // Shorter ones are names.
    if id.len() < 12 {
        return by_id.get(id).copied();
    }
    by_id.range(id..).next().filter(|(found, _)| found.starts_with(id)).map(|(_, container)| *container)
}

fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
