//! The consoles as a black box: who gets in, what a form does once and only once, what two tabs do to each other, the password
//! before what is dangerous, and a page whose services are away.

#[path = "console/access.rs"]
mod access;
#[path = "console/forms.rs"]
mod forms;
#[path = "console/uploads.rs"]
mod uploads;

use std::collections::BTreeMap;
use std::sync::Arc;

use mallard_proto::identity::v1::CreateUserRequest;
use mallard_proto::identity::v1::identity_service_client::IdentityServiceClient;
use mallard_rpc::{Fault, FaultAction, ServiceChannel};
use mallard_testkit::as_system;
use mallard_tests::browser::{Browser, Page};
use mallard_tests::*;
use parking_lot::Mutex;
use serde_json::json;

const PRICE: i64 = 990;
const PNG: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, 0x49, 0x48, 0x44, 0x52, 0, 0, 0, 1, 0, 0, 0, 1, 8,
    6, 0, 0, 0, 0x1f, 0x15, 0xc4, 0x89, 0, 0, 0, 0x0d, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0xf8, 0xcf, 0xc0,
    0xf0, 0x1f, 0, 5, 0, 1, 0xff, 0x89, 0x99, 0x3d, 0x1d, 0, 0, 0, 0, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
];

/// Pages of the operators' console.
const OPERATOR: [&str; 19] = [
    "/operator",
    "/operator/live",
    "/operator/stock-alerts",
    "/operator/orders",
    "/operator/returns",
    "/operator/payments",
    "/operator/users",
    "/operator/policies",
    "/operator/roles",
    "/operator/allow-list",
    "/operator/keys",
    "/operator/audit",
    "/operator/system",
    "/operator/system/protection",
    "/operator/system/breakers",
    "/operator/system/flows",
    "/operator/system/dead-letters",
    "/operator/system/traces",
    "/operator/system/checks",
];
/// Pages of the sellers' console.
const SELLER: [&str; 5] = ["/seller", "/seller/products", "/seller/products/new", "/seller/stock", "/seller/orders"];

/// Signs an account in by the pages.
async fn enter(shop: &Shop, email: &str) -> Browser {
    let mut browser = Browser::new(shop);
    browser.get("/sign-in").await.expect(200);
    browser.post("/sign-in", &[("email", email), ("password", PASSWORD), ("next", "/account")]).await.expect(303);
    browser.get("/account").await.expect(200);
    browser
}

async fn operator(shop: &Shop) -> Browser {
    enter(shop, ADMIN).await
}

/// Makes the account of a seller and signs it in.
async fn seller(shop: &Shop, seller_id: &str) -> Browser {
    let email = format!("{}@shop.test", unique("seller"));
    let mut identity: IdentityServiceClient<ServiceChannel> = shop.mall.client();
    let request = CreateUserRequest {
        email: email.clone(),
        password: PASSWORD.into(),
        name: "Grace".into(),
        language: "en".into(),
        roles: vec!["user".into(), "seller".into()],
        seller_id: seller_id.into(),
    };
    as_system(identity.create_user(request)).await.expect("the seller is made");
    enter(shop, &email).await
}

/// Makes a draft with two variants by the form; returns its path.
async fn draft(browser: &mut Browser, title: &str) -> String {
    let page = browser.get("/seller/products/new").await.expect(200);
    let key = page.hidden("key");
    let fields = [
        ("key", key.as_str()),
        ("title", title),
        ("title_zh", "港口马克杯"),
        ("description", "For the morning."),
        ("currency", "CNY"),
        ("option0", "Colour"),
        ("option1", ""),
        ("variants[0].o0", "Ink"),
        ("variants[0].price", "9.90"),
        ("variants[0].stock", "5"),
        ("variants[1].o0", "Oat"),
        ("variants[1].price", "12"),
        ("variants[1].stock", "0"),
        ("variants[2].o0", ""),
        ("variants[2].price", ""),
    ];
    let made = browser.post("/seller/products/new", &fields).await.expect(303);
    // The same form again makes nothing more.
    let again = browser.post("/seller/products/new", &fields).await.expect(303);
    assert_eq!(made.location, again.location);
    made.location.split('?').next().expect("a path").to_owned()
}

