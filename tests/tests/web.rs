//! The pages as a black box: statuses, forms, sessions, languages, and the purchase from the first page to the paid order.

use std::collections::BTreeMap;
use std::sync::Arc;

use mallard_rpc::{Fault, FaultAction};
use mallard_tests::browser::{Browser, Page, checkout_fields, hidden_fields};
use mallard_tests::*;
use parking_lot::Mutex;
use serde_json::json;

const PRICE: i64 = 990;

/// Places the order of the cart with this card.
async fn pay(browser: &mut Browser, card: &str) -> Page {
    let page = browser.get("/checkout").await.expect(200);
    let hidden = hidden_fields(&page);
    browser.post("/checkout", &checkout_fields(&hidden, card)).await
}

fn order_of(page: &Page) -> String {
    let path = page.location.split('?').next().unwrap_or_default();
    path.strip_prefix("/checkout/result/").expect("the way to a result").to_owned()
}

#[tokio::test]
async fn pages_and_the_api_share_an_address_and_each_answers_in_its_own_words() {
    let shop = Shop::start().await;
    let mut browser = Browser::new(&shop);
    assert!(browser.get("/").await.expect(200).header("content-type").starts_with("text/html"));
    for (path, status) in [
        ("/nothing", 404),
        ("/c/nothing", 404),
        ("/p/prod_nothing", 404),
        ("/cart/add", 405),
        ("/c/%ff", 404),
        ("/robots.txt", 200),
    ] {
        assert_eq!(browser.get(path).await.status, status, "{path}");
    }
    let lost = browser.get("/nothing").await;
    assert!(lost.has("We could not find that.") && lost.has(lost.header("x-request-id")));
    assert_eq!(browser.get("/cart/add").await.header("allow"), "POST");
    assert_eq!(browser.get("/store/v1/products").await.expect(200).header("content-type"), "application/json");
    assert_eq!(browser.get("/healthz").await.expect(200).body, "ok\n");
    assert_eq!(shop.http.get("/nothing").await.expect(404).code(), "route_not_found");
    let refused = browser.post("/", &[]).await.expect(405);
    assert_eq!(refused.header("allow"), "GET, HEAD");
    shop.stop().await;
}

#[tokio::test]
async fn every_page_carries_the_headers_that_protect_it_and_loads_nothing_from_elsewhere() {
    let shop = Shop::start().await;
    let (product, _) = shop.product("Harbour mug", PRICE, 5).await;
    let mut browser = Browser::new(&shop);
    for path in ["/", &format!("/p/{product}"), "/search?q=mug", "/cart", "/sign-in", "/nothing"] {
        let page = browser.get(path).await;
        let policy = page.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}");
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        assert_eq!(page.header("x-frame-options"), "DENY");
        assert_eq!(page.header("referrer-policy"), "same-origin");
        assert!(page.header("cache-control").contains("no-store"));
        assert!(!page.has(" style=\"") && !page.has("<style") && !page.has(" onclick="), "{path}");
        for url in page.loads() {
            assert!(url.starts_with('/') && !url.starts_with("//"), "{path} loads {url}");
        }
        // Pictures are not counted, style and scripts travel once.
        let mut bytes = page.body.len();
        for url in page.loads().iter().filter(|url| url.ends_with(".js") || url.ends_with(".css")) {
            let asset = browser.get(url).await.expect(200);
            assert!(asset.header("cache-control").contains("immutable"), "{url}");
            bytes += asset.body.len();
        }
        assert!(bytes < 100 * 1024, "{path} takes {bytes} bytes");
    }
    shop.stop().await;
}

#[tokio::test]
async fn the_session_cookie_is_kept_from_scripts_and_other_sites_and_changes_at_login_and_logout() {
    let shop = Shop::start_with(|mut settings| {
        settings.config = settings.config.set("gateway.trusted_proxies", ["127.0.0.1"]);
        settings
    })
    .await;
    let mut browser = Browser::new(&shop);
    let first = browser.get("/sign-in").await;
    let cookie = first.header("set-cookie").to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Path=/"), "{cookie}");
    assert!(!cookie.contains("Secure"));
    let before = browser.cookies["mallard_session"].clone();
    let email = browser.sign_up().await;
    let signed_in = browser.cookies["mallard_session"].clone();
    assert_ne!(before, signed_in);
    let old = browser.clone();
    let out = browser.post("/sign-out", &[]).await.expect(303);
    assert_eq!(out.location, "/?done=signed-out");
    assert!(!browser.cookies.contains_key("mallard_session"));
    // The old cookie is worth nothing, and the account's session has ended with it.
    let mut old = old;
    assert!(old.get("/account").await.expect(303).location.starts_with("/sign-in"));
    assert!(!old.get("/").await.has("Ada Lovelace"));

    let mut tls = Browser::new(&shop);
    tls.headers.push(("x-forwarded-proto".into(), "https".into()));
    let page = tls.get("/sign-in").await;
    let cookie = page.header("set-cookie");
    assert!(cookie.starts_with("__Host-mallard_session=") && cookie.contains("; Secure"), "{cookie}");
    assert!(!page.header("strict-transport-security").is_empty());
    let fields = [("email", email.as_str()), ("password", PASSWORD), ("next", "/account")];
    let entered = tls.post("/sign-in", &fields).await.expect(303);
    assert_eq!(entered.location, "/account");
    assert!(tls.get("/account").await.expect(200).has(&email));
    shop.stop().await;
}

