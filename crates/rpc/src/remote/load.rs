//! How busy and how slow an endpoint is: a peak-sensitive moving average of its answer times, times the calls under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Time in which an old answer time loses weight to 1/e, in seconds.
const DECAY_SECONDS: f64 = 10.0;
/// Slowest an endpoint not met yet is taken to be, in microseconds: better than one that fails.
const UNKNOWN_US_MAX: f64 = 1_000_000.0;
/// Answer time an endpoint is taken to have after a failure, in microseconds: one that fails fast must not look fast.
const FAILURE_US: f64 = 5_000_000.0;
/// How long a failure counts. Then one call finds out whether it is over.
const FAILURE_MEMORY: Duration = Duration::from_secs(10);

/// The load of one endpoint.
#[derive(Debug)]
pub(crate) struct Load {
    pending: AtomicU64,
    known: Mutex<Known>,
}

/// What was observed.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// None until the endpoint has answered well once.
    average: Option<Average>,
    /// Last failure since the last good answer.
    failed_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Average {
    us: f64,
    at: Instant,
}

impl Load {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Load { pending: AtomicU64::new(0), known: Mutex::default() })
    }

    /// Tells whether one more call costs less here than at `other`, where the shares are thousandths of a weight. An
    /// endpoint not met yet is taken to be as fast as the other one, a second at most: assumed slow it would starve,
    /// assumed fast it would be flooded.
    pub(crate) fn costs_less(&self, share: u64, other: &Load, other_share: u64, now: Instant) -> bool {
        let (us, other_us) = (self.cost_us(now), other.cost_us(now));
        let assumed = us.or(other_us).unwrap_or(UNKNOWN_US_MAX).min(UNKNOWN_US_MAX);
        us.unwrap_or(assumed) * self.calls(share) < other_us.unwrap_or(assumed) * other.calls(other_share)
    }

    /// Tells whether its last answer was a failure, lately.
    pub(crate) fn is_failing(&self, now: Instant) -> bool {
        self.known.lock().is_failing(now)
    }

    fn cost_us(&self, now: Instant) -> Option<f64> {
        let known = *self.known.lock();
        if known.is_failing(now) { Some(FAILURE_US) } else { known.average_us(now) }
    }

    /// Returns the calls under way.
    pub(crate) fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    /// Returns one more than the calls under way per weight.
    fn calls(&self, share: u64) -> f64 {
        1.0 + self.pending() as f64 * 1_000.0 / share.max(1) as f64
    }

    /// Returns the moving average of answer times in microseconds, faded since the last answer.
    pub(crate) fn average_us(&self, now: Instant) -> Option<f64> {
        self.known.lock().average_us(now)
    }

    /// Counts a call as under way until the value is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.pending.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Takes in how long an answer took; of a failure, that it was one.
    pub(crate) fn observe(&self, now: Instant, took: Duration, failed: bool) {
        let mut known = self.known.lock();
        if failed {
            known.failed_at = Some(now);
            return;
        }
        known.failed_at = None;
        let us = took.as_micros() as f64;
        let us = match known.average {
            // A peak counts at once, anything better only as time passes.
            Some(average) if us < average.us => {
                let weight = average.weight(now);
                average.us * weight + us * (1.0 - weight)
            }
            _ => us,
        };
        known.average = Some(Average { us, at: now });
    }

    /// Takes in that an answer which nobody waited for would have taken longer than this.
    pub(crate) fn observe_at_least(&self, now: Instant, took: Duration) {
        let us = took.as_micros() as f64;
        let mut known = self.known.lock();
        if known.average_us(now).is_none_or(|known_us| us > known_us) {
            known.average = Some(Average { us, at: now });
        }
    }

    /// Forgets what was observed: the endpoint is back.
    pub(crate) fn reset(&self) {
        *self.known.lock() = Known::default();
    }
}

