//! Settings of the service, section `[order]`.

use serde::Deserialize;

/// Settings; the embedded default file documents each.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Seconds an order waits for its payment before it cancels itself.
    pub payment_timeout_s: i64,
    /// Seconds a stock hold outlives the order's deadline, so that the order decides and not the hold.
    pub hold_grace_s: i64,
}

impl Default for Config {
    fn default() -> Self {
        Config { payment_timeout_s: 1_800, hold_grace_s: 600 }
    }
}
