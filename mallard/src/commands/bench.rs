//! `mallard bench`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use mallard::bench::{self, Options, Scenario};
use mallard::up;
use mallard_runtime::Config;
use serde_json::Value;

/// Arguments of `mallard bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    #[command(subcommand)]
    scenario: ScenarioArg,
}

#[derive(Subcommand, Debug)]
enum ScenarioArg {
    /// Reads product pages, beside a bare handler that returns the same bytes.
    Browse(LoadArgs),
    /// Reads the first page, a category and product pages, each beside a bare handler that returns the same bytes.
    Pages(LoadArgs),
    /// Fills carts and pays orders by card.
    Checkout(LoadArgs),
    /// Finds the peak of checkouts, then offers a multiple of it.
    Overload(LoadArgs),
}

/// How to load.
#[derive(Args, Debug)]
struct LoadArgs {
    /// Connections, each a shopper of its own.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Seconds measured.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Seconds before that, not counted.
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    /// Arrivals per second: an open loop; a closed loop when left out.
    #[arg(long)]
    rate: Option<f64>,
    /// Products to make first.
    #[arg(long, default_value_t = 1_000)]
    products: usize,
    /// Lines per order.
    #[arg(long, default_value_t = 1)]
    lines: usize,
    /// Offered load of `overload`, as a multiple of the peak.
    #[arg(long, default_value_t = 3.0)]
    times: f64,
    /// A running mall; a fresh one in this process when left out.
    #[arg(long)]
    url: Option<String>,
    /// Operator of the running mall.
    #[arg(long, default_value = up::OPERATOR_EMAIL)]
    email: String,
    /// Password of that operator.
    #[arg(long, env = "MALLARD_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Folder for the fresh mall; a temporary one when left out.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the bench; exit code 1 when the books do not balance afterwards.
pub async fn run(args: BenchArgs, config: Config) -> anyhow::Result<ExitCode> {
    let (scenario, args) = match args.scenario {
        ScenarioArg::Browse(args) => (Scenario::Browse, args),
        ScenarioArg::Pages(args) => (Scenario::Pages, args),
        ScenarioArg::Checkout(args) => (Scenario::Checkout, args),
        ScenarioArg::Overload(args) => (Scenario::Overload, args),
    };
    let password = match (&args.url, args.password) {
        (Some(_), password) => password.context("give the operator's password with --password or MALLARD_PASSWORD")?,
        (None, _) => String::new(),
    };
    let options = Options {
        clients: args.clients.max(1),
        duration: Duration::from_secs_f64(args.seconds.clamp(0.1, 86_400.0)),
        warm_up: Duration::from_secs_f64(args.warm_up.clamp(0.0, 3_600.0)),
        rate: args.rate,
        products: args.products.max(1),
        lines: args.lines,
        overload: args.times.clamp(0.1, 100.0),
        url: args.url,
        email: args.email,
        password,
        data_dir: args.data_dir,
    };
    let result = bench::run(scenario, &options, config).await?;
    if args.json {
        println!("{result}");
    } else {
        print(&result);
    }
    Ok(if result["check"]["ok"] == true { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(result: &Value) {
    let kind = result["loop"].as_str().map_or_else(
        || format!("open loop of {} per second", result["loop"]["open_per_s"]),
        |kind| format!("{kind} loop"),
    );
    println!(
        "{}: {} per second, {} clients, {kind}",
        text(&result["scenario"]),
        result["per_second"],
        result["clients"]
    );
    let latency = &result["latency_ms"];
    println!(
        "latency ms: p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
        latency["p50"], latency["p90"], latency["p99"], latency["p99_9"], latency["max"]
    );
    for (label, key) in [
        ("pages", "pages"),
        ("SQL statements per checkout", "statements_per_checkout"),
        ("bare handler per second", "bare_per_second"),
        ("ratio to the bare handler", "ratio_to_bare"),
        ("peak per second", "peak_per_second"),
        ("offered per second", "offered_per_second"),
        ("goodput as a share of the peak", "goodput_ratio"),
        ("of each round", "goodput_ratios"),
        ("refused", "refused"),
        ("refusals ms", "refusal_ms"),
    ] {
        if !result[key].is_null() {
            println!("{label}: {}", result[key]);
        }
    }
    println!("errors: {}", result["errors"]);
    println!(
        "check: {} ({} checks) {}",
        if result["check"]["ok"] == true { "green" } else { "RED" },
        result["check"]["checks"],
        result["check"]["red"]
    );
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
