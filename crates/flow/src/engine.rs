//! The engine of one database: knows the flows, drives them, lists them.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use mallard_db::{Db, Tx, Unit};
use mallard_types::{Error, Micros, Result};
use parking_lot::RwLock;

use crate::drive::{Driver, Outcome, Position};
use crate::list::FlowInfo;
use crate::locks::{Held, Locks};
use crate::row::{self, FlowRow};
use crate::{Flow, list, timers, write};

/// Gives the time in microseconds since the epoch.
pub type Clock = Arc<dyn Fn() -> Micros + Send + Sync>;

/// Gives 64 random bits.
pub type Random = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Drives the flows of one database. Clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) locks: Arc<Locks>,
    pub(crate) stopping: AtomicBool,
    shared: AtomicBool,
    flows: RwLock<BTreeMap<&'static str, Registered>>,
}

#[derive(Clone)]
struct Registered {
    flow: Arc<dyn Any + Send + Sync>,
    runner: Arc<dyn Runner>,
}

/// A flow without its type, for the timers.
#[async_trait]
pub(crate) trait Runner: Send + Sync {
    fn name(&self) -> &'static str;
    async fn run(&self, inner: &Inner, row: FlowRow, held: Held);
}

struct Typed<F>(Arc<F>);

#[async_trait]
impl<F: Flow> Runner for Typed<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    async fn run(&self, inner: &Inner, row: FlowRow, held: Held) {
        let key = row.key.clone();
        let driver = Driver { inner, flow: &*self.0, key: &key, ends_on_stop: true, held };
        let driven = driver.drive_row(row).await;
        // The row stays due or leased, so it is tried again by itself.
        if let Err(error) = driven {
            tracing::warn!(flow = F::NAME, key, %error, "a flow could not be driven");
        }
    }
}

impl Engine {
    /// Makes the engine of a database that has [`crate::MIGRATIONS`]. Time and chance come from the caller.
    pub fn new(db: Db, clock: Clock, random: Random) -> Engine {
        Engine {
            inner: Arc::new(Inner {
                db,
                clock,
                random,
                locks: Arc::default(),
                stopping: AtomicBool::new(false),
                shared: AtomicBool::new(false),
                flows: RwLock::default(),
            }),
        }
    }

    /// Says whether other processes drive flows of this database too (PostgreSQL with several instances); to be said before
    /// [`Engine::run`]. Due rows are then claimed, one statement more each, and leases are left to run out. Without it the
    /// promises hold all the same, but steps run twice more often.
    pub fn set_shared(&self, shared: bool) {
        self.inner.shared.store(shared, Ordering::Relaxed);
    }

    /// Makes a flow known. To be done before [`Engine::run`]: rows of unknown flows become stuck.
    pub fn register<F: Flow>(&self, flow: F) {
        let flow = Arc::new(flow);
        let registered = Registered { flow: flow.clone(), runner: Arc::new(Typed(flow)) };
        self.inner.flows.write().insert(F::NAME, registered);
    }

    /// Drives what is due until `shutdown` is done; then lets running steps end, which takes one step's deadline at most.
    pub async fn run(&self, shutdown: impl Future<Output = ()> + Send) {
        timers::run(&self.inner, shutdown).await;
    }

    /// Starts a flow that the caller drives itself right after the commit, with [`Engine::drive_from`] at
    /// [`crate::FIRST_VERSION`]. The timers take it up only when that does not happen. One statement.
    ///
    /// Returns false when the flow exists already.
    ///
    /// # Errors
    /// As [`crate::start`].
    pub async fn start_inline<F: Flow>(&self, tx: &Tx, key: &str, state: &F::State) -> Result<bool> {
        write::start_leased::<F>(tx, key, state, (self.inner.clock)()).await
    }

    /// Adds [`Engine::start_inline`] to a unit of work.
    ///
    /// # Errors
    /// `Internal` when the state does not encode.
    pub fn add_start_inline<F: Flow>(&self, unit: Unit, key: &str, state: &F::State) -> Result<Unit> {
        write::add_start_leased::<F>(unit, key, state, (self.inner.clock)())
    }

    /// Drives a flow in this task until it sleeps, awaits, fails or ends. Does nothing to one that is not due.
    ///
    /// # Errors
    /// The database's errors; `Internal` for a flow that is not registered. What the step fails with is in the outcome.
    pub async fn drive<F: Flow>(&self, key: &str) -> Result<Outcome<F::State>> {
        let flow = self.flow::<F>()?;
        let (held, _) = self.inner.locks.lock(F::NAME, key).await;
        Driver { inner: &self.inner, flow: &*flow, key, ends_on_stop: false, held }.drive_loaded().await
    }

    /// As [`Engine::drive`] for a flow whose version and state the caller knows, without reading it.
    ///
    /// # Errors
    /// As [`Engine::drive`].
    pub async fn drive_from<F: Flow>(&self, key: &str, version: i64, state: F::State) -> Result<Outcome<F::State>> {
        let flow = self.flow::<F>()?;
        let (held, waited) = self.inner.locks.lock(F::NAME, key).await;
        let driver = Driver { inner: &self.inner, flow: &*flow, key, ends_on_stop: false, held };
        if waited {
            // Somebody else drove it meanwhile: what the caller knows is old.
            return driver.drive_loaded().await;
        }
        driver.drive(Position::known(version, state)).await
    }

    /// Lists flows in order of name and key, at most `limit` (bounded at 1,000).
    ///
    /// # Errors
    /// The database's errors.
    pub async fn list(&self, stuck_only: bool, limit: usize) -> Result<Vec<FlowInfo>> {
        list::list(&self.inner.db, stuck_only, limit).await
    }

    /// Lets a stuck flow go on with the state it has; returns false when it is not stuck.
    ///
    /// # Errors
    /// The database's errors.
    pub async fn unstick(&self, name: &str, key: &str) -> Result<bool> {
        let (name, key, now) = (name.to_owned(), key.to_owned(), (self.inner.clock)());
        self.inner
            .db
            .tx("flow.unstick", move |tx: Tx| {
                let (name, key) = (name.clone(), key.clone());
                async move { list::unstick(&tx, &name, &key, now).await }
            })
            .await
    }

    fn flow<F: Flow>(&self) -> Result<Arc<F>> {
        let registered = self.inner.flows.read().get(F::NAME).cloned();
        registered
            .and_then(|registered| registered.flow.downcast::<F>().ok())
            .ok_or_else(|| Error::internal("flow_not_registered", format!("flow {} is not registered", F::NAME)))
    }
}

impl Inner {
    pub(crate) fn runner(&self, name: &str) -> Option<Arc<dyn Runner>> {
        self.flows.read().get(name).map(|registered| Arc::clone(&registered.runner))
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Loads one flow.
    pub(crate) async fn load(&self, name: &'static str, key: &str) -> Result<Option<FlowRow>> {
        row::load(&self.db, name, key).await
    }
}
