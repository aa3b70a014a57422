//! Double entry: what is written when money moves. Entries of one transaction sum to zero in every currency, and so do
//! their billionths.

use mallard_types::{Currency, Micros, Money};

use super::payment::Payment;
use super::refund::Refund;

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// e.g. `acquirer:GBP`.
    pub account: String,
    /// Minor units.
    pub debit: i64,
    /// Minor units.
    pub credit: i64,
    /// Billionths of the major unit, debit positive.
    pub nanos: i64,
}

/// Entries that are written together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// Id of the payment or refund: the same movement is never written twice.
    pub transaction_id: String,
    /// Order it belongs to.
    pub order_id: String,
    /// Payment it belongs to.
    pub payment_id: String,
    /// Currency of every entry.
    pub currency: Currency,
    /// Business time.
    pub at: Micros,
    /// Two or four entries; none when nothing moved.
    pub entries: Vec<Entry>,
}

impl Posting {
    /// Writes a capture: the acquirer (or the world outside) owes us what was sold; rounding is kept apart.
    pub fn capture(payment: &Payment, at: Micros) -> Posting {
        let mut entries = Vec::with_capacity(4);
        if payment.captured != 0 {
            let held = money_account(payment);
            move_money(&mut entries, held, "sales", Money::new(payment.captured, payment.amount.currency));
        }
        if payment.rounding_nanos != 0 {
            move_rounding(&mut entries, payment.rounding_nanos, payment.amount.currency);
        }
        Posting {
            transaction_id: payment.id.clone(),
            order_id: payment.order_id.clone(),
            payment_id: payment.id.clone(),
            currency: payment.amount.currency,
            at,
            entries,
        }
    }

    /// Writes a refund of a payment.
    pub fn refund(refund: &Refund, payment: &Payment, at: Micros) -> Posting {
        Posting::repayment(refund, "refunds", money_account(payment), at)
    }

    /// Writes a refund whose payment nobody found.
    pub fn unmatched_refund(refund: &Refund, at: Micros) -> Posting {
        Posting::repayment(refund, "refunds_unmatched", "external", at)
    }

    /// Tells whether the entries sum to zero.
    pub fn is_balanced(&self) -> bool {
        let money: i128 = self.entries.iter().map(|entry| i128::from(entry.debit) - i128::from(entry.credit)).sum();
        let nanos: i128 = self.entries.iter().map(|entry| i128::from(entry.nanos)).sum();
        money == 0 && nanos == 0
    }

    fn repayment(refund: &Refund, debit: &str, credit: &str, at: Micros) -> Posting {
        let mut entries = Vec::with_capacity(2);
        move_money(&mut entries, debit, credit, refund.amount);
        Posting {
            transaction_id: refund.id.clone(),
            order_id: refund.order_id.clone(),
            payment_id: refund.payment_id.clone(),
            currency: refund.amount.currency,
            at,
            entries,
        }
    }
}

/// Returns the account of the one who holds a payment's money.
fn money_account(payment: &Payment) -> &'static str {
    if payment.provider_key.is_empty() { "external" } else { "acquirer" }
}

fn move_money(entries: &mut Vec<Entry>, debit: &str, credit: &str, money: Money) {
    let name = |account: &str| format!("{account}:{}", money.currency);
    entries.push(Entry { account: name(debit), debit: money.amount, credit: 0, nanos: 0 });
    entries.push(Entry { account: name(credit), debit: 0, credit: money.amount, nanos: 0 });
}

fn move_rounding(entries: &mut Vec<Entry>, nanos: i64, currency: Currency) {
    entries.push(Entry { account: format!("rounding:{currency}"), debit: 0, credit: 0, nanos });
    entries.push(Entry { account: format!("rounding_offset:{currency}"), debit: 0, credit: 0, nanos: -nanos });
}
