//! Scenarios 1 to 11, 14 and 15: accounts, sessions, tokens, address books, and what operators do with accounts.
//!
//! Scenario 5 (return to the page that asked for the login) belongs to the storefront, 12 and 13 to policies.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use mallard_proto::cart::v1::GetLinesRequest;
use mallard_proto::cart::v1::cart_service_client::CartServiceClient;
use mallard_proto::identity::v1::GetAddressRequest;
use mallard_proto::identity::v1::identity_service_client::IdentityServiceClient;
use mallard_proto::order::v1::order_service_client::OrderServiceClient;
use mallard_proto::order::v1::{GetOrderRequest, ListOrdersRequest};
use mallard_rpc::ServiceChannel;
use mallard_runtime::{Settings, Storage};
use mallard_testkit::{Answer, Http, as_guest, as_user, eventually};
use mallard_tests::*;
use serde_json::{Value, json};

/// Starts a shop and tells where its data is.
async fn shop_in_a_folder() -> (Shop, PathBuf) {
    let mut folder = PathBuf::new();
    let shop = Shop::start_with(|settings| {
        if let Storage::Folder(path) = &settings.storage {
            folder.clone_from(path);
        }
        settings
    })
    .await;
    (shop, folder)
}

fn with(key: &'static str, value: i64) -> impl FnOnce(Settings) -> Settings {
    move |mut settings| {
        settings.config = settings.config.set(key, value);
        settings
    }
}

