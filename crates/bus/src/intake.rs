//! The consumer side of one service: answers EventIntake.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt, stream};
use mallard_db::{Db, Tx};
use mallard_proto::bus::v1::event_intake_server::EventIntake;
use mallard_proto::bus::v1::{
    DeliverRequest, DeliverResponse, ListDeadLettersRequest, ListDeadLettersResponse, RetryDeadLetterRequest,
    RetryDeadLetterResponse,
};
use mallard_types::{Error, Result, page};
use parking_lot::Mutex;
use tonic::{Request, Response, Status};

use crate::dead_letters::{self, Failure};
use crate::envelope::Envelope;
use crate::inbox::{self, Work};
use crate::{Clock, Switches};

/// Keys of one delivery handled at once.
const KEYS_AT_ONCE_MAX: usize = 16;

/// Events handled in one transaction.
const AT_ONCE_MAX: usize = 64;

/// Events of one delivery.
const EVENTS_MAX: usize = 1_000;

/// Ids of events remembered to have failed; beyond it, counts of overcome failures are left to be pruned.
const FAILING_MAX: usize = 10_000;

/// Handles events of some kinds.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Writes the effect of an event, in the transaction that also remembers it was applied. Touches nothing but `tx`; may
    /// run again when the transaction does. Not called for a subscription in memory.
    ///
    /// # Errors
    /// A retryable error (`Unavailable`, `Deadline`) has the event delivered again; any other counts towards parking it.
    async fn handle(&self, tx: &Tx, event: &Envelope) -> Result<()> {
        let _ = (tx, event);
        Ok(())
    }

    /// Writes the effects of several new events in order, for handlers that need fewer statements so. Otherwise as
    /// [`Handler::handle`], which is asked event by event where this answers `false`, having written nothing.
    ///
    /// # Errors
    /// As [`Handler::handle`]'s; the events are then handled one by one, so an error here counts towards nothing.
    async fn handle_many(&self, tx: &Tx, events: &[&Envelope]) -> Result<bool> {
        let _ = (tx, events);
        Ok(false)
    }

    /// Does what concerns memory only, such as purging a cache, after the effect is committed. May be called more than once
    /// for an event.
    async fn after(&self, event: &Envelope) {
        let _ = event;
    }
}

/// Binds a handler to kinds of events.
#[derive(Clone)]
pub struct Subscription {
    /// Kinds the handler is for.
    pub kinds: &'static [&'static str],
    /// Whether the handler writes to the database; one in memory gets [`Handler::after`] only and is not deduplicated.
    pub durable: bool,
    /// Who handles them.
    pub handler: Arc<dyn Handler>,
}

impl Subscription {
    /// Binds a handler that writes to the database.
    pub fn new(kinds: &'static [&'static str], handler: Arc<dyn Handler>) -> Subscription {
        Subscription { kinds, durable: true, handler }
    }

    /// Binds a handler that changes memory only.
    pub fn in_memory(kinds: &'static [&'static str], handler: Arc<dyn Handler>) -> Subscription {
        Subscription { kinds, durable: false, handler }
    }
}

/// Takes the events of one service.
pub struct Intake {
    service: &'static str,
    db: Option<Db>,
    handlers: BTreeMap<&'static str, Handlers>,
    clock: Clock,
    switches: Switches,
    /// Events with a count of failures that is to be forgotten once they succeed.
    failing: Mutex<HashSet<String>>,
}

#[derive(Clone, Default)]
struct Handlers {
    durable: Vec<Arc<dyn Handler>>,
    all: Vec<Arc<dyn Handler>>,
}

impl Intake {
    pub(crate) fn new(
        service: &'static str,
        db: Option<Db>,
        subscriptions: Vec<Subscription>,
        kinds: &BTreeSet<&'static str>,
        clock: Clock,
        switches: Switches,
    ) -> Result<Intake> {
        let mut handlers: BTreeMap<&'static str, Handlers> = BTreeMap::new();
        for subscription in subscriptions {
            if subscription.durable && db.is_none() {
                return Err(bad_subscriptions(service, "a durable subscription needs a database"));
            }
            for kind in subscription.kinds {
                let of_kind = handlers.entry(kind).or_default();
                of_kind.all.push(Arc::clone(&subscription.handler));
                if subscription.durable {
                    of_kind.durable.push(Arc::clone(&subscription.handler));
                }
            }
        }
        let handled: BTreeSet<&'static str> = handlers.keys().copied().collect();
        if handled != *kinds {
            let differ: Vec<&str> = handled.symmetric_difference(kinds).copied().collect();
            let message = format!("subscribed and handled kinds differ in {}", differ.join(", "));
            return Err(bad_subscriptions(service, &message));
        }
        Ok(Intake { service, db, handlers, clock, switches, failing: Mutex::default() })
    }

