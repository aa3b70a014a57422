//! What shoppers find on the pages beside the purchase: best sellers, returns, passwords, coupons, pictures, bans; and the pages
//! that many visitors share.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mallard_rpc::{Fault, FaultAction};
use mallard_testkit::eventually;
use mallard_tests::browser::{Browser, Page, checkout_fields, hidden_fields};
use mallard_tests::*;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::Notify;

const PRICE: i64 = 990;
/// Longer than a reason may be.
const LONG: &str = "It came apart in my hands on the first morning, and when I had put it together again it came apart on the \
                    second morning too, and so on until the end of the week, when I gave up and wrote these lines about it to you.";

/// A picture of one pixel.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

async fn shop_with(key: &'static str, value: u64) -> Shop {
    Shop::start_with(|mut settings| {
        settings.config = settings.config.set(key, value);
        settings
    })
    .await
}

/// Buys units of a product on the pages; returns the order's id.
async fn buy(browser: &mut Browser, product: &str, sku: &str, quantity: u32) -> String {
    browser.add(product, sku, quantity).await.expect(303);
    let page = browser.get("/checkout").await.expect(200);
    let hidden = hidden_fields(&page);
    order_of(&browser.post("/checkout", &checkout_fields(&hidden, GOOD_CARD)).await.expect(303))
}

async fn sign_in(shop: &Shop, email: &str, password: &str) -> (Browser, Page) {
    let mut browser = Browser::new(shop);
    browser.get("/sign-in").await;
    let page = browser.post("/sign-in", &[("email", email), ("password", password)]).await;
    (browser, page)
}

#[tokio::test]
async fn what_was_bought_most_stands_on_the_first_page() {
    let shop = shop_with("web.best_sellers_interval_ms", 50).await;
    let (mug, mug_sku) = shop.product("Harbour mug", PRICE, 50).await;
    let (lamp, lamp_sku) = shop.product("Night lamp", 12_900, 50).await;
    shop.product("Nobody wants it", 5_000, 5).await;
    let mut browser = Browser::new(&shop);
    assert!(!browser.get("/").await.expect(200).has("Best sellers"), "nothing was sold");
    browser.sign_up().await;
    buy(&mut browser, &lamp, &lamp_sku, 1).await;
    buy(&mut browser, &mug, &mug_sku, 9).await;
    let best = async || {
        let page = Browser::new(&shop).get("/").await.expect(200);
        let row = page
            .body
            .split_once("id=\"best\"")
            .map(|(_, rest)| rest.split("</section>").next().unwrap_or_default().to_owned());
        row.unwrap_or_default()
    };
    eventually("the best sellers are there", async || {
        let row = best().await;
        let (mug, lamp) = (row.find("Harbour mug"), row.find("Night lamp"));
        mug.is_some() && lamp.is_some() && mug < lamp && !row.contains("Nobody wants it")
    })
    .await;
    shop.stop().await;
}

#[tokio::test]
async fn what_visitors_do_is_counted_for_the_operators() {
    let shop = shop_with("web.visits_interval_ms", 50).await;
    let (mug, sku) = shop.product("Harbour mug", PRICE, 50).await;
    for _ in 0..3 {
        Browser::new(&shop).get(&format!("/p/{mug}")).await.expect(200);
    }
    let mut browser = Browser::new(&shop);
    browser.sign_up().await;
    buy(&mut browser, &mug, &sku, 1).await;
    browser.get("/p/prod_nothing").await.expect(404);
    let counted = json!({ "product_views": 4, "cart_additions": 1, "checkouts": 1, "placed": 1, "paid": 1 });
    eventually("all of it is counted, once", async || {
        let total = shop.admin.get("/admin/v1/insight/funnel").await.expect(200).body["total"].clone();
        counted.as_object().unwrap().iter().all(|(name, count)| total[name] == *count)
    })
    .await;
    shop.stop().await;
}

