//! Settings of what decides who comes in.

use serde::Deserialize;

/// Limits and pauses. They are keys of `[gateway]`, whose others are not looked at here: every service that decides reads the
/// same ones, `ctx.section("gateway")`, so that all decide alike.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Settings {
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
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            revocation_poll_ms: 500,
            standing_poll_ms: 400,
            policy_poll_ms: 400,
            keys_poll_ms: 5_000,
            touch_interval_ms: 10_000,
            trust_s: 300,
            token_cache_max: 20_000,
        }
    }
}