    /// Handles events in order, many in a transaction; returns the ids accepted. Whatever stands in the way of that, from the
    /// first such event on they are handled one by one.
    async fn apply(&self, events: Vec<Envelope>) -> Vec<String> {
        let mut accepted = Vec::with_capacity(events.len());
        let mut rest = &events[..];
        while let Some((chunk, after)) =
            rest.split_at_checked(rest.len().min(AT_ONCE_MAX)).filter(|(chunk, _)| chunk.len() > 1)
            && self.apply_chunk(chunk).await
        {
            accepted.extend(chunk.iter().map(|event| event.id.clone()));
            rest = after;
        }
        let keys = by_key(rest.iter().cloned());
        let applied: Vec<Vec<String>> =
            stream::iter(keys).map(|events| self.apply_key(events)).buffer_unordered(KEYS_AT_ONCE_MAX).collect().await;
        accepted.extend(applied.concat());
        accepted
    }

    /// Handles events in one transaction if each is new and somebody's who writes; returns whether that was done.
    async fn apply_chunk(&self, events: &[Envelope]) -> bool {
        let Some(db) = &self.db else { return false };
        let mut works = Vec::with_capacity(events.len());
        for event in events {
            match self.handlers.get(event.kind.as_str()).filter(|handlers| !handlers.durable.is_empty()) {
                Some(handlers) => works.push(self.work(event, handlers)),
                None => return false,
            }
        }
        let is_plain = |work: &Arc<Work>| !work.ignore_inbox && !self.failing.lock().contains(&work.event.id);
        if !works.iter().all(is_plain) || inbox::apply_all(db, works).await.is_err() {
            return false;
        }
        for event in events {
            if let Some(handlers) = self.handlers.get(event.kind.as_str()) {
                self.after(event, handlers).await;
            }
        }
        true
    }

    /// Handles events of one key in order; returns the ids accepted. What comes after one that is not accepted waits.
    async fn apply_key(&self, events: Vec<Envelope>) -> Vec<String> {
        let mut accepted = Vec::with_capacity(events.len());
        for event in events {
            if !self.accept(&event).await {
                break;
            }
            accepted.push(event.id);
        }
        accepted
    }

    /// Handles one event; returns whether the relay may forget it.
    async fn accept(&self, event: &Envelope) -> bool {
        let Some(handlers) = self.handlers.get(event.kind.as_str()) else {
            // The publisher is of a newer version: a newer instance of this service will take it.
            tracing::warn!(service = self.service, kind = event.kind, id = event.id, "no handler for an event");
            return false;
        };
        if let Some(db) = self.db.as_ref().filter(|_| !handlers.durable.is_empty()) {
            let applied = inbox::apply(db, self.work(event, handlers)).await;
            let accepted = match applied {
                Ok(()) => self.forget_failures(db, event).await,
                Err(error) => return self.failed(db, event, error).await,
            };
            if !accepted {
                return false;
            }
        }
        self.after(event, handlers).await;
        true
    }

    fn work(&self, event: &Envelope, handlers: &Handlers) -> Arc<Work> {
        Arc::new(Work {
            service: self.service,
            event: event.clone(),
            handlers: handlers.durable.clone(),
            now: (self.clock)(),
            ignore_inbox: (self.switches)("bus.ignore_inbox"),
        })
    }

    async fn after(&self, event: &Envelope, handlers: &Handlers) {
        for handler in &handlers.all {
            let after = mallard_rpc::scope(inbox::call(self.service, event), handler.after(event));
            if let Err(panic) = AssertUnwindSafe(after).catch_unwind().await {
                let error = inbox::panicked(&*panic);
                tracing::error!(service = self.service, kind = event.kind, id = event.id, %error, "after an event");
            }
        }
    }

    /// Decides about an event that was not applied; returns whether the relay may forget it.
    async fn failed(&self, db: &Db, event: &Envelope, error: Error) -> bool {
        let (service, kind, id) = (self.service, &event.kind, &event.id);
        if error.is_retryable() {
            tracing::warn!(service, kind, id, %error, "an event could not be applied yet");
            return false;
        }
        let counted = dead_letters::count(db, event, &error.to_string(), (self.clock)()).await;
        match counted {
            Ok(Failure::Counted) => {
                tracing::warn!(service, kind, id, %error, "an event was refused by its handler");
                let mut failing = self.failing.lock();
                if failing.len() < FAILING_MAX {
                    failing.insert(id.clone());
                }
                false
            }
            Ok(Failure::Parked) => {
                metrics::counter!("mallard_bus_parked_total", "service" => service).increment(1);
                tracing::error!(service, kind, id, key = event.key, %error, "an event is parked as a dead letter");
                self.failing.lock().remove(id);
                true
            }
            Ok(Failure::Applied) => true,
            Err(count_error) => {
                tracing::warn!(service, kind, id, %error, %count_error, "a refused event could not be counted");
                false
            }
        }
    }

