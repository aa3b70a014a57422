//! What is special about SQLite files: the writer thread and group commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use mallard_db::{BatchLimits, Db, DbConfig, Error, MemoryDisk, Migration, Unit, UnitError, params};
use tokio::sync::oneshot;

const MIGRATIONS: &[Migration] = &[Migration {
    version: 100,
    name: "t",
    sql: "CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, raw BLOB);
          CREATE TABLE child (id TEXT PRIMARY KEY NOT NULL, parent TEXT NOT NULL REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED)",
}];
const ADD: &str = "INSERT INTO t (id) VALUES (?)";

async fn open() -> (tempfile::TempDir, DbConfig, Db) {
    let dir = tempfile::tempdir().unwrap();
    let config = DbConfig::Sqlite { dir: dir.path().to_owned(), synchronous_full: true };
    let db = Db::open(&config, "shop", MIGRATIONS).await.unwrap();
    (dir, config, db)
}

async fn ids(db: &Db) -> Vec<String> {
    let rows = db.query("SELECT id FROM t ORDER BY id", vec![]).await.unwrap();
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}

/// Holds the writer inside a transaction until the sender is used or dropped, so that what comes next forms one batch.
async fn hold_writer(db: &Db) -> (std::sync::mpsc::SyncSender<()>, tokio::task::JoinHandle<Result<(), Error>>) {
    let (release, released) = std::sync::mpsc::sync_channel::<()>(1);
    let (entered, has_entered) = oneshot::channel::<()>();
    let released = parking_lot::Mutex::new((released, Some(entered)));
    let db = db.clone();
    let held = tokio::spawn(async move {
        db.tx("t.hold", move |_| {
            let mut ends = released.lock();
            ends.1.take().unwrap().send(()).unwrap();
            let _ = ends.0.recv();
            async { Ok(()) }
        })
        .await
    });
    has_entered.await.unwrap();
    (release, held)
}

/// Starts a task and waits until its first poll is done, that is, until its job waits in the queue.
async fn queued<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    let mut work = Box::pin(work);
    assert!(work.as_mut().now_or_never().is_none(), "the writer is held");
    tokio::spawn(work)
}

