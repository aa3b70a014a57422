//! The gateway: the one door of the mall. REST made from the contracts, access tokens checked in this process, answers
//! kept under their idempotency keys, and the operators' view of the whole mall.
//!
//! See `README.md` for what it owns and whom it calls.

mod app;
mod cache;
mod config;
mod copies;
mod events;
mod hooks;
mod keys;
mod migrations;
mod revocations;
mod rpc;
mod site;
mod store;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use mallard_bus::Subscription;
use mallard_gateway_core::{Edge, EdgeConfig, Source, routes};
use mallard_proto::events::{PRODUCT_CHANGED_V1, USER_SESSION_REVOKED_V1};
use mallard_proto::gateway::v1::gateway_service_server::GatewayServiceServer;
use mallard_rpc::Trace;
use mallard_runtime::{Context, Parts, ServiceSpec, Task};
use tonic::service::Routes;

pub use config::Config;
pub use store::Answers;

/// Events the gateway listens to.
const SUBSCRIBES: &[&str] = &[USER_SESSION_REVOKED_V1, PRODUCT_CHANGED_V1];

/// Describes the gateway to the runtime. It is the last service to start: it stands in front of the others.
pub fn service() -> ServiceSpec {
    ServiceSpec {
        name: "gateway",
        migrations: migrations::MIGRATIONS,
        subscribes: SUBSCRIBES,
        start: |ctx| Box::pin(start(ctx)),
    }
}

async fn start(ctx: Context) -> anyhow::Result<Parts> {
    let config: Config = ctx.config()?;
    let clock = ctx.clock();
    let now: cache::Now = Arc::new(move || clock.now());
    let revocations = Arc::new(revocations::Revocations::new(ctx.client(), Arc::clone(&now)));
    let keys = keys::Keys::new(ctx.client());
    let tokens = Arc::new(tokens::Tokens::new(keys, Arc::clone(&revocations), now, config.token_cache_max));
    let answers = Arc::new(Answers::new(ctx.db(), ctx.clock()));
    if !ctx.shares_storage() {
        answers.void_claims().await?;
    }
    let app = Arc::new(app::App::new(ctx.clone()));
    let hook = Arc::new(hooks::Hooks::new(ctx.client(), Arc::clone(&tokens), Arc::clone(&revocations)));
    let edge = Edge::new(
        routes(|service| ctx.channel(service)),
        Arc::clone(&tokens) as _,
        Arc::clone(&answers) as _,
        Some(hook),
        source(&ctx),
        edge_config(&config),
    );
    let edge = edge.map_err(anyhow::Error::msg)?;

    let rpc = Routes::new(GatewayServiceServer::new(rpc::Rpc::new(app)));
    let mut parts = Parts::new(rpc);
    let handler = Arc::new(events::SessionRevoked::new(Arc::clone(&revocations)));
    parts.subscriptions.push(Subscription::in_memory(&[USER_SESSION_REVOKED_V1], handler));
    let handler = Arc::new(copies::ProductChanged::new(Arc::clone(&edge)));
    parts.subscriptions.push(Subscription::in_memory(&[PRODUCT_CHANGED_V1], handler));
    let pause = Duration::from_millis(config.revocation_poll_ms);
    let (fresh, stop) = (Arc::clone(&revocations), ctx.shutdown());
    parts.tasks.push(Task::restarting("revocations", move || Arc::clone(&fresh).keep_fresh(pause, stop.clone())));
    let stop = ctx.shutdown();
    parts.tasks.push(Task::restarting("prune", move || Arc::clone(&answers).prune(stop.clone())));
    parts.http = Some(site::router(ctx, edge, revocations));
    Ok(parts)
}

fn source(ctx: &Context) -> Source {
    let (ids, chance) = (ctx.clone(), ctx.chance());
    let trace = move || {
        let trace_id = u128::from_be_bytes(chance.bytes());
        let span_id = u64::from_be_bytes(chance.bytes());
        // All zero would mean no trace.
        Trace::new(trace_id.max(1), span_id.max(1))
    };
    Source { id: Box::new(move |prefix| ids.id(prefix)), trace: Box::new(trace) }
}

fn edge_config(config: &Config) -> EdgeConfig {
    EdgeConfig {
        timeout: Duration::from_millis(config.timeout_ms),
        slow: vec![("/admin/v1/check", Duration::from_millis(config.check_timeout_ms))],
        requests_max: config.requests_max,
        copies: config.copies.config(),
    }
}
