mod common;
use common::{Engine, as_seller, code, named, notebook, shop_with};
use mallard_proto::catalog::v1::*;
use mallard_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use mallard_proto::inventory::v1 as inv;
use mallard_rpc::ServiceChannel;
use mallard_testkit::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real() {
    for engine in common::ENGINES {
        let shop = shop_with(engine, vec![mallard_inventory::service(), mallard_catalog::service()], |_| {}).await.unwrap();
        let shop = std::sync::Arc::new(shop);
        let inventory = shop.mall.client::<InventoryServiceClient<ServiceChannel>>();
        let started = std::time::Instant::now();
        let mut workers = tokio::task::JoinSet::new();
        for worker in 0..64 {
            let shop = shop.clone();
            workers.spawn(async move {
                for i in 0..63 {
                    shop.create(named(&format!("prod_{worker}_{i}"), "Thing", 100)).await;
                }
            });
        }
        while let Some(done) = workers.join_next().await { done.unwrap(); }
        println!("{engine:?}: 4032 products in {:?}", started.elapsed());
        shop.create(named("prod_1", "Thing", 100)).await;
        let reserve = inv::ReserveRequest { id: "ord_1".into(), lines: vec![inv::Line { sku_id: "sku_1".into(), quantity: 5 }], expires_at_micros: 0 };
        inventory.clone().reserve(reserve).await.unwrap();
        let t = std::time::Instant::now();
        eventually("sold out", || async { !shop.get("prod_1").await.unwrap().variants[0].in_stock }).await;
        println!("sold out after {:?}", t.elapsed());
        inventory.clone().release(inv::ReleaseRequest { id: "ord_1".into() }).await.unwrap();
        eventually("back", || async { shop.get("prod_1").await.unwrap().variants[0].in_stock }).await;
        let mine = as_seller("sel_1", shop.create_product(notebook())).await.unwrap().product.unwrap();
        let sku_id = mine.variants[0].id.clone();
        let adjust = || inv::AdjustStockRequest { sku_id: sku_id.clone(), delta: 3, reason: "count".into(), ..Default::default() };
        let stock = as_seller("sel_1", inventory.clone().adjust_stock(adjust())).await.unwrap().into_inner().inventory.unwrap();
        assert_eq!(stock.on_hand, 8);
        let error = mallard_rpc::error(as_seller("sel_2", inventory.clone().adjust_stock(adjust())).await.unwrap_err());
        assert_eq!(error.code, "sku_unknown");
        assert!(shop.broken().await.is_empty());
        let t = std::time::Instant::now();
        let n = 2_000;
        for i in 0..n { shop.get(&format!("prod_{}_{}", i % 64, i % 63)).await.unwrap(); }
        println!("get {:?}", t.elapsed() / n);
        let list = || ListProductsRequest { limit: 20, ..Default::default() };
        let t = std::time::Instant::now();
        for _ in 0..200 { shop.list_products(list()).await.unwrap(); }
        println!("list {:?}", t.elapsed() / 200);
        let _ = code(shop.get("x")).await;
    }
}
