//! Bounded in-process cache: time to live, one loader per key at a time, cached absence, versions, purge.
//!
//! Everything of a key lives behind one shard lock: its value, its version and the load in flight. That is what makes the
//! promises below hold together, and why this is not moka: a purge has to reach a load that is still under way, a version
//! has to be compared in the same step that replaces it, a failed load has to reach those who wait for it, and time has
//! to be tokio's so that a paused clock moves it.
//!
//! - A read takes one short lock, never allocates beyond `V::clone` and never waits. Values should be cheap to clone
//!   (`Arc<T>`).
//! - At most `capacity` entries. Room is made by the clock algorithm: entries read since the hand last passed get a second
//!   chance, dead ones do not. There is no background thread.
//! - [`Cache::get_or_load`] runs one loader per key. Others wait for it and get the same answer, a failure included; a
//!   failure is never kept. A loader that is dropped (its caller gave up) hands over to one of those who wait.
//! - A loader's `NotFound` and `Gone` are answers, not failures: they are kept for [`Options::negative_ttl`] (off by
//!   default).
//! - What is purged or inserted while a load runs wins over the load: the loaded value goes to its waiters and is not kept.
//! - An older version never replaces a newer one that is in the cache ([`Cache::insert_versioned`]).
//!
//! [`copies`] is the other cache here: for answers that may be served a little too old.

pub mod copies;
mod route;
mod shard;

use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use mallard_types::{Error, Kind, Result};
use metrics::Counter;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::shard::{Answer, Found, Shard, UNVERSIONED};

const SHARDS_MAX: usize = 16;
const SHARD_ENTRIES_MIN: usize = 64;

/// Says how much a cache holds, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Most entries held; at least 1.
    pub capacity: usize,
    /// How long a value is served after it was put in.
    pub ttl: Duration,
    /// How long a loader's `NotFound` or `Gone` is served; zero keeps none.
    pub negative_ttl: Duration,
}

impl Options {
    /// Makes options without negative caching.
    pub fn new(capacity: usize, ttl: Duration) -> Self {
        Options { capacity, ttl, negative_ttl: Duration::ZERO }
    }

    /// Keeps absence for this long.
    pub fn negative_ttl(mut self, negative_ttl: Duration) -> Self {
        self.negative_ttl = negative_ttl;
        self
    }
}

/// Counts what a cache did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Reads answered from the cache, cached absence included.
    pub hits: u64,
    /// Reads that found nothing usable. Waiting for another's load counts as a miss.
    pub misses: u64,
    /// Entries dropped to make room for others.
    pub evictions: u64,
}

/// Holds values by key in this process. Clones share the same entries.
pub struct Cache<K, V> {
    inner: Arc<Inner<K, V>>,
}

impl<K, V> Clone for Cache<K, V> {
    fn clone(&self) -> Self {
        Cache { inner: Arc::clone(&self.inner) }
    }
}

