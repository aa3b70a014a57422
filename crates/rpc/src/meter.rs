//! What is seen of the calls to a service of this process: a service in the same process needs no breaker, but its
//! operator wants the same figures.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::Code;

use crate::breaker::Window;
use crate::snapshot::EndpointState;

/// How far back calls count.
const WINDOW: Duration = Duration::from_secs(10);

/// Counts the calls of one service.
#[derive(Debug)]
pub(crate) struct Meter {
    under_way: AtomicU64,
    window: Mutex<Window>,
}

impl Meter {
    pub(crate) fn new(now: Instant) -> Self {
        Meter { under_way: AtomicU64::new(0), window: Mutex::new(Window::new(WINDOW, now)) }
    }

    /// Counts a call as under way until the value ends or is dropped.
    pub(crate) fn begin(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(self)
    }

    /// Returns the figures.
    pub(crate) fn state(&self, service: &str, now: Instant) -> EndpointState {
        let counts = self.window.lock().counts(now);
        EndpointState {
            service: service.to_owned(),
            endpoint: "local".to_owned(),
            version: String::new(),
            zone: String::new(),
            weight: 1,
            state: "closed",
            reason: String::new(),
            calls: counts.calls,
            failed: counts.failed,
            slow: counts.slow,
            in_flight: self.under_way.load(Ordering::Relaxed),
            average_us: counts.us.checked_div(counts.calls).unwrap_or_default(),
            open_for: None,
            opened: 0,
        }
    }
}

/// A call under way.
pub(crate) struct UnderWay<'a>(&'a Meter);

impl UnderWay<'_> {
    /// Counts the end of the call.
    pub(crate) fn end(self, now: Instant, took: Duration, failed: bool) {
        self.0.window.lock().record(now, took, failed, false);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tells whether a callee that answers so did not do its work.
pub(crate) fn is_failure(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::Internal | Code::Unknown | Code::DataLoss)
}
