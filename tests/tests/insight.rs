//! What operators and sellers are told about sales, over HTTP; and that the books of it notice what is wrong.

use mallard_db::Unit;
use mallard_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mallard_proto::catalog::v1::{CreateProductRequest, ProductStatus, VariantInput};
use mallard_proto::identity::v1::CreateUserRequest;
use mallard_proto::identity::v1::identity_service_client::IdentityServiceClient;
use mallard_proto::insight::v1::insight_service_client::InsightServiceClient;
use mallard_proto::insight::v1::{CountVisitsRequest, ListBestSellersRequest};
use mallard_rpc::ServiceChannel;
use mallard_testkit::{Http, as_system, eventually};
use mallard_tests::browser::Browser;
use mallard_tests::world::{self, Buyer, World};
use mallard_tests::*;
use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

/// Lists a product of a seller's, as its import does; returns product and SKU.
async fn product_of(shop: &Shop, seller_id: &str, title: &str, price: i64, stock: i64) -> (String, String) {
    let mut catalog: CatalogServiceClient<ServiceChannel> = shop.mall.client();
    let money = mallard_proto::common::v1::Money { amount: price, currency: "CNY".into() };
    let request = CreateProductRequest {
        title: title.into(),
        seller_id: seller_id.into(),
        variants: vec![VariantInput { title: title.into(), price: Some(money), stock, ..Default::default() }],
        status: ProductStatus::Listed as i32,
        ..Default::default()
    };
    let made = as_system(catalog.create_product(request)).await.unwrap().into_inner().product.unwrap();
    let sku = made.variants[0].id.clone();
    shop.stock_is(&sku, stock, 0).await;
    (made.id, sku)
}

/// Signs in somebody who sells for a seller.
async fn seller(shop: &Shop, seller_id: &str) -> Http {
    let email = format!("{}@shop.test", unique("seller"));
    let mut identity: IdentityServiceClient<ServiceChannel> = shop.mall.client();
    let request = CreateUserRequest {
        email: email.clone(),
        password: PASSWORD.into(),
        name: "Grace".into(),
        language: "en".into(),
        roles: vec!["user".into(), "seller".into()],
        seller_id: seller_id.into(),
    };
    as_system(identity.create_user(request)).await.unwrap();
    let tokens = shop.login(&email, PASSWORD).await.expect(200).body["tokens"].clone();
    shop.http.token(tokens["access_token"].as_str().unwrap())
}

/// Returns (orders, units, revenue, refunded) of a sum.
fn sums(day: &Value) -> (i64, i64, i64, i64) {
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    (
        number(&day["orders"]),
        number(&day["units"]),
        number(&day["revenue"]["amount"]),
        number(&day["refunded"]["amount"]),
    )
}

