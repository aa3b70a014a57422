//! What balancing must do, whatever the way: for each the shares, a host that fails, one that is left out, one that
//! joins; then versions, zones and the hashes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::balance::hash;
use super::balance::testing::{fleet, members, named, starting};
use super::judge::{Judgement, Verdict};
use super::member::Member;
use super::select::{Fleet, Selector, Wish};
use crate::breaker::{Admission, Outcome};
use crate::chance::Chance;
use crate::config::{Balance, BreakerPolicy, Policy};

const MS: Duration = Duration::from_millis(1);
const ALL: [Balance; 6] = [
    Balance::P2c,
    Balance::RoundRobin,
    Balance::WeightedRoundRobin,
    Balance::LeastConnections,
    Balance::IpHash,
    Balance::ConsistentHash,
];

fn policy(balance: Balance) -> Policy {
    Policy { balance, ..Policy::default() }
}

/// A service under test.
struct Service {
    selector: Selector,
    fleet: Fleet,
    chance: Chance,
    now: Instant,
}

impl Service {
    fn new(policy: &Policy, members: Vec<Arc<Member>>, now: Instant) -> Service {
        let (selector, fleet) = fleet(policy, members);
        Service { selector, fleet, chance: Chance::new(Some(1)), now }
    }

    fn members(&self) -> &[Arc<Member>] {
        &self.fleet.members
    }

    /// Picks for a call that ends at once and says nothing about the endpoint.
    fn pick(&self, wish: Wish<'_>) -> Option<usize> {
        self.selector.pick(&self.fleet, wish, self.now, &self.chance).map(|(index, turn)| {
            turn.settle(Verdict { judgement: Judgement::Shed, hint: None }, self.now);
            index
        })
    }

    /// Makes calls one after the other that end as `end` says for each endpoint, and counts them per endpoint.
    fn traffic(&mut self, calls: usize, end: impl Fn(usize) -> (Judgement, Duration)) -> Vec<usize> {
        let mut counts = vec![0; self.members().len()];
        for call in 0..calls {
            let wish = Wish { key: Some(hash::of(&call.to_le_bytes())), ..Wish::default() };
            let Some((index, turn)) = self.selector.pick(&self.fleet, wish, self.now, &self.chance) else { continue };
            counts[index] += 1;
            let (judgement, took) = end(index);
            self.now += took;
            turn.settle(Verdict { judgement, hint: None }, self.now);
        }
        counts
    }

    /// Makes rounds of calls that are under way at the same time, and counts them per endpoint.
    fn concurrent(&mut self, rounds: usize, at_once: usize) -> Vec<usize> {
        let mut counts = vec![0; self.members().len()];
        for round in 0..rounds {
            let turns: Vec<_> = (0..at_once)
                .filter_map(|call| {
                    let wish = Wish { key: Some(hash::of(&(round * at_once + call).to_le_bytes())), ..Wish::default() };
                    self.selector.pick(&self.fleet, wish, self.now, &self.chance)
                })
                .collect();
            self.now += MS;
            for (index, turn) in turns {
                counts[index] += 1;
                turn.settle(Verdict { judgement: Judgement::Good, hint: None }, self.now);
            }
        }
        counts
    }
}

fn well(_: usize) -> (Judgement, Duration) {
    (Judgement::Good, MS)
}

fn leave_out(member: &Member, outcome: Outcome, now: Instant) {
    while let Some(permit) = member.breaker.admit(now) {
        permit.settle(outcome, now);
    }
}

#[test]
fn equal_hosts_share_the_traffic() {
    for balance in ALL {
        for count in [1, 2, 3, 10] {
            let now = Instant::now();
            let counts = Service::new(&policy(balance), members(&vec![1; count], now), now).traffic(10_000, well);
            let share = 10_000 / count;
            let fair = counts.iter().all(|&calls| calls * 10 > share * 8 && calls * 10 < share * 12);
            assert!(fair, "{balance:?}: {counts:?}");
        }
    }
}

