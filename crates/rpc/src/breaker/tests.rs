//! What the breaker must do, by example and by property.

use proptest::prelude::*;

use super::*;

fn policy() -> BreakerPolicy {
    BreakerPolicy { consecutive_max: u32::MAX, jitter_percent: 0, ..BreakerPolicy::default() }
}

fn breaker(policy: BreakerPolicy, now: Instant) -> Arc<Breaker> {
    Breaker::new(policy, None, Arc::new(Chance::new(Some(1))), now)
}

fn run(breaker: &Arc<Breaker>, outcome: impl Into<End>, now: Instant) -> bool {
    breaker.admit(now).map(|permit| permit.settle(outcome, now)).is_some()
}

fn opened(policy: BreakerPolicy, start: Instant) -> Arc<Breaker> {
    let breaker = breaker(policy, start);
    while run(&breaker, Outcome::Failed, start) {}
    breaker
}

#[test]
fn an_outage_after_ten_thousand_successes_opens_within_one_window() {
    let start = Instant::now();
    let breaker = breaker(policy(), start);
    let mut now = start;
    for _ in 0..10_000 {
        assert!(run(&breaker, Outcome::Good, now));
        now += Duration::from_millis(1);
    }
    let outage = now;
    while run(&breaker, Outcome::Failed, now) {
        now += Duration::from_millis(10);
        assert!(now - outage <= policy().window, "still closed after a whole window of failures");
    }
}

#[test]
fn failures_in_a_row_open_before_the_window_can() {
    let start = Instant::now();
    let breaker = breaker(BreakerPolicy::default(), start);
    (0..10_000).for_each(|_| assert!(run(&breaker, Outcome::Good, start)));
    let failed = (0..100).take_while(|_| run(&breaker, Outcome::Silent, start)).count();
    assert_eq!(failed, BreakerPolicy::default().consecutive_max as usize);
}

#[test]
fn a_few_failures_do_not_open() {
    let start = Instant::now();
    let breaker = breaker(policy(), start);
    (0..policy().calls_min - 1).for_each(|_| assert!(run(&breaker, Outcome::Failed, start)));
    assert_eq!(breaker.admission(start), Admission::Open);
    assert!(run(&breaker, Outcome::Failed, start));
    assert_eq!(breaker.admission(start), Admission::Ejected);
}

#[test]
fn probes_that_succeed_close_and_probes_that_fail_double_the_pause() {
    let start = Instant::now();
    let breaker = opened(policy(), start);
    let mut now = start;
    for pause_ms in [500, 1_000, 2_000, 2_000] {
        assert_eq!(breaker.admission(now + Duration::from_millis(pause_ms - 1)), Admission::Ejected);
        now += Duration::from_millis(pause_ms);
        assert_eq!(breaker.admission(now), Admission::Probe);
        assert!(run(&breaker, Outcome::Failed, now));
        assert!(run(&breaker, Outcome::Failed, now), "one failed probe of three does not decide");
        assert_eq!(breaker.admission(now), Admission::Ejected);
    }
    now += policy().open_max;
    assert!(run(&breaker, Outcome::Good, now));
    assert!(run(&breaker, Outcome::Good, now));
    assert_eq!(breaker.admission(now), Admission::Open);
}

#[test]
fn late_results_of_an_older_cycle_change_nothing() {
    let start = Instant::now();
    let breaker = breaker(policy(), start);
    let late: Vec<_> = (0..10).map(|_| breaker.admit(start).unwrap()).collect();
    while run(&breaker, Outcome::Failed, start) {}
    let now = start + policy().open_min;
    let probe = breaker.admit(now).unwrap();
    for permit in late {
        assert_eq!(permit.settle(Outcome::Good, now), Change::None);
    }
    assert_eq!(breaker.admission(now), Admission::Probe, "the late successes did not close it");
    assert_eq!(probe.settle(Outcome::Good, now), Change::None);
    assert_eq!(breaker.admit(now).unwrap().settle(Outcome::Good, now), Change::Closed);
}