async fn total(http: &Http, path: &str) -> (i64, i64, i64, i64) {
    sums(&http.get(path).await.expect(200).body["total"])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sold_and_given_back_is_told_to_operators_and_to_each_seller() {
    let shop = Shop::start_with(|mut settings| {
        settings.config = settings.config.set("insight.best_sellers_trust_ms", 0);
        settings
    })
    .await;
    away_from_midnight(&shop.mall).await;
    let (tea, tea_sku) = product_of(&shop, "sel_1", "Tea", 1_000, 50).await;
    let (cup, cup_sku) = product_of(&shop, "sel_2", "Cup", 2_500, 50).await;
    let (first, second) = (seller(&shop, "sel_1").await, seller(&shop, "sel_2").await);
    let shopper = shop.shopper().await;
    shopper.add(&tea_sku, 3).await.expect(200);
    let both = shopper.buy(&cup_sku, 1, 5_500).await;
    shopper.buy(&tea_sku, 1, 1_000).await;
    shopper.add(&tea_sku, 5).await.expect(200);
    shopper.place(&unique("key"), 5_000, later()).await.expect(201);

    let admin = "/admin/v1/insight/sales";
    eventually("the mall's sales are told", async || total(&shop.admin, admin).await == (2, 5, 6_500, 0)).await;
    assert_eq!(total(&shop.admin, &format!("{admin}?seller=sel_1")).await, (2, 4, 4_000, 0));
    let own = "/seller/v1/insight/sales";
    assert_eq!(total(&first, own).await, (2, 4, 4_000, 0));
    assert_eq!(total(&second, &format!("{own}?seller=sel_1")).await, (1, 1, 2_500, 0));

    // A cup comes back: its price is its seller's, nobody else's.
    let id = both["id"].as_str().unwrap();
    let refund = json!({
        "amount": { "amount": 2_500, "currency": "CNY" }, "reason": "chipped", "lines": [{ "sku_id": cup_sku, "quantity": 1 }],
    });
    shop.admin.key(&unique("refund")).post(&format!("/admin/v1/orders/{id}/refund"), refund).await.expect(200);
    eventually("the refund is told", async || total(&shop.admin, admin).await == (2, 5, 6_500, 2_500)).await;
    assert_eq!(total(&first, own).await, (2, 4, 4_000, 0));
    assert_eq!(total(&second, own).await, (1, 1, 2_500, 2_500));

    let days = shop.admin.get(admin).await.expect(200).body["days"].as_array().unwrap().clone();
    assert_eq!(days.len(), 30);
    assert_eq!(days.iter().filter(|day| sums(day) != (0, 0, 0, 0)).count(), 1, "everything happened today");
    assert_eq!(sums(&days[29]), (2, 5, 6_500, 2_500));
    let dates: Vec<_> = days.iter().map(|day| day["date"].as_str().unwrap()).collect();
    assert!(dates.is_sorted());

    let top = async |http: &Http, path: &str| -> Vec<(String, i64, i64)> {
        let body = http.get(path).await.expect(200).body;
        let products = body["products"].as_array().cloned().unwrap_or_default();
        let read = |top: &Value| {
            let id = top["product_id"].as_str().unwrap().to_owned();
            (id, top["units"].as_i64().unwrap(), top["revenue"]["amount"].as_i64().unwrap())
        };
        products.iter().map(read).collect()
    };
    let (teas, cups) = ((tea.clone(), 4, 4_000), (cup.clone(), 1, 2_500));
    assert_eq!(top(&shop.admin, "/admin/v1/insight/products").await, [teas.clone(), cups.clone()]);
    assert_eq!(top(&shop.admin, "/admin/v1/insight/products?limit=1").await, std::slice::from_ref(&teas));
    assert_eq!(top(&first, "/seller/v1/insight/products").await, [teas]);
    assert_eq!(top(&second, "/seller/v1/insight/products?seller=sel_1").await, [cups]);

    let mut insight: InsightServiceClient<ServiceChannel> = shop.mall.client();
    let visits = CountVisitsRequest {
        batch_id: "b1".into(),
        date: dates[29].into(),
        product_views: 40,
        cart_additions: 3,
        checkouts: 3,
    };
    for _ in 0..2 {
        as_system(insight.count_visits(visits.clone())).await.unwrap();
    }
    let funnel = shop.admin.get("/admin/v1/insight/funnel").await.expect(200).body["total"].clone();
    let steps =
        ["product_views", "cart_additions", "checkouts", "placed", "paid"].map(|step| funnel[step].as_i64().unwrap());
    assert_eq!(steps, [40, 3, 3, 3, 2]);
    let best = as_system(insight.list_best_sellers(ListBestSellersRequest { limit: 5 })).await.unwrap().into_inner();
    assert_eq!(best.product_ids, [tea, cup]);
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_is_told_anything_and_wrong_dates_are_explained() {
    let shop = Shop::start().await;
    let (shopper, seller) = (shop.shopper().await, seller(&shop, "sel_1").await);
    for path in ["sales", "products", "funnel"] {
        let admin = format!("/admin/v1/insight/{path}");
        let codes = [shop.http.get(&admin).await, shopper.http.get(&admin).await, seller.get(&admin).await];
        assert_eq!(codes.map(|answer| answer.status), [401, 403, 403], "{path}");
    }
    for path in ["sales", "products"] {
        let own = format!("/seller/v1/insight/{path}");
        let codes = [shop.http.get(&own).await, shopper.http.get(&own).await, seller.get(&own).await];
        assert_eq!(codes.map(|answer| answer.status), [401, 403, 200], "{path}");
    }
    let code = async |query: &str| {
        shop.admin.get(&format!("/admin/v1/insight/sales?{query}")).await.expect(400).code().to_owned()
    };
    assert_eq!(code("from=2026-13-01").await, "bad_date");
    assert_eq!(code("from=2026-11-02&to=2026-11-01").await, "bad_period");
    assert_eq!(code("from=2020-01-01&to=2026-11-01").await, "period_too_long");
    assert_eq!(code("currency=yuan").await, "bad_currency");
    shop.stop().await;
}

/// A mall that sold before it had this service: it reads what it missed, order by order, as the events would have told it.
#[tokio::test(flavor = "multi_thread")]
async fn orders_that_no_event_told_of_are_caught_up_with() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = || {
        let config = mallard_tests::config();
        let storage = mallard_runtime::Storage::Folder(dir.path().to_owned());
        mallard_runtime::Settings::new(mallard::services(), config, storage)
    };
    let shop = Shop::run(settings(), None).await;
    away_from_midnight(&shop.mall).await;
    let (_, tea) = product_of(&shop, "sel_1", "Tea", 1_000, 50).await;
    let shopper = shop.shopper().await;
    let order = shopper.buy(&tea, 2, 2_000).await;
    let refund = json!({ "amount": { "amount": 500, "currency": "CNY" }, "reason": "late" });
    let path = format!("/admin/v1/orders/{}/refund", order["id"].as_str().unwrap());
    shop.admin.key(&unique("refund")).post(&path, refund).await.expect(200);
    let told = async |shop: &Shop| -> Value { shop.admin.get("/admin/v1/insight/sales").await.expect(200).body };
    eventually("the sale is told", async || sums(&told(&shop).await["total"]) == (1, 2, 2_000, 500)).await;
    let before = told(&shop).await;
    let top = shop.admin.get("/admin/v1/insight/products").await.expect(200).body;

    // Everything is lost, as if it had never been there.
    let db = shop.mall.context("insight").unwrap().db();
    let tables = ["facts", "sales_days", "product_days", "product_titles", "funnel_days", "progress", "inbox"];
    let forget = tables
        .iter()
        .fold(Unit::new("test.forget"), |unit, table| unit.exec_dyn(format!("DELETE FROM {table}"), Vec::new()));
    db.apply(forget).await.unwrap();
    assert_eq!(sums(&told(&shop).await["total"]), (0, 0, 0, 0));
    drop(db);
    shop.stop().await;

    let mall = mallard_testkit::start(mallard_runtime::Settings {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        ..settings()
    })
    .await;
    let http = Http::new(mall.http_addr().unwrap());
    let admin = process::operator_at(&http, ADMIN, PASSWORD).await;
    eventually("the old sale is told again", async || admin.get("/admin/v1/insight/sales").await.body == before).await;
    eventually("and of which products", async || admin.get("/admin/v1/insight/products").await.body == top).await;
    eventually("and how many came to it", async || {
        let funnel = admin.get("/admin/v1/insight/funnel").await.expect(200).body["total"].clone();
        (funnel["placed"].as_i64(), funnel["paid"].as_i64()) == (Some(1), Some(1))
    })
    .await;

    // An older version of the mall paid it and gave money back, after this one had read it: the next start reads it again.
    let db = mall.context("insight").unwrap().db();
    let reached = db.query("SELECT reached FROM progress", Vec::new()).await.unwrap();
    assert_eq!(reached[0].get::<String>(0).unwrap(), order["id"].as_str().unwrap());
    let lost = Unit::new("test.forget")
        .exec("DELETE FROM facts WHERE kind <> 'placed'", Vec::new())
        .exec("DELETE FROM sales_days", Vec::new())
        .exec("DELETE FROM product_days", Vec::new())
        .exec("UPDATE funnel_days SET paid = 0", Vec::new());
    db.apply(lost).await.unwrap();
    drop(db);
    mall.stop().await;
    let shop = Shop::run(settings(), None).await;
    eventually("what was missed is told", async || told(&shop).await == before).await;
    shop.check().await;
    shop.stop().await;
}

/// A process that took facts and died rang its bell for nobody. Whoever looks at the books right then sees them soon in the
/// sums, not wrong books.
#[tokio::test(flavor = "multi_thread")]
async fn facts_that_nobody_announced_are_no_wrong_books() {
    let shop = Shop::start_with(|mut settings| {
        settings.config = settings.config.set("insight.fold_interval_ms", 5_000);
        settings
    })
    .await;
    let db = shop.mall.context("insight").unwrap().db();
    let fact = "INSERT INTO facts (order_id, version, kind, at_us, day, currency, amount, units, goods, detail, folded) \
         VALUES ('ord_1', 1, 'placed', 0, 0, '', 0, 0, 0, ?, 0)";
    db.apply(Unit::new("test.fact").exec(fact, vec![Vec::<u8>::new().into()])).await.unwrap();
    shop.check().await;
    shop.stop().await;
}

/// Loses counted visits on their way as long as it is told to.
#[derive(Clone, Default)]
struct LosesVisits(std::sync::Arc<std::sync::atomic::AtomicU64>);

const LOSING: u64 = 1 << 32;

impl mallard_rpc::Fault for LosesVisits {
    fn decide(&self, service: &str, method: &str) -> mallard_rpc::FaultAction {
        use std::sync::atomic::Ordering;
        if (service, method) != ("insight", "CountVisits") || self.0.load(Ordering::SeqCst) < LOSING {
            return mallard_rpc::FaultAction::Pass;
        }
        self.0.fetch_add(1, Ordering::SeqCst);
        mallard_rpc::FaultAction::LoseRequest
    }
}

/// A clean stop loses neither the visits that wait to be sent again nor those that were counted since.
#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_loses_no_visits() {
    use std::sync::atomic::Ordering;
    let dir = tempfile::tempdir().expect("a folder");
    let fault = LosesVisits::default();
    let settings = || {
        let config = mallard_tests::config().set("web.visits_interval_ms", 300);
        let storage = mallard_runtime::Storage::Folder(dir.path().to_owned());
        let settings = mallard_runtime::Settings::new(mallard::services(), config, storage);
        mallard_runtime::Settings { fault: Some(std::sync::Arc::new(fault.clone())), ..settings }
    };
    let views = async |mall: &mallard_runtime::Mall| -> i64 {
        let rows =
            mall.context("insight").unwrap().db().query("SELECT product_views FROM funnel_days", Vec::new()).await;
        rows.unwrap().iter().map(|row| row.get::<i64>(0).unwrap()).sum()
    };
    let mut found = Vec::new();
    // A stop waits half a second for the last batches to be taken; a busy machine may sleep through that, but not each time.
    while found.len() < 10 && !found.contains(&3) {
        fault.0.store(LOSING, Ordering::SeqCst);
        let shop = Shop::run(settings(), None).await;
        let before = views(&shop.mall).await;
        let (mug, _) = product_of(&shop, "sel_1", "Mug", 1_000, 50).await;
        let page = format!("/p/{mug}");
        Browser::new(&shop).get(&page).await.expect(200);
        eventually("the first batch waits", async || fault.0.load(Ordering::SeqCst) > LOSING).await;
        for _ in 0..2 {
            Browser::new(&shop).get(&page).await.expect(200);
        }
        fault.0.store(0, Ordering::SeqCst);
        shop.stop().await;

        let mall = mallard_testkit::start(settings()).await;
        let counted = views(&mall).await - before;
        assert!(counted <= 3, "visits were counted twice: {counted}");
        found.push(counted);
        mall.stop().await;
    }
    assert!(found.contains(&3), "of three visits: {found:?}");
}

