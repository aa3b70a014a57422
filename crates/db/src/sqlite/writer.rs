//! The writer thread: takes what waits, runs it inside one transaction with a savepoint each, commits once, and only then
//! answers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{mpsc, oneshot};

use super::checkpoint::Checkpoints;
use super::{BatchLimits, OPEN_PAUSE, OPEN_WAIT, open_connection};
use crate::error::panic_text;
use crate::faults::Faults;
use crate::local::{self, Answer, Ran};
use crate::shared::Shared;
use crate::unit::Unit;
use crate::{Error, Migration, Tx, UnitError, exec};

pub(super) enum Message {
    Job(Box<dyn Job>),
    Stop(oneshot::Sender<()>),
}

/// A transaction that waits for its turn.
pub(super) trait Job: Send {
    fn name(&self) -> &'static str;

    /// Tells whether nobody waits for the answer any more.
    fn is_abandoned(&self) -> bool;

    fn run(self: Box<Self>, conn: &Rc<Connection>, shared: &Shared) -> Finished;

    /// Answers without having run.
    fn refuse(self: Box<Self>, fate: Fate);
}

/// A transaction that has run and waits for the commit.
pub(super) struct Finished {
    keep: bool,
    wakes: Vec<&'static str>,
    reply: Box<dyn FnOnce(Fate)>,
}

/// What became of a batch.
#[derive(Clone)]
pub(super) enum Fate {
    Committed,
    Failed(Error),
    Crashed,
}

pub(super) struct ClosureJob<T, E, F> {
    pub(super) name: &'static str,
    pub(super) f: F,
    pub(super) span: tracing::Span,
    pub(super) reply: oneshot::Sender<Answer<Result<T, E>>>,
}

pub(super) struct UnitJob {
    pub(super) unit: Unit,
    pub(super) reply: oneshot::Sender<Answer<Result<(), UnitError>>>,
}

impl<T, E, F, Fut> Job for ClosureJob<T, E, F>
where
    F: Fn(Tx) -> Fut + Send + 'static,
    Fut: Future<Output = Result<T, E>> + 'static,
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn run(self: Box<Self>, conn: &Rc<Connection>, shared: &Shared) -> Finished {
        let ran = self.span.in_scope(|| local::run_closure(conn, shared, &self.f));
        finished(ran, self.reply)
    }

    fn refuse(self: Box<Self>, fate: Fate) {
        (finished(Ran::not_run(), self.reply).reply)(fate);
    }
}

impl Job for UnitJob {
    fn name(&self) -> &'static str {
        self.unit.name
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn run(self: Box<Self>, conn: &Rc<Connection>, shared: &Shared) -> Finished {
        finished(local::run_unit(conn, shared, &self.unit), self.reply)
    }

    fn refuse(self: Box<Self>, fate: Fate) {
        (finished(Ran::not_run(), self.reply).reply)(fate);
    }
}

fn finished<T: 'static, E: From<Error> + 'static>(
    ran: Ran<Result<T, E>>,
    reply: oneshot::Sender<Answer<Result<T, E>>>,
) -> Finished {
    let Ran { result, keep, wakes } = ran;
    let reply = Box::new(move |fate| {
        // Nobody listens when the caller has gone away.
        let _ = reply.send(match (fate, result) {
            (Fate::Crashed, _) => Answer::Crashed,
            (Fate::Failed(error), _) => Answer::Done(Err(E::from(error))),
            (Fate::Committed, Some(result)) => Answer::Done(result),
            (Fate::Committed, None) => Answer::Waited,
        });
    });
    Finished { keep, wakes, reply }
}

/// What a writer thread begins with.
pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) synchronous_full: bool,
    pub(super) shared: Arc<Shared>,
    pub(super) faults: Arc<Faults>,
    pub(super) limits: BatchLimits,
}

/// The jobs of one commit, so far.
#[derive(Default)]
struct Batch {
    /// Name and outcome of each.
    jobs: Vec<(&'static str, Finished)>,
    stop: Option<oneshot::Sender<()>>,
}

impl Writer {
    pub(super) fn run(
        self,
        migrations: &[Migration],
        opened: oneshot::Sender<Result<(), Error>>,
        mut jobs: mpsc::Receiver<Message>,
    ) {
        let (conn, mut checkpoints) = match self.open(migrations) {
            Ok(open) => open,
            Err(error) => {
                // Whoever opens the database may have gone away.
                let _ = opened.send(Err(error));
                return;
            }
        };
        if opened.send(Ok(())).is_err() {
            return;
        }
        let mut stop = None;
        while stop.is_none() {
            let first = match jobs.blocking_recv() {
                Some(Message::Job(first)) => first,
                Some(Message::Stop(asked)) => {
                    stop = Some(asked);
                    break;
                }
                None => break,
            };
            let before = self.shared.statements();
            let batch = catch_unwind(AssertUnwindSafe(|| self.batch(&conn, first, &mut jobs)));
            stop = batch.unwrap_or_else(|panic| {
                // Its jobs were dropped, so their callers are told that the database is away.
                tracing::error!(service = self.shared.service, panic = panic_text(panic.as_ref()), "batch panicked");
                let _ = exec::control(&conn, "ROLLBACK");
                None
            });
            checkpoints.after_commit(&conn, self.shared.service, self.shared.statements() - before);
        }
        checkpoints.stop();
        drop(conn);
        if let Some(stop) = stop {
            let _ = stop.send(());
        }
    }

