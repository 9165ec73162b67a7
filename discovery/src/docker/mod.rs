//! The Docker provider: containers and their labels.
//!
//! ```text
//! events --(a death)-----------------+
//!        \-(anything, settled)-> list +-> Known -> labels -> Update
//! clock  ----------------------> list +
//! ```
//!
//! Events only wake: state comes from whole lists, but for a death, which counts at once because lists lag
//! behind it. An engine that goes away, stalls or talks nonsense costs no route: what was last known stays, and
//! the update says so.

mod address;
mod api;
pub mod constraints;
pub mod container;
mod known;
pub mod labels;
mod surroundings;

use std::time::Duration;

use async_trait::async_trait;
use config::install::{self, DockerEndpoint};
use config::name::ProviderName;
use config::{Origin, Problem};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use self::api::{Api, CALL_TIMEOUT, EngineError, Event, Listed};
use self::container::Container;
use self::known::{Agenda, Known};
use self::labels::{Labels, Made, Surroundings};
use crate::backoff::{Backoff, jitter};
use crate::{Environment, Freshness, Provider, ProviderChannels, Update};

/// Delays of reconnecting and of repeating a failed list.
const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(3);

/// A connection that lasted this long was a good one: the next reconnect comes at once.
const GOOD_CONNECTION: Duration = Duration::from_secs(5);

/// Where events are refused, they are asked for again after this.
const DEAF: Duration = Duration::from_secs(60);

/// How long the name that the host has here is believed.
const HOST_NAME_LASTS: Duration = Duration::from_secs(60);

/// A refusal of events comes within this.
const REFUSAL: Duration = Duration::from_secs(1);

/// Routing settings from the labels of containers.
#[derive(Debug)]
pub struct DockerProvider {
    endpoint: DockerEndpoint,
    watch: bool,
    implied: bool,
    labels: Labels,
    made: Made,
    call_timeout: Duration,
    surroundings: Surroundings,
    /// When the host's name was last looked up.
    looked_up: Option<Instant>,
    known: Known,
    /// At least one list was read.
    answered: bool,
    /// What could not be read of the last list.
    unreadable: Vec<String>,
    /// Why events are not to be had.
    deaf: Option<EngineError>,
    /// Why the engine cannot be asked, while it cannot.
    stale: Option<EngineError>,
    sent: Option<Sent>,
}

/// What the last update was made of.
#[derive(Debug, PartialEq, Eq)]
struct Sent {
    containers: Vec<Container>,
    surroundings: Surroundings,
    stale: Option<String>,
    notes: Vec<String>,
}

/// Why a connection ended.
enum End {
    /// Nobody wants updates any more.
    Closed,
    /// The event stream ended or is not to be trusted.
    Lost,
}

impl DockerProvider {
    /// A provider for one engine. `environment` serves `env` in the default rule.
    pub fn new(settings: install::DockerProvider, environment: Environment) -> Self {
        Self {
            endpoint: settings.endpoint.clone(),
            watch: settings.watch,
            implied: settings.implied,
            labels: Labels::new(settings, environment),
            made: Made::default(),
            call_timeout: CALL_TIMEOUT,
            surroundings: Surroundings::default(),
            looked_up: None,
            known: Known::default(),
            answered: false,
            unreadable: Vec::new(),
            deaf: None,
            stale: None,
            sent: None,
        }
    }

    async fn connect(endpoint: DockerEndpoint, call_timeout: Duration) -> Result<Api, EngineError> {
        // Certificates are read from files here.
        let api = tokio::task::spawn_blocking(move || Api::connect(&endpoint, call_timeout)).await;
        let api = api.unwrap_or_else(|error| Err(EngineError::internal(&error.to_string())))?;
        api.pin_version().await
    }

    async fn first_list(&self) -> Result<Listed, EngineError> {
        Self::connect(self.endpoint.clone(), self.call_timeout).await?.list().await
    }

    fn take(&mut self, listed: Listed, asked: Instant) -> bool {
        self.answered = true;
        self.stale = None;
        self.unreadable.clone_from(&listed.unreadable);
        self.known.take(listed, asked)
    }

