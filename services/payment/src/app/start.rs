//! Starting a payment: take the order's gate, write the intent, ask the provider outside any transaction, record.

use mallard_types::{Money, Result};
use tracing::warn;

use super::{App, WRITES_MAX, caller, check_owner};
use crate::acquirer::{Charge, Charged};
use crate::domain::{Admission, Card, Failure, Gate, Opening, Outcome, Payment, Plan, Posting};
use crate::error;
use crate::store::Change;

/// A wish to pay, as it came.
#[derive(Clone, Debug)]
pub struct Start {
    /// `pay_…`, the idempotency key.
    pub payment_id: String,
    /// Order to pay.
    pub order_id: String,
    /// Who pays.
    pub user_id: String,
    /// What the order costs.
    pub amount: Money,
    /// card, later or external.
    pub method: String,
    /// Token of the card.
    pub card_token: String,
    /// Exact order total minus the rounded one, in billionths of the major unit.
    pub rounding_nanos: i64,
}

impl App {
    /// Starts the payment of an order, and for a card captures it. The same payment id gives the same payment; an order that
    /// was captured gives the captured one.
    ///
    /// # Errors
    /// Refusals of [`Plan::choose`], [`Opening::check`] and [`Opening::admit`]; `card_token_required`, `card_token_expired`,
    /// `payment_in_progress`, `payment_busy`. A declined card is no error.
    pub async fn start(&self, start: Start) -> Result<Payment> {
        let caller = caller();
        check_owner(&caller, &start.user_id)?;
        let (method, plan) = Plan::choose(&start.method, start.amount, caller.is_system())?;
        let opening = Opening {
            payment_id: start.payment_id,
            order_id: start.order_id,
            user_id: start.user_id,
            amount: start.amount,
            method,
            plan,
            rounding_nanos: start.rounding_nanos,
        };
        opening.check()?;
        let _flight = self.flights.board(&opening.payment_id).await;
        let card = self.vault.find(&start.card_token, &opening.user_id, self.clock_now());
        let payment = self.admit_and_run(&opening, card.as_ref(), &start.card_token).await?;
        if !payment.waits_for_provider() {
            self.vault.forget(&start.card_token);
        }
        Ok(payment)
    }

    async fn admit_and_run(&self, opening: &Opening, card: Option<&Card>, card_token: &str) -> Result<Payment> {
        let ready = opening.plan != Plan::Charge || card.is_some();
        // The common case costs no read: nobody has paid this order before.
        if ready && let Some(payment) = self.open(opening, card, Admission::First).await? {
            return self.carry_out(payment, opening.plan, card).await;
        }
        for _ in 0..WRITES_MAX {
            let gate = self.store.gate(&opening.order_id).await?;
            let existing = self.store.payment(&opening.payment_id).await?;
            let holder = match &gate {
                Some(gate) if !gate.payment_id.is_empty() => self.store.payment(&gate.payment_id).await?,
                _ => None,
            };
            match opening.admit(gate.as_ref(), existing, holder)? {
                Admission::Existing(payment) => return self.resume(payment, card).await,
                Admission::Busy(payment) => self.finish_other(payment).await?,
                _ if !ready && card_token.is_empty() => return Err(error::card_token_required()),
                _ if !ready => return Err(error::card_token_expired()),
                admission => {
                    if let Some(payment) = self.open(opening, card, admission).await? {
                        return self.carry_out(payment, opening.plan, card).await;
                    }
                }
            }
        }
        Err(error::payment_busy())
    }

    /// Takes the gate and writes the attempt; none when somebody was faster.
    async fn open(&self, opening: &Opening, card: Option<&Card>, admission: Admission) -> Result<Option<Payment>> {
        let now = self.ctx.now();
        let face = card.filter(|_| opening.plan == Plan::Charge).map(Card::face);
        let payment = opening.payment(face, now, self.takeover_at());
        let (gate, is_new, given_up) = match admission {
            Admission::Next { gate, given_up } => {
                let given_up = given_up.map(|payment| payment.cancel(now)).transpose()?.flatten();
                (Gate { payment_id: payment.id.clone(), version: gate.version + 1, ..gate }, false, given_up)
            }
            _ => {
                let gate = Gate {
                    order_id: payment.order_id.clone(),
                    payment_id: payment.id.clone(),
                    closed: false,
                    version: 1,
                };
                (gate, true, None)
            }
        };
        let posting = payment.is_captured().then(|| self.planted_posting(Posting::capture(&payment, now)));
        let change = Change {
            gate: Some((&gate, is_new)),
            saved: given_up.iter().collect(),
            opened: Some(&payment),
            posting: posting.as_ref(),
            event: payment.is_captured().then(|| self.captured_event(&payment)),
            ..Change::default()
        };
        Ok(self.store.write("payment.start", change).await?.then_some(payment))
    }

    async fn carry_out(&self, payment: Payment, plan: Plan, card: Option<&Card>) -> Result<Payment> {
        match (plan, card) {
            (Plan::Charge, Some(card)) => self.charge(payment, card).await,
            _ => Ok(payment),
        }
    }

    /// Goes on with an attempt that came before; the provider's key makes a repeat harmless.
    async fn resume(&self, payment: Payment, card: Option<&Card>) -> Result<Payment> {
        if !payment.waits_for_provider() || payment.is_in_flight(self.clock_now()) {
            return Ok(payment);
        }
        self.ask(payment, card).await
    }

    /// Brings another attempt of the order to its end, so that this one can be decided.
    async fn finish_other(&self, other: Payment) -> Result<()> {
        if other.is_in_flight(self.clock_now()) {
            return Err(error::payment_in_progress());
        }
        let other = self.ask(other, None).await?;
        if other.waits_for_provider() { Err(error::payment_in_progress()) } else { Ok(()) }
    }

    /// Asks the provider for the money of an attempt that is written down, and records the answer.
    pub(super) async fn charge(&self, payment: Payment, card: &Card) -> Result<Payment> {
        let charge = Charge {
            key: payment.provider_key.clone(),
            amount: payment.amount,
            card: card.clone(),
            at: payment.created_at,
        };
        let outcome = match self.within_limits(Charged::Unknown, self.provider.authorise_capture(&charge)).await {
            Charged::Captured { provider_ref } => Outcome::Captured { provider_ref },
            Charged::Declined { code } => Outcome::Declined(Failure::of(&code)),
            Charged::Withdrawn => Outcome::Withdrawn { wanted: true },
            Charged::Unknown => Outcome::Unknown,
        };
        let payment = self.record(payment, &outcome).await?;
        self.planted_second_capture(&payment, card).await?;
        if payment.closing {
            // The order was closed meanwhile. Should this fail, the background does it.
            match self.give_back_rest(payment.clone(), super::close::CLOSED).await {
                Ok(payment) => return Ok(payment),
                Err(error) => {
                    warn!(payment_id = payment.id, %error, "money of a closed order could not be given back yet")
                }
            }
        }
        Ok(payment)
    }
}
