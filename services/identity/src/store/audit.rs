//! The audit log. Nothing here changes or removes a row.

use mallard_db::{Db, Row, Tx, Value, params};
use mallard_types::Result;

use super::{Read, counter_value, take_numbers};
use crate::domain::{Entry, EntryHash, GENESIS};

macro_rules! columns {
    () => {
        "seq, at, actor, session_id, address, request_id, service, action, target, was, became, hash"
    };
}

/// An entry at its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its number, from 1.
    pub seq: i64,
    /// What it says.
    pub entry: Entry,
    /// Hash over it and the entry before.
    pub hash: EntryHash,
}

/// Which entries are wanted; an empty text is no condition.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// By whom.
    pub actor: String,
    /// Done to what.
    pub target: String,
    /// What was done.
    pub action: String,
    /// In which service.
    pub service: String,
}

/// Appends an entry to the log.
pub async fn append_audit(tx: &Tx, entry: &Entry) -> Result<()> {
    let seq = take_numbers(tx, "audit", 1).await?;
    let row = tx.query_opt("SELECT hash FROM audit WHERE seq = ?", params![seq - 1]).await?;
    let before = row.as_ref().map_or(Ok(GENESIS), |row| hash(row, 0))?;
    let sql = concat!("INSERT INTO audit (", columns!(), ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    let values = params![
        seq,
        entry.at,
        entry.actor.as_str(),
        entry.session_id.as_str(),
        entry.address.as_str(),
        entry.request_id.as_str(),
        entry.service.as_str(),
        entry.action.as_str(),
        entry.target.as_str(),
        entry.was.as_str(),
        entry.became.as_str(),
        &entry.hash(seq, &before)[..],
    ];
    tx.execute(sql, values).await?;
    Ok(())
}

/// Returns the number of the last entry.
pub async fn last_audit_seq(db: &Db) -> Result<i64> {
    Ok(counter_value(db, "audit").await?)
}

/// Loads entries, the latest first, before this number.
pub async fn audit_page(db: &Db, filter: &AuditFilter, before_seq: i64, limit: usize) -> Result<Vec<StoredEntry>> {
    let mut sql = String::from(concat!("SELECT ", columns!(), " FROM audit WHERE seq < ?"));
    let mut values: Vec<Value> = params![before_seq];
    let conditions = [
        (" AND actor = ?", &filter.actor),
        (" AND target = ?", &filter.target),
        (" AND action = ?", &filter.action),
        (" AND service = ?", &filter.service),
    ];
    for (condition, wanted) in conditions {
        if !wanted.is_empty() {
            sql.push_str(condition);
            values.push(wanted.into());
        }
    }
    sql.push_str(" ORDER BY seq DESC LIMIT ?");
    values.push(Value::from(limit as i64));
    db.query_dyn(sql, values).await?.iter().map(read).collect()
}

/// Loads entries in order, after this number.
pub async fn audit_after(db: &Db, after_seq: i64, limit: usize) -> Result<Vec<StoredEntry>> {
    let sql = concat!("SELECT ", columns!(), " FROM audit WHERE seq > ? ORDER BY seq LIMIT ?");
    db.rows(sql, params![after_seq, limit as i64]).await?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<StoredEntry> {
    let entry = Entry {
        at: row.get(1)?,
        actor: row.get(2)?,
        session_id: row.get(3)?,
        address: row.get(4)?,
        request_id: row.get(5)?,
        service: row.get(6)?,
        action: row.get(7)?,
        target: row.get(8)?,
        was: row.get(9)?,
        became: row.get(10)?,
    };
    Ok(StoredEntry { seq: row.get(0)?, entry, hash: hash(row, 11)? })
}

fn hash(row: &Row, column: usize) -> Result<EntryHash> {
    let hash: Vec<u8> = row.get(column)?;
    // One of another length was tampered with: that is for the check to find, so it becomes one that is never right.
    Ok(hash.try_into().unwrap_or([0xff; 32]))
}
