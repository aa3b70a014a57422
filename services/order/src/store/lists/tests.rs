use mallard_db::{DbConfig, MemoryDisk};
use mallard_types::Error;

use super::*;
use crate::domain::tests::{line, order_of};
use crate::domain::{Event, EventKind};
use crate::migrations::MIGRATIONS;
use crate::store::{self, Placement};

async fn open() -> Db {
    Db::open(&DbConfig::Memory(MemoryDisk::new()), "order", MIGRATIONS).await.unwrap()
}

/// Writes an order of the n-th shopper that is paid; `listed` as the program writes it, else as the one before did.
async fn paid(db: &Db, n: u32, listed: bool) -> Order {
    let mut start = order_of(vec![line("sku_a", "sel_a", 1, 100), line("sku_b", "sel_b", 1, 100)], 0);
    start.id = format!("ord_{n:026}");
    (start.number, start.user_id, start.version) = (n.to_string(), format!("usr_{n}"), 0);
    let (start, placed) = Order::placed(start);
    let placement = Placement {
        idempotency_key: "k".into(),
        request_hash: Vec::new(),
        cart_ref: None,
        event_id: format!("evt_{n}"),
    };
    let insert = (start.clone(), placed, placement);
    db.tx("test.place", move |tx| {
        let (order, event, placement) = insert.clone();
        async move { store::insert(&tx, &order, &event, &placement).await }
    })
    .await
    .unwrap();
    let kind = start.pay("pay_1", start.total).unwrap();
    save(db, &start, kind, listed).await
}

async fn save(db: &Db, before: &Order, kind: EventKind, listed: bool) -> Order {
    let (after, event) = before.then(kind, 5, "system");
    let saved: (Order, Order, Event) = (before.clone(), after.clone(), event);
    db.tx("test.save", move |tx| {
        let (before, after, event) = saved.clone();
        async move {
            assert!(store::save(&tx, &after, &event, &format!("{}:{}", after.id, after.version)).await?);
            if listed { index(&tx, &before, &after).await } else { Ok(()) }
        }
    })
    .await
    .unwrap();
    after
}

async fn next(db: &Db) -> bool {
    db.tx("test.backfill", |tx| async move { Ok::<_, Error>(backfill(&tx, 2).await.unwrap()) }).await.unwrap()
}

async fn ids(db: &Db, seller_id: &str, to_ship: bool) -> Vec<String> {
    seller_page(db, seller_id, to_ship, None, 100).await.unwrap().into_iter().map(|order| order.id).collect()
}

#[tokio::test]
async fn the_orders_of_before_are_listed_page_by_page_and_what_is_newer_stays() {
    let db = open().await;
    let mut orders = Vec::new();
    for n in 0..5 {
        orders.push(paid(&db, n, false).await);
    }
    assert_eq!(backfilled_until(&db).await.unwrap().as_deref(), Some(""));
    assert!(next(&db).await);
    assert_eq!(backfilled_until(&db).await.unwrap(), Some(orders[1].id.clone()));
    assert_eq!(ids(&db, "sel_a", true).await.len(), 2);
    // One that is not listed yet is shipped, and lists itself.
    let shipped = orders[3].ship("", "", None, Some("sel_a")).unwrap();
    save(&db, &orders[3], shipped, true).await;
    assert_eq!(ids(&db, "sel_a", false).await, [3, 1, 0].map(|n| orders[n].id.clone()));
    while next(&db).await {}
    assert_eq!(backfilled_until(&db).await.unwrap(), None);
    assert!(!next(&db).await, "it is through and stays so");
    assert_eq!(ids(&db, "sel_a", true).await, [4, 2, 1, 0].map(|n| orders[n].id.clone()));
    assert_eq!(ids(&db, "sel_b", true).await, [4, 3, 2, 1, 0].map(|n| orders[n].id.clone()));
}

#[tokio::test]
async fn a_list_reads_its_own_rows_only() {
    let db = open().await;
    for (to_ship, before) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut values = params!["sel_a"];
        values.extend(before.then(|| Value::from("ord_9")));
        values.push(Value::from(10i64));
        let plan =
            db.query_dyn(format!("EXPLAIN QUERY PLAN {}", seller_page_sql(to_ship, before)), values).await.unwrap();
        let steps: Vec<String> = plan.iter().map(|row| row.get(3).unwrap()).collect();
        let index = if to_ship { "seller_orders_to_ship" } else { "seller_orders_by_seller" };
        assert!(steps[0].starts_with("SEARCH s USING") && steps[0].contains(index), "{steps:?}");
        assert!(steps.iter().all(|step| !step.contains("SCAN") && !step.contains("TEMP B-TREE")), "{steps:?}");
    }
}
