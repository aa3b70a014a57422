//! A running transaction on PostgreSQL.

use std::sync::Arc;

use futures_util::future::join;
use parking_lot::Mutex;

use super::Texts;
use super::conn::Conn;
use super::types::Failure;
use crate::shared::Shared;
use crate::unit::Text;
use crate::{Error, Row, Value, exec};

pub(crate) struct PgTx {
    state: Mutex<State>,
    texts: Arc<Texts>,
    shared: Arc<Shared>,
}

struct State {
    /// `None` once the closure has ended.
    conn: Option<Arc<Conn>>,
    begun: bool,
    first_failure: Option<Error>,
    collided: bool,
    wakes: Vec<&'static str>,
}

/// What is left when the closure has ended.
pub(super) struct Ended {
    conn: Option<Arc<Conn>>,
    begun: bool,
    pub(super) first_failure: Option<Error>,
    /// Whether a deadlock or serialization failure occurred, even if the closure has made another error of it.
    pub(super) collided: bool,
    pub(super) wakes: Vec<&'static str>,
}

impl PgTx {
    pub(super) fn new(conn: Conn, texts: Arc<Texts>, shared: Arc<Shared>) -> PgTx {
        let conn = Some(Arc::new(conn));
        let state = State { conn, begun: false, first_failure: None, collided: false, wakes: Vec::new() };
        PgTx { state: Mutex::new(state), texts, shared }
    }

    pub(crate) async fn query(&self, sql: &Text, params: &[Value]) -> Result<Vec<Row>, Error> {
        exec::check_portable(sql.as_str())?;
        let conn = self.conn()?;
        let run = async {
            let prepared = conn.prepare(&self.texts.numbered(sql), sql, params).await?;
            self.after_begin(&conn, conn.query(&prepared, params)).await
        };
        self.noted(run.await)
    }

    pub(crate) async fn execute(&self, sql: &Text, params: &[Value]) -> Result<u64, Error> {
        exec::check_portable(sql.as_str())?;
        let conn = self.conn()?;
        let run = async {
            let prepared = conn.prepare(&self.texts.numbered(sql), sql, params).await?;
            self.after_begin(&conn, conn.execute(&prepared, params)).await
        };
        self.noted(run.await)
    }

    pub(crate) fn wake(&self, topic: &'static str) {
        self.state.lock().wakes.push(topic);
    }

    /// Takes the connection away from the handles.
    pub(super) fn end(&self) -> Ended {
        let mut state = self.state.lock();
        Ended {
            conn: state.conn.take(),
            begun: state.begun,
            first_failure: state.first_failure.take(),
            collided: state.collided,
            wakes: std::mem::take(&mut state.wakes),
        }
    }

    fn conn(&self) -> Result<Arc<Conn>, Error> {
        let state = self.state.lock();
        let conn = state.conn.clone().ok_or(Error::Ended)?;
        match &state.first_failure {
            Some(first) => Err(Error::Doomed(first.to_string())),
            None => Ok(conn),
        }
    }

    /// Sends BEGIN in the same flight as the first statement.
    async fn after_begin<T>(
        &self,
        conn: &Conn,
        statement: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let is_first = {
            let mut state = self.state.lock();
            if state.conn.is_none() {
                return Err(Error::Ended.into());
            }
            !std::mem::replace(&mut state.begun, true)
        };
        self.shared.count_statements(1);
        if !is_first {
            return statement.await;
        }
        // `join` polls in this order, and the first poll sends.
        let (begun, result) = join(conn.begin(), statement).await;
        begun?;
        result
    }

    fn noted<T>(&self, result: Result<T, Failure>) -> Result<T, Error> {
        result.map_err(|failure| {
            let mut state = self.state.lock();
            state.collided |= failure.collided;
            state.first_failure.get_or_insert_with(|| failure.error.clone());
            failure.error
        })
    }
}

impl Ended {
    pub(super) async fn commit(&self) -> Result<(), Failure> {
        match &self.conn {
            Some(conn) if self.begun => conn.commit(&self.wakes).await,
            _ => Ok(()),
        }
    }

    pub(super) async fn rollback(&self) {
        if let Some(conn) = self.conn.as_ref().filter(|_| self.begun) {
            // When it fails the connection stays dirty and is cleaned up or closed.
            let _ = conn.rollback().await;
        }
    }
}
