//! When a call is tried again: idempotent, Unavailable, within the budget and before the deadline.

use std::time::Duration;

use http::{HeaderMap, Response};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};

use super::budget::Budget;
use crate::chance::Chance;
use crate::config::RetryPolicy;
use crate::error::error;
use crate::methods::Method;

/// Answer of one attempt: a response (its status may be an error) or a failure without one.
pub(crate) type Answer = Result<Response<Body>, Status>;

/// The retries of one service.
#[derive(Debug)]
pub(crate) struct Retries {
    policy: RetryPolicy,
    budget: Budget,
}

impl Retries {
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        let budget = Budget::new(policy.budget_percent, policy.budget_reserve);
        Retries { policy, budget }
    }

    /// Counts a call and tells whether it may be tried again at all.
    pub(crate) fn begin(&self, method: &Method) -> bool {
        self.budget.pay_in();
        self.policy(method).attempts_max > 1 && method.is_idempotent()
    }

    /// Takes one more attempt out of the budget; `false` when there is not enough left.
    pub(crate) fn take_out(&self) -> bool {
        let taken = self.budget.take_out();
        if !taken {
            metrics::counter!("mallard_rpc_retry_budget_spent_total").increment(1);
        }
        taken
    }

    /// Returns the method's own policy, or the service's.
    fn policy<'a>(&'a self, method: &'a Method) -> &'a RetryPolicy {
        method.gate().map_or(&self.policy, |gate| gate.retry())
    }

    /// Returns the pause before the next attempt of an idempotent method after `attempts` failed ones; `None` when there
    /// shall be none.
    pub(crate) fn pause(
        &self,
        answer: &Answer,
        attempts: u32,
        deadline: Instant,
        method: &Method,
        chance: &Chance,
    ) -> Option<Duration> {
        let policy = self.policy(method);
        if attempts >= policy.attempts_max {
            return None;
        }
        let asked = unavailable(answer)?;
        let pause = asked.max(backoff(policy, attempts, chance));
        if Instant::now() + pause >= deadline {
            return None;
        }
        if !self.take_out() {
            return None;
        }
        method.count_retry();
        Some(pause)
    }
}

/// Draws the pause before the next attempt: full jitter under a doubling ceiling.
fn backoff(policy: &RetryPolicy, attempts: u32, chance: &Chance) -> Duration {
    let doubled = policy.backoff_base_ms.saturating_mul(1 << (attempts - 1).min(20));
    let ceiling_us = doubled.min(policy.backoff_max_ms).saturating_mul(1_000);
    Duration::from_micros(chance.below(ceiling_us.saturating_add(1)))
}

/// Tells whether nothing answered in time: what a hedge waits past, and a fallback is for.
pub(crate) fn is_unanswered(answer: &Answer) -> bool {
    let code = match answer {
        Ok(response) => head_code(response.headers()).unwrap_or(Code::Ok),
        Err(status) => status.code(),
    };
    matches!(code, Code::Unavailable | Code::DeadlineExceeded)
}

/// Returns how long an unavailable callee asked to be left alone; `None` when the answer is another.
fn unavailable(answer: &Answer) -> Option<Duration> {
    let status = match answer {
        Err(status) if status.code() == Code::Unavailable => status.clone(),
        Ok(response) if head_code(response.headers()) == Some(Code::Unavailable) => {
            Status::from_header_map(response.headers())?
        }
        _ => return None,
    };
    Some(Duration::from_millis(error(status).retry_after_ms.unwrap_or(0)))
}

/// Returns the status code in the head of a response; `None` when it comes after the body, which a good answer has.
pub(crate) fn head_code(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use mallard_types::Error;

    use super::*;
    use crate::error::status;
    use crate::methods::{Methods, Side, register_idempotent};

    #[test]
    fn nothing_is_tried_past_the_deadline_or_before_the_callee_wants_it() {
        register_idempotent(&["/retry/Get"]);
        let method = Methods::new("retry".into(), Side::Caller).get("/retry/Get");
        let retries = Retries::new(RetryPolicy::default());
        let chance = Chance::new(Some(1));
        assert!(retries.begin(&method));
        let answer = Err(status(Error::unavailable("away", "away").retry_after_ms(700)));
        let pause = |attempts, ms| {
            let deadline = Instant::now() + Duration::from_millis(ms);
            retries.pause(&answer, attempts, deadline, &method, &chance)
        };
        assert_eq!(pause(1, 700), None);
        assert_eq!(pause(1, 3_600_000), Some(Duration::from_millis(700)));
        assert_eq!(pause(3, 3_600_000), None, "three attempts are the limit");
    }

    #[test]
    fn only_unavailable_is_tried_again() {
        let method = Methods::new("retry".into(), Side::Caller).get("/retry/Get");
        let retries = Retries::new(RetryPolicy::default());
        let chance = Chance::new(Some(1));
        let deadline = Instant::now() + Duration::from_secs(3_600);
        for error in [Error::refused("no", "no"), Error::deadline("late", "late"), Error::internal("bug", "bug")] {
            let answer = Ok(status(error).into_http());
            assert_eq!(retries.pause(&answer, 1, deadline, &method, &chance), None);
        }
        let answer = Ok(status(Error::unavailable("away", "away")).into_http());
        assert!(retries.pause(&answer, 1, deadline, &method, &chance).is_some());
    }

    #[test]
    fn pauses_are_drawn_below_a_doubling_ceiling() {
        let policy = RetryPolicy { backoff_max_ms: 60, ..RetryPolicy::default() };
        let chance = Chance::new(Some(1));
        for (attempts, ceiling_ms) in [(1, 25), (2, 50), (3, 60), (30, 60)] {
            let longest = (0..1_000).map(|_| backoff(&policy, attempts, &chance)).max().unwrap();
            assert!(longest <= Duration::from_millis(ceiling_ms));
            assert!(longest > Duration::from_millis(ceiling_ms * 9 / 10));
        }
    }
}
