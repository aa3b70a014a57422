//! A shopper's wish to give goods back, and what an operator says to it.

use mallard_types::{Micros, Money};

use super::shipping::merged;
use super::{EventKind, Order, PAID_STATUSES, Refusal, Status, Units};

/// Most returns of one order, refused ones included.
pub const RETURNS_MAX: usize = 50;

/// What a return is answered with when the whole order was given back before anybody decided about it.
pub const ORDER_REFUNDED: &str = "order_refunded";

/// Where a return stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnStatus {
    Requested,
    Refused,
    /// Agreed; the money is on its way back.
    Approved,
    Refunded,
    /// Taken back by the shopper; nothing leads there yet.
    Withdrawn,
}

const STATUSES: [ReturnStatus; 5] = [
    ReturnStatus::Requested,
    ReturnStatus::Refused,
    ReturnStatus::Approved,
    ReturnStatus::Refunded,
    ReturnStatus::Withdrawn,
];

impl ReturnStatus {
    /// Returns the public name.
    pub fn as_str(self) -> &'static str {
        match self {
            ReturnStatus::Requested => "requested",
            ReturnStatus::Refused => "refused",
            ReturnStatus::Approved => "approved",
            ReturnStatus::Refunded => "refunded",
            ReturnStatus::Withdrawn => "withdrawn",
        }
    }

    /// Parses a public name.
    pub fn parse(name: &str) -> Option<ReturnStatus> {
        STATUSES.into_iter().find(|status| status.as_str() == name)
    }

    /// Tells whether the units and the money of such a return are spoken for.
    fn counts(self) -> bool {
        matches!(self, ReturnStatus::Requested | ReturnStatus::Approved | ReturnStatus::Refunded)
    }
}

/// Units of a SKU that a shopper wants to give back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnLine {
    pub sku_id: String,
    pub title: String,
    pub quantity: i64,
    /// What these units cost after their discounts.
    pub amount: Money,
}

/// A return, part of its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return {
    pub id: String,
    pub status: ReturnStatus,
    pub lines: Vec<ReturnLine>,
    pub reason: String,
    /// What is given back when it is approved.
    pub amount: Money,
    /// Why it was refused.
    pub answer: String,
    pub refund_id: String,
    /// Key of the request that made it; empty when it came without.
    pub idempotency_key: String,
    pub created_at: Micros,
    pub updated_at: Micros,
}

impl Return {
    /// Returns what comes back, per SKU.
    pub fn units(&self) -> Vec<Units> {
        self.lines.iter().map(|line| Units { sku_id: line.sku_id.clone(), quantity: line.quantity }).collect()
    }

    /// Tells whether a request asks for just this.
    pub fn is_for(&self, units: &[Units], reason: &str) -> bool {
        self.reason == reason && self.units() == merged(units)
    }

    pub(super) fn turn(&mut self, status: ReturnStatus, at: Micros) {
        self.status = status;
        self.updated_at = at;
    }

    fn of_sku(&self, sku_id: &str) -> (i64, i64) {
        let lines = self.lines.iter().filter(|line| line.sku_id == sku_id);
        lines.fold((0, 0), |(units, cost), line| (units + line.quantity, cost + line.amount.amount))
    }
}

impl Order {
    /// Finds a return.
    ///
    /// # Errors
    /// There is none with this id.
    pub fn find_return(&self, id: &str) -> Result<&Return, Refusal> {
        self.returns.iter().find(|known| known.id == id).ok_or(Refusal::ReturnUnknown)
    }

    /// Finds the return that a key made.
    pub fn return_by_key(&self, key: &str) -> Option<&Return> {
        self.returns.iter().find(|known| !key.is_empty() && known.idempotency_key == key)
    }

    /// Asks to give units that were sent back, for what they cost; others of the order may still have to be sent.
    ///
    /// # Errors
    /// Nothing of the order was sent, it has had too many returns, less units are with the shopper and not asked back
    /// already, or nothing is left of the payment.
    pub fn request_return(&self, id: &str, key: &str, units: &[Units], reason: &str) -> Result<EventKind, Refusal> {
        let sent = [Status::PartiallyShipped, Status::Shipped, Status::Delivered, Status::Completed];
        self.only_from(&sent, "return goods of")?;
        if self.returns.len() >= RETURNS_MAX {
            return Err(Refusal::TooManyReturns);
        }
        let mut lines = Vec::new();
        for Units { sku_id, quantity } in merged(units) {
            let (left, worth) = self.left_of(&sku_id);
            let (open, _) = self.in_returns(&sku_id, &|status| status == ReturnStatus::Requested);
            let returnable = (self.with_shopper(&sku_id) - open).max(0);
            if quantity < 1 || quantity > returnable {
                return Err(Refusal::ReturnExceedsSold { sku_id, returnable });
            }
            let amount = Money::new(part(worth, quantity, left), self.total.currency);
            let title = self.lines.iter().find(|line| line.sku_id == sku_id).map(|line| line.title.clone());
            lines.push(ReturnLine { title: title.unwrap_or_default(), sku_id, quantity, amount });
        }
        let cost: i64 = lines.iter().map(|line| line.amount.amount).sum();
        // A discount of the whole order, or money given back beside the goods, leaves less than the lines cost.
        let refundable = Money::new((self.refundable().amount - self.promised()).max(0), self.total.currency);
        if cost > 0 && refundable.amount == 0 {
            return Err(Refusal::RefundExceedsPaid { refundable });
        }
        Ok(EventKind::ReturnRequested(Box::new(Return {
            id: id.into(),
            status: ReturnStatus::Requested,
            lines,
            reason: reason.into(),
            amount: Money::new(cost.min(refundable.amount), self.total.currency),
            answer: String::new(),
            refund_id: String::new(),
            idempotency_key: key.into(),
            created_at: 0,
            updated_at: 0,
        })))
    }

