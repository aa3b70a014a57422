//! A sliding window of outcomes: ten buckets, the oldest dropped as time goes on.

use std::time::Duration;

use tokio::time::Instant;

use super::micros;

const BUCKETS: usize = 10;

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Which tenth of a window since the start this bucket counts.
    tick: u64,
    counts: Counts,
}

/// What a window counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) failed: u64,
    /// Calls that took too long, failed or not.
    pub(crate) slow: u64,
    /// Time of all of them, microseconds.
    pub(crate) us: u64,
}

impl Counts {
    fn add(&mut self, other: Counts) {
        self.calls += other.calls;
        self.failed += other.failed;
        self.slow += other.slow;
        self.us = self.us.saturating_add(other.us);
    }
}

/// Outcomes of the last `BUCKETS` tenths of a window, the present one included.
#[derive(Debug)]
pub(crate) struct Window {
    start: Instant,
    tenth_us: u64,
    buckets: [Bucket; BUCKETS],
}

impl Window {
    pub(crate) fn new(length: Duration, now: Instant) -> Self {
        let tenth_us = micros(length) / BUCKETS as u64;
        Window { start: now, tenth_us: tenth_us.max(1), buckets: [Bucket::default(); BUCKETS] }
    }

    pub(crate) fn record(&mut self, now: Instant, took: Duration, failed: bool, slow: bool) {
        let tick = self.tick(now);
        let bucket = &mut self.buckets[(tick % BUCKETS as u64) as usize];
        if bucket.tick != tick {
            *bucket = Bucket { tick, counts: Counts::default() };
        }
        bucket.counts.add(Counts { calls: 1, failed: failed.into(), slow: slow.into(), us: micros(took) });
    }

    /// Returns what is in the window.
    pub(crate) fn counts(&self, now: Instant) -> Counts {
        let tick = self.tick(now);
        let mut sum = Counts::default();
        for bucket in self.buckets.iter().filter(|bucket| bucket.tick + BUCKETS as u64 > tick) {
            sum.add(bucket.counts);
        }
        sum
    }

    fn tick(&self, now: Instant) -> u64 {
        micros(now.saturating_duration_since(self.start)) / self.tenth_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_leave_the_window_as_it_slides() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut window = Window::new(Duration::from_secs(1), start);
        for ms in (0..1_000).step_by(10) {
            window.record(at(ms), Duration::from_micros(3), false, false);
        }
        assert_eq!(window.counts(at(999)), Counts { calls: 100, us: 300, ..Counts::default() });
        window.record(at(1_000), Duration::ZERO, true, true);
        for (ms, calls) in [(1_000, 91), (1_499, 51), (1_950, 1)] {
            let counts = window.counts(at(ms));
            assert_eq!((counts.calls, counts.failed, counts.slow), (calls, 1, 1), "{ms}");
        }
        assert_eq!(window.counts(at(2_000)), Counts::default());
        assert_eq!(window.counts(at(1_000_000)), Counts::default());
    }
}
