//! The pages people use: made on the server, usable without scripts, in Chinese and English.
//!
//! See `README.md` for the pages, the calls they make and what protects them.

mod answer;
mod ask;
mod assets;
mod catalogue;
mod config;
mod domain;
mod error;
mod migrations;
mod pages;
mod peers;
mod session;
mod site;
mod store;
mod text;
mod view;

use std::sync::Arc;

use mallard_bus::Subscription;
use mallard_proto::events::PRODUCT_CHANGED_V1;
use mallard_runtime::{Context, Parts, ServiceSpec};
use tonic::service::Routes;

pub use config::Config;

/// Name of the service, as it is found and configured.
pub const NAME: &str = "web";

/// Events the pages listen to.
const SUBSCRIBES: &[&str] = &[PRODUCT_CHANGED_V1];

/// Describes the service to the binary.
pub fn service() -> ServiceSpec {
    ServiceSpec {
        name: NAME,
        migrations: migrations::MIGRATIONS,
        subscribes: SUBSCRIBES,
        start: |ctx| Box::pin(start(ctx)),
    }
}

async fn start(ctx: Context) -> anyhow::Result<Parts> {
    let config: Config = ctx.config()?;
    let catalogue = Arc::new(catalogue::Catalogue::new(&ctx, &config));
    let sessions = Arc::new(session::Sessions::new(ctx.clone(), config.clone()));
    let site = site::Site::new(ctx, config, Arc::clone(&sessions), Arc::clone(&catalogue));
    let mut parts = Parts::new(Routes::default());
    let handler = Arc::new(catalogue::ProductChanged(catalogue));
    parts.subscriptions.push(Subscription::in_memory(SUBSCRIBES, handler));
    parts.tasks.push(Box::pin(sessions.prune()));
    parts.front = Some(Box::new(move |behind| site::front(site, behind)));
    Ok(parts)
}
