//! Checkout on one page: where to, how, what it costs; then the order, once.
//!
//! | file | holds |
//! |---|---|
//! | `form.rs` | what was typed |
//! | `show.rs` | the page, fresh or after a refusal |
//! | `place.rs` | the order |
//! | `result.rs` | what became of it |

mod form;
mod place;
mod result;
mod show;

pub use form::{Card, payment};
pub use place::place;
pub use result::result;
pub use show::{LineView, Sums, show};
