//! Create, change, list, delist, delete and get over the API, on every engine.

mod common;

use common::{ENGINES, Engine, as_seller, code, named, notebook, price, shop};
use mallard_proto::catalog::v1::*;
use mallard_testkit::{as_admin, as_system, as_user};
use mallard_types::Kind;

#[tokio::test]
async fn a_product_goes_from_draft_to_shop_to_gone() {
    for engine in ENGINES {
        let Some(shop) = shop(engine).await else { continue };
        let draft = CreateProductRequest { status: ProductStatus::Draft.into(), ..notebook() };
        let product = shop.create(draft).await;
        assert_eq!((product.version, product.status()), (1, ProductStatus::Draft), "{engine:?}");
        assert!(mallard_types::id::is("prod", &product.id) && mallard_types::id::is("sku", &product.variants[0].id));
        let id = product.id.clone();
        assert_eq!(code(shop.get(&id)).await, "product_not_found", "shoppers do not see drafts");

        let request = || SetProductStatusRequest { id: id.clone(), if_version: None };
        let listed = as_admin("usr_1", shop.list_product(request())).await.unwrap().product.unwrap();
        assert_eq!((listed.version, listed.status()), (2, ProductStatus::Listed));
        assert_eq!(
            as_admin("usr_1", shop.list_product(request())).await.unwrap().product.unwrap().version,
            2,
            "done already"
        );
        assert_eq!(shop.get(&id).await.unwrap(), listed);

        let change =
            UpdateProductRequest { id: id.clone(), title: Some("Journal".into()), ..UpdateProductRequest::default() };
        let changed = shop.update(change).await.unwrap();
        assert_eq!(
            (changed.version, changed.title.as_str(), changed.description.as_str()),
            (3, "Journal", "Paper to write on")
        );
        assert_eq!(shop.get(&id).await.unwrap(), changed);

        assert_eq!(shop.delist(&id).await.unwrap().version, 4);
        assert_eq!(code(shop.get(&id)).await, "product_not_found");
        let own = as_admin("usr_1", shop.admin_get_product(GetProductRequest { id: id.clone() })).await.unwrap();
        assert_eq!(own.product.unwrap().status(), ProductStatus::Delisted);
        assert!(!shop.sku(&product.variants[0].id).await.unwrap().sellable);

        shop.delete(&id).await.unwrap();
        shop.delete(&id).await.unwrap();
        assert_eq!(
            code(as_admin("usr_1", shop.admin_get_product(GetProductRequest { id: id.clone() }))).await,
            "product_not_found"
        );
        assert_eq!(
            code(as_admin("usr_1", shop.list_product(request()))).await,
            "product_not_found",
            "it does not come back"
        );
        let sku = shop.sku(&product.variants[0].id).await.unwrap();
        assert!(!sku.sellable && sku.title == "Journal", "a cart can still name it");
        assert_eq!(shop.broken().await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_change_is_refused_when_somebody_else_was_faster() {
    for engine in ENGINES {
        let Some(shop) = shop(engine).await else { continue };
        let product = shop.create(notebook()).await;
        let change = |title: &str, if_version| UpdateProductRequest {
            id: product.id.clone(),
            title: Some(title.into()),
            if_version,
            ..UpdateProductRequest::default()
        };
        shop.update(change("One", Some(1))).await.unwrap();
        let error = shop.update(change("Two", Some(1))).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_ref()), (Kind::Precondition, "version_mismatch"), "{engine:?}");
        assert_eq!(shop.get(&product.id).await.unwrap().title, "One");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_changes_all_count_and_versions_grow_by_one() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let Some(shop) = shop(engine).await else { continue };
        let shop = std::sync::Arc::new(shop);
        let product = shop.create(notebook()).await;
        let mut changes = tokio::task::JoinSet::new();
        for i in 0..20 {
            let (shop, id) = (shop.clone(), product.id.clone());
            changes.spawn(async move {
                loop {
                    let change = UpdateProductRequest {
                        id: id.clone(),
                        description: Some(format!("text {i}")),
                        ..UpdateProductRequest::default()
                    };
                    match shop.update(change).await {
                        Ok(_) => return,
                        Err(error) => assert_eq!(error.code, "product_contended"),
                    }
                }
            });
        }
        while let Some(done) = changes.join_next().await {
            done.unwrap();
        }
        assert_eq!(shop.get(&product.id).await.unwrap().version, 21, "{engine:?}");
    }
}

#[tokio::test]
async fn the_same_id_or_key_creates_one_product() {
    for engine in ENGINES {
        let Some(shop) = shop(engine).await else { continue };
        let first = shop.create(named("prod_1", "Notebook", 990)).await;
        let again = shop.create(named("prod_1", "Another title", 5)).await;
        assert_eq!(first, again, "{engine:?}");
        let keyed = || CreateProductRequest { idempotency_key: "key_1".into(), ..notebook() };
        let (one, two) = (shop.create(keyed()).await, shop.create(keyed()).await);
        assert_eq!(one, two);
        let other = CreateProductRequest { title: "Another title".into(), ..keyed() };
        assert_eq!(code(as_system(shop.create_product(other))).await, "idempotency_conflict", "{engine:?}");
        assert_eq!(shop.create(keyed()).await, one, "the refusal used nothing up");
        let (one, two) = (shop.create(notebook()).await, shop.create(notebook()).await);
        assert_ne!(one.id, two.id, "without either every call counts");
        let mut taken = named("prod_2", "Thief", 5);
        taken.variants[0].id = "sku_1".into();
        assert_eq!(code(as_system(shop.create_product(taken))).await, "sku_taken");
        assert_eq!(code(shop.get("prod_2")).await, "product_not_found", "nothing of it was written");
    }
}

#[tokio::test]
async fn a_request_sent_again_by_the_channel_creates_one_product() {
    let shop = shop(Engine::Memory).await.unwrap();
    let call = |request_id: &str| mallard_rpc::Call {
        caller: mallard_rpc::Caller {
            kind: mallard_rpc::CallerKind::User,
            user_id: "usr_1".into(),
            roles: vec!["admin".into()],
            ..Default::default()
        },
        request_id: request_id.into(),
        ..Default::default()
    };
    let create = |request_id: &str| mallard_rpc::scope(call(request_id), shop.create_product(notebook()));
    let one = create("req_1").await.unwrap();
    assert_eq!(one, create("req_1").await.unwrap());
    assert_ne!(one, create("req_2").await.unwrap());
}

#[tokio::test]
async fn a_seller_sees_and_changes_only_its_own() {
    let shop = shop(Engine::Memory).await.unwrap();
    let theirs = CreateProductRequest { seller_id: "sel_2".into(), ..notebook() };
    let mine = as_seller("sel_1", shop.create_product(theirs)).await.unwrap().product.unwrap();
    assert_eq!(mine.seller_id, "sel_1", "a seller cannot create for another");
    let id = mine.id.clone();
    let change =
        || UpdateProductRequest { id: id.clone(), title: Some("Stolen".into()), ..UpdateProductRequest::default() };
    let status = || SetProductStatusRequest { id: id.clone(), if_version: None };
    let get = || GetProductRequest { id: id.clone() };
    assert_eq!(code(as_seller("sel_2", shop.update_product(change()))).await, "product_not_found");
    assert_eq!(code(as_seller("sel_2", shop.delist_product(status()))).await, "product_not_found");
    assert_eq!(code(as_seller("sel_2", shop.admin_get_product(get()))).await, "product_not_found");
    assert_eq!(code(as_user("usr_9", shop.update_product(change()))).await, "seller_required");
    assert_eq!(code(as_user("usr_9", shop.create_product(notebook()))).await, "seller_required");
    let list = |seller: &str| AdminListProductsRequest { seller: seller.into(), ..AdminListProductsRequest::default() };
    assert_eq!(as_seller("sel_1", shop.admin_list_products(list(""))).await.unwrap().products.len(), 1);
    assert!(as_seller("sel_2", shop.admin_list_products(list(""))).await.unwrap().products.is_empty());
    assert!(as_seller("sel_2", shop.admin_list_products(list("sel_1"))).await.unwrap().products.is_empty());
    assert_eq!(as_admin("usr_1", shop.admin_list_products(list("sel_1"))).await.unwrap().products.len(), 1);
    let house = as_admin("usr_1", shop.create_product(notebook())).await.unwrap().product.unwrap();
    assert_eq!(house.seller_id, "sel_mallard");
    assert_eq!(as_seller("sel_1", shop.admin_get_product(get())).await.unwrap().product.unwrap().id, id);
}

#[tokio::test]
async fn a_bad_product_is_refused_with_the_field_at_fault() {
    let shop = shop(Engine::Memory).await.unwrap();
    let refuse = |request: CreateProductRequest| async {
        let error = as_admin("usr_1", shop.create_product(request)).await.unwrap_err();
        (error.kind, error.code.into_owned(), error.param.unwrap_or_default().into_owned())
    };
    let variant = |amount, currency: &str| VariantInput {
        price: Some(mallard_proto::common::v1::Money { amount, currency: currency.into() }),
        ..VariantInput::default()
    };
    let with = |variants| CreateProductRequest { variants, ..notebook() };
    for (request, expected_code, expected_param) in [
        (CreateProductRequest { title: String::new(), ..notebook() }, "bad_title", "title"),
        (with(vec![]), "bad_variants", "variants"),
        (with(vec![VariantInput::default()]), "required", "variants[0].price"),
        (with(vec![variant(0, "CNY")]), "bad_price", "variants[0].price.amount"),
        (with(vec![variant(1, "cny")]), "bad_currency", "variants[0].price.currency"),
        (
            CreateProductRequest { category_ids: vec!["cat_9".into()], ..notebook() },
            "category_unknown",
            "category_ids[0]",
        ),
        (CreateProductRequest { brand_id: "brand_9".into(), ..notebook() }, "brand_unknown", "brand_id"),
        (CreateProductRequest { status: 99, ..notebook() }, "bad_status", "status"),
    ] {
        assert_eq!(refuse(request).await, (Kind::Invalid, expected_code.to_owned(), expected_param.to_owned()));
    }
    let text = |tag: &str| (tag.to_owned(), Translation { title: "t".into(), description: "文".repeat(20_000) });
    let large = CreateProductRequest { translations: ["aa", "bb", "cc", "dd", "ee"].map(text).into(), ..notebook() };
    assert_eq!(refuse(large).await.1, "product_too_large", "its event could not be published");
    let free = with(vec![variant(0, "CNY")]);
    assert_eq!(code(as_system(shop.create_product(free))).await, "ok", "an import may give things away");
}

#[tokio::test]
async fn many_are_read_in_one_call_and_missing_ones_are_reported() {
    for engine in ENGINES {
        let Some(shop) = shop(engine).await else { continue };
        for i in 1..=3 {
            shop.create(named(&format!("prod_{i}"), "Thing", 100 * i)).await;
        }
        shop.delist("prod_2").await.unwrap();
        let ids = |ids: &[&str]| BatchGetProductsRequest { ids: ids.iter().map(|id| (*id).to_owned()).collect() };
        let answer =
            shop.batch_get_products(ids(&["prod_3", "prod_9", "prod_1", "prod_3", "prod_2", ""])).await.unwrap();
        assert_eq!(
            answer.products.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(),
            ["prod_3", "prod_1"],
            "{engine:?}"
        );
        assert_eq!(answer.missing, ["prod_9", "prod_2", ""]);
        assert_eq!(code(shop.batch_get_products(ids(&["prod_1"; 101]))).await, "too_many_ids");

        let sku_ids = ["sku_1", "sku_2", "sku_9"].map(str::to_owned).to_vec();
        let answer = mallard_testkit::as_guest(shop.batch_get_skus(BatchGetSkusRequest { sku_ids })).await.unwrap();
        assert_eq!(answer.missing, ["sku_9"]);
        let sellable: Vec<(&str, bool)> = answer.skus.iter().map(|sku| (sku.sku_id.as_str(), sku.sellable)).collect();
        assert_eq!(sellable, [("sku_1", true), ("sku_2", false)]);
        assert_eq!((answer.skus[0].price.clone(), answer.skus[0].product_version), (price(100), 1));
    }
}

#[tokio::test]
async fn a_removed_variant_is_unknown_and_a_new_one_is_known() {
    for engine in ENGINES {
        let Some(shop) = shop(engine).await else { continue };
        let sized = |size: &str, id: &str| VariantInput {
            id: id.into(),
            options: [("size".to_owned(), size.to_owned())].into(),
            price: price(100),
            stock: 1,
            ..VariantInput::default()
        };
        let product =
            shop.create(CreateProductRequest { variants: vec![sized("S", ""), sized("L", "")], ..notebook() }).await;
        let (small, large) = (product.variants[0].id.clone(), product.variants[1].id.clone());
        assert!(shop.sku(&small).await.is_some());
        let variants = vec![sized("L", &large), sized("M", "")];
        let change = UpdateProductRequest { id: product.id.clone(), variants, ..UpdateProductRequest::default() };
        let changed = shop.update(change).await.unwrap();
        assert_eq!(
            changed.options,
            [mallard_proto::catalog::v1::Option { name: "size".into(), values: vec!["L".into(), "M".into()] }],
            "{engine:?}"
        );
        assert!(shop.sku(&small).await.is_none());
        assert!(shop.sku(&changed.variants[1].id).await.unwrap().sellable);
        assert_eq!(shop.broken().await, Vec::<String>::new(), "the new variant has a stock row");
    }
}
