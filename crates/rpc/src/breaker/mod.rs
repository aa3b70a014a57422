//! The circuit breaker, of an endpoint or of a method. It stops calls to what does not do its work, and lets a fixed
//! number of probes through from time to time to learn whether it does again.

mod outcome;
mod quota;
#[cfg(test)]
mod tests;
mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

pub(crate) use self::outcome::{Admission, Change, End, Outcome, View};
pub(crate) use self::quota::Quota;
pub(crate) use self::window::{Counts, Window};
use crate::chance::Chance;
use crate::config::BreakerPolicy;

/// Longest pause a callee may ask for with its retry hint.
const HINT_MAX: Duration = Duration::from_secs(30);

/// The breaker of one endpoint or one method.
#[derive(Debug)]
pub(crate) struct Breaker {
    policy: BreakerPolicy,
    /// Limits ejections, where several endpoints share one.
    quota: Option<Arc<Quota>>,
    chance: Arc<Chance>,
    /// Spares calls the lock while all is well.
    closed: AtomicBool,
    start: Instant,
    /// Until when it is only spared, in microseconds since the start.
    spared_until_us: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Grows with every change of phase: outcomes of an older cycle are ignored.
    cycle: u64,
    /// Pause of the next opening.
    pause: Duration,
    /// Left out although it answers; such a one holds a place of the quota.
    ejected: bool,
    reason: String,
    opened: u64,
}

#[derive(Debug)]
enum Phase {
    Closed { window: Window, failed: InARow },
    Open { until: Instant },
    HalfOpen(Probes),
}

/// Calls in a row that ended badly.
#[derive(Clone, Copy, Debug, Default)]
struct InARow {
    /// Those that failed, answered or not.
    failed: u32,
    /// Those that were not answered.
    silent: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Probes {
    running: u32,
    good: u32,
    failed: u32,
    slow: u32,
    /// One of them was not answered at all.
    silent: bool,
}

impl Probes {
    fn begun(&self) -> u32 {
        self.running + self.good + self.failed
    }
}

impl Breaker {
    pub(crate) fn new(
        policy: BreakerPolicy,
        quota: Option<Arc<Quota>>,
        chance: Arc<Chance>,
        now: Instant,
    ) -> Arc<Self> {
        let state = State {
            phase: closed(&policy, now),
            cycle: 0,
            pause: policy.open_min,
            ejected: false,
            reason: String::new(),
            opened: 0,
        };
        let (closed, spared_until_us) = (AtomicBool::new(true), AtomicU64::new(0));
        Arc::new(Breaker { policy, quota, chance, closed, start: now, spared_until_us, state: Mutex::new(state) })
    }

    /// Tells what the breaker would say, without asking it to.
    pub(crate) fn admission(&self, now: Instant) -> Admission {
        if self.closed.load(Ordering::Relaxed) {
            let spared = self.spared_until_us.load(Ordering::Relaxed) > self.since_start_us(now);
            return if spared { Admission::Spared } else { Admission::Open };
        }
        let state = self.state.lock();
        match &state.phase {
            Phase::Closed { .. } => Admission::Open,
            Phase::Open { until } if now >= *until => Admission::Probe,
            Phase::HalfOpen(probes) if probes.begun() < self.policy.probes => Admission::Probe,
            _ if state.ejected => Admission::Ejected,
            _ => Admission::Refused,
        }
    }

    /// Admits a call, or does not. A permit that is dropped without an outcome counts as never given.
    pub(crate) fn admit(self: &Arc<Self>, now: Instant) -> Option<Permit> {
        let mut state = self.state.lock();
        let mut first_probe = false;
        if let Phase::Open { until } = state.phase
            && now >= until
        {
            state.enter(Phase::HalfOpen(Probes::default()));
            first_probe = true;
        }
        match &mut state.phase {
            Phase::Closed { .. } => {}
            Phase::HalfOpen(probes) if probes.begun() < self.policy.probes => probes.running += 1,
            _ => return None,
        }
        Some(Permit { breaker: Arc::clone(self), cycle: Some(state.cycle), first_probe })
    }

    /// Admits a call whatever the state; its outcome counts only while the breaker is closed.
    pub(crate) fn admit_anyway(self: &Arc<Self>) -> Permit {
        let state = self.state.lock();
        let cycle = matches!(state.phase, Phase::Closed { .. }).then_some(state.cycle);
        Permit { breaker: Arc::clone(self), cycle, first_probe: false }
    }

