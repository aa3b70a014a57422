//! The command line.

mod bench;
mod check;
mod ctl;
mod retail;
mod serve;
mod up;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use mallard_runtime::telemetry::{self, LogFormat};

/// An online mall that never sells what it does not have.
#[derive(Parser, Debug)]
#[command(version, about, long_about = None, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    up: UpArgs,
    /// What to log: error, warn, info, debug, or a filter such as `info,mallard_rpc=debug`.
    #[arg(long, global = true, env = "MALLARD_LOG", default_value = "warn")]
    log: String,
    /// Form of the log lines on standard error.
    #[arg(long, global = true, value_enum, default_value_t = LogForm::Text)]
    log_format: LogForm,
    /// Configuration file that overrides the defaults; see `mallard config`.
    #[arg(long, global = true, env = "MALLARD_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogForm {
    Text,
    Json,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Runs the whole mall in this process, from an empty folder to a working shop (the default).
    Up(UpArgs),
    /// Runs some services of a mall in this process.
    Serve(serve::ServeArgs),
    /// Reads real data into the mall.
    Import(retail::ImportArgs),
    /// Lives real orders again, through the same calls a shopper's take.
    Replay(retail::ReplayArgs),
    /// Proves that the books balance: money, stock, orders, events. Exit code 1 when they do not.
    Check(check::CheckArgs),
    /// Measures a mall: browsing or checking out.
    Bench(bench::BenchArgs),
    /// Works on a mall: users, dead letters.
    Ctl(ctl::CtlArgs),
    /// Prints the default configuration, which is its documentation.
    Config,
}

/// Arguments of `mallard up`.
#[derive(Args, Clone, Debug)]
pub struct UpArgs {
    /// Folder for all data.
    #[arg(long, default_value = "mallard-data", env = "MALLARD_DATA_DIR")]
    data_dir: PathBuf,
    /// Address of the shop; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8080", env = "MALLARD_LISTEN")]
    listen: SocketAddr,
    /// Starts without the demo shop.
    #[arg(long)]
    no_demo: bool,
}

impl Cli {
    /// Starts logging as the command line says.
    pub fn start_logs(&self) {
        let format = match self.log_format {
            LogForm::Text => LogFormat::Text,
            LogForm::Json => LogFormat::Json,
        };
        telemetry::init_logs(&self.log, format);
        telemetry::init_metrics();
    }
}

/// Runs the command.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let mut config = mallard_runtime::Config::defaults(mallard::DEFAULT_CONFIG);
    if let Some(path) = &cli.config {
        config = config.file(path)?;
    }
    let config = config.environment();
    let sections: Vec<&str> = mallard::services().iter().map(|spec| spec.name).chain(["http", "rpc"]).collect();
    config.check_sections(&sections)?;
    mallard::check_calls(&config)?;
    match cli.command.unwrap_or(Command::Up(cli.up)) {
        Command::Up(args) => up::run(args, config).await,
        Command::Serve(args) => serve::run(args, config).await,
        Command::Import(args) => retail::import(args, config).await,
        Command::Replay(args) => retail::replay(args, config).await,
        Command::Check(args) => check::run(args, config).await,
        Command::Bench(args) => bench::run(args, config).await,
        Command::Ctl(args) => ctl::run(args, config).await,
        Command::Config => {
            print!("{}", mallard::DEFAULT_CONFIG);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Waits for the request to stop: SIGTERM or Ctrl-C.
pub async fn stop_requested() {
    let interrupt = async {
        // Without a handler the process can only be killed, which it survives.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    {
        let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(signal) => signal,
            Err(_) => return interrupt.await,
        };
        tokio::select! {
            () = interrupt => {}
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    interrupt.await;
}
