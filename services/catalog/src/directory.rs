//! Categories and brands in memory. They only grow, so one count tells whether the copy is up to date.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mallard_types::Result;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config::Config;
use crate::domain::{Brand, Tree};
use crate::store::Store;

/// A copy of all categories and brands.
#[derive(Debug, Default)]
pub struct Listing {
    /// Categories.
    pub tree: Tree,
    /// Brands in order of id.
    pub brands: Vec<Brand>,
    by_id: HashMap<String, usize>,
    by_name: HashMap<String, usize>,
}

impl Listing {
    fn new(tree: Tree, brands: Vec<Brand>) -> Listing {
        let by_id = brands.iter().enumerate().map(|(i, brand)| (brand.id.clone(), i)).collect();
        let by_name = brands.iter().enumerate().map(|(i, brand)| (brand.name.trim().to_lowercase(), i)).collect();
        Listing { tree, brands, by_id, by_name }
    }

    /// Finds a brand by id.
    pub fn brand(&self, id: &str) -> Option<&Brand> {
        self.by_id.get(id).map(|i| &self.brands[*i])
    }

    /// Finds a brand by id or name, in any letter case.
    pub fn find_brand(&self, id_or_name: &str) -> Option<&Brand> {
        let lower = id_or_name.trim().to_lowercase();
        let by_id = self.by_id.get(id_or_name).or_else(|| self.by_id.get(&lower));
        by_id.or_else(|| self.by_name.get(&lower)).map(|i| &self.brands[*i])
    }
}

/// Keeps the copy.
pub struct Directory {
    store: Store,
    /// How long the copy counts as looked up; `None` where nobody else writes.
    trust: Option<Duration>,
    held: Mutex<Option<Held>>,
    /// One refresh at a time; the others wait for it.
    refresh: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Held {
    listing: Arc<Listing>,
    counts: (i64, i64),
    checked_at: Instant,
}

impl Directory {
    /// Makes a directory before these rows; it reads nothing yet.
    pub fn new(store: Store, config: &Config) -> Directory {
        Directory { store, trust: config.trust(), held: Mutex::new(None), refresh: tokio::sync::Mutex::new(()) }
    }

    /// Returns the copy, looked up again when it is not trusted any more.
    ///
    /// # Errors
    /// The database's.
    pub async fn listing(&self) -> Result<Arc<Listing>> {
        let asked_at = Instant::now();
        if let Some(held) = &*self.held.lock()
            && self.is_fresh(held, asked_at)
        {
            return Ok(held.listing.clone());
        }
        self.look_up(asked_at).await
    }

    /// Returns the copy after looking up whether it is complete: for a name it does not have.
    ///
    /// # Errors
    /// The database's.
    pub async fn refreshed(&self) -> Result<Arc<Listing>> {
        self.look_up(Instant::now()).await
    }

    fn is_fresh(&self, held: &Held, now: Instant) -> bool {
        self.trust.is_none_or(|trust| now.duration_since(held.checked_at) < trust)
    }

    async fn look_up(&self, asked_at: Instant) -> Result<Arc<Listing>> {
        let _one = self.refresh.lock().await;
        let held = self.held.lock().clone();
        if let Some(held) = &held
            && held.checked_at > asked_at
        {
            // Somebody looked while this caller waited.
            return Ok(held.listing.clone());
        }
        let checked_at = Instant::now();
        let counts = self.store.directory_counts().await?;
        let listing = match held {
            Some(held) if held.counts == counts => held.listing,
            _ => {
                let tree = Tree::new(self.store.categories().await?);
                let brands = self.store.brands().await?;
                Arc::new(Listing::new(tree, brands))
            }
        };
        // Rows may have been added since the count: then the next look finds another count and reads them again.
        *self.held.lock() = Some(Held { listing: listing.clone(), counts, checked_at });
        Ok(listing)
    }
}
