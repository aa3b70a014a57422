//! The durable flows of orders: the checkout, and a refund.

mod checkout;
mod refund;

pub use checkout::{Checkout, CheckoutState};
pub use refund::{Refund, RefundState};