#[tokio::test]
async fn forms_of_others_are_refused() {
    let shop = Shop::start().await;
    let (product, sku) = shop.product("Harbour mug", PRICE, 5).await;
    let mut browser = Browser::new(&shop);
    let fields = [("product", product.as_str()), ("sku", sku.as_str()), ("quantity", "1")];
    // No cookie at all, then none of the session's tokens.
    browser.post_raw("/cart/add", &fields).await.expect(403);
    browser.get(&format!("/p/{product}")).await;
    browser.post_raw("/cart/add", &fields).await.expect(403);
    let mut stranger = Browser::new(&shop);
    stranger.get("/sign-in").await;
    let token = stranger.csrf.clone();
    let mut stolen = vec![("_csrf", token.as_str())];
    stolen.extend(fields);
    let page = browser.post_raw("/cart/add", &stolen).await.expect(403);
    assert!(page.has("This form is not good any more."));
    // The right token from another site's page.
    for header in [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        let mut lured = browser.clone();
        lured.headers.push((header.0.into(), header.1.into()));
        lured.post("/cart/add", &fields).await.expect(403);
    }
    assert!(browser.get("/cart").await.has("Your cart is empty."));
    let own = format!("http://{}", shop.mall.http_addr().expect("an address"));
    browser.headers.push(("origin".into(), own));
    browser.post("/cart/add", &fields).await.expect(303);
    shop.stop().await;
}

