//! Rows of the flows table, read.

use mallard_db::{Db, Row, params};
use mallard_types::{Micros, Result};

const BY_KEY: &str = "SELECT name, flow_key, state, version, wake_at, parked, signalled, attempts, stuck, last_error \
     FROM flows WHERE name = ? AND flow_key = ?";

const DUE: &str = "SELECT name, flow_key, state, version, wake_at, parked, signalled, attempts, stuck, last_error \
     FROM flows WHERE wake_at <= ? ORDER BY wake_at LIMIT ?";

/// One flow as the table has it.
#[derive(Clone, Debug)]
pub(crate) struct FlowRow {
    pub(crate) name: String,
    pub(crate) key: String,
    pub(crate) state: String,
    pub(crate) version: i64,
    pub(crate) wake_at: Option<Micros>,
    pub(crate) parked: bool,
    pub(crate) signalled: i64,
    pub(crate) attempts: u32,
    pub(crate) stuck: bool,
    pub(crate) last_error: Option<String>,
}

impl FlowRow {
    /// Tells whether the row is due.
    pub(crate) fn is_due(&self, now: Micros) -> bool {
        !self.stuck && self.wake_at.is_some_and(|wake_at| wake_at <= now)
    }

    /// Tells whether the row is in the middle of a drive: on its way under a lease.
    pub(crate) fn is_leased(&self) -> bool {
        !self.stuck && !self.parked && self.attempts == 0
    }
}

pub(crate) async fn load(db: &Db, name: &'static str, key: &str) -> Result<Option<FlowRow>> {
    match db.query_opt(BY_KEY, params![name, key]).await? {
        Some(row) => Ok(Some(decode(&row)?)),
        None => Ok(None),
    }
}

/// Reads rows that are due, those that wait longest first.
pub(crate) async fn due(db: &Db, now: Micros, limit: usize) -> Result<Vec<FlowRow>> {
    let rows = db.query(DUE, params![now, limit as i64]).await?;
    rows.iter().map(decode).collect()
}

fn decode(row: &Row) -> Result<FlowRow> {
    Ok(FlowRow {
        name: row.get(0)?,
        key: row.get(1)?,
        state: row.get(2)?,
        version: row.get(3)?,
        wake_at: row.get(4)?,
        parked: row.get(5)?,
        signalled: row.get(6)?,
        attempts: row.get(7)?,
        stuck: row.get(8)?,
        last_error: row.get(9)?,
    })
}
