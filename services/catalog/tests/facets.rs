//! Facets: what the found products have in common, counted as the lists they lead to would show. On every engine.

mod common;

use std::option::Option;

use common::{ENGINES, Engine, Shop, named, shop};
use mallard_proto::catalog::v1::*;
use mallard_testkit::as_system;

/// Eight products: number, title, price, brand, category, whether any can be bought.
const PRODUCTS: [(u32, &str, i64, &str, &str, bool); 8] = [
    (1, "Green tea", 1_200, "brand_leaf", "cat_tea", true),
    (2, "Black tea", 1_800, "brand_leaf", "cat_tea", true),
    (3, "White tea", 4_500, "brand_hill", "cat_tea", false),
    (4, "Tea pot", 8_900, "brand_hill", "cat_pots", true),
    (5, "Iron pot", 26_000, "brand_hill", "cat_pots", true),
    (6, "Glass pot", 5_000, "", "cat_pots", false),
    (7, "Tea towel", 900, "", "", true),
    (8, "Towel", 700, "brand_loom", "", true),
];

async fn tea_shop(engine: Engine) -> Option<Shop> {
    let shop = shop(engine).await?;
    shop.category("cat_all", "kitchen", "").await;
    shop.category("cat_tea", "tea", "cat_all").await;
    shop.category("cat_pots", "pots", "cat_all").await;
    for (id, name) in
        [("brand_leaf", "Leaf"), ("brand_hill", "Hill & Co"), ("brand_loom", "Loom"), ("brand_none", "None")]
    {
        as_system(shop.create_brand(CreateBrandRequest { id: id.into(), name: name.into() })).await.unwrap();
    }
    for (number, title, amount, brand, category, in_stock) in PRODUCTS {
        let mut request = named(&format!("prod_{number}"), title, amount);
        request.description = String::new();
        request.brand_id = brand.into();
        request.category_ids = [category].iter().filter(|id| !id.is_empty()).map(|id| (*id).to_owned()).collect();
        if !in_stock {
            request.variants[0].stock = 0;
        }
        shop.create(request).await;
    }
    // Not for sale, so not counted.
    let hidden = CreateProductRequest { status: ProductStatus::Draft.into(), ..named("prod_9", "Tea to come", 1_000) };
    shop.create(CreateProductRequest { brand_id: "brand_leaf".into(), ..hidden }).await;
    Some(shop)
}

fn all() -> ListProductsRequest {
    ListProductsRequest { facets: true, ..ListProductsRequest::default() }
}

/// What a list is asked and told, in short.
type Told = Vec<(String, i64)>;

fn short(facets: &[Facet]) -> Told {
    facets.iter().map(|facet| (facet.value.clone(), facet.count)).collect()
}

fn told(facets: &[(&str, i64)]) -> Told {
    facets.iter().map(|(value, count)| ((*value).to_owned(), *count)).collect()
}

impl Shop {
    async fn facets(&self, request: ListProductsRequest) -> Facets {
        self.list_products(request).await.unwrap().facets.expect("facets were asked for")
    }

    async fn count(&self, request: ListProductsRequest) -> i64 {
        self.list_products(ListProductsRequest { count: true, facets: false, ..request }).await.unwrap().count.unwrap()
    }
}

/// Narrows a request by one value of a facet, as a page does.
fn narrowed(request: &ListProductsRequest, facet: &str, value: &str) -> ListProductsRequest {
    let mut request = request.clone();
    match facet {
        "brand" => request.brand = value.into(),
        "category" => request.category = value.into(),
        "in_stock" => request.in_stock = Some(value == "true"),
        "price" => {
            let (from, to) = value.split_once('-').unwrap();
            (request.price_gte, request.price_lte) = (Some(from.parse().unwrap()), Some(to.parse().unwrap()));
        }
        other => panic!("{other}"),
    }
    request
}

#[tokio::test]
async fn all_products_are_counted_by_what_they_have() {
    for engine in ENGINES {
        let Some(shop) = tea_shop(engine).await else { continue };
        let facets = shop.facets(all()).await;
        assert_eq!(
            short(&facets.brands),
            told(&[("brand_hill", 3), ("brand_leaf", 2), ("brand_loom", 1)]),
            "{engine:?}"
        );
        assert_eq!(facets.brands[0].label, "Hill & Co");
        assert_eq!(short(&facets.categories), told(&[("kitchen", 6), ("pots", 3), ("tea", 3)]));
        assert_eq!(facets.categories[1].label, "pots");
        assert_eq!(short(&facets.in_stock), told(&[("true", 6)]));
        assert_eq!(
            short(&facets.prices),
            told(&[("0-1000", 2), ("1000-2000", 2), ("2000-5000", 2), ("5000-10000", 2), ("10000-30000", 1)]),
            "a product at 50.00 is in both ranges that have this bound"
        );
        assert!(shop.list_products(ListProductsRequest::default()).await.unwrap().facets.is_none(), "nobody asked");
    }
}

