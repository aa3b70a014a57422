//! Counts of failed logins, shared by every instance.

use mallard_db::{Row, Tx, Value, params};
use mallard_types::{Error, Micros, Result};

use super::Read;
use crate::domain::{Attempt, AttemptKey};

/// Loads what has been counted of an attempt: key, failures, end of the window.
pub async fn attempt_counts(from: &impl Read, attempt: &Attempt) -> Result<Vec<(AttemptKey, i64, Micros)>> {
    if attempt.counters().is_empty() {
        return Ok(Vec::new());
    }
    // Always three places, so that the statement is one.
    let mut keys: Vec<Value> = attempt.counters().iter().map(|counter| Value::from(&counter.key[..])).collect();
    keys.resize(3, keys[0].clone());
    let sql = "SELECT key, failures, ends_at FROM login_attempts WHERE key IN (?, ?, ?)";
    from.rows(sql, keys).await?.iter().map(read).collect()
}

/// Counts a failure under every key of an attempt; a window that is over begins anew.
pub async fn count_failure(tx: &Tx, attempt: &Attempt, now: Micros, ends_at: Micros) -> Result<()> {
    for counter in attempt.counters() {
        let key = &counter.key[..];
        let sql = "INSERT INTO login_attempts (key, failures, ends_at) VALUES (?, 0, ?) ON CONFLICT (key) DO NOTHING";
        tx.execute(sql, params![key, ends_at]).await?;
        let sql = "UPDATE login_attempts SET failures = CASE WHEN ends_at <= ? THEN 1 ELSE failures + 1 END, \
                   ends_at = CASE WHEN ends_at <= ? THEN ? ELSE ends_at END WHERE key = ?";
        tx.execute(sql, params![now, now, ends_at, key]).await?;
    }
    Ok(())
}

/// Forgets the failures under a key.
pub async fn clear_failures(tx: &Tx, key: &AttemptKey) -> Result<()> {
    tx.execute("DELETE FROM login_attempts WHERE key = ?", params![&key[..]]).await?;
    Ok(())
}

/// Removes counts whose window is over; returns how many went.
pub async fn remove_expired_attempts(tx: &Tx, now: Micros) -> Result<u64> {
    Ok(tx.execute("DELETE FROM login_attempts WHERE ends_at <= ?", params![now]).await?)
}

fn read(row: &Row) -> Result<(AttemptKey, i64, Micros)> {
    let key: Vec<u8> = row.get(0)?;
    let key = key.try_into().map_err(|_| Error::internal("broken_row", "something went wrong on our side"))?;
    Ok((key, row.get(1)?, row.get(2)?))
}
