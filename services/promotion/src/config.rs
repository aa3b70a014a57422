//! What an operator may set in section `[promotion]`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Settings of the service, with defaults; unknown keys are refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long a quote is good for, in seconds.
    pub quote_lifetime_s: u32,
    /// Shipping by currency code; a currency that is not named ships free.
    pub shipping: BTreeMap<String, Shipping>,
}

/// Flat shipping in one currency.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Shipping {
    /// Fee per order, in minor units.
    pub fee_minor: i64,
    /// Goods of at least this value ship free, in minor units; left out, every order pays the fee.
    pub free_from_minor: Option<i64>,
}

impl Default for Config {
    fn default() -> Self {
        Config { quote_lifetime_s: 15 * 60, shipping: BTreeMap::new() }
    }
}
