//! One shard: entries in slots, a map from key to slot, the clock hand, and the loads in flight. No waiting in here.

use std::collections::HashMap;
use std::hash::Hash;

use mallard_types::{Error, Result};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::Stats;

/// The version of values that have none: older than every version.
pub(crate) const UNVERSIONED: i64 = i64::MIN;

#[derive(Clone)]
pub(crate) enum Answer<V> {
    Present(V),
    Absent(Error),
}

impl<V> Answer<V> {
    pub(crate) fn into_result(self) -> Result<V> {
        match self {
            Answer::Present(value) => Ok(value),
            Answer::Absent(error) => Err(error),
        }
    }
}

struct Slot<K, V> {
    key: K,
    answer: Answer<V>,
    version: i64,
    expires_at: Instant,
    // Read since the clock hand last passed.
    touched: bool,
}

struct Flight<V> {
    id: u64,
    outcome: watch::Receiver<Option<Result<V>>>,
}

pub(crate) enum Found<V> {
    Answer(Answer<V>),
    Waiting(watch::Receiver<Option<Result<V>>>),
    Leading { flight: u64, sender: watch::Sender<Option<Result<V>>> },
}

pub(crate) struct Stored {
    pub(crate) accepted: bool,
    pub(crate) evicted: u64,
}

pub(crate) struct Shard<K, V> {
    capacity: usize,
    slots: Vec<Slot<K, V>>,
    places: HashMap<K, usize>,
    hand: usize,
    flights: HashMap<K, Flight<V>>,
    next_flight: u64,
    stats: Stats,
}

impl<K, V> Shard<K, V>
where
    K: Hash + Eq + Clone,
    V: Clone,
{
    pub(crate) fn new(capacity: usize) -> Self {
        Shard {
            capacity: capacity.max(1),
            slots: Vec::new(),
            places: HashMap::new(),
            hand: 0,
            flights: HashMap::new(),
            next_flight: 0,
            stats: Stats::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.stats
    }

    pub(crate) fn get(&mut self, key: &K, now: Instant) -> Option<Answer<V>> {
        if let Some(&place) = self.places.get(key) {
            let slot = &mut self.slots[place];
            if now < slot.expires_at {
                slot.touched = true;
                self.stats.hits += 1;
                return Some(slot.answer.clone());
            }
        }
        self.stats.misses += 1;
        None
    }

    /// Answers from the cache, or joins the key's load in flight, or makes the caller its loader.
    pub(crate) fn get_or_join(&mut self, key: &K, now: Instant) -> Found<V> {
        if let Some(answer) = self.get(key, now) {
            return Found::Answer(answer);
        }
        if let Some(flight) = self.flights.get(key) {
            return Found::Waiting(flight.outcome.clone());
        }
        let (sender, outcome) = watch::channel(None);
        self.next_flight += 1;
        let flight = self.next_flight;
        self.flights.insert(key.clone(), Flight { id: flight, outcome });
        Found::Leading { flight, sender }
    }

    pub(crate) fn put(&mut self, key: K, version: i64, answer: Answer<V>, expires_at: Instant) -> Stored {
        if let Some(&place) = self.places.get(&key) {
            let slot = &mut self.slots[place];
            // An unversioned value is the caller's word that it is the newest.
            if version != UNVERSIONED && version < slot.version {
                return Stored { accepted: false, evicted: 0 };
            }
            slot.answer = answer;
            slot.version = version;
            slot.expires_at = expires_at;
            // What is put in by hand is newer than anything a load under way has read.
            self.flights.remove(&key);
            return Stored { accepted: true, evicted: 0 };
        }
        self.flights.remove(&key);
        let evicted = self.add(key, version, answer, expires_at);
        Stored { accepted: true, evicted }
    }

    /// Ends a flight; keeps its answer only when nothing purged or replaced the key meanwhile. Returns entries evicted.
    pub(crate) fn land(&mut self, key: &K, flight: u64, keep: Option<(i64, Answer<V>, Instant)>) -> u64 {
        if !self.abandon(key, flight) {
            return 0;
        }
        let Some((version, answer, expires_at)) = keep else { return 0 };
        if self.places.contains_key(key) {
            return self.put(key.clone(), version, answer, expires_at).evicted;
        }
        self.add(key.clone(), version, answer, expires_at)
    }

    /// Ends a flight without an answer; returns whether it was still the key's flight.
    pub(crate) fn abandon(&mut self, key: &K, flight: u64) -> bool {
        if self.flights.get(key).is_none_or(|present| present.id != flight) {
            return false;
        }
        self.flights.remove(key);
        true
    }

    pub(crate) fn purge(&mut self, key: &K) {
        self.flights.remove(key);
        if let Some(place) = self.places.remove(key) {
            self.slots.swap_remove(place);
            if let Some(moved) = self.slots.get(place) {
                self.places.insert(moved.key.clone(), place);
            }
        }
    }

    pub(crate) fn purge_all(&mut self) {
        self.flights.clear();
        self.places.clear();
        self.slots.clear();
        self.hand = 0;
    }

    fn add(&mut self, key: K, version: i64, answer: Answer<V>, expires_at: Instant) -> u64 {
        let slot = Slot { key: key.clone(), answer, version, expires_at, touched: false };
        if self.slots.len() < self.capacity {
            self.places.insert(key, self.slots.len());
            self.slots.push(slot);
            return 0;
        }
        let place = self.victim(Instant::now());
        let old = std::mem::replace(&mut self.slots[place], slot);
        self.places.remove(&old.key);
        self.places.insert(key, place);
        self.stats.evictions += 1;
        1
    }

    /// Moves the hand to the slot to give up: an expired one, or the first that nobody read since the last round.
    fn victim(&mut self, now: Instant) -> usize {
        // The first round clears every mark, so the second finds a slot at the latest.
        for _ in 0..self.slots.len() * 2 {
            let place = self.hand % self.slots.len();
            self.hand = (place + 1) % self.slots.len();
            let slot = &mut self.slots[place];
            if !slot.touched || slot.expires_at <= now {
                return place;
            }
            slot.touched = false;
        }
        self.hand % self.slots.len()
    }
}
