//! Products, variants, categories, brands and list prices.
//!
//! Read in this order: `domain/` (what a product may be), `app/` (the use cases), `shelf.rs` (why a warm read costs no SQL),
//! `store/` (the rows), `flows.rs` (first stock of new variants), `events.rs` (what comes in and goes out).

mod app;
mod checks;
mod config;
mod directory;
mod domain;
mod error;
mod events;
mod flows;
mod migrations;
mod rpc;
mod shelf;
mod store;

use std::sync::Arc;

use futures_util::FutureExt;
use mallard_bus::Subscription;
use mallard_proto::catalog::v1::catalog_service_server::CatalogServiceServer;
use mallard_runtime::{Context, Parts, ServiceSpec, Task};

pub use config::Config;

/// Describes the service to the runtime.
pub fn service() -> ServiceSpec {
    ServiceSpec {
        name: "catalog",
        migrations: migrations::MIGRATIONS,
        subscribes: events::KINDS,
        start: |ctx| start(ctx).boxed(),
    }
}

async fn start(ctx: Context) -> anyhow::Result<Parts> {
    let config: config::Config = ctx.config()?;
    let app = Arc::new(app::App::new(ctx.clone(), config));
    ctx.flows().register(flows::FirstStock::new(app.clone()));
    let server = CatalogServiceServer::new(rpc::Rpc::new(app.clone()));
    let mut parts = Parts::new(tonic::service::Routes::new(server));
    parts.flows = true;
    let removing = app.clone();
    parts.tasks.push(Task::restarting("remove_images", move || app::remove_images_loop(removing.clone())));
    parts.subscriptions.push(Subscription::new(events::KINDS, Arc::new(events::StockEvents::new(app))));
    Ok(parts)
}
