//! How many endpoints of a service may be left out although they answer.

use std::sync::atomic::{AtomicU32, Ordering};

/// The share of a service's endpoints that may be ejected at once.
#[derive(Debug)]
pub(crate) struct Quota {
    percent: u32,
    endpoints: AtomicU32,
    ejected: AtomicU32,
}

impl Quota {
    pub(crate) fn new(percent: u32) -> Self {
        Quota { percent, endpoints: AtomicU32::new(0), ejected: AtomicU32::new(0) }
    }

    /// Sets how many endpoints there are.
    pub(crate) fn set_endpoints(&self, count: usize) {
        self.endpoints.store(u32::try_from(count).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Returns how many endpoints may be left out at once, rounded down.
    pub(crate) fn ejected_max(&self) -> u32 {
        let endpoints = u64::from(self.endpoints.load(Ordering::Relaxed));
        (endpoints * u64::from(self.percent) / 100) as u32
    }

    /// Takes a place; `false` when all are taken.
    pub(crate) fn take(&self) -> bool {
        let max = self.ejected_max();
        let take = |ejected| (ejected < max).then_some(ejected + 1);
        self.ejected.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Gives a place back.
    pub(crate) fn give_back(&self) {
        // Every place given back was taken, so there is one to subtract.
        let _ = self.ejected.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |ejected| ejected.checked_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_share_is_ejected_and_a_place_given_back_can_be_taken_again() {
        for (percent, endpoints, max) in
            [(50, 1, 0), (50, 2, 1), (50, 3, 1), (10, 9, 0), (10, 10, 1), (100, 7, 7), (0, 9, 0)]
        {
            let quota = Quota::new(percent);
            quota.set_endpoints(endpoints);
            assert_eq!((0..100).filter(|_| quota.take()).count(), max, "{percent} % of {endpoints}");
            if max > 0 {
                quota.give_back();
                assert!(quota.take() && !quota.take());
            }
        }
    }
}