#[test]
fn a_cancelled_probe_frees_its_permit() {
    let start = Instant::now();
    let breaker = opened(policy(), start);
    let now = start + policy().open_min;
    for _ in 0..100 {
        let probes: Vec<_> = (0..policy().probes).map(|_| breaker.admit(now).unwrap()).collect();
        assert!(breaker.admit(now).is_none());
        drop(probes);
    }
    assert_eq!(breaker.admission(now), Admission::Probe);
}

proptest! {
    #[test]
    fn half_open_never_admits_more_than_its_probes(steps in prop::collection::vec((0_u8..4, 0_u64..800), 1..300)) {
        let start = Instant::now();
        let breaker = opened(policy(), start);
        let mut now = start;
        let mut running = Vec::new();
        for (step, ms) in steps {
            match step {
                0 => running.extend(breaker.admit(now)),
                1 => now += Duration::from_millis(ms),
                2 => drop(running.pop()),
                _ => {
                    let outcome = [Outcome::Good, Outcome::Shed, Outcome::Failed, Outcome::Silent][ms as usize % 4];
                    if let Some(permit) = running.pop() {
                        permit.settle(outcome, now);
                    }
                }
            }
            let state = breaker.state.lock();
            if let Phase::HalfOpen(probes) = state.phase {
                let of_this_cycle = running.iter().filter(|permit| permit.cycle == Some(state.cycle)).count();
                prop_assert_eq!(probes.running as usize, of_this_cycle);
                prop_assert!(probes.begun() <= policy().probes);
            }
        }
    }
}

const SLOW: Duration = Duration::from_millis(100);

fn slow_policy() -> BreakerPolicy {
    BreakerPolicy { slow: SLOW, slow_percent: 80, ..policy() }
}

fn good_after(took: Duration) -> End {
    End { took, ..Outcome::Good.into() }
}

#[test]
fn answers_that_are_right_but_slow_open_too() {
    let start = Instant::now();
    let breaker = breaker(slow_policy(), start);
    for index in 0..100 {
        // Three of four calls are slow: not enough.
        let took = if index % 4 == 0 { SLOW / 2 } else { SLOW };
        assert!(run(&breaker, good_after(took), start));
    }
    let more = (0..100).take_while(|_| run(&breaker, good_after(SLOW), start)).count();
    assert_eq!(more, 25, "100 of 125 are 80 %");
    assert_eq!(breaker.view(start).reason, "100 of 125 calls took 100 ms or more");
    let now = start + policy().open_min;
    (0..3).for_each(|_| assert!(run(&breaker, good_after(SLOW), now)));
    assert_eq!(breaker.view(now).reason, "of 3 probes 3 were slow");
    let now = now + 2 * policy().open_min;
    (0..3).for_each(|_| assert!(run(&breaker, good_after(SLOW / 2), now)));
    assert_eq!(breaker.admission(now), Admission::Open);
}

#[test]
fn slow_answers_are_nobodys_affair_unless_asked_for() {
    let start = Instant::now();
    let breaker = breaker(policy(), start);
    (0..100).for_each(|_| assert!(run(&breaker, good_after(60 * SLOW), start)));
}

#[test]
fn what_the_callee_asks_for_lengthens_the_pause_up_to_a_limit() {
    for (asked, pause) in [(1, 500), (700, 700), (3_600_000, 30_000)] {
        let start = Instant::now();
        let breaker = breaker(policy(), start);
        let end = End { hint: Some(Duration::from_millis(asked)), ..Outcome::Failed.into() };
        while run(&breaker, end, start) {}
        assert_eq!(breaker.open_for(start), Some(Duration::from_millis(pause)));
    }
}

#[test]
fn a_callee_without_room_is_well_unless_it_is_being_tried() {
    let start = Instant::now();
    let shed = End { hint: Some(Duration::from_secs(5)), ..Outcome::Shed.into() };
    let well = breaker(BreakerPolicy::default(), start);
    (0..1_000).for_each(|_| assert!(run(&well, shed, start)));
    let breaker = opened(policy(), start);
    let now = start + policy().open_min;
    while run(&breaker, shed, now) {}
    assert_eq!(breaker.open_for(now), Some(Duration::from_secs(5)));
}