    /// Returns the time until the next probe.
    pub(crate) fn open_for(&self, now: Instant) -> Option<Duration> {
        match self.state.lock().phase {
            Phase::Open { until } => Some(until.saturating_duration_since(now)),
            _ => None,
        }
    }

    /// Returns the answer time from which a call is slow, if there is one.
    pub(crate) fn slow(&self) -> Option<Duration> {
        (!self.policy.slow.is_zero()).then_some(self.policy.slow)
    }

    pub(crate) fn view(&self, now: Instant) -> View {
        let state = self.state.lock();
        let (name, counts, open_for) = match &state.phase {
            Phase::Closed { window, .. } => ("closed", window.counts(now), None),
            Phase::Open { until } => ("open", Counts::default(), Some(until.saturating_duration_since(now))),
            Phase::HalfOpen(probes) => {
                let [good, failed, slow] = [probes.good, probes.failed, probes.slow].map(u64::from);
                ("half_open", Counts { calls: good + failed, failed, slow, us: 0 }, None)
            }
        };
        View { state: name, reason: state.reason.clone(), opened: state.opened, counts, open_for }
    }

    fn settle(&self, cycle: u64, end: Option<End>, now: Instant) -> Change {
        let mut state = self.state.lock();
        if state.cycle != cycle {
            return Change::None;
        }
        match (&mut state.phase, end) {
            (Phase::Closed { window, failed }, Some(end)) => {
                let Some(trip) = self.record(window, failed, end, now) else { return Change::None };
                self.open(&mut state, trip, end.hint, now)
            }
            (Phase::HalfOpen(probes), end) => {
                probes.running = probes.running.saturating_sub(1);
                let Some(end) = end else { return Change::None };
                self.count_probe(probes, end);
                let probes = *probes;
                self.decide(&mut state, probes, end.hint, now)
            }
            (Phase::Closed { .. }, None) | (Phase::Open { .. }, _) => Change::None,
        }
    }

    /// Counts the end of a call of a closed breaker; says why it must open, if it must.
    fn record(&self, window: &mut Window, in_a_row: &mut InARow, end: End, now: Instant) -> Option<Trip> {
        let policy = &self.policy;
        let failed = matches!(end.outcome, Outcome::Failed | Outcome::Silent);
        let slow = self.is_slow(end);
        window.record(now, end.took, failed, slow);
        in_a_row.failed = if failed { in_a_row.failed + 1 } else { 0 };
        in_a_row.silent = if end.outcome == Outcome::Silent { in_a_row.silent + 1 } else { 0 };
        if in_a_row.silent >= policy.consecutive_max {
            let reason = format!("{} calls in a row without an answer", in_a_row.silent);
            return Some(Trip { ejected: false, reason });
        }
        if in_a_row.failed >= policy.consecutive_max {
            return Some(Trip { ejected: true, reason: format!("{} calls in a row failed", in_a_row.failed) });
        }
        if !failed && !slow {
            return None;
        }
        let counts = window.counts(now);
        if counts.calls < u64::from(policy.calls_min) {
            return None;
        }
        let reason = if reached(counts.failed, counts.calls, policy.failure_percent) {
            format!("{} of {} calls failed", counts.failed, counts.calls)
        } else if reached(counts.slow, counts.calls, policy.slow_percent) {
            format!("{} of {} calls took {} ms or more", counts.slow, counts.calls, policy.slow.as_millis())
        } else {
            return None;
        };
        Some(Trip { ejected: true, reason })
    }

    fn count_probe(&self, probes: &mut Probes, end: End) {
        let failed = match end.outcome {
            Outcome::Good => false,
            // One that has no room yet and says when to come again is not back.
            Outcome::Shed => end.hint.is_some(),
            Outcome::Failed | Outcome::Silent => true,
        };
        *if failed { &mut probes.failed } else { &mut probes.good } += 1;
        probes.slow += u32::from(self.is_slow(end));
        probes.silent |= end.outcome == Outcome::Silent;
    }

