//! The database of a service, whichever engine is behind it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Notify;

use crate::faults::CommitHook;
use crate::local::Answer;
use crate::memory::{MemoryDb, MemoryDisk};
use crate::postgres::PgDb;
use crate::shared::Shared;
use crate::sqlite::{BatchLimits, SqliteDb};
use crate::tx::only;
use crate::unit::{Text, Unit};
use crate::value::storable;
use crate::{Error, Migration, Row, Tx, UnitError, Value};

/// Where the databases are.
#[derive(Clone, Debug)]
pub enum DbConfig {
    /// One SQLite file per service.
    Sqlite {
        /// Folder of the files; made when it is missing.
        dir: PathBuf,
        /// Whether an answered commit is on the disk (true), or survives only the process (false).
        synchronous_full: bool,
    },
    /// In memory, inline on the caller's thread, alive as long as the disk is.
    Memory(MemoryDisk),
    /// One schema per service on a PostgreSQL server, without TLS.
    Postgres {
        /// `postgres://user:password@host:port/database`, or a libpq text of keys and values.
        url: String,
        /// Most connections per service.
        pool_max: usize,
    },
}

/// One database of one service. Clones share it.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    engine: Engine,
}

enum Engine {
    Memory(MemoryDb),
    Sqlite(SqliteDb),
    Postgres(PgDb),
}

impl Db {
    /// Opens the database of a service, makes it when it is missing, and brings its schema up to date.
    ///
    /// # Errors
    /// [`Error::Migration`] when the schema cannot be brought to this version; [`Error::Lost`], [`Error::Busy`] or
    /// [`Error::Disk`] when the engine is away.
    pub async fn open(config: &DbConfig, service: &'static str, migrations: &[Migration]) -> Result<Db, Error> {
        Db::open_with_limits(config, service, migrations, BatchLimits::default()).await
    }

