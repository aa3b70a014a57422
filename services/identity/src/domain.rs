//! The rules of accounts, sessions and address books. Values in, values or typed refusals out: no clock, no chance, no I/O.

mod address;
mod credentials;
mod roles;
mod session;
mod text;
mod user;

pub use address::{ADDRESSES_MAX, Address, Place, PlaceChange, admit_address};
pub use credentials::{Email, PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN, Password, PasswordHash};
pub use roles::{Role, Roles};
pub use session::{Renewal, Session};
pub use user::{Ban, BanLevel, Profile, ProfileChange, Status, User, check_seller_id, keep_operator};
