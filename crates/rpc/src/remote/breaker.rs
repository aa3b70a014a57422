//! The circuit breaker of one endpoint. It stops calls to an endpoint that does not answer, and lets a fixed number of
//! probes through from time to time to learn whether it does again.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::window::Window;
use crate::config::BreakerPolicy;

/// What a breaker would say to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The endpoint is well.
    Open,
    /// The endpoint may be well again; one of few calls that find out.
    Probe,
    /// The endpoint is left out.
    Refused,
}

/// How an admitted call ended, as far as the endpoint is to praise or blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Good,
    Failed,
}

/// What an outcome changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    /// The endpoint is left out from now on.
    Opened,
    /// The endpoint is used again.
    Closed,
}

/// The breaker of one endpoint.
#[derive(Debug)]
pub(crate) struct Breaker {
    policy: BreakerPolicy,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Grows with every change of phase: outcomes of an older cycle are ignored.
    cycle: u64,
    /// Pause of the next opening.
    pause: Duration,
}

#[derive(Debug)]
enum Phase {
    Closed { window: Window, failures_in_a_row: u32 },
    Open { until: Instant },
    HalfOpen { running: u32, good: u32, failed: u32 },
}

impl Breaker {
    pub(crate) fn new(policy: BreakerPolicy, now: Instant) -> Arc<Self> {
        let state = State { phase: closed(&policy, now), cycle: 0, pause: policy.open_min };
        Arc::new(Breaker { policy, state: Mutex::new(state) })
    }

    /// Tells what the breaker would say, without asking it to.
    pub(crate) fn admission(&self, now: Instant) -> Admission {
        match &self.state.lock().phase {
            Phase::Closed { .. } => Admission::Open,
            Phase::Open { until } if now >= *until => Admission::Probe,
            Phase::HalfOpen { running, good, failed } if running + good + failed < self.policy.probes => {
                Admission::Probe
            }
            _ => Admission::Refused,
        }
    }

    /// Admits a call, or does not. A permit that is dropped without an outcome counts as never given.
    pub(crate) fn admit(self: &Arc<Self>, now: Instant) -> Option<Permit> {
        let mut state = self.state.lock();
        if let Phase::Open { until } = state.phase
            && now >= until
        {
            state.enter(Phase::HalfOpen { running: 0, good: 0, failed: 0 });
        }
        match &mut state.phase {
            Phase::Closed { .. } => {}
            Phase::HalfOpen { running, good, failed } if *running + *good + *failed < self.policy.probes => {
                *running += 1;
            }
            _ => return None,
        }
        Some(Permit { breaker: Arc::clone(self), cycle: state.cycle, settled: false })
    }

    fn settle(&self, cycle: u64, outcome: Option<Outcome>, now: Instant) -> Change {
        let mut state = self.state.lock();
        if state.cycle != cycle {
            return Change::None;
        }
        let policy = &self.policy;
        match (&mut state.phase, outcome) {
            (Phase::Closed { window, failures_in_a_row }, Some(outcome)) => {
                let ok = outcome == Outcome::Good;
                window.record(now, ok);
                *failures_in_a_row = if ok { 0 } else { *failures_in_a_row + 1 };
                let (good, failed) = window.counts(now);
                let often = good + failed >= u64::from(policy.calls_min) && reached(policy, good, failed);
                if !ok && (often || *failures_in_a_row >= policy.consecutive_max) {
                    state.open(policy, now);
                    return Change::Opened;
                }
            }
            (Phase::HalfOpen { running, good, failed }, outcome) => {
                *running = running.saturating_sub(1);
                match outcome {
                    None => return Change::None,
                    Some(Outcome::Good) => *good += 1,
                    Some(Outcome::Failed) => *failed += 1,
                }
                // Decided as soon as the probes still to come cannot change it.
                let (good, failed) = (u64::from(*good), u64::from(*failed));
                let probes = u64::from(policy.probes);
                if reached(policy, probes - failed, failed) {
                    state.open(policy, now);
                    return Change::Opened;
                }
                if !reached(policy, good, probes - good) {
                    state.pause = policy.open_min;
                    state.enter(closed(policy, now));
                    return Change::Closed;
                }
            }
            (Phase::Closed { .. }, None) | (Phase::Open { .. }, _) => {}
        }
        Change::None
    }
}

