//! The REST edge, made from the contracts: it turns the routes of `mallard_proto::rest` into an HTTP service.
//!
//! A request passes these steps, in this order; each is one module. The cheap ones come first, so that who is turned away
//! costs little:
//!
//! 1. [`origin`]: the client behind the proxies; [`addresses`]: whether its network may knock
//! 2. [`edge`]: request id and trace, match of verb and path, [`cors`], deadline; [`policy`]: what holds for the route
//! 3. [`limits`]: how often an address or key may ask; [`friction`]: work asked of clients on hot routes
//! 4. [`concurrency`]: a place, or not, by [`tiers`] and [`crowd`], as many as [`gradient`] says
//! 5. [`auth`]: who asks, and whether the route's access level lets them; [`limits`] again, by user and session
//! 6. [`canary`]: versions on trial; [`edge::Copies`]: public answers given again
//! 7. [`body`], [`query`]: body, path, query and headers into the typed request
//! 8. [`once`]: the `Idempotency-Key`, around the call of the service
//! 9. [`endpoint`]: the call over the service's channel and the typed answer into JSON and headers
//! 10. [`problem`]: every refusal in the one error form of the API
//!
//! Pages for people take the steps 1 to 4 in the name of a route ([`Edge::guard`]).
//!
//! [`openapi`] and [`docs`] show the same routes to people.
//!
//! Deliberately absent: no route, field or rule is written here; no service is named; nothing here reads a clock or makes
//! an id; tokens and stored answers are behind traits.

pub mod addresses;
pub mod auth;
pub mod body;
pub mod canary;
pub mod concurrency;
pub mod cors;
pub mod crowd;
pub mod docs;
pub mod edge;
pub mod endpoint;
pub mod friction;
pub mod gradient;
pub mod limits;
pub mod once;
pub mod openapi;
pub mod origin;
pub mod policy;
pub mod problem;
pub mod protection;
pub mod query;
pub mod table;
pub mod tiers;

mod meter;

pub use auth::{Authenticate, Identity};
pub use edge::{Answering, Copies, CopiesConfig, Done, Edge, EdgeConfig, Hook, Source, Stands};
pub use endpoint::Reply;
pub use once::{Begin, Claim, IdempotencyStore, Remembered};
pub use protection::Protection;
pub use table::{Contract, Route, routes};
