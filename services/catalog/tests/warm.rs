//! Warm reads cost no SQL, changes show at once here and within a second elsewhere, and crowds are one load.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Engine, code, named, price, shop, shop_with, specs};
use mallard_db::MemoryDisk;
use mallard_proto::catalog::v1::*;
use mallard_runtime::Storage;

#[tokio::test]
async fn warm_reads_run_no_sql() {
    let shop = shop(Engine::Memory).await.unwrap().at_rest().await;
    for i in 0..50 {
        shop.create(named(&format!("prod_{i}"), "Thing", 100)).await;
    }
    let sku_ids: Vec<String> = (0..50).map(|i| format!("sku_{i}")).collect();
    let list = || ListProductsRequest { q: "thing".into(), limit: 10, ..ListProductsRequest::default() };
    shop.list_products(list()).await.unwrap();
    let before = shop.statements();
    for i in 0..50 {
        shop.get(&format!("prod_{i}")).await.unwrap();
    }
    let skus = mallard_testkit::as_guest(shop.batch_get_skus(BatchGetSkusRequest { sku_ids })).await.unwrap().skus;
    shop.list_products(list()).await.unwrap();
    assert_eq!((skus.len(), shop.statements() - before), (50, 0));
}

#[tokio::test]
async fn a_new_price_is_seen_by_the_next_read() {
    for engine in common::ENGINES {
        let Some(shop) = shop(engine).await else { continue };
        shop.create(named("prod_1", "Thing", 100)).await;
        let list = || ListProductsRequest { price_lte: Some(150), ..ListProductsRequest::default() };
        for amount in [200, 120, 90] {
            let variants = vec![VariantInput { id: "sku_1".into(), price: price(amount), ..VariantInput::default() }];
            let change = UpdateProductRequest { id: "prod_1".into(), variants, ..UpdateProductRequest::default() };
            shop.update(change).await.unwrap();
            assert_eq!(shop.get("prod_1").await.unwrap().variants[0].price, price(amount), "{engine:?}");
            assert_eq!(shop.sku("sku_1").await.unwrap().price, price(amount));
            assert_eq!(shop.list_products(list()).await.unwrap().products.len(), usize::from(amount <= 150));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_shows_on_another_instance_within_a_second() {
    let disk = MemoryDisk::new();
    let start = async || {
        let change = |settings: &mut mallard_runtime::Settings| {
            settings.storage = Storage::Memory(disk.clone());
            settings.config = mallard_testkit::config();
        };
        shop_with(Engine::Memory, specs(), change).await.unwrap()
    };
    let (here, there) = (start().await, start().await);
    here.create(named("prod_1", "Thing", 100)).await;
    here.category("cat_1", "things", "").await;
    assert_eq!(there.get("prod_1").await.unwrap().version, 1);
    assert_eq!(code(there.get("prod_2")).await, "product_not_found");
    let list = || ListProductsRequest { category: "things".into(), ..ListProductsRequest::default() };
    assert!(there.list_products(list()).await.unwrap().products.is_empty());

    let categories = vec!["cat_1".to_owned()];
    let change =
        UpdateProductRequest { id: "prod_1".into(), category_ids: categories, ..UpdateProductRequest::default() };
    here.update(change).await.unwrap();
    here.create(named("prod_2", "Other", 100)).await;
    here.category("cat_2", "more", "").await;
    tokio::time::advance(Duration::from_millis(1_000)).await;
    assert_eq!(there.get("prod_1").await.unwrap().version, 2);
    assert_eq!(there.get("prod_2").await.unwrap().version, 1, "an id that was missing is looked for again");
    assert_eq!(there.list_products(list()).await.unwrap().products.len(), 1);
    assert_eq!(there.list_categories(ListCategoriesRequest {}).await.unwrap().categories.len(), 2);

    let there = there.at_rest().await;
    there.get("prod_1").await.unwrap();
    let before = there.statements();
    there.get("prod_1").await.unwrap();
    assert_eq!(there.statements() - before, 0, "within the second it is not looked up again");
    tokio::time::advance(Duration::from_millis(1_000)).await;
    let before = there.statements();
    there.get("prod_1").await.unwrap();
    assert_eq!(there.statements() - before, 1, "an unchanged product costs one small statement a second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_at_a_cold_product_is_one_load() {
    let disk = MemoryDisk::new();
    let storage = Storage::Memory(disk.clone());
    let first = shop_with(Engine::Memory, specs(), |settings| settings.storage = storage).await.unwrap();
    first.create(named("prod_1", "Thing", 100)).await;
    let storage = Storage::Memory(disk);
    let cold = shop_with(Engine::Memory, specs(), |settings| settings.storage = storage).await.unwrap();
    let cold = Arc::new(cold.at_rest().await);
    let before = cold.statements();
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..500 {
        let shop = cold.clone();
        crowd.spawn(async move { shop.get("prod_1").await.unwrap().id });
    }
    while let Some(got) = crowd.join_next().await {
        assert_eq!(got.unwrap(), "prod_1");
    }
    let cost = cold.statements() - before;
    // Two for the load; a second round finds it unchanged when somebody joined while the first was under way.
    assert!(cost <= 8, "{cost} statements for one product");
}

#[tokio::test]
async fn a_flood_of_missing_ids_costs_little_and_harms_nobody() {
    // Ids are remembered for longer than this takes on any machine.
    let small = common::config()
        .set("catalog.products_max", 10)
        .set("catalog.absent_max", 100)
        .set("catalog.absent_ms", 3_600_000);
    let shop = shop_with(Engine::Memory, specs(), |settings| settings.config = small).await.unwrap().at_rest().await;
    shop.create(named("prod_1", "Thing", 100)).await;
    for i in 0..300 {
        assert_eq!(code(shop.get(&format!("prod_missing_{i}"))).await, "product_not_found");
    }
    let before = shop.statements();
    for _ in 0..300 {
        assert_eq!(code(shop.get("prod_missing_299")).await, "product_not_found");
        assert_eq!(code(shop.get(&"x".repeat(1_000))).await, "product_not_found");
        shop.get("prod_1").await.unwrap();
    }
    assert!(shop.statements() - before <= 3, "{} statements", shop.statements() - before);
}

#[tokio::test]
async fn a_memory_smaller_than_the_shop_still_answers_rightly() {
    let small = common::config().set("catalog.products_max", 4).set("catalog.skus_max", 4).set("catalog.pages_max", 2);
    let shop = shop_with(Engine::Memory, specs(), |settings| settings.config = small).await.unwrap();
    for i in 0..30 {
        shop.create(named(&format!("prod_{i:02}"), "Thing", 100 + i)).await;
    }
    for _ in 0..2 {
        for i in 0..30i64 {
            assert_eq!(shop.get(&format!("prod_{i:02}")).await.unwrap().variants[0].price, price(100 + i));
            assert_eq!(shop.sku(&format!("sku_{i:02}")).await.unwrap().price, price(100 + i));
        }
    }
    let list = ListProductsRequest { limit: 7, order: "price".into(), ..ListProductsRequest::default() };
    assert_eq!(shop.ids(list).await.len(), 30);
    let ids = (0..30).map(|i| format!("prod_{i:02}")).collect();
    assert_eq!(shop.batch_get_products(BatchGetProductsRequest { ids }).await.unwrap().products.len(), 30);
}
