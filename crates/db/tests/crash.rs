//! Crashes at a commit, and what is on the disk afterwards.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use mallard_db::{CommitFate, CommitHook, Db, DbConfig, Error, MemoryDisk, Migration, Unit, params};
use tokio::sync::Notify;

const MIGRATIONS: &[Migration] =
    &[Migration { version: 100, name: "t", sql: "CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL)" }];
const ADD: &str = "INSERT INTO t (id) VALUES (?)";

/// Crashes at the transaction `name`, before or after its commit.
struct CrashAt {
    name: &'static str,
    before: bool,
    armed: AtomicBool,
    crashed: Notify,
}

impl CrashAt {
    fn new(name: &'static str, before: bool) -> Arc<CrashAt> {
        Arc::new(CrashAt { name, before, armed: AtomicBool::new(true), crashed: Notify::new() })
    }

    fn fate(&self, service: &str, tx: &str, before: bool) -> CommitFate {
        assert_eq!(service, "shop");
        if tx == self.name && before == self.before && self.armed.swap(false, Ordering::SeqCst) {
            self.crashed.notify_one();
            return CommitFate::Crash;
        }
        CommitFate::Proceed
    }
}

impl CommitHook for CrashAt {
    fn before_commit(&self, service: &str, tx: &str) -> CommitFate {
        self.fate(service, tx, true)
    }

    fn after_commit(&self, service: &str, tx: &str) -> CommitFate {
        self.fate(service, tx, false)
    }
}

async fn add(db: Db, name: &'static str, id: &'static str) -> Result<u64, Error> {
    db.tx(name, move |tx| async move { tx.execute(ADD, params![id]).await }).await
}

async fn ids(db: &Db) -> Vec<String> {
    let rows = db.query("SELECT id FROM t ORDER BY id", vec![]).await.unwrap();
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}

#[tokio::test]
async fn in_memory_a_crash_answers_nobody_and_keeps_exactly_what_was_committed() {
    for (before, expected) in [(true, vec!["a"]), (false, vec!["a", "b"])] {
        let disk = MemoryDisk::new();
        let config = DbConfig::Memory(disk.clone());
        let db = Db::open(&config, "shop", MIGRATIONS).await.unwrap();
        disk.set_hook(CrashAt::new("t.b", before));
        assert_eq!(add(db.clone(), "t.a", "a").now_or_never(), Some(Ok(1)), "memory answers at once");
        let mut dying = Box::pin(add(db.clone(), "t.b", "b"));
        assert_eq!(dying.as_mut().now_or_never(), None);
        assert!(disk.is_crashed());
        assert!(disk.wait_crash().now_or_never().is_some());
        assert!(db.query("SELECT 1", vec![]).now_or_never().is_none(), "the dead read nothing");
        assert!(Db::open(&config, "shop", MIGRATIONS).now_or_never().is_none(), "and open nothing");
        disk.restart();
        assert!(db.apply(Unit::new("t.c").exec(ADD, params!["c"])).now_or_never().is_none(), "nor after the restart");
        assert_eq!(dying.as_mut().now_or_never(), None);
        let reborn = Db::open(&config, "shop", MIGRATIONS).await.unwrap();
        assert_eq!(ids(&reborn).await, expected);
        assert_eq!(add(reborn.clone(), "t.b", "d").await, Ok(1), "the hook has fired once");
    }
}

#[tokio::test]
async fn a_unit_crashes_like_a_closure() {
    for (before, expected) in [(true, 0), (false, 1)] {
        let disk = MemoryDisk::new();
        let config = DbConfig::Memory(disk.clone());
        let db = Db::open(&config, "shop", MIGRATIONS).await.unwrap();
        db.set_hook(CrashAt::new("t.unit", before));
        assert!(db.apply(Unit::new("t.unit").exec(ADD, params!["a"])).now_or_never().is_none());
        disk.restart();
        assert_eq!(ids(&Db::open(&config, "shop", MIGRATIONS).await.unwrap()).await.len(), expected);
    }
}

