//! Settings of the pages, section `[web]`.

use serde::Deserialize;

/// Limits and times.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Longest time a page waits for what it reads from other services, in milliseconds.
    pub read_timeout_ms: u64,
    /// Longest time a change, such as placing an order, may take, in milliseconds.
    pub write_timeout_ms: u64,
    /// How long a catalogue answer is used for pages, in milliseconds.
    pub catalogue_ms: u64,
    /// Most catalogue answers of a kind kept.
    pub catalogue_max: usize,
    /// How long an untouched session lives, in days.
    pub session_days: u32,
    /// Most sessions kept in memory.
    pub sessions_max: usize,
    /// How long a session in memory is trusted where other processes may change it, in milliseconds.
    pub shared_trust_ms: u64,
    /// Pause between removals of sessions that are over, in seconds.
    pub prune_interval_s: u64,
    /// Most sessions removed in one transaction.
    pub prune_batch_rows_max: u32,
    /// Most pages under way at once; more are told to come back.
    pub pages_max: usize,
    /// Most pages of visitors without a session kept as they are written, for `catalogue_ms`; 0 keeps none.
    pub copies_max: usize,
    /// Most uploaded pictures kept in memory, of at most 2 MiB each.
    pub images_max: usize,
    /// Pause between questions for the best sellers, in milliseconds.
    pub best_sellers_interval_ms: u64,
    /// Pause between batches of counted visits, in milliseconds.
    pub visits_interval_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            read_timeout_ms: 2_000,
            write_timeout_ms: 15_000,
            catalogue_ms: 250,
            catalogue_max: 2_000,
            session_days: 30,
            sessions_max: 50_000,
            shared_trust_ms: 800,
            prune_interval_s: 600,
            prune_batch_rows_max: 500,
            pages_max: 4_096,
            copies_max: 500,
            images_max: 32,
            best_sellers_interval_ms: 10_000,
            visits_interval_ms: 5_000,
        }
    }
}
