//! Three times as many buyers as the mall can serve: what it still sells, how long those who buy wait, and how soon the others
//! are told to come back.

use serde_json::{Value, json};

use super::Options;
use super::checkout;
use super::load;
use super::shop::BenchShop;

/// Connections that offer the load; with fewer the load would wait for the mall instead of piling up before it.
const CONNECTIONS_MIN: usize = 512;

/// Runs the scenario: a closed loop finds the peak, an open loop offers a multiple of it.
pub async fn run(shop: &BenchShop, options: &Options) -> anyhow::Result<Value> {
    let buyers = checkout::buyers(shop, options.clients, options).await?;
    let peak = load::run(buyers, options.warm_up, options.duration, None).await?;
    let offered = options.rate.unwrap_or_else(|| peak.rate() * options.overload);
    // Checked once the peak is known: a mall that sells nothing has no overload.
    anyhow::ensure!(offered > 0.0, "the mall sold nothing in the closed loop: {}", peak.to_json()["errors"]);
    let connections = options.clients.max(CONNECTIONS_MIN);
    let buyers = checkout::buyers(shop, connections, options).await?;
    let over = load::run(buyers, options.warm_up, options.duration, Some(offered)).await?;
    let mut result = over.to_json();
    result["scenario"] = json!("overload");
    result["connections"] = json!(connections);
    result["peak_per_second"] = json!(tenths(peak.rate()));
    result["peak_latency_ms"] = peak.to_json()["latency_ms"].clone();
    result["offered_per_second"] = json!(tenths(offered));
    result["goodput_ratio"] = json!((over.rate() / peak.rate().max(1e-9) * 1_000.0).round() / 1_000.0);
    Ok(result)
}

fn tenths(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}
