//! Chores of the project: `cargo run -p xtask -- <task>`.

mod edges;
mod scaffold;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Chores of the project")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Makes a new service from the template: contract, ten files, README.
    NewService {
        /// Lower-case name, e.g. `loyalty`.
        name: String,
    },
    /// Checks the allowed directions between crates.
    Edges,
    /// Checks the files that are made from others: the error-code table of the docs.
    Generated {
        /// Writes them instead of complaining.
        #[arg(long)]
        write: bool,
    },
    /// Runs the simulation of the whole mall.
    Sim {
        /// First seed.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// How many seeds from there.
        #[arg(long, default_value_t = 1)]
        count: u64,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::NewService { name } => scaffold::new_service(&name),
        Task::Edges => edges::check(),
        Task::Generated { write } => xtask::codes::check(write),
        Task::Sim { seed, count } => sim(seed, count),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn sim(seed: u64, count: u64) -> anyhow::Result<()> {
    let status = std::process::Command::new("cargo")
        .args(["test", "-p", "mallard-tests", "--test", "sim", "--", "--nocapture", "seeds_of_the_environment"])
        .env("MALLARD_SIM_SEED", seed.to_string())
        .env("MALLARD_SIM_COUNT", count.to_string())
        .status()?;
    anyhow::ensure!(status.success(), "the simulation found a fault");
    Ok(())
}
