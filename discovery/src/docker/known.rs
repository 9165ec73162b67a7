//! What is known about the containers: the last list, corrected by what was heard since. Pure: time is passed in.
//!
//! Lists lag behind events. A container that died is still listed as running, with its address, for up to 200 ms;
//! one that was attached to a network appears without it for 20 ms. So a death counts at once, whatever the next
//! list says, and everything else is listed when it has settled, and once more a little later.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::api::{Event, Listed};
use super::container::{Container, State};

/// How long a death outweighs a list that does not know of it.
const DOUBT: Duration = Duration::from_secs(2);

/// Quiet time after the last event before a list is asked for, and the longest wait of a busy engine.
const SETTLE: Duration = Duration::from_millis(250);
const SETTLE_AT_MOST: Duration = Duration::from_secs(1);

/// The second look after a settled list.
const SECOND_LOOK: Duration = Duration::from_millis(1_500);

/// A started container is looked for at once, but not more often than this.
const LEAD: Duration = Duration::from_millis(400);

/// Lists that nobody asked for: a lost event costs no more than this.
const PERIOD: Duration = Duration::from_secs(30);

/// The same where no events are to be had.
const PERIOD_WITHOUT_EVENTS: Duration = Duration::from_secs(3);

/// The containers as they are known now.
#[derive(Debug, Default)]
pub(super) struct Known {
    listed: Vec<Container>,
    deaths: HashMap<String, Death>,
}

#[derive(Debug)]
struct Death {
    at: Instant,
    removed: bool,
}

impl Known {
    /// Takes an event in. True if it changes what is known at once.
    pub(super) fn hear(&mut self, event: &Event, now: Instant) -> bool {
        match event {
            Event::Died(id) => {
                if !self.listed.iter().any(|container| container.id == *id) {
                    return false;
                }
                let removed = self.deaths.get(id).is_some_and(|death| death.removed);
                self.deaths.insert(id.clone(), Death { at: now, removed });
                true
            }
            Event::Removed(id) => {
                if !self.listed.iter().any(|container| container.id == *id) {
                    return false;
                }
                self.deaths.insert(id.clone(), Death { at: now, removed: true });
                true
            }
            Event::Started(id) => {
                if self.deaths.get(id).is_some_and(|death| !death.removed) {
                    self.deaths.remove(id);
                    // What the last list said of it was before its death: the list that follows brings the rest.
                    if let Some(container) = self.listed.iter_mut().find(|container| container.id == *id) {
                        container.state = State::Not("restarting".to_owned());
                    }
                }
                false
            }
            Event::Other => false,
        }
    }

    /// Takes in a list that was asked for at `asked`. True if it differs from the one before.
    pub(super) fn take(&mut self, listed: Listed, asked: Instant) -> bool {
        let mut containers = listed.containers;
        if !listed.unreadable.is_empty() {
            // What could not be read may still be there.
            for old in self.listed.drain(..).collect::<Vec<_>>() {
                let removed = self.deaths.get(&old.id).is_some_and(|death| death.removed);
                if !removed && !containers.iter().any(|container| container.id == old.id) {
                    containers.push(old);
                }
            }
            containers.sort_by(|a, b| a.id.cmp(&b.id));
        }
        let before = self.present();
        self.deaths.retain(|id, death| {
            let agrees = match containers.iter().find(|container| container.id == *id) {
                Some(container) => !death.removed && !container.runs(),
                None => true,
            };
            !agrees && asked < death.at + DOUBT
        });
        self.listed = containers;
        before != self.present()
    }

    /// All containers as they are known now, by identifier.
    pub(super) fn present(&self) -> Vec<Container> {
        self.listed
            .iter()
            .filter_map(|container| match self.deaths.get(&container.id) {
                None => Some(container.clone()),
                Some(Death { removed: true, .. }) => None,
                Some(Death { removed: false, .. }) if !container.runs() => Some(container.clone()),
                Some(Death { removed: false, .. }) => {
                    Some(Container { state: State::Not("exited".to_owned()), ..container.clone() })
                }
            })
            .collect()
    }

    /// When the oldest death that no list has confirmed loses its weight.
    fn doubt_ends(&self) -> Option<Instant> {
        self.deaths.values().map(|death| death.at + DOUBT).min()
    }
}

/// When the next list is due.
#[derive(Debug)]
pub(super) struct Agenda {
    /// First and last event since the last settled list.
    unsettled: Option<(Instant, Instant)>,
    second_look: Option<Instant>,
    lead: bool,
    retry: Option<Instant>,
    last: Option<Instant>,
    /// Events are to be had.
    pub(super) events: bool,
    /// Lists that nobody asked for are wanted.
    pub(super) periodic: bool,
}

