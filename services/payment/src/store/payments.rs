//! Payments and the gates of orders.

use mallard_db::{Row, Unit, Value, params};
use mallard_types::{Currency, Money, Result};

use super::{STALE, Store};
use crate::domain::{CardFace, Failure, Gate, Method, Payment, Status};
use crate::error;

macro_rules! columns {
    ($prefix:literal) => {
        concat!(
            $prefix,
            "id, ",
            $prefix,
            "order_id, ",
            $prefix,
            "user_id, ",
            $prefix,
            "method, ",
            $prefix,
            "status, ",
            $prefix,
            "amount, ",
            $prefix,
            "currency, ",
            $prefix,
            "captured, ",
            $prefix,
            "refunded, ",
            $prefix,
            "refunding, ",
            $prefix,
            "rounding_nanos, ",
            $prefix,
            "card_brand, ",
            $prefix,
            "card_last4, ",
            $prefix,
            "provider_key, ",
            $prefix,
            "provider_ref, ",
            $prefix,
            "failure_code, ",
            $prefix,
            "failure_message, ",
            $prefix,
            "unknown, ",
            $prefix,
            "closing, ",
            $prefix,
            "attempts, ",
            $prefix,
            "due_at, ",
            $prefix,
            "version, ",
            $prefix,
            "created_at, ",
            $prefix,
            "updated_at"
        )
    };
}

const INSERT: &str = concat!(
    "INSERT INTO payments (",
    columns!(""),
    ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
);
const SAVE: &str = "UPDATE payments SET status = ?, captured = ?, refunded = ?, refunding = ?, provider_ref = ?, failure_code = ?, \
                    failure_message = ?, unknown = ?, closing = ?, attempts = ?, due_at = ?, version = ?, updated_at = ? \
                    WHERE id = ? AND version = ?";
const INSERT_GATE: &str = "INSERT INTO order_payments (order_id, payment_id, closed, version) VALUES (?, ?, ?, ?) ON CONFLICT (order_id) DO NOTHING";
const SAVE_GATE: &str =
    "UPDATE order_payments SET payment_id = ?, closed = ?, version = ? WHERE order_id = ? AND version = ?";
const FIND: &str = concat!("SELECT ", columns!(""), " FROM payments WHERE id = ?");
const FIND_HOLDER: &str = concat!(
    "SELECT ",
    columns!("p."),
    " FROM order_payments g JOIN payments p ON p.id = g.payment_id WHERE g.order_id = ?"
);
const SCAN: &str = concat!("SELECT ", columns!(""), " FROM payments WHERE id > ? ORDER BY id LIMIT ?");

/// Which payments an operator asks for; newest first.
#[derive(Clone, Debug, Default)]
pub struct PaymentFilter {
    /// Only this status.
    pub status: Option<Status>,
    /// Only this order; empty for all.
    pub order_id: String,
    /// Only ids before this one; empty for the first page.
    pub before_id: String,
}

pub(super) fn put_gate(unit: Unit, gate: &Gate, is_new: bool) -> Unit {
    if is_new {
        let values = params![gate.order_id.clone(), gate.payment_id.clone(), gate.closed, gate.version];
        return unit.guard(INSERT_GATE, values, 1, STALE);
    }
    let values = params![gate.payment_id.clone(), gate.closed, gate.version, gate.order_id.clone(), gate.version - 1];
    unit.guard(SAVE_GATE, values, 1, STALE)
}

pub(super) fn insert(unit: Unit, p: &Payment) -> Unit {
    let (brand, last4) = p.card.as_ref().map_or(("", ""), |card| (card.brand.as_str(), card.last4.as_str()));
    let (code, message) = failure_columns(p);
    let values = params![
        p.id.clone(),
        p.order_id.clone(),
        p.user_id.clone(),
        p.method.as_str(),
        p.status.as_str(),
        p.amount.amount,
        p.amount.currency.as_str(),
        p.captured,
        p.refunded,
        p.refunding,
        p.rounding_nanos,
        brand,
        last4,
        p.provider_key.clone(),
        p.provider_ref.clone(),
        code,
        message,
        p.unknown,
        p.closing,
        p.attempts,
        p.due_at,
        p.version,
        p.created_at,
        p.updated_at
    ];
    unit.guard(INSERT, values, 1, STALE)
}

pub(super) fn save(unit: Unit, p: &Payment) -> Unit {
    let (code, message) = failure_columns(p);
    let values = params![
        p.status.as_str(),
        p.captured,
        p.refunded,
        p.refunding,
        p.provider_ref.clone(),
        code,
        message,
        p.unknown,
        p.closing,
        p.attempts,
        p.due_at,
        p.version,
        p.updated_at,
        p.id.clone(),
        p.version - 1
    ];
    unit.guard(SAVE, values, 1, STALE)
}

fn failure_columns(p: &Payment) -> (String, String) {
    p.failure.as_ref().map_or_else(Default::default, |failure| (failure.code.clone(), failure.message.clone()))
}

