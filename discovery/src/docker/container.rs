//! What we keep of a container: the part of a *list* answer that routing needs. Inspecting is never done: during
//! a start it waits for the container's lock, and its answer carries the environment, which is none of our
//! business.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use config::Origin;

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Full identifier.
    pub id: String,
    /// Name without the leading slash.
    pub name: String,
    /// Labels as they are.
    pub labels: BTreeMap<String, String>,
    /// Seconds since 1970 at which it was created.
    pub created: i64,
    /// What it does.
    pub state: State,
    /// What its health check says.
    pub health: Health,
    /// How it is connected.
    pub mode: NetworkMode,
    /// Its networks by name.
    pub networks: BTreeMap<String, Network>,
    /// Exposed and published ports.
    pub ports: Vec<Port>,
}

/// What a container does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// Anything else, in the engine's word: `created`, `paused`, `restarting`, `removing`, `exited`, `dead`.
    Not(String),
}

/// What a container's health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It has none, or the engine does not tell: counts as healthy.
    Unchecked,
    /// Not yet known.
    Starting,
    /// Good.
    Healthy,
    /// Bad.
    Unhealthy,
}

/// How a container is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkMode {
    /// The host's network.
    Host,
    /// The network of another container (identifier or name).
    Container(String),
    /// Networks of its own, or none.
    Own,
}

/// A container's place in a network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Its IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// The host's address in that network.
    pub gateway: Option<IpAddr>,
}

impl Network {
    /// The address to use: IPv4 if there is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.ipv4.map(IpAddr::V4).or_else(|| self.ipv6.map(IpAddr::V6))
    }
}

/// A port that a container exposes or publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Port in the container.
    pub private: u16,
    /// Where it is published on the host.
    pub published: Option<(IpAddr, u16)>,
}

impl Container {
    /// Where its labels are written, for problems.
    pub fn origin(&self) -> Origin {
        Origin::container(self.name.clone(), self.id.clone())
    }

    /// Whether it runs.
    pub fn runs(&self) -> bool {
        self.state == State::Running
    }

    /// Why it can serve nothing now, if so.
    pub fn down(&self) -> Option<String> {
        match (&self.state, self.health) {
            (State::Running, Health::Unchecked | Health::Healthy) => None,
            (State::Running, Health::Starting) => {
                Some(format!("container `{}` is starting: its health check has not passed yet", self.name))
            }
            (State::Running, Health::Unhealthy) => Some(format!("container `{}` is unhealthy", self.name)),
            (State::Not(state), _) => Some(match state.as_str() {
                "created" => {
                    format!("container `{}` is not running: it was created but not started", self.name)
                }
                state => format!("container `{}` is not running ({state})", self.name),
            }),
        }
    }
}

/// Health from the list's status text: `Up 5 minutes (healthy)`. The structured field does not exist on older
/// engines.
pub fn health_from_status(status: &str) -> Health {
    if status.contains("(healthy)") {
        Health::Healthy
    } else if status.contains("(unhealthy)") {
        Health::Unhealthy
    } else if status.contains("(health: starting)") || status.contains("(starting)") {
        Health::Starting
    } else {
        Health::Unchecked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_read_from_the_status_text() {
        for (status, expected) in [
            ("Up 5 minutes (healthy)", Health::Healthy),
            ("Up 2 hours (unhealthy)", Health::Unhealthy),
            ("Up 1 second (health: starting)", Health::Starting),
            ("Up 3 days", Health::Unchecked),
            ("Up 3 days (Paused)", Health::Unchecked),
            ("Exited (0) 2 minutes ago", Health::Unchecked),
            ("", Health::Unchecked),
        ] {
            assert_eq!(health_from_status(status), expected, "{status}");
        }
    }
}
