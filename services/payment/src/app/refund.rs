//! Giving money back: set it aside on the payment, ask the provider outside any transaction, record.

use mallard_proto::payment::v1::PaymentRefunded;
use mallard_types::{Money, Result};
use serde_json::{Value, json};
use tracing::{error as log_error, info, warn};

use super::{App, WRITES_MAX, check_operator};
use crate::acquirer::{Repaid, Repayment};
use crate::domain::{Payment, Posting, Refund, RefundRequest, RefundStatus, refund};
use crate::error;
use crate::store::Change;

impl App {
    /// Gives back part of what an order paid. The same refund id gives the same refund. An empty order records money that
    /// went back for a payment nobody found, for the mall itself only.
    ///
    /// # Errors
    /// `forbidden`, `payment_not_found`, `illegal_transition`, `refund_exceeds_captured`, `currency_mismatch`,
    /// `idempotency_conflict`, `payment_busy`, and those of [`RefundRequest::check`].
    pub async fn refund_order(&self, order_id: &str, request: &RefundRequest) -> Result<(Refund, Option<Payment>)> {
        check_operator()?;
        request.check()?;
        if order_id.is_empty() {
            return Ok((self.record_unmatched(request).await?, None));
        }
        let holder = self.store.holder(order_id).await?.ok_or_else(error::payment_not_found)?;
        let (refund, payment) = self.refund_payment(&holder.id, request).await?;
        Ok((refund, Some(payment)))
    }

    /// Gives back part of a payment for an operator; everything that is left without an amount.
    ///
    /// # Errors
    /// As [`App::refund_order`].
    pub async fn refund_by_operator(
        &self,
        payment_id: &str,
        amount: Option<Money>,
        reason: String,
        idempotency_key: &str,
    ) -> Result<(Refund, Payment)> {
        check_operator()?;
        if idempotency_key.is_empty() {
            return Err(error::idempotency_key_required());
        }
        if reason.is_empty() {
            return Err(error::required("reason"));
        }
        let payment = self.known(payment_id).await?;
        let id = refund::derive_id(&payment, idempotency_key);
        let request = RefundRequest { amount, reason, ..RefundRequest::rest(id, "") };
        request.check()?;
        self.refund_payment(payment_id, &request).await
    }

    /// Begins a refund, or goes on with it.
    pub(super) async fn refund_payment(&self, payment_id: &str, request: &RefundRequest) -> Result<(Refund, Payment)> {
        for _ in 0..WRITES_MAX {
            let payment = self.known(payment_id).await?;
            if let Some(refund) = self.store.refund(&request.id).await? {
                if !refund.is_of(request, &payment.order_id) || refund.payment_id != payment.id {
                    return Err(error::idempotency_conflict("refund_id"));
                }
                return self.pursue(refund).await;
            }
            let now = self.ctx.now();
            let (next, refund) = Refund::begin(&payment, request, now, self.takeover_at())?;
            let done = refund.status == RefundStatus::Succeeded;
            let posting = done.then(|| Posting::refund(&refund, &next, now));
            let change = Change {
                saved: vec![&next],
                refund_opened: Some(&refund),
                posting: posting.as_ref(),
                event: done.then(|| self.refunded_event(&refund, &next)),
                audit: self.ctx.audit().record("payment.refund", &payment.id, || audited(&payment, &next, &refund)),
                ..Change::default()
            };
            if self.store.write("payment.refund", change).await? {
                return if done { Ok((refund, next)) } else { self.pursue(refund).await };
            }
        }
        Err(error::payment_busy())
    }

    /// Asks the provider to give back a refund that is written down, and records the answer. Repeats are harmless.
    pub(super) async fn pursue(&self, refund: Refund) -> Result<(Refund, Payment)> {
        let payment = self.known(&refund.payment_id).await?;
        if refund.status != RefundStatus::Pending {
            return Ok((refund, payment));
        }
        let repayment = Repayment {
            key: refund.id.clone(),
            provider_ref: payment.provider_ref.clone(),
            amount: refund.amount,
            at: refund.created_at,
        };
        let answer = self.within_limits(Repaid::Unknown, self.provider.refund(&repayment)).await;
        self.record_refund(refund, payment, &answer).await
    }

