//! The guard around every handler and every attempt: a missed deadline and a panic become errors.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::CatchUnwind;
use mallard_types::Error;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

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
///
/// Not an async function: that would hold `work` twice, and every call of every service is inside of two guards.
pub(crate) fn guard<F: Future>(deadline: Option<Instant>, work: F) -> Guard<F> {
    Guard { work: AssertUnwindSafe(work).catch_unwind(), deadline, timer: None }
}

pin_project! {
    /// Work under guard.
    pub(crate) struct Guard<F> {
        #[pin]
        work: CatchUnwind<AssertUnwindSafe<F>>,
        deadline: Option<Instant>,
        #[pin]
        timer: Option<Sleep>,
    }
}

impl<F: Future> Future for Guard<F> {
    type Output = Result<F::Output, Broken>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(outcome) = this.work.poll(cx) {
            return Poll::Ready(outcome.map_err(|panic| broken_by(&*panic)));
        }
        let Some(deadline) = *this.deadline else { return Poll::Pending };
        if this.timer.is_none() {
            this.timer.set(Some(sleep_until(deadline)));
        }
        match this.timer.as_mut().as_pin_mut() {
            Some(timer) => timer.poll(cx).map(|()| Err(Broken::Deadline)),
            None => Poll::Pending,
        }
    }
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
