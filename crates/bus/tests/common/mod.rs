//! A small mall for the tests: one publisher, subscribers with a table of effects, a clock that tokio's paused clock moves.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mallard_bus::{Bus, Clock, Envelope, Handler, Subscription, Switches};
use mallard_db::lease::LEASE_MIGRATIONS;
use mallard_db::{Db, DbConfig, MemoryDisk, Migration, Tx, params};
use mallard_proto::bus::v1::event_intake_client::EventIntakeClient;
use mallard_proto::bus::v1::{DeadLetter, ListDeadLettersRequest, RetryDeadLetterRequest};
use mallard_proto::common::v1::{Check, Money};
use mallard_rpc::{Call, Channels};
use mallard_types::{Error, Micros, Result};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::service::Routes;

pub const PLACED: &str = "order.placed.v1";
pub const PAID: &str = "order.paid.v1";
pub const START: Micros = 1_700_000_000_000_000;

const EFFECTS: Migration = Migration {
    version: 100,
    name: "effects",
    sql: "CREATE TABLE effects (n INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL, event_key TEXT NOT NULL)",
};

pub fn migrations() -> Vec<Migration> {
    [mallard_bus::MIGRATIONS, LEASE_MIGRATIONS, &[EFFECTS]].concat()
}

/// How a handler treats an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Away,
    Poison,
    Panic,
    /// Waits for something that is not its transaction.
    Waits,
}

/// Writes one row per event, and remembers what it saw after the commit.
#[derive(Default)]
pub struct Ledger {
    pub modes: Mutex<HashMap<String, Mode>>,
    pub seen: Mutex<Vec<String>>,
    pub calls: Mutex<Vec<Call>>,
    /// Whether it takes many events at once, and how many it got so.
    pub many: Mutex<Option<Vec<usize>>>,
    /// Rung after the first event, which is not answered before the second is.
    pub gate: Mutex<Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>>,
}

#[async_trait]
impl Handler for Ledger {
    async fn handle(&self, tx: &Tx, event: &Envelope) -> Result<()> {
        self.calls.lock().push(mallard_rpc::current());
        tx.execute("INSERT INTO effects (event_id, event_key) VALUES (?, ?)", params![&event.id, &event.key]).await?;
        let mode = [&event.id, &event.key].into_iter().find_map(|name| self.modes.lock().get(name).copied());
        match mode {
            None => Ok(()),
            Some(Mode::Away) => Err(Error::unavailable("ledger_away", "the ledger is away")),
            Some(Mode::Poison) => Err(Error::refused("no_such_account", "there is no such account")),
            Some(Mode::Panic) => panic!("planted panic"),
            Some(Mode::Waits) => {
                tokio::task::yield_now().await;
                Ok(())
            }
        }
    }

    async fn handle_many(&self, tx: &Tx, events: &[&Envelope]) -> Result<bool> {
        match &mut *self.many.lock() {
            Some(counts) => counts.push(events.len()),
            None => return Ok(false),
        }
        for event in events {
            self.handle(tx, event).await?;
        }
        Ok(true)
    }

    async fn after(&self, event: &Envelope) {
        self.seen.lock().push(event.id.clone());
        let gate = self.gate.lock().take();
        if let Some((reached, opened)) = gate {
            reached.send(()).unwrap();
            opened.await.unwrap();
        }
    }
}

/// One subscribing service.
pub struct Subscriber {
    pub name: &'static str,
    pub db: Db,
    pub ledger: Arc<Ledger>,
}

impl Subscriber {
    pub async fn effects(&self) -> Vec<String> {
        let rows = self.db.query("SELECT event_id FROM effects ORDER BY n", params![]).await.unwrap();
        rows.iter().map(|row| row.get(0).unwrap()).collect()
    }

    /// Sets how events of this key, or the event of this id, are treated.
    pub fn set(&self, name: &str, mode: Mode) {
        self.ledger.modes.lock().insert(name.to_owned(), mode);
    }

    pub fn heal(&self, name: &str) {
        self.ledger.modes.lock().remove(name);
    }

    pub async fn checks(&self, now: Micros) -> BTreeMap<String, bool> {
        ok_by_name(mallard_bus::checks(&self.db, now).await.unwrap())
    }
}

pub fn ok_by_name(checks: Vec<Check>) -> BTreeMap<String, bool> {
    checks.into_iter().map(|check| (check.name, check.ok)).collect()
}

