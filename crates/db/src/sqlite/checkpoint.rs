//! Folds the write-ahead log into the file, beside the writer, so that no commit waits for it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use rusqlite::{Connection, OpenFlags};

use super::open_connection;

/// Statements between two checkpoints.
const STATEMENTS_MAX: u64 = 2_000;
/// Length of the log, in pages of 4 KiB, at which the writer stops to fold it itself; a log only starts over when nobody
/// writes while it is folded.
const LOG_PAGES_MAX: i64 = 16_384;

/// The writer's end.
pub(super) struct Checkpoints {
    wake: SyncSender<()>,
    log_pages: Arc<AtomicI64>,
    statements: u64,
}

impl Checkpoints {
    /// Starts the side thread; it ends when the writer does.
    pub(super) fn start(path: PathBuf, service: &'static str) -> std::io::Result<Checkpoints> {
        let (wake, woken) = sync_channel(1);
        let log_pages = Arc::new(AtomicI64::new(0));
        let pages = log_pages.clone();
        std::thread::Builder::new().name(format!("wal-{service}")).spawn(move || run(path, service, &woken, &pages))?;
        Ok(Checkpoints { wake, log_pages, statements: 0 })
    }

    /// Is called between two commits.
    pub(super) fn after_commit(&mut self, conn: &Connection, service: &'static str, statements: u64) {
        self.statements += statements;
        if self.statements < STATEMENTS_MAX {
            return;
        }
        self.statements = 0;
        if self.log_pages.load(Ordering::Relaxed) > LOG_PAGES_MAX {
            fold(conn, service, &self.log_pages);
            return;
        }
        match self.wake.try_send(()) {
            // Full: one is due already.
            Ok(()) | Err(TrySendError::Full(())) => {}
            Err(TrySendError::Disconnected(())) => fold(conn, service, &self.log_pages),
        }
    }
}

fn run(path: PathBuf, service: &'static str, woken: &Receiver<()>, log_pages: &AtomicI64) {
    let conn = match open_connection(&path, OpenFlags::SQLITE_OPEN_READ_WRITE, "PRAGMA wal_autocheckpoint = 0;") {
        Ok(conn) => conn,
        Err(error) => {
            tracing::warn!(service, %error, "cannot open a connection for checkpoints, the writer makes them");
            return;
        }
    };
    while woken.recv().is_ok() {
        fold(&conn, service, log_pages);
    }
}

fn fold(conn: &Connection, service: &'static str, log_pages: &AtomicI64) {
    match conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(1)) {
        Ok(pages) => log_pages.store(pages, Ordering::Relaxed),
        Err(error) => tracing::warn!(service, %error, "checkpoint failed, it is tried again later"),
    }
}
