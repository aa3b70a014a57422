//! One attempt to pay an order, and the moves it allows. Every move gives the row as it must be saved, one version later.

use mallard_types::{Micros, Money, Result};

use super::card::CardFace;
use super::refund::{Refund, RefundStatus};
use crate::error;

/// First wait before the provider is asked again.
const RETRY_MICROS_MIN: i64 = 200_000;
/// Longest wait before the provider is asked again.
const RETRY_MICROS_MAX: i64 = 30_000_000;

/// State of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// No final answer yet, or none asked for yet.
    Pending,
    /// The money is set aside. No provider of this release rests here; the others will.
    Authorised,
    /// The money moved.
    Captured,
    /// Given up before money moved.
    Cancelled,
    /// The provider said no.
    Failed,
    /// Part of the money went back.
    PartiallyRefunded,
    /// All of the money went back.
    Refunded,
}

impl Status {
    /// Every status.
    pub const ALL: [Status; 7] = [
        Status::Pending,
        Status::Authorised,
        Status::Captured,
        Status::Cancelled,
        Status::Failed,
        Status::PartiallyRefunded,
        Status::Refunded,
    ];

    /// Returns the public name.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Authorised => "authorised",
            Status::Captured => "captured",
            Status::Cancelled => "cancelled",
            Status::Failed => "failed",
            Status::PartiallyRefunded => "partially_refunded",
            Status::Refunded => "refunded",
        }
    }

    /// Parses a public name.
    pub fn parse(name: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// How the money moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Through the card provider.
    Card,
    /// Not yet: the shopper pays before the order's deadline.
    Later,
    /// Elsewhere; only recorded here (import).
    External,
}

impl Method {
    /// Returns the public name.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Card => "card",
            Method::Later => "later",
            Method::External => "external",
        }
    }

    /// Parses a stored name.
    pub fn parse(name: &str) -> Option<Method> {
        [Method::Card, Method::Later, Method::External].into_iter().find(|method| method.as_str() == name)
    }
}

/// Why the provider said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Stable code, e.g. `card_declined`.
    pub code: String,
    /// Sentence for the shopper.
    pub message: String,
}

impl Failure {
    /// Makes a failure with the sentence of its code.
    pub fn of(code: &str) -> Failure {
        Failure { code: code.to_owned(), message: error::decline_sentence(code).to_owned() }
    }
}

/// What became of an attempt at the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The money moved.
    Captured {
        /// The provider's own name of the capture.
        provider_ref: String,
    },
    /// The provider said no; no money moved.
    Declined(Failure),
    /// The provider promised that no money moves under this key, because we asked it to.
    Withdrawn {
        /// True when somebody wanted the payment cancelled; false when it was given up for lack of an answer.
        wanted: bool,
    },
    /// Nobody knows.
    Unknown,
}

/// One attempt to pay an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// `pay_…`, also the idempotency key of the attempt.
    pub id: String,
    /// Order it pays.
    pub order_id: String,
    /// Who pays.
    pub user_id: String,
    /// How the money moves.
    pub method: Method,
    /// State.
    pub status: Status,
    /// What is asked for.
    pub amount: Money,
    /// What moved in, minor units: nothing or the amount.
    pub captured: i64,
    /// What moved back, minor units.
    pub refunded: i64,
    /// What is on its way back without a final answer, minor units.
    pub refunding: i64,
    /// Exact order total minus the rounded one, in billionths of the major unit.
    pub rounding_nanos: i64,
    /// Shown and stored part of the card.
    pub card: Option<CardFace>,
    /// Idempotency key at the provider; empty when no provider moves this money.
    pub provider_key: String,
    /// The provider's own name of the capture.
    pub provider_ref: String,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// The provider was asked and did not say.
    pub unknown: bool,
    /// The order is closed: money that moved, or still moves, goes back.
    pub closing: bool,
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

impl Payment {
    /// Tells whether the money moved at some time.
    pub fn is_captured(&self) -> bool {
        matches!(self.status, Status::Captured | Status::PartiallyRefunded | Status::Refunded)
    }

    /// Tells whether only the provider knows what will become of it.
    pub fn waits_for_provider(&self) -> bool {
        self.status == Status::Pending && !self.provider_key.is_empty()
    }

    /// Tells whether a call to the provider may still be running.
    pub fn is_in_flight(&self, clock_now: Micros) -> bool {
        self.waits_for_provider() && !self.unknown && self.due_at.is_some_and(|due| due > clock_now)
    }

    /// Returns what can still be given back, minor units.
    pub fn refundable(&self) -> i64 {
        self.captured - self.refunded - self.refunding
    }

