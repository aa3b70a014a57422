//! The guard around every handler and every attempt: a missed deadline and a panic become errors.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::Poll;

use futures_util::FutureExt;
use mallard_types::Error;
use tokio::time::{Instant, sleep_until};

/// Why guarded work gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The deadline passed first.
    Deadline,
    /// The work panicked.
    Panic,
}

impl Broken {
    /// Returns the error a caller sees.
    pub(crate) fn error(self) -> Error {
        match self {
            Broken::Deadline => deadline_exceeded(),
            Broken::Panic => Error::internal("panic", crate::error::INTERNAL_TEXT),
        }
    }
}

/// Makes the error of a missed deadline.
pub(crate) fn deadline_exceeded() -> Error {
    Error::deadline("deadline_exceeded", "the deadline passed before an answer came")
}

/// Runs `work` until it answers, panics or misses the deadline. The timer is made only once `work` has to wait.
pub(crate) async fn guard<F: Future>(deadline: Option<Instant>, work: F) -> Result<F::Output, Broken> {
    let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
    let mut timer = pin!(None);
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = work.as_mut().poll(cx) {
            return Poll::Ready(outcome.map_err(|panic| broken_by(&*panic)));
        }
        let Some(deadline) = deadline else { return Poll::Pending };
        if timer.is_none() {
            timer.set(Some(sleep_until(deadline)));
        }
        match timer.as_mut().as_pin_mut() {
            Some(timer) => timer.poll(cx).map(|()| Err(Broken::Deadline)),
            None => Poll::Pending,
        }
    })
    .await
}

/// Logs the text of a panic, once, where it is caught.
pub(crate) fn broken_by(panic: &(dyn Any + Send)) -> Broken {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("not a text");
    tracing::error!(panic = text, "caught a panic");
    Broken::Panic
}
