//! Try, confirm, cancel: reserve, confirm, release, and the end of holds whose time has run out.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use mallard_types::{Micros, Result};
use tracing::{error, info, warn};

use super::{ATTEMPTS_MAX, App};
use crate::domain::{self, Line, Lines, Move, Reservation};
use crate::error::Refusal;
use crate::store::{Confirmed, Ended, Held};

/// Holds ended at the same time in a round of expiry.
const EXPIRE_CONCURRENCY: usize = 16;

impl App {
    /// Holds all lines or none. The same id again answers as the first call did.
    ///
    /// # Errors
    /// `out_of_stock`, `sku_unknown`, `reservation_released`, or a malformed request.
    pub async fn reserve(&self, id: &str, lines: &[Line], expires_at: Micros) -> Result<Reservation> {
        domain::text("id", id)?;
        let merged = Lines::merge(lines)?;
        let reservation = Reservation::hold(id.to_owned(), merged, self.hold_end(expires_at), self.ctx.now());
        for _ in 0..ATTEMPTS_MAX {
            let flight = self.availability.begin(&reservation.lines, -1);
            match self.store.hold(&reservation).await? {
                Held::Done => {
                    flight.landed();
                    count("reserve");
                    self.open.remember(Arc::new(reservation.clone()));
                    return Ok(reservation);
                }
                Held::IdTaken => {
                    flight.refused();
                    // A reservation's row is never removed; none here means a replica that lags.
                    if let Some(first) = self.store.reservation(id).await? {
                        first.reserve_again()?;
                        return Ok(first);
                    }
                }
                Held::Lacking(at) => {
                    flight.refused();
                    let lacking = &reservation.lines.as_slice()[at];
                    self.explain_lack(lines, lacking).await?;
                }
            }
        }
        Err(Refusal::Contended.into())
    }

    /// Returns the refusal of a line that found too few units, or `Ok` when there are enough by now.
    async fn explain_lack(&self, lines: &[Line], lacking: &Line) -> Result<()> {
        let at = lines.iter().position(|line| line.sku_id == lacking.sku_id).unwrap_or(0);
        let sku_id = lacking.sku_id.clone();
        let Some(stock) = self.store.stock(&sku_id).await? else {
            return Err(Refusal::SkuUnknown { sku_id, line: Some(at) }.into());
        };
        self.availability.observed(&stock);
        if stock.available() < lacking.quantity {
            count("out_of_stock");
            return Err(Refusal::OutOfStock { sku_id, line: at, available: stock.available() }.into());
        }
        Ok(())
    }

    /// Returns when a hold ends on the machine's clock. A replay works in the past: its holds last as long as they did then,
    /// but run from now.
    fn hold_end(&self, expires_at: Micros) -> Micros {
        let clock_now = self.ctx.clock().now();
        if expires_at == 0 {
            return clock_now.saturating_add(i64::from(self.config.hold_default_s) * 1_000_000);
        }
        match mallard_rpc::with_current(|call| call.at) {
            Some(at) => clock_now.saturating_add(expires_at.saturating_sub(at)),
            None => expires_at,
        }
    }

    /// Turns a hold into a sale.
    ///
    /// # Errors
    /// `reservation_released` when the hold has ended, `reservation_unknown` when there never was one.
    pub async fn confirm(&self, id: &str) -> Result<Reservation> {
        domain::text("id", id)?;
        let write_ledger = !self.ctx.switch(crate::SWITCH_SKIP_LEDGER);
        for _ in 0..ATTEMPTS_MAX {
            let Some(reservation) = self.known(id).await? else { return Err(Refusal::ReservationUnknown.into()) };
            if reservation.confirm()? == Move::Done {
                return Ok(reservation);
            }
            match self.store.confirm(&reservation, self.ctx.now(), write_ledger).await? {
                Confirmed::Done => {
                    count("confirm");
                    return Ok(Reservation { state: domain::State::Confirmed, ..reservation });
                }
                Confirmed::NotHeld => {}
                Confirmed::Broken(at) => return Err(broken(&reservation, at)),
            }
        }
        Err(Refusal::Contended.into())
    }

