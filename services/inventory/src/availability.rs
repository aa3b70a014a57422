//! Announces when a SKU sells out or can be sold again (`stock.availability.v1`).
//!
//! The row's `in_stock` column is what was last announced. It changes in the same transaction that appends the event, and
//! only by a statement that compares it with the units. What remains is to know *when to look*, without a statement per
//! line of every order:
//!
//! - this instance remembers the level of the SKUs it moves and looks only when a level passes zero, or is not known;
//! - a level is believed only if nothing was under way while it was read, and only for a while, because other instances
//!   move the same stock;
//! - a refused reserve, which has read the row anyway, asks for a look when the announced state is out of date;
//! - a slow sweep finds what a crash between the move and the look left behind.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::app::{App, align_alerts};
use crate::domain::{Lines, Stock};
use crate::events;
use crate::store::Store;

/// SKUs looked at in one round.
const ROUND_SKUS_MAX: usize = 200;
/// Wait after a round that failed.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// What this instance remembers of levels, and the SKUs to look at.
pub struct Availability {
    levels_max: usize,
    trust: Duration,
    inner: Mutex<Inner>,
    wake: Notify,
}

#[derive(Default)]
struct Inner {
    levels: HashMap<String, Level>,
    pending: BTreeSet<String>,
}

#[derive(Default)]
struct Level {
    /// Moves of this SKU under way.
    flying: u32,
    /// Changes whenever a move begins or ends.
    epoch: u64,
    /// Units that can be promised, and when they were read.
    known: Option<(i64, Instant)>,
}

/// A move of stock under way. Dropped without [`Flight::landed`] its outcome counts as unknown.
pub struct Flight<'a> {
    availability: &'a Availability,
    skus: Vec<(String, i64)>,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Committed,
    Refused,
    Unknown,
}

impl Availability {
    /// Makes an empty memory.
    pub fn new(levels_max: usize, trust: Duration) -> Availability {
        Availability { levels_max, trust, inner: Mutex::new(Inner::default()), wake: Notify::new() }
    }

    /// Notes that a move begins which changes what can be promised by `sign` times the lines.
    pub fn begin(&self, lines: &Lines, sign: i64) -> Flight<'_> {
        let skus: Vec<(String, i64)> =
            lines.as_slice().iter().map(|line| (line.sku_id.clone(), sign * line.quantity)).collect();
        let mut inner = self.inner.lock();
        if inner.levels.len() > self.levels_max {
            inner.levels.retain(|_, level| level.flying > 0);
        }
        for (sku_id, _) in &skus {
            let level = inner.levels.entry(sku_id.clone()).or_default();
            level.flying += 1;
            level.epoch += 1;
        }
        Flight { availability: self, skus, outcome: Outcome::Unknown }
    }

    /// Takes in a row that was read for another purpose.
    pub fn observed(&self, stock: &Stock) {
        if !stock.is_announced() {
            self.look_at(std::iter::once(stock.sku_id.clone()));
        }
    }

    /// Asks for a look at SKUs.
    pub fn look_at(&self, sku_ids: impl Iterator<Item = String>) {
        self.inner.lock().pending.extend(sku_ids);
        self.wake.notify_one();
    }

    fn end(&self, skus: &[(String, i64)], outcome: Outcome) {
        let now = Instant::now();
        let mut inner = self.inner.lock();
        let mut look = false;
        for (sku_id, delta) in skus {
            let Some(level) = inner.levels.get_mut(sku_id) else { continue };
            level.flying = level.flying.saturating_sub(1);
            level.epoch += 1;
            let flipped = match (outcome, level.known) {
                (Outcome::Refused, _) => false,
                (Outcome::Committed, Some((before, read_at))) if now.duration_since(read_at) < self.trust => {
                    let after = before + delta;
                    level.known = Some((after, read_at));
                    (before > 0) != (after > 0)
                }
                _ => {
                    level.known = None;
                    true
                }
            };
            if flipped {
                inner.pending.insert(sku_id.clone());
                look = true;
            }
        }
        drop(inner);
        if look {
            self.wake.notify_one();
        }
    }

    /// Takes SKUs to look at, with the epoch each has now.
    fn take(&self) -> Vec<(String, u64)> {
        let mut inner = self.inner.lock();
        let mut taken = Vec::new();
        while taken.len() < ROUND_SKUS_MAX {
            let Some(sku_id) = inner.pending.pop_first() else { break };
            let level = inner.levels.entry(sku_id.clone()).or_default();
            level.known = None;
            taken.push((sku_id, level.epoch));
        }
        taken
    }

    /// Remembers a level that was read, unless something moved meanwhile.
    fn remember(&self, sku_id: &str, epoch: u64, available: i64) {
        let mut inner = self.inner.lock();
        if let Some(level) = inner.levels.get_mut(sku_id)
            && level.epoch == epoch
            && level.flying == 0
        {
            level.known = Some((available, Instant::now()));
        }
    }

    fn has_pending(&self) -> bool {
        !self.inner.lock().pending.is_empty()
    }
}

