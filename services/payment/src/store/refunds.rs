//! Refunds.

use mallard_db::{Row, Unit, params};
use mallard_types::{Currency, Money, Result};
use serde::{Deserialize, Serialize};

use super::{STALE, Store};
use crate::domain::{Refund, RefundLine, RefundStatus};
use crate::error;

macro_rules! columns {
    () => {
        "id, payment_id, order_id, amount, currency, status, reason, reference, customer, country, lines, attempts, due_at, version, \
         created_at, updated_at"
    };
}

const INSERT: &str = concat!(
    "INSERT INTO refunds (",
    columns!(),
    ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
);
const SAVE: &str =
    "UPDATE refunds SET status = ?, attempts = ?, due_at = ?, version = ?, updated_at = ? WHERE id = ? AND version = ?";
const FIND: &str = concat!("SELECT ", columns!(), " FROM refunds WHERE id = ?");
const PENDING: &str =
    concat!("SELECT ", columns!(), " FROM refunds WHERE payment_id = ? AND status = 'pending' ORDER BY id LIMIT 100");
const SCAN: &str = concat!("SELECT ", columns!(), " FROM refunds WHERE id > ? ORDER BY id LIMIT ?");

/// A line as it is stored, JSON in the `lines` column.
#[derive(Serialize, Deserialize)]
struct StoredLine {
    sku_id: String,
    code: String,
    quantity: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    amount: Option<i64>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    currency: String,
    #[serde(default)]
    row: i64,
}

pub(super) fn insert(unit: Unit, r: &Refund) -> Result<Unit> {
    let values = params![
        r.id.clone(),
        r.payment_id.clone(),
        r.order_id.clone(),
        r.amount.amount,
        r.amount.currency.as_str(),
        r.status.as_str(),
        r.reason.clone(),
        r.reference.clone(),
        r.customer.clone(),
        r.country.clone(),
        pack(&r.lines)?,
        r.attempts,
        r.due_at,
        r.version,
        r.created_at,
        r.updated_at
    ];
    Ok(unit.guard(INSERT, values, 1, STALE))
}

pub(super) fn save(unit: Unit, r: &Refund) -> Unit {
    let values = params![r.status.as_str(), r.attempts, r.due_at, r.version, r.updated_at, r.id.clone(), r.version - 1];
    unit.guard(SAVE, values, 1, STALE)
}

impl Store {
    /// Finds a refund.
    ///
    /// # Errors
    /// The database's.
    pub async fn refund(&self, id: &str) -> Result<Option<Refund>> {
        self.db.query_opt(FIND, params![id]).await?.as_ref().map(refund).transpose()
    }

    /// Lists the refunds of a payment that have no final answer.
    ///
    /// # Errors
    /// The database's.
    pub async fn pending_refunds(&self, payment_id: &str) -> Result<Vec<Refund>> {
        self.db.query(PENDING, params![payment_id]).await?.iter().map(refund).collect()
    }

    /// Lists refunds in order of id, after an id.
    ///
    /// # Errors
    /// The database's.
    pub async fn scan_refunds(&self, after_id: &str, limit: usize) -> Result<Vec<Refund>> {
        self.db.query(SCAN, params![after_id, limit as i64]).await?.iter().map(refund).collect()
    }

    /// Sums what went back, and what is on its way, of every payment of a page: payment id, succeeded, pending.
    ///
    /// # Errors
    /// The database's.
    pub async fn refund_sums(&self, first_id: &str, last_id: &str) -> Result<Vec<(String, i64, i64)>> {
        let sql = "SELECT payment_id, \
                     CAST(SUM(CASE WHEN status = 'succeeded' THEN amount ELSE 0 END) AS BIGINT), \
                     CAST(SUM(CASE WHEN status = 'pending' THEN amount ELSE 0 END) AS BIGINT) \
                   FROM refunds WHERE payment_id >= ? AND payment_id <= ? GROUP BY payment_id";
        let rows = self.db.query(sql, params![first_id, last_id]).await?;
        rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).collect()
    }
}

fn pack(lines: &[RefundLine]) -> Result<Vec<u8>> {
    let stored: Vec<StoredLine> = lines
        .iter()
        .map(|line| StoredLine {
            sku_id: line.sku_id.clone(),
            code: line.code.clone(),
            quantity: line.quantity,
            amount: line.amount.map(|money| money.amount),
            currency: line.amount.map(|money| money.currency.as_str().to_owned()).unwrap_or_default(),
            row: line.row,
        })
        .collect();
    serde_json::to_vec(&stored).map_err(|e| error::broken_row("refund").source(e))
}

fn unpack(bytes: &[u8]) -> Result<Vec<RefundLine>> {
    let stored: Vec<StoredLine> = serde_json::from_slice(bytes).map_err(|e| error::broken_row("refund").source(e))?;
    let line = |line: StoredLine| {
        let amount = match line.amount {
            Some(amount) => Some(Money::new(amount, Currency::parse(&line.currency)?)),
            None => None,
        };
        Ok(RefundLine { sku_id: line.sku_id, code: line.code, quantity: line.quantity, amount, row: line.row })
    };
    stored.into_iter().map(line).collect()
}

fn refund(row: &Row) -> Result<Refund> {
    let currency = Currency::parse(&row.get::<String>(4)?)?;
    Ok(Refund {
        id: row.get(0)?,
        payment_id: row.get(1)?,
        order_id: row.get(2)?,
        amount: Money::new(row.get(3)?, currency),
        status: RefundStatus::parse(&row.get::<String>(5)?).ok_or_else(|| error::broken_row("refund"))?,
        reason: row.get(6)?,
        reference: row.get(7)?,
        customer: row.get(8)?,
        country: row.get(9)?,
        lines: unpack(&row.get::<Vec<u8>>(10)?)?,
        attempts: row.get(11)?,
        due_at: row.get(12)?,
        version: row.get(13)?,
        created_at: row.get(14)?,
        updated_at: row.get(15)?,
    })
}
