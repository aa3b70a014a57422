//! What a payment is and which moves it allows. Pure: values in, values or refusals out; no clock, no I/O, no chance.

pub mod admission;
pub mod card;
pub mod ledger;
pub mod payment;
pub mod refund;

#[cfg(test)]
mod card_tests;
#[cfg(test)]
mod payment_tests;

pub use admission::{Admission, Gate, Opening, Plan};
pub use card::{Card, CardFace, CardInput};
pub use ledger::{Entry, Posting};
pub use payment::{Failure, Method, Outcome, Payment, Status};
pub use refund::{Refund, RefundLine, RefundRequest, RefundStatus};
