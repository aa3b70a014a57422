//! Rows that an older program wrote. It reads an order, leaves out what it does not know (parcels, returns), and knows nothing
//! of the lists beside it; its events stand in the stream all the same. `folded_version` is the version a program wrote that
//! knows all of it, so the rows it wrote are those where it differs from the order's own.

use mallard_db::{Db, Tx, params};
use mallard_types::Result;
use prost::Message;

use super::{STREAM, event_of, lists};
use crate::convert;
use crate::domain::{Event, Order};

/// What became of a row that an older program wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refolded {
    /// It says what the stream says, and the lists do.
    Done(Order),
    /// Somebody moved the order at the same moment.
    Moved,
    /// The stream makes no order.
    Broken,
}

/// Finds orders that an older program wrote last, in order of id, after one.
pub async fn unfolded(db: &Db, after_id: &str, limit: i64) -> Result<Vec<String>> {
    let rows = db.query(UNFOLDED, params![after_id, limit]).await?;
    rows.iter().map(|row| Ok(row.get(0)?)).collect()
}

const UNFOLDED: &str = "SELECT id FROM orders WHERE folded_version <> version AND id > ? ORDER BY id LIMIT ?";

/// Makes an order's row anew out of its stream, and its rows in the lists: two statements, and one per list it is in.
pub async fn refold(tx: &Tx, id: &str) -> Result<Refolded> {
    let rows = tx.query(STREAM, params![id]).await?;
    // One that cannot be read holds up no other.
    let stream: Option<Vec<Event>> = rows.iter().map(|row| Some(event_of(row).ok()?.1)).collect();
    let Some(order) = stream.and_then(|stream| Order::fold(&stream)) else { return Ok(Refolded::Broken) };
    let sql =
        "UPDATE orders SET status = ?, folded_version = ?, updated_at = ?, state = ? WHERE id = ? AND version = ?";
    let values = params![
        order.status.as_str(),
        order.version,
        order.updated_at,
        convert::order_to_row(&order).encode_to_vec(),
        id,
        order.version
    ];
    if tx.execute(sql, values).await? == 0 {
        return Ok(Refolded::Moved);
    }
    lists::list(tx, &order, None).await?;
    Ok(Refolded::Done(order))
}

#[cfg(test)]
mod tests;
