//! Three times as many buyers as the mall can serve: what it still sells, how long those who buy wait, and how soon the others
//! are told to come back.

use anyhow::Context;
use serde_json::{Value, json};

use super::Options;
use super::checkout;
use super::load::{self, Report};
use super::shop::BenchShop;

/// Connections that offer the load; with fewer the load would wait for the mall instead of piling up before it.
const CONNECTIONS_MIN: usize = 512;

/// Pairs of peak and overload: a machine that is shared is not as fast in one minute as in the next, so each overload is
/// compared with the peak right before it.
const ROUNDS: u32 = 3;

/// Runs the scenario: a closed loop finds the peak, an open loop offers a multiple of it; in several rounds.
pub async fn run(shop: &BenchShop, options: &Options) -> anyhow::Result<Value> {
    let mut few = checkout::buyers(shop, options.clients, options).await?;
    let connections = options.clients.max(CONNECTIONS_MIN);
    let mut many = checkout::buyers(shop, connections, options).await?;
    let mut sums: Option<(Report, Report)> = None;
    let (mut ratios, mut offers) = (Vec::new(), Vec::new());
    let time = options.duration / ROUNDS;
    for _ in 0..ROUNDS {
        let peak = load::run(&mut few, options.warm_up, time, None).await?;
        let offered = options.rate.unwrap_or_else(|| peak.rate() * options.overload);
        // Checked once the peak is known: a mall that sells nothing has no overload.
        anyhow::ensure!(offered > 0.0, "the mall sold nothing in the closed loop: {}", peak.to_json()["errors"]);
        let over = load::run(&mut many, options.warm_up, time, Some(offered)).await?;
        ratios.push(thousandths(over.rate() / peak.rate().max(1e-9)));
        offers.push(tenths(offered));
        match &mut sums {
            Some((peaks, overs)) => {
                peaks.append(peak)?;
                overs.append(over)?;
            }
            None => sums = Some((peak, over)),
        }
    }
    let (peak, over) = sums.context("no round was run")?;
    let mut result = over.to_json();
    result["scenario"] = json!("overload");
    result["connections"] = json!(connections);
    result["peak_per_second"] = json!(tenths(peak.rate()));
    result["peak_latency_ms"] = peak.to_json()["latency_ms"].clone();
    result["offered_per_second"] = json!(offers);
    result["goodput_ratio"] = json!(thousandths(over.rate() / peak.rate().max(1e-9)));
    result["goodput_ratios"] = json!(ratios);
    Ok(result)
}

fn thousandths(ratio: f64) -> f64 {
    (ratio * 1_000.0).round() / 1_000.0
}

fn tenths(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}
