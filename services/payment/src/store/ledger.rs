//! The ledger: written once, never changed; balances are its fold.

use mallard_db::{Row, Unit, Value, params};
use mallard_types::{Micros, Result};

use super::Store;
use crate::domain::Posting;

const HEAD: &str = "INSERT INTO ledger_entries (transaction_id, account, debit, credit, nanos, currency, order_id, payment_id, at) VALUES ";
const ROW: &str = "(?, ?, ?, ?, ?, ?, ?, ?, ?)";
const INSERT_2: &str = "INSERT INTO ledger_entries (transaction_id, account, debit, credit, nanos, currency, order_id, payment_id, at) VALUES \
     (?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?)";
const INSERT_4: &str = "INSERT INTO ledger_entries (transaction_id, account, debit, credit, nanos, currency, order_id, payment_id, at) VALUES \
     (?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// An entry as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// Place in the ledger.
    pub seq: i64,
    /// Id of the payment or refund.
    pub transaction_id: String,
    /// e.g. `sales:GBP`.
    pub account: String,
    /// Minor units.
    pub debit: i64,
    /// Minor units.
    pub credit: i64,
    /// Billionths of the major unit, debit positive.
    pub nanos: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// Order it belongs to.
    pub order_id: String,
    /// Payment it belongs to.
    pub payment_id: String,
    /// Business time.
    pub at: Micros,
}

/// The balance of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// e.g. `sales:GBP`.
    pub account: String,
    /// ISO 4217 code.
    pub currency: String,
    /// Debits minus credits, minor units.
    pub balance: i64,
    /// Billionths of the major unit beside it.
    pub nanos: i64,
}

/// Which entries an operator asks for; newest first.
#[derive(Clone, Debug, Default)]
pub struct EntryFilter {
    /// Only this account; empty for all.
    pub account: String,
    /// Only this order; empty for all.
    pub order_id: String,
    /// Only entries before this one.
    pub before_seq: Option<i64>,
}

/// Adds one insert with all rows of a posting; nothing when it has none.
pub(super) fn insert(unit: Unit, posting: &Posting) -> Unit {
    let mut values = Vec::with_capacity(posting.entries.len() * 9);
    for entry in &posting.entries {
        values.extend(params![
            posting.transaction_id.clone(),
            entry.account.clone(),
            entry.debit,
            entry.credit,
            entry.nanos,
            posting.currency.as_str(),
            posting.order_id.clone(),
            posting.payment_id.clone(),
            posting.at
        ]);
    }
    match posting.entries.len() {
        0 => unit,
        2 => unit.exec(INSERT_2, values),
        4 => unit.exec(INSERT_4, values),
        rows => unit.exec_dyn(format!("{HEAD}{}", vec![ROW; rows].join(", ")), values),
    }
}

impl Store {
    /// Folds the whole ledger into balances.
    ///
    /// # Errors
    /// The database's.
    pub async fn balances(&self) -> Result<Vec<Balance>> {
        let sql = "SELECT account, currency, CAST(SUM(debit - credit) AS BIGINT), CAST(SUM(nanos) AS BIGINT) \
                   FROM ledger_entries GROUP BY account, currency ORDER BY account, currency";
        let rows = self.db.query(sql, params![]).await?;
        rows.iter()
            .map(|row| {
                Ok(Balance { account: row.get(0)?, currency: row.get(1)?, balance: row.get(2)?, nanos: row.get(3)? })
            })
            .collect()
    }

    /// Lists entries, newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn entries(&self, filter: &EntryFilter, limit: usize) -> Result<Vec<LedgerEntry>> {
        let mut parts = Vec::new();
        let mut values = Vec::new();
        if !filter.account.is_empty() {
            parts.push("account = ?");
            values.push(Value::from(&filter.account));
        }
        if !filter.order_id.is_empty() {
            // The ledger has an index by transaction; a transaction is a payment or a refund of the order.
            parts.push(
                "transaction_id IN (SELECT id FROM payments WHERE order_id = ? UNION ALL SELECT id FROM refunds WHERE order_id = ?)",
            );
            values.extend(params![filter.order_id.clone(), filter.order_id.clone()]);
        }
        if let Some(before) = filter.before_seq {
            parts.push("seq < ?");
            values.push(Value::from(before));
        }
        values.push(Value::from(limit as i64));
        let condition = if parts.is_empty() { String::new() } else { format!(" WHERE {}", parts.join(" AND ")) };
        let sql = format!("{SELECT}{condition} ORDER BY seq DESC LIMIT ?");
        self.db.query_dyn(sql, values).await?.iter().map(entry).collect()
    }

    /// Lists entries in order of writing, after a place.
    ///
    /// # Errors
    /// The database's.
    pub async fn scan_entries(&self, after_seq: i64, limit: usize) -> Result<Vec<LedgerEntry>> {
        let sql = format!("{SELECT} WHERE seq > ? ORDER BY seq LIMIT ?");
        self.db.query_dyn(sql, params![after_seq, limit as i64]).await?.iter().map(entry).collect()
    }

    /// Lists the entries of the transactions whose ids lie between two (both included).
    ///
    /// # Errors
    /// The database's.
    pub async fn entries_of(&self, first_id: &str, last_id: &str) -> Result<Vec<LedgerEntry>> {
        let sql =
            format!("{SELECT} WHERE transaction_id >= ? AND transaction_id <= ? ORDER BY transaction_id, account");
        self.db.query_dyn(sql, params![first_id, last_id]).await?.iter().map(entry).collect()
    }

    /// Counts the entries.
    ///
    /// # Errors
    /// The database's.
    pub async fn count_entries(&self) -> Result<i64> {
        let rows = self.db.query("SELECT COUNT(*) FROM ledger_entries", params![]).await?;
        rows.first().map_or(Ok(0), |row| Ok(row.get(0)?))
    }
}

const SELECT: &str =
    "SELECT seq, transaction_id, account, debit, credit, nanos, currency, order_id, payment_id, at FROM ledger_entries";

fn entry(row: &Row) -> Result<LedgerEntry> {
    Ok(LedgerEntry {
        seq: row.get(0)?,
        transaction_id: row.get(1)?,
        account: row.get(2)?,
        debit: row.get(3)?,
        credit: row.get(4)?,
        nanos: row.get(5)?,
        currency: row.get(6)?,
        order_id: row.get(7)?,
        payment_id: row.get(8)?,
        at: row.get(9)?,
    })
}
