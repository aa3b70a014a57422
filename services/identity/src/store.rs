//! Loads and saves. The only place that knows tables, columns and SQL; rows do not leave it.

mod access;
mod addresses;
mod attempts;
mod audit;
mod feeds;
mod keys;
mod sessions;
mod users;

use std::future::Future;

use mallard_db::{Db, Error, Row, Tx, Value, params};

use crate::error::Refusal;

pub use access::*;
pub use addresses::*;
pub use attempts::*;
pub use audit::*;
pub use feeds::*;
pub use keys::*;
pub use sessions::*;
pub use users::*;

/// Reads that mean the same inside a transaction and outside of one.
pub trait Read: Sync {
    /// Returns the rows of a query.
    fn rows(&self, sql: &'static str, params: Vec<Value>) -> impl Future<Output = Result<Vec<Row>, Error>> + Send;

    /// Returns the first row of a query.
    fn row(&self, sql: &'static str, params: Vec<Value>) -> impl Future<Output = Result<Option<Row>, Error>> + Send;
}

impl Read for Db {
    async fn rows(&self, sql: &'static str, params: Vec<Value>) -> Result<Vec<Row>, Error> {
        self.query(sql, params).await
    }

    async fn row(&self, sql: &'static str, params: Vec<Value>) -> Result<Option<Row>, Error> {
        self.query_opt(sql, params).await
    }
}

impl Read for Tx {
    async fn rows(&self, sql: &'static str, params: Vec<Value>) -> Result<Vec<Row>, Error> {
        self.query(sql, params).await
    }

    async fn row(&self, sql: &'static str, params: Vec<Value>) -> Result<Option<Row>, Error> {
        self.query_opt(sql, params).await
    }
}

/// Returns `(?, ?, …)` for a list of at least one value, and the values.
fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> (String, Vec<Value>) {
    let values: Vec<Value> = items.into_iter().map(Value::from).collect();
    (format!("({})", vec!["?"; values.len()].join(", ")), values)
}

/// Takes the next `count` numbers of a counter and returns the first. The counter's row is locked until this transaction
/// ends, so numbers grow in commit order without gaps and a reader who has seen one has seen all before it. A generated key
/// would not promise that.
async fn take_numbers(tx: &Tx, counter: &'static str, count: i64) -> Result<i64, Error> {
    tx.execute("UPDATE counters SET value = value + ? WHERE name = ?", params![count, counter]).await?;
    Ok(counter_value(tx, counter).await? - count + 1)
}

/// Keeps everybody else from taking numbers of a counter until this transaction ends.
async fn lock_counter(tx: &Tx, counter: &'static str) -> Result<(), Error> {
    tx.execute("UPDATE counters SET value = value WHERE name = ?", params![counter]).await?;
    Ok(())
}

/// Returns the last number that was taken.
async fn counter_value(from: &impl Read, counter: &'static str) -> Result<i64, Error> {
    let row = from.row("SELECT value FROM counters WHERE name = ?", params![counter]).await?;
    Ok(row.map(|row| row.get(0)).transpose()?.unwrap_or(0))
}

/// A stored value that the rules would refuse: a defect of ours, not of the caller.
fn broken(refusal: Refusal) -> mallard_types::Error {
    mallard_types::Error::internal("broken_row", "something went wrong on our side")
        .source(mallard_types::Error::from(refusal))
}
