//! Many at once: exact stock, no partial order, no deadlock, one winner of every race.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{Engine, House, NEVER, house};
use mallard_proto::inventory::v1::ReservationState::{Confirmed, Held, Released};
use tokio::task::JoinSet;

const ENGINES: [Engine; 2] = [Engine::Sqlite, Engine::Postgres];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_buyers_of_a_hundred_units_get_exactly_a_hundred() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        let house = Arc::new(house);
        house.receive(&[("sku_hot", 100)]).await;
        let mut buyers = JoinSet::new();
        for i in 0..500 {
            let house = house.clone();
            buyers.spawn(async move {
                let id = format!("ord_{i}");
                let told = house.reserve(&id, &[("sku_hot", 1)]).await;
                if told == Ok(Held) { house.confirm(&id).await } else { told }
            });
        }
        let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
        while let Some(outcome) = buyers.join_next().await {
            *outcomes.entry(format!("{:?}", outcome.unwrap())).or_default() += 1;
        }
        let expected = [("Err(\"out_of_stock\")".to_owned(), 400), ("Ok(Confirmed)".to_owned(), 100)];
        assert_eq!(outcomes, expected.into(), "{engine:?}");
        assert_eq!(house.stock("sku_hot").await, (0, 0));
        house.assert_books_balance().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mixed_orders_never_deadlock_and_never_take_a_part() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        let house = Arc::new(house);
        let skus = ["sku_a", "sku_b", "sku_c", "sku_d"];
        house.receive(&skus.map(|sku| (sku, 60))).await;
        let mut buyers = JoinSet::new();
        for i in 0..240usize {
            let house = house.clone();
            buyers.spawn(async move {
                let id = format!("ord_{i}");
                // Every order names its SKUs in another order and number.
                let mut wanted: Vec<(&str, i64)> = skus.iter().map(|sku| (*sku, 1 + (i % 3) as i64)).collect();
                wanted.rotate_left(i % 4);
                wanted.truncate(2 + i % 3);
                if i % 2 == 0 {
                    wanted.reverse();
                }
                let told = house.reserve(&id, &wanted).await;
                if told != Ok(Held) {
                    assert_eq!(told, Err("out_of_stock".to_owned()));
                    return Vec::new();
                }
                if i % 5 == 0 {
                    assert_eq!(house.release(&id).await, Ok(Released));
                    return Vec::new();
                }
                assert_eq!(house.confirm(&id).await, Ok(Confirmed));
                wanted
            });
        }
        let mut sold: BTreeMap<&str, i64> = BTreeMap::new();
        while let Some(outcome) = buyers.join_next().await {
            for (sku, quantity) in outcome.unwrap() {
                *sold.entry(sku).or_default() += quantity;
            }
        }
        for sku in skus {
            assert_eq!(house.stock(sku).await, (60 - sold[sku], 0), "{engine:?} {sku}");
        }
        house.assert_books_balance().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_sends_of_one_order_hold_it_once() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        let house = Arc::new(house);
        house.receive(&[("sku_a", 100)]).await;
        let mut sends = JoinSet::new();
        for _ in 0..50 {
            let house = house.clone();
            sends.spawn(async move { house.reserve("ord_1", &[("sku_a", 2)]).await });
        }
        while let Some(told) = sends.join_next().await {
            assert_eq!(told.unwrap(), Ok(Held), "{engine:?}");
        }
        assert_eq!(house.stock("sku_a").await, (100, 2));
        house.assert_books_balance().await;
    }
}

