//! Accounts, sessions, tokens, access control, the audit log and address books. Start with README.md, then `domain`.

mod app;
mod checks;
mod config;
mod contract;
mod domain;
mod error;
mod events;
mod migrations;
mod passwords;
mod rpc;
mod store;
mod tokens;

use mallard_proto::identity::v1::identity_service_server::IdentityServiceServer;
use mallard_runtime::{Context, Parts, ServiceSpec, Task};

pub use config::Config;

/// Describes the service to the runtime.
pub fn service() -> ServiceSpec {
    ServiceSpec {
        name: "identity",
        migrations: migrations::MIGRATIONS,
        subscribes: events::KINDS,
        start: |ctx| Box::pin(start(ctx)),
    }
}

async fn start(ctx: Context) -> anyhow::Result<Parts> {
    let app = app::App::start(ctx).await?;
    let routes = tonic::service::Routes::new(IdentityServiceServer::new(rpc::Rpc::new(app.clone())));
    let sweep = Task::restarting("sweep", move || app.clone().sweep_until_shutdown());
    Ok(Parts { subscriptions: vec![events::subscription()], tasks: vec![sweep], ..Parts::new(routes) })
}
