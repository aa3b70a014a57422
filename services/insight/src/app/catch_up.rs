//! Orders whose events nobody took: those older than this service. At every start it goes on where it was, so that it also
//! finds what happened while a version of the mall ran that did not know it.

use std::sync::Arc;
use std::time::Duration;

use mallard_proto::ANSWER_BYTES_MAX;
use mallard_proto::order::v1::order_service_client::OrderServiceClient;
use mallard_proto::order::v1::{ListOrderEventsRequest, Order, OrderStatus, ScanOrdersRequest};
use mallard_rpc::{Call, ServiceChannel};
use mallard_types::Result;
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

    /// Catches up with one page of orders; returns whether there may be more.
    async fn catch_up(&self) -> Result<bool> {
        let after_id = self.store.reached().await?;
        let mut client = self.orders();
        let request = ScanOrdersRequest { after_id, limit: PAGE_ORDERS };
        let orders = client.scan_orders(request).await.map_err(mallard_rpc::error)?.into_inner().orders;
        let Some(last) = orders.last() else { return Ok(false) };
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
        self.store.catch_up(facts, last.id.clone()).await?;
        Ok(true)
    }
}

/// Catches up with all orders there are, and then waits for the shutdown.
pub async fn catch_up_task(app: Arc<App>) {
    let shutdown = app.ctx.shutdown();
    let mut away = AWAY_FIRST;
    while !shutdown.is_set() {
        let pause = match mallard_rpc::scope(Call::system("insight"), app.catch_up()).await {
            Ok(true) => {
                away = AWAY_FIRST;
                BETWEEN_PAGES
            }
            Ok(false) => break,
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
