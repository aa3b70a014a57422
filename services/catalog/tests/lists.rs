//! Lists: filters, order, pages; categories and brands. On every engine.

mod common;

use std::option::Option;

use common::{ENGINES, Engine, Shop, code, named, shop};
use mallard_proto::catalog::v1::*;
use mallard_testkit::{as_admin, as_system, as_user};

/// The GoMall seed: seven products in two categories.
async fn gomall(engine: Engine) -> Option<Shop> {
    let shop = shop(engine).await?;
    shop.category("cat_root", "everything", "").await;
    shop.category("cat_shirt", "T-Shirt", "cat_root").await;
    shop.category("cat_sticker", "Sticker", "cat_root").await;
    for (i, title, description, amount, category) in [
        (1, "Notebook", "highly efficient notebook", 990, "cat_sticker"),
        (2, "Mouse-Pad", "premium-grade accessory", 880, "cat_sticker"),
        (3, "T-Shirt", "stylish", 660, "cat_shirt"),
        (4, "T-Shirt", "stylish", 220, "cat_shirt"),
        (5, "Sweatshirt", "cozy, 100% cotton", 110, "cat_shirt"),
        (6, "T-Shirt", "stylish", 180, "cat_shirt"),
        (7, "mascot", "charming_and captivating", 480, "cat_sticker"),
    ] {
        let mut request = named(&format!("prod_{i}"), title, amount);
        request.description = description.into();
        request.category_ids = vec![category.into()];
        let call = mallard_rpc::Call { at: Some(1_700_000_000_000_000 + i), ..mallard_rpc::Call::system("import") };
        mallard_rpc::scope(call, shop.create_product(request)).await.unwrap();
    }
    Some(shop)
}

fn numbers(ids: Vec<String>) -> Vec<u32> {
    ids.iter().map(|id| id.trim_start_matches("prod_").parse().unwrap()).collect()
}

impl Shop {
    async fn numbers(&self, request: ListProductsRequest) -> Vec<u32> {
        numbers(self.ids(request).await)
    }
}

fn all() -> ListProductsRequest {
    ListProductsRequest::default()
}

#[tokio::test]
async fn every_filter_shows_exactly_what_it_says() {
    for engine in ENGINES {
        let Some(shop) = gomall(engine).await else { continue };
        let q = |q: &str| ListProductsRequest { q: q.into(), ..all() };
        let category = |c: &str| ListProductsRequest { category: c.into(), ..all() };
        for (request, expected) in [
            (all(), vec![7, 6, 5, 4, 3, 2, 1]),
            (category("t-shirt"), vec![6, 5, 4, 3]),
            (category("STICKER"), vec![7, 2, 1]),
            (category("CAT_shirt"), vec![6, 5, 4, 3]),
            (category("Everything"), vec![7, 6, 5, 4, 3, 2, 1]),
            (category("shoes"), vec![]),
            (q("notebook"), vec![1]),
            (q("NOTEBOOK "), vec![1]),
            (q("premium"), vec![2]),
            (q("%"), vec![5]),
            (q("_"), vec![7]),
            (q("100% c"), vec![5]),
            (q("\\"), vec![]),
            (q("t-shirt"), vec![6, 4, 3]),
            (ListProductsRequest { seller: "sel_mallard".into(), ..q("pad") }, vec![2]),
            (ListProductsRequest { seller: "sel_9".into(), ..all() }, vec![]),
            (ListProductsRequest { brand: "Duck".into(), ..all() }, vec![]),
            (ListProductsRequest { price_gte: Some(480), price_lte: Some(880), ..all() }, vec![7, 3, 2]),
            (ListProductsRequest { price_gte: Some(9_999), ..all() }, vec![]),
            (ListProductsRequest { in_stock: Some(true), price_lte: Some(200), ..all() }, vec![6, 5]),
            (ListProductsRequest { in_stock: Some(false), ..all() }, vec![]),
        ] {
            assert_eq!(shop.numbers(request.clone()).await, expected, "{engine:?} {request:?}");
        }
    }
}

#[tokio::test]
async fn every_order_is_total_and_pages_neither_overlap_nor_skip() {
    for engine in ENGINES {
        let Some(shop) = gomall(engine).await else { continue };
        for (order, expected) in [
            ("newest", vec![7, 6, 5, 4, 3, 2, 1]),
            ("oldest", vec![1, 2, 3, 4, 5, 6, 7]),
            ("price", vec![5, 6, 4, 7, 3, 2, 1]),
            ("-price", vec![1, 2, 3, 7, 4, 6, 5]),
            ("title", vec![7, 2, 1, 5, 3, 4, 6]),
        ] {
            for limit in [1, 2, 3, 100] {
                let request = ListProductsRequest { order: order.into(), limit, ..all() };
                assert_eq!(shop.numbers(request).await, expected, "{engine:?} {order} by {limit}");
            }
        }
        let page = shop.list_products(ListProductsRequest { limit: 2, count: true, ..all() }).await.unwrap();
        assert_eq!((page.products.len(), page.count), (2, Some(7)));
        let next = |order: &str| ListProductsRequest { order: order.into(), cursor: page.next_cursor.clone(), ..all() };
        assert_eq!(code(shop.list_products(next("newest"))).await, "ok");
        assert_eq!(code(shop.list_products(next("price"))).await, "bad_cursor", "a cursor belongs to its order");
    }
}

#[tokio::test]
async fn a_page_goes_on_where_it_was_when_products_come_and_go() {
    for engine in ENGINES {
        let Some(shop) = gomall(engine).await else { continue };
        let first = shop.list_products(ListProductsRequest { limit: 3, ..all() }).await.unwrap();
        shop.create(named("prod_8", "Newcomer", 1)).await;
        shop.delete("prod_6").await.unwrap();
        let rest = shop.numbers(ListProductsRequest { limit: 3, cursor: first.next_cursor, ..all() }).await;
        assert_eq!(rest, [4, 3, 2, 1], "{engine:?}");
    }
}

