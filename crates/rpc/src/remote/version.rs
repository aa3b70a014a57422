//! Versions of a service: a canary gets the calls that ask for it, the stable version all others.

use std::sync::Arc;

use super::member::Member;
use super::set::Set;

/// Returns the endpoints of the version a call goes to: the one it asks for if any of its endpoints can be used, else,
/// and where it asks for nothing, the stable one if any of its endpoints can; else all.
pub(crate) fn narrow(members: &[Arc<Member>], usable: Set, wanted: Option<&str>, stable: Option<&str>) -> Set {
    let of = |version: &str| Set::of(members.len(), |index| members[index].endpoint.version == version);
    let found = [wanted, stable].into_iter().flatten().map(of).find(|set| !set.and(usable).is_empty());
    found.unwrap_or_else(|| Set::of(members.len(), |_| true))
}
