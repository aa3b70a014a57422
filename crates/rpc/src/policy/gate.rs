//! What every call of a method with policies of its own passes, and what is counted of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use mallard_types::Error;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::bulkhead::{Bulkhead, Place};
use super::last_good::{self, ANSWER_BYTES_MAX, Kept, Key, LastGood};
use super::retry::{Answer, head_code, is_unanswered};
use crate::breaker::{Breaker, Change, End, Outcome, Permit};
use crate::chance::Chance;
use crate::config::{Fallback, MethodPolicy, RetryPolicy};
use crate::error::status;
use crate::guard::guard;
use crate::metadata::FALLBACK;
use crate::remote::hint;
use crate::replay::{Collected, Replay, collect};
use crate::snapshot::MethodState;

/// When a call refused for want of a place may be tried again, in milliseconds.
const BULKHEAD_RETRY_MS: u64 = 100;
/// Time below which a missed deadline is the caller's fault: it gave too little.
const PATIENCE: Duration = Duration::from_secs(1);
/// An empty message on the wire: not compressed, no bytes.
const EMPTY: &[u8] = &[0, 0, 0, 0, 0];

/// The policies of one method.
#[derive(Debug)]
pub(crate) struct Gate {
    service: Arc<str>,
    method: Box<str>,
    words: String,
    timeout: Option<Duration>,
    retry: RetryPolicy,
    hedge_after: Option<Duration>,
    bulkhead: Option<Bulkhead>,
    breaker: Option<Arc<Breaker>>,
    fallback: Fallback,
    fallback_shared: bool,
    last_good: LastGood,
    /// The log was told once what is not done because the method has side effects.
    told: AtomicBool,
    calls: AtomicU64,
    retries: AtomicU64,
    hedges: AtomicU64,
    fallbacks: AtomicU64,
    rejected: AtomicU64,
}

impl Gate {
    /// Makes the gate of a method; `service_retry` is how its service is tried again.
    pub(crate) fn new(
        service: Arc<str>,
        method: &str,
        policy: &MethodPolicy,
        service_retry: &RetryPolicy,
        chance: &Arc<Chance>,
    ) -> Self {
        let now = Instant::now();
        let breaker =
            |settings: &crate::config::BreakerSettings| Breaker::new(settings.policy(), None, Arc::clone(chance), now);
        Gate {
            service,
            method: method.into(),
            words: policy.words(service_retry),
            timeout: policy.timeout_ms.map(Duration::from_millis),
            retry: policy.retry(service_retry),
            hedge_after: policy.hedge_after_ms.map(Duration::from_millis),
            bulkhead: policy.concurrency_max.map(Bulkhead::new),
            breaker: policy.breaker.as_ref().map(breaker),
            fallback: policy.fallback,
            fallback_shared: policy.fallback_shared,
            last_good: LastGood::new(policy),
            told: AtomicBool::new(false),
            calls: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            hedges: AtomicU64::new(0),
            fallbacks: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
        }
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    pub(crate) fn retry(&self) -> &RetryPolicy {
        &self.retry
    }

    /// Counts a call. Tells the log, once, what is configured and not done because the method is not `safe`.
    pub(crate) fn begin(&self, safe: bool) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let wants = self.hedge_after.is_some() || self.fallback != Fallback::None;
        if wants && !safe && !self.told.swap(true, Ordering::Relaxed) {
            let (service, method) = (&*self.service, &*self.method);
            tracing::warn!(service, method, "a method that may have side effects has neither hedge nor fallback");
        }
    }

    /// Returns the time after which a call of a safe method is hedged.
    pub(crate) fn hedge_after(&self) -> Option<Duration> {
        self.hedge_after
    }

    /// Tells whether the request of a safe method must be kept beyond the first attempt.
    pub(crate) fn keeps_requests(&self) -> bool {
        self.hedge_after.is_some() || self.fallback == Fallback::LastGood
    }

