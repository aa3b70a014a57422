//! Drives one flow: runs its step, saves the answer, goes on while there is something to do.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use mallard_db::{Unit, UnitError, Value, params};
use mallard_rpc::{Call, Caller, Trace};
use mallard_types::{Error, Kind, Micros, Result};
use tokio::time::Instant;

use crate::engine::Inner;
use crate::history::{self, Happened, noted};
use crate::locks::Held;
use crate::row::FlowRow;
use crate::step::{At, Flow, Next, Saved, Wake};
use crate::write::{self, MOVED, encode};
use crate::{GUARD_TAG, backoff};

/// A step that takes longer is cut off and retried. Shorter than the lease, so that a lease outlives the step.
const STEP_DEADLINE: Duration = Duration::from_secs(8);

/// Steps of one drive; a flow that goes on for longer is left to the timers.
const STEPS_MAX: usize = 64;

/// Characters of an error kept in the row.
const ERROR_CHARS_MAX: usize = 500;

const RETRY: &str = concat!(
    "UPDATE flows SET version = version + 1, wake_at = ?, attempts = ?, last_error = ?, updated_at = ?, ",
    noted!(),
    " WHERE name = ? AND flow_key = ? AND version = ?"
);

const STUCK: &str = concat!(
    "UPDATE flows SET state = ?, version = version + 1, wake_at = NULL, stuck = 1, last_error = ?, updated_at = ?, ",
    noted!(),
    " WHERE name = ? AND flow_key = ? AND version = ?"
);

/// How a drive left its flow.
#[derive(Clone, Debug)]
pub enum Outcome<S> {
    /// The flow is over.
    Done,
    /// There is no such flow; it may be over.
    Missing,
    /// It goes on at that time (microseconds since the epoch), or when signalled.
    Sleeping(S, Micros),
    /// It goes on when signalled.
    Awaiting(S),
    /// The step failed and is tried again later.
    Retrying(S, Error),
    /// It needs a person, for this reason. No state when what the row has does not decode.
    Stuck(Option<S>, String),
    /// It is not over, and driven elsewhere or later.
    Elsewhere(S),
}

/// A flow's state and what belongs to it, in memory.
pub(crate) struct Position<S> {
    state: S,
    version: i64,
    attempts: u32,
    signals_seen: i64,
}

impl<S> Position<S> {
    /// Position of a row the caller knows without having read it. Signals are found when the flow parks.
    pub(crate) fn known(version: i64, state: S) -> Self {
        Position { state, version, attempts: 0, signals_seen: 0 }
    }
}

pub(crate) struct Driver<'a, F: Flow> {
    pub(crate) inner: &'a Inner,
    pub(crate) flow: &'a F,
    pub(crate) key: &'a str,
    /// Whether to stop between steps when the engine stops: the timers do, a caller sees its request through.
    pub(crate) ends_on_stop: bool,
    /// Keeps others of this process off the flow.
    #[allow(dead_code, reason = "held for its drop")]
    pub(crate) held: Held,
}

/// What to do after one step.
enum After<S> {
    Continue(Position<S>),
    Reload,
    End(Outcome<S>),
}

