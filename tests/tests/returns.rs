//! Returns: asked for by shoppers, agreed to or refused by operators, carried out once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use mallard_db::{Unit, params};
use mallard_proto::order::v1::order_service_client::OrderServiceClient;
use mallard_proto::order::v1::{
    AdminApproveReturnRequest, AdminListReturnsRequest, AdminRefundOrderRequest, AdminShipOrderRequest,
    CreateReturnRequest, LineInput, ListOrderReturnsRequest, Order, OrderStatus, Return, ReturnStatus,
};
use mallard_proto::payment::v1::AdminRefundRequest;
use mallard_proto::payment::v1::payment_service_client::PaymentServiceClient;
use mallard_rpc::{Fault, FaultAction, ServiceChannel};
use mallard_runtime::{Mall, Settings, Storage};
use mallard_testkit::pgtest::PgServer;
use mallard_testkit::{as_system, as_user, audit_records, audited};
use mallard_tests::world::{
    At, Buyer, Commits, KillNth, World, cny, conserved, green, list, orders, settled, sku, user,
};
use mallard_tests::*;
use mallard_types::Error;
use prost::Message;
use serde_json::{Value, json};

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// Starts a shop on each engine there is.
async fn shops() -> Vec<(Shop, Option<Arc<PgServer>>)> {
    let mut shops = vec![(Shop::start().await, None)];
    if let Some(server) = PgServer::shared() {
        let storage = Storage::Postgres { url: server.fresh_url().await, pool_max: 4 };
        let on_server = |settings| Settings { storage, ..settings };
        shops.push((Shop::start_with(on_server).await, Some(server)));
    }
    shops
}

fn wish(sku: &str, quantity: i64) -> Value {
    json!({ "lines": [{ "sku_id": sku, "quantity": quantity }], "reason": "too small" })
}

/// Buys some units and has them shipped; returns the order's id.
async fn shipped(shop: &Shop, shopper: &Shopper, sku: &str, quantity: i64, total: i64) -> String {
    let id = text(&shopper.buy(sku, quantity, total).await["id"]);
    shop.admin.post(&format!("/admin/v1/orders/{id}/ship"), json!({})).await.expect(200);
    id
}

async fn ask(shopper: &Shopper, order: &str, sku: &str, quantity: i64) -> Value {
    let path = format!("/store/v1/orders/{order}/returns");
    shopper.http.key(&unique("wish")).post(&path, wish(sku, quantity)).await.expect(201).body["return"].clone()
}

async fn red(shop: &Shop) -> Vec<String> {
    let answer = shop.admin.get("/admin/v1/check").await.expect(200).body;
    let checks = answer["checks"].as_array().unwrap();
    checks.iter().filter(|check| check["ok"] != true).map(|check| text(&check["name"])).collect()
}

