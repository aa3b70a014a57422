//! SQLite files: one writer thread per database with group commit, reads on the caller's thread, checkpoints on a side
//! thread.

mod checkpoint;
mod readers;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{mpsc, oneshot};

use self::readers::Readers;
use self::writer::{ClosureJob, Job, Message, UnitJob, Writer};
use crate::faults::Faults;
use crate::local::{self, Answer};
use crate::shared::Shared;
use crate::unique::UniqueNames;
use crate::unit::Unit;
use crate::{Error, Migration, Row, Tx, UnitError, Value, exec};

/// How much may share one commit.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// Most transactions; 1 turns group commit off.
    pub jobs_max: usize,
    /// A batch takes no further transactions after this time, so that slow ones do not hold back the answers of quick ones.
    pub time_max: Duration,
}

impl Default for BatchLimits {
    fn default() -> BatchLimits {
        BatchLimits { jobs_max: 256, time_max: Duration::from_millis(5) }
    }
}

/// Most transactions that wait for the writer.
const QUEUE_JOBS_MAX: usize = 4096;
/// How long a caller waits for a place in the queue.
const QUEUE_WAIT: Duration = Duration::from_secs(1);
/// How long a connection waits for another process (or a checkpoint) to give way.
const BUSY_MS: u64 = 5_000;
/// How long a process that starts waits for another one that is opening, migrating or closing the same file.
const OPEN_WAIT: Duration = Duration::from_secs(60);
const OPEN_PAUSE: Duration = Duration::from_millis(10);

pub(crate) struct SqliteDb {
    shared: Arc<Shared>,
    faults: Arc<Faults>,
    epoch: u64,
    readers: Readers,
    queue: mpsc::Sender<Message>,
}

impl SqliteDb {
    /// Starts the writer thread, which opens the file and migrates it.
    pub(crate) async fn open(
        dir: &Path,
        synchronous_full: bool,
        shared: Arc<Shared>,
        migrations: &[Migration],
        limits: BatchLimits,
    ) -> Result<SqliteDb, Error> {
        std::fs::create_dir_all(dir).map_err(|e| Error::Lost(format!("cannot make folder {}: {e}", dir.display())))?;
        let path = dir.join(format!("{}.db", shared.service));
        let (queue, jobs) = mpsc::channel(QUEUE_JOBS_MAX);
        let (opened, is_open) = oneshot::channel();
        let faults = Arc::new(Faults::default());
        let writer =
            Writer { path: path.clone(), synchronous_full, shared: shared.clone(), faults: faults.clone(), limits };
        let migrations = migrations.to_vec();
        std::thread::Builder::new()
            .name(format!("db-{}", shared.service))
            .spawn(move || writer.run(&migrations, opened, jobs))
            .map_err(|e| Error::Lost(format!("cannot start the writer thread: {e}")))?;
        is_open.await.map_err(|_| stopped())??;
        Ok(SqliteDb { readers: Readers::new(path), shared, epoch: faults.epoch(), faults, queue })
    }

    pub(crate) fn faults(&self) -> &Arc<Faults> {
        &self.faults
    }

    pub(crate) fn query(&self, sql: &str, params: &[Value]) -> Answer<Result<Vec<Row>, Error>> {
        if local::in_closure() {
            return Answer::Done(Err(Error::Nested));
        }
        if self.faults.is_dead(self.epoch) {
            return Answer::Crashed;
        }
        self.shared.count_statements(1);
        Answer::Done(self.readers.lend(|conn| exec::read(conn, &self.shared.unique_names(), sql, params)))
    }

    pub(crate) async fn tx<T, E, F, Fut>(&self, name: &'static str, f: F) -> Answer<Result<T, E>>
    where
        F: Fn(Tx) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = ClosureJob { name, f, span: tracing::Span::current(), reply };
        self.submit(Box::new(job), answer).await
    }

    pub(crate) async fn apply(&self, unit: Unit) -> Answer<Result<(), UnitError>> {
        let (reply, answer) = oneshot::channel();
        self.submit(Box::new(UnitJob { unit, reply }), answer).await
    }

    async fn submit<T, E: From<Error>>(
        &self,
        job: Box<dyn Job>,
        answer: oneshot::Receiver<Answer<Result<T, E>>>,
    ) -> Answer<Result<T, E>> {
        if local::in_closure() {
            return Answer::Done(Err(E::from(Error::Nested)));
        }
        if self.faults.is_dead(self.epoch) {
            return Answer::Crashed;
        }
        let sent = match self.queue.try_send(Message::Job(job)) {
            Err(mpsc::error::TrySendError::Full(job)) => {
                let waited = tokio::time::timeout(QUEUE_WAIT, self.queue.send(job)).await;
                match waited {
                    Ok(sent) => sent.map_err(|_| stopped()),
                    Err(_) => Err(Error::Busy("the queue of the writer is full".to_owned())),
                }
            }
            other => other.map_err(|_| stopped()),
        };
        if let Err(error) = sent {
            return Answer::Done(Err(E::from(error)));
        }
        answer.await.unwrap_or_else(|_| Answer::Done(Err(E::from(stopped()))))
    }

    /// Ends the writer once it has answered what it has.
    pub(crate) async fn close(&self) {
        // Readers go first: the connection that is closed last folds the log into the file.
        self.readers.close();
        let (stopped, is_stopped) = oneshot::channel();
        if self.queue.send(Message::Stop(stopped)).await.is_ok() {
            // An error says that the thread is gone, which is what was asked for.
            let _ = is_stopped.await;
        }
    }
}

fn stopped() -> Error {
    Error::Lost("the database was closed".to_owned())
}

fn open_connection(path: &Path, flags: OpenFlags, pragmas: &str) -> Result<Connection, Error> {
    let fail = |e| exec::from_sqlite(e, &UniqueNames::default());
    let conn = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(fail)?;
    conn.busy_timeout(Duration::from_millis(BUSY_MS)).map_err(fail)?;
    local::set_up(&conn, pragmas)?;
    Ok(conn)
}
