//! What an operator may set in section `[cart]`.

use serde::Deserialize;

/// Settings of the service, with defaults; unknown keys are refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Currency of the total of an empty cart (ISO 4217).
    pub currency: String,
    /// Days after which an untouched guest cart is removed.
    pub guest_lifetime_days: u32,
    /// Seconds between two rounds of removing old guest carts.
    pub prune_interval_s: u32,
    /// Carts removed by one statement.
    pub prune_batch_rows_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config { currency: "CNY".to_owned(), guest_lifetime_days: 30, prune_interval_s: 600, prune_batch_rows_max: 200 }
    }
}