fn id_of(path: &str) -> &str {
    path.rsplit('/').next().expect("an id")
}

/// Returns the hidden value of one form of a page, found by the form's address.
fn hidden_of(page: &Page, action: &str, name: &str) -> String {
    let form = page.body.split("<form").find(|form| form.contains(&format!("action=\"{action}\"")));
    let form = form.unwrap_or_else(|| panic!("no form {action}: {}", page.body));
    Page { body: form.to_owned(), ..page.clone() }.hidden(name)
}

/// Writes a form with a file, and its type.
fn multipart(browser: &Browser, fields: &[(&str, &str)], file: &[u8]) -> (String, Vec<u8>) {
    const END: &str = "--------mallard";
    let mut body = Vec::new();
    let csrf = ("_csrf", browser.csrf.as_str());
    for (name, value) in std::iter::once(&csrf).chain(fields) {
        body.extend_from_slice(
            format!("--{END}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").as_bytes(),
        );
    }
    let head = "Content-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\nContent-Type: image/png";
    body.extend_from_slice(format!("--{END}\r\n{head}\r\n\r\n").as_bytes());
    body.extend_from_slice(file);
    body.extend_from_slice(format!("\r\n--{END}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={END}"), body)
}

fn cookies(browser: &Browser) -> String {
    let cookies: Vec<String> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    cookies.join("; ")
}

/// Sends a form with a file; returns status and page.
async fn sent(shop: &Shop, browser: &Browser, path: &str, fields: &[(&str, &str)], file: &[u8]) -> (u16, String) {
    let (kind, body) = multipart(browser, fields, file);
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let request = client
        .post(shop.url(path))
        .header("accept", "text/html")
        .header("accept-language", "en")
        .header("cookie", cookies(browser))
        .header("content-type", kind)
        .body(body);
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a page"))
}

async fn upload(shop: &Shop, browser: &Browser, path: &str, fields: &[(&str, &str)], file: &[u8]) -> u16 {
    sent(shop, browser, path, fields, file).await.0
}

#[tokio::test]
async fn only_who_may_gets_in_and_everybody_else_is_told_so() {
    let shop = Shop::start().await;
    let mut nobody = Browser::new(&shop);
    for path in OPERATOR.iter().chain(&SELLER) {
        // Parts of a page say so where they stand.
        if *path != "/operator/live" {
            let sent = nobody.get(path).await.expect(303).location;
            assert!(sent.starts_with("/sign-in?next=%2F"), "{path}: {sent}");
        }
    }
    for path in ["/operator/live", "/operator/live?part=funnel", "/operator/system/checks?part=1"] {
        assert!(nobody.get(path).await.expect(200).has("You are signed out."), "{path}");
    }
    let mut shopper = Browser::new(&shop);
    shopper.sign_up().await;
    let parts = ["/operator/stock-alerts?part=1", "/operator/live?part=sales", "/operator/system/checks?part=1"];
    for path in OPERATOR.iter().chain(&SELLER).chain(&parts) {
        let page = shopper.get(path).await.expect(403);
        assert!(page.has("You may not do this."), "{path}");
    }
    shopper.post("/operator/policies", &[("role", "user"), ("path", "/admin/v1/*")]).await.expect(403);
    let mut grace = seller(&shop, "sel_grace").await;
    for path in SELLER {
        grace.get(path).await.expect(200);
    }
    for path in OPERATOR.iter().chain(&parts) {
        grace.get(path).await.expect(403);
    }
    let mut admin = operator(&shop).await;
    for path in OPERATOR {
        let page = admin.get(path).await.expect(200);
        assert!(!page.has(" style=\"") && !page.has("<style") && !page.has(" onclick="), "{path}");
    }
    // An operator who acts for no seller has nothing to see there.
    admin.get("/seller").await.expect(403);
    assert_eq!(admin.get("/operator/nothing").await.status, 404);
    assert_eq!(admin.get("/operator/orders/ord_nothing").await.status, 404);
    assert_eq!(admin.get("/operator/users/usr_nothing").await.status, 404);
    assert_eq!(admin.get("/operator/keys/rotate").await.status, 404);
    assert_eq!(admin.get("/operator/users/usr_1/ban").await.header("allow"), "POST");
    shop.stop().await;
}

