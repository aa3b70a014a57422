//! Measures a mall over HTTP: browsing, checking out, or more of that than it can take; closed or open loop.

mod browse;
mod checkout;
mod load;
mod overload;
mod pages;
mod shop;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

pub use load::{Outcome, Report};

use crate::check;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Product pages, against a bare handler that returns the same bytes.
    Browse,
    /// Pages people read, each against a bare handler that returns the same bytes.
    Pages,
    /// One or more lines into the cart, then an order paid by card.
    Checkout,
    /// Checkouts at a multiple of the peak.
    Overload,
}

/// How it is measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// Connections, each a shopper of its own.
    pub clients: usize,
    /// Time measured.
    pub duration: Duration,
    /// Time before that, not counted.
    pub warm_up: Duration,
    /// Arrivals per second for an open loop; none is a closed loop.
    pub rate: Option<f64>,
    /// Products in the shop.
    pub products: usize,
    /// Lines per order.
    pub lines: usize,
    /// Offered load of [`Scenario::Overload`] as a multiple of the peak, where no rate is given.
    pub overload: f64,
    /// A running mall; none starts one in this process on a fresh folder.
    pub url: Option<String>,
    /// Operator of that mall.
    pub email: String,
    /// Password of that operator.
    pub password: String,
    /// Folder for the fresh mall; a temporary one when none.
    pub data_dir: Option<PathBuf>,
}

/// Runs a scenario and checks the books afterwards.
///
/// # Errors
/// The mall does not start or does not answer.
pub async fn run(scenario: Scenario, options: &Options, config: mallard_runtime::Config) -> anyhow::Result<Value> {
    let shop = shop::open(options, config).await?;
    let mut result = match scenario {
        Scenario::Browse => browse::run(&shop, options).await?,
        Scenario::Pages => pages::run(&shop, options).await?,
        Scenario::Checkout => checkout::run(&shop, options).await?,
        Scenario::Overload => overload::run(&shop, options).await?,
    };
    let checks = shop.check().await?;
    let red: Vec<_> =
        checks.iter().filter(|check| !check.ok).map(|c| json!({ "name": c.name, "detail": c.detail })).collect();
    result["check"] = json!({ "ok": check::all_green(&checks), "checks": checks.len(), "red": red });
    result["clients"] = json!(options.clients);
    result["loop"] = options.rate.map_or(json!("closed"), |rate| json!({ "open_per_s": rate }));
    shop.close().await;
    Ok(result)
}
