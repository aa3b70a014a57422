//! Which endpoint a call goes to: those that may be used, narrowed by version and zone, then the balancer's choice.

use std::sync::Arc;

use tokio::time::Instant;

use super::balance::{Balancer, Maglev, View};
use super::member::{Member, Turn};
use super::set::Set;
use super::{version, zone};
use crate::breaker::{Admission, Quota};
use crate::chance::Chance;
use crate::config::Policy;

/// The endpoints of a service at one time.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) members: Vec<Arc<Member>>,
    /// Where keys belong, for the balancers that hash.
    table: Option<Maglev>,
}

/// What a call wishes for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish<'a> {
    /// Version of the service.
    pub(crate) version: Option<&'a str>,
    /// Hash of what the same endpoint is chosen for.
    pub(crate) key: Option<u64>,
    /// Id of an endpoint that was tried already; 0 for none.
    pub(crate) avoid: u64,
}

/// The endpoints a call may go to.
struct Usable {
    /// Well, by their breakers.
    well: Set,
    /// Not well, but spared for want of others.
    spared: Set,
    /// Waiting for a probe.
    probing: Set,
    /// Left out for bad answers.
    ejected: Set,
}

/// Chooses endpoints of one service.
#[derive(Debug)]
pub(crate) struct Selector {
    balancer: Balancer,
    stable_version: Option<String>,
    zone: String,
    quota: Arc<Quota>,
}

impl Selector {
    pub(crate) fn new(policy: &Policy, quota: Arc<Quota>) -> Self {
        Selector {
            balancer: Balancer::new(policy),
            stable_version: policy.stable_version.clone(),
            zone: policy.zone.clone(),
            quota,
        }
    }

    /// Tells whether the choice depends on a key.
    pub(crate) fn hashes(&self) -> bool {
        self.balancer.hashes()
    }

    /// Makes the fleet of these endpoints.
    pub(crate) fn fleet(&self, members: Vec<Arc<Member>>) -> Fleet {
        self.quota.set_endpoints(members.len());
        let table = self.hashes().then(|| Maglev::new(&members));
        Fleet { members, table }
    }

    /// Picks an endpoint by its place in the fleet; `None` when every breaker refuses.
    pub(crate) fn pick(&self, fleet: &Fleet, wish: Wish<'_>, now: Instant, chance: &Chance) -> Option<(usize, Turn)> {
        let members = &fleet.members;
        let Usable { well, spared, probing, ejected } = usable(members, now);
        let mut group = well.or(spared).or(probing);
        // More are left out than may be ejected: the rest would have to bear it all, so those that answer badly are
        // better than none.
        let out = members.len() - group.len();
        if out > self.quota.ejected_max() as usize {
            group = group.or(ejected);
        }
        group = self.narrow(members, group, well, wish);
        while !group.is_empty() {
            let index = self.choose(fleet, group, probing, wish, now, chance);
            let member = &members[index];
            let permit = match member.breaker.admit(now) {
                Some(permit) => permit,
                None if ejected.contains(index) => member.breaker.admit_anyway(),
                None => {
                    // Somebody else was first to take the last probe.
                    group.remove(index);
                    continue;
                }
            };
            return Some((index, member.begin(permit, now)));
        }
        None
    }

    fn narrow(&self, members: &[Arc<Member>], usable: Set, well: Set, wish: Wish<'_>) -> Set {
        let same_version = version::narrow(members, usable, wish.version, self.stable_version.as_deref());
        let mut group = usable.and(same_version);
        if wish.avoid != 0 {
            let tried = Set::of(members.len(), |index| members[index].id == wish.avoid);
            group = group.without(tried).or_if_empty(group);
        }
        zone::narrow(members, same_version, group, well, &self.zone)
    }

    fn choose(&self, fleet: &Fleet, group: Set, probing: Set, wish: Wish<'_>, now: Instant, chance: &Chance) -> usize {
        // One that waits for a probe comes first, or it would never be met again: its load is that of its failures.
        let probes = group.and(probing);
        if !probes.is_empty() {
            let place = chance.below(probes.len() as u64) as usize;
            if let Some(index) = probes.nth(place) {
                return index;
            }
        }
        let table = fleet.table.as_ref();
        self.balancer.choose(&View { members: &fleet.members, table, group, key: wish.key, now, chance })
    }
}

fn usable(members: &[Arc<Member>], now: Instant) -> Usable {
    let [well, spared, probing, ejected] = [Set::default(); 4];
    let mut usable = Usable { well, spared, probing, ejected };
    for (index, member) in members.iter().enumerate() {
        match member.breaker.admission(now) {
            Admission::Open => usable.well.insert(index),
            Admission::Spared => usable.spared.insert(index),
            Admission::Probe => usable.probing.insert(index),
            Admission::Ejected => usable.ejected.insert(index),
            Admission::Refused => {}
        }
    }
    usable
}
