//! Services of TCP and UDP routers: servers, or other services with weights, down to servers.

use std::sync::Arc;

use config::name::ServiceName;

use crate::snapshot::service::Round;

/// Turns that are passed over at most to find a server that is up; beyond, the first that is up is taken.
const MOST_TURNS: u64 = 1024;

/// A server among others.
pub trait Balanced {
    /// May be chosen.
    fn is_up(&self) -> bool;
}

/// A service, compiled. An unchanged service is the same value in the next snapshot.
#[derive(Debug)]
pub struct StreamService<S> {
    /// Its qualified name.
    pub name: ServiceName,
    /// Why there is no server, when there is none.
    pub down: Option<Arc<str>>,
    pub(super) members: Members<S>,
    pub(super) weights: Box<[u32]>,
    /// Goes on in the next snapshot while the weights stay the same.
    pub(super) round: Arc<Round>,
}

/// What a service is made of.
#[derive(Debug)]
pub(super) enum Members<S> {
    Servers(Box<[Arc<S>]>),
    Services(Box<[Arc<StreamService<S>>]>),
}

impl<S: Balanced> StreamService<S> {
    /// `previous` is the one of the same name that is served now.
    pub(super) fn new(
        name: ServiceName,
        down: Option<Arc<str>>,
        members: Members<S>,
        weights: Box<[u32]>,
        previous: Option<&Self>,
    ) -> Self {
        let round = match previous {
            Some(previous) if previous.weights == weights => Arc::clone(&previous.round),
            Some(_) | None => Arc::new(Round::new(weights.iter().copied())),
        };
        Self { name, down, members, weights, round }
    }

    /// The next server of the round; `None` when none is up. Takes no lock.
    pub fn pick(&self) -> Option<&Arc<S>> {
        let place = self.next_place()?;
        match &self.members {
            Members::Servers(servers) => servers.get(place),
            Members::Services(services) => services.get(place)?.pick(),
        }
    }

    /// Another server that is up and was not tried yet; `None` when all were.
    pub fn pick_other(&self, tried: &[Arc<S>]) -> Option<&Arc<S>> {
        let start = self.next_place()?;
        let places = (start..self.len()).chain(0..start).filter(|place| self.may_take(*place));
        match &self.members {
            Members::Servers(servers) => places
                .filter_map(|place| servers.get(place))
                .find(|server| !tried.iter().any(|tried| Arc::ptr_eq(tried, server))),
            Members::Services(services) => {
                places.filter_map(|place| services.get(place)).find_map(|service| service.pick_other(tried))
            }
        }
    }

    /// Some server of it is up.
    pub fn is_up(&self) -> bool {
        (0..self.len()).any(|place| self.may_take(place))
    }

    /// Its servers, where it has its own.
    pub fn servers(&self) -> &[Arc<S>] {
        match &self.members {
            Members::Servers(servers) => servers,
            Members::Services(_) => &[],
        }
    }

    /// The services that it is made of, where it has no servers of its own.
    pub fn services(&self) -> &[Arc<Self>] {
        match &self.members {
            Members::Servers(_) => &[],
            Members::Services(services) => services,
        }
    }

    /// Why a connection cannot be served when [`StreamService::pick`] finds nothing.
    pub fn reason(&self) -> Arc<str> {
        match (&self.down, &self.members) {
            (Some(reason), _) => Arc::clone(reason),
            (None, Members::Servers(servers)) if servers.is_empty() => Arc::from("service has no server"),
            (None, Members::Servers(_)) => Arc::from("no server of the service is up"),
            (None, Members::Services(services)) => services
                .iter()
                .find_map(|service| service.down.clone())
                .unwrap_or_else(|| Arc::from("no server of the service is up")),
        }
    }

    fn len(&self) -> usize {
        self.weights.len()
    }

    /// The next place of the round that may be taken. The others' turns are passed over, so that those that are up
    /// keep their shares.
    fn next_place(&self) -> Option<usize> {
        for _ in 0..self.round.turns().min(MOST_TURNS) {
            let place = self.round.next()?;
            if self.may_take(place) {
                return Some(place);
            }
        }
        (0..self.len()).find(|place| self.may_take(*place))
    }

    fn may_take(&self, place: usize) -> bool {
        self.weights.get(place).is_some_and(|weight| *weight > 0)
            && match &self.members {
                Members::Servers(servers) => servers.get(place).is_some_and(|server| server.is_up()),
                Members::Services(services) => services.get(place).is_some_and(|service| service.is_up()),
            }
    }
}
