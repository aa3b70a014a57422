//! Scenarios 18 to 23 and the catalogue's conventions: lists, search, pages, versions, sellers, stock flags.
//!
//! Scenario 24 (the catalogue is away) needs a cluster.

#![allow(clippy::cloned_ref_to_slice_refs, reason = "a list of one reads as a list")]

use std::collections::BTreeSet;

use futures_util::future::join_all;
use mallard_testkit::{Answer, Http};
use mallard_tests::*;
use serde_json::{Value, json};

/// Title, description, price in minor units and category of GoMall's seven products, in order.
const GOMALL: [(&str, &str, i64, &str); 7] = [
    (
        "Notebook",
        "The cloudwego notebook is a highly efficient and feature-rich notebook designed to meet all your note-taking needs. ",
        990,
        "sticker",
    ),
    (
        "Mouse-Pad",
        "The cloudwego mouse pad is a premium-grade accessory designed to enhance your computer usage experience. ",
        880,
        "sticker",
    ),
    ("T-Shirt", T_SHIRT, 660, "t-shirt"),
    ("T-Shirt", T_SHIRT, 220, "t-shirt"),
    (
        "Sweatshirt",
        "The cloudwego Sweatshirt is a cozy and fashionable garment that provides warmth and style during colder weather.",
        110,
        "t-shirt",
    ),
    ("T-Shirt", T_SHIRT, 180, "t-shirt"),
    (
        "mascot",
        "The cloudwego mascot is a charming and captivating representation of the brand, designed to bring joy and a playful spirit to any environment.",
        480,
        "sticker",
    ),
];
const T_SHIRT: &str = "The cloudwego t-shirt is a stylish and comfortable clothing item that allows you to showcase your fashion sense while enjoying maximum comfort.";

/// A shop with GoMall's products.
struct GoMall {
    shop: Shop,
    /// Product ids in the order of [`GOMALL`].
    ids: Vec<String>,
    /// Their SKUs.
    skus: Vec<String>,
    /// Ids of the categories `t-shirt` and `sticker`.
    categories: [String; 2],
}

impl GoMall {
    async fn start() -> GoMall {
        let shop = Shop::start().await;
        let categories = [category(&shop, "t-shirt", "").await, category(&shop, "sticker", "").await];
        let mut mall = GoMall { shop, ids: Vec::new(), skus: Vec::new(), categories };
        for (title, description, price, slug) in GOMALL {
            let category = if slug == "t-shirt" { &mall.categories[0] } else { &mall.categories[1] };
            let body = json!({
                "title": title, "description": description, "status": "listed", "category_ids": [category],
                "images": [{ "url": format!("/static/image/{}.jpeg", mall.ids.len()), "alt": title }],
                "variants": [{ "title": title, "price": { "amount": price, "currency": "CNY" }, "stock": 10 }],
            });
            let made = mall.shop.admin.post("/admin/v1/products", body).await.expect(201).body["product"].clone();
            mall.ids.push(text(&made["id"]));
            mall.skus.push(text(&made["variants"][0]["id"]));
        }
        mall
    }

    /// Lists with a query and returns GoMall's numbers of the products, from 1, in the order of the list.
    async fn list(&self, query: &str) -> Vec<usize> {
        let found = ids(&self.shop.http, &format!("/store/v1/products?{query}")).await;
        found.iter().map(|id| self.ids.iter().position(|own| own == id).expect("a seeded product") + 1).collect()
    }

    async fn sorted(&self, query: &str) -> Vec<usize> {
        let mut found = self.list(query).await;
        found.sort_unstable();
        found
    }
}

async fn category(shop: &Shop, slug: &str, parent: &str) -> String {
    let body = json!({ "slug": slug, "name": slug, "parent_id": parent });
    text(&shop.admin.post("/admin/v1/categories", body).await.expect(201).body["category"]["id"])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn param(answer: &Answer) -> &str {
    answer.body["error"]["param"].as_str().unwrap_or("")
}

async fn ids(http: &Http, path: &str) -> Vec<String> {
    let body = http.get(path).await.expect(200).body;
    body["products"].as_array().expect("a list").iter().map(|product| text(&product["id"])).collect()
}

/// Reads every page; returns the ids of each.
async fn pages(http: &Http, path: &str) -> Vec<Vec<String>> {
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let body = http.get(&format!("{path}&cursor={cursor}")).await.expect(200).body;
        pages.push(body["products"].as_array().expect("a list").iter().map(|p| text(&p["id"])).collect());
        cursor = body["next_cursor"].as_str().unwrap_or("").to_owned();
        if cursor.is_empty() {
            return pages;
        }
        assert!(pages.len() < 100, "the pages never end");
    }
}

fn draft(title: &str, price: i64) -> Value {
    json!({ "title": title, "status": "listed", "variants": [{ "price": { "amount": price, "currency": "CNY" }, "stock": 5 }] })
}

// Scenarios 18 and 19: home, categories, search.