    /// Looks the host's name up where that matters. Never on the way of a death: it may take a second.
    async fn look_up_host(&mut self) {
        let now = Instant::now();
        if self.looked_up.is_some_and(|at| now < at + HOST_NAME_LASTS) {
            return;
        }
        let own_id = self.surroundings.own_id.as_deref();
        if surroundings::host_matters(&self.known.present(), own_id) {
            self.looked_up = Some(now);
            self.surroundings.host = surroundings::host_name().await;
        }
    }

    /// The state as it is known now, unless it was sent already.
    fn update(&mut self, whatever: bool) -> Option<Update> {
        let sent = Sent {
            containers: self.known.present(),
            surroundings: self.surroundings.clone(),
            stale: self.stale.as_ref().map(|error| error.message.clone()),
            notes: self
                .unreadable
                .iter()
                .cloned()
                .chain(self.deaf.as_ref().map(|error| error.message.clone()))
                .collect(),
        };
        if !whatever && self.sent.as_ref() == Some(&sent) {
            return None;
        }
        let (routing, mut problems) =
            self.labels.routing_after(&mut self.made, &sent.containers, &sent.surroundings);
        problems.extend(self.engine_problems());
        problems.sort();
        let freshness = sent.stale.clone().map_or(Freshness::Current, Freshness::Stale);
        self.sent = Some(sent);
        Some(Update { provider: self.name(), routing, problems, freshness })
    }

    fn engine_problems(&self) -> Vec<Problem> {
        let subject = "provider `docker`";
        let mut problems = Vec::new();
        if let Some(error) = &self.stale {
            let message = match self.answered {
                true => format!("{}; the last known routes stay", error.message),
                false => error.message.clone(),
            };
            // Where nobody asked for Docker, its absence is no fault.
            let problem = match self.implied && !self.answered {
                true => Problem::warning(Origin::Gateway, subject, message),
                false => Problem::error(Origin::Gateway, subject, message),
            };
            problems.push(Problem { hint: error.hint.clone(), ..problem });
        }
        if let Some(error) = &self.deaf {
            let message = format!("{}: changes are seen within seconds instead of at once", error.message);
            let problem = Problem::warning(Origin::Gateway, subject, message);
            problems.push(Problem { hint: error.hint.clone(), ..problem });
        }
        problems.extend(self.unreadable.iter().map(|text| {
            let message =
                format!("some containers could not be read and stay as they were last known: {text}");
            Problem::error(Origin::Gateway, subject, message)
        }));
        problems
    }

    /// Sends what is new. False when nobody listens any more.
    async fn send(&mut self, channels: &ProviderChannels, whatever: bool) -> bool {
        match self.update(whatever) {
            Some(update) => channels.updates.send(update).await.is_ok(),
            None => !channels.updates.is_closed(),
        }
    }

