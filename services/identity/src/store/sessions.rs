//! Sessions and their refresh tokens.

use mallard_db::{Db, Row, Tx, Unit, params};
use mallard_types::{Micros, Result};

use super::{Read, list};
use crate::domain::{Client, Moment, Session, network};

/// Most sessions beyond the limit that one login ends: all, as the limit itself cannot have been higher.
const SURPLUS_MAX: i64 = 1_000;

macro_rules! columns {
    () => {
        "s.id, s.user_id, s.device, s.user_agent, s.address, s.created_at, s.last_used_at, s.authenticated_at, \
         s.expires_at, s.revoked_at"
    };
}

/// SHA-256 of a refresh token.
pub type TokenHash = [u8; 32];

/// Inserts a session and its first refresh token.
pub async fn insert_session(tx: &Tx, session: &Session, token: &TokenHash) -> Result<()> {
    let sql = "INSERT INTO sessions (id, user_id, device, user_agent, address, network, created_at, last_used_at, \
               authenticated_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let values = params![
        session.id.as_str(),
        session.user_id.as_str(),
        session.client.device.as_str(),
        session.client.user_agent.as_str(),
        session.client.address.as_str(),
        network(&session.client.address),
        session.created_at,
        session.last_used_at,
        session.authenticated_at,
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

/// Tells whether a user has signed in from a network lately, that is, in a session whose time is not over, though it may have
/// been ended.
pub async fn has_signed_in_from(from: &impl Read, user_id: &str, network: &str, now: Micros) -> Result<bool> {
    if network.is_empty() {
        return Ok(false);
    }
    let sql = "SELECT 1 FROM sessions WHERE user_id = ? AND network = ? AND expires_at > ? LIMIT 1";
    Ok(from.row(sql, params![user_id, network, now]).await?.is_some())
}

/// Loads the session of a refresh token, and whether the token was used.
pub async fn session_of_token(tx: &Tx, token: &TokenHash) -> Result<Option<(Session, bool)>> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        ", t.used_at FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id WHERE t.hash = ?"
    );
    let Some(row) = tx.query_opt(sql, params![&token[..]]).await? else { return Ok(None) };
    Ok(Some((read(&row)?, row.get::<Option<i64>>(10)?.is_some())))
}

/// Marks a refresh token as used; false when somebody else did so first.
pub async fn use_refresh_token(tx: &Tx, token: &TokenHash, now: Micros) -> Result<bool> {
    let sql = "UPDATE refresh_tokens SET used_at = ? WHERE hash = ? AND used_at IS NULL";
    Ok(tx.execute(sql, params![now, &token[..]]).await? == 1)
}

/// Saves a renewed session; false when it was revoked meanwhile.
pub async fn save_renewal(tx: &Tx, session: &Session) -> Result<bool> {
    // A use may be reported at the same moment.
    let sql = "UPDATE sessions SET last_used_at = CASE WHEN last_used_at > ? THEN last_used_at ELSE ? END, expires_at = ? \
               WHERE id = ? AND revoked_at IS NULL";
    let used_at = session.last_used_at;
    Ok(tx.execute(sql, params![used_at, used_at, session.expires_at, session.id.as_str()]).await? == 1)
}

/// Notes that the user of a live session has proved who it is; false when it is not live or somebody else's.
pub async fn save_authentication(tx: &Tx, session: &Session, at: Moment) -> Result<bool> {
    let sql = "UPDATE sessions SET authenticated_at = ? WHERE id = ? AND user_id = ? AND revoked_at IS NULL \
               AND expires_at > ? AND last_used_at > ?";
    let values =
        params![session.authenticated_at, session.id.as_str(), session.user_id.as_str(), at.now, at.idle_since,];
    Ok(tx.execute(sql, values).await? == 1)
}

/// Loads a user's live sessions, newest first.
pub async fn live_sessions(from: &impl Read, user_id: &str, at: Moment, limit: usize) -> Result<Vec<Session>> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM sessions s WHERE s.user_id = ? AND s.revoked_at IS NULL AND s.expires_at > ? AND s.last_used_at > ? \
         ORDER BY s.id DESC LIMIT ?"
    );
    from.rows(sql, params![user_id, at.now, at.idle_since, limit as i64]).await?.iter().map(read).collect()
}

/// Returns the ids of live sessions that a new one replaces: those of its user on its device, and of what is live then those
/// beyond the newest `keep`, a bounded number of them.
pub async fn replaced_sessions(tx: &Tx, new: &Session, at: Moment, keep: u32) -> Result<Vec<String>> {
    let mut replaced = Vec::new();
    if !new.client.device.is_empty() {
        let sql = "SELECT id FROM sessions WHERE user_id = ? AND device = ? AND revoked_at IS NULL AND expires_at > ? \
                   AND id <> ? ORDER BY id";
        let values = params![new.user_id.as_str(), new.client.device.as_str(), at.now, new.id.as_str()];
        replaced = ids(tx.query(sql, values).await?)?;
    }
    // What idles too long stands in the table until it is swept, but keeps nobody's place.
    let sql = "SELECT id FROM sessions WHERE user_id = ? AND revoked_at IS NULL AND expires_at > ? AND last_used_at > ? \
               AND (device = '' OR device <> ? OR id = ?) ORDER BY id DESC LIMIT ? OFFSET ?";
    let values = params![
        new.user_id.as_str(),
        at.now,
        at.idle_since,
        new.client.device.as_str(),
        new.id.as_str(),
        SURPLUS_MAX,
        keep,
    ];
    replaced.extend(ids(tx.query(sql, values).await?)?);
    Ok(replaced)
}

/// Returns user and id of a batch of live sessions that idle, longest first.
pub async fn idle_sessions(tx: &Tx, at: Moment, batch_rows_max: usize) -> Result<Vec<(String, String)>> {
    let sql = "SELECT user_id, id FROM sessions WHERE revoked_at IS NULL AND last_used_at <= ? AND expires_at > ? \
               ORDER BY last_used_at LIMIT ?";
    let rows = tx.query(sql, params![at.idle_since, at.now, batch_rows_max as i64]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Makes the unit that notes when sessions were used: never backwards, and never back to life what had idled too long.
pub fn touch_sessions(uses: &[(String, Moment)]) -> Unit {
    let sql = "UPDATE sessions SET last_used_at = ? WHERE id = ? AND revoked_at IS NULL AND last_used_at < ? \
               AND last_used_at > ?";
    uses.iter().fold(Unit::new("identity.touch_sessions"), |unit, (id, at)| {
        unit.exec(sql, params![at.now, id.as_str(), at.now, at.idle_since]).order_by_key(id.as_str())
    })
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

fn ids(rows: Vec<Row>) -> Result<Vec<String>> {
    rows.iter().map(|row| Ok(row.get(0)?)).collect()
}

fn read(row: &Row) -> Result<Session> {
    Ok(Session {
        id: row.get(0)?,
        user_id: row.get(1)?,
        client: Client { device: row.get(2)?, user_agent: row.get(3)?, address: row.get(4)? },
        created_at: row.get(5)?,
        last_used_at: row.get(6)?,
        authenticated_at: row.get(7)?,
        expires_at: row.get(8)?,
        revoked_at: row.get(9)?,
    })
}
