//! Settings of the pages, section `[web]`.

use serde::{Deserialize, Deserializer, de};

/// Longest time that may be set: ten minutes, as at the gateway.
const TIMEOUT_MS_MAX: u64 = 600_000;

/// Limits and times.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Longest time a page waits for what it reads from other services, in milliseconds.
    #[serde(deserialize_with = "timeout_ms")]
    pub read_timeout_ms: u64,
    /// Longest time a change, such as placing an order, may take, in milliseconds.
    #[serde(deserialize_with = "timeout_ms")]
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

/// Reads a time in which something can be done; with 0 every page would say that the shop does not answer.
fn timeout_ms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let ms = u64::deserialize(deserializer)?;
    if (1..=TIMEOUT_MS_MAX).contains(&ms) {
        return Ok(ms);
    }
    Err(de::Error::custom(format!("must be between 1 and {TIMEOUT_MS_MAX}, not {ms}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_which_nothing_can_be_done_is_refused_by_its_key() {
        let read = |key: &str, ms: u64| {
            let layers = mallard_runtime::Config::defaults("").set(&format!("web.{key}"), ms);
            layers.section::<Config>("web").map_err(|error| error.to_string())
        };
        for key in ["read_timeout_ms", "write_timeout_ms"] {
            for ms in [0, TIMEOUT_MS_MAX + 1] {
                let error = read(key, ms).expect_err(key);
                assert!(["[web]", key, "between 1 and 600000"].iter().all(|told| error.contains(told)), "{error}");
            }
            assert!(read(key, 1).is_ok());
        }
    }
}
