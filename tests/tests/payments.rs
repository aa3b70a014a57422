//! Scenarios 31 and 44 to 46, invariants 20, 22 and 23: exact money, the list of orders, payments and the ledger.
//!
//! Scenario 47 (which cards) is in `checkout.rs`.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use mallard_proto::common::v1::Money;
use mallard_proto::payment::v1::payment_service_client::PaymentServiceClient;
use mallard_proto::payment::v1::*;
use mallard_rpc::ServiceChannel;
use mallard_testkit::{Answer, Http, as_admin, as_guest, as_system, as_user, eventually};
use mallard_tests::*;
use mallard_types::Kind;
use serde_json::{Value, json};

/// Prices of GoMall's seven products, in minor units.
const PRICES: [i64; 7] = [990, 880, 660, 220, 110, 180, 480];

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn cny(amount: i64) -> Value {
    json!({ "amount": amount, "currency": "CNY" })
}

fn lines_of(sku: &str, quantity: i64, total: i64, payment: Value) -> Value {
    let mut body = order(total, payment);
    body["lines"] = json!([{ "sku_id": sku, "quantity": quantity }]);
    body
}

async fn place(ada: &Shopper, body: Value) -> Value {
    ada.http.key(&unique("place")).post("/store/v1/orders", body).await.expect(201).body
}

async fn pay(http: &Http, order: &str, key: &str) -> Answer {
    http.key(key).post(&format!("/store/v1/orders/{order}/pay"), json!({ "payment": card(GOOD_CARD) })).await
}

/// Reads a whole paged list.
async fn all(http: &Http, path: &str, name: &str) -> Vec<Value> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = http.get(&format!("{path}&cursor={cursor}")).await.expect(200).body;
        found.extend(page[name].as_array().expect("a list").clone());
        cursor = page["next_cursor"].as_str().unwrap_or("").to_owned();
        if cursor.is_empty() {
            return found;
        }
        assert!(found.len() < 10_000, "the pages never end");
    }
}

/// Asserts over REST that the ledger balances; returns its accounts.
async fn balanced_ledger(shop: &Shop) -> BTreeMap<String, i64> {
    let accounts = shop.admin.get("/admin/v1/ledger/accounts").await.expect(200).body["accounts"].clone();
    let mut balances = BTreeMap::new();
    let mut currencies: BTreeMap<String, i64> = BTreeMap::new();
    for account in accounts.as_array().expect("a list") {
        let balance = account["balance"].as_i64().expect("a number");
        *currencies.entry(text(&account["currency"])).or_default() += balance;
        balances.insert(text(&account["account"]), balance);
    }
    assert!(currencies.values().all(|sum| *sum == 0), "debits and credits differ: {balances:?}");

    let entries = all(&shop.admin, "/admin/v1/ledger/entries?limit=7", "entries").await;
    let mut folded: BTreeMap<String, i64> = BTreeMap::new();
    let mut transactions: BTreeMap<String, i64> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for entry in &entries {
        let (debit, credit) = (entry["debit"].as_i64().unwrap(), entry["credit"].as_i64().unwrap());
        assert!(debit >= 0 && credit >= 0 && (debit == 0 || credit == 0), "{entry}");
        assert!(seen.insert(entry["seq"].as_i64().unwrap()), "{entry} is listed twice");
        *folded.entry(text(&entry["account"])).or_default() += debit - credit;
        *transactions.entry(text(&entry["transaction_id"])).or_default() += debit - credit;
    }
    assert!(transactions.values().all(|sum| *sum == 0), "{transactions:?}");
    folded.retain(|_, balance| *balance != 0);
    let held: BTreeMap<_, _> = balances.iter().filter(|(_, b)| **b != 0).map(|(a, b)| (a.clone(), *b)).collect();
    assert_eq!(folded, held, "a balance is not the fold of its entries");
    balances
}

// Scenario 31: money is exact.