fn add(db: &Db, id: &'static str) -> impl Future<Output = Result<u64, Error>> + Send + 'static {
    let db = db.clone();
    async move { db.tx("t.add", move |tx| async move { tx.execute(ADD, params![id]).await }).await }
}

#[tokio::test]
async fn acknowledged_writes_are_there_when_the_file_is_opened_again() {
    let (_dir, config, db) = open().await;
    let writes: Vec<_> = (0..200)
        .map(|i| {
            let db = db.clone();
            tokio::spawn(async move { db.apply(Unit::new("t.add").exec(ADD, params![format!("{i:03}")])).await })
        })
        .collect();
    for write in writes {
        write.await.unwrap().unwrap();
    }
    drop(db);
    let again = Db::open(&config, "shop", MIGRATIONS).await.unwrap();
    assert_eq!(ids(&again).await.len(), 200);
}

#[tokio::test]
async fn a_closed_database_refuses_and_leaves_a_single_file() {
    let (dir, _config, db) = open().await;
    add(&db, "a").await.unwrap();
    assert_eq!(ids(&db).await, ["a"]);
    db.close().await;
    assert!(matches!(add(&db, "b").await, Err(Error::Lost(_))));
    assert!(matches!(db.query("SELECT 1", vec![]).await, Err(Error::Lost(_))));
    let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(files, ["shop.db"], "the log was folded into the file");
    db.close().await;
}

#[tokio::test]
async fn when_the_commit_fails_nobody_of_the_batch_is_acknowledged() {
    let (_dir, config, _db) = open().await;
    let limits = BatchLimits { time_max: Duration::from_secs(3_600), ..BatchLimits::default() };
    let db = Db::open_with_limits(&config, "shop", MIGRATIONS, limits).await.unwrap();
    let (release, held) = hold_writer(&db).await;
    let good = queued(add(&db, "good")).await;
    let orphan = "INSERT INTO child (id, parent) VALUES ('c', 'nobody')";
    let bad = {
        let db = db.clone();
        queued(async move { db.apply(Unit::new("t.orphan").exec(orphan, vec![])).await }).await
    };
    let refusing = {
        let db = db.clone();
        queued(async move { db.apply(Unit::new("t.guard").guard("DELETE FROM t WHERE id = 'x'", vec![], 1, 9)).await })
            .await
    };
    release.send(()).unwrap();
    assert!(matches!(held.await.unwrap(), Err(Error::Constraint(_))));
    assert!(matches!(good.await.unwrap(), Err(Error::Constraint(_))));
    assert!(matches!(bad.await.unwrap(), Err(UnitError::Db(Error::Constraint(_)))));
    assert!(
        matches!(refusing.await.unwrap(), Err(UnitError::Db(Error::Constraint(_)))),
        "its refusal may rest on what is gone"
    );
    assert!(ids(&db).await.is_empty());
    assert_eq!(add(&db, "later").await, Ok(1), "the writer goes on");
}

#[tokio::test]
async fn a_full_disk_is_told_and_loses_nothing_acknowledged() {
    let (_dir, config, db) = open().await;
    let limit = "PRAGMA max_page_count = 60".to_owned();
    db.tx("t.limit", move |tx| {
        let limit = limit.clone();
        async move { tx.query_dyn(limit, vec![]).await }
    })
    .await
    .unwrap();
    let mut acknowledged = Vec::new();
    let mut refusals = 0;
    for round in 0..40 {
        let writes: Vec<_> = (0..8)
            .map(|i| {
                let (db, id) = (db.clone(), format!("{round:02}-{i}"));
                tokio::spawn(async move {
                    let size = if i == 3 { 20_000 } else { 10 };
                    let sql = "INSERT INTO t (id, raw) VALUES (?, ?)";
                    (id.clone(), db.apply(Unit::new("t.fill").exec(sql, params![id, vec![7u8; size]])).await)
                })
            })
            .collect();
        for write in writes {
            match write.await.unwrap() {
                (id, Ok(())) => acknowledged.push(id),
                (_, Err(UnitError::Db(Error::Disk(_)))) => refusals += 1,
                (_, Err(other)) => panic!("{other:?}"),
            }
        }
    }
    assert!(refusals > 10, "the disk was never full");
    acknowledged.sort();
    assert_eq!(ids(&db).await, acknowledged);
    drop(db);
    let again = Db::open(&config, "shop", MIGRATIONS).await.unwrap();
    assert_eq!(ids(&again).await, acknowledged);
}

#[tokio::test]
async fn a_caller_that_has_gone_away_is_not_served() {
    let (_dir, _config, db) = open().await;
    let (release, held) = hold_writer(&db).await;
    let mut gone = Box::pin(add(&db, "gone"));
    assert!(gone.as_mut().now_or_never().is_none());
    drop(gone);
    let waiting = queued(add(&db, "waiting")).await;
    release.send(()).unwrap();
    held.await.unwrap().unwrap();
    assert_eq!(waiting.await.unwrap(), Ok(1));
    assert_eq!(ids(&db).await, ["waiting"]);
}

#[tokio::test]
async fn reads_go_on_while_the_writer_is_busy_and_see_only_commits() {
    let (_dir, _config, db) = open().await;
    add(&db, "before").await.unwrap();
    let (release, held) = hold_writer(&db).await;
    let during = queued(add(&db, "during")).await;
    assert_eq!(ids(&db).await, ["before"]);
    release.send(()).unwrap();
    held.await.unwrap().unwrap();
    during.await.unwrap().unwrap();
    assert_eq!(ids(&db).await, ["before", "during"], "what is acknowledged is seen");
}

#[tokio::test]
async fn a_batch_of_one_still_commits_everything() {
    let dir = tempfile::tempdir().unwrap();
    let config = DbConfig::Sqlite { dir: dir.path().to_owned(), synchronous_full: false };
    let limits = BatchLimits { jobs_max: 1, ..BatchLimits::default() };
    let db = Db::open_with_limits(&config, "shop", MIGRATIONS, limits).await.unwrap();
    let writes: Vec<_> = (0..50)
        .map(|i| {
            let db = db.clone();
            tokio::spawn(async move { db.apply(Unit::new("t.add").exec(ADD, params![format!("{i:03}")])).await })
        })
        .collect();
    for write in writes {
        write.await.unwrap().unwrap();
    }
    assert_eq!(ids(&db).await.len(), 50);
}

#[tokio::test]
async fn a_closure_that_waits_for_something_else_panics_in_debug_builds_and_is_rolled_back() {
    let (_dir, file_config, _db) = open().await;
    for config in [file_config, DbConfig::Memory(MemoryDisk::new())] {
        let db = Db::open(&config, "shop", MIGRATIONS).await.unwrap();
        let waits = {
            let db = db.clone();
            tokio::spawn(async move {
                db.tx("t.waits", |tx| async move {
                    tx.execute(ADD, params!["waits"]).await?;
                    std::future::pending::<()>().await;
                    Ok::<_, Error>(())
                })
                .await
            })
        };
        match waits.await {
            Err(join) if cfg!(debug_assertions) => {
                let text = *join.into_panic().downcast::<String>().unwrap();
                assert!(text.contains("t.waits"), "{text}");
            }
            other => assert_eq!(other.unwrap(), Err(Error::Waited("t.waits"))),
        }
        assert!(ids(&db).await.is_empty());
        assert_eq!(add(&db, "later").await, Ok(1));
    }
}

#[tokio::test]
async fn a_closure_must_not_use_the_database_past_its_handle() {
    let (_dir, file_config, _db) = open().await;
    for config in [file_config, DbConfig::Memory(MemoryDisk::new())] {
        let db = Db::open(&config, "shop", MIGRATIONS).await.unwrap();
        let (inner, refusals) = (db.clone(), Arc::new(AtomicU32::new(0)));
        let refused = refusals.clone();
        db.tx("t.outer", move |_| {
            let (db, refused) = (inner.clone(), refused.clone());
            async move {
                if db.query("SELECT id FROM t", vec![]).await == Err(Error::Nested) {
                    refused.fetch_add(1, Ordering::SeqCst);
                }
                if db.apply(Unit::new("t.inner").exec(ADD, params!["x"])).await == Err(Error::Nested.into()) {
                    refused.fetch_add(1, Ordering::SeqCst);
                }
                Ok::<_, Error>(())
            }
        })
        .await
        .unwrap();
        assert_eq!(refusals.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test]
async fn a_write_outside_a_transaction_is_refused() {
    let (_dir, file_config, _db) = open().await;
    for config in [file_config, DbConfig::Memory(MemoryDisk::new())] {
        let db = Db::open(&config, "shop", MIGRATIONS).await.unwrap();
        assert!(matches!(db.query(ADD, params!["a"]).await, Err(Error::Sql(_))));
        assert!(ids(&db).await.is_empty());
    }
}

#[tokio::test]
async fn a_name_that_is_no_file_name_is_refused() {
    for name in ["", "../x", "a b", "x\"y"] {
        assert!(Db::open(&DbConfig::Memory(MemoryDisk::new()), name, &[]).await.is_err(), "{name}");
    }
}
