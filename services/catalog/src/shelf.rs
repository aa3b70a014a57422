//! Products in memory, so that a warm product page, cart or checkout costs no SQL.
//!
//! - A commit of this process puts its product here at once, and only forward: a value is replaced by a newer stamp, never
//!   by an older one, whatever order loads and commits end in.
//! - Where other processes write the same database, nothing is served for longer than `trust` without looking up its stamp
//!   again (one small statement for all products of a call). Where nobody else writes, what is here is true.
//! - All loads of a moment are one load: callers who miss join the next round, so a crowd at a cold product costs two
//!   statements, not two thousand.
//! - Ids nobody has are remembered briefly and apart, so that a flood of wrong ids pushes nothing good out.
//! - Everything is bounded: two generations per table, the old one forgotten when the young one is full.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use mallard_types::{Error, Result};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::Config;
use crate::domain::Product;
use crate::store::{Stamp, Stocked, Store};

/// Products asked for in one round of loading.
const ROUND_IDS_MAX: usize = 1_000;

/// Products in memory. Clones are the same.
#[derive(Clone)]
pub struct Shelf {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    /// How long an entry counts as looked up; `None` where nobody else writes.
    trust: Option<Duration>,
    absent_for: Duration,
    inner: Mutex<Inner>,
}

struct Inner {
    products: Generations<String, Entry>,
    skus: Generations<String, String>,
    /// Ids and SKUs nobody has, and until when that is believed.
    absent: Generations<String, Instant>,
    next_round: Option<Round>,
    loading: bool,
    tide: Tide,
}

#[derive(Clone)]
struct Entry {
    product: Arc<Product>,
    stamp: Stamp,
    /// When its stamp was last looked up; `None` when it has to be before it is served.
    checked_at: Option<Instant>,
}

/// Ids that wait for the next load, and the way to hear its outcome.
struct Round {
    ids: BTreeSet<String>,
    sender: watch::Sender<Option<Outcome>>,
}

type Outcome = Result<Arc<HashMap<String, Arc<Product>>>>;

/// Number of changes seen so far; what was computed at another number may be out of date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tide {
    /// Products changed.
    pub products: u64,
    /// Stock states changed.
    pub stock: u64,
}

impl Shelf {
    /// Makes an empty shelf before these rows.
    pub fn new(store: Store, config: &Config) -> Shelf {
        let inner = Inner {
            products: Generations::new(config.products_max),
            skus: Generations::new(config.skus_max),
            absent: Generations::new(config.absent_max),
            next_round: None,
            loading: false,
            tide: Tide::default(),
        };
        Shelf {
            shared: Arc::new(Shared {
                store,
                trust: config.trust(),
                absent_for: Duration::from_millis(config.absent_ms),
                inner: Mutex::new(inner),
            }),
        }
    }

    /// Returns the product with this id, deleted ones included.
    ///
    /// # Errors
    /// The database's.
    pub async fn product(&self, id: &str) -> Result<Option<Arc<Product>>> {
        if let Some(known) = self.shared.inner.lock().known(id, Instant::now(), self.shared.trust) {
            return Ok(known);
        }
        Ok(self.load(BTreeSet::from([id.to_owned()])).await?.remove(id))
    }

