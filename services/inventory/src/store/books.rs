//! Everything in pages, for reports and for the checks of the books.

use std::collections::BTreeMap;

use mallard_db::{Error, Row, params};
use mallard_types::Micros;

use super::{Store, in_list, reservation_from, stock_from};
use crate::domain::{Reservation, State, Stock};

/// One line of the stock ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// Place in the ledger.
    pub seq: i64,
    /// SKU.
    pub sku_id: String,
    /// `received`, `sold`, `returned` or `adjusted`.
    pub kind: String,
    /// Change of the units on hand.
    pub delta: i64,
    /// Why.
    pub reason: String,
    /// Order, return or paper it comes from.
    pub reference: String,
    /// When.
    pub at: Micros,
}

/// A stock row beside the sums of its ledger entries, read at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerSums {
    /// The row.
    pub stock: Stock,
    /// Sum of all deltas.
    pub total: i64,
    /// Sum of deltas of kind `received`.
    pub received: i64,
    /// Sum of deltas of kind `sold` (negative).
    pub sold: i64,
    /// Sum of deltas of kind `returned`.
    pub returned: i64,
    /// Sum of deltas of kind `adjusted`.
    pub adjusted: i64,
}

impl Store {
    /// Reads the ledger of a SKU, newest first, before this place.
    pub async fn ledger_of(&self, sku_id: &str, before_seq: i64, rows_max: usize) -> Result<Vec<LedgerEntry>, Error> {
        const SQL: &str = "SELECT seq, sku_id, kind, delta, reason, reference, at FROM stock_ledger \
             WHERE sku_id = ? AND seq < ? ORDER BY seq DESC LIMIT ?";
        self.db.query(SQL, params![sku_id, before_seq, rows_max as i64]).await?.iter().map(entry_from).collect()
    }

    /// Reads the ledger of all SKUs, oldest first, after this place.
    pub async fn ledger(&self, after_seq: i64, rows_max: usize) -> Result<Vec<LedgerEntry>, Error> {
        const SQL: &str = "SELECT seq, sku_id, kind, delta, reason, reference, at FROM stock_ledger \
             WHERE seq > ? ORDER BY seq LIMIT ?";
        self.db.query(SQL, params![after_seq, rows_max as i64]).await?.iter().map(entry_from).collect()
    }

    /// Reads all reservations in order of id, after this one.
    pub async fn reservations_after(&self, after_id: &str, rows_max: usize) -> Result<Vec<Reservation>, Error> {
        const SQL: &str =
            "SELECT id, state, line_rows, expires_at, created_at FROM reservations WHERE id > ? ORDER BY id LIMIT ?";
        self.db.query(SQL, params![after_id, rows_max as i64]).await?.iter().map(reservation_from).collect()
    }

    /// Reads all stock rows in order of SKU, after this one.
    pub async fn stocks_after(&self, after: &str, rows_max: usize) -> Result<Vec<Stock>, Error> {
        const SQL: &str = "SELECT sku_id, on_hand, reserved, received, sold, returned, adjusted, in_stock, version, low_since FROM stock \
             WHERE sku_id > ? ORDER BY sku_id LIMIT ?";
        self.db.query(SQL, params![after, rows_max as i64]).await?.iter().map(stock_from).collect()
    }

    /// Reads stock rows with the sums of their ledger entries, in order of SKU, after this one. One statement sees one
    /// moment, so row and ledger agree even while the shop is busy.
    pub async fn ledger_sums_after(&self, after: &str, rows_max: usize) -> Result<Vec<LedgerSums>, Error> {
        const SQL: &str = "\
            SELECT s.sku_id, s.on_hand, s.reserved, s.received, s.sold, s.returned, s.adjusted, s.in_stock, s.version, s.low_since, \
                   CAST(COALESCE(SUM(l.delta), 0) AS BIGINT), \
                   CAST(COALESCE(SUM(CASE WHEN l.kind = 'received' THEN l.delta ELSE 0 END), 0) AS BIGINT), \
                   CAST(COALESCE(SUM(CASE WHEN l.kind = 'sold' THEN l.delta ELSE 0 END), 0) AS BIGINT), \
                   CAST(COALESCE(SUM(CASE WHEN l.kind = 'returned' THEN l.delta ELSE 0 END), 0) AS BIGINT), \
                   CAST(COALESCE(SUM(CASE WHEN l.kind = 'adjusted' THEN l.delta ELSE 0 END), 0) AS BIGINT) \
            FROM (SELECT * FROM stock WHERE sku_id > ? ORDER BY sku_id LIMIT ?) s \
            LEFT JOIN stock_ledger l ON l.sku_id = s.sku_id \
            GROUP BY s.sku_id, s.on_hand, s.reserved, s.received, s.sold, s.returned, s.adjusted, s.in_stock, s.version, s.low_since \
            ORDER BY s.sku_id";
        let rows = self.db.query(SQL, params![after, rows_max as i64]).await?;
        rows.iter()
            .map(|row| {
                Ok(LedgerSums {
                    stock: stock_from(row)?,
                    total: row.get(10)?,
                    received: row.get(11)?,
                    sold: row.get(12)?,
                    returned: row.get(13)?,
                    adjusted: row.get(14)?,
                })
            })
            .collect()
    }

    /// Sums the units of every SKU over all reservations in a state, in pages of `rows_max` reservations.
    pub async fn units_in(&self, state: State, rows_max: usize) -> Result<BTreeMap<String, i64>, Error> {
        const SQL: &str = "SELECT id, state, line_rows, expires_at, created_at FROM reservations \
             WHERE state = ? AND (expires_at, id) > (?, ?) ORDER BY expires_at, id LIMIT ?";
        let mut units = BTreeMap::new();
        let (mut expires_at, mut id) = (i64::MIN, String::new());
        loop {
            let rows = self.db.query(SQL, params![state.as_str(), expires_at, &id, rows_max as i64]).await?;
            for row in &rows {
                let reservation = reservation_from(row)?;
                for line in reservation.lines.as_slice() {
                    *units.entry(line.sku_id.clone()).or_default() += line.quantity;
                }
                (expires_at, id) = (reservation.expires_at, reservation.id);
            }
            if rows.len() < rows_max {
                return Ok(units);
            }
        }
    }

    /// Reads the versions of stock rows.
    pub async fn versions(&self, sku_ids: &[&str]) -> Result<BTreeMap<String, i64>, Error> {
        let mut versions = BTreeMap::new();
        for chunk in sku_ids.chunks(super::CHUNK_ROWS_MAX) {
            let (list, params) = in_list(chunk);
            for row in
                self.db.query_dyn(format!("SELECT sku_id, version FROM stock WHERE sku_id IN {list}"), params).await?
            {
                versions.insert(row.get(0)?, row.get(1)?);
            }
        }
        Ok(versions)
    }
}

fn entry_from(row: &Row) -> Result<LedgerEntry, Error> {
    Ok(LedgerEntry {
        seq: row.get(0)?,
        sku_id: row.get(1)?,
        kind: row.get(2)?,
        delta: row.get(3)?,
        reason: row.get(4)?,
        reference: row.get(5)?,
        at: row.get(6)?,
    })
}