/// An event carries the whole order; one as long as the longest of the Online Retail data (1,114 lines) fits.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_very_many_lines_is_told_too() {
    const LINES: i64 = 1_200;
    let shop = Shop::start().await;
    let mut catalog: CatalogServiceClient<ServiceChannel> = shop.mall.client();
    let mut lines = Vec::new();
    for product in 0..LINES / 100 {
        let money = mallard_proto::common::v1::Money { amount: 10, currency: "CNY".into() };
        let title = |i: i64| format!("REGENCY CAKESTAND {product} TIER, COLOUR {i}");
        let options = |i: i64| [("colour".to_owned(), format!("colour {i}"))].into();
        let variant = |i| VariantInput {
            title: title(i),
            options: options(i),
            price: Some(money.clone()),
            stock: 10,
            code: format!("22423{i:03}"),
            ..Default::default()
        };
        let request = CreateProductRequest {
            title: title(0),
            seller_id: "sel_1".into(),
            variants: (0..100).map(variant).collect(),
            status: ProductStatus::Listed as i32,
            ..Default::default()
        };
        let made = as_system(catalog.create_product(request)).await.unwrap().into_inner().product.unwrap();
        for variant in &made.variants {
            lines.push(mallard_proto::order::v1::LineInput {
                sku_id: variant.id.clone(),
                quantity: 1,
                ..Default::default()
            });
        }
        shop.stock_is(&made.variants[99].id, 10, 0).await;
    }
    let mut orders: mallard_proto::order::v1::order_service_client::OrderServiceClient<ServiceChannel> =
        shop.mall.client();
    let request = mallard_proto::order::v1::PlaceOrderRequest {
        address: Some(mallard_proto::common::v1::Address {
            name: "Ada".into(),
            country: "CN".into(),
            ..Default::default()
        }),
        payment: Some(mallard_proto::payment::v1::PaymentInput { method: "external".into(), ..Default::default() }),
        expected_total: Some(world::cny(10 * LINES)),
        lines,
        idempotency_key: "long".into(),
        on_behalf_of: world::user(1),
        ..Default::default()
    };
    as_system(orders.place_order(request)).await.expect("the order is placed");
    eventually("the long order is told", async || {
        total(&shop.admin, "/admin/v1/insight/sales").await == (1, LINES, 10 * LINES, 0)
    })
    .await;
    shop.check().await;
    shop.stop().await;
}

