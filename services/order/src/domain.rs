//! What an order is and which moves it allows. Pure: values in, events or refusals out.

mod event;
mod fold;
mod refunds;
mod returns;
mod shipping;
mod status;

use std::collections::BTreeMap;

pub use event::{Event, EventKind};
use mallard_types::{Micros, Money};
pub use returns::{ORDER_REFUNDED, RETURNS_MAX, Return, ReturnLine, ReturnStatus};
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
    /// Nothing of what was asked for is left to ship.
    NothingToShip {
        /// Present status.
        from: Status,
    },
    /// More units would be shipped than are left to ship.
    ShipsTooMany {
        /// Present status.
        from: Status,
        /// The SKU in question.
        sku_id: String,
        /// Units that can still be shipped.
        left: i64,
    },
    /// The order has had as many returns as one may have.
    TooManyReturns,
    /// No such return.
    ReturnUnknown,
    /// The return has been decided about otherwise.
    ReturnDecided {
        /// Where it stands.
        status: ReturnStatus,
        /// What was tried, as a verb.
        verb: &'static str,
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
    /// Units that were sent, also those that came back later.
    pub shipped: i64,
    /// Of the units given back those that had been sent; the others never left.
    pub returned_sent: i64,
}

/// Units of a SKU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Units {
    pub sku_id: String,
    pub quantity: i64,
}

/// What a refund that is not settled yet took back, so that its refusal gives back just this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRefund {
    pub refund_id: String,
    pub units: Vec<TakenUnits>,
}

/// Units of one line that a refund took back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenUnits {
    /// Position of the line in the order, from 0.
    pub line: usize,
    pub quantity: i64,
    /// Of these, units that had been sent.
    pub sent: i64,
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
    /// Every return ever asked for, oldest first.
    pub returns: Vec<Return>,
    /// Refunds with units that are asked for and not settled.
    pub open_refunds: Vec<OpenRefund>,
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

    /// Records the delivery.
    ///
    /// # Errors
    /// The order has not been shipped.
    pub fn deliver(&self) -> Result<EventKind, Refusal> {
        self.only_from(&[Status::Shipped], "deliver")?;
        Ok(EventKind::Delivered)
    }

    /// Units of a SKU that were sold and have not come back.
    pub fn returnable(&self, sku_id: &str) -> i64 {
        self.lines.iter().filter(|line| line.sku_id == sku_id).map(|line| line.quantity - line.returned).sum()
    }

    /// Units of a SKU that were sent and have not come back.
    pub fn with_shopper(&self, sku_id: &str) -> i64 {
        self.lines.iter().filter(|line| line.sku_id == sku_id).map(Line::with_shopper).sum()
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

    /// Tells whether the order was paid at some time.
    pub fn is_paid(&self) -> bool {
        !matches!(self.status, Status::PendingPayment | Status::Cancelled)
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
pub(crate) mod tests;