impl Known {
    fn is_failing(&self, now: Instant) -> bool {
        self.failed_at.is_some_and(|at| now.saturating_duration_since(at) < FAILURE_MEMORY)
    }

    fn average_us(&self, now: Instant) -> Option<f64> {
        self.average.map(|average| average.us * average.weight(now))
    }
}

impl Average {
    fn weight(&self, now: Instant) -> f64 {
        (-now.saturating_duration_since(self.at).as_secs_f64() / DECAY_SECONDS).exp()
    }
}

/// A call under way.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Load>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let start = Instant::now();
        let load = Load::new();
        load.observe(start, MS, false);
        load.observe(start, 100 * MS, false);
        assert_eq!(load.average_us(start), Some(100_000.0));
        load.observe(start + MS, MS, false);
        assert!(load.average_us(start + MS).unwrap() > 99_000.0, "one fast answer does not undo a slow one");
        assert!(load.average_us(start + Duration::from_secs(30)).unwrap() < 6_000.0);
    }

    #[test]
    fn calls_under_way_multiply_the_cost() {
        let now = Instant::now();
        let (fast, slow) = (Load::new(), Load::new());
        fast.observe(now, 10 * MS, false);
        slow.observe(now, 25 * MS, false);
        let first = fast.begin();
        assert!(fast.costs_less(1_000, &slow, 1_000, now), "two calls of 10 ms cost less than one of 25");
        let second = fast.begin();
        assert!(slow.costs_less(1_000, &fast, 1_000, now), "three do not");
        drop((first, second));
        assert!(fast.costs_less(1_000, &slow, 1_000, now));
    }

    #[test]
    fn an_endpoint_not_met_yet_is_judged_by_its_calls_alone() {
        let now = Instant::now();
        let (new, fast) = (Load::new(), Load::new());
        fast.observe(now, MS, false);
        assert!(!new.costs_less(1_000, &fast, 1_000, now) && !fast.costs_less(1_000, &new, 1_000, now));
        let _call = new.begin();
        assert!(fast.costs_less(1_000, &new, 1_000, now));
        fast.observe(now, MS, true);
        assert!(new.costs_less(1_000, &fast, 1_000, now), "even busy it is better than one that fails");
    }

    #[test]
    fn a_failure_is_forgotten_after_a_while_and_with_the_next_good_answer() {
        let now = Instant::now();
        let load = Load::new();
        load.observe(now, MS, true);
        assert!(load.is_failing(now + FAILURE_MEMORY - MS));
        assert!(!load.is_failing(now + FAILURE_MEMORY));
        load.observe(now, MS, false);
        assert!(!load.is_failing(now));
    }

    #[test]
    fn an_answer_nobody_waited_for_makes_an_endpoint_slower_and_never_faster() {
        let now = Instant::now();
        let load = Load::new();
        load.observe_at_least(now, 30 * MS);
        assert_eq!(load.average_us(now), Some(30_000.0));
        load.observe_at_least(now, 10 * MS);
        assert_eq!(load.average_us(now), Some(30_000.0));
        load.observe_at_least(now, 50 * MS);
        assert_eq!(load.average_us(now), Some(50_000.0));
    }

    #[test]
    fn the_heavier_of_two_bears_more_calls() {
        let now = Instant::now();
        let (heavy, light) = (Load::new(), Load::new());
        let _calls: Vec<_> = (0..2).map(|_| heavy.begin()).chain([light.begin()]).collect();
        assert!(heavy.costs_less(3_000, &light, 1_000, now));
        assert!(light.costs_less(1_000, &heavy, 1_000, now));
    }

    #[test]
    fn a_fast_failure_costs_more_than_a_slow_answer() {
        let now = Instant::now();
        let (failing, slow) = (Load::new(), Load::new());
        failing.observe(now, Duration::from_micros(50), true);
        slow.observe(now, Duration::from_secs(2), false);
        assert!(slow.costs_less(1_000, &failing, 1_000, now));
    }
}
