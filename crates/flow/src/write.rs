//! What services write: start, save, finish and signal, inside their own transactions or units of work.

use mallard_db::{Tx, Unit, Value, params};
use mallard_types::{Error, Micros, Result};

use crate::history::{Happened, line, noted};
use crate::step::{At, Flow, Saved, Wake};
use crate::{FIRST_VERSION, LEASE_MICROS, WAKE_TOPIC};

/// Tag of the version guards in [`add_save`] and [`add_finish`]; a unit that fails on it lost a race for the flow.
pub const GUARD_TAG: u32 = 0xf10;

/// Code of the error of a save that lost a race; the engine reloads the flow when a step returns it.
pub(crate) const MOVED: &str = "flow_moved";

const START: &str = "INSERT INTO flows (name, flow_key, state, version, wake_at, parked, signalled, attempts, stuck, \
     created_at, updated_at, history) VALUES (?, ?, ?, ?, ?, ?, 0, 0, 0, ?, ?, ?) ON CONFLICT (name, flow_key) DO NOTHING";

pub(crate) const GO: &str = concat!(
    "UPDATE flows SET state = ?, version = version + 1, wake_at = ?, parked = 0, \
     signalled = signalled - ?, attempts = 0, last_error = NULL, updated_at = ?, ",
    noted!(),
    " WHERE name = ? AND flow_key = ? AND version = ?"
);

/// Parks a row; when a signal is pending that the step did not see, the row is due at once instead.
pub(crate) const PARK: &str = concat!(
    "UPDATE flows SET state = ?, version = version + 1, \
     wake_at = CASE WHEN signalled > ? THEN 0 ELSE CAST(? AS BIGINT) END, parked = 1, \
     signalled = signalled - ?, attempts = 0, last_error = NULL, updated_at = ?, ",
    noted!(),
    " WHERE name = ? AND flow_key = ? AND version = ?"
);

/// Parks a row only when no signal is pending that the step did not see.
pub(crate) const PARK_QUIET: &str = concat!(
    "UPDATE flows SET state = ?, version = version + 1, wake_at = ?, parked = 1, \
     signalled = 0, attempts = 0, last_error = NULL, updated_at = ?, ",
    noted!(),
    " WHERE name = ? AND flow_key = ? AND version = ? AND signalled = ?"
);

pub(crate) const FINISH: &str = "DELETE FROM flows WHERE name = ? AND flow_key = ? AND version = ?";

const SIGNAL: &str = "UPDATE flows SET signalled = signalled + 1, \
     wake_at = CASE WHEN stuck = 0 AND parked = 1 THEN 0 ELSE wake_at END WHERE name = ? AND flow_key = ?";

/// Starts a flow inside the caller's transaction; due at `wake_at` (microseconds since the epoch). One statement.
///
/// Returns false when the flow exists already; nothing is changed then. A caller that drives the flow itself right after
/// the commit uses [`crate::Engine::start_inline`] instead, which keeps the timers' hands off it.
///
/// # Errors
/// `Internal` when the state does not encode; the database's errors.
pub async fn start<F: Flow>(tx: &Tx, key: &str, state: &F::State, wake_at: Micros) -> Result<bool> {
    let started = tx.execute(START, start_params::<F>(key, state, wake_at, true)?).await?;
    tx.wake(WAKE_TOPIC);
    Ok(started == 1)
}

/// Starts a flow whose lease is taken: parked = 0 makes it resume at once after a restart.
pub(crate) async fn start_leased<F: Flow>(tx: &Tx, key: &str, state: &F::State, now: Micros) -> Result<bool> {
    let started = tx.execute(START, start_params::<F>(key, state, now + LEASE_MICROS, false)?).await?;
    Ok(started == 1)
}

/// Adds the start of a flow to a unit of work. An existing flow is left as it is.
///
/// # Errors
/// `Internal` when the state does not encode.
pub fn add_start<F: Flow>(unit: Unit, key: &str, state: &F::State, wake_at: Micros) -> Result<Unit> {
    Ok(unit.exec(START, start_params::<F>(key, state, wake_at, true)?).wake(WAKE_TOPIC))
}

/// As [`add_start`] for a flow whose lease is taken.
pub(crate) fn add_start_leased<F: Flow>(unit: Unit, key: &str, state: &F::State, now: Micros) -> Result<Unit> {
    Ok(unit.exec(START, start_params::<F>(key, state, now + LEASE_MICROS, false)?))
}

fn start_params<F: Flow>(key: &str, state: &F::State, wake_at: Micros, parked: bool) -> Result<Vec<Value>> {
    let created_at = if parked { wake_at } else { wake_at - LEASE_MICROS };
    let state = encode(state)?;
    let history = line(created_at, Happened::State, &state);
    Ok(params![F::NAME, key, state, FIRST_VERSION, wake_at, parked, created_at, created_at, history])
}