#[tokio::test]
async fn goods_are_given_back_on_the_orders_page() {
    let shop = Shop::start().await;
    let (mug, sku) = shop.product("Harbour mug", PRICE, 50).await;
    let mut browser = Browser::new(&shop);
    browser.sign_up().await;
    let id = buy(&mut browser, &mug, &sku, 3).await;
    let path = format!("/orders/{id}");
    assert!(!browser.get(&path).await.expect(200).has("Give something back"), "nothing has been sent");
    shop.admin.post(&format!("/admin/v1/orders/{id}/ship"), json!({})).await.expect(200);
    shop.order_is(&id, "shipped").await;
    let page = browser.get(&path).await.expect(200);
    assert!(page.has("Give something back") && page.has("at most 3") && page.has("maxlength=\"200\""));
    let units = format!("units-{sku}");
    let key = page.body.split_once(&format!("{path}/returns")).expect("a form").1;
    let key = key.split_once("name=\"key\" value=\"").expect("a key").1.split_once('"').expect("its end").0.to_owned();
    let wish = |count: &'static str, reason: &'static str| {
        [(units.as_str(), count), ("reason", reason), ("key", key.as_str())]
    };
    let to = format!("{path}/returns");
    for (fields, says) in [
        (wish("0", "chipped"), "Choose how many"),
        (wish("2", ""), "This is needed."),
        (wish("4", "chipped"), "So many cannot be given back"),
        (wish("x", "chipped"), "So many cannot be given back"),
        (wish("1", LONG), "This is too long."),
    ] {
        let page = browser.post(&to, &fields).await.expect(422);
        assert!(page.has(says) && page.has("<details id=\"return\" open>"), "{fields:?}: {}", page.body);
    }
    // Somebody else's order is nobody's business.
    let mut stranger = Browser::new(&shop);
    stranger.sign_up().await;
    stranger.post(&to, &wish("1", "chipped")).await.expect(404);
    // Sent twice, it is one.
    for _ in 0..2 {
        let sent = browser.post(&to, &wish("2", "chipped")).await.expect(303);
        assert_eq!(sent.location, format!("{path}?done=return"));
    }
    let page = browser.get(&path).await.expect(200);
    assert_eq!(page.body.matches("Being looked at").count(), 1);
    assert!(
        page.has("Harbour mug × 2") && page.has("chipped") && page.has("Return asked for") && page.has("at most 1")
    );
    let asked = shop.admin.get("/admin/v1/returns?status=requested").await.expect(200).body["returns"].clone();
    let asked = asked[0]["id"].as_str().expect("a return").to_owned();
    let key = unique("approve");
    shop.admin.key(&key).post(&format!("/admin/v1/returns/{asked}/approve"), json!({})).await.expect(200);
    eventually("the money is back", async || browser.clone().get(&path).await.has("Money given back")).await;
    // The rest is asked for and refused, with the reason for people.
    let page = browser.get(&path).await.expect(200);
    assert!(page.has("at most 1"), "{}", page.body);
    browser.post(&to, &[(&units, "1"), ("reason", "too many"), ("key", "web-another")]).await.expect(303);
    let asked = shop.admin.get("/admin/v1/returns?status=requested").await.expect(200).body["returns"].clone();
    let asked = asked[0]["id"].as_str().expect("a return").to_owned();
    shop.admin
        .post(&format!("/admin/v1/returns/{asked}/refuse"), json!({ "answer": "It was used." }))
        .await
        .expect(200);
    let page = browser.get(&path).await.expect(200);
    assert!(page.has("It was used.") && page.has("Return refused"));
    shop.check().await;
    shop.stop().await;
}

#[tokio::test]
async fn a_return_of_an_order_that_was_given_back_as_a_whole_is_closed_for_shopper_and_operator() {
    let shop = Shop::start().await;
    let (mug, sku) = shop.product("Harbour mug", PRICE, 50).await;
    let mut browser = Browser::new(&shop);
    browser.sign_up().await;
    let id = buy(&mut browser, &mug, &sku, 3).await;
    let path = format!("/orders/{id}");
    shop.admin.post(&format!("/admin/v1/orders/{id}/ship"), json!({})).await.expect(200);
    shop.order_is(&id, "shipped").await;
    let wish = [(&*format!("units-{sku}"), "2"), ("reason", "chipped"), ("key", "web-one")];
    browser.post(&format!("{path}/returns"), &wish).await.expect(303);
    let refund = format!("/admin/v1/orders/{id}/refund");
    shop.admin.key(&unique("all")).post(&refund, json!({ "reason": "recall" })).await.expect(200);
    shop.order_is(&id, "refunded").await;
    let page = browser.get(&path).await.expect(200);
    assert!(page.has("Closed, money given back") && page.has("The whole order was refunded."), "{}", page.body);
    assert!(page.has("Return closed") && !page.has("Return refused") && !page.has("order_refunded"), "{}", page.body);
    assert!(browser.get(&format!("/zh{path}")).await.expect(200).has("订单已全额退款。"));
    let (mut operator, _) = sign_in(&shop, ADMIN, PASSWORD).await;
    assert!(operator.get("/operator/returns").await.expect(200).has("No returns here."));
    let page = operator.get("/operator/returns?status=refused").await.expect(200);
    assert!(page.has("Closed, money given back") && !page.has("order_refunded"), "{}", page.body);
    let page = operator.get(&format!("/operator{path}")).await.expect(200);
    assert!(page.has("Return closed") && !page.has("order_refunded"), "{}", page.body);
    shop.stock_is(&sku, 50, 0).await;
    shop.check().await;
    shop.stop().await;
}

#[tokio::test]
async fn what_an_unpaid_order_holds_is_not_called_sold_out_to_who_ordered_it() {
    let shop = Shop::start().await;
    let (mug, sku) = shop.product("Harbour mug", PRICE, 2).await;
    let mut browser = Browser::new(&shop);
    browser.sign_up().await;
    browser.add(&mug, &sku, 2).await.expect(303);
    let hidden = hidden_fields(&browser.get("/checkout").await.expect(200));
    let fields = with(checkout_fields(&hidden, ""), "method", "later");
    let order = order_of(&browser.post("/checkout", &fields).await.expect(303));
    let page = browser.get("/cart").await.expect(200);
    assert!(page.has("The 2 you ordered and have not paid yet are held for you"), "{}", page.body);
    assert!(page.has(&format!("href=\"/orders/{order}\"")) && !page.has("Sold out"), "{}", page.body);
    // Who does not hold them is told what is so.
    let mut other = Browser::new(&shop);
    other.sign_up().await;
    other.add(&mug, &sku, 1).await;
    let page = other.get("/cart").await.expect(200);
    assert!(!page.has("held for you") && !page.has(&order), "{}", page.body);
    shop.stop().await;
}