impl<F: Flow> Driver<'_, F> {
    /// Reads the row and drives it when there is something to do.
    pub(crate) async fn drive_loaded(&self) -> Result<Outcome<F::State>> {
        match self.inner.load(F::NAME, self.key).await? {
            Some(row) if row.is_due((self.inner.clock)()) || self.is_abandoned(&row) => self.drive_row(row).await,
            Some(row) => Ok(resting(row)),
            None => Ok(Outcome::Missing),
        }
    }

    /// Tells whether a row under a lease has no driver: this process holds the flow's lock and there is no other process.
    fn is_abandoned(&self, row: &FlowRow) -> bool {
        row.is_leased() && !self.inner.is_shared()
    }

    /// Drives a row that was read.
    pub(crate) async fn drive_row(&self, row: FlowRow) -> Result<Outcome<F::State>> {
        match self.position(row).await? {
            Ok(position) => self.drive(position).await,
            Err(outcome) => Ok(outcome),
        }
    }

    /// Decodes a row; makes it stuck when its state is not one of this flow.
    async fn position(&self, row: FlowRow) -> Result<Result<Position<F::State>, Outcome<F::State>>> {
        match serde_json::from_str(&row.state) {
            Ok(state) => {
                let signals_seen = if row.parked { row.signalled } else { 0 };
                Ok(Ok(Position { state, version: row.version, attempts: row.attempts, signals_seen }))
            }
            Err(error) => {
                let reason = format!("the state is not one of flow {}: {error}", F::NAME);
                stick(self.inner, F::NAME, self.key, row.version, row.state, &reason).await?;
                Ok(Err(Outcome::Stuck(None, reason)))
            }
        }
    }

    /// Drives from a position until the flow rests.
    pub(crate) async fn drive(&self, mut position: Position<F::State>) -> Result<Outcome<F::State>> {
        for _ in 0..STEPS_MAX {
            if self.ends_on_stop && self.inner.is_stopping() {
                break;
            }
            match self.advance(position).await? {
                After::Continue(next) => position = next,
                After::End(outcome) => return Ok(outcome),
                After::Reload => match self.inner.load(F::NAME, self.key).await? {
                    Some(row) if row.is_due((self.inner.clock)()) => match self.position(row).await? {
                        Ok(next) => position = next,
                        Err(outcome) => return Ok(outcome),
                    },
                    Some(row) => return Ok(resting(row)),
                    None => return Ok(Outcome::Missing),
                },
            }
        }
        Ok(Outcome::Elsewhere(position.state))
    }

    /// Runs one step and saves its answer.
    async fn advance(&self, position: Position<F::State>) -> Result<After<F::State>> {
        let clock_now = (self.inner.clock)();
        let call = self.call();
        let at = At {
            key: self.key.to_owned(),
            version: position.version,
            attempts: position.attempts,
            now: call.at.unwrap_or(clock_now),
            signalled: position.signals_seen > 0,
            signals_seen: position.signals_seen,
            clock_now,
            saved: Default::default(),
        };
        metrics::counter!("mallard_flow_steps_total", "flow" => F::NAME).increment(1);
        let answer = self.step(call, &at, position.state.clone()).await;
        // Saves carry the time of saving: the step may have taken seconds of the lease.
        let at = At { clock_now: (self.inner.clock)(), ..at };
        match answer {
            Ok(Next::Go(state)) => self.go(&at, state).await,
            Ok(Next::Sleep(state, until)) => self.park(&at, state, Some(until)).await,
            Ok(Next::Await(state)) => self.park(&at, state, None).await,
            Ok(Next::Saved) => Ok(self.saved(&at)),
            Ok(Next::Done) => self.finish(&at).await,
            Ok(Next::Stuck(state, reason)) => self.stuck(&at, state, reason).await,
            Err(error) if error.code == MOVED => Ok(After::Reload),
            Err(error) if error.is_retryable() || error.kind == Kind::Internal => {
                self.retry(&at, position.state, error).await
            }
            Err(error) => self.stuck(&at, position.state, error.to_string()).await,
        }
    }

    /// Makes the context a step runs in: the service itself, for the request that drives the flow or for a new one.
    fn call(&self) -> Call {
        let current = mallard_rpc::current();
        let random = || (self.inner.random)();
        let trace = if current.trace.is_none() {
            Trace::new((u128::from(random()) << 64) | u128::from(random().max(1)), random().max(1))
        } else {
            current.trace
        };
        Call {
            caller: Caller::system(self.inner.db.service()),
            trace,
            deadline: Some(Instant::now() + STEP_DEADLINE),
            ..current
        }
    }

    async fn step(&self, call: Call, at: &At, state: F::State) -> Result<Next<F::State>> {
        let step = AssertUnwindSafe(self.flow.step(at, state)).catch_unwind();
        match tokio::time::timeout(STEP_DEADLINE, mallard_rpc::scope(call, step)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => {
                let text = panic_text(&*panic);
                tracing::error!(flow = F::NAME, key = self.key, panic = text, "a step panicked");
                Err(Error::internal("flow_step_panicked", format!("the step panicked: {text}")))
            }
            Err(_) => Err(Error::deadline("flow_step_too_long", "the step did not end in time")),
        }
    }

    async fn go(&self, at: &At, state: F::State) -> Result<After<F::State>> {
        let params = write::go_params(F::NAME, at, encode(&state)?);
        if !guarded(self.inner, "flow.go", write::GO, params).await? {
            return Ok(After::Reload);
        }
        Ok(After::Continue(Position::known(at.version + 1, state)))
    }

    async fn park(&self, at: &At, state: F::State, wake_at: Option<Micros>) -> Result<After<F::State>> {
        let json = encode(&state)?;
        let params = write::park_quiet_params(F::NAME, at, json.clone(), wake_at);
        if guarded(self.inner, "flow.park", write::PARK_QUIET, params).await? {
            return Ok(self.parked(at, state, wake_at));
        }
        // Either the race is lost, or a signal came that the step did not see: then the row becomes due at once.
        guarded(self.inner, "flow.park", write::PARK, write::park_params(F::NAME, at, json, wake_at)).await?;
        Ok(After::Reload)
    }

    fn parked(&self, at: &At, state: F::State, wake_at: Option<Micros>) -> After<F::State> {
        let Some(until) = wake_at else { return After::End(Outcome::Awaiting(state)) };
        // In a backdated call the time is that of the call: what sleeps until later in its past sleeps.
        let now = mallard_rpc::with_current(|call| call.at).unwrap_or_else(|| (self.inner.clock)());
        if until > now {
            return After::End(Outcome::Sleeping(state, until));
        }
        After::Continue(Position::known(at.version + 1, state))
    }

    /// Goes on from what the step saved in its own transaction.
    fn saved(&self, at: &At) -> After<F::State> {
        let Some(saved) = at.saved.lock().take() else { return After::Reload };
        match saved {
            Saved::Finished => After::End(Outcome::Done),
            Saved::State { state, wake } => {
                let Ok(state) = state.downcast::<F::State>() else { return After::Reload };
                let state = (*state).clone();
                match wake {
                    Wake::Now => After::Continue(Position::known(at.version + 1, state)),
                    Wake::At(until) => self.parked(at, state, Some(until)),
                    Wake::Signalled => self.parked(at, state, None),
                }
            }
        }
    }

    async fn finish(&self, at: &At) -> Result<After<F::State>> {
        let params = params![F::NAME, self.key, at.version];
        let finished = guarded(self.inner, "flow.finish", write::FINISH, params).await?;
        Ok(if finished { After::End(Outcome::Done) } else { After::Reload })
    }

    async fn retry(&self, at: &At, state: F::State, error: Error) -> Result<After<F::State>> {
        let attempts = at.attempts.saturating_add(1);
        let mut wait = backoff::delay(attempts, (self.inner.random)());
        if let Some(hint) = error.retry_after_ms {
            wait = wait.max(Micros::try_from(hint.saturating_mul(1_000)).unwrap_or(Micros::MAX / 4));
        }
        metrics::counter!("mallard_flow_retries_total", "flow" => F::NAME).increment(1);
        tracing::warn!(flow = F::NAME, key = self.key, attempts, wait_ms = wait / 1_000, %error, "a step failed and is retried");
        let text = shortened(&error.to_string());
        let due = at.clock_now.saturating_add(wait);
        let history = history::failure(at.clock_now, attempts, &text);
        let params = params![due, attempts, text, at.clock_now, history, F::NAME, self.key, at.version];
        if !guarded(self.inner, "flow.retry", RETRY, params).await? {
            return Ok(After::Reload);
        }
        Ok(After::End(Outcome::Retrying(state, error)))
    }

    async fn stuck(&self, at: &At, state: F::State, reason: String) -> Result<After<F::State>> {
        let json = encode(&state)?;
        if !stick(self.inner, F::NAME, self.key, at.version, json, &reason).await? {
            return Ok(After::Reload);
        }
        Ok(After::End(Outcome::Stuck(Some(state), reason)))
    }
}

