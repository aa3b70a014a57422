//! The hedge: when an answer is late, one more attempt is made beside the one under way, and the first to answer wins.

use std::pin::pin;
use std::time::Duration;

use tokio::time::sleep;

use super::retry::{Answer, is_unanswered};

/// Runs `first`; when it takes longer than `after`, also what `second` makes, if it makes any. Returns the first answer
/// that is one; the other attempt is dropped, which cancels it. When neither answers, the failure of `first`.
pub(crate) async fn hedge<S: Future<Output = Answer>>(
    first: impl Future<Output = Answer>,
    after: Duration,
    second: impl FnOnce() -> Option<S>,
) -> Answer {
    let mut first = pin!(first);
    tokio::select! {
        biased;
        answer = &mut first => return answer,
        () = sleep(after) => {}
    }
    let Some(second) = second() else { return first.await };
    let mut second = pin!(second);
    tokio::select! {
        biased;
        answer = &mut first => {
            if !is_unanswered(&answer) {
                return answer;
            }
            let other = second.await;
            if is_unanswered(&other) { answer } else { other }
        }
        answer = &mut second => if is_unanswered(&answer) { first.await } else { answer },
    }
}

#[cfg(test)]
mod tests {
    use http::Response;
    use mallard_types::Error;
    use tokio::time::Instant;
    use tonic::body::Body;

    use super::*;
    use crate::error::{error, status};

    const MS: Duration = Duration::from_millis(1);

    async fn after(ms: u32, answer: Result<&'static str, &'static str>) -> Answer {
        sleep(ms * MS).await;
        match answer {
            Ok(name) => Ok(Response::builder().header("name", name).body(Body::empty()).unwrap()),
            Err(code) => Err(status(Error::unavailable(code, "away"))),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_answer_wins_and_a_failure_waits_for_the_other() {
        // First attempt, second, what comes out, after how long, with a hedge after 50 ms.
        for (first, second, expected, took) in [
            ((40, Ok("a")), (0, Ok("b")), Ok("a"), 40),
            ((40, Err("a")), (0, Ok("b")), Err("a"), 40),
            ((200, Ok("a")), (10, Ok("b")), Ok("b"), 60),
            ((70, Ok("a")), (100, Ok("b")), Ok("a"), 70),
            ((200, Ok("a")), (10, Err("b")), Ok("a"), 200),
            ((70, Err("a")), (100, Ok("b")), Ok("b"), 150),
            ((70, Err("a")), (100, Err("b")), Err("a"), 150),
            ((200, Err("a")), (10, Err("b")), Err("a"), 200),
        ] {
            let started = Instant::now();
            let answer = hedge(after(first.0, first.1), 50 * MS, || Some(after(second.0, second.1))).await;
            let name = answer.map(|response| response.headers()["name"].to_str().unwrap().to_owned());
            assert_eq!(
                name.map_err(|status| error(status).code.into_owned()),
                expected.map(Into::into).map_err(Into::into)
            );
            assert_eq!(started.elapsed(), took * MS);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_no_second_is_allowed_the_first_goes_on() {
        let answer = hedge(after(200, Ok("a")), 50 * MS, || None::<std::future::Pending<Answer>>).await;
        assert_eq!(answer.unwrap().headers()["name"], "a");
    }
}