#[tokio::test(flavor = "multi_thread")]
async fn every_seed_price_times_every_quantity_is_exact() {
    let shop = Shop::start().await;
    let mut skus = Vec::new();
    for price in PRICES {
        skus.push(shop.product(&format!("At {price}"), price, 1).await.1);
    }
    let ada = shop.shopper().await;
    for quantity in 1..=100 {
        let lines: Vec<_> = skus.iter().map(|sku| json!({ "sku_id": sku, "quantity": quantity })).collect();
        let quote = ada.http.post("/store/v1/checkout/quote", json!({ "lines": lines })).await.expect(200).body;
        let quote = &quote["quote"];
        for (i, price) in PRICES.iter().enumerate() {
            let line = &quote["lines"][i];
            assert_eq!((&line["sku_id"], &line["quantity"]), (&json!(skus[i]), &json!(quantity)));
            assert_eq!((&line["unit_price"], &line["line_total"]), (&cny(*price), &cny(price * quantity)));
        }
        let sum = PRICES.iter().sum::<i64>() * quantity;
        assert_eq!((&quote["subtotal"], &quote["total"]), (&cny(sum), &cny(sum)));
        assert_eq!((&quote["discount"], &quote["shipping"], &quote["tax"]), (&cny(0), &cny(0), &cny(0)));
    }
    let quote = ada.http.post("/store/v1/checkout/quote", json!({ "lines": [{ "sku_id": skus[0], "quantity": 1 }] }));
    assert!(text(&quote.await.expect(200).body["quote"]["expires_at"]).ends_with('Z'));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_of_every_seed_price_are_charged_and_booked_exactly() {
    let shop = Shop::start().await;
    let ada = shop.shopper().await;
    let mut charged = 0;
    for (i, price) in PRICES.iter().enumerate() {
        let quantity = [1, 3, 7, 33, 99, 100, 9_999][i];
        let (_, sku) = shop.product(&format!("At {price}"), *price, quantity).await;
        let total = price * quantity;
        let placed = place(&ada, lines_of(&sku, quantity, total, card(GOOD_CARD))).await;
        assert_eq!((&placed["order"]["total"], &placed["order"]["subtotal"]), (&cny(total), &cny(total)));
        assert_eq!((&placed["payment"]["amount"], &placed["payment"]["captured"]), (&cny(total), &cny(total)));
        charged += total;
    }
    let balances = balanced_ledger(&shop).await;
    assert_eq!((balances["acquirer:CNY"], balances["sales:CNY"]), (charged, -charged));
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn currencies_without_and_with_three_decimals_are_counted_in_their_minor_units() {
    let shop = Shop::start().await;
    let ada = shop.shopper().await;
    for (currency, price) in [("JPY", 1_500), ("KWD", 1_234), ("USD", 1)] {
        let body = json!({ "title": currency, "status": "listed",
            "variants": [{ "price": { "amount": price, "currency": currency }, "stock": 3 }] });
        let made = shop.admin.post("/admin/v1/products", body).await.expect(201).body["product"].clone();
        let total = json!({ "amount": price * 3, "currency": currency });
        let mut body = order(0, card(GOOD_CARD));
        body["lines"] = json!([{ "sku_id": made["variants"][0]["id"], "quantity": 3 }]);
        body["expected_total"] = total.clone();
        let placed = place(&ada, body).await;
        assert_eq!((&placed["order"]["total"], &placed["payment"]["captured"]), (&total, &total));
    }
    balanced_ledger(&shop).await;
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shipping_fee_is_on_the_quote_on_the_order_and_on_the_card() {
    let shop = Shop::start_with(|mut settings| {
        settings.config = settings
            .config
            .set("promotion.shipping.CNY.fee_minor", 800)
            .set("promotion.shipping.CNY.free_from_minor", 9_900);
        settings
    })
    .await;
    let (_, sku) = shop.product("Notebook", 990, 100).await;
    let ada = shop.shopper().await;
    for (quantity, fee) in [(1, 800), (9, 800), (10, 0)] {
        let goods = 990 * quantity;
        let lines = json!([{ "sku_id": sku, "quantity": quantity }]);
        let quote = ada.http.post("/store/v1/checkout/quote", json!({ "lines": lines })).await.expect(200).body;
        assert_eq!((&quote["quote"]["shipping"], &quote["quote"]["total"]), (&cny(fee), &cny(goods + fee)));
        let placed = place(&ada, lines_of(&sku, quantity, goods + fee, card(GOOD_CARD))).await;
        let order = &placed["order"];
        assert_eq!(
            (&order["subtotal"], &order["shipping"], &order["total"]),
            (&cny(goods), &cny(fee), &cny(goods + fee))
        );
        assert_eq!(placed["payment"]["captured"], cny(goods + fee));
        if fee > 0 {
            let short = lines_of(&sku, quantity, goods, card(GOOD_CARD));
            let refused = ada.http.key(&unique("short")).post("/store/v1/orders", short).await.expect(409);
            assert_eq!(refused.code(), "price_changed");
        }
    }
    shop.check().await;
    shop.stop().await;
}

// Scenario 44: the list of orders.

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_listed_newest_first_in_pages_and_outlive_their_products() {
    let shop = Shop::start().await;
    let (product, sku) = shop.product("Mug", 100, 100).await;
    let (ada, bea) = (shop.shopper().await, shop.shopper().await);
    let mut made = Vec::new();
    for i in 0..23 {
        let payment = if i % 5 == 0 { later() } else { card(GOOD_CARD) };
        made.insert(0, text(&place(&ada, lines_of(&sku, 1, 100, payment)).await["order"]["id"]));
    }
    place(&bea, lines_of(&sku, 1, 100, later())).await;
    shop.admin.delete(&format!("/admin/v1/products/{product}")).await.expect(204);
    let ids = |orders: &[Value]| orders.iter().map(|order| text(&order["id"])).collect::<Vec<_>>();
    let first = ada.http.get("/store/v1/orders?count=true").await.expect(200).body;
    assert_eq!((first["orders"].as_array().unwrap().len(), &first["count"]), (20, &json!(23)));
    assert!(ada.http.get("/store/v1/orders").await.expect(200).body["count"].is_null());
    for limit in [1, 10, 22, 23, 24, 100] {
        let orders = all(&ada.http, &format!("/store/v1/orders?limit={limit}"), "orders").await;
        assert_eq!(ids(&orders), made, "limit {limit}");
        let line = &orders[0]["lines"][0];
        assert_eq!(
            (&line["title"], &line["unit_price"], &line["product_id"]),
            (&json!("Mug"), &cny(100), &json!(product))
        );
    }
    let waiting = all(&ada.http, "/store/v1/orders?limit=2&status=pending_payment", "orders").await;
    assert_eq!(waiting.len(), 5);
    assert!(waiting.iter().all(|order| order["status"] == "pending_payment" && order["payment_status"] == "pending"));
    let paid = all(&ada.http, "/store/v1/orders?limit=9&status=paid", "orders").await;
    assert_eq!(paid.len(), 18);
    assert!(ada.http.get("/store/v1/orders?status=shipped").await.expect(200).body["orders"] == json!([]));
    for bad in ["limit=101", "limit=-1", "cursor=x", "status=lost", "user_id=usr_1", "order=price"] {
        ada.http.get(&format!("/store/v1/orders?{bad}")).await.expect(400);
    }
    // The order page, too, shows what was bought.
    let one = ada.http.get(&format!("/store/v1/orders/{}", made[0])).await.expect(200).body["order"].clone();
    assert_eq!(one["lines"][0]["title"], "Mug");
    assert!(!text(&one["number"]).is_empty());
    assert_eq!(ids(&all(&shop.admin, "/admin/v1/orders?limit=10", "orders").await).len(), 24);
    let hers = all(&shop.admin, &format!("/admin/v1/orders?limit=10&user_id={}", bea.id), "orders").await;
    assert_eq!(hers.len(), 1);
    let number = text(&one["number"]);
    let found = shop.admin.get(&format!("/admin/v1/orders?number={number}")).await.expect(200).body;
    assert_eq!(found["orders"][0]["id"], json!(made[0]));
    shop.http.get("/store/v1/orders").await.expect(401);
    ada.http.get("/store/v1/orders/ord_unknown").await.expect(404);
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_and_its_events_have_the_shape_of_the_contract() {
    let shop = Shop::start().await;
    let (product, sku) = shop.product("Mug", 100, 10).await;
    let ada = shop.shopper().await;
    let mut body = lines_of(&sku, 2, 200, later());
    body["note"] = json!("leave it with the neighbour");
    let placed = place(&ada, body).await["order"].clone();
    let id = text(&placed["id"]);
    assert!(id.starts_with("ord_") && text(&placed["lines"][0]["id"]).starts_with("line_"));
    assert_eq!((&placed["status"], &placed["payment_status"]), (&json!("pending_payment"), &json!("pending")));
    let line = &placed["lines"][0];
    assert_eq!((&line["sku_id"], &line["product_id"]), (&json!(sku), &json!(product)));
    assert_eq!((&line["title"], &line["options"], &line["quantity"]), (&json!("Mug"), &json!({}), &json!(2)));
    assert_eq!((&line["unit_price"], &line["discount"], &line["line_total"]), (&cny(100), &cny(0), &cny(200)));
    for (part, amount) in [("subtotal", 200), ("discount", 0), ("shipping", 0), ("tax", 0), ("total", 200)] {
        assert_eq!(placed[part], cny(amount), "{part}");
    }
    assert_eq!((&placed["address"], &placed["note"]), (&address(), &json!("leave it with the neighbour")));
    for time in ["created_at", "updated_at", "expires_at"] {
        assert!(text(&placed[time]).ends_with('Z'), "{time}");
    }
    assert!(text(&placed["expires_at"]) > text(&placed["created_at"]));
    assert!(placed["version"].is_i64() && !text(&placed["number"]).is_empty());

    let mut moved = address();
    moved["street"] = json!("2 Difference Lane");
    ada.http.patch(&format!("/store/v1/orders/{id}"), json!({ "address": moved })).await.expect(200);
    pay(&ada.http, &id, "p").await.expect(200);
    let shipped = json!({ "carrier": "post", "tracking_number": "RB123456785CN" });
    shop.admin.post(&format!("/admin/v1/orders/{id}/ship"), shipped).await.expect(200);
    let events = ada.http.get(&format!("/store/v1/orders/{id}/events")).await.expect(200).body["events"].clone();
    let events = events.as_array().unwrap();
    let types: Vec<_> = events.iter().map(|event| text(&event["type"])).collect();
    assert_eq!(types, ["placed", "address_changed", "paid", "shipped"], "oldest first");
    for event in events {
        assert!(text(&event["id"]).starts_with("evt_") && event["data"].is_object(), "{event}");
        assert!(text(&event["at"]).ends_with('Z') && !text(&event["by"]).is_empty(), "{event}");
    }
    assert_eq!((&events[0]["by"], &events[3]["by"]), (&json!(ada.id), &json!("operator")));
    assert_eq!(events[3]["data"]["tracking_number"], "RB123456785CN");
    assert!(events.is_sorted_by_key(|event| text(&event["at"])));
    let ids: BTreeSet<_> = events.iter().map(|event| text(&event["id"])).collect();
    assert_eq!(ids.len(), 4);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_a_snapshot_of_what_was_bought() {
    let shop = Shop::start().await;
    let body = json!({ "title": "Shirt", "status": "listed", "images": [{ "url": "/media/shirt.svg", "alt": "a shirt" }],
        "variants": [{ "options": { "size": "M" }, "price": cny(660), "stock": 5 }] });
    let made = shop.admin.post("/admin/v1/products", body).await.expect(201).body["product"].clone();
    let (product, sku) = (text(&made["id"]), text(&made["variants"][0]["id"]));
    let ada = shop.shopper().await;
    let placed = place(&ada, lines_of(&sku, 1, 660, card(GOOD_CARD))).await["order"].clone();
    let change = json!({ "title": "Blouse", "images": [{ "url": "/media/blouse.svg" }],
        "variants": [{ "id": sku, "options": { "size": "M" }, "price": cny(1) }] });
    shop.admin.patch(&format!("/admin/v1/products/{product}"), change).await.expect(200);
    let line = &placed["lines"][0];
    assert_eq!(
        (&line["title"], &line["unit_price"], &line["options"]),
        (&json!("Shirt"), &cny(660), &json!({ "size": "M" }))
    );
    assert_eq!(line["image_url"], "/media/shirt.svg");
    let kept = ada.http.get(&format!("/store/v1/orders/{}", text(&placed["id"]))).await.expect(200).body;
    assert_eq!(kept["order"]["lines"], placed["lines"]);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_moved_only_over_the_version_that_was_seen() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 10).await;
    let ada = shop.shopper().await;
    let order = text(&place(&ada, lines_of(&sku, 1, 100, later())).await["order"]["id"]);
    let path = format!("/store/v1/orders/{order}");
    let read = ada.http.get(&path).await.expect(200);
    let etag = read.header("etag").to_owned();
    assert_eq!(etag, format!("\"{}\"", read.body["order"]["version"]));
    ada.http.with("if-none-match", &etag).get(&path).await.expect(304);
    ada.http.patch(&path, json!({ "address": address() })).await.expect(200);
    let cancel = format!("{path}/cancel");
    let stale = ada.http.with("if-match", &etag).post(&cancel, json!({})).await.expect(412);
    assert_eq!((stale.code(), &stale.body["error"]["type"]), ("version_mismatch", &json!("precondition")));
    assert_eq!(shop.order(&order).await["status"], "pending_payment");
    let now = ada.http.get(&path).await.expect(200).header("etag").to_owned();
    ada.http.with("if-match", &now).post(&cancel, json!({})).await.expect(200);
    shop.stop().await;
}

// Scenario 45: pay, look, cancel.

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_has_the_shape_of_the_contract() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 10).await;
    let ada = shop.shopper().await;
    let placed = place(&ada, lines_of(&sku, 2, 200, card("5555 5555 5555 4444"))).await;
    let payment = &placed["payment"];
    assert!(text(&payment["id"]).starts_with("pay_"));
    assert_eq!((&payment["order_id"], &payment["status"]), (&placed["order"]["id"], &json!("captured")));
    assert_eq!((&payment["method"], &payment["amount"]), (&json!("card"), &cny(200)));
    assert_eq!((&payment["captured"], &payment["refunded"]), (&cny(200), &cny(0)));
    assert_eq!(payment["card"], json!({ "brand": "mastercard", "last4": "4444" }));
    assert!(payment["failure"].is_null());
    assert!(text(&payment["created_at"]).ends_with('Z'));
    let read = ada.http.get(&format!("/store/v1/payments/{}", text(&payment["id"]))).await.expect(200).body;
    assert_eq!(read["payment"]["id"], payment["id"]);
    assert_eq!(read["payment"]["status"], "captured");
    let waiting = place(&ada, lines_of(&sku, 1, 100, later())).await["payment"].clone();
    assert_eq!((&waiting["status"], &waiting["captured"]), (&json!("pending"), &cny(0)));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_payment_says_why_and_stays_to_be_looked_at() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 10).await;
    let ada = shop.shopper().await;
    let body = lines_of(&sku, 1, 100, card("4000 0000 0000 9995"));
    let refused = ada.http.key("k").post("/store/v1/orders", body).await.expect(402);
    assert_eq!((refused.code(), &refused.body["error"]["type"]), ("insufficient_funds", &json!("payment_failed")));
    let order = text(&refused.body["error"]["details"]["order_id"]);
    let payment = text(&refused.body["error"]["details"]["payment_id"]);
    let read = ada.http.get(&format!("/store/v1/payments/{payment}")).await.expect(200).body["payment"].clone();
    assert_eq!((&read["status"], &read["failure"]["code"]), (&json!("failed"), &json!("insufficient_funds")));
    assert!(!text(&read["failure"]["message"]).is_empty());
    assert_eq!(read["captured"], cny(0));
    assert_eq!(shop.order_is(&order, "cancelled").await["payment_status"], "cancelled");
    assert!(balanced_ledger(&shop).await.values().all(|balance| *balance == 0));
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_payment_is_never_captured_and_a_captured_one_is_never_cancelled() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 10).await;
    let ada = shop.shopper().await;
    let placed = place(&ada, lines_of(&sku, 1, 100, later())).await;
    let (order, payment) = (text(&placed["order"]["id"]), text(&placed["payment"]["id"]));
    let path = format!("/store/v1/payments/{payment}");
    let cancelled = ada.http.post(&format!("{path}/cancel"), json!({})).await.expect(200).body;
    assert_eq!(cancelled["payment"]["status"], "cancelled");
    // Cancelling again is success, capturing it is not.
    ada.http.post(&format!("{path}/cancel"), json!({})).await.expect(200);
    let mut payments: PaymentServiceClient<ServiceChannel> = shop.mall.client();
    let again = StartPaymentRequest {
        payment_id: payment.clone(),
        order_id: order.clone(),
        user_id: ada.id.clone(),
        amount: Some(Money { amount: 100, currency: "CNY".into() }),
        method: "later".into(),
        ..StartPaymentRequest::default()
    };
    let answer = as_user(&ada.id, payments.start_payment(again)).await.map(|a| a.into_inner().payment.unwrap());
    assert!(answer.is_err() || answer.unwrap().status() == PaymentStatus::Cancelled);
    // The order still waits: another attempt pays it, and the cancelled one stays as it is.
    let paid = pay(&ada.http, &order, "p1").await.expect(200).body;
    assert_eq!((&paid["order"]["status"], &paid["payment"]["status"]), (&json!("paid"), &json!("captured")));
    assert_ne!(paid["payment"]["id"], json!(payment));
    assert_eq!(ada.http.get(&path).await.expect(200).body["payment"]["status"], "cancelled");
    let captured = format!("/store/v1/payments/{}/cancel", text(&paid["payment"]["id"]));
    let refused = ada.http.post(&captured, json!({})).await.expect(409);
    assert_eq!(refused.code(), "illegal_transition");
    assert_eq!(shop.order(&order).await["status"], "paid");
    let list = all(&shop.admin, &format!("/admin/v1/payments?limit=1&order_id={order}"), "payments").await;
    assert_eq!(list.iter().filter(|payment| payment["captured"]["amount"] == 100).count(), 1);
    assert_eq!(balanced_ledger(&shop).await["acquirer:CNY"], 100);
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_payments_of_one_order_at_once_move_the_money_once() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 10).await;
    let ada = shop.shopper().await;
    let order = text(&place(&ada, lines_of(&sku, 1, 100, later())).await["order"]["id"]);
    let answers = join_all((0..20).map(|i| {
        let (http, order) = (ada.http.clone(), order.clone());
        async move { pay(&http, &order, &format!("pay{i}")).await }
    }))
    .await;
    let first = answers.iter().find(|answer| answer.status == 200).expect("one of them pays");
    for answer in &answers {
        match answer.status {
            // Who came second got the first transaction, or was told that the order is paid.
            200 => assert_eq!(answer.body["payment"]["id"], first.body["payment"]["id"]),
            409 => assert!(matches!(answer.code(), "illegal_transition" | "payment_in_progress"), "{}", answer.body),
            _ => panic!("{}: {}", answer.status, answer.body),
        }
    }
    shop.order_is(&order, "paid").await;
    let list = all(&shop.admin, &format!("/admin/v1/payments?limit=5&order_id={order}"), "payments").await;
    assert_eq!(list.iter().filter(|payment| payment["captured"]["amount"] == 100).count(), 1, "{list:?}");
    assert_eq!(balanced_ledger(&shop).await["acquirer:CNY"], 100);
    shop.stock_is(&sku, 9, 0).await;
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_racing_a_payment_leaves_either_a_paid_order_or_no_money() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 100).await;
    let ada = shop.shopper().await;
    let mut paid = 0;
    for i in 0..12 {
        let order = text(&place(&ada, lines_of(&sku, 1, 100, later())).await["order"]["id"]);
        let cancel = format!("/store/v1/orders/{order}/cancel");
        let key = format!("race{i}");
        let (paying, cancelling) = tokio::join!(pay(&ada.http, &order, &key), async {
            tokio::time::sleep(std::time::Duration::from_millis(i)).await;
            ada.http.post(&cancel, json!({})).await
        });
        assert!(!(paying.status == 200 && cancelling.status == 200), "{} {}", paying.body, cancelling.body);
        eventually("the order is decided", async || {
            let order = shop.order(&order).await;
            order["status"] == "paid" || order["status"] == "cancelled"
        })
        .await;
        let status = shop.order(&order).await["status"].clone();
        if status == "paid" {
            paid += 1;
            assert_ne!(cancelling.status, 200);
        }
        let net = async || {
            let list = all(&shop.admin, &format!("/admin/v1/payments?limit=5&order_id={order}"), "payments").await;
            let sum = |name: &str| list.iter().map(|payment| payment[name]["amount"].as_i64().unwrap()).sum::<i64>();
            sum("captured") - sum("refunded")
        };
        let expected = if status == "paid" { 100 } else { 0 };
        eventually("the money follows the order", async || net().await == expected).await;
    }
    shop.stock_is(&sku, 100 - paid, 0).await;
    balanced_ledger(&shop).await;
    shop.check().await;
    shop.stop().await;
}