#[test]
fn a_heavier_host_gets_more_where_weights_count() {
    for balance in ALL {
        let now = Instant::now();
        let mut service = Service::new(&policy(balance), members(&[1, 3], now), now);
        // One after the other, and sixteen at once.
        for counts in [service.traffic(8_000, well), service.concurrent(500, 16)] {
            let expected = if balance == Balance::RoundRobin { 50 } else { 75 };
            let percent = counts[1] * 100 / counts.iter().sum::<usize>();
            // Two choices prefer whoever was asked longer ago a little: old answer times fade.
            let tolerance = if balance == Balance::P2c { 10 } else { 3 };
            assert!(percent.abs_diff(expected) <= tolerance, "{balance:?}: {counts:?}");
        }
    }
}

#[test]
fn turns_of_the_weighted_round_robin_are_evenly_mixed() {
    let now = Instant::now();
    let service = Service::new(&policy(Balance::WeightedRoundRobin), members(&[5, 1, 1], now), now);
    let turns: Vec<_> = (0..14).filter_map(|_| service.pick(Wish::default())).collect();
    assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0].repeat(2));
}

#[test]
fn a_host_that_fails_fast_attracts_no_traffic() {
    for balance in ALL {
        for weights in [&[1, 1][..], &[3, 1], &[1, 1, 1], &[1; 10]] {
            let now = Instant::now();
            let mut service = Service::new(&policy(balance), members(weights, now), now);
            let fails = |index| if index == 0 { (Judgement::Failing, MS / 10) } else { (Judgement::Good, 10 * MS) };
            let counts = service.traffic(10_000, fails);
            let share = 10_000 * weights[0] as usize / weights.iter().sum::<u32>() as usize;
            // Five calls until the breaker opens, then the probes.
            assert!(counts[0] * 4 < share, "{balance:?} {weights:?}: {counts:?}");
            if matches!(balance, Balance::P2c | Balance::LeastConnections) {
                // These know it from the first failures on, without the breaker.
                assert!(counts[0] < 120, "{balance:?} {weights:?}: {counts:?}");
            }
        }
    }
}

#[test]
fn a_host_that_failed_lately_is_not_chosen_where_load_counts_whatever_its_weight() {
    for balance in [Balance::P2c, Balance::LeastConnections] {
        for weights in [&[1, 1][..], &[3, 1]] {
            let now = Instant::now();
            let service = Service::new(&policy(balance), members(weights, now), now);
            let [bad, good] = service.members() else { panic!("two hosts") };
            bad.load.observe(now, MS, true);
            good.load.observe(now, 10 * MS, false);
            let _busy = good.load.begin();
            assert!((0..1_000).all(|_| service.pick(Wish::default()) == Some(1)), "{balance:?} {weights:?}");
            // After a while one call finds out.
            let later = Service { now: now + Duration::from_secs(11), ..service };
            assert!((0..1_000).any(|_| later.pick(Wish::default()) == Some(0)), "{balance:?} {weights:?}");
        }
    }
}

#[test]
fn of_two_hosts_the_busier_is_not_chosen_where_load_counts() {
    for balance in [Balance::P2c, Balance::LeastConnections] {
        let now = Instant::now();
        let service = Service::new(&policy(balance), members(&[1, 1], now), now);
        let _busy = service.members()[0].load.begin();
        assert!((0..1_000).all(|_| service.pick(Wish::default()) == Some(1)), "{balance:?}");
    }
}

#[test]
fn of_two_hosts_the_slower_gets_less_with_two_choices() {
    let now = Instant::now();
    let mut service = Service::new(&policy(Balance::P2c), members(&[1, 1], now), now);
    let counts = service.traffic(2_000, |index| (Judgement::Good, if index == 0 { 100 * MS } else { 5 * MS }));
    assert!(counts[0] < 200, "{counts:?}");
}

