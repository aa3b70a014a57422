//! What is special about PostgreSQL: retries, cancellation, lost connections.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use mallard_db::pgtest::{PgServer, patiently, run_sql};
use mallard_db::{Db, DbConfig, Error, Migration, Unit, UnitError, params};
use tokio::sync::{Barrier, oneshot};

const MIGRATIONS: &[Migration] = &[Migration {
    version: 100,
    name: "t",
    sql: "CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, n INTEGER NOT NULL); INSERT INTO t (id, n) VALUES ('a', 0), ('b', 0)",
}];
const BUMP: &str = "UPDATE t SET n = n + 1 WHERE id = ?";

async fn open(pool_max: usize) -> Option<(Arc<PgServer>, String, Db)> {
    let server = PgServer::shared()?;
    let url = server.fresh_url().await;
    let db = Db::open(&DbConfig::Postgres { url: url.clone(), pool_max }, "shop", MIGRATIONS).await.unwrap();
    Some((server, url, db))
}

async fn numbers(db: &Db) -> Vec<i64> {
    let rows = patiently(|| db.query("SELECT n FROM t ORDER BY id", vec![])).await.unwrap();
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_is_run_again_and_nobody_notices() {
    let Some((_server, _url, db)) = open(4).await else { return };
    let meet = Arc::new(Barrier::new(2));
    let runs = Arc::new(AtomicU32::new(0));
    let crossing = |first: &'static str, second: &'static str| {
        let (db, meet, runs) = (db.clone(), meet.clone(), runs.clone());
        let own_runs = Arc::new(AtomicU32::new(0));
        tokio::spawn(async move {
            db.tx("t.cross", move |tx| {
                let (meet, runs, own_runs) = (meet.clone(), runs.clone(), own_runs.clone());
                async move {
                    runs.fetch_add(1, Ordering::SeqCst);
                    // The deadlock is to end the wait, not a slow machine.
                    tx.execute("SET LOCAL lock_timeout = 0", vec![]).await?;
                    tx.execute(BUMP, params![first]).await?;
                    if own_runs.fetch_add(1, Ordering::SeqCst) == 0 {
                        meet.wait().await;
                    }
                    // A closure that hides the failure is run again all the same.
                    tx.execute(BUMP, params![second]).await.map_err(|_| Error::Sql("hidden".to_owned()))
                }
            })
            .await
        })
    };
    let (one, two) = (crossing("a", "b"), crossing("b", "a"));
    assert_eq!(one.await.unwrap(), Ok(1));
    assert_eq!(two.await.unwrap(), Ok(1));
    assert_eq!(numbers(&db).await, [2, 2]);
    assert!(runs.load(Ordering::SeqCst) >= 3, "there was no deadlock");
}

#[tokio::test]
async fn retries_are_bounded() {
    let Some((_server, _url, db)) = open(2).await else { return };
    for (failures, expected) in [(3, Ok(())), (u32::MAX, Err(()))] {
        let runs = Arc::new(AtomicU32::new(0));
        let counted = runs.clone();
        let result = db
            .tx("t.serialize", move |tx| {
                let run = counted.fetch_add(1, Ordering::SeqCst);
                async move {
                    tx.execute(BUMP, params!["a"]).await?;
                    if run < failures {
                        let fail = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$";
                        tx.execute(fail, vec![]).await?;
                    }
                    Ok::<_, Error>(())
                }
            })
            .await;
        match expected {
            Ok(()) => assert_eq!((result, runs.load(Ordering::SeqCst)), (Ok(()), 4)),
            Err(()) => {
                assert!(matches!(result, Err(Error::Busy(_))), "{result:?}");
                assert_eq!(runs.load(Ordering::SeqCst), 6);
            }
        }
    }
    assert_eq!(numbers(&db).await, [1, 0], "only the run that went well stays");
}

/// Drops a future at its `polls`th wait.
async fn abandon<F: Future>(work: F, polls: u32) -> Option<F::Output> {
    let mut work = Box::pin(work);
    let mut polled = 0;
    poll_fn(move |cx| {
        polled += 1;
        match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if polled >= polls => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_transaction_never_leaves_a_dirty_connection() {
    let Some((_server, _url, db)) = open(1).await else { return };
    let mut written = 0;
    for polls in 1..30 {
        let work = db.tx("t.abandoned", |tx| async move {
            tx.execute(BUMP, params!["a"]).await?;
            tx.query("SELECT n FROM t", vec![]).await?;
            tx.execute(BUMP, params!["b"]).await
        });
        let finished = matches!(abandon(work, polls).await, Some(Ok(_)));
        let unit = Unit::new("t.abandoned").guard(BUMP, params!["a"], 1, 1).exec(BUMP, params!["b"]);
        let applied = matches!(abandon(db.apply(unit), polls).await, Some(Ok(())));
        // The only connection of the pool: were it dirty, this write would be part of the abandoned transaction.
        let numbers = numbers(&db).await;
        assert_eq!(numbers[0], numbers[1], "all or nothing, after {polls} polls");
        let sure = i64::from(finished) + i64::from(applied);
        assert!(numbers[0] - written >= sure && numbers[0] - written <= 2, "what was acknowledged is there");
        written = numbers[0];
        let state =
            "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'";
        // One whose clean-up took too long was closed instead, and the server may not know yet.
        let mut open = Ok(1);
        for _ in 0..100 {
            let row = patiently(|| db.query_opt(state, vec![])).await.unwrap().unwrap();
            open = row.get::<i64>(0);
            if open == Ok(0) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(open, Ok(0), "after {polls} polls");
    }
    assert!(written > 0, "every transaction was abandoned");
}

#[tokio::test]
async fn a_transaction_abandoned_with_locks_frees_them() {
    let Some((_server, _url, db)) = open(2).await else { return };
    let (locked, is_locked) = oneshot::channel();
    let locked = parking_lot::Mutex::new(Some(locked));
    let holder = {
        let db = db.clone();
        tokio::spawn(async move {
            db.tx("t.holder", move |tx| {
                let locked = locked.lock().take();
                async move {
                    tx.execute(BUMP, params!["a"]).await?;
                    let _ = locked.unwrap().send(());
                    std::future::pending::<Result<(), Error>>().await
                }
            })
            .await
        })
    };
    is_locked.await.unwrap();
    holder.abort();
    assert!(holder.await.unwrap_err().is_cancelled());
    patiently(|| db.apply(Unit::new("t.after").guard(BUMP, params!["a"], 1, 1))).await.unwrap();
    assert_eq!(numbers(&db).await, [1, 0]);
}

/// Somebody whose COMMIT runs at the server goes away: a killed peer, a deadline. What was committed is announced all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_caller_goes_away_rings_its_bells() {
    const WRITE: &str = "UPDATE t SET n = n + 1";
    let Some((_server, url, db)) = open(1).await else { return };
    // COMMIT waits until the gate opens.
    let late = "CREATE FUNCTION shop.late() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS \
         $$ BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON shop.t DEFERRABLE INITIALLY DEFERRED \
         FOR EACH ROW EXECUTE FUNCTION shop.late()";
    run_sql(&url, late).await.unwrap();
    let keeper = Db::open(&DbConfig::Postgres { url, pool_max: 2 }, "shop", MIGRATIONS).await.unwrap();
    for (round, kind) in ["a transaction", "a unit", "a unit with a guard"].into_iter().enumerate() {
        let (open_gate, gate_opens) = oneshot::channel::<()>();
        let (closed, is_closed) = oneshot::channel();
        let hold = parking_lot::Mutex::new(Some((closed, gate_opens)));
        let gate = {
            let keeper = keeper.clone();
            tokio::spawn(async move {
                let held = keeper.tx("t.gate", move |tx| {
                    let hold = hold.lock().take();
                    async move {
                        let (closed, gate_opens) = hold.unwrap();
                        tx.query("SELECT 1 FROM (SELECT pg_advisory_xact_lock(7)) AS gate", vec![]).await?;
                        let _ = closed.send(());
                        let _ = gate_opens.await;
                        Ok::<_, Error>(())
                    }
                });
                // The server ends it when the machine sleeps for too long; then the gate is open too.
                let _ = held.await;
            })
        };
        is_closed.await.unwrap();
        let writer = {
            let db = db.clone();
            tokio::spawn(async move {
                let unit = || Unit::new("t.late").wake("late");
                let _ = match round {
                    0 => db
                        .tx("t.late", |tx| async move {
                            tx.wake("late");
                            tx.execute(WRITE, vec![]).await.map(|_| ())
                        })
                        .await
                        .map_err(UnitError::Db),
                    1 => db.apply(unit().exec(WRITE, vec![])).await,
                    _ => db.apply(unit().guard(WRITE, vec![], 2, 1)).await,
                };
            })
        };
        let at_commit = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND query = 'COMMIT' AND wait_event_type = 'Lock'";
        while !writer.is_finished() {
            let row = patiently(|| keeper.query_opt(at_commit, vec![])).await.unwrap().unwrap();
            if row.get::<i64>(0) == Ok(1) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        writer.abort();
        let _ = writer.await;
        drop(open_gate);
        gate.await.unwrap();
        let rung = tokio::time::timeout(Duration::from_secs(120), db.woken("late").notified()).await;
        assert!(rung.is_ok(), "{kind} was committed and nobody was told");
        let written = round as i64 + 1;
        // A clean-up that took too long closes the connection, and the server finishes alone.
        for _ in 0..600 {
            if numbers(&db).await == [written, written] {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(numbers(&db).await, [written, written], "{kind}");
    }
}

#[tokio::test]
async fn a_full_pool_is_told_as_busy() {
    let Some((_server, _url, db)) = open(1).await else { return };
    let (entered, has_entered) = oneshot::channel();
    let (release, released) = oneshot::channel::<()>();
    let ends = parking_lot::Mutex::new(Some((entered, released)));
    let holder = {
        let db = db.clone();
        tokio::spawn(async move {
            db.tx("t.holder", move |tx| {
                let ends = ends.lock().take();
                async move {
                    let (entered, released) = ends.unwrap();
                    tx.execute(BUMP, params!["a"]).await?;
                    let _ = entered.send(());
                    let _ = released.await;
                    Ok::<_, Error>(())
                }
            })
            .await
        })
    };
    has_entered.await.unwrap();
    let refused = db.query("SELECT n FROM t", vec![]).await;
    assert!(matches!(refused, Err(Error::Busy(_))), "{refused:?}");
    assert!(refused.unwrap_err().is_retryable());
    drop(release);
    holder.await.unwrap().unwrap();
    assert_eq!(numbers(&db).await, [1, 0]);
}

#[tokio::test]
async fn lost_connections_are_replaced() {
    let Some((server, url, db)) = open(3).await else { return };
    db.apply(Unit::new("t.one").exec(BUMP, params!["a"])).await.unwrap();
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mallard-shop' AND datname = current_database()";
    run_sql(&url, kill).await.unwrap();
    let mut tries = 0;
    loop {
        tries += 1;
        match db.apply(Unit::new("t.two").guard(BUMP, params!["b"], 1, 1)).await {
            Ok(()) => break,
            Err(error) => {
                assert!(matches!(&error, mallard_db::UnitError::Db(Error::Lost(_))), "{error:?}");
                assert!(tries <= 3, "each connection is lost only once");
            }
        }
    }
    assert_eq!(numbers(&db).await, [1, 1]);
    drop(db);
    drop(server);
}

#[tokio::test]
async fn a_server_that_is_away_is_told_as_lost() {
    let config = DbConfig::Postgres { url: "host=/nowhere user=x dbname=x".to_owned(), pool_max: 1 };
    let refused = Db::open(&config, "shop", MIGRATIONS).await;
    assert!(matches!(refused, Err(Error::Lost(_))), "{refused:?}");
    let config = DbConfig::Postgres { url: "nonsense://".to_owned(), pool_max: 1 };
    assert!(Db::open(&config, "shop", MIGRATIONS).await.is_err());
}

#[tokio::test]
async fn a_null_parameter_takes_the_type_of_its_place() {
    let Some((_server, _url, db)) = open(1).await else { return };
    let sql = "SELECT id FROM t WHERE (n = ? OR CAST(? AS INTEGER) IS NULL) AND id = ? ORDER BY id LIMIT ?";
    for _ in 0..2 {
        let all = db.query(sql, params![None::<i64>, None::<i64>, "a", 10]).await.unwrap();
        assert_eq!(all.len(), 1);
        let none = db.query(sql, params![7, 7, "a", 10]).await.unwrap();
        assert!(none.is_empty());
    }
}