#[tokio::test]
async fn an_order_is_found_shipped_and_refunded_once_however_often_the_form_is_sent() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Harbour mug", PRICE, 5).await;
    let ada = shop.shopper().await;
    let order = ada.buy(&sku, 2, PRICE * 2).await;
    let (id, number) = (text(&order["id"]), text(&order["number"]));
    let mut admin = operator(&shop).await;
    let found = admin.get(&format!("/operator/orders?number={number}")).await.expect(200);
    assert!(found.has(&number) && found.has(&format!("/operator/orders/{id}")));
    assert!(admin.get("/operator/orders?number=nothing").await.expect(200).has("No orders match."));

    let path = format!("/operator/orders/{id}");
    let page = admin.get(&path).await.expect(200);
    let refund = format!("{path}/refund");
    let (version, key) = (hidden_of(&page, &refund, "version"), hidden_of(&page, &refund, "key"));
    let with = |amount: &'static str, reason: &'static str| {
        [
            ("version", version.clone()),
            ("key", key.clone()),
            ("currency", "CNY".into()),
            ("amount", amount.into()),
            ("reason", reason.into()),
        ]
    };
    let send = async |admin: &mut Browser, fields: &[(&str, String)]| {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        admin.post(&refund, &fields).await
    };
    // What is wrong stands beside its field, and what was typed stays.
    let refused = send(&mut admin, &with("3.00", "")).await.expect(422);
    assert!(refused.has("id=\"e-reason\"") && refused.has("value=\"3.00\""), "{}", refused.body);
    let refused = send(&mut admin, &with("free", "late")).await.expect(422);
    assert!(refused.has("id=\"e-amount\""), "{}", refused.body);
    let refused = send(&mut admin, &with("99.00", "late")).await.expect(422);
    assert!(refused.has("More than can still be given back."), "{}", refused.body);
    let both =
        futures_util::future::join(async { send(&mut admin.clone(), &with("3.00", "late")).await.status }, async {
            send(&mut admin.clone(), &with("3.00", "late")).await.status
        });
    let (one, other) = both.await;
    assert!(one == 303 || other == 303, "{one} {other}");
    send(&mut admin, &with("3.00", "late")).await.expect(303);
    let refunded = shop.order(&id).await;
    assert_eq!(refunded["refunded"]["amount"], 300, "{refunded}");

    // The page that was open meanwhile does not ship what it has not seen.
    let stale =
        [("version", version.as_str()), ("carrier", "SF"), ("tracking_number", "SF1"), (&*format!("ship.{sku}"), "2")];
    let refused = admin.post(&format!("{path}/ship"), &stale).await.expect(409);
    assert!(refused.has("It was changed after you opened this page"), "{}", refused.body);
    let page = admin.get(&path).await.expect(200);
    let version = hidden_of(&page, &format!("{path}/ship"), "version");
    let fresh =
        [("version", version.as_str()), ("carrier", "SF"), ("tracking_number", "SF1"), (&*format!("ship.{sku}"), "2")];
    admin.post(&format!("{path}/ship"), &fresh).await.expect(303);
    shop.order_is(&id, "shipped").await;
    let page = admin.get(&format!("{path}?done=shipped")).await.expect(200);
    assert!(page.has("SF SF1") && page.has("Shipped."));
    let version = hidden_of(&page, &format!("{path}/deliver"), "version");
    admin.post(&format!("{path}/deliver"), &[("version", &version)]).await.expect(303);
    shop.order_is(&id, "delivered").await;
    shop.check().await;
    shop.stop().await;
}

