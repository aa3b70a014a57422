//! Events of other services that orders listen to.

use std::sync::Arc;

use async_trait::async_trait;
use mallard_bus::{Envelope, Handler};
use mallard_db::Tx;
use mallard_proto::payment::v1::PaymentRefunded;
use mallard_types::Result;

use crate::app::App;
use crate::convert;

/// Notes refunds that began at the payment.
pub struct PaymentRefundedHandler {
    app: Arc<App>,
}

impl PaymentRefundedHandler {
    /// Makes the handler of a service.
    pub fn new(app: Arc<App>) -> PaymentRefundedHandler {
        PaymentRefundedHandler { app }
    }
}

#[async_trait]
impl Handler for PaymentRefundedHandler {
    async fn handle(&self, tx: &Tx, event: &Envelope) -> Result<()> {
        let refunded: PaymentRefunded = event.decode()?;
        if refunded.order_id.is_empty() {
            return Ok(());
        }
        let amount = convert::money(refunded.amount)?;
        self.app.record_refund(tx, &refunded.order_id, &refunded.refund_id, amount, event.at).await
    }
}