    async fn record_refund(
        &self,
        mut refund: Refund,
        mut payment: Payment,
        answer: &Repaid,
    ) -> Result<(Refund, Payment)> {
        for _ in 0..WRITES_MAX {
            if refund.status != RefundStatus::Pending {
                return Ok((refund, payment));
            }
            let now = self.ctx.now();
            let (next_refund, next_payment) = match answer {
                Repaid::Done => end(&refund, &payment, RefundStatus::Succeeded, now),
                Repaid::Refused { .. } => end(&refund, &payment, RefundStatus::Failed, now),
                Repaid::Unknown => (refund.postpone(self.clock_now()), None),
            };
            let done = next_refund.status == RefundStatus::Succeeded;
            let posting =
                next_payment.as_ref().filter(|_| done).map(|payment| Posting::refund(&next_refund, payment, now));
            let change = Change {
                saved: next_payment.iter().collect(),
                refund_saved: Some(&next_refund),
                posting: posting.as_ref(),
                event: next_payment.as_ref().filter(|_| done).map(|payment| self.refunded_event(&next_refund, payment)),
                ..Change::default()
            };
            if self.store.write("payment.refunded", change).await? {
                note(&next_refund, answer);
                return Ok((next_refund, next_payment.unwrap_or(payment)));
            }
            refund = self.store.refund(&refund.id).await?.ok_or_else(|| error::broken_row("refund"))?;
            payment = self.known(&payment.id).await?;
        }
        Err(error::payment_busy())
    }

    pub(super) async fn bring_refund_forward(&self, id: &str) -> Result<()> {
        if let Some(refund) = self.store.refund(id).await? {
            self.pursue(refund).await?;
        }
        Ok(())
    }

    async fn record_unmatched(&self, request: &RefundRequest) -> Result<Refund> {
        if !super::caller().is_system() {
            return Err(error::required("order_id"));
        }
        let now = self.ctx.now();
        let refund = Refund::unmatched(request, now)?;
        let posting = Posting::unmatched_refund(&refund, now);
        let change = Change { refund_opened: Some(&refund), posting: Some(&posting), ..Change::default() };
        if self.store.write("payment.refund_unmatched", change).await? {
            return Ok(refund);
        }
        let known = self.store.refund(&request.id).await?.ok_or_else(|| error::broken_row("refund"))?;
        if known.is_of(request, "") { Ok(known) } else { Err(error::idempotency_conflict("refund_id")) }
    }

    fn refunded_event(&self, refund: &Refund, payment: &Payment) -> mallard_bus::Envelope {
        let message = PaymentRefunded {
            refund_id: refund.id.clone(),
            payment_id: payment.id.clone(),
            order_id: payment.order_id.clone(),
            amount: Some(refund.amount.into()),
            full: payment.refunded == payment.captured,
            refunded_total: Some(Money::new(payment.refunded, payment.amount.currency).into()),
        };
        self.event(&payment.order_id, &message)
    }
}

fn end(refund: &Refund, payment: &Payment, status: RefundStatus, now: i64) -> (Refund, Option<Payment>) {
    let refund = refund.end(status, now);
    let payment = payment.end_refund(&refund, now);
    (refund, Some(payment))
}

/// Tells the log and the metrics what became of a refund.
fn note(refund: &Refund, answer: &Repaid) {
    metrics::counter!("mallard_refunds_total", "status" => refund.status.as_str()).increment(1);
    let (refund_id, payment_id) = (&refund.id, &refund.payment_id);
    match answer {
        Repaid::Done => info!(refund_id, payment_id, "refund succeeded"),
        Repaid::Refused { code } => log_error!(refund_id, payment_id, code, "the provider refused a refund"),
        Repaid::Unknown => {
            warn!(refund_id, payment_id, attempts = refund.attempts, "the provider gave no answer, will ask again")
        }
    }
}

/// Tells the audit log what a refund changed.
fn audited(before: &Payment, after: &Payment, refund: &Refund) -> (Value, Value) {
    let fields = |payment: &Payment| {
        json!({
            "status": payment.status.as_str(),
            "refunded": payment.refunded,
            "refunding": payment.refunding,
        })
    };
    let mut now = fields(after);
    now["refund_id"] = json!(refund.id);
    now["amount"] = json!({ "amount": refund.amount.amount, "currency": refund.amount.currency.as_str() });
    now["reason"] = json!(refund.reason);
    (fields(before), now)
}