#[tokio::test]
async fn methods_of_payment_and_tiers_are_words_of_both_languages() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Harbour mug", PRICE, 5).await;
    shop.shopper().await.buy(&sku, 1, PRICE).await;
    let mut admin = operator(&shop).await;
    for (page, english, chinese, raw) in [
        ("/operator/payments", "Card", "银行卡", &["card", "later", "external"][..]),
        (
            "/operator/system/protection",
            "Placing and paying orders",
            "下单与支付",
            &["pay", "order", "cart", "browse"][..],
        ),
    ] {
        for (language, words) in [("en", english), ("zh", chinese)] {
            let shown = admin.get(&format!("/{language}{page}")).await.expect(200);
            assert!(shown.has(words), "{language} {page}: {}", shown.body);
            for name in raw {
                assert!(!shown.has(&format!(">{name}<")), "{language} {page} says {name}: {}", shown.body);
            }
        }
    }
    shop.stop().await;
}

#[tokio::test]
async fn a_product_goes_from_a_form_to_the_shelf_and_two_tabs_do_not_overwrite_each_other() {
    let shop = Shop::start().await;
    let mut grace = seller(&shop, "sel_grace").await;
    // Everything that is wrong is said beside its field, with what was typed.
    let page = grace.get("/seller/products/new").await.expect(200);
    let key = page.hidden("key");
    let bad =
        [("key", key.as_str()), ("title", "Mug"), ("currency", "CNY"), ("option0", ""), ("variants[0].price", "dear")];
    let refused = grace.post("/seller/products/new", &bad).await.expect(422);
    assert!(refused.has("id=\"e-variants[0].price\"") && refused.has("value=\"dear\""), "{}", refused.body);
    let more = grace
        .post("/seller/products/new", &[("title", "Mug"), ("variants[0].price", "1"), ("more", "1")])
        .await
        .expect(200);
    assert!(more.has("name=\"variants[3].price\"") && more.has("value=\"Mug\""));

    let path = draft(&mut grace, "Harbour mug").await;
    let id = id_of(&path).to_owned();
    let mut shopper = Browser::new(&shop);
    shopper.get(&format!("/p/{id}")).await.expect(404);
    let page = grace.get(&path).await.expect(200);
    assert!(page.has("Draft") && page.has("value=\"港口马克杯\"") && page.has("value=\"9.90\""), "{}", page.body);

    // A picture: too large, none, then one.
    let version = hidden_of(&page, &format!("{path}/pictures/add"), "version");
    let add = format!("{path}/pictures/add");
    let fields = [("version", version.as_str()), ("alt", "A mug")];
    assert_eq!(upload(&shop, &grace, &add, &fields, &vec![0; 2 * 1024 * 1024 + 1]).await, 422);
    assert_eq!(upload(&shop, &grace, &add, &fields, &vec![0; 9 * 1024 * 1024]).await, 422);
    assert_eq!(upload(&shop, &grace, &add, &fields, b"no picture").await, 422);
    assert_eq!(upload(&shop, &grace, &add, &fields, PNG).await, 303);
    // Nobody's upload is refused before it is read.
    assert_ne!(upload(&shop, &Browser::new(&shop), &add, &fields, PNG).await, 200);

    let page = grace.get(&path).await.expect(200);
    assert!(page.has("alt=\"A mug\""), "{}", page.body);
    let version = hidden_of(&page, &format!("{path}/list"), "version");
    grace.post(&format!("{path}/list"), &[("version", &version)]).await.expect(303);
    shows("the product is in the shop", async || shopper.clone().get(&format!("/p/{id}")).await.status == 200).await;

    // Two tabs: the second to save is told, and nothing of the first is lost.
    let tab = grace.get(&path).await.expect(200);
    let version = hidden_of(&tab, &path, "version");
    let texts = |title: &'static str| {
        [
            ("version", version.clone()),
            ("title", title.into()),
            ("title_zh", "杯".into()),
            ("description", String::new()),
        ]
    };
    let save = async |grace: &mut Browser, title| {
        let fields = texts(title);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        grace.post(&path, &fields).await
    };
    save(&mut grace, "First tab").await.expect(303);
    for _ in 0..2 {
        let refused = save(&mut grace, "Second tab").await.expect(409);
        assert!(refused.has("value=\"Second tab\"") && refused.has("Load it as it is now"), "{}", refused.body);
    }
    assert!(grace.get(&path).await.expect(200).has("value=\"First tab\""));

    // Variants: one changed, one gone, one new; the first keeps its SKU.
    let page = grace.get(&path).await.expect(200);
    let version = hidden_of(&page, &format!("{path}/variants"), "version");
    let (first, second) = (page.hidden("variants[0].id"), page.hidden("variants[1].id"));
    let fields = [
        ("version", version.as_str()),
        ("option0", "Colour"),
        ("option1", ""),
        ("variants[0].id", &first),
        ("variants[0].o0", "Ink"),
        ("variants[0].price", "10.50"),
        ("variants[1].id", &second),
        ("variants[1].o0", "Oat"),
        ("variants[1].price", "12.00"),
        ("variants[1].gone", "1"),
        ("variants[2].o0", "Moss"),
        ("variants[2].price", "11"),
        ("variants[2].stock", "3"),
    ];
    grace.post(&format!("{path}/variants"), &fields).await.expect(303);
    let product = shop.admin.get(&format!("/admin/v1/products/{id}")).await.expect(200).body["product"].clone();
    let variants: Vec<(String, i64)> = product["variants"]
        .as_array()
        .expect("variants")
        .iter()
        .map(|variant| (text(&variant["options"]["Colour"]), variant["price"]["amount"].as_i64().expect("an amount")))
        .collect();
    assert_eq!(variants, [("Ink".to_owned(), 1_050), ("Moss".to_owned(), 1_100)]);
    assert_eq!(text(&product["variants"][0]["id"]), first);

    // Stock by hand, once however often the form is sent.
    let stock = format!("/seller/stock/{first}");
    let page = grace.get(&stock).await.expect(200);
    let key = page.hidden("key");
    let refused = grace.post(&stock, &[("key", &key), ("delta", "0"), ("reason", "count")]).await.expect(422);
    assert!(refused.has("id=\"e-delta\""));
    let refused = grace.post(&stock, &[("key", &key), ("delta", "-50"), ("reason", "count")]).await.expect(422);
    assert!(refused.has("Fewer would be left"), "{}", refused.body);
    for _ in 0..2 {
        grace.post(&stock, &[("key", &key), ("delta", "7"), ("reason", "count")]).await.expect(303);
    }
    shop.stock_is(&first, 12, 0).await;

    // Another seller sees nothing of it.
    let mut other = seller(&shop, "sel_other").await;
    other.get(&path).await.expect(404);
    other.get(&stock).await.expect(404);
    other.post(&format!("{path}/delist"), &[]).await.expect(404);
    assert!(!other.get("/seller/products").await.expect(200).has(&id));
    shop.stop().await;
}

