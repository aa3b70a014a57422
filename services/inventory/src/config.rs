//! Settings of the service, with their defaults.

use serde::Deserialize;

/// Section `[inventory]` of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How often holds past their time are looked for, in milliseconds.
    pub expiry_interval_ms: u64,
    /// Most holds ended in one round of expiry; the next round follows at once while there are more.
    pub expiry_batch_rows_max: u32,
    /// How long a hold lasts when the caller names no end, in seconds.
    pub hold_default_s: u32,
    /// How long a changed SKU waits so that several changes are looked at together, in milliseconds.
    pub announce_linger_ms: u64,
    /// How long a remembered level is trusted before it is read again, in milliseconds: other instances move stock too.
    pub level_trust_ms: u64,
    /// How often all stock is searched for a flip that nobody announced (a crash between the two), in seconds.
    pub sweep_interval_s: u64,
    /// A SKU of which fewer units than this can be sold is an alert; 0 for no alerts.
    pub alert_below: u32,
    /// Most SKU levels remembered.
    pub levels_max: usize,
    /// Most lines of open reservations remembered, so that confirm and release need not read them.
    pub open_lines_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            expiry_interval_ms: 1_000,
            expiry_batch_rows_max: 100,
            hold_default_s: 1_800,
            announce_linger_ms: 20,
            level_trust_ms: 10_000,
            sweep_interval_s: 30,
            alert_below: 5,
            levels_max: 100_000,
            open_lines_max: 200_000,
        }
    }
}
