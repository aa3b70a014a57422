//! Money on its way back, and the units that come with it.

use mallard_types::Money;

use super::{Event, EventKind, OpenRefund, Order, PAID_STATUSES, Refusal, TakenUnits, Units};

impl Order {
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
            self.check_returnable(units)?;
            units.to_vec()
        } else if amount == refundable {
            self.units_out()
        } else {
            Vec::new()
        };
        Ok(EventKind::RefundRequested {
            refund_id: refund_id.into(),
            amount,
            reason: reason.into(),
            units,
            units_sent: false,
            return_id: String::new(),
        })
    }

    /// As [`Order::request_refund`] for units that had been sent and come back: what is still to be sent stays so.
    ///
    /// # Errors
    /// Also when fewer units are with the shopper.
    pub fn request_refund_of_sent(
        &self,
        refund_id: &str,
        amount: Option<Money>,
        units: &[Units],
        reason: &str,
    ) -> Result<EventKind, Refusal> {
        let mut kind = self.request_refund(refund_id, amount, Some(units), reason)?;
        self.check_with_shopper(units)?;
        if let EventKind::RefundRequested { units_sent, .. } = &mut kind {
            *units_sent = true;
        }
        Ok(kind)
    }

    /// Tells whether a request for money back that is in a stream came of these very words: asked for at its place again, they
    /// make the same event.
    pub fn asked_the_same(
        stream: &[Event],
        refund_id: &str,
        amount: Option<Money>,
        units: Option<&[Units]>,
        units_sent: bool,
        reason: &str,
    ) -> bool {
        let is_it =
            |event: &Event| matches!(&event.kind, EventKind::RefundRequested { refund_id: id, .. } if id == refund_id);
        let Some(at) = stream.iter().position(is_it) else { return false };
        let before = Order::fold(&stream[..at]);
        let asked = before.map(|order| match units {
            Some(units) if units_sent => order.request_refund_of_sent(refund_id, amount, units, reason),
            units => order.request_refund(refund_id, amount, units, reason),
        });
        asked.is_some_and(|asked| asked.as_ref() == Ok(&stream[at].kind))
    }

    /// Checks that so many units are still out.
    ///
    /// # Errors
    /// More units would come back than are out, or not even one.
    fn check_returnable(&self, units: &[Units]) -> Result<(), Refusal> {
        check_at_most(units, |sku_id| self.returnable(sku_id))
    }

    /// Checks that so many units are with the shopper.
    ///
    /// # Errors
    /// More units would come back than were sent and are still out, or not even one.
    pub(super) fn check_with_shopper(&self, units: &[Units]) -> Result<(), Refusal> {
        check_at_most(units, |sku_id| self.with_shopper(sku_id))
    }

    /// Takes units back: of those that were sent only, or those that were not sent first. Returns what was taken of which line.
    pub(super) fn take_back(&mut self, units: &[Units], sent_only: bool) -> Vec<TakenUnits> {
        let mut taken: Vec<_> = (0..self.lines.len()).map(|line| TakenUnits { line, quantity: 0, sent: 0 }).collect();
        for Units { sku_id, quantity } in units {
            let mut rest = *quantity;
            for sent in [false, true] {
                if sent_only && !sent {
                    continue;
                }
                for (line, taken) in self.lines.iter_mut().zip(&mut taken).filter(|(line, _)| line.sku_id == *sku_id) {
                    let back = rest.min(if sent { line.with_shopper() } else { line.unsent() });
                    rest -= back;
                    line.returned += back;
                    taken.quantity += back;
                    if sent {
                        line.returned_sent += back;
                        taken.sent += back;
                    }
                }
            }
        }
        taken.retain(|taken| taken.quantity > 0);
        taken
    }

    /// Undoes what a refund took back.
    pub(super) fn give_out_again(&mut self, refund: &OpenRefund) {
        for taken in &refund.units {
            if let Some(line) = self.lines.get_mut(taken.line) {
                line.returned -= taken.quantity;
                line.returned_sent -= taken.sent;
            }
        }
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
}

fn check_at_most(units: &[Units], most: impl Fn(&str) -> i64) -> Result<(), Refusal> {
    for wanted in units {
        let returnable = most(&wanted.sku_id);
        let asked: i128 = units.iter().filter(|u| u.sku_id == wanted.sku_id).map(|u| i128::from(u.quantity)).sum();
        if wanted.quantity < 1 || asked > i128::from(returnable) {
            return Err(Refusal::ReturnExceedsSold { sku_id: wanted.sku_id.clone(), returnable });
        }
    }
    Ok(())
}
