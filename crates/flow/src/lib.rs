//! Durable flows: state machines kept in the database of the service that owns them.
//!
//! A flow is a state enum and a [`Flow::step`] that says what comes next. The row is saved between steps, so a crash loses
//! at most the step that was running, and that step runs again: **every step may run twice**. The flow's key is the
//! idempotency key to hand to callees.
//!
//! - [`start`] inserts the row inside the transaction that makes the flow true. (name, key) is unique.
//! - [`Engine::run`] drives what is due; [`Engine::drive`] and [`Engine::drive_from`] drive one flow in the caller's task.
//! - Every save is guarded by the row's version. Whoever loses a race reloads; nothing is applied twice.
//! - [`signal`] means "look again": it wakes an `Await` or `Sleep` and carries no fact. A signal that comes earlier is kept
//!   until the flow next awaits or sleeps; that step then runs once more with [`At::signalled`] set.
//! - A retryable or internal error is retried with back-off for ever (a callee's answer is never guessed); any other error
//!   makes the flow stuck, which [`Engine::list`] shows and [`Engine::unstick`] undoes.
//!
//! Statements: start 1, save 1, finish 1; a flow driven from its start needs no others. A flow in the middle of a drive
//! holds a lease of [`LEASE_MICROS`], so that another instance does not take it up; when a process restarts on a database
//! of its own, leases are void and what was interrupted goes on at once.

mod backoff;
mod drive;
mod engine;
mod history;
mod list;
mod locks;
mod migrations;
mod row;
mod step;
mod timers;
mod write;

pub use drive::Outcome;
pub use engine::{Clock, Engine, Random};
pub use history::{Happened, Step};
pub use list::{FlowInfo, unstick};
pub use migrations::MIGRATIONS;
pub use step::{At, Flow, Next};
pub use write::{GUARD_TAG, add_finish, add_save, add_start, finish, save, signal, start};

use mallard_types::Micros;

/// Version of a row that was just started: what [`Engine::drive_from`] takes together with the state it was started with.
pub const FIRST_VERSION: i64 = 1;

/// How long a flow that is being driven is left alone by other instances, in microseconds.
pub const LEASE_MICROS: Micros = 10_000_000;

/// Topic of [`mallard_db::Db::woken`] that says a flow may be due.
pub const WAKE_TOPIC: &str = "flow";
