//! A set of endpoints by their place in the list, small enough to copy.

use super::ENDPOINTS_MAX;

const WORD_BITS: usize = 64;
const WORDS: usize = ENDPOINTS_MAX / WORD_BITS;

/// Some of the endpoints of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set([u64; WORDS]);

impl Set {
    /// Makes the set of those of `count` that `belongs` takes.
    pub(crate) fn of(count: usize, belongs: impl Fn(usize) -> bool) -> Set {
        let mut set = Set::default();
        (0..count).filter(|index| belongs(*index)).for_each(|index| set.insert(index));
        set
    }

    pub(crate) fn insert(&mut self, index: usize) {
        self.0[index / WORD_BITS] |= 1 << (index % WORD_BITS);
    }

    pub(crate) fn remove(&mut self, index: usize) {
        self.0[index / WORD_BITS] &= !(1 << (index % WORD_BITS));
    }

    pub(crate) fn contains(self, index: usize) -> bool {
        self.0[index / WORD_BITS] & (1 << (index % WORD_BITS)) != 0
    }

    pub(crate) fn and(self, other: Set) -> Set {
        Set(std::array::from_fn(|word| self.0[word] & other.0[word]))
    }

    pub(crate) fn or(self, other: Set) -> Set {
        Set(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }

    pub(crate) fn without(self, other: Set) -> Set {
        Set(std::array::from_fn(|word| self.0[word] & !other.0[word]))
    }

    /// Returns the set itself, or `other` when it is empty.
    pub(crate) fn or_if_empty(self, other: Set) -> Set {
        if self.is_empty() { other } else { self }
    }

    pub(crate) fn len(self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == [0; WORDS]
    }

    /// Goes through the set in order.
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        let words = self.0.into_iter().enumerate();
        words.flat_map(|(word, bits)| Bits(bits).map(move |bit| word * WORD_BITS + bit))
    }

    /// Returns the member at `place` in order, if there are so many.
    pub(crate) fn nth(self, place: usize) -> Option<usize> {
        self.iter().nth(place)
    }
}

struct Bits(u64);

impl Iterator for Bits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(bit)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(a in prop::collection::btree_set(0_usize..ENDPOINTS_MAX, 0..40), b in prop::collection::btree_set(0_usize..ENDPOINTS_MAX, 0..40)) {
            let set = |of: &BTreeSet<usize>| Set::of(ENDPOINTS_MAX, |index| of.contains(&index));
            let list = |set: Set| set.iter().collect::<Vec<_>>();
            let (x, y) = (set(&a), set(&b));
            prop_assert_eq!(list(x), a.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(list(x.and(y)), a.intersection(&b).copied().collect::<Vec<_>>());
            prop_assert_eq!(list(x.or(y)), a.union(&b).copied().collect::<Vec<_>>());
            prop_assert_eq!(list(x.without(y)), a.difference(&b).copied().collect::<Vec<_>>());
            prop_assert_eq!((x.len(), x.is_empty()), (a.len(), a.is_empty()));
            prop_assert_eq!(x.nth(3), a.iter().nth(3).copied());
            let mut less = x;
            a.iter().for_each(|index| less.remove(*index));
            prop_assert!(less.is_empty() && !less.contains(0));
        }
    }
}
