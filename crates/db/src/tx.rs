//! The handle of a running transaction.

use std::sync::Arc;

use crate::postgres::PgTx;
use crate::unit::Text;
use crate::value::storable;
use crate::{Error, Row, Value, local};

/// A running transaction, valid inside the closure it was given to; later it answers [`Error::Ended`].
///
/// A statement that fails dooms the transaction: further statements answer [`Error::Doomed`], and so does the whole
/// transaction should the closure end well all the same. (PostgreSQL works like this; SQLite is made to.)
#[derive(Clone)]
pub struct Tx {
    engine: Handle,
}

#[derive(Clone)]
enum Handle {
    /// Number of the job; the connection waits in the thread that runs it.
    Local(u64),
    Postgres(Arc<PgTx>),
}

impl Tx {
    pub(crate) fn local(job: u64) -> Tx {
        Tx { engine: Handle::Local(job) }
    }

    pub(crate) fn postgres(tx: Arc<PgTx>) -> Tx {
        Tx { engine: Handle::Postgres(tx) }
    }

    /// Reads rows.
    pub async fn query(&self, sql: &'static str, params: Vec<Value>) -> Result<Vec<Row>, Error> {
        self.read(Text::Static(sql), params).await
    }

    /// Reads the only row, if there is one.
    ///
    /// # Errors
    /// [`Error::Type`] when there are several.
    pub async fn query_opt(&self, sql: &'static str, params: Vec<Value>) -> Result<Option<Row>, Error> {
        only(self.read(Text::Static(sql), params).await?)
    }

    /// Reads rows with a statement put together while running (`IN` lists).
    pub async fn query_dyn(&self, sql: String, params: Vec<Value>) -> Result<Vec<Row>, Error> {
        self.read(Text::Dynamic(sql), params).await
    }

    /// Writes, and counts the changed rows.
    pub async fn execute(&self, sql: &'static str, params: Vec<Value>) -> Result<u64, Error> {
        self.write(Text::Static(sql), params).await
    }

    /// Writes with a statement put together while running (inserts of many rows).
    pub async fn execute_dyn(&self, sql: String, params: Vec<Value>) -> Result<u64, Error> {
        self.write(Text::Dynamic(sql), params).await
    }

    /// Wakes the listeners of `topic` once the transaction is committed; see [`crate::Db::woken`].
    pub fn wake(&self, topic: &'static str) {
        match &self.engine {
            Handle::Local(job) => local::wake(*job, topic),
            Handle::Postgres(tx) => tx.wake(topic),
        }
    }

    async fn read(&self, sql: Text, params: Vec<Value>) -> Result<Vec<Row>, Error> {
        storable(&params)?;
        match &self.engine {
            Handle::Local(job) => local::query(*job, sql.as_str(), &params),
            Handle::Postgres(tx) => tx.query(&sql, &params).await,
        }
    }

    async fn write(&self, sql: Text, params: Vec<Value>) -> Result<u64, Error> {
        storable(&params)?;
        match &self.engine {
            Handle::Local(job) => local::execute(*job, sql.as_str(), &params),
            Handle::Postgres(tx) => tx.execute(&sql, &params).await,
        }
    }
}

/// Takes the only row.
pub(crate) fn only(mut rows: Vec<Row>) -> Result<Option<Row>, Error> {
    if rows.len() > 1 {
        return Err(Error::Type(format!("{} rows came where one was expected", rows.len())));
    }
    Ok(rows.pop())
}
