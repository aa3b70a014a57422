//! The producer side: rows written in the transaction that makes an event true.

use std::sync::{Arc, LazyLock};

use mallard_db::{Tx, Unit, Value, params};
use mallard_types::{Error, Result};

use crate::envelope::{EVENT_BYTES_MAX, Envelope};
use crate::routes::Routes;
use crate::{Clock, Switches};

/// Rows written by one statement.
const ROWS_MAX: usize = 16;

/// Insert statements for 1 to [`ROWS_MAX`] rows; made once, so that each is prepared once.
static INSERTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let columns =
        "INSERT INTO outbox (subscriber, event_id, kind, event_key, at_us, trace, payload, appended_at) VALUES ";
    (1..=ROWS_MAX).map(|rows| columns.to_owned() + &vec!["(?, ?, ?, ?, ?, ?, ?, ?)"; rows].join(", ")).collect()
});

/// Publishes events by writing them into the outbox of the caller's database. Clones are the same.
#[derive(Clone)]
pub struct Outbox {
    routes: Arc<Routes>,
    clock: Clock,
    switches: Switches,
}

/// One insert of up to [`ROWS_MAX`] rows.
struct Insert {
    sql: &'static str,
    params: Vec<Value>,
}

impl Outbox {
    pub(crate) fn new(routes: Arc<Routes>, clock: Clock, switches: Switches) -> Outbox {
        Outbox { routes, clock, switches }
    }

    /// Publishes an event when the transaction commits. One statement for all subscribers, none when there are none.
    ///
    /// # Errors
    /// `Internal` (`event_too_large`) above [`EVENT_BYTES_MAX`]; the database's errors.
    pub async fn append(&self, tx: &Tx, event: Envelope) -> Result<()> {
        self.append_all(tx, vec![event]).await
    }

    /// Publishes several events, in order, when the transaction commits. One statement for all rows, up to 16 rows.
    ///
    /// # Errors
    /// As [`Outbox::append`].
    pub async fn append_all(&self, tx: &Tx, events: Vec<Envelope>) -> Result<()> {
        let (inserts, topics) = self.inserts(&events)?;
        for insert in inserts {
            tx.execute(insert.sql, insert.params).await?;
        }
        for topic in topics {
            tx.wake(topic);
        }
        Ok(())
    }

    /// Adds the publication of an event to a unit of work.
    ///
    /// # Errors
    /// `Internal` (`event_too_large`) above [`EVENT_BYTES_MAX`].
    pub fn add_to(&self, unit: Unit, event: Envelope) -> Result<Unit> {
        self.add_all_to(unit, vec![event])
    }

    /// Adds the publication of several events to a unit of work.
    ///
    /// # Errors
    /// As [`Outbox::add_to`].
    pub fn add_all_to(&self, mut unit: Unit, events: Vec<Envelope>) -> Result<Unit> {
        let (inserts, topics) = self.inserts(&events)?;
        for insert in inserts {
            unit = unit.exec(insert.sql, insert.params);
        }
        for topic in topics {
            unit = unit.wake(topic);
        }
        Ok(unit)
    }

    /// Tells whether anybody subscribes to a kind; for events that cost something to make.
    pub fn is_wanted(&self, kind: &str) -> bool {
        !self.routes.targets(kind).is_empty()
    }

    fn inserts(&self, events: &[Envelope]) -> Result<(Vec<Insert>, Vec<&'static str>)> {
        let mut topics = Vec::new();
        let mut rows = Vec::new();
        let now = (self.clock)();
        for event in events {
            if event.payload.len() > EVENT_BYTES_MAX {
                let message = format!("event {} of kind {} has {} bytes", event.id, event.kind, event.payload.len());
                return Err(Error::internal("event_too_large", message));
            }
            for target in self.routes.targets(&event.kind) {
                rows.push((target.service, event));
                if !topics.contains(&target.topic) {
                    topics.push(target.topic);
                }
            }
        }
        if (self.switches)("bus.lose_events") {
            rows.clear();
        }
        let inserts = rows.chunks(ROWS_MAX).map(|rows| {
            let mut params = Vec::with_capacity(rows.len() * 8);
            for (service, event) in rows {
                params.extend(params![
                    *service,
                    &event.id,
                    &event.kind,
                    &event.key,
                    event.at,
                    &event.trace,
                    event.payload.as_ref(),
                    now,
                ]);
            }
            Insert { sql: &INSERTS[rows.len() - 1], params }
        });
        Ok((inserts.collect(), topics))
    }
}
