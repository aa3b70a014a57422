//! One shard: the copies held, the loads in flight, and what a reader is to do. No waiting in here.

use std::collections::HashMap;
use std::sync::Arc;

use mallard_types::{Error, Kind, Result};
use tokio::sync::watch;
use tokio::time::{Duration, Instant};

use super::hold::{Answer, Hold, SLOT_BYTES, Slot};
use super::{Freshness, Weigh};

pub(super) type Outcome<V> = Option<Result<V>>;

/// A key with everything that is derived from it.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) key: &'a str,
    pub(super) group: Option<u64>,
    pub(super) epoch: u64,
}

pub(super) struct Flight<V> {
    id: u64,
    group: Option<u64>,
    epoch: u64,
    started_at: Instant,
    outcome: watch::Receiver<Outcome<V>>,
}

/// A load that its reader has to start.
pub(super) struct Ticket<V> {
    pub(super) key: Arc<str>,
    pub(super) id: u64,
    pub(super) sender: watch::Sender<Outcome<V>>,
}

pub(super) enum Step<V> {
    /// Nothing is to be waited for.
    Serve { answer: Result<V>, age: Duration, how: How, refresh: Option<Ticket<V>> },
    /// A load is under way, or is to be started; with a copy to fall back on the reader does not wait for ever.
    Wait { outcome: watch::Receiver<Outcome<V>>, rescue: bool, start: Option<Ticket<V>> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Fresh,
    Stale,
    OnError,
}

pub(super) struct Shard<V> {
    freshness: Freshness,
    hold: Hold<V>,
    flights: HashMap<Arc<str>, Flight<V>>,
    next_flight: u64,
}

impl<V: Weigh + Clone> Shard<V> {
    pub(super) fn new(freshness: Freshness, entries_max: usize, bytes_max: usize) -> Shard<V> {
        Shard { freshness, hold: Hold::new(entries_max, bytes_max), flights: HashMap::new(), next_flight: 0 }
    }

    pub(super) fn hold(&self) -> &Hold<V> {
        &self.hold
    }

    /// Decides what a reader gets, or waits for.
    pub(super) fn read(&mut self, place: Place<'_>, now: Instant) -> Step<V> {
        let freshness = self.freshness;
        let mut rescue = false;
        if let Some(slot) = self.hold.get_mut(place.key).filter(|slot| slot.epoch == place.epoch) {
            let age = now.saturating_duration_since(slot.as_of);
            slot.touched = true;
            match &slot.answer {
                Answer::Absent(error) if age < freshness.fresh => {
                    return Step::Serve { answer: Err(error.clone()), age, how: How::Fresh, refresh: None };
                }
                Answer::Absent(_) => {}
                Answer::Present(value) if age < freshness.fresh => {
                    return Step::Serve { answer: Ok(value.clone()), age, how: How::Fresh, refresh: None };
                }
                Answer::Present(value) if age < freshness.served_max() => {
                    let (answer, due) = (Ok(value.clone()), slot.retry_at.is_none_or(|at| at <= now));
                    let refresh = if due { self.refresh(place, now) } else { None };
                    return Step::Serve { answer, age, how: How::Stale, refresh };
                }
                Answer::Present(value) if age <= freshness.on_error => {
                    let (answer, failed_lately) = (Ok(value.clone()), slot.retry_at.is_some_and(|at| now < at));
                    // Its service is known not to answer: one reader at a time finds out whether it is back.
                    if failed_lately || self.is_overdue(place, now) {
                        return Step::Serve { answer, age, how: How::OnError, refresh: None };
                    }
                    rescue = true;
                }
                Answer::Present(_) => {}
            }
        }
        self.join_or_start(place, rescue, now)
    }

    /// Returns the load under way, unless a purge came after it began.
    fn flight(&self, place: Place<'_>) -> Option<&Flight<V>> {
        self.flights.get(place.key).filter(|flight| flight.epoch == place.epoch)
    }

    fn is_overdue(&self, place: Place<'_>, now: Instant) -> bool {
        self.flight(place).is_some_and(|flight| now - flight.started_at >= self.freshness.served_max())
    }

