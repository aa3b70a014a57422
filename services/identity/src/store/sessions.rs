//! Sessions, their refresh tokens, and the list of revocations.

use mallard_db::{Db, Row, Tx, Value, params};
use mallard_types::{Micros, Result};

use super::{Read, list};
use crate::domain::Session;

macro_rules! columns {
    () => {
        "s.id, s.user_id, s.user_agent, s.created_at, s.last_used_at, s.expires_at, s.revoked_at"
    };
}

/// SHA-256 of a refresh token.
pub type TokenHash = [u8; 32];

/// One revoked session, as gateways poll it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Place in the list.
    pub seq: i64,
    /// The session that ended.
    pub session_id: String,
    /// No access token of it lives longer.
    pub until: Micros,
}

/// Inserts a session and its first refresh token.
pub async fn insert_session(tx: &Tx, session: &Session, token: &TokenHash) -> Result<()> {
    let sql = "INSERT INTO sessions (id, user_id, user_agent, created_at, last_used_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)";
    let values = params![
        session.id.as_str(),
        session.user_id.as_str(),
        session.user_agent.as_str(),
        session.created_at,
        session.last_used_at,
        session.expires_at,
    ];
    tx.execute(sql, values).await?;
    insert_refresh_token(tx, &session.id, token, session.created_at).await
}

/// Inserts one more refresh token of a session.
pub async fn insert_refresh_token(tx: &Tx, session_id: &str, token: &TokenHash, now: Micros) -> Result<()> {
    let sql = "INSERT INTO refresh_tokens (hash, session_id, created_at) VALUES (?, ?, ?)";
    tx.execute(sql, params![&token[..], session_id, now]).await?;
    Ok(())
}

/// Loads a session.
pub async fn session(from: &impl Read, id: &str) -> Result<Option<Session>> {
    let sql = concat!("SELECT ", columns!(), " FROM sessions s WHERE s.id = ?");
    from.row(sql, params![id]).await?.as_ref().map(read).transpose()
}

/// Loads the session of a refresh token, and whether the token was used.
pub async fn session_of_token(tx: &Tx, token: &TokenHash) -> Result<Option<(Session, bool)>> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        ", t.used_at FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id WHERE t.hash = ?"
    );
    let Some(row) = tx.query_opt(sql, params![&token[..]]).await? else { return Ok(None) };
    Ok(Some((read(&row)?, row.get::<Option<i64>>(7)?.is_some())))
}

/// Marks a refresh token as used; false when somebody else did so first.
pub async fn use_refresh_token(tx: &Tx, token: &TokenHash, now: Micros) -> Result<bool> {
    let sql = "UPDATE refresh_tokens SET used_at = ? WHERE hash = ? AND used_at IS NULL";
    Ok(tx.execute(sql, params![now, &token[..]]).await? == 1)
}

/// Saves a renewed session; false when it was revoked meanwhile.
pub async fn save_renewal(tx: &Tx, session: &Session) -> Result<bool> {
    let sql = "UPDATE sessions SET last_used_at = ?, expires_at = ? WHERE id = ? AND revoked_at IS NULL";
    Ok(tx.execute(sql, params![session.last_used_at, session.expires_at, session.id.as_str()]).await? == 1)
}

/// Loads a user's live sessions, newest first.
pub async fn live_sessions(from: &impl Read, user_id: &str, now: Micros, limit: usize) -> Result<Vec<Session>> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM sessions s WHERE s.user_id = ? AND s.revoked_at IS NULL AND s.expires_at > ? ORDER BY s.id DESC LIMIT ?"
    );
    from.rows(sql, params![user_id, now, limit as i64]).await?.iter().map(read).collect()
}

/// Returns the ids of a user's live sessions beyond the newest `keep`, a bounded number of them.
pub async fn surplus_sessions(tx: &Tx, user_id: &str, now: Micros, keep: u32) -> Result<Vec<String>> {
    let sql = "SELECT id FROM sessions WHERE user_id = ? AND revoked_at IS NULL AND expires_at > ? ORDER BY id DESC LIMIT 10 OFFSET ?";
    let rows = tx.query(sql, params![user_id, now, keep]).await?;
    rows.iter().map(|row| Ok(row.get(0)?)).collect()
}

