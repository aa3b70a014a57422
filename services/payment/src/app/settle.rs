//! What the provider says, and writing it down.

use mallard_proto::payment::v1::PaymentCaptured;
use mallard_types::{Micros, Result};
use tracing::{info, warn};

use super::{App, WRITES_MAX};
use crate::acquirer::{Found, Withdrawn};
use crate::domain::{Card, Failure, Outcome, Payment, Posting, Status};
use crate::error;
use crate::store::{Change, Due};

/// How long a row that cannot be settled is left alone, in microseconds.
const STUMBLE_MICROS: i64 = 30_000_000;

impl App {
    /// Asks the provider what became of an attempt and records the answer. A key the provider has never seen is charged when
    /// the card is at hand, and withdrawn when it is not, so that a request still on its way cannot move money any more.
    pub(super) async fn ask(&self, payment: Payment, card: Option<&Card>) -> Result<Payment> {
        let outcome = if payment.closing {
            self.withdraw(&payment, true).await
        } else {
            match self.within_limits(Found::Unknown, self.provider.query(&payment.provider_key)).await {
                Found::Captured { provider_ref } => Outcome::Captured { provider_ref },
                Found::Declined { code } => Outcome::Declined(Failure::of(&code)),
                Found::Withdrawn => Outcome::Withdrawn { wanted: true },
                Found::Unknown => Outcome::Unknown,
                Found::Missing => match card {
                    Some(card) => return self.charge(payment, card).await,
                    None => self.withdraw(&payment, false).await,
                },
            }
        };
        let payment = self.record(payment, &outcome).await?;
        if payment.closing { self.give_back_rest(payment, super::close::CLOSED).await } else { Ok(payment) }
    }

    /// Has the provider promise that no money moves, unless it did.
    pub(super) async fn withdraw(&self, payment: &Payment, wanted: bool) -> Outcome {
        let at = self.ctx.now();
        match self.within_limits(Withdrawn::Unknown, self.provider.withdraw(&payment.provider_key, at)).await {
            Withdrawn::Done => Outcome::Withdrawn { wanted },
            Withdrawn::Captured { provider_ref } => Outcome::Captured { provider_ref },
            Withdrawn::Unknown => Outcome::Unknown,
        }
    }

    /// Writes the provider's answer down: row, ledger and event in one unit. An answer that is written already changes
    /// nothing.
    pub(super) async fn record(&self, mut payment: Payment, outcome: &Outcome) -> Result<Payment> {
        for _ in 0..WRITES_MAX {
            let now = self.ctx.now();
            let Some(next) = payment.settle(outcome, now, self.clock_now())? else { return Ok(payment) };
            let posting = next.is_captured().then(|| self.planted_posting(Posting::capture(&next, now)));
            let change = Change {
                saved: vec![&next],
                posting: posting.as_ref(),
                event: next.is_captured().then(|| self.captured_event(&next)),
                ..Change::default()
            };
            if self.store.write("payment.settle", change).await? {
                note(&next);
                return Ok(next);
            }
            payment = self.known(&payment.id).await?;
        }
        Err(error::payment_busy())
    }

    pub(super) fn captured_event(&self, payment: &Payment) -> mallard_bus::Envelope {
        let message = PaymentCaptured {
            payment_id: payment.id.clone(),
            order_id: payment.order_id.clone(),
            amount: Some(payment.amount.into()),
        };
        self.event(&payment.order_id, &message)
    }

    /// Lists what the background has to look at.
    ///
    /// # Errors
    /// The database's.
    pub async fn due(&self) -> Result<Vec<Due>> {
        self.store.due(self.clock_now()).await
    }

    /// Brings one unsettled payment or refund forward; what cannot be settled now is left for later.
    pub async fn bring_forward(&self, due: Due) {
        let result = match &due {
            Due::Payment(id) => self.bring_payment_forward(id).await,
            Due::Refund(id) => self.bring_refund_forward(id).await,
        };
        let Err(error) = result else { return };
        warn!(?due, %error, "could not settle with the provider, will try again");
        let until: Micros = self.clock_now() + STUMBLE_MICROS;
        if let Err(error) = self.store.postpone(&due, until).await {
            warn!(?due, %error, "could not postpone");
        }
    }

    async fn bring_payment_forward(&self, id: &str) -> Result<()> {
        let payment = self.known(id).await?;
        if payment.waits_for_provider() {
            self.ask(payment, None).await?;
        } else if payment.closing && payment.refundable() > 0 {
            self.give_back_rest(payment, super::close::CLOSED).await?;
        } else if let Some(rested) = payment.rest(self.ctx.now()) {
            // Somebody else was faster.
            self.store.write("payment.rest", Change { saved: vec![&rested], ..Change::default() }).await?;
        }
        Ok(())
    }
}

/// Tells the log and the metrics what became of an attempt.
fn note(payment: &Payment) {
    metrics::counter!("mallard_payments_total", "status" => payment.status.as_str()).increment(1);
    match (payment.status, &payment.failure) {
        (Status::Failed, Some(failure)) => {
            info!(payment_id = payment.id, order_id = payment.order_id, code = failure.code, "payment failed");
        }
        (Status::Pending, _) => {
            warn!(payment_id = payment.id, attempts = payment.attempts, "the provider gave no answer, will ask again");
        }
        (status, _) => {
            info!(payment_id = payment.id, order_id = payment.order_id, status = status.as_str(), "payment settled")
        }
    }
}
