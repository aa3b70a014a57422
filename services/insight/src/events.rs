//! The intake: what orders say becomes facts. One statement per event; the sums follow in batches (`app/fold.rs`).

use std::sync::Arc;

use async_trait::async_trait;
use mallard_bus::{Envelope, Handler, Subscription};
use mallard_db::Tx;
use mallard_proto::events::{ORDER_PAID_V1, ORDER_PLACED_V1, ORDER_REFUNDED_V1};
use mallard_proto::order::v1::OrderChanged;
use mallard_types::Result;

use crate::domain::Fact;
use crate::{convert, error, store};

/// Kinds of events the service wants.
pub const KINDS: &[&str] = &[ORDER_PLACED_V1, ORDER_PAID_V1, ORDER_REFUNDED_V1];

/// Returns the handler of [`KINDS`].
pub fn subscription() -> Subscription {
    Subscription::new(KINDS, Arc::new(Take))
}

/// Writes down what happened to an order.
struct Take;

#[async_trait]
impl Handler for Take {
    async fn handle(&self, tx: &Tx, event: &Envelope) -> Result<()> {
        store::take(tx, &[fact(event)?]).await?;
        Ok(())
    }

    async fn handle_many(&self, tx: &Tx, events: &[&Envelope]) -> Result<bool> {
        let facts = events.iter().map(|event| fact(event)).collect::<Result<Vec<_>>>()?;
        store::take(tx, &facts).await?;
        Ok(true)
    }
}

fn fact(event: &Envelope) -> Result<Fact> {
    let changed: OrderChanged = event.decode()?;
    let order = changed.order.ok_or_else(|| error::bad_order("anything in it"))?;
    convert::of_event(&event.kind, event.at, &order)
}