#[tokio::test]
async fn an_address_with_characters_nobody_can_see_is_refused_beside_its_field() {
    let shop = Shop::start().await;
    let (mug, sku) = shop.product("Harbour mug", PRICE, 5).await;
    let mut browser = Browser::new(&shop);
    browser.sign_up().await;
    let id = buy(&mut browser, &mug, &sku, 1).await;
    let book = [("name", "Ada \u{202E}ecalevoL"), ("country", "GB"), ("street", "1 Long Lane")];
    let form = format!("/orders/{id}/address");
    for path in [form.as_str(), "/account/addresses"] {
        let page = browser.post(path, &book).await.expect(422);
        assert!(
            page.has("This holds characters nobody can see.") && page.has("id=\"e-name\""),
            "{path}: {}",
            page.body
        );
    }
    let persian = [("name", "می\u{200C}خواهم"), ("country", "IR"), ("street", "1 Long Lane")];
    browser.post(&form, &persian).await.expect(303);
    shop.stop().await;
}

#[tokio::test]
async fn another_password_wants_the_old_one_and_ends_the_other_sessions() {
    let shop = Shop::start().await;
    let mut browser = Browser::new(&shop);
    let email = browser.sign_up().await;
    let (other, page) = sign_in(&shop, &email, PASSWORD).await;
    page.expect(303);
    browser.get("/account/password").await.expect(200);
    const NEW: &str = "another horse battery";
    for (current, new, again, says) in [
        ("wrong password", NEW, NEW, "This is not your password."),
        (PASSWORD, NEW, "something else", "The two passwords differ."),
        (PASSWORD, "short", "short", "At least 8 characters, please."),
        (PASSWORD, email.as_str(), email.as_str(), "The password must not be the e-mail address."),
    ] {
        let fields = [("current", current), ("password", new), ("password_confirmation", again)];
        let page = browser.post("/account/password", &fields).await.expect(422);
        assert!(page.has(says) && !page.has(new), "{current} {new}: {}", page.body);
    }
    let fields = [("current", PASSWORD), ("password", NEW), ("password_confirmation", NEW)];
    let done = browser.post("/account/password", &fields).await.expect(303);
    assert_eq!(done.location, "/account?done=password");
    assert!(browser.follow(done).await.expect(200).has("The password is changed."));
    shows("the other device is signed out", async || other.clone().get("/account").await.status == 303).await;
    sign_in(&shop, &email, PASSWORD).await.1.expect(422);
    sign_in(&shop, &email, NEW).await.1.expect(303);
    shop.stop().await;
}

#[tokio::test]
async fn an_account_is_deleted_with_its_password_only() {
    let shop = Shop::start().await;
    let mut browser = Browser::new(&shop);
    let email = browser.sign_up().await;
    assert!(browser.get("/account/delete").await.expect(200).has("This cannot be undone."));
    let page = browser.post("/account/delete", &[("password", "wrong password")]).await.expect(422);
    assert!(page.has("This is not your password."));
    browser.get("/account").await.expect(200);
    let gone = browser.post("/account/delete", &[("password", PASSWORD)]).await.expect(303);
    assert_eq!(gone.location, "/?done=deleted");
    assert!(browser.follow(gone).await.expect(200).has("Your account is deleted."));
    browser.get("/account").await.expect(303);
    sign_in(&shop, &email, PASSWORD).await.1.expect(422);
    Browser::new(&shop).get("/account/delete").await.expect(303);
    shop.check().await;
    shop.stop().await;
}

#[tokio::test]
async fn a_code_that_is_no_coupon_is_said_so_and_orders_nothing() {
    let shop = Shop::start().await;
    let (mug, sku) = shop.product("Harbour mug", PRICE, 5).await;
    let mut browser = Browser::new(&shop);
    browser.sign_up().await;
    browser.add(&mug, &sku, 1).await.expect(303);
    let page = browser.get("/checkout").await.expect(200);
    let hidden = hidden_fields(&page);
    for apply in [true, false] {
        let mut fields = checkout_fields(&hidden, GOOD_CARD);
        fields.push(("coupon", "SPRING"));
        if apply {
            fields.push(("apply", "1"));
        }
        let page = browser.post("/checkout", &fields).await.expect(422);
        assert!(page.has("There is no such coupon.") && page.has("value=\"SPRING\"") && page.has("1 Analytical Road"));
        assert!(!page.has("4242 4242"), "the card is not written into the page");
    }
    assert!(browser.get("/orders").await.has("No orders here yet."));
    // Without a code the button only prices anew.
    let mut fields = checkout_fields(&hidden, GOOD_CARD);
    fields.push(("apply", "1"));
    assert!(browser.post("/checkout", &fields).await.expect(200).has("¥9.90"));
    assert!(browser.get("/orders").await.has("No orders here yet."));
    shop.stop().await;
}

