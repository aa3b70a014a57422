//! Events between services: written into an outbox in the transaction that makes them true, delivered by a relay over the
//! subscriber's channel, applied once with an inbox.
//!
//! ```text
//! business tx ── Outbox::append ──> outbox row per subscriber
//!                                        │ Bus::relay (one per database, a loop per subscriber)
//!                                        ▼
//!            EventIntake.Deliver of the subscriber, near or far (Intake)
//!                                        │ Handler::handle and the inbox row, in one transaction
//!                                        ▼
//!                        Handler::after (caches and other memory)
//! ```
//!
//! - An event exists if and only if its transaction committed. Nothing else publishes.
//! - Delivery is at least once, in order per key; the inbox makes the effect exactly once. A key whose event fails waits,
//!   other keys go on. A subscriber that is away loses nothing: its rows stay, and the relay comes back with back-off.
//! - An event its handler refuses (an error that is not retryable, a panic) is parked as a dead letter by the subscriber
//!   after [`FAILURES_MAX`] deliveries, with the reason; then the key goes on.
//! - Order per key is the order of the outbox rows: append after the statement that guards the key's aggregate, so that
//!   two transactions of one key cannot write their rows in the wrong order.
//! - A subscription without database effect gets [`Handler::after`] only, of one instance of the service.
//!
//! Statements: append 1 for all subscribers of an event, none when there are none; per delivered page 2; per applied event
//! 1 (the inbox row) and what the handler does.

mod backoff;
mod checks;
mod dead_letters;
mod envelope;
mod inbox;
mod intake;
mod many;
mod migrations;
mod outbox;
mod prune;
mod relay;
mod routes;
mod subscriber;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use mallard_db::Db;
use mallard_proto::bus::v1::event_intake_server::EventIntakeServer;
use mallard_rpc::Channels;
use mallard_types::{Micros, Result};

pub use checks::checks;
pub use dead_letters::FAILURES_MAX;
pub use envelope::{EVENT_BYTES_MAX, Envelope};
pub use intake::{Handler, Intake, Subscription};
pub use migrations::MIGRATIONS;
pub use outbox::Outbox;

use crate::routes::Routes;

/// Gives the time in microseconds since the epoch.
pub type Clock = Arc<dyn Fn() -> Micros + Send + Sync>;

/// Tells whether a planted bug is switched on, by name; for tests of the checks only. Known: `bus.ignore_inbox`,
/// `bus.lose_events`, `bus.stall`.
pub type Switches = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// What the services of a binary share to exchange events. Clones share it.
#[derive(Clone)]
pub struct Bus {
    channels: Channels,
    routes: Arc<Routes>,
    clock: Clock,
    switches: Switches,
    lease_holder: Option<Arc<str>>,
}

impl Bus {
    /// Makes the bus of a binary that knows which service subscribes to which kinds of events.
    pub fn new(channels: Channels, subscriptions: BTreeMap<&'static str, Vec<&'static str>>, clock: Clock) -> Bus {
        let routes = Arc::new(Routes::new(subscriptions));
        Bus { channels, routes, clock, switches: Arc::new(|_| false), lease_holder: None }
    }

    /// Lets relays run only under a lease, held by this name: for databases that several processes share. The name is to be
    /// unique to the instance.
    pub fn with_lease(mut self, holder: impl Into<Arc<str>>) -> Bus {
        self.lease_holder = Some(holder.into());
        self
    }

    /// Plants bugs, so that a test sees the checks notice them.
    pub fn with_switches(mut self, switches: Switches) -> Bus {
        self.switches = switches;
        self
    }

    /// Returns the way to publish.
    pub fn outbox(&self) -> Outbox {
        Outbox::new(Arc::clone(&self.routes), Arc::clone(&self.clock), Arc::clone(&self.switches))
    }

    /// Delivers what is in the outbox of a database until `shutdown` is done, and prunes its inbox. To be run once for each
    /// database that has [`MIGRATIONS`]. Dropping the future stops it at any moment without losing anything.
    pub fn relay<S>(&self, db: Db, shutdown: S) -> impl Future<Output = ()> + Send + use<S>
    where
        S: Future<Output = ()> + Send,
    {
        let bus = self.clone();
        async move { relay::run(bus, db, shutdown).await }
    }

    /// Makes the consumer side of a service. `db` may be `None` for a service whose subscriptions are all in memory.
    ///
    /// # Errors
    /// `Internal` (`bad_subscriptions`) when the handlers are not for exactly the kinds the binary says the service
    /// subscribes to, or when a durable subscription has no database.
    pub fn intake(
        &self,
        service: &'static str,
        db: impl Into<Option<Db>>,
        subscriptions: Vec<Subscription>,
    ) -> Result<EventIntakeServer<Intake>> {
        let kinds = self.routes.kinds_of(service);
        let clock = Arc::clone(&self.clock);
        let intake = Intake::new(service, db.into(), subscriptions, &kinds, clock, Arc::clone(&self.switches))?;
        Ok(EventIntakeServer::new(intake).max_decoding_message_size(mallard_rpc::MESSAGE_BYTES_MAX))
    }
}
