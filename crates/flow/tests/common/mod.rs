//! A scripted flow for the tests, on a memory database and a clock that tokio's paused clock moves.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use mallard_db::{Db, DbConfig, MemoryDisk, Migration, params};
use mallard_flow::{At, Clock, Engine, Flow, Next};
use mallard_rpc::Call;
use mallard_types::{Error, Micros, Result};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;

pub const START: Micros = 1_700_000_000_000_000;
pub const SECOND: Micros = 1_000_000;

const EFFECTS: Migration = Migration {
    version: 100,
    name: "effects",
    sql: "CREATE TABLE effects (n INTEGER PRIMARY KEY AUTOINCREMENT, flow_key TEXT NOT NULL, what TEXT NOT NULL)",
};

/// The states of a checkout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Reserve,
    Pay,
    AwaitPayment,
    Confirm,
    /// Sleeps until then, once.
    Pause(Micros),
    Paused,
}

/// What a step does beside its work, by state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Away,
    Refused,
    Broken,
    Panic,
    Hangs,
    /// Goes on when [`Book::gate`] is opened.
    Gated,
    TakesMs(u64),
    Stuck,
}

/// One run of a step.
#[derive(Clone, Debug)]
pub struct Run {
    pub key: String,
    pub state: State,
    pub at: Micros,
    pub attempts: u32,
    pub signalled: bool,
    pub now: Micros,
    pub call: Call,
}

/// Reserve -> Pay -> AwaitPayment -> Confirm -> done; Pause(t) -> Paused -> done. Confirm saves in its own transaction.
pub struct Checkout {
    pub db: Db,
    pub clock: Clock,
    pub book: Arc<Book>,
}

#[derive(Default)]
pub struct Book {
    pub modes: Mutex<BTreeMap<String, Mode>>,
    pub runs: Mutex<Vec<Run>>,
    pub paid: Mutex<Vec<String>>,
    pub busy: AtomicU64,
    pub busiest: AtomicU64,
    pub gate: Notify,
}

impl Book {
    pub fn set(&self, state: &State, mode: Mode) {
        self.modes.lock().insert(format!("{state:?}"), mode);
    }

    pub fn heal(&self) {
        self.modes.lock().clear();
    }

    pub fn pay(&self, key: &str) {
        self.paid.lock().push(key.to_owned());
    }

    pub fn states(&self) -> Vec<State> {
        self.runs.lock().iter().map(|run| run.state.clone()).collect()
    }

    pub fn runs_of(&self, state: &State) -> Vec<Run> {
        self.runs.lock().iter().filter(|run| run.state == *state).cloned().collect()
    }
}

#[async_trait]
impl Flow for Checkout {
    const NAME: &'static str = "checkout";
    type State = State;

    async fn step(&self, at: &At, state: State) -> Result<Next<State>> {
        self.book.runs.lock().push(Run {
            key: at.key.clone(),
            state: state.clone(),
            at: (self.clock)(),
            attempts: at.attempts,
            signalled: at.signalled,
            now: at.now,
            call: mallard_rpc::current(),
        });
        let busy = self.book.busy.fetch_add(1, Ordering::SeqCst) + 1;
        self.book.busiest.fetch_max(busy, Ordering::SeqCst);
        let mode = self.book.modes.lock().get(&format!("{state:?}")).copied();
        let next = self.step_in(at, state, mode).await;
        self.book.busy.fetch_sub(1, Ordering::SeqCst);
        next
    }
}

impl Checkout {
    async fn step_in(&self, at: &At, state: State, mode: Option<Mode>) -> Result<Next<State>> {
        match mode {
            None => {}
            Some(Mode::Away) => return Err(Error::unavailable("inventory_away", "the inventory is away")),
            Some(Mode::Refused) => return Err(Error::conflict("sold_out", "sold out")),
            Some(Mode::Broken) => return Err(Error::internal("broken", "broken")),
            Some(Mode::Panic) => panic!("planted panic"),
            Some(Mode::Hangs) => std::future::pending().await,
            Some(Mode::Gated) => self.book.gate.notified().await,
            Some(Mode::TakesMs(ms)) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Some(Mode::Stuck) => return Ok(Next::Stuck(state, "a person must look".to_owned())),
        }
        Ok(match state {
            State::Reserve => Next::Go(State::Pay),
            State::Pay => Next::Go(State::AwaitPayment),
            State::AwaitPayment if self.book.paid.lock().contains(&at.key) => Next::Go(State::Confirm),
            State::AwaitPayment => Next::Await(State::AwaitPayment),
            State::Confirm => {
                self.confirm(at).await?;
                Next::Saved
            }
            State::Pause(until) => Next::Sleep(State::Paused, until),
            State::Paused => Next::Done,
        })
    }