#[tokio::test]
async fn what_is_dangerous_asks_for_the_password_and_keeps_what_was_typed() {
    let shop = Shop::start_with(|mut settings| {
        settings.config = settings.config.set("gateway.trust_s", 1).set("identity.trust_s", 1);
        settings
    })
    .await;
    let mut admin = operator(&shop).await;
    admin.get("/operator/policies").await.expect(200);
    let fields = [
        ("role", "clerk@sel_1"),
        ("effect", "deny"),
        ("path", "/admin/v1/keys & <b>"),
        ("method", "*"),
        ("domain", "*"),
        ("note", "why \"not\""),
    ];
    let mut asked = admin.post("/operator/policies", &fields).await;
    while asked.status != 403 {
        // The password of the sign-in is fresh for a second.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        asked = admin.post("/operator/policies", &fields).await;
    }
    assert!(asked.has("Your password, please") && asked.has("action=\"/operator/policies\""), "{}", asked.body);
    assert!(!asked.has("<b>"), "what was typed is text");
    assert_eq!(asked.hidden("role"), "clerk@sel_1");
    let mut again = fields.to_vec();
    again.push(("_password", "not it"));
    let wrong = admin.post("/operator/policies", &again).await.expect(422);
    assert!(wrong.has("The password is not right.") && !wrong.has("not it"), "{}", wrong.body);

    // The right one goes on, once, with everything that was typed.
    let good = [
        ("role", "user"),
        ("effect", "deny"),
        ("path", "/store/v1/orders"),
        ("method", "GET"),
        ("domain", "*"),
        ("note", "closed"),
        ("_password", PASSWORD),
    ];
    let mut made = admin.post("/operator/policies", &good).await;
    for _ in 0..30 {
        // It was fresh for a second, which a busy machine may sleep through: then it is asked for again.
        if made.status != 403 {
            break;
        }
        made = admin.post("/operator/policies", &good).await;
    }
    assert_eq!(made.expect(303).location, "/operator/policies?done=created");
    let ada = shop.shopper().await;
    assert_eq!(ada.http.get("/store/v1/orders").await.status, 403);
    let page = admin.get("/operator/policies?path=/store/v1/orders&roles=user").await.expect(200);
    assert!(page.has("Refused: by rule deny GET /store/v1/orders (user)"), "{}", page.body);
    let delete = page
        .body
        .split("action=\"")
        .find(|rest| rest.starts_with("/operator/policies/pol_") && page.has("/store/v1/orders"));
    assert!(delete.is_some());
    shop.stop().await;
}

