//! Many at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use mallard_db::pgtest::patiently;
use mallard_db::{Error, Unit, UnitError, params};

use super::{ADD_SALE, Fixture, LEFT, TAKE_ONE, count, left, stocked};

const CLIENTS: usize = 16;
const TRIES: usize = 10;

pub async fn guarded_units_never_oversell(fixture: Fixture) {
    let db = stocked(&fixture, "tea", 100).await;
    let sold = Arc::new(AtomicI64::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|c| {
            let (db, sold) = (db.clone(), sold.clone());
            tokio::spawn(async move {
                for t in 0..TRIES {
                    let id = format!("{c}-{t}");
                    let unit = Unit::new("t.buy")
                        .exec(ADD_SALE, params![&id, "tea", &id])
                        .guard(TAKE_ONE, params!["tea"], 1, 1)
                        .order_by_key("tea");
                    match patiently(|| db.apply(unit.clone())).await {
                        Ok(()) => sold.fetch_add(1, Ordering::SeqCst),
                        Err(UnitError::Guard { tag: 1, .. }) => 0,
                        Err(other) => panic!("{other:?}"),
                    };
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(sold.load(Ordering::SeqCst), 100);
    assert_eq!(left(&db, "tea").await, 0);
    assert_eq!(count(&db, "SELECT COUNT(*) FROM sales").await, 100);
}

pub async fn closures_that_read_and_decide_never_oversell(fixture: Fixture) {
    let db = stocked(&fixture, "tea", 60).await;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|c| {
            let db = db.clone();
            tokio::spawn(async move {
                let mut sold = 0;
                for t in 0..TRIES {
                    let id = format!("{c}-{t}");
                    let bought: Result<bool, Error> = patiently(|| {
                        let id = id.clone();
                        db.tx("t.buy", move |tx| {
                            let id = id.clone();
                            async move {
                                let seen: i64 = tx.query_opt(LEFT, params!["tea"]).await?.unwrap().get(0)?;
                                if seen == 0 || tx.execute(TAKE_ONE, params!["tea"]).await? == 0 {
                                    return Ok(false);
                                }
                                tx.execute(ADD_SALE, params![&id, "tea", &id]).await?;
                                Ok(true)
                            }
                        })
                    })
                    .await;
                    sold += i64::from(bought.unwrap());
                }
                sold
            })
        })
        .collect();
    let mut sold = 0;
    for client in clients {
        sold += client.await.unwrap();
    }
    assert_eq!(sold, 60);
    assert_eq!(left(&db, "tea").await, 0);
    assert_eq!(count(&db, "SELECT COUNT(*) FROM sales").await, 60);
}

pub async fn a_bad_neighbour_does_not_spoil_the_others(fixture: Fixture) {
    let db = stocked(&fixture, "tea", 1_000).await;
    let clients: Vec<_> = (0..60)
        .map(|i| {
            let db = db.clone();
            tokio::spawn(async move {
                let result: Result<u64, Error> = patiently(|| {
                    db.tx("t.mixed", move |tx| async move {
                        let taken = tx.execute(TAKE_ONE, params!["tea"]).await?;
                        match i % 4 {
                            1 => tx.execute(ADD_SALE, params![None::<String>, "tea", "x"]).await,
                            2 => panic!("on purpose"),
                            3 => Err(Error::Sql("no".to_owned())),
                            _ => Ok(taken),
                        }
                    })
                })
                .await;
                (i, result)
            })
        })
        .collect();
    for client in clients {
        let (i, result) = client.await.unwrap();
        let as_expected = match i % 4 {
            1 => matches!(result, Err(Error::Constraint(_))),
            2 => matches!(result, Err(Error::Panicked(_))),
            3 => matches!(result, Err(Error::Sql(_))),
            _ => result == Ok(1),
        };
        assert!(as_expected, "{i}: {result:?}");
    }
    assert_eq!(left(&db, "tea").await, 1_000 - 15);
}
