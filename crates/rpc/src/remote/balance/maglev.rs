//! The lookup table of Maglev (Eisenbud et al., NSDI 2016): keys spread evenly, and few move when endpoints come or go.

use std::sync::Arc;

use super::hash;
use crate::remote::member::Member;

/// Places of the table: a prime, 64 for each of the most endpoints there can be. Its size must not depend on how many
/// there are, or all keys would move when it changed.
pub(crate) const PLACES: usize = 16_381;

/// Says which endpoint a hash belongs to.
#[derive(Debug)]
pub(crate) struct Maglev(Box<[u8]>);

/// An endpoint while the table is filled.
struct Claim {
    index: u8,
    place: usize,
    step: usize,
    weight: u64,
    /// Claims it may make only when its weight has added up to this.
    due: u64,
}

impl Maglev {
    /// Fills the table; an endpoint gets places in proportion to its weight.
    pub(crate) fn new(members: &[Arc<Member>]) -> Self {
        let mut claims: Vec<_> = members.iter().zip(0..=u8::MAX).map(|(member, index)| claim(member, index)).collect();
        // Every process fills the table in the same order.
        claims.sort_by_key(|claim| members[usize::from(claim.index)].id);
        let heaviest = claims.iter().map(|claim| claim.weight).max().unwrap_or(1);
        let mut table = vec![None; PLACES];
        let mut free = if claims.is_empty() { 0 } else { PLACES };
        for round in 1.. {
            if free == 0 {
                break;
            }
            for claim in &mut claims {
                if round * claim.weight < claim.due || free == 0 {
                    continue;
                }
                claim.due += heaviest;
                // The step and the prime have no common divisor, so every place is met.
                while table[claim.place].is_some() {
                    claim.place = (claim.place + claim.step) % PLACES;
                }
                table[claim.place] = Some(claim.index);
                free -= 1;
            }
        }
        Maglev(table.into_iter().flatten().collect())
    }

    /// Returns the place in the list of the endpoint the hash belongs to; `None` when there is none.
    pub(crate) fn at(&self, hash: u64) -> Option<usize> {
        self.0.get((hash % PLACES as u64) as usize).map(|index| usize::from(*index))
    }
}

fn claim(member: &Member, index: u8) -> Claim {
    let (offset, skip) = (hash::mix(member.id ^ 1), hash::mix(member.id ^ 2));
    Claim {
        index,
        place: (offset % PLACES as u64) as usize,
        step: (skip % (PLACES as u64 - 1)) as usize + 1,
        weight: u64::from(member.endpoint.weight),
        due: 0,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::remote::balance::testing::{members, named};

    fn shares(members: &[Arc<Member>]) -> Vec<usize> {
        let table = Maglev::new(members);
        let mut shares = vec![0; members.len()];
        table.0.iter().for_each(|index| shares[usize::from(*index)] += 1);
        shares
    }

    #[test]
    fn places_are_shared_in_proportion_to_the_weights() {
        let now = Instant::now();
        for count in [1, 2, 7, 256] {
            let shares = shares(&members(&vec![1; count], now));
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            assert!(most - least <= 1, "{count}: {least} to {most}");
        }
        let shares = shares(&members(&[1, 3, 6], now));
        for (share, weight) in shares.iter().zip([1, 3, 6]) {
            assert!(share.abs_diff(PLACES * weight / 10) <= 10, "{shares:?}");
        }
        assert_eq!(Maglev::new(&[]).at(7), None);
    }

    #[test]
    fn when_one_of_ten_goes_few_keys_of_the_others_move() {
        let now = Instant::now();
        let names: Vec<_> = (0..10).map(|index| format!("http://host-{index}:1")).collect();
        let before = named(&names, now);
        let (table, fewer) = (Maglev::new(&before), Maglev::new(&before[1..]));
        let moved = (0..PLACES as u64)
            .filter(|hash| table.at(*hash) != Some(0) && table.at(*hash) != fewer.at(*hash).map(|index| index + 1))
            .count();
        assert!(moved < PLACES / 20, "{moved} of {PLACES} moved without need");
    }

    #[test]
    fn every_process_has_the_same_table_whatever_the_order_of_its_list() {
        let now = Instant::now();
        let names: Vec<_> = (0..10).map(|index| format!("http://host-{index}:1")).collect();
        let mut turned = names.clone();
        turned.reverse();
        let (one, two) = (Maglev::new(&named(&names, now)), Maglev::new(&named(&turned, now)));
        assert!((0..PLACES as u64).all(|hash| one.at(hash) == two.at(hash).map(|index| 9 - index)));
    }
}
