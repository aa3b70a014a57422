//! A place inside.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::{Door, Knock, Shed, tells};

/// A request's place; dropping it frees it.
pub struct Place {
    door: Arc<Door>,
    service: usize,
    lane: Option<usize>,
    deadline: Instant,
    since: Instant,
    /// Time that was not spent on the request's work.
    idle: Duration,
    /// The request counts at present.
    counts: bool,
    answered: bool,
}

impl Place {
    /// Makes the place of a request that does not count yet.
    pub(super) fn outside(door: &Arc<Door>, knock: &Knock<'_>) -> Place {
        Place {
            door: Arc::clone(door),
            service: knock.service,
            lane: knock.lane,
            deadline: knock.deadline,
            since: Instant::now(),
            idle: Duration::ZERO,
            counts: false,
            answered: true,
        }
    }

    /// Counts from now on; the door has counted it already.
    pub(super) fn came_in(&mut self) {
        self.since = Instant::now();
        self.counts = true;
        self.answered = false;
    }

    /// Waits for the client. While it lets the mall wait, its request takes nobody's place; afterwards it needs one again.
    ///
    /// # Errors
    /// [`Shed`] when there is none: otherwise a client could pass the door by sending its body late.
    pub async fn aside<F: Future>(&mut self, knock: &Knock<'_>, work: F) -> Result<F::Output, Shed> {
        let mut work = pin!(work);
        // The usual body is there already.
        if let Poll::Ready(output) = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await {
            return Ok(output);
        }
        let begun = Instant::now();
        self.step_out();
        let output = work.await;
        let door = Arc::clone(&self.door);
        door.find_room(knock).await?;
        self.counts = true;
        self.idle += begun.elapsed();
        Ok(output)
    }

    /// Ends with an answer, which tells how the mall is doing.
    pub fn answered(mut self, status: StatusCode) {
        self.answered = true;
        if tells(status) {
            self.note();
        }
    }

    fn note(&self) {
        let Some(lane) = self.lane else { return };
        let now = Instant::now();
        let took = now.saturating_duration_since(self.since).saturating_sub(self.idle);
        self.door.note(lane, took, now);
    }

    fn step_out(&mut self) {
        if std::mem::take(&mut self.counts) {
            self.door.give_back(self.service);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Nobody waited for the answer to its end: the mall was too slow, or the client went away, which says nothing.
        if !self.answered && self.counts && Instant::now() >= self.deadline {
            self.note();
        }
        self.step_out();
        self.door.inside.fetch_sub(1, Ordering::Relaxed);
    }
}
