//! The demo shop's data and pictures are whole.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mallard_db::MemoryDisk;
use mallard_proto::catalog::v1 as pb;
use mallard_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mallard_proto::inventory::v1::BatchGetStockRequest;
use mallard_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use mallard_rpc::{Call, ServiceChannel};
use mallard_runtime::{Config, Mall, Settings, Storage};

use super::shop::read;
use super::*;

#[test]
fn the_files_make_a_shop_worth_browsing() {
    let shop = read().unwrap();
    let variants: usize = shop.products.iter().map(|product| product.variants.len()).sum();
    assert!(shop.products.len() >= 84, "{} products", shop.products.len());
    assert!(variants >= 300, "{variants} variants");
    assert!(shop.brands.len() >= 8 && shop.sellers.len() == 2);
    let shelves: BTreeSet<&str> = shop.products.iter().map(|product| product.category_id.as_str()).collect();
    assert!(shelves.len() >= 12, "{} categories with products", shelves.len());
    assert!(shop.categories.iter().any(|category| category.parent_id.is_empty()));
    let sold_out =
        shop.products.iter().flat_map(|product| &product.variants).filter(|variant| variant.stock == 0).count();
    assert!((1..20).contains(&sold_out), "a few variants are sold out, not {sold_out}");
}

#[test]
fn every_product_has_two_languages_a_few_variants_and_no_filler() {
    for product in &shop().products {
        assert!((1..=3).contains(&product.choices.len()), "{}", product.slug);
        assert!((2..=6).contains(&product.variants.len()), "{}", product.slug);
        for text in [&product.title, &product.description] {
            assert!(!text.en.trim().is_empty() && !text.zh.trim().is_empty(), "{}", product.slug);
            assert!(text.zh.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)), "{} has no Chinese", product.slug);
            assert!(!text.en.to_lowercase().contains("lorem"), "{}", product.slug);
        }
        assert!(product.description.en.len() > 40, "{}", product.slug);
        let combinations: BTreeSet<_> = product.variants.iter().map(|variant| &variant.options).collect();
        assert_eq!(combinations.len(), product.variants.len(), "{}", product.slug);
    }
}

#[test]
fn ids_are_well_formed_different_and_the_same_every_time() {
    let (first, second) = (read().unwrap(), read().unwrap());
    let ids = |shop: &Shop| {
        let mut ids: Vec<String> = Vec::new();
        ids.extend(shop.sellers.iter().map(|seller| seller.id.clone()));
        ids.extend(shop.brands.iter().map(|brand| brand.id.clone()));
        ids.extend(shop.categories.iter().map(|category| category.id.clone()));
        for product in &shop.products {
            ids.push(product.id.clone());
            ids.extend(product.variants.iter().map(|variant| variant.id.clone()));
        }
        ids
    };
    assert_eq!(ids(&first), ids(&second));
    assert_eq!(ids(&first).iter().collect::<BTreeSet<_>>().len(), ids(&first).len());
    assert!(first.products.iter().all(|product| mallard_types::id::is("prod", &product.id)));
    assert!(
        first
            .products
            .iter()
            .flat_map(|product| &product.variants)
            .all(|variant| mallard_types::id::is("sku", &variant.id))
    );
    // A link to a demo product must work in every demo shop ever seeded.
    let mug = first.products.iter().find(|product| product.slug == "harbour-enamel-mug").unwrap();
    assert_eq!(mug.id, "prod_01kdvdna00e00b5m42s323w3jn");
}

#[test]
fn every_picture_is_drawn_and_no_two_products_look_alike() {
    let mut drawn: BTreeMap<String, String> = BTreeMap::new();
    let mut kinds = BTreeSet::new();
    for product in &shop().products {
        kinds.insert(product.kind.as_str());
        for picture in &product.pictures {
            let svg = svg(&picture.name).unwrap_or_else(|| panic!("{} cannot be drawn", picture.name));
            assert!(svg.len() < 8 * 1024, "{} takes {} bytes", picture.name, svg.len());
            assert!(!svg.contains("<text"), "{}", picture.name);
            if let Some(other) = drawn.insert(svg, picture.name.clone()) {
                panic!("{} looks like {other}", picture.name);
            }
        }
    }
    assert!(kinds.len() >= 16, "{} kinds of drawings", kinds.len());
    assert_eq!(svg("no-such-product"), None);
    assert_eq!(svg("harbour-enamel-mug--99"), None);
}

