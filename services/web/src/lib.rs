//! The pages people use: made on the server, usable without scripts, in Chinese and English.
//!
//! See `README.md` for the pages, the calls they make and what protects them.

mod answer;
mod ask;
mod assets;
mod catalogue;
mod config;
mod console;
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

use mallard_runtime::{Context, Parts, ServiceSpec, Task};
use tonic::service::Routes;

pub use config::Config;

/// Name of the service, as it is found and configured.
pub const NAME: &str = "web";

/// Describes the service to the binary.
pub fn service() -> ServiceSpec {
    ServiceSpec {
        name: NAME,
        migrations: migrations::MIGRATIONS,
        subscribes: &[],
        start: |ctx| Box::pin(start(ctx)),
    }
}

async fn start(ctx: Context) -> anyhow::Result<Parts> {
    let config: Config = ctx.config()?;
    let catalogue = catalogue::Catalogue::new(&ctx, &config);
    let sessions = Arc::new(session::Sessions::new(ctx.clone(), config.clone()));
    let site = site::Site::new(ctx, config, Arc::clone(&sessions), catalogue);
    let mut parts = Parts::new(Routes::default());
    parts.tasks.push(Task::restarting("prune", move || Arc::clone(&sessions).prune()));
    parts.front = Some(Box::new(move |behind| site::front(site, behind)));
    Ok(parts)
}
