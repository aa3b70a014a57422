//! A connection on loan from the pool, which never goes back while a transaction may be open on it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use deadpool_postgres::Object;
use futures_util::TryStreamExt;
use tokio_postgres::Statement;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::types::{self, Failure};
use crate::shared::Shared;
use crate::unit::Text;
use crate::{Error, Row, Value};

/// How long an abandoned transaction may take to roll back before its connection is closed instead.
const CLEAN_UP_MAX: Duration = Duration::from_secs(2);

/// How long an abandoned COMMIT is waited for on a connection that goes back to no pool: longer than the server lets a statement run.
const COMMIT_MAX: Duration = Duration::from_secs(15);

/// A statement ready to run on one connection.
pub(super) enum Prepared {
    /// Prepared and kept by the connection.
    Kept(Statement),
    /// Sent with its parameter types each time: its text is rarely the same twice, so it is not kept.
    Once(String, Vec<Type>),
}

pub(super) struct Conn {
    /// Empty only while it is dropped.
    object: Option<Object>,
    /// Whether a transaction may be open.
    dirty: AtomicBool,
    shared: Arc<Shared>,
    /// Topics to wake should nobody be left to hear what came of the COMMIT.
    wakes: OnceLock<Vec<&'static str>>,
}

impl Conn {
    pub(super) fn new(object: Object, shared: Arc<Shared>) -> Conn {
        Conn { object: Some(object), dirty: AtomicBool::new(false), shared, wakes: OnceLock::new() }
    }

    fn client(&self) -> Result<&Object, Error> {
        self.object.as_ref().ok_or(Error::Ended)
    }

    pub(super) async fn prepare(&self, numbered: &str, text: &Text, params: &[Value]) -> Result<Prepared, Failure> {
        let types: Vec<Type> = params.iter().map(types::declared).collect();
        match text {
            Text::Dynamic(_) => Ok(Prepared::Once(numbered.to_owned(), types)),
            Text::Static(_) => Ok(Prepared::Kept(self.client()?.prepare_typed_cached(numbered, &types).await?)),
        }
    }

    pub(super) async fn query(&self, prepared: &Prepared, params: &[Value]) -> Result<Vec<Row>, Failure> {
        let client = self.client()?;
        let stream = match prepared {
            Prepared::Kept(statement) => client.query_raw(statement, params).await,
            Prepared::Once(sql, types) => client.query_typed_raw(sql, params.iter().zip(types.iter().cloned())).await,
        };
        let rows = async { stream?.try_collect::<Vec<_>>().await }.await.map_err(|e| self.failed(e))?;
        Ok(rows.iter().map(types::row).collect::<Result<_, Error>>()?)
    }

    pub(super) async fn execute(&self, prepared: &Prepared, params: &[Value]) -> Result<u64, Failure> {
        let client = self.client()?;
        let rows = match prepared {
            Prepared::Kept(statement) => client.execute_raw(statement, params).await,
            Prepared::Once(sql, types) => {
                let params: Vec<_> = params
                    .iter()
                    .zip(types)
                    .map(|(p, t)| (p as &(dyn tokio_postgres::types::ToSql + Sync), t.clone()))
                    .collect();
                client.execute_typed(sql, &params).await
            }
        };
        rows.map_err(|e| self.failed(e))
    }

    /// Forgets the prepared statements when the schema has changed under them.
    fn failed(&self, error: tokio_postgres::Error) -> Failure {
        let stale = [SqlState::FEATURE_NOT_SUPPORTED, SqlState::INVALID_SQL_STATEMENT_NAME];
        if let (Some(object), Some(code)) = (&self.object, error.code())
            && stale.contains(code)
        {
            object.statement_cache.clear();
        }
        Failure::from(error)
    }

    /// Begins a transaction. From the first poll on the connection counts as dirty.
    pub(super) async fn begin(&self) -> Result<(), Failure> {
        self.dirty.store(true, Ordering::SeqCst);
        Ok(self.client()?.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED").await?)
    }

    /// Commits. Whoever hears that it went well wakes the topics; if the caller goes away before, or the line is lost, the
    /// connection does when it has been cleaned up, because the server may have committed.
    pub(super) async fn commit(&self, wakes: &[&'static str]) -> Result<(), Failure> {
        if !wakes.is_empty() {
            // A connection on loan commits once.
            let _ = self.wakes.set(wakes.to_vec());
        }
        self.end("COMMIT").await
    }

    pub(super) async fn rollback(&self) -> Result<(), Failure> {
        self.end("ROLLBACK").await
    }

    async fn end(&self, sql: &str) -> Result<(), Failure> {
        let ended = self.client()?.batch_execute(sql).await.map_err(Failure::from);
        // A COMMIT that a deferred constraint refuses has rolled back; the transaction is over unless the line is gone.
        if !matches!(ended, Err(Failure { error: Error::Lost(_), .. })) {
            self.dirty.store(false, Ordering::SeqCst);
        }
        ended
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else { return };
        if !self.dirty.load(Ordering::SeqCst) {
            return;
        }
        // The caller has gone away in the middle. What it sent runs out before the ROLLBACK does, so afterwards the
        // connection is as good as new.
        let (shared, wakes) = (self.shared.clone(), self.wakes.take().unwrap_or_default());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            drop(Object::take(object));
            shared.wake(&wakes);
            return;
        };
        runtime.spawn(async move {
            let rolled_back = tokio::time::timeout(CLEAN_UP_MAX, object.batch_execute("ROLLBACK")).await;
            if !matches!(rolled_back, Ok(Ok(()))) {
                let line = Object::take(object);
                if !wakes.is_empty() {
                    // The COMMIT may still run: a bell before its end would ring for nothing.
                    let _ = tokio::time::timeout(COMMIT_MAX, line.batch_execute("ROLLBACK")).await;
                }
            }
            shared.wake(&wakes);
        });
    }
}
