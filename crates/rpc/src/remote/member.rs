//! What balancing knows of an endpoint, and the leave to make one call to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::balance::hash;
use super::endpoint::Endpoint;
use super::judge::{Judgement, Verdict};
use super::load::{InFlight, Load};
use crate::breaker::{Breaker, Change, End, Outcome, Permit};
use crate::snapshot::EndpointState;

/// Smallest part of its share an endpoint in slow start gets, in thousandths.
const RAMP_MIN: u64 = 100;
/// Failures after which an endpoint's turns are as few as they get.
const PENALTY_FAILURES: i64 = 3;
/// Picks after which a failure is forgotten, times `PENALTY_FAILURES`.
const PENALTY_PICKS: i64 = 100;

/// One endpoint of a service.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) service: Arc<str>,
    pub(crate) endpoint: Endpoint,
    /// Made of the address; the same in every process.
    pub(crate) id: u64,
    pub(crate) breaker: Arc<Breaker>,
    pub(crate) load: Arc<Load>,
    /// When it joined, if it did after the first, and how long it takes to get its full share.
    pub(crate) slow_start: Option<(Instant, Duration)>,
    /// Standing in the weighted round robin, in thousandths of a weight.
    pub(crate) turn: AtomicI64,
    /// Taken off its weight after failures, in thousandths of a weight.
    penalty: AtomicI64,
}

impl Member {
    pub(crate) fn new(
        service: Arc<str>,
        endpoint: Endpoint,
        breaker: Arc<Breaker>,
        load: Arc<Load>,
        slow_start: Option<(Instant, Duration)>,
    ) -> Arc<Member> {
        let id = hash::of(endpoint.uri.as_bytes());
        let (turn, penalty) = (AtomicI64::new(0), AtomicI64::new(0));
        Arc::new(Member { service, endpoint, id, breaker, load, slow_start, turn, penalty })
    }

    /// Returns how much of its share the endpoint gets, in thousandths: less than all while it starts.
    pub(crate) fn ramp(&self, now: Instant) -> u64 {
        let Some((joined, length)) = self.slow_start else { return 1_000 };
        let passed = now.saturating_duration_since(joined);
        if passed >= length {
            return 1_000;
        }
        ((passed.as_micros() * 1_000 / length.as_micros().max(1)) as u64).max(RAMP_MIN)
    }

    /// Returns its share of the calls in proportion to the others', in thousandths of a weight, never 0.
    pub(crate) fn share(&self, now: Instant) -> u64 {
        u64::from(self.endpoint.weight) * self.ramp(now)
    }

    /// Returns the share less what failures took off, never 0.
    pub(crate) fn share_after_failures(&self, now: Instant) -> i64 {
        (self.share(now) as i64 - self.penalty.load(Ordering::Relaxed)).max(1)
    }

    fn take_off(&self) {
        let weight = self.weight();
        let more = |penalty: i64| Some((penalty + weight / PENALTY_FAILURES).min(weight));
        // The closure always gives a value, so the update cannot fail.
        let _ = self.penalty.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Gives back a little of what failures took off.
    pub(crate) fn forgive(&self) {
        let less = |penalty: i64| (penalty > 0).then(|| (penalty - self.weight() / PENALTY_PICKS).max(0));
        // Without a penalty there is nothing to update.
        let _ = self.penalty.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    fn weight(&self) -> i64 {
        i64::from(self.endpoint.weight) * 1_000
    }

    /// Begins a call with this permit.
    pub(crate) fn begin(self: &Arc<Self>, permit: Permit, now: Instant) -> Turn {
        if permit.is_first_probe() {
            self.show_state(1.0);
        }
        Turn { member: Arc::clone(self), permit: Some(permit), _in_flight: self.load.begin(), started: now }
    }

    /// Returns what is known of the endpoint.
    pub(crate) fn state(&self, now: Instant) -> EndpointState {
        let view = self.breaker.view(now);
        EndpointState {
            service: self.service.to_string(),
            endpoint: self.endpoint.uri.clone(),
            version: self.endpoint.version.clone(),
            zone: self.endpoint.zone.clone(),
            weight: self.endpoint.weight,
            state: view.state,
            reason: view.reason,
            calls: view.counts.calls,
            failed: view.counts.failed,
            slow: view.counts.slow,
            in_flight: self.load.pending(),
            // Answer times are far below the range of whole numbers a float holds.
            average_us: self.load.average_us(now).unwrap_or_default() as u64,
            open_for: view.open_for,
            opened: view.opened,
        }
    }

    fn changed(&self, change: Change, now: Instant) {
        let (service, endpoint) = (&*self.service, self.endpoint.uri.as_str());
        let labels = || [("service", service.to_owned()), ("endpoint", endpoint.to_owned())];
        match change {
            Change::None => {}
            Change::Opened { ejected } => {
                let view = self.breaker.view(now);
                tracing::warn!(service, endpoint, reason = view.reason, ejected, "left out an endpoint");
                metrics::counter!("mallard_rpc_breaker_opened_total", &labels()).increment(1);
                if ejected {
                    metrics::counter!("mallard_rpc_ejections_total", &labels()).increment(1);
                }
                self.show_state(2.0);
            }
            Change::Closed => {
                self.load.reset();
                tracing::info!(service, endpoint, "endpoint is used again");
                self.show_state(0.0);
            }
            Change::Spared => metrics::counter!("mallard_rpc_ejections_spared_total", &labels()).increment(1),
        }
    }

    /// Shows the breaker's state as a number: 0 closed, 1 half open, 2 open.
    pub(crate) fn show_state(&self, state: f64) {
        let (service, endpoint) = (self.service.to_string(), self.endpoint.uri.clone());
        metrics::gauge!("mallard_rpc_breaker_state", "service" => service, "endpoint" => endpoint).set(state);
    }
}

/// Leave to make one call to one endpoint.
#[derive(Debug)]
pub(crate) struct Turn {
    member: Arc<Member>,
    /// None once settled.
    permit: Option<Permit>,
    _in_flight: InFlight,
    started: Instant,
}

impl Turn {
    /// Tells load and breaker how the call ended.
    pub(crate) fn settle(mut self, verdict: Verdict, now: Instant) {
        let took = now.saturating_duration_since(self.started);
        let outcome = match verdict.judgement {
            Judgement::Good => Outcome::Good,
            Judgement::Shed => Outcome::Shed,
            Judgement::Failing => Outcome::Failed,
            Judgement::Away => Outcome::Silent,
            Judgement::Late => {
                self.member.load.observe(now, took, true);
                return self.give_up(took, now);
            }
        };
        let failed = matches!(outcome, Outcome::Failed | Outcome::Silent);
        if outcome != Outcome::Shed {
            // A refusal for want of room comes fast; it shall not make the endpoint look fast.
            self.member.load.observe(now, took, failed);
        }
        if failed {
            self.member.take_off();
        }
        if let Some(permit) = self.permit.take() {
            let change = permit.settle(End { outcome, took, hint: verdict.hint }, now);
            self.member.changed(change, now);
        }
    }

    /// Ends a call whose end nobody waited for: what is known is that it took at least this long.
    fn give_up(&mut self, took: Duration, now: Instant) {
        let Some(permit) = self.permit.take() else { return };
        if self.member.breaker.slow().is_some_and(|slow| took >= slow) {
            let change = permit.settle(End { outcome: Outcome::Good, took, hint: None }, now);
            self.member.changed(change, now);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.permit.is_some() {
            let now = Instant::now();
            let took = now.saturating_duration_since(self.started);
            self.member.load.observe_at_least(now, took);
            self.give_up(took, now);
        }
    }
}
