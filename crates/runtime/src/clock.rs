//! The only place that reads a clock.

use std::time::{SystemTime, UNIX_EPOCH};

use mallard_types::Micros;
use tokio::time::Instant;

/// Tells the time: the machine's, or one that starts where it is told and moves with tokio's (perhaps paused) clock.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// Starts at `base` (microseconds since the epoch) at the instant `start`.
    Simulated {
        /// Time shown at `start`.
        base: Micros,
        /// Instant of tokio's clock at which `base` was true.
        start: Instant,
    },
}

impl Clock {
    /// Starts a simulated clock at this time.
    pub fn simulated(base: Micros) -> Clock {
        Clock::Simulated { base, start: Instant::now() }
    }

    /// Returns microseconds since the epoch, UTC.
    pub fn now(&self) -> Micros {
        match self {
            // A clock before 1970 or after the year 290,000 reads as the edge.
            #[allow(clippy::disallowed_methods, reason = "this is the seam")]
            Clock::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX)),
            Clock::Simulated { base, start } => {
                base + i64::try_from(start.elapsed().as_micros()).unwrap_or(i64::MAX / 2)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_simulated_clock_moves_with_the_paused_one() {
        let clock = Clock::simulated(1_000);
        tokio::time::advance(std::time::Duration::from_secs(2)).await;
        assert_eq!(clock.now(), 2_001_000);
    }
}
