//! Migrations and leases.

use mallard_db::pgtest::patiently;
use mallard_db::{Db, Error, Migration, lease, params};

use super::{Fixture, MIGRATIONS, count};

pub async fn migrations_run_once_and_later_ones_are_added(fixture: Fixture) {
    let db = fixture.open().await;
    db.tx("t.tick", |tx| async move { tx.execute("INSERT INTO ticks (text) VALUES ('x')", vec![]).await })
        .await
        .unwrap();
    let again = fixture.open().await;
    assert_eq!(count(&again, "SELECT COUNT(*) FROM ticks").await, 1, "nothing was made anew");
    let mut more = MIGRATIONS.to_vec();
    let add = "ALTER TABLE ticks ADD COLUMN more TEXT; INSERT INTO ticks (text, more) VALUES ('a;b', 'c')";
    more.push(Migration { version: 102, name: "more", sql: add });
    // The platform may grow a version below the newest of the service.
    more.push(Migration { version: 5, name: "platform", sql: "CREATE TABLE platform (id TEXT)" });
    let newer = Db::open(&fixture.config, "shop", &more).await.unwrap();
    assert_eq!(count(&newer, "SELECT COUNT(*) FROM ticks WHERE more = 'c' AND text = 'a;b'").await, 1);
    assert_eq!(count(&newer, "SELECT COUNT(*) FROM platform").await, 0);
    assert_eq!(count(&newer, "SELECT COUNT(*) FROM schema_migrations").await, 4);
    let older = Db::open(&fixture.config, "shop", MIGRATIONS).await.unwrap_err();
    assert!(matches!(&older, Error::Migration(text) if text.contains("newer program")), "{older}");
}

pub async fn a_changed_migration_is_refused(fixture: Fixture) {
    fixture.open().await;
    let changed = [MIGRATIONS[0], Migration { sql: "CREATE TABLE ticks (n INTEGER)", ..MIGRATIONS[1] }];
    let refused = Db::open(&fixture.config, "shop", &changed).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Migration(text) if text.contains("101") && text.contains("changed")),
        "{refused}"
    );
}

pub async fn a_failing_migration_leaves_nothing_of_itself(fixture: Fixture) {
    fixture.open().await;
    let mut bad = MIGRATIONS.to_vec();
    let sql = "CREATE TABLE half (id TEXT); CREATE TABLE stock (sku TEXT)";
    bad.push(Migration { version: 102, name: "bad", sql });
    let refused = Db::open(&fixture.config, "shop", &bad).await.unwrap_err();
    assert!(matches!(&refused, Error::Migration(text) if text.contains("102 `bad`")), "{refused}");
    let db = fixture.open().await;
    assert!(db.query("SELECT id FROM half", vec![]).await.is_err(), "the first half was rolled back");
}

pub async fn services_do_not_see_each_other(fixture: Fixture) {
    let shop = fixture.open().await;
    let other = Db::open(&fixture.config, "other-shop", MIGRATIONS).await.unwrap();
    shop.tx("t.tick", |tx| async move { tx.execute("INSERT INTO ticks (text) VALUES ('x')", vec![]).await })
        .await
        .unwrap();
    assert_eq!(count(&other, "SELECT COUNT(*) FROM ticks").await, 0);
    assert_eq!(count(&shop, "SELECT COUNT(*) FROM ticks").await, 1);
}

pub async fn processes_that_start_together_migrate_once(fixture: Fixture) {
    let starts: Vec<_> = (0..4)
        .map(|_| {
            let config = fixture.config.clone();
            tokio::spawn(async move { Db::open(&config, "shop", MIGRATIONS).await.map(|db| db.service()) })
        })
        .collect();
    for start in starts {
        assert_eq!(start.await.unwrap(), Ok("shop"));
    }
}

pub async fn a_lease_has_one_holder_and_a_growing_token(fixture: Fixture) {
    let db = Db::open(&fixture.config, "shop", lease::LEASE_MIGRATIONS).await.unwrap();
    let take = |holder: &'static str, now: i64| lease::try_acquire(&db, "relay", holder, now, 100);
    let first = take("a", 1_000).await.unwrap().unwrap();
    assert_eq!((first.token, first.until), (1, 1_100));
    assert_eq!(take("b", 1_099).await, Ok(None), "held");
    let first = lease::renew(&db, &first, 1_090, 100).await.unwrap().unwrap();
    assert_eq!(take("b", 1_189).await, Ok(None), "renewed until 1190");
    let second = take("b", 1_190).await.unwrap().unwrap();
    assert_eq!(second.token, 2);
    assert_eq!(lease::renew(&db, &first, 1_191, 100).await, Ok(None), "lost");
    let held = |lease: &lease::Lease| {
        let lease = lease.clone();
        db.tx("t.fence", move |tx| {
            let lease = lease.clone();
            async move { lease::still_held(&tx, &lease).await }
        })
    };
    assert_eq!(held(&first).await, Ok(false));
    assert_eq!(held(&second).await, Ok(true));
    let restarted = take("b", 1_200).await.unwrap().unwrap();
    assert_eq!(restarted.token, 3, "the same holder after a restart fences off its former self");
    lease::release(&db, &first).await.unwrap();
    assert_eq!(take("c", 1_201).await, Ok(None), "a lost lease gives nothing back");
    lease::release(&db, &restarted).await.unwrap();
    assert_eq!(take("c", 1_201).await.unwrap().unwrap().token, 4);
}

pub async fn of_many_that_want_a_lease_one_gets_it(fixture: Fixture) {
    let db = Db::open(&fixture.config, "shop", lease::LEASE_MIGRATIONS).await.unwrap();
    let wanting: Vec<_> = (0..16)
        .map(|i| {
            let db = db.clone();
            let holder = format!("n{i}");
            tokio::spawn(
                async move { patiently(|| lease::try_acquire(&db, "relay", &holder, 1_000, 100)).await.unwrap() },
            )
        })
        .collect();
    let mut holders = 0;
    for one in wanting {
        holders += usize::from(one.await.unwrap().is_some());
    }
    assert_eq!(holders, 1);
    let rows = db.query("SELECT token FROM leases WHERE name = ?", params!["relay"]).await.unwrap();
    assert_eq!(rows[0].get::<i64>(0), Ok(1));
}
