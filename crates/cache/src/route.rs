//! Which shard a key belongs to: cheap, and the same in every run, so that what is evicted is the same too.
//!
//! Keys chosen to fall into one shard evict one another and nothing else; the maps inside the shards hash with random keys,
//! so nobody can make entries collide there.

use std::hash::{Hash, Hasher};

/// An odd number with well mixed bits (2^64 divided by the golden ratio).
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Returns the shard of a key, below `shards`.
pub(crate) fn index<K: Hash>(key: &K, shards: usize) -> usize {
    if shards <= 1 {
        return 0;
    }
    let mut hasher = Route(0);
    key.hash(&mut hasher);
    // The upper bits are those that multiplication mixes.
    (hasher.finish() >> 32) as usize % shards
}

struct Route(u64);

impl Route {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    }
}

impl Hasher for Route {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.mix(n.into());
    }

    fn write_u32(&mut self, n: u32) {
        self.mix(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        self.mix(n);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_differ_little_spread_evenly() {
        for make in
            [|n: u64| format!("prd_{n:026}"), |n: u64| format!("{n}"), |n: u64| format!("{:x}-same-tail", n * 4096)]
        {
            let mut counts = [0; 16];
            for n in 0..16_000 {
                counts[index(&make(n), 16)] += 1;
            }
            assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
        }
        let mut counts = [0; 16];
        for n in 0..16_000_u64 {
            counts[index(&n, 16)] += 1;
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }
}
