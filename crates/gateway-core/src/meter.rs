//! Counts and times of a route.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};
use parking_lot::RwLock;

/// Counts the answers of one route. The handles are made once, not per request.
pub struct Meter {
    route: &'static str,
    seconds: OnceLock<Histogram>,
    answers: RwLock<Vec<(u16, Counter)>>,
}

impl Meter {
    /// Makes the meter of a route template.
    pub fn new(route: &'static str) -> Meter {
        Meter { route, seconds: OnceLock::new(), answers: RwLock::new(Vec::new()) }
    }

    /// Counts one answer.
    pub fn count(&self, status: u16, elapsed: Duration) {
        let seconds =
            self.seconds.get_or_init(|| histogram!("mallard_http_request_duration_seconds", "route" => self.route));
        seconds.record(elapsed.as_secs_f64());
        if let Some((_, counter)) = self.answers.read().iter().find(|(other, _)| *other == status) {
            counter.increment(1);
            return;
        }
        let counter = counter!("mallard_http_requests_total", "route" => self.route, "status" => status.to_string());
        counter.increment(1);
        let mut answers = self.answers.write();
        if !answers.iter().any(|(other, _)| *other == status) {
            answers.push((status, counter));
        }
    }
}