    /// Removes the count of an event that failed before; returns whether that worked.
    async fn forget_failures(&self, db: &Db, event: &Envelope) -> bool {
        if !self.failing.lock().contains(&event.id) {
            return true;
        }
        if let Err(error) = dead_letters::forget(db, &event.id).await {
            tracing::warn!(service = self.service, id = event.id, %error, "a count of failures could not be removed");
            return false;
        }
        self.failing.lock().remove(&event.id);
        true
    }

    fn refuse_strangers(&self) -> Result<()> {
        if mallard_rpc::with_current(|call| call.caller.is_system()) {
            return Ok(());
        }
        Err(Error::forbidden("internal_only", "only the mall's own services deliver events"))
    }

    fn refuse_operators(&self, service: &str) -> Result<()> {
        if !mallard_rpc::with_current(|call| call.caller.is_system() || call.caller.is_admin()) {
            return Err(Error::forbidden("forbidden", "dead letters are for operators"));
        }
        self.refuse_misdirected(service)
    }

    fn refuse_misdirected(&self, service: &str) -> Result<()> {
        if service == self.service {
            return Ok(());
        }
        Err(Error::invalid("wrong_service", format!("this is {}, not {service}", self.service)).param("service"))
    }

    async fn retry(&self, event_id: &str) -> Result<bool> {
        let not_found = || Error::not_found("no_such_dead_letter", "there is no such dead letter").param("event_id");
        let db = self.db.as_ref().ok_or_else(not_found)?;
        let event = dead_letters::find(db, event_id).await?.ok_or_else(not_found)?;
        let handlers = self
            .handlers
            .get(event.kind.as_str())
            .ok_or_else(|| Error::conflict("no_handler", format!("{} does not handle {}", self.service, event.kind)))?;
        let retried = AssertUnwindSafe(dead_letters::retry(db, self.work(&event, handlers))).catch_unwind().await;
        match retried.unwrap_or_else(|panic| Err(inbox::panicked(&*panic))) {
            Ok(true) => {
                self.after(&event, handlers).await;
                Ok(true)
            }
            // Somebody else retried it in the meantime.
            Ok(false) => Err(not_found()),
            Err(error) => {
                tracing::warn!(service = self.service, id = event_id, %error, "a dead letter failed again");
                dead_letters::failed_again(db, event_id, &error, (self.clock)()).await?;
                Ok(false)
            }
        }
    }
}

#[async_trait]
impl EventIntake for Intake {
    async fn deliver(&self, request: Request<DeliverRequest>) -> Result<Response<DeliverResponse>, Status> {
        self.refuse_strangers().map_err(mallard_rpc::status)?;
        let request = request.into_inner();
        self.refuse_misdirected(&request.subscriber).map_err(mallard_rpc::status)?;
        if request.events.len() > EVENTS_MAX {
            let message = format!("at most {EVENTS_MAX} events at once");
            return Err(mallard_rpc::status(Error::invalid("too_many_events", message).param("events")));
        }
        let events = request.events.into_iter().map(Envelope::from_proto).collect();
        Ok(Response::new(DeliverResponse { accepted_ids: self.apply(events).await }))
    }

    async fn list_dead_letters(
        &self,
        request: Request<ListDeadLettersRequest>,
    ) -> Result<Response<ListDeadLettersResponse>, Status> {
        let request = request.into_inner();
        self.refuse_operators(&request.service).map_err(mallard_rpc::status)?;
        let limit = page::limit(request.limit).map_err(mallard_rpc::status)?;
        let dead_letters = match &self.db {
            Some(db) => dead_letters::list(db, limit).await.map_err(mallard_rpc::status)?,
            None => Vec::new(),
        };
        Ok(Response::new(ListDeadLettersResponse { dead_letters }))
    }

    async fn retry_dead_letter(
        &self,
        request: Request<RetryDeadLetterRequest>,
    ) -> Result<Response<RetryDeadLetterResponse>, Status> {
        let request = request.into_inner();
        self.refuse_operators(&request.service).map_err(mallard_rpc::status)?;
        let applied = self.retry(&request.event_id).await.map_err(mallard_rpc::status)?;
        Ok(Response::new(RetryDeadLetterResponse { applied }))
    }
}

/// Groups events by key: keys in order of their first event, events of a key in order.
fn by_key(events: impl Iterator<Item = Envelope>) -> Vec<Vec<Envelope>> {
    let mut groups: Vec<Vec<Envelope>> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for event in events {
        let place = *places.entry(event.key.clone()).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[place].push(event);
    }
    groups
}

fn bad_subscriptions(service: &str, message: &str) -> Error {
    Error::internal("bad_subscriptions", format!("{service}: {message}"))
}
