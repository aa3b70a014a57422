//! Who comes in: access tokens verified in this process, how their accounts stand, and the policy in force.
//!
//! The gateway asks for each request of the API, the web service for each page; they decide alike because both ask here. What
//! is needed to decide is identity's and kept in memory by [`Feeds`]; [`Door`] decides.
//!
//! | file | holds |
//! |---|---|
//! | `door.rs` | the decision, in order |
//! | `feeds.rs`, `feed.rs`, `events.rs`, `issuer.rs` | what keeps everything below fresh |
//! | `tokens.rs`, `cache.rs`, `keys.rs` | signatures |
//! | `revocations.rs`, `standings.rs`, `bans.rs` | what is true since a token was issued |
//! | `policies.rs` | the policy in force |
//! | `uses.rs` | sessions in use |
//!
//! Deliberately absent: pages, HTTP answers, rate limits; no path or verb is written here but those of the contracts.

mod bans;
mod cache;
mod door;
mod events;
mod feed;
mod feeds;
mod issuer;
mod keys;
mod policies;
mod revocations;
mod settings;
mod standings;
mod tokens;
mod uses;

pub use cache::{Now, Verified};
pub use door::Door;
pub use events::SUBSCRIBES;
pub use feeds::Feeds;
pub use issuer::Issuer;
pub use keys::jwks;
pub use policies::Policies;
pub use settings::Settings;
pub use tokens::Tokens;
