//! Forgets what is too old to come again: inbox rows, and counts of failures that were overcome.

use std::time::Duration;

use mallard_db::{Db, Unit, Value, params};
use mallard_types::Result;
use tokio::time::sleep;

use crate::Clock;
use crate::many::{MANY_MAX, in_list};

const EVERY: Duration = Duration::from_secs(600);

/// Between two batches, so that pruning never holds up the service.
const PAUSE: Duration = Duration::from_millis(50);

/// An event is not delivered again after this time, in microseconds: far longer than any relay repeats one.
pub(crate) const INBOX_MICROS: i64 = 7 * 24 * 3600 * 1_000_000;

const COUNTS_MICROS: i64 = 24 * 3600 * 1_000_000;

const OLD: &str =
    "SELECT event_id FROM inbox WHERE applied_at < ? AND applied > 0 ORDER BY applied_at, event_id LIMIT ?";
const FORGET: &str = "DELETE FROM inbox WHERE event_id IN ({})";
const FORGET_COUNTS: &str = "DELETE FROM dead_letters WHERE parked_at IS NULL AND failed_at < ?";

pub(crate) async fn run(db: Db, clock: Clock) {
    loop {
        if let Err(error) = prune(&db, &clock).await {
            tracing::warn!(service = db.service(), %error, "the inbox could not be pruned");
        }
        sleep(EVERY).await;
    }
}

async fn prune(db: &Db, clock: &Clock) -> Result<()> {
    let now = clock();
    db.apply(Unit::new("bus.prune").exec(FORGET_COUNTS, params![now - COUNTS_MICROS])).await?;
    loop {
        let rows = db.query(OLD, params![now - INBOX_MICROS, MANY_MAX as i64]).await?;
        let ids = rows.iter().map(|row| row.get(0)).collect::<Result<Vec<Value>, _>>()?;
        let count = ids.len();
        if count == 0 {
            return Ok(());
        }
        let (sql, params) = in_list(FORGET, ids);
        db.apply(Unit::new("bus.prune").exec_dyn(sql, params)).await?;
        if count < MANY_MAX {
            return Ok(());
        }
        sleep(PAUSE).await;
    }
}