#[tokio::test]
async fn a_ban_from_buying_holds_on_the_pages() {
    let shop = Shop::start().await;
    let (mug, sku) = shop.product("Harbour mug", PRICE, 5).await;
    let mut browser = Browser::new(&shop);
    let email = browser.sign_up().await;
    browser.add(&mug, &sku, 1).await.expect(303);
    let page = browser.get("/checkout").await.expect(200);
    let hidden = hidden_fields(&page);
    let users = shop.admin.get(&format!("/admin/v1/users?email={email}")).await.expect(200).body;
    let id = users["users"][0]["id"].as_str().expect("an id");
    let admin = shop.admin.post("/auth/v1/reauthenticate", json!({ "password": PASSWORD })).await.expect(200);
    let admin = shop.http.token(admin.body["access_token"].as_str().expect("a token"));
    let ban = json!({ "level": "buy", "reason": "test" });
    admin.post(&format!("/admin/v1/users/{id}/ban"), ban).await.expect(200);
    // Whether somebody may buy is asked before anything is looked at: an empty form finds out.
    shows("the ban holds", async || {
        let page = browser.clone().post("/checkout", &[]).await;
        page.status == 403 && page.has("This account may not buy at the moment.")
    })
    .await;
    browser.post("/checkout", &checkout_fields(&hidden, GOOD_CARD)).await.expect(403);
    // Looking is allowed, and what was bought before stays in sight.
    browser.get("/orders").await.expect(200);
    assert_eq!(shop.stock(&sku).await, (5, 0));
    shop.stop().await;
}

#[tokio::test]
async fn wrong_passwords_are_counted_by_the_address_that_proxies_name() {
    let shop = Shop::start_with(|mut settings| {
        settings.config =
            settings.config.set("gateway.trusted_proxies", ["127.0.0.1"]).set("identity.login_failures_max", 3);
        settings
    })
    .await;
    let mut browser = Browser::new(&shop);
    let email = browser.sign_up().await;
    let from = |address: &str| {
        let mut browser = Browser::new(&shop);
        browser.headers.push(("x-forwarded-for".into(), address.into()));
        browser
    };
    let mut thief = from("198.51.100.7");
    thief.get("/sign-in").await;
    let wrong = [("email", email.as_str()), ("password", "wrong password")];
    for _ in 0..3 {
        thief.post("/sign-in", &wrong).await.expect(422);
    }
    assert!(thief.post("/sign-in", &wrong).await.expect(429).has("Too many attempts."));
    let mut owner = from("203.0.113.9");
    owner.get("/sign-in").await;
    owner.post("/sign-in", &[("email", &email), ("password", PASSWORD)]).await.expect(303);
    assert!(owner.get("/account").await.expect(200).has("203.0.113.9"));
    shop.stop().await;
}

#[tokio::test]
async fn pictures_of_sellers_are_served_for_ever_and_as_pictures_only() {
    let shop = Shop::start().await;
    let content = json!({ "content": PIXEL, "alt": "a pixel" });
    let image = shop.admin.post("/admin/v1/images", content).await.expect(201).body["image"].clone();
    let url = image["url"].as_str().expect("an address").to_owned();
    assert!(url.starts_with("/media/up/"), "{url}");
    let client = reqwest::Client::new();
    let answer = client.get(shop.url(&url)).send().await.expect("an answer");
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    assert_eq!((answer.status().as_u16(), header("content-type").as_str()), (200, "image/png"));
    assert!(header("cache-control").contains("immutable") && header("x-content-type-options") == "nosniff");
    assert!(header("content-security-policy").contains("default-src 'none'") && header("set-cookie").is_empty());
    let etag = header("etag");
    assert_eq!(answer.bytes().await.expect("a body"), STANDARD.decode(PIXEL).expect("a picture"));
    let known = client.get(shop.url(&url)).header("if-none-match", &etag).send().await.expect("an answer");
    assert_eq!(known.status(), 304);
    let head = client.head(shop.url(&url)).send().await.expect("an answer");
    assert_eq!((head.status().as_u16(), head.headers()["content-length"].len()), (200, 2));
    for missing in ["/media/up/nothing.png", "/media/up/", "/media/up/../up/x", "/media/up/a%2Fb"] {
        assert_eq!(client.get(shop.url(missing)).send().await.expect("an answer").status(), 404, "{missing}");
    }
    assert_eq!(client.post(shop.url(&url)).send().await.expect("an answer").status(), 405);
    shop.stop().await;
}

#[tokio::test]
async fn pages_that_are_shared_show_nothing_of_anybody_and_are_fresh() {
    let shop = Shop::start().await;
    let (mug, sku) = shop.product("Harbour mug", PRICE, 50).await;
    let path = format!("/p/{mug}");
    let mut ada = Browser::new(&shop);
    ada.sign_up().await;
    assert!(ada.get(&path).await.expect(200).has("Ada Lovelace"));
    let (mut one, mut two) = (Browser::new(&shop), Browser::new(&shop));
    let (first, second) = (one.get(&path).await.expect(200), two.get(&path).await.expect(200));
    assert!(!first.has("Ada Lovelace") && !second.has("Ada Lovelace"));
    assert!(first.hidden("_csrf").len() >= 20 && first.hidden("_csrf") != second.hidden("_csrf"));
    assert_ne!(one.cookies["mallard_session"], two.cookies["mallard_session"]);
    // Each token is good for its own visitor: the form of a shared page works.
    for browser in [&mut one, &mut two] {
        browser.post("/cart/add", &[("product", &mug), ("sku", &sku), ("quantity", "1")]).await.expect(303);
        assert!(browser.get("/").await.expect(200).has("aria-label=\"1 in the cart\""));
    }
    let mut nobody = Browser::new(&shop);
    let home = nobody.get("/").await.expect(200);
    assert!(!home.has("aria-label=\"1 in the cart\"") && home.header("set-cookie").is_empty(), "a page without a form");
    // Languages do not mix, in the path or by the browser's choice.
    assert!(nobody.get(&format!("/zh{path}")).await.has("lang=\"zh-Hans\""));
    assert!(Browser::new(&shop).get(&path).await.has("<html lang=\"en\">"));
    shop.price(&mug, &sku, 1_290).await;
    shows("the new price shows", async || Browser::new(&shop).get(&path).await.has("¥12.90")).await;
    shop.admin.post(&format!("/admin/v1/products/{mug}/delist"), json!({})).await.expect(200);
    shows("it is gone", async || Browser::new(&shop).get(&path).await.status == 404).await;
    shop.stop().await;
}