// Scenario 46: what the payment service refuses by itself, whoever calls it.

fn kind<T: std::fmt::Debug>(answer: Result<T, tonic::Status>) -> (Kind, String) {
    let error = mallard_rpc::error(answer.expect_err("this must be refused"));
    (error.kind, error.code.into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_payment_service_itself_refuses_wrong_amounts_and_other_peoples_orders() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 10).await;
    let (ada, eve) = (shop.shopper().await, shop.shopper().await);
    let placed = place(&ada, lines_of(&sku, 1, 100, later())).await;
    let (order, waiting) = (text(&placed["order"]["id"]), text(&placed["payment"]["id"]));
    let mut payments: PaymentServiceClient<ServiceChannel> = shop.mall.client();
    let input = PaymentInput {
        method: "card".into(),
        number: GOOD_CARD.into(),
        exp_month: 12,
        exp_year: 2030,
        cvc: "012".into(),
        ..PaymentInput::default()
    };
    let token = async |who: &str| {
        let mut payments: PaymentServiceClient<ServiceChannel> = shop.mall.client();
        let request = TokeniseRequest { input: Some(input.clone()) };
        as_user(who, payments.tokenise(request)).await.expect("a token").into_inner().card_token
    };
    let (adas, eves) = (token(&ada.id).await, token(&eve.id).await);
    let start = |amount: i64, currency: &str, user: &str, card_token: &str| StartPaymentRequest {
        payment_id: unique("pay_test"),
        order_id: order.clone(),
        user_id: user.into(),
        amount: Some(Money { amount, currency: currency.into() }),
        method: "card".into(),
        card_token: card_token.into(),
        ..StartPaymentRequest::default()
    };
    for amount in [-1, -100, i64::MIN] {
        let refused = kind(as_user(&ada.id, payments.start_payment(start(amount, "CNY", &ada.id, &adas))).await);
        assert_eq!(refused, (Kind::Invalid, "amount_invalid".into()), "{amount}");
    }
    for amount in [1, 99, 101, i64::MAX] {
        let refused = kind(as_user(&ada.id, payments.start_payment(start(amount, "CNY", &ada.id, &adas))).await);
        assert_eq!(refused, (Kind::Refused, "amount_mismatch".into()), "{amount}");
    }
    let refused = kind(as_user(&ada.id, payments.start_payment(start(100, "USD", &ada.id, &adas))).await);
    assert_eq!(refused, (Kind::Refused, "currency_mismatch".into()));
    let missing = StartPaymentRequest { amount: None, ..start(100, "CNY", &ada.id, &adas) };
    assert_eq!(kind(as_user(&ada.id, payments.start_payment(missing)).await).0, Kind::Invalid);
    let nowhere = start(100, "yuan", &ada.id, &adas);
    assert_eq!(kind(as_user(&ada.id, payments.start_payment(nowhere)).await).0, Kind::Invalid);

    // Eve pays Ada's order, in her own name and in Ada's, with her own card and with Ada's.
    for (user, card_token) in [(&eve.id, &eves), (&eve.id, &adas), (&ada.id, &eves), (&ada.id, &adas)] {
        let (kind, _) = kind(as_user(&eve.id, payments.start_payment(start(100, "CNY", user, card_token))).await);
        assert!(matches!(kind, Kind::NotFound | Kind::Refused), "{kind:?}");
    }
    let guest = kind(as_guest(payments.start_payment(start(100, "CNY", &ada.id, &adas))).await);
    assert_eq!(guest.0, Kind::Unauthenticated);
    for user in ["", "0"] {
        let refused = as_user(user, payments.start_payment(start(100, "CNY", user, &adas))).await;
        assert!(refused.is_err(), "user {user:?}");
    }
    // Ada's order with Eve's card.
    let refused = kind(as_user(&ada.id, payments.start_payment(start(100, "CNY", &ada.id, &eves))).await);
    assert_eq!(refused, (Kind::Refused, "card_token_expired".into()));
    let free = StartPaymentRequest { method: "external".into(), ..start(100, "CNY", &ada.id, "") };
    assert_eq!(kind(as_user(&ada.id, payments.start_payment(free)).await).0, Kind::Refused);
    let magic = StartPaymentRequest { method: "magic".into(), ..start(100, "CNY", &ada.id, "") };
    assert_eq!(kind(as_user(&ada.id, payments.start_payment(magic)).await).0, Kind::Invalid);

    // Eve looks at and moves Ada's payment.
    let get = GetPaymentRequest { id: waiting.clone() };
    assert_eq!(kind(as_user(&eve.id, payments.get_payment(get)).await).0, Kind::NotFound);
    let cancel = CancelPaymentRequest { id: waiting.clone() };
    assert_eq!(kind(as_user(&eve.id, payments.cancel_payment(cancel)).await).0, Kind::NotFound);
    let resolve = ResolvePaymentRequest { order_id: order.clone() };
    assert_eq!(kind(as_user(&eve.id, payments.resolve_payment(resolve)).await).0, Kind::NotFound);
    let close = CloseOrderPaymentsRequest { order_id: order.clone(), reason: "spite".into() };
    assert_eq!(kind(as_user(&eve.id, payments.close_order_payments(close)).await).0, Kind::Forbidden);
    let refund = RefundOrderRequest {
        order_id: order.clone(),
        refund_id: "ref_eve".into(),
        amount: Some(Money { amount: 1, currency: "CNY".into() }),
        reason: "please".into(),
        ..RefundOrderRequest::default()
    };
    assert_eq!(kind(as_user(&ada.id, payments.refund_order(refund.clone())).await).0, Kind::Forbidden);
    let refund_all = AdminRefundRequest {
        id: waiting.clone(),
        reason: "please".into(),
        idempotency_key: "k".into(),
        ..AdminRefundRequest::default()
    };
    assert_eq!(kind(as_user(&ada.id, payments.admin_refund(refund_all)).await).0, Kind::Forbidden);
    let list = payments.admin_list_payments(AdminListPaymentsRequest::default());
    assert_eq!(kind(as_user(&ada.id, list).await).0, Kind::Forbidden);
    assert_eq!(kind(as_user(&ada.id, payments.scan_payments(ScanPaymentsRequest::default())).await).0, Kind::Forbidden);
    let accounts = payments.list_ledger_accounts(ListLedgerAccountsRequest {});
    assert_eq!(kind(as_user(&ada.id, accounts).await).0, Kind::Forbidden);

    // Nothing of all this moved money, and nothing keeps Ada from paying.
    assert_eq!(
        ada.http.get(&format!("/store/v1/payments/{waiting}")).await.expect(200).body["payment"]["status"],
        "pending"
    );
    assert!(balanced_ledger(&shop).await.values().all(|balance| *balance == 0));
    pay(&ada.http, &order, "p").await.expect(200);
    // A second capture of the same order is the first transaction.
    let again = as_user(&ada.id, payments.start_payment(start(100, "CNY", &ada.id, &token(&ada.id).await))).await;
    let again = again.expect("the first transaction").into_inner().payment.unwrap();
    assert_eq!(again.status(), PaymentStatus::Captured);
    assert_eq!(json!(again.id), shop.order(&order).await["payment_id"]);
    for amount in [-1, 0, 101, i64::MAX] {
        let refund = RefundOrderRequest {
            refund_id: unique("ref_test"),
            amount: Some(Money { amount, currency: "CNY".into() }),
            ..refund.clone()
        };
        let (kind, code) = kind(as_system(payments.refund_order(refund)).await);
        assert!(matches!(kind, Kind::Invalid | Kind::Refused), "{amount}: {code}");
    }
    assert_eq!(balanced_ledger(&shop).await["acquirer:CNY"], 100);
    shop.check().await;
    shop.stop().await;
}

