//! Rows of orders and their events.

mod lists;
mod refold;

pub use lists::{index, indexed_returns, indexed_sellers, order_of_return, returns_page, seller_page};
use mallard_db::{Db, Error as DbError, Row, Tx, Value, params};
use mallard_proto::order::v1 as pb;
use mallard_types::{Error, Result};
use prost::Message;
pub use refold::{Refolded, refold, unfolded};
use sha2::{Digest, Sha256};

use crate::convert;
use crate::domain::{Event, EventKind, Order, Units};
use crate::error;

/// Tells apart the events of one kind in a stream; two with the same subject cannot be written.
fn subject(event: &Event) -> String {
    match &event.kind {
        EventKind::Shipped { carrier, tracking_number, units } => {
            parcel(carrier, tracking_number, units).unwrap_or_else(|| event.version.to_string())
        }
        EventKind::ReturnRequested(asked) => asked.id.clone(),
        EventKind::ReturnRefused { return_id, .. } => return_id.clone(),
        EventKind::RefundRequested { refund_id, .. }
        | EventKind::RefundRefused { refund_id, .. }
        | EventKind::Refunded { refund_id, .. } => refund_id.clone(),
        EventKind::PaymentFailed { payment_id, .. } => payment_id.clone(),
        EventKind::AddressChanged { .. } => event.version.to_string(),
        // More than one where a refund was refused after the delivery: the rest is sent and delivered too.
        EventKind::Delivered => event.version.to_string(),
        // At most one of each in a stream.
        EventKind::Placed(_) | EventKind::Paid { .. } | EventKind::Cancelled { .. } => String::new(),
    }
}

/// Names a parcel by its number and what is in it; none without a number.
pub fn parcel(carrier: &str, tracking_number: &str, units: &[Units]) -> Option<String> {
    if tracking_number.is_empty() {
        return None;
    }
    let mut units: Vec<_> = units.iter().map(|unit| (&unit.sku_id, unit.quantity)).collect();
    units.sort_unstable();
    let digest = Sha256::digest(format!("{carrier:?}{tracking_number:?}{units:?}"));
    Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A new order's row beside the order itself.
#[derive(Clone, Debug)]
pub struct Placement {
    pub idempotency_key: String,
    pub request_hash: Vec<u8>,
    /// Cart and version the lines came from; the same cart is not ordered twice.
    pub cart_ref: Option<String>,
    pub event_id: String,
}

/// Writes a placed order and the first event of its stream: two statements.
pub async fn insert(tx: &Tx, order: &Order, event: &Event, placement: &Placement) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO orders (id, user_id, number, status, idempotency_key, request_hash, cart_ref, version, folded_version, \
             created_at, updated_at, state)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            order.id.as_str(),
            order.user_id.as_str(),
            order.number.as_str(),
            order.status.as_str(),
            placement.idempotency_key.as_str(),
            placement.request_hash.clone(),
            placement.cart_ref.clone(),
            order.version,
            order.version,
            order.created_at,
            order.updated_at,
            convert::order_to_row(order).encode_to_vec()
        ],
    )
    .await?;
    insert_event(tx, &order.id, &placement.event_id, event).await
}

/// Saves the order after one more event, if it is still at the version before: two statements. False when it has moved.
pub async fn save(tx: &Tx, order: &Order, event: &Event, event_id: &str) -> Result<bool, DbError> {
    // A cancelled order gives its cart free to be ordered again.
    let sql = if matches!(event.kind, EventKind::Cancelled { .. }) {
        "UPDATE orders SET status = ?, version = ?, folded_version = ?, updated_at = ?, state = ?, cart_ref = NULL \
             WHERE id = ? AND version = ?"
    } else {
        "UPDATE orders SET status = ?, version = ?, folded_version = ?, updated_at = ?, state = ? WHERE id = ? AND version = ?"
    };
    let saved = tx
        .execute(
            sql,
            params![
                order.status.as_str(),
                order.version,
                order.version,
                order.updated_at,
                convert::order_to_row(order).encode_to_vec(),
                order.id.as_str(),
                order.version - 1
            ],
        )
        .await?;
    if saved == 0 {
        return Ok(false);
    }
    insert_event(tx, &order.id, event_id, event).await?;
    Ok(true)
}

async fn insert_event(tx: &Tx, order_id: &str, event_id: &str, event: &Event) -> Result<(), DbError> {
    let data = convert::event_to_proto(event_id, event).data.unwrap_or_default();
    tx.execute(
        "INSERT INTO order_events (order_id, version, id, kind, subject, at, actor, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            order_id,
            event.version,
            event_id,
            event.kind.as_str(),
            subject(event),
            event.at,
            event.by.as_str(),
            data.encode_to_vec()
        ],
    )
    .await?;
    Ok(())
}

/// Tells whether the stream holds an event of this kind and subject.
pub async fn has_event(tx: &Tx, order_id: &str, kind: &str, subject: &str) -> Result<bool, DbError> {
    let found = tx
        .query_opt(
            "SELECT version FROM order_events WHERE order_id = ? AND kind = ? AND subject = ?",
            params![order_id, kind, subject],
        )
        .await?;
    Ok(found.is_some())
}

/// Reads an order. What an older program wrote is the fold of its stream.
const ONE: &str = "SELECT state, version - folded_version FROM orders WHERE id = ?";

/// Reads an order inside a transaction, and brings its row in line when an older program wrote it last.
pub async fn load(tx: &Tx, id: &str) -> Result<Order> {
    let row = tx.query_opt(ONE, params![id]).await?.ok_or_else(error::not_found)?;
    if row.get::<i64>(1)? != 0
        && let Refolded::Done(order) = refold(tx, id).await?
    {
        return Ok(order);
    }
    order_of(&row, 0)
}

