//! The composition root: the only place that sees every service. The binary is a thin command line over it.

pub mod bench;
pub mod check;
pub mod demo;
pub mod folder;
pub mod http;
pub mod retail;
pub mod up;

use mallard_runtime::{Config, ServiceSpec};

/// The embedded default configuration, which is its documentation.
pub const DEFAULT_CONFIG: &str = include_str!("../default.toml");

/// Returns every service of the mall in order of start.
pub fn services() -> Vec<ServiceSpec> {
    vec![
        mallard_identity::service(),
        mallard_inventory::service(),
        mallard_catalog::service(),
        mallard_promotion::service(),
        mallard_cart::service(),
        mallard_payment::service(),
        mallard_order::service(),
        mallard_insight::service(),
        mallard_gateway::service(),
        mallard_web::service(),
    ]
}

/// Names of groups that `serve` understands, with their services.
pub const GROUPS: [(&str, &[&str]); 3] = [
    ("trade", &["order", "payment"]),
    ("goods", &["catalog", "inventory", "promotion", "insight"]),
    ("people", &["identity", "cart"]),
];

/// Refuses services and methods in the section `[rpc]` that do not exist, and what a method cannot have.
///
/// # Errors
/// Text naming the key, and the names there are.
pub fn check_calls(config: &Config) -> anyhow::Result<()> {
    let rpc: mallard_rpc::Config = config.section("rpc")?;
    let services: Vec<&str> = services().iter().map(|spec| spec.name).collect();
    rpc.check_names(&services, mallard_proto::METHODS).map_err(|error| anyhow::Error::msg(error.message))
}

/// Returns the default configuration with the environment on top.
pub fn config() -> Config {
    Config::defaults(DEFAULT_CONFIG).environment()
}
