//! What a service tells the runtime about itself.

use futures_util::future::BoxFuture;
use mallard_bus::Subscription;
use mallard_db::Migration;

use crate::{Context, Guard, Pages, Task};

/// Describes a service: everything the runtime must know to run it alone or among others.
#[derive(Clone, Copy)]
pub struct ServiceSpec {
    /// Name in config, channels and on the command line, e.g. `order`.
    pub name: &'static str,
    /// Schema of its database; empty when it has none.
    pub migrations: &'static [Migration],
    /// Kinds of events it wants, e.g. `user.deleted.v1`.
    pub subscribes: &'static [&'static str],
    /// Builds it.
    pub start: fn(Context) -> BoxFuture<'static, anyhow::Result<Parts>>,
}

/// The running pieces of a service.
pub struct Parts {
    /// Its RPCs.
    pub routes: tonic::service::Routes,
    /// Its event handlers.
    pub subscriptions: Vec<Subscription>,
    /// Background work; each task ends when the context's shutdown signal is given.
    pub tasks: Vec<Task>,
    /// Set when the service registered flows with `Context::flows`: the runtime runs the engine.
    pub flows: bool,
    /// An HTTP application, served on the process's public address.
    pub http: Option<axum::Router>,
    /// Pages in front of the process's HTTP application.
    pub pages: Option<Pages>,
    /// Stands before the pages of the process.
    pub guard: Option<Guard>,
}

impl Parts {
    /// Makes the parts of a service that only answers RPCs.
    pub fn new(routes: tonic::service::Routes) -> Parts {
        Parts {
            routes,
            subscriptions: Vec::new(),
            tasks: Vec::new(),
            flows: false,
            http: None,
            pages: None,
            guard: None,
        }
    }
}