/// Revokes sessions and appends them to the list of revocations. At least one id.
pub async fn revoke_sessions(tx: &Tx, ids: &[String], now: Micros, until: Micros) -> Result<()> {
    let (places, mut values) = list(ids.iter().map(String::as_str));
    values.insert(0, now.into());
    tx.execute_dyn(format!("UPDATE sessions SET revoked_at = ? WHERE revoked_at IS NULL AND id IN {places}"), values)
        .await?;
    // The counter's row is locked until this transaction ends, so numbers grow in commit order and a reader who has seen
    // one has seen all before it. A generated key would not promise that.
    tx.execute("UPDATE counters SET value = value + ? WHERE name = 'revocations'", params![ids.len() as i64]).await?;
    let row = tx.query_opt("SELECT value FROM counters WHERE name = 'revocations'", params![]).await?;
    let last: i64 = row.map(|row| row.get(0)).transpose()?.unwrap_or(0);
    let first = last - ids.len() as i64 + 1;
    let mut values: Vec<Value> = Vec::with_capacity(ids.len() * 3);
    for (seq, id) in (first..).zip(ids) {
        values.extend(params![seq, id.as_str(), until]);
    }
    let places = vec!["(?, ?, ?)"; ids.len()].join(", ");
    tx.execute_dyn(format!("INSERT INTO revocations (seq, session_id, until) VALUES {places}"), values).await?;
    Ok(())
}

/// Loads revocations in order, after this one.
pub async fn revocations_page(db: &Db, after_seq: i64, limit: usize) -> Result<Vec<Revocation>> {
    let sql = "SELECT seq, session_id, until FROM revocations WHERE seq > ? ORDER BY seq LIMIT ?";
    let rows = db.query(sql, params![after_seq, limit as i64]).await?;
    rows.iter().map(|row| Ok(Revocation { seq: row.get(0)?, session_id: row.get(1)?, until: row.get(2)? })).collect()
}

/// Loads sessions in order of id, after this one.
pub async fn sessions_page(db: &Db, after_id: &str, limit: usize) -> Result<Vec<Session>> {
    let sql = concat!("SELECT ", columns!(), " FROM sessions s WHERE s.id > ? ORDER BY s.id LIMIT ?");
    db.query(sql, params![after_id, limit as i64]).await?.iter().map(read).collect()
}

/// Removes a batch of sessions whose time is over, with their refresh tokens; returns how many.
pub async fn remove_expired_sessions(tx: &Tx, now: Micros, batch_rows_max: usize) -> Result<usize> {
    let sql = "SELECT id FROM sessions WHERE expires_at <= ? ORDER BY expires_at LIMIT ?";
    let rows = tx.query(sql, params![now, batch_rows_max as i64]).await?;
    let ids = rows.iter().map(|row| Ok(row.get(0)?)).collect::<Result<Vec<String>>>()?;
    if ids.is_empty() {
        return Ok(0);
    }
    let (places, values) = list(ids.iter().map(String::as_str));
    tx.execute_dyn(format!("DELETE FROM refresh_tokens WHERE session_id IN {places}"), values.clone()).await?;
    tx.execute_dyn(format!("DELETE FROM sessions WHERE id IN {places}"), values).await?;
    Ok(ids.len())
}

/// Removes revocations that no living access token needs any more.
pub async fn remove_expired_revocations(tx: &Tx, now: Micros) -> Result<u64> {
    Ok(tx.execute("DELETE FROM revocations WHERE until <= ?", params![now]).await?)
}

fn read(row: &Row) -> Result<Session> {
    Ok(Session {
        id: row.get(0)?,
        user_id: row.get(1)?,
        user_agent: row.get(2)?,
        created_at: row.get(3)?,
        last_used_at: row.get(4)?,
        expires_at: row.get(5)?,
        revoked_at: row.get(6)?,
    })
}
