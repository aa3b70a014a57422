//! Verified tokens, remembered until they expire, never more than a limit.

use std::collections::HashMap;
use std::sync::Arc;

use mallard_rpc::Caller;
use mallard_types::Micros;
use parking_lot::RwLock;
use sha2::{Digest, Sha256};

/// Tells the present time, in microseconds since the epoch.
pub type Now = Arc<dyn Fn() -> Micros + Send + Sync>;

/// A token whose signature was found good.
#[derive(Debug)]
pub struct Verified {
    /// Who it speaks for.
    pub caller: Caller,
    /// Id of the key it was signed with; a token is good for no longer than its key.
    pub kid: String,
    /// When that caller last entered the password; 0 when not known.
    pub authenticated_at: Micros,
    /// When it ceases to be good.
    pub expires_at: Micros,
}

type Hash = [u8; 32];

#[derive(Default)]
struct Generations {
    young: HashMap<Hash, Arc<Verified>>,
    old: HashMap<Hash, Arc<Verified>>,
}

/// Remembers tokens by their hash, in two generations: when the young one is full it becomes the old one, and what was in
/// the old one and not asked for since is forgotten.
pub struct Cache {
    generations: RwLock<Generations>,
    generation_max: usize,
}

impl Cache {
    /// Makes a cache of at most `max` tokens.
    pub fn new(max: usize) -> Cache {
        Cache { generations: RwLock::default(), generation_max: (max / 2).max(1) }
    }

    /// Hashes a token.
    pub fn hash(token: &str) -> Hash {
        Sha256::digest(token.as_bytes()).into()
    }

    /// Finds a token.
    pub fn get(&self, hash: &Hash) -> Option<Arc<Verified>> {
        let found = {
            let generations = self.generations.read();
            if let Some(young) = generations.young.get(hash) {
                return Some(Arc::clone(young));
            }
            generations.old.get(hash).cloned()
        }?;
        self.put(*hash, Arc::clone(&found));
        Some(found)
    }

    /// Remembers a token.
    pub fn put(&self, hash: Hash, verified: Arc<Verified>) {
        let mut generations = self.generations.write();
        if generations.young.len() >= self.generation_max && !generations.young.contains_key(&hash) {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(hash, verified);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_the_rest_is_forgotten() {
        let cache = Cache::new(4);
        let one =
            || Arc::new(Verified { caller: Caller::default(), kid: String::new(), authenticated_at: 0, expires_at: 0 });
        let favourite = Cache::hash("favourite");
        cache.put(favourite, one());
        for token in 0..100 {
            cache.put(Cache::hash(&token.to_string()), one());
            assert!(cache.get(&favourite).is_some());
        }
        let generations = cache.generations.read();
        assert!(generations.young.len() + generations.old.len() <= 4);
        assert!(!generations.young.contains_key(&Cache::hash("0")) && !generations.old.contains_key(&Cache::hash("0")));
    }
}
