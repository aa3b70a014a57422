//! PostgreSQL: a pool of connections, prepared statements, pipelined flights.

mod conn;
mod flight;
mod open;
mod tx;
mod types;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Pool, PoolError};
use futures_util::FutureExt;
use parking_lot::RwLock;

use self::conn::Conn;
pub(crate) use self::tx::PgTx;
use self::types::Failure;
use crate::error::panic_text;
use crate::shared::Shared;
use crate::unit::{Text, Unit};
use crate::{Error, Migration, Row, Tx, UnitError, Value, exec, sql};

/// How often a transaction runs again after a deadlock or serialization failure.
const RETRIES_MAX: u32 = 5;
/// Longest pause before the first retry; it doubles with every retry.
const RETRY_PAUSE_MS: u64 = 10;

pub(crate) struct PgDb {
    shared: Arc<Shared>,
    pool: Pool,
    texts: Arc<Texts>,
}

/// Statements with their placeholders numbered. The program has a bounded number of static ones.
#[derive(Default)]
struct Texts {
    by_sql: RwLock<HashMap<&'static str, Arc<str>>>,
}

impl Texts {
    fn numbered(&self, text: &Text) -> Arc<str> {
        let sql = match text {
            Text::Dynamic(sql) => return sql::numbered(sql).into(),
            Text::Static(sql) => *sql,
        };
        if let Some(known) = self.by_sql.read().get(sql) {
            return known.clone();
        }
        let numbered: Arc<str> = sql::numbered(sql).into();
        self.by_sql.write().insert(sql, numbered.clone());
        numbered
    }
}

impl PgDb {
    pub(crate) async fn open(
        url: &str,
        pool_max: usize,
        shared: Arc<Shared>,
        migrations: &[Migration],
    ) -> Result<PgDb, Error> {
        let config = open::config(url, shared.service)?;
        open::migrate(&config, shared.service, migrations).await?;
        let pool = open::pool(config, pool_max)?;
        Ok(PgDb { shared, pool, texts: Arc::default() })
    }

    pub(crate) fn close(&self) {
        self.pool.close();
    }

    pub(crate) async fn query(&self, sql: &Text, params: &[Value]) -> Result<Vec<Row>, Error> {
        exec::check_portable(sql.as_str())?;
        let conn = self.conn().await?;
        self.shared.count_statements(1);
        let statement = conn.prepare(&self.texts.numbered(sql), sql, params).await?;
        Ok(conn.query(&statement, params).await?)
    }

    pub(crate) async fn tx<T, E, F, Fut>(&self, name: &'static str, f: F) -> Result<T, E>
    where
        F: Fn(Tx) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, E>> + Send,
        E: From<Error>,
    {
        let mut retries = 0;
        loop {
            let tx = Arc::new(PgTx::new(self.conn().await?, self.texts.clone(), self.shared.clone()));
            let handle = Tx::postgres(tx.clone());
            let outcome = AssertUnwindSafe(async { f(handle).await }).catch_unwind().await;
            let ended = tx.end();
            let result = match outcome {
                Err(panic) => Err(E::from(Error::Panicked(panic_text(panic.as_ref())))),
                Ok(Err(error)) => Err(error),
                Ok(Ok(value)) => match &ended.first_failure {
                    None => Ok(value),
                    Some(first) => Err(E::from(Error::Doomed(first.to_string()))),
                },
            };
            let (result, has_collided) = match result {
                Ok(value) => match ended.commit().await {
                    Ok(()) => {
                        self.shared.count_commit(1);
                        self.shared.wake(&ended.wakes);
                        (Ok(value), false)
                    }
                    Err(failure) => (Err(E::from(failure.error)), failure.collided),
                },
                Err(error) => {
                    ended.rollback().await;
                    (Err(error), ended.collided)
                }
            };
            // The connection goes back before the pause.
            drop(ended);
            if !has_collided {
                return result;
            }
            if retries == RETRIES_MAX {
                return Err(E::from(collided(name)));
            }
            self.pause(name, &mut retries).await;
        }
    }

    pub(crate) async fn apply(&self, unit: &Unit) -> Result<(), UnitError> {
        let mut retries = 0;
        loop {
            let conn = self.conn().await?;
            match flight::apply(conn, &self.texts, &self.shared, unit).await {
                Ok(()) => {
                    self.shared.count_commit(1);
                    self.shared.wake(&unit.wakes);
                    return Ok(());
                }
                Err(flight::Refusal::Guard { index, tag }) => return Err(UnitError::Guard { index, tag }),
                Err(flight::Refusal::Db(failure)) if !failure.collided => return Err(failure.error.into()),
                Err(flight::Refusal::Db(_)) if retries == RETRIES_MAX => return Err(collided(unit.name).into()),
                Err(flight::Refusal::Db(_)) => self.pause(unit.name, &mut retries).await,
            }
        }
    }

    async fn conn(&self) -> Result<Conn, Error> {
        match self.pool.get().await {
            Ok(object) => Ok(Conn::new(object, self.shared.clone())),
            Err(PoolError::Timeout(_)) => Err(Error::Busy("no free connection".to_owned())),
            Err(PoolError::Closed) => Err(Error::Lost("the database was closed".to_owned())),
            Err(PoolError::Backend(error)) => Err(Failure::from(error).error),
            Err(other) => Err(Error::Lost(other.to_string())),
        }
    }

    async fn pause(&self, name: &'static str, retries: &mut u32) {
        self.shared.count_retry(name);
        let pause_ms = RETRY_PAUSE_MS << *retries;
        *retries += 1;
        tokio::time::sleep(Duration::from_millis(rand::random_range(1..=pause_ms))).await;
    }
}

fn collided(name: &'static str) -> Error {
    Error::Busy(format!("transaction {name} collided with others {} times", RETRIES_MAX + 1))
}
