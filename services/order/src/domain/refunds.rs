//! Money on its way back, and the units that come with it.

use mallard_types::Money;

use super::{EventKind, Order, PAID_STATUSES, Refusal, Units};

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
            return_id: String::new(),
        })
    }

    /// Checks that so many units are still out.
    ///
    /// # Errors
    /// More units would come back than are out, or not even one.
    pub(super) fn check_returnable(&self, units: &[Units]) -> Result<(), Refusal> {
        for wanted in units {
            let returnable = self.returnable(&wanted.sku_id);
            let asked: i128 = units.iter().filter(|u| u.sku_id == wanted.sku_id).map(|u| i128::from(u.quantity)).sum();
            if wanted.quantity < 1 || asked > i128::from(returnable) {
                return Err(Refusal::ReturnExceedsSold { sku_id: wanted.sku_id.clone(), returnable });
            }
        }
        Ok(())
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
