//! Payments, refunds and the double-entry ledger. Money moves at most once per order, whatever the network does.

pub mod acquirer;
pub mod app;
pub mod checks;
pub mod config;
pub mod domain;
pub mod error;
pub mod flows;
pub mod migrations;
pub mod rpc;
pub mod store;

mod flights;
mod vault;

use std::sync::Arc;

use mallard_proto::payment::v1::payment_service_server::PaymentServiceServer;
use mallard_runtime::{Context, Parts, ServiceSpec, Task};
use tonic::service::Routes;

use crate::acquirer::books::Books;
use crate::acquirer::faults::RandomFaults;
use crate::acquirer::{Faulty, Provider, Simulator};

/// Name of the service, as it is found and configured.
pub const NAME: &str = "payment";
/// Name of the acquirer simulator's own database.
const ACQUIRER: &str = "acquirer";

/// Describes the service to the binary.
pub fn service() -> ServiceSpec {
    ServiceSpec { name: NAME, migrations: migrations::ALL, subscribes: &[], start: |ctx| Box::pin(start(ctx)) }
}

async fn start(ctx: Context) -> anyhow::Result<Parts> {
    let config: config::Config = ctx.config()?;
    let books = Books::new(ctx.open_db(ACQUIRER, acquirer::migrations::ALL).await?);
    let simulator = Simulator::new(books);
    let provider: Arc<dyn Provider> = if config.acquirer.any() {
        Arc::new(Faulty::new(simulator, Arc::new(RandomFaults::new(config.acquirer, ctx.chance()))))
    } else {
        Arc::new(simulator)
    };
    Ok(parts(ctx, config, provider)?.1)
}

/// Builds the service over a provider; tests bring their own.
///
/// # Errors
/// A setting that cannot work.
pub fn parts(
    ctx: Context,
    config: config::Config,
    provider: Arc<dyn Provider>,
) -> anyhow::Result<(Arc<app::App>, Parts)> {
    let db = ctx.db();
    let app = Arc::new(app::App::new(ctx, config, db, provider)?);
    let mut parts = Parts::new(Routes::new(PaymentServiceServer::new(rpc::Rpc::new(app.clone()))));
    let settling = app.clone();
    parts.tasks.push(Task::restarting("settle", move || flows::settle_until_shutdown(settling.clone())));
    Ok((app, parts))
}
