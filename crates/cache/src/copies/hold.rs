//! What one shard holds: copies in slots, bounded by number and bytes, with the clock hand and the doorkeeper.
//!
//! While there is room everything is let in. When there is none, a key is let in when it is asked for again, and the clock
//! hand makes the room: copies read since it last passed get a second chance. So a crawler that asks for each of a million
//! pages once changes nothing here.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;

use mallard_types::Error;
use tokio::time::Instant;

/// Bytes a copy costs beside its key and its value: slot, map entry, allocations.
pub(super) const SLOT_BYTES: usize = 256;

/// Keys the door remembers for each copy held, in each of its two generations, at eight bytes.
const REMEMBERED_PER_ENTRY: usize = 4;

#[derive(Clone)]
pub(super) enum Answer<V> {
    Present(V),
    Absent(Error),
}

pub(super) struct Slot<V> {
    pub(super) key: Arc<str>,
    /// Hash of the thing it is about.
    pub(super) group: Option<u64>,
    /// Number of purges of its area when its load began.
    pub(super) epoch: u64,
    pub(super) answer: Answer<V>,
    /// When its load began: it shows no older state of the service than this.
    pub(super) as_of: Instant,
    /// Set while the service does not answer: when to ask again.
    pub(super) retry_at: Option<Instant>,
    pub(super) bytes: usize,
    /// Read since the clock hand last passed.
    pub(super) touched: bool,
}

pub(super) struct Hold<V> {
    entries_max: usize,
    bytes_max: usize,
    bytes: usize,
    slots: Vec<Slot<V>>,
    places: HashMap<Arc<str>, usize>,
    hand: usize,
    door: Door,
}

impl<V> Hold<V> {
    pub(super) fn new(entries_max: usize, bytes_max: usize) -> Hold<V> {
        Hold {
            entries_max,
            bytes_max,
            bytes: 0,
            slots: Vec::new(),
            places: HashMap::new(),
            hand: 0,
            door: Door::new(entries_max),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Slot<V>> {
        let place = *self.places.get(key)?;
        Some(&mut self.slots[place])
    }

    /// Puts a copy in place of the one under its key, or beside the others when the door lets it in.
    pub(super) fn put(&mut self, mut slot: Slot<V>) {
        if slot.bytes > self.bytes_max {
            self.remove(&Arc::clone(&slot.key));
            return;
        }
        if let Some(&place) = self.places.get(&slot.key) {
            slot.touched = self.slots[place].touched;
            self.bytes = self.bytes - self.slots[place].bytes + slot.bytes;
            self.slots[place] = slot;
            while self.bytes > self.bytes_max {
                self.evict();
            }
            return;
        }
        let full = |hold: &Hold<V>| hold.slots.len() >= hold.entries_max || hold.bytes + slot.bytes > hold.bytes_max;
        if full(self) {
            let hash = self.places.hasher().hash_one(&*slot.key);
            if !self.door.lets_in(hash) {
                return;
            }
            while full(self) {
                self.evict();
            }
        }
        self.bytes += slot.bytes;
        self.places.insert(Arc::clone(&slot.key), self.slots.len());
        self.slots.push(slot);
    }

    pub(super) fn remove(&mut self, key: &str) {
        if let Some(&place) = self.places.get(key) {
            self.take(place);
        }
    }

    /// Removes every copy about a thing.
    pub(super) fn remove_group(&mut self, group: u64) {
        let mut place = 0;
        while place < self.slots.len() {
            if self.slots[place].group == Some(group) {
                // The last slot moves here and is looked at next.
                self.take(place);
            } else {
                place += 1;
            }
        }
    }

    fn take(&mut self, place: usize) {
        let slot = self.slots.swap_remove(place);
        self.bytes -= slot.bytes;
        self.places.remove(&slot.key);
        if let Some(moved) = self.slots.get(place) {
            self.places.insert(Arc::clone(&moved.key), place);
        }
    }

    /// Removes the first copy from the hand on that nobody read since the last round.
    fn evict(&mut self) {
        // The first round clears every mark, so the second finds a slot at the latest.
        for _ in 0..self.slots.len() * 2 {
            self.hand %= self.slots.len();
            let slot = &mut self.slots[self.hand];
            if !slot.touched {
                return self.take(self.hand);
            }
            slot.touched = false;
            self.hand += 1;
        }
    }
}

/// Remembers hashes of keys that were turned away, in two generations.
struct Door {
    generation_max: usize,
    young: HashSet<u64>,
    old: HashSet<u64>,
}

impl Door {
    fn new(entries_max: usize) -> Door {
        Door { generation_max: entries_max.max(1) * REMEMBERED_PER_ENTRY, young: HashSet::new(), old: HashSet::new() }
    }

    /// Lets in who was turned away lately.
    fn lets_in(&mut self, hash: u64) -> bool {
        if self.young.remove(&hash) || self.old.remove(&hash) {
            return true;
        }
        if self.young.len() >= self.generation_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash);
        false
    }
}