/// Lets the gateway forget its answers, so that the order service is asked again.
async fn forget(shop: &Shop) {
    let unit = Unit::new("test.forget").exec("DELETE FROM answers", params![]);
    shop.mall.context("gateway").unwrap().db().apply(unit).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_is_asked_for_agreed_to_and_refunded_once() {
    let shop = Shop::start_with(|mut settings| {
        audited(&mut settings);
        settings
    })
    .await;
    let (_, mug) = shop.product("Mug", 100, 10).await;
    let ada = shop.shopper().await;
    let order = shipped(&shop, &ada, &mug, 3, 300).await;
    let path = format!("/store/v1/orders/{order}/returns");
    let answer = ada.http.key("r1").post(&path, wish(&mug, 2)).await.expect(201).body["return"].clone();
    let id = text(&answer["id"]);
    assert!(id.starts_with("ret_"));
    assert_eq!((&answer["status"], &answer["order_id"]), (&json!("requested"), &json!(order)));
    assert_eq!(answer["amount"], json!({ "amount": 200, "currency": "CNY" }));
    assert_eq!((&answer["lines"][0]["title"], &answer["lines"][0]["quantity"]), (&json!("Mug"), &json!(2)));
    assert_eq!((&answer["reason"], &answer["user_id"]), (&json!("too small"), &json!(ada.id)));
    assert_eq!(answer["order_number"], shop.order(&order).await["number"]);
    assert_eq!(shop.order(&order).await["lines"][0]["returned"], 0, "so far it is a wish");
    let mine = ada.http.get(&path).await.expect(200).body;
    assert_eq!(mine["returns"], json!([answer]));
    let open = shop.admin.get("/admin/v1/returns?status=requested").await.expect(200).body;
    assert_eq!(open["returns"], json!([answer]));

    let approve = format!("/admin/v1/returns/{id}/approve");
    assert_eq!(shop.admin.post(&approve, json!({})).await.expect(400).code(), "idempotency_key_required");
    // By several operators at once, with keys of their own, and again when the gateway has forgotten.
    let answers = join_all((0..6).map(|i| {
        let (http, approve) = (shop.admin.key(&format!("a{i}")), approve.clone());
        async move { patiently("an approval", async || http.post(&approve, json!({})).await).await }
    }))
    .await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    forget(&shop).await;
    let last = shop.admin.key("a0").post(&approve, json!({})).await.expect(200).body["return"].clone();
    assert_eq!(last["status"], "refunded");
    assert!(text(&last["refund_id"]).starts_with("ref_"));
    let after = shop.order(&order).await;
    assert_eq!((&after["refunded"]["amount"], &after["lines"][0]["returned"]), (&json!(200), &json!(2)));
    assert_eq!((&after["status"], &after["payment_status"]), (&json!("shipped"), &json!("partially_refunded")));
    shop.stock_is(&mug, 9, 0).await;
    let refuse = format!("/admin/v1/returns/{id}/refuse");
    assert_eq!(shop.admin.post(&refuse, json!({ "answer": "no" })).await.expect(409).code(), "illegal_transition");

    // The timeline tells all of it.
    let events = ada.http.get(&format!("/store/v1/orders/{order}/events")).await.expect(200).body["events"].clone();
    let types: Vec<_> = events.as_array().unwrap().iter().map(|event| text(&event["type"])).collect();
    assert_eq!(types, ["placed", "paid", "shipped", "return_requested", "refund_requested", "refunded"]);
    assert_eq!((&events[3]["by"], &events[3]["data"]["return_id"]), (&json!(ada.id), &json!(id)));
    assert_eq!((&events[4]["by"], &events[4]["data"]["return_id"]), (&json!("operator"), &json!(id)));
    assert!(!events.to_string().contains("\"r1\""), "the shopper's key is no business of a timeline");
    let records = audit_records(&shop.mall, "order").await;
    let actions: Vec<_> = records.iter().map(|record| record.action.as_str()).collect();
    assert_eq!(actions, ["order.ship", "return.approve"]);
    assert_eq!((&records[1].target, &records[1].after["return_id"]), (&order, &json!(id)));
    assert!(!format!("{records:?}").contains("too small"), "nothing the shopper wrote is in it");
    shop.check().await;

    // The rest, with everything that is left of the line's money.
    let rest = ask(&ada, &order, &mug, 1).await;
    let approve = format!("/admin/v1/returns/{}/approve", text(&rest["id"]));
    shop.admin.key("rest").post(&approve, json!({})).await.expect(200);
    assert_eq!(shop.order(&order).await["status"], "refunded");
    shop.stock_is(&mug, 10, 0).await;
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_return_says_why_and_its_units_may_be_asked_back_again() {
    let shop = Shop::start_with(|mut settings| {
        audited(&mut settings);
        settings
    })
    .await;
    let (_, mug) = shop.product("Mug", 100, 10).await;
    let ada = shop.shopper().await;
    let order = shipped(&shop, &ada, &mug, 1, 100).await;
    let id = text(&ask(&ada, &order, &mug, 1).await["id"]);
    let refuse = format!("/admin/v1/returns/{id}/refuse");
    for bad in [json!({}), json!({ "answer": "  " })] {
        assert_eq!(shop.admin.post(&refuse, bad).await.expect(400).code(), "required");
    }
    // Twice with the same answer is once; with another one it is another decision.
    for _ in 0..2 {
        let refused = shop.admin.post(&refuse, json!({ "answer": "it was worn" })).await.expect(200).body;
        assert_eq!(
            (&refused["return"]["status"], &refused["return"]["answer"]),
            (&json!("refused"), &json!("it was worn"))
        );
    }
    assert_eq!(shop.admin.post(&refuse, json!({ "answer": "no" })).await.expect(409).code(), "illegal_transition");
    let approve = format!("/admin/v1/returns/{id}/approve");
    assert_eq!(shop.admin.key("a").post(&approve, json!({})).await.expect(409).code(), "illegal_transition");
    assert_eq!(shop.order(&order).await["refunded"]["amount"], 0);
    let mine = ada.http.get(&format!("/store/v1/orders/{order}/returns")).await.expect(200).body;
    assert_eq!(
        (&mine["returns"][0]["answer"], &mine["returns"][0]["status"]),
        (&json!("it was worn"), &json!("refused"))
    );
    let events = ada.http.get(&format!("/store/v1/orders/{order}/events")).await.expect(200).body["events"].clone();
    let last = events.as_array().unwrap().last().unwrap();
    assert_eq!((&last["type"], &last["data"]["reason"]), (&json!("return_refused"), &json!("it was worn")));
    let records = audit_records(&shop.mall, "order").await;
    assert_eq!(
        records.iter().map(|record| record.action.as_str()).collect::<Vec<_>>(),
        ["order.ship", "return.refuse"]
    );
    ask(&ada, &order, &mug, 1).await;
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_one_return_and_no_two_at_once_take_the_same_unit() {
    for (shop, _server) in shops().await {
        let (_, mug) = shop.product("Mug", 100, 20).await;
        let ada = shop.shopper().await;
        let order = shipped(&shop, &ada, &mug, 3, 300).await;
        let path = format!("/store/v1/orders/{order}/returns");
        let first = ada.http.key("once").post(&path, wish(&mug, 1)).await.expect(201).body;
        forget(&shop).await;
        let again = ada.http.key("once").post(&path, wish(&mug, 1)).await.expect(201).body;
        assert_eq!(again, first, "the order service knows the key itself");
        forget(&shop).await;
        let other = ada.http.key("once").post(&path, wish(&mug, 2)).await.expect(422);
        assert_eq!(other.code(), "idempotency_conflict");

        let answers = join_all((0..12).map(|i| {
            let (http, path, body) = (ada.http.key(&format!("w{i}")), path.clone(), wish(&mug, 1));
            async move { patiently("a wish", async || http.post(&path, body.clone()).await).await }
        }))
        .await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 2, "{answers:?}");
        assert!(
            answers.iter().all(|answer| answer.status == 201 || answer.code() == "return_exceeds_sold"),
            "{answers:?}"
        );
        let refused = ada.http.key("more").post(&path, wish(&mug, 1)).await.expect(422);
        assert_eq!(refused.body["error"]["details"], json!({ "sku_id": mug, "returnable": 0 }));
        shop.check().await;
        shop.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_ones_own_shipped_orders_are_returned_and_only_operators_decide() {
    let shop = Shop::start().await;
    let (_, mug) = shop.product("Mug", 100, 20).await;
    let (ada, eve) = (shop.shopper().await, shop.shopper().await);
    let paid = text(&ada.buy(&mug, 2, 200).await["id"]);
    let path = format!("/store/v1/orders/{paid}/returns");
    let early = ada.http.key("early").post(&path, wish(&mug, 1)).await.expect(409);
    assert_eq!((early.code(), &early.body["error"]["details"]["status"]), ("illegal_transition", &json!("paid")));
    let one = json!({ "lines": [{ "sku_id": mug, "quantity": 1 }] });
    shop.admin.post(&format!("/admin/v1/orders/{paid}/ship"), one).await.expect(200);
    ada.http.key("half").post(&path, wish(&mug, 2)).await.expect(422);
    shop.admin.post(&format!("/admin/v1/orders/{paid}/ship"), json!({})).await.expect(200);

    for (bad, status, code) in [
        (json!({ "lines": [], "reason": "x" }), 400, "required"),
        (json!({ "lines": [{ "sku_id": mug, "quantity": 1 }] }), 400, "required"),
        (json!({ "lines": [{ "sku_id": mug, "quantity": 1 }], "reason": " " }), 400, "required"),
        (json!({ "lines": [{ "sku_id": mug, "quantity": 1 }], "reason": "x".repeat(201) }), 400, "too_long"),
        (wish(&mug, 0), 400, "quantity_out_of_range"),
        (wish(&mug, -1), 400, "quantity_out_of_range"),
        (wish(&mug, 3), 422, "return_exceeds_sold"),
        (wish("sku_none", 1), 422, "return_exceeds_sold"),
    ] {
        assert_eq!(ada.http.key(&unique("bad")).post(&path, bad).await.expect(status).code(), code);
    }
    assert_eq!(ada.http.get(&path).await.expect(200).body["returns"], json!([]));

    assert_eq!(eve.http.key("e").post(&path, wish(&mug, 1)).await.expect(404).code(), "order_not_found");
    eve.http.get(&path).await.expect(404);
    shop.http.get(&path).await.expect(401);
    shop.admin.post(&format!("/admin/v1/orders/{paid}/deliver"), json!({})).await.expect(200);
    let id = text(&ask(&ada, &paid, &mug, 1).await["id"]);
    ada.http.get("/admin/v1/returns").await.expect(403);
    ada.http.key("a").post(&format!("/admin/v1/returns/{id}/approve"), json!({})).await.expect(403);
    ada.http.post(&format!("/admin/v1/returns/{id}/refuse"), json!({ "answer": "x" })).await.expect(403);
    for what in ["approve", "refuse"] {
        let path = format!("/admin/v1/returns/ret_none/{what}");
        let unknown = shop.admin.key(&unique("none")).post(&path, json!({ "answer": "x" })).await;
        let unknown = if what == "approve" { shop.admin.key("n").post(&path, json!({})).await } else { unknown };
        assert_eq!(unknown.expect(404).code(), "return_not_found");
    }
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_page_through_returns_by_status() {
    for (shop, _server) in shops().await {
        let (_, mug) = shop.product("Mug", 100, 20).await;
        let ada = shop.shopper().await;
        let order = shipped(&shop, &ada, &mug, 5, 500).await;
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(text(&ask(&ada, &order, &mug, 1).await["id"]));
        }
        ids.reverse();
        shop.admin.post(&format!("/admin/v1/returns/{}/refuse", ids[1]), json!({ "answer": "no" })).await.expect(200);
        shop.admin.key("a").post(&format!("/admin/v1/returns/{}/approve", ids[2]), json!({})).await.expect(200);
        let listed = async |query: &str| {
            let body = shop.admin.get(&format!("/admin/v1/returns?{query}")).await.expect(200).body;
            let ids: Vec<_> = body["returns"].as_array().unwrap().iter().map(|of| text(&of["id"])).collect();
            (ids, body["next_cursor"].as_str().unwrap_or_default().to_owned())
        };
        assert_eq!(listed("").await.0, ids);
        let (page, cursor) = listed("limit=2").await;
        assert_eq!(page, ids[..2]);
        let (page, cursor) = listed(&format!("limit=2&cursor={cursor}")).await;
        assert_eq!(page, ids[2..4]);
        assert_eq!(listed(&format!("limit=2&cursor={cursor}")).await, (ids[4..].to_vec(), String::new()));
        assert_eq!(listed("status=requested").await.0, [0, 3, 4].map(|i| ids[i].clone()));
        assert_eq!(listed("status=refused").await.0, [ids[1].clone()]);
        assert_eq!(listed("status=refunded").await.0, [ids[2].clone()]);
        assert!(listed("status=withdrawn").await.0.is_empty());
        assert_eq!(shop.admin.get("/admin/v1/returns?status=lost").await.expect(400).code(), "unknown_status");
        shop.check().await;
        shop.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_whose_money_went_back_on_another_way_is_not_paid_again() {
    let shop = Shop::start().await;
    let (_, mug) = shop.product("Mug", 100, 20).await;
    let ada = shop.shopper().await;
    let order = shipped(&shop, &ada, &mug, 2, 200).await;
    let id = text(&ask(&ada, &order, &mug, 1).await["id"]);
    let refund = format!("/admin/v1/orders/{order}/refund");
    let most = json!({ "amount": { "amount": 150, "currency": "CNY" }, "reason": "goodwill" });
    shop.admin.key("most").post(&refund, most).await.expect(200);
    let approve = format!("/admin/v1/returns/{id}/approve");
    let refused = shop.admin.key("a").post(&approve, json!({})).await.expect(422);
    assert_eq!(
        (refused.code(), &refused.body["error"]["details"]["refundable"]["amount"]),
        ("refund_exceeds_captured", &json!(50))
    );
    shop.admin.key("rest").post(&refund, json!({ "reason": "goodwill" })).await.expect(200);
    shop.order_is(&order, "refunded").await;
    assert_eq!(shop.admin.key("b").post(&approve, json!({})).await.expect(409).code(), "illegal_transition");
    // It has its answer already.
    let returns = shop.admin.get("/admin/v1/returns?status=refused").await.expect(200).body["returns"].clone();
    assert_eq!((&returns[0]["id"], &returns[0]["answer"]), (&json!(id), &json!("order_refunded")));
    shop.stock_is(&mug, 20, 0).await;
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_returns_that_says_something_else_than_the_orders_turns_its_check_red() {
    let shop = Shop::start().await;
    let (_, mug) = shop.product("Mug", 100, 20).await;
    let ada = shop.shopper().await;
    let order = shipped(&shop, &ada, &mug, 2, 200).await;
    let id = text(&ask(&ada, &order, &mug, 1).await["id"]);
    shop.check().await;
    let db = shop.mall.context("order").unwrap().db();
    for (damage, repair) in [
        ("UPDATE returns SET status = 'refunded'", "UPDATE returns SET status = 'requested'"),
        ("INSERT INTO returns SELECT 'ret_x', order_id, status FROM returns", "DELETE FROM returns WHERE id = 'ret_x'"),
        ("DELETE FROM returns", "INSERT INTO returns (id, order_id, status) VALUES (?, ?, 'requested')"),
    ] {
        db.apply(Unit::new("test.damage").exec(damage, params![])).await.unwrap();
        assert_eq!(red(&shop).await, ["order.returns_add_up"], "{damage}");
        let values = if repair.contains('?') { params![id.as_str(), order.as_str()] } else { params![] };
        db.apply(Unit::new("test.repair").exec(repair, values)).await.unwrap();
        shop.check().await;
    }
    shop.stop().await;
}

/// Writes what the program of before this one writes when it delivers an order: it leaves out what it does not know.
async fn delivered_by_an_older_program(shop: &Shop, order_id: &str) {
    let db = shop.mall.context("order").unwrap().db();
    let sql = "SELECT state, version FROM orders WHERE id = ?";
    let row = db.query_opt(sql, params![order_id]).await.unwrap().unwrap();
    let mut order = Order::decode(row.get::<Vec<u8>>(0).unwrap().as_slice()).unwrap();
    (order.returns, order.open_refunds) = (Vec::new(), Vec::new());
    for line in &mut order.lines {
        (line.shipped, line.returned_sent) = (0, 0);
    }
    order.version = row.get::<i64>(1).unwrap() + 1;
    order.set_status(OrderStatus::Delivered);
    let at = order.updated_at.as_ref().unwrap().micros();
    let unit = Unit::new("test.deliver")
        .guard(
            "UPDATE orders SET status = 'delivered', version = ?, state = ? WHERE id = ? AND version = ?",
            params![order.version, order.encode_to_vec(), order_id, order.version - 1],
            1,
            0,
        )
        .exec(
            "INSERT INTO order_events (order_id, version, id, kind, subject, at, actor, data) \
             VALUES (?, ?, ?, 'delivered', '', ?, 'operator', ?)",
            params![order_id, order.version, unique("evt").as_str(), at, Vec::<u8>::new()],
        );
    db.apply(unit).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_survives_an_older_program_that_moves_its_order() {
    for (shop, _server) in shops().await {
        let (_, mug) = shop.product("Mug", 100, 10).await;
        let ada = shop.shopper().await;
        let order = shipped(&shop, &ada, &mug, 3, 300).await;
        let id = text(&ask(&ada, &order, &mug, 2).await["id"]);
        delivered_by_an_older_program(&shop, &order).await;
        // At once, and whatever the lists say at the moment.
        let mine = ada.http.get(&format!("/store/v1/orders/{order}/returns")).await.expect(200).body;
        assert_eq!(mine["returns"][0]["id"], json!(id));
        shop.admin.get("/admin/v1/returns").await.expect(200);
        let now = shop.order(&order).await;
        assert_eq!((&now["status"], &now["lines"][0]["shipped"]), (&json!("delivered"), &json!(3)));
        shop.check().await;
        delivered_is_returned(&shop, &order, &id).await;
        shop.stop().await;
    }
}

async fn delivered_is_returned(shop: &Shop, order: &str, id: &str) {
    let approve = format!("/admin/v1/returns/{id}/approve");
    let done = shop.admin.key(&unique("a")).post(&approve, json!({})).await.expect(200).body["return"].clone();
    assert_eq!(done["status"], "refunded");
    let after = shop.order(order).await;
    assert_eq!((&after["refunded"]["amount"], &after["lines"][0]["returned_sent"]), (&json!(200), &json!(2)));
    shop.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_is_approved_though_its_id_was_the_key_of_a_refund() {
    let shop = Shop::start().await;
    let (_, mug) = shop.product("Mug", 100, 10).await;
    let ada = shop.shopper().await;
    let order = shipped(&shop, &ada, &mug, 3, 300).await;
    let id = text(&ask(&ada, &order, &mug, 2).await["id"]);
    let goodwill = json!({ "amount": { "amount": 30, "currency": "CNY" }, "reason": "late" });
    shop.admin.key(&id).post(&format!("/admin/v1/orders/{order}/refund"), goodwill).await.expect(200);
    let approve = format!("/admin/v1/returns/{id}/approve");
    let done = shop.admin.key("a").post(&approve, json!({})).await.expect(200).body["return"].clone();
    assert_eq!(done["status"], "refunded");
    assert_eq!(shop.order(&order).await["refunded"]["amount"], 230);
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_arrived_is_returned_while_the_rest_is_still_to_be_sent() {
    let shop = Shop::start().await;
    let (_, mug) = shop.product("Mug", 100, 10).await;
    let ada = shop.shopper().await;
    let order = text(&ada.buy(&mug, 4, 400).await["id"]);
    let one = json!([{ "sku_id": mug, "quantity": 1 }]);
    let two = json!([{ "sku_id": mug, "quantity": 2 }]);
    let returns = format!("/store/v1/orders/{order}/returns");
    assert_eq!(ada.http.post(&returns, wish(&mug, 1)).await.expect(409).code(), "illegal_transition");
    shop.admin.post(&format!("/admin/v1/orders/{order}/ship"), json!({ "lines": two })).await.expect(200);
    let refused = ada.http.post(&returns, wish(&mug, 3)).await.expect(422);
    assert_eq!(refused.body["error"]["details"]["returnable"], 2);
    let id = text(&ask(&ada, &order, &mug, 1).await["id"]);
    shop.admin.key("a").post(&format!("/admin/v1/returns/{id}/approve"), json!({})).await.expect(200);
    // One that was found broken comes back at the operator's word: both that are to be sent stay so.
    let price = json!({ "amount": 100, "currency": "CNY" });
    let broken = json!({ "amount": price, "reason": "broken", "lines": one, "units_sent": true });
    let refund = format!("/admin/v1/orders/{order}/refund");
    shop.admin.key("b").post(&refund, broken.clone()).await.expect(200);
    let line = shop.order(&order).await["lines"][0].clone();
    assert_eq!((&line["shipped"], &line["returned"], &line["returned_sent"]), (&json!(2), &json!(2), &json!(2)));
    let none_left = shop.admin.key("c").post(&refund, broken).await.expect(422);
    assert_eq!(
        (none_left.code(), &none_left.body["error"]["details"]["returnable"]),
        ("return_exceeds_sold", &json!(0))
    );
    shop.admin.post(&format!("/admin/v1/orders/{order}/ship"), json!({ "lines": two })).await.expect(200);
    assert_eq!(shop.order(&order).await["status"], "shipped");
    shop.stock_is(&mug, 8, 0).await;
    shop.check().await;
    shop.stop().await;
}

// With faults: a paused clock, a disk in memory, the process killed at every commit.

const PRICE: i64 = 990;
const STOCK: i64 = 20;

/// Opens a shop in which user 1 has three units and wants to give two of them back.
fn asked(seed: u64) -> (World, Order, Return) {
    let mut world = World::new(seed);
    let (order, asked) = world.calmly(async |mall| {
        list(mall, 0, PRICE, STOCK).await;
        let pay = world::card("4242424242424242");
        let placed = Buyer::new(mall, 1).place(world::order("buy", &[(0, 3)], 3 * PRICE, pay)).await.expect("placed");
        let order = placed.order.expect("an order");
        let mut client: OrderServiceClient<ServiceChannel> = mall.client();
        let ship = AdminShipOrderRequest { id: order.id.clone(), ..Default::default() };
        as_system(client.admin_ship_order(ship)).await.expect("shipped");
        let wish = wanted(&order.id, 2);
        let asked = as_user(&user(1), client.create_return(wish)).await.expect("asked").into_inner();
        (order, asked.r#return.expect("a return"))
    });
    (world, order, asked)
}

fn wanted(order_id: &str, quantity: i64) -> CreateReturnRequest {
    CreateReturnRequest {
        id: order_id.into(),
        lines: vec![LineInput { sku_id: sku(0), quantity, ..Default::default() }],
        reason: "too small".into(),
        idempotency_key: "wish".into(),
    }
}

async fn approve(mall: &Mall, id: &str, key: &str) -> Result<Return, Error> {
    let mut client: OrderServiceClient<ServiceChannel> = mall.client();
    let request = AdminApproveReturnRequest { id: id.into(), idempotency_key: key.into() };
    let answer = as_system(client.admin_approve_return(request)).await.map_err(mallard_rpc::error)?;
    Ok(answer.into_inner().r#return.expect("a return"))
}

async fn returns(mall: &Mall, order_id: &str) -> Vec<Return> {
    let mut client: OrderServiceClient<ServiceChannel> = mall.client();
    let request = ListOrderReturnsRequest { id: order_id.into() };
    as_user(&user(1), client.list_order_returns(request)).await.expect("returns").into_inner().returns
}

/// Asserts that two units and their money came back, once, and nothing else.
async fn refunded_once(mall: &Mall, order_id: &str) {
    let order = orders(mall).await.into_iter().find(|order| order.id == order_id).expect("the order");
    assert_eq!(order.refunded.as_ref().map(|money| money.amount), Some(2 * PRICE));
    assert_eq!((order.lines[0].returned, order.lines[0].shipped), (2, 3));
    conserved(mall, 0, STOCK).await;
    green(mall).await;
}

#[test]
fn killed_at_every_commit_of_an_approval_the_money_and_the_units_come_back_once() {
    let (mut world, order, of) = asked(8_100);
    let commits = Commits::default();
    world.disk.set_hook(std::sync::Arc::new(commits.clone()));
    world.calmly(async |mall| drop(approve(mall, &of.id, "a").await.expect("approved")));
    world.calmly(async |mall| refunded_once(mall, &order.id).await);
    let seen = commits.seen();
    for tx in ["order return.approve", "order order.refunded", "inventory inventory.return"] {
        assert!(seen.iter().any(|commit| commit == tx), "{tx} is not one of {seen:?}");
    }
    let mut killed = 0;
    for at in [At::Before, At::After] {
        for nth in 1..=seen.len() as u64 {
            let (mut world, order, of) = asked(8_200 + nth);
            world.disk.set_hook(std::sync::Arc::new(KillNth::new(at, nth)));
            let told = world.live(async |mall| approve(mall, &of.id, "a").await.expect("approved"));
            killed += u64::from(told.is_none());
            world.calmly(async |mall| {
                settled(mall, 1, 30).await;
                green(mall).await;
                let status = returns(mall, &order.id).await[0].status();
                assert!(
                    status == ReturnStatus::Refunded || told.is_none() && status == ReturnStatus::Requested,
                    "{at:?} commit {nth}: {status:?}"
                );
                // Whoever saw no answer asks again, with the same key or another.
                let again = approve(mall, &of.id, if nth % 2 == 0 { "a" } else { "b" }).await.expect("approved");
                assert_eq!(again.status(), ReturnStatus::Refunded, "{at:?} commit {nth}");
                settled(mall, 1, 30).await;
                refunded_once(mall, &order.id).await;
            });
        }
    }
    assert!(killed >= seen.len() as u64, "most of the kills must happen within the approval: {killed} of {seen:?}");
}

#[test]
fn killed_while_it_is_asked_for_a_return_is_there_once_when_it_is_asked_for_again() {
    for at in [At::Before, At::After] {
        let (mut world, order, _) = asked(8_300);
        let one_more = CreateReturnRequest { idempotency_key: "more".into(), ..wanted(&order.id, 1) };
        world.killed_by(world::KillAt::new(at, "order", "return.request"), async |mall| {
            let mut client: OrderServiceClient<ServiceChannel> = mall.client();
            drop(as_user(&user(1), client.create_return(one_more.clone())).await);
        });
        world.calmly(async |mall| {
            assert_eq!(returns(mall, &order.id).await.len(), if at == At::Before { 1 } else { 2 });
            let mut client: OrderServiceClient<ServiceChannel> = mall.client();
            as_user(&user(1), client.create_return(one_more.clone())).await.expect("asked");
            assert_eq!(returns(mall, &order.id).await.len(), 2);
            green(mall).await;
        });
    }
}

/// Keeps the payment's events away from the order.
struct Deaf;

impl Fault for Deaf {
    fn decide(&self, service: &str, method: &str) -> FaultAction {
        if (service, method) == ("order", "Deliver") { FaultAction::LoseRequest } else { FaultAction::Pass }
    }
}

#[test]
fn a_payment_that_refuses_for_good_refuses_the_return_and_the_shopper_may_ask_again() {
    let (world, order, of) = asked(8_400);
    let mut world = world.faults(Deaf);
    world.calmly(async |mall| {
        // Most of the money went back at the payment, and the order has not heard of it.
        let mut payment: PaymentServiceClient<ServiceChannel> = mall.client();
        let request = AdminRefundRequest {
            id: order.payment_id.clone(),
            amount: Some(cny(2 * PRICE)),
            reason: "goodwill".into(),
            idempotency_key: "g".into(),
        };
        as_system(payment.admin_refund(request)).await.expect("refunded");
        let refused = approve(mall, &of.id, "a").await.expect_err("the payment has not so much left");
        assert_eq!(refused.code, "refund_exceeds_captured", "{refused}");
        let of = &returns(mall, &order.id).await[0];
        assert!(of.status() == ReturnStatus::Refused && !of.answer.is_empty(), "{of:?}");
    });
    world.calm();
    world.calmly(async |mall| {
        tokio::time::sleep(Duration::from_secs(60)).await;
        settled(mall, 1, 30).await;
        green(mall).await;
        let mut client: OrderServiceClient<ServiceChannel> = mall.client();
        let again = CreateReturnRequest { idempotency_key: "again".into(), ..wanted(&order.id, 1) };
        let again = as_user(&user(1), client.create_return(again)).await.expect("asked").into_inner();
        let again = again.r#return.expect("a return");
        assert_eq!(again.amount.map(|money| money.amount), Some(PRICE));
        approve(mall, &again.id, "b").await.expect("approved");
        settled(mall, 1, 30).await;
        green(mall).await;
    });
}

/// Keeps every wish for money back away from the payment.
struct Penniless;

impl Fault for Penniless {
    fn decide(&self, service: &str, method: &str) -> FaultAction {
        if (service, method) == ("payment", "RefundOrder") { FaultAction::LoseRequest } else { FaultAction::Pass }
    }
}

/// Gives back all that is left of an order; the answer may be lost.
async fn refund_all(mall: &Mall, order_id: &str) -> Result<(), Error> {
    let mut client: OrderServiceClient<ServiceChannel> = mall.client();
    let request = AdminRefundOrderRequest {
        id: order_id.into(),
        reason: "recall".into(),
        idempotency_key: "all".into(),
        ..Default::default()
    };
    as_system(client.admin_refund_order(request)).await.map(drop).map_err(mallard_rpc::error)
}

/// Asserts that all three units and their money came back, once, and that nobody has to decide about a return any more.
async fn all_came_back_once(mall: &Mall, order_id: &str, return_is: ReturnStatus) {
    let order = orders(mall).await.into_iter().find(|order| order.id == order_id).expect("the order");
    assert_eq!(order.status(), OrderStatus::Refunded);
    assert_eq!(order.refunded.as_ref().map(|money| money.amount), Some(3 * PRICE));
    assert_eq!(order.lines[0].returned, 3);
    let of = &returns(mall, order_id).await[0];
    let answer = if return_is == ReturnStatus::Refused { "order_refunded" } else { "" };
    assert_eq!((of.status(), of.answer.as_str()), (return_is, answer));
    let mut client: OrderServiceClient<ServiceChannel> = mall.client();
    let open = AdminListReturnsRequest { status: "requested".into(), ..Default::default() };
    assert!(as_system(client.admin_list_returns(open)).await.expect("a list").into_inner().returns.is_empty());
    conserved(mall, 0, STOCK).await;
    green(mall).await;
}

#[test]
fn a_return_that_is_agreed_to_after_the_whole_order_is_given_back_stays_closed() {
    let (world, order, of) = asked(8_600);
    let mut world = world.faults(Penniless);
    world.calmly(async |mall| {
        drop(refund_all(mall, &order.id).await);
        // The money is on its way, and so is that of the return; whether it comes is not known yet.
        assert_eq!(approve(mall, &of.id, "a").await.expect_err("all is being given back").code, "illegal_transition");
        assert_eq!(returns(mall, &order.id).await[0].status(), ReturnStatus::Requested);
    });
    world.calm();
    world.calmly(async |mall| {
        settled(mall, 1, 30).await;
        refund_all(mall, &order.id).await.expect("refunded");
        settled(mall, 1, 30).await;
        all_came_back_once(mall, &order.id, ReturnStatus::Refused).await;
        assert_eq!(approve(mall, &of.id, "b").await.expect_err("it is closed").code, "illegal_transition");
        all_came_back_once(mall, &order.id, ReturnStatus::Refused).await;
    });
}

#[test]
fn a_return_that_is_agreed_to_before_the_rest_is_given_back_is_paid_by_itself() {
    let (world, order, of) = asked(8_700);
    let mut world = world.faults(Penniless);
    world.calmly(async |mall| {
        drop(approve(mall, &of.id, "a").await);
        assert_eq!(returns(mall, &order.id).await[0].status(), ReturnStatus::Approved);
        drop(refund_all(mall, &order.id).await);
    });
    world.calm();
    world.calmly(async |mall| {
        settled(mall, 1, 30).await;
        approve(mall, &of.id, "a").await.expect("agreed to");
        refund_all(mall, &order.id).await.expect("refunded");
        settled(mall, 1, 30).await;
        all_came_back_once(mall, &order.id, ReturnStatus::Refunded).await;
    });
}

#[test]
fn a_return_and_the_whole_order_agreed_to_at_once_give_everything_back_once() {
    for seed in 8_800..8_808 {
        let (mut world, order, of) = asked(seed);
        world.calmly(async |mall| {
            let (approved, all) = tokio::join!(approve(mall, &of.id, "a"), refund_all(mall, &order.id));
            all.expect("refunded");
            settled(mall, 1, 30).await;
            let status = if approved.is_ok() { ReturnStatus::Refunded } else { ReturnStatus::Refused };
            all_came_back_once(mall, &order.id, status).await;
        });
    }
}

#[test]
fn killed_at_every_commit_of_a_whole_refund_its_returns_are_closed_with_it() {
    let (mut world, order, _) = asked(8_900);
    let commits = Commits::default();
    world.disk.set_hook(std::sync::Arc::new(commits.clone()));
    world.calmly(async |mall| refund_all(mall, &order.id).await.expect("refunded"));
    let seen = commits.seen();
    for at in [At::Before, At::After] {
        for nth in 1..=seen.len() as u64 {
            let (mut world, order, _) = asked(8_900 + nth);
            world.disk.set_hook(std::sync::Arc::new(KillNth::new(at, nth)));
            drop(world.live(async |mall| refund_all(mall, &order.id).await));
            world.calmly(async |mall| {
                settled(mall, 1, 30).await;
                green(mall).await;
                let now = orders(mall).await.into_iter().find(|one| one.id == order.id).expect("the order");
                let open = returns(mall, &order.id).await[0].status() == ReturnStatus::Requested;
                assert_ne!(open, now.status() == OrderStatus::Refunded, "{at:?} commit {nth}: closed with the order");
                refund_all(mall, &order.id).await.expect("refunded");
                settled(mall, 1, 30).await;
                all_came_back_once(mall, &order.id, ReturnStatus::Refused).await;
            });
        }
    }
}

/// Keeps the order's word that stock is sold away from the inventory.
struct Unconfirmed;

impl Fault for Unconfirmed {
    fn decide(&self, service: &str, method: &str) -> FaultAction {
        if (service, method) == ("inventory", "Confirm") { FaultAction::LoseRequest } else { FaultAction::Pass }
    }
}

#[test]
fn goods_that_were_shipped_before_their_stock_was_confirmed_are_not_given_away_with_the_money() {
    for ships in [true, false] {
        let mut world = World::new(8_500).faults(Unconfirmed);
        world.calmly(async |mall| {
            list(mall, 0, PRICE, STOCK).await;
            let pay = world::card("4242424242424242");
            let placed =
                Buyer::new(mall, 1).place(world::order("buy", &[(0, 3)], 3 * PRICE, pay)).await.expect("placed");
            let order = placed.order.expect("an order");
            assert_eq!(order.status(), OrderStatus::Paid);
            if ships {
                let mut client: OrderServiceClient<ServiceChannel> = mall.client();
                let ship = AdminShipOrderRequest { id: order.id.clone(), ..Default::default() };
                as_system(client.admin_ship_order(ship)).await.expect("shipped");
            }
            // The hold ends by itself.
            tokio::time::sleep(Duration::from_secs(world::RECOVERY_S)).await;
        });
        world.calm();
        world.calmly(async |mall| {
            tokio::time::sleep(Duration::from_secs(300)).await;
            let order = orders(mall).await.pop().expect("the order");
            let refunded = order.refunded.as_ref().map(|money| money.amount);
            if ships {
                assert_eq!((order.status(), refunded), (OrderStatus::Shipped, Some(0)));
                let red: Vec<_> = world::red(mall).await.into_iter().map(|check| check.name).collect();
                assert!(red.iter().any(|name| name == "order.flows_not_stuck"), "somebody is told: {red:?}");
            } else {
                assert_eq!((order.status(), refunded), (OrderStatus::Refunded, Some(3 * PRICE)));
                green(mall).await;
            }
        });
    }
}