impl Store {
    /// Finds a payment.
    ///
    /// # Errors
    /// The database's.
    pub async fn payment(&self, id: &str) -> Result<Option<Payment>> {
        self.db.query_opt(FIND, params![id]).await?.as_ref().map(payment).transpose()
    }

    /// Finds the payment that holds an order's gate.
    ///
    /// # Errors
    /// The database's.
    pub async fn holder(&self, order_id: &str) -> Result<Option<Payment>> {
        self.db.query_opt(FIND_HOLDER, params![order_id]).await?.as_ref().map(payment).transpose()
    }

    /// Finds the gate of an order.
    ///
    /// # Errors
    /// The database's.
    pub async fn gate(&self, order_id: &str) -> Result<Option<Gate>> {
        let sql = "SELECT order_id, payment_id, closed, version FROM order_payments WHERE order_id = ?";
        let Some(row) = self.db.query_opt(sql, params![order_id]).await? else { return Ok(None) };
        Ok(Some(Gate { order_id: row.get(0)?, payment_id: row.get(1)?, closed: row.get(2)?, version: row.get(3)? }))
    }

    /// Lists payments, newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn payments(&self, filter: &PaymentFilter, limit: usize) -> Result<Vec<Payment>> {
        let (condition, mut values) = condition(filter, true);
        values.push(Value::from(limit as i64));
        let sql = format!("SELECT {} FROM payments{condition} ORDER BY id DESC LIMIT ?", columns!(""));
        self.db.query_dyn(sql, values).await?.iter().map(payment).collect()
    }

    /// Counts the payments a filter lets through, whatever the page.
    ///
    /// # Errors
    /// The database's.
    pub async fn count_payments(&self, filter: &PaymentFilter) -> Result<i64> {
        let (condition, values) = condition(filter, false);
        let rows = self.db.query_dyn(format!("SELECT COUNT(*) FROM payments{condition}"), values).await?;
        rows.first().map_or(Ok(0), |row| Ok(row.get(0)?))
    }

    /// Lists payments in order of id, after an id.
    ///
    /// # Errors
    /// The database's.
    pub async fn scan_payments(&self, after_id: &str, limit: usize) -> Result<Vec<Payment>> {
        self.db.query(SCAN, params![after_id, limit as i64]).await?.iter().map(payment).collect()
    }

    /// Lists captured payments between two ids (both included) that do not hold their order's gate: payment and order id.
    ///
    /// # Errors
    /// The database's.
    pub async fn captures_beside_the_gate(&self, first_id: &str, last_id: &str) -> Result<Vec<(String, String)>> {
        let sql = "SELECT p.id, p.order_id FROM payments p LEFT JOIN order_payments g ON g.order_id = p.order_id \
                   WHERE p.id >= ? AND p.id <= ? AND p.status IN ('captured', 'partially_refunded', 'refunded') \
                   AND (g.payment_id IS NULL OR g.payment_id <> p.id) ORDER BY p.id";
        let rows = self.db.query(sql, params![first_id, last_id]).await?;
        rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
    }
}

fn condition(filter: &PaymentFilter, paged: bool) -> (String, Vec<Value>) {
    let mut parts = Vec::new();
    let mut values = Vec::new();
    if let Some(status) = filter.status {
        parts.push("status = ?");
        values.push(Value::from(status.as_str()));
    }
    if !filter.order_id.is_empty() {
        parts.push("order_id = ?");
        values.push(Value::from(&filter.order_id));
    }
    if paged && !filter.before_id.is_empty() {
        parts.push("id < ?");
        values.push(Value::from(&filter.before_id));
    }
    let text = if parts.is_empty() { String::new() } else { format!(" WHERE {}", parts.join(" AND ")) };
    (text, values)
}

fn payment(row: &Row) -> Result<Payment> {
    let broken = || error::broken_row("payment");
    let currency = Currency::parse(&row.get::<String>(6)?)?;
    let brand: String = row.get(11)?;
    let code: String = row.get(15)?;
    Ok(Payment {
        id: row.get(0)?,
        order_id: row.get(1)?,
        user_id: row.get(2)?,
        method: Method::parse(&row.get::<String>(3)?).ok_or_else(broken)?,
        status: Status::parse(&row.get::<String>(4)?).ok_or_else(broken)?,
        amount: Money::new(row.get(5)?, currency),
        captured: row.get(7)?,
        refunded: row.get(8)?,
        refunding: row.get(9)?,
        rounding_nanos: row.get(10)?,
        card: if brand.is_empty() { None } else { Some(CardFace { brand, last4: row.get(12)? }) },
        provider_key: row.get(13)?,
        provider_ref: row.get(14)?,
        failure: if code.is_empty() { None } else { Some(Failure { code, message: row.get(16)? }) },
        unknown: row.get(17)?,
        closing: row.get(18)?,
        attempts: row.get(19)?,
        due_at: row.get(20)?,
        version: row.get(21)?,
        created_at: row.get(22)?,
        updated_at: row.get(23)?,
    })
}
