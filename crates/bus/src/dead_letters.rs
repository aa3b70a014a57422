//! Events their handlers refuse: failures are counted, then the event is parked so that its key can go on.

use std::sync::Arc;

use mallard_db::{Db, Row, Tx, params};
use mallard_proto::bus::v1::DeadLetter;
use mallard_types::{Error, Micros, Result};

use crate::envelope::Envelope;
use crate::inbox::{self, Work};

/// Deliveries that may fail before an event is parked.
pub const FAILURES_MAX: i64 = 5;

/// Characters of a reason that are kept.
const REASON_CHARS_MAX: usize = 1_000;

/// Payload of one list.
const LIST_BYTES_MAX: usize = mallard_rpc::MESSAGE_BYTES_MAX / 2;

const COUNTED: &str = "SELECT attempts, parked_at FROM dead_letters WHERE event_id = ?";

const COUNT: &str = "INSERT INTO dead_letters (event_id, kind, event_key, at_us, trace, payload, reason, attempts, failed_at, \
     parked_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (event_id) DO UPDATE SET \
     reason = excluded.reason, attempts = excluded.attempts, failed_at = excluded.failed_at, parked_at = excluded.parked_at";

const FORGET: &str = "DELETE FROM dead_letters WHERE event_id = ?";

const LIST: &str = "SELECT event_id, kind, event_key, at_us, trace, payload, reason, attempts, parked_at FROM dead_letters \
     WHERE parked_at IS NOT NULL ORDER BY event_id LIMIT ?";

const PARKED: &str = "SELECT event_id, kind, event_key, at_us, trace, payload, reason, attempts, parked_at FROM dead_letters \
     WHERE event_id = ? AND parked_at IS NOT NULL";

const UNPARK: &str = "DELETE FROM dead_letters WHERE event_id = ? AND parked_at IS NOT NULL";

/// What became of an event that failed once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// To be delivered again.
    Counted,
    /// Parked, now or before: accepted.
    Parked,
    /// Applied by another delivery meanwhile: accepted.
    Applied,
}

/// Counts a failure and parks the event when there were too many.
pub(crate) async fn count(db: &Db, event: &Envelope, reason: &str, now: Micros) -> Result<Failure> {
    let event = Arc::new(event.clone());
    let reason: Arc<str> = shortened(reason).into();
    db.tx("bus.count_failure", move |tx| {
        let (event, reason) = (Arc::clone(&event), Arc::clone(&reason));
        async move { count_in(&tx, &event, &reason, now).await }
    })
    .await
}

async fn count_in(tx: &Tx, event: &Envelope, reason: &str, now: Micros) -> Result<Failure> {
    let mut attempts = 1;
    if let Some(row) = tx.query_opt(COUNTED, params![&event.id]).await? {
        if row.get::<Option<i64>>(1)?.is_some() {
            return Ok(Failure::Parked);
        }
        attempts = row.get::<i64>(0)? + 1;
    }
    let parks = attempts >= FAILURES_MAX;
    if parks && tx.execute(inbox::INSERT, params![&event.id, now, 0]).await? == 0 {
        tx.execute(FORGET, params![&event.id]).await?;
        return Ok(Failure::Applied);
    }
    write(tx, event, reason, attempts, now, parks.then_some(now)).await?;
    Ok(if parks { Failure::Parked } else { Failure::Counted })
}

async fn write(
    tx: &Tx,
    event: &Envelope,
    reason: &str,
    attempts: i64,
    now: Micros,
    parked_at: Option<Micros>,
) -> Result<()> {
    let params = params![
        &event.id,
        &event.kind,
        &event.key,
        event.at,
        &event.trace,
        event.payload.as_ref(),
        reason,
        attempts,
        now,
        parked_at,
    ];
    tx.execute(COUNT, params).await?;
    Ok(())
}

/// Forgets the failures of an event that was applied after all.
pub(crate) async fn forget(db: &Db, event_id: &str) -> Result<()> {
    Ok(db.apply(mallard_db::Unit::new("bus.forget_failures").exec(FORGET, params![event_id])).await?)
}

/// Lists parked events in order of id, as many as one answer can carry.
pub(crate) async fn list(db: &Db, limit: usize) -> Result<Vec<DeadLetter>> {
    let rows = db.query(LIST, params![limit as i64]).await?;
    let mut letters = Vec::with_capacity(rows.len());
    let mut bytes = 0;
    for row in &rows {
        let (letter, event) = decode(row)?;
        bytes += event.payload.len();
        if bytes > LIST_BYTES_MAX && !letters.is_empty() {
            break;
        }
        letters.push(letter);
    }
    Ok(letters)
}

/// Finds one parked event.
pub(crate) async fn find(db: &Db, event_id: &str) -> Result<Option<Envelope>> {
    match db.query_opt(PARKED, params![event_id]).await? {
        Some(row) => Ok(Some(decode(&row)?.1)),
        None => Ok(None),
    }
}

/// Applies a parked event; returns false when it is no longer parked.
pub(crate) async fn retry(db: &Db, work: Arc<Work>) -> Result<bool> {
    db.tx("bus.retry_dead_letter", move |tx| {
        let work = Arc::clone(&work);
        async move {
            if tx.execute(UNPARK, params![&work.event.id]).await? == 0 {
                return Ok(false);
            }
            inbox::apply_parked(&tx, &work).await?;
            Ok(true)
        }
    })
    .await
}

/// Keeps why a parked event failed again.
pub(crate) async fn failed_again(db: &Db, event_id: &str, error: &Error, now: Micros) -> Result<()> {
    let sql = "UPDATE dead_letters SET attempts = attempts + 1, reason = ?, failed_at = ? \
               WHERE event_id = ? AND parked_at IS NOT NULL";
    let params = params![shortened(&error.to_string()), now, event_id];
    Ok(db.apply(mallard_db::Unit::new("bus.dead_letter_failed").exec(sql, params)).await?)
}

fn decode(row: &Row) -> Result<(DeadLetter, Envelope), mallard_db::Error> {
    let event = Envelope {
        id: row.get(0)?,
        kind: row.get(1)?,
        key: row.get(2)?,
        at: row.get(3)?,
        trace: row.get(4)?,
        payload: row.get(5)?,
    };
    let attempts = i32::try_from(row.get::<i64>(7)?).unwrap_or(i32::MAX);
    let letter = DeadLetter {
        event: Some(event.clone().into_proto()),
        reason: row.get(6)?,
        attempts,
        parked_at_micros: row.get(8)?,
    };
    Ok((letter, event))
}

fn shortened(text: &str) -> String {
    text.chars().take(REASON_CHARS_MAX).collect()
}