#[tokio::test]
async fn a_ban_and_a_kick_hold_at_once_and_an_unban_lets_in_again() {
    let shop = Shop::start().await;
    let mut ada = Browser::new(&shop);
    let email = ada.sign_up().await;
    let mut admin = operator(&shop).await;
    let found = admin.get(&format!("/operator/users?q={}", email.replace('@', "%40"))).await.expect(200);
    let id = found.body.split("/operator/users/").find(|rest| rest.starts_with("usr_")).expect("the account");
    let id = id.split('"').next().expect("an id").to_owned();
    let path = format!("/operator/users/{id}");
    assert!(admin.get(&path).await.expect(200).has(&email));
    let refused = admin
        .post(&format!("{path}/ban"), &[("level", "login"), ("until", "2020-01-01T00:00"), ("reason", "x")])
        .await
        .expect(422);
    assert!(refused.has("id=\"e-until\"") && refused.has("The ban must end in the future."), "{}", refused.body);
    let refused =
        admin.post(&format!("{path}/ban"), &[("level", "login"), ("until", "soon"), ("reason", "x")]).await.expect(422);
    assert!(refused.has("id=\"e-until\""));
    let refused =
        admin.post(&format!("{path}/ban"), &[("level", "all"), ("until", ""), ("reason", " ")]).await.expect(422);
    assert!(refused.has("id=\"e-reason\"") && refused.has("This is needed."), "{}", refused.body);
    admin.post(&format!("{path}/ban"), &[("level", "all"), ("until", ""), ("reason", "chargebacks")]).await.expect(303);
    assert_ne!(ada.get("/orders").await.status, 200);
    assert!(admin.get(&path).await.expect(200).has("chargebacks"));
    assert!(admin.get("/operator/users?banned=1").await.expect(200).has(&email));
    admin.post(&format!("{path}/unban"), &[]).await.expect(303);
    shows("the account is let in again", async || ada.clone().get("/orders").await.status == 200).await;
    admin.post(&format!("{path}/kick"), &[]).await.expect(303);
    assert!(ada.get("/orders").await.expect(303).location.starts_with("/sign-in"));
    assert!(admin.get(&format!("/operator/audit?target={id}")).await.expect(200).has("user.ban"));
    shop.stop().await;
}

