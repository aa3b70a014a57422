//! The provider of card payments, seen from here, and the simulator that plays one.
//!
//! A provider keeps its promises by key: the same key moves money at most once, and a key that was withdrawn before money
//! moved never moves any.

pub mod books;
pub mod faults;
pub mod migrations;
pub mod simulator;

use async_trait::async_trait;
use mallard_types::{Micros, Money, Result};

use crate::domain::Card;

pub use faults::{Faults, Faulty};
pub use simulator::Simulator;

/// What the provider is asked to collect.
#[derive(Clone, Debug)]
pub struct Charge {
    /// Idempotency key.
    pub key: String,
    /// How much.
    pub amount: Money,
    /// From which card.
    pub card: Card,
    /// Business time.
    pub at: Micros,
}

/// Answer to a charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charged {
    /// The money moved.
    Captured {
        /// The provider's own name of the capture.
        provider_ref: String,
    },
    /// The issuer said no.
    Declined {
        /// Stable code, e.g. `card_declined`.
        code: String,
    },
    /// The key had been withdrawn; no money moves.
    Withdrawn,
    /// No answer came: the money may or may not have moved.
    Unknown,
}

/// Answer to a question about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The money moved.
    Captured {
        /// The provider's own name of the capture.
        provider_ref: String,
    },
    /// The issuer said no.
    Declined {
        /// Stable code.
        code: String,
    },
    /// The key was withdrawn.
    Withdrawn,
    /// The provider has never seen the key. A request with it may still be on its way.
    Missing,
    /// No answer came.
    Unknown,
}

/// Answer to a withdrawal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Withdrawn {
    /// No money moved under the key and none ever will.
    Done,
    /// Too late: the money moved.
    Captured {
        /// The provider's own name of the capture.
        provider_ref: String,
    },
    /// No answer came.
    Unknown,
}

/// What the provider is asked to give back.
#[derive(Clone, Debug)]
pub struct Repayment {
    /// Idempotency key.
    pub key: String,
    /// The provider's own name of the capture.
    pub provider_ref: String,
    /// How much.
    pub amount: Money,
    /// Business time.
    pub at: Micros,
}

/// Answer to a repayment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repaid {
    /// The money went back.
    Done,
    /// The provider will not do it.
    Refused {
        /// Stable code.
        code: String,
    },
    /// No answer came.
    Unknown,
}

/// One movement in the provider's books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    /// Idempotency key it was made with.
    pub key: String,
    /// How much moved.
    pub amount: Money,
}

/// Which of the provider's books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Book {
    /// Money taken in.
    Captures,
    /// Money given back.
    Refunds,
}

/// A provider of card payments.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Collects money; the same key collects once and gives the same answer again.
    async fn authorise_capture(&self, charge: &Charge) -> Charged;

    /// Says what became of a key.
    async fn query(&self, key: &str) -> Found;

    /// Promises that no money moves under a key, unless it did already. The promise binds charges that arrive later.
    async fn withdraw(&self, key: &str, at: Micros) -> Withdrawn;

    /// Gives money back; the same key gives back once.
    async fn refund(&self, repayment: &Repayment) -> Repaid;

    /// Lists the money that moved, in order of key, after a key, at most `limit` movements; for reconciliation.
    ///
    /// # Errors
    /// `Unavailable` when the books cannot be read now.
    async fn list(&self, book: Book, after_key: &str, limit: usize) -> Result<Vec<Movement>>;
}
