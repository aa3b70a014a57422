//! The price of a basket, itemised: list prices from the catalog, shipping and tax by rule. Keeps nothing.

pub mod app;
pub mod config;
pub mod domain;
pub mod error;
pub mod rpc;

mod listing;

use std::sync::Arc;

use mallard_proto::promotion::v1::promotion_service_server::PromotionServiceServer;
use mallard_runtime::{Context, Parts, ServiceSpec};
use tonic::service::Routes;

/// Name of the service, as it is found and configured.
pub const NAME: &str = "promotion";

/// Describes the service to the binary.
pub fn service() -> ServiceSpec {
    ServiceSpec { name: NAME, migrations: &[], subscribes: &[], start: |ctx| Box::pin(start(ctx)) }
}

async fn start(ctx: Context) -> anyhow::Result<Parts> {
    let config: config::Config = ctx.config()?;
    let app = Arc::new(app::App::new(ctx, config)?);
    Ok(Parts::new(Routes::new(PromotionServiceServer::new(rpc::Rpc::new(app)))))
}