#[tokio::test]
async fn a_sign_in_leads_back_and_never_out_of_the_shop() {
    let shop = Shop::start().await;
    let mut browser = Browser::new(&shop);
    let email = browser.sign_up().await;
    for (next, lands) in [
        ("/orders?status=paid", "/orders?status=paid"),
        ("/zh/cart", "/zh/cart"),
        ("https://evil.example/", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/sign-in", "/"),
        ("", "/"),
    ] {
        let mut browser = Browser::new(&shop);
        browser.get("/sign-in").await;
        let fields = [("email", email.as_str()), ("password", PASSWORD), ("next", next)];
        assert_eq!(browser.post("/sign-in", &fields).await.expect(303).location, lands, "{next}");
    }
    let mut nobody = Browser::new(&shop);
    for (path, back) in
        [("/checkout", "%2Fcheckout"), ("/orders/ord_1", "%2Forders%2Ford_1"), ("/account", "%2Faccount")]
    {
        assert_eq!(nobody.get(path).await.expect(303).location, format!("/sign-in?next={back}"), "{path}");
    }
    // A form cannot be sent again after a sign-in: its page is.
    nobody.get("/sign-in").await;
    let sent = nobody.post("/orders/ord_1/cancel", &[]).await.expect(303);
    assert_eq!(sent.location, "/sign-in?next=%2Forders%2Ford_1");
    shop.stop().await;
}

#[tokio::test]
async fn sign_in_and_up_say_what_is_wrong_and_nothing_more() {
    let shop = Shop::start().await;
    let mut browser = Browser::new(&shop);
    let email = browser.sign_up().await;
    let mut browser = Browser::new(&shop);
    browser.get("/sign-in").await;
    let mut seen = Vec::new();
    for (email, password) in
        [(email.as_str(), "wrong password"), ("nobody@shop.test", PASSWORD), ("no address", PASSWORD)]
    {
        let page = browser.post("/sign-in", &[("email", email), ("password", password)]).await.expect(422);
        assert!(page.has("E-mail or password is not right.") && !page.has(password));
        seen.push(page.status);
    }
    assert_eq!(seen, [422, 422, 422]);
    let try_up = async |browser: &mut Browser, email: &str, password: &str, again: &str| {
        browser.post("/sign-up", &[("email", email), ("password", password), ("password_confirmation", again)]).await
    };
    assert!(
        try_up(&mut browser, "new@shop.test", PASSWORD, "other").await.expect(422).has("The two passwords differ.")
    );
    assert!(
        try_up(&mut browser, "new@shop.test", "short", "short").await.expect(422).has("At least 8 characters, please.")
    );
    assert!(
        try_up(&mut browser, "no address", PASSWORD, PASSWORD).await.expect(422).has("This is not an e-mail address.")
    );
    assert!(try_up(&mut browser, &email.to_uppercase(), PASSWORD, PASSWORD).await.expect(409).has("Sign in instead."));
    shop.stop().await;
}

#[tokio::test]
async fn the_language_comes_from_the_path_then_the_choice_then_the_profile_then_the_browser() {
    let shop = Shop::start().await;
    let mut browser = Browser::new(&shop);
    assert!(browser.get("/").await.has("<html lang=\"en\">"));
    browser.headers[1].1 = "zh-CN,zh;q=0.9,en;q=0.8".into();
    let page = browser.get("/").await;
    assert!(page.has("<html lang=\"zh-Hans\">") && page.header("content-language") == "zh");
    assert!(page.has("hreflang=\"en\" href=\"/en/\"") && page.has("hreflang=\"zh-Hans\" href=\"/zh/\""));
    // The path wins, keeps the language in every link, and is remembered.
    let page = browser.get("/en/search?q=mug").await.expect(200);
    assert!(page.has("<html lang=\"en\">") && page.has("href=\"/en/cart\"") && page.has("href=\"/zh/search?q=mug\""));
    assert!(browser.get("/").await.has("<html lang=\"en\">"));
    // Somebody whose profile says Chinese, in an English browser.
    let mut shopper = Browser::new(&shop);
    shopper.sign_up().await;
    let saved = shopper.post("/account", &[("name", "Ada"), ("language", "zh")]).await.expect(303);
    assert_eq!(saved.location, "/zh/account?done=saved");
    assert!(shopper.get("/").await.has("<html lang=\"zh-Hans\">"));
    shop.stop().await;
}

#[tokio::test]
async fn a_guest_fills_a_cart_that_is_his_after_the_sign_in() {
    let shop = Shop::start().await;
    let (mug, mug_sku) = shop.product("Harbour mug", PRICE, 5).await;
    let (lamp, lamp_sku) = shop.product("Night lamp", 12_900, 5).await;
    let mut browser = Browser::new(&shop);
    let added = browser.add(&mug, &mug_sku, 2).await;
    let page = browser.follow(added).await.expect(200);
    assert!(page.has("Added to your cart."));
    browser.add(&mug, &mug_sku, 3).await.expect(303);
    browser.add(&lamp, &lamp_sku, 1).await.expect(303);
    let cart = browser.get("/cart").await.expect(200);
    assert!(
        cart.has("¥49.50") && cart.has("¥129.00") && cart.has("¥178.50") && cart.has("aria-label=\"2 in the cart\"")
    );
    browser.post("/cart/set", &[("sku", &mug_sku), ("quantity", "1")]).await.expect(303);
    assert!(browser.get("/cart").await.has("¥138.90"));
    for bad in ["0", "-1", "2147483648", "x", ""] {
        let page = browser.post("/cart/set", &[("sku", &mug_sku), ("quantity", bad)]).await.expect(422);
        assert!(page.has("whole number from 1 to 9,999") && page.has("¥138.90"), "{bad}");
    }
    // The account has a lamp already.
    let mut elsewhere = Browser::new(&shop);
    let email = elsewhere.sign_up().await;
    elsewhere.add(&lamp, &lamp_sku, 1).await.expect(303);
    browser.get("/sign-in").await;
    browser.post("/sign-in", &[("email", &email), ("password", PASSWORD), ("next", "/cart")]).await.expect(303);
    let cart = browser.get("/cart").await.expect(200);
    assert!(cart.has("¥267.90") && cart.has("aria-label=\"2 in the cart\""), "{}", cart.body);
    browser.post("/cart/remove", &[("sku", &mug_sku)]).await.expect(303);
    assert!(elsewhere.get("/cart").await.has("¥258.00"));
    browser.post("/cart/clear", &[]).await.expect(303);
    assert!(browser.get("/cart").await.has("Your cart is empty."));
    shop.stop().await;
}

#[tokio::test]
async fn first_things_put_into_a_cart_at_once_are_all_there() {
    let shop = Shop::start().await;
    let mut goods = Vec::new();
    for i in 0..8 {
        goods.push(shop.product(&format!("Thing {i}"), PRICE, 5).await);
    }
    let mut browser = Browser::new(&shop);
    browser.get(&format!("/p/{}", goods[0].0)).await;
    let adds = goods.iter().map(|(product, sku)| {
        let mut tab = browser.clone();
        async move { tab.post("/cart/add", &[("product", product), ("sku", sku), ("quantity", "1")]).await.expect(303) }
    });
    futures_util::future::join_all(adds).await;
    let cart = browser.get("/cart").await.expect(200);
    for i in 0..8 {
        assert!(cart.has(&format!("Thing {i}")), "thing {i} was lost");
    }
    shop.stop().await;
}

#[tokio::test]
async fn the_purchase_from_the_first_page_to_the_paid_order() {
    let shop = Shop::start().await;
    let (mug, sku) = shop.product("Harbour mug", PRICE, 5).await;
    let mut browser = Browser::new(&shop);
    assert!(browser.get("/").await.expect(200).has("Harbour mug"));
    browser.add(&mug, &sku, 2).await.expect(303);
    browser.sign_up().await;
    let page = browser.get("/checkout").await.expect(200);
    assert!(page.has("¥19.80"));
    let hidden = hidden_fields(&page);
    let mut fields = checkout_fields(&hidden, GOOD_CARD);
    fields.extend([("save", "1"), ("note", "Ring twice")]);
    let placed = browser.post("/checkout", &fields).await.expect(303);
    let id = order_of(&placed);
    assert!(browser.follow(placed).await.expect(200).has("Thank you, it is paid."));
    assert!(browser.get("/cart").await.has("Your cart is empty."));
    let order = shop.order(&id).await;
    assert_eq!((order["status"].as_str(), order["total"]["amount"].as_i64()), (Some("paid"), Some(1_980)));
    assert_eq!(order["address"]["postal_code"], "01234");
    shop.stock_is(&sku, 3, 0).await;
    let page = browser.get(&format!("/orders/{id}")).await.expect(200);
    assert!(page.has("Order placed") && page.has("Ring twice") && page.has("Ada King-Lovelace") && page.has("01234"));
    assert!(!page.has("Yes, cancel it"), "a paid order is not the shopper's to cancel");
    assert!(browser.get("/orders").await.has(order["number"].as_str().expect("a number")));
    assert!(browser.get("/orders?status=cancelled").await.has("No orders here yet."));
    assert!(browser.get("/account/addresses").await.has("1 Analytical Road"));
    // The back button: the same form again is the same order.
    let again = browser.post("/checkout", &fields).await.expect(303);
    assert_eq!(order_of(&again), id);
    // The address until it ships.
    let hidden = [("version", order["version"].to_string())];
    let mut fields = checkout_fields(&[], GOOD_CARD);
    fields.push(("version", &hidden[0].1));
    let street = fields.iter_mut().find(|(name, _)| *name == "street").expect("a street");
    street.1 = "2 Difference Lane";
    let path = format!("/orders/{id}/address");
    browser.post(&path, &fields).await.expect(303);
    assert!(browser.get(&format!("/orders/{id}")).await.has("2 Difference Lane"));
    // Sent twice it is what it is; another address from the old page is refused, and kept.
    assert_eq!(browser.post(&path, &fields).await.expect(303).location, format!("/orders/{id}?done=address"));
    fields.iter_mut().find(|(name, _)| *name == "street").expect("a street").1 = "3 Third Lane";
    let page = browser.post(&path, &fields).await.expect(409);
    assert!(page.has("value=\"3 Third Lane\"") && page.has("This is how it stands now."));
    let version = page.hidden("version");
    fields.iter_mut().filter(|(name, _)| *name == "version").for_each(|(_, value)| *value = &version);
    browser.post(&path, &fields).await.expect(303);
    shop.admin.post(&format!("/admin/v1/orders/{id}/ship"), json!({ "carrier": "SF", "tracking_number": "SF1" })).await;
    shop.order_is(&id, "shipped").await;
    let page = browser.get(&format!("/orders/{id}")).await.expect(200);
    assert!(page.has("SF · Tracking number SF1") && !page.has("Change the address"));
    shop.check().await;
    shop.stop().await;
}

#[tokio::test]
async fn a_declined_card_says_so_and_leaves_the_cart() {
    let shop = Shop::start().await;
    let (mug, sku) = shop.product("Harbour mug", PRICE, 5).await;
    let mut browser = Browser::new(&shop);
    browser.sign_up().await;
    browser.add(&mug, &sku, 1).await.expect(303);
    let page = pay(&mut browser, DECLINED_CARD).await.expect(402);
    assert!(page.has("The card was declined. Nothing was charged") && page.has("aria-invalid=\"true\""));
    assert!(!page.has("4000 0000") && !page.has("value=\"012\""), "the card is not written into the page");
    assert!(page.has("1 Analytical Road"), "what was typed stays");
    shop.stock_is(&sku, 5, 0).await;
    assert!(browser.get("/cart").await.has("¥9.90"));
    // With another card, from the page that came back.
    let hidden = hidden_fields(&page);
    let placed = browser.post("/checkout", &checkout_fields(&hidden, GOOD_CARD)).await.expect(303);
    shop.order_is(&order_of(&placed), "paid").await;
    for (field, bad, says) in [
        ("number", "4242 4242 4242 4241", "This card number is not valid."),
        ("expiry", "13/30", "Month and year"),
        ("expiry", "01/20", "The card has expired."),
        ("cvc", "1", "3 digits"),
        ("number", "", "This is needed."),
        ("street", "", "This is needed."),
        ("name", &"x".repeat(201), "This is too long."),
    ] {
        browser.add(&mug, &sku, 1).await.expect(303);
        let page = browser.get("/checkout").await.expect(200);
        let hidden = hidden_fields(&page);
        let mut fields = checkout_fields(&hidden, GOOD_CARD);
        fields.iter_mut().find(|(name, _)| *name == field).expect("a field").1 = bad;
        let page = browser.post("/checkout", &fields).await.expect(422);
        assert!(page.has(says), "{field}={bad}: {}", page.body);
        browser.post("/cart/clear", &[]).await.expect(303);
    }
    shop.check().await;
    shop.stop().await;
}

#[tokio::test]
async fn the_same_form_sent_many_times_at_once_makes_one_order() {
    let shop = Shop::start().await;
    let (mug, sku) = shop.product("Harbour mug", PRICE, 100).await;
    let mut browser = Browser::new(&shop);
    browser.sign_up().await;
    browser.add(&mug, &sku, 1).await.expect(303);
    let page = browser.get("/checkout").await.expect(200);
    let hidden = hidden_fields(&page);
    let fields = checkout_fields(&hidden, GOOD_CARD);
    let clicks = (0..8).map(|_| {
        let (mut tab, fields) = (browser.clone(), fields.clone());
        async move { tab.post("/checkout", &fields).await }
    });
    let answers = futures_util::future::join_all(clicks).await;
    let orders: std::collections::BTreeSet<String> =
        answers.iter().filter(|page| page.status == 303).map(order_of).collect();
    assert_eq!(orders.len(), 1, "{answers:?}");
    // One that met the other under way may be told to come back; the same form then finds the order.
    let late = browser.post("/checkout", &fields).await.expect(303);
    assert!(orders.contains(&order_of(&late)));
    shop.stock_is(&sku, 99, 0).await;
    // Another form of the same cart, as a second tab has it.
    let mut other = hidden.clone();
    other[0].1 = "web-another-tab".into();
    let second = browser.post("/checkout", &checkout_fields(&other, GOOD_CARD)).await;
    assert!(second.status == 303 && second.location == "/cart" || second.status == 409, "{second:?}");
    assert_eq!(shop.stock(&sku).await, (99, 0));
    shop.check().await;
    shop.stop().await;
}

#[tokio::test]
async fn a_changed_total_is_refused_and_shown() {
    let shop = Shop::start().await;
    let (mug, sku) = shop.product("Harbour mug", PRICE, 5).await;
    let mut browser = Browser::new(&shop);
    browser.sign_up().await;
    browser.add(&mug, &sku, 1).await.expect(303);
    let page = browser.get("/checkout").await.expect(200);
    let hidden = hidden_fields(&page);
    shop.price(&mug, &sku, 1_290).await;
    let page = browser.post("/checkout", &checkout_fields(&hidden, GOOD_CARD)).await.expect(409);
    assert!(page.has("It was ¥9.90, it is now ¥12.90.") && page.has("Nothing was ordered"), "{}", page.body);
    assert_eq!(page.hidden("total"), "1290");
    assert_eq!(shop.stock(&sku).await, (5, 0));
    let cart = browser.get("/cart").await;
    assert!(cart.has("The price has changed since you added it.") && cart.has("<s>¥9.90</s>"));
    let hidden = hidden_fields(&page);
    browser.post("/checkout", &checkout_fields(&hidden, GOOD_CARD)).await.expect(303);
    shop.stop().await;
}

#[tokio::test]
async fn what_cannot_be_bought_is_marked_and_does_not_block_the_rest() {
    let shop = Shop::start().await;
    let (mug, mug_sku) = shop.product("Harbour mug", PRICE, 5).await;
    let (lamp, lamp_sku) = shop.product("Night lamp", 12_900, 5).await;
    let (rare, rare_sku) = shop.product("Rare bird", 5_000, 1).await;
    let mut browser = Browser::new(&shop);
    browser.sign_up().await;
    browser.add(&mug, &mug_sku, 2).await.expect(303);
    browser.add(&lamp, &lamp_sku, 1).await.expect(303);
    browser.add(&rare, &rare_sku, 3).await.expect(303);
    shop.admin.post(&format!("/admin/v1/products/{lamp}/delist"), json!({})).await.expect(200);
    let cart = browser.get("/cart").await.expect(200);
    assert!(cart.has("No longer sold.") && cart.has("Only 1 left.") && cart.has("Check out the rest"));
    let link = cart.body.split_once("href=\"/checkout?").and_then(|(_, rest)| rest.split_once('"')).expect("a link").0;
    let path = format!("/checkout?{}", link.replace("&#38;", "&").replace("&amp;", "&"));
    let page = browser.get(&path).await.expect(200);
    assert!(page.has("¥19.80") && !page.has("Rare bird"));
    let mut hidden = hidden_fields(&page);
    hidden.push(("line".into(), page.hidden("line")));
    hidden.push(("cart".into(), page.hidden("cart")));
    // Two tabs with the same choice out of the same cart have the same key.
    assert_eq!(browser.get(&path).await.hidden("key"), page.hidden("key"));
    let placed = browser.post("/checkout", &checkout_fields(&hidden, GOOD_CARD)).await.expect(303);
    let order = shop.order_is(&order_of(&placed), "paid").await;
    assert_eq!(order["lines"].as_array().map(Vec::len), Some(1));
    let cart = browser.get("/cart").await;
    assert!(!cart.has("Harbour mug") && cart.has("Night lamp") && cart.has("Rare bird"));
    // The whole cart now fails for want of stock, in words.
    browser.post("/cart/remove", &[("sku", &lamp_sku)]).await.expect(303);
    let page = pay(&mut browser, GOOD_CARD).await.expect(409);
    assert!(page.has("not enough of “Rare bird” is left") && page.has("See the cart"), "{}", page.body);
    shop.check().await;
    shop.stop().await;
}

#[tokio::test]
async fn an_order_to_be_paid_later_is_paid_or_cancelled_by_its_owner_only() {
    let shop = Shop::start().await;
    let (mug, sku) = shop.product("Harbour mug", PRICE, 5).await;
    let mut browser = Browser::new(&shop);
    browser.sign_up().await;
    let later = async |browser: &mut Browser| {
        browser.add(&mug, &sku, 1).await.expect(303);
        let page = browser.get("/checkout").await.expect(200);
        let hidden = hidden_fields(&page);
        let mut fields = checkout_fields(&hidden, "");
        fields.iter_mut().find(|(name, _)| *name == "method").expect("a method").1 = "later";
        order_of(&browser.post("/checkout", &fields).await.expect(303))
    };
    let id = later(&mut browser).await;
    let result = browser.get(&format!("/checkout/result/{id}")).await.expect(200);
    assert!(result.has("aria-label=\"1 in the cart\""), "the cart holds it until it is paid");
    assert!(result.has("waiting for the payment") && result.has("Pay now"));
    let mut stranger = Browser::new(&shop);
    stranger.sign_up().await;
    for path in [format!("/orders/{id}"), format!("/checkout/result/{id}"), "/checkout/result/ord_nothing".into()] {
        stranger.get(&path).await.expect(404);
    }
    stranger.post(&format!("/orders/{id}/cancel"), &[]).await.expect(404);
    let order = browser.get(&format!("/orders/{id}")).await.expect(200);
    let key = order.hidden("key");
    let card = |number| [("key", key.as_str()), ("number", number), ("expiry", "12/30"), ("cvc", "012")];
    let path = format!("/orders/{id}/pay");
    let page = browser.post(&path, &card(DECLINED_CARD)).await.expect(402);
    assert!(page.has("The card was declined.") && page.has("Waiting for payment"));
    let key = page.hidden("key");
    let fields = [("key", key.as_str()), ("number", GOOD_CARD), ("expiry", "12/30"), ("cvc", "012")];
    browser.post(&path, &fields).await.expect(303);
    shop.order_is(&id, "paid").await;
    let paid = browser.get("/orders").await;
    assert!(!paid.has("class=\"badge\""), "what is paid has left the cart");
    // Cancelling a paid order is refused, and the page says how it stands.
    let page = browser.post(&format!("/orders/{id}/cancel"), &[]).await.expect(409);
    assert!(page.has("This is how it stands now."));
    let id = later(&mut browser).await;
    // Twice is once.
    for _ in 0..2 {
        let done = browser.post(&format!("/orders/{id}/cancel"), &[]).await.expect(303);
        assert_eq!(done.location, format!("/orders/{id}?done=cancelled"));
    }
    assert!(browser.get(&format!("/orders/{id}")).await.has("You cancelled it."));
    shop.stock_is(&sku, 4, 0).await;
    shop.check().await;
    shop.stop().await;
}

#[tokio::test]
async fn a_kick_and_an_ended_session_hold() {
    let shop = Shop::start().await;
    let mut browser = Browser::new(&shop);
    let email = browser.sign_up().await;
    let mut other = Browser::new(&shop);
    other.get("/sign-in").await;
    other.post("/sign-in", &[("email", &email), ("password", PASSWORD)]).await.expect(303);
    other.get("/account").await.expect(200);
    // The other device ends this one.
    let list = other.get("/account").await.expect(200);
    let ends: Vec<String> = list
        .body
        .split("action=\"/account/sessions/")
        .skip(1)
        .filter_map(|rest| rest.split_once("/end\"").map(|(id, _)| id.to_owned()))
        .collect();
    assert_eq!(ends.len(), 2);
    let current = list.body.find("this device").expect("a mark");
    for id in &ends {
        let at = list.body.find(&format!("/account/sessions/{id}/end")).expect("a form");
        let nearest = ends.iter().filter(|other| list.body.find(other.as_str()).expect("there") > current);
        if nearest.clone().next() == Some(id) && at > current {
            continue;
        }
        other.post(&format!("/account/sessions/{id}/end"), &[]).await.expect(303);
    }
    shows("the ended session is signed out", async || browser.clone().get("/account").await.status == 303).await;
    other.get("/account").await.expect(200);
    let users = shop.admin.get(&format!("/admin/v1/users?email={email}")).await.expect(200).body;
    let id = users["users"][0]["id"].as_str().expect("an id");
    shop.admin.post(&format!("/admin/v1/users/{id}/kick"), json!({})).await.expect(204);
    shows("the kicked shopper is signed out", async || other.clone().get("/account").await.status == 303).await;
    shop.stop().await;
}

#[tokio::test]
async fn the_address_book_is_kept_in_order() {
    let shop = Shop::start().await;
    let mut browser = Browser::new(&shop);
    browser.sign_up().await;
    let page = browser.post("/account/addresses", &[("name", "Ada")]).await.expect(422);
    assert!(page.has("Look at the marked fields.") && page.has("value=\"Ada\""));
    let entry = |street| [("name", "Ada"), ("country", "CN"), ("street", street), ("postal_code", "01234")];
    browser.post("/account/addresses", &entry("First Street")).await.expect(303);
    let list = browser.get("/account/addresses").await.expect(200);
    assert!(list.has("First Street") && list.has("01234"));
    let id =
        list.body.split_once("/account/addresses/addr_").and_then(|(_, rest)| rest.split_once('"')).expect("an id").0;
    let path = format!("/account/addresses/addr_{id}");
    assert!(browser.get(&path).await.expect(200).has("value=\"First Street\""));
    // The same form twice, or twice at once, is one entry.
    let again = (0..3).map(|_| {
        let mut tab = browser.clone();
        async move { tab.post("/account/addresses", &entry("First Street")).await.expect(303) }
    });
    futures_util::future::join_all(again).await;
    assert_eq!(browser.get("/account/addresses").await.body.matches("<address>").count(), 1);
    browser.post(&path, &entry("Second Street")).await.expect(303);
    assert!(browser.get("/account/addresses").await.has("Second Street"));
    let mut stranger = Browser::new(&shop);
    stranger.sign_up().await;
    stranger.get(&path).await.expect(404);
    stranger.post(&path, &entry("Third Street")).await.expect(404);
    stranger.post(&format!("{path}/delete"), &[]).await.expect(404);
    browser.post(&format!("{path}/delete"), &[]).await.expect(303);
    assert!(browser.get("/account/addresses?done=deleted").await.has("No addresses yet."));
    shop.stop().await;
}

#[tokio::test]
async fn lists_have_facets_order_and_pages_by_key() {
    let shop = Shop::start().await;
    let shelf = json!({ "slug": "mugs", "name": "Mugs", "names": { "zh": "马克杯" } });
    let shelf = shop.admin.post("/admin/v1/categories", shelf).await.expect(201).body["category"]["id"].clone();
    let brand = shop.admin.post("/admin/v1/brands", json!({ "name": "Tidepool" })).await.expect(201).body;
    let brand = brand["brand"]["id"].as_str().expect("an id").to_owned();
    for i in 0..30 {
        let body = json!({
            "title": format!("Mug number {i:02}"), "status": "listed", "category_ids": [shelf],
            "brand_id": if i < 3 { brand.as_str() } else { "" },
            "translations": { "zh": { "title": format!("杯子 {i:02}"), "description": "" } },
            "variants": [{ "price": { "amount": 1_000 + i * 100, "currency": "CNY" }, "stock": 1 }],
        });
        shop.admin.post("/admin/v1/products", body).await.expect(201);
    }
    let mut browser = Browser::new(&shop);
    let titles = |page: &Page| -> Vec<String> {
        let cards = page.body.split("card-title\">").skip(1);
        cards.filter_map(|rest| rest.split_once('<').map(|(title, _)| title.to_owned())).collect()
    };
    shows("the shelf is full", async || titles(&browser.clone().get("/c/mugs").await).len() == 24).await;
    let first = browser.get("/c/MUGS?sort=price").await.expect(200);
    assert!(first.has("30 products") && first.has("Tidepool") && first.has("(3)") && first.has("(30)"));
    // A span of prices is a click, and taken back with another.
    let span = first
        .body
        .split_once("class=\"plain spans\"")
        .and_then(|(_, rest)| rest.split_once("href=\""))
        .expect("spans")
        .1;
    let span = span.split_once('"').expect("a link").0.replace("&#38;", "&");
    assert!(span.contains("min=") && span.contains("max=") && span.contains("sort=price"), "{span}");
    let narrowed = browser.get(&span).await.expect(200);
    assert!(narrowed.has("aria-current=\"true\">¥") && titles(&narrowed).len() < 24, "{}", narrowed.body);
    let next =
        first.body.split_once("rel=\"next\" href=\"").and_then(|(_, rest)| rest.split_once('"')).expect("more").0;
    let second = browser.get(&next.replace("&#38;", "&")).await.expect(200);
    let all: Vec<String> = titles(&first).into_iter().chain(titles(&second)).collect();
    let expected: Vec<String> = (0..30).map(|i| format!("Mug number {i:02}")).collect();
    assert_eq!(all, expected);
    assert!(second.has("First page"));
    assert_eq!(titles(&browser.get(&format!("/c/mugs?brand={brand}")).await).len(), 3);
    assert_eq!(titles(&browser.get("/c/mugs?min=38&max=38.99").await), ["Mug number 28"]);
    assert_eq!(titles(&browser.get("/search?q=number+07").await), ["Mug number 07"]);
    let mut chinese = browser.clone();
    assert_eq!(titles(&chinese.get("/zh/search?q=%E6%9D%AF%E5%AD%90%2007").await), ["杯子 07"]);
    chinese.get("/zh/nothing").await.expect(404);
    assert!(browser.get("/search?q=%25").await.expect(200).has("Nothing here matches."));
    let all = browser.get("/search?category=mugs&sort=title").await.expect(200);
    assert!(all.has("All products") && all.has("30 products") && titles(&all)[0] == "Mug number 00");
    browser.get("/c/mugs?after=nonsense").await.expect(400);
    let hostile = browser.get("/search?q=%3Cscript%3Ealert(1)%3C/script%3E").await.expect(200);
    assert!(!hostile.has("<script>alert"));
    shop.stop().await;
}

/// Counts the calls of the pages and closes services.
#[derive(Default)]
struct Watch {
    calls: Mutex<BTreeMap<(String, String), u32>>,
    closed: Mutex<Option<&'static str>>,
}

impl Fault for Watch {
    fn decide(&self, service: &str, method: &str) -> FaultAction {
        *self.calls.lock().entry((service.to_owned(), method.to_owned())).or_default() += 1;
        if *self.closed.lock() == Some(service) { FaultAction::LoseRequest } else { FaultAction::Pass }
    }
}

impl Watch {
    /// Calls of what only pages ask, and forgets them. What the services ask of each other for them is theirs.
    fn take(&self) -> u32 {
        const INNER: [(&str, &str); 15] = [
            ("catalog", "BatchGetSkus"),
            ("inventory", "BatchGetStock"),
            ("cart", "GetLines"),
            ("cart", "RemoveOrdered"),
            ("promotion", "Quote"),
            ("identity", "GetAddress"),
            ("inventory", "Reserve"),
            ("inventory", "Confirm"),
            ("payment", "Tokenise"),
            ("payment", "StartPayment"),
            // Flows ask these, and on a busy machine long after the page that began them.
            ("inventory", "Release"),
            ("payment", "ResolvePayment"),
            ("payment", "CloseOrderPayments"),
            ("payment", "RefundOrder"),
            // Insight asks for the orders it has missed when it starts.
            ("order", "ScanOrders"),
        ];
        // What is kept fresh beside the pages, events between services and the operators' checks come at any time.
        const ASIDE: [&str; 9] = [
            "ListRevocations",
            "ListStandings",
            "GetAccess",
            "TouchSessions",
            "Deliver",
            "GetKeys",
            "RunChecks",
            "ListBestSellers",
            "CountVisits",
        ];
        let calls = std::mem::take(&mut *self.calls.lock());
        calls
            .into_iter()
            .filter(|((service, method), _)| {
                !INNER.contains(&(service.as_str(), method.as_str())) && !ASIDE.contains(&method.as_str())
            })
            .map(|(_, count)| count)
            .sum()
    }
}

#[tokio::test]
async fn no_page_asks_others_more_than_three_times_however_long_the_cart() {
    let watch = Arc::new(Watch::default());
    let fault: Arc<dyn Fault> = watch.clone();
    let shop = Shop::start_with(|mut settings| {
        settings.fault = Some(fault);
        // Everything cold, always: what is remembered would hide calls.
        settings.config = settings.config.set("web.catalogue_ms", 0).set("web.copies_max", 0);
        settings
    })
    .await;
    let mut browser = Browser::new(&shop);
    browser.sign_up().await;
    let (mut first, mut first_line) = (String::new(), String::new());
    for i in 0..40 {
        let (product, sku) = shop.product(&format!("Thing {i}"), PRICE, 5).await;
        browser.add(&product, &sku, 1).await.expect(303);
        (first, first_line) = (product, format!("{sku}:1"));
    }
    let shelf = json!({ "slug": "things", "name": "Things" });
    shop.admin.post("/admin/v1/categories", shelf).await.expect(201);
    let pages = [
        "/".to_owned(),
        "/c/things".into(),
        "/search?q=thing&sort=price".into(),
        format!("/p/{first}"),
        "/cart".into(),
        "/checkout".into(),
        "/orders".into(),
        "/account".into(),
        "/account/addresses".into(),
        "/account/password".into(),
        "/account/delete".into(),
    ];
    let mut seen = BTreeMap::new();
    for path in &pages {
        watch.take();
        browser.get(path).await.expect(200);
        seen.insert(path.clone(), watch.take());
    }
    let page = browser.get("/checkout").await.expect(200);
    let hidden = hidden_fields(&page);
    watch.take();
    let page = browser.post("/checkout", &checkout_fields(&hidden, DECLINED_CARD)).await.expect(402);
    let declined = watch.calls.lock().keys().cloned().collect::<Vec<_>>();
    let hidden = hidden_fields(&page);
    let mut sent = async |browser: &mut Browser, what: &str, path: &str, fields: &[(&str, &str)], status: u16| {
        watch.take();
        let page = browser.post(path, fields).await.expect(status);
        seen.insert(format!("{path} {what}"), watch.take());
        page
    };
    let line = ("line", first_line.as_str());
    // Nothing is remembered of a choice the page has not shown.
    let mut unseen = checkout_fields(&hidden, GOOD_CARD);
    unseen.extend([line, ("cart", "1"), ("coupon", "SPRING")]);
    sent(&mut browser, "unseen, with a code", "/checkout", &unseen, 422).await;
    let mut coupon = unseen.clone();
    coupon.push(("apply", "1"));
    sent(&mut browser, "coupon", "/checkout", &coupon, 422).await;
    let mut gone = checkout_fields(&hidden, GOOD_CARD);
    gone.iter_mut().find(|(name, _)| *name == "address").expect("an address").1 = "addr_gone";
    sent(&mut browser, "address gone", "/checkout", &gone, 422).await;
    let mut later = checkout_fields(&hidden, "");
    later.iter_mut().find(|(name, _)| *name == "method").expect("a method").1 = "later";
    later.push(("save", "1"));
    let id = order_of(&sent(&mut browser, "later, address kept", "/checkout", &later, 303).await);
    // The same key for something else, and another key for the same cart.
    later.push(("note", "another"));
    sent(&mut browser, "key used", "/checkout", &later, 303).await;
    later[0].1 = "web-another";
    sent(&mut browser, "ordered", "/checkout", &later, 409).await;
    let card = [("key", "web-pay"), ("number", DECLINED_CARD), ("expiry", "12/30"), ("cvc", "012")];
    sent(&mut browser, "declined", &format!("/orders/{id}/pay"), &card, 402).await;
    let moved = [("version", "77"), ("name", "Ada"), ("country", "CN"), ("street", "Nowhere 1")];
    sent(&mut browser, "moved", &format!("/orders/{id}/address"), &moved, 409).await;
    let units = format!("units-{}", first_line.split(':').next().expect("a sku"));
    sent(&mut browser, "too early", &format!("/orders/{id}/returns"), &[(&units, "1"), ("reason", "no")], 409).await;
    sent(&mut browser, "incomplete", "/account/addresses", &[("name", "Ada")], 422).await;
    sent(&mut browser, "cancelled", &format!("/orders/{id}/cancel"), &[], 303).await;
    let placed = pay(&mut browser, GOOD_CARD).await.expect(303);
    let id = order_of(&placed);
    watch.take();
    browser.post(&format!("/orders/{id}/cancel"), &[]).await.expect(409);
    seen.insert("cancel of a paid order".into(), watch.take());
    for path in [format!("/orders/{id}"), format!("/checkout/result/{id}")] {
        watch.take();
        browser.get(&path).await.expect(200);
        seen.insert(path, watch.take());
    }
    for (path, calls) in &seen {
        assert!(*calls <= 3, "{path} made {calls} calls: {seen:?}");
    }
    assert_eq!(seen["/cart"], 2, "the cart, and all its products at once");
    assert!(!declined.iter().any(|(service, method)| service == "order" && method == "Quote"), "{declined:?}");
    shop.stop().await;
}

#[tokio::test]
async fn a_closed_service_closes_its_pages_only_and_says_so() {
    let watch = Arc::new(Watch::default());
    let fault: Arc<dyn Fault> = watch.clone();
    let shop = Shop::start_with(|mut settings| {
        settings.fault = Some(fault);
        settings
    })
    .await;
    let (product, sku) = shop.product("Harbour mug", PRICE, 5).await;
    let mut browser = Browser::new(&shop);
    browser.sign_up().await;
    browser.add(&product, &sku, 1).await.expect(303);
    let page = browser.get("/checkout").await.expect(200);
    let hidden = hidden_fields(&page);
    *watch.closed.lock() = Some("catalog");
    // What is remembered for a moment is forgotten for each of them.
    for path in ["/", "/c/mugs", &format!("/p/{product}")] {
        shows("the catalogue is closed to the pages", async || browser.clone().get(path).await.status == 503).await;
    }
    for path in ["/", "/c/mugs", "/search?q=mug", &format!("/p/{product}"), "/cart"] {
        let page = browser.get(path).await.expect(503);
        assert!(page.has("Part of the shop is closed right now.") && page.has(page.header("x-request-id")), "{path}");
        assert!(!page.header("retry-after").is_empty());
    }
    browser.get("/orders").await.expect(200);
    browser.get("/sign-in").await.expect(303);
    *watch.closed.lock() = Some("order");
    browser.get("/orders").await.expect(503);
    // Nobody knows whether it went through: the same key comes back.
    let page = browser.post("/checkout", &checkout_fields(&hidden, GOOD_CARD)).await.expect(503);
    assert!(page.has("We do not know yet whether the order went through."), "{}", page.body);
    assert_eq!(page.hidden("key"), hidden[0].1);
    *watch.closed.lock() = None;
    let placed = browser.post("/checkout", &checkout_fields(&hidden_fields(&page), GOOD_CARD)).await.expect(303);
    shop.order_is(&order_of(&placed), "paid").await;
    shop.check().await;
    shop.stop().await;
}
