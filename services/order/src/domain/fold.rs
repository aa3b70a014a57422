//! How what happened changes an order.

use mallard_types::Micros;

use super::{Event, EventKind, OpenRefund, Order, PaymentStatus, ReturnStatus, Status};

impl Order {
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
            EventKind::Shipped { units, .. } => {
                self.send(units);
                self.status = Status::Shipped;
            }
            EventKind::Delivered => self.status = Status::Delivered,
            EventKind::RefundRequested { refund_id, amount, units, units_sent, return_id, .. } => {
                if let Some(asked) = self.returns.iter_mut().find(|asked| asked.id == *return_id) {
                    asked.refund_id = refund_id.clone();
                    asked.turn(ReturnStatus::Approved, event.at);
                }
                let taken = self.take_back(units, *units_sent);
                if !taken.is_empty() {
                    self.open_refunds.push(OpenRefund { refund_id: refund_id.clone(), units: taken });
                }
                // Of an order that cost nothing the units say whether it is the whole.
                let of_all = self.total.amount != 0 || units.is_empty() || self.units_out().is_empty();
                if of_all && amount.amount == self.refundable().amount {
                    self.before_refund = Some(self.status);
                    self.status = Status::Refunding;
                }
                self.refunding.amount += amount.amount;
            }
            EventKind::RefundRefused { refund_id, amount, reason, .. } => {
                if let Some(approved) = self.approved_return(refund_id) {
                    // Nothing was given back, so its units may be asked back again.
                    approved.answer = reason.clone();
                    approved.turn(ReturnStatus::Refused, event.at);
                }
                self.refunding.amount = (self.refunding.amount - amount.amount).max(0);
                if let (Status::Refunding, Some(before)) = (self.status, self.before_refund.take()) {
                    self.status = before;
                }
                if let Some(at) = self.open_refunds.iter().position(|open| open.refund_id == *refund_id) {
                    let open = self.open_refunds.remove(at);
                    self.give_out_again(&open);
                }
            }
            EventKind::Refunded { refund_id, amount } => {
                if let Some(approved) = self.approved_return(refund_id) {
                    approved.turn(ReturnStatus::Refunded, event.at);
                }
                self.refunding.amount = (self.refunding.amount - amount.amount).max(0);
                self.refunded.amount += amount.amount;
                self.open_refunds.retain(|open| open.refund_id != *refund_id);
                let of_all = self.total.amount != 0 || self.status == Status::Refunding;
                if of_all && self.refunded.amount == self.total.amount {
                    self.status = Status::Refunded;
                    self.payment_status = PaymentStatus::Refunded;
                    self.open_refunds.clear();
                } else if amount.amount > 0 {
                    self.payment_status = PaymentStatus::PartiallyRefunded;
                }
            }
            EventKind::ReturnRequested(asked) => {
                let mut asked = (**asked).clone();
                asked.created_at = event.at;
                asked.turn(ReturnStatus::Requested, event.at);
                self.returns.push(asked);
            }
            EventKind::ReturnRefused { return_id, answer } => {
                if let Some(refused) = self.returns.iter_mut().find(|asked| asked.id == *return_id) {
                    refused.answer = answer.clone();
                    refused.turn(ReturnStatus::Refused, event.at);
                }
            }
        }
        self.settle_shipping();
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
}