#[tokio::test]
async fn a_rollback_is_no_commit_and_asks_no_hook() {
    let disk = MemoryDisk::new();
    let db = Db::open(&DbConfig::Memory(disk.clone()), "shop", MIGRATIONS).await.unwrap();
    disk.set_hook(CrashAt::new("t.no", true));
    let refused: Result<(), Error> = db.tx("t.no", |_| async { Err(Error::Sql("no".to_owned())) }).await;
    assert_eq!(refused, Err(Error::Sql("no".to_owned())));
    assert!(!disk.is_crashed());
    disk.clear_hook();
    assert_eq!(add(db.clone(), "t.no", "a").await, Ok(1));
    disk.crash();
    assert!(add(db, "t.no", "b").now_or_never().is_none());
}

#[tokio::test]
async fn memory_lives_as_long_as_the_disk() {
    let disk = MemoryDisk::new();
    let db = Db::open(&DbConfig::Memory(disk.clone()), "shop", MIGRATIONS).await.unwrap();
    add(db.clone(), "t.a", "a").await.unwrap();
    drop(db);
    let again = Db::open(&DbConfig::Memory(disk), "shop", MIGRATIONS).await.unwrap();
    assert_eq!(ids(&again).await, ["a"]);
    let other = Db::open(&DbConfig::Memory(MemoryDisk::new()), "shop", MIGRATIONS).await.unwrap();
    assert!(ids(&other).await.is_empty());
}

#[tokio::test]
async fn on_files_a_crash_answers_nobody_and_keeps_exactly_what_was_committed() {
    for (before, expected) in [(true, vec!["a"]), (false, vec!["a", "b"])] {
        let dir = tempfile::tempdir().unwrap();
        let config = DbConfig::Sqlite { dir: dir.path().to_owned(), synchronous_full: true };
        let db = Db::open(&config, "shop", MIGRATIONS).await.unwrap();
        let hook = CrashAt::new("t.b", before);
        db.set_hook(hook.clone());
        add(db.clone(), "t.a", "a").await.unwrap();
        let dying = tokio::spawn(add(db.clone(), "t.b", "b"));
        // Behind it in the queue, perhaps in its batch, perhaps after it.
        let behind = tokio::spawn(add(db.clone(), "t.behind", "behind"));
        hook.crashed.notified().await;
        let reborn = Db::open(&config, "shop", MIGRATIONS).await.unwrap();
        let mut survived = ids(&reborn).await;
        if !before {
            survived.retain(|id| id != "behind");
        }
        assert_eq!(survived, expected);
        assert_eq!(add(reborn, "t.c", "c").await, Ok(1));
        assert!(!dying.is_finished() && !behind.is_finished(), "nobody is answered");
        behind.abort();
        dying.abort();
    }
}

/// The child of the next test: writes as fast as it can and prints each id once it is acknowledged.
fn write_until_killed(dir: &Path) -> ! {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let config = DbConfig::Sqlite { dir: dir.to_owned(), synchronous_full: true };
        let db = Db::open(&config, "shop", MIGRATIONS).await.unwrap();
        let clients: Vec<_> = (0..32)
            .map(|client| {
                let db = db.clone();
                tokio::spawn(async move {
                    for n in 0u64.. {
                        let id = format!("{client}-{n}");
                        db.apply(Unit::new("t.add").exec(ADD, params![&id])).await.unwrap();
                        std::io::stdout().write_all(format!("acknowledged {id}\n").as_bytes()).unwrap();
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
    });
    unreachable!("the clients write for ever")
}

#[test]
fn what_was_acknowledged_is_there_after_kill_9() {
    const CHILD: &str = "MALLARD_DB_TEST_WRITES_TO";
    if let Some(dir) = std::env::var_os(CHILD) {
        write_until_killed(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "what_was_acknowledged_is_there_after_kill_9", "--nocapture"])
        .env(CHILD, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = Vec::new();
    let mut killed = false;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        acknowledged.extend(line.strip_prefix("acknowledged ").map(str::to_owned));
        if acknowledged.len() == 2_000 && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    assert!(acknowledged.len() >= 2_000, "the child wrote only {}", acknowledged.len());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = DbConfig::Sqlite { dir: dir.path().to_owned(), synchronous_full: true };
    let db = runtime.block_on(Db::open(&config, "shop", MIGRATIONS)).unwrap();
    let there: std::collections::BTreeSet<String> = runtime.block_on(ids(&db)).into_iter().collect();
    let lost: Vec<&String> = acknowledged.iter().filter(|id| !there.contains(*id)).collect();
    assert!(lost.is_empty(), "acknowledged but lost: {lost:?}");
}
