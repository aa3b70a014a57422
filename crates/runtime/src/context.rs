//! What a service may reach: its database, other services, events, flows, time, chance, configuration.

use std::collections::BTreeSet;
use std::sync::Arc;

use mallard_bus::Outbox;
use mallard_db::{Db, Migration};
use mallard_flow::Engine;
use mallard_proto::common::v1::Check;
use mallard_rpc::{Channels, Client, ServiceChannel, SlowCalls, Snapshot};
use mallard_types::{Micros, id};
use serde::de::DeserializeOwned;

use crate::mall::Storage;
use crate::{Chance, Clock, Config, Health, Shutdown};

/// Everything a service gets from outside. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub service: &'static str,
    pub db: Option<Db>,
    pub storage: Storage,
    pub channels: Channels,
    pub outbox: Outbox,
    pub engine: Option<Engine>,
    pub clock: Clock,
    pub chance: Chance,
    pub config: Config,
    pub shutdown: Shutdown,
    pub health: Health,
    pub switches: Arc<BTreeSet<String>>,
    pub services: Arc<Vec<&'static str>>,
    pub process: Arc<str>,
}

impl Context {
    pub(crate) fn new(inner: Inner) -> Context {
        Context { inner: Arc::new(inner) }
    }

    /// Returns the service's name.
    pub fn service(&self) -> &'static str {
        self.inner.service
    }

    /// Returns the service's database.
    ///
    /// # Panics
    /// When the service's specification names no migrations, which every start of it shows.
    pub fn db(&self) -> Db {
        let Some(db) = &self.inner.db else {
            panic!("service {} declares no migrations, so it has no database", self.inner.service)
        };
        db.clone()
    }

    pub(crate) fn try_db(&self) -> Option<Db> {
        self.inner.db.clone()
    }

    /// Opens one more database beside the service's own, on the same storage.
    ///
    /// # Errors
    /// The storage cannot be opened or migrated.
    pub async fn open_db(&self, name: &'static str, migrations: &'static [Migration]) -> anyhow::Result<Db> {
        Ok(Db::open(&self.inner.storage.config(), name, migrations).await?)
    }

    /// Tells whether other processes may work on the same databases. Where none may, whatever a process that died had under
    /// way is nobody's when this one starts.
    pub fn shares_storage(&self) -> bool {
        matches!(self.inner.storage, Storage::Postgres { .. })
    }

    /// Returns a client of another service. Whether the call leaves the process is the channel's secret.
    pub fn client<C: Client>(&self) -> C {
        C::from_channel(self.inner.channels.channel(C::SERVICE))
    }

    /// Returns the channel to a service by name, for contracts that many services answer (`EventIntake`).
    pub fn channel(&self, service: &str) -> ServiceChannel {
        self.inner.channels.channel(service)
    }

    /// Returns the names of every service of the mall, in order of start.
    pub fn services(&self) -> &[&'static str] {
        &self.inner.services
    }

    /// Returns the way to publish events.
    pub fn outbox(&self) -> Outbox {
        self.inner.outbox.clone()
    }

    /// Returns the engine of the service's durable flows.
    ///
    /// # Panics
    /// When the service has no database, which every start of it shows.
    pub fn flows(&self) -> Engine {
        let Some(engine) = &self.inner.engine else {
            panic!("service {} has no database, so it has no flows", self.inner.service)
        };
        engine.clone()
    }

    /// Returns what this process knows of the services it calls.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.inner.channels.snapshot()
    }

    /// Returns the calls this process was slow to answer, for whoever answers beside the services.
    pub fn slow_calls(&self) -> SlowCalls {
        self.inner.channels.slow_calls()
    }

    /// Names the process by the services it runs.
    pub(crate) fn process(&self) -> &str {
        &self.inner.process
    }

    pub(crate) fn try_flows(&self) -> Option<Engine> {
        self.inner.engine.clone()
    }

    /// Returns the time of the present call: the clock's, or the past time a system caller works at (replay).
    pub fn now(&self) -> Micros {
        mallard_rpc::with_current(|call| call.at).unwrap_or_else(|| self.inner.clock.now())
    }

    /// Returns the clock, for deadlines and timers that no caller may move.
    pub fn clock(&self) -> Clock {
        self.inner.clock.clone()
    }

    /// Makes an id such as `ord_…` that sorts by the present time.
    pub fn id(&self, prefix: &str) -> String {
        id::make(prefix, self.now(), self.inner.chance.bytes())
    }

    /// Returns random bytes.
    pub fn random_bytes<const N: usize>(&self) -> [u8; N] {
        self.inner.chance.bytes()
    }

    /// Returns the source of randomness.
    pub fn chance(&self) -> Chance {
        self.inner.chance.clone()
    }

    /// Reads the service's section of the configuration.
    ///
    /// # Errors
    /// A wrong value or an unknown key.
    pub fn config<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        Ok(self.inner.config.section(self.inner.service)?)
    }

    /// Reads another section of the configuration, for settings that several services share.
    ///
    /// # Errors
    /// A wrong value, or a key that the type does not know and refuses.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> anyhow::Result<T> {
        Ok(self.inner.config.section(name)?)
    }

    /// Returns the signal that ends background work.
    pub fn shutdown(&self) -> Shutdown {
        self.inner.shutdown.clone()
    }

    /// Returns what of this process is down although it still answers.
    pub fn health(&self) -> Health {
        self.inner.health.clone()
    }

    /// Checks the books of the service's events: nothing left behind, nothing parked, nothing applied twice.
    ///
    /// # Errors
    /// The database's errors.
    pub async fn check_events(&self) -> mallard_types::Result<Vec<Check>> {
        match &self.inner.db {
            Some(db) => {
                let mut checks = mallard_bus::checks(db, self.inner.clock.now()).await?;
                for check in &mut checks {
                    // The same rules hold for every service; the name says whose books.
                    check.name = format!("{}.{}", self.inner.service, check.name);
                }
                Ok(checks)
            }
            None => Ok(Vec::new()),
        }
    }

    /// Tells whether a planted bug is switched on. Only tests switch anything on.
    pub fn switch(&self, name: &str) -> bool {
        !self.inner.switches.is_empty() && self.inner.switches.contains(name)
    }

    /// Returns the process's metrics in Prometheus' text form.
    pub fn metrics_text(&self) -> String {
        crate::telemetry::metrics_text()
    }
}
