//! Named leases: at most one holder at a time does a piece of background work (the relay, a sweeper).
//!
//! The clock decides who may begin, the token decides whose writes count: every new holding has a greater token, and a
//! holder that was away too long finds in its own transaction that its token is not the newest ([`still_held`]).

use mallard_types::Micros;

use crate::{Db, Error, Migration, Tx, params};

/// The schema of leases.
pub const LEASE_MIGRATIONS: &[Migration] = &[Migration {
    version: 90,
    name: "leases",
    sql: "CREATE TABLE leases (name TEXT PRIMARY KEY NOT NULL, holder TEXT NOT NULL, until INTEGER NOT NULL, token INTEGER NOT NULL)",
}];

/// A lease that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What is held.
    pub name: String,
    /// Who holds it.
    pub holder: String,
    /// When it runs out unless it is renewed, in microseconds since the epoch.
    pub until: Micros,
    /// Fencing token; grows with every new holding.
    pub token: i64,
}

/// Takes a lease that is free, has run out, or is held under the same holder's name (left over from before a restart).
/// `None` while somebody else holds it; that costs one read and no write.
///
/// # Errors
/// Those of the database.
pub async fn try_acquire(
    db: &Db,
    name: &'static str,
    holder: &str,
    now: Micros,
    ttl_micros: i64,
) -> Result<Option<Lease>, Error> {
    let seen = db.query_opt("SELECT holder, until FROM leases WHERE name = ?", params![name]).await?;
    if let Some(row) = seen
        && row.get::<i64>(1)? > now
        && row.get::<String>(0)? != holder
    {
        return Ok(None);
    }
    let holder = holder.to_owned();
    let until = now.saturating_add(ttl_micros);
    db.tx("lease.acquire", move |tx| {
        let holder = holder.clone();
        async move { take(&tx, name, holder, now, until).await }
    })
    .await
}

async fn take(tx: &Tx, name: &str, holder: String, now: Micros, until: Micros) -> Result<Option<Lease>, Error> {
    let taken = tx
        .execute(
            "UPDATE leases SET holder = ?, until = ?, token = token + 1 WHERE name = ? AND (until <= ? OR holder = ?)",
            params![&holder, until, name, now, &holder],
        )
        .await?;
    if taken == 0 {
        let made = tx
            .execute(
                "INSERT INTO leases (name, holder, until, token) VALUES (?, ?, ?, 1) ON CONFLICT (name) DO NOTHING",
                params![name, &holder, until],
            )
            .await?;
        if made == 0 {
            return Ok(None);
        }
    }
    let row = tx.query_opt("SELECT token FROM leases WHERE name = ?", params![name]).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Lease { name: name.to_owned(), holder, until, token: row.get(0)? }))
}

/// Renews a lease that is still held, also one that has run out while nobody else took it. `None` when it is lost.
///
/// # Errors
/// Those of the database.
pub async fn renew(db: &Db, lease: &Lease, now: Micros, ttl_micros: i64) -> Result<Option<Lease>, Error> {
    let renewed = Lease { until: now.saturating_add(ttl_micros), ..lease.clone() };
    let to_save = renewed.clone();
    let rows = db
        .tx("lease.renew", move |tx| {
            let lease = to_save.clone();
            async move {
                let sql = "UPDATE leases SET until = ? WHERE name = ? AND token = ?";
                tx.execute(sql, params![lease.until, lease.name, lease.token]).await
            }
        })
        .await?;
    Ok((rows == 1).then_some(renewed))
}

/// Gives a lease back, so that the next holder need not wait. Nothing happens when it is lost already.
///
/// # Errors
/// Those of the database.
pub async fn release(db: &Db, lease: &Lease) -> Result<(), Error> {
    let lease = lease.clone();
    db.tx("lease.release", move |tx| {
        let lease = lease.clone();
        async move {
            let sql = "UPDATE leases SET until = 0, holder = '' WHERE name = ? AND token = ?";
            tx.execute(sql, params![lease.name, lease.token]).await.map(|_| ())
        }
    })
    .await
}

/// Tells, inside a transaction, whether the lease is still ours, and keeps it so until the commit (the row stays locked).
///
/// # Errors
/// Those of the database.
pub async fn still_held(tx: &Tx, lease: &Lease) -> Result<bool, Error> {
    let sql = "UPDATE leases SET token = token WHERE name = ? AND token = ?";
    Ok(tx.execute(sql, params![&lease.name, lease.token]).await? == 1)
}