    /// Starts a load unless one is under way.
    fn refresh(&mut self, place: Place<'_>, now: Instant) -> Option<Ticket<V>> {
        self.flight(place).is_none().then(|| self.start(place, now).0)
    }

    /// Joins the load under way. One that began too long ago, or before a purge, may bring what is no longer true: a new one
    /// takes its place.
    fn join_or_start(&mut self, place: Place<'_>, rescue: bool, now: Instant) -> Step<V> {
        if let Some(flight) = self.flight(place)
            && now - flight.started_at < self.freshness.served_max()
        {
            return Step::Wait { outcome: flight.outcome.clone(), rescue, start: None };
        }
        let (ticket, outcome) = self.start(place, now);
        Step::Wait { outcome, rescue, start: Some(ticket) }
    }

    fn start(&mut self, place: Place<'_>, now: Instant) -> (Ticket<V>, watch::Receiver<Outcome<V>>) {
        let (sender, outcome) = watch::channel(None);
        self.next_flight += 1;
        let (id, key) = (self.next_flight, Arc::<str>::from(place.key));
        let flight = Flight { id, group: place.group, epoch: place.epoch, started_at: now, outcome: outcome.clone() };
        self.flights.insert(Arc::clone(&key), flight);
        (Ticket { key, id, sender }, outcome)
    }

    /// Ends a load and keeps what it brought, unless a purge or a newer load came in between. `epoch` is the present one.
    pub(super) fn land(&mut self, key: &Arc<str>, id: u64, epoch: u64, outcome: &Result<V>, now: Instant) {
        let Some(flight) = self.abandon(key, id) else { return };
        if flight.epoch != epoch {
            return;
        }
        let answer = match outcome {
            Ok(value) => Answer::Present(value.clone()),
            Err(error) if matches!(error.kind, Kind::NotFound | Kind::Gone) => Answer::Absent(error.clone()),
            Err(error) => {
                if is_outage(error) {
                    self.note_outage(key, now);
                }
                return;
            }
        };
        let weight = match &answer {
            Answer::Present(value) => value.bytes(),
            Answer::Absent(error) => Some(error.message.len()),
        };
        let Some(weight) = weight else { return self.hold.remove(key) };
        self.hold.put(Slot {
            key: Arc::clone(key),
            group: flight.group,
            epoch,
            answer,
            as_of: flight.started_at,
            retry_at: None,
            bytes: weight + key.len() + SLOT_BYTES,
            touched: false,
        });
    }

    /// Ends a load that brought nothing.
    pub(super) fn abandon(&mut self, key: &str, id: u64) -> Option<Flight<V>> {
        self.flights.get(key).filter(|flight| flight.id == id)?;
        self.flights.remove(key)
    }

    fn note_outage(&mut self, key: &str, now: Instant) {
        let retry_at = now + self.freshness.retry_pause;
        if let Some(slot) = self.hold.get_mut(key) {
            slot.retry_at = Some(retry_at);
        }
    }

    /// Returns the copy to fall back on after its service did not answer, and how old it is.
    pub(super) fn rescue(&mut self, place: Place<'_>, now: Instant) -> Option<(V, Duration)> {
        let Freshness { on_error, retry_pause, .. } = self.freshness;
        let slot = self.hold.get_mut(place.key).filter(|slot| slot.epoch == place.epoch)?;
        let age = now.saturating_duration_since(slot.as_of);
        let Answer::Present(value) = &slot.answer else { return None };
        if age > on_error {
            return None;
        }
        // Whoever comes next need not wait as long as this reader did.
        if slot.retry_at.is_none_or(|at| at <= now) {
            slot.retry_at = Some(now + retry_pause);
        }
        Some((value.clone(), age))
    }

    pub(super) fn purge_group(&mut self, group: u64) {
        self.flights.retain(|_, flight| flight.group != Some(group));
        self.hold.remove_group(group);
    }
}

/// Tells whether an error says nothing about the thing asked for, only that its service does not answer.
pub(super) fn is_outage(error: &Error) -> bool {
    matches!(error.kind, Kind::Unavailable | Kind::Deadline)
}
