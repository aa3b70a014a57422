//! Connections, the schema of a service, and its migrations.

use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, QueueMode, RecyclingMethod, Runtime};
use tokio_postgres::{Client, Config, NoTls};

use super::types::Failure;
use crate::migrate::{self, Applied, Migration};
use crate::{Error, sql};

/// How long a caller waits for a free connection.
const POOL_WAIT: Duration = Duration::from_secs(1);
const CONNECT_MAX: Duration = Duration::from_secs(5);
const LOCK_TIMEOUT_MS: u32 = 3_000;
const STATEMENT_TIMEOUT_MS: u32 = 10_000;
const IDLE_IN_TRANSACTION_TIMEOUT_MS: u32 = 10_000;
/// How long a process waits for another one that is migrating the same schema.
const MIGRATION_LOCK_TIMEOUT_MS: u32 = 60_000;

/// Reads the address and adds the settings of every connection.
pub(super) fn config(url: &str, service: &'static str) -> Result<Config, Error> {
    let mut config: Config = url.parse().map_err(|e| Error::Lost(format!("bad address of the database: {e}")))?;
    let given = config.get_options().map(|given| format!("{given} ")).unwrap_or_default();
    config
        .options(format!(
            "{given}-c search_path={schema} -c plan_cache_mode=force_generic_plan -c lock_timeout={LOCK_TIMEOUT_MS} \
             -c statement_timeout={STATEMENT_TIMEOUT_MS} \
             -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_TIMEOUT_MS}",
            schema = schema(service)
        ))
        .application_name(format!("mallard-{service}"))
        .connect_timeout(CONNECT_MAX)
        .tcp_user_timeout(Duration::from_secs(15))
        .keepalives_idle(Duration::from_secs(30));
    Ok(config)
}

/// Names the schema of a service. The name has only letters, digits, `-` and `_`; see `Db::open`.
fn schema(service: &str) -> String {
    service.to_ascii_lowercase().replace('-', "_")
}

pub(super) fn pool(config: Config, pool_max: usize) -> Result<Pool, Error> {
    let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
    Pool::builder(manager)
        .max_size(pool_max.max(1))
        .queue_mode(QueueMode::Lifo)
        .wait_timeout(Some(POOL_WAIT))
        .create_timeout(Some(CONNECT_MAX))
        .recycle_timeout(Some(CONNECT_MAX))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|e| Error::Lost(format!("cannot make the pool: {e}")))
}

/// Makes the schema and brings it up to date, on a connection of its own, under a lock that waits for other processes.
pub(super) async fn migrate(config: &Config, service: &'static str, migrations: &[Migration]) -> Result<(), Error> {
    let (client, connection) = config.connect(NoTls).await.map_err(Failure::from)?;
    let line = tokio::spawn(connection);
    let result = migrate_on(&client, &schema(service), migrations).await;
    drop(client);
    // Its error, if any, has reached the client already.
    let _ = line.await;
    result
}

async fn migrate_on(client: &Client, schema: &str, migrations: &[Migration]) -> Result<(), Error> {
    let lock = migrate::fnv1a(format!("mallard:{schema}").as_bytes()).cast_signed();
    let run = |sql: String| async move { client.batch_execute(&sql).await.map_err(|e| Failure::from(e).error) };
    run(format!("SET lock_timeout = {MIGRATION_LOCK_TIMEOUT_MS}; SET statement_timeout = 0")).await?;
    // Held until the connection ends.
    run(format!("SELECT pg_advisory_lock({lock})")).await?;
    let known = client.query_opt("SELECT 1 FROM pg_namespace WHERE nspname = $1", &[&schema]).await;
    if known.map_err(|e| Failure::from(e).error)?.is_none() {
        run(format!("CREATE SCHEMA \"{schema}\"")).await?;
    }
    run(sql::ddl_for_postgres(migrate::TABLE)).await?;
    let rows = client.query(migrate::READ, &[]).await.map_err(|e| Failure::from(e).error)?;
    let applied: Vec<Applied> = rows.iter().map(|row| Applied { version: row.get(0), checksum: row.get(1) }).collect();
    for step in migrate::plan(migrations, &applied)? {
        apply(client, &step).await.map_err(|e| match e {
            retry @ (Error::Busy(_) | Error::Disk(_) | Error::Lost(_)) => retry,
            other => Error::Migration(format!("version {} `{}`: {other}", step.version, step.name)),
        })?;
    }
    Ok(())
}

/// Applies one step and notes it, in one transaction.
async fn apply(client: &Client, step: &Migration) -> Result<(), Error> {
    let mut script = String::from("BEGIN;");
    for statement in sql::statements(step.sql) {
        script.push_str(&sql::ddl_for_postgres(&statement));
        script.push(';');
    }
    let result = async {
        client.batch_execute(&script).await?;
        let now = "(extract(epoch FROM now()) * 1000000)::bigint";
        let insert = sql::numbered(&migrate::INSERT.replacen("?, ?, ?, ?", &format!("?, ?, ?, {now}"), 1));
        let version = i64::from(step.version);
        client.execute(&insert, &[&version, &step.name, &migrate::checksum(step)]).await?;
        client.batch_execute("COMMIT").await
    };
    if let Err(error) = result.await {
        // Best effort: the connection is closed right after.
        let _ = client.batch_execute("ROLLBACK").await;
        return Err(Failure::from(error).error);
    }
    Ok(())
}
