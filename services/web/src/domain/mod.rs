//! What the pages decide without asking anybody: prices in words, languages, safe paths, which variant was chosen.

mod choice;
mod device;
mod language;
mod path;
mod price;
mod secret;

pub use choice::{Choice, choose};
pub use device::device;
pub use language::{Lang, negotiate};
pub use path::{has_prefix, local_path, split_language};
pub use price::{minor, price, round_up, short, typed};
pub use secret::{Secret, constant_eq};
