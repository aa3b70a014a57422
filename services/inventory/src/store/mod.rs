//! Rows of the service. Rows are private to this folder; what leaves it are the domain's own types.
//!
//! | file | rows |
//! |---|---|
//! | `holds.rs` | reservations and what they do to stock: reserve, confirm, release |
//! | `stock.rs` | stock rows: read, receive, adjust, return, announce |
//! | `alerts.rs` | stock rows of which little is left |
//! | `books.rs` | everything in pages, for reports and checks |

mod alerts;
mod books;
mod holds;
mod stock;

pub use alerts::Alert;
pub use books::LedgerEntry;
pub use holds::{Confirmed, Ended, Held};
pub use stock::{Adjusted, Announced, Returned};

use mallard_db::{Db, Error, Row, Unit, Value, params};
use mallard_types::Micros;
use prost::Message;

use crate::domain::{Kind, Line, Lines, Reservation, State, Stock};

/// Rows in one statement that reads or writes many.
const CHUNK_ROWS_MAX: usize = 500;

/// The service's rows.
#[derive(Clone)]
pub struct Store {
    db: Db,
    /// Fewer units than this that can be promised make a row an alert.
    alert_below: i64,
}

impl Store {
    /// Opens the rows of a database.
    pub fn new(db: Db, alert_below: u32) -> Store {
        Store { db, alert_below: i64::from(alert_below) }
    }
}

/// Stored form of a line.
#[derive(Clone, PartialEq, Message)]
struct LineRow {
    #[prost(string, tag = "1")]
    sku_id: String,
    #[prost(int64, tag = "2")]
    quantity: i64,
}

/// Stored form of the lines of a reservation or return.
#[derive(Clone, PartialEq, Message)]
struct LineRows {
    #[prost(message, repeated, tag = "1")]
    lines: Vec<LineRow>,
}

fn encode_lines(lines: &Lines) -> Vec<u8> {
    let lines =
        lines.as_slice().iter().map(|line| LineRow { sku_id: line.sku_id.clone(), quantity: line.quantity }).collect();
    LineRows { lines }.encode_to_vec()
}

fn decode_lines(bytes: &[u8]) -> Result<Lines, Error> {
    let rows = LineRows::decode(bytes).map_err(|e| Error::Type(format!("lines of a reservation: {e}")))?;
    Ok(Lines::stored(rows.lines.into_iter().map(|row| Line { sku_id: row.sku_id, quantity: row.quantity }).collect()))
}

const STOCK_COLUMNS: &str =
    "sku_id, on_hand, reserved, received, sold, returned, adjusted, in_stock, version, low_since";

fn stock_from(row: &Row) -> Result<Stock, Error> {
    Ok(Stock {
        sku_id: row.get(0)?,
        on_hand: row.get(1)?,
        reserved: row.get(2)?,
        received: row.get(3)?,
        sold: row.get(4)?,
        returned: row.get(5)?,
        adjusted: row.get(6)?,
        in_stock: row.get(7)?,
        version: row.get(8)?,
        low_since: row.get(9)?,
    })
}

const RESERVATION_COLUMNS: &str = "id, state, line_rows, expires_at, created_at";

fn reservation_from(row: &Row) -> Result<Reservation, Error> {
    let state: String = row.get(1)?;
    Ok(Reservation {
        id: row.get(0)?,
        state: State::parse(&state).ok_or_else(|| Error::Type(format!("reservation state {state}")))?,
        lines: decode_lines(&row.get::<Vec<u8>>(2)?)?,
        expires_at: row.get(3)?,
        created_at: row.get(4)?,
    })
}

/// Makes `prefix (?, ?), (?, ?) suffix` for this many rows.
fn rows_sql(prefix: &str, columns: usize, rows: usize, suffix: &str) -> String {
    let one = format!("({})", vec!["?"; columns].join(", "));
    format!("{prefix} {}{suffix}", vec![one.as_str(); rows].join(", "))
}

/// Makes `(?, ?, …)` and its parameters for an IN list. The length is rounded up to a power of two by repeating the last
/// value, so that few different statements have to be prepared.
fn in_list(ids: &[&str]) -> (String, Vec<Value>) {
    let length = ids.len().next_power_of_two();
    let mut params: Vec<Value> = ids.iter().map(|id| Value::from(*id)).collect();
    if let Some(last) = params.last().cloned() {
        params.resize(length, last);
    }
    (format!("({})", vec!["?"; length].join(", ")), params)
}

/// Adds the ledger entries of lines to a unit, many rows in one statement.
fn with_ledger(mut unit: Unit, kind: Kind, entries: &[(&str, i64)], reason: &str, reference: &str, at: Micros) -> Unit {
    for chunk in entries.chunks(CHUNK_ROWS_MAX) {
        let (sql, params) = ledger_insert(kind, chunk, reason, reference, at);
        unit = unit.exec_dyn(sql, params);
    }
    unit
}

fn ledger_insert(
    kind: Kind,
    entries: &[(&str, i64)],
    reason: &str,
    reference: &str,
    at: Micros,
) -> (String, Vec<Value>) {
    let sql =
        rows_sql("INSERT INTO stock_ledger (sku_id, kind, delta, reason, reference, at) VALUES", 6, entries.len(), "");
    let mut values = Vec::with_capacity(entries.len() * 6);
    for (sku_id, delta) in entries {
        values.extend(params![*sku_id, kind.as_str(), *delta, reason, reference, at]);
    }
    (sql, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_lists_come_in_few_lengths() {
        let (sql, params) = in_list(&["a", "b", "c"]);
        assert_eq!(sql, "(?, ?, ?, ?)");
        assert_eq!(params, params!["a", "b", "c", "c"]);
    }

    #[test]
    fn lines_survive_the_round_trip() {
        let lines = Lines::merge(&[Line { sku_id: "sku_1".into(), quantity: 80_995 }]).unwrap();
        assert_eq!(decode_lines(&encode_lines(&lines)).unwrap(), lines);
        assert_eq!(decode_lines(&encode_lines(&Lines::default())).unwrap(), Lines::default());
        assert!(decode_lines(&[0xff]).is_err());
    }
}
