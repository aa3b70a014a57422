//! Power of two choices: of two endpoints drawn at random, the one with the lower load gets the call.

use super::View;

/// Chooses one of two different endpoints (with replacement the busier of two would get a quarter of the calls).
pub(crate) fn choose(view: &View<'_>) -> usize {
    let Some(first) = view.draw(view.group) else { return view.any() };
    let mut rest = view.group;
    rest.remove(first);
    let Some(second) = view.draw(rest) else { return first };
    let (one, two) = (&view.members[first], &view.members[second]);
    let (share_one, share_two) = (one.share(view.now), two.share(view.now));
    if !one.load.is_failing(view.now) && !competes(view, share_one, share_two) {
        return first;
    }
    if two.load.costs_less(share_two, &one.load, share_one, view.now) { second } else { first }
}

/// Lets the second take part as often as keeps the shares: the lighter one was drawn second too often, more so the
/// fewer there are. With equal shares it always does.
fn competes(view: &View<'_>, share_one: u64, share_two: u64) -> bool {
    if share_two >= share_one {
        return true;
    }
    let all = view.shares(view.group);
    view.chance.below(all - share_two) < all - share_one
}