    /// Returns the products that exist among these ids, deleted ones included.
    ///
    /// # Errors
    /// The database's.
    pub async fn products<'a>(&self, ids: impl Iterator<Item = &'a str>) -> Result<HashMap<String, Arc<Product>>> {
        let mut found = HashMap::new();
        let mut missing = BTreeSet::new();
        {
            let now = Instant::now();
            let mut inner = self.shared.inner.lock();
            for id in ids {
                match inner.known(id, now, self.shared.trust) {
                    Some(Some(product)) => {
                        found.insert(id.to_owned(), product);
                    }
                    Some(None) => {}
                    None => {
                        missing.insert(id.to_owned());
                    }
                }
            }
        }
        if !missing.is_empty() {
            found.extend(self.load(missing).await?);
        }
        Ok(found)
    }

    /// Returns the product of each SKU that exists, by SKU. Deleted products are included; removed variants are not.
    ///
    /// # Errors
    /// The database's.
    pub async fn products_of<'a>(
        &self,
        sku_ids: impl Iterator<Item = &'a str>,
    ) -> Result<HashMap<String, Arc<Product>>> {
        let mut product_of: HashMap<String, String> = HashMap::new();
        let mut unknown: BTreeSet<&str> = BTreeSet::new();
        {
            let now = Instant::now();
            let mut inner = self.shared.inner.lock();
            for sku_id in sku_ids {
                match inner.skus.get(sku_id).cloned() {
                    Some(product_id) => {
                        product_of.insert(sku_id.to_owned(), product_id);
                    }
                    None if inner.is_absent(sku_id, now) => {}
                    None => {
                        unknown.insert(sku_id);
                    }
                }
            }
        }
        if !unknown.is_empty() {
            let ids: Vec<&str> = unknown.iter().copied().collect();
            let rows = self.shared.store.products_of(&ids).await?;
            let until = Instant::now() + self.shared.absent_for;
            let mut inner = self.shared.inner.lock();
            for (sku_id, product_id) in rows {
                unknown.remove(sku_id.as_str());
                inner.skus.insert(sku_id.clone(), product_id.clone());
                product_of.insert(sku_id, product_id);
            }
            for sku_id in unknown {
                inner.absent.insert(sku_id.to_owned(), until);
            }
        }
        let ids: BTreeSet<&str> = product_of.values().map(String::as_str).collect();
        let products = self.products(ids.into_iter()).await?;
        let mut found = HashMap::with_capacity(product_of.len());
        let mut moved = Vec::new();
        for (sku_id, product_id) in product_of {
            match products.get(&product_id) {
                Some(product) if product.variant(&sku_id).is_some() => {
                    found.insert(sku_id, product.clone());
                }
                // The variant was removed since; the next look asks the rows.
                _ => moved.push(sku_id),
            }
        }
        if !moved.is_empty() {
            let mut inner = self.shared.inner.lock();
            for sku_id in moved {
                inner.skus.remove(&sku_id);
            }
        }
        Ok(found)
    }

    /// Puts in a product this process has committed. `tide` is from before its stock states were read: when one has changed
    /// since, the product is looked up again before it is served.
    pub fn put(&self, product: Product, tide: Tide) -> Arc<Product> {
        let product = Arc::new(product);
        let mut inner = self.shared.inner.lock();
        inner.absent.remove(&product.id);
        for variant in &product.variants {
            inner.absent.remove(&variant.id);
            inner.skus.insert(variant.id.clone(), product.id.clone());
        }
        let stock = inner.products.get(&product.id).map_or(0, |entry| entry.stamp.stock);
        let stamp = Stamp { version: product.version, stock };
        let newest = inner.offer(product, stamp, Instant::now(), tide);
        inner.tide.products += 1;
        newest
    }

    /// Has the product of a SKU looked up again, because its stock state has changed.
    pub fn stock_changed(&self, sku_id: &str) {
        let mut inner = self.shared.inner.lock();
        inner.tide.stock += 1;
        if let Some(product_id) = inner.skus.get(sku_id).cloned()
            && let Some(entry) = inner.products.get_mut(&product_id)
        {
            entry.checked_at = None;
        }
    }

    /// Returns the number of changes seen so far.
    pub fn tide(&self) -> Tide {
        self.shared.inner.lock().tide
    }

    /// Joins the next round of loading, and starts the loader when none runs.
    async fn load(&self, ids: BTreeSet<String>) -> Result<HashMap<String, Arc<Product>>> {
        let mut found = HashMap::with_capacity(ids.len());
        let ids: Vec<String> = ids.into_iter().collect();
        for chunk in ids.chunks(ROUND_IDS_MAX) {
            let mut outcome = self.join(chunk);
            let loaded = match outcome.wait_for(Option::is_some).await {
                Ok(loaded) => loaded.clone(),
                // The loader died; nobody knows anything.
                Err(_) => None,
            };
            let loaded = loaded.unwrap_or_else(|| {
                Err(Error::unavailable("load_interrupted", "products could not be read, try again"))
            })?;
            for id in chunk {
                if let Some(product) = loaded.get(id) {
                    found.insert(id.clone(), product.clone());
                }
            }
        }
        Ok(found)
    }

    fn join(&self, ids: &[String]) -> watch::Receiver<Option<Outcome>> {
        let mut inner = self.shared.inner.lock();
        let round =
            inner.next_round.get_or_insert_with(|| Round { ids: BTreeSet::new(), sender: watch::Sender::new(None) });
        round.ids.extend(ids.iter().cloned());
        let receiver = round.sender.subscribe();
        let start = !inner.loading;
        inner.loading = true;
        // A runtime that is ending drops what is spawned on the spot, and the loader's end takes the lock.
        drop(inner);
        if start {
            tokio::spawn(load_rounds(Loading { shared: self.shared.clone(), armed: true }));
        }
        receiver
    }
}

/// The one loader; dropped, it leaves the place free, whatever ended it.
struct Loading {
    shared: Arc<Shared>,
    armed: bool,
}

