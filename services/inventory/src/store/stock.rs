//! Stock rows: read, receive, adjust, return, announce.

use std::sync::Arc;

use mallard_db::{Error, Tx, Value, params};
use mallard_runtime::Audit;
use mallard_types::Micros;
use serde_json::json;

use super::stock_from;
use super::{
    CHUNK_ROWS_MAX, STOCK_COLUMNS, Store, decode_lines, encode_lines, in_list, ledger_insert, reservation_from,
    rows_sql,
};
use crate::domain::{Adjustment, Kind, Line, Lines, Reservation, Stock};

const ADJUST: &str = "UPDATE stock SET on_hand = on_hand + ?, adjusted = adjusted + ?, version = version + 1, \
     low_since = CASE WHEN on_hand + ? - reserved >= ? THEN 0 WHEN low_since > 0 THEN low_since ELSE ? END \
     WHERE sku_id = ? AND on_hand + ? >= reserved";
const RETURN: &str = "UPDATE stock SET on_hand = on_hand + ?, returned = returned + ?, version = version + 1, \
     low_since = CASE WHEN on_hand + ? - reserved >= ? THEN 0 ELSE low_since END WHERE sku_id = ?";
const RECEIVE: &str = "INSERT INTO stock \
     (sku_id, on_hand, reserved, received, sold, returned, adjusted, in_stock, version, low_since) VALUES";
const RECEIVE_ONCE: &str = " ON CONFLICT (sku_id) DO NOTHING";

/// What became of an adjustment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adjusted {
    /// The units are added or taken away.
    Done,
    /// The idempotency key was used before: read what for.
    KeyTaken,
    /// Too few units are free, or there is no stock row.
    Refused,
}

/// What became of a return inside its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Returned {
    /// The units are back.
    Done,
    /// An earlier call brought them back.
    Before,
}

/// What became of announcing a SKU's availability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Whether any unit can be sold.
    pub in_stock: bool,
    /// Version of the stock row.
    pub version: i64,
}

impl Store {
    /// Reads a stock row.
    pub async fn stock(&self, sku_id: &str) -> Result<Option<Stock>, Error> {
        const SQL: &str = "SELECT sku_id, on_hand, reserved, received, sold, returned, adjusted, in_stock, version, low_since \
             FROM stock WHERE sku_id = ?";
        self.db.query_opt(SQL, params![sku_id]).await?.as_ref().map(stock_from).transpose()
    }

    /// Reads the stock rows that exist among these SKUs.
    pub async fn stocks(&self, sku_ids: &[&str]) -> Result<Vec<Stock>, Error> {
        let mut found = Vec::with_capacity(sku_ids.len());
        for chunk in sku_ids.chunks(CHUNK_ROWS_MAX) {
            let (list, params) = in_list(chunk);
            let sql = format!("SELECT {STOCK_COLUMNS} FROM stock WHERE sku_id IN {list}");
            for row in self.db.query_dyn(sql, params).await? {
                found.push(stock_from(&row)?);
            }
        }
        Ok(found)
    }

    /// Makes stock rows for the SKUs that have none; returns how many it made.
    pub async fn receive(&self, lines: &Lines, reason: &str, at: Micros) -> Result<u64, Error> {
        let mut created = 0;
        for chunk in lines.as_slice().chunks(CHUNK_ROWS_MAX) {
            created += self.receive_chunk(chunk, reason, at).await?;
        }
        Ok(created)
    }

    async fn receive_chunk(&self, chunk: &[Line], reason: &str, at: Micros) -> Result<u64, Error> {
        let chunk = chunk.to_vec();
        let reason = reason.to_owned();
        let alert_below = self.alert_below;
        self.db
            .tx("inventory.receive", move |tx| {
                let (chunk, reason) = (chunk.clone(), reason.clone());
                async move { receive_in(&tx, &chunk, alert_below, &reason, at).await }
            })
            .await
    }

    /// Adds or takes away units, with the ledger entry, the idempotency key and the audit record in the same transaction.
    pub async fn adjust(&self, adjustment: &Adjustment, at: Micros, audit: &Audit) -> mallard_types::Result<Adjusted> {
        let shared = Arc::new((adjustment.clone(), audit.clone()));
        let alert_below = self.alert_below;
        let adjusted = self.db.tx("inventory.adjust", move |tx| {
            let shared = Arc::clone(&shared);
            async move { adjust_in(&tx, &shared.0, alert_below, at, &shared.1).await }
        });
        match adjusted.await {
            Ok(()) => Ok(Adjusted::Done),
            Err(NotAdjusted::KeyTaken) => Ok(Adjusted::KeyTaken),
            Err(NotAdjusted::Refused) => Ok(Adjusted::Refused),
            Err(NotAdjusted::Failed(error)) => Err(error),
        }
    }

    /// Reads the SKU and delta an idempotency key was used for.
    pub async fn adjustment(&self, key: &str) -> Result<Option<(String, i64)>, Error> {
        const SQL: &str = "SELECT sku_id, delta FROM adjustments WHERE idempotency_key = ?";
        self.db.query_opt(SQL, params![key]).await?.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
    }