#[test]
fn a_host_left_out_gets_nothing_then_probes_then_its_share() {
    for balance in ALL {
        let now = Instant::now();
        let mut service = Service::new(&policy(balance), members(&[1, 1], now), now);
        leave_out(&service.members()[0], Outcome::Silent, now);
        let counts = service.concurrent(100, 4);
        assert_eq!(counts, [0, 400], "{balance:?}");
        service.now = now + BreakerPolicy::default().open_min;
        let mut turns: Vec<_> = Vec::new();
        for key in 0..100 {
            let wish = Wish { key: Some(hash::mix(key)), ..Wish::default() };
            turns.extend(service.selector.pick(&service.fleet, wish, service.now, &service.chance));
        }
        let probes = turns.iter().filter(|(index, _)| *index == 0).count();
        assert_eq!(probes, BreakerPolicy::default().probes as usize, "{balance:?}");
        for (_, turn) in turns {
            turn.settle(Verdict { judgement: Judgement::Good, hint: None }, service.now);
        }
        let counts = service.traffic(1_000, well);
        assert!(counts[0].abs_diff(500) < 100, "{balance:?}: {counts:?}");
    }
}

#[test]
fn nobody_is_picked_when_nobody_answers() {
    for balance in ALL {
        let now = Instant::now();
        let service = Service::new(&policy(balance), members(&[1, 1, 1], now), now);
        service.members().iter().for_each(|member| leave_out(member, Outcome::Silent, now));
        assert_eq!(service.pick(Wish::default()), None, "{balance:?}");
        assert_eq!(Service::new(&policy(balance), Vec::new(), now).pick(Wish::default()), None, "{balance:?}");
    }
}

#[test]
fn hosts_that_answer_badly_are_better_than_none() {
    let now = Instant::now();
    let service = Service::new(&Policy::default(), members(&[1, 1], now), now);
    leave_out_for_failures(&service.members()[0], now);
    assert_eq!(service.members()[0].breaker.admission(now), Admission::Ejected);
    assert!((0..100).all(|_| service.pick(Wish::default()) == Some(1)));
    leave_out(&service.members()[1], Outcome::Silent, now);
    assert!((0..100).all(|_| service.pick(Wish::default()) == Some(0)));
    assert_eq!(service.members()[0].breaker.admission(now), Admission::Ejected, "and nothing they answer closes it");
}

fn leave_out_for_failures(member: &Member, now: Instant) {
    for permit in (0..100).map_while(|_| member.breaker.admit(now)) {
        permit.settle(Outcome::Failed, now);
    }
}

#[test]
fn a_host_that_joins_gets_its_share_little_by_little() {
    const LENGTH: Duration = Duration::from_secs(100);
    for balance in ALL {
        let now = Instant::now();
        let mut hosts = members(&[1, 1, 1, 1], now);
        hosts[0] = starting(&hosts[0], now, LENGTH);
        let mut service = Service::new(&policy(balance), hosts, now);
        // At the beginning, half way, and at the end; each time 2,000 calls in two milliseconds at most.
        let mut shares = Vec::new();
        for percent in [0, 50, 100] {
            service.now = now + LENGTH * percent / 100;
            shares.push(service.traffic(2_000, |_| (Judgement::Good, Duration::from_micros(1)))[0]);
        }
        let [first, half, full] = shares[..] else { panic!("{shares:?}") };
        assert!(first > 0 && first < 110, "{balance:?}: {shares:?}");
        assert!(half > 150 && half < 420, "{balance:?}: {shares:?}");
        assert!(full.abs_diff(500) < 100, "{balance:?}: {shares:?}");
    }
}

#[test]
fn a_host_that_was_tried_is_avoided_while_there_is_another() {
    for balance in ALL {
        let now = Instant::now();
        let service = Service::new(&policy(balance), members(&[1, 1, 1], now), now);
        let avoid = service.members()[1].id;
        for key in 0..200 {
            let wish = Wish { avoid, key: Some(hash::mix(key)), ..Wish::default() };
            assert_ne!(service.pick(wish), Some(1), "{balance:?}");
        }
        let alone = Service::new(&policy(balance), members(&[1], now), now);
        let wish = Wish { avoid: alone.members()[0].id, ..Wish::default() };
        assert_eq!(alone.pick(wish), Some(0), "{balance:?}");
    }
}

