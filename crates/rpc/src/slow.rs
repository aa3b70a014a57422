//! The calls a process was slow to answer, the latest ones, for the page an operator looks at.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Most calls remembered by a process; each takes some 150 bytes.
const CALLS_MAX: usize = 1_000;
/// From here on a call is slow, unless the configuration says otherwise, in milliseconds.
pub(crate) const SLOW_CALL_MS: u64 = 100;
/// Outcome of what went well.
pub const OK: &str = "ok";

/// A call, or a request at the edge, that took long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowCall {
    /// Request it belongs to.
    pub trace_id: u128,
    /// `order.PlaceOrder`, or `POST /store/v1/orders` at the edge.
    pub name: String,
    /// When it began.
    pub started: Instant,
    /// How long it took.
    pub took: Duration,
    /// [`OK`], the code of the error, or `cancelled` when nobody waited for the answer any more.
    pub outcome: Cow<'static, str>,
}

/// Remembers the slow calls of a process. Cheap to clone; the clones share what is remembered.
#[derive(Clone)]
pub struct SlowCalls(Arc<Ring>);

struct Ring {
    threshold: Duration,
    calls: Mutex<VecDeque<SlowCall>>,
}

impl SlowCalls {
    /// Makes an empty list of calls that take this long or longer.
    pub fn new(threshold: Duration) -> SlowCalls {
        SlowCalls(Arc::new(Ring { threshold, calls: Mutex::default() }))
    }

    /// Remembers a call if it was slow; only then it is asked for its name and outcome. The oldest makes room.
    pub fn note(
        &self,
        trace_id: u128,
        started: Instant,
        took: Duration,
        describe: impl FnOnce() -> (String, Cow<'static, str>),
    ) {
        if took < self.0.threshold {
            return;
        }
        let (name, outcome) = describe();
        let mut calls = self.0.calls.lock();
        if calls.len() >= CALLS_MAX {
            calls.pop_front();
        }
        calls.push_back(SlowCall { trace_id, name, started, took, outcome });
    }

    /// Returns what is remembered, what ended last first.
    pub fn latest(&self) -> Vec<SlowCall> {
        self.0.calls.lock().iter().rev().cloned().collect()
    }
}

impl Default for SlowCalls {
    fn default() -> Self {
        SlowCalls::new(Duration::from_millis(SLOW_CALL_MS))
    }
}

impl std::fmt::Debug for SlowCalls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SlowCalls").field("threshold", &self.0.threshold).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_slow_calls_are_described_and_the_oldest_make_room() {
        let slow = SlowCalls::new(Duration::from_millis(100));
        let now = Instant::now();
        slow.note(1, now, Duration::from_micros(99_999), || panic!("nobody asks a fast call for its name"));
        assert!(slow.latest().is_empty());
        for number in 0..CALLS_MAX + 5 {
            slow.clone().note(number as u128, now, Duration::from_millis(100), || (number.to_string(), OK.into()));
        }
        let latest = slow.latest();
        assert_eq!(latest.len(), CALLS_MAX);
        let ends = (latest.first().map(|call| call.trace_id), latest.last().map(|call| call.trace_id));
        assert_eq!(ends, (Some(CALLS_MAX as u128 + 4), Some(5)));
    }
}
