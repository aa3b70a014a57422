//! Carts of guests and users: one row per cart, changed under its version, priced anew whenever it is shown.

pub mod app;
pub mod checks;
pub mod config;
pub mod domain;
pub mod error;
pub mod events;
pub mod migrations;
pub mod rpc;
pub mod store;
pub mod token;

mod goods;

use std::sync::Arc;

use mallard_proto::cart::v1::cart_service_server::CartServiceServer;
use mallard_runtime::{Context, Parts, ServiceSpec, Task};
use tonic::service::Routes;

/// Name of the service, as it is found and configured.
pub const NAME: &str = "cart";

/// Describes the service to the binary.
pub fn service() -> ServiceSpec {
    ServiceSpec {
        name: NAME,
        migrations: migrations::ALL,
        subscribes: events::KINDS,
        start: |ctx| Box::pin(start(ctx)),
    }
}

async fn start(ctx: Context) -> anyhow::Result<Parts> {
    let config: config::Config = ctx.config()?;
    let app = Arc::new(app::App::new(ctx, config)?);
    let mut parts = Parts::new(Routes::new(CartServiceServer::new(rpc::Rpc::new(app.clone()))));
    parts.subscriptions.push(events::subscription());
    parts.tasks.push(Task::restarting("prune", move || app::prune_until_shutdown(app.clone())));
    Ok(parts)
}
