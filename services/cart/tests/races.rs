//! Many at once: no add is lost, no merge and no order counts twice. In memory, on files and on PostgreSQL.

mod common;

use common::neighbours::sell;
use common::{add, checks, get, lines, mall_in, merge, places, remove_ordered, version};
use futures_util::future::join_all;
use mallard_testkit::{as_guest, as_system, as_user};

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_parallel_adds_of_one_product_are_one_line_of_a_hundred() {
    for place in places().await {
        let (mall, client) = mall_in(&place).await;
        sell("sku_par", 990, 1_000);
        let guest = as_guest(add(&client, "sku_par", 1, "")).await.unwrap().cart_token;
        let by_user = join_all((0..100).map(|_| {
            let client = client.clone();
            async move {
                tokio::spawn(as_user("usr_par", async move { add(&client, "sku_par", 1, "").await }))
                    .await
                    .unwrap()
                    .unwrap()
            }
        }));
        let by_guest = join_all((0..99).map(|_| {
            let (client, guest) = (client.clone(), guest.clone());
            async move {
                tokio::spawn(as_guest(async move { add(&client, "sku_par", 1, &guest).await })).await.unwrap().unwrap()
            }
        }));
        tokio::join!(by_user, by_guest);
        let cart = as_user("usr_par", get(&client, "")).await.unwrap();
        assert_eq!((lines(&cart), version(&cart)), (vec![("sku_par".into(), 100)], 100));
        assert_eq!(lines(&as_guest(get(&client, &guest)).await.unwrap()), [("sku_par".into(), 100)]);
        mall.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_cart_is_merged_once_even_by_two_devices_at_once() {
    for place in places().await {
        let (mall, client) = mall_in(&place).await;
        sell("sku_g", 990, 10);
        sell("sku_u", 500, 10);
        let guest = as_guest(add(&client, "sku_g", 4, "")).await.unwrap().cart_token;
        as_guest(add(&client, "sku_u", 2, &guest)).await.unwrap();
        as_user("usr_g", add(&client, "sku_u", 9_998, "")).await.unwrap();
        let merges = join_all((0..20).map(|_| {
            let (client, guest) = (client.clone(), guest.clone());
            async move {
                tokio::spawn(as_user("usr_g", async move { merge(&client, &guest).await })).await.unwrap().unwrap()
            }
        }));
        for merged in merges.await {
            assert_eq!(lines(&merged), [("sku_u".into(), 9_999), ("sku_g".into(), 4)], "capped by the limit of a line");
        }
        assert!(lines(&as_guest(get(&client, &guest)).await.unwrap()).is_empty());
        let fresh = as_guest(add(&client, "sku_g", 1, &guest)).await.unwrap();
        assert!(!fresh.cart_token.is_empty(), "a merged token begins a new cart");
        assert!(checks(&client).await.iter().all(|(_, ok)| *ok));
        mall.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_takes_exactly_its_units_while_more_are_added() {
    for place in places().await {
        let (mall, client) = mall_in(&place).await;
        sell("sku_o", 990, 1_000);
        as_user("usr_o", add(&client, "sku_o", 30, "")).await.unwrap();
        let adds = join_all((0..50).map(|_| {
            let client = client.clone();
            async move {
                tokio::spawn(as_user("usr_o", async move { add(&client, "sku_o", 1, "").await }))
                    .await
                    .unwrap()
                    .unwrap()
            }
        }));
        let removals = join_all((0..20).map(|_| {
            let client = client.clone();
            async move {
                let removed =
                    as_system(async move { remove_ordered(&client, "usr_o", "ord_1", &[("sku_o", 30)]).await });
                tokio::spawn(removed).await.unwrap().unwrap()
            }
        }));
        tokio::join!(adds, removals);
        assert_eq!(lines(&as_user("usr_o", get(&client, "")).await.unwrap()), [("sku_o".into(), 50)]);
        mall.stop().await;
    }
}