    /// Writes an effect and ends the flow in one transaction.
    async fn confirm(&self, at: &At) -> Result<()> {
        let at = at.clone();
        self.db
            .tx("order.confirm", move |tx| {
                let at = at.clone();
                async move {
                    mallard_flow::finish::<Checkout>(&tx, &at).await?;
                    tx.execute("INSERT INTO effects (flow_key, what) VALUES (?, 'confirmed')", params![&at.key])
                        .await?;
                    Ok(())
                }
            })
            .await
    }
}

pub struct World {
    pub disk: MemoryDisk,
    pub db: Db,
    pub clock: Clock,
    pub book: Arc<Book>,
    pub engine: Engine,
}

impl World {
    pub async fn new() -> World {
        World::on(MemoryDisk::new(), Arc::default(), clock()).await
    }

    pub async fn on(disk: MemoryDisk, book: Arc<Book>, clock: Clock) -> World {
        World::with_db(open(&disk).await, disk, book, clock)
    }

    pub fn with_db(db: Db, disk: MemoryDisk, book: Arc<Book>, clock: Clock) -> World {
        let engine = engine(&db, &book, &clock);
        World { disk, db, clock, book, engine }
    }

    /// A new process on the same disk.
    pub async fn restarted(self) -> World {
        let World { disk, book, clock, .. } = self;
        disk.crash();
        disk.restart();
        World::on(disk, book, clock).await
    }

    pub fn now(&self) -> Micros {
        (self.clock)()
    }

    pub fn run(&self) -> tokio::task::JoinHandle<()> {
        run(&self.engine)
    }

    pub async fn start(&self, key: &str, state: State) -> bool {
        let wake_at = self.now();
        self.start_at(key, state, wake_at).await
    }

    pub async fn start_at(&self, key: &str, state: State, wake_at: Micros) -> bool {
        let key = key.to_owned();
        let started: Result<bool> = self
            .db
            .tx("order.place", move |tx| {
                let (key, state) = (key.clone(), state.clone());
                async move { mallard_flow::start::<Checkout>(&tx, &key, &state, wake_at).await }
            })
            .await;
        started.unwrap()
    }

    pub async fn start_inline(&self, key: &str, state: State) -> bool {
        let (engine, key) = (self.engine.clone(), key.to_owned());
        let started: Result<bool> = self
            .db
            .tx("order.place", move |tx| {
                let (engine, key, state) = (engine.clone(), key.clone(), state.clone());
                async move { engine.start_inline::<Checkout>(&tx, &key, &state).await }
            })
            .await;
        started.unwrap()
    }

    pub async fn signal(&self, key: &str) -> bool {
        let key = key.to_owned();
        let found: Result<bool> = self
            .db
            .tx("order.paid", move |tx| {
                let key = key.clone();
                async move { mallard_flow::signal::<Checkout>(&tx, &key).await }
            })
            .await;
        found.unwrap()
    }

    pub async fn effects(&self) -> Vec<String> {
        let rows = self.db.query("SELECT flow_key FROM effects ORDER BY n", params![]).await.unwrap();
        rows.iter().map(|row| row.get(0).unwrap()).collect()
    }

    pub async fn count(&self) -> usize {
        self.engine.list(false, 1_000).await.unwrap().len()
    }

    pub async fn over(&self) {
        eventually("every flow is over", async || self.count().await == 0).await;
    }
}

pub async fn open(disk: &MemoryDisk) -> Db {
    open_on(&DbConfig::Memory(disk.clone())).await
}

pub async fn open_on(config: &DbConfig) -> Db {
    let migrations = [mallard_flow::MIGRATIONS, &[EFFECTS]].concat();
    Db::open(config, "order", &migrations).await.unwrap()
}

pub fn clock() -> Clock {
    let started = Instant::now();
    Arc::new(move || START + started.elapsed().as_micros() as Micros)
}

/// An engine whose chance is always zero, so that waits are the shortest possible.
pub fn engine(db: &Db, book: &Arc<Book>, clock: &Clock) -> Engine {
    let engine = Engine::new(db.clone(), Arc::clone(clock), Arc::new(|| 0));
    engine.register(Checkout { db: db.clone(), clock: Arc::clone(clock), book: Arc::clone(book) });
    engine
}

pub fn run(engine: &Engine) -> tokio::task::JoinHandle<()> {
    let engine = engine.clone();
    tokio::spawn(async move { engine.run(std::future::pending()).await })
}

/// Waits for a condition, at most ten minutes of the paused clock.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..60_000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}
