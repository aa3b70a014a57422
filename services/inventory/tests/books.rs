//! Units that come and go by other ways than an order, the ledger, and checks that can fail.

mod common;

use common::{ENGINES, Engine, house, house_with, lines};
use mallard_proto::inventory::v1::*;
use mallard_testkit::{as_admin, as_system, as_user};
use mallard_types::Kind;

#[tokio::test]
async fn receiving_makes_rows_once_and_leaves_existing_ones_alone() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        assert_eq!(house.receive(&[("sku_a", 10), ("sku_b", 0)]).await, 2, "{engine:?}");
        assert_eq!(house.receive(&[("sku_a", 10), ("sku_b", 0)]).await, 0);
        assert_eq!(house.receive(&[("sku_b", 7), ("sku_a", 7), ("sku_c", 7)]).await, 1, "some exist, some do not");
        assert_eq!(
            (house.stock("sku_a").await, house.stock("sku_b").await, house.stock("sku_c").await),
            ((10, 0), (0, 0), (7, 0))
        );
        assert_eq!(house.ledger("sku_a").await, [("received".to_owned(), 10)]);
        house.assert_books_balance().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_that_overlap_make_every_row_once() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        let house = std::sync::Arc::new(house);
        let mut deliveries = tokio::task::JoinSet::new();
        for i in 0..20 {
            let house = house.clone();
            deliveries.spawn(async move {
                let names: Vec<String> = (i..i + 10).map(|n| format!("sku_{n:02}")).collect();
                let skus: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 5)).collect();
                house.receive(&skus).await
            });
        }
        let mut created = 0;
        while let Some(made) = deliveries.join_next().await {
            created += made.unwrap();
        }
        assert_eq!(created, 29, "{engine:?}");
        house.assert_books_balance().await;
    }
}

#[tokio::test]
async fn an_adjustment_counts_once_and_never_goes_below_what_is_promised() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        house.receive(&[("sku_a", 10)]).await;
        house.reserve("ord_1", &[("sku_a", 4)]).await.unwrap();
        let stock = house.adjust("sku_a", -6, "key_1").await.unwrap();
        assert_eq!((stock.on_hand, stock.reserved, stock.available), (4, 4, 0), "{engine:?}");
        assert_eq!(stock.locations, [LocationStock { location: "main".into(), on_hand: 4, reserved: 4 }]);
        assert_eq!(house.adjust("sku_a", -6, "key_1").await.unwrap().on_hand, 4, "the same key changes nothing more");
        assert_eq!(house.adjust("sku_a", -5, "key_1").await.unwrap_err().code, "idempotency_conflict");
        let error = house.adjust("sku_a", -1, "key_2").await.unwrap_err();
        assert_eq!((error.kind, error.code.as_ref()), (Kind::Refused, "below_reserved"));
        assert_eq!(house.adjust("sku_a", 3, "key_2").await.unwrap().on_hand, 7, "a refused key is free");
        assert_eq!(house.adjust("sku_a", 1, "").await.unwrap().on_hand, 8);
        assert_eq!(house.adjust("sku_a", 1, "").await.unwrap().on_hand, 9, "without a key every call counts");
        assert_eq!(house.adjust("sku_x", 1, "").await.unwrap_err().code, "sku_unknown");
        assert_eq!(house.adjust("sku_a", 0, "").await.unwrap_err().code, "delta_out_of_range");
        house.assert_books_balance().await;
    }
}

