//! Orders: placed once, paid once, cancelled in time, never lost. See the README of this service.

mod app;
mod checks;
mod config;
mod convert;
pub mod domain;
mod error;
mod events;
mod flows;
mod migrations;
mod peers;
mod rpc;
mod store;

use std::sync::Arc;

use futures_util::FutureExt;
use mallard_bus::Subscription;
use mallard_proto::order::v1::order_service_server::OrderServiceServer;
use mallard_runtime::{Context, Parts, ServiceSpec, Task};

pub use config::Config;

/// Describes the service to the runtime.
pub fn service() -> ServiceSpec {
    ServiceSpec {
        name: "order",
        migrations: migrations::MIGRATIONS,
        subscribes: &["payment.refunded.v1"],
        start: |context| start(context).boxed(),
    }
}

async fn start(context: Context) -> anyhow::Result<Parts> {
    let config: config::Config = context.config()?;
    let app = Arc::new(app::App::new(context.clone(), config));
    let engine = context.flows();
    engine.register(flows::Checkout::new(app.clone()));
    engine.register(flows::Refund::new(app.clone()));
    let mut parts = Parts::new(tonic::service::Routes::new(
        OrderServiceServer::new(rpc::Rpc::new(app.clone())).max_decoding_message_size(rpc::MESSAGE_BYTES_MAX),
    ));
    parts.flows = true;
    let refolding = app.clone();
    parts.tasks.push(Task::restarting("refold", move || app::refold_until_shutdown(refolding.clone())));
    parts.subscriptions =
        vec![Subscription::new(&["payment.refunded.v1"], Arc::new(events::PaymentRefundedHandler::new(app)))];
    Ok(parts)
}
