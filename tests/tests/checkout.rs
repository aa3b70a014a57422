//! Scenarios 30 to 47: checkout, order, stock, payment.

use std::time::Duration;

use futures_util::future::join_all;
use mallard_testkit::eventually;
use mallard_tests::*;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_becomes_a_paid_order_and_the_cart_is_empty() {
    let shop = Shop::start().await;
    let (_, notebook) = shop.product("Notebook", 990, 10).await;
    let (_, shirt) = shop.product("T-Shirt", 660, 10).await;
    let ada = shop.shopper().await;
    ada.add(&notebook, 2).await.expect(200);
    ada.add(&shirt, 1).await.expect(200);
    let quote = ada.http.post("/store/v1/checkout/quote", json!({})).await.expect(200).body["quote"].clone();
    assert_eq!(quote["total"], json!({ "amount": 2640, "currency": "CNY" }));
    let placed = ada.place("k", 2640, card(GOOD_CARD)).await.expect(201).body;
    let order = &placed["order"];
    assert_eq!((&order["status"], &order["payment_status"]), (&json!("paid"), &json!("captured")));
    assert_eq!(placed["payment"]["card"], json!({ "brand": "visa", "last4": "4242" }));
    assert_eq!(order["lines"].as_array().unwrap().len(), 2);
    assert_eq!(order["lines"][0]["title"], "Notebook");
    assert_eq!(order["lines"][0]["unit_price"]["amount"], 990);
    assert_eq!(ada.cart().await["lines"], json!([]));
    shop.stock_is(&notebook, 8, 0).await;
    let id = order["id"].as_str().unwrap();
    let events = ada.http.get(&format!("/store/v1/orders/{id}/events")).await.expect(200).body["events"].clone();
    let types: Vec<_> = events.as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(types, ["placed", "paid"]);
    let mine = ada.http.get("/store/v1/orders").await.expect(200).body;
    assert_eq!(mine["orders"][0]["id"], id);
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_address_survives_the_round_trip() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 1).await;
    let ada = shop.shopper().await;
    let order = ada.buy(&sku, 1, 100).await;
    assert_eq!(order["address"], address());
    let id = order["id"].as_str().unwrap();
    assert_eq!(ada.http.get(&format!("/store/v1/orders/{id}")).await.body["order"]["address"], address());
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_sent_fifty_times_in_parallel_makes_one_order_and_equal_answers() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 100).await;
    let ada = shop.shopper().await;
    ada.add(&sku, 1).await.expect(200);
    let tries = (0..50).map(|_| async {
        loop {
            let answer = ada.place("same", 100, card(GOOD_CARD)).await;
            if answer.status != 409 || answer.code() != "idempotency_in_flight" {
                return answer;
            }
            assert!(!answer.header("retry-after").is_empty());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let answers = join_all(tries).await;
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (201, &answers[0].body));
    }
    assert!(answers.iter().filter(|a| a.header("idempotent-replayed") == "true").count() >= 49);
    let orders = ada.http.get("/store/v1/orders?count=true").await.body;
    assert_eq!(orders["count"], 1);
    let id = answers[0].body["order"]["id"].as_str().unwrap().to_owned();
    let payments = shop.admin.get(&format!("/admin/v1/payments?order_id={id}")).await.expect(200).body;
    assert_eq!(payments["payments"].as_array().unwrap().len(), 1);
    shop.stock_is(&sku, 99, 0).await;
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_with_another_body_is_refused() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 100).await;
    let ada = shop.shopper().await;
    ada.add(&sku, 1).await.expect(200);
    ada.place("same", 100, card(GOOD_CARD)).await.expect(201);
    let other = ada.place("same", 200, card(GOOD_CARD)).await.expect(422);
    assert_eq!(other.code(), "idempotency_conflict");
    let without = ada.http.post("/store/v1/orders", order(100, card(GOOD_CARD))).await.expect(400);
    assert_eq!(without.code(), "idempotency_key_required");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clicks_with_two_keys_on_one_cart_make_one_order() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 100).await;
    let ada = shop.shopper().await;
    ada.add(&sku, 1).await.expect(200);
    let answers = join_all((0..8).map(|i| {
        let ada = ada.clone();
        async move { ada.place(&format!("click{i}"), 100, card(GOOD_CARD)).await }
    }))
    .await;
    assert_eq!(answers.iter().filter(|a| a.status == 201).count(), 1, "{answers:?}");
    shop.stock_is(&sku, 99, 0).await;
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_card_leaves_the_cart_and_frees_the_stock() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 5).await;
    let ada = shop.shopper().await;
    ada.add(&sku, 2).await.expect(200);
    let declined = ada.place("first", 200, card(DECLINED_CARD)).await.expect(402);
    assert_eq!((declined.code(), &declined.body["error"]["type"]), ("card_declined", &json!("payment_failed")));
    assert_eq!(ada.cart().await["lines"][0]["quantity"], 2);
    shop.stock_is(&sku, 5, 0).await;
    let replay = ada.place("first", 200, card(DECLINED_CARD)).await.expect(402);
    assert_eq!(replay.header("idempotent-replayed"), "true");
    ada.place("second", 200, card(GOOD_CARD)).await.expect(201);
    shop.stock_is(&sku, 3, 0).await;
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_moved_before_a_timeout_is_found_and_charged_once() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 5).await;
    let ada = shop.shopper().await;
    ada.add(&sku, 1).await.expect(200);
    let placed = ada.place("k", 100, card(TIMEOUT_CARD)).await.expect(201).body;
    let id = placed["order"]["id"].as_str().unwrap();
    let order = shop.order_is(id, "paid").await;
    assert_eq!(order["payment_status"], "captured");
    let entries = shop.admin.get(&format!("/admin/v1/ledger/entries?order_id={id}")).await.expect(200).body;
    let debits: i64 = entries["entries"].as_array().unwrap().iter().map(|e| e["debit"].as_i64().unwrap()).sum();
    assert_eq!(debits, 100);
    shop.stock_is(&sku, 4, 0).await;
    eventually("the cart is empty", async || ada.cart().await["lines"] == json!([])).await;
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_price_is_refused_with_the_new_quote_and_nothing_is_made() {
    let shop = Shop::start().await;
    let (product, sku) = shop.product("Mug", 100, 5).await;
    let ada = shop.shopper().await;
    ada.add(&sku, 1).await.expect(200);
    let change = json!({ "variants": [{ "id": sku, "title": "Mug", "price": { "amount": 150, "currency": "CNY" } }] });
    shop.admin.patch(&format!("/admin/v1/products/{product}"), change).await.expect(200);
    eventually("the cart shows the new price", async || ada.cart().await["lines"][0]["state"] == "price_changed").await;
    let refused = ada.place("k", 100, card(GOOD_CARD)).await.expect(409);
    assert_eq!(refused.code(), "price_changed");
    assert_eq!(refused.body["error"]["details"]["quote"]["total"]["amount"], 150);
    assert_eq!(ada.http.get("/store/v1/orders").await.body["orders"], json!([]));
    shop.stock_is(&sku, 5, 0).await;
    ada.place("k2", 150, card(GOOD_CARD)).await.expect(201);
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_units_are_sold_to_five_hundred_shoppers_exactly() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Console", 100, 100).await;
    let mut shoppers = Vec::new();
    for _ in 0..20 {
        shoppers.push(shop.shopper().await);
    }
    let tries = (0..500).map(|i| {
        let (shopper, sku) = (shoppers[i % shoppers.len()].clone(), sku.clone());
        async move {
            let mut body = order(100, card(GOOD_CARD));
            body["lines"] = json!([{ "sku_id": sku, "quantity": 1 }]);
            let mut given_back = false;
            for n in 0..300 {
                // A machine that is slow lets some of them come back with the same key.
                let http = shopper.http.key(&format!("try{i}-{n}"));
                let answer = patiently("a try", async || http.post("/store/v1/orders", body.clone()).await).await;
                // One so slow that a payment is taken back lets its shopper try anew, as soon as the unit is free again.
                match answer.code() {
                    "payment_failed" => given_back = true,
                    "out_of_stock" if given_back => {}
                    _ => return answer,
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            shopper.http.key(&format!("try{i}")).post("/store/v1/orders", body).await
        }
    });
    let answers = join_all(tries).await;
    let sold = answers.iter().filter(|a| a.status == 201).count();
    let sold_out = answers.iter().filter(|a| a.status == 409 && a.code() == "out_of_stock").count();
    assert_eq!(
        (sold, sold_out),
        (100, 400),
        "{:?}",
        answers.iter().find(|a| a.status != 201 && a.code() != "out_of_stock")
    );
    shop.stock_is(&sku, 0, 0).await;
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_with_one_line_too_many_reserves_nothing() {
    let shop = Shop::start().await;
    let (_, plenty) = shop.product("Mug", 100, 50).await;
    let (_, scarce) = shop.product("Vase", 100, 1).await;
    let ada = shop.shopper().await;
    let mut body = order(500, card(GOOD_CARD));
    body["lines"] = json!([{ "sku_id": plenty, "quantity": 3 }, { "sku_id": scarce, "quantity": 2 }]);
    let refused = ada.http.key("k").post("/store/v1/orders", body).await.expect(409);
    assert_eq!(refused.code(), "out_of_stock");
    shop.stock_is(&plenty, 50, 0).await;
    shop.stock_is(&scarce, 1, 0).await;
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpaid_order_cancels_itself_and_gives_everything_back_once() {
    let shop = Shop::start_with(|mut settings| {
        settings.config = settings.config.set("order.payment_timeout_s", 1);
        settings
    })
    .await;
    let (_, sku) = shop.product("Mug", 100, 5).await;
    let ada = shop.shopper().await;
    ada.add(&sku, 2).await.expect(200);
    let mut id = String::new();
    for n in 0..20 {
        let begun = tokio::time::Instant::now();
        let placed = ada.place(&format!("k{n}"), 200, later()).await.expect(201).body;
        id = placed["order"]["id"].as_str().unwrap().to_owned();
        let stock = shop.stock(&sku).await;
        // Only before its deadline must it wait; a machine that slept through it tries again.
        if begun.elapsed() < Duration::from_secs(1) {
            assert_eq!(placed["order"]["status"], "pending_payment");
            assert_eq!(stock, (5, 2));
            break;
        }
        assert!(n < 19, "no order could be looked at within a second");
        shop.order_is(&id, "cancelled").await;
    }
    let order = shop.order_is(&id, "cancelled").await;
    assert_eq!(order["cancel_reason"], "payment_timeout");
    shop.stock_is(&sku, 5, 0).await;
    let late = ada
        .http
        .key("p")
        .post(&format!("/store/v1/orders/{id}/pay"), json!({ "payment": card(GOOD_CARD) }))
        .await
        .expect(409);
    assert_eq!(late.code(), "illegal_transition");
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_waits_is_paid_once_and_a_declined_card_leaves_it_waiting() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 5).await;
    let ada = shop.shopper().await;
    ada.add(&sku, 1).await.expect(200);
    let id = ada.place("k", 100, later()).await.expect(201).body["order"]["id"].as_str().unwrap().to_owned();
    let pay = format!("/store/v1/orders/{id}/pay");
    let declined = ada.http.key("p1").post(&pay, json!({ "payment": card(DECLINED_CARD) })).await.expect(402);
    assert_eq!(declined.code(), "card_declined");
    assert_eq!(shop.order(&id).await["status"], "pending_payment");
    let paid = ada.http.key("p2").post(&pay, json!({ "payment": card(GOOD_CARD) })).await.expect(200).body;
    assert_eq!(paid["order"]["status"], "paid");
    let again = ada.http.key("p3").post(&pay, json!({ "payment": card(GOOD_CARD) })).await.expect(409);
    assert_eq!(again.code(), "illegal_transition");
    shop.stock_is(&sku, 4, 0).await;
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpaid_order_is_cancelled_by_its_owner_and_a_paid_one_is_refunded_instead() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 5).await;
    let ada = shop.shopper().await;
    ada.add(&sku, 1).await.expect(200);
    let waiting = ada.place("k", 100, later()).await.expect(201).body["order"]["id"].as_str().unwrap().to_owned();
    ada.http
        .post(&format!("/store/v1/orders/{waiting}/cancel"), json!({ "reason": "changed my mind" }))
        .await
        .expect(200);
    shop.stock_is(&sku, 5, 0).await;
    let again = ada.http.post(&format!("/store/v1/orders/{waiting}/cancel"), json!({})).await.expect(409);
    assert_eq!(again.code(), "illegal_transition");

    let paid = ada.place("k2", 100, card(GOOD_CARD)).await.expect(201).body["order"]["id"].as_str().unwrap().to_owned();
    let refused = ada.http.post(&format!("/store/v1/orders/{paid}/cancel"), json!({})).await.expect(409);
    assert_eq!(refused.code(), "illegal_transition");
    assert_eq!(shop.order(&paid).await["status"], "paid");
    shop.admin.post(&format!("/admin/v1/orders/{paid}/deliver"), json!({})).await.expect(409);
    let refund = shop
        .admin
        .key("r")
        .post(&format!("/admin/v1/orders/{paid}/refund"), json!({ "reason": "broken" }))
        .await
        .expect(200)
        .body;
    assert_eq!((&refund["order"]["status"], &refund["refund"]["status"]), (&json!("refunded"), &json!("succeeded")));
    let repeat = shop
        .admin
        .key("r")
        .post(&format!("/admin/v1/orders/{paid}/refund"), json!({ "reason": "broken" }))
        .await
        .expect(200);
    assert_eq!(repeat.header("idempotent-replayed"), "true");
    shop.stock_is(&sku, 5, 0).await;
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_at_the_payment_reaches_the_order_and_never_exceeds_what_was_captured() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 1000, 5).await;
    let ada = shop.shopper().await;
    let order = ada.buy(&sku, 1, 1000).await;
    let id = order["id"].as_str().unwrap();
    let payment = order["payment_id"].as_str().unwrap();
    let path = format!("/admin/v1/payments/{payment}/refund");
    let part = json!({ "amount": { "amount": 400, "currency": "CNY" }, "reason": "scratched" });
    let answers = join_all((0..4).map(|i| {
        let (http, path, part) = (shop.admin.key(&format!("r{i}")), path.clone(), part.clone());
        async move { http.post(&path, part).await }
    }))
    .await;
    assert_eq!(answers.iter().filter(|a| a.status == 200).count(), 2, "{answers:?}");
    assert!(answers.iter().filter(|a| a.status != 200).all(|a| a.code() == "refund_exceeds_captured"));
    eventually("the order knows", async || shop.order(id).await["refunded"]["amount"] == 800).await;
    assert_eq!(shop.order(id).await["payment_status"], "partially_refunded");
    shop.admin.key("rest").post(&path, json!({ "reason": "the rest" })).await.expect(200);
    shop.order_is(id, "refunded").await;
    shop.stock_is(&sku, 5, 0).await;
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_changes_until_the_order_ships() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 5).await;
    let ada = shop.shopper().await;
    let id = ada.buy(&sku, 1, 100).await["id"].as_str().unwrap().to_owned();
    let mut elsewhere = address();
    elsewhere["street"] = json!("2 Difference Lane");
    let changed =
        ada.http.patch(&format!("/store/v1/orders/{id}"), json!({ "address": elsewhere })).await.expect(200).body;
    assert_eq!(changed["order"]["address"]["street"], "2 Difference Lane");
    let stale = ada
        .http
        .with("if-match", "\"1\"")
        .patch(&format!("/store/v1/orders/{id}"), json!({ "address": elsewhere }))
        .await
        .expect(412);
    assert_eq!(stale.code(), "version_mismatch");
    shop.admin
        .post(&format!("/admin/v1/orders/{id}/ship"), json!({ "carrier": "post", "tracking_number": "1" }))
        .await
        .expect(200);
    let refused = ada.http.patch(&format!("/store/v1/orders/{id}"), json!({ "address": address() })).await.expect(409);
    assert_eq!(refused.code(), "illegal_transition");
    shop.admin.post(&format!("/admin/v1/orders/{id}/deliver"), json!({})).await.expect(200);
    assert_eq!(shop.order(&id).await["status"], "delivered");
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_or_moves_somebody_elses_order() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 5).await;
    let (ada, eve) = (shop.shopper().await, shop.shopper().await);
    let order = ada.buy(&sku, 1, 100).await;
    let (id, payment) = (order["id"].as_str().unwrap(), order["payment_id"].as_str().unwrap());
    eve.http.get(&format!("/store/v1/orders/{id}")).await.expect(404);
    eve.http.get(&format!("/store/v1/orders/{id}/events")).await.expect(404);
    eve.http.post(&format!("/store/v1/orders/{id}/cancel"), json!({})).await.expect(404);
    eve.http.patch(&format!("/store/v1/orders/{id}"), json!({ "address": address() })).await.expect(404);
    eve.http
        .key("p")
        .post(&format!("/store/v1/orders/{id}/pay"), json!({ "payment": card(GOOD_CARD) }))
        .await
        .expect(404);
    eve.http.get(&format!("/store/v1/payments/{payment}")).await.expect(404);
    eve.http.post(&format!("/store/v1/payments/{payment}/cancel"), json!({})).await.expect(404);
    ada.http.get(&format!("/store/v1/payments/{payment}")).await.expect(200);
    eve.http.get(&format!("/admin/v1/orders/{id}")).await.expect(403);
    shop.http.get(&format!("/store/v1/orders/{id}")).await.expect(401);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_cards_are_refused_before_anything_is_made() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 5).await;
    let ada = shop.shopper().await;
    ada.add(&sku, 1).await.expect(200);
    let letters = ada.place("a", 100, card("aaaaaaaaaaaaaaaa")).await.expect(400);
    assert_eq!(letters.body["error"]["param"], "payment.number");
    let mut expired = card(GOOD_CARD);
    expired["exp_year"] = json!(2020);
    assert_eq!(ada.place("b", 100, expired).await.expect(400).code(), "card_expired");
    let mut short = card(GOOD_CARD);
    short["cvc"] = json!("12");
    assert_eq!(ada.place("c", 100, short).await.expect(400).body["error"]["param"], "payment.cvc");
    assert_eq!(ada.http.get("/store/v1/orders").await.body["orders"], json!([]));
    shop.stock_is(&sku, 5, 0).await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn goods_are_named_in_the_language_of_their_buyer() {
    let shop = Shop::start().await;
    let (product, sku) = shop.product("Tea tin", 100, 10).await;
    let change = json!({ "translations": { "zh": { "title": "茶罐", "description": "" } } });
    shop.admin.patch(&format!("/admin/v1/products/{product}"), change).await.expect(200);
    let ada = shop.shopper().await;
    for (i, (language, title)) in [("zh-CN,zh;q=0.9", "茶罐"), ("en", "Tea tin")].into_iter().enumerate() {
        let ada = Shopper { http: ada.http.with("accept-language", language), ..ada.clone() };
        ada.add(&sku, 1).await.expect(200);
        assert_eq!(ada.cart().await["lines"][0]["title"], title);
        let quote = ada.http.post("/store/v1/checkout/quote", json!({})).await.expect(200).body["quote"].clone();
        assert_eq!(quote["lines"][0]["title"], title);
        let order = ada.place(&format!("k{i}"), 100, card(GOOD_CARD)).await.expect(201).body["order"].clone();
        assert_eq!(order["lines"][0]["title"], title);
        // It is what was bought, whoever reads it in whatever language.
        let id = order["id"].as_str().unwrap();
        assert_eq!(shop.order(id).await["lines"][0]["title"], title);
    }
    shop.stop().await;
}
