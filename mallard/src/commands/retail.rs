//! `mallard import` and `mallard replay`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Subcommand};
use mallard::folder::Folder;
use mallard::retail::{self, Imported, Options, Replayed};
use mallard_runtime::{Config, Mall, Settings, Storage};
use serde_json::json;

/// Arguments of `mallard import`.
#[derive(Args, Debug)]
pub struct ImportArgs {
    #[command(subcommand)]
    source: ImportSource,
}

#[derive(Subcommand, Debug)]
enum ImportSource {
    /// Products, SKUs, stock and customers of an Online Retail file (CSV, gzip or not).
    OnlineRetail(FileArgs),
}

/// Arguments of `mallard replay`.
#[derive(Args, Debug)]
pub struct ReplayArgs {
    #[command(subcommand)]
    source: ReplaySource,
}

#[derive(Subcommand, Debug)]
enum ReplaySource {
    /// Every sale, cancellation and stock adjustment of an Online Retail file, each at its time. Goes on where it was killed.
    OnlineRetail(FileArgs),
}

#[derive(Args, Debug)]
struct FileArgs {
    /// The file.
    file: PathBuf,
    /// Folder for all data.
    #[arg(long, default_value = "mallard-data", env = "MALLARD_DATA_DIR")]
    data_dir: PathBuf,
    /// PostgreSQL to work on instead.
    #[arg(long, env = "MALLARD_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Writes by-invoice.csv, by-sku.csv and by-customer.csv here, from the mall's books.
    #[arg(long)]
    report_dir: Option<PathBuf>,
    /// Papers in work at once.
    #[arg(long, default_value_t = 32)]
    lanes: usize,
    /// Prints the account as JSON and shows no progress.
    #[arg(long)]
    json: bool,
}

struct Opened {
    mall: Mall,
    _folder: Option<Folder>,
    options: Options,
}

async fn open(args: &FileArgs, config: Config) -> anyhow::Result<Opened> {
    let mut folder = None;
    let storage = match &args.database_url {
        Some(url) => Storage::Postgres { url: url.clone(), pool_max: 16 },
        None => Storage::Folder(folder.insert(Folder::take(&args.data_dir)?).path().to_owned()),
    };
    let mall = Mall::start(Settings::new(mallard::services(), config, storage)).await?;
    let options = Options { file: args.file.clone(), lanes: args.lanes.clamp(1, 1_024), progress: !args.json };
    Ok(Opened { mall, _folder: folder, options })
}

/// Runs an import.
pub async fn import(args: ImportArgs, config: Config) -> anyhow::Result<ExitCode> {
    let ImportSource::OnlineRetail(args) = args.source;
    let papers = retail::read(&args.file)?;
    let opened = open(&args, config).await?;
    let begun = Instant::now();
    let imported = retail::import(&opened.mall, &papers, &opened.options).await?;
    opened.mall.stop().await;
    let seconds = begun.elapsed().as_secs_f64();
    if args.json {
        println!("{}", json!({ "products": imported.products, "customers": imported.customers, "seconds": seconds }));
    } else {
        println!("{} products and {} customers in {seconds:.1} s", imported.products, imported.customers);
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a replay and accounts for every row.
pub async fn replay(args: ReplayArgs, config: Config) -> anyhow::Result<ExitCode> {
    let ReplaySource::OnlineRetail(args) = args.source;
    let begun = Instant::now();
    let papers = retail::read(&args.file)?;
    let opened = open(&args, config).await?;
    let (imported, replayed) = retail::replay(&opened.mall, papers, &opened.options).await?;
    let seconds = begun.elapsed().as_secs_f64();
    if let Some(folder) = &args.report_dir {
        retail::write_reports(&opened.mall, folder).await?;
    }
    opened.mall.stop().await;
    report(&imported, &replayed, seconds, args.json);
    Ok(ExitCode::SUCCESS)
}

fn report(imported: &Imported, replayed: &Replayed, seconds: f64, as_json: bool) {
    let rows: u64 = replayed.rows.values().sum();
    if as_json {
        println!(
            "{}",
            json!({
                "rows": rows, "rows_by_class": replayed.rows, "invoices_by_class": replayed.papers,
                "products": imported.products, "customers": imported.customers,
                "refund_parts_matched": replayed.matched_parts, "refund_parts_unmatched": replayed.unmatched_parts,
                "done_before": replayed.done_before, "seconds": seconds,
            })
        );
        return;
    }
    println!("{:18} {:>9} {:>9}", "class", "rows", "invoices");
    let mut classes: Vec<_> = replayed.rows.keys().copied().collect();
    classes.sort_unstable();
    for class in classes {
        println!("{class:18} {:>9} {:>9}", replayed.rows[class], replayed.papers.get(class).copied().unwrap_or(0));
    }
    println!("{:18} {rows:>9}", "all");
    println!("{} products, {} customers", imported.products, imported.customers);
    println!(
        "refunds: {} parts matched to earlier purchases, {} without one",
        replayed.matched_parts, replayed.unmatched_parts
    );
    if replayed.done_before > 0 {
        println!("{} invoices had been done by an earlier run", replayed.done_before);
    }
    println!("{seconds:.1} s");
}
