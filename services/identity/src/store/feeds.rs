//! What gateways read in order: revoked sessions, and how accounts stand since their tokens were issued.

use mallard_db::{Db, Row, Tx, Value, params};
use mallard_types::{Micros, Result};

use super::{broken, list, take_numbers};
use crate::domain::{BanLevel, Standing};

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

/// Revokes sessions and appends them to the list of revocations. At least one id.
pub async fn revoke_sessions(tx: &Tx, ids: &[String], now: Micros, until: Micros) -> Result<()> {
    let (places, mut values) = list(ids.iter().map(String::as_str));
    values.insert(0, now.into());
    tx.execute_dyn(format!("UPDATE sessions SET revoked_at = ? WHERE revoked_at IS NULL AND id IN {places}"), values)
        .await?;
    let first = take_numbers(tx, "revocations", ids.len() as i64).await?;
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

/// Removes what no living access token needs any more from both lists; returns how many rows went.
pub async fn remove_over(tx: &Tx, now: Micros) -> Result<u64> {
    let revocations = tx.execute("DELETE FROM revocations WHERE until <= ?", params![now]).await?;
    let standings = tx.execute("DELETE FROM standings WHERE over_at <= ?", params![now]).await?;
    Ok(revocations + standings)
}

/// Appends how an account stands to the list, in place of what was there of it; returns its number.
pub async fn append_standing(tx: &Tx, standing: &Standing, over_at: Option<Micros>) -> Result<i64> {
    let seq = take_numbers(tx, "standings", 1).await?;
    tx.execute("DELETE FROM standings WHERE user_id = ?", params![standing.user_id.as_str()]).await?;
    let sql = "INSERT INTO standings (seq, user_id, roles, seller_id, ban_level, ban_until, until, deleted, over_at) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let values = params![
        seq,
        standing.user_id.as_str(),
        standing.roles.join(","),
        standing.seller_id.as_str(),
        standing.ban.map(|(level, _)| level.as_str()),
        standing.ban.and_then(|(_, until)| until),
        standing.until,
        standing.deleted,
        over_at,
    ];
    tx.execute(sql, values).await?;
    Ok(seq)
}

/// Loads standings with their numbers in order, after this number.
pub async fn standings_page(db: &Db, after_seq: i64, limit: usize) -> Result<Vec<(i64, Standing)>> {
    let sql = "SELECT seq, user_id, roles, seller_id, ban_level, ban_until, until, deleted FROM standings \
               WHERE seq > ? ORDER BY seq LIMIT ?";
    db.query(sql, params![after_seq, limit as i64]).await?.iter().map(read_standing).collect()
}

fn read_standing(row: &Row) -> Result<(i64, Standing)> {
    let roles: String = row.get(2)?;
    let ban_level: Option<String> = row.get(4)?;
    let ban = match ban_level {
        Some(level) => Some((BanLevel::parse(&level).map_err(broken)?, row.get(5)?)),
        None => None,
    };
    let standing = Standing {
        user_id: row.get(1)?,
        roles: roles.split(',').map(str::to_owned).collect(),
        seller_id: row.get(3)?,
        ban,
        until: row.get(6)?,
        deleted: row.get(7)?,
    };
    Ok((row.get(0)?, standing))
}
