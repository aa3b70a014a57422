//! Pictures that sellers bring, and the choices beside a list of products: what the pages need of the catalogue.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mallard_proto::catalog::v1::GetImageRequest;
use mallard_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mallard_rpc::ServiceChannel;
use mallard_testkit::{Answer, Http};
use mallard_tests::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const JPEG: &[u8] = include_bytes!("../../services/catalog/tests/pictures/plain.jpg");
const PNG: &[u8] = include_bytes!("../../services/catalog/tests/pictures/small.png");

async fn upload(http: &Http, door: &str, content: &[u8]) -> Answer {
    http.post(&format!("/{door}/v1/images"), json!({ "content": STANDARD.encode(content), "alt": "a duck" })).await
}

fn hash(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn code(answer: &Answer) -> &str {
    answer.body["error"]["code"].as_str().unwrap_or("")
}

fn draft(title: &str, price: i64) -> Value {
    json!({ "title": title, "status": "listed", "variants": [{ "price": { "amount": price, "currency": "CNY" }, "stock": 5 }] })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sellers_picture_is_kept_and_shown_with_its_product() {
    let shop = Shop::start().await;
    let ada = shop.user_with(&["user", "seller"]).await;
    let image = upload(&ada.http, "seller", JPEG).await.expect(201).body["image"].clone();
    let name = format!("{}.jpg", hash(JPEG));
    let expected = json!({ "url": format!("/media/up/{name}"), "alt": "a duck", "width": 40, "height": 20 });
    assert_eq!(image, expected);
    assert_eq!(upload(&shop.admin, "admin", JPEG).await.expect(201).body["image"], expected, "the same picture is one");

    let mut product = draft("Duck", 100);
    product["images"] = json!([{ "url": image["url"], "alt": "the duck" }]);
    let made = ada.http.post("/seller/v1/products", product.clone()).await.expect(201).body["product"].clone();
    let shown = shop.http.get(&format!("/store/v1/products/{}", made["id"].as_str().unwrap())).await.expect(200).body;
    let own = json!([{ "url": image["url"], "alt": "the duck", "width": 40, "height": 20 }]);
    assert_eq!(shown["product"]["images"], own, "the size is the picture's own");

    product["images"][0]["url"] = json!(format!("/media/up/{}.png", hash(b"nothing")));
    let refused = ada.http.post("/seller/v1/products", product).await.expect(400);
    assert_eq!((code(&refused), &refused.body["error"]["param"]), ("image_unknown", &json!("images[0].url")));

    // The pages get the bytes as they were brought.
    let mut catalog: CatalogServiceClient<ServiceChannel> = shop.mall.client();
    let kept = catalog.get_image(GetImageRequest { name }).await.unwrap().into_inner();
    assert_eq!((kept.content.as_slice(), kept.content_type.as_str()), (JPEG, "image/jpeg"));
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_picture_or_brought_by_nobody_is_refused() {
    let shop = Shop::start().await;
    let ada = shop.user_with(&["user", "seller"]).await;
    let svg: &[u8] = b"<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"/>";
    for (content, expected) in
        [(svg, "image_unsupported"), (&JPEG[..500], "image_broken"), (&PNG[..50], "image_broken")]
    {
        let refused = upload(&ada.http, "seller", content).await.expect(400);
        assert_eq!((code(&refused), &refused.body["error"]["param"]), (expected, &json!("content")));
    }
    ada.http.post("/seller/v1/images", json!({ "content": "not base64!" })).await.expect(400);
    ada.http.post("/seller/v1/images", json!({ "alt": "nothing" })).await.expect(400);
    upload(&shop.shopper().await.http, "seller", PNG).await.expect(403);
    upload(&ada.http, "admin", PNG).await.expect(403);
    upload(&shop.http, "seller", PNG).await.expect(401);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seller_keeps_no_more_pictures_than_allowed() {
    let shop = Shop::start_with(|mut settings| {
        settings.config = settings.config.set("catalog.images_per_seller_max", 1);
        settings
    })
    .await;
    let (ada, bea) = (shop.user_with(&["user", "seller"]).await, shop.user_with(&["user", "seller"]).await);
    upload(&ada.http, "seller", PNG).await.expect(201);
    let full = upload(&ada.http, "seller", JPEG).await.expect(422);
    assert_eq!((code(&full), &full.body["error"]["details"]["images_max"]), ("images_full", &json!(1)));
    upload(&bea.http, "seller", JPEG).await.expect(201);
    upload(&ada.http, "seller", JPEG).await.expect(201);
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_tells_what_its_products_have_in_common() {
    let shop = Shop::start().await;
    let category = shop.admin.post("/admin/v1/categories", json!({ "slug": "tea", "name": "Tea" })).await.expect(201);
    let brand = shop.admin.post("/admin/v1/brands", json!({ "name": "Leaf" })).await.expect(201);
    let (category, brand) = (category.body["category"]["id"].clone(), brand.body["brand"]["id"].clone());
    for (title, price, branded) in [("Green tea", 900, true), ("Black tea", 1_900, true), ("Tea pot", 9_900, false)] {
        let mut body = draft(title, price);
        body["category_ids"] = json!([category]);
        if branded {
            body["brand_id"] = brand.clone();
        }
        shop.admin.post("/admin/v1/products", body).await.expect(201);
    }
    let facets = async |query: &str| {
        shop.http.get(&format!("/store/v1/products?facets=true&{query}")).await.expect(200).body["facets"].clone()
    };
    let all = facets("").await;
    assert_eq!(all["brands"], json!([{ "value": brand, "label": "Leaf", "count": 2 }]));
    assert_eq!(all["categories"], json!([{ "value": "tea", "label": "Tea", "count": 3 }]));
    assert_eq!(all["in_stock"][0]["value"], "true");
    assert_eq!(all["in_stock"][0]["count"], 3);
    let ranges: Vec<_> =
        all["prices"].as_array().unwrap().iter().map(|range| (&range["value"], &range["count"])).collect();
    assert_eq!(
        ranges,
        [(&json!("0-1000"), &json!(1)), (&json!("1000-2000"), &json!(1)), (&json!("2000-10000"), &json!(1))]
    );
    // A range is asked for by its bounds and shows as many products as it says.
    let dear = shop.http.get("/store/v1/products?price[gte]=2000&price[lte]=10000&facets=true").await.expect(200).body;
    assert_eq!((dear["products"].as_array().unwrap().len(), &dear["facets"]["prices"]), (1, &all["prices"]));
    assert_eq!(dear["facets"]["brands"], json!([]), "the pot has no brand");
    assert!(shop.http.get("/store/v1/products").await.expect(200).body.get("facets").is_none_or(Value::is_null));
    shop.stop().await;
}