impl Flight<'_> {
    /// Notes that the move is committed.
    pub fn landed(mut self) {
        self.outcome = Outcome::Committed;
    }

    /// Notes that the move changed nothing.
    pub fn refused(mut self) {
        self.outcome = Outcome::Refused;
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.availability.end(&self.skus, self.outcome);
    }
}

/// Looks at SKUs as they are asked for, and sweeps all stock from time to time, until shutdown.
pub async fn announce_loop(app: Arc<App>) {
    let shutdown = app.ctx.shutdown();
    let linger = Duration::from_millis(app.config.announce_linger_ms);
    let sweep_interval = Duration::from_secs(app.config.sweep_interval_s.max(1));
    let mut next_sweep = Instant::now();
    while !shutdown.is_set() {
        let now = Instant::now();
        let outcome = if now >= next_sweep {
            next_sweep = now + sweep_interval;
            sweep(&app).await
        } else {
            round(&app).await
        };
        if let Err(error) = outcome {
            warn!(%error, "availability was not announced, will try again");
            tokio::select! {
                () = tokio::time::sleep(FAILURE_PAUSE) => {}
                () = shutdown.wait() => {}
            }
            continue;
        }
        if app.availability.has_pending() {
            continue;
        }
        tokio::select! {
            () = app.availability.wake.notified() => tokio::time::sleep(linger).await,
            () = tokio::time::sleep_until(next_sweep) => {}
            () = shutdown.wait() => {}
        }
    }
}

/// Looks at the SKUs that were asked for and announces those that flipped.
async fn round(app: &App) -> Result<(), mallard_types::Error> {
    let taken = app.availability.take();
    if taken.is_empty() {
        return Ok(());
    }
    let outcome = look(app, &taken).await;
    if outcome.is_err() {
        app.availability.look_at(taken.into_iter().map(|(sku_id, _)| sku_id));
    }
    outcome
}

async fn look(app: &App, taken: &[(String, u64)]) -> Result<(), mallard_types::Error> {
    let ids: Vec<&str> = taken.iter().map(|(sku_id, _)| sku_id.as_str()).collect();
    let mut rows: HashMap<String, Stock> =
        app.store.stocks(&ids).await?.into_iter().map(|stock| (stock.sku_id.clone(), stock)).collect();
    for (sku_id, epoch) in taken {
        let Some(stock) = rows.remove(sku_id) else { continue };
        app.availability.remember(sku_id, *epoch, stock.available());
        if !stock.is_announced() {
            announce(app, sku_id).await?;
        }
    }
    Ok(())
}

