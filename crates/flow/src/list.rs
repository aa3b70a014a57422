//! What operators see and do: the list of flows, and letting a stuck one go on.

use mallard_db::{Db, Tx, params};
use mallard_types::{Micros, Result};

use crate::history::{self, Happened, Step, noted};

const LIST_ROWS_MAX: usize = 1_000;

const ALL: &str = "SELECT name, flow_key, state, version, wake_at, signalled, attempts, last_error, stuck, created_at, \
     updated_at, history FROM flows ORDER BY name, flow_key LIMIT ?";

const STUCK: &str = "SELECT name, flow_key, state, version, wake_at, signalled, attempts, last_error, stuck, created_at, \
     updated_at, history FROM flows WHERE stuck = 1 ORDER BY name, flow_key LIMIT ?";

const UNSTICK: &str = concat!(
    "UPDATE flows SET stuck = 0, attempts = 0, wake_at = ?, version = version + 1, updated_at = ?, ",
    noted!(),
    " WHERE name = ? AND flow_key = ? AND stuck = 1"
);

/// One flow, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowInfo {
    /// Name of the flow.
    pub name: String,
    /// Its key.
    pub key: String,
    /// Its state, JSON.
    pub state: String,
    /// Version of the row.
    pub version: i64,
    /// When it is due; `None` when it awaits a signal or is stuck.
    pub wake_at: Option<Micros>,
    /// Signals it has not looked at yet.
    pub signalled: i64,
    /// How often the present step failed.
    pub attempts: i64,
    /// What the present step failed with last.
    pub last_error: Option<String>,
    /// Whether it waits for a person.
    pub stuck: bool,
    /// When it was first due.
    pub created_at: Micros,
    /// When its state was last saved.
    pub updated_at: Micros,
    /// What it has been through, oldest first; of a long one the newest steps.
    pub history: Vec<Step>,
}

pub(crate) async fn list(db: &Db, stuck_only: bool, limit: usize) -> Result<Vec<FlowInfo>> {
    let sql = if stuck_only { STUCK } else { ALL };
    let rows = db.query(sql, params![limit.min(LIST_ROWS_MAX) as i64]).await?;
    let mut flows = Vec::with_capacity(rows.len());
    for row in &rows {
        flows.push(FlowInfo {
            name: row.get(0)?,
            key: row.get(1)?,
            state: row.get(2)?,
            version: row.get(3)?,
            wake_at: row.get(4)?,
            signalled: row.get(5)?,
            attempts: row.get(6)?,
            last_error: row.get(7)?,
            stuck: row.get(8)?,
            created_at: row.get(9)?,
            updated_at: row.get(10)?,
            history: history::read(&row.get::<String>(11)?),
        });
    }
    Ok(flows)
}

/// Lets a stuck flow go on with the state it has, inside the caller's transaction; returns false when it is not stuck. One
/// statement.
///
/// # Errors
/// The database's errors.
pub async fn unstick(tx: &Tx, name: &str, key: &str, now: Micros) -> Result<bool> {
    let history = history::line(now, Happened::Freed, "");
    let rows = tx.execute(UNSTICK, params![now, now, history, name, key]).await?;
    tx.wake(crate::WAKE_TOPIC);
    Ok(rows == 1)
}
