//! Scenarios 25 to 29: carts of guests and shoppers.

use futures_util::future::join_all;
use mallard_testkit::{Answer, Http};
use mallard_tests::browser::Browser;
use mallard_tests::*;
use serde_json::{Value, json};

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn param(answer: &Answer) -> &str {
    answer.body["error"]["param"].as_str().unwrap_or("")
}

fn cny(amount: i64) -> Value {
    json!({ "amount": amount, "currency": "CNY" })
}

fn lines(cart: &Value) -> Vec<(String, i64)> {
    let lines = cart["lines"].as_array().expect("lines");
    lines.iter().map(|line| (text(&line["sku_id"]), line["quantity"].as_i64().expect("a quantity"))).collect()
}

async fn add(http: &Http, sku: &str, quantity: i64) -> Answer {
    http.post("/store/v1/cart/lines", json!({ "sku_id": sku, "quantity": quantity })).await
}

async fn cart(http: &Http) -> Value {
    http.get("/store/v1/cart").await.expect(200).body["cart"].clone()
}

/// Puts something into a new guest's cart; returns the guest's client and token.
async fn guest(shop: &Shop, sku: &str, quantity: i64) -> (Http, String) {
    let answer = add(&shop.http, sku, quantity).await.expect(200);
    let token = answer.header("x-cart-token").to_owned();
    assert!(token.len() >= 32, "a guest gets a token with the first cart: {token:?}");
    (shop.http.with("x-cart-token", &token), token)
}

// Scenario 25.

