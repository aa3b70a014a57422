//! Money that goes back.

use mallard_types::{Micros, Money, Result, id};
use sha2::{Digest, Sha256};

use super::payment::{Payment, retry_at};
use crate::error;

/// Longest reason, reference, customer or country, in bytes.
const TEXT_BYTES_MAX: usize = 1_000;
/// Most lines of one refund.
const LINES_MAX: usize = 10_000;

/// State of a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundStatus {
    /// The provider has not given a final answer.
    Pending,
    /// The money went back.
    Succeeded,
    /// The provider refused.
    Failed,
}

impl RefundStatus {
    /// Returns the public name.
    pub fn as_str(self) -> &'static str {
        match self {
            RefundStatus::Pending => "pending",
            RefundStatus::Succeeded => "succeeded",
            RefundStatus::Failed => "failed",
        }
    }

    /// Parses a stored name.
    pub fn parse(name: &str) -> Option<RefundStatus> {
        [RefundStatus::Pending, RefundStatus::Succeeded, RefundStatus::Failed].into_iter().find(|s| s.as_str() == name)
    }
}

/// What a refund gives back, for the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundLine {
    /// SKU that came back.
    pub sku_id: String,
    /// The seller's own code.
    pub code: String,
    /// Units.
    pub quantity: i64,
    /// Money for them, where the paper says.
    pub amount: Option<Money>,
    /// Import: line of the paper; 0 otherwise.
    pub row: i64,
}

/// A wish to give money back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundRequest {
    /// `ref_…`, the idempotency key.
    pub id: String,
    /// How much; the rest of what was captured when left out.
    pub amount: Option<Money>,
    /// Why.
    pub reason: String,
    /// Import: number of the paper.
    pub reference: String,
    /// Import: customer on the paper.
    pub customer: String,
    /// Import: country on the paper.
    pub country: String,
    /// What comes back.
    pub lines: Vec<RefundLine>,
}

impl RefundRequest {
    /// Asks for the rest of a payment.
    pub fn rest(id: String, reason: &str) -> RefundRequest {
        RefundRequest {
            id,
            amount: None,
            reason: reason.to_owned(),
            reference: String::new(),
            customer: String::new(),
            country: String::new(),
            lines: Vec::new(),
        }
    }

    /// Checks sizes and sign.
    ///
    /// # Errors
    /// `required`, `too_long`, `amount_invalid`.
    pub fn check(&self) -> Result<()> {
        if self.id.is_empty() {
            return Err(error::required("refund_id"));
        }
        let texts = [
            ("reason", &self.reason),
            ("reference", &self.reference),
            ("customer", &self.customer),
            ("country", &self.country),
        ];
        if let Some((name, _)) = texts.into_iter().find(|(_, text)| text.len() > TEXT_BYTES_MAX) {
            return Err(error::too_long(name));
        }
        if self.lines.len() > LINES_MAX {
            return Err(error::too_long("lines"));
        }
        match self.amount {
            Some(amount) if amount.amount <= 0 => Err(error::amount_invalid()),
            _ => Ok(()),
        }
    }
}

/// One giving back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// `ref_…`, also the idempotency key at the provider.
    pub id: String,
    /// Payment it gives back; empty when none was found for it (import).
    pub payment_id: String,
    /// Order it belongs to; empty like `payment_id`.
    pub order_id: String,
    /// How much.
    pub amount: Money,
    /// State.
    pub status: RefundStatus,
    /// Why.
    pub reason: String,
    /// Import: number of the paper.
    pub reference: String,
    /// Import: customer on the paper.
    pub customer: String,
    /// Import: country on the paper.
    pub country: String,
    /// What comes back.
    pub lines: Vec<RefundLine>,
    /// How often the provider left us without an answer.
    pub attempts: u32,
    /// When the background work looks at it; none when it rests.
    pub due_at: Option<Micros>,
    /// One more with every change.
    pub version: i64,
    /// When it was made.
    pub created_at: Micros,
    /// When it was changed last.
    pub updated_at: Micros,
}

impl Refund {
    /// Begins giving back part of a payment; `due_at` is when the background takes over should this process die.
    ///
    /// # Errors
    /// As [`Payment::begin_refund`].
    pub fn begin(payment: &Payment, request: &RefundRequest, now: Micros, due_at: Micros) -> Result<(Payment, Refund)> {
        let rest = Money::new(payment.refundable(), payment.amount.currency);
        let amount = request.amount.unwrap_or(rest);
        let mut payment = payment.begin_refund(amount, now)?;
        let mut refund = Refund::new(request, amount, now);
        refund.payment_id.clone_from(&payment.id);
        refund.order_id.clone_from(&payment.order_id);
        if payment.provider_key.is_empty() {
            refund.status = RefundStatus::Succeeded;
            let version = payment.version;
            payment = Payment { version, ..payment.end_refund(&refund, now) };
        } else {
            refund.due_at = Some(due_at);
        }
        Ok((payment, refund))
    }

    /// Records money that went back for a payment nobody found (import).
    ///
    /// # Errors
    /// `amount_invalid` without an amount.
    pub fn unmatched(request: &RefundRequest, now: Micros) -> Result<Refund> {
        let amount = request.amount.ok_or_else(error::amount_invalid)?;
        Ok(Refund { status: RefundStatus::Succeeded, ..Refund::new(request, amount, now) })
    }

    /// Ends a pending refund.
    pub fn end(&self, status: RefundStatus, now: Micros) -> Refund {
        Refund { status, due_at: None, version: self.version + 1, updated_at: now.max(self.created_at), ..self.clone() }
    }

    /// Leaves a pending refund for later.
    pub fn postpone(&self, clock_now: Micros) -> Refund {
        let due_at = Some(retry_at(clock_now, self.attempts));
        Refund { attempts: self.attempts.saturating_add(1), due_at, version: self.version + 1, ..self.clone() }
    }

    /// Tells whether a request that came again is the same as before.
    pub fn is_of(&self, request: &RefundRequest, order_id: &str) -> bool {
        self.order_id == order_id && request.amount.is_none_or(|amount| amount == self.amount)
    }

    fn new(request: &RefundRequest, amount: Money, now: Micros) -> Refund {
        Refund {
            id: request.id.clone(),
            payment_id: String::new(),
            order_id: String::new(),
            amount,
            status: RefundStatus::Pending,
            reason: request.reason.clone(),
            reference: request.reference.clone(),
            customer: request.customer.clone(),
            country: request.country.clone(),
            lines: request.lines.clone(),
            attempts: 0,
            due_at: None,
            version: 1,
            created_at: now,
            updated_at: now,
        }
    }
}

/// Derives the id of a refund from its payment and a key, so that the same wish has the same id wherever it is asked.
pub fn derive_id(payment: &Payment, key: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(payment.id.as_bytes());
    hash.update([0]);
    hash.update(key.as_bytes());
    let digest = hash.finalize();
    let mut tail = [0; 10];
    tail.copy_from_slice(&digest[..10]);
    id::make("ref", payment.created_at, tail)
}
