//! Read-only connections, lent to whoever reads, on the reader's own thread.

use std::path::PathBuf;

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};

use super::open_connection;
use crate::Error;

/// Most connections kept for later; more are opened when more threads read at once, and closed afterwards.
const KEPT_MAX: usize = 8;
/// 2 MiB of pages per connection.
const PRAGMAS: &str = "PRAGMA query_only = ON; PRAGMA cache_size = -2048;";

pub(super) struct Readers {
    path: PathBuf,
    /// `None` once closed.
    idle: Mutex<Option<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Readers {
        Readers { path, idle: Mutex::new(Some(Vec::new())) }
    }

    /// Lends a connection. Every statement sees the newest commit.
    pub(super) fn lend<T>(&self, f: impl FnOnce(&Connection) -> Result<T, Error>) -> Result<T, Error> {
        let kept = match self.idle.lock().as_mut() {
            Some(idle) => idle.pop(),
            None => return Err(super::stopped()),
        };
        let conn = match kept {
            Some(conn) => conn,
            None => open_connection(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY, PRAGMAS)?,
        };
        let result = f(&conn);
        if matches!(result, Err(Error::Disk(_) | Error::Lost(_))) {
            return result;
        }
        if let Some(idle) = self.idle.lock().as_mut().filter(|idle| idle.len() < KEPT_MAX) {
            idle.push(conn);
        }
        result
    }

    pub(super) fn close(&self) {
        *self.idle.lock() = None;
    }
}
