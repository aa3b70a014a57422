//! What the end of an attempt says about the endpoint.

use std::time::Duration;

use tonic::{Code, Status};

use crate::error::{error, is_answer};
use crate::policy::retry::{Answer, head_code};

/// What the end of an attempt says about the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// All is well; a refusal is the caller's affair.
    Good,
    /// There was no room for the call.
    Shed,
    /// The callee answered that it failed. Its dependency may be down, and leaving it out would spread that outage to
    /// everything it serves: others are preferred, and some of those that fail often are left out, but never all.
    Failing,
    /// The caller had too little time to tell.
    Late,
    /// Nothing answered.
    Away,
}

/// A judgement, and how long the endpoint asked to be left alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    pub(crate) judgement: Judgement,
    pub(crate) hint: Option<Duration>,
}

/// Judges an attempt that took `took`; a missed deadline counts against the endpoint from `patience` on.
pub(crate) fn judge(answer: &Answer, took: Duration, patience: Duration) -> Verdict {
    let (code, answered) = match answer {
        Ok(response) => (head_code(response.headers()).unwrap_or(Code::Ok), true),
        Err(status) => (status.code(), false),
    };
    let judgement = match code {
        Code::Unavailable if !answered || !made_by_callee(answer) => Judgement::Away,
        Code::DeadlineExceeded if took < patience => Judgement::Late,
        Code::DeadlineExceeded if !answered => Judgement::Away,
        Code::Unavailable | Code::DeadlineExceeded | Code::Internal | Code::Unknown | Code::DataLoss => {
            Judgement::Failing
        }
        Code::ResourceExhausted if answered => Judgement::Shed,
        _ => Judgement::Good,
    };
    let hint = matches!(code, Code::Unavailable | Code::ResourceExhausted).then(|| hint(answer)).flatten();
    Verdict { judgement, hint }
}

/// Tells whether a handler made this answer, as opposed to a proxy on the way.
fn made_by_callee(answer: &Answer) -> bool {
    head_status(answer).is_some_and(|status| is_answer(&status))
}

/// Returns how long an answer asks to leave the callee alone.
pub(crate) fn hint(answer: &Answer) -> Option<Duration> {
    error(head_status(answer)?).retry_after_ms.map(Duration::from_millis)
}

fn head_status(answer: &Answer) -> Option<Status> {
    match answer {
        Ok(response) => Status::from_header_map(response.headers()),
        Err(status) => Some(status.clone()),
    }
}

#[cfg(test)]
mod tests {
    use http::Response;
    use mallard_types::Error;
    use tonic::body::Body;

    use super::*;
    use crate::error::{INTERNAL_TEXT, status};
    use crate::guard::deadline_exceeded;

    const PATIENCE: Duration = Duration::from_secs(1);

    #[test]
    fn an_endpoint_is_blamed_for_silence_more_than_for_its_answers() {
        let answered = |status: Status| Ok(status.into_http());
        let away = || status(Error::unavailable("db_away", "away"));
        let late = || status(deadline_exceeded());
        let cases = [
            (Ok(Response::new(Body::empty())), 0, Judgement::Good),
            (answered(status(Error::refused("no", "no"))), 0, Judgement::Good),
            (answered(status(Error::too_many("slow_down", "wait"))), 0, Judgement::Shed),
            (answered(away()), 0, Judgement::Failing),
            (answered(status(Error::internal("bug", INTERNAL_TEXT))), 0, Judgement::Failing),
            (answered(late()), 0, Judgement::Late),
            (answered(late()), 5, Judgement::Failing),
            (answered(Status::unavailable("from a proxy")), 0, Judgement::Away),
            (Err(away()), 0, Judgement::Away),
            (Err(late()), 0, Judgement::Late),
            (Err(late()), 1, Judgement::Away),
        ];
        for (index, (answer, seconds, expected)) in cases.into_iter().enumerate() {
            let verdict = judge(&answer, Duration::from_secs(seconds), PATIENCE);
            assert_eq!((verdict.judgement, verdict.hint), (expected, None), "case {index}");
        }
    }

    #[test]
    fn a_retry_hint_is_heard_where_the_callee_has_no_room_or_is_down() {
        for error in [Error::too_many("slow_down", "wait"), Error::unavailable("away", "away")] {
            let answer = Ok(status(error.retry_after_ms(700)).into_http());
            assert_eq!(judge(&answer, Duration::ZERO, PATIENCE).hint, Some(Duration::from_millis(700)));
        }
    }
}
