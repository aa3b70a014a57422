//! Words every part of the mall shares: errors, money, ids, pages, what a text may hold. No I/O, nothing async.

pub mod error;
pub mod id;
pub mod money;
pub mod page;
pub mod text;

pub use error::{Error, Kind, Result};
pub use money::{Currency, Money};

/// Microseconds since the Unix epoch, UTC.
pub type Micros = i64;
