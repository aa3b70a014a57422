//! Giving money, and perhaps units, back.

use std::sync::Arc;

use mallard_db::Tx;
use mallard_flow::FIRST_VERSION;
use mallard_proto::payment::v1 as pay;
use mallard_runtime::Audit;
use mallard_types::{Error, Micros, Money, Result};

use super::place::derived_id;
use super::{App, actor, audited, refused, require_operator};
use crate::domain::{EventKind, Order, Status, Units};
use crate::flows::{Refund, RefundState};
use crate::{error, store};

/// What an operator, or an import, asks to be given back.
#[derive(Clone, Debug)]
pub struct RefundInput {
    pub order_id: String,
    pub amount: Option<Money>,
    pub reason: String,
    pub idempotency_key: String,
    /// Units to put back into stock; none named leaves the choice to the rule of a full refund.
    pub units: Vec<Units>,
    pub reference: String,
    pub customer: String,
    pub country: String,
    pub lines: Vec<pay::RefundLine>,
    pub if_version: Option<i64>,
    /// The units had been sent; else those that were not sent yet come first.
    pub units_sent: bool,
}

/// Longest reason and the like, in characters: what every service that is told of a refund takes.
const TEXT_CHARS_MAX: usize = 200;

/// A refund and its order.
pub struct Refunded {
    pub order: Order,
    pub refund_id: String,
    pub amount: Money,
    pub reason: String,
    pub requested_at: Micros,
    pub done: bool,
}

impl App {
    /// Refunds an order, in part or whole. The same key gives the same refund, and with another amount, reason or units
    /// `idempotency_conflict`.
    pub async fn refund(self: &Arc<Self>, input: RefundInput) -> Result<Refunded> {
        require_operator()?;
        if input.idempotency_key.is_empty() || input.idempotency_key.len() > 255 {
            return Err(error::idempotency_key_required());
        }
        let texts = [
            ("reason", &input.reason),
            ("reference", &input.reference),
            ("customer", &input.customer),
            ("country", &input.country),
        ];
        if let Some((param, _)) = texts.into_iter().find(|(_, text)| text.chars().count() > TEXT_CHARS_MAX) {
            return Err(Error::invalid("too_long", format!("at most {TEXT_CHARS_MAX} characters")).param(param));
        }
        let order = self.reload(&input.order_id).await?;
        let refund_id = derived_id("ref", &order, &input.idempotency_key);
        let backdated_at = mallard_rpc::with_current(|call| call.at);
        let at = self.context.now();
        let shared = Arc::new((self.clone(), input.clone(), refund_id.clone(), actor(), self.context.audit()));
        let started = self
            .db
            .tx("order.refund", move |tx: Tx| {
                let shared = shared.clone();
                async move {
                    let (app, input, refund_id, by, audit) = &*shared;
                    app.request_refund(&tx, input, refund_id, (by, audit), at, backdated_at).await
                }
            })
            .await?;
        match started {
            Some(state) => self.engine.drive_from::<Refund>(&refund_id, FIRST_VERSION, state).await?,
            None => {
                self.check_repeat(&input, &refund_id).await?;
                self.engine.drive::<Refund>(&refund_id).await?
            }
        };
        self.refunded(&input.order_id, &refund_id).await
    }

    /// Refuses a key that was used for another refund.
    async fn check_repeat(&self, input: &RefundInput, refund_id: &str) -> Result<()> {
        let stream: Vec<_> =
            store::events(&self.db, &input.order_id).await?.into_iter().map(|(_, event)| event).collect();
        let units = (!input.units.is_empty()).then_some(input.units.as_slice());
        match Order::asked_the_same(&stream, refund_id, input.amount, units, input.units_sent, &input.reason) {
            true => Ok(()),
            false => Err(error::idempotency_conflict()),
        }
    }

    /// Writes the request and starts its flow; nothing when it is there already.
    async fn request_refund(
        &self,
        tx: &Tx,
        input: &RefundInput,
        refund_id: &str,
        (by, audit): (&str, &Audit),
        at: Micros,
        backdated_at: Option<Micros>,
    ) -> Result<Option<RefundState>> {
        if store::has_event(tx, &input.order_id, "refund_requested", refund_id).await? {
            return Ok(None);
        }
        let order = store::load(tx, &input.order_id).await?;
        super::moves::check(&order, None, input.if_version)?;
        let units = (!input.units.is_empty()).then_some(input.units.as_slice());
        let kind = match units {
            Some(units) if input.units_sent => {
                order.request_refund_of_sent(refund_id, input.amount, units, &input.reason)
            }
            units => order.request_refund(refund_id, input.amount, units, &input.reason),
        }
        .map_err(refused)?;
        let EventKind::RefundRequested { amount, units, .. } = &kind else { return Ok(None) };
        let state = RefundState {
            order_id: order.id.clone(),
            amount: amount.amount,
            currency: amount.currency.as_str().to_owned(),
            reason: input.reason.clone(),
            units: units.iter().map(|u| (u.sku_id.clone(), u.quantity)).collect(),
            reference: input.reference.clone(),
            customer: input.customer.clone(),
            country: input.country.clone(),
            lines: input.lines.iter().map(prost::Message::encode_to_vec).collect(),
            paid_back: false,
            backdated_at,
        };
        let next = self.append(tx, &order, kind.clone(), at, by).await?;
        audit.append(tx, "order.refund", &order.id, || audited::change(&order, &next, &kind)).await?;
        let started = self.engine.start_inline::<Refund>(tx, refund_id, &state).await?;
        Ok(started.then_some(state))
    }