    /// Admits a call, or does not.
    ///
    /// # Errors
    /// `unavailable`: `bulkhead_full` when too many calls are under way, `breaker_open` when the method is left alone.
    pub(crate) fn admit(&self) -> Result<Pass<'_>, Error> {
        let place = match &self.bulkhead {
            None => None,
            Some(bulkhead) => Some(bulkhead.enter().ok_or_else(|| self.full())?),
        };
        let now = Instant::now();
        let permit = match &self.breaker {
            None => None,
            Some(breaker) => Some(breaker.admit(now).ok_or_else(|| self.open(breaker, now))?),
        };
        if permit.as_ref().is_some_and(Permit::is_first_probe) {
            self.show_state(1.0);
        }
        Ok(Pass { gate: self, permit, _place: place, started: now })
    }

    fn full(&self) -> Error {
        self.rejected.fetch_add(1, Ordering::Relaxed);
        self.count("mallard_rpc_bulkhead_rejected_total");
        let message = format!("too many calls of {}.{} are under way; try again later", self.service, self.method);
        Error::unavailable("bulkhead_full", message).retry_after_ms(BULKHEAD_RETRY_MS)
    }

    fn open(&self, breaker: &Breaker, now: Instant) -> Error {
        let message = format!("{}.{} does not answer and is left alone for a while", self.service, self.method);
        let ms = breaker.open_for(now).map_or(BULKHEAD_RETRY_MS, |left| left.as_millis() as u64 + 1);
        Error::unavailable("breaker_open", message).retry_after_ms(ms)
    }

    /// Makes the key under which the answer to a request of a safe method is kept.
    pub(crate) fn key(&self, request: &Replay) -> Option<Key> {
        if self.fallback != Fallback::LastGood {
            return None;
        }
        last_good::key(request, self.fallback_shared)
    }

    /// Keeps a good answer of a safe method, and gives the fallback where there is no answer.
    pub(crate) async fn with_fallback(&self, answer: Answer, key: Option<Key>, deadline: Instant) -> Answer {
        let answer = match (answer, &key) {
            (Ok(response), Some(key)) if matches!(head_code(response.headers()), None | Some(Code::Ok)) => {
                let kept = guard(Some(deadline), self.keep(response, key)).await;
                kept.unwrap_or_else(|broken| Err(status(broken.error())))
            }
            (answer, _) => answer,
        };
        if !is_unanswered(&answer) {
            return answer;
        }
        let (kind, mut stand_in) = match self.fallback {
            Fallback::None => return answer,
            Fallback::Empty => ("empty", empty()),
            Fallback::LastGood => match key.and_then(|key| self.last_good.get(&key, Instant::now())) {
                Some(kept) => ("last_good", kept),
                None => return answer,
            },
        };
        self.fallbacks.fetch_add(1, Ordering::Relaxed);
        let labels =
            [("service", self.service.to_string()), ("method", self.method.to_string()), ("kind", kind.to_owned())];
        metrics::counter!("mallard_rpc_fallbacks_total", &labels).increment(1);
        stand_in.headers.insert(FALLBACK, HeaderValue::from_static(kind));
        Ok(stand_in.response())
    }

    /// Reads a good answer to its end and keeps it; one that is too large is passed on.
    async fn keep(&self, response: http::Response<tonic::body::Body>, key: &Key) -> Answer {
        let (head, body) = response.into_parts();
        let (body, trailers) = match collect(body, ANSWER_BYTES_MAX).await {
            Collected::Whole(body, trailers) => (body, trailers),
            Collected::TooLarge(body) => return Ok(http::Response::from_parts(head, body)),
            Collected::Failed(status) => return Err(status),
        };
        let end = trailers.as_ref().and_then(Status::from_header_map);
        if let Some(failed) = end.filter(|status| status.code() != Code::Ok) {
            return Err(failed);
        }
        let kept = Kept { headers: head.headers.clone(), body, trailers };
        self.last_good.keep(Arc::clone(key), kept.clone(), Instant::now());
        let body = kept.response().into_body();
        Ok(http::Response::from_parts(head, body))
    }

    pub(crate) fn count_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_hedge(&self) {
        self.hedges.fetch_add(1, Ordering::Relaxed);
        self.count("mallard_rpc_hedges_total");
    }

    fn changed(&self, change: Change, now: Instant) {
        let (service, method) = (&*self.service, &*self.method);
        match change {
            Change::Opened { .. } => {
                let reason = self.breaker.as_ref().map(|breaker| breaker.view(now).reason);
                tracing::warn!(service, method, reason, "left a method alone");
                self.count("mallard_rpc_method_breaker_opened_total");
                self.show_state(2.0);
            }
            Change::Closed => {
                tracing::info!(service, method, "method is called again");
                self.show_state(0.0);
            }
            Change::None | Change::Spared => {}
        }
    }

    fn count(&self, name: &'static str) {
        let (service, method) = (self.service.to_string(), self.method.to_string());
        metrics::counter!(name, "service" => service, "method" => method).increment(1);
    }

    fn show_state(&self, state: f64) {
        let (service, method) = (self.service.to_string(), self.method.to_string());
        metrics::gauge!("mallard_rpc_method_breaker_state", "service" => service, "method" => method).set(state);
    }

    /// Returns what the method has done.
    pub(crate) fn state(&self, now: Instant) -> MethodState {
        let view = self.breaker.as_ref().map(|breaker| breaker.view(now));
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MethodState {
            service: self.service.to_string(),
            method: self.method.to_string(),
            state: view.as_ref().map_or("closed", |view| view.state),
            reason: view.map(|view| view.reason).unwrap_or_default(),
            calls: count(&self.calls),
            retries: count(&self.retries),
            hedges: count(&self.hedges),
            fallbacks: count(&self.fallbacks),
            rejected: count(&self.rejected),
            policy: self.words.clone(),
        }
    }
}

/// Leave to call the method.
pub(crate) struct Pass<'a> {
    gate: &'a Gate,
    permit: Option<Permit>,
    _place: Option<Place>,
    started: Instant,
}

impl Pass<'_> {
    /// Tells the breaker how the call ended.
    pub(crate) fn settle(mut self, answer: &Answer) {
        let Some(permit) = self.permit.take() else { return };
        let now = Instant::now();
        let took = now - self.started;
        let patience = self.gate.timeout.map_or(PATIENCE, |timeout| timeout.min(PATIENCE));
        let outcome = match code(answer) {
            Code::DeadlineExceeded if took < patience => return,
            Code::Unavailable | Code::DeadlineExceeded => Outcome::Silent,
            Code::Internal | Code::Unknown | Code::DataLoss => Outcome::Failed,
            Code::ResourceExhausted => Outcome::Shed,
            _ => Outcome::Good,
        };
        let hint = if outcome == Outcome::Good { None } else { hint(answer) };
        let change = permit.settle(End { outcome, took, hint }, now);
        self.gate.changed(change, now);
    }
}

fn code(answer: &Answer) -> Code {
    match answer {
        Ok(response) => head_code(response.headers()).unwrap_or(Code::Ok),
        Err(status) => status.code(),
    }
}

/// Makes the answer that holds an empty message.
fn empty() -> Kept {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/grpc"))]);
    let trailers = HeaderMap::from_iter([(Status::GRPC_STATUS, HeaderValue::from_static("0"))]);
    Kept { headers, body: Bytes::from_static(EMPTY), trailers: Some(trailers) }
}
