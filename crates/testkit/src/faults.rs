//! Faults by seed.

use std::time::Duration;

use mallard_rpc::{Fault, FaultAction};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How often each fault happens, in per mille of the calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Odds {
    /// The request is lost.
    pub lose_request: u32,
    /// The reply is lost.
    pub lose_reply: u32,
    /// The call runs twice.
    pub duplicate: u32,
    /// The call is late, by up to two seconds.
    pub delay: u32,
}

/// A fault layer that repeats itself for the same seed.
pub struct SeededFaults {
    odds: Odds,
    rng: Mutex<StdRng>,
}

impl SeededFaults {
    /// Makes the layer.
    pub fn new(seed: u64, odds: Odds) -> SeededFaults {
        SeededFaults { odds, rng: Mutex::new(StdRng::seed_from_u64(seed)) }
    }
}

impl Fault for SeededFaults {
    fn decide(&self, _: &str, _: &str) -> FaultAction {
        let mut rng = self.rng.lock();
        let mut drawn = rng.random_range(0..1000u32);
        let Odds { lose_request, lose_reply, duplicate, delay } = self.odds;
        for (odds, action) in [
            (lose_request, FaultAction::LoseRequest),
            (lose_reply, FaultAction::LoseReply),
            (duplicate, FaultAction::Duplicate),
        ] {
            if drawn < odds {
                return action;
            }
            drawn -= odds;
        }
        if drawn < delay {
            return FaultAction::Delay(Duration::from_millis(rng.random_range(1..2_000)));
        }
        FaultAction::Pass
    }
}
