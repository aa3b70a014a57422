//! A PostgreSQL server for tests: started as a child process in a temporary folder, reached over a Unix socket, gone when
//! the last handle is dropped or the test process dies.

use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_postgres::NoTls;

use crate::{Error, UnitError};

/// Only ends a start that never comes to an end.
const START_MAX: Duration = Duration::from_secs(300);
const CONNECTIONS_MAX: u32 = 300;

/// Watches over the server: stops it and removes its folder when its own standard input ends, which also happens when the
/// test process is killed.
const SUPERVISOR: &str = r#"
"$1" -D "$2/data" -k "$2" >"$2/log" 2>&1 </dev/null &
server=$!
cat >/dev/null
kill -QUIT "$server" 2>/dev/null
wait "$server"
rm -rf "$2"
"#;

static SHARED: Mutex<Weak<PgServer>> = Mutex::new(Weak::new());

/// A running server.
pub struct PgServer {
    folder: PathBuf,
    supervisor: Child,
    /// Closed first, to end the supervisor.
    lifeline: Option<ChildStdin>,
    databases: AtomicU64,
}

impl PgServer {
    /// Starts a server, or joins the one that other tests of this process have running.
    ///
    /// Returns `None`, with a printed line, when PostgreSQL is not installed.
    ///
    /// # Panics
    /// When it is not installed although the environment variable `MALLARD_TEST_REQUIRE` contains `postgres`, and when it is
    /// installed but does not start.
    pub fn shared() -> Option<Arc<PgServer>> {
        let mut shared = SHARED.lock();
        if let Some(running) = shared.upgrade() {
            return Some(running);
        }
        let server = Arc::new(PgServer::start()?);
        *shared = Arc::downgrade(&server);
        Some(server)
    }

    /// Starts a server of one's own; see [`PgServer::shared`] for what it returns and when it panics.
    pub fn start() -> Option<PgServer> {
        let Some(bin) = find_bin() else {
            let required = std::env::var("MALLARD_TEST_REQUIRE").is_ok_and(|r| r.contains("postgres"));
            assert!(!required, "PostgreSQL is required by MALLARD_TEST_REQUIRE but not installed");
            println!("skipped: PostgreSQL is not installed");
            return None;
        };
        match start(&bin) {
            Ok(server) => Some(server),
            Err(reason) => panic!("PostgreSQL at {} does not start: {reason}", bin.display()),
        }
    }

    /// Returns the address of a database of this server.
    pub fn url(&self, database: &str) -> String {
        format!("host={} user=postgres dbname={database}", self.folder.display())
    }

    /// Makes a fresh database and returns its address.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn fresh_url(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let made = run_sql(&self.url("postgres"), &format!("CREATE DATABASE {name} TEMPLATE template0")).await;
        if let Err(error) = made {
            panic!("cannot make database {name}: {error}");
        }
        self.url(&name)
    }
}

impl Drop for PgServer {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        // An error would say that the supervisor is not our child.
        let _ = self.supervisor.wait();
        // The supervisor has removed it unless it was killed.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Runs a script on a database.
///
/// # Errors
/// Those of the connection and of the server.
pub async fn run_sql(url: &str, script: &str) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let line = tokio::spawn(connection);
    let result = client.batch_execute(script).await;
    drop(client);
    // Its error, if any, has reached the client already.
    let _ = line.await;
    result
}

/// Does work again while it is told that the database is busy: on a slow machine somebody holds a connection or a lock for
/// longer than others wait, and who is told so has written nothing.
///
/// # Errors
/// Those of the work, also [`Error::Busy`] after a hundred times.
pub async fn patiently<T, E, F>(mut work: impl FnMut() -> F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
    E: Clone,
    UnitError: From<E>,
{
    for _ in 0..100 {
        match work().await {
            Err(error) if matches!(UnitError::from(error.clone()), UnitError::Db(Error::Busy(_))) => {}
            result => return result,
        }
    }
    work().await
}

fn find_bin() -> Option<PathBuf> {
    let has_server = |dir: &Path| dir.join("initdb").exists() && dir.join("postgres").exists();
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .filter(|dir| has_server(dir))
        .collect();
    found.sort_by_key(|dir| {
        let version = dir.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        version.and_then(|version| version.parse::<u32>().ok())
    });
    let on_path = std::env::var_os("PATH");
    let mut on_path = on_path.iter().flat_map(std::env::split_paths).filter(|dir| has_server(dir));
    found.pop().or_else(|| on_path.next())
}

fn start(bin: &Path) -> Result<PgServer, String> {
    let say = |what: &str, e: std::io::Error| format!("{what}: {e}");
    let folder =
        tempfile::Builder::new().prefix("mallard-pg-").tempdir().map_err(|e| say("temporary folder", e))?.keep();
    let owner = other_user(&folder);
    if let Some((uid, gid)) = owner {
        chown(&folder, Some(uid), Some(gid)).map_err(|e| say("chown", e))?;
    }
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).map_err(|e| say("chmod", e))?;
    let command = |program: &Path| {
        let mut command = Command::new(program);
        command.current_dir(&folder).env("LC_ALL", "C");
        if let Some((uid, gid)) = owner {
            command.uid(uid).gid(gid);
        }
        command
    };
    let made = command(&bin.join("initdb"))
        .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "-D", "data"])
        .output()
        .map_err(|e| say("initdb", e))?;
    if !made.status.success() {
        return Err(format!("initdb: {}", String::from_utf8_lossy(&made.stderr)));
    }
    let settings = format!(
        "listen_addresses = ''\nmax_connections = {CONNECTIONS_MAX}\nfsync = off\nfull_page_writes = off\n\
         shared_buffers = 32MB\ndeadlock_timeout = 100ms\nautovacuum = off\n"
    );
    let appended = std::fs::OpenOptions::new().append(true).open(folder.join("data/postgresql.conf"));
    appended
        .and_then(|mut file| std::io::Write::write_all(&mut file, settings.as_bytes()))
        .map_err(|e| say("settings", e))?;
    let mut supervisor = command(Path::new("/bin/sh"))
        .args(["-c", SUPERVISOR, "supervisor"])
        .arg(bin.join("postgres"))
        .arg(&folder)
        // An interrupt from the keyboard must reach the test only, so that the supervisor can clean up.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| say("sh", e))?;
    let lifeline = supervisor.stdin.take();
    let server = PgServer { folder, supervisor, lifeline, databases: AtomicU64::new(0) };
    wait_until_ready(&server, bin)?;
    Ok(server)
}

#[expect(clippy::disallowed_methods, reason = "a test waits for a child process, perhaps outside a runtime")]
fn wait_until_ready(server: &PgServer, bin: &Path) -> Result<(), String> {
    let deadline = Instant::now() + START_MAX;
    loop {
        let ready = Command::new(bin.join("pg_isready")).arg("-q").arg("-h").arg(&server.folder).status();
        if ready.is_ok_and(|status| status.success()) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let mut log = String::new();
            if let Ok(mut file) = std::fs::File::open(server.folder.join("log")) {
                // What can be read of the log is better than nothing.
                let _ = file.read_to_string(&mut log);
            }
            return Err(format!("not ready after {} s; its log: {log}", START_MAX.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The server refuses to run as root: picks `postgres` or `nobody` when we are.
fn other_user(our_folder: &Path) -> Option<(u32, u32)> {
    let owner = std::fs::metadata(our_folder).ok().map(|m| std::os::unix::fs::MetadataExt::uid(&m))?;
    if owner != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    ids("postgres").or_else(|| ids("nobody")).or(Some((65_534, 65_534)))
}
