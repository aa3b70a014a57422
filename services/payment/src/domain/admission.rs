//! May this order be paid now, and by which attempt? One gate per order decides; it is what makes one capture per order
//! true, and it remembers a closing that came before the first attempt.

use mallard_types::{Micros, Money, Result};

use super::card::CardFace;
use super::payment::{Method, Payment, Status};
use crate::error;

/// Longest id from outside, in bytes.
const ID_BYTES_MAX: usize = 64;
/// Most rounding one order can carry: 1,000 major units.
const ROUNDING_NANOS_MAX: u64 = 1_000_000_000_000;
/// Ways to pay that come with other adapters.
const NOT_YET: [&str; 3] = ["alipay", "wechat_pay", "balance"];

/// The gate of an order: which attempt holds it, and whether it is shut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Order it belongs to.
    pub order_id: String,
    /// Attempt that holds it; empty when it was closed before any.
    pub payment_id: String,
    /// No later attempt may take it.
    pub closed: bool,
    /// One more with every change.
    pub version: i64,
}

/// What happens to the money of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The provider moves it now.
    Charge,
    /// The shopper pays later.
    Wait,
    /// It moved elsewhere, or there is none to move.
    Record,
}

impl Plan {
    /// Chooses by method and amount; `privileged` is true for the mall itself.
    ///
    /// # Errors
    /// `amount_invalid`, `payment_method_unavailable`, `payment_method_invalid`.
    pub fn choose(method: &str, amount: Money, privileged: bool) -> Result<(Method, Plan)> {
        if amount.amount < 0 {
            return Err(error::amount_invalid());
        }
        let (method, plan) = match method {
            "card" => (Method::Card, Plan::Charge),
            "later" => (Method::Later, Plan::Wait),
            "external" if privileged => (Method::External, Plan::Record),
            "external" => return Err(error::payment_method_unavailable()),
            other if NOT_YET.contains(&other) => return Err(error::payment_method_unavailable()),
            _ => return Err(error::payment_method_invalid()),
        };
        Ok((method, if amount.amount == 0 { Plan::Record } else { plan }))
    }
}

/// A checked wish to pay an order.
#[derive(Clone, Debug)]
pub struct Opening {
    /// `pay_…`, the idempotency key.
    pub payment_id: String,
    /// Order to pay.
    pub order_id: String,
    /// Who pays.
    pub user_id: String,
    /// What the order costs.
    pub amount: Money,
    /// How the money moves.
    pub method: Method,
    /// What happens to it.
    pub plan: Plan,
    /// Exact order total minus the rounded one, in billionths of the major unit.
    pub rounding_nanos: i64,
}

impl Opening {
    /// Checks the ids and the rounding.
    ///
    /// # Errors
    /// `required`, `too_long`, `amount_invalid`.
    pub fn check(&self) -> Result<()> {
        let ids = [("payment_id", &self.payment_id), ("order_id", &self.order_id), ("user_id", &self.user_id)];
        for (name, id) in ids {
            if id.is_empty() {
                return Err(error::required(name));
            }
            if id.len() > ID_BYTES_MAX {
                return Err(error::too_long(name));
            }
        }
        if self.rounding_nanos.unsigned_abs() > ROUNDING_NANOS_MAX {
            return Err(error::amount_invalid().param("rounding_nanos"));
        }
        Ok(())
    }

    /// Makes the attempt. `due_at` is when the background takes over should this process die at the provider.
    pub fn payment(&self, card: Option<CardFace>, now: Micros, due_at: Micros) -> Payment {
        let recorded = self.plan == Plan::Record;
        let charged = self.plan == Plan::Charge;
        Payment {
            id: self.payment_id.clone(),
            order_id: self.order_id.clone(),
            user_id: self.user_id.clone(),
            method: self.method,
            status: if recorded { Status::Captured } else { Status::Pending },
            amount: self.amount,
            captured: if recorded { self.amount.amount } else { 0 },
            refunded: 0,
            refunding: 0,
            rounding_nanos: self.rounding_nanos,
            card,
            provider_key: if charged { self.payment_id.clone() } else { String::new() },
            provider_ref: String::new(),
            failure: None,
            unknown: false,
            closing: false,
            attempts: 0,
            due_at: charged.then_some(due_at),
            version: 1,
            created_at: now,
            updated_at: now,
        }
    }

    /// Decides what a wish to pay meets.
    ///
    /// `gate` is the order's, `existing` the attempt of the same id, `holder` the one that holds the gate.
    ///
    /// # Errors
    /// `idempotency_conflict`, `order_payments_closed`, `payment_not_found`, `currency_mismatch`, `amount_mismatch`.
    pub fn admit(&self, gate: Option<&Gate>, existing: Option<Payment>, holder: Option<Payment>) -> Result<Admission> {
        if let Some(existing) = existing {
            let same = existing.order_id == self.order_id
                && existing.user_id == self.user_id
                && existing.amount == self.amount
                && existing.method == self.method;
            return if same {
                Ok(Admission::Existing(existing))
            } else {
                Err(error::idempotency_conflict("payment_id"))
            };
        }
        let Some(gate) = gate else { return Ok(Admission::First) };
        if gate.closed {
            return Err(error::order_payments_closed());
        }
        let Some(holder) = holder else { return Ok(Admission::Next { gate: gate.clone(), given_up: None }) };
        if holder.user_id != self.user_id {
            return Err(error::payment_not_found());
        }
        if holder.amount.currency != self.amount.currency {
            return Err(error::currency_mismatch());
        }
        if holder.amount != self.amount {
            return Err(error::amount_mismatch());
        }
        match holder.status {
            Status::Captured | Status::PartiallyRefunded | Status::Refunded => Ok(Admission::Existing(holder)),
            Status::Cancelled | Status::Failed => Ok(Admission::Next { gate: gate.clone(), given_up: None }),
            Status::Pending | Status::Authorised if holder.provider_key.is_empty() => {
                Ok(Admission::Next { gate: gate.clone(), given_up: Some(holder) })
            }
            Status::Pending | Status::Authorised => Ok(Admission::Busy(holder)),
        }
    }
}

/// What a wish to pay meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// No attempt came before it.
    First,
    /// It takes the gate from an attempt that came to nothing, or from one that nobody charged (`given_up`).
    Next {
        /// The gate as it was read.
        gate: Gate,
        /// Attempt to cancel with it.
        given_up: Option<Payment>,
    },
    /// The answer is this payment: the same attempt, or the one that was captured.
    Existing(Payment),
    /// Another attempt is at the provider; its outcome comes first.
    Busy(Payment),
}
