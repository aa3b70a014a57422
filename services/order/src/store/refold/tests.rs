use mallard_db::{DbConfig, MemoryDisk};
use mallard_proto::order::v1 as pb;
use mallard_types::Error;

use super::*;
use crate::domain::tests::{line, order_of, units};
use crate::domain::{EventKind, ReturnStatus, Status};
use crate::migrations::MIGRATIONS;
use crate::store::{self, Placement};

/// Who writes: this program, or the one before, which knows no parcels, no returns and no lists.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    This,
    Older,
}

async fn open() -> Db {
    Db::open(&DbConfig::Memory(MemoryDisk::new()), "order", MIGRATIONS).await.unwrap()
}

/// Places the n-th shopper's order of two units of one seller's and one of another's.
async fn placed(db: &Db, n: u32, by: By) -> Order {
    let mut start = order_of(vec![line("sku_a", "sel_a", 2, 200), line("sku_b", "sel_b", 1, 100)], 0);
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
        async move {
            store::insert(&tx, &order, &event, &placement).await?;
            if by == By::Older { as_the_older_one_writes(&tx, &order, 0).await } else { Ok(()) }
        }
    })
    .await
    .unwrap();
    start
}

/// Takes away what the older program does not write.
async fn as_the_older_one_writes(tx: &Tx, order: &Order, folded: i64) -> Result<(), mallard_db::Error> {
    let mut row: pb::Order = convert::order_to_row(order);
    (row.returns, row.open_refunds) = (Vec::new(), Vec::new());
    for line in &mut row.lines {
        (line.shipped, line.returned_sent) = (0, 0);
    }
    let sql = "UPDATE orders SET state = ?, folded_version = ? WHERE id = ?";
    tx.execute(sql, params![row.encode_to_vec(), folded, order.id.as_str()]).await?;
    Ok(())
}

/// Moves an order as a program does: reads it, decides, writes it.
async fn moved(db: &Db, id: &str, by: By, decide: impl Fn(&Order) -> EventKind + Send + Sync + 'static) -> Order {
    let (id, decide) = (id.to_owned(), std::sync::Arc::new(decide));
    db.tx("test.move", move |tx| {
        let (id, decide) = (id.clone(), decide.clone());
        async move {
            let folded = "SELECT folded_version FROM orders WHERE id = ?";
            let folded: i64 = tx.query_opt(folded, params![id.as_str()]).await?.unwrap().get(0)?;
            let before = if by == By::This {
                store::load(&tx, &id).await?
            } else {
                let row = tx.query_opt("SELECT state FROM orders WHERE id = ?", params![id.as_str()]).await?;
                store::order_of(&row.unwrap(), 0)?
            };
            let (after, event) = before.then(decide(&before), 5, "system");
            assert!(store::save(&tx, &after, &event, &format!("{id}:{}", after.version)).await?);
            match by {
                By::This => lists::index(&tx, &before, &after).await?,
                By::Older => as_the_older_one_writes(&tx, &after, folded).await?,
            }
            Ok::<_, Error>(after)
        }
    })
    .await
    .unwrap()
}

fn pay(order: &Order) -> EventKind {
    order.pay("pay_1", order.total).unwrap()
}

async fn refolded(db: &Db, id: &str) -> Refolded {
    let id = id.to_owned();
    db.tx("test.refold", move |tx| {
        let id = id.clone();
        async move { refold(&tx, &id).await }
    })
    .await
    .unwrap()
}

async fn listed(db: &Db, seller_id: &str, to_ship: bool) -> Vec<String> {
    let page = store::seller_page(db, seller_id, to_ship, None, 100).await.unwrap();
    page.into_iter().map(|order| order.id).collect()
}

#[tokio::test]
async fn what_an_older_program_paid_is_listed_and_what_this_one_wrote_needs_nothing() {
    let db = open().await;
    let mut ids = Vec::new();
    for (n, by) in [(1, By::Older), (2, By::This), (3, By::This), (4, By::Older)] {
        ids.push(placed(&db, n, if n == 3 { By::This } else { by }).await.id);
        let by = if n == 3 { By::Older } else { by };
        moved(&db, &ids[n as usize - 1], by, pay).await;
    }
    assert_eq!(listed(&db, "sel_a", true).await, [ids[1].clone()]);
    let older = [ids[0].clone(), ids[2].clone(), ids[3].clone()];
    assert_eq!(unfolded(&db, "", 10).await.unwrap(), older);
    assert_eq!(unfolded(&db, &ids[0], 1).await.unwrap(), [ids[2].clone()]);
    for id in &older {
        assert!(matches!(refolded(&db, id).await, Refolded::Done(_)));
    }
    assert!(unfolded(&db, "", 10).await.unwrap().is_empty());
    let newest_first: Vec<_> = ids.iter().rev().cloned().collect();
    assert_eq!(listed(&db, "sel_a", true).await, newest_first);
    assert_eq!(listed(&db, "sel_b", true).await, newest_first);
}

#[tokio::test]
async fn parcels_and_returns_survive_a_move_through_an_older_program() {
    let db = open().await;
    let id = placed(&db, 1, By::This).await.id;
    moved(&db, &id, By::This, pay).await;
    moved(&db, &id, By::This, |order| order.ship("SF", "1", None, None).unwrap()).await;
    let asked = |order: &Order| order.request_return("ret_1", "k", &[units("sku_a", 1)], "too small").unwrap();
    let asked = moved(&db, &id, By::This, asked).await;
    moved(&db, &id, By::Older, |order| order.deliver().unwrap()).await;
    let row = store::get_as_written(&db, &id).await.unwrap().unwrap();
    assert!(!row.folded && row.order.returns.is_empty(), "the older program has lost the return");

    // Whoever reads the order sees it, and whoever moves it takes it along.
    let read = store::get(&db, &id).await.unwrap().unwrap();
    assert_eq!((read.status, &read.returns), (Status::Delivered, &asked.returns));
    let approve = |order: &Order| order.approve_return("ret_1", "ref_1").unwrap().unwrap();
    let approved = moved(&db, &id, By::This, approve).await;
    assert_eq!(approved.find_return("ret_1").unwrap().status, ReturnStatus::Approved);
    let row = store::get_as_written(&db, &id).await.unwrap().unwrap();
    assert!(row.folded && row.order == approved);
    let page = store::returns_page(&db, Some(ReturnStatus::Approved), None, 10).await.unwrap();
    assert_eq!(page.len(), 1);
}

#[tokio::test]
async fn a_stream_that_makes_no_order_changes_nothing() {
    let db = open().await;
    let id = placed(&db, 1, By::Older).await.id;
    let before = store::get_as_written(&db, &id).await.unwrap().unwrap().order;
    for damage in ["UPDATE order_events SET kind = 'paid'", "DELETE FROM order_events"] {
        db.tx("test.damage", move |tx| async move { tx.execute(damage, params![]).await }).await.unwrap();
        assert_eq!(refolded(&db, &id).await, Refolded::Broken, "{damage}");
        assert_eq!(store::get_as_written(&db, &id).await.unwrap().unwrap().order, before);
    }
}

#[tokio::test]
async fn looking_for_what_an_older_program_wrote_reads_an_index_that_is_empty_most_of_the_time() {
    let db = open().await;
    let plan = db.query_dyn(format!("EXPLAIN QUERY PLAN {UNFOLDED}"), params!["", 10i64]).await.unwrap();
    let steps: Vec<String> = plan.iter().map(|row| row.get(3).unwrap()).collect();
    assert!(steps.len() == 1 && steps[0].contains("orders_unfolded"), "{steps:?}");
}