    /// Ends a hold. Before the try it leaves a mark that refuses the late try.
    ///
    /// # Errors
    /// `reservation_confirmed` when the units are sold.
    pub async fn release(&self, id: &str) -> Result<Reservation> {
        domain::text("id", id)?;
        for _ in 0..ATTEMPTS_MAX {
            let Some(reservation) = self.known(id).await? else {
                let mark = Reservation::refused_before_try(id.to_owned(), self.ctx.now());
                if self.store.refuse_before_try(&mark).await? {
                    return Ok(mark);
                }
                continue;
            };
            if reservation.release()? == Move::Done {
                if self.ctx.switch(crate::SWITCH_RELEASE_TWICE) {
                    self.store.release_unguarded(&reservation).await?;
                }
                return Ok(reservation);
            }
            let flight = self.availability.begin(&reservation.lines, 1);
            match self.store.release(&reservation).await? {
                Ended::Done => {
                    flight.landed();
                    count("release");
                    return Ok(Reservation { state: domain::State::Released, ..reservation });
                }
                Ended::NotHeld => flight.refused(),
                Ended::Broken(at) => {
                    flight.refused();
                    return Err(broken(&reservation, at));
                }
            }
        }
        Err(Refusal::Contended.into())
    }

    /// Returns a reservation from memory, where it counts as held until a guard says otherwise, or else from its row.
    async fn known(&self, id: &str) -> Result<Option<Reservation>> {
        match self.open.take(id) {
            Some(remembered) => Ok(Some(Arc::unwrap_or_clone(remembered))),
            None => Ok(self.store.reservation(id).await?),
        }
    }

    /// Ends holds whose time has run out; returns how many it ended and whether there may be more.
    pub async fn expire(&self) -> Result<(usize, bool)> {
        let now = self.ctx.clock().now();
        let batch = self.config.expiry_batch_rows_max.max(1);
        let overdue = self.store.overdue(now, batch).await?;
        let more = overdue.len() == batch as usize;
        let ended = stream::iter(overdue)
            .map(|reservation| self.expire_one(reservation, now))
            .buffer_unordered(EXPIRE_CONCURRENCY)
            .fold(0, async |ended, one| ended + usize::from(one))
            .await;
        Ok((ended, more && ended > 0))
    }

    /// Ends one hold unless a confirm or release was faster. A failure is logged: the next round finds the hold again.
    async fn expire_one(&self, reservation: Reservation, now: Micros) -> bool {
        let flight = self.availability.begin(&reservation.lines, 1);
        match self.store.expire(&reservation, now).await {
            Ok(Ended::Done) => {
                flight.landed();
                count("expire");
                self.open.take(&reservation.id);
                true
            }
            Ok(Ended::NotHeld) => {
                flight.refused();
                false
            }
            Ok(Ended::Broken(at)) => {
                flight.refused();
                // Logged inside; nothing more can be done here.
                let _ = broken(&reservation, at);
                false
            }
            Err(error) => {
                warn!(reservation_id = reservation.id, %error, "a hold was not ended, will try again");
                false
            }
        }
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("mallard_inventory_outcomes_total", "outcome" => outcome).increment(1);
}

/// Logs and returns the refusal to touch books that contradict themselves.
fn broken(reservation: &Reservation, at: usize) -> mallard_types::Error {
    let sku_id = reservation.lines.as_slice().get(at).map_or("", |line| line.sku_id.as_str());
    error!(reservation_id = reservation.id, sku_id, "fewer units are reserved than this hold has");
    Refusal::BooksBroken.into()
}

/// Ends holds as their time runs out, until shutdown.
pub async fn expire_loop(app: Arc<App>) {
    let shutdown = app.ctx.shutdown();
    let interval = Duration::from_millis(app.config.expiry_interval_ms.max(1));
    while !shutdown.is_set() {
        let more = match app.expire().await {
            Ok((0, _)) => false,
            Ok((ended, more)) => {
                info!(ended, "holds ended by time");
                more
            }
            Err(error) => {
                warn!(%error, "expiry failed, will try again");
                false
            }
        };
        if !more {
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = shutdown.wait() => {}
            }
        }
    }
}
