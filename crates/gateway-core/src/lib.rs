//! The REST edge, made from the contracts: it turns the routes of `mallard_proto::rest` into an HTTP service.
//!
//! A request passes these steps, in this order; each is one module:
//!
//! 1. [`edge`]: request id and trace, match of verb and path, limit on requests under way, deadline
//! 2. [`auth`]: who asks, and whether the route's access level lets them
//! 3. [`body`], [`query`]: body, path, query and headers into the typed request
//! 4. [`once`]: the `Idempotency-Key`, around the call of the service
//! 5. [`endpoint`]: the call over the service's channel and the typed answer into JSON and headers
//! 6. [`problem`]: every refusal in the one error form of the API
//!
//! [`openapi`] and [`docs`] show the same routes to people.
//!
//! Deliberately absent: no route, field or rule is written here; no service is named; nothing here reads a clock or makes
//! an id; tokens and stored answers are behind traits.

pub mod auth;
pub mod body;
pub mod docs;
pub mod edge;
pub mod endpoint;
pub mod once;
pub mod openapi;
pub mod problem;
pub mod query;
pub mod table;

mod meter;

pub use auth::{Authenticate, Identity};
pub use edge::{Copies, CopiesConfig, Done, Edge, EdgeConfig, Hook, Source};
pub use endpoint::Reply;
pub use once::{Begin, Claim, IdempotencyStore, Remembered};
pub use table::{Route, routes};
