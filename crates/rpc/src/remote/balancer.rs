//! Power of two choices: of two endpoints picked at random, the one with the lower load gets the call.

use std::cmp::Ordering;
use std::sync::Arc;

use tokio::time::Instant;

use super::breaker::{Admission, Breaker, Permit};
use super::load::{InFlight, Load};
use crate::chance::Chance;

/// What the balancer must know of an endpoint.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) breaker: Arc<Breaker>,
    pub(crate) load: Arc<Load>,
}

/// Leave to make one call to one endpoint.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) permit: Permit,
    pub(crate) _in_flight: InFlight,
}

/// Picks one of `members`; `None` when every breaker refuses.
///
/// Two different ones are compared (with replacement the busier of two would get a quarter of the calls). One that
/// waits for a probe wins, or it would never be met again: its load is that of its last failures.
pub(crate) fn pick<'a, T>(
    members: &'a [T],
    member: impl Fn(&T) -> &Member,
    now: Instant,
    chance: &Chance,
) -> Option<(&'a T, Turn)> {
    let count = members.len() as u64;
    if count == 0 {
        return None;
    }
    let first = chance.below(count);
    let second = if count == 1 { first } else { (first + 1 + chance.below(count - 1)) % count };
    let (first, second) = (&members[first as usize], &members[second as usize]);
    let better = if is_better(member(second), member(first), now) { second } else { first };
    let mut turn = admit(member(better), now).map(|turn| (better, turn));
    if turn.is_none() {
        // Both are left out: look at all, starting at a random one.
        let start = chance.below(count);
        turn = (0..count).find_map(|step| {
            let candidate = &members[((start + step) % count) as usize];
            admit(member(candidate), now).map(|turn| (candidate, turn))
        });
    }
    turn
}

/// Orders endpoints: waiting for a probe, then by load, then left out.
fn is_better(member: &Member, other: &Member, now: Instant) -> bool {
    let rank = |member: &Member| match member.breaker.admission(now) {
        Admission::Probe => 0,
        Admission::Open => 1,
        Admission::Refused => 2,
    };
    match rank(member).cmp(&rank(other)) {
        Ordering::Less => true,
        Ordering::Equal => member.load.is_less(&other.load, now),
        Ordering::Greater => false,
    }
}

fn admit(member: &Member, now: Instant) -> Option<Turn> {
    let permit = member.breaker.admit(now)?;
    Some(Turn { permit, _in_flight: member.load.begin() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::BreakerPolicy;
    use crate::remote::breaker::{Change, Outcome};

    fn members(count: usize, now: Instant) -> Vec<Member> {
        let breaker = || Breaker::new(BreakerPolicy::default(), now);
        (0..count).map(|_| Member { breaker: breaker(), load: Load::new() }).collect()
    }

    fn index_of(members: &[Member], chosen: &Member) -> usize {
        members.iter().position(|member| std::ptr::eq(member, chosen)).unwrap()
    }

    /// Sends 10,000 calls one after the other and counts them per endpoint. `failing` answers at once with an error
    /// the breaker does not count, the others answer well after 10 ms.
    fn traffic(count: usize, failing: usize) -> Vec<u32> {
        let mut now = Instant::now();
        let members = members(count, now);
        let chance = Chance::new(Some(1));
        let mut calls = vec![0; count];
        for _ in 0..10_000 {
            let (chosen, turn) = pick(&members, |member| member, now, &chance).unwrap();
            let index = index_of(&members, chosen);
            calls[index] += 1;
            let failed = index == failing;
            let took = if failed { Duration::from_micros(100) } else { Duration::from_millis(10) };
            now += took;
            chosen.load.observe(now, took, failed);
            turn.permit.settle(Outcome::Good, now);
        }
        calls
    }

    #[test]
    fn a_host_that_fails_fast_attracts_no_traffic() {
        for count in [2, 3, 10] {
            let calls = traffic(count, 0);
            assert!(calls[0] < 20, "{calls:?}");
        }
    }

    #[test]
    fn equal_hosts_share_the_traffic() {
        for count in [2, 3, 10] {
            let calls = traffic(count, usize::MAX);
            let share = 10_000 / count as u32;
            assert!(calls.iter().all(|&calls| calls > share / 2 && calls < share * 2), "{calls:?}");
        }
    }

    #[test]
    fn the_busier_of_two_hosts_is_never_chosen() {
        let now = Instant::now();
        let members = members(2, now);
        let _busy = members[0].load.begin();
        let chance = Chance::new(Some(1));
        for _ in 0..1_000 {
            let (chosen, _) = pick(&members, |member| member, now, &chance).unwrap();
            assert_eq!(index_of(&members, chosen), 1);
        }
    }

    #[test]
    fn a_host_left_out_gets_nothing_then_probes_then_its_share() {
        let start = Instant::now();
        let members = members(2, start);
        let policy = BreakerPolicy::default();
        for _ in 0..policy.consecutive_max {
            members[0].load.observe(start, Duration::ZERO, true);
            members[0].breaker.admit(start).unwrap().settle(Outcome::Failed, start);
        }
        let chance = Chance::new(Some(1));
        let choose = |now| {
            let (chosen, turn) = pick(&members, |member| member, now, &chance).unwrap();
            (index_of(&members, chosen), turn)
        };
        assert!((0..1_000).all(|_| choose(start).0 == 1));
        let now = start + policy.open_min;
        let probes: Vec<_> = (0..1_000).map(|_| choose(now)).filter(|(index, _)| *index == 0).collect();
        assert_eq!(probes.len(), policy.probes as usize);
        for (_, turn) in probes {
            if turn.permit.settle(Outcome::Good, now) == Change::Closed {
                members[0].load.reset();
            }
        }
        let share = (0..1_000).filter(|_| choose(now).0 == 0).count();
        assert!((300..700).contains(&share), "{share}");
    }

    #[test]
    fn nobody_is_picked_when_all_are_left_out() {
        let now = Instant::now();
        let members = members(3, now);
        let chance = Chance::new(Some(1));
        while let Some((_, turn)) = pick(&members, |member| member, now, &chance) {
            turn.permit.settle(Outcome::Failed, now);
        }
        assert!(members.iter().all(|member| member.breaker.admission(now) == Admission::Refused));
        assert!(pick(&[] as &[Member], |member| member, now, &chance).is_none());
    }
}
