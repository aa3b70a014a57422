//! Settings of the service, with their defaults.

use std::time::Duration;

use serde::Deserialize;

/// Section `[catalog]` of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Most products kept in memory.
    pub products_max: usize,
    /// Most SKUs whose product is kept in memory.
    pub skus_max: usize,
    /// Most ids remembered as belonging to nobody.
    pub absent_max: usize,
    /// How long an id is remembered as belonging to nobody, in milliseconds.
    pub absent_ms: u64,
    /// Most pages of lists kept in memory, and most counts of facets.
    pub pages_max: usize,
    /// How long counts of facets are served where other processes change products, in milliseconds; a change of this process
    /// shows at once.
    pub facets_trust_ms: u64,
    /// How long anything in memory is served before its version is looked up again, in milliseconds: a change made by
    /// another process shows within this time. 0 where no other process writes the same database: what is in memory is
    /// true then, and a warm read costs no SQL at all.
    pub shared_trust_ms: u64,
    /// Seller of products an operator creates without naming one.
    pub house_seller: String,
    /// Most pictures that are kept for a seller.
    pub images_per_seller_max: u32,
    /// Most bytes of all pictures together.
    pub images_bytes_max: i64,
    /// How long a picture that no product has named is kept, in seconds.
    pub images_unused_s: i64,
    /// How often such pictures are looked for, in seconds.
    pub images_sweep_interval_s: u64,
}

impl Config {
    /// Returns how long memory is trusted; `None` for ever.
    pub fn trust(&self) -> Option<Duration> {
        (self.shared_trust_ms > 0).then(|| Duration::from_millis(self.shared_trust_ms))
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            products_max: 50_000,
            skus_max: 200_000,
            absent_max: 20_000,
            absent_ms: 900,
            pages_max: 2_000,
            facets_trust_ms: 2_000,
            shared_trust_ms: 300,
            house_seller: "sel_mallard".to_owned(),
            images_per_seller_max: 1_000,
            images_bytes_max: 10 * 1024 * 1024 * 1024,
            images_unused_s: 86_400,
            images_sweep_interval_s: 3_600,
        }
    }
}
