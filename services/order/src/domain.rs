//! What an order is and which moves it allows. Pure: values in, events or refusals out.

mod event;
mod status;

use std::collections::BTreeMap;

pub use event::{Event, EventKind};
use mallard_types::{Micros, Money};
pub use status::{PaymentStatus, Status};

/// Why an order does not allow a move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The status graph has no such edge.
    IllegalTransition {
        /// Present status.
        from: Status,
        /// What was tried, as a verb.
        verb: &'static str,
    },
    /// More money would go back than came in.
    RefundExceedsPaid {
        /// What can still be given back.
        refundable: Money,
    },
    /// An amount that is not positive, or of another currency.
    BadAmount,
    /// More units would come back than were sold and are still out.
    ReturnExceedsSold {
        /// The SKU in question.
        sku_id: String,
        /// Units that can still come back.
        returnable: i64,
    },
}

/// A postal address. Every field is kept as the shopper wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    pub name: String,
    pub phone: String,
    pub country: String,
    pub province: String,
    pub city: String,
    pub district: String,
    pub street: String,
    pub postal_code: String,
}

/// One line, with the names and prices of the moment the order was placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub id: String,
    pub sku_id: String,
    pub product_id: String,
    pub seller_id: String,
    pub title: String,
    pub options: BTreeMap<String, String>,
    pub quantity: i64,
    pub unit_price: Money,
    pub discount: Money,
    pub line_total: Money,
    pub image_url: String,
    pub code: String,
    /// Exact line total minus the rounded one, in billionths of the major unit.
    pub rounding_nanos: i64,
    /// Units given back with refunds.
    pub returned: i64,
}

/// Units of a SKU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Units {
    pub sku_id: String,
    pub quantity: i64,
}

/// The order aggregate: the fold of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub id: String,
    pub number: String,
    pub user_id: String,
    pub status: Status,
    pub payment_status: PaymentStatus,
    pub lines: Vec<Line>,
    pub subtotal: Money,
    pub discount: Money,
    pub shipping: Money,
    pub tax: Money,
    pub total: Money,
    pub refunded: Money,
    /// Asked back but not yet given back.
    pub refunding: Money,
    pub address: Option<Address>,
    pub note: String,
    pub payment_id: String,
    pub cancel_reason: String,
    /// Status to go back to when a refund of everything is refused.
    pub before_refund: Option<Status>,
    /// Paper the order comes from (import).
    pub reference: String,
    /// Customer's number on that paper.
    pub customer: String,
    pub expires_at: Micros,
    pub created_at: Micros,
    pub updated_at: Micros,
    /// Number of events so far.
    pub version: i64,
}

impl Order {
    /// Starts the stream: the order as placed, version 1.
    pub fn placed(mut order: Order) -> (Order, Event) {
        order.status = Status::PendingPayment;
        order.payment_status = PaymentStatus::Pending;
        order.version = 1;
        order.updated_at = order.created_at;
        let kind = EventKind::Placed(Box::new(order.clone()));
        let event = Event { version: 1, at: order.created_at, by: order.user_id.clone(), kind };
        (order, event)
    }

    /// Records the captured payment.
    ///
    /// # Errors
    /// The order does not wait for payment.
    pub fn pay(&self, payment_id: &str, amount: Money) -> Result<EventKind, Refusal> {
        self.only_from(&[Status::PendingPayment], "pay")?;
        Ok(EventKind::Paid { payment_id: payment_id.into(), amount })
    }

    /// Records an attempt to pay that was declined; the order goes on waiting.
    ///
    /// # Errors
    /// The order does not wait for payment.
    pub fn fail_payment(&self, payment_id: &str, reason: &str) -> Result<EventKind, Refusal> {
        self.only_from(&[Status::PendingPayment], "fail the payment of")?;
        Ok(EventKind::PaymentFailed { payment_id: payment_id.into(), reason: reason.into() })
    }

    /// Cancels the unpaid order.
    ///
    /// # Errors
    /// The order is not unpaid: a paid one is refunded instead.
    pub fn cancel(&self, reason: &str) -> Result<EventKind, Refusal> {
        self.only_from(&[Status::PendingPayment], "cancel")?;
        Ok(EventKind::Cancelled { reason: reason.into() })
    }

    /// Changes where the order goes.
    ///
    /// # Errors
    /// The order has been shipped, cancelled or refunded.
    pub fn change_address(&self, address: Address) -> Result<EventKind, Refusal> {
        self.only_from(&[Status::PendingPayment, Status::Paid], "change the address of")?;
        Ok(EventKind::AddressChanged { address })
    }

    /// Ships everything.
    ///
    /// # Errors
    /// The order is not paid, or already shipped.
    pub fn ship(&self, carrier: &str, tracking_number: &str) -> Result<EventKind, Refusal> {
        self.only_from(&[Status::Paid, Status::PartiallyShipped], "ship")?;
        Ok(EventKind::Shipped { carrier: carrier.into(), tracking_number: tracking_number.into() })
    }

