//! Try, confirm, cancel over the API, on every engine.

mod common;

use common::{ENGINES, Engine, House, NEVER, house};
use mallard_proto::inventory::v1::ReservationState::{Confirmed, Held, Released};
use mallard_types::Kind;

fn refused(code: &str) -> common::Told {
    Err(code.to_owned())
}

#[tokio::test]
async fn a_hold_becomes_a_sale_once() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        house.receive(&[("sku_a", 10), ("sku_b", 5)]).await;
        assert_eq!(house.reserve("ord_1", &[("sku_b", 2), ("sku_a", 3)]).await, Ok(Held), "{engine:?}");
        assert_eq!(house.stock("sku_a").await, (10, 3));
        assert_eq!(
            house.reserve("ord_1", &[("sku_b", 2), ("sku_a", 3)]).await,
            Ok(Held),
            "the same id answers as before"
        );
        assert_eq!(house.stock("sku_a").await, (10, 3));
        assert_eq!(house.confirm("ord_1").await, Ok(Confirmed));
        assert_eq!(house.confirm("ord_1").await, Ok(Confirmed));
        assert_eq!(house.reserve("ord_1", &[("sku_a", 3)]).await, Ok(Confirmed));
        assert_eq!(house.release("ord_1").await, refused("reservation_confirmed"));
        assert_eq!((house.stock("sku_a").await, house.stock("sku_b").await), ((7, 0), (3, 0)));
        assert_eq!(house.ledger("sku_a").await, [("sold".to_owned(), -3), ("received".to_owned(), 10)]);
        house.assert_books_balance().await;
    }
}

#[tokio::test]
async fn a_released_hold_gives_its_units_back_once() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        house.receive(&[("sku_a", 10)]).await;
        house.reserve("ord_1", &[("sku_a", 4)]).await.unwrap();
        house.reserve("ord_2", &[("sku_a", 4)]).await.unwrap();
        assert_eq!(house.release("ord_1").await, Ok(Released));
        assert_eq!(house.release("ord_1").await, Ok(Released));
        assert_eq!(house.stock("sku_a").await, (10, 4), "{engine:?}");
        assert_eq!(house.confirm("ord_1").await, refused("reservation_released"));
        assert_eq!(house.reserve("ord_1", &[("sku_a", 1)]).await, refused("reservation_released"));
        assert_eq!(house.confirm("ord_9").await, refused("reservation_unknown"));
        house.assert_books_balance().await;
    }
}

#[tokio::test]
async fn a_cancel_before_the_try_refuses_the_late_try() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        house.receive(&[("sku_a", 10)]).await;
        assert_eq!(house.release("ord_1").await, Ok(Released));
        assert_eq!(house.reserve("ord_1", &[("sku_a", 1)]).await, refused("reservation_released"));
        assert_eq!(house.confirm("ord_1").await, refused("reservation_released"));
        assert_eq!(house.stock("sku_a").await, (10, 0), "{engine:?}");
        house.assert_books_balance().await;
    }
}

#[tokio::test]
async fn one_lacking_line_reserves_nothing_and_is_named() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        house.receive(&[("sku_a", 10), ("sku_b", 1)]).await;
        let error = house.try_reserve("ord_1", &[("sku_b", 1), ("sku_a", 2), ("sku_b", 1)], NEVER).await.unwrap_err();
        assert_eq!(
            (error.kind, error.code.as_ref(), error.param.as_deref()),
            (Kind::Conflict, "out_of_stock", Some("lines[0]"))
        );
        let details = error.details.unwrap();
        assert_eq!((details["sku_id"].as_str(), details["available"].as_i64()), (Some("sku_b"), Some(1)), "{engine:?}");
        assert_eq!((house.stock("sku_a").await, house.stock("sku_b").await), ((10, 0), (1, 0)));
        assert_eq!(house.state("ord_1").await, None);

        let error = house.try_reserve("ord_1", &[("sku_a", 2), ("sku_x", 1)], NEVER).await.unwrap_err();
        assert_eq!(
            (error.kind, error.code.as_ref(), error.param.as_deref()),
            (Kind::NotFound, "sku_unknown", Some("lines[1].sku_id"))
        );
        assert_eq!(house.stock("sku_a").await, (10, 0));

        assert_eq!(house.reserve("ord_1", &[("sku_a", 2)]).await, Ok(Held), "a refused try may be tried again");
        house.assert_books_balance().await;
    }
}

