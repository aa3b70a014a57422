//! What shoppers find on the pages beside the purchase: best sellers, returns, passwords, coupons, pictures, bans; and the pages
//! that many visitors share.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mallard_testkit::eventually;
use mallard_tests::browser::{Browser, Page, checkout_fields, hidden_fields};
use mallard_tests::*;
use serde_json::json;

const PRICE: i64 = 990;

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
    let placed = browser.post("/checkout", &checkout_fields(&hidden, GOOD_CARD)).await.expect(303);
    let path = placed.location.split('?').next().unwrap_or_default();
    path.strip_prefix("/checkout/result/").expect("the way to a result").to_owned()
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
    assert!(page.has("Give something back") && page.has("at most 3"));
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
    within_a_second("the other device is signed out", async || other.clone().get("/account").await.status == 303).await;
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
    within_a_second("the ban holds", async || {
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
async fn pages_that_are_shared_show_nothing_of_anybody_and_are_fresh_within_a_second() {
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
    within_a_second("the new price shows", async || Browser::new(&shop).get(&path).await.has("¥12.90")).await;
    shop.admin.post(&format!("/admin/v1/products/{mug}/delist"), json!({})).await.expect(200);
    within_a_second("it is gone", async || Browser::new(&shop).get(&path).await.status == 404).await;
    shop.stop().await;
}
