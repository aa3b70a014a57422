//! Decisions remembered, never more than a limit.

use std::collections::HashMap;

use parking_lot::RwLock;

use crate::Decision;

type Map = HashMap<Box<[u64]>, Decision>;

#[derive(Default)]
struct Generations {
    young: Map,
    old: Map,
}

/// Remembers decisions in two generations: when the young one is full it becomes the old one, and what was in the old one
/// and not asked for since is forgotten.
pub(crate) struct Memory {
    generations: RwLock<Generations>,
    generation_max: usize,
}

impl Memory {
    /// Makes a memory of at most `max` decisions.
    pub(crate) fn new(max: usize) -> Memory {
        Memory { generations: RwLock::default(), generation_max: (max / 2).max(1) }
    }

    pub(crate) fn get(&self, key: &[u64]) -> Option<Decision> {
        let found = {
            let generations = self.generations.read();
            if let Some(decision) = generations.young.get(key) {
                return Some(decision.clone());
            }
            generations.old.get(key).cloned()
        }?;
        self.put(key, found.clone());
        Some(found)
    }

    pub(crate) fn put(&self, key: &[u64], decision: Decision) {
        let mut generations = self.generations.write();
        if generations.young.len() >= self.generation_max && !generations.young.contains_key(key) {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(key.into(), decision);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let generations = self.generations.read();
        generations.young.len() + generations.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_the_rest_is_forgotten() {
        let memory = Memory::new(8);
        memory.put(&[0], Decision { allowed: true, rule: None });
        for key in 1..100 {
            memory.put(&[key], Decision::default());
            assert!(memory.get(&[0]).is_some_and(|decision| decision.allowed));
            assert!(memory.len() <= 8);
        }
        assert!(memory.get(&[1]).is_none() && memory.get(&[99]).is_some());
    }
}