    /// Decides as soon as the probes still to come cannot change it.
    fn decide(&self, state: &mut State, probes: Probes, hint: Option<Duration>, now: Instant) -> Change {
        let policy = &self.policy;
        let [good, failed, slow, all] = [probes.good, probes.failed, probes.slow, policy.probes].map(u64::from);
        let failing = reached(failed, all, policy.failure_percent);
        if failing || reached(slow, all, policy.slow_percent) {
            let what = if failing { format!("{failed} failed") } else { format!("{slow} were slow") };
            let reason = format!("of {all} probes {what}");
            return self.open(state, Trip { ejected: !probes.silent, reason }, hint, now);
        }
        let to_come = all - (good + failed).min(all);
        let may_fail = reached(failed + to_come, all, policy.failure_percent);
        if may_fail || (to_come > 0 && reached(slow + to_come, all, policy.slow_percent)) {
            return Change::None;
        }
        self.close(state, now);
        Change::Closed
    }

    fn close(&self, state: &mut State, now: Instant) {
        self.set_ejected(state, false);
        state.pause = self.policy.open_min;
        state.enter(closed(&self.policy, now));
        self.closed.store(true, Ordering::Relaxed);
    }

    fn open(&self, state: &mut State, trip: Trip, hint: Option<Duration>, now: Instant) -> Change {
        if !self.set_ejected(state, trip.ejected) {
            // It answers, and too many are left out already. One that was away is used again for it.
            if !matches!(state.phase, Phase::Closed { .. }) {
                self.close(state, now);
                return Change::Closed;
            }
            let until = self.since_start_us(now) + micros(state.pause);
            self.spared_until_us.store(until, Ordering::Relaxed);
            return Change::Spared;
        }
        let hint = hint.unwrap_or_default().min(HINT_MAX);
        let until = now + self.jittered(state.pause).max(hint);
        state.pause = (state.pause * 2).min(self.policy.open_max);
        state.reason = trip.reason;
        state.opened += 1;
        state.enter(Phase::Open { until });
        self.closed.store(false, Ordering::Relaxed);
        Change::Opened { ejected: trip.ejected }
    }

    /// Takes or gives back a place of the quota as needed; `false` when there is none left to take.
    fn set_ejected(&self, state: &mut State, ejected: bool) -> bool {
        let Some(quota) = &self.quota else {
            state.ejected = ejected;
            return true;
        };
        match (state.ejected, ejected) {
            (false, true) if !quota.take() => return false,
            (true, false) => quota.give_back(),
            _ => {}
        }
        state.ejected = ejected;
        true
    }

    /// Shortens a pause at random, so that callers do not come back all at once.
    fn jittered(&self, pause: Duration) -> Duration {
        let most = micros(pause) / 100 * u64::from(self.policy.jitter_percent);
        pause - Duration::from_micros(self.chance.below(most))
    }

    fn since_start_us(&self, now: Instant) -> u64 {
        micros(now.saturating_duration_since(self.start))
    }

    fn is_slow(&self, end: End) -> bool {
        self.slow().is_some_and(|slow| end.took >= slow)
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        if let (true, Some(quota)) = (self.state.get_mut().ejected, &self.quota) {
            quota.give_back();
        }
    }
}

/// Why a breaker opens.
struct Trip {
    /// It still answers.
    ejected: bool,
    reason: String,
}

impl State {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.cycle += 1;
    }
}

fn closed(policy: &BreakerPolicy, now: Instant) -> Phase {
    Phase::Closed { window: Window::new(policy.window, now), failed: InARow::default() }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Tells whether `part` of `all` is at least the percentage; 0 % is never reached.
fn reached(part: u64, all: u64, percent: u32) -> bool {
    percent > 0 && part > 0 && part * 100 >= all * u64::from(percent)
}

/// Leave to make one call.
#[derive(Debug)]
pub(crate) struct Permit {
    breaker: Arc<Breaker>,
    /// None once settled, or if the outcome shall not count.
    cycle: Option<u64>,
    first_probe: bool,
}

impl Permit {
    /// Tells whether this call is the first to find out whether the callee is back.
    pub(crate) fn is_first_probe(&self) -> bool {
        self.first_probe
    }

    /// Reports how the call ended.
    pub(crate) fn settle(mut self, end: impl Into<End>, now: Instant) -> Change {
        match self.cycle.take() {
            Some(cycle) => self.breaker.settle(cycle, Some(end.into()), now),
            None => Change::None,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(cycle) = self.cycle.take() {
            // A call given up by its caller says nothing about the callee, so the time does not matter.
            self.breaker.settle(cycle, None, Instant::now());
        }
    }
}