#[tokio::test]
async fn returned_units_are_on_hand_again_but_no_more_than_were_sold() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        house.receive(&[("sku_a", 10), ("sku_b", 10)]).await;
        house.reserve("ord_1", &[("sku_a", 4)]).await.unwrap();
        assert_eq!(
            house.give_back("ord_1", "ref_1", &[("sku_a", 1)]).await.unwrap_err().code,
            "reservation_unknown",
            "not sold yet"
        );
        house.confirm("ord_1").await.unwrap();
        assert!(house.give_back("ord_1", "ref_1", &[("sku_a", 3)]).await.unwrap(), "{engine:?}");
        assert!(!house.give_back("ord_1", "ref_1", &[("sku_a", 3)]).await.unwrap(), "the same return again");
        let error = house.give_back("ord_1", "ref_2", &[("sku_a", 2)]).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_ref()), (Kind::Refused, "return_exceeds_sold"));
        assert_eq!(house.give_back("ord_1", "ref_2", &[("sku_b", 1)]).await.unwrap_err().code, "return_exceeds_sold");
        assert_eq!(house.give_back("ord_9", "ref_3", &[("sku_a", 1)]).await.unwrap_err().code, "reservation_unknown");
        assert!(house.give_back("ord_1", "ref_2", &[("sku_a", 1)]).await.unwrap(), "a refused return is free");
        assert!(house.give_back("", "ref_4", &[("sku_b", 2)]).await.unwrap(), "units no known order sold");
        assert_eq!(house.give_back("", "ref_5", &[("sku_x", 2)]).await.unwrap_err().code, "sku_unknown");
        assert_eq!((house.stock("sku_a").await, house.stock("sku_b").await), ((10, 0), (12, 0)));
        house.assert_books_balance().await;
    }
}

#[tokio::test]
async fn the_ledger_pages_newest_first_and_scans_oldest_first() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        house.receive(&[("sku_a", 10), ("sku_b", 10)]).await;
        for _ in 0..5 {
            house.adjust("sku_a", 1, "").await.unwrap();
        }
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let request = ListLedgerRequest { sku_id: "sku_a".into(), limit: 4, cursor };
            let page = as_admin("usr_1", house.client.clone().list_ledger(request)).await.unwrap().into_inner();
            seen.extend(page.entries.into_iter().map(|entry| entry.seq));
            cursor = page.next_cursor;
            if cursor.is_empty() {
                break;
            }
        }
        assert_eq!(seen.len(), 6, "{engine:?}");
        assert!(seen.windows(2).all(|pair| pair[0] > pair[1]));
        let entries = async |after_seq, limit| {
            let request = ScanLedgerRequest { after_seq, limit };
            as_system(house.client.clone().scan_ledger(request)).await.unwrap().into_inner().entries
        };
        let scan = entries(0, 0).await;
        assert_eq!(scan.len(), 7);
        assert!(scan.windows(2).all(|pair| pair[0].seq < pair[1].seq));
        assert_eq!(entries(scan[4].seq, 1).await, scan[5..6]);
        let request = ListLedgerRequest { sku_id: "sku_x".into(), ..ListLedgerRequest::default() };
        let error = mallard_rpc::error(as_system(house.client.clone().list_ledger(request)).await.unwrap_err());
        assert_eq!(error.code, "sku_unknown");
    }
}

#[tokio::test]
async fn reservations_are_scanned_in_order_of_id() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        house.receive(&[("sku_a", 10)]).await;
        for id in ["ord_3", "ord_1", "ord_2"] {
            house.reserve(id, &[("sku_a", 1)]).await.unwrap();
        }
        let scan = |after_id: &str, limit| {
            let request = ScanReservationsRequest { after_id: after_id.into(), limit };
            let mut client = house.client.clone();
            async move { as_system(client.scan_reservations(request)).await.unwrap().into_inner().reservations }
        };
        let ids: Vec<String> = scan("", 2).await.into_iter().map(|r| r.id).collect();
        assert_eq!(ids, ["ord_1", "ord_2"], "{engine:?}");
        let rest = scan("ord_2", 2).await;
        assert_eq!((rest.len(), rest[0].id.as_str(), rest[0].lines.clone()), (1, "ord_3", lines(&[("sku_a", 1)])));
    }
}