/// Follows the link of a cart in which not everything can be bought.
async fn rest_of(browser: &mut Browser) -> (String, Page) {
    let cart = browser.get("/cart").await.expect(200);
    let link = cart.body.split_once("href=\"/checkout?").and_then(|(_, rest)| rest.split_once('"')).expect("a link").0;
    let path = format!("/checkout?{}", link.replace("&#38;", "&").replace("&amp;", "&"));
    let page = browser.get(&path).await.expect(200);
    (path, page)
}

/// Returns the hidden fields of a checkout of chosen lines.
fn chosen_fields(page: &Page) -> Vec<(String, String)> {
    let mut hidden = hidden_fields(page);
    hidden.extend(["line", "cart"].map(|name| (name.to_owned(), page.hidden(name))));
    hidden
}

fn with<'a>(mut fields: Vec<(&'a str, &'a str)>, name: &str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    fields.iter_mut().filter(|(found, _)| *found == name).for_each(|(_, old)| *old = value);
    fields
}

fn order_of(page: &Page) -> String {
    let path = page.location.split('?').next().unwrap_or_default();
    path.strip_prefix("/checkout/result/").expect("the way to a result").to_owned()
}

/// Fills a cart with a mug that can be bought and a lamp that cannot.
async fn half_a_cart(shop: &Shop) -> (Browser, String) {
    let (mug, sku) = shop.product("Harbour mug", PRICE, 5).await;
    let (lamp, lamp_sku) = shop.product("Night lamp", 12_900, 5).await;
    let mut browser = Browser::new(shop);
    browser.sign_up().await;
    browser.add(&mug, &sku, 2).await.expect(303);
    browser.add(&lamp, &lamp_sku, 1).await.expect(303);
    shop.admin.post(&format!("/admin/v1/products/{lamp}/delist"), json!({})).await.expect(200);
    (browser, sku)
}

#[tokio::test]
async fn goods_that_another_tab_changed_are_not_ordered_unseen() {
    let shop = Shop::start().await;
    let (one, one_sku) = shop.product("English book", 6_800, 5).await;
    let (other, other_sku) = shop.product("Chinese book", 6_800, 5).await;
    let mut browser = Browser::new(&shop);
    browser.sign_up().await;
    browser.add(&one, &one_sku, 1).await.expect(303);
    let shown = hidden_fields(&browser.get("/checkout").await.expect(200));
    browser.post("/cart/clear", &[]).await.expect(303);
    browser.add(&other, &other_sku, 1).await.expect(303);
    let page = browser.post("/checkout", &checkout_fields(&shown, GOOD_CARD)).await.expect(409);
    assert!(page.has("What you are ordering has changed") && page.has("Chinese book"), "{}", page.body);
    assert!(!page.has("It was ¥68.00") && page.hidden("goods") != shown[3].1);
    assert_eq!((shop.stock(&one_sku).await, shop.stock(&other_sku).await), ((5, 0), (5, 0)));
    let seen = hidden_fields(&page);
    browser.post("/checkout", &checkout_fields(&seen, GOOD_CARD)).await.expect(303);
    shop.stock_is(&other_sku, 4, 0).await;
    shop.check().await;
    shop.stop().await;
}

#[tokio::test]
async fn a_refused_tab_shows_its_own_goods() {
    let shop = Shop::start().await;
    let mut goods = Vec::new();
    let mut browser = Browser::new(&shop);
    browser.sign_up().await;
    for title in ["English book", "Chinese book"] {
        let (product, sku) = shop.product(title, 6_800, 5).await;
        browser.add(&product, &sku, 1).await.expect(303);
        goods.push(sku);
    }
    let path = |sku: &str| format!("/checkout?cart=2&line={sku}%3A1");
    let page = browser.get(&path(&goods[0])).await.expect(200);
    let english = chosen_fields(&page);
    assert!(browser.get(&path(&goods[1])).await.expect(200).has("Chinese book"));
    let fields = with(checkout_fields(&english, GOOD_CARD), "cvc", "");
    let page = browser.post("/checkout", &fields).await.expect(422);
    assert!(page.has("English book") && !page.has("Chinese book"), "{}", page.body);
    // The other language and a sign-in lead to these goods, too.
    assert!(page.has(&format!("href=\"/zh/checkout?cart=2&#38;line={}%3A1\"", goods[0])), "{}", page.body);
    shop.stop().await;
}

