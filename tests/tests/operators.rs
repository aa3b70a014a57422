//! What operators do leaves a record, and what they see of the mall's workings is there when part of it is not.

use mallard_db::Unit;
use mallard_runtime::{Parts, ServiceSpec, Settings, Task};
use mallard_testkit::{audit_records, audited, eventually, start};
use mallard_tests::{GOOD_CARD, Shop, patiently, unique};
use serde_json::{Value, json};

async fn shop() -> Shop {
    Shop::start_with(|mut settings| {
        audited(&mut settings);
        settings
    })
    .await
}

/// Places an order of one product that is paid; returns its id.
async fn paid(shop: &Shop, sku: &str) -> String {
    let shopper = shop.shopper().await;
    let total = json!({ "amount": 990, "currency": "CNY" });
    let body = json!({
        "lines": [{ "sku_id": sku, "quantity": 1 }],
        "address": { "name": "Ada", "country": "CN", "street": "1 Harbour Road" },
        "expected_total": total,
        "payment": { "method": "card", "number": GOOD_CARD, "exp_month": 12, "exp_year": 2040, "cvc": "012" },
    });
    let placed = shopper.http.key(&unique("order")).post("/store/v1/orders", body).await.expect(201).body;
    placed["order"]["id"].as_str().unwrap().to_owned()
}