#[tokio::test]
async fn a_count_is_what_the_list_shows_when_one_asks_for_the_value() {
    for engine in ENGINES {
        let Some(shop) = tea_shop(engine).await else { continue };
        let mut asked = 0;
        for request in [
            all(),
            ListProductsRequest { q: "tea".into(), ..all() },
            ListProductsRequest { category: "pots".into(), ..all() },
            ListProductsRequest { brand: "Leaf".into(), ..all() },
            ListProductsRequest { brand: "brand_hill".into(), category: "kitchen".into(), ..all() },
            ListProductsRequest { in_stock: Some(false), ..all() },
            ListProductsRequest { in_stock: Some(true), q: "pot".into(), price_lte: Some(10_000), ..all() },
            ListProductsRequest { price_gte: Some(1_000), price_lte: Some(5_000), category: "tea".into(), ..all() },
            ListProductsRequest { seller: "sel_mallard".into(), brand: "Hill & Co".into(), ..all() },
            ListProductsRequest { brand: "Leaf".into(), category: "pots".into(), ..all() },
        ] {
            let facets = shop.facets(request.clone()).await;
            for (facet, values) in [
                ("brand", &facets.brands),
                ("category", &facets.categories),
                ("price", &facets.prices),
                ("in_stock", &facets.in_stock),
            ] {
                for value in values {
                    let shown = shop.count(narrowed(&request, facet, &value.value)).await;
                    assert_eq!(value.count, shown, "{engine:?} {facet} {value:?} of {request:?}");
                    assert!(value.count > 0);
                    asked += 1;
                }
            }
        }
        assert!(asked > 50, "{asked}");
    }
}

#[tokio::test]
async fn a_facet_is_counted_as_if_it_alone_were_not_asked_for() {
    for engine in ENGINES {
        let Some(shop) = tea_shop(engine).await else { continue };
        let request = ListProductsRequest {
            brand: "Leaf".into(),
            category: "tea".into(),
            price_lte: Some(5_000),
            in_stock: Some(true),
            ..all()
        };
        let facets = shop.facets(request).await;
        assert_eq!(short(&facets.brands), told(&[("brand_leaf", 2)]), "{engine:?}: the only tea of Hill is sold out");
        assert_eq!(short(&facets.categories), told(&[("kitchen", 2), ("tea", 2)]));
        assert_eq!(short(&facets.in_stock), told(&[("true", 2)]));
        assert_eq!(short(&facets.prices), told(&[("0-1500", 1), ("1500-2000", 1)]));
        let request = ListProductsRequest { category: "tea".into(), brand: "Leaf".into(), ..all() };
        let facets = shop.facets(request).await;
        assert_eq!(short(&facets.brands), told(&[("brand_leaf", 2), ("brand_hill", 1)]));
    }
}

#[tokio::test]
async fn what_nobody_knows_leaves_the_other_choices() {
    for engine in ENGINES {
        let Some(shop) = tea_shop(engine).await else { continue };
        let page =
            shop.list_products(ListProductsRequest { brand: "Nobody".into(), count: true, ..all() }).await.unwrap();
        let facets = page.facets.unwrap();
        assert_eq!((page.products.len(), page.count, facets.brands.len()), (0, Some(0), 3), "{engine:?}");
        assert!(facets.categories.is_empty() && facets.prices.is_empty() && facets.in_stock.is_empty());
        let facets = shop.facets(ListProductsRequest { category: "shoes".into(), ..all() }).await;
        assert_eq!((facets.brands.len(), facets.categories.len()), (0, 3));
        let facets = shop.facets(ListProductsRequest { q: "nothing like it".into(), ..all() }).await;
        assert_eq!(facets, Facets::default());
    }
}

#[tokio::test]
async fn counts_follow_changes_and_are_remembered_between_them() {
    let shop = tea_shop(Engine::Memory).await.unwrap().at_rest().await;
    shop.facets(all()).await;
    let before = shop.statements();
    for order in ["price", "-price", "title"] {
        // Another order of the same products: the page is read, the counts are not.
        shop.facets(ListProductsRequest { order: order.into(), ..all() }).await;
    }
    assert_eq!(shop.statements() - before, 3);
    let before = shop.statements();
    shop.facets(ListProductsRequest { q: "pot".into(), ..all() }).await;
    // The list; and for all facets one look at the texts, and one at the categories of what was found.
    assert_eq!(shop.statements() - before, 1 + 2);
    shop.delist("prod_5").await.unwrap();
    let facets = shop.facets(all()).await;
    assert_eq!(short(&facets.brands)[0], ("brand_hill".to_owned(), 2));
    assert_eq!(short(&facets.in_stock), told(&[("true", 5)]));
}

#[tokio::test]
async fn no_more_than_ten_thousand_found_products_are_counted() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let Some(shop) = tea_shop(engine).await else { continue };
        // Rows as a large shop has them; only what lists read is in them.
        let db = shop.mall.context("catalog").unwrap().db();
        let many = "INSERT INTO products (id, status, seller_id, brand_id, title_key, words, min_price, created_at, version, \
             stock_stamp, body) SELECT 'prod_copy_' || a.id || b.id || c.id || d.id || e.id, 'listed', 'sel_1', 'brand_none', '', \
             'copy', 990, 1, 1, 0, a.body FROM products a, products b, products c, products d, products e \
             WHERE a.id < 'prod_8' AND b.id < 'prod_8' AND c.id < 'prod_8' AND d.id < 'prod_8' AND e.id < 'prod_8'";
        let made = db.tx("test.many", move |tx| async move { tx.execute(many, Vec::new()).await }).await.unwrap();
        assert_eq!(made, 16_807);
        let facets = shop.facets(all()).await;
        // The newest are counted: the eight of before, and as many of the others as fit.
        assert_eq!(short(&facets.brands)[..2], told(&[("brand_none", 9_992), ("brand_hill", 3)]), "{engine:?}");
        let copies = shop.facets(ListProductsRequest { q: "copy".into(), ..all() }).await;
        assert_eq!(short(&copies.brands), told(&[("brand_none", 10_000)]));
        assert_eq!(short(&copies.prices), [], "one price is no choice");
    }
}
