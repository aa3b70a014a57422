//! Copies of answers that are served for a moment as they are, for another moment while they are renewed behind the
//! reader's back, and for longer only when their service does not answer.
//!
//! ```text
//! load begins          fresh                    fresh + stale                       on_error
//!      |-- served as is --|-- served, one renewal --|-- waits; served when the load fails --|-- gone
//! ```
//!
//! - One load per key at a time. It runs in a task of its own, so that a reader who gives up takes nothing from the others.
//!   A load that began `fresh + stale` ago is joined by nobody: what it brings may be as old as that.
//! - Age counts from the beginning of the load, so a copy never shows a state older than its age says.
//! - A loader's `NotFound` and `Gone` replace the copy and are served while fresh. `Unavailable` and `Deadline` say nothing
//!   about the thing: the copy stays. After any other error the reader gets the error.
//! - [`Copies::purge_group`] and [`Copies::purge_area`] end copies at once, and loads under way are not kept.
//! - Bounded by number and bytes; when full, a key is let in at its second request only, so that a scan pushes out nothing
//!   (`copies/hold.rs`).

mod hold;
mod shard;

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mallard_types::{Error, Result};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use self::shard::{How, Place, Shard, Step, Ticket, is_outage};
use crate::route;

const SHARDS_MAX: usize = 16;
const SHARD_ENTRIES_MIN: usize = 64;

/// How long copies are served.
#[derive(Clone, Copy, Debug)]
pub struct Freshness {
    /// A copy younger than this is served as it is.
    pub fresh: Duration,
    /// For this long after that it is served while it is renewed.
    pub stale: Duration,
    /// A copy up to this age is served when its service does not answer.
    pub on_error: Duration,
    /// Longest wait for a service before such a copy is served.
    pub wait: Duration,
    /// Pause before a service that did not answer is asked for the same copy again.
    pub retry_pause: Duration,
}

impl Freshness {
    /// Returns the greatest age of a copy whose service answers.
    pub fn served_max(&self) -> Duration {
        self.fresh + self.stale
    }
}

/// How much is held.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most copies.
    pub entries_max: usize,
    /// Most bytes of all copies, their keys and what holding them costs included.
    pub bytes_max: usize,
}

/// Tells how many bytes a value holds.
pub trait Weigh {
    /// Returns the bytes; `None` for a value that is not to be kept.
    fn bytes(&self) -> Option<usize>;
}

impl<T: Weigh> Weigh for Arc<T> {
    fn bytes(&self) -> Option<usize> {
        (**self).bytes()
    }
}

/// Names a copy.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// Identity of the copy.
    pub text: &'a str,
    /// The one thing it is about, such as a product's id; none for a list.
    pub group: Option<&'a str>,
    /// Number of its area, below the count given to [`Copies::new`].
    pub area: usize,
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A fresh copy.
    Fresh,
    /// A copy that is being renewed.
    Stale,
    /// Its service, asked for this reader or for another who asked at the same time.
    Loaded,
    /// A copy, because its service does not answer. The error is there for the readers who waited for it.
    OnError(Option<Error>),
}

/// What a reader gets.
#[derive(Clone, Debug)]
pub struct Served<V> {
    /// The value, or the absence that was found.
    pub answer: Result<V>,
    /// Time since its load began; zero for what was loaded now.
    pub age: Duration,
    /// Where it comes from.
    pub origin: Origin,
}

/// What is held, and what was loaded since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Copies.
    pub entries: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Loads a reader waited for.
    pub loads: u64,
    /// Loads behind a reader's back.
    pub refreshes: u64,
}

/// Copies by key. Clones share them.
pub struct Copies<V> {
    inner: Arc<Inner<V>>,
}

impl<V> Clone for Copies<V> {
    fn clone(&self) -> Self {
        Copies { inner: Arc::clone(&self.inner) }
    }
}

struct Inner<V> {
    freshness: Freshness,
    shards: Box<[Mutex<Shard<V>>]>,
    /// Purges of each area.
    epochs: Box<[AtomicU64]>,
    hasher: RandomState,
    loads: AtomicU64,
    refreshes: AtomicU64,
}

