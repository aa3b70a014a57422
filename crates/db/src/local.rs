//! Transactions on a SQLite connection that belongs to the present thread.
//!
//! The connection cannot travel inside a [`crate::Tx`], which is `Send`. So it waits in a thread-local while a closure runs,
//! and the handle holds nothing but the number of its job: on another thread, or after its closure ended, the numbers do
//! not match and the handle answers [`Error::Ended`].

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use rusqlite::Connection;

use crate::error::panic_text;
use crate::exec;
use crate::migrate::{self, Applied, Migration};
use crate::shared::Shared;
use crate::unique::UniqueNames;
use crate::unit::Unit;
use crate::{Error, Row, Tx, UnitError, Value, sql};

/// Statements kept compiled per connection; a service has some hundred.
pub(crate) const STATEMENT_CACHE_MAX: usize = 512;

/// What a caller of the database gets.
pub(crate) enum Answer<T> {
    /// The work was done; for a transaction, it is durable or rolled back.
    Done(T),
    /// The closure waited for something else; it was rolled back.
    Waited,
    /// The process "died" (fault hook): nobody is answered.
    Crashed,
}

thread_local! {
    static ACTIVE: RefCell<Option<Active>> = const { RefCell::new(None) };
}

static NEXT_JOB: AtomicU64 = AtomicU64::new(1);

struct Active {
    job: u64,
    conn: Rc<Connection>,
    names: Arc<UniqueNames>,
    left: Left,
}

/// What a closure leaves behind.
#[derive(Default)]
struct Left {
    failed: Option<Error>,
    wakes: Vec<&'static str>,
    statements: u64,
}

/// The end of one transaction, before its commit.
pub(crate) struct Ran<T> {
    /// `None`: the closure waited for something else.
    pub(crate) result: Option<T>,
    /// Whether its effects shall stay.
    pub(crate) keep: bool,
    /// Topics to wake after the commit; none when the effects go.
    pub(crate) wakes: Vec<&'static str>,
}

impl<T, E> Ran<Result<T, E>> {
    /// Stands for a transaction whose turn never came.
    pub(crate) fn not_run() -> Self {
        Ran::new(None, Vec::new())
    }

    fn new(result: Option<Result<T, E>>, wakes: Vec<&'static str>) -> Self {
        let keep = matches!(result, Some(Ok(_)));
        Ran { result, keep, wakes: if keep { wakes } else { Vec::new() } }
    }
}

/// Tells whether this thread is inside a transaction closure.
pub(crate) fn in_closure() -> bool {
    ACTIVE.with(|active| active.borrow().is_some())
}

/// Polls a transaction closure once, with the connection in its hands.
pub(crate) fn run_closure<T, E, F, Fut>(conn: &Rc<Connection>, shared: &Shared, f: &F) -> Ran<Result<T, E>>
where
    F: Fn(Tx) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: From<Error>,
{
    let job = NEXT_JOB.fetch_add(1, Ordering::Relaxed);
    let active = Active { job, conn: conn.clone(), names: shared.unique_names(), left: Left::default() };
    ACTIVE.with(|slot| *slot.borrow_mut() = Some(active));
    let polled = catch_unwind(AssertUnwindSafe(|| {
        let closure = pin!(tokio::task::unconstrained(f(Tx::local(job))));
        closure.poll(&mut Context::from_waker(Waker::noop()))
    }));
    let left = ACTIVE.with(|slot| slot.borrow_mut().take()).map(|active| active.left).unwrap_or_default();
    shared.count_statements(left.statements);
    let result = match polled {
        Ok(Poll::Pending) => None,
        Ok(Poll::Ready(Ok(value))) => Some(match left.failed {
            None => Ok(value),
            Some(first) => Err(E::from(Error::Doomed(first.to_string()))),
        }),
        Ok(Poll::Ready(Err(error))) => Some(Err(error)),
        Err(panic) => Some(Err(E::from(Error::Panicked(panic_text(panic.as_ref()))))),
    };
    Ran::new(result, left.wakes)
}