    /// One connection, until it is lost.
    async fn follow(
        &mut self,
        api: Api,
        channels: &mut ProviderChannels,
        waiting: &mut Vec<oneshot::Sender<()>>,
    ) -> End {
        let since = Instant::now();
        let mut events: BoxStream<'static, Result<Event, EngineError>> = match self.watch {
            true => api.events().boxed(),
            false => futures_util::stream::pending().boxed(),
        };
        let mut agenda = Agenda::new(true, self.watch);
        let mut backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY);
        let mut reloads_open = true;
        let mut listing = Some(begin(&api, &mut agenda));
        // The event stream has ended while a list was under way, which still says whether the engine is well.
        let mut ending = false;
        loop {
            if ending && listing.is_none() {
                return End::Lost;
            }
            let next = match listing {
                None => agenda.next(&self.known),
                Some(_) => None,
            };
            tokio::select! {
                // Events first: the subscription has to be on its way before the first list is.
                biased;
                () = channels.updates.closed() => return End::Closed,
                event = events.next() => match event {
                    Some(Ok(event)) => {
                        let now = Instant::now();
                        agenda.hear(&event, now);
                        if self.known.hear(&event, now) && !self.send(channels, false).await {
                            return End::Closed;
                        }
                    }
                    Some(Err(error)) if error.is_forbidden() => {
                        tracing::warn!(%error, "no events: containers are listed every few seconds");
                        self.deaf = Some(error);
                        agenda.events = false;
                        events = futures_util::stream::pending().boxed();
                    }
                    Some(Err(error)) => {
                        // A proxy that cuts idle streams does this all day.
                        tracing::debug!(%error, "the event stream broke");
                        ending = true;
                        events = futures_util::stream::pending().boxed();
                    }
                    None => {
                        tracing::debug!("the event stream ended");
                        ending = true;
                        events = futures_util::stream::pending().boxed();
                    }
                },
                (asked, routine, answer) = async { match &mut listing { Some(listing) => listing.await, None => std::future::pending().await } } => {
                    listing = None;
                    let silent_change = match answer {
                        Ok(listed) => {
                            backoff.reset();
                            if agenda.events && since.elapsed() > REFUSAL {
                                self.deaf = None;
                            }
                            let first = !self.answered;
                            self.take(listed, asked) && routine && !first && agenda.events
                        }
                        Err(error) => {
                            tracing::debug!(%error, "containers could not be listed");
                            self.stale = Some(error);
                            // Not at once: the engine has just shown that it cannot.
                            let delay = backoff.next_delay(jitter()).max(FIRST_DELAY);
                            agenda.retry_at(Instant::now() + delay);
                            false
                        }
                    };
                    self.look_up_host().await;
                    if !self.send(channels, !waiting.is_empty()).await {
                        return End::Closed;
                    }
                    acknowledge(waiting);
                    if silent_change {
                        // The stream should have told: it may be half open, which nothing else shows.
                        tracing::debug!("a change came without an event: subscribing anew");
                        return End::Lost;
                    }
                }
                () = sleep_until(since + DEAF), if !agenda.events => return End::Lost,
                reload = channels.reloads.recv(), if reloads_open => match reload {
                    Some(reload) => {
                        // A list that is under way may have been answered before what the reload is about.
                        waiting.push(reload);
                        listing = Some(begin(&api, &mut agenda));
                    }
                    None => reloads_open = false,
                },
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                    listing = Some(begin(&api, &mut agenda));
                }
            }
        }
    }
}

type Listing = BoxFuture<'static, (Instant, bool, Result<Listed, EngineError>)>;

/// Asks for a list.
fn begin(api: &Api, agenda: &mut Agenda) -> Listing {
    let api = api.clone();
    let asked = Instant::now();
    let routine = agenda.begin(asked);
    async move { (asked, routine, api.list().await) }.boxed()
}

fn acknowledge(waiting: &mut Vec<oneshot::Sender<()>>) {
    for reload in waiting.drain(..) {
        // Who asked may have given up.
        let _ = reload.send(());
    }
}

#[async_trait]
impl Provider for DockerProvider {
    fn name(&self) -> ProviderName {
        ProviderName::from("docker")
    }

    async fn load(&mut self) -> Update {
        self.surroundings.own_id = surroundings::own_id().await;
        let asked = Instant::now();
        match self.first_list().await {
            Ok(listed) => {
                self.take(listed, asked);
            }
            Err(error) => self.stale = Some(error),
        }
        self.look_up_host().await;
        let update = self.update(true);
        update.unwrap_or_else(|| Update::empty(self.name()))
    }

    async fn run(mut self: Box<Self>, mut channels: ProviderChannels) {
        self.surroundings.own_id = surroundings::own_id().await;
        let mut backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY);
        let mut waiting = Vec::new();
        let mut reloads_open = true;
        loop {
            let at = Instant::now() + backoff.next_delay(jitter());
            // A reload does not wait for the next try.
            loop {
                tokio::select! {
                    () = channels.updates.closed() => return,
                    () = sleep_until(at) => break,
                    reload = channels.reloads.recv(), if reloads_open => match reload {
                        Some(reload) => {
                            waiting.push(reload);
                            break;
                        }
                        None => reloads_open = false,
                    },
                }
            }
            let since = Instant::now();
            match Self::connect(self.endpoint.clone(), self.call_timeout).await {
                Ok(api) => match self.follow(api, &mut channels, &mut waiting).await {
                    End::Closed => return,
                    End::Lost if since.elapsed() >= GOOD_CONNECTION => backoff.reset(),
                    End::Lost => {}
                },
                Err(error) => {
                    tracing::debug!(%error, "the engine cannot be reached");
                    self.stale = Some(error);
                    if !self.send(&channels, !waiting.is_empty()).await {
                        return;
                    }
                    acknowledge(&mut waiting);
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