#[tokio::test]
async fn a_choice_is_ordered_once_from_however_many_tabs() {
    let shop = Shop::start().await;
    let (mut browser, sku) = half_a_cart(&shop).await;
    let (path, page) = rest_of(&mut browser).await;
    let (first, second) = (chosen_fields(&page), chosen_fields(&browser.get(&path).await));
    assert_eq!(first, second);
    let page = browser.post("/checkout", &with(checkout_fields(&first, GOOD_CARD), "cvc", "")).await.expect(422);
    assert_eq!(page.hidden("key"), first[0].1, "nothing was ordered under it");
    let mut coupon = checkout_fields(&first, GOOD_CARD);
    coupon.extend([("coupon", "SPRING"), ("apply", "1")]);
    assert_eq!(browser.post("/checkout", &coupon).await.expect(422).hidden("key"), first[0].1);
    let refused = chosen_fields(&page);
    let placed = browser.post("/checkout", &checkout_fields(&refused, GOOD_CARD)).await.expect(303);
    assert!(browser.get("/orders").await.has("aria-label=\"1 in the cart\""), "the lamp is still there");
    let again = browser.post("/checkout", &checkout_fields(&second, GOOD_CARD)).await.expect(303);
    assert_eq!(order_of(&placed), order_of(&again));
    // The same key for another address is no second order either.
    let moved = with(checkout_fields(&second, GOOD_CARD), "street", "2 Other Road");
    let told = browser.post("/checkout", &moved).await.expect(303);
    assert_eq!(told.location, "/orders?done=used");
    let list = browser.follow(told).await.expect(200);
    assert!(list.has("This form has been used for another order."));
    assert_eq!(list.body.matches("order-card").count(), 1);
    shop.stock_is(&sku, 3, 0).await;
    shop.check().await;
    shop.stop().await;
}

#[tokio::test]
async fn a_choice_whose_order_failed_or_was_cancelled_is_ordered_anew() {
    let shop = Shop::start().await;
    let (mut browser, sku) = half_a_cart(&shop).await;
    let (path, page) = rest_of(&mut browser).await;
    let old = chosen_fields(&page);
    // A declined card, then the checkout opened again: the bank is asked again.
    browser.post("/checkout", &checkout_fields(&old, DECLINED_CARD)).await.expect(402);
    let second = chosen_fields(&browser.get(&path).await.expect(200));
    assert_ne!(second[0].1, old[0].1);
    // The tab with the old form is told of the new key and not of a third.
    let page = browser.post("/checkout", &checkout_fields(&old, DECLINED_CARD)).await.expect(402);
    assert_eq!(page.hidden("key"), second[0].1);
    // To be paid later, cancelled, and ordered again.
    let later = with(checkout_fields(&second, ""), "method", "later");
    let cancelled = order_of(&browser.post("/checkout", &later).await.expect(303));
    assert_eq!(order_of(&browser.post("/checkout", &later).await.expect(303)), cancelled, "sent twice");
    browser.post(&format!("/orders/{cancelled}/cancel"), &[]).await.expect(303);
    let third = chosen_fields(&browser.get(&path).await.expect(200));
    let later = with(checkout_fields(&third, ""), "method", "later");
    let stopped = order_of(&browser.post("/checkout", &later).await.expect(303));
    assert_ne!(stopped, cancelled);
    // Cancelled by somebody else: the form says so, and orders when it is sent again.
    let reason = json!({ "reason": "no such street" });
    shop.admin.post(&format!("/admin/v1/orders/{stopped}/cancel"), reason).await.expect(200);
    let page = browser.post("/checkout", &later).await.expect(409);
    assert!(page.has("The order of this form was cancelled meanwhile."), "{}", page.body);
    let last = chosen_fields(&page);
    let placed = browser.post("/checkout", &checkout_fields(&last, GOOD_CARD)).await.expect(303);
    shop.order_is(&order_of(&placed), "paid").await;
    shop.stock_is(&sku, 3, 0).await;
    shop.check().await;
    shop.stop().await;
}

#[tokio::test]
async fn clicks_on_pay_keep_one_address_and_an_address_that_is_gone_is_not_offered() {
    let shop = Shop::start().await;
    let (mug, sku) = shop.product("Harbour mug", PRICE, 5).await;
    let mut browser = Browser::new(&shop);
    browser.sign_up().await;
    browser.add(&mug, &sku, 1).await.expect(303);
    let hidden = hidden_fields(&browser.get("/checkout").await.expect(200));
    let mut fields = checkout_fields(&hidden, GOOD_CARD);
    fields.push(("save", "1"));
    let clicks = (0..4).map(|_| {
        let (mut tab, fields) = (browser.clone(), fields.clone());
        async move { tab.post("/checkout", &fields).await }
    });
    futures_util::future::join_all(clicks).await;
    browser.post("/checkout", &fields).await.expect(303);
    let book = browser.get("/account/addresses").await.expect(200);
    assert_eq!(book.body.matches("<address>").count(), 1);
    let id =
        book.body.split_once("/account/addresses/addr_").and_then(|(_, rest)| rest.split_once('"')).expect("one").0;
    let id = format!("addr_{id}");
    browser.add(&mug, &sku, 1).await.expect(303);
    let page = browser.get("/checkout").await.expect(200);
    assert!(page.has(&id));
    let hidden = hidden_fields(&page);
    browser.post(&format!("/account/addresses/{id}/delete"), &[]).await.expect(303);
    let page = browser.post("/checkout", &with(checkout_fields(&hidden, GOOD_CARD), "address", &id)).await.expect(422);
    assert!(page.has("This address is no longer in your book.") && !page.has(&id), "{}", page.body);
    shop.stop().await;
}

