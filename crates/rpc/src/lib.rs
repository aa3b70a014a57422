//! Calls between services: one channel type whether the callee is in this process or in another.
//!
//! [`Channels`] knows the way to every service. [`ServiceChannel`] is a tower service any tonic client runs over.
//! What travels with a call by itself ([`Call`]: caller, trace, deadline, business time) is read from the task with
//! [`current`] and restored around the handler. [`status`] and [`error`] carry errors over the wire and back.
//!
//! Deliberately absent: nothing outside this crate can tell a near call from a far one; nothing here knows a service.
//! Tasks spawned by a handler, and the bodies of streamed answers, run outside of its [`scope`].

mod body;
mod breaker;
mod call;
mod chance;
mod channel;
mod channels;
mod config;
mod error;
mod fault;
mod guard;
mod health;
mod metadata;
mod meter;
mod methods;
mod policy;
mod remote;
mod replay;
mod rpc_status;
mod served;
mod server;
mod snapshot;
mod trace;

pub use call::{Call, Caller, CallerKind, Origin, Surface, current, scope, with_current};
pub use channel::{Client, ServiceChannel};
pub use channels::Channels;
pub use config::{
    Balance, BreakerPolicy, BreakerSettings, Config, Connect, Fallback, HashOn, MESSAGE_BYTES_MAX, MethodPolicy,
    MethodRetry, Policy, RetryPolicy, RetrySettings, ServicePolicy,
};
pub use error::{error, status};
pub use fault::{Fault, FaultAction};
pub use methods::{register_idempotent, register_safe};
pub use remote::{Discover, StaticEndpoints};
pub use server::{ServerConfig, serve, serve_incoming};
pub use snapshot::{EndpointState, MethodState, Snapshot};
pub use trace::Trace;
