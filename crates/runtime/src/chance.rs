//! The only source of randomness: the operating system's generator, or a seeded one that repeats itself.

use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Gives random bytes and numbers.
#[derive(Clone)]
pub struct Chance {
    seeded: Option<Arc<Mutex<StdRng>>>,
}

impl Chance {
    /// Draws from the process's cryptographic generator.
    pub fn system() -> Chance {
        Chance { seeded: None }
    }

    /// Repeats itself for the same seed.
    pub fn seeded(seed: u64) -> Chance {
        Chance { seeded: Some(Arc::new(Mutex::new(StdRng::seed_from_u64(seed)))) }
    }

    /// Returns random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match &self.seeded {
            #[allow(clippy::disallowed_methods, reason = "this is the seam")]
            None => rand::rng().fill_bytes(&mut bytes),
            Some(rng) => rng.lock().fill_bytes(&mut bytes),
        }
        bytes
    }

    /// Returns a random number.
    pub fn number(&self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_repeats_itself() {
        assert_eq!(Chance::seeded(7).number(), Chance::seeded(7).number());
        assert_ne!(Chance::system().number(), Chance::system().number());
    }
}