    /// Records the delivery.
    ///
    /// # Errors
    /// The order has not been shipped.
    pub fn deliver(&self) -> Result<EventKind, Refusal> {
        self.only_from(&[Status::Shipped], "deliver")?;
        Ok(EventKind::Delivered)
    }

    /// Asks for money back, everything that is left when no amount is given, and takes units back: those named, or with the
    /// rest of the money every unit still out.
    ///
    /// # Errors
    /// The order is not paid, the amount is not positive or more than is left, or more units come back than are out.
    pub fn request_refund(
        &self,
        refund_id: &str,
        amount: Option<Money>,
        units: Option<&[Units]>,
        reason: &str,
    ) -> Result<EventKind, Refusal> {
        self.only_from(&PAID_STATUSES, "refund")?;
        let refundable = self.refundable();
        let amount = amount.unwrap_or(refundable);
        if amount.currency != refundable.currency || amount.amount < 0 {
            return Err(Refusal::BadAmount);
        }
        if amount.amount > refundable.amount {
            return Err(Refusal::RefundExceedsPaid { refundable });
        }
        if amount.amount == 0 && self.total.amount != 0 {
            return Err(if refundable.amount == 0 {
                Refusal::RefundExceedsPaid { refundable }
            } else {
                Refusal::BadAmount
            });
        }
        let units = if let Some(units) = units {
            for wanted in units {
                let returnable = self.returnable(&wanted.sku_id);
                let asked: i128 =
                    units.iter().filter(|u| u.sku_id == wanted.sku_id).map(|u| i128::from(u.quantity)).sum();
                if wanted.quantity < 1 || asked > i128::from(returnable) {
                    return Err(Refusal::ReturnExceedsSold { sku_id: wanted.sku_id.clone(), returnable });
                }
            }
            units.to_vec()
        } else if amount == refundable {
            self.units_out()
        } else {
            Vec::new()
        };
        Ok(EventKind::RefundRequested { refund_id: refund_id.into(), amount, reason: reason.into(), units })
    }

    /// Records money that went back.
    ///
    /// # Errors
    /// The order was never paid.
    pub fn refund(&self, refund_id: &str, amount: Money) -> Result<EventKind, Refusal> {
        if !self.is_paid() {
            return Err(self.illegal("refund"));
        }
        // What others have asked for does not count here: this money has gone back already.
        let left = Money::new(self.total.amount - self.refunded.amount, self.total.currency);
        if left.amount < amount.amount || amount.currency != self.total.currency {
            return Err(Refusal::RefundExceedsPaid { refundable: left });
        }
        Ok(EventKind::Refunded { refund_id: refund_id.into(), amount })
    }

    /// Units of a SKU that were sold and have not come back.
    pub fn returnable(&self, sku_id: &str) -> i64 {
        self.lines.iter().filter(|line| line.sku_id == sku_id).map(|line| line.quantity - line.returned).sum()
    }

    /// Every unit that was ordered, per SKU in order of the lines.
    pub fn units(&self) -> Vec<Units> {
        self.count_units(|line| line.quantity)
    }

    /// Every unit that has not come back, per SKU in order of the lines.
    pub fn units_out(&self) -> Vec<Units> {
        self.count_units(|line| line.quantity - line.returned)
    }

    fn count_units(&self, of: impl Fn(&Line) -> i64) -> Vec<Units> {
        let mut units: Vec<Units> = Vec::new();
        for line in &self.lines {
            let quantity = of(line);
            if quantity == 0 {
                continue;
            }
            match units.iter_mut().find(|u| u.sku_id == line.sku_id) {
                Some(known) => known.quantity += quantity,
                None => units.push(Units { sku_id: line.sku_id.clone(), quantity }),
            }
        }
        units
    }

    /// Takes a promise of money back that the payment refused for good; its units count as out again.
    ///
    /// # Errors
    /// The order was never paid.
    pub fn refuse_refund(
        &self,
        refund_id: &str,
        amount: Money,
        units: &[Units],
        reason: &str,
    ) -> Result<EventKind, Refusal> {
        if !self.is_paid() {
            return Err(self.illegal("refund"));
        }
        Ok(EventKind::RefundRefused {
            refund_id: refund_id.into(),
            amount,
            reason: reason.into(),
            units: units.to_vec(),
        })
    }

    /// What can still be asked back.
    pub fn refundable(&self) -> Money {
        Money::new((self.total.amount - self.refunded.amount - self.refunding.amount).max(0), self.total.currency)
    }

    /// Tells whether the order was paid at some time.
    pub fn is_paid(&self) -> bool {
        !matches!(self.status, Status::PendingPayment | Status::Cancelled)
    }