/// How old what happened to an order must be before its absence is a fault, and a little more.
const EVENT_AGE: Duration = Duration::from_secs(65);

/// Returns the names of the red checks after a sale with these switches on and this done to the rows.
fn red_after(switches: &[&str], damage: Option<&'static str>) -> Vec<String> {
    let world = switches.iter().fold(World::new(7_300), |world, switch| world.switch(switch));
    let mut world = world;
    let red = world.calmly(async |mall| {
        world::list(mall, 0, 990, 50).await;
        // What is read at the start has been read: from now on only events tell.
        sleep(Duration::from_secs(10)).await;
        let buyer = Buyer::new(mall, 1);
        buyer.place(world::order("buy", &[(0, 2)], 1_980, world::card("4242424242424242"))).await.expect("placed");
        sleep(EVENT_AGE).await;
        if let Some(sql) = damage {
            let db = mall.context("insight").expect("it runs here").db();
            db.apply(Unit::new("test.damage").guard(sql, Vec::new(), 1, 0)).await.expect("the damage is done");
        }
        world::red(mall).await
    });
    red.into_iter().map(|check| check.name).collect()
}

#[test]
fn the_checker_notices_what_is_wrong_with_the_sums() {
    const NONE: [&str; 0] = [];
    assert_eq!(red_after(&[], None), NONE);
    assert_eq!(red_after(&["insight.fold_twice"], None), ["insight.sums_fold_facts", "insight.products_add_up"]);
    assert_eq!(red_after(&["bus.lose_events"], None), ["insight.knows_every_order"]);
    for (damage, red) in [
        ("UPDATE sales_days SET revenue = revenue + 1 WHERE seller_id = ''", vec!["insight.sums_fold_facts"]),
        ("UPDATE funnel_days SET placed = placed - 1", vec!["insight.sums_fold_facts"]),
        ("UPDATE product_days SET units = units + 1", vec!["insight.products_add_up", "insight.sellers_add_up"]),
        (
            "INSERT INTO sales_days (seller_id, currency, day, orders, units, revenue, refunded) \
             VALUES ('sel_1', 'CNY', 20000, 1, 1, 1, 0)",
            vec!["insight.sellers_add_up"],
        ),
        (
            "DELETE FROM facts WHERE kind = 'paid'",
            vec!["insight.knows_every_order", "insight.sums_fold_facts", "insight.products_add_up"],
        ),
        (
            "UPDATE facts SET amount = amount + 1 WHERE kind = 'paid'",
            vec!["insight.knows_every_order", "insight.sums_fold_facts"],
        ),
    ] {
        assert_eq!(red_after(&[], Some(damage)), red, "{damage}");
    }
}
