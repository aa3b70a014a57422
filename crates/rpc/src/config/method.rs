//! What may be different for each method that is called.

use mallard_types::Result;
use serde::Deserialize;

use super::service::BreakerSettings;
use super::{Checks, RetryPolicy, bad};

/// What answers when the callee does not. Only methods without side effects have a fallback: an invented answer to a
/// write would be a lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// The error.
    #[default]
    None,
    /// An empty message.
    Empty,
    /// The last good answer to the same request of the same caller.
    LastGood,
}

/// A method of the contracts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownMethod {
    /// The service that answers it; empty when every service does.
    pub service: &'static str,
    /// Its name, e.g. `PlaceOrder`.
    pub name: &'static str,
    /// It has no side effects.
    pub safe: bool,
}

impl KnownMethod {
    /// Tells whether a service answers it.
    pub(super) fn is_of(&self, service: &str) -> bool {
        self.service.is_empty() || self.service == service
    }
}

/// Retries of one method: what is absent is as for its service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MethodRetry {
    /// [`RetryPolicy::attempts_max`].
    pub attempts_max: Option<u32>,
    /// [`RetryPolicy::backoff_base_ms`].
    pub backoff_base_ms: Option<u64>,
    /// [`RetryPolicy::backoff_max_ms`].
    pub backoff_max_ms: Option<u64>,
}

/// Policies of the calls to one method.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MethodPolicy {
    /// Longest time for a call, retries included, in milliseconds; the caller's own deadline may be nearer.
    pub timeout_ms: Option<u64>,
    /// How it is tried again, if the contract marks it idempotent.
    pub retry: Option<MethodRetry>,
    /// Time after which one more attempt is made at another endpoint beside the one under way, in milliseconds, if the
    /// contract says the method has no side effects.
    pub hedge_after_ms: Option<u64>,
    /// Calls under way in this process; more are refused at once.
    pub concurrency_max: Option<u32>,
    /// The breaker of the method; none when absent.
    pub breaker: Option<BreakerSettings>,
    /// What answers when the callee does not.
    pub fallback: Fallback,
    /// The answer does not depend on who asks: a good answer to one caller serves another.
    pub fallback_shared: bool,
    /// Good answers kept.
    pub last_good_entries_max: u32,
    /// Bytes of good answers and their requests kept.
    pub last_good_bytes_max: u64,
    /// Oldest good answer given again, in milliseconds.
    pub last_good_age_max_ms: u64,
}

impl Default for MethodPolicy {
    fn default() -> Self {
        MethodPolicy {
            timeout_ms: None,
            retry: None,
            hedge_after_ms: None,
            concurrency_max: None,
            breaker: None,
            fallback: Fallback::None,
            fallback_shared: false,
            last_good_entries_max: 1_000,
            last_good_bytes_max: 4 * 1024 * 1024,
            last_good_age_max_ms: 3_600_000,
        }
    }
}

impl MethodPolicy {
    /// Returns how the method is tried again, where `service` is how its service is.
    pub(crate) fn retry(&self, service: &RetryPolicy) -> RetryPolicy {
        let own = self.retry.clone().unwrap_or_default();
        RetryPolicy {
            attempts_max: own.attempts_max.unwrap_or(service.attempts_max),
            backoff_base_ms: own.backoff_base_ms.unwrap_or(service.backoff_base_ms),
            backoff_max_ms: own.backoff_max_ms.unwrap_or(service.backoff_max_ms),
            ..service.clone()
        }
    }

    pub(super) fn validate(&self, at: &str, service: &RetryPolicy) -> Result<()> {
        let checks = Checks(at);
        if let Some(timeout_ms) = self.timeout_ms {
            checks.range("timeout_ms", timeout_ms, 1, 3_600_000)?;
        }
        self.retry(service).validate(&format!("{at}.retry"))?;
        if let Some(after_ms) = self.hedge_after_ms {
            // After the time-out it would never be.
            let max = self.timeout_ms.map_or(3_600_000, |timeout_ms| timeout_ms.saturating_sub(1));
            checks.range("hedge_after_ms", after_ms, 1, max)?;
        }
        if let Some(max) = self.concurrency_max {
            checks.range("concurrency_max", max, 1, 1_000_000)?;
        }
        if let Some(breaker) = &self.breaker {
            breaker.policy().validate(&format!("{at}.breaker"))?;
        }
        checks.range("last_good_entries_max", self.last_good_entries_max, 1, 1_000_000)?;
        checks.range("last_good_bytes_max", self.last_good_bytes_max, 1, 1024 * 1024 * 1024)?;
        checks.range("last_good_age_max_ms", self.last_good_age_max_ms, 1, 7 * 24 * 3_600_000)
    }

    /// Refuses what only methods without side effects can have.
    pub(super) fn check_safe(&self, at: &str, safe: bool) -> Result<()> {
        let refused = |key: &str| Err(bad(&format!("{at}.{key}"), "needs a method that changes nothing; take it away"));
        match (safe, self.hedge_after_ms, self.fallback) {
            (false, Some(_), _) => refused("hedge_after_ms"),
            (false, _, Fallback::Empty | Fallback::LastGood) => refused("fallback"),
            _ => Ok(()),
        }
    }

    /// Says the policy in words, e.g. `retry 3, hedge after 50 ms, fallback last_good`.
    pub(crate) fn words(&self, service: &RetryPolicy) -> String {
        let mut words = Vec::new();
        words.extend(self.timeout_ms.map(|ms| format!("timeout {ms} ms")));
        words.extend(self.retry.as_ref().map(|_| format!("retry {}", self.retry(service).attempts_max)));
        words.extend(self.hedge_after_ms.map(|ms| format!("hedge after {ms} ms")));
        words.extend(self.concurrency_max.map(|max| format!("at most {max} at once")));
        words.extend(self.breaker.as_ref().map(|_| "breaker".to_owned()));
        match self.fallback {
            Fallback::None => {}
            Fallback::Empty => words.push("fallback empty".to_owned()),
            Fallback::LastGood => words.push("fallback last_good".to_owned()),
        }
        words.join(", ")
    }
}