/// Reads an order.
pub async fn get(db: &Db, id: &str) -> Result<Option<Order>> {
    let Some(row) = db.query_opt(ONE, params![id]).await? else { return Ok(None) };
    if row.get::<i64>(1)? != 0 {
        let stream: Vec<_> = events(db, id).await?.into_iter().map(|(_, event)| event).collect();
        if let Some(order) = Order::fold(&stream) {
            return Ok(Some(order));
        }
    }
    order_of(&row, 0).map(Some)
}

/// An order as its row says, and whether a program that knows all of it wrote it.
pub struct AsWritten {
    pub order: Order,
    pub folded: bool,
}

fn as_written(row: &Row) -> Result<AsWritten> {
    Ok(AsWritten { order: order_of(row, 0)?, folded: row.get::<i64>(1)? == 0 })
}

/// Reads an order as its row says, for checks.
pub async fn get_as_written(db: &Db, id: &str) -> Result<Option<AsWritten>> {
    db.query_opt(ONE, params![id]).await?.as_ref().map(as_written).transpose()
}

/// Reads orders in order of id, after one, as their rows say, for checks.
pub async fn scan_as_written(db: &Db, after_id: &str, limit: i64) -> Result<Vec<AsWritten>> {
    let sql = "SELECT state, version - folded_version FROM orders WHERE id > ? ORDER BY id LIMIT ?";
    db.query(sql, params![after_id, limit]).await?.iter().map(as_written).collect()
}

/// Reads the order that a key made, with the hash of its request.
pub async fn by_key(db: &Db, user_id: &str, key: &str) -> Result<Option<(Order, Vec<u8>)>> {
    let row = db
        .query_opt(
            "SELECT state, request_hash FROM orders WHERE user_id = ? AND idempotency_key = ?",
            params![user_id, key],
        )
        .await?;
    row.map(|row| Ok((order_of(&row, 0)?, row.get(1)?))).transpose()
}

/// Reads the order that holds a cart.
pub async fn id_by_cart(db: &Db, cart_ref: &str) -> Result<Option<String>> {
    let row = db.query_opt("SELECT id FROM orders WHERE cart_ref = ?", params![cart_ref]).await?;
    row.map(|row| Ok(row.get(0)?)).transpose()
}

/// What a list of orders is narrowed to.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub user_id: Option<String>,
    pub status: Option<&'static str>,
    pub number: Option<String>,
}

impl Filter {
    fn conditions(&self) -> (String, Vec<Value>) {
        let mut sql = String::new();
        let mut values = Vec::new();
        let columns = [
            ("user_id", self.user_id.clone()),
            ("status", self.status.map(str::to_owned)),
            ("number", self.number.clone()),
        ];
        for (column, value) in columns {
            if let Some(value) = value {
                sql.push_str(if values.is_empty() { " WHERE " } else { " AND " });
                sql.push_str(column);
                sql.push_str(" = ?");
                values.push(Value::from(value));
            }
        }
        (sql, values)
    }
}

/// Lists orders, newest first, before the id of the cursor.
pub async fn list(db: &Db, filter: &Filter, before_id: Option<&str>, limit: usize) -> Result<Vec<Order>> {
    let (mut sql, mut values) = filter.conditions();
    if let Some(id) = before_id {
        sql.push_str(if values.is_empty() { " WHERE id < ?" } else { " AND id < ?" });
        values.push(Value::from(id));
    }
    values.push(Value::from(limit as i64));
    let rows = db.query_dyn(format!("SELECT state FROM orders{sql} ORDER BY id DESC LIMIT ?"), values).await?;
    rows.iter().map(|row| order_of(row, 0)).collect()
}

/// Counts orders.
pub async fn count(db: &Db, filter: &Filter) -> Result<i64> {
    let (sql, values) = filter.conditions();
    let rows = db.query_dyn(format!("SELECT COUNT(*) FROM orders{sql}"), values).await?;
    Ok(rows.first().map_or(Ok(0), |row| row.get(0))?)
}

/// Reads orders in order of id, after one.
pub async fn scan(db: &Db, after_id: &str, limit: i64) -> Result<Vec<Order>> {
    let rows = db.query("SELECT state FROM orders WHERE id > ? ORDER BY id LIMIT ?", params![after_id, limit]).await?;
    rows.iter().map(|row| order_of(row, 0)).collect()
}

/// Reads an order's stream with the events' ids, oldest first.
pub async fn events(db: &Db, order_id: &str) -> Result<Vec<(String, Event)>> {
    db.query(STREAM, params![order_id]).await?.iter().map(event_of).collect()
}

const STREAM: &str = "SELECT version, id, kind, at, actor, data FROM order_events WHERE order_id = ? ORDER BY version";

fn event_of(row: &Row) -> Result<(String, Event)> {
    let data = pb::OrderEventData::decode(row.get::<Vec<u8>>(5)?.as_slice()).map_err(corrupt)?;
    let event = convert::event_from_row(row.get(0)?, &row.get::<String>(2)?, row.get(3)?, row.get(4)?, data)?;
    Ok((row.get(1)?, event))
}

fn order_of(row: &Row, column: usize) -> Result<Order> {
    convert::order_from_proto(pb::Order::decode(row.get::<Vec<u8>>(column)?.as_slice()).map_err(corrupt)?)
}

fn corrupt(error: prost::DecodeError) -> Error {
    Error::internal("corrupt_order", "an order's row cannot be read").source(error)
}
