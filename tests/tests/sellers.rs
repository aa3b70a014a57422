//! Orders of several sellers: parcels, and what each seller sees and ships.

use std::sync::Arc;

use futures_util::future::join_all;
use mallard_db::{Unit, params};
use mallard_runtime::{Settings, Storage};
use mallard_testkit::pgtest::PgServer;
use mallard_testkit::{Http, audit_records, audited, eventually};
use mallard_tests::world::{self, Buyer, World, list_of};
use mallard_tests::*;
use serde_json::{Value, json};

/// A product of somebody's in the shop.
struct Product {
    sku: String,
    seller_id: String,
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

async fn product(seller: &Shopper, title: &str, price: i64, stock: i64) -> Product {
    let price = json!({ "amount": price, "currency": "CNY" });
    let body = json!({ "title": title, "status": "listed", "variants": [{ "price": price, "stock": stock }] });
    let made = seller.http.post("/seller/v1/products", body).await.expect(201).body["product"].clone();
    Product { sku: text(&made["variants"][0]["id"]), seller_id: text(&made["seller_id"]) }
}

async fn seller(shop: &Shop) -> Shopper {
    shop.user_with(&["user", "seller"]).await
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn lines(units: &[(&str, i64)]) -> Value {
    units.iter().map(|(sku, quantity)| json!({ "sku_id": sku, "quantity": quantity })).collect()
}

/// Places a paid order of these units; returns its id.
async fn buy(shopper: &Shopper, units: &[(&str, i64)], total: i64) -> String {
    let mut body = order(total, card(GOOD_CARD));
    (body["lines"], body["note"]) = (lines(units), json!("ring twice"));
    let placed = shopper.http.key(&unique("order")).post("/store/v1/orders", body).await.expect(201).body;
    assert_eq!(placed["order"]["status"], "paid");
    text(&placed["order"]["id"])
}

async fn listed(seller: &Shopper, query: &str) -> Vec<String> {
    let body = seller.http.get(&format!("/seller/v1/orders{query}")).await.expect(200).body;
    body["orders"].as_array().unwrap().iter().map(|order| text(&order["id"])).collect()
}

/// Names the checks that are red.
async fn red(shop: &Shop) -> Vec<String> {
    let answer = shop.admin.get("/admin/v1/check").await.expect(200).body;
    let checks = answer["checks"].as_array().unwrap();
    checks.iter().filter(|check| check["ok"] != true).map(|check| text(&check["name"])).collect()
}

fn shipped(order: &Value) -> Vec<i64> {
    order["lines"].as_array().unwrap().iter().map(|line| line["shipped"].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_seller_sees_its_part_of_an_order_and_ships_it() {
    let shop = Shop::start_with(|mut settings| {
        audited(&mut settings);
        settings
    })
    .await;
    let (ada, bea, eve, shopper) =
        (seller(&shop).await, seller(&shop).await, seller(&shop).await, shop.shopper().await);
    let (mug, vase) = (product(&ada, "Mug", 300, 9).await, product(&bea, "Vase", 700, 9).await);
    let id = buy(&shopper, &[(&mug.sku, 3), (&vase.sku, 1)], 1600).await;
    let path = format!("/seller/v1/orders/{id}");

    for query in ["", "?to_ship=true"] {
        assert_eq!((listed(&ada, query).await, listed(&bea, query).await), (vec![id.clone()], vec![id.clone()]));
        assert!(listed(&eve, query).await.is_empty());
    }
    let got = ada.http.get(&path).await.expect(200);
    let whole = shop.order(&id).await;
    assert_eq!(got.header("etag"), format!("\"{}\"", whole["version"]));
    let seen = &got.body["order"];
    assert_eq!(seen["lines"].as_array().unwrap().len(), 1);
    assert_eq!((&seen["lines"][0]["sku_id"], &seen["lines"][0]["quantity"]), (&json!(mug.sku), &json!(3)));
    for (sum, amount) in [("subtotal", 900), ("discount", 0), ("total", 900)] {
        assert_eq!(seen[sum], json!({ "amount": amount, "currency": "CNY" }), "{sum}");
    }
    assert_eq!((&seen["address"], &seen["note"], &seen["status"]), (&address(), &json!("ring twice"), &json!("paid")));
    // Nothing of the others, of the whole, of the payment, or of who bought it.
    let (list, one) = (ada.http.get("/seller/v1/orders").await.body.to_string(), seen.to_string());
    for secret in [&vase.sku, &vase.seller_id, &shopper.id, &text(&whole["payment_id"]), "1600", "\"700\"", ":700"] {
        assert!(!list.contains(secret) && !one.contains(secret), "{secret} in {one}");
    }

    // What is not its own is not there.
    let parcel = json!({ "carrier": "SF", "tracking_number": "SF1" });
    eve.http.get(&path).await.expect(404);
    eve.http.post(&format!("{path}/ship"), parcel.clone()).await.expect(404);
    ada.http.get("/seller/v1/orders/ord_none").await.expect(404);
    assert_eq!(shopper.http.get(&path).await.status, 403);
    assert_eq!(shop.http.get(&path).await.status, 401);
    let theirs = ada.http.post(&format!("{path}/ship"), json!({ "lines": lines(&[(&vase.sku, 1)]) })).await.expect(409);
    assert_eq!(theirs.code(), "illegal_transition");
    assert_eq!(shop.order(&id).await["version"], whole["version"], "nothing has changed");

    let some = json!({ "carrier": "SF", "tracking_number": "SF1", "lines": lines(&[(&mug.sku, 2)]) });
    let answer = ada.http.post(&format!("{path}/ship"), some).await.expect(200).body;
    assert_eq!((&answer["order"]["status"], shipped(&answer["order"])), (&json!("partially_shipped"), vec![2]));
    shop.admin.post(&format!("/admin/v1/orders/{id}/deliver"), json!({})).await.expect(409);
    assert_eq!(listed(&ada, "?to_ship=true").await, std::slice::from_ref(&id));
    ada.http.post(&format!("{path}/ship"), json!({ "carrier": "SF", "tracking_number": "SF2" })).await.expect(200);
    assert!(listed(&ada, "?to_ship=true").await.is_empty());
    assert_eq!((listed(&ada, "").await, listed(&bea, "?to_ship=true").await), (vec![id.clone()], vec![id.clone()]));
    // All of its own is sent, though not all of the order.
    let again = ada.http.post(&format!("{path}/ship"), parcel.clone()).await.expect(409);
    assert_eq!(
        (again.code(), &again.body["error"]["details"]["status"]),
        ("illegal_transition", &json!("partially_shipped"))
    );

    shop.admin.post(&format!("/admin/v1/orders/{id}/ship"), json!({})).await.expect(200);
    let whole = shop.order(&id).await;
    assert_eq!((&whole["status"], shipped(&whole)), (&json!("shipped"), vec![3, 1]));
    assert!(listed(&bea, "?to_ship=true").await.is_empty());

    // The shopper sees the parcels, not who in the seller's house sent them; the audit log knows.
    let events = shopper.http.get(&format!("/store/v1/orders/{id}/events")).await.expect(200).body["events"].clone();
    let parcels: Vec<_> = events.as_array().unwrap().iter().filter(|event| event["type"] == "shipped").collect();
    assert_eq!(parcels.len(), 3);
    assert_eq!((&parcels[0]["by"], &parcels[2]["by"]), (&json!("seller"), &json!("operator")));
    let first = &parcels[0]["data"];
    assert_eq!(
        (&first["tracking_number"], &first["lines"][0]["sku_id"], &first["lines"][0]["quantity"]),
        (&json!("SF1"), &json!(mug.sku), &json!(2))
    );
    let records = audit_records(&shop.mall, "order").await;
    assert_eq!(records.iter().map(|record| record.action.as_str()).collect::<Vec<_>>(), ["order.ship"; 3]);
    assert_eq!((&records[0].recorded.actor, &records[0].target), (&ada.id, &id));
    assert_eq!(records[0].after["units"], json!([[mug.sku, 2]]));
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parcel_that_is_sent_twice_is_shipped_once_and_nothing_is_shipped_beyond_what_was_bought() {
    for (shop, _server) in shops().await {
        let (_, mug) = shop.product("Mug", 100, 20).await;
        let ada = shop.shopper().await;
        let id = buy(&ada, &[(&mug, 6)], 600).await;
        let ship = format!("/admin/v1/orders/{id}/ship");
        let parcel = json!({ "carrier": "SF", "tracking_number": "SF1", "lines": lines(&[(&mug, 1)]) });

        // The same parcel, however often and however much at once.
        let send = |http: &Http, body: &Value| {
            let (http, ship, body) = (http.clone(), ship.clone(), body.clone());
            // A request that found no free connection to PostgreSQL for a second did nothing and comes back.
            async move { patiently("a parcel", async || http.post(&ship, body.clone()).await).await }
        };
        let answers = join_all((0..8).map(|_| send(&shop.admin, &parcel))).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "{answers:?}");
        assert!(
            answers.iter().all(|answer| answer.status == 200 || answer.code() == "illegal_transition"),
            "{answers:?}"
        );
        let late = shop.admin.post(&ship, parcel.clone()).await.expect(409);
        assert_eq!(late.body["error"]["param"], "tracking_number");
        assert_eq!(shipped(&shop.order(&id).await), [1]);
        // Another number is another parcel.
        let other = json!({ "carrier": "SF", "tracking_number": "SF2", "lines": lines(&[(&mug, 1)]) });
        shop.admin.post(&ship, other).await.expect(200);

        // Whoever saw an older order is told so.
        let one = json!({ "lines": lines(&[(&mug, 1)]) });
        let version = shop.order(&id).await["version"].to_string();
        let seen = shop.admin.with("if-match", &format!("\"{version}\""));
        let answers = join_all((0..4).map(|_| send(&seen, &one))).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "{answers:?}");
        assert!(
            answers.iter().all(|answer| answer.status == 200 || answer.code() == "version_mismatch"),
            "{answers:?}"
        );

        // Without either each request is a parcel of its own, until nothing is left.
        let answers = join_all((0..8).map(|_| send(&shop.admin, &one))).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 3, "{answers:?}");
        let whole = shop.order(&id).await;
        assert_eq!((&whole["status"], shipped(&whole)), (&json!("shipped"), vec![6]));
        for bad in [json!([{ "sku_id": mug, "quantity": 0 }]), json!([{ "sku_id": mug, "quantity": -1 }])] {
            let refused = shop.admin.post(&ship, json!({ "lines": bad })).await.expect(400);
            assert_eq!(
                (refused.code(), &refused.body["error"]["param"]),
                ("quantity_out_of_range", &json!("lines[0].quantity"))
            );
        }
        shop.check().await;
        shop.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_back_before_it_is_sent_is_not_to_be_shipped() {
    for (shop, _server) in shops().await {
        let (ada, shopper) = (seller(&shop).await, shop.shopper().await);
        let mug = product(&ada, "Mug", 100, 20).await;
        let id = buy(&shopper, &[(&mug.sku, 3)], 300).await;
        let refund = async |body: Value| {
            shop.admin.key(&unique("refund")).post(&format!("/admin/v1/orders/{id}/refund"), body).await.expect(200)
        };
        let one = json!({ "amount": 100, "currency": "CNY" });
        refund(json!({ "amount": one, "reason": "sold out", "lines": lines(&[(&mug.sku, 1)]) })).await;
        let ship = format!("/seller/v1/orders/{id}/ship");
        let refused = ada.http.post(&ship, json!({ "lines": lines(&[(&mug.sku, 3)]) })).await.expect(409);
        assert_eq!((refused.code(), &refused.body["error"]["details"]["left"]), ("illegal_transition", &json!(2)));
        ada.http.post(&ship, json!({ "lines": lines(&[(&mug.sku, 1)]) })).await.expect(200);
        // The last unit is given back instead of sent: the order is shipped as far as it ever will be.
        refund(json!({ "amount": one, "reason": "sold out", "lines": lines(&[(&mug.sku, 1)]) })).await;
        let whole = shop.order(&id).await;
        assert_eq!((&whole["status"], shipped(&whole)), (&json!("shipped"), vec![1]));
        assert!(listed(&ada, "?to_ship=true").await.is_empty());
        shop.admin.post(&format!("/admin/v1/orders/{id}/deliver"), json!({})).await.expect(200);
        // Everything back at once, before anything was sent.
        let other = buy(&shopper, &[(&mug.sku, 1)], 100).await;
        assert_eq!(listed(&ada, "?to_ship=true").await, std::slice::from_ref(&other));
        let path = format!("/admin/v1/orders/{other}/refund");
        shop.admin.key("all").post(&path, json!({ "reason": "changed my mind" })).await.expect(200);
        assert!(listed(&ada, "?to_ship=true").await.is_empty());
        ada.http.post(&format!("/seller/v1/orders/{other}/ship"), json!({})).await.expect(409);
        assert_eq!(
            ada.http.get(&format!("/seller/v1/orders/{other}")).await.expect(200).body["order"]["status"],
            "refunded"
        );
        shop.check().await;
        shop.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seller_pages_through_its_paid_orders_newest_first() {
    for (shop, _server) in shops().await {
        let (ada, bea, shopper) = (seller(&shop).await, seller(&shop).await, shop.shopper().await);
        let (mug, vase) = (product(&ada, "Mug", 100, 20).await, product(&bea, "Vase", 100, 20).await);
        let mut mine = Vec::new();
        for _ in 0..5 {
            mine.push(buy(&shopper, &[(&mug.sku, 1)], 100).await);
            buy(&shopper, &[(&vase.sku, 1)], 100).await;
        }
        // Orders that nobody has paid are nobody's business, and neither are those that were given up.
        let mut unpaid = order(100, later());
        unpaid["lines"] = lines(&[(&mug.sku, 1)]);
        let waiting =
            shopper.http.key("waits").post("/store/v1/orders", unpaid).await.expect(201).body["order"].clone();
        let waiting = format!("/seller/v1/orders/{}", text(&waiting["id"]));
        ada.http.get(&waiting).await.expect(404);
        ada.http.post(&format!("{waiting}/ship"), json!({})).await.expect(404);
        shop.admin.post(&format!("/admin/v1/orders/{}/ship", mine[1]), json!({})).await.expect(200);
        mine.reverse();
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = ada.http.get(&format!("/seller/v1/orders?limit=2&cursor={cursor}")).await.expect(200).body;
            seen.extend(page["orders"].as_array().unwrap().iter().map(|order| text(&order["id"])));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = next.to_owned();
        }
        assert_eq!(seen, mine);
        assert_eq!(listed(&ada, "?limit=3").await, mine[..3]);
        let open: Vec<_> = [0, 1, 2, 4].map(|i| mine[i].clone()).into();
        assert_eq!(listed(&ada, "?to_ship=true").await, open);
        assert_eq!(ada.http.get("/seller/v1/orders?limit=101").await.expect(400).code(), "limit_out_of_range");
        assert_eq!(ada.http.get("/seller/v1/orders?cursor=x").await.expect(400).code(), "bad_cursor");
        shop.check().await;
        shop.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_an_older_program_wrote_are_listed_for_their_sellers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = || {
        let config = mallard_tests::config();
        Settings::new(mallard::services(), config, Storage::Folder(folder.path().to_owned()))
    };
    let shop = Shop::run(settings(), None).await;
    let (ada, shopper) = (seller(&shop).await, shop.shopper().await);
    let mug = product(&ada, "Mug", 100, 20).await;
    let (sent, waits) = (buy(&shopper, &[(&mug.sku, 1)], 100).await, buy(&shopper, &[(&mug.sku, 2)], 200).await);
    shop.admin.post(&format!("/admin/v1/orders/{sent}/ship"), json!({})).await.expect(200);
    // As an older program leaves it, and the migration finds it.
    let before = || {
        Unit::new("test.before")
            .exec("DELETE FROM seller_orders", params![])
            .exec("UPDATE orders SET folded_version = 0", params![])
    };
    let db = shop.mall.context("order").unwrap().db();
    db.apply(before()).await.unwrap();
    let both = [waits.clone(), sent.clone()];
    eventually("both orders are listed, by the running program", async || listed(&ada, "").await == both).await;
    shop.check().await;
    db.apply(before()).await.unwrap();
    shop.stop().await;

    let shop = Shop::run(settings(), None).await;
    let ada = Shopper { http: shop.http.token(&text(&ada.tokens["access_token"])), ..ada };
    eventually("both orders are listed", async || listed(&ada, "").await == both).await;
    assert_eq!(listed(&ada, "?to_ship=true").await, std::slice::from_ref(&waits));
    ada.http.post(&format!("/seller/v1/orders/{waits}/ship"), json!({})).await.expect(200);
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_says_something_else_than_the_orders_turns_its_check_red() {
    let shop = Shop::start().await;
    let (ada, shopper) = (seller(&shop).await, shop.shopper().await);
    let mug = product(&ada, "Mug", 100, 20).await;
    let id = buy(&shopper, &[(&mug.sku, 1)], 100).await;
    shop.check().await;
    let db = shop.mall.context("order").unwrap().db();
    for (damage, repair) in [
        ("UPDATE seller_orders SET to_ship = 0", "UPDATE seller_orders SET to_ship = 1"),
        ("UPDATE seller_orders SET seller_id = 'sel_x' || seller_id", "UPDATE seller_orders SET seller_id = ?"),
        (
            "INSERT INTO seller_orders SELECT order_id, 'sel_x', 0 FROM seller_orders",
            "DELETE FROM seller_orders WHERE seller_id = 'sel_x'",
        ),
        ("DELETE FROM seller_orders", "INSERT INTO seller_orders (order_id, seller_id, to_ship) VALUES (?, ?, 1)"),
    ] {
        db.apply(Unit::new("test.damage").exec(damage, params![])).await.unwrap();
        assert_eq!(red(&shop).await, ["order.sellers_see_their_orders"], "{damage}");
        let values = match repair.matches('?').count() {
            0 => params![],
            1 => params![mug.seller_id.as_str()],
            _ => params![id.as_str(), mug.seller_id.as_str()],
        };
        db.apply(Unit::new("test.repair").exec(repair, values)).await.unwrap();
        shop.check().await;
    }
    shop.stop().await;
}

#[test]
fn listing_an_order_for_its_sellers_costs_a_checkout_one_statement_however_many_they_are() {
    // Without those who listen to orders: each event costs a statement per listener. On a paused clock, so that no loop of the
    // background looks for work meanwhile because the machine is slow.
    World::new(9_100).without("insight").calmly(async |mall| {
        for (i, seller) in (0..).zip(["sel_ada", "sel_bea"]) {
            list_of(mall, seller, i, 100, 50).await;
        }
        let db = mall.context("order").expect("order runs here").db();
        for units in [vec![(0, 1)], vec![(0, 1), (1, 1)]] {
            let mut least = u64::MAX;
            // What the background does meanwhile only adds.
            for _ in 0..10 {
                let total = 100 * units.len() as i64;
                let request = world::order(&unique("order"), &units, total, world::card("4242424242424242"));
                let before = db.statements();
                let placed = Buyer::new(mall, 1).place(request).await.expect("placed").order.expect("an order");
                least = least.min(db.statements() - before);
                assert!(world::is_sold(&placed), "{placed:?}");
            }
            // The key; order, event, flow; order, event, sellers, flow; the order; the end of the flow.
            assert_eq!(least, 1 + 3 + 4 + 1 + 1, "{units:?}");
        }
    });
}