#[tokio::test]
async fn a_refused_form_leads_back_to_its_page() {
    let shop = Shop::start().await;
    let (mug, sku) = shop.product("Harbour mug", PRICE, 5).await;
    let mut browser = Browser::new(&shop);
    browser.add(&mug, &sku, 1).await.expect(303);
    let page = browser.post("/cart/set", &[("sku", &sku), ("quantity", "0")]).await.expect(422);
    assert!(page.has("/sign-in?next=%2Fcart\"") && page.has("href=\"/zh/cart\"") && !page.has("cart/set\" lang"));
    // What is wrong with a sign-in does not lose the way back, in another language neither.
    browser.get("/sign-in").await.expect(200);
    let wrong = [("email", "nobody@shop.test"), ("password", "wrong password"), ("next", "/orders")];
    let page = browser.post("/sign-in", &wrong).await.expect(422);
    assert!(page.has("href=\"/zh/sign-in?next=%2Forders\""), "{}", page.body);
    // The form of a tab that was opened before the sign-in.
    let old = browser.clone();
    browser.sign_up().await;
    let mut tab = browser.clone();
    tab.csrf = old.csrf;
    tab.headers.push(("referer".into(), format!("{}/p/{mug}?sku={sku}", shop.url(""))));
    let fields = [("product", mug.as_str()), ("sku", sku.as_str()), ("quantity", "1")];
    let page = tab.post("/cart/add", &fields).await.expect(403);
    let link = format!("href=\"/p/{mug}?sku={sku}\">Load the page again");
    assert!(page.has(&link), "{}", page.body);
    tab.headers.pop();
    tab.headers.push(("referer".into(), "https://evil.example/p".into()));
    let page = tab.post("/cart/add", &fields).await.expect(403);
    assert!(page.has("href=\"/cart\">Load the page again") && !page.has("evil.example"));
    shop.stop().await;
}

#[tokio::test]
async fn addresses_that_look_like_another_host_stay_in_the_shop() {
    let shop = Shop::start().await;
    let mut browser = Browser::new(&shop);
    for path in ["//evil.example/x", "/zh//evil.example/x"] {
        let page = browser.get(path).await.expect(404);
        assert!(!page.has("//evil.example"), "{path}: {}", page.body);
    }
    let (mug, _) = shop.product("Harbour mug", PRICE, 5).await;
    browser.get(&format!("/p/{mug}&x")).await.expect(404);
    for path in ["/favicon.ico", "/robots.txt", "/nothing"] {
        assert_eq!(Browser::new(&shop).get(path).await.header("set-cookie"), "", "{path}");
    }
    assert!(Browser::new(&shop).get("/search?min=cheap").await.expect(200).has("Write prices as numbers"));
    assert!(!Browser::new(&shop).get("/search?min=1&max=20.50").await.expect(200).has("Write prices as numbers"));
    shop.stop().await;
}

#[tokio::test]
async fn a_brand_without_a_shelf_and_a_shelf_without_news_are_found() {
    let shop = Shop::start().await;
    let brand = shop.admin.post("/admin/v1/brands", json!({ "name": "Tidepool" })).await.expect(201).body;
    let brand = brand["brand"]["id"].as_str().expect("an id").to_owned();
    let body = json!({
        "title": "Loose mug", "status": "listed", "brand_id": brand,
        "variants": [{ "price": { "amount": 1_000, "currency": "CNY" }, "stock": 1 }],
    });
    let made = shop.admin.post("/admin/v1/products", body).await.expect(201).body;
    let path = format!("/p/{}", made["product"]["id"].as_str().expect("an id"));
    let mut browser = Browser::new(&shop);
    let link = format!("/search?brand={brand}");
    assert!(browser.get(&path).await.expect(200).has(&format!("href=\"{link}\"")));
    shows("the brand is found", async || browser.clone().get(&link).await.has("Loose mug")).await;
    shop.admin.post("/admin/v1/categories", json!({ "slug": "quiet", "name": "Quiet shelf" })).await.expect(201);
    let tile = "class=\"tile\" href=\"/c/quiet\"";
    shows("the department has its tile", async || Browser::new(&shop).get("/").await.has(tile)).await;
    shop.stop().await;
}

#[tokio::test]
async fn who_is_banned_can_still_sign_out() {
    let shop = Shop::start().await;
    let mut browser = Browser::new(&shop);
    let email = browser.sign_up().await;
    let users = shop.admin.get(&format!("/admin/v1/users?email={email}")).await.expect(200).body;
    let id = users["users"][0]["id"].as_str().expect("an id");
    let admin = shop.admin.post("/auth/v1/reauthenticate", json!({ "password": PASSWORD })).await.expect(200);
    let admin = shop.http.token(admin.body["access_token"].as_str().expect("a token"));
    let ban = json!({ "level": "all", "reason": "test" });
    admin.post(&format!("/admin/v1/users/{id}/ban"), ban).await.expect(200);
    shows("the ban holds", async || browser.clone().get("/account").await.status == 403).await;
    let page = browser.get("/account").await.expect(403);
    assert!(page.has("action=\"/sign-out\"") && page.has("This account has been suspended."), "{}", page.body);
    browser.post("/sign-out", &[]).await.expect(303);
    assert!(!browser.get("/").await.expect(200).has("Ada Lovelace"));
    shop.stop().await;
}

