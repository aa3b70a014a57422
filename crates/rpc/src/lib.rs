//! Calls between services: one channel type whether the callee is in this process or in another.
//!
//! [`Channels`] knows the way to every service. [`ServiceChannel`] is a tower service any tonic client runs over.
//! What travels with a call by itself ([`Call`]: caller, trace, deadline, business time) is read from the task with
//! [`current`] and restored around the handler. [`status`] and [`error`] carry errors over the wire and back.
//!
//! | looking for | go to |
//! |---|---|
//! | the layers of a call, in order | `channel.rs` |
//! | what may be configured, and the defaults | [`Config`], [`Policy`], [`BreakerPolicy`], [`MethodPolicy`] |
//! | which endpoint a call goes to | `remote/select.rs`, then `remote/balance/` |
//! | when an endpoint or a method is left out | `breaker/` |
//! | retries and their budget, hedge, bulkhead, fallback | `policy/` |
//! | what a process knows of the services it calls | [`Channels::snapshot`] |
//! | the calls a process was slow to answer | [`Channels::slow_calls`], `slow.rs` |
//! | the receiving side | `server.rs` (who is let in), `served.rs` (the caller's context around the handler) |
//!
//! Rules of the policies:
//! - An endpoint that does not answer is left out however many are; one that answers badly or slowly only while no more
//!   than `ejection_max_percent` are, which of a single endpoint means never, with the default of 50.
//! - Only methods the contract marks idempotent are tried again; only those without side effects are hedged or have a
//!   fallback. Retries and hedges of all methods of a service share one budget.
//! - An answer a fallback gave says so in its metadata: `mallard-fallback: last_good` or `empty`.
//! - A peer that does not know the cluster's secret (without one: that is not on loopback) is refused with
//!   `peer_not_trusted`, a call that does not say who asks with `identity_missing`, near and far; health alone is answered
//!   to anybody. Every channel says who asks, be it nobody.
//!
//! Metrics, beside calls, retries and times: `mallard_rpc_breaker_state{service,endpoint}` and
//! `mallard_rpc_method_breaker_state{service,method}` (0 closed, 1 half open, 2 open),
//! `mallard_rpc_breaker_opened_total`, `mallard_rpc_method_breaker_opened_total`, `mallard_rpc_ejections_total`,
//! `mallard_rpc_ejections_spared_total` (failures of endpoints that would be left out, were it not for the cap),
//! `mallard_rpc_hedges_total`, `mallard_rpc_fallbacks_total{service,method,kind}`,
//! `mallard_rpc_bulkhead_rejected_total`, `mallard_rpc_retry_budget_spent_total`.
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
mod slow;
mod snapshot;
mod trace;

pub use call::{Call, Caller, CallerKind, Origin, Surface, current, scope, with_current};
pub use channel::{Client, ServiceChannel};
pub use channels::Channels;
pub use config::{
    Balance, BreakerPolicy, BreakerSettings, Config, Connect, Fallback, HashOn, KnownMethod, MESSAGE_BYTES_MAX,
    MethodPolicy, MethodRetry, Policy, RetryPolicy, RetrySettings, ServicePolicy,
};
pub use error::{error, status};
pub use fault::{Fault, FaultAction};
pub use methods::{register_idempotent, register_safe};
pub use remote::{Discover, StaticEndpoints};
pub use server::{ServerConfig, serve, serve_incoming};
pub use slow::{OK, SlowCall, SlowCalls};
pub use snapshot::{EndpointState, MethodState, Snapshot};
pub use trace::Trace;
