//! The relay of one database: a loop per subscriber, under a lease when the database is shared.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use mallard_db::lease::{self, Lease};
use mallard_db::{Db, params};
use mallard_types::Result;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::subscriber::Delivery;
use crate::{Bus, prune};

/// How often the outbox is looked at when nothing rings.
const POLL: Duration = Duration::from_secs(1);

const LEASE: &str = "bus.relay";
const LEASE_TTL_MICROS: i64 = 10_000_000;
/// Well within the lease, so that one renewal may fail.
const LEASE_RENEWAL: Duration = Duration::from_secs(3);

const ANY_ROW: &str = "SELECT seq FROM outbox ORDER BY seq LIMIT 1";

pub(crate) async fn run(bus: Bus, db: Db, shutdown: impl Future<Output = ()> + Send) {
    let mut shutdown = pin!(shutdown);
    let Some(holder) = bus.lease_holder.clone() else {
        let mut loops = start(&bus, &db);
        shutdown.await;
        loops.shutdown().await;
        return;
    };
    loop {
        let led = lead(&bus, &db, &holder);
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            () = led => {}
        }
    }
    // The next leader need not wait for the lease to run out; when this fails it does.
    if let Ok(Some(lease)) = acquire(&bus, &db, &holder).await {
        let _ = lease::release(&db, &lease).await;
    }
}

async fn acquire(bus: &Bus, db: &Db, holder: &str) -> Result<Option<Lease>> {
    Ok(lease::try_acquire(db, LEASE, holder, (bus.clock)(), LEASE_TTL_MICROS).await?)
}

/// Waits for the lease and relays until it is lost.
async fn lead(bus: &Bus, db: &Db, holder: &str) {
    let mut lease = loop {
        match acquire(bus, db, holder).await {
            Ok(Some(lease)) => break lease,
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(service = db.service(), %error, "the lease of the relay could not be asked for")
            }
        }
        sleep(LEASE_RENEWAL).await;
    };
    tracing::info!(service = db.service(), token = lease.token, "this instance relays the events");
    // Dropping the set stops the loops, also when this future is dropped.
    let mut loops = start(bus, db);
    loop {
        sleep(LEASE_RENEWAL).await;
        let now = (bus.clock)();
        match lease::renew(db, &lease, now, LEASE_TTL_MICROS).await {
            Ok(Some(renewed)) => lease = renewed,
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(service = db.service(), %error, "the lease of the relay could not be renewed");
                if lease.until <= now {
                    break;
                }
            }
        }
    }
    loops.shutdown().await;
    tracing::warn!(service = db.service(), "another instance relays the events now");
}

/// Starts the loops of a leader.
fn start(bus: &Bus, db: &Db) -> JoinSet<()> {
    let mut loops = JoinSet::new();
    let mut nudges = Vec::new();
    for target in bus.routes.all_targets() {
        let nudge = Arc::new(Notify::new());
        nudges.push(Arc::clone(&nudge));
        loops.spawn(Delivery::new(bus, &bus.channels, db, target, nudge).run());
    }
    loops.spawn(poll(db.clone(), nudges));
    loops.spawn(prune::run(db.clone(), Arc::clone(&bus.clock)));
    loops
}

/// Nudges every loop while there are rows: for rows whose bell rang in another process, or not at all.
async fn poll(db: Db, nudges: Vec<Arc<Notify>>) {
    loop {
        sleep(POLL).await;
        match db.query(ANY_ROW, params![]).await {
            Ok(rows) if rows.is_empty() => {}
            Ok(_) => nudges.iter().for_each(|nudge| nudge.notify_one()),
            Err(error) => tracing::warn!(service = db.service(), %error, "the outbox could not be read"),
        }
    }
}