struct Inner<K, V> {
    options: Options,
    shards: Box<[Mutex<Shard<K, V>>]>,
    hits: Counter,
    misses: Counter,
    evictions: Counter,
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone,
    V: Clone,
{
    /// Makes an empty cache. `name` labels its metrics `mallard_cache_{hits,misses,evictions}_total`.
    pub fn new(name: &'static str, options: Options) -> Self {
        let capacity = options.capacity.max(1);
        let shards = (capacity / SHARD_ENTRIES_MIN).clamp(1, SHARDS_MAX);
        let shards = (0..shards)
            .map(|index| {
                // Splits the capacity so that the shards together hold exactly that many.
                let share = capacity / shards + usize::from(index < capacity % shards);
                Mutex::new(Shard::new(share))
            })
            .collect();
        Cache {
            inner: Arc::new(Inner {
                options,
                shards,
                hits: metrics::counter!("mallard_cache_hits_total", "cache" => name),
                misses: metrics::counter!("mallard_cache_misses_total", "cache" => name),
                evictions: metrics::counter!("mallard_cache_evictions_total", "cache" => name),
            }),
        }
    }

    fn shard(&self, key: &K) -> &Mutex<Shard<K, V>> {
        let shards = &self.inner.shards;
        &shards[route::index(key, shards.len())]
    }

    /// Reads a value that is present and not expired. Cached absence reads as `None`.
    pub fn get(&self, key: &K) -> Option<V> {
        self.lookup(key)?.ok()
    }

    /// Reads what is known: `None` when nothing is, `Some(Err)` for cached absence.
    pub fn lookup(&self, key: &K) -> Option<Result<V>> {
        let answer = self.shard(key).lock().get(key, Instant::now());
        match answer {
            Some(answer) => {
                self.inner.hits.increment(1);
                Some(answer.into_result())
            }
            None => {
                self.inner.misses.increment(1);
                None
            }
        }
    }

    /// Puts a value in, whatever was there. A load in flight will not replace it.
    pub fn insert(&self, key: K, value: V) {
        self.put(key, UNVERSIONED, Answer::Present(value));
    }

    /// Puts a value in unless a newer version is there; returns whether it was put in. An equal version replaces.
    pub fn insert_versioned(&self, key: K, version: i64, value: V) -> bool {
        self.put(key, version, Answer::Present(value))
    }

    fn put(&self, key: K, version: i64, answer: Answer<V>) -> bool {
        let expires_at = Instant::now() + self.inner.options.ttl;
        let mut shard = self.shard(&key).lock();
        let stored = shard.put(key, version, answer, expires_at);
        self.inner.evictions.increment(stored.evicted);
        stored.accepted
    }

    /// Forgets a key. The next reader loads it afresh, even when a load is under way.
    pub fn purge(&self, key: &K) {
        self.shard(key).lock().purge(key);
    }

    /// Forgets everything, as [`Cache::purge`] does for one key.
    pub fn purge_all(&self) {
        for shard in &self.inner.shards {
            shard.lock().purge_all();
        }
    }

    /// Reads a value or loads it with the one loader this key has at a time.
    ///
    /// # Errors
    /// Returns the loader's error, also to those who waited for it, and cached absence.
    pub async fn get_or_load<F, Fut>(&self, key: K, load: F) -> Result<V>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<V>>,
    {
        self.get_or_load_versioned(key, || async { load().await.map(|value| (UNVERSIONED, value)) }).await
    }

    /// Reads a value or loads it together with its version, for caches that are also fed by [`Cache::insert_versioned`].
    ///
    /// # Errors
    /// As [`Cache::get_or_load`].
    pub async fn get_or_load_versioned<F, Fut>(&self, key: K, load: F) -> Result<V>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<(i64, V)>>,
    {
        let mut counted = false;
        loop {
            let found = self.shard(&key).lock().get_or_join(&key, Instant::now());
            if !counted {
                counted = true;
                let counter = if matches!(found, Found::Answer(_)) { &self.inner.hits } else { &self.inner.misses };
                counter.increment(1);
            }
            match found {
                Found::Answer(answer) => return answer.into_result(),
                Found::Waiting(mut flight) => {
                    // The sender goes away without an answer when its loader was dropped: somebody else leads then.
                    if let Ok(outcome) = flight.wait_for(Option::is_some).await
                        && let Some(outcome) = outcome.as_ref()
                    {
                        return outcome.clone();
                    }
                }
                Found::Leading { flight, sender } => {
                    let lead = Lead { cache: self, key, flight, sender };
                    return lead.land(load().await);
                }
            }
        }
    }

    /// Counts entries held, expired ones included.
    pub fn len(&self) -> usize {
        self.inner.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Tells whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts what happened so far, independently of any metrics recorder.
    pub fn stats(&self) -> Stats {
        let mut total = Stats::default();
        for shard in &self.inner.shards {
            let stats = shard.lock().stats();
            total.hits += stats.hits;
            total.misses += stats.misses;
            total.evictions += stats.evictions;
        }
        total
    }
}

/// The load in flight that this caller runs. Dropped without landing, it leaves the key free for the next to lead.
struct Lead<'a, K, V>
where
    K: Hash + Eq + Clone,
    V: Clone,
{
    cache: &'a Cache<K, V>,
    key: K,
    flight: u64,
    sender: watch::Sender<Option<Result<V>>>,
}

impl<K, V> Lead<'_, K, V>
where
    K: Hash + Eq + Clone,
    V: Clone,
{
    fn land(self, loaded: Result<(i64, V)>) -> Result<V> {
        let options = &self.cache.inner.options;
        let now = Instant::now();
        let keep = match &loaded {
            Ok((version, value)) => Some((*version, Answer::Present(value.clone()), now + options.ttl)),
            Err(error) if is_absence(error) && !options.negative_ttl.is_zero() => {
                Some((UNVERSIONED, Answer::Absent(error.clone()), now + options.negative_ttl))
            }
            Err(_) => None,
        };
        let outcome = loaded.map(|(_, value)| value);
        {
            let mut shard = self.cache.shard(&self.key).lock();
            let evicted = shard.land(&self.key, self.flight, keep);
            self.cache.inner.evictions.increment(evicted);
        }
        self.sender.send_replace(Some(outcome.clone()));
        outcome
    }
}

impl<K, V> Drop for Lead<'_, K, V>
where
    K: Hash + Eq + Clone,
    V: Clone,
{
    fn drop(&mut self) {
        self.cache.shard(&self.key).lock().abandon(&self.key, self.flight);
    }
}

fn is_absence(error: &Error) -> bool {
    matches!(error.kind, Kind::NotFound | Kind::Gone)
}
