//! Zones: a call stays in its own while that one can bear it.

use std::sync::Arc;

use super::member::Member;
use super::set::Set;

/// Narrows the usable endpoints of `all` to those of `zone` while at least half of its endpoints are well; else the
/// calls go to every zone, before the few that are left break down too.
pub(crate) fn narrow(members: &[Arc<Member>], all: Set, usable: Set, well: Set, zone: &str) -> Set {
    if zone.is_empty() {
        return usable;
    }
    let near = all.and(Set::of(members.len(), |index| members[index].endpoint.zone == zone));
    let enough = near.and(well).len() * 2 >= near.len();
    if enough { usable.and(near).or_if_empty(usable) } else { usable }
}
