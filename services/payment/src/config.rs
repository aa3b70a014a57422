//! Settings of the service, section `[payment]`.

use serde::Deserialize;

use crate::acquirer::faults::AcquirerFaults;

/// Settings with their defaults; unknown keys are refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Accept the public test card numbers, and nothing else. Off: the opposite.
    pub demo_cards: bool,
    /// How long a card waits in memory for its payment, in seconds.
    pub token_lifetime_s: u32,
    /// Most cards that wait in memory.
    pub tokens_max: usize,
    /// How long one call to the provider may take before its outcome counts as unknown, in milliseconds.
    pub provider_timeout_ms: u32,
    /// How often unsettled payments and refunds are looked for, in milliseconds.
    pub sweep_interval_ms: u32,
    /// Faults of the acquirer simulator, in percent of its calls. For tests.
    pub acquirer: AcquirerFaults,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            demo_cards: true,
            token_lifetime_s: 600,
            tokens_max: 100_000,
            provider_timeout_ms: 10_000,
            sweep_interval_ms: 500,
            acquirer: AcquirerFaults::default(),
        }
    }
}

impl Config {
    /// Refuses values that cannot work.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            (1..=3_600).contains(&self.token_lifetime_s),
            "payment.token_lifetime_s must be between 1 and 3600"
        );
        anyhow::ensure!((1..=1_000_000).contains(&self.tokens_max), "payment.tokens_max must be between 1 and 1000000");
        anyhow::ensure!(
            (1..=60_000).contains(&self.provider_timeout_ms),
            "payment.provider_timeout_ms must be between 1 and 60000"
        );
        anyhow::ensure!(
            (10..=60_000).contains(&self.sweep_interval_ms),
            "payment.sweep_interval_ms must be between 10 and 60000"
        );
        self.acquirer.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_usable() {
        Config::default().check().unwrap();
    }

    #[test]
    fn a_zero_timeout_is_refused_by_name() {
        let error = Config { provider_timeout_ms: 0, ..Config::default() }.check().unwrap_err();
        assert!(error.to_string().contains("provider_timeout_ms"));
    }
}
