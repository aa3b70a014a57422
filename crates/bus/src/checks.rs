//! What must be true of a service's events when the mall is quiet.

use mallard_db::{Db, Row, params};
use mallard_proto::common::v1::Check;
use mallard_types::{Micros, Result};

/// Age of an outbox row that is too old when nothing is going on, in microseconds.
const DRAINED_WITHIN_MICROS: Micros = 60 * 1_000_000;

/// Breaking rows that are named.
const NAMED_MAX: i64 = 10;

/// Oldest rows first: seq grows with time.
const UNDELIVERED: &str = "SELECT subscriber, event_id, kind, event_key, appended_at FROM outbox WHERE appended_at <= ? \
     ORDER BY seq LIMIT ?";

const PARKED: &str = "SELECT event_id, kind, event_key, reason FROM dead_letters WHERE parked_at IS NOT NULL \
     ORDER BY event_id LIMIT ?";

const APPLIED_TWICE: &str = "SELECT event_id, applied FROM inbox WHERE applied > 1 ORDER BY event_id LIMIT ?";

/// Accepted without effect although it is not parked.
const NEVER_APPLIED: &str = "SELECT inbox.event_id, inbox.applied FROM inbox LEFT JOIN dead_letters \
     ON dead_letters.event_id = inbox.event_id AND dead_letters.parked_at IS NOT NULL \
     WHERE inbox.applied < 1 AND dead_letters.event_id IS NULL ORDER BY inbox.event_id LIMIT ?";

/// Applied although it is parked, or parked without having been accepted.
const APPLIED_AND_PARKED: &str = "SELECT dead_letters.event_id, COALESCE(inbox.applied, -1) FROM dead_letters \
     LEFT JOIN inbox ON inbox.event_id = dead_letters.event_id \
     WHERE dead_letters.parked_at IS NOT NULL AND COALESCE(inbox.applied, -1) <> 0 \
     ORDER BY dead_letters.event_id LIMIT ?";

/// Checks the events of one service: everything old enough delivered, nothing parked, everything accepted applied once.
///
/// # Errors
/// The database's errors.
pub async fn checks(db: &Db, now: Micros) -> Result<Vec<Check>> {
    let undelivered = db.query(UNDELIVERED, params![now - DRAINED_WITHIN_MICROS, NAMED_MAX]).await?;
    let parked = db.query(PARKED, params![NAMED_MAX]).await?;
    let mut miscounted = Vec::new();
    for sql in [APPLIED_TWICE, NEVER_APPLIED, APPLIED_AND_PARKED] {
        miscounted.extend(db.query(sql, params![NAMED_MAX]).await?);
    }
    Ok(vec![
        check("events.outbox_drained", "waiting for", &undelivered, |row| {
            let waited_ms = (now - row.get::<Micros>(4)?) / 1_000;
            let (subscriber, id, kind, key): (String, String, String, String) =
                (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok(format!("{subscriber}: {kind} {id} of {key} since {waited_ms} ms"))
        })?,
        check("events.dead_letters_empty", "parked", &parked, |row| {
            let (id, kind, key, reason): (String, String, String, String) =
                (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok(format!("{kind} {id} of {key}: {reason}"))
        })?,
        check("events.applied_once", "miscounted", &miscounted, |row| {
            let (id, applied): (String, i64) = (row.get(0)?, row.get(1)?);
            Ok(format!("{id} applied {applied} times"))
        })?,
    ])
}

fn check(
    name: &str,
    what: &str,
    rows: &[Row],
    describe: impl Fn(&Row) -> Result<String, mallard_db::Error>,
) -> Result<Check> {
    let mut lines = Vec::with_capacity(rows.len());
    for row in rows {
        lines.push(describe(row)?);
    }
    let detail = if lines.is_empty() { "none".to_owned() } else { format!("{what} {}", lines.join("; ")) };
    Ok(Check { name: name.to_owned(), ok: rows.is_empty(), detail })
}