#[tokio::test]
async fn the_books_are_checked_on_request_and_the_page_says_how_far_it_is() {
    let shop = Shop::start().await;
    let mut admin = operator(&shop).await;
    let page = admin.get("/operator/system/checks").await.expect(200);
    assert!(page.has("Not run since this process started."));
    admin.post("/operator/system/checks", &[]).await.expect(303);
    // Only ends a test that hangs.
    for _ in 0..6_000 {
        let page = admin.get("/operator/system/checks").await.expect(200);
        if page.has("Everything balances") {
            assert!(page.has("stock.") && !page.has("hx-trigger=\"every"), "{}", page.body);
            shop.stop().await;
            return;
        }
        assert!(page.has("Running for") && page.has("http-equiv=\"refresh\""), "{}", page.body);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the checks never ended");
}

/// Counts the calls of the pages and closes services.
#[derive(Default)]
struct Watch {
    calls: Mutex<BTreeMap<(String, String), u32>>,
    closed: Mutex<Vec<&'static str>>,
    /// Methods that do their work and whose answers are lost.
    silent: Mutex<Vec<&'static str>>,
}

impl Fault for Watch {
    fn decide(&self, service: &str, method: &str) -> FaultAction {
        *self.calls.lock().entry((service.to_owned(), method.to_owned())).or_default() += 1;
        match () {
            () if self.closed.lock().contains(&service) => FaultAction::LoseRequest,
            () if self.silent.lock().contains(&method) => FaultAction::LoseReply,
            () => FaultAction::Pass,
        }
    }
}

impl Watch {
    /// Forgets what was counted and returns the calls a page made. What the door, the gateway and the services ask of each other
    /// is theirs.
    fn take(&self) -> BTreeMap<(String, String), u32> {
        const ASIDE: [&str; 21] = [
            "ListRevocations",
            "ListStandings",
            "GetAccess",
            "GetKeys",
            "TouchSessions",
            "Deliver",
            "RunChecks",
            "ListFlows",
            "ListBreakers",
            "ListSlowCalls",
            "ListDeadLetters",
            "ListBestSellers",
            "CountVisits",
            "Touch",
            "Record",
            "AppendAudit",
            // What flows ask, and insight when it starts, comes when the machine gets round to it.
            "RemoveOrdered",
            "Confirm",
            "Release",
            "ResolvePayment",
            "ScanOrders",
        ];
        let calls = std::mem::take(&mut *self.calls.lock());
        // What the gateway asks each service about its workings has the names of what it is asked itself: a page of these makes
        // one such call.
        calls.into_iter().filter(|((_, method), _)| !ASIDE.contains(&method.as_str())).collect()
    }
}

async fn watched() -> (Shop, Arc<Watch>) {
    let watch = Arc::new(Watch::default());
    let fault: Arc<dyn Fault> = watch.clone();
    let shop = Shop::start_with(|mut settings| {
        settings.fault = Some(fault);
        settings.config = settings.config.set("web.catalogue_ms", 0);
        settings
    })
    .await;
    (shop, watch)
}

#[tokio::test]
async fn no_page_of_the_consoles_asks_others_more_than_three_times() {
    let (shop, watch) = watched().await;
    let mut grace = seller(&shop, "sel_grace").await;
    let path = draft(&mut grace, "Harbour mug").await;
    let page = grace.get(&path).await.expect(200);
    let sku = page.hidden("variants[0].id");
    let version = hidden_of(&page, &format!("{path}/list"), "version");
    grace.post(&format!("{path}/list"), &[("version", &version)]).await.expect(303);
    let ada = shop.shopper().await;
    let order = text(&ada.buy(&sku, 1, PRICE).await["id"]);
    let mut admin = operator(&shop).await;
    let mut pages: Vec<(bool, String)> = OPERATOR.iter().map(|path| (true, (*path).to_owned())).collect();
    pages.extend([(true, format!("/operator/orders/{order}")), (true, format!("/operator/users/{}", ada.id))]);
    pages.extend(SELLER.iter().map(|path| (false, (*path).to_owned())));
    pages.extend([(false, path), (false, format!("/seller/stock/{sku}")), (false, format!("/seller/orders/{order}"))]);
    for (is_operator, path) in pages {
        let browser = if is_operator { &mut admin } else { &mut grace };
        watch.take();
        browser.get(&path).await.expect(200);
        let calls = watch.take();
        // The stock asks the catalogue whose a SKU is; that is its own question.
        let own = calls.iter().filter(|((service, method), _)| {
            !(path.starts_with("/seller/stock/") && service == "catalog" && method == "BatchGetSkus")
        });
        let count: u32 = own.map(|(_, count)| count).sum();
        assert!(count <= 3, "{path} made {count} calls: {calls:?}");
    }
    shop.stop().await;
}

#[tokio::test]
async fn a_service_that_is_away_leaves_the_rest_of_a_page_standing() {
    let (shop, watch) = watched().await;
    let mut grace = seller(&shop, "sel_grace").await;
    let path = draft(&mut grace, "Harbour mug").await;
    let sku = grace.get(&path).await.expect(200).hidden("variants[0].id");
    let (_, bought) = shop.product("Harbour lamp", PRICE, 5).await;
    let order = text(&shop.shopper().await.buy(&bought, 1, PRICE).await["id"]);
    let mut admin = operator(&shop).await;
    const AWAY: &str = "Not available now";
    for (service, page, stands) in [
        ("insight", "/operator", "All orders"),
        ("insight", "/seller", "Orders to ship"),
        ("order", "/seller", "Your sales"),
        ("order", "/operator/orders", "Order number"),
        ("order", "/operator/returns", "Returns"),
        ("payment", "/operator/payments", "Order id"),
        ("inventory", "/operator/stock-alerts", "Little left"),
        ("inventory", &format!("/seller/stock/{sku}"), "Harbour mug"),
        ("gateway", "/operator/system", "Services"),
        ("gateway", "/operator/system/traces", "Slow requests"),
        ("catalog", "/seller/products", "New product"),
    ] {
        let browser = if page.starts_with("/seller") { &mut grace } else { &mut admin };
        assert!(!browser.get(page).await.expect(200).has(AWAY), "{page} before {service} is closed");
        *watch.closed.lock() = vec![service];
        let shown = browser.get(page).await;
        *watch.closed.lock() = Vec::new();
        assert_eq!(shown.status, 200, "{page} without {service}: {}", shown.body);
        assert!(shown.has(AWAY) && shown.has(stands), "{page} without {service}: {}", shown.body);
    }
    // A product without its stock is a product; a form whose service is away says that nobody knows, and keeps its key.
    *watch.closed.lock() = vec!["inventory"];
    assert!(grace.get(&path).await.expect(200).has("Harbour mug"));
    *watch.closed.lock() = Vec::new();
    let stock = format!("/seller/stock/{sku}");
    let key = grace.get(&stock).await.expect(200).hidden("key");
    *watch.closed.lock() = vec!["inventory"];
    let unknown = grace.post(&stock, &[("key", &key), ("delta", "1"), ("reason", "count")]).await.expect(503);
    assert!(unknown.has("we do not know whether it was done") && unknown.hidden("key") == key, "{}", unknown.body);
    *watch.closed.lock() = Vec::new();
    grace.post(&stock, &[("key", &key), ("delta", "1"), ("reason", "count")]).await.expect(303);
    shop.stock_is(&sku, 6, 0).await;
    // A page that is about one thing is closed with it.
    *watch.closed.lock() = vec!["order"];
    admin.get(&format!("/operator/orders/{order}")).await.expect(503);
    *watch.closed.lock() = Vec::new();
    shop.stop().await;
}

#[tokio::test]
async fn an_account_that_the_policies_let_see_a_part_sees_that_part() {
    let shop = Shop::start().await;
    let clerk = json!({ "name": "clerk", "inherits": ["user"] });
    shop.admin.put("/admin/v1/roles/clerk", clerk).await.expect(200);
    for path in ["/admin/v1/orders", "/admin/v1/orders/*"] {
        let rule = json!({ "role": "clerk", "path": path, "method": "GET" });
        shop.admin.post("/admin/v1/policies", rule).await.expect(201);
    }
    let clerk = shop.user_with(&["user", "clerk"]).await;
    let (_, sku) = shop.product("Harbour mug", PRICE, 5).await;
    let order = shop.shopper().await.buy(&sku, 1, PRICE).await;
    let mut browser = enter(&shop, &clerk.email).await;
    let page = browser.get("/operator/orders").await.expect(200);
    assert!(page.has(&text(&order["number"])));
    let page = browser.get("/operator").await.expect(200);
    assert!(page.has("Not for your account"), "{}", page.body);
    browser.get("/operator/users").await.expect(403);
    let path = format!("/operator/orders/{}", text(&order["id"]));
    let page = browser.get(&path).await.expect(200);
    let version = hidden_of(&page, &format!("{path}/ship"), "version");
    let ship = [("version", version.as_str()), ("carrier", "SF"), (&*format!("ship.{sku}"), "1")];
    browser.post(&format!("{path}/ship"), &ship).await.expect(403);
    shop.order_is(&text(&order["id"]), "paid").await;
    shop.stop().await;
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
