//! Lists beside the orders: by seller, and returns by status. They say what the orders say and are written with them; the
//! orders decide.

use std::collections::HashMap;

use mallard_db::{Db, Error as DbError, Row, Tx, Value, params};
use mallard_types::Result;

use super::order_of;
use crate::domain::{Order, ReturnStatus};

/// Brings the lists in line with an order that was saved. One statement per list in which something changed: when an order
/// is paid, the one that lists it for its sellers.
pub async fn index(tx: &Tx, before: &Order, after: &Order) -> Result<(), DbError> {
    list(tx, after, Some(before)).await
}

/// Lists an order for its sellers, and its returns: everything, or what is not as it was before.
pub(super) async fn list(tx: &Tx, order: &Order, before: Option<&Order>) -> Result<(), DbError> {
    let known = before.map(Order::sellers).unwrap_or_default();
    let mut sellers = Vec::new();
    for (seller_id, to_ship) in order.sellers() {
        if known.get(seller_id) != Some(&to_ship) {
            sellers.extend(params![order.id.as_str(), seller_id, i64::from(to_ship)]);
        }
    }
    if !sellers.is_empty() {
        let sql = insert("seller_orders (order_id, seller_id, to_ship)", sellers.len() / 3);
        let sql = format!("{sql} ON CONFLICT (order_id, seller_id) DO UPDATE SET to_ship = excluded.to_ship");
        tx.execute_dyn(sql, sellers).await?;
    }
    let known = before.map(|before| before.returns.as_slice()).unwrap_or_default();
    let mut returns = Vec::new();
    for (at, asked) in order.returns.iter().enumerate() {
        if known.get(at).map(|known| known.status) != Some(asked.status) {
            returns.extend(params![asked.id.as_str(), order.id.as_str(), asked.status.as_str()]);
        }
    }
    if !returns.is_empty() {
        let sql = insert("returns (id, order_id, status)", returns.len() / 3);
        tx.execute_dyn(format!("{sql} ON CONFLICT (id) DO UPDATE SET status = excluded.status"), returns).await?;
    }
    Ok(())
}

/// Starts an insert of so many rows of three columns.
fn insert(into: &str, rows: usize) -> String {
    format!("INSERT INTO {into} VALUES {}", vec!["(?, ?, ?)"; rows].join(", "))
}

/// Lists the paid orders of a seller, newest first, before the id of the cursor.
pub async fn seller_page(
    db: &Db,
    seller_id: &str,
    to_ship: bool,
    before_id: Option<&str>,
    limit: usize,
) -> Result<Vec<Order>> {
    let mut values = params![seller_id];
    values.extend(before_id.map(Value::from));
    values.push(Value::from(limit as i64));
    let rows = db.query_dyn(seller_page_sql(to_ship, before_id.is_some()), values).await?;
    rows.iter().map(|row| order_of(row, 0)).collect()
}

fn seller_page_sql(to_ship: bool, before: bool) -> String {
    let to_ship = if to_ship { " AND s.to_ship = 1" } else { "" };
    let before = if before { " AND s.order_id < ?" } else { "" };
    format!(
        "SELECT o.state FROM seller_orders s JOIN orders o ON o.id = s.order_id WHERE s.seller_id = ?{to_ship}{before} \
         ORDER BY s.order_id DESC LIMIT ?"
    )
}

/// Lists returns with their orders, newest first, before the id of the cursor.
pub async fn returns_page(
    db: &Db,
    status: Option<ReturnStatus>,
    before_id: Option<&str>,
    limit: usize,
) -> Result<Vec<(String, Order)>> {
    let mut sql = String::from("SELECT r.id, o.state FROM returns r JOIN orders o ON o.id = r.order_id");
    let mut values = Vec::new();
    if let Some(status) = status {
        sql.push_str(" WHERE r.status = ?");
        values.push(Value::from(status.as_str()));
    }
    if let Some(id) = before_id {
        sql.push_str(if values.is_empty() { " WHERE r.id < ?" } else { " AND r.id < ?" });
        values.push(Value::from(id));
    }
    sql.push_str(" ORDER BY r.id DESC LIMIT ?");
    values.push(Value::from(limit as i64));
    let rows = db.query_dyn(sql, values).await?;
    rows.iter().map(|row| Ok((row.get(0)?, order_of(row, 1)?))).collect()
}

/// Finds the order a return belongs to.
pub async fn order_of_return(db: &Db, return_id: &str) -> Result<Option<String>> {
    let row = db.query_opt("SELECT order_id FROM returns WHERE id = ?", params![return_id]).await?;
    row.map(|row| Ok(row.get(0)?)).transpose()
}

/// Reads, of each of these orders, the sellers it is listed for and whether each still has something to ship, by seller.
pub async fn indexed_sellers(db: &Db, ids: &[&str]) -> Result<HashMap<String, Vec<(String, bool)>>> {
    let mut listed: HashMap<_, Vec<_>> = HashMap::new();
    for row in of_orders(db, "seller_id, to_ship FROM seller_orders", "seller_id", ids).await? {
        listed.entry(row.get(0)?).or_default().push((row.get(1)?, row.get::<i64>(2)? != 0));
    }
    Ok(listed)
}

/// Reads, of each of these orders, the returns that are listed and their statuses, oldest first.
pub async fn indexed_returns(db: &Db, ids: &[&str]) -> Result<HashMap<String, Vec<(String, String)>>> {
    let mut listed: HashMap<_, Vec<_>> = HashMap::new();
    for row in of_orders(db, "id, status FROM returns", "id", ids).await? {
        listed.entry(row.get(0)?).or_default().push((row.get(1)?, row.get(2)?));
    }
    Ok(listed)
}

async fn of_orders(db: &Db, columns_from: &str, order_by: &str, ids: &[&str]) -> Result<Vec<Row>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let marks = vec!["?"; ids.len()].join(", ");
    let sql = format!("SELECT order_id, {columns_from} WHERE order_id IN ({marks}) ORDER BY order_id, {order_by}");
    Ok(db.query_dyn(sql, ids.iter().map(|id| Value::from(*id)).collect()).await?)
}

#[cfg(test)]
mod tests;
