//! Who changed products, categories and brands is recorded with the change, once.

mod common;

use std::option::Option;

use common::{ENGINES, Engine, Shop, as_seller, code, named, notebook, shop_with, specs};
use mallard_proto::catalog::v1::*;
use mallard_testkit::{Record, as_admin, as_system, audit_records, audited};
use serde_json::{Value, json};

async fn shop(engine: Engine) -> Option<Shop> {
    shop_with(engine, specs(), audited).await
}

async fn records(shop: &Shop) -> Vec<Record> {
    audit_records(&shop.mall, "catalog").await
}

fn told(records: &[Record]) -> Vec<(&str, &str, &str)> {
    records.iter().map(|r| (r.action.as_str(), r.target.as_str(), r.recorded.actor.as_str())).collect()
}

fn titled(title: &str) -> UpdateProductRequest {
    UpdateProductRequest { id: "prod_tea".into(), title: Some(title.into()), ..UpdateProductRequest::default() }
}

#[tokio::test]
async fn every_change_of_a_product_is_recorded_once() {
    for engine in ENGINES {
        let Some(shop) = shop(engine).await else { continue };
        let id = "prod_tea";
        let make = || CreateProductRequest { idempotency_key: "k1".into(), ..notebook() };
        let first = as_seller("sel_1", shop.create_product(make())).await.unwrap().product.unwrap();
        let again = as_seller("sel_1", shop.create_product(make())).await.unwrap().product.unwrap();
        assert_eq!(first.id, again.id);
        as_system(shop.create(named(id, "Green tea", 990))).await;

        shop.update(titled("Tea")).await.unwrap();
        // Nothing differs.
        shop.update(titled("Tea")).await.unwrap();
        shop.delist(id).await.unwrap();
        shop.delist(id).await.unwrap();
        let stale = UpdateProductRequest { if_version: Some(1), ..titled("Old") };
        assert_eq!(code(shop.update(stale)).await, "version_mismatch");
        assert_eq!(code(shop.delete("prod_none")).await, "product_not_found");
        shop.delete(id).await.unwrap();
        let theirs = SetProductStatusRequest { id: first.id.clone(), if_version: None };
        assert_eq!(code(as_seller("sel_2", shop.delist_product(theirs))).await, "product_not_found");

        let records = records(&shop).await;
        let expected = [
            ("product.create", first.id.as_str(), "usr_of_sel_1"),
            ("product.update", id, "usr_1"),
            ("product.delist", id, "usr_1"),
            ("product.delete", id, "usr_1"),
        ];
        assert_eq!(told(&records), expected, "{engine:?}");
        assert_eq!((&records[0].before, &records[0].after["title"]), (&Value::Null, &json!("Notebook")));
        assert_eq!(
            (&records[1].before, &records[1].after),
            (&json!({ "title": "Green tea" }), &json!({ "title": "Tea" }))
        );
        assert_eq!(records[2].before, json!({ "status": "listed" }));
        assert_eq!(records[2].after, json!({ "status": "delisted" }));
    }
}

#[tokio::test]
async fn changes_at_the_same_time_leave_a_record_each() {
    let shop = shop(Engine::Memory).await.unwrap();
    as_system(shop.create(named("prod_tea", "Tea", 100))).await;
    let changes = (0..8).map(|n| {
        let shop = &shop;
        async move { shop.update(titled(&format!("Tea {n}"))).await }
    });
    let done = futures_util::future::join_all(changes).await.into_iter().filter(Result::is_ok).count();
    let records = records(&shop).await;
    assert_eq!(records.len(), done);
    // Each begins where the one before it ended.
    for pair in records.windows(2) {
        assert_eq!(pair[0].after["title"], pair[1].before["title"]);
    }
}

#[tokio::test]
async fn categories_and_brands_are_recorded_when_they_are_made() {
    let shop = shop(Engine::Memory).await.unwrap();
    let category = |id: &str, slug: &str| CreateCategoryRequest {
        id: id.into(),
        slug: slug.into(),
        name: "Tea".into(),
        ..CreateCategoryRequest::default()
    };
    let brand = |id: &str| CreateBrandRequest { id: id.into(), name: "Leaf".into() };
    as_admin("usr_op", async {
        for _ in 0..2 {
            shop.client.clone().create_category(category("cat_tea", "tea")).await.unwrap();
            shop.client.clone().create_brand(brand("brand_leaf")).await.unwrap();
        }
        // The slug and the name are taken.
        shop.client.clone().create_category(category("cat_other", "tea")).await.unwrap_err();
        shop.client.clone().create_brand(brand("brand_other")).await.unwrap_err();
    })
    .await;
    let records = records(&shop).await;
    let expected = [("category.create", "cat_tea", "usr_op"), ("brand.create", "brand_leaf", "usr_op")];
    assert_eq!(told(&records), expected);
    assert_eq!(records[0].after["slug"], "tea");
}
