//! Transactions, values, errors, panics.

use std::sync::Arc;

use mallard_db::{Error, Tx, Value, params};
use parking_lot::Mutex;

use super::{ADD_SALE, ADD_STOCK, Fixture, LEFT, TAKE_ONE, count, left, stocked};

pub async fn ok_commits_and_err_rolls_back(fixture: Fixture) {
    let db = stocked(&fixture, "tea", 5).await;
    let seen: i64 = db
        .tx("t.ok", |tx| async move {
            tx.execute(TAKE_ONE, params!["tea"]).await?;
            tx.query_opt(LEFT, params!["tea"]).await?.unwrap().get(0)
        })
        .await
        .unwrap();
    assert_eq!(seen, 4, "a transaction sees its own writes");
    let refused: Result<(), Error> = db
        .tx("t.err", |tx| async move {
            tx.execute(TAKE_ONE, params!["tea"]).await?;
            Err(Error::Sql("no".to_owned()))
        })
        .await;
    assert_eq!(refused, Err(Error::Sql("no".to_owned())));
    assert_eq!(left(&db, "tea").await, 4);
}

pub async fn every_value_comes_back_as_it_went_in(fixture: Fixture) {
    let db = fixture.open().await;
    let big = (1i64 << 32) + 7;
    let bytes: Vec<u8> = (0..=255).collect();
    let rows = [
        params!["a", "s", "b1", "note ü \u{1F986} '?' \"x\"", bytes.clone(), i64::MAX],
        params!["b", "s", "b2", None::<String>, None::<Vec<u8>>, None::<i64>],
        params!["c", "s", "b3", "", Vec::<u8>::new(), i64::MIN],
        params!["d", "s", "b4", "x", vec![0u8], big],
    ];
    let sql = "INSERT INTO sales (id, sku, buyer, note, raw, big) VALUES (?, ?, ?, ?, ?, ?)";
    for row in rows.clone() {
        db.tx("t.add", move |tx| {
            let row = row.clone();
            async move { tx.execute(sql, row).await }
        })
        .await
        .unwrap();
    }
    let read = db.query("SELECT id, sku, buyer, note, raw, big FROM sales ORDER BY id", vec![]).await.unwrap();
    let read: Vec<Vec<Value>> = read.into_iter().map(mallard_db::Row::into_values).collect();
    assert_eq!(read, rows);
    let found = db.query_opt("SELECT big FROM sales WHERE big = ?", params![big]).await.unwrap().unwrap();
    assert_eq!(found.get::<i64>(0), Ok(big));
    let sum = "SELECT SUM(big), COUNT(*), MAX(LENGTH(id)), big > 0 FROM sales WHERE id = 'd' GROUP BY big";
    let sum = db.query_opt(sum, vec![]).await.unwrap().unwrap();
    assert_eq!(sum.into_values(), params![big, 1, 1, true]);
}

pub async fn a_text_with_a_nul_is_refused_before_it_reaches_the_engine(fixture: Fixture) {
    let db = fixture.open().await;
    let nul = params!["a\0b"];
    assert_eq!(db.query("SELECT id FROM sales WHERE id = ?", nul.clone()).await, Err(Error::Nul));
    let add = "INSERT INTO sales (id, sku, buyer) VALUES (?, 's', 'b')";
    assert_eq!(db.apply(mallard_db::Unit::new("t.add").exec(add, nul.clone())).await, Err(Error::Nul.into()));
    let written = db.tx("t.add", move |tx| {
        let nul = nul.clone();
        async move { tx.execute(add, nul).await }
    });
    assert_eq!(written.await, Err(Error::Nul));
    let error = mallard_types::Error::from(Error::Nul);
    assert_eq!((error.kind, &*error.code), (mallard_types::Kind::Invalid, "invalid_text"));
    assert!(db.query("SELECT id FROM sales", vec![]).await.unwrap().is_empty());
}