    async fn refunded(&self, order_id: &str, refund_id: &str) -> Result<Refunded> {
        let order = self.reload(order_id).await?;
        let events = store::events(&self.db, order_id).await?;
        let mut found = None;
        let mut done = false;
        let mut refusal = None;
        for (_, event) in events {
            match event.kind {
                EventKind::RefundRequested { refund_id: id, amount, reason, .. } if id == refund_id => {
                    found = Some((amount, reason, event.at));
                }
                EventKind::RefundRefused { refund_id: id, reason, .. } if id == refund_id => refusal = Some(reason),
                EventKind::Refunded { refund_id: id, .. } if id == refund_id => done = true,
                _ => {}
            }
        }
        let (amount, reason, requested_at) = found.ok_or_else(error::not_found)?;
        if let Some(why) = refusal {
            return Err(Error::refused("refund_exceeds_captured", format!("the payment refused the refund: {why}"))
                .param("amount"));
        }
        Ok(Refunded { order, refund_id: refund_id.to_owned(), amount, reason, requested_at, done })
    }

    /// Records in the order's stream that money went back, and with the last of it closes the returns still waiting for an
    /// answer. Knows it already: does nothing.
    pub(crate) async fn record_refund(
        &self,
        tx: &Tx,
        order_id: &str,
        refund_id: &str,
        amount: Money,
        at: Micros,
    ) -> Result<()> {
        if store::has_event(tx, order_id, "refunded", refund_id).await? {
            return Ok(());
        }
        let order = store::load(tx, order_id).await?;
        if order.status == Status::PendingPayment {
            // Captured and refunded before the capture was noted here: that comes first.
            return Err(Error::unavailable("order_not_settled", "the order's payment has not been noted yet"));
        }
        if !order.is_paid() {
            // Money that came after the order was cancelled and went straight back; the order never was paid.
            return Ok(());
        }
        let asked =
            store::has_event(tx, order_id, "refund_requested", refund_id).await? || order.status == Status::Refunding;
        let order = if asked { order } else { self.note_foreign_refund(tx, order, refund_id, amount, at).await? };
        let kind = order.refund(refund_id, amount).map_err(refused)?;
        let mut order = self.append(tx, &order, kind, at, "system").await?;
        for kind in order.close_returns() {
            order = self.append(tx, &order, kind, at, "system").await?;
        }
        Ok(())
    }

    /// Takes back the promise of a refund that the payment refused for good.
    pub(crate) async fn record_refusal(
        &self,
        tx: &Tx,
        refund_id: &str,
        state: &RefundState,
        reason: &str,
        at: Micros,
    ) -> Result<()> {
        if store::has_event(tx, &state.order_id, "refund_refused", refund_id).await? {
            return Ok(());
        }
        let order = store::load(tx, &state.order_id).await?;
        let amount = Money::new(state.amount, order.total.currency);
        let units: Vec<Units> = state
            .units
            .iter()
            .map(|(sku_id, quantity)| Units { sku_id: sku_id.clone(), quantity: *quantity })
            .collect();
        let kind = order.refuse_refund(refund_id, amount, &units, reason).map_err(refused)?;
        self.append(tx, &order, kind, at, "system").await?;
        Ok(())
    }

    /// A refund that began at the payment: with the rest of the money the units come back too.
    async fn note_foreign_refund(
        &self,
        tx: &Tx,
        order: Order,
        refund_id: &str,
        amount: Money,
        at: Micros,
    ) -> Result<Order> {
        // What others were promised in the meantime yields to money that has gone back.
        let mut asked = order.clone();
        asked.refunding = Money::zero(order.total.currency);
        let kind = asked.request_refund(refund_id, Some(amount), None, "refunded at the payment").map_err(refused)?;
        let units = match &kind {
            EventKind::RefundRequested { units, .. } => units.iter().map(|u| (u.sku_id.clone(), u.quantity)).collect(),
            _ => Vec::new(),
        };
        let next = self.append(tx, &order, kind, at, "operator").await?;
        if !units.is_empty() {
            let state = RefundState {
                order_id: order.id.clone(),
                amount: amount.amount,
                currency: amount.currency.as_str().to_owned(),
                reason: "refunded at the payment".into(),
                units,
                paid_back: true,
                ..RefundState::default()
            };
            mallard_flow::start::<Refund>(tx, refund_id, &state, 0).await?;
        }
        Ok(next)
    }
}