/// Makes a row stuck; returns false when it is no longer at that version.
pub(crate) async fn stick(
    inner: &Inner,
    name: &str,
    key: &str,
    version: i64,
    state: String,
    reason: &str,
) -> Result<bool> {
    let now = (inner.clock)();
    let history = history::line(now, Happened::Stuck, reason);
    let params = params![state, shortened(reason), now, history, name, key, version];
    let stuck = guarded(inner, "flow.stick", STUCK, params).await?;
    if stuck {
        metrics::counter!("mallard_flow_stuck_total", "flow" => name.to_owned()).increment(1);
        tracing::error!(flow = name, key, reason, "a flow is stuck");
    }
    Ok(stuck)
}

/// Runs one guarded statement; returns false when the guard did not hold.
async fn guarded(inner: &Inner, unit: &'static str, sql: &'static str, params: Vec<Value>) -> Result<bool> {
    match inner.db.apply(Unit::new(unit).guard(sql, params, 1, GUARD_TAG)).await {
        Ok(()) => Ok(true),
        Err(UnitError::Guard { .. }) => Ok(false),
        Err(UnitError::Db(error)) => Err(error.into()),
    }
}

/// Says how a flow rests that is not to be driven now.
fn resting<S: serde::de::DeserializeOwned>(row: FlowRow) -> Outcome<S> {
    let state = serde_json::from_str(&row.state).ok();
    if row.stuck {
        return Outcome::Stuck(state, row.last_error.unwrap_or_default());
    }
    let Some(state) = state else {
        return Outcome::Stuck(None, "the state is not one of this flow".to_owned());
    };
    if row.is_leased() {
        return Outcome::Elsewhere(state);
    }
    match row.wake_at {
        _ if row.attempts > 0 => {
            let error = row.last_error.unwrap_or_default();
            Outcome::Retrying(state, Error::unavailable("flow_retrying", error))
        }
        None => Outcome::Awaiting(state),
        Some(until) => Outcome::Sleeping(state, until),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}

fn shortened(text: &str) -> String {
    text.chars().take(ERROR_CHARS_MAX).collect()
}