pub async fn lists_are_read_with_statements_made_while_running(fixture: Fixture) {
    let db = fixture.open().await;
    let rows = db
        .tx("t.many", |tx| async move {
            let values = ["(?, ?)"; 40].join(", ");
            let params = (0..40).flat_map(|i| params![format!("sku{i:02}"), i]).collect();
            tx.execute_dyn(format!("INSERT INTO stock (sku, left_units) VALUES {values}"), params).await?;
            tx.query_dyn("SELECT sku FROM stock WHERE sku IN (?, ?) ORDER BY sku".to_owned(), params!["sku07", "sku31"])
                .await
        })
        .await
        .unwrap();
    let skus: Vec<String> = rows.iter().map(|row| row.get(0).unwrap()).collect();
    assert_eq!(skus, ["sku07", "sku31"]);
    let rows =
        db.query_dyn("SELECT left_units FROM stock WHERE sku IN (?)".to_owned(), params!["sku39"]).await.unwrap();
    assert_eq!(rows[0].get::<i64>(0), Ok(39));
}

pub async fn a_violated_unique_index_is_named(fixture: Fixture) {
    let db = fixture.open().await;
    let add = |id: &'static str, buyer: &'static str| {
        let db = db.clone();
        async move { db.tx("t.sale", move |tx| async move { tx.execute(ADD_SALE, params![id, "tea", buyer]).await }).await }
    };
    assert_eq!(add("1", "ann").await, Ok(1));
    let second = add("2", "ann").await.unwrap_err();
    assert!(second.is_unique("sales_one_per_buyer"), "{second:?}");
    let again = add("1", "bob").await.unwrap_err();
    assert!(again.is_unique("sales_pkey"), "{again:?}");
    assert_eq!(add("2", "bob").await, Ok(1));
    let tick =
        || db.tx("t.tick", |tx| async move { tx.execute("INSERT INTO ticks (text) VALUES ('x')", vec![]).await });
    assert_eq!(tick().await, Ok(1));
    assert_eq!(tick().await, Err(Error::Unique { constraint: "ticks_text_key".to_owned() }));
}

pub async fn other_constraints_are_told_apart(fixture: Fixture) {
    let db = stocked(&fixture, "tea", 0).await;
    let minus =
        db.tx("t.minus", |tx| async move { tx.execute("UPDATE stock SET left_units = -1", vec![]).await }).await;
    assert!(matches!(minus, Err(Error::Constraint(_))), "{minus:?}");
    let null = db.tx("t.null", |tx| async move { tx.execute(ADD_STOCK, params!["x", None::<i64>]).await }).await;
    assert!(matches!(null, Err(Error::Constraint(_))), "{null:?}");
    let text = db.tx("t.text", |tx| async move { tx.execute(ADD_STOCK, params!["x", "many"]).await }).await;
    assert!(text.is_err(), "a text does not go into a number column: {text:?}");
    let alone = db.query("SELECT sku FROM stock FOR UPDATE", vec![]).await;
    assert!(matches!(&alone, Err(Error::Sql(text)) if text.contains("not portable")), "{alone:?}");
    let bad = db.query("SELECT nothing FROM nowhere", vec![]).await;
    assert!(matches!(bad, Err(Error::Sql(_))), "{bad:?}");
}

pub async fn a_failed_statement_dooms_its_transaction(fixture: Fixture) {
    let db = stocked(&fixture, "tea", 5).await;
    let later = Arc::new(Mutex::new(None));
    let seen = later.clone();
    let result: Result<(), Error> = db
        .tx("t.doomed", move |tx| {
            let seen = seen.clone();
            async move {
                tx.execute(TAKE_ONE, params!["tea"]).await?;
                let twice = tx.execute(ADD_STOCK, params!["tea", 1]).await;
                assert!(twice.is_err_and(|e| e.is_unique("stock_pkey")));
                *seen.lock() = Some(tx.query(LEFT, params!["tea"]).await);
                Ok(())
            }
        })
        .await;
    assert!(matches!(later.lock().take(), Some(Err(Error::Doomed(_)))), "later statements are refused");
    assert!(matches!(result, Err(Error::Doomed(_))), "{result:?}");
    assert_eq!(left(&db, "tea").await, 5, "and nothing stays");
}

