//! Statements on a rusqlite connection, and its errors in our words.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, ToSql, ffi, params_from_iter};

use crate::unique::UniqueNames;
use crate::{Error, Row, Value, sql};

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Int(i) => ValueRef::Integer(*i),
            Value::Text(s) => ValueRef::Text(s.as_bytes()),
            Value::Bytes(b) => ValueRef::Blob(b),
        }))
    }
}

/// Runs a statement and reads all its rows.
pub(crate) fn query(conn: &Connection, names: &UniqueNames, sql: &str, params: &[Value]) -> Result<Vec<Row>, Error> {
    check_portable(sql)?;
    let fail = |e| from_sqlite(e, names);
    let mut statement = conn.prepare_cached(sql).map_err(fail)?;
    let columns = statement.column_count();
    let mut rows = statement.query(params_from_iter(params)).map_err(fail)?;
    let mut out = Vec::new();
    while let Some(row) = rows.next().map_err(fail)? {
        let mut values = Vec::with_capacity(columns);
        for i in 0..columns {
            values.push(value(row.get_ref(i).map_err(fail)?, i)?);
        }
        out.push(Row::new(values));
    }
    Ok(out)
}

/// Reads outside a transaction.
pub(crate) fn read(conn: &Connection, names: &UniqueNames, sql: &str, params: &[Value]) -> Result<Vec<Row>, Error> {
    check_portable(sql)?;
    if !conn.prepare_cached(sql).map_err(|e| from_sqlite(e, names))?.readonly() {
        return Err(Error::Sql("a statement that writes needs a transaction".to_owned()));
    }
    query(conn, names, sql, params)
}

/// Runs a statement and counts the rows it changed.
pub(crate) fn execute(conn: &Connection, names: &UniqueNames, sql: &str, params: &[Value]) -> Result<u64, Error> {
    check_portable(sql)?;
    let fail = |e| from_sqlite(e, names);
    let mut statement = conn.prepare_cached(sql).map_err(fail)?;
    statement.execute(params_from_iter(params)).map(|n| n as u64).map_err(fail)
}

/// Runs one of our own statements (transaction control, settings).
pub(crate) fn control(conn: &Connection, sql: &str) -> Result<(), Error> {
    let run = || conn.prepare_cached(sql)?.raw_execute();
    run().map(|_| ()).map_err(|e| from_sqlite(e, &UniqueNames::default()))
}

/// Refuses what PostgreSQL or SQLite alone understands, in debug builds, so that a test on any engine finds it.
pub(crate) fn check_portable(text: &str) -> Result<(), Error> {
    if !cfg!(debug_assertions) {
        return Ok(());
    }
    match sql::unportable(text) {
        Some(found) => Err(Error::Sql(format!("`{found}` is not portable SQL"))),
        None => Ok(()),
    }
}

fn value(value: ValueRef<'_>, column: usize) -> Result<Value, Error> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(i) => Value::Int(i),
        ValueRef::Text(s) => Value::Text(
            std::str::from_utf8(s).map_err(|_| Error::Type(format!("column {column} is not valid UTF-8")))?.to_owned(),
        ),
        ValueRef::Blob(b) => Value::Bytes(b.to_vec()),
        ValueRef::Real(_) => return Err(Error::Type(format!("column {column} is a floating point number"))),
    })
}

/// Translates an error of SQLite.
pub(crate) fn from_sqlite(error: rusqlite::Error, names: &UniqueNames) -> Error {
    let text = error.to_string();
    let rusqlite::Error::SqliteFailure(ffi::Error { code, extended_code }, message) = error else {
        return Error::Sql(text);
    };
    let message = message.unwrap_or(text);
    match code {
        ErrorCode::ConstraintViolation => match extended_code {
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => {
                Error::Unique { constraint: names.name(&message) }
            }
            _ => Error::Constraint(message),
        },
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::OperationInterrupted => Error::Busy(message),
        ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::ReadOnly => Error::Disk(message),
        ErrorCode::CannotOpen => Error::Lost(message),
        _ => Error::Sql(message),
    }
}