impl<V> Copies<V>
where
    V: Weigh + Clone + Send + Sync + 'static,
{
    /// Makes an empty cache with areas numbered from zero.
    pub fn new(freshness: Freshness, bounds: Bounds, areas: usize) -> Copies<V> {
        let entries = bounds.entries_max.max(1);
        let shards = (entries / SHARD_ENTRIES_MIN).clamp(1, SHARDS_MAX);
        let shard = |index| {
            // Splits both bounds so that the shards together hold exactly that much.
            let share = |whole: usize| whole / shards + usize::from(index < whole % shards);
            Mutex::new(Shard::new(freshness, share(entries), share(bounds.bytes_max)))
        };
        Copies {
            inner: Arc::new(Inner {
                freshness,
                shards: (0..shards).map(shard).collect(),
                epochs: (0..areas).map(|_| AtomicU64::new(0)).collect(),
                hasher: RandomState::new(),
                loads: AtomicU64::new(0),
                refreshes: AtomicU64::new(0),
            }),
        }
    }

    /// Returns a copy, or loads one. `load` makes the work; it is not called when nothing is to be loaded.
    ///
    /// # Errors
    /// What `load` says at once, the loader's error, or cached absence.
    pub async fn get<F, Fut>(&self, key: Key<'_>, load: F) -> Result<Served<V>>
    where
        F: FnOnce() -> Result<Fut>,
        Fut: Future<Output = Result<V>> + Send + 'static,
    {
        let mut load = Some(load);
        loop {
            let step = self.shard(key).lock().read(self.place(key), Instant::now());
            match step {
                Step::Serve { answer, age, how, refresh } => {
                    if let (Some(ticket), Some(load)) = (refresh, load.take()) {
                        self.inner.refreshes.fetch_add(1, Ordering::Relaxed);
                        self.start(key, ticket, load)?;
                    }
                    return Ok(Served { answer, age, origin: how.into() });
                }
                Step::Wait { mut outcome, rescue, start } => {
                    let leads = start.is_some();
                    if let Some(ticket) = start {
                        // Taken only here and above, and after both this call ends.
                        let Some(load) = load.take() else { return Err(interrupted()) };
                        self.inner.loads.fetch_add(1, Ordering::Relaxed);
                        self.start(key, ticket, load)?;
                    }
                    let wait = async { outcome.wait_for(Option::is_some).await.ok().and_then(|found| found.clone()) };
                    let found = if rescue {
                        let late = || Error::deadline("copy_overdue", "its service takes too long");
                        timeout(self.inner.freshness.wait, wait).await.unwrap_or_else(|_| Some(Err(late())))
                    } else {
                        wait.await
                    };
                    match found {
                        Some(answer) => return self.settle(key, rescue, answer),
                        None if leads => return Err(interrupted()),
                        // The load died with its task: somebody else starts one.
                        None => {}
                    }
                }
            }
        }
    }

    /// Ends all copies about a thing, in every area, at once; loads of them that are under way are not kept.
    pub fn purge_group(&self, group: &str) {
        let hash = self.inner.hasher.hash_one(group);
        self.shard_of(group).lock().purge_group(hash);
    }

    /// Ends all copies of an area at once; loads of them that are under way are not kept.
    pub fn purge_area(&self, area: usize) {
        self.inner.epochs[area].fetch_add(1, Ordering::AcqRel);
    }

    /// Counts what is held.
    pub fn held(&self) -> Held {
        let mut held = Held {
            loads: self.inner.loads.load(Ordering::Relaxed),
            refreshes: self.inner.refreshes.load(Ordering::Relaxed),
            ..Held::default()
        };
        for shard in &self.inner.shards {
            let shard = shard.lock();
            held.entries += shard.hold().len();
            held.bytes += shard.hold().bytes();
        }
        held
    }

    /// Falls back on the copy where the service did not answer, unless it was purged meanwhile.
    fn settle(&self, key: Key<'_>, rescue: bool, answer: Result<V>) -> Result<Served<V>> {
        let loaded = |answer| Served { answer, age: Duration::ZERO, origin: Origin::Loaded };
        match answer {
            Err(error) if rescue && is_outage(&error) => {
                let rescued = self.shard(key).lock().rescue(self.place(key), Instant::now());
                let Some((value, age)) = rescued else { return Err(error) };
                Ok(Served { answer: Ok(value), age, origin: Origin::OnError(Some(error)) })
            }
            answer => Ok(loaded(answer)),
        }
    }

    fn start<F, Fut>(&self, key: Key<'_>, ticket: Ticket<V>, load: F) -> Result<()>
    where
        F: FnOnce() -> Result<Fut>,
        Fut: Future<Output = Result<V>> + Send + 'static,
    {
        let shard = self.shard_index(key);
        let lead = Lead { copies: self.clone(), shard, area: key.area, ticket };
        let work = load()?;
        tokio::spawn(async move { lead.land(work.await) });
        Ok(())
    }

    fn place<'a>(&self, key: Key<'a>) -> Place<'a> {
        let group = key.group.map(|group| self.inner.hasher.hash_one(group));
        Place { key: key.text, group, epoch: self.epoch(key.area) }
    }

    fn epoch(&self, area: usize) -> u64 {
        self.inner.epochs[area].load(Ordering::Acquire)
    }

    fn shard(&self, key: Key<'_>) -> &Mutex<Shard<V>> {
        &self.inner.shards[self.shard_index(key)]
    }

    /// All copies about a thing are in one shard, so that a purge has one place to look.
    fn shard_index(&self, key: Key<'_>) -> usize {
        route::index(&key.group.unwrap_or(key.text), self.inner.shards.len())
    }

    fn shard_of(&self, group: &str) -> &Mutex<Shard<V>> {
        &self.inner.shards[route::index(&group, self.inner.shards.len())]
    }
}

impl From<How> for Origin {
    fn from(how: How) -> Origin {
        match how {
            How::Fresh => Origin::Fresh,
            How::Stale => Origin::Stale,
            How::OnError => Origin::OnError(None),
        }
    }
}

fn interrupted() -> Error {
    Error::internal("load_interrupted", "the load ended without an answer")
}

/// A load under way. Dropped without landing, it leaves the key free for the next.
struct Lead<V>
where
    V: Weigh + Clone + Send + Sync + 'static,
{
    copies: Copies<V>,
    shard: usize,
    area: usize,
    ticket: Ticket<V>,
}

impl<V> Lead<V>
where
    V: Weigh + Clone + Send + Sync + 'static,
{
    fn land(self, outcome: Result<V>) {
        let Ticket { key, id, sender } = &self.ticket;
        let epoch = self.copies.epoch(self.area);
        self.copies.inner.shards[self.shard].lock().land(key, *id, epoch, &outcome, Instant::now());
        sender.send_replace(Some(outcome));
    }
}

impl<V> Drop for Lead<V>
where
    V: Weigh + Clone + Send + Sync + 'static,
{
    fn drop(&mut self) {
        self.copies.inner.shards[self.shard].lock().abandon(&self.ticket.key, self.ticket.id);
    }
}