    /// Opens the file and migrates it. Another process may be doing the same, or be folding the log into the file as its last
    /// act; SQLite does not wait for all of that itself.
    #[expect(clippy::disallowed_methods, reason = "the thread is the writer's own")]
    fn open(&self, migrations: &[Migration]) -> Result<(Rc<Connection>, Checkpoints), Error> {
        let begun = Instant::now();
        loop {
            match self.try_open(migrations) {
                Err(Error::Busy(_)) if begun.elapsed() < OPEN_WAIT => std::thread::sleep(OPEN_PAUSE),
                result => return result,
            }
        }
    }

    fn try_open(&self, migrations: &[Migration]) -> Result<(Rc<Connection>, Checkpoints), Error> {
        let synchronous = if self.synchronous_full { "FULL" } else { "NORMAL" };
        // The side thread makes the checkpoints; the automatic one is a net for when it cannot.
        let pragmas = format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; PRAGMA fullfsync = ON; PRAGMA cache_size = -8192; \
             PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 50000; PRAGMA journal_size_limit = 33554432;"
        );
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let conn = open_connection(&self.path, flags, &pragmas)?;
        local::migrate(&conn, &self.shared, migrations, "CAST(strftime('%s', 'now') AS INTEGER) * 1000000")?;
        let checkpoints = Checkpoints::start(self.path.clone(), self.shared.service)
            .map_err(|e| Error::Lost(format!("cannot start the checkpoint thread: {e}")))?;
        Ok((Rc::new(conn), checkpoints))
    }

    /// Runs one batch and answers it. Returns who asked for the end, if somebody did.
    fn batch(
        &self,
        conn: &Rc<Connection>,
        first: Box<dyn Job>,
        queue: &mut mpsc::Receiver<Message>,
    ) -> Option<oneshot::Sender<()>> {
        if self.faults.is_crashed() {
            first.refuse(Fate::Crashed);
            return None;
        }
        if let Err(error) = exec::control(conn, "BEGIN IMMEDIATE") {
            first.refuse(Fate::Failed(error));
            return None;
        }
        let mut batch = Batch::default();
        let fate = match self.run_jobs(conn, first, queue, &mut batch) {
            Ok(()) => self.commit(conn, &batch),
            Err(error) => Fate::Failed(error),
        };
        match fate {
            Fate::Committed => batch.jobs.iter().for_each(|(_, job)| self.shared.wake(&job.wakes)),
            // Fails only when SQLite has rolled back by itself.
            Fate::Failed(_) => drop(exec::control(conn, "ROLLBACK")),
            Fate::Crashed => {}
        }
        for (_, job) in batch.jobs {
            (job.reply)(fate.clone());
        }
        batch.stop
    }

    /// Runs the first job and those that wait behind it. An error means that the whole transaction is lost.
    fn run_jobs(
        &self,
        conn: &Rc<Connection>,
        first: Box<dyn Job>,
        queue: &mut mpsc::Receiver<Message>,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        let started = Instant::now();
        let mut job = first;
        loop {
            if !job.is_abandoned() {
                self.run_job(conn, job, batch)?;
            }
            if batch.jobs.len() >= self.limits.jobs_max || started.elapsed() >= self.limits.time_max {
                return Ok(());
            }
            job = match queue.try_recv() {
                Ok(Message::Job(next)) => next,
                Ok(Message::Stop(stop)) => {
                    batch.stop = Some(stop);
                    return Ok(());
                }
                Err(_) => return Ok(()),
            };
        }
    }

    fn run_job(&self, conn: &Rc<Connection>, job: Box<dyn Job>, batch: &mut Batch) -> Result<(), Error> {
        let name = job.name();
        if let Err(error) = exec::control(conn, "SAVEPOINT job") {
            job.refuse(Fate::Failed(error.clone()));
            return Err(error);
        }
        let finished = job.run(conn, &self.shared);
        let keep = finished.keep;
        batch.jobs.push((name, finished));
        if conn.is_autocommit() {
            // A full disk and the like make SQLite roll back everything, also the jobs before this one.
            return Err(Error::Disk(format!("transaction {name} made the database roll back the whole batch")));
        }
        if !keep {
            exec::control(conn, "ROLLBACK TO job")?;
        }
        exec::control(conn, "RELEASE job")
    }

    fn commit(&self, conn: &Rc<Connection>, batch: &Batch) -> Fate {
        let service = self.shared.service;
        let kept = || batch.jobs.iter().filter(|(_, job)| job.keep).map(|(name, _)| *name);
        if kept().any(|name| self.faults.dies_before(service, name)) {
            drop(exec::control(conn, "ROLLBACK"));
            return Fate::Crashed;
        }
        if let Err(error) = exec::control(conn, "COMMIT") {
            return Fate::Failed(error);
        }
        self.shared.count_commit(batch.jobs.len());
        if kept().any(|name| self.faults.dies_after(service, name)) {
            return Fate::Crashed;
        }
        Fate::Committed
    }
}
