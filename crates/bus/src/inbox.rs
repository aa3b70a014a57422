//! Applies one event: its handlers and its inbox row in one transaction.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use mallard_db::{Db, Tx, params};
use mallard_rpc::{Call, Trace};
use mallard_types::{Error, Micros, Result};

use crate::Handler;
use crate::envelope::Envelope;
use crate::many::row_list;

/// applied: 1 with an effect, 0 when the event is parked instead.
pub(crate) const INSERT: &str =
    "INSERT INTO inbox (event_id, applied_at, applied) VALUES (?, ?, ?) ON CONFLICT (event_id) DO NOTHING";

const INSERT_ALL: &str =
    "INSERT INTO inbox (event_id, applied_at, applied) VALUES {} ON CONFLICT (event_id) DO NOTHING";

const COUNT: &str = "UPDATE inbox SET applied = applied + 1 WHERE event_id = ?";

/// An event and those who handle it in the database.
pub(crate) struct Work {
    pub(crate) service: &'static str,
    pub(crate) event: Envelope,
    pub(crate) handlers: Vec<Arc<dyn Handler>>,
    pub(crate) now: Micros,
    /// A planted bug: handle an event although its inbox row is there.
    pub(crate) ignore_inbox: bool,
}

impl Work {
    fn handled_like(&self, other: &Work) -> bool {
        let pairs = self.handlers.iter().zip(&other.handlers);
        self.handlers.len() == other.handlers.len() && pairs.fold(true, |all, (a, b)| all && Arc::ptr_eq(a, b))
    }
}

/// Writes the effect of an event unless that was done before; either way it is done afterwards.
pub(crate) async fn apply(db: &Db, work: Arc<Work>) -> Result<()> {
    let applied = db.tx("bus.apply", move |tx| {
        let work = Arc::clone(&work);
        async move {
            let first = tx.execute(INSERT, params![&work.event.id, work.now, 1]).await? == 1;
            if !first && work.ignore_inbox {
                tx.execute(COUNT, params![&work.event.id]).await?;
            }
            if first || work.ignore_inbox {
                handle(&tx, &work).await?;
            }
            Ok::<(), Error>(())
        }
    });
    // A panic of the transaction itself: a handler that waited for something else than its database, in debug builds.
    match AssertUnwindSafe(applied).catch_unwind().await {
        Ok(applied) => applied,
        Err(panic) => Err(panicked(&*panic)),
    }
}

/// Writes the effects of several events in one transaction, in order, if none of them was applied before and none is refused.
///
/// # Errors
/// As those of [`apply`], and when one was applied before. Then none is applied, and they must be taken one by one.
pub(crate) async fn apply_all(db: &Db, works: Vec<Arc<Work>>) -> Result<()> {
    let applied = db.tx("bus.apply_all", move |tx| {
        let works = works.clone();
        async move {
            let rows = works.iter().map(|work| params![&work.event.id, work.now, 1]).collect();
            let (sql, params) = row_list(INSERT_ALL, rows);
            if tx.execute_dyn(sql, params).await? != works.len() as u64 {
                return Err(Error::conflict("event_seen", "one of the events was applied before"));
            }
            for alike in works.chunk_by(|one, other| one.handled_like(other)) {
                handle_all(&tx, alike).await?;
            }
            Ok::<(), Error>(())
        }
    });
    match AssertUnwindSafe(applied).catch_unwind().await {
        Ok(applied) => applied,
        Err(panic) => Err(panicked(&*panic)),
    }
}

/// Handles events of the same handlers: at once where there is one handler that can, else one by one.
async fn handle_all(tx: &Tx, works: &[Arc<Work>]) -> Result<()> {
    if let [first, _, ..] = works
        && let [handler] = &first.handlers[..]
    {
        let events: Vec<&Envelope> = works.iter().map(|work| &work.event).collect();
        // Of several events at once there is no one trace.
        let handled = mallard_rpc::scope(Call::system(first.service), handler.handle_many(tx, &events));
        match AssertUnwindSafe(handled).catch_unwind().await {
            Ok(Ok(true)) => return Ok(()),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => return Err(error),
            Err(panic) => return Err(panicked(&*panic)),
        }
    }
    for work in works {
        handle(tx, work).await?;
    }
    Ok(())
}

/// Writes the effect of an event that was parked: its inbox row is there already.
pub(crate) async fn apply_parked(tx: &Tx, work: &Work) -> Result<()> {
    tx.execute(COUNT, params![&work.event.id]).await?;
    handle(tx, work).await
}

async fn handle(tx: &Tx, work: &Work) -> Result<()> {
    for handler in &work.handlers {
        // Transactions have no task-locals of their own: the handler gets the event's trace and this service's identity.
        let handled = mallard_rpc::scope(call(work.service, &work.event), handler.handle(tx, &work.event));
        match AssertUnwindSafe(handled).catch_unwind().await {
            Ok(handled) => handled?,
            Err(panic) => return Err(panicked(&*panic)),
        }
    }
    Ok(())
}

/// Makes the context in which an event is handled.
pub(crate) fn call(service: &str, event: &Envelope) -> Call {
    let trace = Trace::parse(&event.trace).unwrap_or_default();
    Call { trace, ..Call::system(service) }
}

pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::internal("event_handler_panicked", format!("the handler panicked: {}", text.unwrap_or("no text")))
}