#[tokio::test]
async fn malformed_lists_are_refused() {
    let shop = shop(Engine::Memory).await.unwrap();
    for (request, expected) in [
        (ListProductsRequest { order: "random()".into(), ..all() }, "bad_order"),
        (ListProductsRequest { limit: 101, ..all() }, "limit_out_of_range"),
        (ListProductsRequest { limit: -1, ..all() }, "limit_out_of_range"),
        (ListProductsRequest { cursor: "zz".into(), ..all() }, "bad_cursor"),
        (ListProductsRequest { q: "x".repeat(201), ..all() }, "bad_q"),
    ] {
        assert_eq!(code(shop.list_products(request)).await, expected);
    }
    let admin =
        |status: &str| AdminListProductsRequest { status: status.into(), ..AdminListProductsRequest::default() };
    assert_eq!(code(as_admin("usr_1", shop.admin_list_products(admin("deleted")))).await, "bad_status");
    assert_eq!(code(as_user("usr_1", shop.admin_list_products(admin("")))).await, "seller_required");
}

#[tokio::test]
async fn operators_list_every_state_but_deleted() {
    for engine in ENGINES {
        let Some(shop) = gomall(engine).await else { continue };
        shop.delist("prod_1").await.unwrap();
        shop.delete("prod_2").await.unwrap();
        let list = async |status: &str, q: &str| {
            let request =
                AdminListProductsRequest { status: status.into(), q: q.into(), ..AdminListProductsRequest::default() };
            let page = as_admin("usr_1", shop.admin_list_products(request)).await.unwrap();
            numbers(page.products.into_iter().map(|product| product.id).collect())
        };
        assert_eq!(list("", "").await, [7, 6, 5, 4, 3, 1], "{engine:?}");
        assert_eq!(list("delisted", "").await, [1]);
        assert_eq!(list("listed", "cozy").await, [5]);
        assert_eq!(list("draft", "").await, [0u32; 0]);
    }
}

#[tokio::test]
async fn a_product_in_two_categories_is_shown_once() {
    for engine in ENGINES {
        let Some(shop) = gomall(engine).await else { continue };
        let ids = vec!["cat_shirt".to_owned(), "cat_sticker".to_owned()];
        let change = UpdateProductRequest { id: "prod_4".into(), category_ids: ids, ..UpdateProductRequest::default() };
        shop.update(change).await.unwrap();
        let category = |c: &str| ListProductsRequest { category: c.into(), limit: 2, ..all() };
        assert_eq!(shop.numbers(category("everything")).await, [7, 6, 5, 4, 3, 2, 1], "{engine:?}");
        assert_eq!(shop.numbers(category("sticker")).await, [7, 4, 2, 1]);
        let change = UpdateProductRequest {
            id: "prod_4".into(),
            category_ids: vec!["cat_sticker".into()],
            ..UpdateProductRequest::default()
        };
        shop.update(change).await.unwrap();
        assert_eq!(shop.numbers(category("t-shirt")).await, [6, 5, 3]);
    }
}

#[tokio::test]
async fn categories_and_brands_are_made_once() {
    for engine in ENGINES {
        let Some(shop) = gomall(engine).await else { continue };
        let tree = shop.list_categories(ListCategoriesRequest {}).await.unwrap().categories;
        assert_eq!(
            tree.iter().map(|c| c.slug.as_str()).collect::<Vec<_>>(),
            ["everything", "sticker", "t-shirt"],
            "{engine:?}"
        );
        let category = |id: &str, slug: &str| CreateCategoryRequest {
            id: id.into(),
            slug: slug.into(),
            name: "Name".into(),
            ..CreateCategoryRequest::default()
        };
        assert_eq!(code(as_admin("usr_1", shop.create_category(category("", "STICKER")))).await, "slug_taken");
        assert_eq!(code(as_user("usr_1", shop.create_category(category("", "new")))).await, "admin_required");
        let again = as_system(shop.create_category(category("cat_shirt", "other"))).await.unwrap();
        assert_eq!(again.category.unwrap().slug, "t-shirt", "the same id is done already");

        let brand = |id: &str, name: &str| CreateBrandRequest { id: id.into(), name: name.into() };
        let duck = as_admin("usr_1", shop.create_brand(brand("", "Duck & Co"))).await.unwrap().brand.unwrap();
        assert_eq!(code(as_admin("usr_1", shop.create_brand(brand("", "duck & co")))).await, "brand_taken");
        assert_eq!(as_system(shop.create_brand(brand(&duck.id, "Other"))).await.unwrap().brand.unwrap(), duck);
        let change = UpdateProductRequest {
            id: "prod_1".into(),
            brand_id: Some(duck.id.clone()),
            ..UpdateProductRequest::default()
        };
        assert_eq!(shop.update(change).await.unwrap().brand, Some(duck.clone()));
        for name in ["DUCK & co", &duck.id] {
            let request = ListProductsRequest { brand: name.into(), ..all() };
            assert_eq!(shop.numbers(request).await, [1]);
        }
        for i in 0..3 {
            as_system(shop.create_brand(brand(&format!("brand_{i}"), &format!("B{i}")))).await.unwrap();
        }
        let mut names = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = as_admin("usr_1", shop.list_brands(ListBrandsRequest { limit: 3, cursor })).await.unwrap();
            names.extend(page.brands.into_iter().map(|brand| brand.id));
            cursor = page.next_cursor;
            if cursor.is_empty() {
                break;
            }
        }
        assert_eq!(names.len(), 4);
    }
}
