//! Settings of the service, with their defaults.

use serde::Deserialize;

/// Section `[insight]` of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Currency of reports that name none.
    pub currency: String,
    /// How long a new fact waits so that many are folded into the sums together, in milliseconds.
    pub fold_linger_ms: u64,
    /// Most facts folded in one transaction; the next follows at once while there are more.
    pub fold_rows_max: u32,
    /// How often facts that nobody announced are looked for (another instance took them, or a crash), in milliseconds.
    pub fold_interval_ms: u64,
    /// How long the list of best sellers is remembered, in milliseconds.
    pub best_sellers_trust_ms: u64,
    /// Oldest day whose visits are still counted, in days before today; ids of batches are kept as long.
    pub visits_days_max: u32,
    /// How often ids of old batches are removed, in seconds.
    pub prune_interval_s: u64,
    /// Days of orders that are read again at every start, in case a version of the mall that knew nothing of this service has
    /// changed them.
    pub catch_up_days: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            currency: "CNY".to_owned(),
            fold_linger_ms: 200,
            fold_rows_max: 256,
            fold_interval_ms: 1_000,
            best_sellers_trust_ms: 5_000,
            visits_days_max: 7,
            prune_interval_s: 3_600,
            catch_up_days: 7,
        }
    }
}