/// Which of the endpoints calls with this wish go to.
fn reached(service: &Service, wish: Wish<'_>) -> Vec<usize> {
    let key = |key: u64| Wish { key: Some(hash::mix(key)), ..wish };
    (0..400).filter_map(|number| service.pick(key(number))).collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn a_version_asked_for_gets_the_call_while_it_can_be_used() {
    const HOSTS: [&str; 5] =
        ["http://a#version=v1", "http://b#version=v1", "http://c#version=v2", "http://d#version=v2", "http://e"];
    let wanting = |version| Wish { version: Some(version), ..Wish::default() };
    for balance in ALL {
        let now = Instant::now();
        // Without a stable version, who asks for nothing may get any.
        let service = Service::new(&policy(balance), named(&HOSTS, now), now);
        assert_eq!(reached(&service, Wish::default()), [0, 1, 2, 3, 4], "{balance:?}");
        assert_eq!(reached(&service, wanting("v2")), [2, 3], "{balance:?}");
        assert_eq!(reached(&service, wanting("v9")), [0, 1, 2, 3, 4], "{balance:?}");
        // With one, the canary gets only who asks for it.
        let stable = Policy { stable_version: Some("v1".into()), ..policy(balance) };
        let service = Service::new(&stable, named(&HOSTS, now), now);
        assert_eq!(reached(&service, Wish::default()), [0, 1], "{balance:?}");
        assert_eq!(reached(&service, wanting("v2")), [2, 3], "{balance:?}");
        assert_eq!(reached(&service, wanting("v9")), [0, 1], "{balance:?}");
        leave_out(&service.members()[2], Outcome::Silent, now);
        assert_eq!(reached(&service, wanting("v2")), [3], "{balance:?}");
        leave_out(&service.members()[3], Outcome::Silent, now);
        assert_eq!(reached(&service, wanting("v2")), [0, 1], "{balance:?}: the canary is away");
        leave_out(&service.members()[0], Outcome::Silent, now);
        leave_out(&service.members()[1], Outcome::Silent, now);
        assert_eq!(reached(&service, Wish::default()), [4], "{balance:?}: any is better than none");
    }
}

#[test]
fn calls_stay_in_their_zone_while_half_of_it_is_well_and_else_go_everywhere() {
    const HOSTS: [&str; 6] =
        ["http://a#zone=a", "http://b#zone=a", "http://c#zone=a", "http://d#zone=a", "http://e#zone=b", "http://f"];
    for balance in ALL {
        let now = Instant::now();
        let zoned = |zone: &str| Policy { zone: zone.into(), ..policy(balance) };
        let service = Service::new(&zoned("a"), named(&HOSTS, now), now);
        assert_eq!(reached(&service, Wish::default()), [0, 1, 2, 3], "{balance:?}");
        leave_out(&service.members()[0], Outcome::Silent, now);
        leave_out(&service.members()[1], Outcome::Silent, now);
        assert_eq!(reached(&service, Wish::default()), [2, 3], "{balance:?}: two of four are enough");
        leave_out(&service.members()[2], Outcome::Silent, now);
        assert_eq!(reached(&service, Wish::default()), [3, 4, 5], "{balance:?}: one of four is not");
        for zone in ["", "c"] {
            let service = Service::new(&zoned(zone), named(&HOSTS, now), now);
            assert_eq!(reached(&service, Wish::default()), [0, 1, 2, 3, 4, 5], "{balance:?} {zone:?}");
        }
        // A hedge leaves the zone rather than go to the endpoint that is late.
        let service = Service::new(&zoned("b"), named(&HOSTS, now), now);
        let wish = Wish { avoid: service.members()[4].id, ..Wish::default() };
        assert_eq!(reached(&service, wish), [0, 1, 2, 3, 5], "{balance:?}");
    }
}

/// Where each of a thousand keys goes.
fn homes(service: &Service) -> BTreeMap<u64, usize> {
    let wish = |key| Wish { key: Some(hash::mix(key)), ..Wish::default() };
    (0..1_000).filter_map(|key| service.pick(wish(key)).map(|index| (key, index))).collect()
}

#[test]
fn a_key_stays_where_it_is_and_the_keys_of_a_lost_host_spread_over_the_others() {
    for balance in [Balance::IpHash, Balance::ConsistentHash] {
        let now = Instant::now();
        let service = Service::new(&policy(balance), members(&[1; 10], now), now);
        let before = homes(&service);
        assert_eq!(before, homes(&service), "{balance:?}");
        leave_out(&service.members()[0], Outcome::Silent, now);
        let after = homes(&service);
        assert_eq!(after, homes(&service), "{balance:?}: the lost host's keys have a new home each");
        let moved: Vec<_> = before.keys().filter(|key| before[key] != after[key]).collect();
        assert!(moved.iter().all(|key| before[key] == 0), "{balance:?}: nobody else's key moved");
        let heirs: BTreeSet<_> = moved.iter().map(|key| after[key]).collect();
        assert_eq!(heirs.len(), 9, "{balance:?}: {} keys went to {heirs:?}", moved.len());
    }
}

#[test]
fn a_hot_key_takes_no_more_of_its_host_than_the_bound() {
    let now = Instant::now();
    let wish = Wish { key: Some(7), ..Wish::default() };
    for (balance, bounded) in [(Balance::ConsistentHash, true), (Balance::IpHash, false)] {
        let service = Service::new(&policy(balance), members(&[1; 4], now), now);
        let mut turns = Vec::new();
        for under_way in 0..400 {
            let (index, turn) = service.selector.pick(&service.fleet, wish, now, &service.chance).unwrap();
            turns.push(turn);
            let most = service.members().iter().map(|member| member.load.pending()).max().unwrap();
            // 125 % of a fair share of the calls under way, rounded up.
            let bound = ((under_way + 1) * 125_u64).div_ceil(400);
            assert!(!bounded || most <= bound, "{most} > {bound}");
            assert!(bounded || index == service.pick(wish).unwrap());
        }
    }
}

#[test]
fn a_call_without_a_key_goes_anywhere() {
    for balance in [Balance::IpHash, Balance::ConsistentHash] {
        let now = Instant::now();
        let service = Service::new(&policy(balance), members(&[1; 4], now), now);
        let hosts: BTreeSet<_> = (0..200).filter_map(|_| service.pick(Wish::default())).collect();
        assert_eq!(hosts.len(), 4, "{balance:?}");
    }
}

#[test]
fn a_call_that_is_given_up_makes_its_host_look_as_slow_as_it_was() {
    let now = Instant::now();
    let service = Service::new(&policy(Balance::P2c), members(&[1, 1], now), now);
    let host = &service.members()[0];
    let permit = host.breaker.admit(now).unwrap();
    // Begun an hour ago by its own reckoning, dropped now.
    drop(host.begin(permit, now - Duration::from_secs(3_600)));
    assert!(host.load.average_us(now).unwrap() >= 3_599e6);
    assert_eq!((host.load.pending(), host.breaker.view(now).counts.calls), (0, 0));
}

proptest! {
    #[test]
    fn whatever_happens_no_host_that_is_left_out_for_silence_is_picked_and_calls_are_counted_right(
        balance in prop::sample::select(ALL.to_vec()),
        weights in prop::collection::vec(1_u32..=100, 1..8),
        steps in prop::collection::vec((0_u8..4, 0_u64..200, any::<u64>()), 1..200),
    ) {
        let mut now = Instant::now();
        let service = Service::new(&policy(balance), members(&weights, now), now);
        let mut turns = Vec::new();
        for (step, ms, key) in steps {
            now += Duration::from_millis(ms);
            let refused: Vec<_> =
                service.members().iter().map(|member| member.breaker.admission(now) == Admission::Refused).collect();
            let wish = Wish { key: Some(key), ..Wish::default() };
            match service.selector.pick(&service.fleet, wish, now, &service.chance) {
                Some((index, turn)) => {
                    prop_assert!(!refused[index]);
                    turns.push(turn);
                }
                None => prop_assert!(service.members().iter().all(|member| member.breaker.admission(now) != Admission::Open)),
            }
            let judgement = [Judgement::Good, Judgement::Failing, Judgement::Away, Judgement::Late][step as usize];
            if step < 3 && let Some(turn) = turns.pop() {
                turn.settle(Verdict { judgement, hint: None }, now);
            }
            let under_way: u64 = service.members().iter().map(|member| member.load.pending()).sum();
            prop_assert_eq!(under_way, turns.len() as u64);
        }
    }
}
