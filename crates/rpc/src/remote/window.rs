//! A sliding window of outcomes: ten buckets, the oldest dropped as time goes on.

use std::time::Duration;

use tokio::time::Instant;

const BUCKETS: usize = 10;

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Which tenth of a window since the start this bucket counts.
    tick: u64,
    ok: u32,
    failed: u32,
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
        let tenth_us = u64::try_from(length.as_micros()).unwrap_or(u64::MAX) / BUCKETS as u64;
        Window { start: now, tenth_us: tenth_us.max(1), buckets: [Bucket::default(); BUCKETS] }
    }

    pub(crate) fn record(&mut self, now: Instant, ok: bool) {
        let tick = self.tick(now);
        let bucket = &mut self.buckets[(tick % BUCKETS as u64) as usize];
        if bucket.tick != tick {
            *bucket = Bucket { tick, ok: 0, failed: 0 };
        }
        let count = if ok { &mut bucket.ok } else { &mut bucket.failed };
        *count = count.saturating_add(1);
    }

    /// Returns the good and the failed calls in the window.
    pub(crate) fn counts(&self, now: Instant) -> (u64, u64) {
        let tick = self.tick(now);
        let recent = self.buckets.iter().filter(|bucket| bucket.tick + BUCKETS as u64 > tick);
        recent.fold((0, 0), |(ok, failed), bucket| (ok + u64::from(bucket.ok), failed + u64::from(bucket.failed)))
    }

    fn tick(&self, now: Instant) -> u64 {
        let elapsed = u64::try_from(now.saturating_duration_since(self.start).as_micros()).unwrap_or(u64::MAX);
        elapsed / self.tenth_us
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
            window.record(at(ms), true);
        }
        assert_eq!(window.counts(at(999)), (100, 0));
        window.record(at(1_000), false);
        assert_eq!(window.counts(at(1_000)), (90, 1));
        assert_eq!(window.counts(at(1_499)), (50, 1));
        assert_eq!(window.counts(at(1_950)), (0, 1));
        assert_eq!(window.counts(at(2_000)), (0, 0));
        assert_eq!(window.counts(at(1_000_000)), (0, 0));
    }
}