    /// Brings units back. `decide` gets the reservation and what came back before, unless `reservation_id` is empty; what it
    /// refuses rolls everything back.
    pub async fn give_back<E, D>(
        &self,
        return_id: &str,
        reservation_id: &str,
        lines: &Lines,
        reason: &str,
        at: Micros,
        decide: D,
    ) -> Result<Returned, E>
    where
        E: From<Error> + Send + 'static,
        D: Fn(Option<&Reservation>, &Lines) -> Result<(), E> + Clone + Send + Sync + 'static,
    {
        let (return_id, reservation_id) = (return_id.to_owned(), reservation_id.to_owned());
        let (lines, reason) = (lines.clone(), reason.to_owned());
        let alert_below = self.alert_below;
        self.db
            .tx("inventory.return", move |tx| {
                let (return_id, reservation_id) = (return_id.clone(), reservation_id.clone());
                let (lines, reason, decide) = (lines.clone(), reason.clone(), decide.clone());
                async move {
                    if !record_return(&tx, &return_id, &reservation_id, &lines, at).await? {
                        return Ok(Returned::Before);
                    }
                    if !reservation_id.is_empty() {
                        let (reservation, before) = lock_sold(&tx, &reservation_id, &return_id).await?;
                        decide(reservation.as_ref(), &before)?;
                    }
                    for line in lines.as_slice() {
                        let units = line.quantity;
                        let values = params![units, units, units, alert_below, &line.sku_id];
                        if tx.execute(RETURN, values).await? != 1 {
                            // The caller looked before; rows of stock are never removed.
                            return Err(Error::Constraint(format!("no stock row of {}", line.sku_id)).into());
                        }
                    }
                    let entries: Vec<(&str, i64)> =
                        lines.as_slice().iter().map(|line| (line.sku_id.as_str(), line.quantity)).collect();
                    for chunk in entries.chunks(CHUNK_ROWS_MAX) {
                        let reference = if reservation_id.is_empty() { &return_id } else { &reservation_id };
                        let (sql, params) = ledger_insert(Kind::Returned, chunk, &reason, reference, at);
                        tx.execute_dyn(sql, params).await?;
                    }
                    Ok(Returned::Done)
                }
            })
            .await
    }

    /// Brings the announced state of a SKU in line with its units, inside a transaction that also publishes. Returns what to
    /// publish, `None` when there is nothing new.
    pub async fn announce_in(tx: &Tx, sku_id: &str) -> Result<Option<Announced>, Error> {
        const SOLD_OUT: &str = "UPDATE stock SET in_stock = 0, version = version + 1 WHERE sku_id = ? AND in_stock = 1 AND on_hand <= reserved";
        const SELLABLE: &str = "UPDATE stock SET in_stock = 1, version = version + 1 WHERE sku_id = ? AND in_stock = 0 AND on_hand > reserved";
        let in_stock = if tx.execute(SOLD_OUT, params![sku_id]).await? == 1 {
            false
        } else if tx.execute(SELLABLE, params![sku_id]).await? == 1 {
            true
        } else {
            return Ok(None);
        };
        let row = tx.query_opt("SELECT version FROM stock WHERE sku_id = ?", params![sku_id]).await?;
        row.map(|row| Ok(Announced { in_stock, version: row.get(0)? })).transpose()
    }

    /// Reads rows whose announced state or alert is not that of their units, after this SKU in order of SKU.
    pub async fn out_of_line(&self, after: &str, rows_max: u32) -> Result<Vec<Stock>, Error> {
        const SQL: &str = "SELECT sku_id, on_hand, reserved, received, sold, returned, adjusted, in_stock, version, low_since \
             FROM stock WHERE sku_id > ? \
             AND ((in_stock = 1 AND on_hand <= reserved) OR (in_stock = 0 AND on_hand > reserved) \
                 OR (low_since > 0 AND on_hand - reserved >= ?) OR (low_since = 0 AND on_hand - reserved < ?)) \
             ORDER BY sku_id LIMIT ?";
        let rows = self.db.query(SQL, params![after, self.alert_below, self.alert_below, rows_max]).await?;
        rows.iter().map(stock_from).collect()
    }

    /// Returns the database, for the transaction that announces.
    pub fn db(&self) -> &mallard_db::Db {
        &self.db
    }
}

/// Why an adjustment is rolled back.
enum NotAdjusted {
    KeyTaken,
    Refused,
    Failed(mallard_types::Error),
}

impl<E: Into<mallard_types::Error>> From<E> for NotAdjusted {
    fn from(error: E) -> NotAdjusted {
        NotAdjusted::Failed(error.into())
    }
}