    /// Opens with other limits of what may share one commit (SQLite files only), for tests and measurements.
    #[doc(hidden)]
    pub async fn open_with_limits(
        config: &DbConfig,
        service: &'static str,
        migrations: &[Migration],
        limits: BatchLimits,
    ) -> Result<Db, Error> {
        if service.is_empty() || !service.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            return Err(Error::Sql(format!("`{service}` cannot name a database: letters, digits, `-` and `_` only")));
        }
        let shared = Shared::new(service);
        let engine = match config {
            DbConfig::Memory(disk) => match MemoryDb::open(disk, shared.clone(), migrations) {
                Answer::Done(db) => Engine::Memory(db?),
                Answer::Waited | Answer::Crashed => return std::future::pending().await,
            },
            DbConfig::Sqlite { dir, synchronous_full } => {
                Engine::Sqlite(SqliteDb::open(dir, *synchronous_full, shared.clone(), migrations, limits).await?)
            }
            DbConfig::Postgres { url, pool_max } => {
                Engine::Postgres(PgDb::open(url, *pool_max, shared.clone(), migrations).await?)
            }
        };
        Ok(Db { inner: Arc::new(Inner { shared, engine }) })
    }

    /// Reads rows outside a transaction, from what is committed. On SQLite it runs on the caller's thread, so read in pages.
    pub async fn query(&self, sql: &'static str, params: Vec<Value>) -> Result<Vec<Row>, Error> {
        self.read(Text::Static(sql), params).await
    }

    /// Reads the only row, if there is one.
    ///
    /// # Errors
    /// [`Error::Type`] when there are several.
    pub async fn query_opt(&self, sql: &'static str, params: Vec<Value>) -> Result<Option<Row>, Error> {
        only(self.read(Text::Static(sql), params).await?)
    }

    /// Reads rows with a statement put together while running (`IN` lists).
    pub async fn query_dyn(&self, sql: String, params: Vec<Value>) -> Result<Vec<Row>, Error> {
        self.read(Text::Dynamic(sql), params).await
    }

    /// Runs a transaction: `Ok` of the closure commits, `Err` and a panic roll back. The answer comes after the commit.
    ///
    /// The closure may run again after a deadlock or serialization failure, so it must change nothing but the database.
    /// It must wait for nothing but its handle, and task-locals are not there (on SQLite it runs on the writer thread).
    /// When the caller goes away, a transaction that has not begun is dropped, and one that has may still commit.
    ///
    /// # Errors
    /// Those of the closure; [`Error::Panicked`], [`Error::Doomed`], [`Error::Waited`] (a panic in debug builds), and those
    /// of the engine, as `E`.
    pub async fn tx<T, E, F, Fut>(&self, name: &'static str, f: F) -> Result<T, E>
    where
        F: Fn(Tx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let started = Instant::now();
        let answer = match &self.inner.engine {
            Engine::Memory(db) => db.tx(name, &f),
            Engine::Sqlite(db) => db.tx(name, f).await,
            Engine::Postgres(db) => Answer::Done(db.tx(name, f).await),
        };
        self.inner.shared.record_tx(name, started.elapsed());
        match answer {
            Answer::Done(result) => result,
            Answer::Crashed => std::future::pending().await,
            Answer::Waited if cfg!(debug_assertions) => panic!("{}", Error::Waited(name)),
            Answer::Waited => Err(E::from(Error::Waited(name))),
        }
    }

    /// Applies a unit of work: all its statements, or none when a guard or the database refuses.
    ///
    /// # Errors
    /// [`UnitError::Guard`] for the first guard that refused, in the order in which the statements run.
    pub async fn apply(&self, unit: Unit) -> Result<(), UnitError> {
        let started = Instant::now();
        let name = unit.name;
        for statement in &unit.statements {
            storable(&statement.params)?;
        }
        let unit = unit.sorted();
        let answer = match &self.inner.engine {
            Engine::Memory(db) => db.apply(&unit),
            Engine::Sqlite(db) => db.apply(unit).await,
            Engine::Postgres(db) => Answer::Done(db.apply(&unit).await),
        };
        self.inner.shared.record_tx(name, started.elapsed());
        match answer {
            Answer::Done(result) => result,
            Answer::Crashed | Answer::Waited => std::future::pending().await,
        }
    }

    /// Returns the bell of a topic, rung after the commit of a transaction that called [`Tx::wake`]. One listener per topic:
    /// `loop { bell.notified().await; … }`; a bell rung while it is busy is not lost. It rings in this process only,
    /// and may ring for nothing when the caller of the transaction went away before it heard what became of it.
    pub fn woken(&self, topic: &'static str) -> Arc<Notify> {
        self.inner.shared.topic(topic)
    }

    /// Counts the SQL statements run so far; transaction control and migrations are not counted.
    pub fn statements(&self) -> u64 {
        self.inner.shared.statements()
    }

    /// Returns the name of the service.
    pub fn service(&self) -> &'static str {
        self.inner.shared.service
    }

    /// Sets the hook that decides about every commit; PostgreSQL has none and ignores it. On a memory disk it counts for
    /// all databases of the disk. After a crash this handle never answers again.
    pub fn set_hook(&self, hook: Arc<dyn CommitHook>) {
        match &self.inner.engine {
            Engine::Memory(db) => db.faults().set_hook(Some(hook)),
            Engine::Sqlite(db) => db.faults().set_hook(Some(hook)),
            Engine::Postgres(_) => {}
        }
    }

    /// Waits until everything accepted so far is answered and the files are closed. Later calls answer [`Error::Lost`].
    pub async fn close(&self) {
        match &self.inner.engine {
            Engine::Memory(_) => {}
            Engine::Sqlite(db) => db.close().await,
            Engine::Postgres(db) => db.close(),
        }
    }

    async fn read(&self, sql: Text, params: Vec<Value>) -> Result<Vec<Row>, Error> {
        storable(&params)?;
        let answer = match &self.inner.engine {
            Engine::Memory(db) => db.query(sql.as_str(), &params),
            Engine::Sqlite(db) => db.query(sql.as_str(), &params),
            Engine::Postgres(db) => Answer::Done(db.query(&sql, &params).await),
        };
        match answer {
            Answer::Done(result) => result,
            Answer::Crashed | Answer::Waited => std::future::pending().await,
        }
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("service", &self.service()).finish_non_exhaustive()
    }
}
