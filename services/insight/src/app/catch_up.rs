//! Orders whose events nobody took: those older than this service. At every start it goes on some days before where it was, so
//! that it also finds what happened while a version of the mall ran that did not know it: orders that were placed then, and
//! those it had read before that were paid or given back then.

use std::sync::Arc;
use std::time::Duration;

use mallard_proto::ANSWER_BYTES_MAX;
use mallard_proto::order::v1::order_service_client::OrderServiceClient;
use mallard_proto::order::v1::{ListOrderEventsRequest, Order, OrderStatus, ScanOrdersRequest};
use mallard_rpc::{Call, ServiceChannel};
use mallard_types::{Result, id};
use tracing::{info, warn};

use super::App;
use crate::convert;
use crate::store::Known;

/// Orders read at once: whole ones, with up to some hundred kilobytes each.
pub const PAGE_ORDERS: i32 = 100;
/// Pause between pages: old orders have time.
const BETWEEN_PAGES: Duration = Duration::from_millis(5);
/// First pause while the orders are away, as they are until all services of the process have started; it doubles.
const AWAY_FIRST: Duration = Duration::from_millis(20);
/// Longest pause while they are away, which is also told.
const AWAY_LONGEST: Duration = Duration::from_secs(5);

/// Returns what the service does not know of an order although it happened.
pub fn lacks(order: &Order, known: Known) -> Option<String> {
    let total = order.total.as_ref().map_or(0, |money| money.amount);
    let refunded = order.refunded.as_ref().map_or(0, |money| money.amount);
    let is_paid = !matches!(order.status(), OrderStatus::PendingPayment | OrderStatus::Cancelled);
    let should = Known { placed: true, paid: is_paid.then_some(total), refunded };
    (known != should).then(|| format!("{} should be {should:?} and is {known:?}", order.id))
}

impl App {
    /// Makes a client of the order service that takes large pages.
    pub fn orders(&self) -> OrderServiceClient<ServiceChannel> {
        self.ctx.client::<OrderServiceClient<ServiceChannel>>().max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Returns the order to begin after: that of `catch_up_days` before the last one that was read.
    async fn begin(&self) -> Result<String> {
        let reached = self.store.reached().await?;
        let Some(placed_at) = id::made_at("ord", &reached) else { return Ok(reached) };
        let back = i64::from(self.config.catch_up_days) * 86_400_000_000;
        Ok(id::make("ord", placed_at - back, [0; 10]))
    }

    /// Catches up with the page of orders after one; returns the last of it, or none when there are no more.
    async fn catch_up(&self, after_id: String) -> Result<Option<String>> {
        let reached = self.store.reached().await?;
        let mut client = self.orders();
        let request = ScanOrdersRequest { after_id, limit: PAGE_ORDERS };
        let orders = client.scan_orders(request).await.map_err(mallard_rpc::error)?.into_inner().orders;
        let Some(last) = orders.last() else { return Ok(None) };
        let ids: Vec<&str> = orders.iter().map(|order| order.id.as_str()).collect();
        let known = self.store.known(&ids).await?;
        let mut facts = Vec::new();
        for order in &orders {
            if lacks(order, known.get(&order.id).copied().unwrap_or_default()).is_none() {
                continue;
            }
            let request = ListOrderEventsRequest { id: order.id.clone() };
            let events = client.admin_list_order_events(request).await.map_err(mallard_rpc::error)?.into_inner().events;
            facts.extend(convert::of_stream(order, &events)?);
        }
        if !facts.is_empty() {
            info!(facts = facts.len(), up_to = last.id, "caught up with orders");
        }
        // What was reached before stays reached: it only ever moves forward.
        self.store.catch_up(facts, reached.max(last.id.clone())).await?;
        Ok(Some(last.id.clone()))
    }
}

/// Catches up with all orders there are, and then waits for the shutdown.
pub async fn catch_up_task(app: Arc<App>) {
    let shutdown = app.ctx.shutdown();
    let mut away = AWAY_FIRST;
    let mut after_id = None;
    while !shutdown.is_set() {
        let page = async {
            let after_id = match after_id.clone() {
                Some(after_id) => after_id,
                None => app.begin().await?,
            };
            app.catch_up(after_id).await
        };
        let pause = match mallard_rpc::scope(Call::system("insight"), page).await {
            Ok(Some(last)) => {
                after_id = Some(last);
                away = AWAY_FIRST;
                BETWEEN_PAGES
            }
            Ok(None) => break,
            Err(error) => {
                let pause = away;
                away = (away * 2).min(AWAY_LONGEST);
                if pause == AWAY_LONGEST {
                    warn!(%error, "older orders cannot be read, will try again");
                }
                pause
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.wait() => return,
        }
    }
    shutdown.wait().await;
}
