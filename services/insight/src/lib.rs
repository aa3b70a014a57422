//! What was sold, per day, product and seller, and how many of those who look buy: sums kept from the events of orders.
//!
//! Read in this order: `domain/` (facts and what they add to sums), `events.rs` (the intake), `app/fold.rs` (facts into
//! sums), `app/report.rs` (what is asked), `store/` (the rows).

mod app;
mod checks;
mod config;
mod convert;
mod domain;
mod error;
mod events;
mod migrations;
mod rpc;
mod store;

use std::sync::Arc;

use futures_util::FutureExt;
use mallard_proto::insight::v1::insight_service_server::InsightServiceServer;
use mallard_runtime::{Context, Parts, ServiceSpec, Task};

pub use config::Config;

/// Planted bug, tests only: facts are added to the sums twice. `insight.sums_fold_facts` must notice.
pub const SWITCH_FOLD_TWICE: &str = "insight.fold_twice";

/// Describes the service to the runtime.
pub fn service() -> ServiceSpec {
    ServiceSpec {
        name: "insight",
        migrations: migrations::MIGRATIONS,
        subscribes: events::KINDS,
        start: |ctx| start(ctx).boxed(),
    }
}

async fn start(ctx: Context) -> anyhow::Result<Parts> {
    let config: config::Config = ctx.config()?;
    let app = Arc::new(app::App::new(ctx, config)?);
    let server = InsightServiceServer::new(rpc::Rpc::new(app.clone()));
    let mut parts = Parts::new(tonic::service::Routes::new(server));
    parts.subscriptions.push(events::subscription());
    let (folding, catching_up, pruning) = (app.clone(), app.clone(), app);
    parts.tasks.push(Task::restarting("fold", move || app::fold_loop(folding.clone())));
    parts.tasks.push(Task::restarting("catch_up", move || app::catch_up_task(catching_up.clone())));
    parts.tasks.push(Task::restarting("prune", move || app::prune_loop(pruning.clone())));
    Ok(parts)
}