    /// Applies what happened. Events come from this aggregate's own decisions, so every one applies.
    pub fn apply(&mut self, event: &Event) {
        self.version = event.version;
        self.updated_at = event.at;
        match &event.kind {
            EventKind::Placed(order) => *self = (**order).clone(),
            EventKind::Paid { payment_id, .. } => {
                self.status = Status::Paid;
                self.payment_status = PaymentStatus::Captured;
                self.payment_id = payment_id.clone();
            }
            EventKind::PaymentFailed { payment_id, .. } => {
                self.payment_status = PaymentStatus::Failed;
                self.payment_id = payment_id.clone();
            }
            EventKind::Cancelled { reason } => {
                self.status = Status::Cancelled;
                self.payment_status = PaymentStatus::Cancelled;
                self.cancel_reason = reason.clone();
            }
            EventKind::AddressChanged { address } => self.address = Some(address.clone()),
            EventKind::Shipped { .. } => self.status = Status::Shipped,
            EventKind::Delivered => self.status = Status::Delivered,
            EventKind::RefundRequested { amount, units, .. } => {
                if amount.amount == self.refundable().amount {
                    self.before_refund = Some(self.status);
                    self.status = Status::Refunding;
                }
                self.refunding.amount += amount.amount;
                for Units { sku_id, quantity } in units {
                    let mut rest = *quantity;
                    for line in self.lines.iter_mut().filter(|line| line.sku_id == *sku_id) {
                        let back = rest.min(line.quantity - line.returned);
                        line.returned += back;
                        rest -= back;
                    }
                }
            }
            EventKind::RefundRefused { amount, units, .. } => {
                self.refunding.amount = (self.refunding.amount - amount.amount).max(0);
                if let (Status::Refunding, Some(before)) = (self.status, self.before_refund.take()) {
                    self.status = before;
                }
                for Units { sku_id, quantity } in units {
                    let mut rest = *quantity;
                    for line in self.lines.iter_mut().filter(|line| line.sku_id == *sku_id) {
                        let out = rest.min(line.returned);
                        line.returned -= out;
                        rest -= out;
                    }
                }
            }
            EventKind::Refunded { amount, .. } => {
                self.refunding.amount = (self.refunding.amount - amount.amount).max(0);
                self.refunded.amount += amount.amount;
                if self.refunded.amount == self.total.amount {
                    self.status = Status::Refunded;
                    self.payment_status = PaymentStatus::Refunded;
                } else {
                    self.payment_status = PaymentStatus::PartiallyRefunded;
                }
            }
        }
    }

    /// Makes the next event of the stream from a decision, and the order after it.
    pub fn then(&self, kind: EventKind, at: Micros, by: &str) -> (Order, Event) {
        // Time never runs backwards in a stream, whatever the clocks of two instances say.
        let event = Event { version: self.version + 1, at: at.max(self.updated_at), by: by.into(), kind };
        let mut next = self.clone();
        next.apply(&event);
        (next, event)
    }

    /// Rebuilds an order from its stream; `None` when the stream does not begin with `Placed` or has a gap.
    pub fn fold(events: &[Event]) -> Option<Order> {
        let (first, rest) = events.split_first()?;
        let EventKind::Placed(placed) = &first.kind else { return None };
        let mut order = (**placed).clone();
        for event in rest {
            if event.version != order.version + 1 {
                return None;
            }
            order.apply(event);
        }
        Some(order)
    }

    /// Tells whether the sums add up: total = Σ (price x quantity - discount) + shipping + tax, with rounding per line.
    pub fn totals_add_up(&self) -> bool {
        let lines: i64 = self.lines.iter().map(|line| line.line_total.amount).sum();
        let discounts: i64 = self.lines.iter().map(|line| line.discount.amount).sum();
        self.total.amount >= 0
            && self.subtotal.amount == lines + discounts
            && self.total.amount == lines - (self.discount.amount - discounts) + self.shipping.amount + self.tax.amount
            && self.lines.iter().all(|line| line.line_total.amount >= 0 && line.discount.amount >= 0)
    }

    fn only_from(&self, allowed: &[Status], verb: &'static str) -> Result<(), Refusal> {
        if allowed.contains(&self.status) { Ok(()) } else { Err(self.illegal(verb)) }
    }

    fn illegal(&self, verb: &'static str) -> Refusal {
        Refusal::IllegalTransition { from: self.status, verb }
    }
}

const PAID_STATUSES: [Status; 5] =
    [Status::Paid, Status::PartiallyShipped, Status::Shipped, Status::Delivered, Status::Completed];

/// Shoppers' limits at the store surface.
pub const LINES_MAX_STORE: usize = 100;
/// Most units of a line at the store surface.
pub const QUANTITY_MAX_STORE: i64 = 9_999;
/// Most lines of any order.
pub const LINES_MAX: usize = 2_000;
/// Most units of any line.
pub const QUANTITY_MAX: i64 = 1_000_000;
/// Longest note, in characters.
pub const NOTE_CHARS_MAX: usize = 1_000;

/// Makes the short number for people from an order's id: its random tail, upper case, in two groups.
pub fn number(order_id: &str) -> String {
    let tail = order_id.len().saturating_sub(10);
    let tail = order_id.get(tail..).unwrap_or(order_id).to_uppercase();
    let (a, b) = tail.split_at(tail.len() / 2);
    format!("{a}-{b}")
}

#[cfg(test)]
mod tests;
