//! What visitors did, counted for the operators: products looked at, carts filled, checkouts opened. Counts go to insight in
//! batches; one that cannot be sent waits and is sent again under its id, so it counts once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use mallard_proto::insight::v1::CountVisitsRequest;
use mallard_proto::insight::v1::insight_service_client::InsightServiceClient;
use mallard_rpc::{Call, ServiceChannel};
use mallard_runtime::Context;
use mallard_types::{Kind, Micros};
use tokio::time::{Instant, sleep};

/// Longest time for a batch to be taken.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The same while the process stops.
const LAST_TIMEOUT: Duration = Duration::from_millis(500);

/// Something a visitor did.
#[derive(Clone, Copy, Debug)]
pub enum Visit {
    /// Looked at a product.
    Product,
    /// Put something into the cart.
    Cart,
    /// Opened the checkout.
    Checkout,
}

/// Counts.
pub struct Visits {
    ctx: Context,
    client: InsightServiceClient<ServiceChannel>,
    interval: Duration,
    counts: [AtomicI64; 3],
}

impl Visits {
    /// Makes counters, all at nothing; `interval` is the pause between batches.
    pub fn new(ctx: Context, interval: Duration) -> Visits {
        Visits { client: ctx.client(), interval, counts: Default::default(), ctx }
    }

    /// Counts a visit.
    pub fn count(&self, visit: Visit) {
        self.counts[visit as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Sends batches until shutdown; then the one that waits, and what was counted since.
    pub async fn keep_telling(self: Arc<Self>) {
        let shutdown = self.ctx.shutdown();
        let mut waiting: Option<CountVisitsRequest> = None;
        loop {
            tokio::select! {
                () = sleep(self.interval) => {}
                () = shutdown.wait() => break,
            }
            // While one waits the counters go on: what was sent and not answered may have been counted.
            if let Some(batch) = waiting.take().or_else(|| self.take()) {
                waiting = self.tell(batch, TIMEOUT).await;
            }
        }
        for batch in [waiting, self.take()].into_iter().flatten() {
            self.tell(batch, LAST_TIMEOUT).await;
        }
    }

    /// Takes what was counted; nothing when there is nothing.
    fn take(&self) -> Option<CountVisitsRequest> {
        let [product_views, cart_additions, checkouts] =
            self.counts.each_ref().map(|count| count.swap(0, Ordering::Relaxed));
        if product_views + cart_additions + checkouts == 0 {
            return None;
        }
        Some(CountVisitsRequest {
            batch_id: self.ctx.id("vis"),
            date: day(self.ctx.clock().now()),
            product_views,
            cart_additions,
            checkouts,
        })
    }

    /// Sends a batch; returns it when it has to be sent again.
    async fn tell(&self, batch: CountVisitsRequest, timeout: Duration) -> Option<CountVisitsRequest> {
        let call = Call { deadline: Some(Instant::now() + timeout), ..Call::system(self.ctx.service()) };
        let answer = mallard_rpc::scope(call, self.client.clone().count_visits(batch.clone())).await;
        match answer.map_err(mallard_rpc::error) {
            Ok(_) => None,
            Err(error) if matches!(error.kind, Kind::Unavailable | Kind::Deadline | Kind::Internal) => {
                tracing::debug!(%error, "the visits could not be told yet");
                Some(batch)
            }
            Err(error) => {
                tracing::warn!(%error, batch = batch.batch_id, "a batch of visits was refused");
                None
            }
        }
    }
}

/// Writes the day (UTC) of a time, e.g. 2026-11-21.
fn day(micros: Micros) -> String {
    let stamp = Timestamp::from_microsecond(micros).unwrap_or_default();
    stamp.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::day;

    #[test]
    fn a_day_is_written_in_utc() {
        assert_eq!(day(1_767_225_599_999_999), "2025-12-31");
        assert_eq!(day(1_767_225_600_000_000), "2026-01-01");
    }
}