    /// Takes the provider's answer; `None` when it changes nothing. `clock_now` is the clock's time, for retries; `now` the
    /// business time.
    ///
    /// # Errors
    /// `illegal_transition` when money moved on a payment that was given up, which no provider that keeps its promise does.
    pub fn settle(&self, outcome: &Outcome, now: Micros, clock_now: Micros) -> Result<Option<Payment>> {
        if self.status != Status::Pending {
            let moved = matches!(outcome, Outcome::Captured { .. });
            return if moved && !self.is_captured() { Err(self.illegal("captured")) } else { Ok(None) };
        }
        let mut next = self.changed(now);
        next.unknown = false;
        next.due_at = None;
        match outcome {
            Outcome::Captured { provider_ref } => {
                next.status = Status::Captured;
                next.captured = self.amount.amount;
                next.provider_ref.clone_from(provider_ref);
                // Money for a closed order goes back; the background does it should this process die.
                next.due_at = self.closing.then_some(clock_now);
            }
            Outcome::Declined(failure) => {
                next.status = Status::Failed;
                next.failure = Some(failure.clone());
            }
            Outcome::Withdrawn { wanted } if *wanted || self.closing => next.status = Status::Cancelled,
            Outcome::Withdrawn { .. } => {
                next.status = Status::Failed;
                next.failure = Some(Failure::of("provider_no_answer"));
            }
            Outcome::Unknown => {
                next.unknown = true;
                next.attempts = self.attempts.saturating_add(1);
                next.due_at = Some(retry_at(clock_now, self.attempts));
            }
        }
        Ok(Some(next))
    }

    /// Gives up a payment that no provider knows of; `None` when that is done already.
    ///
    /// # Errors
    /// `illegal_transition` unless pending; a payment at the provider is settled with its answer instead.
    pub fn cancel(&self, now: Micros) -> Result<Option<Payment>> {
        match self.status {
            Status::Cancelled => Ok(None),
            Status::Pending if self.provider_key.is_empty() => {
                let mut next = self.changed(now);
                next.status = Status::Cancelled;
                Ok(Some(next))
            }
            _ => Err(self.illegal("cancelled")),
        }
    }

    /// Marks that its order is closed; `None` when there is nothing to give up or to give back.
    pub fn close(&self, now: Micros, clock_now: Micros) -> Option<Payment> {
        let open =
            matches!(self.status, Status::Pending | Status::Authorised | Status::Captured | Status::PartiallyRefunded);
        if self.closing || !open {
            return None;
        }
        let mut next = self.changed(now);
        next.closing = true;
        next.due_at = (self.waits_for_provider() || self.refundable() > 0).then_some(clock_now);
        if self.status == Status::Pending && self.provider_key.is_empty() {
            next.status = Status::Cancelled;
        }
        Some(next)
    }

    /// Sets part of the captured money aside for a refund.
    ///
    /// # Errors
    /// `illegal_transition` unless captured; `currency_mismatch`; `refund_exceeds_captured`.
    pub fn begin_refund(&self, amount: Money, now: Micros) -> Result<Payment> {
        if !self.is_captured() {
            return Err(self.illegal("refunded"));
        }
        if amount.currency != self.amount.currency {
            return Err(error::currency_mismatch());
        }
        if amount.amount <= 0 || amount.amount > self.refundable() {
            return Err(error::refund_exceeds_captured(Money::new(self.refundable(), self.amount.currency)));
        }
        let mut next = self.changed(now);
        next.refunding = self.refunding + amount.amount;
        if next.refundable() == 0 {
            next.due_at = None;
        }
        Ok(next)
    }

    /// Takes the final answer to a refund that was begun.
    pub fn end_refund(&self, refund: &Refund, now: Micros) -> Payment {
        let mut next = self.changed(now);
        next.refunding = self.refunding - refund.amount.amount;
        if refund.status == RefundStatus::Succeeded {
            next.refunded = self.refunded + refund.amount.amount;
            next.status = if next.refunded == next.captured { Status::Refunded } else { Status::PartiallyRefunded };
        }
        next
    }

    /// Leaves it to rest; `None` when it rests already.
    pub fn rest(&self, now: Micros) -> Option<Payment> {
        self.due_at.is_some().then(|| Payment { due_at: None, ..self.changed(now) })
    }

    /// Refuses a move.
    pub fn illegal(&self, verb: &str) -> mallard_types::Error {
        error::illegal_transition(self.status.as_str(), verb)
    }

    fn changed(&self, now: Micros) -> Payment {
        Payment { version: self.version + 1, updated_at: now.max(self.created_at), ..self.clone() }
    }
}

/// Returns when to ask again: 200 ms after the first silence, twice as long after each, at most 30 s.
pub fn retry_at(clock_now: Micros, attempts: u32) -> Micros {
    clock_now
        + RETRY_MICROS_MIN.checked_shl(attempts.min(20)).map_or(RETRY_MICROS_MAX, |wait| wait.min(RETRY_MICROS_MAX))
}