/// Saves what comes next inside the step's own transaction; the step then answers [`crate::Next::Saved`]. One statement.
///
/// `wake_at` in the past or present goes on at once, in the future sleeps, `None` awaits a signal.
///
/// # Errors
/// `Conflict` (`flow_moved`) when the flow is no longer where the step found it: return it, the transaction rolls back and
/// the engine reloads. `Internal` when the state does not encode; the database's errors.
pub async fn save<F: Flow>(tx: &Tx, at: &At, state: &F::State, wake_at: Option<Micros>) -> Result<()> {
    let (sql, params, saved) = save_parts::<F>(at, state, wake_at)?;
    expect_one(tx.execute(sql, params).await?)?;
    *at.saved.lock() = Some(saved);
    Ok(())
}

/// Adds a save to a unit of work, guarded with [`GUARD_TAG`]; see [`save`].
///
/// # Errors
/// `Internal` when the state does not encode.
pub fn add_save<F: Flow>(unit: Unit, at: &At, state: &F::State, wake_at: Option<Micros>) -> Result<Unit> {
    let (sql, params, saved) = save_parts::<F>(at, state, wake_at)?;
    *at.saved.lock() = Some(saved);
    Ok(unit.guard(sql, params, 1, GUARD_TAG))
}

fn save_parts<F: Flow>(
    at: &At,
    state: &F::State,
    wake_at: Option<Micros>,
) -> Result<(&'static str, Vec<Value>, Saved)> {
    let json = encode(state)?;
    let wake = match wake_at {
        None => Wake::Signalled,
        Some(wake_at) if wake_at <= at.now => Wake::Now,
        Some(wake_at) => Wake::At(wake_at),
    };
    let (sql, params) = if wake == Wake::Now {
        (GO, go_params(F::NAME, at, json))
    } else {
        (PARK, park_params(F::NAME, at, json, wake_at))
    };
    Ok((sql, params, Saved::State { state: std::sync::Arc::new(state.clone()), wake }))
}

/// Ends a flow inside the step's own transaction; the step then answers [`crate::Next::Saved`]. One statement.
///
/// # Errors
/// As [`save`].
pub async fn finish<F: Flow>(tx: &Tx, at: &At) -> Result<()> {
    expect_one(tx.execute(FINISH, params![F::NAME, at.key.as_str(), at.version]).await?)?;
    *at.saved.lock() = Some(Saved::Finished);
    Ok(())
}

/// Adds the end of a flow to a unit of work, guarded with [`GUARD_TAG`].
pub fn add_finish<F: Flow>(unit: Unit, at: &At) -> Unit {
    *at.saved.lock() = Some(Saved::Finished);
    unit.guard(FINISH, params![F::NAME, at.key.as_str(), at.version], 1, GUARD_TAG)
}

/// Tells a flow to look again, inside the caller's transaction. One statement.
///
/// Returns false when there is no such flow (it may be over).
///
/// # Errors
/// The database's errors.
pub async fn signal<F: Flow>(tx: &Tx, key: &str) -> Result<bool> {
    let found = tx.execute(SIGNAL, params![F::NAME, key]).await?;
    tx.wake(WAKE_TOPIC);
    Ok(found == 1)
}

pub(crate) fn go_params(name: &'static str, at: &At, json: String) -> Vec<Value> {
    let lease = at.clock_now + LEASE_MICROS;
    let history = line(at.clock_now, Happened::State, &json);
    params![json, lease, at.signals_seen, at.clock_now, history, name, at.key.as_str(), at.version]
}

pub(crate) fn park_params(name: &'static str, at: &At, json: String, wake_at: Option<Micros>) -> Vec<Value> {
    let seen = at.signals_seen;
    let history = line(at.clock_now, Happened::State, &json);
    params![json, seen, wake_at, seen, at.clock_now, history, name, at.key.as_str(), at.version]
}

pub(crate) fn park_quiet_params(name: &'static str, at: &At, json: String, wake_at: Option<Micros>) -> Vec<Value> {
    let history = line(at.clock_now, Happened::State, &json);
    params![json, wake_at, at.clock_now, history, name, at.key.as_str(), at.version, at.signals_seen]
}

pub(crate) fn encode<S: serde::Serialize>(state: &S) -> Result<String> {
    serde_json::to_string(state)
        .map_err(|error| Error::internal("flow_state_not_encoded", "the flow's state does not encode").source(error))
}

fn expect_one(rows: u64) -> Result<()> {
    if rows == 1 { Ok(()) } else { Err(Error::conflict(MOVED, "the flow is no longer where this step found it")) }
}