#[tokio::test(flavor = "multi_thread")]
async fn the_home_page_and_the_categories_show_exactly_their_products() {
    let mall = GoMall::start().await;
    assert_eq!(mall.list("").await, [7, 6, 5, 4, 3, 2, 1], "newest first");
    for slug in ["t-shirt", "T-SHIRT", "T-Shirt", mall.categories[0].as_str()] {
        assert_eq!(mall.sorted(&format!("category={slug}")).await, [3, 4, 5, 6], "{slug}");
    }
    for slug in ["sticker", "Sticker", "STICKER", mall.categories[1].as_str()] {
        assert_eq!(mall.sorted(&format!("category={slug}")).await, [1, 2, 7], "{slug}");
    }
    assert!(mall.list("category=t-shir").await.is_empty());
    assert!(mall.list("category=%25").await.is_empty());
    let listed = mall.shop.http.get("/store/v1/categories").await.expect(200).body["categories"].clone();
    let slugs: Vec<_> = listed.as_array().unwrap().iter().map(|category| text(&category["slug"])).collect();
    assert_eq!(slugs, ["sticker", "t-shirt"]);
    assert!(text(&listed[0]["id"]).starts_with("cat_"));
    mall.shop.check().await;
    mall.shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_has_the_shape_of_the_contract() {
    let mall = GoMall::start().await;
    let product = mall.shop.http.get(&format!("/store/v1/products/{}", mall.ids[0])).await.expect(200).body;
    let product = &product["product"];
    assert_eq!((&product["title"], &product["description"]), (&json!(GOMALL[0].0), &json!(GOMALL[0].1)));
    assert_eq!((&product["status"], &product["version"]), (&json!("listed"), &json!(1)));
    assert_eq!(product["category_ids"], json!([mall.categories[1]]));
    assert!(text(&product["id"]).starts_with("prod_") && text(&product["seller_id"]).starts_with("sel_"));
    assert_eq!(
        (&product["images"][0]["url"], &product["images"][0]["alt"]),
        (&json!("/static/image/0.jpeg"), &json!("Notebook"))
    );
    assert!(product["images"][0]["width"].is_i64() && product["images"][0]["height"].is_i64());
    assert_eq!(product["options"], json!([]));
    let variant = &product["variants"][0];
    assert!(text(&variant["id"]).starts_with("sku_"));
    assert_eq!((&variant["title"], &variant["options"]), (&json!("Notebook"), &json!({})));
    assert_eq!((&variant["price"], &variant["in_stock"]), (&json!({ "amount": 990, "currency": "CNY" }), &json!(true)));
    for time in ["created_at", "updated_at"] {
        assert!(text(&product[time]).contains('T') && text(&product[time]).ends_with('Z'), "{time}");
    }
    mall.shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_in_two_categories_is_listed_once_and_a_parent_lists_its_children() {
    let shop = Shop::start().await;
    let clothes = category(&shop, "clothes", "").await;
    let shirts = category(&shop, "shirts", &clothes).await;
    let gifts = category(&shop, "gifts", "").await;
    let mut body = draft("Shirt", 100);
    body["category_ids"] = json!([clothes, shirts, gifts]);
    let both = text(&shop.admin.post("/admin/v1/products", body).await.expect(201).body["product"]["id"]);
    let mut body = draft("Vest", 100);
    body["category_ids"] = json!([shirts]);
    let child = text(&shop.admin.post("/admin/v1/products", body).await.expect(201).body["product"]["id"]);
    for (query, expected) in [
        ("", vec![&child, &both]),
        ("category=clothes", vec![&child, &both]),
        ("category=shirts", vec![&child, &both]),
        ("category=gifts", vec![&both]),
    ] {
        let path = format!("/store/v1/products?limit=1&count=true&{query}");
        let pages = pages(&shop.http, &path).await.concat();
        assert_eq!(pages.iter().collect::<Vec<_>>(), expected, "{query}");
        assert_eq!(shop.http.get(&path).await.body["count"], expected.len(), "{query}");
    }
    let taken = shop.admin.post("/admin/v1/categories", json!({ "slug": "Clothes", "name": "x" })).await.expect(409);
    assert_eq!(param(&taken), "slug");
    for (body, field) in [
        (json!({ "name": "x" }), "slug"),
        (json!({ "slug": "x" }), "name"),
        (json!({ "slug": "a b", "name": "x" }), "slug"),
        (json!({ "slug": "x", "name": " " }), "name"),
        (json!({ "slug": "x", "name": "x", "parent_id": "cat_unknown" }), "parent_id"),
    ] {
        assert_eq!(param(&shop.admin.post("/admin/v1/categories", body.clone()).await.expect(400)), field, "{body}");
    }
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_matches_title_or_description_in_any_case_and_takes_every_sign_literally() {
    let mall = GoMall::start().await;
    for q in ["notebook", "NOTEBOOK", "noteb", "note-taking", "+notebook+"] {
        assert_eq!(mall.list(&format!("q={q}")).await, [1], "{q}");
    }
    assert_eq!(mall.sorted("q=cozy").await, [5], "a word of the description");
    assert_eq!(mall.sorted("q=shirt").await, [3, 4, 5, 6]);
    assert_eq!(mall.sorted("q=cloudwego").await, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(mall.sorted("q=shirt&category=sticker").await, [] as [usize; 0]);
    for nothing in ["%25", "_", "note%25", "n_tebook", "%5C", "%27", "%27%20OR%201%3D1%20--", "zebra"] {
        assert!(mall.list(&format!("q={nothing}")).await.is_empty(), "{nothing}");
    }
    let shop = &mall.shop;
    for title in
        ["100% cotton", "100x cotton", "left_right", "leftXright", "back\\slash", "O'Neill \"quoted\"", "鸭子马克杯"]
    {
        shop.admin.post("/admin/v1/products", draft(title, 100)).await.expect(201);
    }
    for (q, title) in [
        ("100%25", "100% cotton"),
        ("%25", "100% cotton"),
        ("t_r", "left_right"),
        ("_", "left_right"),
        ("%5C", "back\\slash"),
        ("O%27Neill", "O'Neill \"quoted\""),
        ("%22quoted%22", "O'Neill \"quoted\""),
        ("%E9%A9%AC%E5%85%8B", "鸭子马克杯"),
    ] {
        let found = shop.http.get(&format!("/store/v1/products?q={q}")).await.expect(200).body;
        let titles: Vec<_> = found["products"].as_array().unwrap().iter().map(|p| text(&p["title"])).collect();
        assert_eq!(titles, [title], "{q}");
    }
    let long = "x".repeat(5_000);
    assert_eq!(param(&shop.http.get(&format!("/store/v1/products?q={long}")).await.expect(400)), "q");
    shop.http.get("/store/v1/products?q=%ff").await.expect(400);
    mall.shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_by_price_seller_and_brand() {
    let mall = GoMall::start().await;
    for (query, expected) in [
        ("price[gte]=220&price[lte]=660", vec![3, 4, 7]),
        ("price%5Bgte%5D=220&price%5Blte%5D=660", vec![3, 4, 7]),
        ("price[gte]=661", vec![1, 2]),
        ("price[lte]=110", vec![5]),
        ("price[lte]=109", vec![]),
        ("price[gte]=990", vec![1]),
        ("price[gte]=991", vec![]),
        ("price[gte]=500&price[lte]=400", vec![]),
        ("price[gte]=-5", vec![1, 2, 3, 4, 5, 6, 7]),
        ("price[lte]=200&category=t-shirt", vec![5, 6]),
        ("price[lte]=200&q=t-shirt", vec![6]),
        ("seller=sel_mallard", vec![1, 2, 3, 4, 5, 6, 7]),
        ("seller=sel_nobody", vec![]),
        ("in_stock=true", vec![1, 2, 3, 4, 5, 6, 7]),
        ("in_stock=false", vec![]),
        ("brand=nobody", vec![]),
    ] {
        assert_eq!(mall.sorted(query).await, expected, "{query}");
    }
    for (query, field) in [
        ("price[gte]=cheap", "price[gte]"),
        ("price[lte]=9.90", "price[lte]"),
        ("price[gte]=9223372036854775808", "price[gte]"),
        ("in_stock=perhaps", "in_stock"),
        ("order=random", "order"),
        ("order=price&order=title", "order"),
    ] {
        let refused = mall.shop.http.get(&format!("/store/v1/products?{query}")).await.expect(400);
        assert_eq!(param(&refused), field, "{query}");
    }
    let brand = mall.shop.admin.post("/admin/v1/brands", json!({ "name": "CloudWeGo" })).await.expect(201).body;
    let brand = text(&brand["brand"]["id"]);
    let branded = format!("/admin/v1/products/{}", mall.ids[1]);
    mall.shop.admin.patch(&branded, json!({ "brand_id": brand })).await.expect(200);
    for name in [brand.as_str(), "CloudWeGo", "cloudwego"] {
        assert_eq!(mall.list(&format!("brand={name}")).await, [2], "{name}");
    }
    let product = mall.shop.http.get(&format!("/store/v1/products/{}", mall.ids[1])).await.expect(200).body;
    assert_eq!(product["product"]["brand"], json!({ "id": brand, "name": "CloudWeGo" }));
    mall.shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_the_order_that_was_asked_for() {
    let mall = GoMall::start().await;
    assert_eq!(mall.list("order=newest").await, [7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(mall.list("order=oldest").await, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(mall.list("order=price").await, [5, 6, 4, 7, 3, 2, 1]);
    assert_eq!(mall.list("order=-price").await, [1, 2, 3, 7, 4, 6, 5]);
    let by_title = mall.list("order=title").await;
    assert_eq!(by_title[..4], [7, 2, 1, 5]);
    // Three have one title: any order among them, but the same in every page size.
    for limit in 1..8 {
        let paged = pages(&mall.shop.http, &format!("/store/v1/products?order=title&limit={limit}")).await.concat();
        let numbers: Vec<_> = paged.iter().map(|id| mall.ids.iter().position(|own| own == id).unwrap() + 1).collect();
        assert_eq!(numbers, by_title, "limit {limit}");
    }
    mall.shop.stop().await;
}

// Scenario 20: pages.

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_every_product_once_in_a_stable_order() {
    let shop = Shop::start().await;
    let mut made = Vec::new();
    for i in 0..25 {
        let body = draft(&format!("Mug {}", i % 3), 100 + i % 4);
        made.insert(0, text(&shop.admin.post("/admin/v1/products", body).await.expect(201).body["product"]["id"]));
    }
    let all: BTreeSet<_> = made.iter().cloned().collect();
    assert_eq!(ids(&shop.http, "/store/v1/products").await, made[..20], "20 when nothing is asked");
    for order in ["newest", "oldest", "price", "-price", "title"] {
        let whole = ids(&shop.http, &format!("/store/v1/products?order={order}&limit=100")).await;
        assert_eq!(whole.iter().cloned().collect::<BTreeSet<_>>(), all, "{order}");
        for limit in [1, 4, 7, 24, 25, 26, 100] {
            let pages = pages(&shop.http, &format!("/store/v1/products?order={order}&limit={limit}")).await;
            assert!(pages.iter().all(|page| page.len() <= limit), "{order} {limit}");
            assert_eq!(pages.concat(), whole, "{order} {limit}");
        }
    }
    // Somebody adds while another turns the pages.
    let first = shop.http.get("/store/v1/products?limit=10").await.expect(200).body;
    for _ in 0..5 {
        shop.admin.post("/admin/v1/products", draft("Newcomer", 1)).await.expect(201);
    }
    let rest = pages(&shop.http, "/store/v1/products?limit=10").await;
    assert_eq!(rest.concat().len(), 30);
    let cursor = text(&first["next_cursor"]);
    let second = ids(&shop.http, &format!("/store/v1/products?limit=10&cursor={cursor}")).await;
    assert_eq!(second, made[10..20], "the second page goes on where the first ended");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_cursors_and_counts_keep_their_bounds() {
    let mall = GoMall::start().await;
    let http = &mall.shop.http;
    for bad in ["101", "-1", "1000000000000", "ten", "1.5"] {
        let refused = http.get(&format!("/store/v1/products?limit={bad}")).await.expect(400);
        assert_eq!((&refused.body["error"]["type"], param(&refused)), (&json!("invalid"), "limit"), "{bad}");
    }
    assert_eq!(mall.list("limit=100").await.len(), 7);
    assert_eq!(mall.list("limit=1").await, [7]);
    let cursor = text(&http.get("/store/v1/products?limit=1").await.expect(200).body["next_cursor"]);
    for bad in ["cursor=x", "cursor=%27", "cursor=0123456789abcdef", &format!("cursor={cursor}&order=price")] {
        let refused = http.get(&format!("/store/v1/products?{bad}")).await.expect(400);
        assert_eq!(param(&refused), "cursor", "{bad}");
    }
    let last = http.get("/store/v1/products?limit=7").await.expect(200).body;
    assert_eq!(last["next_cursor"].as_str().unwrap_or(""), "");
    assert!(last["count"].is_null(), "no count unless asked: {last}");
    let counted = http.get("/store/v1/products?limit=2&count=true&category=t-shirt").await.expect(200).body;
    assert_eq!((&counted["count"], counted["products"].as_array().unwrap().len()), (&json!(4), 2));
    assert!(http.get("/store/v1/products?count=false").await.expect(200).body["count"].is_null());
    mall.shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_nothing_is_refused() {
    let shop = Shop::start().await;
    assert_eq!(param(&shop.http.get("/store/v1/products?limit=0").await.expect(400)), "limit");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_query_parameter_is_refused_by_its_name() {
    let shop = Shop::start().await;
    for (path, name) in [
        ("/store/v1/products?colour=red", "colour"),
        ("/store/v1/products?page=2", "page"),
        ("/store/v1/products?price_gte=1", "price_gte"),
        ("/store/v1/products?price[gt]=1", "price[gt]"),
        ("/store/v1/products?Q=x", "Q"),
        ("/store/v1/products/prod_x?expand=all", "expand"),
        ("/store/v1/products/prod_x?id=prod_y", "id"),
        ("/store/v1/categories?limit=5", "limit"),
    ] {
        let refused = shop.http.get(path).await.expect(400);
        assert_eq!((refused.code(), param(&refused)), ("unknown_field", name), "{path}");
    }
    shop.stop().await;
}

// Scenarios 21 and 22: many at once, and none.

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_gives_what_is_there_and_names_what_is_not() {
    let mall = GoMall::start().await;
    let shop = &mall.shop;
    let hidden = text(
        &shop
            .admin
            .post(
                "/admin/v1/products",
                json!({ "title": "Draft", "variants": [{ "price": { "amount": 1, "currency": "CNY" } }] }),
            )
            .await
            .expect(201)
            .body["product"]["id"],
    );
    shop.admin.post(&format!("/admin/v1/products/{}/delist", mall.ids[6]), json!({})).await.expect(200);
    let wanted =
        json!([mall.ids[2], "prod_missing", mall.ids[0], hidden, mall.ids[2], "", mall.ids[6], "%", mall.ids[4]]);
    let path = "/store/v1/products/batch-get";
    let answer = shop.http.post(path, json!({ "ids": wanted })).await.expect(200).body;
    let found: Vec<_> = answer["products"].as_array().unwrap().iter().map(|p| text(&p["id"])).collect();
    assert_eq!(found, [mall.ids[2].clone(), mall.ids[0].clone(), mall.ids[4].clone()]);
    let missing: BTreeSet<_> = answer["missing"].as_array().unwrap().iter().map(text).collect();
    let expected = ["prod_missing", hidden.as_str(), "", mall.ids[6].as_str(), "%"];
    assert_eq!(missing, expected.into_iter().map(str::to_owned).collect());
    let single = shop.http.get(&format!("/store/v1/products/{}", mall.ids[2])).await.expect(200).body;
    assert_eq!(answer["products"][0], single["product"]);

    let hundred: Vec<_> = (0..100).map(|i| format!("prod_{i}")).collect();
    let none = shop.http.post(path, json!({ "ids": hundred })).await.expect(200).body;
    assert_eq!((&none["products"], none["missing"].as_array().unwrap().len()), (&json!([]), 100));
    let more: Vec<_> = (0..101).map(|i| format!("prod_{i}")).collect();
    assert_eq!(param(&shop.http.post(path, json!({ "ids": more })).await.expect(400)), "ids");
    assert_eq!(param(&shop.http.post(path, json!({})).await.expect(400)), "ids");
    assert_eq!(param(&shop.http.post(path, json!({ "ids": [1] })).await.expect(400)), "ids[0]");
    mall.shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_missing_ids_are_not_found_and_a_valid_product_does_not_suffer() {
    let mall = GoMall::start().await;
    let good = format!("/store/v1/products/{}", mall.ids[0]);
    let before = mall.shop.http.get(&good).await.expect(200).body;
    for round in 0..6 {
        let answers = join_all((0..50).map(|i| {
            let http = mall.shop.http.clone();
            let id = match i % 3 {
                0 => format!("prod_{round}x{i}"),
                1 => format!("{}{i}", mall.ids[0]),
                _ => format!("{}", round * 50 + i),
            };
            async move { http.get(&format!("/store/v1/products/{id}")).await }
        }))
        .await;
        for answer in answers {
            assert_eq!((answer.status, answer.code()), (404, "product_not_found"), "{}", answer.body);
            assert_eq!(answer.body["error"]["type"], "not_found");
        }
        assert_eq!(mall.shop.http.get(&good).await.expect(200).body, before);
    }
    for odd in ["%20", "%00", "..%2F..%2Fetc%2Fpasswd", "%27%20OR%201=1", "%E9%B8%AD", &"x".repeat(5_000)] {
        mall.shop.http.get(&format!("/store/v1/products/{odd}")).await.expect(404);
    }
    mall.shop.stop().await;
}

// Versions.

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_product_is_answered_304_and_a_changed_one_in_full() {
    let mall = GoMall::start().await;
    let path = format!("/store/v1/products/{}", mall.ids[0]);
    let first = mall.shop.http.get(&path).await.expect(200);
    let etag = first.header("etag").to_owned();
    // Version, and a hash of what is shown beside it.
    assert!(etag.starts_with(&format!("\"{}-", first.body["product"]["version"])), "{etag}");
    for tag in [etag.clone(), format!("W/{etag}"), format!("\"0\", {etag}"), "*".to_owned()] {
        let same = mall.shop.http.with("if-none-match", &tag).get(&path).await.expect(304);
        assert_eq!((same.body.clone(), same.header("etag")), (Value::Null, etag.as_str()), "{tag}");
    }
    mall.shop.http.with("if-none-match", "\"99\"").get(&path).await.expect(200);
    mall.shop.price(&mall.ids[0], &mall.skus[0], 1_090).await;
    shows("the new version shows", async || {
        let answer = mall.shop.http.with("if-none-match", &etag).get(&path).await;
        answer.status == 200
            && answer.header("etag") != etag
            && answer.body["product"]["variants"][0]["price"]["amount"] == 1_090
    })
    .await;
    mall.shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_changed_only_over_the_version_that_was_seen() {
    let mall = GoMall::start().await;
    let (admin, path) = (&mall.shop.admin, format!("/admin/v1/products/{}", mall.ids[0]));
    let etag = admin.get(&path).await.expect(200).header("etag").to_owned();
    let changed = admin.with("if-match", &etag).patch(&path, json!({ "title": "Notebook A5" })).await.expect(200);
    assert_eq!((&changed.body["product"]["version"], changed.header("etag")), (&json!(2), "\"2\""));
    for stale in [etag.as_str(), "\"99\"", "\"abc\""] {
        let refused = admin.with("if-match", stale).patch(&path, json!({ "title": "Lost" })).await.expect(412);
        assert_eq!((refused.code(), &refused.body["error"]["type"]), ("version_mismatch", &json!("precondition")));
    }
    admin.with("if-match", "nonsense").patch(&path, json!({ "title": "Lost" })).await.expect(400);
    admin.with("if-match", "*").patch(&path, json!({ "description": "any" })).await.expect(200);
    let now = admin.get(&path).await.expect(200).body["product"].clone();
    assert_eq!((&now["title"], &now["version"]), (&json!("Notebook A5"), &json!(3)));
    // Ten people change what they all saw: one of them wins.
    let answers = join_all((0..10).map(|i| {
        let (http, path) = (admin.with("if-match", "\"3\""), path.clone());
        async move { http.patch(&path, json!({ "title": format!("Notebook {i}") })).await.status }
    }))
    .await;
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|status| **status == 412).count(), 9, "{answers:?}");
    assert_eq!(admin.get(&path).await.body["product"]["version"], 4);
    mall.shop.stop().await;
}

// Scenario 23: what sellers and operators change is seen within a second.

#[tokio::test(flavor = "multi_thread")]
async fn a_new_price_is_on_the_product_page_in_the_list_and_in_the_cart() {
    let mall = GoMall::start().await;
    let shop = &mall.shop;
    let ada = shop.shopper().await;
    ada.add(&mall.skus[0], 2).await.expect(200);
    shop.http.get("/store/v1/products?price[gte]=2000").await.expect(200);
    shop.price(&mall.ids[0], &mall.skus[0], 2_000).await;
    let page = format!("/store/v1/products/{}", mall.ids[0]);
    shows("page, list and cart show the new price", async || {
        let product = shop.http.get(&page).await.body;
        let cart = ada.cart().await;
        product["product"]["variants"][0]["price"]["amount"] == 2_000
            && mall.list("price[gte]=2000").await == [1]
            && cart["lines"][0]["unit_price"]["amount"] == 2_000
            && cart["total"]["amount"] == 4_000
    })
    .await;
    mall.shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listing_delisting_and_deleting_show_everywhere() {
    let shop = Shop::start().await;
    let ada = shop.shopper().await;
    let mut body = draft("Teapot", 500);
    body["status"] = json!("draft");
    let made = shop.admin.post("/admin/v1/products", body).await.expect(201).body["product"].clone();
    assert_eq!(made["status"], "draft");
    let (id, sku) = (text(&made["id"]), text(&made["variants"][0]["id"]));
    let (page, own) = (format!("/store/v1/products/{id}"), format!("/admin/v1/products/{id}"));
    let shown = async || {
        let page = shop.http.get(&page).await.status;
        let list = ids(&shop.http, "/store/v1/products").await.contains(&id);
        let search = ids(&shop.http, "/store/v1/products?q=teapot").await.contains(&id);
        let batch = shop.http.post("/store/v1/products/batch-get", json!({ "ids": [id] })).await.body;
        let batch = batch["missing"] == json!([]);
        let cart = ada.http.put(&format!("/store/v1/cart/lines/{sku}"), json!({ "quantity": 1 })).await.status;
        (page, list, search, batch, cart)
    };
    let (visible, hidden) = ((200, true, true, true, 200), (404, false, false, false, 409));
    assert_eq!(shown().await, hidden, "a draft");
    for (verb, status, expected) in
        [("list", "listed", visible), ("delist", "delisted", hidden), ("list", "listed", visible)]
    {
        let answer = shop.admin.post(&format!("{own}/{verb}"), json!({})).await.expect(200).body;
        assert_eq!(answer["product"]["status"], status);
        shows(&format!("{verb} shows"), async || shown().await == expected).await;
        // Once more is the same as once.
        let again = shop.admin.post(&format!("{own}/{verb}"), json!({})).await.expect(200).body;
        assert_eq!(again["product"]["version"], answer["product"]["version"]);
        assert_eq!(shop.admin.get(&own).await.expect(200).body["product"]["status"], status);
    }
    shop.admin.delete(&own).await.expect(204);
    shows("the deletion shows", async || {
        let (page, list, search, batch, cart) = shown().await;
        (page, list, search, batch) == (404, false, false, false) && matches!(cart, 404 | 409)
    })
    .await;
    shop.admin.get(&own).await.expect(404);
    shop.admin.patch(&own, json!({ "title": "Back" })).await.expect(404);
    shop.admin.post(&format!("{own}/list"), json!({})).await.expect(404);
    shop.admin.delete("/admin/v1/products/prod_unknown").await.expect(404);
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_list_products_in_every_state() {
    let shop = Shop::start().await;
    let mut made = Vec::new();
    for (title, status) in [("Alpha", "draft"), ("Beta", "listed"), ("Gamma", "listed"), ("Delta", "listed")] {
        let mut body = draft(title, 100);
        body["status"] = json!(status);
        made.push(text(&shop.admin.post("/admin/v1/products", body).await.expect(201).body["product"]["id"]));
    }
    shop.admin.post(&format!("/admin/v1/products/{}/delist", made[2]), json!({})).await.expect(200);
    shop.admin.delete(&format!("/admin/v1/products/{}", made[3])).await.expect(204);
    let list = async |query: &str| ids(&shop.admin, &format!("/admin/v1/products?{query}")).await;
    assert_eq!(list("").await, [made[2].clone(), made[1].clone(), made[0].clone()]);
    assert_eq!(list("status=draft").await, [made[0].clone()]);
    assert_eq!(list("status=listed").await, [made[1].clone()]);
    assert_eq!(list("status=delisted").await, [made[2].clone()]);
    assert_eq!(list("q=alph").await, [made[0].clone()]);
    assert_eq!(pages(&shop.admin, "/admin/v1/products?limit=2").await.concat().len(), 3);
    assert_eq!(shop.admin.get("/admin/v1/products?count=true&limit=1").await.expect(200).body["count"], 3);
    for bad in ["status=sold", "status=deleted", "limit=101", "order=price"] {
        shop.admin.get(&format!("/admin/v1/products?{bad}")).await.expect(400);
    }
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_senseless_product_is_refused_naming_the_field() {
    let mall = GoMall::start().await;
    let shop = &mall.shop;
    let price = |amount: i64| json!({ "amount": amount, "currency": "CNY" });
    let one = |variant: Value| json!({ "title": "Mug", "variants": [variant] });
    let crowd: Vec<_> = (0..101).map(|i| json!({ "options": { "no": i.to_string() }, "price": price(1) })).collect();
    for (body, field) in [
        (json!({ "variants": [{ "price": price(1) }] }), "title"),
        (json!({ "title": "  ", "variants": [{ "price": price(1) }] }), "title"),
        (json!({ "title": "x".repeat(500), "variants": [{ "price": price(1) }] }), "title"),
        (json!({ "title": "Mug" }), "variants"),
        (json!({ "title": "Mug", "variants": [] }), "variants"),
        (json!({ "title": "Mug", "variants": crowd }), "variants"),
        (one(json!({})), "variants[0].price"),
        (one(json!({ "price": { "amount": 1 } })), "variants[0].price.currency"),
        (one(json!({ "price": { "amount": 1.5, "currency": "CNY" } })), "variants[0].price.amount"),
        (one(json!({ "price": { "amount": "990", "currency": "CNY" } })), "variants[0].price.amount"),
        (one(json!({ "price": price(0) })), "variants[0].price.amount"),
        (one(json!({ "price": price(-990) })), "variants[0].price.amount"),
        (one(json!({ "price": price(i64::MAX) })), "variants[0].price.amount"),
        (one(json!({ "price": price(1), "stock": -1 })), "variants[0].stock"),
        (one(json!({ "price": price(1), "stock": i64::MAX })), "variants[0].stock"),
        (one(json!({ "price": price(1), "colour": "red" })), "variants[0].colour"),
        (one(json!({ "price": price(1), "id": mall.skus[0] })), "variants[0].id"),
        (
            json!({ "title": "Mug", "variants": [{ "options": { "a": "1" }, "price": price(1) },
                { "options": { "a": "2" }, "price": { "amount": 1, "currency": "USD" } }] }),
            "variants[1].price.currency",
        ),
        (json!({ "title": "Mug", "variants": [{ "price": price(1) }], "category_ids": ["cat_x"] }), "category_ids[0]"),
        (json!({ "title": "Mug", "variants": [{ "price": price(1) }], "brand_id": "brand_x" }), "brand_id"),
        (json!({ "title": "Mug", "variants": [{ "price": price(1) }], "status": "sold" }), "status"),
        (json!({ "title": "Mug", "variants": [{ "price": price(1) }], "status": "deleted" }), "status"),
        (json!({ "title": "Mug", "variants": [{ "price": price(1) }], "id": "prod_mine" }), "id"),
        (
            json!({ "title": "Mug", "variants": [{ "price": price(1) }], "images": [{ "url": "javascript:alert(1)" }] }),
            "images[0].url",
        ),
    ] {
        let refused = shop.admin.post("/admin/v1/products", body.clone()).await.expect(400);
        assert_eq!(param(&refused), field, "{body} was answered {}", refused.body);
    }
    for currency in ["", "cny", "CN", "CNYY", "C¥", "123"] {
        let nowhere = one(json!({ "price": { "amount": 1, "currency": currency } }));
        shop.admin.post("/admin/v1/products", nowhere).await.expect(400);
    }
    assert_eq!(ids(&shop.admin, "/admin/v1/products?limit=100").await.len(), 7, "nothing was made");
    shop.check().await;
    mall.shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_currency_that_does_not_exist_is_refused() {
    let shop = Shop::start().await;
    for currency in ["XXZ", "ABC", "QQQ"] {
        let body = json!({ "title": "Mug", "variants": [{ "price": { "amount": 1, "currency": currency } }] });
        let refused = shop.admin.post("/admin/v1/products", body).await.expect(400);
        assert_eq!(param(&refused), "variants[0].price.currency");
    }
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_made_once_under_one_key() {
    let shop = Shop::start().await;
    let keyed = shop.admin.key("import-1");
    let import = || patiently("the import", async || keyed.post("/admin/v1/products", draft("Mug", 100)).await);
    let answers = join_all((0..10).map(|_| import())).await;
    let first = &answers[0].body["product"]["id"];
    for answer in &answers {
        assert_eq!((answer.status, &answer.body["product"]["id"]), (201, first), "{}", answer.body);
    }
    assert_eq!(answers.iter().filter(|answer| answer.header("idempotent-replayed") == "true").count(), 9);
    let other = keyed.post("/admin/v1/products", draft("Vase", 100)).await.expect(422);
    assert_eq!(other.code(), "idempotency_conflict");
    assert_eq!(ids(&shop.http, "/store/v1/products").await.len(), 1);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn variants_differ_in_their_options_and_keep_their_ids() {
    let shop = Shop::start().await;
    let price = json!({ "amount": 100, "currency": "CNY" });
    let body = json!({
        "title": "Shirt", "status": "listed",
        "options": [{ "name": "size", "values": ["S", "M"] }, { "name": "colour", "values": ["red"] }],
        "variants": [
            { "options": { "size": "S", "colour": "red" }, "price": price, "stock": 1 },
            { "options": { "size": "M", "colour": "red" }, "price": { "amount": 120, "currency": "CNY" }, "stock": 0 },
        ],
    });
    let made = shop.admin.post("/admin/v1/products", body).await.expect(201).body["product"].clone();
    assert_eq!(made["options"][0], json!({ "name": "size", "values": ["S", "M"] }));
    assert_eq!(made["variants"][1]["options"], json!({ "size": "M", "colour": "red" }));
    assert_eq!((&made["variants"][0]["in_stock"], &made["variants"][1]["in_stock"]), (&json!(true), &json!(false)));
    let (small, medium) = (made["variants"][0]["id"].clone(), made["variants"][1]["id"].clone());
    assert_ne!(small, medium);
    let path = format!("/admin/v1/products/{}", text(&made["id"]));
    // What is sent becomes the variants: one stays, one goes, one comes.
    let change = json!({ "options": [{ "name": "size", "values": ["S", "L"] }, { "name": "colour", "values": ["red"] }], "variants": [
        { "id": small, "options": { "size": "S", "colour": "red" }, "price": price },
        { "options": { "size": "L", "colour": "red" }, "price": price, "stock": 3 },
    ] });
    let changed = shop.admin.patch(&path, change).await.expect(200).body["product"].clone();
    assert_eq!(changed["variants"][0]["id"], small);
    assert!(changed["variants"][1]["id"] != small && changed["variants"][1]["id"] != medium);
    shop.stock_is(&text(&changed["variants"][1]["id"]), 3, 0).await;
    shop.stock_is(&text(&small), 1, 0).await;
    let alike = json!({ "variants": [{ "options": { "size": "S", "colour": "red" }, "price": price }, { "options": { "size": "S", "colour": "red" }, "price": price }] });
    assert_eq!(param(&shop.admin.patch(&path, alike).await.expect(400)), "variants[1].options");
    let ada = shop.shopper().await;
    let gone = ada.add(&text(&medium), 1).await;
    assert!(matches!(gone.status, 404 | 409), "{}", gone.body);
    shop.check().await;
    shop.stop().await;
}

// Sellers.

#[tokio::test(flavor = "multi_thread")]
async fn a_seller_sees_and_changes_only_its_own() {
    let shop = Shop::start().await;
    let (house, house_sku) = shop.product("House mug", 100, 5).await;
    let (ada, bea) = (shop.user_with(&["user", "seller"]).await, shop.user_with(&["user", "seller"]).await);
    let make = async |seller: &Shopper, title: &str| {
        let made = seller.http.post("/seller/v1/products", draft(title, 100)).await.expect(201).body["product"].clone();
        (text(&made["id"]), text(&made["variants"][0]["id"]), text(&made["seller_id"]))
    };
    let (adas, adas_sku, adas_id) = make(&ada, "Ada's mug").await;
    let (beas, beas_sku, beas_id) = make(&bea, "Bea's mug").await;
    assert!(adas_id != beas_id && adas_id.starts_with("sel_"));
    assert_eq!(ids(&ada.http, "/seller/v1/products").await, [adas.clone()]);
    assert_eq!(ids(&bea.http, "/seller/v1/products").await, [beas.clone()]);
    assert!(ids(&ada.http, &format!("/seller/v1/products?seller={beas_id}")).await.is_empty());
    assert_eq!(ada.http.get("/seller/v1/products?count=true").await.expect(200).body["count"], 1);

    for (product, sku) in [(&beas, &beas_sku), (&house, &house_sku)] {
        let path = format!("/seller/v1/products/{product}");
        ada.http.get(&path).await.expect(404);
        ada.http.patch(&path, json!({ "title": "Mine now" })).await.expect(404);
        ada.http.post(&format!("{path}/delist"), json!({})).await.expect(404);
        ada.http.post(&format!("{path}/list"), json!({})).await.expect(404);
        ada.http.delete(&path).await.expect(404);
        let stock = format!("/seller/v1/inventory/{sku}");
        ada.http.get(&stock).await.expect(404);
        ada.http.get(&format!("{stock}/ledger")).await.expect(404);
        ada.http.post(&format!("{stock}/adjust"), json!({ "delta": -1, "reason": "spite" })).await.expect(404);
        shop.stock_is(sku, 5, 0).await;
        shop.http.get(&format!("/store/v1/products/{product}")).await.expect(200);
    }
    let own = format!("/seller/v1/products/{adas}");
    let changed = ada.http.patch(&own, json!({ "title": "Ada's cup" })).await.expect(200).body;
    assert_eq!(changed["product"]["title"], "Ada's cup");
    ada.http.post(&format!("{own}/delist"), json!({})).await.expect(200);
    ada.http.post(&format!("{own}/list"), json!({})).await.expect(200);
    let stock = format!("/seller/v1/inventory/{adas_sku}");
    let adjusted =
        ada.http.post(&format!("{stock}/adjust"), json!({ "delta": 2, "reason": "found" })).await.expect(200);
    assert_eq!(adjusted.body["inventory"]["on_hand"], 7);
    ada.http.get(&format!("{stock}/ledger")).await.expect(200);
    // A variant cannot take over somebody else's SKU.
    let theft = json!({ "variants": [{ "id": beas_sku, "price": { "amount": 1, "currency": "CNY" } }] });
    ada.http.patch(&own, theft).await.expect(400);
    // Whatever a seller writes, it is the seller's own.
    let mut foreign = draft("Slipped in", 100);
    foreign["seller_id"] = json!(beas_id);
    let slipped = ada.http.post("/seller/v1/products", foreign).await;
    assert!(
        slipped.status == 201 && slipped.body["product"]["seller_id"] == json!(adas_id)
            || slipped.status == 400
            || slipped.status == 403,
        "{}",
        slipped.body
    );
    assert_eq!(ids(&bea.http, "/seller/v1/products").await, [beas.clone()]);
    assert_eq!(ids(&shop.http, &format!("/store/v1/products?seller={beas_id}")).await, [beas.clone()]);
    // Operators see everybody's, through their own door.
    shop.admin.get(&format!("/admin/v1/products/{adas}")).await.expect(200);
    assert_eq!(ids(&shop.admin, &format!("/admin/v1/products?seller={beas_id}")).await, [beas.clone()]);
    ada.http.get("/admin/v1/products").await.expect(403);
    ada.http.post("/admin/v1/products", draft("x", 1)).await.expect(403);
    ada.http.post("/admin/v1/categories", json!({ "slug": "x", "name": "x" })).await.expect(403);
    let eve = shop.shopper().await;
    eve.http.get("/seller/v1/products").await.expect(403);
    eve.http.post("/seller/v1/products", draft("x", 1)).await.expect(403);
    shop.http.get("/seller/v1/products").await.expect(401);
    ada.http.delete(&own).await.expect(204);
    shop.check().await;
    shop.stop().await;
}

// Stock.

#[tokio::test(flavor = "multi_thread")]
async fn a_product_turns_sold_out_with_its_last_unit_and_comes_back_with_new_stock() {
    let mall = GoMall::start().await;
    let shop = &mall.shop;
    let ada = shop.shopper().await;
    let page = format!("/store/v1/products/{}", mall.ids[4]);
    let in_stock = async || shop.http.get(&page).await.expect(200).body["product"]["variants"][0]["in_stock"].clone();
    assert_eq!(in_stock().await, true);
    ada.buy(&mall.skus[4], 9, 990).await;
    assert_eq!(in_stock().await, true);
    ada.buy(&mall.skus[4], 1, 110).await;
    shows("the product is sold out", async || {
        in_stock().await == false
            && mall.sorted("in_stock=true").await == [1, 2, 3, 4, 6, 7]
            && mall.sorted("in_stock=false").await == [5]
    })
    .await;
    assert_eq!(mall.list("").await.len(), 7, "it is still listed");
    let adjust = format!("/admin/v1/inventory/{}/adjust", mall.skus[4]);
    shop.admin.post(&adjust, json!({ "delta": 1, "reason": "delivery" })).await.expect(200);
    shows("the product is back", async || in_stock().await == true && mall.list("in_stock=false").await.is_empty())
        .await;
    shop.admin.post(&adjust, json!({ "delta": -1, "reason": "broken" })).await.expect(200);
    shows("the product is gone again", async || in_stock().await == false).await;
    shop.check().await;
    mall.shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_is_adjusted_with_a_reason_and_every_unit_stands_in_the_ledger() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 10).await;
    let path = format!("/admin/v1/inventory/{sku}");
    let stock = shop.admin.get(&path).await.expect(200).body["inventory"].clone();
    assert_eq!(stock["sku_id"], json!(sku));
    assert_eq!((&stock["on_hand"], &stock["reserved"], &stock["available"]), (&json!(10), &json!(0), &json!(10)));
    let locations = stock["locations"].as_array().unwrap();
    assert_eq!(locations.iter().map(|at| at["on_hand"].as_i64().unwrap()).sum::<i64>(), 10);
    assert!(locations[0]["location"].is_string() && locations[0]["reserved"].is_i64());

    let adjust = format!("{path}/adjust");
    let more = shop.admin.post(&adjust, json!({ "delta": 5, "reason": "delivery" })).await.expect(200).body;
    assert_eq!(more["inventory"]["on_hand"], 15);
    let keyed = shop.admin.key("count-1");
    for _ in 0..2 {
        let less = keyed.post(&adjust, json!({ "delta": -3, "reason": "broken" })).await.expect(200).body;
        assert_eq!(less["inventory"]["on_hand"], 12);
    }
    keyed.post(&adjust, json!({ "delta": -4, "reason": "broken" })).await.expect(422);
    let ada = shop.shopper().await;
    ada.buy(&sku, 2, 200).await;
    ada.add(&sku, 4).await.expect(200);
    ada.place("hold", 400, later()).await.expect(201);
    shop.stock_is(&sku, 10, 4).await;
    // Below what is promised to somebody nothing can be taken away.
    let refused = shop.admin.post(&adjust, json!({ "delta": -7, "reason": "theft" })).await.expect(422);
    assert_eq!(refused.body["error"]["type"], "refused");
    for (body, field) in [
        (json!({ "delta": 0, "reason": "x" }), "delta"),
        (json!({ "delta": i64::MAX, "reason": "x" }), "delta"),
        (json!({ "delta": i64::MIN, "reason": "x" }), "delta"),
        (json!({ "delta": 1.5, "reason": "x" }), "delta"),
        (json!({ "reason": "x" }), "delta"),
        (json!({ "delta": 1 }), "reason"),
        (json!({ "delta": 1, "reason": "" }), "reason"),
        (json!({ "delta": 1, "reason": "x", "on_hand": 99 }), "on_hand"),
    ] {
        assert_eq!(param(&shop.admin.post(&adjust, body.clone()).await.expect(400)), field, "{body}");
    }
    shop.stock_is(&sku, 10, 4).await;
    let (mut entries, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = shop.admin.get(&format!("{path}/ledger?limit=2&cursor={cursor}")).await.expect(200).body;
        entries.extend(page["entries"].as_array().unwrap().clone());
        cursor = page["next_cursor"].as_str().unwrap_or("").to_owned();
        if cursor.is_empty() {
            break;
        }
    }
    assert_eq!(entries.iter().map(|entry| entry["delta"].as_i64().unwrap()).sum::<i64>(), 10, "{entries:?}");
    assert!(entries.iter().any(|entry| entry["reason"] == "broken" && entry["delta"] == -3));
    for unknown in ["", "/ledger"] {
        shop.admin.get(&format!("/admin/v1/inventory/sku_unknown{unknown}")).await.expect(404);
    }
    let unknown = "/admin/v1/inventory/sku_unknown/adjust";
    shop.admin.post(unknown, json!({ "delta": 1, "reason": "x" })).await.expect(404);
    shop.http.get(&path).await.expect(401);
    ada.http.get(&path).await.expect(403);
    shop.check().await;
    shop.stop().await;
}