    /// Agrees to a return: asks for its money and takes its units back. None when that has been done.
    ///
    /// # Errors
    /// There is none, it was refused, or its money or units have come back on another way.
    pub fn approve_return(&self, id: &str, refund_id: &str) -> Result<Option<EventKind>, Refusal> {
        let asked = self.find_return(id)?;
        match asked.status {
            ReturnStatus::Requested => {}
            ReturnStatus::Approved | ReturnStatus::Refunded => return Ok(None),
            status => return Err(Refusal::ReturnDecided { status, verb: "approve" }),
        }
        self.only_from(&PAID_STATUSES, "refund")?;
        let units = asked.units();
        self.check_with_shopper(&units)?;
        let refundable = self.refundable();
        if asked.amount.amount > refundable.amount {
            return Err(Refusal::RefundExceedsPaid { refundable });
        }
        Ok(Some(EventKind::RefundRequested {
            refund_id: refund_id.into(),
            amount: asked.amount,
            reason: asked.reason.clone(),
            units,
            units_sent: true,
            return_id: id.into(),
        }))
    }

    /// Refuses a return. None when that has been done with the same answer.
    ///
    /// # Errors
    /// There is none, or it has been decided about otherwise.
    pub fn refuse_return(&self, id: &str, answer: &str) -> Result<Option<EventKind>, Refusal> {
        let asked = self.find_return(id)?;
        match asked.status {
            ReturnStatus::Requested => {
                Ok(Some(EventKind::ReturnRefused { return_id: id.into(), answer: answer.into() }))
            }
            ReturnStatus::Refused if asked.answer == answer => Ok(None),
            status => Err(Refusal::ReturnDecided { status, verb: "refuse" }),
        }
    }

    /// Refuses the returns nobody has decided about once the whole order was given back: no money is left for them.
    pub fn close_returns(&self) -> Vec<EventKind> {
        if self.status != Status::Refunded {
            return Vec::new();
        }
        let open = self.returns.iter().filter(|known| known.status == ReturnStatus::Requested);
        open.map(|known| EventKind::ReturnRefused { return_id: known.id.clone(), answer: ORDER_REFUNDED.into() })
            .collect()
    }

    /// Tells whether no more units stand in returns than were bought, and no more of them have been agreed to than came back.
    pub fn returns_fit(&self) -> bool {
        self.units().iter().all(|Units { sku_id, quantity }| {
            let (counted, _) = self.in_returns(sku_id, &ReturnStatus::counts);
            let (open, _) = self.in_returns(sku_id, &|status| status == ReturnStatus::Requested);
            let lines = self.lines.iter().filter(|line| line.sku_id == *sku_id);
            counted <= *quantity && counted - open <= lines.map(|line| line.returned_sent).sum()
        })
    }

    pub(super) fn approved_return(&mut self, refund_id: &str) -> Option<&mut Return> {
        self.returns.iter_mut().find(|known| known.status == ReturnStatus::Approved && known.refund_id == refund_id)
    }

    /// Units of a SKU that have not come back and are not asked back, sent or not, and what they cost in minor units.
    ///
    /// Every return takes its part of what the ones before have left, the last one all of it: together they give exactly what
    /// was paid. Units that came back with other refunds take the part of their number.
    fn left_of(&self, sku_id: &str) -> (i64, i64) {
        let (mut bought, mut cost) = (0, 0);
        for line in self.lines.iter().filter(|line| line.sku_id == sku_id) {
            bought += line.quantity;
            cost += line.line_total.amount;
        }
        let (open, _) = self.in_returns(sku_id, &|status| status == ReturnStatus::Requested);
        let (taken, taken_cost) = self.in_returns(sku_id, &ReturnStatus::counts);
        let returnable = self.returnable(sku_id);
        let elsewhere = (bought - returnable - (taken - open)).max(0);
        let left = cost - part(cost, elsewhere, bought) - taken_cost;
        ((returnable - open).max(0), left.max(0))
    }

    /// Units of a SKU, and what they cost in minor units, in returns of these statuses.
    fn in_returns(&self, sku_id: &str, wanted: &dyn Fn(ReturnStatus) -> bool) -> (i64, i64) {
        let returns = self.returns.iter().filter(|known| wanted(known.status)).map(|known| known.of_sku(sku_id));
        returns.fold((0, 0), |(units, cost), (more, money)| (units + more, cost + money))
    }

    /// Minor units of returns that nobody has decided about.
    fn promised(&self) -> i64 {
        let open = self.returns.iter().filter(|known| known.status == ReturnStatus::Requested);
        open.map(|known| known.amount.amount).sum()
    }
}

/// Returns the part of an amount that some of the units cost, rounded down.
fn part(amount: i64, units: i64, of: i64) -> i64 {
    if of == 0 {
        return 0;
    }
    // At most the amount itself: units are at most `of`.
    i64::try_from(i128::from(amount) * i128::from(units) / i128::from(of)).unwrap_or(amount)
}
