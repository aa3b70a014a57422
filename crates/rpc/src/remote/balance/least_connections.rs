//! Least connections: the endpoint with the fewest calls under way.

use std::cmp::Ordering;

use super::View;
use crate::remote::set::Set;

/// Chooses the one with the fewest calls under way for its share; of several such ones, each as often as its share. One
/// whose answers are failures comes last: it has few under way because it fails fast.
pub(crate) fn choose(view: &View<'_>) -> usize {
    let mut least = (true, u64::MAX, 1);
    let mut best = Set::default();
    for index in view.group.iter() {
        let member = &view.members[index];
        let load = (member.load.is_failing(view.now), member.load.pending(), member.share(view.now));
        match if best.is_empty() { Ordering::Less } else { compare(load, least) } {
            Ordering::Less => {
                least = load;
                best = Set::default();
                best.insert(index);
            }
            Ordering::Equal => best.insert(index),
            Ordering::Greater => {}
        }
    }
    view.draw(best).unwrap_or_else(|| view.any())
}

/// Orders by failing or not, then by calls per share.
fn compare((failing, calls, share): (bool, u64, u64), other: (bool, u64, u64)) -> Ordering {
    failing.cmp(&other.0).then_with(|| (calls * other.2).cmp(&(other.1 * share)))
}