async fn recorded(shop: &Shop, service: &str) -> Vec<(String, String)> {
    audit_records(&shop.mall, service).await.into_iter().map(|r| (r.action, r.target)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_and_money_leave_a_record_of_each_decision() {
    let shop = shop().await;
    let (product, sku) = shop.product("Tea", 990, 10).await;
    let order = paid(&shop, &sku).await;
    let admin = |what: &str| format!("/admin/v1/orders/{order}/{what}");
    let parcel = json!({ "carrier": "SF", "tracking_number": "SF1" });
    shop.admin.post(&admin("ship"), parcel.clone()).await.expect(200);
    // Twice, at once with something that is refused.
    assert!(shop.admin.post(&admin("ship"), parcel).await.status >= 400);
    assert!(shop.admin.post(&admin("cancel"), json!({ "reason": "late" })).await.status >= 400);
    shop.admin.post(&admin("deliver"), json!({})).await.expect(200);
    let refund = json!({ "amount": { "amount": 90, "currency": "CNY" }, "reason": "scratched" });
    let key = unique("refund");
    for _ in 0..2 {
        shop.admin.key(&key).post(&admin("refund"), refund.clone()).await.expect(200);
    }
    // A gateway that has forgotten its answer asks the order service again.
    shop.mall
        .context("gateway")
        .unwrap()
        .db()
        .apply(Unit::new("test.forget").exec("DELETE FROM answers", Vec::new()))
        .await
        .unwrap();
    shop.admin.key(&key).post(&admin("refund"), refund).await.expect(200);

    let records = audit_records(&shop.mall, "order").await;
    let actions: Vec<&str> = records.iter().map(|record| record.action.as_str()).collect();
    assert_eq!(actions, ["order.ship", "order.deliver", "order.refund"]);
    assert!(records.iter().all(|record| record.target == order));
    assert_eq!((&records[0].before["status"], &records[0].after["status"]), (&json!("paid"), &json!("shipped")));
    assert_eq!(records[0].after["tracking_number"], "SF1");
    assert_eq!(records[2].after["amount"], json!({ "amount": 90, "currency": "CNY" }));
    let who = &records[0].recorded;
    assert!(who.actor.starts_with("usr_") && !who.session_id.is_empty() && !who.request_id.is_empty(), "{who:?}");
    assert_eq!(who.address, "127.0.0.1");
    // Nothing of the shopper is in it, and what the flow did for the refund is not a decision of its own.
    assert!(!format!("{records:?}").contains("Harbour"));
    assert_eq!(recorded(&shop, "payment").await, []);
    let made = ("product.create".to_owned(), product);
    assert_eq!(recorded(&shop, "catalog").await, [made]);

    let listed = shop.admin.get(&format!("/admin/v1/payments?order_id={order}")).await.expect(200).body;
    let payment = listed["payments"][0]["id"].as_str().unwrap().to_owned();
    let refund = json!({ "amount": { "amount": 10, "currency": "CNY" }, "reason": "goodwill" });
    let path = format!("/admin/v1/payments/{payment}/refund");
    shop.admin.key(&unique("refund")).post(&path, refund).await.expect(200);
    assert_eq!(recorded(&shop, "payment").await, [("payment.refund".to_owned(), payment)]);
    shop.mall.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shopper_leaves_no_record() {
    let shop = shop().await;
    let (_, sku) = shop.product("Tea", 990, 10).await;
    paid(&shop, &sku).await;
    for service in ["inventory", "order", "payment", "gateway"] {
        assert_eq!(recorded(&shop, service).await, [], "{service}");
    }
    shop.mall.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_flow_is_seen_and_goes_on_when_an_operator_says_so() {
    let shop = shop().await;
    let sql = "INSERT INTO flows (name, flow_key, state, version, parked, signalled, attempts, last_error, stuck, created_at, \
               updated_at) VALUES ('order.checkout', 'ord_none', '\"nonsense\"', 1, 1, 0, 3, 'it broke', 1, 1, 1)";
    let db = shop.mall.context("order").unwrap().db();
    db.apply(Unit::new("test.stuck").exec(sql, Vec::new())).await.unwrap();

    let flows = async |query: &str| -> Vec<Value> {
        // A service that says nothing for two seconds is an error.
        let path = format!("/admin/v1/system/flows{query}");
        let body = patiently("the flows", async || shop.admin.get(&path).await).await.expect(200).body;
        body["flows"].as_array().cloned().unwrap_or_default()
    };
    // A service that says nothing for two seconds is left out of the whole.
    eventually("the flow is listed", async || flows("?stuck=true").await.len() == 1).await;
    let stuck = flows("?service=order&stuck=true").await;
    assert_eq!(stuck.len(), 1, "{stuck:?}");
    assert_eq!((&stuck[0]["service"], &stuck[0]["name"]), (&json!("order"), &json!("order.checkout")));
    assert_eq!((&stuck[0]["key"], &stuck[0]["last_error"]), (&json!("ord_none"), &json!("it broke")));
    assert_eq!(flows("?service=payment&stuck=true").await.len(), 0);
    assert_eq!(shop.admin.get("/admin/v1/system/flows?service=nothing").await.expect(404).code(), "service_not_found");
    assert_eq!(shop.admin.get("/admin/v1/system/flows?limit=1001").await.expect(400).code(), "limit_out_of_range");

    let path = "/admin/v1/system/flows/order/order.checkout/ord_none/unstick";
    let shopper = shop.shopper().await;
    assert_eq!(shopper.http.post(path, json!({})).await.status, 403);
    let unstuck = shop.admin.post(path, json!({})).await.expect(200).body;
    assert_eq!(unstuck["unstuck"], true);
    let expected = ("flow.unstick".to_owned(), "order.checkout/ord_none".to_owned());
    assert_eq!(recorded(&shop, "order").await, std::slice::from_ref(&expected));
    // It goes on with the state it has, and is stuck again.
    eventually("the flow is stuck again", async || flows("?service=order&stuck=true").await.len() == 1).await;
    let other = "/admin/v1/system/flows/order/order.checkout/ord_other/unstick";
    assert_ne!(shop.admin.post(other, json!({})).await.expect(200).body["unstuck"], true);
    assert_eq!(recorded(&shop, "order").await, [expected]);
    shop.mall.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retrying_a_dead_letter_is_recorded() {
    let shop = shop().await;
    let path = "/admin/v1/system/dead-letters/cart/evt_none/retry";
    shop.admin.post(path, json!({})).await;
    assert_eq!(recorded(&shop, "gateway").await, [("dead_letter.retry".to_owned(), "cart/evt_none".to_owned())]);
    let unknown = shop.admin.post("/admin/v1/system/dead-letters/nothing/evt_none/retry", json!({})).await;
    assert_eq!(unknown.expect(404).code(), "service_not_found");
    assert_eq!(recorded(&shop, "gateway").await.len(), 1);
    shop.mall.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_edge_shows_what_it_lets_in_and_by_which_policies() {
    let shop = Shop::start().await;
    let shopper = shop.shopper().await;
    for path in ["protection", "breakers", "instances", "flows"] {
        let path = format!("/admin/v1/system/{path}");
        assert_eq!((shop.http.get(&path).await.status, shopper.http.get(&path).await.status), (401, 403), "{path}");
    }
    let shown = shop.admin.get("/admin/v1/system/protection").await.expect(200).body;
    assert!(shown["limit"].as_i64().unwrap() > 0 && shown["in_flight"].as_i64().unwrap() >= 1, "{shown}");
    assert!(shown["policy_version"].as_i64().unwrap() >= 1, "{shown}");
    assert!(shown["tiers"].as_array().is_some_and(|tiers| !tiers.is_empty()), "{shown}");
    shop.mall.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn background_work_that_died_makes_the_process_not_ready() {
    let shop = Shop::start_with(|mut settings| {
        settings.known.push(ServiceSpec {
            name: "odd",
            migrations: &[],
            subscribes: &[],
            start: |_| {
                let tasks = vec![Task::once("dies", async { panic!("planted") })];
                Box::pin(async { Ok(Parts { tasks, ..Parts::new(tonic::service::Routes::default()) }) })
            },
        });
        settings
    })
    .await;
    eventually("the process is not ready", async || shop.http.get("/readyz").await.status == 503).await;
    assert_eq!(shop.http.get("/readyz").await.body, "down: odd.dies\n");
    shop.http.get("/healthz").await.expect(200);
    shop.http.get("/store/v1/products").await.expect(200);
    shop.mall.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stops_in_another_process_is_shown_and_spoils_nothing() {
    let mut away = mallard_testkit::settings(mallard::services());
    away.rpc_listen = Some("127.0.0.1:0".parse().unwrap());
    away.run = vec!["promotion".into()];
    let away = start(away).await;
    let remote = format!("http://{}", away.rpc_addr().unwrap());
    let shop = Shop::start_with(|mut settings: Settings| {
        settings.run =
            settings.known.iter().map(|spec| spec.name.to_owned()).filter(|name| name != "promotion").collect();
        settings.remotes.insert("promotion".into(), vec![remote.clone()]);
        settings
    })
    .await;
    let state = async |name: &str| -> Value {
        let body = shop.admin.get("/admin/v1/system/services").await.expect(200).body;
        let services = body["services"].as_array().unwrap().clone();
        services.into_iter().find(|service| service["name"] == name).unwrap()
    };
    // The mall waits two seconds for a sign of life, which a busy machine may miss once.
    eventually("promotion is shown as up", async || state("promotion").await["ok"] == true).await;
    shop.product("Tea", 990, 10).await;

    // Both processes call it, each at its own place, and it runs once.
    let breakers = async |query: &str| -> Value {
        shop.admin.get(&format!("/admin/v1/system/breakers{query}")).await.expect(200).body
    };
    // A process that says nothing for two seconds is left out of what is shown, so it is looked at until all have spoken.
    eventually("promotion is seen from both", async || {
        let seen = breakers("?service=promotion").await["endpoints"].as_array().unwrap().clone();
        let mut places: Vec<(&str, bool)> =
            seen.iter().map(|e| (e["endpoint"].as_str().unwrap(), e["caller"] == "promotion")).collect();
        places.sort_unstable();
        places == [(remote.as_str(), false), ("local", true)] && seen.iter().all(|e| e["state"] == "closed")
    })
    .await;
    eventually("everything is seen once from each", async || {
        let everything = breakers("").await["endpoints"].as_array().unwrap().clone();
        let of = |service: &str| everything.iter().filter(|endpoint| endpoint["service"] == service).count();
        (of("catalog"), of("promotion")) == (1, 2)
    })
    .await;
    eventually("every instance is listed", async || {
        let listed = shop.admin.get("/admin/v1/system/instances").await.expect(200).body["instances"].clone();
        let listed = listed.as_array().unwrap();
        let has = |service: &str, endpoint: &str| {
            listed.iter().any(|instance| instance["service"] == service && instance["endpoint"] == endpoint)
        };
        listed.len() == mallard::services().len() && has("promotion", &remote) && has("order", "local")
    })
    .await;
    let unknown = shop.admin.get("/admin/v1/system/breakers?service=nothing").await;
    assert_eq!(unknown.expect(404).code(), "service_not_found");

    away.stop().await;
    eventually("promotion is shown as down", async || state("promotion").await["ok"] != true).await;
    assert_ne!(state("promotion").await["detail"], "");
    for name in ["identity", "catalog", "order", "gateway"] {
        eventually(&format!("{name} is shown as up"), async || state(name).await["ok"] == true).await;
    }
    shop.admin.get("/admin/v1/system/flows").await.expect(200);
    // Its process says nothing any more; what the others say of it is still shown.
    eventually("only what the others say is left", async || {
        let left = breakers("?service=promotion").await["endpoints"].as_array().unwrap().clone();
        left.len() == 1 && left[0]["endpoint"] == remote
    })
    .await;
    shop.http.get("/store/v1/products").await.expect(200);
    shop.http.get("/healthz").await.expect(200);
    shop.http.get("/readyz").await.expect(200);
    shop.mall.stop().await;
}
