//! One database of one service, behind a single API for three engines: SQLite files (one writer thread, group commit),
//! SQLite in memory (inline, deterministic, for simulation) and PostgreSQL (pooled, pipelined).
//!
//! Two ways to write: a [`Unit`] of work as data (one hop, for the hot paths) and a transaction closure ([`Db::tx`]) where a
//! decision needs a read in between. Both are all or nothing, and both are answered only after the commit is durable.
//!
//! Rules for SQL that runs on every engine: placeholders are `?`; no `RETURNING`, `FOR UPDATE`, `SKIP LOCKED`, JSON
//! functions, `INSERT OR …` or `rowid`; upserts are `ON CONFLICT (…) DO NOTHING` or `DO UPDATE SET x = excluded.x`; lists
//! are ordered by NOT NULL columns; texts compare bytewise and `LIKE` minds the case. A failed statement dooms its
//! transaction (see [`Error::Doomed`]): avoid the failure with `ON CONFLICT`, or return the error and act on it outside.

mod db;
mod error;
mod exec;
mod faults;
pub mod lease;
mod local;
mod memory;
mod migrate;
#[cfg(all(feature = "testing", unix))]
pub mod pgtest;
mod postgres;
mod shared;
mod sql;
mod sqlite;
mod tx;
mod unique;
mod unit;
mod value;

pub use db::{Db, DbConfig};
pub use error::{Error, UnitError};
pub use faults::{CommitFate, CommitHook};
pub use memory::MemoryDisk;
pub use migrate::Migration;
#[doc(hidden)]
pub use sqlite::BatchLimits;
pub use tx::Tx;
pub use unit::Unit;
pub use value::{FromValue, Row, Value};
