//! Settings of the gateway, section `[gateway]`.

use serde::Deserialize;

use crate::copies;

/// Limits and pauses.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Longest time for a request, in milliseconds; it is the deadline of the calls made for it.
    pub timeout_ms: u64,
    /// Longest time for a check of all books, in milliseconds.
    pub check_timeout_ms: u64,
    /// Most requests under way at once.
    pub requests_max: usize,
    /// Pause between looks for revoked sessions, in milliseconds.
    pub revocation_poll_ms: u64,
    /// Pause between looks for accounts that stand differently, in milliseconds.
    pub standing_poll_ms: u64,
    /// Pause between looks for changed policies, roles and allow-list, in milliseconds.
    pub policy_poll_ms: u64,
    /// Pause between looks for changed signing keys, in milliseconds.
    pub keys_poll_ms: u64,
    /// Pause between reports of the sessions in use, in milliseconds.
    pub touch_interval_ms: u64,
    /// Dangerous actions want a password entered within this time, in seconds; the same as identity's.
    pub trust_s: u64,
    /// Most verified tokens remembered.
    pub token_cache_max: usize,
    /// Public answers that are given again.
    pub copies: copies::Settings,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            timeout_ms: 15_000,
            check_timeout_ms: 120_000,
            requests_max: 10_000,
            revocation_poll_ms: 500,
            standing_poll_ms: 400,
            policy_poll_ms: 400,
            keys_poll_ms: 5_000,
            touch_interval_ms: 10_000,
            trust_s: 300,
            token_cache_max: 20_000,
            copies: copies::Settings::default(),
        }
    }
}
