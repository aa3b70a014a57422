//! The retry budget: retries may not add more than a share of the calls to a service that is in trouble.

use std::sync::atomic::{AtomicU64, Ordering};

/// Parts of one retry: percentages stay whole numbers, so 60 % is 60 % and not 100 %.
const RETRY: u64 = 100;
/// Calls whose share may be saved up for a burst of retries.
const SAVED_CALLS_MAX: u64 = 1_000;

/// Counts what is left to spend: each call pays in its percentage, each retry takes out a whole.
#[derive(Debug)]
pub(crate) struct Budget {
    percent: u64,
    balance_max: u64,
    balance: AtomicU64,
}

impl Budget {
    /// Makes a budget of `percent` retries per hundred calls, and `reserve` retries on top, once.
    pub(crate) fn new(percent: u32, reserve: u32) -> Self {
        let percent = u64::from(percent);
        let reserve = u64::from(reserve) * RETRY;
        Budget { percent, balance_max: reserve + percent * SAVED_CALLS_MAX, balance: AtomicU64::new(reserve) }
    }

    /// Pays in the share of one call.
    pub(crate) fn pay_in(&self) {
        let add = |balance: u64| Some((balance + self.percent).min(self.balance_max));
        // The closure always gives a value, so the update cannot fail.
        let _ = self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Takes out one retry; `false` when there is not enough left.
    pub(crate) fn take_out(&self) -> bool {
        let take = |balance: u64| balance.checked_sub(RETRY);
        self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs calls that fail as long as they may and returns the retries.
    fn retries(percent: u32, reserve: u32, calls: u64) -> u64 {
        let budget = Budget::new(percent, reserve);
        let mut retries = 0;
        for _ in 0..calls {
            budget.pay_in();
            while budget.take_out() {
                retries += 1;
            }
        }
        retries
    }

    #[test]
    fn retries_hold_to_the_percent_and_the_reserve() {
        for (percent, reserve) in [(0, 0), (1, 0), (10, 10), (30, 5), (33, 0), (60, 3), (100, 0)] {
            assert_eq!(retries(percent, reserve, 10_000), u64::from(percent) * 100 + u64::from(reserve));
        }
    }

    #[test]
    fn what_quiet_times_save_up_is_bounded() {
        let budget = Budget::new(10, 10);
        (0..1_000_000).for_each(|_| budget.pay_in());
        let spent = (0..1_000_000).filter(|_| budget.take_out()).count();
        assert_eq!(spent, 110);
    }
}
