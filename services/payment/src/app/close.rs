//! Ending payments: an order that is given up, a shopper who changes their mind.

use mallard_types::{Money, Result};
use tracing::{info, warn};

use super::{App, WRITES_MAX};
use crate::domain::{Gate, Outcome, Payment, RefundRequest, Status, refund};
use crate::error;
use crate::store::Change;

/// Reason of refunds that the background gives for a closed order.
pub(super) const CLOSED: &str = "order closed";

/// What closing an order's payments led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The provider has not given a final answer.
    pub unknown: bool,
    /// What went back, when money had moved.
    pub refunded: Option<Money>,
}

impl App {
    /// Shuts an order's gate for ever, cancels what is open and gives back what was captured. Closing again goes on where
    /// it stopped.
    ///
    /// # Errors
    /// `required` without an order; `refund_failed` when the provider will not give the money back; `payment_busy`.
    pub async fn close(&self, order_id: &str, reason: &str) -> Result<Closed> {
        if order_id.is_empty() {
            return Err(error::required("order_id"));
        }
        let reason = if reason.is_empty() { CLOSED } else { reason };
        let Some(mut payment) = self.shut_gate(order_id).await? else {
            return Ok(Closed { unknown: false, refunded: None });
        };
        if payment.waits_for_provider() {
            let outcome = self.withdraw(&payment, true).await;
            payment = self.record(payment, &outcome).await?;
        }
        if payment.closing {
            payment = self.give_back_rest(payment, reason).await?;
        }
        let on_its_way = payment.refunding > 0 || (payment.closing && payment.refundable() > 0);
        let refunded = (payment.refunded > 0).then(|| Money::new(payment.refunded, payment.amount.currency));
        Ok(Closed { unknown: payment.waits_for_provider() || on_its_way, refunded })
    }

    /// Writes the closing; returns the payment it concerns.
    async fn shut_gate(&self, order_id: &str) -> Result<Option<Payment>> {
        for _ in 0..WRITES_MAX {
            let gate = self.store.gate(order_id).await?;
            let payment = match &gate {
                Some(gate) if !gate.payment_id.is_empty() => self.store.payment(&gate.payment_id).await?,
                _ => None,
            };
            let next = payment.as_ref().and_then(|payment| payment.close(self.ctx.now(), self.clock_now()));
            let (shut, is_new) = match gate {
                Some(gate) if gate.closed && next.is_none() => return Ok(payment),
                Some(gate) => (Gate { closed: true, version: gate.version + 1, ..gate }, false),
                None => {
                    let gate =
                        Gate { order_id: order_id.to_owned(), payment_id: String::new(), closed: true, version: 1 };
                    (gate, true)
                }
            };
            let change = Change { gate: Some((&shut, is_new)), saved: next.iter().collect(), ..Change::default() };
            if self.store.write("payment.close", change).await? {
                info!(order_id, "payments closed");
                return Ok(next.or(payment));
            }
        }
        Err(error::payment_busy())
    }

    /// Gives back whatever is left of a payment whose order is closed.
    pub(super) async fn give_back_rest(&self, payment: Payment, reason: &str) -> Result<Payment> {
        if !payment.is_captured() {
            return Ok(payment);
        }
        for pending in self.store.pending_refunds(&payment.id).await? {
            self.pursue(pending).await?;
        }
        let payment = self.known(&payment.id).await?;
        if payment.refundable() <= 0 {
            return Ok(payment);
        }
        // The same rest has the same id, so two who give it back give it once.
        let key = format!("close:{}", payment.captured - payment.refundable());
        let request = RefundRequest::rest(refund::derive_id(&payment, &key), reason);
        let (refund, payment) = self.refund_payment(&payment.id, &request).await?;
        if refund.status == crate::domain::RefundStatus::Failed {
            warn!(
                payment_id = payment.id,
                refund_id = refund.id,
                "the provider refuses to give back money of a closed order"
            );
            return Err(error::refund_failed());
        }
        Ok(payment)
    }

    /// Cancels a payment that is still open, for its user or an operator. Cancelling twice is the same as once.
    ///
    /// # Errors
    /// `payment_not_found`; `illegal_transition` once money moved or the attempt failed; `payment_unknown` while the
    /// provider does not say.
    pub async fn cancel(&self, id: &str) -> Result<Payment> {
        let mut payment = self.visible(id).await?;
        for _ in 0..WRITES_MAX {
            if payment.waits_for_provider() {
                return self.cancel_at_provider(payment).await;
            }
            let Some(next) = payment.cancel(self.ctx.now())? else { return Ok(payment) };
            if self.store.write("payment.cancel", Change { saved: vec![&next], ..Change::default() }).await? {
                info!(payment_id = next.id, "payment cancelled");
                return Ok(next);
            }
            payment = self.known(id).await?;
        }
        Err(error::payment_busy())
    }

    async fn cancel_at_provider(&self, payment: Payment) -> Result<Payment> {
        let outcome = self.withdraw(&payment, true).await;
        if outcome == Outcome::Unknown {
            return Err(error::payment_unknown());
        }
        let payment = self.record(payment, &outcome).await?;
        if payment.status == Status::Cancelled { Ok(payment) } else { Err(payment.illegal("cancelled")) }
    }
}
