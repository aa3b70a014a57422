//! `mallard serve <service…>`

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use mallard::folder::Folder;
use mallard_runtime::{Config, Mall, Settings, Storage};

use super::stop_requested;

/// Fewest characters of a cluster secret: who guesses it calls as anybody.
const SECRET_CHARS_MIN: usize = 16;

/// Arguments of `mallard serve`.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// Services or groups (trade, goods, people); all when none is named.
    services: Vec<String>,
    /// Where another service is: NAME=http://HOST:PORT, several with commas. May be repeated.
    #[arg(long = "at", value_name = "NAME=URL[,URL]")]
    at: Vec<String>,
    /// Address for calls from other processes of the mall.
    #[arg(long, env = "MALLARD_RPC_LISTEN")]
    rpc_listen: Option<SocketAddr>,
    /// Address for HTTP: the shop when the gateway runs here, health and metrics otherwise.
    #[arg(long, env = "MALLARD_LISTEN")]
    listen: Option<SocketAddr>,
    /// PostgreSQL to work on, e.g. postgres://user:password@host/database; one schema per service.
    #[arg(long, env = "MALLARD_DATABASE_URL", hide_env_values = true, conflicts_with = "data_dir")]
    database_url: Option<String>,
    /// Connections to PostgreSQL per service.
    #[arg(long, default_value_t = 8)]
    database_pool: usize,
    /// Folder for SQLite files when there is no PostgreSQL.
    #[arg(long, env = "MALLARD_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Secret of at least 16 characters that the processes of one mall share; needed when they are on different hosts.
    #[arg(long, env = "MALLARD_CLUSTER_SECRET", hide_env_values = true, default_value = "")]
    cluster_secret: String,
}

/// Runs the services until asked to stop.
pub async fn run(args: ServeArgs, config: Config) -> anyhow::Result<ExitCode> {
    let mut folder = None;
    let storage = match (&args.database_url, &args.data_dir) {
        (Some(url), _) => Storage::Postgres { url: url.clone(), pool_max: args.database_pool },
        (None, dir) => {
            let dir = dir.clone().unwrap_or_else(|| PathBuf::from("mallard-data"));
            folder = Some(Folder::take(&dir)?);
            Storage::Folder(dir)
        }
    };
    let mut settings = Settings::new(mallard::services(), config, storage);
    settings.run = expand(&args.services);
    settings.remotes = remotes(&args.at)?;
    settings.cluster_secret = args.cluster_secret;
    settings.listen = args.listen;
    settings.rpc_listen = args.rpc_listen;
    if settings.listen.is_none() && settings.rpc_listen.is_none() {
        bail!("nothing to answer on; give --listen HOST:PORT or --rpc-listen HOST:PORT");
    }
    check_secret(settings.rpc_listen, &settings.cluster_secret)?;
    let mall = Mall::start(settings).await?;
    if let Some(address) = mall.http_addr() {
        println!("http listening on {address}");
        if let Some(folder) = &folder {
            folder.note_address(address)?;
        }
    }
    if let Some(address) = mall.rpc_addr() {
        println!("rpc listening on {address}");
    }
    stop_requested().await;
    mall.stop().await;
    drop(folder);
    Ok(ExitCode::SUCCESS)
}

fn expand(names: &[String]) -> Vec<String> {
    let mut services = Vec::new();
    for name in names {
        match mallard::GROUPS.iter().find(|(group, _)| group == name) {
            Some((_, members)) => services.extend(members.iter().map(|member| (*member).to_owned())),
            None => services.push(name.clone()),
        }
    }
    services
}

fn check_secret(rpc_listen: Option<SocketAddr>, secret: &str) -> anyhow::Result<()> {
    let length = secret.chars().count();
    if let Some(address) = rpc_listen
        && !address.ip().to_canonical().is_loopback()
        && length == 0
    {
        bail!(
            "--rpc-listen {address} can be reached from other machines; give the processes of the mall a secret of their own: \
             --cluster-secret (MALLARD_CLUSTER_SECRET), or listen on 127.0.0.1"
        );
    }
    if (1..SECRET_CHARS_MIN).contains(&length) {
        bail!(
            "--cluster-secret (MALLARD_CLUSTER_SECRET) has {length} characters; it must have at least {SECRET_CHARS_MIN}, \
             as of openssl rand -hex 32"
        );
    }
    Ok(())
}

fn remotes(at: &[String]) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let known: Vec<_> = mallard::services().into_iter().map(|spec| spec.name).collect();
    let mut remotes = BTreeMap::new();
    for entry in at {
        let (names, urls) =
            entry.split_once('=').with_context(|| format!("--at {entry}: write NAME=http://HOST:PORT"))?;
        let urls: Vec<String> = urls.split(',').map(str::to_owned).collect();
        if let Some(url) = urls.iter().find(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
            bail!("--at {entry}: {url} is no URL; write http://HOST:PORT");
        }
        for name in expand(&[names.to_owned()]) {
            if !known.contains(&name.as_str()) {
                let groups: Vec<_> = mallard::GROUPS.iter().map(|(group, _)| *group).collect();
                bail!(
                    "--at {entry}: there is no service {name}; the services are {}, the groups {}",
                    known.join(", "),
                    groups.join(", ")
                );
            }
            if remotes.insert(name.clone(), urls.clone()).is_some() {
                bail!("--at {entry}: {name} was given before; write all its URLs at once: {name}=URL,URL");
            }
        }
    }
    Ok(remotes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(entries: &[&str]) -> Result<BTreeMap<String, Vec<String>>, String> {
        let entries: Vec<_> = entries.iter().map(|entry| (*entry).to_owned()).collect();
        remotes(&entries).map_err(|error| error.to_string())
    }

    #[test]
    fn another_service_is_named_once_and_exists() {
        let found = at(&["trade=http://a:1", "catalog=http://b:1,http://c:1#zone=a"]).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["catalog", "order", "payment"]);
        assert_eq!((found["order"].len(), found["catalog"].len()), (1, 2));
        for (entries, told) in [
            (&["idenity=http://a:1"][..], "there is no service idenity; the services are identity, "),
            (&["=http://a:1"], "there is no service "),
            (&["cart=http://a:1", "cart=http://b:1"], "cart was given before"),
            (&["trade=http://a:1", "order=http://b:1"], "order was given before"),
            (&["cart=a:1"], "a:1 is no URL"),
            (&["cart"], "write NAME="),
        ] {
            let error = at(entries).err().unwrap_or_else(|| panic!("{entries:?} is taken"));
            assert!(error.contains(told), "{entries:?}: {error}");
        }
    }

    #[test]
    fn a_secret_is_hard_to_guess_and_needed_off_loopback() {
        let check = |address: &str, secret: &str| {
            check_secret(Some(address.parse().unwrap()), secret).map_err(|error| error.to_string())
        };
        let long = "0123456789abcdef";
        assert!(check("127.0.0.1:1", "").is_ok() && check("[::1]:1", "").is_ok() && check("0.0.0.0:1", long).is_ok());
        assert!(check_secret(None, "").is_ok() && check_secret(None, long).is_ok());
        assert!(check("0.0.0.0:1", "").unwrap_err().contains("--rpc-listen 0.0.0.0:1"));
        for address in ["0.0.0.0:1", "127.0.0.1:1"] {
            let error = check(address, &long[1..]).unwrap_err();
            assert!(error.contains("has 15 characters; it must have at least 16"), "{error}");
        }
    }
}
