//! Seedable source of chance for balancing, back-off jitter and span ids: no lock, no thread-local state.

use std::sync::atomic::{AtomicU64, Ordering};

/// Step of the SplitMix64 sequence (2^64 divided by the golden ratio, made odd).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Draws random numbers from a shared SplitMix64 sequence; the same seed gives the same sequence.
#[derive(Debug)]
pub(crate) struct Chance(AtomicU64);

impl Chance {
    /// Starts the sequence of `seed`, or of an unpredictable one when there is none.
    #[allow(clippy::disallowed_methods, reason = "this is a source of chance: the one that is seeded for simulations")]
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Chance(AtomicU64::new(seed.unwrap_or_else(rand::random)))
    }

    /// Draws 64 random bits.
    pub(crate) fn bits(&self) -> u64 {
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Draws a number in `0..bound`; 0 when `bound` is 0.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        // The high half of a 128-bit product maps the bits to the range with a bias below bound / 2^64.
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let draw = |seed| {
            let chance = Chance::new(Some(seed));
            (0..100).map(|_| chance.below(1_000)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn numbers_stay_below_the_bound_and_reach_every_value() {
        let chance = Chance::new(Some(1));
        let mut seen = [0_u32; 10];
        for _ in 0..10_000 {
            seen[chance.below(10) as usize] += 1;
        }
        assert!(seen.iter().all(|&count| (800..1_200).contains(&count)), "{seen:?}");
        assert_eq!(chance.below(0), 0);
    }
}
