//! SQLite in memory, run inline on the caller's thread: deterministic, for simulation and fast tests.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::Connection;

use crate::faults::{CommitHook, Faults};
use crate::local::{self, Answer, Ran};
use crate::shared::Shared;
use crate::unique::UniqueNames;
use crate::unit::Unit;
use crate::{Error, Migration, Row, Tx, UnitError, Value, exec};

/// A "disk" of named in-memory databases. Clones share it; the data lives as long as one clone does, so a mall that has
/// crashed can be opened again on what it had committed.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    inner: Arc<DiskInner>,
}

#[derive(Default)]
struct DiskInner {
    faults: Arc<Faults>,
    files: Mutex<BTreeMap<String, Arc<File>>>,
}

/// One database. The slot is empty only while its lock is held.
struct File {
    conn: Mutex<Option<Connection>>,
}

impl MemoryDisk {
    /// Makes an empty disk.
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    /// Sets the hook that decides about every commit of every database on this disk.
    pub fn set_hook(&self, hook: Arc<dyn CommitHook>) {
        self.inner.faults.set_hook(Some(hook));
    }

    /// Removes the hook.
    pub fn clear_hook(&self) {
        self.inner.faults.set_hook(None);
    }

    /// Kills the process at this moment: every handle opened so far never answers again.
    pub fn crash(&self) {
        self.inner.faults.crash();
    }

    /// Tells whether the process has crashed and was not restarted.
    pub fn is_crashed(&self) -> bool {
        self.inner.faults.is_crashed()
    }

    /// Waits for a crash.
    pub async fn wait_crash(&self) {
        self.inner.faults.wait_crash().await;
    }

    /// Lets databases be opened again after a crash. Handles opened before stay dead, like the process they belonged to.
    pub fn restart(&self) {
        self.inner.faults.restart();
    }

    fn file(&self, name: &str) -> Result<Arc<File>, Error> {
        let mut files = self.inner.files.lock();
        if let Some(file) = files.get(name) {
            return Ok(file.clone());
        }
        let conn = Connection::open_in_memory().map_err(|e| exec::from_sqlite(e, &UniqueNames::default()))?;
        local::set_up(&conn, "")?;
        let file = Arc::new(File { conn: Mutex::new(Some(conn)) });
        files.insert(name.to_owned(), file.clone());
        Ok(file)
    }
}

impl fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDisk").field("crashed", &self.is_crashed()).finish_non_exhaustive()
    }
}

impl File {
    fn read<T>(&self, f: impl FnOnce(&Connection) -> Result<T, Error>) -> Result<T, Error> {
        match &*self.conn.lock() {
            Some(conn) => f(conn),
            None => Err(Error::Nested),
        }
    }

    /// Lends the connection to `f`, which must let go of it.
    fn write<T>(&self, f: impl FnOnce(&Rc<Connection>) -> T) -> Result<T, Error> {
        let mut slot = self.conn.lock();
        let conn = Rc::new(slot.take().ok_or(Error::Nested)?);
        let result = f(&conn);
        *slot = Some(Rc::try_unwrap(conn).map_err(|_| Error::Sql("the connection is still in use".to_owned()))?);
        Ok(result)
    }
}

pub(crate) struct MemoryDb {
    shared: Arc<Shared>,
    file: Arc<File>,
    faults: Arc<Faults>,
    epoch: u64,
}

impl MemoryDb {
    /// Opens a database of the disk; `Crashed` while the disk waits for its restart.
    pub(crate) fn open(
        disk: &MemoryDisk,
        shared: Arc<Shared>,
        migrations: &[Migration],
    ) -> Answer<Result<MemoryDb, Error>> {
        let faults = disk.inner.faults.clone();
        if faults.is_crashed() {
            return Answer::Crashed;
        }
        let open = || {
            let file = disk.file(shared.service)?;
            // No clock: the same run gives the same bytes.
            file.read(|conn| local::migrate(conn, &shared, migrations, "0"))?;
            Ok(MemoryDb { shared, file, epoch: faults.epoch(), faults })
        };
        Answer::Done(open())
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
        Answer::Done(self.file.read(|conn| exec::read(conn, &self.shared.unique_names(), sql, params)))
    }

    pub(crate) fn tx<T, E, F, Fut>(&self, name: &'static str, f: &F) -> Answer<Result<T, E>>
    where
        F: Fn(Tx) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<Error>,
    {
        self.transact(name, |conn| local::run_closure(conn, &self.shared, f))
    }

    pub(crate) fn apply(&self, unit: &Unit) -> Answer<Result<(), UnitError>> {
        self.transact(unit.name, |conn| local::run_unit(conn, &self.shared, unit))
    }

    fn transact<T, E: From<Error>>(
        &self,
        name: &'static str,
        body: impl FnOnce(&Rc<Connection>) -> Ran<Result<T, E>>,
    ) -> Answer<Result<T, E>> {
        if local::in_closure() {
            return Answer::Done(Err(E::from(Error::Nested)));
        }
        if self.faults.is_dead(self.epoch) {
            return Answer::Crashed;
        }
        let lent = self.file.write(|conn| self.between_begin_and_commit(conn, name, body));
        lent.unwrap_or_else(|error| Answer::Done(Err(E::from(error))))
    }

    fn between_begin_and_commit<T, E: From<Error>>(
        &self,
        conn: &Rc<Connection>,
        name: &'static str,
        body: impl FnOnce(&Rc<Connection>) -> Ran<Result<T, E>>,
    ) -> Answer<Result<T, E>> {
        if let Err(error) = exec::control(conn, "BEGIN IMMEDIATE") {
            return Answer::Done(Err(E::from(error)));
        }
        let ran = body(conn);
        if !ran.keep {
            // Fails only when SQLite has rolled back by itself.
            let _ = exec::control(conn, "ROLLBACK");
            return ran.result.map_or(Answer::Waited, Answer::Done);
        }
        if self.faults.dies_before(self.shared.service, name) {
            let _ = exec::control(conn, "ROLLBACK");
            return Answer::Crashed;
        }
        if let Err(error) = exec::control(conn, "COMMIT") {
            let _ = exec::control(conn, "ROLLBACK");
            return Answer::Done(Err(E::from(error)));
        }
        self.shared.count_commit(1);
        if self.faults.dies_after(self.shared.service, name) {
            return Answer::Crashed;
        }
        self.shared.wake(&ran.wakes);
        ran.result.map_or(Answer::Waited, Answer::Done)
    }
}