#[tokio::test]
async fn malformed_reservations_are_refused() {
    let house = house(Engine::Memory).await.unwrap();
    house.receive(&[("sku_a", 10)]).await;
    for (skus, code) in [
        (vec![], "lines_required"),
        (vec![("sku_a", 0)], "quantity_out_of_range"),
        (vec![("sku_a", -1)], "quantity_out_of_range"),
        (vec![("sku_a", i64::MAX)], "quantity_out_of_range"),
        (vec![("", 1)], "sku_required"),
    ] {
        assert_eq!(house.reserve("ord_1", &skus).await, refused(code));
    }
    assert_eq!(house.reserve("", &[("sku_a", 1)]).await, refused("bad_text"));
    assert_eq!(house.stock("sku_a").await, (10, 0));
}

#[tokio::test]
async fn an_order_of_more_than_a_thousand_lines_is_held_and_sold() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        let names: Vec<String> = (0..1_114).map(|i| format!("sku_{i:05}")).collect();
        let skus: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 80_995)).collect();
        assert_eq!(house.receive(&skus).await, 1_114);
        assert_eq!(house.reserve("ord_1", &skus).await, Ok(Held), "{engine:?}");
        assert_eq!(house.reserve("ord_2", &[("sku_00500", 1)]).await, refused("out_of_stock"));
        assert_eq!(house.confirm("ord_1").await, Ok(Confirmed));
        assert_eq!(house.stock("sku_01113").await, (0, 0));
        house.assert_books_balance().await;
    }
}

async fn ended(house: &House, id: &str) {
    mallard_testkit::eventually("the hold ends by time", || async { house.state(id).await == Some(Released) }).await;
}

#[tokio::test]
async fn a_hold_ends_by_itself_when_its_time_runs_out() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        house.receive(&[("sku_a", 10)]).await;
        house.try_reserve("ord_1", &[("sku_a", 4)], 1).await.unwrap();
        house.reserve("ord_2", &[("sku_a", 1)]).await.unwrap();
        ended(&house, "ord_1").await;
        assert_eq!(house.stock("sku_a").await, (10, 1), "{engine:?}");
        assert_eq!(house.confirm("ord_1").await, refused("reservation_released"));
        assert_eq!(house.release("ord_1").await, Ok(Released));
        assert_eq!(house.stock("sku_a").await, (10, 1));
        house.assert_books_balance().await;
    }
}

#[tokio::test]
async fn a_replayed_hold_lasts_as_long_as_it_did_then() {
    let house = house(Engine::Memory).await.unwrap();
    house.receive(&[("sku_a", 10)]).await;
    let in_2010 = 1_275_000_000_000_000;
    let call = mallard_rpc::Call { at: Some(in_2010), ..mallard_rpc::Call::system("replay") };
    let minutes_30 = 30 * 60 * 1_000_000;
    let clock = house.mall.context("inventory").unwrap().clock();
    let before = clock.now();
    let held =
        mallard_rpc::scope(call, house.try_reserve("ord_1", &[("sku_a", 1)], in_2010 + minutes_30)).await.unwrap();
    let after = clock.now();
    assert_eq!(held.created_at.unwrap().micros(), in_2010);
    let began = held.expires_at.unwrap().micros() - minutes_30;
    assert!((before..=after).contains(&began), "{before} {began} {after}");
}

#[tokio::test]
async fn what_was_answered_survives_a_restart() {
    use mallard_runtime::{Settings, Storage};
    let house = house(Engine::Sqlite).await.unwrap();
    house.receive(&[("sku_a", 10)]).await;
    house.reserve("ord_1", &[("sku_a", 4)]).await.unwrap();
    house.reserve("ord_2", &[("sku_a", 1)]).await.unwrap();
    let folder = house.folder.as_ref().unwrap().path().to_owned();
    let House { mall, folder: keep, .. } = house;
    mall.stop().await;
    let settings = Settings::new(vec![mallard_inventory::service()], common::config(), Storage::Folder(folder));
    let mall = mallard_testkit::start(settings).await;
    let again = House::of(mall, keep);
    assert_eq!(again.confirm("ord_1").await, Ok(Confirmed), "the lines are read from the row");
    assert_eq!(again.release("ord_2").await, Ok(Released));
    assert_eq!(again.stock("sku_a").await, (6, 0));
    again.assert_books_balance().await;
}
