//! First stock of new variants, stock events, and the product's own event.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use common::{ENGINES, Engine, Shop, inventory, named, shop, shop_with, specs};
use futures_util::FutureExt;
use mallard_bus::{Envelope, Handler, Subscription};
use mallard_proto::catalog::v1::*;
use mallard_proto::events::PRODUCT_CHANGED_V1;
use mallard_rpc::{Fault, FaultAction};
use mallard_runtime::{Parts, ServiceSpec};
use mallard_testkit::{as_system, eventually};
use parking_lot::Mutex;

async fn shows(shop: &Shop, id: &str, in_stock: bool) {
    eventually(&format!("{id} shows in_stock {in_stock}"), || async {
        shop.get(id).await.unwrap().variants[0].in_stock == in_stock
    })
    .await;
}

#[tokio::test]
async fn stock_events_show_on_the_product_without_a_new_version() {
    for engine in ENGINES {
        let Some(shop) = shop(engine).await else { continue };
        let product = shop.create(named("prod_1", "Thing", 100)).await;
        assert!(product.variants[0].in_stock, "it begins with units");
        let in_stock = |in_stock| ListProductsRequest { in_stock: Some(in_stock), ..ListProductsRequest::default() };
        assert_eq!(shop.ids(in_stock(true)).await.len(), 1);

        inventory::announce(&shop.mall, "sku_1", false, 5).await;
        shows(&shop, "prod_1", false).await;
        assert!(!shop.sku("sku_1").await.unwrap().in_stock);
        assert_eq!((shop.ids(in_stock(true)).await.len(), shop.ids(in_stock(false)).await.len()), (0, 1), "{engine:?}");
        assert_eq!(shop.get("prod_1").await.unwrap().version, 1);

        let change =
            UpdateProductRequest { id: "prod_1".into(), title: Some("New".into()), ..UpdateProductRequest::default() };
        let changed = shop.update(change).await.unwrap();
        assert!(!changed.variants[0].in_stock && !shop.get("prod_1").await.unwrap().variants[0].in_stock);

        inventory::announce(&shop.mall, "sku_1", true, 4).await;
        inventory::announce(&shop.mall, "sku_1", true, 7).await;
        shows(&shop, "prod_1", true).await;
        inventory::announce(&shop.mall, "sku_1", false, 6).await;
        inventory::announce(&shop.mall, "sku_nobody_has", false, 9).await;
        // Events of one key are applied in order, so once this one shows the older one before it was ignored.
        inventory::announce(&shop.mall, "sku_1", true, 8).await;
        eventually("the last event is applied", || async {
            let db = shop.mall.context("catalog").unwrap().db();
            let row = db
                .query_opt("SELECT stock_version FROM product_skus WHERE sku_id = 'sku_1'", Vec::new())
                .await
                .unwrap();
            row.unwrap().get::<i64>(0) == Ok(8)
        })
        .await;
        assert!(shop.get("prod_1").await.unwrap().variants[0].in_stock);
    }
}

/// Loses every call of first stock while it is on.
struct InventoryAway(AtomicBool);

impl Fault for InventoryAway {
    fn decide(&self, service: &str, method: &str) -> FaultAction {
        let lost = service == "inventory" && method.ends_with("ReceiveStock") && self.0.load(Ordering::SeqCst);
        if lost { FaultAction::LoseRequest } else { FaultAction::Pass }
    }
}

#[tokio::test(start_paused = true)]
async fn a_product_is_made_while_the_inventory_is_away_and_gets_its_stock_later() {
    let away = Arc::new(InventoryAway(AtomicBool::new(true)));
    let fault = away.clone();
    let shop = shop_with(Engine::Memory, specs(), |settings| settings.fault = Some(fault)).await.unwrap();
    shop.create(named("prod_1", "Thing", 100)).await;
    assert_eq!(shop.get("prod_1").await.unwrap().version, 1);
    assert_eq!(shop.broken().await, ["catalog.listed_skus_have_stock"]);
    away.0.store(false, Ordering::SeqCst);
    eventually("first stock is made", || async { shop.broken().await.is_empty() }).await;
}

#[tokio::test]
async fn stock_that_was_there_before_the_product_is_taken_over() {
    for engine in ENGINES {
        let Some(shop) = shop(engine).await else { continue };
        inventory::stock(&shop.mall, "sku_1", 9).await;
        inventory::stock(&shop.mall, "sku_2", 0).await;
        let mut empty = named("prod_1", "Thing", 100);
        empty.variants[0].stock = 0;
        shop.create(empty).await;
        shop.create(named("prod_2", "Thing", 100)).await;
        assert!(shop.get("prod_1").await.unwrap().variants[0].in_stock, "{engine:?}");
        assert!(!shop.get("prod_2").await.unwrap().variants[0].in_stock);
    }
}

