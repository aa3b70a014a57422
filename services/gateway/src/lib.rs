//! The gateway: the one door of the mall. REST made from the contracts, access tokens checked in this process, answers
//! kept under their idempotency keys, and the operators' view of the whole mall.
//!
//! See `README.md` for what it owns and whom it calls.

mod app;
mod config;
mod copies;
mod hooks;
mod migrations;
mod rpc;
mod site;
mod store;

use std::sync::Arc;

use mallard_admission::Feeds;
use mallard_bus::Subscription;
use mallard_gateway_core::{Edge, EdgeConfig, Source, Stands, routes};
use mallard_proto::events::PRODUCT_CHANGED_V1;
use mallard_proto::gateway::v1::gateway_service_server::GatewayServiceServer;
use mallard_rpc::Trace;
use mallard_runtime::{Context, Guard, Parts, ServiceSpec, Stand, Task};
use tonic::service::Routes;

pub use config::Config;
pub use store::Answers;

/// Events the gateway listens to.
const SUBSCRIBES: &[&str] = &{
    let [revoked, standing, policy] = mallard_admission::SUBSCRIBES;
    [revoked, standing, policy, PRODUCT_CHANGED_V1]
};

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
    let feeds = Feeds::new(&ctx, &config.admission())?;
    let answers = Arc::new(Answers::new(ctx.db(), ctx.clock()));
    if !ctx.shares_storage() {
        answers.void_claims().await?;
    }
    let hook = Arc::new(hooks::Hooks::new(ctx.client(), &feeds));
    let settings = config.edge(ctx.services(), ctx.chance().bytes()).map_err(anyhow::Error::msg)?;
    let edge = Edge::new(
        routes(|service| ctx.channel(service)),
        Arc::clone(&feeds.door) as _,
        Arc::clone(&answers) as _,
        Some(hook),
        source(&ctx),
        EdgeConfig { slow_calls: ctx.slow_calls(), ..settings },
    );
    let edge = edge.map_err(|error| anyhow::anyhow!("gateway.{error}"))?;

    let app = Arc::new(app::App::new(ctx.clone(), Arc::clone(&edge), Arc::clone(&feeds.policies)));
    let rpc = Routes::new(GatewayServiceServer::new(rpc::Rpc::new(app)));
    let mut parts = Parts::new(rpc);
    parts.subscriptions.push(feeds.subscription());
    let handler = Arc::new(copies::ProductChanged::new(Arc::clone(&edge)));
    parts.subscriptions.push(Subscription::in_memory(&[PRODUCT_CHANGED_V1], handler));
    parts.tasks.extend(feeds.tasks(&ctx));
    let stop = ctx.shutdown();
    parts.tasks.push(Task::restarting("prune", move || Arc::clone(&answers).prune(stop.clone())));
    parts.guard = Some(guard(&edge));
    parts.http = Some(site::router(ctx, edge, feeds.door));
    Ok(parts)
}

/// Makes the guard of the pages that run in the same process.
fn guard(edge: &Arc<Edge>) -> Guard {
    let edge = Arc::clone(edge);
    Arc::new(move |request, stand, answer| {
        let stands = match stand {
            Stand::Page { verb, route, streams } => Stands::Route { verb, path: route, streams },
            Stand::File => Stands::File,
            Stand::Api => return answer(request),
        };
        Box::pin(Arc::clone(&edge).guard(request, stands, answer))
    })
}

fn source(ctx: &Context) -> Source {
    let (ids, chance) = (ctx.clone(), ctx.chance());
    let trace = move || {
        let trace_id = u128::from_be_bytes(chance.bytes());
        let span_id = u64::from_be_bytes(chance.bytes());
        // All zero would mean no trace.
        Trace::new(trace_id.max(1), span_id.max(1))
    };
    let clock = ctx.clock();
    Source { id: Box::new(move |prefix| ids.id(prefix)), trace: Box::new(trace), now: Box::new(move || clock.now()) }
}
