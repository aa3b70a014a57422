//! The rules of accounts, sessions, access and address books. Values in, values or typed refusals out: no clock, no chance,
//! no I/O.

mod access;
mod address;
mod attempts;
mod audit;
mod ban;
mod credentials;
mod roles;
mod session;
mod standing;
mod text;
mod user;

pub use access::{ALLOW_LIST_MAX, Edit, POLICIES_MAX, Policy, ROLES_MAX, RoleDef, Ruleset, effect_name, parse_effect};
pub use address::{ADDRESSES_MAX, Address, Place, PlaceChange, admit_address};
pub use attempts::{Attempt, AttemptKey, AttemptLimits, Verdict, network};
pub use audit::{Entry, EntryHash, GENESIS};
pub use ban::{Ban, BanLevel};
pub use credentials::{Email, PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN, Password, PasswordHash};
pub use roles::{ADMIN, ANONYMOUS, BUILT_IN, ROLES_PER_USER_MAX, Roles, SELLER, USER, is_built_in};
pub use session::{Client, Moment, Renewal, Session};
pub use standing::Standing;
pub use user::{Profile, ProfileChange, Status, User, check_seller_id, keep_operator};