// Invariant 23: refunds.

#[tokio::test(flavor = "multi_thread")]
async fn refunds_through_both_doors_at_once_never_exceed_what_was_captured() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 1_000, 10).await;
    let ada = shop.shopper().await;
    let order = ada.buy(&sku, 1, 1_000).await;
    let (id, payment) = (text(&order["id"]), text(&order["payment_id"]));
    let answers = join_all((0..16).map(|i| {
        let path = match i % 2 {
            0 => format!("/admin/v1/orders/{id}/refund"),
            _ => format!("/admin/v1/payments/{payment}/refund"),
        };
        let http = shop.admin.key(&format!("r{i}"));
        async move { http.post(&path, json!({ "amount": cny(300), "reason": "scratched" })).await }
    }))
    .await;
    for answer in &answers {
        assert!(matches!(answer.status, 200 | 409 | 422), "{}: {}", answer.status, answer.body);
    }
    let refunded = async || {
        let read = shop.admin.get(&format!("/admin/v1/payments?order_id={id}")).await.expect(200).body;
        read["payments"][0]["refunded"]["amount"].as_i64().unwrap()
    };
    eventually("refunds come to rest", async || {
        let order = shop.order(&id).await;
        refunded().await == 900 && order["refunded"]["amount"] == 900 && order["payment_status"] == "partially_refunded"
    })
    .await;
    let balances = balanced_ledger(&shop).await;
    assert_eq!((balances["acquirer:CNY"], balances["refunds:CNY"], balances["sales:CNY"]), (100, 900, -1_000));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_refunds_at_once_those_that_cannot_be_paid_are_refused_and_the_books_come_to_rest() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 1_000, 10).await;
    let ada = shop.shopper().await;
    let id = text(&ada.buy(&sku, 1, 1_000).await["id"]);
    let path = format!("/admin/v1/orders/{id}/refund");
    let answers = join_all((0..8).map(|i| {
        let (http, path) = (shop.admin.key(&format!("r{i}")), path.clone());
        async move { http.post(&path, json!({ "amount": cny(300), "reason": "scratched" })).await }
    }))
    .await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 3, "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert!(matches!(answer.status, 409 | 422), "{}: {}", answer.status, answer.body);
    }
    eventually("the order knows", async || shop.order(&id).await["refunded"] == cny(900)).await;
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refund_key_gives_money_back_once() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 1_000, 10).await;
    let ada = shop.shopper().await;
    let order = ada.buy(&sku, 1, 1_000).await;
    let path = format!("/admin/v1/payments/{}/refund", text(&order["payment_id"]));
    let refund = json!({ "amount": cny(300), "reason": "scratched" });
    let keyed = shop.admin.key("once");
    let once = || patiently("the refund", async || keyed.post(&path, refund.clone()).await);
    let answers = join_all((0..20).map(|_| once())).await;
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (200, &answers[0].body));
    }
    assert!(text(&answers[0].body["refund"]["id"]).starts_with("ref_"));
    assert_eq!(answers[0].body["payment"]["refunded"], cny(300));
    assert_eq!(balanced_ledger(&shop).await["refunds:CNY"], 300);
    let other = keyed.post(&path, json!({ "amount": cny(301), "reason": "scratched" })).await.expect(422);
    assert_eq!(other.code(), "idempotency_conflict");
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn senseless_refunds_are_refused_and_move_nothing() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 1_000, 10).await;
    let ada = shop.shopper().await;
    let order = ada.buy(&sku, 1, 1_000).await;
    let unpaid = place(&ada, lines_of(&sku, 1, 1_000, later())).await["order"].clone();
    let doors = |order: &Value| {
        [
            format!("/admin/v1/orders/{}/refund", text(&order["id"])),
            format!("/admin/v1/payments/{}/refund", text(&order["payment_id"])),
        ]
    };
    for path in doors(&order) {
        for (body, allowed) in [
            (json!({ "amount": cny(0), "reason": "x" }), [400, 422]),
            (json!({ "amount": cny(-1), "reason": "x" }), [400, 422]),
            (json!({ "amount": cny(1_001), "reason": "x" }), [422, 422]),
            (json!({ "amount": cny(i64::MAX), "reason": "x" }), [422, 422]),
            (json!({ "amount": { "amount": 100, "currency": "USD" }, "reason": "x" }), [400, 422]),
            (json!({ "amount": { "amount": 100, "currency": "yuan" }, "reason": "x" }), [400, 400]),
            (json!({ "amount": 100, "reason": "x" }), [400, 400]),
            (json!({ "amount": cny(100) }), [400, 400]),
            (json!({ "amount": cny(100), "reason": "x", "refund_id": "ref_mine" }), [400, 400]),
        ] {
            let refused = shop.admin.key(&unique("bad")).post(&path, body.clone()).await;
            assert!(allowed.contains(&refused.status), "{path} {body}: {} {}", refused.status, refused.body);
        }
        ada.http.key("mine").post(&path, json!({ "reason": "mine" })).await.expect(403);
        shop.http.key("nobody").post(&path, json!({ "reason": "mine" })).await.expect(401);
    }
    for path in doors(&unpaid) {
        let refused = shop.admin.key(&unique("unpaid")).post(&path, json!({ "reason": "x" })).await.expect(409);
        assert_eq!(refused.code(), "illegal_transition");
    }
    for path in ["/admin/v1/orders/ord_unknown/refund", "/admin/v1/payments/pay_unknown/refund"] {
        shop.admin.key(&unique("lost")).post(path, json!({ "reason": "x" })).await.expect(404);
    }
    let balances = balanced_ledger(&shop).await;
    assert_eq!((balances["acquirer:CNY"], balances.get("refunds:CNY").copied().unwrap_or(0)), (1_000, 0));
    assert_eq!(shop.order(&text(&order["id"])).await["status"], "paid");
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn units_come_back_with_a_refund_that_names_them_and_never_more_than_were_sold() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 10).await;
    let ada = shop.shopper().await;
    let id = text(&ada.buy(&sku, 4, 400).await["id"]);
    shop.stock_is(&sku, 6, 0).await;
    let path = format!("/admin/v1/orders/{id}/refund");
    let lines = |quantity: i64| json!({ "amount": cny(100), "reason": "broken", "lines": [{ "sku_id": sku, "quantity": quantity }] });
    for bad in [0, -1, 5, i64::MAX] {
        let refused = shop.admin.key(&unique("bad")).post(&path, lines(bad)).await;
        assert!(matches!(refused.status, 400 | 422), "{bad}: {}", refused.body);
    }
    shop.admin.key("one").post(&path, lines(1)).await.expect(200);
    shop.stock_is(&sku, 7, 0).await;
    let refused = shop.admin.key("four").post(&path, lines(4)).await.expect(422);
    assert_eq!(refused.code(), "return_exceeds_sold");
    shop.admin.key("rest").post(&path, json!({ "reason": "the rest" })).await.expect(200);
    shop.order_is(&id, "refunded").await;
    shop.stock_is(&sku, 10, 0).await;
    shop.check().await;
    shop.stop().await;
}

