//! Loads and saves. The only place that knows tables, columns and SQL; rows do not leave it.

mod addresses;
mod keys;
mod sessions;
mod users;

use std::future::Future;

use mallard_db::{Db, Error, Row, Tx, Value};

pub use addresses::*;
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