pub struct World {
    pub channels: Channels,
    pub bus: Bus,
    pub clock: Clock,
    /// The publisher's database.
    pub db: Db,
    pub subscribers: Vec<Subscriber>,
    pub relay: Option<JoinHandle<()>>,
}

pub fn clock() -> Clock {
    let started = Instant::now();
    Arc::new(move || START + started.elapsed().as_micros() as Micros)
}

pub async fn open(disk: &MemoryDisk, service: &'static str) -> Db {
    open_on(&DbConfig::Memory(disk.clone()), service).await
}

pub async fn open_on(config: &DbConfig, service: &'static str) -> Db {
    Db::open(config, service, &migrations()).await.unwrap()
}

impl World {
    pub async fn new(names: &[&'static str]) -> World {
        World::on(MemoryDisk::new(), names, Arc::new(|_| false)).await
    }

    pub async fn on(disk: MemoryDisk, names: &[&'static str], switches: Switches) -> World {
        World::on_config(&DbConfig::Memory(disk), names, switches).await
    }

    pub async fn on_config(config: &DbConfig, names: &[&'static str], switches: Switches) -> World {
        let channels = Channels::default();
        let clock = clock();
        let subscriptions = names.iter().map(|name| (*name, vec![PLACED, PAID])).collect();
        let bus = Bus::new(channels.clone(), subscriptions, Arc::clone(&clock)).with_switches(switches);
        let db = open_on(config, "order").await;
        let mut world = World { channels, bus, clock, db, subscribers: Vec::new(), relay: None };
        for name in names {
            let db = open_on(config, name).await;
            let subscriber = Subscriber { name, db, ledger: Arc::default() };
            world.mount(&subscriber);
            world.subscribers.push(subscriber);
        }
        world
    }

    pub fn mount(&self, subscriber: &Subscriber) {
        let handler: Arc<dyn Handler> = subscriber.ledger.clone();
        let subscriptions = vec![Subscription::new(&[PLACED, PAID], handler)];
        let intake = self.bus.intake(subscriber.name, subscriber.db.clone(), subscriptions).unwrap();
        self.channels.mount_local(subscriber.name, Routes::new(intake));
    }

    pub fn start(&mut self) {
        self.relay = Some(tokio::spawn(self.bus.relay(self.db.clone(), std::future::pending())));
    }

    pub fn now(&self) -> Micros {
        (self.clock)()
    }

    pub fn event(&self, id: &str, key: &str) -> Envelope {
        let payload = Money { amount: 990, currency: "CNY".to_owned() };
        Envelope::new(id, PLACED, key, self.now(), &payload)
    }

    pub async fn publish(&self, id: &str, key: &str) {
        publish(&self.bus, &self.db, vec![self.event(id, key)]).await;
    }

    pub async fn outbox_rows(&self) -> i64 {
        let row = self.db.query_opt("SELECT COUNT(*) FROM outbox", params![]).await.unwrap().unwrap();
        row.get(0).unwrap()
    }

    pub async fn drained(&self) {
        eventually("the outbox is empty", async || self.outbox_rows().await == 0).await;
    }

    pub fn client(&self, service: &str) -> EventIntakeClient<mallard_rpc::ServiceChannel> {
        EventIntakeClient::new(self.channels.channel(service))
    }

    pub async fn dead_letters(&self, service: &str) -> Vec<DeadLetter> {
        let request = ListDeadLettersRequest { service: service.to_owned(), limit: 0 };
        let mut client = self.client(service);
        let listed = mallard_rpc::scope(Call::system("ctl"), client.list_dead_letters(request)).await;
        listed.unwrap().into_inner().dead_letters
    }

    pub async fn retry(&self, service: &str, event_id: &str) -> Result<bool> {
        let request = RetryDeadLetterRequest { service: service.to_owned(), event_id: event_id.to_owned() };
        let mut client = self.client(service);
        let retried = mallard_rpc::scope(Call::system("ctl"), client.retry_dead_letter(request)).await;
        Ok(retried.map_err(mallard_rpc::error)?.into_inner().applied)
    }
}

pub async fn publish(bus: &Bus, db: &Db, events: Vec<Envelope>) {
    let outbox = bus.outbox();
    let published: Result<()> = db
        .tx("order.place", move |tx| {
            let (outbox, events) = (outbox.clone(), events.clone());
            async move { outbox.append_all(&tx, events).await }
        })
        .await;
    published.unwrap();
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
