//! How many requests at once are good for the mall: Netflix's Gradient2 (concurrency-limits, `Gradient2Limit`).
//!
//! Each window compares the latency of answers with what it has been for the last minutes. Where it is worse than tolerated,
//! the limit shrinks in proportion; where it is not, the limit grows by a few. Two things differ from the original, because one
//! edge has many routes:
//!
//! - Latencies are compared route by route and only their ratios are put together, so that more reports and fewer product
//!   pages are not taken for a slow mall.
//! - A latency below a floor is always good. On a few cores a hundred requests at once take longer each than ten do, and serve
//!   more clients per second: that is no reason to shed.

use std::time::Duration;

/// What the limit may do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Never fewer requests at once than this.
    pub limit_min: usize,
    /// Never more.
    pub limit_max: usize,
    /// To begin with.
    pub limit_initial: usize,
    /// How many times worse than usual a latency may be.
    pub tolerance: f64,
    /// A latency below this is good, whatever is usual.
    pub latency_floor: Duration,
    /// How fast a new limit takes hold, above 0 to 1.
    pub smoothing: f64,
    /// Requests by which the limit grows, before smoothing.
    pub growth: f64,
    /// Over which time the usual latency is taken.
    pub usual_over: Duration,
    /// Least length of a window.
    pub window: Duration,
    /// Fewest answers of a window.
    pub window_answers_min: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            limit_min: 64,
            limit_max: 640,
            limit_initial: 512,
            tolerance: 1.5,
            latency_floor: Duration::from_millis(35),
            smoothing: 0.2,
            growth: 4.0,
            usual_over: Duration::from_secs(600),
            window: Duration::from_millis(100),
            window_answers_min: 10,
        }
    }
}

/// A single route counts at most as this many times too slow, so that one that hangs does not shrink the limit of all.
const RATIO_MAX: f64 = 4.0;
/// Steepest descent of a window.
const GRADIENT_MIN: f64 = 0.5;
/// Most that one window counts in what is usual.
const WEIGHT_MAX: f64 = 0.05;
/// A route that is this many times faster than usual has recovered.
const RECOVERED: f64 = 2.0;

/// The usual latency of one route.
#[derive(Clone, Debug, Default)]
pub struct Usual(Option<f64>);

impl Usual {
    /// Takes the mean latency of a window, in seconds, and returns how many times worse than usual it is.
    pub fn compare(&mut self, latency_s: f64, window: Duration, settings: &Settings) -> f64 {
        let usual = self.0.unwrap_or(latency_s);
        let ratio = latency_s / usual.max(settings.latency_floor.as_secs_f64());
        // Weight of a window in a moving average over the given time. One window, however long, is not the rule.
        let elapsed = (window.as_secs_f64() / settings.usual_over.as_secs_f64()).min(WEIGHT_MAX);
        let weight = 1.0 - (-elapsed).exp();
        let mut next = usual + (latency_s - usual) * weight;
        if next > latency_s * RECOVERED {
            next *= 0.95;
        }
        self.0 = Some(next);
        ratio.min(RATIO_MAX)
    }
}

/// The limit.
#[derive(Clone, Debug)]
pub struct Gradient {
    limit: f64,
}

impl Gradient {
    /// Begins with the initial limit.
    pub fn new(settings: &Settings) -> Gradient {
        Gradient { limit: settings.limit_initial as f64 }
    }

    /// Returns the limit.
    pub fn limit(&self) -> usize {
        // Kept between two counts of requests.
        self.limit as usize
    }

    /// Takes a window: how many times worse than usual answers were, and how many requests were under way at most.
    pub fn update(&mut self, ratio: f64, in_flight_max: usize, settings: &Settings) {
        // A mall that is half empty says nothing about how full it may be.
        if (in_flight_max as f64) < self.limit / 2.0 || !ratio.is_finite() {
            return;
        }
        let gradient = (settings.tolerance / ratio).clamp(GRADIENT_MIN, 1.0);
        let next = self.limit * gradient + settings.growth;
        let next = self.limit + (next - self.limit) * settings.smoothing;
        self.limit = next.clamp(settings.limit_min as f64, settings.limit_max as f64);
    }
}
