//! The same endpoint for the same key: Maglev, with a bound on how much more one endpoint gets than the others.

use super::View;

/// Further places looked at for a key whose own endpoint cannot take it.
const JUMPS_MAX: u64 = 16;

/// Chooses the endpoint the key belongs to, or the next of its own that may be used and is not too busy.
///
/// `percent` is the most calls an endpoint may have, of its fair share. Jumps depend on the key, so that the keys of an
/// endpoint that is away spread over all others, each to always the same one.
pub(crate) fn choose(view: &View<'_>, percent: Option<u32>) -> usize {
    let key = view.key.unwrap_or_else(|| view.chance.bits());
    let bound = Bound::new(view, percent);
    let fits = |index: usize| view.group.contains(index) && bound.admits(view, index) && has_started(view, index, key);
    let jumps = (0..JUMPS_MAX).filter_map(|jump| {
        let hash = if jump == 0 { key } else { mix(key.wrapping_add(jump)) };
        view.table?.at(hash)
    });
    jumps.into_iter().find(|index| fits(*index)).unwrap_or_else(|| rendezvous(view, key, &bound))
}

/// Takes the endpoint with the highest hash of itself and the key among those with room, or among all.
fn rendezvous(view: &View<'_>, key: u64, bound: &Bound) -> usize {
    let rank = |index: &usize| (bound.admits(view, *index), mix(key ^ view.members[*index].id));
    view.group.iter().max_by_key(rank).unwrap_or_else(|| view.any())
}

/// An endpoint in slow start takes over its keys little by little.
fn has_started(view: &View<'_>, index: usize, key: u64) -> bool {
    let member = &view.members[index];
    mix(key ^ member.id) % 1_000 < member.ramp(view.now)
}

/// The most calls an endpoint may have under way.
struct Bound(Option<(u64, u64)>);

impl Bound {
    fn new(view: &View<'_>, percent: Option<u32>) -> Self {
        Bound(percent.map(|percent| {
            let pending: u64 = view.group.iter().map(|index| view.members[index].load.pending()).sum();
            ((pending + 1) * u64::from(percent), view.shares(view.group) * 100)
        }))
    }

    fn admits(&self, view: &View<'_>, index: usize) -> bool {
        let Some((calls, shares)) = self.0 else { return true };
        let member = &view.members[index];
        let most = (calls * member.share(view.now)).div_ceil(shares.max(1));
        member.load.pending() < most
    }
}

/// Hashes bytes, the same in every process: FNV-1a, mixed.
pub(crate) fn of(bytes: &[u8]) -> u64 {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fnv))
}

/// Spreads the bits of a number over all of it (the finalizer of SplitMix64).
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