/// What was heard, per product, with the id of the event. Products of different tests have different ids.
static HEARD: Mutex<BTreeMap<String, Vec<(String, Product)>>> = Mutex::new(BTreeMap::new());

struct Ear;

#[async_trait]
impl Handler for Ear {
    async fn after(&self, event: &Envelope) {
        let product = event.decode::<ProductChanged>().unwrap().product.unwrap();
        assert_eq!(event.key, product.id);
        let mut heard = HEARD.lock();
        let of_product = heard.entry(product.id.clone()).or_default();
        // An event may come twice; it is the same event then.
        if of_product.iter().all(|(id, _)| *id != event.id) {
            of_product.push((event.id.clone(), product));
        }
    }
}

const KINDS: &[&str] = &[PRODUCT_CHANGED_V1];

fn listener() -> ServiceSpec {
    let start = |_| {
        async {
            let mut parts = Parts::new(tonic::service::Routes::default());
            parts.subscriptions.push(Subscription::in_memory(KINDS, Arc::new(Ear)));
            Ok(parts)
        }
        .boxed()
    };
    ServiceSpec { name: "listener", migrations: &[], subscribes: KINDS, start }
}

#[tokio::test]
async fn every_change_is_published_whole() {
    for engine in ENGINES {
        let mut specs = specs();
        specs.push(listener());
        let Some(shop) = shop_with(engine, specs, |_| {}).await else { continue };
        let id = format!("prod_heard_{engine:?}").to_lowercase();
        let mut expected = vec![shop.create(named(&id, "Thing", 100)).await];
        let change =
            UpdateProductRequest { id: id.clone(), title: Some("New".into()), ..UpdateProductRequest::default() };
        expected.push(shop.update(change).await.unwrap());
        expected.push(shop.delist(&id).await.unwrap());
        shop.delist(&id).await.unwrap();
        shop.delete(&id).await.unwrap();
        let heard = || -> Vec<Product> {
            HEARD.lock().get(&id).into_iter().flatten().map(|(_, product)| product.clone()).collect()
        };
        eventually("four changes are heard", || async { heard().len() >= 4 }).await;
        let heard = heard();
        assert_eq!(heard.len(), 4, "done already publishes nothing");
        assert_eq!(heard[..3], expected, "{engine:?}");
        assert_eq!((heard[3].version, heard[3].status()), (4, ProductStatus::Deleted));
    }
}

#[tokio::test]
async fn the_checks_name_rows_somebody_changed_behind_the_services_back() {
    for (service, sql, check) in [
        (
            "catalog",
            "UPDATE product_skus SET product_id = 'prod_2' WHERE sku_id = 'sku_1'",
            "catalog.sku_belongs_to_product",
        ),
        ("catalog", "DELETE FROM product_skus WHERE sku_id = 'sku_1'", "catalog.sku_belongs_to_product"),
        ("catalog", "INSERT INTO product_skus VALUES ('sku_9', 'prod_9', 1, 0)", "catalog.sku_belongs_to_product"),
        ("inventory", "DELETE FROM units WHERE sku_id = 'sku_1'", "catalog.listed_skus_have_stock"),
    ] {
        let shop = shop(Engine::Memory).await.unwrap();
        for i in 1..=2 {
            shop.create(named(&format!("prod_{i}"), "Thing", 100)).await;
        }
        assert_eq!(shop.broken().await, Vec::<String>::new());
        let db = shop.mall.context(service).unwrap().db();
        db.tx("test.tamper", move |tx| async move { tx.execute(sql, Vec::new()).await }).await.unwrap();
        assert_eq!(shop.broken().await, [check], "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_of_a_thousand_products_reads_nothing_first() {
    let shop = shop(Engine::Sqlite).await.unwrap();
    let shop = Arc::new(shop.at_rest().await);
    shop.category("cat_1", "things", "").await;
    shop.create(named("prod_first", "Thing", 100)).await;
    let before = shop.statements();
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..20 {
        let shop = shop.clone();
        workers.spawn(async move {
            for i in 0..50 {
                let mut request = named(&format!("prod_{worker}_{i}"), "Thing", 100);
                request.category_ids = vec!["cat_1".into()];
                as_system(shop.create_product(request)).await.unwrap();
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        done.unwrap();
    }
    let cost = shop.statements() - before;
    // Product, SKUs, categories, the flow's beginning and its end.
    assert!(cost <= 1_000 * 5 + 20, "{cost} statements for 1,000 products");
    assert_eq!(shop.broken().await, Vec::<String>::new());
    let before = shop.statements();
    shop.create(named("prod_3_7", "Thing", 100)).await;
    assert_eq!(shop.statements() - before, 1, "a second run finds the id and changes nothing");
}
