//! Stock: how many units of every SKU there are, which are promised, and a ledger entry for every unit that ever moved.
//!
//! Read in this order: `domain.rs` (the rules), `app/` (the use cases), `store/` (the rows), `availability.rs` (the event).

mod app;
mod availability;
mod checks;
mod config;
mod domain;
mod error;
mod events;
mod migrations;
mod open;
mod rpc;
mod store;

use std::sync::Arc;

use futures_util::FutureExt;
use mallard_proto::inventory::v1::inventory_service_server::InventoryServiceServer;
use mallard_runtime::{Context, Parts, ServiceSpec, Task};

pub use config::Config;

/// Planted bug, tests only: a confirm writes no ledger entry. `stock.conservation` must notice.
pub const SWITCH_SKIP_LEDGER: &str = "inventory.skip_ledger";
/// Planted bug, tests only: releasing a released hold gives its units back again. `stock.reserved_is_open_reservations`
/// must notice.
pub const SWITCH_RELEASE_TWICE: &str = "inventory.release_twice";

/// Describes the service to the runtime.
pub fn service() -> ServiceSpec {
    ServiceSpec {
        name: "inventory",
        migrations: migrations::MIGRATIONS,
        subscribes: &[],
        start: |ctx| start(ctx).boxed(),
    }
}

async fn start(ctx: Context) -> anyhow::Result<Parts> {
    let config: config::Config = ctx.config()?;
    let app = Arc::new(app::App::new(ctx, config));
    app::align_all_alerts(&app).await?;
    let server = InventoryServiceServer::new(rpc::Rpc::new(app.clone()));
    let mut parts = Parts::new(tonic::service::Routes::new(server));
    let expiring = app.clone();
    parts.tasks.push(Task::restarting("expire", move || app::expire_loop(expiring.clone())));
    parts.tasks.push(Task::restarting("announce", move || availability::announce_loop(app.clone())));
    Ok(parts)
}