#[tokio::test(flavor = "multi_thread")]
async fn two_and_three_of_the_same_are_one_line_of_five_and_the_total_is_exact() {
    let shop = Shop::start().await;
    let (product, sku) = shop.product("Notebook", 990, 10).await;
    let ada = shop.shopper().await;
    ada.add(&sku, 2).await.expect(200);
    let answer = ada.add(&sku, 3).await.expect(200);
    let cart = &answer.body["cart"];
    assert!(text(&cart["id"]).starts_with("cart_"));
    assert_eq!(cart["lines"].as_array().unwrap().len(), 1);
    let line = &cart["lines"][0];
    assert_eq!((&line["sku_id"], &line["product_id"]), (&json!(sku), &json!(product)));
    assert_eq!((&line["title"], &line["options"], &line["quantity"]), (&json!("Notebook"), &json!({}), &json!(5)));
    assert_eq!((&line["unit_price"], &line["line_total"]), (&cny(990), &cny(4_950)));
    assert_eq!((&line["state"], &line["available"]), (&json!("ok"), &Value::Null));
    assert_eq!(cart["total"], cny(4_950));
    assert_eq!(&ada.cart().await, cart);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_cart_is_a_cart() {
    let shop = Shop::start().await;
    let ada = shop.shopper().await;
    for http in [&ada.http, &shop.http] {
        let empty = cart(http).await;
        assert_eq!((&empty["lines"], &empty["total"]), (&json!([]), &cny(0)));
    }
    ada.http.delete("/store/v1/cart/lines").await.expect(200);
    let refused = ada.place("k", 0, card(GOOD_CARD)).await.expect(422);
    assert_eq!(refused.code(), "cart_empty");
    ada.http.post("/store/v1/checkout/quote", json!({})).await.expect(422);
    shop.stop().await;
}

// Scenario 26.

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_adds_at_once_lose_nothing() {
    let shop = Shop::start().await;
    let (_, mug) = shop.product("Mug", 100, 1_000).await;
    let (_, cup) = shop.product("Cup", 100, 1_000).await;
    let ada = shop.shopper().await;
    let (guest, _) = guest(&shop, &mug, 1).await;
    for (http, already) in [(ada.http.clone(), 0), (guest, 1)] {
        let adds = (0..100).map(|i| {
            let (http, sku) = (http.clone(), if i % 4 == 3 { cup.clone() } else { mug.clone() });
            async move { add(&http, &sku, 1).await }
        });
        for answer in join_all(adds).await {
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
        let mut held = lines(&cart(&http).await);
        held.sort_by_key(|line| line.1);
        assert_eq!(held, [(cup.clone(), 25), (mug.clone(), 75 + already)]);
    }
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_adds_of_one_product_are_one_line_of_a_hundred() {
    let shop = Shop::start().await;
    let (_, mug) = shop.product("Mug", 100, 1_000).await;
    let ada = shop.shopper().await;
    let answers = join_all((0..100).map(|_| ada.add(&mug, 1))).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!(lines(&ada.cart().await), [(mug, 100)]);
    shop.stop().await;
}

// Scenario 27.

#[tokio::test(flavor = "multi_thread")]
async fn a_senseless_quantity_is_refused_and_the_cart_is_unchanged() {
    let shop = Shop::start().await;
    let (_, mug) = shop.product("Mug", 100, 20_000).await;
    let (_, cup) = shop.product("Cup", 100, 20_000).await;
    let ada = shop.shopper().await;
    ada.add(&mug, 9_990).await.expect(200);
    let before = ada.cart().await;
    let numbers = [json!(0), json!(-1), json!(10_000), json!(2_147_483_648_i64), json!(i64::MAX), json!(i64::MIN)];
    let odd = [
        json!(9_223_372_036_854_775_808_u64),
        json!(1.5),
        json!(1e3),
        json!("1"),
        json!(true),
        Value::Null,
        json!([1]),
    ];
    for sku in [&mug, &cup] {
        for quantity in numbers.iter().chain(&odd) {
            let body = json!({ "sku_id": sku, "quantity": quantity });
            let refused = ada.http.post("/store/v1/cart/lines", body).await.expect(400);
            assert_eq!(
                (&refused.body["error"]["type"], param(&refused)),
                (&json!("invalid"), "quantity"),
                "{quantity}"
            );
            let path = format!("/store/v1/cart/lines/{sku}");
            let refused = ada.http.put(&path, json!({ "quantity": quantity })).await.expect(400);
            assert_eq!(param(&refused), "quantity", "{quantity}");
        }
    }
    // Beyond the limit of a line only together with what is there.
    assert_eq!(param(&ada.add(&mug, 10).await.expect(400)), "quantity");
    assert_eq!(ada.cart().await, before);
    ada.add(&mug, 9).await.expect(200);
    assert_eq!(param(&ada.add(&mug, 1).await.expect(400)), "quantity");
    assert_eq!(lines(&ada.cart().await), [(mug, 9_999)]);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_adds_at_once_stop_exactly_at_the_limit_of_a_line() {
    let shop = Shop::start().await;
    let (_, mug) = shop.product("Mug", 1, 100).await;
    let ada = shop.shopper().await;
    ada.add(&mug, 9_980).await.expect(200);
    let answers = join_all((0..30).map(|_| ada.add(&mug, 1))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 19);
    assert_eq!(answers.iter().filter(|answer| answer.status == 400).count(), 11);
    assert_eq!(lines(&ada.cart().await), [(mug, 9_999)]);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_for_sale_cannot_be_added() {
    let shop = Shop::start().await;
    let (product, mug) = shop.product("Mug", 100, 5).await;
    let ada = shop.shopper().await;
    for sku in ["sku_unknown", "", "'; DROP TABLE carts; --", &product] {
        let refused = ada.add(sku, 1).await.expect(404);
        assert_eq!(param(&refused), "sku_id", "{sku}");
    }
    for (body, field) in [
        (json!({ "quantity": 1 }), "sku_id"),
        (json!({ "sku_id": mug }), "quantity"),
        (json!({ "sku_id": 7, "quantity": 1 }), "sku_id"),
        (json!({ "sku_id": mug, "quantity": 1, "unit_price": cny(1) }), "unit_price"),
        (json!({ "sku_id": mug, "quantity": 1, "cart_token": "ct_x" }), "cart_token"),
    ] {
        assert_eq!(param(&ada.http.post("/store/v1/cart/lines", body.clone()).await.expect(400)), field, "{body}");
    }
    shop.admin.post(&format!("/admin/v1/products/{product}/delist"), json!({})).await.expect(200);
    shows("a delisted product is refused", async || ada.add(&mug, 1).await.status == 409).await;
    assert_eq!(ada.add(&mug, 1).await.code(), "not_sellable");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_holds_a_hundred_lines_and_no_more() {
    let shop = Shop::start().await;
    let variants: Vec<_> =
        (0..100).map(|i| json!({ "options": { "no": i.to_string() }, "price": cny(10), "stock": 3 })).collect();
    let body = json!({ "title": "Tile", "status": "listed", "variants": variants });
    let made = shop.admin.post("/admin/v1/products", body).await.expect(201).body["product"].clone();
    let skus: Vec<_> = made["variants"].as_array().unwrap().iter().map(|variant| text(&variant["id"])).collect();
    let (_, mug) = shop.product("Mug", 100, 5).await;
    let ada = shop.shopper().await;
    for sku in &skus {
        ada.add(sku, 1).await.expect(200);
    }
    let full = ada.cart().await;
    assert_eq!((lines(&full).len(), &full["total"]), (100, &cny(1_000)));
    for refused in
        [ada.add(&mug, 1).await, ada.http.put(&format!("/store/v1/cart/lines/{mug}"), json!({ "quantity": 1 })).await]
    {
        let refused = refused.expect(400);
        assert_eq!((refused.code(), &refused.body["error"]["type"]), ("cart_line_limit", &json!("invalid")));
    }
    // The lines that are there may still change, and the whole can be bought.
    ada.add(&skus[0], 1).await.expect(200);
    ada.http.delete(&format!("/store/v1/cart/lines/{}", skus[1])).await.expect(200);
    ada.add(&mug, 1).await.expect(200);
    let order = ada.place("all", 1_100, card(GOOD_CARD)).await.expect(201).body["order"].clone();
    assert_eq!(order["lines"].as_array().unwrap().len(), 100);
    assert_eq!(ada.cart().await["lines"], json!([]));
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_full_cart_comes_compressed_to_who_takes_that() {
    let shop = Shop::start().await;
    let variants: Vec<_> =
        (0..100).map(|i| json!({ "options": { "no": i.to_string() }, "price": cny(10), "stock": 3 })).collect();
    let body = json!({ "title": "Tile", "status": "listed", "variants": variants });
    let made = shop.admin.post("/admin/v1/products", body).await.expect(201).body["product"].clone();
    let mut browser = Browser::new(&shop);
    browser.get("/sign-in").await.expect(200);
    for variant in made["variants"].as_array().unwrap() {
        let (product, sku) = (text(&made["id"]), text(&variant["id"]));
        browser.post("/cart/add", &[("product", &product), ("sku", &sku), ("quantity", "1")]).await.expect(303);
    }
    let plain = browser.get("/cart").await.expect(200);
    assert!(plain.header("content-encoding").is_empty() && plain.header("vary").contains("Accept-Encoding"));
    browser.headers.push(("accept-encoding".into(), "gzip".into()));
    let zipped = browser.get("/cart").await.expect(200);
    assert_eq!(zipped.header("content-encoding"), "gzip");
    let bytes: usize = zipped.header("content-length").parse().unwrap();
    assert!(bytes < 50 * 1024 && bytes < plain.body.len() / 4, "{bytes} of {} bytes", plain.body.len());
    // An answer that may repeat what was sent is not compressed beside the token of its forms.
    let asked = browser.get("/cart?a=b").await.expect(200);
    assert!(asked.header("content-encoding").is_empty() && asked.has("_csrf"));
    shop.stop().await;
}

// Scenario 28.

#[tokio::test(flavor = "multi_thread")]
async fn quantities_are_set_lines_removed_and_the_cart_emptied() {
    let shop = Shop::start().await;
    let (_, mug) = shop.product("Mug", 100, 50).await;
    let (_, cup) = shop.product("Cup", 250, 50).await;
    let (_, jug) = shop.product("Jug", 999, 50).await;
    let ada = shop.shopper().await;
    let (guest, _) = guest(&shop, &mug, 2).await;
    ada.add(&mug, 2).await.expect(200);
    for http in [&ada.http, &guest] {
        add(http, &cup, 1).await.expect(200);
        let line = |sku: &str| format!("/store/v1/cart/lines/{sku}");
        let set = http.put(&line(&mug), json!({ "quantity": 7 })).await.expect(200).body;
        assert_eq!((lines(&set["cart"]), &set["cart"]["total"]), (vec![(mug.clone(), 7), (cup.clone(), 1)], &cny(950)));
        // Setting twice is setting once; setting what is not there puts it in.
        http.put(&line(&mug), json!({ "quantity": 7 })).await.expect(200);
        http.put(&line(&jug), json!({ "quantity": 1 })).await.expect(200);
        assert_eq!(cart(http).await["total"], cny(1_949));
        let removed = http.delete(&line(&cup)).await.expect(200).body;
        assert_eq!(lines(&removed["cart"]), [(mug.clone(), 7), (jug.clone(), 1)]);
        http.delete(&line(&cup)).await.expect(200);
        http.delete(&line("sku_unknown")).await.expect(200);
        let cleared = http.delete("/store/v1/cart/lines").await.expect(200).body;
        assert_eq!((&cleared["cart"]["lines"], &cleared["cart"]["total"]), (&json!([]), &cny(0)));
        http.delete("/store/v1/cart/lines").await.expect(200);
        http.put(&line("sku_unknown"), json!({ "quantity": 1 })).await.expect(404);
        // A body that contradicts its path is a mistake.
        http.put(&line(&mug), json!({ "sku_id": cup, "quantity": 1 })).await.expect(400);
        assert_eq!(cart(http).await["lines"], json!([]));
    }
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_is_changed_only_over_the_version_that_was_seen() {
    let shop = Shop::start().await;
    let (_, mug) = shop.product("Mug", 100, 50).await;
    let ada = shop.shopper().await;
    ada.add(&mug, 1).await.expect(200);
    let read = ada.http.get("/store/v1/cart").await.expect(200);
    let etag = read.header("etag").to_owned();
    assert_eq!(etag, format!("\"{}\"", read.body["cart"]["version"]));
    ada.http.with("if-none-match", &etag).get("/store/v1/cart").await.expect(304);
    let seen = ada.http.with("if-match", &etag);
    let next = add(&seen, &mug, 1).await.expect(200);
    assert!(next.body["cart"]["version"].as_i64() > read.body["cart"]["version"].as_i64());
    assert_eq!(next.header("etag"), format!("\"{}\"", next.body["cart"]["version"]));
    let path = format!("/store/v1/cart/lines/{mug}");
    for stale in [
        add(&seen, &mug, 1).await,
        seen.put(&path, json!({ "quantity": 9 })).await,
        seen.delete(&path).await,
        seen.delete("/store/v1/cart/lines").await,
    ] {
        let stale = stale.expect(412);
        assert_eq!((stale.code(), &stale.body["error"]["type"]), ("version_mismatch", &json!("precondition")));
    }
    assert_eq!(lines(&ada.cart().await), [(mug.clone(), 2)]);
    // Ten windows that show the same cart: one of them changes it.
    let seen = ada.http.with("if-match", next.header("etag"));
    let answers = join_all((0..10).map(|_| add(&seen, &mug, 1))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert_eq!(lines(&ada.cart().await), [(mug, 3)]);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_add_under_a_key_counts_once() {
    let shop = Shop::start().await;
    let (_, mug) = shop.product("Mug", 100, 50).await;
    let ada = shop.shopper().await;
    let keyed = ada.http.key("tap");
    let answers = join_all((0..10).map(|_| patiently("a tap", async || add(&keyed, &mug, 2).await))).await;
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == answers[0].body), "{answers:?}");
    assert_eq!(lines(&ada.cart().await), [(mug, 2)]);
    shop.stop().await;
}

// Guests.

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_keeps_a_cart_by_its_token_and_no_two_guests_share_one() {
    let shop = Shop::start().await;
    let (_, mug) = shop.product("Mug", 100, 50).await;
    let (ada, adas) = guest(&shop, &mug, 1).await;
    let (bea, beas) = guest(&shop, &mug, 5).await;
    assert_ne!(adas, beas);
    add(&ada, &mug, 2).await.expect(200);
    assert_eq!(lines(&cart(&ada).await), [(mug.clone(), 3)]);
    assert_eq!(lines(&cart(&bea).await), [(mug.clone(), 5)]);
    assert_eq!(cart(&shop.http).await["lines"], json!([]), "without a token there is no cart");
    let shouted = adas.to_uppercase();
    for nonsense in ["x", "ct_", "' OR 1=1 --", shouted.as_str()] {
        assert_eq!(cart(&shop.http.with("x-cart-token", nonsense)).await["lines"], json!([]), "{nonsense}");
    }
    ada.post("/store/v1/checkout/quote", json!({})).await.expect(401);
    ada.key("k").post("/store/v1/orders", order(300, card(GOOD_CARD))).await.expect(401);
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_who_sets_a_line_first_gets_a_token_too() {
    let shop = Shop::start().await;
    let (_, mug) = shop.product("Mug", 100, 50).await;
    let set = shop.http.put(&format!("/store/v1/cart/lines/{mug}"), json!({ "quantity": 4 })).await.expect(200);
    let guest = shop.http.with("x-cart-token", set.header("x-cart-token"));
    assert_eq!(lines(&cart(&guest).await), [(mug, 4)]);
    for path in ["/store/v1/cart/lines/sku_x", "/store/v1/cart/lines"] {
        assert_eq!(shop.http.delete(path).await.expect(200).body["cart"]["lines"], json!([]), "{path}");
    }
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_guests_who_chose_the_same_key_do_not_share_a_cart() {
    let shop = Shop::start().await;
    let (_, mug) = shop.product("Mug", 100, 50).await;
    let first = add(&shop.http.key("1"), &mug, 1).await.expect(200);
    let second = add(&shop.http.key("1"), &mug, 1).await.expect(200);
    assert_ne!(first.header("x-cart-token"), second.header("x-cart-token"));
    assert_ne!(first.body["cart"]["id"], second.body["cart"]["id"]);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guests_cart_is_taken_over_once_at_login() {
    let shop = Shop::start().await;
    let (_, mug) = shop.product("Mug", 100, 50).await;
    let (_, cup) = shop.product("Cup", 250, 50).await;
    let ada = shop.shopper().await;
    ada.add(&mug, 2).await.expect(200);
    let (guest, _) = guest(&shop, &mug, 3).await;
    add(&guest, &cup, 1).await.expect(200);
    let login = json!({ "email": ada.email, "password": PASSWORD });
    // Three windows sign in at once with the same guest's cart.
    let logins = join_all((0..3).map(|_| guest.post("/auth/v1/login", login.clone()))).await;
    assert!(logins.iter().all(|answer| answer.status == 200), "{logins:?}");
    let both = [(mug.clone(), 5), (cup.clone(), 1)];
    assert_eq!(lines(&ada.cart().await), both);
    assert_eq!(ada.cart().await["total"], cny(750));
    assert_eq!(cart(&guest).await["lines"], json!([]), "the guest's cart has moved");
    guest.post("/auth/v1/login", login.clone()).await.expect(200);
    ada.http.with("x-cart-token", &unique("ct_")).post("/auth/v1/login", login).await.expect(200);
    assert_eq!(lines(&ada.cart().await), both);
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_brings_the_guests_cart_along_and_a_failed_login_does_not() {
    let shop = Shop::start().await;
    let (_, mug) = shop.product("Mug", 100, 50).await;
    let (guest, _) = guest(&shop, &mug, 3).await;
    let ada = shop.shopper().await;
    guest.post("/auth/v1/login", json!({ "email": ada.email, "password": "wrong" })).await.expect(401);
    assert_eq!(lines(&cart(&guest).await), [(mug.clone(), 3)]);
    let form = json!({ "email": "new@shop.test", "password": PASSWORD });
    let answer = guest.post("/auth/v1/register", form).await.expect(201).body;
    let http = shop.http.token(&text(&answer["tokens"]["access_token"]));
    assert_eq!(lines(&cart(&http).await), [(mug, 3)]);
    assert_eq!(ada.cart().await["lines"], json!([]));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_keeps_the_limit_of_a_line() {
    let shop = Shop::start().await;
    let (_, mug) = shop.product("Mug", 1, 50).await;
    let ada = shop.shopper().await;
    ada.add(&mug, 9_000).await.expect(200);
    let (guest, _) = guest(&shop, &mug, 5_000).await;
    guest.post("/auth/v1/login", json!({ "email": ada.email, "password": PASSWORD })).await.expect(200);
    assert_eq!(lines(&ada.cart().await), [(mug, 9_999)]);
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_in_shopper_uses_its_own_cart_whatever_token_it_sends() {
    let shop = Shop::start().await;
    let (_, mug) = shop.product("Mug", 100, 50).await;
    let (guest, token) = guest(&shop, &mug, 3).await;
    let ada = shop.shopper().await;
    let both = ada.http.with("x-cart-token", &token);
    assert_eq!(cart(&both).await["lines"], json!([]));
    let added = add(&both, &mug, 1).await.expect(200);
    assert_eq!(added.header("x-cart-token"), "");
    assert_eq!(lines(&ada.cart().await), [(mug.clone(), 1)]);
    assert_eq!(lines(&cart(&guest).await), [(mug, 3)]);
    shop.stop().await;
}

// Scenario 29.

#[tokio::test(flavor = "multi_thread")]
async fn a_delisted_and_a_sold_out_line_are_marked_removable_and_block_nothing_else() {
    let shop = Shop::start().await;
    let (gone_product, gone) = shop.product("Vase", 500, 5).await;
    let (_, scarce) = shop.product("Jug", 250, 3).await;
    let (_, mug) = shop.product("Mug", 100, 50).await;
    let (ada, bea) = (shop.shopper().await, shop.shopper().await);
    for sku in [&gone, &scarce, &mug] {
        ada.add(sku, 2).await.expect(200);
    }
    shop.admin.post(&format!("/admin/v1/products/{gone_product}/delist"), json!({})).await.expect(200);
    bea.buy(&scarce, 2, 500).await;
    let states = async || {
        let cart = ada.cart().await;
        let lines = cart["lines"].as_array().unwrap().clone();
        (lines.iter().map(|line| text(&line["state"])).collect::<Vec<_>>(), cart)
    };
    shows("both are marked", async || states().await.0 == ["delisted", "sold_out", "ok"]).await;
    let (_, cart) = states().await;
    assert_eq!(cart["lines"][0]["title"], "Vase");
    assert_eq!(cart["lines"][1]["available"], 1);
    assert_eq!(cart["total"], cny(200), "only what can be bought is summed up");

    // The rest changes and can be bought.
    ada.add(&mug, 1).await.expect(200);
    ada.http.put(&format!("/store/v1/cart/lines/{mug}"), json!({ "quantity": 4 })).await.expect(200);
    let rest = json!([{ "sku_id": mug, "quantity": 4 }]);
    let quote = ada.http.post("/store/v1/checkout/quote", json!({ "lines": rest })).await.expect(200).body;
    assert_eq!(quote["quote"]["total"], cny(400));
    let mut body = order(400, card(GOOD_CARD));
    body["lines"] = rest;
    ada.http.key("rest").post("/store/v1/orders", body).await.expect(201);
    // Fewer of the scarce one are enough to make it good again.
    let fewer = ada.http.put(&format!("/store/v1/cart/lines/{scarce}"), json!({ "quantity": 1 })).await.expect(200);
    assert_eq!(fewer.body["cart"]["lines"][1]["state"], "ok");
    let removed = ada.http.delete(&format!("/store/v1/cart/lines/{gone}")).await.expect(200).body;
    assert_eq!(lines(&removed["cart"]).first(), Some(&(scarce.clone(), 1)));
    ada.http.delete(&format!("/store/v1/cart/lines/{scarce}")).await.expect(200);
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_outlives_its_deleted_products() {
    let shop = Shop::start().await;
    let (product, vase) = shop.product("Vase", 500, 5).await;
    let (_, mug) = shop.product("Mug", 100, 50).await;
    let ada = shop.shopper().await;
    ada.add(&vase, 1).await.expect(200);
    ada.add(&mug, 1).await.expect(200);
    shop.admin.delete(&format!("/admin/v1/products/{product}")).await.expect(204);
    shows("the line is marked", async || ada.cart().await["lines"][0]["state"] == "delisted").await;
    let cart = ada.cart().await;
    assert_eq!((&cart["lines"][0]["title"], &cart["total"]), (&json!("Vase"), &cny(100)));
    ada.http.delete(&format!("/store/v1/cart/lines/{vase}")).await.expect(200);
    ada.place("k", 100, card(GOOD_CARD)).await.expect(201);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_price_is_marked_until_the_line_is_put_in_again() {
    let shop = Shop::start().await;
    let (product, mug) = shop.product("Mug", 100, 50).await;
    let ada = shop.shopper().await;
    ada.add(&mug, 2).await.expect(200);
    shop.price(&product, &mug, 150).await;
    shows("the change is marked", async || ada.cart().await["lines"][0]["state"] == "price_changed").await;
    let cart = ada.cart().await;
    assert_eq!((&cart["lines"][0]["unit_price"], &cart["lines"][0]["line_total"]), (&cny(150), &cny(300)));
    assert_eq!(cart["total"], cny(300), "a line with a new price can be bought");
    // The old total is refused, the new one is accepted.
    assert_eq!(ada.place("old", 200, card(GOOD_CARD)).await.expect(409).code(), "price_changed");
    let again = ada.http.put(&format!("/store/v1/cart/lines/{mug}"), json!({ "quantity": 2 })).await.expect(200).body;
    assert_eq!(again["cart"]["lines"][0]["state"], "ok");
    ada.place("new", 300, card(GOOD_CARD)).await.expect(201);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_takes_out_what_was_ordered_and_leaves_what_came_in_meanwhile() {
    let shop = Shop::start().await;
    let (_, mug) = shop.product("Mug", 100, 50).await;
    let (_, cup) = shop.product("Cup", 250, 50).await;
    let ada = shop.shopper().await;
    ada.add(&mug, 5).await.expect(200);
    ada.add(&cup, 1).await.expect(200);
    let mut body = order(200, card(GOOD_CARD));
    body["lines"] = json!([{ "sku_id": mug, "quantity": 2 }]);
    ada.http.key("k").post("/store/v1/orders", body).await.expect(201);
    shows("two mugs left the cart", async || lines(&ada.cart().await) == [(mug.clone(), 3), (cup.clone(), 1)]).await;
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_currencies_do_not_share_a_cart() {
    let shop = Shop::start().await;
    let (_, mug) = shop.product("Mug", 100, 50).await;
    let dollars = json!({ "title": "Import", "status": "listed",
        "variants": [{ "price": { "amount": 500, "currency": "USD" }, "stock": 5 }] });
    let made = shop.admin.post("/admin/v1/products", dollars).await.expect(201).body["product"].clone();
    let import = text(&made["variants"][0]["id"]);
    let (ada, bea) = (shop.shopper().await, shop.shopper().await);
    ada.add(&mug, 1).await.expect(200);
    let refused = ada.add(&import, 1).await.expect(422);
    assert_eq!((refused.code(), &refused.body["error"]["type"]), ("mixed_currencies", &json!("refused")));
    assert_eq!(lines(&ada.cart().await), [(mug, 1)]);
    bea.add(&import, 2).await.expect(200);
    assert_eq!(bea.cart().await["total"], json!({ "amount": 1_000, "currency": "USD" }));
    shop.stop().await;
}