impl Agenda {
    pub(super) fn new(events: bool, periodic: bool) -> Self {
        Self { unsettled: None, second_look: None, lead: false, retry: None, last: None, events, periodic }
    }

    pub(super) fn hear(&mut self, event: &Event, now: Instant) {
        let first = self.unsettled.map_or(now, |(first, _)| first);
        self.unsettled = Some((first, now));
        match event {
            Event::Started(_) => self.lead = true,
            Event::Died(_) | Event::Removed(_) | Event::Other => {}
        }
    }

    /// A list failed: try again then.
    pub(super) fn retry_at(&mut self, at: Instant) {
        self.retry = Some(at);
    }

    /// A list is asked for now. True if nothing but the clock asked for it.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let settled = self.settled_at().is_some_and(|at| at <= now);
        let looked = self.second_look.is_some_and(|at| at <= now);
        let routine = self.unsettled.is_none() && !looked && self.retry.is_none() && self.last.is_some();
        if settled {
            self.unsettled = None;
            self.second_look = Some(now + SECOND_LOOK);
        } else if looked {
            self.second_look = None;
        } else if self.last.is_none() {
            // The first list may have overtaken the subscription.
            self.second_look = Some(now + SECOND_LOOK);
        }
        self.lead = false;
        self.retry = None;
        self.last = Some(now);
        routine
    }

    fn settled_at(&self) -> Option<Instant> {
        self.unsettled.map(|(first, last)| (last + SETTLE).min(first + SETTLE_AT_MOST))
    }

    /// When to ask for the next list; at once if that time has passed.
    pub(super) fn next(&self, known: &Known) -> Option<Instant> {
        // While the engine does not answer, nothing but its retry makes sense.
        if let Some(retry) = self.retry {
            return Some(retry);
        }
        let last = self.last?;
        let period = if self.events { PERIOD } else { PERIOD_WITHOUT_EVENTS };
        [
            self.settled_at(),
            self.second_look,
            self.lead.then(|| last + LEAD),
            // Not before the last list has had its time.
            known.doubt_ends().map(|at| at.max(last + SETTLE)),
            self.periodic.then(|| last + period),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::container::{Health, NetworkMode};
    use super::*;

    fn container(id: &str, state: &str) -> Container {
        Container {
            id: id.to_owned(),
            name: id.to_owned(),
            labels: BTreeMap::new(),
            created: 0,
            state: if state == "running" { State::Running } else { State::Not(state.to_owned()) },
            health: Health::Unchecked,
            mode: NetworkMode::Own,
            networks: BTreeMap::new(),
            ports: Vec::new(),
        }
    }

    fn list(containers: &[(&str, &str)]) -> Listed {
        Listed {
            containers: containers.iter().map(|(id, state)| container(id, state)).collect(),
            unreadable: Vec::new(),
        }
    }

    fn running(known: &Known) -> Vec<String> {
        known.present().into_iter().filter(Container::runs).map(|container| container.id).collect()
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[tokio::test]
    async fn a_list_that_lags_does_not_raise_the_dead() {
        let start = Instant::now();
        let mut known = Known::default();
        assert!(known.take(list(&[("a", "running"), ("b", "running")]), start));
        assert!(known.hear(&Event::Died("a".to_owned()), start + ms(100)));
        assert_eq!(running(&known), ["b"]);
        // Asked before the death, answered after it; then asked after it and still late.
        assert!(!known.take(list(&[("a", "running"), ("b", "running")]), start + ms(90)));
        assert!(!known.take(list(&[("a", "running"), ("b", "running")]), start + ms(120)));
        assert_eq!(running(&known), ["b"]);
        known.take(list(&[("a", "exited"), ("b", "running")]), start + ms(400));
        assert_eq!(running(&known), ["b"]);
        // The list has agreed: from here on it is believed.
        known.take(list(&[("a", "running"), ("b", "running")]), start + ms(600));
        assert_eq!(running(&known), ["a", "b"]);
    }

    #[tokio::test]
    async fn a_death_that_no_list_confirms_is_forgotten_after_two_seconds() {
        let start = Instant::now();
        let mut known = Known::default();
        known.take(list(&[("a", "running")]), start);
        known.hear(&Event::Died("a".to_owned()), start);
        assert_eq!(known.doubt_ends(), Some(start + DOUBT));
        known.take(list(&[("a", "running")]), start + ms(1_999));
        assert!(running(&known).is_empty());
        known.take(list(&[("a", "running")]), start + ms(2_000));
        assert_eq!(running(&known), ["a"]);
    }

    #[tokio::test]
    async fn a_restarted_container_is_believed_from_the_first_list_after_its_start() {
        let start = Instant::now();
        let mut known = Known::default();
        known.take(list(&[("a", "running")]), start);
        known.hear(&Event::Died("a".to_owned()), start);
        known.hear(&Event::Started("a".to_owned()), start + ms(300));
        assert!(running(&known).is_empty(), "its old address must not be used");
        known.take(list(&[("a", "running")]), start + ms(310));
        assert_eq!(running(&known), ["a"]);
    }

    #[tokio::test]
    async fn a_removed_container_is_gone_and_a_stopped_one_stays() {
        let start = Instant::now();
        let mut known = Known::default();
        known.take(list(&[("a", "running"), ("b", "running")]), start);
        known.hear(&Event::Died("a".to_owned()), start);
        assert_eq!(known.present().len(), 2);
        known.hear(&Event::Removed("a".to_owned()), start + ms(5));
        assert_eq!(known.present().len(), 1);
        known.take(list(&[("a", "removing"), ("b", "running")]), start + ms(50));
        assert_eq!(known.present().len(), 1, "a late list does not bring it back");
        assert!(!known.hear(&Event::Died("z".to_owned()), start), "a stranger changes nothing");
    }

    #[tokio::test]
    async fn containers_that_could_not_be_read_stay_as_they_were() {
        let start = Instant::now();
        let mut known = Known::default();
        known.take(list(&[("a", "running"), ("b", "running"), ("c", "exited")]), start);
        known.hear(&Event::Removed("c".to_owned()), start);
        let unreadable = vec!["odd".to_owned()];
        known.take(Listed { unreadable, ..list(&[("b", "exited")]) }, start + ms(10));
        assert_eq!(running(&known), ["a"]);
        assert_eq!(known.present().len(), 2);
    }

    #[tokio::test]
    async fn events_settle_before_a_list_and_a_second_look_follows() {
        let start = Instant::now();
        let known = Known::default();
        let mut agenda = Agenda::new(true, true);
        assert!(!agenda.begin(start));
        assert_eq!(agenda.next(&known), Some(start + SECOND_LOOK), "the first list has a second look");
        agenda.begin(start + SECOND_LOOK);
        let start = start + SECOND_LOOK;
        assert_eq!(agenda.next(&known), Some(start + PERIOD));

        let first = start + ms(5_000);
        for step in 0..20 {
            agenda.hear(&Event::Other, first + ms(step * 100));
        }
        assert_eq!(
            agenda.next(&known),
            Some(first + SETTLE_AT_MOST),
            "a busy engine does not put it off for ever"
        );
        assert!(!agenda.begin(first + SETTLE_AT_MOST));
        agenda.hear(&Event::Other, first + ms(1_100));
        assert_eq!(agenda.next(&known), Some(first + ms(1_350)));
        assert!(!agenda.begin(first + ms(1_350)));
        assert_eq!(agenda.next(&known), Some(first + ms(2_850)));
        assert!(!agenda.begin(first + ms(2_850)));
        assert_eq!(agenda.next(&known), Some(first + ms(2_850) + PERIOD));
        assert!(agenda.begin(first + ms(2_850) + PERIOD), "only the clock asked for this one");
    }

    #[tokio::test]
    async fn a_start_is_listed_at_once_but_a_storm_of_starts_is_not_a_storm_of_lists() {
        let start = Instant::now();
        let known = Known::default();
        let mut agenda = Agenda::new(true, true);
        agenda.begin(start);
        let event = Event::Started("a".to_owned());
        agenda.hear(&event, start + ms(1_000));
        assert!(agenda.next(&known).is_some_and(|at| at <= start + ms(1_000)));
        agenda.begin(start + ms(1_000));
        agenda.hear(&event, start + ms(1_050));
        assert_eq!(agenda.next(&known), Some(start + ms(1_300)), "settled, not at once");
    }

    #[tokio::test]
    async fn while_the_engine_does_not_answer_only_the_retry_counts() {
        let start = Instant::now();
        let known = Known::default();
        let mut agenda = Agenda::new(true, true);
        agenda.begin(start);
        agenda.hear(&Event::Other, start);
        agenda.retry_at(start + ms(3_000));
        assert_eq!(agenda.next(&known), Some(start + ms(3_000)));
    }
}