/// Reads every byte below a folder.
fn bytes_below(folder: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder of the shop") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => bytes.extend(bytes_below(&path)),
            // A file may go away between the look and the read.
            false => bytes.extend(std::fs::read(&path).unwrap_or_default()),
        }
    }
    bytes
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn param(answer: &Answer) -> &str {
    answer.body["error"]["param"].as_str().unwrap_or("")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

async fn me(http: &Http) -> u16 {
    http.get("/store/v1/me").await.status
}

async fn refresh(shop: &Shop, token: &Value) -> Answer {
    shop.http.post("/auth/v1/refresh", json!({ "refresh_token": token })).await
}

async fn verify(shop: &Shop, token: &str) -> Value {
    shop.http.post("/auth/v1/verify", json!({ "token": token })).await.expect(200).body
}

async fn known(shop: &Shop, email: &str) -> Vec<Value> {
    let answer = shop.admin.get(&format!("/admin/v1/users?email={email}")).await.expect(200).body;
    answer["users"].as_array().expect("a list").clone()
}

// Scenarios 1 to 4: register.

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_is_signed_in_at_once_and_the_password_is_kept_only_as_a_slow_salted_hash() {
    let (shop, folder) = shop_in_a_folder().await;
    let password = "tulip-anvil-3391-harbour";
    let form = json!({ "email": "ada@shop.test", "password": password, "password_confirmation": password,
                       "name": "Ada King-Lovelace", "language": "zh-CN" });
    let answer = shop.http.post("/auth/v1/register", form).await.expect(201).body;
    let user = &answer["user"];
    assert!(text(&user["id"]).starts_with("usr_"));
    assert_eq!((&user["email"], &user["name"]), (&json!("ada@shop.test"), &json!("Ada King-Lovelace")));
    assert_eq!((&user["language"], &user["roles"]), (&json!("zh-CN"), &json!(["user"])));
    assert_eq!(user["status"], "active");
    assert!(text(&user["created_at"]).ends_with('Z'));
    let tokens = &answer["tokens"];
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(900)));
    assert_ne!(tokens["access_token"], tokens["refresh_token"]);
    assert!(!answer.to_string().contains(password) && !answer.to_string().contains("argon2"));

    let mine = shop.http.token(&text(&tokens["access_token"])).get("/store/v1/me").await.expect(200).body;
    assert_eq!(mine["user"]["id"], user["id"]);
    let bytes = bytes_below(&folder);
    assert!(!holds(&bytes, password));
    assert!(holds(&bytes, "$argon2id$"));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_different_passwords_are_refused_and_no_user_is_made() {
    let shop = Shop::start().await;
    let mut form = json!({ "email": "ada@shop.test", "password": PASSWORD, "password_confirmation": "something else" });
    let refused = shop.http.post("/auth/v1/register", form.clone()).await.expect(400);
    assert_eq!((refused.code(), param(&refused)), ("password_mismatch", "password_confirmation"));
    assert!(known(&shop, "ada@shop.test").await.is_empty());
    shop.login("ada@shop.test", PASSWORD).await.expect(401);
    form["password_confirmation"] = json!(PASSWORD);
    shop.http.post("/auth/v1/register", form).await.expect(201);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_email_or_password_is_refused_naming_the_field() {
    let shop = Shop::start().await;
    let (long, long_email) = ("x".repeat(2_000), format!("{}@shop.test", "x".repeat(300)));
    let cases = [
        (json!({ "password": PASSWORD }), "email"),
        (json!({ "email": "ada@shop.test" }), "password"),
        (json!({ "email": "", "password": PASSWORD }), "email"),
        (json!({ "email": "ada", "password": PASSWORD }), "email"),
        (json!({ "email": "ada@", "password": PASSWORD }), "email"),
        (json!({ "email": "@shop.test", "password": PASSWORD }), "email"),
        (json!({ "email": "ada@shop", "password": PASSWORD }), "email"),
        (json!({ "email": "a da@shop.test", "password": PASSWORD }), "email"),
        (json!({ "email": "ada@shop.test\r\nBcc: eve@shop.test", "password": PASSWORD }), "email"),
        (json!({ "email": long_email, "password": PASSWORD }), "email"),
        (json!({ "email": 7, "password": PASSWORD }), "email"),
        (json!({ "email": "ada@shop.test", "password": "" }), "password"),
        (json!({ "email": "ada@shop.test", "password": "1234567" }), "password"),
        (json!({ "email": "ada@shop.test", "password": long }), "password"),
        (json!({ "email": "ada@shop.test", "password": "Ada@shop.test" }), "password"),
        (json!({ "email": "ada@shop.test", "password": PASSWORD, "language": "not a tag!" }), "language"),
        (json!({ "email": "ada@shop.test", "password": PASSWORD, "name": long }), "name"),
        (json!({ "email": "ada@shop.test", "password": PASSWORD, "roles": ["admin"] }), "roles"),
    ];
    for (form, field) in cases {
        let refused = shop.http.post("/auth/v1/register", form.clone()).await.expect(400);
        assert_eq!(param(&refused), field, "{form} was answered {}", refused.body);
        assert!(!text(&refused.body["error"]["message"]).is_empty());
    }
    let users = shop.admin.get("/admin/v1/users?count=true").await.expect(200).body;
    assert_eq!(users["count"], 1, "only the operator is there: {users}");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_email_is_taken_in_every_letter_case_and_signs_in_in_every_letter_case() {
    let shop = Shop::start().await;
    let form = |email: &str| json!({ "email": email, "password": PASSWORD });
    shop.http.post("/auth/v1/register", form("Ada.King@Shop.Test")).await.expect(201);
    for email in ["ada.king@shop.test", "ADA.KING@SHOP.TEST", " Ada.King@shop.test "] {
        let refused = shop.http.post("/auth/v1/register", form(email)).await.expect(409);
        assert_eq!((refused.code(), param(&refused)), ("email_taken", "email"));
        shop.login(email, PASSWORD).await.expect(200);
    }
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_registrations_of_one_email_at_once_make_one_user() {
    let shop = Shop::start().await;
    let tries = (0..20).map(|i| {
        let email = if i % 2 == 0 { "twenty@shop.test" } else { "Twenty@Shop.Test" };
        let http = shop.http.clone();
        async move { http.post("/auth/v1/register", json!({ "email": email, "password": PASSWORD })).await }
    });
    let answers = join_all(tries).await;
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    let lost = answers.iter().filter(|answer| answer.status == 409 && answer.code() == "email_taken").count();
    assert_eq!(lost, 19, "{answers:?}");
    let users = known(&shop, "twenty@shop.test").await;
    assert_eq!(users.len(), 1);
    assert_eq!(users[0]["id"], won[0].body["user"]["id"]);
    assert_eq!(me(&shop.http.token(&text(&won[0].body["tokens"]["access_token"]))).await, 200);
    shop.check().await;
    shop.stop().await;
}

// Scenario 6: log in.

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_email_a_wrong_password_and_a_deleted_account_get_the_same_answer() {
    let shop = Shop::start().await;
    let (ada, gone) = (shop.shopper().await, shop.shopper().await);
    gone.http.delete("/store/v1/me").await.expect(204);
    let http = shop.http.with("x-request-id", "same");
    let refused = async |email: &str, password: &str| {
        http.post("/auth/v1/login", json!({ "email": email, "password": password })).await
    };
    let wrong = refused(&ada.email, "not the password").await.expect(401);
    assert_eq!(wrong.body["error"]["type"], "unauthenticated");
    for (email, password) in
        [("nobody@shop.test", PASSWORD), (gone.email.as_str(), PASSWORD), ("no address", PASSWORD), ("", "")]
    {
        let other = refused(email, password).await.expect(401);
        assert_eq!(other.body, wrong.body, "{email}");
        assert_eq!(other.header("www-authenticate"), wrong.header("www-authenticate"));
    }
    shop.login(&ada.email, &PASSWORD.to_uppercase()).await.expect(401);
    shop.login(&ada.email, PASSWORD).await.expect(200);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_email_takes_as_long_as_a_wrong_password() {
    // Passes enough for the hash to be most of the time of a login.
    let shop = Shop::start_with(|mut settings| {
        settings.config = settings.config.set("identity.argon2_memory_kib", 8_192).set("identity.argon2_iterations", 2);
        // Nor is anybody turned away for trying so often.
        for key in ["login_failures_max", "login_account_failures_max", "login_address_failures_max"] {
            settings.config = settings.config.set(&format!("identity.{key}"), 0);
        }
        settings
    })
    .await;
    let ada = shop.shopper().await;
    let (mut wrong, mut unknown) = (Duration::MAX, Duration::MAX);
    // The quickest of each: other tests use the same two cores, and make some logins slower, but not all of one kind.
    for i in 0..200 {
        for (email, quickest) in [(ada.email.clone(), &mut wrong), (format!("nobody{i}@shop.test"), &mut unknown)] {
            let begun = tokio::time::Instant::now();
            shop.login(&email, "not the password").await.expect(401);
            *quickest = begun.elapsed().min(*quickest);
        }
        if i >= 10 && wrong < unknown * 2 && unknown < wrong * 2 {
            break;
        }
    }
    assert!(wrong < unknown * 2 && unknown < wrong * 2, "wrong password {wrong:?}, unknown e-mail {unknown:?}");
    shop.stop().await;
}

// Scenario 7: secrets.

#[tokio::test(flavor = "multi_thread")]
async fn no_log_line_no_metric_and_no_file_holds_a_password_a_card_or_a_token() {
    let logs = Logs::capture();
    mallard_runtime::telemetry::init_metrics();
    let (shop, folder) = shop_in_a_folder().await;
    let (_, sku) = shop.product("Mug", 100, 50).await;
    let (password, mistyped) = ("walrus-ladder-5520-comet", "walrus-ladder-5521-comet");
    let (number, declined, no_card) = ("371449635398431", "4000000000009995", "371449635398432");
    let account = json!({ "email": "secret@shop.test", "password": password, "name": "Ada" });
    let tokens = shop.http.post("/auth/v1/register", account.clone()).await.expect(201).body["tokens"].clone();
    let mut mismatch = account.clone();
    mismatch["password_confirmation"] = json!(mistyped);
    shop.http.post("/auth/v1/register", mismatch).await.expect(400);
    shop.http.post("/auth/v1/register", account.clone()).await.expect(409);
    shop.login("secret@shop.test", mistyped).await.expect(401);
    shop.login("nobody@shop.test", password).await.expect(401);
    // In the wrong place, and of the wrong shape.
    shop.http.post("/auth/v1/login", json!({ "email": [password], "password": { "is": password } })).await.expect(400);
    shop.http.post("/auth/v1/login", json!({ "email": "secret@shop.test", "passwort": password })).await.expect(400);
    let again = shop.login("secret@shop.test", password).await.expect(200).body["tokens"].clone();
    let renewed = refresh(&shop, &tokens["refresh_token"]).await.expect(200).body["tokens"].clone();

    let http = shop.http.token(&text(&again["access_token"]));
    let codes = ["7391", "2846", "9173", "6428", "5719", "8264"];
    let with_code = |number: &str, code: &str| json!({ "method": "card", "number": number, "exp_month": 11, "exp_year": 2031, "cvc": code });
    let one = |payment: Value| {
        let mut body = order(100, payment);
        body["lines"] = json!([{ "sku_id": sku, "quantity": 1 }]);
        body
    };
    for (i, code) in codes.iter().enumerate() {
        let typed = if i % 2 == 0 { number } else { "3714 496353 98431" };
        http.key(&format!("s{i}")).post("/store/v1/orders", one(with_code(typed, code))).await.expect(201);
    }
    http.key("no").post("/store/v1/orders", one(with_code(declined, "739"))).await.expect(402);
    http.key("bad").post("/store/v1/orders", one(with_code(no_card, "7391"))).await.expect(400);
    let later = http.key("later").post("/store/v1/orders", one(later())).await.expect(201).body;
    let pay = format!("/store/v1/orders/{}/pay", text(&later["order"]["id"]));
    http.key("pay").post(&pay, json!({ "payment": with_code(number, "7391") })).await.expect(200);
    let mut misplaced = one(with_code(number, "7391"));
    misplaced["payment"]["numbr"] = json!(number);
    http.key("field").post("/store/v1/orders", misplaced).await.expect(400);
    http.post("/auth/v1/logout", json!({})).await.expect(204);
    // Events, flows and sweeps go on for a moment.
    tokio::time::sleep(Duration::from_millis(700)).await;

    let metrics = text(&shop.http.get("/metrics").await.expect(200).body);
    assert!(metrics.contains("mallard_http_requests_total"), "no metrics are there to look through:\n{metrics}");
    let lines = logs.text();
    assert!(lines.contains("request answered") && lines.contains("/auth/v1/login"), "nothing was logged");
    assert!(lines.contains(" TRACE ") && lines.contains(" DEBUG "), "not every level was kept");
    let bytes = bytes_below(&folder);
    let (access, last) = (text(&again["access_token"]), text(&renewed["refresh_token"]));
    let spaced = "3714 496353 98431";
    for secret in [password, mistyped, number, spaced, declined, no_card, access.as_str(), last.as_str()] {
        let line = lines.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "a log line holds {secret}: {}", line.unwrap_or_default());
        assert!(!metrics.contains(secret), "the metrics hold {secret}");
        assert!(!holds(&bytes, secret), "a file of the shop holds {secret}");
    }
    // Four digits also come up by chance, in a duration or a port. A leak would show every code.
    let is_shown = |code: &str| lines.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == code);
    let shown: Vec<_> = codes.iter().filter(|code| is_shown(code)).collect();
    assert!(shown.len() < codes.len(), "every security code was logged");
    shop.stop().await;
}

// Scenarios 8 to 10: tokens and sessions.

#[tokio::test(flavor = "multi_thread")]
async fn verify_tells_whose_token_it_is() {
    let shop = Shop::start().await;
    let ada = shop.shopper().await;
    let good = verify(&shop, &text(&ada.tokens["access_token"])).await;
    assert_eq!((&good["active"], &good["user_id"], &good["roles"]), (&json!(true), &json!(ada.id), &json!(["user"])));
    assert!(text(&good["session_id"]).starts_with("sess_"));
    assert!(text(&good["expires_at"]).ends_with('Z'));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tampered_token_is_refused_everywhere() {
    let shop = Shop::start().await;
    let (ada, eve) = (shop.shopper().await, shop.shopper().await);
    let good = text(&ada.tokens["access_token"]);
    let parts: Vec<&str> = good.split('.').collect();
    let (head, claims, signature) = (parts[0], parts[1], parts[2]);
    let decode = |part: &str| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("JSON inside")
    };
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut promoted = decode(claims);
    promoted["roles"] = json!(["admin", "user"]);
    let mut forever = decode(claims);
    forever["exp"] = json!(9_999_999_999_i64);
    let mut unsigned = decode(head);
    unsigned["alg"] = json!("none");
    let mut symmetric = decode(head);
    symmetric["alg"] = json!("HS256");
    let mut foreign_key = decode(head);
    foreign_key["kid"] = json!("../../etc/passwd");
    let eves = text(&eve.tokens["access_token"]);
    let other: Vec<&str> = eves.split('.').collect();
    let last = if signature.starts_with('A') { "B" } else { "A" };
    let bad = [
        format!("{head}.{}.{signature}", encode(&promoted)),
        format!("{head}.{}.{signature}", encode(&forever)),
        format!("{}.{}.", encode(&unsigned), encode(&promoted)),
        format!("{}.{claims}.{signature}", encode(&unsigned)),
        format!("{}.{claims}.{signature}", encode(&symmetric)),
        format!("{}.{claims}.{signature}", encode(&foreign_key)),
        format!("{head}.{claims}.{}", other[2]),
        format!("{head}.{claims}.{last}{}", &signature[1..]),
        format!("{head}.{claims}"),
        text(&ada.tokens["refresh_token"]),
        "x".to_owned(),
        "x".repeat(10_000),
    ];
    for token in bad {
        let answer = verify(&shop, &token).await;
        assert_eq!(answer["active"], false, "{token}");
        assert_ne!(answer["user_id"], json!(ada.id), "{token}");
        let refused = shop.http.token(&token).get("/store/v1/me").await.expect(401);
        assert_eq!(refused.body["error"]["type"], "unauthenticated");
        shop.http.token(&token).get("/admin/v1/users").await.expect(401);
    }
    assert_eq!(verify(&shop, &good).await["active"], true);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_refused_and_its_refresh_token_still_gives_a_new_one() {
    let shop = Shop::start_with(with("identity.access_token_ttl_s", 1)).await;
    let ada = shop.shopper().await;
    assert_eq!(ada.tokens["expires_in"], 1);
    eventually("the token expires", async || me(&ada.http).await == 401).await;
    assert_eq!(ada.http.get("/store/v1/me").await.code(), "token_expired");
    assert_eq!(verify(&shop, &text(&ada.tokens["access_token"])).await["active"], false);
    // Whoever still sends the expired token must get through the doors that need none.
    ada.http.post("/auth/v1/login", json!({ "email": ada.email, "password": PASSWORD })).await.expect(200);
    let mut tokens = ada.tokens.clone();
    let mut status = 0;
    for _ in 0..50 {
        let body = json!({ "refresh_token": tokens["refresh_token"] });
        tokens = ada.http.post("/auth/v1/refresh", body).await.expect(200).body["tokens"].clone();
        status = me(&shop.http.token(&text(&tokens["access_token"]))).await;
        // A busy machine may sleep through the second of a new token; then the next one is tried.
        if status != 401 {
            break;
        }
    }
    assert_eq!(status, 200);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_works_once_and_a_replay_ends_its_family_and_no_other() {
    let shop = Shop::start().await;
    let ada = shop.shopper().await;
    let other = shop.login(&ada.email, PASSWORD).await.expect(200).body["tokens"].clone();
    let next = refresh(&shop, &ada.tokens["refresh_token"]).await.expect(200).body["tokens"].clone();
    assert_ne!(next["access_token"], ada.tokens["access_token"]);
    assert_ne!(next["refresh_token"], ada.tokens["refresh_token"]);
    assert_eq!((&next["token_type"], &next["expires_in"]), (&json!("Bearer"), &json!(900)));
    let http = shop.http.token(&text(&next["access_token"]));
    assert_eq!(me(&http).await, 200);

    let replayed = refresh(&shop, &ada.tokens["refresh_token"]).await.expect(401);
    assert_eq!(replayed.body["error"]["type"], "unauthenticated");
    refresh(&shop, &next["refresh_token"]).await.expect(401);
    shows("the family's access tokens stop", async || me(&http).await == 401 && me(&ada.http).await == 401).await;
    assert_eq!(verify(&shop, &text(&next["access_token"])).await["active"], false);
    assert_eq!(me(&shop.http.token(&text(&other["access_token"]))).await, 200);
    refresh(&shop, &other["refresh_token"]).await.expect(200);
    for nonsense in [json!("x"), json!(""), other["access_token"].clone()] {
        refresh(&shop, &nonsense).await.expect(401);
    }
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_refreshes_at_once_at_most_one_gives_tokens() {
    let shop = Shop::start().await;
    let ada = shop.shopper().await;
    let answers = join_all((0..10).map(|_| refresh(&shop, &ada.tokens["refresh_token"]))).await;
    let (given, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert!(given.len() <= 1, "{answers:?}");
    assert!(refused.iter().all(|answer| answer.status == 401), "{answers:?}");
    for answer in given {
        refresh(&shop, &answer.body["tokens"]["refresh_token"]).await.expect(401);
    }
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_logout_the_tokens_stop_at_once_and_those_of_other_devices_do_not() {
    let shop = Shop::start().await;
    let ada = shop.shopper().await;
    let mut devices = Vec::new();
    for _ in 0..3 {
        let tokens = shop.login(&ada.email, PASSWORD).await.expect(200).body["tokens"].clone();
        devices.push((shop.http.token(&text(&tokens["access_token"])), tokens));
    }
    let answer = devices[0].0.post("/auth/v1/logout", json!({})).await.expect(204);
    assert_eq!(answer.body, Value::Null);
    let refused = devices[0].0.get("/store/v1/me").await.expect(401);
    assert_eq!(refused.body["error"]["type"], "unauthenticated");
    assert_eq!(verify(&shop, &text(&devices[0].1["access_token"])).await["active"], false);
    refresh(&shop, &devices[0].1["refresh_token"]).await.expect(401);
    for (http, _) in &devices[1..] {
        assert_eq!(me(http).await, 200);
    }
    devices[1].0.post("/auth/v1/logout", json!({ "all_devices": true })).await.expect(204);
    for (http, tokens) in &devices {
        assert_eq!(me(http).await, 401);
        refresh(&shop, &tokens["refresh_token"]).await.expect(401);
    }
    assert_eq!(me(&ada.http).await, 401);
    shop.http.post("/auth/v1/logout", json!({})).await.expect(401);
    shop.login(&ada.email, PASSWORD).await.expect(200);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_and_one_can_be_ended_from_another() {
    let shop = Shop::start().await;
    let (ada, eve) = (shop.shopper().await, shop.shopper().await);
    let phone = shop.login(&ada.email, PASSWORD).await.expect(200).body["tokens"].clone();
    let phone_http = shop.http.token(&text(&phone["access_token"]));
    let list = async |http: &Http| {
        http.get("/auth/v1/sessions").await.expect(200).body["sessions"].as_array().expect("a list").clone()
    };
    let sessions = list(&ada.http).await;
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions.iter().filter(|session| session["current"] == true).count(), 1);
    let mine = verify(&shop, &text(&ada.tokens["access_token"])).await["session_id"].clone();
    let current = sessions.iter().find(|session| session["current"] == true).unwrap();
    assert_eq!(current["id"], mine);
    assert!(text(&current["created_at"]).ends_with('Z') && text(&current["last_used_at"]).ends_with('Z'));

    let other = text(&sessions.iter().find(|session| session["current"] != true).unwrap()["id"]);
    eve.http.delete(&format!("/auth/v1/sessions/{other}")).await.expect(404);
    assert_eq!(me(&phone_http).await, 200);
    ada.http.delete(&format!("/auth/v1/sessions/{other}")).await.expect(204);
    assert_eq!(me(&phone_http).await, 401);
    refresh(&shop, &phone["refresh_token"]).await.expect(401);
    assert_eq!(list(&ada.http).await.len(), 1);
    ada.http.delete("/auth/v1/sessions/sess_unknown").await.expect(404);
    ada.http.delete(&format!("/auth/v1/sessions/{}", text(&mine))).await.expect(204);
    assert_eq!(me(&ada.http).await, 401);
    shop.http.get("/auth/v1/sessions").await.expect(401);
    shop.stop().await;
}

// Scenario 11 and roles: operators.

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_user_is_shut_out_at_once_and_let_in_again_when_the_ban_is_lifted() {
    let shop = Shop::start().await;
    let ada = shop.shopper().await;
    let user = format!("/admin/v1/users/{}", ada.id);
    let ban = json!({ "level": "all", "reason": "chargebacks" });
    let banned = shop.admin.post(&format!("{user}/ban"), ban).await.expect(200).body;
    assert_eq!(banned["user"]["status"], "banned");
    let refused = ada.http.get("/store/v1/me").await.status;
    assert!(matches!(refused, 401 | 403), "{refused}");
    let login = shop.login(&ada.email, PASSWORD).await.expect(403);
    assert_eq!((login.code(), &login.body["error"]["type"]), ("account_banned", &json!("forbidden")));
    // Who does not know the password does not learn of the ban.
    shop.login(&ada.email, "not the password").await.expect(401);
    let refused = refresh(&shop, &ada.tokens["refresh_token"]).await.status;
    assert!(matches!(refused, 401 | 403), "{refused}");

    let free = shop.admin.post(&format!("{user}/unban"), json!({})).await.expect(200).body;
    assert_eq!(free["user"]["status"], "active");
    let tokens = shop.login(&ada.email, PASSWORD).await.expect(200).body["tokens"].clone();
    assert_eq!(me(&shop.http.token(&text(&tokens["access_token"]))).await, 200);
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buyer_ban_lets_somebody_look_and_not_buy() {
    let shop = Shop::start().await;
    let (product, sku) = shop.product("Mug", 100, 5).await;
    let ada = shop.shopper().await;
    let mut body = order(100, later());
    body["lines"] = json!([{ "sku_id": sku, "quantity": 1 }]);
    let placed = ada.http.key("l").post("/store/v1/orders", body).await.expect(201).body;
    let waiting = text(&placed["order"]["id"]);
    let user = format!("/admin/v1/users/{}", ada.id);
    shop.admin.post(&format!("{user}/ban"), json!({ "level": "buy", "reason": "x" })).await.expect(200);
    let login = async || {
        let tokens = shop.login(&ada.email, PASSWORD).await.expect(200).body["tokens"].clone();
        shop.http.token(&text(&tokens["access_token"]))
    };
    let http = login().await;
    http.get(&format!("/store/v1/products/{product}")).await.expect(200);
    http.post("/store/v1/cart/lines", json!({ "sku_id": sku, "quantity": 1 })).await.expect(200);
    let refused = http.key("k").post("/store/v1/orders", order(100, card(GOOD_CARD))).await.expect(403);
    assert_eq!(refused.code(), "account_banned");
    let pay = format!("/store/v1/orders/{waiting}/pay");
    http.key("p").post(&pay, json!({ "payment": card(GOOD_CARD) })).await.expect(403);
    assert_eq!(shop.order(&waiting).await["status"], "pending_payment");
    shop.admin.post(&format!("{user}/unban"), json!({})).await.expect(200);
    let http = login().await;
    http.key("k2").post("/store/v1/orders", order(100, card(GOOD_CARD))).await.expect(201);
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_ends_by_itself_and_a_senseless_one_is_refused() {
    let shop = Shop::start().await;
    let ada = shop.shopper().await;
    let ban = format!("/admin/v1/users/{}/ban", ada.id);
    for (body, field) in [
        (json!({ "reason": "x" }), "level"),
        (json!({ "level": "all" }), "reason"),
        (json!({ "level": "all", "reason": " " }), "reason"),
        (json!({ "level": "everything", "reason": "x" }), "level"),
        (json!({ "level": "all", "reason": "x", "until": "2020-01-01T00:00:00Z" }), "until"),
        (json!({ "level": "all", "reason": "x", "until": "tomorrow" }), "until"),
        (json!({ "level": "all", "reason": "x".repeat(10_000) }), "reason"),
        (json!({ "level": "all", "reason": "x", "forever": true }), "forever"),
    ] {
        let refused = shop.admin.post(&ban, body.clone()).await.expect(400);
        assert_eq!(param(&refused), field, "{body}");
    }
    assert_eq!(me(&ada.http).await, 200);
    shop.admin.post("/admin/v1/users/usr_unknown/ban", json!({ "level": "all", "reason": "x" })).await.expect(404);
    ada.http.post(&ban, json!({ "level": "all", "reason": "x" })).await.expect(403);

    // A machine that sleeps through a ban tries a longer one.
    for seconds in [2, 10, 60] {
        let until = shop.mall.context("identity").unwrap().now() + seconds * 1_000_000;
        let stamp = serde_json::to_value(mallard_proto::Timestamp::from_micros(until)).unwrap();
        let body = json!({ "level": "login", "until": stamp, "reason": "cool down" });
        let banned = shop.admin.post(&ban, body).await;
        let login = shop.login(&ada.email, PASSWORD).await;
        if shop.mall.context("identity").unwrap().now() < until {
            banned.expect(200);
            login.expect(403);
            break;
        }
        assert!(seconds < 60, "the machine slept through every ban");
    }
    eventually("the ban is over", async || shop.login(&ada.email, PASSWORD).await.status == 200).await;
    assert_eq!(known(&shop, &ada.email).await[0]["status"], "active");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kicked_user_must_sign_in_again() {
    let shop = Shop::start().await;
    let ada = shop.shopper().await;
    shop.admin.post(&format!("/admin/v1/users/{}/kick", ada.id), json!({})).await.expect(204);
    assert_eq!(me(&ada.http).await, 401);
    refresh(&shop, &ada.tokens["refresh_token"]).await.expect(401);
    shop.login(&ada.email, PASSWORD).await.expect(200);
    shop.admin.post("/admin/v1/users/usr_unknown/kick", json!({})).await.expect(404);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_roles_hold_at_once_also_for_tokens_issued_before() {
    let shop = Shop::start().await;
    let ada = shop.shopper().await;
    let roles = format!("/admin/v1/users/{}/roles", ada.id);
    assert_eq!(shop.admin.get(&roles).await.expect(200).body["roles"], json!(["user"]));
    ada.http.get("/admin/v1/users").await.expect(403);
    ada.http.put(&roles, json!({ "roles": ["admin"] })).await.expect(403);
    for (body, field) in [
        (json!({ "roles": ["emperor"] }), "roles"),
        (json!({ "roles": [] }), "roles"),
        (json!({}), "roles"),
        (json!({ "roles": "admin" }), "roles"),
    ] {
        assert_eq!(param(&shop.admin.put(&roles, body).await.expect(400)), field);
    }
    let login = async || {
        let answer = shop.login(&ada.email, PASSWORD).await.expect(200).body;
        (shop.http.token(&text(&answer["tokens"]["access_token"])), answer["user"]["roles"].clone())
    };
    let mut now = shop.admin.put(&roles, json!({ "roles": ["user", "admin"] })).await.expect(200).body["roles"].clone();
    now.as_array_mut().unwrap().sort_by_key(ToString::to_string);
    assert_eq!(now, json!(["admin", "user"]));
    ada.http.get("/admin/v1/users").await.expect(200);
    let (operator, _) = login().await;
    operator.get("/admin/v1/users").await.expect(200);
    shop.admin.put(&roles, json!({ "roles": ["user"] })).await.expect(200);
    operator.get("/admin/v1/users").await.expect(403);
    ada.http.get("/admin/v1/users").await.expect(403);
    assert_eq!(me(&ada.http).await, 200);
    let (shopper, held) = login().await;
    assert_eq!(held, json!(["user"]));
    shopper.get("/admin/v1/users").await.expect(403);
    shop.admin.get("/admin/v1/users/usr_unknown/roles").await.expect(404);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_operator_can_neither_be_demoted_nor_banned_nor_deleted() {
    let shop = Shop::start().await;
    let operator = text(&known(&shop, ADMIN).await[0]["id"]);
    let user = format!("/admin/v1/users/{operator}");
    for refused in [
        shop.admin.put(&format!("{user}/roles"), json!({ "roles": ["user"] })).await,
        shop.admin.post(&format!("{user}/ban"), json!({ "level": "all", "reason": "x" })).await,
        shop.admin.delete("/store/v1/me").await,
    ] {
        assert_eq!(refused.expect(409).code(), "last_admin");
    }
    shop.admin.get("/admin/v1/users").await.expect(200);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_page_through_users_newest_first() {
    let shop = Shop::start().await;
    let mut made = Vec::new();
    for _ in 0..7 {
        made.insert(0, shop.shopper().await.id);
    }
    let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page =
            shop.admin.get(&format!("/admin/v1/users?limit=3&count=true&cursor={cursor}")).await.expect(200).body;
        assert_eq!(page["count"], 8);
        seen.extend(page["users"].as_array().unwrap().iter().map(|user| text(&user["id"])));
        pages += 1;
        cursor = page["next_cursor"].as_str().unwrap_or("").to_owned();
        if cursor.is_empty() {
            break;
        }
    }
    assert_eq!((pages, seen.len()), (3, 8));
    assert_eq!(seen[..7], made[..]);
    for bad in ["limit=101", "limit=-1", "limit=x", "cursor=zz", "role=admin"] {
        shop.admin.get(&format!("/admin/v1/users?{bad}")).await.expect(400);
    }
    let one = shop.admin.get(&format!("/admin/v1/users/{}", made[0])).await.expect(200).body;
    assert_eq!(one["user"]["id"], json!(made[0]));
    shop.admin.get("/admin/v1/users/usr_unknown").await.expect(404);
    shop.stop().await;
}

// Scenario 14: other people's things.

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_changes_or_uses_somebody_elses_address_or_cart() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 5).await;
    let (ada, eve) = (shop.shopper().await, shop.shopper().await);
    let made = ada.http.post("/store/v1/me/addresses", address()).await.expect(201).body;
    let id = text(&made["address"]["id"]);
    let path = format!("/store/v1/me/addresses/{id}");
    for http in [&eve.http, &shop.admin] {
        http.patch(&path, json!({ "street": "Eve's place" })).await.expect(404);
        http.delete(&path).await.expect(404);
    }
    shop.http.patch(&path, json!({ "street": "x" })).await.expect(401);
    assert_eq!(eve.http.get("/store/v1/me/addresses").await.expect(200).body["addresses"], json!([]));
    let lines = json!([{ "sku_id": sku, "quantity": 1 }]);
    eve.http.post("/store/v1/checkout/quote", json!({ "lines": lines, "address_id": id })).await.expect(404);
    let mut body = order(100, card(GOOD_CARD));
    body["lines"] = lines;
    body["address_id"] = json!(id);
    body.as_object_mut().unwrap().remove("address");
    eve.http.key("k").post("/store/v1/orders", body.clone()).await.expect(404);
    shop.stock_is(&sku, 5, 0).await;
    ada.http.key("k").post("/store/v1/orders", body).await.expect(201);

    ada.add(&sku, 2).await.expect(200);
    assert_eq!(eve.cart().await["lines"], json!([]));
    let guess = format!("ct_{}", "0".repeat(64));
    let stolen = shop.http.with("x-cart-token", &guess).get("/store/v1/cart").await.expect(200).body;
    assert_eq!(stolen["cart"]["lines"], json!([]));
    let cart = text(&ada.cart().await["id"]);
    let stolen = shop.http.with("x-cart-token", &cart).get("/store/v1/cart").await.expect(200).body;
    assert_eq!(stolen["cart"]["lines"], json!([]), "the cart's id is no key to it");
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_inside_takes_an_empty_or_a_zero_user_for_everybody() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 5).await;
    let ada = shop.shopper().await;
    let order = text(&ada.buy(&sku, 1, 100).await["id"]);
    ada.add(&sku, 1).await.expect(200);
    let made = ada.http.post("/store/v1/me/addresses", address()).await.expect(201).body;
    let address_id = text(&made["address"]["id"]);
    let mut cart: CartServiceClient<ServiceChannel> = shop.mall.client();
    let mut orders: OrderServiceClient<ServiceChannel> = shop.mall.client();
    let mut identity: IdentityServiceClient<ServiceChannel> = shop.mall.client();
    for user in ["", "0", "usr_0"] {
        for wanted in [user, "", "0", ada.id.as_str()] {
            let lines = as_user(user, cart.get_lines(GetLinesRequest { user_id: wanted.into() })).await;
            assert!(lines.is_err() || lines.unwrap().into_inner().lines.is_empty(), "{user:?} asks for {wanted:?}");
        }
        let found = as_user(user, orders.get_order(GetOrderRequest { id: order.clone() })).await;
        assert!(found.is_err(), "{user:?} reads an order");
        let list = as_user(user, orders.list_orders(ListOrdersRequest::default())).await;
        assert!(list.is_err() || list.unwrap().into_inner().orders.is_empty(), "{user:?} lists orders");
        let found = as_user(user, identity.get_address(GetAddressRequest { id: address_id.clone() })).await;
        assert!(found.is_err(), "{user:?} reads an address");
    }
    assert!(as_guest(orders.list_orders(ListOrdersRequest::default())).await.is_err());
    assert!(as_guest(cart.get_lines(GetLinesRequest { user_id: ada.id.clone() })).await.is_err());
    assert!(as_guest(identity.get_address(GetAddressRequest { id: address_id })).await.is_err());
    shop.stop().await;
}

// Scenario 15: profile, deletion, address book.

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_changed_only_over_the_version_that_was_seen() {
    let shop = Shop::start().await;
    let ada = shop.shopper().await;
    let read = ada.http.get("/store/v1/me").await.expect(200);
    let etag = read.header("etag").to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    ada.http.with("if-none-match", &etag).get("/store/v1/me").await.expect(304);
    let change = json!({ "name": "Ada Lovelace", "language": "fr" });
    let changed = ada.http.with("if-match", &etag).patch("/store/v1/me", change).await.expect(200);
    assert_eq!(changed.body["user"]["name"], "Ada Lovelace");
    assert_ne!(changed.header("etag"), etag);
    let stale = ada.http.with("if-match", &etag).patch("/store/v1/me", json!({ "name": "Eve" })).await.expect(412);
    assert_eq!((stale.code(), &stale.body["error"]["type"]), ("version_mismatch", &json!("precondition")));
    ada.http.patch("/store/v1/me", json!({ "language": "zh" })).await.expect(200);
    let user = ada.http.get("/store/v1/me").await.expect(200).body["user"].clone();
    assert_eq!((&user["name"], &user["language"]), (&json!("Ada Lovelace"), &json!("zh")));
    for (body, code, field) in [
        (json!({ "roles": ["admin"] }), "unknown_field", "roles"),
        (json!({ "email": "eve@shop.test" }), "unknown_field", "email"),
        (json!({ "status": "active" }), "unknown_field", "status"),
        (json!({ "seller_id": "sel_mallard" }), "unknown_field", "seller_id"),
        (json!({ "name": "x".repeat(1_000) }), "too_long", "name"),
        (json!({ "name": "a\u{0}b" }), "invalid_text", "name"),
        (json!({ "language": "no tag" }), "invalid_language", "language"),
    ] {
        let refused = ada.http.patch("/store/v1/me", body.clone()).await.expect(400);
        assert_eq!((refused.code(), param(&refused)), (code, field), "{body}");
    }
    assert_eq!(ada.http.get("/store/v1/me").await.body["user"], user);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_user_cannot_sign_in_and_its_orders_remain() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 5).await;
    let ada = shop.shopper().await;
    ada.http.post("/store/v1/me/addresses", address()).await.expect(201);
    let order = text(&ada.buy(&sku, 1, 100).await["id"]);
    ada.http.delete("/store/v1/me").await.expect(204);
    assert_eq!(me(&ada.http).await, 401);
    refresh(&shop, &ada.tokens["refresh_token"]).await.expect(401);
    shop.login(&ada.email, PASSWORD).await.expect(401);
    assert!(known(&shop, &ada.email).await.is_empty(), "the e-mail address is forgotten");
    let user = shop.admin.get(&format!("/admin/v1/users/{}", ada.id)).await.expect(200).body["user"].clone();
    assert_eq!((&user["status"], &user["email"], &user["name"]), (&json!("deleted"), &json!(""), &json!("")));

    let kept = shop.order(&order).await;
    assert_eq!((&kept["status"], &kept["user_id"]), (&json!("paid"), &json!(ada.id)));
    assert_eq!(kept["lines"][0]["title"], "Mug");
    let list = shop.admin.get(&format!("/admin/v1/orders?user_id={}", ada.id)).await.expect(200).body;
    assert_eq!(list["orders"][0]["id"], json!(order));

    // The same address may register again, as somebody else.
    let again = json!({ "email": ada.email, "password": PASSWORD });
    let answer = shop.http.post("/auth/v1/register", again).await.expect(201).body;
    assert_ne!(answer["user"]["id"], json!(ada.id));
    let http = shop.http.token(&text(&answer["tokens"]["access_token"]));
    assert_eq!(http.get("/store/v1/orders").await.expect(200).body["orders"], json!([]));
    assert_eq!(http.get("/store/v1/me/addresses").await.expect(200).body["addresses"], json!([]));
    http.get(&format!("/store/v1/orders/{order}")).await.expect(404);
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_book_keeps_every_letter_and_an_order_takes_its_address_from_it() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 5).await;
    let ada = shop.shopper().await;
    let made = ada.http.post("/store/v1/me/addresses", address()).await.expect(201).body["address"].clone();
    assert!(text(&made["id"]).starts_with("addr_"));
    assert_eq!(made["is_default"], true, "the first one is the default");
    let parts = |entry: &Value| {
        let mut parts = entry.clone();
        for extra in ["id", "is_default", "created_at", "updated_at"] {
            parts.as_object_mut().unwrap().remove(extra);
        }
        parts
    };
    assert_eq!(parts(&made), address());
    assert_eq!(made["postal_code"], "01234");
    let list = ada.http.get("/store/v1/me/addresses").await.expect(200).body["addresses"].clone();
    assert_eq!(list, json!([made]));

    let mut body = order(100, card(GOOD_CARD));
    body["lines"] = json!([{ "sku_id": sku, "quantity": 1 }]);
    body["address_id"] = made["id"].clone();
    body.as_object_mut().unwrap().remove("address");
    let placed = ada.http.key("k").post("/store/v1/orders", body).await.expect(201).body["order"].clone();
    assert_eq!(placed["address"], address());

    let path = format!("/store/v1/me/addresses/{}", text(&made["id"]));
    let moved = ada.http.patch(&path, json!({ "street": "2 Difference Lane", "postal_code": "00001" })).await;
    let moved = moved.expect(200).body["address"].clone();
    let mut expected = address();
    expected["street"] = json!("2 Difference Lane");
    expected["postal_code"] = json!("00001");
    assert_eq!(parts(&moved), expected);
    let kept = ada.http.get(&format!("/store/v1/orders/{}", text(&placed["id"]))).await.expect(200).body;
    assert_eq!(kept["order"]["address"], address(), "the order keeps the address it was placed with");
    ada.http.delete(&path).await.expect(204);
    ada.http.delete(&path).await.expect(404);
    ada.http.patch(&path, json!({ "street": "x" })).await.expect(404);
    assert_eq!(ada.http.get("/store/v1/me/addresses").await.expect(200).body["addresses"], json!([]));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_book_has_one_default_and_pages() {
    let shop = Shop::start().await;
    let ada = shop.shopper().await;
    let mut ids = Vec::new();
    for i in 0..5 {
        let mut body = address();
        body["name"] = json!(format!("Ada {i}"));
        body["is_default"] = json!(i == 2);
        let made = ada.http.post("/store/v1/me/addresses", body).await.expect(201).body;
        ids.insert(0, text(&made["address"]["id"]));
    }
    let (mut seen, mut defaults, mut cursor) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = ada.http.get(&format!("/store/v1/me/addresses?limit=2&cursor={cursor}")).await.expect(200).body;
        for entry in page["addresses"].as_array().unwrap() {
            seen.push(text(&entry["id"]));
            if entry["is_default"] == true {
                defaults.push(text(&entry["id"]));
            }
        }
        cursor = page["next_cursor"].as_str().unwrap_or("").to_owned();
        if cursor.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ids, "newest first, each once");
    assert_eq!(defaults, [ids[2].clone()]);
    ada.http.patch(&format!("/store/v1/me/addresses/{}", ids[0]), json!({ "is_default": true })).await.expect(200);
    let all = ada.http.get("/store/v1/me/addresses").await.expect(200).body;
    let defaults: Vec<_> = all["addresses"].as_array().unwrap().iter().filter(|a| a["is_default"] == true).collect();
    assert_eq!(defaults.len(), 1);
    assert_eq!(defaults[0]["id"], json!(ids[0]));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_without_name_country_or_street_is_refused_naming_the_part() {
    let shop = Shop::start().await;
    let ada = shop.shopper().await;
    let path = "/store/v1/me/addresses";
    for part in ["name", "country", "street"] {
        let mut missing = address();
        missing.as_object_mut().unwrap().remove(part);
        assert_eq!(param(&ada.http.post(path, missing).await.expect(400)), part);
        let mut blank = address();
        blank[part] = json!("  ");
        assert_eq!(param(&ada.http.post(path, blank).await.expect(400)), part);
    }
    for (part, value) in
        [("postal_code", json!("1".repeat(100))), ("street", json!("x".repeat(10_000))), ("city", json!(7))]
    {
        let mut bad = address();
        bad[part] = value;
        assert_eq!(param(&ada.http.post(path, bad).await.expect(400)), part);
    }
    let mut extra = address();
    extra["zip"] = json!("01234");
    let refused = ada.http.post(path, extra).await.expect(400);
    assert_eq!((refused.code(), param(&refused)), ("unknown_field", "zip"));
    assert_eq!(ada.http.get(path).await.expect(200).body["addresses"], json!([]));
    shop.http.get(path).await.expect(401);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_made_once_under_one_key() {
    let shop = Shop::start().await;
    let ada = shop.shopper().await;
    let keyed = ada.http.key("home");
    let first = keyed.post("/store/v1/me/addresses", address()).await.expect(201);
    let again = keyed.post("/store/v1/me/addresses", address()).await.expect(201);
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), ("", "true"));
    assert_eq!(first.body, again.body);
    let list = ada.http.get("/store/v1/me/addresses").await.expect(200).body;
    assert_eq!(list["addresses"].as_array().unwrap().len(), 1);
    shop.stop().await;
}
