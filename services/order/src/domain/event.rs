//! What can happen to an order.

use mallard_types::{Micros, Money};

use super::{Address, Order, Return, Units};

/// One entry of an order's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Position in the stream, from 1.
    pub version: i64,
    pub at: Micros,
    /// A user id, `operator`, `seller` or `system`.
    pub by: String,
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The whole order as it was placed.
    Placed(Box<Order>),
    Paid {
        payment_id: String,
        amount: Money,
    },
    PaymentFailed {
        payment_id: String,
        reason: String,
    },
    Cancelled {
        reason: String,
    },
    AddressChanged {
        address: Address,
    },
    /// One parcel. Without units, as it was written before there were parcels: everything.
    Shipped {
        carrier: String,
        tracking_number: String,
        units: Vec<Units>,
    },
    Delivered,
    /// Units come back to stock with the money.
    RefundRequested {
        refund_id: String,
        amount: Money,
        reason: String,
        units: Vec<Units>,
        /// The units had been sent; else those that were not sent yet come first.
        units_sent: bool,
        /// The return that an operator agreed to; empty for any other refund.
        return_id: String,
    },
    /// The payment refused for good: the promise of the request is taken back.
    RefundRefused {
        refund_id: String,
        amount: Money,
        reason: String,
        units: Vec<Units>,
    },
    Refunded {
        refund_id: String,
        amount: Money,
    },
    /// A shopper wants to give goods back.
    ReturnRequested(Box<Return>),
    ReturnRefused {
        return_id: String,
        answer: String,
    },
}

impl EventKind {
    /// Returns the public name.
    pub fn as_str(&self) -> &'static str {
        match self {
            EventKind::Placed(_) => "placed",
            EventKind::Paid { .. } => "paid",
            EventKind::PaymentFailed { .. } => "payment_failed",
            EventKind::Cancelled { .. } => "cancelled",
            EventKind::AddressChanged { .. } => "address_changed",
            EventKind::Shipped { .. } => "shipped",
            EventKind::Delivered => "delivered",
            EventKind::RefundRequested { .. } => "refund_requested",
            EventKind::RefundRefused { .. } => "refund_refused",
            EventKind::Refunded { .. } => "refunded",
            EventKind::ReturnRequested(_) => "return_requested",
            EventKind::ReturnRefused { .. } => "return_refused",
        }
    }
}