impl Drop for Loading {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let mut inner = self.shared.inner.lock();
        inner.loading = false;
        // Those who wait hear that their sender is gone.
        inner.next_round = None;
    }
}

impl Loading {
    fn next(&mut self) -> Option<Round> {
        let shared = self.shared.clone();
        let mut inner = shared.inner.lock();
        let round = inner.next_round.take();
        if round.is_none() {
            // Under the lock that `join` holds: whoever joins from now on starts a new loader.
            inner.loading = false;
            self.armed = false;
        }
        round
    }
}

async fn load_rounds(mut loading: Loading) {
    while let Some(round) = loading.next() {
        let outcome = loading.shared.load_round(&round.ids).await;
        round.sender.send_replace(Some(outcome));
    }
}

impl Shared {
    async fn load_round(&self, ids: &BTreeSet<String>) -> Outcome {
        let mut loaded: HashMap<String, Arc<Product>> = HashMap::with_capacity(ids.len());
        // What is here but not looked up lately needs its stamp only.
        let (tide, held) = {
            let mut inner = self.inner.lock();
            let held: BTreeMap<String, Entry> =
                ids.iter().filter_map(|id| inner.products.get(id).map(|entry| (id.clone(), entry.clone()))).collect();
            (inner.tide, held)
        };
        if !held.is_empty() {
            let held_ids: Vec<&str> = held.keys().map(String::as_str).collect();
            let stamps = self.store.stamps(&held_ids).await?;
            let now = Instant::now();
            let mut inner = self.inner.lock();
            for (id, stamp) in stamps {
                let Some(entry) = held.get(&id) else { continue };
                if entry.stamp == stamp {
                    inner.offer(entry.product.clone(), stamp, now, tide);
                    loaded.insert(id, entry.product.clone());
                }
            }
        }
        let missing: Vec<&str> = ids.iter().map(String::as_str).filter(|id| !loaded.contains_key(*id)).collect();
        if missing.is_empty() {
            return Ok(Arc::new(loaded));
        }
        let rows = self.store.products(&missing).await?;
        let now = Instant::now();
        let mut inner = self.inner.lock();
        for Stocked { product, stamp } in rows {
            let product = Arc::new(product);
            for variant in &product.variants {
                inner.skus.insert(variant.id.clone(), product.id.clone());
            }
            let newest = inner.offer(product.clone(), stamp, now, tide);
            loaded.insert(product.id.clone(), newest);
        }
        for id in missing {
            if !loaded.contains_key(id) && inner.products.get(id).is_none() {
                inner.absent.insert(id.to_owned(), now + self.absent_for);
            }
        }
        Ok(Arc::new(loaded))
    }
}

impl Inner {
    /// Returns what is known without asking the rows: `Some(None)` for an id nobody has.
    fn known(&mut self, id: &str, now: Instant, trust: Option<Duration>) -> Option<Option<Arc<Product>>> {
        if let Some(entry) = self.products.get(id) {
            let checked_at = entry.checked_at?;
            let fresh = trust.is_none_or(|trust| now.duration_since(checked_at) < trust);
            return fresh.then(|| Some(entry.product.clone()));
        }
        self.is_absent(id, now).then_some(None)
    }

    fn is_absent(&mut self, id: &str, now: Instant) -> bool {
        self.absent.get(id).is_some_and(|until| now < *until)
    }

    /// Keeps the newer of what is offered and what is here, and returns it. What was read at another tide of stock may be out
    /// of date already, so it is looked up again before it is served.
    fn offer(&mut self, product: Arc<Product>, stamp: Stamp, now: Instant, tide: Tide) -> Arc<Product> {
        if let Some(held) = self.products.get(&product.id)
            && held.stamp > stamp
        {
            return held.product.clone();
        }
        let checked_at = (tide.stock == self.tide.stock).then_some(now);
        self.products.insert(product.id.clone(), Entry { product: product.clone(), stamp, checked_at });
        product
    }
}

/// A bounded table in two generations: what is read moves to the young one; when that is full it becomes the old one, and
/// the old one is forgotten.
struct Generations<K, V> {
    young_max: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Hash + Eq + Clone, V> Generations<K, V> {
    fn new(entries_max: usize) -> Self {
        Generations { young_max: (entries_max / 2).max(1), young: HashMap::new(), old: HashMap::new() }
    }

    fn get<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
    {
        if !self.young.contains_key(key) {
            let (key, value) = self.old.remove_entry(key)?;
            self.insert(key, value);
        }
        self.young.get(key)
    }

    fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.get(key)?;
        self.young.get_mut(key)
    }

    fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.young_max && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q)
    where
        K: std::borrow::Borrow<Q>,
    {
        self.young.remove(key);
        self.old.remove(key);
    }
}