// Invariant 20: the ledger.

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_balances_after_sales_declines_refunds_and_lost_answers() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Notebook", 990, 100).await;
    let ada = shop.shopper().await;
    ada.buy(&sku, 2, 1_980).await;
    let refunded = ada.buy(&sku, 1, 990).await;
    let lost = place(&ada, lines_of(&sku, 3, 2_970, card(TIMEOUT_CARD))).await;
    let declined = lines_of(&sku, 1, 990, card(DECLINED_CARD));
    ada.http.key("declined").post("/store/v1/orders", declined).await.expect(402);
    let cancelled = text(&place(&ada, lines_of(&sku, 1, 990, later())).await["order"]["id"]);
    ada.http.post(&format!("/store/v1/orders/{cancelled}/cancel"), json!({})).await.expect(200);
    let path = format!("/admin/v1/orders/{}/refund", text(&refunded["id"]));
    shop.admin.key("half").post(&path, json!({ "amount": cny(400), "reason": "late" })).await.expect(200);
    shop.admin.key("rest").post(&path, json!({ "reason": "late" })).await.expect(200);
    shop.order_is(&text(&lost["order"]["id"]), "paid").await;
    let balances = balanced_ledger(&shop).await;
    assert_eq!(balances["sales:CNY"], -(1_980 + 990 + 2_970));
    assert_eq!((balances["refunds:CNY"], balances["acquirer:CNY"]), (990, 1_980 + 2_970));

    let mine = format!("/admin/v1/ledger/entries?order_id={}", text(&refunded["id"]));
    let entries = shop.admin.get(&mine).await.expect(200).body["entries"].as_array().unwrap().clone();
    assert_eq!(entries.len(), 6, "a capture and two refunds, two sides each");
    assert!(entries.iter().all(|entry| entry["order_id"] == refunded["id"] && entry["currency"] == "CNY"));
    let seqs: Vec<_> = entries.iter().map(|entry| entry["seq"].as_i64().unwrap()).collect();
    assert!(seqs.is_sorted_by(|a, b| a > b), "newest first: {seqs:?}");
    let sales = all(&shop.admin, "/admin/v1/ledger/entries?limit=2&account=sales:CNY", "entries").await;
    assert_eq!(sales.len(), 3);
    assert!(sales.iter().all(|entry| entry["account"] == "sales:CNY" && entry["debit"] == 0));
    for bad in ["limit=101", "cursor=x", "currency=CNY"] {
        shop.admin.get(&format!("/admin/v1/ledger/entries?{bad}")).await.expect(400);
    }
    for path in ["/admin/v1/ledger/accounts", "/admin/v1/ledger/entries", "/admin/v1/payments"] {
        ada.http.get(path).await.expect(403);
        shop.http.get(path).await.expect(401);
    }
    let captured = all(&shop.admin, "/admin/v1/payments?limit=2&status=captured", "payments").await;
    assert_eq!(captured.len(), 2);
    assert_eq!(shop.admin.get("/admin/v1/payments?count=true&status=failed").await.expect(200).body["count"], 1);
    shop.admin.get("/admin/v1/payments?status=lost").await.expect(400);
    let mut payments: PaymentServiceClient<ServiceChannel> = shop.mall.client();
    let scanned = as_admin("usr_x", payments.scan_payments(ScanPaymentsRequest::default())).await.unwrap().into_inner();
    assert_eq!(scanned.payments.len(), 5);
    shop.check().await;
    shop.stop().await;
}