#[test]
fn pauses_are_shortened_at_random_and_never_lengthened() {
    let start = Instant::now();
    let chance = Arc::new(Chance::new(Some(7)));
    let policy = BreakerPolicy { jitter_percent: 20, ..policy() };
    let pauses: Vec<_> = (0..200)
        .map(|_| {
            let breaker = Breaker::new(policy.clone(), None, Arc::clone(&chance), start);
            while run(&breaker, Outcome::Failed, start) {}
            breaker.open_for(start).unwrap()
        })
        .collect();
    assert!(pauses.iter().all(|pause| *pause <= policy.open_min && *pause > policy.open_min * 4 / 5));
    assert!(pauses.iter().max().unwrap().abs_diff(*pauses.iter().min().unwrap()) > policy.open_min / 10);
}

/// Makes the breakers of endpoints that share a quota.
fn fleet(count: usize, percent: u32, policy: BreakerPolicy, now: Instant) -> Vec<Arc<Breaker>> {
    let (quota, chance) = (Arc::new(Quota::new(percent)), Arc::new(Chance::new(Some(1))));
    quota.set_endpoints(count);
    (0..count).map(|_| Breaker::new(policy.clone(), Some(Arc::clone(&quota)), Arc::clone(&chance), now)).collect()
}

#[test]
fn endpoints_that_answer_are_ejected_up_to_the_cap_and_silent_ones_beyond_it() {
    let start = Instant::now();
    let breakers = fleet(4, 50, BreakerPolicy { jitter_percent: 0, ..BreakerPolicy::default() }, start);
    let ejected = |now| breakers.iter().filter(|breaker| breaker.admission(now) == Admission::Ejected).count();
    for breaker in &breakers {
        (0..100).for_each(|_| _ = run(breaker, Outcome::Failed, start));
    }
    assert_eq!(ejected(start), 2);
    assert_eq!(breakers[2].admit(start).unwrap().settle(Outcome::Failed, start), Change::Spared);
    assert_eq!(breakers[2].admission(start), Admission::Spared);
    assert_eq!(breakers[2].admission(start + policy().open_min), Admission::Open);
    for breaker in &breakers[2..] {
        (0..5).for_each(|_| _ = run(breaker, Outcome::Silent, start));
        assert_eq!(breaker.admission(start), Admission::Refused, "nothing answers, so no cap keeps it");
    }
    // One comes back and leaves its place to another that was away and now answers badly.
    let now = start + policy().open_min;
    (0..3).for_each(|_| _ = run(&breakers[0], Outcome::Good, now));
    (0..2).for_each(|_| _ = run(&breakers[2], Outcome::Failed, now));
    (0..2).for_each(|_| _ = run(&breakers[3], Outcome::Failed, now));
    assert_eq!(breakers[2].admission(now), Admission::Ejected);
    assert_eq!(breakers[3].admission(now), Admission::Open, "no place was left for it");
}

#[test]
fn an_endpoint_that_is_gone_gives_its_place_back() {
    let start = Instant::now();
    let mut breakers = fleet(2, 50, policy(), start);
    for _ in 0..3 {
        let first = breakers.remove(0);
        while run(&first, Outcome::Failed, start) {}
        assert_eq!(first.admission(start), Admission::Ejected);
        let quota = first.quota.clone();
        breakers.push(Breaker::new(policy(), quota, Arc::clone(&first.chance), start));
    }
}

proptest! {
    #[test]
    fn never_more_than_the_cap_is_ejected(
        percent in 0_u32..=100,
        steps in prop::collection::vec((0_usize..5, 0_u8..4, 0_u64..400), 1..400),
    ) {
        let mut now = Instant::now();
        let eager = BreakerPolicy { calls_min: 2, consecutive_max: 3, ..BreakerPolicy::default() };
        let breakers = fleet(5, percent, eager, now);
        for (index, outcome, ms) in steps {
            now += Duration::from_millis(ms);
            let outcome = [Outcome::Good, Outcome::Shed, Outcome::Failed, Outcome::Silent][outcome as usize];
            run(&breakers[index], outcome, now);
            let ejected = breakers.iter().filter(|breaker| breaker.state.lock().ejected).count();
            prop_assert!(ejected <= 5 * percent as usize / 100, "{ejected} at {percent} %");
        }
    }
}