pub async fn a_panic_rolls_back_and_reaches_the_caller_as_an_error(fixture: Fixture) {
    let db = stocked(&fixture, "tea", 5).await;
    let result: Result<(), Error> = db
        .tx("t.panic", |tx| async move {
            tx.execute(TAKE_ONE, params!["tea"]).await?;
            panic!("on purpose")
        })
        .await;
    assert_eq!(result, Err(Error::Panicked("on purpose".to_owned())));
    let mapped = mallard_types::Error::from(result.unwrap_err());
    assert_eq!(mapped.kind, mallard_types::Kind::Internal);
    assert!(!mapped.message.contains("purpose"), "internal text does not leave");
    let early: Result<(), Error> =
        db.tx("t.early", |_| -> std::future::Ready<Result<(), Error>> { panic!("early") }).await;
    assert_eq!(early, Err(Error::Panicked("early".to_owned())));
    assert_eq!(left(&db, "tea").await, 5);
    let after = db.tx("t.after", |tx| async move { tx.execute(TAKE_ONE, params!["tea"]).await }).await;
    assert_eq!(after, Ok(1), "the database goes on");
}

pub async fn a_handle_is_dead_after_its_closure(fixture: Fixture) {
    let db = stocked(&fixture, "tea", 5).await;
    let kept = Arc::new(Mutex::new(None::<Tx>));
    let keep = kept.clone();
    db.tx("t.leak", move |tx| {
        let keep = keep.clone();
        async move {
            *keep.lock() = Some(tx.clone());
            tx.execute(TAKE_ONE, params!["tea"]).await
        }
    })
    .await
    .unwrap();
    let leaked = kept.lock().take().unwrap();
    assert_eq!(leaked.execute(TAKE_ONE, params!["tea"]).await, Err(Error::Ended));
    let inside: Result<(), Error> = db
        .tx("t.inside", move |tx| {
            let leaked = leaked.clone();
            async move {
                tx.execute(TAKE_ONE, params!["tea"]).await?;
                assert_eq!(leaked.query(LEFT, params!["tea"]).await, Err(Error::Ended), "also inside another one");
                Ok(())
            }
        })
        .await;
    assert_eq!(inside, Ok(()));
    assert_eq!(left(&db, "tea").await, 3);
}

pub async fn statements_are_counted_without_transaction_control(fixture: Fixture) {
    let db = stocked(&fixture, "tea", 5).await;
    let before = db.statements();
    db.tx("t.two", |tx| async move {
        tx.execute(TAKE_ONE, params!["tea"]).await?;
        tx.query(LEFT, params!["tea"]).await
    })
    .await
    .unwrap();
    assert_eq!(db.statements() - before, 2);
    count(&db, "SELECT COUNT(*) FROM stock").await;
    assert_eq!(db.statements() - before, 3);
}

pub async fn listeners_are_woken_after_the_commit_only(fixture: Fixture) {
    let db = stocked(&fixture, "tea", 5).await;
    let bell = db.woken("sales");
    let refused: Result<(), Error> = db
        .tx("t.quiet", |tx| async move {
            tx.wake("sales");
            Err(Error::Sql("no".to_owned()))
        })
        .await;
    assert!(refused.is_err());
    let mut heard = std::pin::pin!(bell.notified());
    assert!(!heard.as_mut().enable(), "a rollback rings no bell");
    db.tx("t.loud", |tx| async move {
        tx.execute(TAKE_ONE, params!["tea"]).await?;
        tx.wake("sales");
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
    heard.await;
    let unit = mallard_db::Unit::new("t.unit").exec(TAKE_ONE, params!["tea"]).wake("sales");
    db.apply(unit).await.unwrap();
    bell.notified().await;
}

pub async fn texts_compare_bytewise_and_like_minds_the_case(fixture: Fixture) {
    let db = fixture.open().await;
    db.tx("t.add", |tx| async move {
        for sku in ["b", "A", "a", "B", "_", "é"] {
            tx.execute(ADD_STOCK, params![sku, 1]).await?;
        }
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
    let rows = db.query("SELECT sku FROM stock ORDER BY sku", vec![]).await.unwrap();
    let skus: Vec<String> = rows.iter().map(|row| row.get(0).unwrap()).collect();
    assert_eq!(skus, ["A", "B", "_", "a", "b", "é"]);
    assert_eq!(count(&db, "SELECT COUNT(*) FROM stock WHERE sku LIKE 'a%'").await, 1);
    assert_eq!(count(&db, "SELECT COUNT(*) FROM stock WHERE sku >= 'a'").await, 3);
}