impl State {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.cycle += 1;
    }

    fn open(&mut self, policy: &BreakerPolicy, now: Instant) {
        let until = now + self.pause;
        self.pause = (self.pause * 2).min(policy.open_max);
        self.enter(Phase::Open { until });
    }
}

fn closed(policy: &BreakerPolicy, now: Instant) -> Phase {
    Phase::Closed { window: Window::new(policy.window, now), failures_in_a_row: 0 }
}

/// Tells whether the failures reach the percentage that opens the breaker.
fn reached(policy: &BreakerPolicy, good: u64, failed: u64) -> bool {
    failed > 0 && failed * 100 >= (good + failed) * u64::from(policy.failure_percent)
}

/// Leave to make one call.
#[derive(Debug)]
pub(crate) struct Permit {
    breaker: Arc<Breaker>,
    cycle: u64,
    settled: bool,
}

impl Permit {
    /// Reports how the call ended.
    pub(crate) fn settle(mut self, outcome: Outcome, now: Instant) -> Change {
        self.settled = true;
        self.breaker.settle(self.cycle, Some(outcome), now)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.settled {
            // A call given up by its caller says nothing about the endpoint, so the time does not matter.
            self.breaker.settle(self.cycle, None, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy() -> BreakerPolicy {
        BreakerPolicy { consecutive_max: u32::MAX, ..BreakerPolicy::default() }
    }

    fn run(breaker: &Arc<Breaker>, outcome: Outcome, now: Instant) -> bool {
        breaker.admit(now).map(|permit| permit.settle(outcome, now)).is_some()
    }

    fn opened(policy: BreakerPolicy, start: Instant) -> Arc<Breaker> {
        let breaker = Breaker::new(policy, start);
        while run(&breaker, Outcome::Failed, start) {}
        breaker
    }

    #[test]
    fn an_outage_after_ten_thousand_successes_opens_within_one_window() {
        let start = Instant::now();
        let breaker = Breaker::new(policy(), start);
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
        let breaker = Breaker::new(BreakerPolicy::default(), start);
        (0..10_000).for_each(|_| assert!(run(&breaker, Outcome::Good, start)));
        let failed = (0..100).take_while(|_| run(&breaker, Outcome::Failed, start)).count();
        assert_eq!(failed, BreakerPolicy::default().consecutive_max as usize);
    }

    #[test]
    fn a_few_failures_do_not_open() {
        let start = Instant::now();
        let breaker = Breaker::new(policy(), start);
        (0..policy().calls_min - 1).for_each(|_| assert!(run(&breaker, Outcome::Failed, start)));
        assert_eq!(breaker.admission(start), Admission::Open);
        assert!(run(&breaker, Outcome::Failed, start));
        assert_eq!(breaker.admission(start), Admission::Refused);
    }

    #[test]
    fn probes_that_succeed_close_and_probes_that_fail_double_the_pause() {
        let start = Instant::now();
        let breaker = opened(policy(), start);
        let mut now = start;
        for pause_ms in [500, 1_000, 2_000, 2_000] {
            assert_eq!(breaker.admission(now + Duration::from_millis(pause_ms - 1)), Admission::Refused);
            now += Duration::from_millis(pause_ms);
            assert_eq!(breaker.admission(now), Admission::Probe);
            assert!(run(&breaker, Outcome::Failed, now));
            assert!(run(&breaker, Outcome::Failed, now), "one failed probe of three does not decide");
            assert_eq!(breaker.admission(now), Admission::Refused);
        }
        now += policy().open_max;
        assert!(run(&breaker, Outcome::Good, now));
        assert!(run(&breaker, Outcome::Good, now));
        assert_eq!(breaker.admission(now), Admission::Open);
    }

    #[test]
    fn late_results_of_an_older_cycle_change_nothing() {
        let start = Instant::now();
        let breaker = Breaker::new(policy(), start);
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
                        let outcome = if ms % 3 == 0 { Outcome::Good } else { Outcome::Failed };
                        if let Some(permit) = running.pop() {
                            permit.settle(outcome, now);
                        }
                    }
                }
                let state = breaker.state.lock();
                if let Phase::HalfOpen { running: counted, good, failed } = state.phase {
                    let of_this_cycle = running.iter().filter(|permit| permit.cycle == state.cycle).count();
                    prop_assert_eq!(counted as usize, of_this_cycle);
                    prop_assert!(counted + good + failed <= policy().probes);
                }
            }
        }
    }
}
