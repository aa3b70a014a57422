//! The timers of an engine: finds flows that are due and drives them, a limited number at a time.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mallard_db::{Unit, UnitError, params};
use mallard_types::{Micros, Result};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::drive::stick;
use crate::engine::Inner;
use crate::row::{self, FlowRow};
use crate::{LEASE_MICROS, WAKE_TOPIC};

/// How often the table is asked when nothing wakes the timers.
const POLL: Duration = Duration::from_millis(200);

/// Wakes that come within this time of the last question are answered together.
const POLL_GAP: Duration = Duration::from_millis(5);

/// Flows the timers drive at once.
const DRIVEN_MAX: usize = 32;

/// Rows that were being driven when the process died are due at once: nobody else can be driving them.
const VOID_LEASES: &str =
    "UPDATE flows SET wake_at = ? WHERE stuck = 0 AND parked = 0 AND attempts = 0 AND wake_at > ?";

/// Takes a due row for this instance; the version stays, so it guards nothing but the taking.
const CLAIM: &str = "UPDATE flows SET wake_at = ? WHERE name = ? AND flow_key = ? AND version = ? AND wake_at = ?";

pub(crate) async fn run(inner: &Arc<Inner>, shutdown: impl Future<Output = ()> + Send) {
    let mut shutdown = pin!(shutdown);
    let wake = inner.db.woken(WAKE_TOPIC);
    let mut driven = JoinSet::new();
    let mut leases_voided = inner.is_shared();
    loop {
        let asked_at = Instant::now();
        while driven.try_join_next().is_some() {}
        let round = async {
            if !leases_voided {
                let now = (inner.clock)();
                inner.db.apply(Unit::new("flow.void_leases").exec(VOID_LEASES, params![now, now])).await?;
                leases_voided = true;
            }
            start_due(inner, &mut driven).await
        };
        let round: Result<()> = round.await;
        if let Err(error) = round {
            tracing::warn!(service = inner.db.service(), %error, "the flows that are due could not be read");
        }
        let full = driven.len() >= DRIVEN_MAX;
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            _ = driven.join_next(), if full => {}
            () = wake.notified(), if !full => sleep_until(asked_at + POLL_GAP).await,
            () = sleep(POLL), if !full => {}
        }
    }
    inner.stopping.store(true, Ordering::Relaxed);
    // Each task ends with the step it is in, and steps have a deadline.
    while driven.join_next().await.is_some() {}
    inner.stopping.store(false, Ordering::Relaxed);
}

async fn start_due(inner: &Arc<Inner>, driven: &mut JoinSet<()>) -> Result<()> {
    let free = DRIVEN_MAX.saturating_sub(driven.len());
    if free == 0 {
        return Ok(());
    }
    inner.locks.begin_reading();
    let now = (inner.clock)();
    // Rows that are due and driven already come along: ask for that many more, so that they cannot crowd others out.
    let rows = row::due(&inner.db, now, inner.locks.len() + free).await;
    let started = match rows {
        Ok(rows) => start_rows(inner, driven, rows, now).await,
        Err(error) => Err(error),
    };
    inner.locks.end_reading();
    started
}

async fn start_rows(inner: &Arc<Inner>, driven: &mut JoinSet<()>, rows: Vec<FlowRow>, now: Micros) -> Result<()> {
    for row in rows {
        if driven.len() >= DRIVEN_MAX {
            break;
        }
        let Some(runner) = inner.runner(&row.name) else {
            let reason = format!("flow {} is not known to this build", row.name);
            stick(inner, &row.name, &row.key, row.version, row.state, &reason).await?;
            continue;
        };
        let Some(held) = inner.locks.take_read(runner.name(), &row.key) else { continue };
        if inner.is_shared() && !claim(inner, &row, now).await? {
            continue;
        }
        if let Some(due_at) = row.wake_at.filter(|due_at| *due_at > 0) {
            let lag_seconds = (now - due_at).max(0) as f64 / 1e6;
            metrics::histogram!("mallard_flow_due_lag_seconds", "flow" => runner.name()).record(lag_seconds);
        }
        let inner = Arc::clone(inner);
        driven.spawn(async move { runner.run(&inner, row, held).await });
    }
    Ok(())
}

async fn claim(inner: &Inner, row: &FlowRow, now: Micros) -> Result<bool> {
    let params = params![now + LEASE_MICROS, row.name.as_str(), row.key.as_str(), row.version, row.wake_at];
    match inner.db.apply(Unit::new("flow.claim").guard(CLAIM, params, 1, crate::GUARD_TAG)).await {
        Ok(()) => Ok(true),
        Err(UnitError::Guard { .. }) => Ok(false),
        Err(UnitError::Db(error)) => Err(error.into()),
    }
}
