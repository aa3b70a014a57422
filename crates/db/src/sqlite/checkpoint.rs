//! Folds the write-ahead log into the file, beside the writer, so that no commit waits for it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use rusqlite::{Connection, OpenFlags};

use super::open_connection;

/// Statements between two checkpoints.
const STATEMENTS_MAX: u64 = 2_000;
/// Length of the log, in pages of 4 KiB, at which the writer stops to fold it itself; a log only starts over when nobody
/// writes while it is folded.
const LOG_PAGES_MAX: i64 = 8_192;

/// The writer's end.
pub(super) struct Checkpoints {
    wake: SyncSender<()>,
    thread: JoinHandle<()>,
    log_pages: Arc<AtomicI64>,
    statements: u64,
}

impl Checkpoints {
    /// Starts the side thread; it ends when the writer does.
    pub(super) fn start(path: PathBuf, service: &'static str) -> std::io::Result<Checkpoints> {
        let (wake, woken) = sync_channel(1);
        let log_pages = Arc::new(AtomicI64::new(0));
        let pages = log_pages.clone();
        let thread = std::thread::Builder::new()
            .name(format!("wal-{service}"))
            .spawn(move || run(path, service, &woken, &pages))?;
        Ok(Checkpoints { wake, thread, log_pages, statements: 0 })
    }

    /// Ends the side thread, and waits for it: the connection that is closed last folds the log and removes it.
    pub(super) fn stop(self) {
        drop(self.wake);
        // It does not panic; were it to, there would be nothing left to stop.
        let _ = self.thread.join();
    }

    /// Is called between two commits.
    pub(super) fn after_commit(&mut self, conn: &Connection, service: &'static str, statements: u64) {
        self.statements += statements;
        if self.statements < STATEMENTS_MAX {
            return;
        }
        self.statements = 0;
        if self.log_pages.load(Ordering::Relaxed) > LOG_PAGES_MAX {
            // Folded completely while nobody writes, the log starts over with the next commit.
            self.log_pages.store(fold(conn, service).rest, Ordering::Relaxed);
            return;
        }
        match self.wake.try_send(()) {
            // Full: one is due already.
            Ok(()) | Err(TrySendError::Full(())) => {}
            Err(TrySendError::Disconnected(())) => drop(fold(conn, service)),
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
        let log = fold(&conn, service);
        log_pages.store(log.pages, Ordering::Relaxed);
    }
}

/// The log after a checkpoint.
#[derive(Default)]
struct Log {
    pages: i64,
    /// Pages that are still to be folded, because they came during the checkpoint or a reader needs the older ones.
    rest: i64,
}

fn fold(conn: &Connection, service: &'static str) -> Log {
    let folded = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        let pages: i64 = row.get(1)?;
        Ok(Log { pages, rest: pages - row.get::<_, i64>(2)? })
    });
    folded.unwrap_or_else(|error| {
        tracing::warn!(service, %error, "checkpoint failed, it is tried again later");
        Log::default()
    })
}
