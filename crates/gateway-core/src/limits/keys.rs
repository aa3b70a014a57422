//! The keys a rule remembers: as many as the rule says and not one more, whatever clients make up.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

use governor::nanos::Nanos;
use governor::state::StateStore;
use parking_lot::Mutex;

/// Parts with a lock of their own.
const SHARDS: usize = 16;
/// A full part is searched for idle keys at most this often.
const SWEEP_EVERY: Duration = Duration::from_millis(250);

/// Keys are hashes already.
#[derive(Default)]
pub struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

#[derive(Default)]
struct Shard {
    /// When a key has its whole burst again, by key, in nanoseconds since the limiter began.
    idle_at: HashMap<u64, Nanos, BuildHasherDefault<AsIs>>,
    swept_at: Option<Duration>,
}

/// The keys of one rule, each with the state of its GCRA.
#[derive(Clone)]
pub struct Keys {
    shards: Arc<[Mutex<Shard>; SHARDS]>,
    shard_keys_max: usize,
}

impl Keys {
    /// Makes a table for about this many keys, rounded up to whole parts.
    pub fn new(keys_max: usize) -> Keys {
        let shards = std::array::from_fn(|_| Mutex::new(Shard::default()));
        Keys { shards: Arc::new(shards), shard_keys_max: keys_max.div_ceil(SHARDS).max(1) }
    }

    /// Makes room for a key, at the cost of keys that are idle at `now`: to forget them changes nothing. Returns whether the
    /// key may be remembered.
    pub fn make_room(&self, key: u64, now: Duration) -> bool {
        let mut shard = self.shard(key).lock();
        if shard.idle_at.len() < self.shard_keys_max || shard.idle_at.contains_key(&key) {
            return true;
        }
        if shard.swept_at.is_some_and(|swept| now < swept + SWEEP_EVERY) {
            return false;
        }
        shard.swept_at = Some(now);
        let now = Nanos::from(now);
        shard.idle_at.retain(|_, idle_at| *idle_at > now);
        shard.idle_at.len() < self.shard_keys_max
    }

    /// Returns how many keys are remembered.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().idle_at.len()).sum()
    }

    fn shard(&self, key: u64) -> &Mutex<Shard> {
        // The map takes the low bits.
        &self.shards[(key >> 60) as usize % SHARDS]
    }
}

impl StateStore for Keys {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut shard = self.shard(*key).lock();
        let (outcome, idle_at) = decide(shard.idle_at.get(key).copied())?;
        shard.idle_at.insert(*key, idle_at);
        Ok(outcome)
    }
}
