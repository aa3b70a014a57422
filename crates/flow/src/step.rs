//! What a flow is: its step, what the step is told, what it answers.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use mallard_types::{Micros, Result};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A durable state machine.
#[async_trait]
pub trait Flow: Send + Sync + 'static {
    /// Names the flow in its table; stable for ever.
    const NAME: &'static str;
    /// Everything the flow remembers between steps; kept as JSON, so change it as one changes a contract.
    type State: Serialize + DeserializeOwned + Clone + Send + Sync + 'static;

    /// Does the work of one state and says what comes next. May run twice for the same state.
    ///
    /// # Errors
    /// A retryable error (`Unavailable`, `Deadline`) or an `Internal` one is retried with back-off; any other makes the
    /// flow stuck. What a callee refused is not an error of the step: answer it with the state that makes up for it.
    async fn step(&self, at: &At, state: Self::State) -> Result<Next<Self::State>>;
}

/// What comes after a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<S> {
    /// Goes on with this state at once.
    Go(S),
    /// Goes on with this state at that time, or when signalled.
    Sleep(S, Micros),
    /// Goes on with this state when signalled.
    Await(S),
    /// The step saved what comes next in its own transaction, with [`crate::save`] or [`crate::finish`].
    Saved,
    /// The flow is over; its row is deleted.
    Done,
    /// Cannot go on without a person; kept with the reason.
    Stuck(S, String),
}

/// Where a flow stands when its step runs.
#[derive(Clone, Debug)]
pub struct At {
    /// Key of the flow; the idempotency key for every callee.
    pub key: String,
    /// Version of the row; guards every save.
    pub version: i64,
    /// How often this state's step failed so far.
    pub attempts: u32,
    /// Business time: that of the call that drives the flow when it is backdated, else the clock.
    pub now: Micros,
    /// Whether a signal woke this state.
    pub signalled: bool,
    /// Signals that this run takes off the row.
    pub(crate) signals_seen: i64,
    /// The clock, for leases; differs from `now` in a backdated call.
    pub(crate) clock_now: Micros,
    pub(crate) saved: Arc<Mutex<Option<Saved>>>,
}

impl At {
    /// Makes the place of a flow that was just started: for tests of a step.
    pub fn new(key: &str, now: Micros) -> At {
        At {
            key: key.to_owned(),
            version: crate::FIRST_VERSION,
            attempts: 0,
            now,
            signalled: false,
            signals_seen: 0,
            clock_now: now,
            saved: Arc::default(),
        }
    }
}

/// What a step saved by itself, so that the engine need not read it back.
#[derive(Clone, Debug)]
pub(crate) enum Saved {
    State { state: Arc<dyn Any + Send + Sync>, wake: Wake },
    Finished,
}

/// When a saved row is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// Goes on now; the row carries the lease.
    Now,
    At(Micros),
    Signalled,
}