/// Confirms an order; says whether it was sold.
async fn pays(house: &House, id: &str) -> bool {
    match house.confirm(id).await {
        Ok(Confirmed) => true,
        Err(code) if code == "reservation_released" => false,
        other => panic!("{id}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_payment_and_expiry_exactly_one_wins() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        let house = Arc::new(house);
        house.receive(&[("sku_a", 1_000), ("sku_b", 1_000)]).await;
        let clock = house.mall.context("inventory").unwrap().clock();
        let mut races = JoinSet::new();
        for i in 0..200u64 {
            let (house, clock) = (house.clone(), clock.clone());
            races.spawn(async move {
                let id = format!("ord_{i}");
                let expires_at = clock.now() + 20_000;
                house.try_reserve(&id, &[("sku_a", 1), ("sku_b", 2)], expires_at).await.unwrap();
                // Around the moment at which the round of expiry comes by.
                tokio::time::sleep(std::time::Duration::from_millis(15 + i % 20)).await;
                (id.clone(), pays(&house, &id).await)
            });
        }
        let mut sold = 0;
        while let Some(outcome) = races.join_next().await {
            let (id, paid) = outcome.unwrap();
            sold += i64::from(paid);
            let expected = if paid { Confirmed } else { Released };
            assert_eq!(house.state(&id).await, Some(expected), "{engine:?} {id}");
        }
        assert_eq!(house.stock("sku_a").await, (1_000 - sold, 0), "{engine:?}");
        assert_eq!(house.stock("sku_b").await, (1_000 - 2 * sold, 0));
        house.assert_books_balance().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_confirm_and_release_exactly_one_wins() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        let house = Arc::new(house);
        house.receive(&[("sku_a", 1_000)]).await;
        for i in 0..50 {
            let id = format!("ord_{i}");
            house.try_reserve(&id, &[("sku_a", 1)], NEVER).await.unwrap();
            let (confirmed, released) = tokio::join!(
                tokio::spawn({
                    let (house, id) = (house.clone(), id.clone());
                    async move { house.confirm(&id).await }
                }),
                tokio::spawn({
                    let (house, id) = (house.clone(), id.clone());
                    async move { house.release(&id).await }
                }),
            );
            match (confirmed.unwrap(), released.unwrap()) {
                (Ok(Confirmed), Err(code)) => assert_eq!(code, "reservation_confirmed"),
                (Err(code), Ok(Released)) => assert_eq!(code, "reservation_released"),
                both => panic!("{engine:?} {id}: {both:?}"),
            }
        }
        house.assert_books_balance().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_racing_its_own_try_leaves_nothing_held() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        let house = Arc::new(house);
        house.receive(&[("sku_a", 1_000)]).await;
        let mut races = JoinSet::new();
        for i in 0..100 {
            let house = house.clone();
            races.spawn(async move {
                let id = format!("ord_{i}");
                let (tried, cancelled) = tokio::join!(house.reserve(&id, &[("sku_a", 1)]), house.release(&id));
                assert_eq!(cancelled, Ok(Released));
                assert!(tried == Ok(Held) || tried == Err("reservation_released".to_owned()), "{tried:?}");
            });
        }
        while let Some(outcome) = races.join_next().await {
            outcome.unwrap();
        }
        assert_eq!(house.stock("sku_a").await, (1_000, 0), "{engine:?}");
        house.assert_books_balance().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_sends_of_one_return_bring_the_units_back_once() {
    for engine in ENGINES {
        let Some(house) = house(engine).await else { continue };
        let house = Arc::new(house);
        house.receive(&[("sku_a", 10)]).await;
        house.reserve("ord_1", &[("sku_a", 4)]).await.unwrap();
        house.confirm("ord_1").await.unwrap();
        let mut sends = JoinSet::new();
        for i in 0..20 {
            let house = house.clone();
            // Half of them are one return, the others want more than was sold together.
            let return_id = if i % 2 == 0 { "ref_1".to_owned() } else { format!("ref_{}", i + 1) };
            sends.spawn(async move { house.give_back("ord_1", &return_id, &[("sku_a", 2)]).await });
        }
        let mut applied = 0;
        while let Some(outcome) = sends.join_next().await {
            match outcome.unwrap() {
                Ok(done) => applied += i64::from(done),
                Err(error) => assert_eq!(error.code, "return_exceeds_sold"),
            }
        }
        assert_eq!(applied, 2, "{engine:?}: two returns of two fit into four sold");
        assert_eq!(house.stock("sku_a").await, (10, 0));
        house.assert_books_balance().await;
    }
}