#[tokio::test]
async fn shoppers_do_not_see_stock() {
    let house = house(Engine::Memory).await.unwrap();
    house.receive(&[("sku_a", 10)]).await;
    let request = || GetStockRequest { sku_id: "sku_a".into() };
    let error = mallard_rpc::error(as_user("usr_1", house.client.clone().get_stock(request())).await.unwrap_err());
    assert_eq!((error.kind, error.code.as_ref()), (Kind::Forbidden, "seller_required"));
    let stock =
        as_admin("usr_2", house.client.clone().get_stock(request())).await.unwrap().into_inner().inventory.unwrap();
    assert_eq!(stock.available, 10);
}

/// Sells one unit of two orders, then releases a third order twice, with a planted bug switched on.
async fn broken_with(switch: &str) -> Vec<String> {
    let planted = switch.to_owned();
    let specs = vec![mallard_inventory::service()];
    let house = house_with(Engine::Memory, specs, |settings| {
        settings.switches.insert(planted);
    });
    let house = house.await.unwrap();
    house.receive(&[("sku_a", 10)]).await;
    for id in ["ord_1", "ord_2", "ord_3"] {
        house.reserve(id, &[("sku_a", 1)]).await.unwrap();
    }
    house.confirm("ord_1").await.unwrap();
    house.release("ord_2").await.unwrap();
    house.release("ord_2").await.unwrap();
    house.broken().await
}

#[tokio::test]
async fn the_checks_notice_every_planted_bug() {
    assert_eq!(broken_with("none").await, Vec::<String>::new());
    assert_eq!(broken_with(mallard_inventory::SWITCH_SKIP_LEDGER).await, ["stock.conservation"]);
    assert_eq!(broken_with(mallard_inventory::SWITCH_RELEASE_TWICE).await, ["stock.reserved_is_open_reservations"]);
}

#[tokio::test]
async fn the_checks_name_rows_somebody_changed_behind_the_services_back() {
    for (sql, check) in [
        ("UPDATE stock SET on_hand = on_hand + 1", "stock.conservation"),
        ("UPDATE stock_ledger SET kind = 'adjusted' WHERE kind = 'sold'", "stock.conservation"),
        ("DELETE FROM reservations WHERE id = 'ord_2'", "stock.reserved_is_open_reservations"),
        ("DELETE FROM reservations WHERE id = 'ord_1'", "stock.confirmed_once"),
        ("UPDATE stock SET low_since = 1", "stock.alerts_match_stock"),
        ("INSERT INTO reservations VALUES ('ord_9', 'held', x'', 1, 1, 1)", "stock.no_expired_holds"),
    ] {
        let specs = vec![mallard_inventory::service()];
        // Expiry must not repair what the check is to find.
        let house = house_with(Engine::Memory, specs, |settings| {
            settings.config = common::config().set("inventory.expiry_interval_ms", 3_600_000);
        });
        let house = house.await.unwrap();
        house.receive(&[("sku_a", 10)]).await;
        for id in ["ord_1", "ord_2"] {
            house.reserve(id, &[("sku_a", 1)]).await.unwrap();
        }
        house.confirm("ord_1").await.unwrap();
        house.assert_books_balance().await;
        let db = house.mall.context("inventory").unwrap().db();
        db.tx("test.tamper", move |tx| async move { tx.execute(sql, Vec::new()).await }).await.unwrap();
        assert_eq!(house.broken().await, [check], "{sql}");
    }
}

#[tokio::test]
async fn the_database_itself_refuses_to_promise_what_is_not_there() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        house.receive(&[("sku_a", 10)]).await;
        let db = house.mall.context("inventory").unwrap().db();
        for sql in ["UPDATE stock SET reserved = 11", "UPDATE stock SET reserved = -1"] {
            let refused = db.tx("test.tamper", move |tx| async move { tx.execute(sql, Vec::new()).await }).await;
            assert!(matches!(refused, Err(mallard_db::Error::Constraint(_))), "{engine:?} {sql}: {refused:?}");
        }
    }
}