async fn adjust_in(
    tx: &Tx,
    adjustment: &Adjustment,
    alert_below: i64,
    at: Micros,
    audit: &Audit,
) -> Result<(), NotAdjusted> {
    const KEY: &str = "INSERT INTO adjustments (idempotency_key, sku_id, delta, at) VALUES (?, ?, ?, ?) \
         ON CONFLICT (idempotency_key) DO NOTHING";
    let Adjustment { sku_id, delta, reason, reference, key } = adjustment;
    if !key.is_empty() && tx.execute(KEY, params![key, sku_id, *delta, at]).await? != 1 {
        return Err(NotAdjusted::KeyTaken);
    }
    let values = params![*delta, *delta, *delta, alert_below, at.max(1), sku_id, *delta];
    if tx.execute(ADJUST, values).await? != 1 {
        return Err(NotAdjusted::Refused);
    }
    let (sql, values) = ledger_insert(Kind::Adjusted, &[(sku_id, *delta)], reason, reference, at);
    tx.execute_dyn(sql, values).await?;
    if !audit.is_due() {
        return Ok(());
    }
    let row = tx.query_opt("SELECT on_hand FROM stock WHERE sku_id = ?", params![sku_id]).await?;
    let on_hand: i64 = row.map(|row| row.get(0)).transpose()?.unwrap_or_default();
    let change = || {
        let now = json!({ "on_hand": on_hand, "delta": delta, "reason": reason, "reference": reference });
        (json!({ "on_hand": on_hand - delta }), now)
    };
    Ok(audit.append(tx, "stock.adjust", sku_id, change).await?)
}

/// Inserts the rows that are missing and their ledger entries. The usual case, all or none missing, needs no read.
async fn receive_in(tx: &Tx, chunk: &[Line], alert_below: i64, reason: &str, at: Micros) -> Result<u64, Error> {
    let made = insert_stock(tx, chunk, alert_below, at).await?;
    if made == 0 {
        return Ok(0);
    }
    if made == chunk.len() as u64 {
        received(tx, chunk, reason, at).await?;
        return Ok(made);
    }
    // Some existed. The new ones are those without a ledger entry of their first delivery: it is written with the row.
    let ids: Vec<&str> = chunk.iter().map(|line| line.sku_id.as_str()).collect();
    let (list, mut params) = in_list(&ids);
    params.push(Value::from(Kind::Received.as_str()));
    let rows =
        tx.query_dyn(format!("SELECT sku_id FROM stock_ledger WHERE sku_id IN {list} AND kind = ?"), params).await?;
    let known = rows.iter().map(|row| row.get::<String>(0)).collect::<Result<std::collections::BTreeSet<_>, _>>()?;
    let new: Vec<Line> = chunk.iter().filter(|line| !known.contains(&line.sku_id)).cloned().collect();
    received(tx, &new, reason, at).await?;
    Ok(made)
}

async fn insert_stock(tx: &Tx, lines: &[Line], alert_below: i64, at: Micros) -> Result<u64, Error> {
    let sql = rows_sql(RECEIVE, 10, lines.len(), RECEIVE_ONCE);
    let mut values = Vec::with_capacity(lines.len() * 10);
    for line in lines {
        let quantity = line.quantity;
        let low_since = if quantity < alert_below { at.max(1) } else { 0 };
        values.extend(params![&line.sku_id, quantity, 0, quantity, 0, 0, 0, quantity > 0, 1, low_since]);
    }
    tx.execute_dyn(sql, values).await
}

async fn received(tx: &Tx, lines: &[Line], reason: &str, at: Micros) -> Result<(), Error> {
    let entries: Vec<(&str, i64)> = lines.iter().map(|line| (line.sku_id.as_str(), line.quantity)).collect();
    for chunk in entries.chunks(CHUNK_ROWS_MAX) {
        let (sql, params) = ledger_insert(Kind::Received, chunk, reason, "", at);
        tx.execute_dyn(sql, params).await?;
    }
    Ok(())
}

async fn record_return(
    tx: &Tx,
    return_id: &str,
    reservation_id: &str,
    lines: &Lines,
    at: Micros,
) -> Result<bool, Error> {
    const SQL: &str =
        "INSERT INTO returns (id, reservation_id, line_rows, at) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING";
    Ok(tx.execute(SQL, params![return_id, reservation_id, encode_lines(lines), at]).await? == 1)
}

/// Locks the reservation's row, so that returns of one order are decided one after another, and reads it with the sum of its
/// other returns.
async fn lock_sold(tx: &Tx, reservation_id: &str, return_id: &str) -> Result<(Option<Reservation>, Lines), Error> {
    tx.execute("UPDATE reservations SET version = version + 1 WHERE id = ?", params![reservation_id]).await?;
    const READ: &str = "SELECT id, state, line_rows, expires_at, created_at FROM reservations WHERE id = ?";
    let reservation = tx.query_opt(READ, params![reservation_id]).await?.as_ref().map(reservation_from).transpose()?;
    let rows = tx
        .query("SELECT line_rows FROM returns WHERE reservation_id = ? AND id <> ?", params![reservation_id, return_id])
        .await?;
    let mut before = Lines::default();
    for row in rows {
        before = before.plus(&decode_lines(&row.get::<Vec<u8>>(0)?)?);
    }
    Ok((reservation, before))
}
