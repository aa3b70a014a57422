//! Load and save. Nothing above this folder sees a row.
//!
//! Every write is one unit of guarded statements: it happens whole, or the row had changed since it was read and the caller
//! reads again. Units touch the gate, payments, refunds and the ledger in this order, so they never deadlock.

mod ledger;
mod payments;
mod refunds;

use mallard_bus::{Envelope, Outbox};
use mallard_db::{Db, Unit, UnitError, params};
use mallard_types::{Error, Micros, Result};

use crate::domain::{Gate, Payment, Posting, Refund};

pub use ledger::{Balance, EntryFilter, LedgerEntry};
pub use payments::PaymentFilter;

/// Tag of every guard: which one refused does not matter, the caller reads again.
const STALE: u32 = 1;
/// Unsettled rows in one look.
const DUE_ROWS_MAX: i64 = 100;

/// Something the background has to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// A payment, by id.
    Payment(String),
    /// A refund, by id.
    Refund(String),
}

/// What one unit writes.
#[derive(Default)]
pub struct Change<'a> {
    /// The gate: as it is to be, and whether it is new.
    pub gate: Option<(&'a Gate, bool)>,
    /// Payments that change; each is saved over the version before its own.
    pub saved: Vec<&'a Payment>,
    /// A payment that begins.
    pub opened: Option<&'a Payment>,
    /// A refund that changes.
    pub refund_saved: Option<&'a Refund>,
    /// A refund that begins.
    pub refund_opened: Option<&'a Refund>,
    /// What the ledger says of it.
    pub posting: Option<&'a Posting>,
    /// What the others are told.
    pub event: Option<Envelope>,
    /// What the audit log is told.
    pub audit: Option<Envelope>,
}

/// The service's database.
pub struct Store {
    db: Db,
    outbox: Outbox,
}

impl Store {
    /// Works on a database and publishes through an outbox of the same database.
    pub fn new(db: Db, outbox: Outbox) -> Store {
        Store { db, outbox }
    }

    /// Writes a change; false when a row had changed since it was read, and nothing was written.
    ///
    /// # Errors
    /// The database's.
    pub async fn write(&self, name: &'static str, change: Change<'_>) -> Result<bool> {
        let mut unit = Unit::new(name);
        if let Some((gate, is_new)) = change.gate {
            unit = payments::put_gate(unit, gate, is_new);
        }
        for payment in &change.saved {
            unit = payments::save(unit, payment);
        }
        if let Some(payment) = change.opened {
            unit = payments::insert(unit, payment);
        }
        if let Some(refund) = change.refund_saved {
            unit = refunds::save(unit, refund);
        }
        if let Some(refund) = change.refund_opened {
            unit = refunds::insert(unit, refund)?;
        }
        if let Some(posting) = change.posting {
            unit = ledger::insert(unit, posting);
        }
        unit = self.outbox.add_all_to(unit, change.event.into_iter().chain(change.audit).collect())?;
        match self.db.apply(unit).await {
            Ok(()) => Ok(true),
            Err(UnitError::Guard { tag: STALE, .. }) => Ok(false),
            Err(e) => Err(Error::from(e)),
        }
    }

    /// Finds what is due, the longest due first.
    ///
    /// # Errors
    /// The database's.
    pub async fn due(&self, clock_now: Micros) -> Result<Vec<Due>> {
        let sql = "SELECT kind, id FROM ( \
                     SELECT 'payment' AS kind, id, due_at FROM payments WHERE due_at <= ? \
                     UNION ALL SELECT 'refund' AS kind, id, due_at FROM refunds WHERE due_at <= ? \
                   ) AS due ORDER BY due_at, id LIMIT ?";
        let rows = self.db.query(sql, params![clock_now, clock_now, DUE_ROWS_MAX]).await?;
        rows.iter()
            .map(|row| {
                let id: String = row.get(1)?;
                Ok(if row.get::<String>(0)? == "payment" { Due::Payment(id) } else { Due::Refund(id) })
            })
            .collect()
    }

    /// Looks at a row later that could not be settled now, so that it does not stand in the way of others.
    ///
    /// # Errors
    /// The database's.
    pub async fn postpone(&self, due: &Due, until: Micros) -> Result<()> {
        let (sql, id) = match due {
            Due::Payment(id) => ("UPDATE payments SET due_at = ? WHERE id = ? AND due_at IS NOT NULL", id),
            Due::Refund(id) => ("UPDATE refunds SET due_at = ? WHERE id = ? AND due_at IS NOT NULL", id),
        };
        self.db.apply(Unit::new("payment.postpone").exec(sql, params![until, id])).await?;
        Ok(())
    }
}