/// Does something to the calls of one method while it is switched on, and tells when there is one.
#[derive(Default)]
struct Meddle(Mutex<Option<(&'static str, FaultAction)>>, Notify);

impl Fault for Meddle {
    fn decide(&self, _: &str, method: &str) -> FaultAction {
        match *self.0.lock() {
            Some((meant, action)) if meant == method => {
                self.1.notify_one();
                action
            }
            _ => FaultAction::Pass,
        }
    }
}

async fn shop_meddled(settings: &[(&'static str, u64)]) -> (Shop, Arc<Meddle>) {
    let meddle = Arc::new(Meddle::default());
    let fault = meddle.clone();
    let shop = Shop::start_with(|mut start| {
        start.fault = Some(fault);
        for (key, value) in settings {
            start.config = start.config.set(key, *value);
        }
        start
    })
    .await;
    (shop, meddle)
}

#[tokio::test]
async fn a_guests_cart_that_could_not_be_merged_is_merged_later() {
    let (shop, meddle) = shop_meddled(&[]).await;
    let (mug, sku) = shop.product("Harbour mug", PRICE, 5).await;
    let email = Browser::new(&shop).sign_up().await;
    let mut browser = Browser::new(&shop);
    browser.add(&mug, &sku, 2).await.expect(303);
    *meddle.0.lock() = Some(("MergeCart", FaultAction::LoseRequest));
    browser.get("/sign-in").await;
    browser.post("/sign-in", &[("email", &email), ("password", PASSWORD)]).await.expect(303);
    assert!(browser.get("/cart").await.expect(200).has("Your cart is empty."));
    *meddle.0.lock() = None;
    let cart = browser.get("/cart").await.expect(200);
    assert!(cart.has("¥19.80") && cart.has("aria-label=\"1 in the cart\""), "{}", cart.body);
    // Once: it is not added again.
    assert!(browser.get("/cart").await.expect(200).has("¥19.80"));
    shop.check().await;
    shop.stop().await;
}

#[tokio::test]
async fn a_browser_that_leaves_while_tokens_are_renewed_stays_signed_in() {
    // Every page renews: tokens are over before the twenty seconds in which they are renewed early.
    let (shop, meddle) = shop_meddled(&[("identity.access_token_ttl_s", 19), ("web.session_days", 90)]).await;
    let mut browser = Browser::new(&shop);
    browser.sign_up().await;
    let page = browser.get("/account").await.expect(200);
    let cookie = page.header("set-cookie");
    assert!(cookie.contains("Max-Age=7776000") && cookie.contains(&browser.cookies["mallard_session"]), "{cookie}");
    *meddle.0.lock() = Some(("Refresh", FaultAction::Delay(Duration::from_millis(400))));
    let mut leaving = browser.clone();
    // The page waits for the renewal: the browser leaves as soon as that has begun.
    tokio::select! {
        biased;
        () = meddle.1.notified() => {}
        page = leaving.get("/account") => panic!("nothing was renewed: {page:?}"),
    }
    *meddle.0.lock() = None;
    for _ in 0..3 {
        browser.get("/account").await.expect(200);
    }
    shop.stop().await;
}

#[tokio::test]
async fn what_has_arrived_of_an_order_is_given_back_before_the_rest_is_sent() {
    let shop = Shop::start().await;
    let (mug, sku) = shop.product("Harbour mug", PRICE, 50).await;
    let mut browser = Browser::new(&shop);
    browser.sign_up().await;
    let id = buy(&mut browser, &mug, &sku, 3).await;
    shop.order_is(&id, "paid").await;
    let path = format!("/orders/{id}");
    let some = json!({ "carrier": "SF", "tracking_number": "SF1", "lines": [{ "sku_id": sku, "quantity": 2 }] });
    shop.admin.post(&format!("/admin/v1/orders/{id}/ship"), some).await.expect(200);
    assert!(browser.get(&path).await.expect(200).has("at most 2"));
    let units = format!("units-{sku}");
    let wish = |count, key| [(units.as_str(), count), ("reason", "chipped"), ("key", key)];
    browser.post(&format!("{path}/returns"), &wish("3", "web-three")).await.expect(422);
    browser.post(&format!("{path}/returns"), &wish("1", "web-one")).await.expect(303);
    assert!(browser.get(&path).await.expect(200).has("at most 1"));
    // What the shop agrees to take is counted once, also before its money is back.
    let asked = shop.admin.get("/admin/v1/returns?status=requested").await.expect(200).body["returns"].clone();
    let asked = asked[0]["id"].as_str().expect("a return").to_owned();
    shop.admin.key(&unique("approve")).post(&format!("/admin/v1/returns/{asked}/approve"), json!({})).await.expect(200);
    let page = browser.get(&path).await.expect(200);
    assert!(page.has("at most 1"), "{}", page.body);
    shop.check().await;
    shop.stop().await;
}