/// Goes through all stock and brings in line what is not: states that a crash left unannounced, and alerts that another mark
/// or an older version of the program left behind.
async fn sweep(app: &App) -> Result<(), mallard_types::Error> {
    let mut after = String::new();
    loop {
        let rows = app.store.out_of_line(&after, ROUND_SKUS_MAX as u32).await?;
        align_alerts(app, &rows).await?;
        for stock in rows.iter().filter(|stock| !stock.is_announced()) {
            announce(app, &stock.sku_id).await?;
        }
        match rows.into_iter().next_back() {
            Some(last) => after = last.sku_id,
            None => return Ok(()),
        }
    }
}

async fn announce(app: &App, sku_id: &str) -> Result<(), mallard_types::Error> {
    let outbox = app.ctx.outbox();
    let event_id = app.ctx.id("evt");
    let at = app.ctx.clock().now();
    let sku = sku_id.to_owned();
    let announced = app
        .store
        .db()
        .tx("inventory.announce", move |tx| {
            let (outbox, event_id, sku) = (outbox.clone(), event_id.clone(), sku.clone());
            async move {
                let announced = Store::announce_in(&tx, &sku).await?;
                if let Some(announced) = announced {
                    outbox.append(&tx, events::availability_changed(event_id, &sku, announced, at)).await?;
                }
                Ok::<_, mallard_types::Error>(announced)
            }
        })
        .await?;
    if let Some(announced) = announced {
        debug!(sku_id, in_stock = announced.in_stock, "availability announced");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Line;

    fn memory() -> Availability {
        Availability::new(10, Duration::from_secs(10))
    }

    fn one(quantity: i64) -> Lines {
        Lines::merge(&[Line { sku_id: "sku_1".into(), quantity }]).unwrap()
    }

    /// Brings the memory to a known level, as a look does.
    fn know(memory: &Availability, available: i64) {
        memory.look_at(std::iter::once("sku_1".to_owned()));
        for (sku_id, epoch) in memory.take() {
            memory.remember(&sku_id, epoch, available);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_level_is_looked_at_and_a_known_one_only_when_it_passes_zero() {
        let memory = memory();
        memory.begin(&one(1), -1).landed();
        assert_eq!(memory.take().len(), 1, "nothing is known yet");
        know(&memory, 2);
        memory.begin(&one(1), -1).landed();
        assert!(!memory.has_pending(), "2 to 1 passes nothing");
        memory.begin(&one(1), -1).landed();
        assert_eq!(memory.take().len(), 1, "1 to 0 sells out");
        know(&memory, 0);
        memory.begin(&one(1), -1).refused();
        assert!(!memory.has_pending(), "a refusal moves nothing");
        memory.begin(&one(3), 1).landed();
        assert_eq!(memory.take().len(), 1, "0 to 3 can be sold again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_level_read_while_something_moves_is_not_believed() {
        let memory = memory();
        memory.look_at(std::iter::once("sku_1".to_owned()));
        let taken = memory.take();
        let flight = memory.begin(&one(1), -1);
        memory.remember("sku_1", taken[0].1, 5);
        flight.landed();
        assert!(memory.has_pending(), "the level is still unknown, so the SKU is looked at again");
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_outcome_and_an_old_level_are_looked_at() {
        let memory = memory();
        know(&memory, 100);
        drop(memory.begin(&one(1), -1));
        assert_eq!(memory.take().len(), 1, "the outcome is unknown");
        know(&memory, 100);
        tokio::time::advance(Duration::from_secs(11)).await;
        memory.begin(&one(1), -1).landed();
        assert_eq!(memory.take().len(), 1, "the level is too old");
    }

    #[tokio::test(start_paused = true)]
    async fn the_memory_is_bounded() {
        let memory = memory();
        for i in 0..1_000 {
            let lines = Lines::merge(&[Line { sku_id: format!("sku_{i}"), quantity: 1 }]).unwrap();
            memory.begin(&lines, -1).refused();
        }
        assert!(memory.inner.lock().levels.len() <= 11);
    }
}
