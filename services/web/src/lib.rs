//! The pages people use: made on the server, usable without scripts, in Chinese and English.
//!
//! See `README.md` for the pages, the calls they make and what protects them.

mod answer;
mod ask;
mod assets;
mod best;
mod catalogue;
mod client;
mod config;
mod console;
mod copies;
mod domain;
mod error;
mod images;
mod migrations;
mod pages;
mod peers;
mod session;
mod site;
mod stand;
mod store;
mod text;
mod view;
mod visits;

use std::sync::Arc;

use mallard_admission::Feeds;
use mallard_runtime::{Context, Pages, Parts, ServiceSpec};
use tonic::service::Routes;

pub use config::Config;

/// Name of the service, as it is found and configured.
pub const NAME: &str = "web";

/// Describes the service to the binary.
pub fn service() -> ServiceSpec {
    ServiceSpec {
        name: NAME,
        migrations: migrations::MIGRATIONS,
        subscribes: &mallard_admission::SUBSCRIBES,
        start: |ctx| Box::pin(start(ctx)),
    }
}

async fn start(ctx: Context) -> anyhow::Result<Parts> {
    let config: Config = ctx.config()?;
    // The keys of the gateway, so that pages and API decide alike.
    let feeds = Feeds::new(&ctx, &ctx.section("gateway")?)?;
    let tasks = feeds.tasks(&ctx);
    let clients = client::Clients::new(&ctx.section("gateway")?)?;
    let sessions = Arc::new(session::Sessions::new(ctx.clone(), config.clone()));
    let site = site::Site::new(ctx, config, sessions, Arc::clone(&feeds.door), clients);
    let mut parts = Parts::new(Routes::default());
    parts.subscriptions.push(feeds.subscription());
    parts.tasks.extend(tasks);
    parts.tasks.extend(site.tasks());
    parts.pages = Some(Pages { router: site::router(site), stands_for: stand::stands_for });
    Ok(parts)
}