#[tokio::test]
async fn seeding_fills_an_empty_mall_and_a_second_time_changes_nothing() {
    let specs = vec![mallard_inventory::service(), mallard_catalog::service()];
    let mall =
        Mall::start(Settings::new(specs, Config::defaults(""), Storage::Memory(MemoryDisk::new()))).await.unwrap();
    assert_eq!(seed(&mall).await.unwrap(), shop().products.len());
    let wanted: BTreeMap<&str, i64> = shop()
        .products
        .iter()
        .flat_map(|product| &product.variants)
        .map(|variant| (variant.id.as_str(), variant.stock))
        .collect();
    // The catalog hands the first stock over to the inventory in its own time. The limit, two minutes, is for a hang.
    let mut stocked = BTreeMap::new();
    for _ in 0..12_000 {
        stocked = stock(&mall, wanted.keys().copied()).await;
        if stocked.len() == wanted.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(stocked, wanted.iter().map(|(id, units)| ((*id).to_owned(), *units)).collect());

    let before = everything(&mall).await;
    assert_eq!(before.len(), shop().products.len());
    assert_eq!(seed(&mall).await.unwrap(), 0);
    assert_eq!(everything(&mall).await, before);

    let mut catalog: CatalogServiceClient<ServiceChannel> = mall.client();
    let shelf = pb::ListProductsRequest { category: "home".into(), limit: 100, ..Default::default() };
    let shelf = catalog.list_products(shelf).await.unwrap().into_inner().products;
    assert_eq!(shelf.len(), 32, "a department shows what is on its shelves");
    assert!(shelf.iter().all(|product| svg(product.images[0].url.trim_start_matches(MEDIA_PATH).trim_end_matches(".svg")).is_some()));
    let mug = pb::GetProductRequest { id: shop().products[0].id.clone() };
    let mug = catalog.get_product(mug).await.unwrap().into_inner().product.unwrap();
    assert_eq!((mug.title.as_str(), mug.translations["zh"].title.as_str()), ("Harbour Enamel Mug", "港湾搪瓷杯"));
    assert_eq!((mug.images.len(), mug.variants.len(), mug.brand.unwrap().name.as_str()), (3, 6, "Tidepool & Oak"));
    mall.stop().await;
}

async fn stock(mall: &Mall, sku_ids: impl Iterator<Item = &str>) -> BTreeMap<String, i64> {
    let mut inventory: InventoryServiceClient<ServiceChannel> = mall.client();
    let request = BatchGetStockRequest { sku_ids: sku_ids.map(str::to_owned).collect() };
    let stocks =
        mallard_rpc::scope(Call::system("test"), inventory.batch_get_stock(request)).await.unwrap().into_inner().stocks;
    stocks.into_iter().map(|stock| (stock.sku_id, stock.available)).collect()
}

/// Returns every listed product but for its stock states, which follow in their own time.
async fn everything(mall: &Mall) -> Vec<pb::Product> {
    let mut catalog: CatalogServiceClient<ServiceChannel> = mall.client();
    let mut all = Vec::new();
    let mut request = pb::ListProductsRequest { limit: 50, order: "oldest".into(), ..Default::default() };
    loop {
        let page = catalog.list_products(request.clone()).await.unwrap().into_inner();
        all.extend(page.products);
        if page.next_cursor.is_empty() {
            break;
        }
        request.cursor = page.next_cursor;
    }
    for variant in all.iter_mut().flat_map(|product| &mut product.variants) {
        variant.in_stock = true;
    }
    all
}