/// Runs the statements of a unit; its order has been settled.
pub(crate) fn run_unit(conn: &Connection, shared: &Shared, unit: &Unit) -> Ran<Result<(), UnitError>> {
    let names = shared.unique_names();
    let mut statements = 0;
    let result = unit.statements.iter().try_for_each(|statement| {
        statements += 1;
        let rows = exec::execute(conn, &names, statement.sql.as_str(), &statement.params)?;
        match statement.guard {
            Some(guard) if guard.expected_rows != rows => {
                Err(UnitError::Guard { index: statement.index, tag: guard.tag })
            }
            _ => Ok(()),
        }
    });
    shared.count_statements(statements);
    Ran::new(Some(result), unit.wakes.clone())
}

/// Reads for a transaction handle.
pub(crate) fn query(job: u64, sql: &str, params: &[Value]) -> Result<Vec<Row>, Error> {
    with_active(job, |active| exec::query(&active.conn, &active.names, sql, params))
}

/// Writes for a transaction handle.
pub(crate) fn execute(job: u64, sql: &str, params: &[Value]) -> Result<u64, Error> {
    with_active(job, |active| exec::execute(&active.conn, &active.names, sql, params))
}

/// Remembers a topic to wake after the commit; nothing when the closure has ended.
pub(crate) fn wake(job: u64, topic: &'static str) {
    ACTIVE.with(|slot| {
        if let Some(active) = slot.borrow_mut().as_mut().filter(|active| active.job == job) {
            active.left.wakes.push(topic);
        }
    });
}

fn with_active<T>(job: u64, f: impl FnOnce(&Active) -> Result<T, Error>) -> Result<T, Error> {
    ACTIVE.with(|slot| {
        let mut slot = slot.borrow_mut();
        let Some(active) = slot.as_mut().filter(|active| active.job == job) else { return Err(Error::Ended) };
        if let Some(first) = &active.left.failed {
            return Err(Error::Doomed(first.to_string()));
        }
        active.left.statements += 1;
        let result = f(active);
        if let Err(error) = &result {
            active.left.failed = Some(error.clone());
        }
        result
    })
}

/// Brings the schema up to date, step by step, and learns the names of its unique indexes.
pub(crate) fn migrate(conn: &Connection, shared: &Shared, migrations: &[Migration], now: &str) -> Result<(), Error> {
    let none = UniqueNames::default();
    let in_step = |step: &Migration, e: Error| match e {
        retry @ (Error::Busy(_) | Error::Disk(_) | Error::Lost(_)) => retry,
        other => Error::Migration(format!("version {} `{}`: {other}", step.version, step.name)),
    };
    exec::control(conn, "BEGIN IMMEDIATE")?;
    let run = || {
        exec::execute(conn, &none, &sql::ddl_for_sqlite(migrate::TABLE), &[])?;
        let applied = exec::query(conn, &none, migrate::READ, &[])?
            .iter()
            .map(|row| Ok(Applied { version: row.get(0)?, checksum: row.get(1)? }))
            .collect::<Result<Vec<_>, Error>>()?;
        let insert = migrate::INSERT.replacen("?, ?, ?, ?", &format!("?, ?, ?, {now}"), 1);
        for step in migrate::plan(migrations, &applied)? {
            for statement in sql::statements(step.sql) {
                exec::execute(conn, &none, &sql::ddl_for_sqlite(&statement), &[]).map_err(|e| in_step(&step, e))?;
            }
            let row = [step.version.into(), step.name.into(), migrate::checksum(&step).into()];
            exec::execute(conn, &none, &insert, &row)?;
        }
        exec::control(conn, "COMMIT")
    };
    if let Err(error) = run() {
        // Fails only when SQLite has rolled back by itself; the first error says more.
        let _ = exec::control(conn, "ROLLBACK");
        return Err(error);
    }
    shared.set_unique_names(UniqueNames::read(conn).map_err(|e| exec::from_sqlite(e, &none))?);
    Ok(())
}

/// Settings every connection shares: LIKE and foreign keys as PostgreSQL has them.
pub(crate) fn set_up(conn: &Connection, pragmas: &str) -> Result<(), Error> {
    conn.set_prepared_statement_cache_capacity(STATEMENT_CACHE_MAX);
    conn.execute_batch(&format!("PRAGMA case_sensitive_like = ON; PRAGMA foreign_keys = ON; {pragmas}"))
        .map_err(|e| exec::from_sqlite(e, &UniqueNames::default()))
}
