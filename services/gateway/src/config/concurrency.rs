//! How many requests at once, `[gateway.concurrency]`.

use std::time::Duration;

use mallard_gateway_core::concurrency;
use mallard_gateway_core::gradient;
use serde::Deserialize;

/// Adaptive concurrency and shedding.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Concurrency {
    /// The limit never falls below this.
    pub limit_min: usize,
    /// Nor rises above this.
    pub limit_max: usize,
    /// Where it begins.
    pub limit_initial: usize,
    /// How many times slower than usual answers may be before it shrinks.
    pub tolerance: f64,
    /// Answers faster than this on average are never too slow, in milliseconds.
    pub latency_floor_ms: u64,
    /// Over how long the usual latency is taken, in seconds.
    pub usual_over_s: u64,
    /// Least time between changes of the limit, in milliseconds.
    pub window_ms: u64,
    /// Shares of the limit for each tier, in percent, falling.
    pub shares: Shares,
    /// Share of the limit that one service may take from the requests of others, in percent.
    pub one_service_percent: u8,
    /// Requests of the tiers pay and order that may wait for a place.
    pub waiting_max: usize,
    /// Longest such wait, in milliseconds.
    pub wait_max_ms: u64,
    /// Requests that may wait for a place in a burst, of all tiers but the last.
    pub burst_waiting_max: usize,
    /// Longest such wait, in milliseconds.
    pub burst_wait_max_ms: u64,
}

/// Shares of the tiers.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shares {
    /// What moves money.
    pub pay: u8,
    /// What concerns orders, signing in and operators.
    pub order: u8,
    /// What concerns carts.
    pub cart: u8,
    /// What looks around.
    pub browse: u8,
    /// What talks to the assistant.
    pub assistant: u8,
}

impl Default for Shares {
    fn default() -> Self {
        let [pay, order, cart, browse, assistant] = concurrency::Settings::default().shares_percent;
        Shares { pay, order, cart, browse, assistant }
    }
}

impl Default for Concurrency {
    fn default() -> Self {
        let concurrency::Settings {
            gradient,
            one_service_percent,
            waiting_max,
            wait_max,
            burst_waiting_max,
            burst_wait_max,
            ..
        } = concurrency::Settings::default();
        Concurrency {
            limit_min: gradient.limit_min,
            limit_max: gradient.limit_max,
            limit_initial: gradient.limit_initial,
            tolerance: gradient.tolerance,
            latency_floor_ms: gradient.latency_floor.as_millis() as u64,
            usual_over_s: gradient.usual_over.as_secs(),
            window_ms: gradient.window.as_millis() as u64,
            shares: Shares::default(),
            one_service_percent,
            waiting_max,
            wait_max_ms: wait_max.as_millis() as u64,
            burst_waiting_max,
            burst_wait_max_ms: burst_wait_max.as_millis() as u64,
        }
    }
}

impl Concurrency {
    /// Returns what the edge takes.
    ///
    /// # Errors
    /// Text naming the key.
    pub fn settings(&self, requests_max: usize) -> Result<concurrency::Settings, String> {
        let wrong = |key: &str, why: &str| Err(format!("gateway.concurrency.{key}: {why}"));
        if self.limit_min == 0 || self.limit_min > self.limit_initial || self.limit_initial > self.limit_max {
            return wrong("limit_min", "must be at least 1, and limit_min <= limit_initial <= limit_max");
        }
        if !(self.tolerance >= 1.0 && self.tolerance.is_finite()) {
            return wrong("tolerance", "must be at least 1");
        }
        if self.window_ms == 0 || self.usual_over_s == 0 || self.latency_floor_ms == 0 {
            return wrong("window_ms", "window_ms, usual_over_s and latency_floor_ms must be at least 1");
        }
        let Shares { pay, order, cart, browse, assistant } = self.shares;
        let shares = [pay, order, cart, browse, assistant];
        if pay > 100 || assistant == 0 || !shares.is_sorted_by(|more, less| more >= less) {
            return wrong("shares", "must fall from pay, at most 100, to assistant, at least 1");
        }
        if !(1..=100).contains(&self.one_service_percent) {
            return wrong("one_service_percent", "must be between 1 and 100");
        }
        Ok(concurrency::Settings {
            gradient: gradient::Settings {
                limit_min: self.limit_min,
                limit_max: self.limit_max,
                limit_initial: self.limit_initial,
                tolerance: self.tolerance,
                latency_floor: Duration::from_millis(self.latency_floor_ms),
                usual_over: Duration::from_secs(self.usual_over_s),
                window: Duration::from_millis(self.window_ms),
                ..gradient::Settings::default()
            },
            shares_percent: shares,
            one_service_percent: self.one_service_percent,
            waiting_max: self.waiting_max,
            wait_max: Duration::from_millis(self.wait_max_ms),
            burst_waiting_max: self.burst_waiting_max,
            burst_wait_max: Duration::from_millis(self.burst_wait_max_ms),
            requests_max,
        })
    }
}
