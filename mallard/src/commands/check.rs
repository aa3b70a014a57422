//! `mallard check`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use mallard::folder::{self, Folder};
use mallard::{http, up};
use mallard_proto::common::v1::Check;
use mallard_runtime::{Config, Mall, Settings, Storage};
use serde_json::{Value, json};

/// Arguments of `mallard check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Data folder to check; the mall that runs on it is asked when one does.
    #[arg(long, default_value = "mallard-data", env = "MALLARD_DATA_DIR")]
    data_dir: PathBuf,
    /// A running mall anywhere, e.g. http://127.0.0.1:8080.
    #[arg(long)]
    url: Option<String>,
    /// Operator to ask a running mall as.
    #[arg(long, default_value = up::OPERATOR_EMAIL)]
    email: String,
    /// Password of that operator; that of the data folder when left out.
    #[arg(long, env = "MALLARD_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// PostgreSQL that a mall works on, checked directly.
    #[arg(long, env = "MALLARD_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the checks and prints the report.
pub async fn run(args: CheckArgs, config: Config) -> anyhow::Result<ExitCode> {
    let running = folder::running(&args.data_dir).map(|address| format!("http://{address}"));
    let checks = match (&args.database_url, args.url.clone().or(running)) {
        (Some(url), _) => on_storage(Storage::Postgres { url: url.clone(), pool_max: 4 }, config).await?,
        (None, Some(url)) => over_http(&args, &url).await?,
        (None, None) => {
            if !args.data_dir.is_dir() {
                bail!(
                    "there is no data folder {}; name one with --data-dir or a running mall with --url",
                    args.data_dir.display()
                );
            }
            let folder = Folder::take(&args.data_dir)?;
            on_storage(Storage::Folder(folder.path().to_owned()), config).await?
        }
    };
    Ok(report(&checks, args.json))
}

async fn on_storage(storage: Storage, config: Config) -> anyhow::Result<Vec<Check>> {
    let mall = Mall::start(Settings::new(mallard::services(), config, storage)).await?;
    let checks = mallard::check::run(&mall).await;
    mall.stop().await;
    Ok(checks)
}

async fn over_http(args: &CheckArgs, url: &str) -> anyhow::Result<Vec<Check>> {
    let password = args
        .password
        .clone()
        .or_else(|| folder::password(&args.data_dir))
        .context("give the operator's password with --password or MALLARD_PASSWORD")?;
    let client = http::Client::new(url)?;
    let login =
        client.call("POST", "/auth/v1/login", None, &json!({ "email": args.email, "password": password })).await?;
    let token =
        login.body["tokens"]["access_token"].as_str().context("the mall refused the login of the operator")?.to_owned();
    let answer = client.call("GET", "/admin/v1/check", Some(&token), &Value::Null).await?;
    let checks = answer.body["checks"]
        .as_array()
        .with_context(|| format!("the mall answered {}: {}", answer.status, answer.body))?;
    Ok(checks
        .iter()
        .map(|check| Check {
            name: check["name"].as_str().unwrap_or_default().to_owned(),
            ok: check["ok"].as_bool().unwrap_or(false),
            detail: check["detail"].as_str().unwrap_or_default().to_owned(),
        })
        .collect())
}

fn report(checks: &[Check], as_json: bool) -> ExitCode {
    let ok = mallard::check::all_green(checks);
    if as_json {
        let list: Vec<_> = checks.iter().map(|c| json!({ "name": c.name, "ok": c.ok, "detail": c.detail })).collect();
        println!("{}", json!({ "ok": ok, "checks": list }));
    } else {
        let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
        for check in checks {
            println!("{} {:width$}  {}", if check.ok { "green" } else { "RED  " }, check.name, check.detail);
        }
        let red = checks.iter().filter(|check| !check.ok).count();
        println!(
            "{}",
            if ok {
                format!("all {} checks are green", checks.len())
            } else {
                format!("{red} of {} checks are red", checks.len())
            }
        );
    }
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
