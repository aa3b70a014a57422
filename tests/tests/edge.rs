//! The conventions of the public API (`api.md`), and fault 41: clients that mean harm.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use mallard_testkit::{Answer, eventually};
use mallard_tests::*;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

/// Routes of `api.md` that belong to identity, catalog, inventory, cart, order, payment and the edge itself.
///
/// Left out, because other services will bring them or nothing of them is there yet: search, policies, allow-list,
/// reconciliations, returns, shipments, promotions, coupons, flash sales, inbox, assistant, insight, configuration, audit.
const ROUTES: &str = "
POST /auth/v1/register
POST /auth/v1/login
POST /auth/v1/refresh
POST /auth/v1/logout
POST /auth/v1/verify
GET /auth/v1/sessions
DELETE /auth/v1/sessions/{id}
GET /store/v1/me
PATCH /store/v1/me
DELETE /store/v1/me
GET /store/v1/me/addresses
POST /store/v1/me/addresses
PATCH /store/v1/me/addresses/{id}
DELETE /store/v1/me/addresses/{id}
GET /store/v1/products
GET /store/v1/products/{id}
POST /store/v1/products/batch-get
GET /store/v1/categories
GET /store/v1/cart
POST /store/v1/cart/lines
DELETE /store/v1/cart/lines
PUT /store/v1/cart/lines/{sku_id}
DELETE /store/v1/cart/lines/{sku_id}
POST /store/v1/checkout/quote
POST /store/v1/orders
GET /store/v1/orders
GET /store/v1/orders/{id}
PATCH /store/v1/orders/{id}
GET /store/v1/orders/{id}/events
POST /store/v1/orders/{id}/cancel
POST /store/v1/orders/{id}/pay
GET /store/v1/payments/{id}
POST /store/v1/payments/{id}/cancel
GET /admin/v1/products
POST /admin/v1/products
GET /admin/v1/products/{id}
PATCH /admin/v1/products/{id}
DELETE /admin/v1/products/{id}
POST /admin/v1/products/{id}/list
POST /admin/v1/products/{id}/delist
GET /seller/v1/products
POST /seller/v1/products
GET /seller/v1/products/{id}
PATCH /seller/v1/products/{id}
DELETE /seller/v1/products/{id}
POST /seller/v1/products/{id}/list
POST /seller/v1/products/{id}/delist
GET /admin/v1/categories
POST /admin/v1/categories
GET /admin/v1/brands
POST /admin/v1/brands
GET /admin/v1/inventory/{sku_id}
POST /admin/v1/inventory/{sku_id}/adjust
GET /admin/v1/inventory/{sku_id}/ledger
GET /seller/v1/inventory/{sku_id}
POST /seller/v1/inventory/{sku_id}/adjust
GET /seller/v1/inventory/{sku_id}/ledger
GET /admin/v1/orders
GET /admin/v1/orders/{id}
POST /admin/v1/orders/{id}/cancel
POST /admin/v1/orders/{id}/ship
POST /admin/v1/orders/{id}/deliver
POST /admin/v1/orders/{id}/refund
GET /admin/v1/payments
POST /admin/v1/payments/{id}/refund
GET /admin/v1/ledger/accounts
GET /admin/v1/ledger/entries
GET /admin/v1/users
POST /admin/v1/users/{id}/ban
POST /admin/v1/users/{id}/unban
POST /admin/v1/users/{id}/kick
GET /admin/v1/users/{id}/roles
PUT /admin/v1/users/{id}/roles
GET /admin/v1/check
GET /admin/v1/system/services
GET /admin/v1/system/dead-letters
";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn param(answer: &Answer) -> &str {
    answer.body["error"]["param"].as_str().unwrap_or("")
}

fn cny(amount: i64) -> Value {
    json!({ "amount": amount, "currency": "CNY" })
}

/// Sends bytes as they are.
async fn raw(shop: &Shop, method: &str, path: &str, headers: &[(&str, &[u8])], body: impl Into<Vec<u8>>) -> Answer {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        map.insert(name, HeaderValue::from_bytes(value).expect("a header value"));
    }
    let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
    let request = reqwest::Client::new().request(method, shop.url(path)).headers(map).body(body.into());
    let answer = request.send().await.expect("an answer");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let bytes = answer.bytes().await.expect("a body");
    Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
}

/// Asserts the one form of errors.
#[track_caller]
fn assert_problem(answer: &Answer, status: u16, kind: &str, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{}", answer.body);
    let error = &answer.body["error"];
    assert_eq!(error["type"], kind, "{}", answer.body);
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{}", answer.body);
    assert_eq!(error["request_id"], answer.header("x-request-id"), "{}", answer.body);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.body.as_object().map(serde_json::Map::len), Some(1), "{}", answer.body);
    let known = ["type", "code", "message", "param", "details", "request_id"];
    assert!(error.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{}", answer.body);
}

/// Replaces the names of path parameters.
fn nameless(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect::<Vec<_>>().join("/")
}

async fn openapi(shop: &Shop) -> Value {
    shop.http.get("/openapi.json").await.expect(200).body
}

/// Returns verb, path and operation of everything described.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    for (path, verbs) in document["paths"].as_object().expect("paths") {
        for (verb, operation) in verbs.as_object().expect("verbs") {
            found.push((verb.to_uppercase(), path.clone(), operation.clone()));
        }
    }
    found
}

// Errors.

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_refusal_has_the_one_form() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 1).await;
    let ada = shop.shopper().await;
    let path = "/store/v1/orders";
    assert_problem(&shop.http.get("/store/v1/products?limit=x").await, 400, "invalid", "invalid_field");
    let guest = shop.http.get("/store/v1/me").await;
    assert_problem(&guest, 401, "unauthenticated", "unauthenticated");
    assert!(guest.header("www-authenticate").starts_with("Bearer"));
    let mut body = order(100, card(DECLINED_CARD));
    body["lines"] = json!([{ "sku_id": sku, "quantity": 1 }]);
    assert_problem(&ada.http.key("d").post(path, body.clone()).await, 402, "payment_failed", "card_declined");
    assert_problem(&ada.http.get("/admin/v1/users").await, 403, "forbidden", "forbidden");
    assert_problem(&ada.http.get("/store/v1/orders/ord_x").await, 404, "not_found", "order_not_found");
    body["lines"][0]["quantity"] = json!(2);
    body["expected_total"] = cny(200);
    assert_problem(&ada.http.key("o").post(path, body.clone()).await, 409, "conflict", "out_of_stock");
    let stale = ada.http.with("if-match", "\"99\"").patch("/store/v1/me", json!({ "name": "x" })).await;
    assert_problem(&stale, 412, "precondition", "version_mismatch");
    body["note"] = json!("another body");
    assert_problem(&ada.http.key("o").post(path, body).await, 422, "refused", "idempotency_conflict");
    for answer in [
        shop.http.token("nonsense").get("/store/v1/me").await,
        shop.http.with("authorization", "Basic YWRhOmFkYQ==").get("/store/v1/me").await,
        shop.http.with("authorization", "Bearer").get("/store/v1/me").await,
    ] {
        assert_problem(&answer, 401, "unauthenticated", "invalid_token");
    }
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_or_wrong_field_is_named_by_its_path() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 5).await;
    let ada = shop.shopper().await;
    let place = |change: &dyn Fn(&mut Value)| {
        let mut body = order(100, card(GOOD_CARD));
        body["lines"] = json!([{ "sku_id": sku, "quantity": 1 }]);
        change(&mut body);
        body
    };
    let cases: [(&str, &str, Value); 22] = [
        ("unknown_field", "colour", place(&|b| b["colour"] = json!("red"))),
        ("unknown_field", "payment.numbr", place(&|b| b["payment"]["numbr"] = json!("4242"))),
        ("unknown_field", "address.zip", place(&|b| b["address"]["zip"] = json!("01234"))),
        ("unknown_field", "lines[0].price", place(&|b| b["lines"][0]["price"] = cny(1))),
        ("unknown_field", "expected_total.value", place(&|b| b["expected_total"]["value"] = json!(1))),
        ("unknown_field", "user_id", place(&|b| b["user_id"] = json!("usr_1"))),
        // Fields of the contract that are for calls inside only.
        ("unknown_field", "on_behalf_of", place(&|b| b["on_behalf_of"] = json!("usr_1"))),
        ("unknown_field", "reference", place(&|b| b["reference"] = json!("x"))),
        ("unknown_field", "idempotency_key", place(&|b| b["idempotency_key"] = json!("x"))),
        ("unknown_field", "payment.card_token", place(&|b| b["payment"]["card_token"] = json!("tok_x"))),
        (
            "unknown_field",
            "lines[0].agreed_unit_price_nanos",
            place(&|b| b["lines"][0]["agreed_unit_price_nanos"] = json!(1)),
        ),
        ("required", "payment", place(&|b| drop(b.as_object_mut().unwrap().remove("payment")))),
        ("required", "payment.method", place(&|b| b["payment"] = json!({}))),
        ("required", "expected_total", place(&|b| drop(b.as_object_mut().unwrap().remove("expected_total")))),
        ("required", "expected_total.currency", place(&|b| b["expected_total"] = json!({ "amount": 100 }))),
        ("required", "lines[0].quantity", place(&|b| b["lines"][0] = json!({ "sku_id": "sku_x" }))),
        ("invalid_field", "lines", place(&|b| b["lines"] = json!("all"))),
        ("invalid_field", "lines[0]", place(&|b| b["lines"][0] = json!("sku_x"))),
        ("invalid_field", "lines[0].quantity", place(&|b| b["lines"][0]["quantity"] = json!("1"))),
        (
            "invalid_field",
            "lines[0].quantity",
            place(&|b| b["lines"][0]["quantity"] = json!(9_223_372_036_854_775_808_u64)),
        ),
        ("invalid_field", "expected_total.amount", place(&|b| b["expected_total"]["amount"] = json!(100.0))),
        ("invalid_field", "note", place(&|b| b["note"] = json!({ "text": "x" }))),
    ];
    for (code, field, body) in cases {
        let refused = ada.http.key(&unique("key")).post("/store/v1/orders", body.clone()).await;
        assert_problem(&refused, 400, "invalid", code);
        assert_eq!(param(&refused), field, "{body}");
    }
    for (path, body, field) in [
        ("/store/v1/checkout/quote", json!({ "line": [] }), "line"),
        ("/store/v1/cart/lines", json!({ "sku_id": sku, "quantity": 1, "note": "x" }), "note"),
        ("/auth/v1/logout", json!({ "everywhere": true }), "everywhere"),
        ("/auth/v1/verify", json!({ "token": "x", "strict": true }), "strict"),
    ] {
        let refused = ada.http.post(path, body).await;
        assert_problem(&refused, 400, "invalid", "unknown_field");
        assert_eq!(param(&refused), field);
    }
    let refused = ada.http.post("/store/v1/cart/lines?dry_run=true", json!({ "sku_id": sku, "quantity": 1 })).await;
    assert_problem(&refused, 400, "invalid", "unknown_field");
    assert_eq!(param(&refused), "dry_run");
    assert_eq!(ada.http.get("/store/v1/orders").await.body["orders"], json!([]));
    assert_eq!(ada.cart().await["lines"], json!([]));
    shop.stock_is(&sku, 5, 0).await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_json_is_refused() {
    let shop = Shop::start().await;
    let path = "/auth/v1/login";
    let json = ("content-type", b"application/json".as_slice());
    let deep = "[".repeat(200_000);
    let deep_inside = format!("{{\"email\": {}", "[".repeat(200_000));
    for body in ["{", "{\"email\": \"a\",}", "{'email': 'a'}", "nonsense", "{\"email\": \"\u{1}\"}"] {
        assert_problem(&raw(&shop, "POST", path, &[json], body).await, 400, "invalid", "malformed_json");
    }
    for body in ["{} {}", "[]", "7", "null", "\"text\"", deep.as_str(), deep_inside.as_str()] {
        let refused = raw(&shop, "POST", path, &[json], body).await;
        let code = refused.code().to_owned();
        assert!(matches!(code.as_str(), "malformed_json" | "invalid_field" | "required"), "{code}");
        assert_problem(&refused, 400, "invalid", &code);
    }
    let latin = raw(&shop, "POST", path, &[json], b"{\"email\": \"\xe9\", \"password\": \"x\"}".to_vec()).await;
    assert_problem(&latin, 400, "invalid", "malformed_json");
    let twice = raw(&shop, "POST", path, &[json], "{\"email\": \"a\", \"email\": \"b\", \"password\": \"c\"}").await;
    assert_problem(&twice, 400, "invalid", "invalid_field");
    assert_eq!(param(&twice), "email");
    let nothing = raw(&shop, "POST", path, &[json], "").await;
    assert_problem(&nothing, 400, "invalid", "required");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_another_type_is_refused_and_json_by_its_other_names_is_not() {
    let shop = Shop::start().await;
    let body = "{\"token\": \"x\"}";
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/html", "nonsense"]
    {
        let refused = raw(&shop, "POST", "/auth/v1/verify", &[("content-type", kind.as_bytes())], body).await;
        assert!(matches!(refused.status, 400 | 415), "{kind}: {}", refused.status);
        assert_problem(&refused, refused.status, "invalid", "unsupported_media_type");
    }
    for kind in ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON"] {
        let taken = raw(&shop, "POST", "/auth/v1/verify", &[("content-type", kind.as_bytes())], body).await;
        assert_eq!((taken.status, &taken.body["active"]), (200, &json!(false)), "{kind}");
    }
    assert_eq!(raw(&shop, "POST", "/auth/v1/verify", &[], body).await.status, 200);
    let packed = [("content-type", b"application/json".as_slice()), ("content-encoding", b"gzip".as_slice())];
    let refused = raw(&shop, "POST", "/auth/v1/verify", &packed, body).await;
    assert!(matches!(refused.status, 400 | 415), "{}", refused.status);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_one_mebibyte_is_refused_and_one_below_is_read() {
    let shop = Shop::start().await;
    let json = ("content-type", b"application/json".as_slice());
    let body = |bytes: usize| {
        let frame = "{\"token\": \"\"}".len();
        format!("{{\"token\": \"{}\"}}", "x".repeat(bytes - frame))
    };
    let most = raw(&shop, "POST", "/auth/v1/verify", &[json], body(1 << 20)).await;
    assert_eq!((most.status, &most.body["active"]), (200, &json!(false)), "{}", most.body);
    for bytes in [(1 << 20) + 1, 3 << 20] {
        let refused = raw(&shop, "POST", "/auth/v1/verify", &[json], body(bytes)).await;
        assert!(matches!(refused.status, 400 | 413), "{}", refused.status);
        assert_problem(&refused, refused.status, "invalid", "body_too_large");
    }
    shop.http.get("/store/v1/products").await.expect(200);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_route_is_404_and_an_unknown_verb_405_with_what_is_allowed() {
    let shop = Shop::start().await;
    let ada = shop.shopper().await;
    for path in [
        "/store/v1/nothing",
        "/store/v2/products",
        "/store/",
        "/store/v1/products/",
        "/STORE/v1/products",
        "/store/v1//cart",
    ] {
        assert_problem(&ada.http.get(path).await, 404, "not_found", "route_not_found");
    }
    for (verb, path, allowed) in [
        ("PUT", "/store/v1/products", vec!["GET"]),
        ("DELETE", "/store/v1/orders", vec!["GET", "POST"]),
        ("PUT", "/store/v1/orders/ord_x", vec!["GET", "PATCH"]),
        ("GET", "/auth/v1/login", vec!["POST"]),
        ("PATCH", "/store/v1/cart/lines/sku_x", vec!["DELETE", "PUT"]),
        ("POST", "/store/v1/me", vec!["DELETE", "GET", "PATCH"]),
        ("BREW", "/store/v1/cart", vec!["GET"]),
    ] {
        let refused = ada.http.send(verb, path, Value::Null).await;
        assert_problem(&refused, 405, "invalid", "method_not_allowed");
        let allow: BTreeSet<_> = refused.header("allow").split(',').map(str::trim).filter(|v| *v != "HEAD").collect();
        assert_eq!(allow, allowed.into_iter().collect(), "{verb} {path}");
    }
    let head = ada.http.send("HEAD", "/store/v1/products", Value::Null).await;
    assert_eq!((head.status, &head.body), (200, &Value::Null));
    shop.stop().await;
}

// Headers.

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_taken_from_the_client_or_made() {
    let shop = Shop::start().await;
    for id in ["abc-123", "550e8400-e29b-41d4-a716-446655440000", "a.b:c/d+e=f_g"] {
        for path in ["/store/v1/products", "/store/v1/products/prod_x", "/nowhere"] {
            let answer = shop.http.with("x-request-id", id).get(path).await;
            assert_eq!(answer.header("x-request-id"), id, "{path}");
            if answer.status != 200 {
                assert_eq!(answer.body["error"]["request_id"], id);
            }
        }
    }
    let mut made = BTreeSet::new();
    for path in ["/store/v1/products", "/store/v1/me", "/nowhere"] {
        for _ in 0..5 {
            let id = shop.http.get(path).await.header("x-request-id").to_owned();
            assert!(id.len() >= 16, "{id}");
            assert!(made.insert(id));
        }
    }
    let long = "x".repeat(5_000);
    for bad in [b"two words".as_slice(), b"<script>", b"a\"b", b"\xe9\xb8\xad", b"", long.as_bytes()] {
        let answer = raw(&shop, "GET", "/store/v1/products", &[("x-request-id", bad)], "").await;
        let id = answer.header("x-request-id");
        assert!(answer.status == 200 && !id.is_empty() && id.as_bytes() != bad, "{id}");
    }
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_of_the_client_is_honoured_and_a_broken_one_does_no_harm() {
    let logs = Logs::capture();
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 5).await;
    let ada = shop.shopper().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traced = ada.http.with("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01"));
    traced.post("/store/v1/cart/lines", json!({ "sku_id": sku, "quantity": 1 })).await.expect(200);
    eventually("the request is logged under its trace", async || {
        logs.text().lines().any(|line| line.contains("request answered") && line.contains(trace))
    })
    .await;
    for broken in [
        "nonsense",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473X-00f067aa0ba902b7-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736",
    ] {
        ada.http.with("traceparent", broken).get("/store/v1/cart").await.expect(200);
    }
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_the_headers_that_protect_a_browser() {
    let shop = Shop::start().await;
    let (product, _) = shop.product("Mug", 100, 5).await;
    let ada = shop.shopper().await;
    let product = format!("/store/v1/products/{product}");
    for path in [
        "/store/v1/products",
        product.as_str(),
        "/store/v1/me",
        "/store/v1/orders/ord_x",
        "/admin/v1/users",
        "/nowhere",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/.well-known/jwks.json",
    ] {
        let answer = ada.http.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert!(answer.header("content-security-policy").contains("default-src 'none'"), "{path}");
        assert!(!answer.header("content-type").is_empty(), "{path}");
        assert!(answer.header("server").is_empty() && answer.header("x-powered-by").is_empty(), "{path}");
    }
    // What belongs to one person must not be kept for another.
    let mine = ada.http.get("/store/v1/cart").await;
    assert!(mine.header("cache-control").contains("private") || mine.header("cache-control").contains("no-store"));
    assert!(mine.header("vary").to_lowercase().contains("authorization"));
    shop.stop().await;
}

// Idempotency.

#[tokio::test(flavor = "multi_thread")]
async fn whatever_moves_money_needs_a_key() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 5).await;
    let ada = shop.shopper().await;
    let paid = ada.buy(&sku, 1, 100).await;
    let (order_id, payment) = (text(&paid["id"]), text(&paid["payment_id"]));
    let pay = json!({ "payment": card(GOOD_CARD) });
    for answer in [
        ada.http.post("/store/v1/orders", order(100, card(GOOD_CARD))).await,
        ada.http.post(&format!("/store/v1/orders/{order_id}/pay"), pay).await,
        shop.admin.post(&format!("/admin/v1/orders/{order_id}/refund"), json!({ "reason": "x" })).await,
        shop.admin.post(&format!("/admin/v1/payments/{payment}/refund"), json!({ "reason": "x" })).await,
    ] {
        assert_problem(&answer, 400, "invalid", "idempotency_key_required");
        assert_eq!(param(&answer), "Idempotency-Key");
    }
    assert_eq!(shop.order(&order_id).await["status"], "paid");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_1_to_255_visible_characters() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 5).await;
    let ada = shop.shopper().await;
    let bearer = format!("Bearer {}", text(&ada.tokens["access_token"]));
    let mut body = order(100, card(GOOD_CARD));
    body["lines"] = json!([{ "sku_id": sku, "quantity": 1 }]);
    let (long, longest) = ("k".repeat(256), "k".repeat(255));
    let send = async |path: &str, key: &[u8], body: &Value| {
        let headers = [
            ("authorization", bearer.as_bytes()),
            ("content-type", b"application/json".as_slice()),
            ("idempotency-key", key),
        ];
        raw(&shop, "POST", path, &headers, body.to_string()).await
    };
    let line = json!({ "sku_id": sku, "quantity": 1 });
    for bad in [b"".as_slice(), long.as_bytes(), b"caf\xc3\xa9", b"a\tb"] {
        for (path, body) in [("/store/v1/orders", &body), ("/store/v1/cart/lines", &line)] {
            let refused = send(path, bad, body).await;
            assert_problem(&refused, 400, "invalid", "invalid_field");
            assert_eq!(param(&refused), "Idempotency-Key", "{path}");
        }
    }
    assert_eq!(ada.cart().await["lines"], json!([]));
    assert_eq!(send("/store/v1/orders", longest.as_bytes(), &body).await.status, 201);
    assert_eq!(send("/store/v1/orders", b"!", &body).await.status, 201);
    shop.stock_is(&sku, 3, 0).await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_belongs_to_its_caller_and_its_path_and_remembers_refusals_too() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 3).await;
    let (ada, bea) = (shop.shopper().await, shop.shopper().await);
    let mut body = order(100, card(GOOD_CARD));
    body["lines"] = json!([{ "sku_id": sku, "quantity": 1 }]);
    let path = "/store/v1/orders";
    let adas = ada.http.key("same").post(path, body.clone()).await.expect(201);
    let beas = bea.http.key("same").post(path, body.clone()).await.expect(201);
    assert_ne!(adas.body["order"]["id"], beas.body["order"]["id"]);
    assert_eq!((adas.header("idempotent-replayed"), beas.header("idempotent-replayed")), ("", ""));
    let again = ada.http.key("same").post(path, body.clone()).await.expect(201);
    assert_eq!((again.header("idempotent-replayed"), &again.body), ("true", &adas.body));
    assert_eq!(again.header("etag"), adas.header("etag"));
    // White space and the order of names are not another body; another path is another thing.
    let shuffled = format!(" {} ", serde_json::to_string_pretty(&body).unwrap());
    let bearer = format!("Bearer {}", text(&ada.tokens["access_token"]));
    let headers = [
        ("authorization", bearer.as_bytes()),
        ("content-type", b"application/json".as_slice()),
        ("idempotency-key", b"same".as_slice()),
    ];
    let spaced = raw(&shop, "POST", path, &headers, shuffled).await;
    assert_eq!((spaced.status, &spaced.body), (201, &adas.body));
    let line = json!({ "sku_id": sku, "quantity": 1 });
    let added = ada.http.key("same").post("/store/v1/cart/lines", line).await.expect(200);
    assert_eq!(added.header("idempotent-replayed"), "");

    body["lines"][0]["quantity"] = json!(2);
    body["expected_total"] = cny(200);
    let refused = ada.http.key("late").post(path, body.clone()).await.expect(409);
    assert_eq!(refused.code(), "out_of_stock");
    let adjust = format!("/admin/v1/inventory/{sku}/adjust");
    shop.admin.post(&adjust, json!({ "delta": 10, "reason": "delivery" })).await.expect(200);
    let still = ada.http.key("late").post(path, body.clone()).await.expect(409);
    assert_eq!(still.header("idempotent-replayed"), "true");
    // The answer is the old one; only the id of the request may be the new one's.
    let (mut one, mut other) = (refused.body.clone(), still.body.clone());
    one["error"].as_object_mut().unwrap().remove("request_id");
    other["error"].as_object_mut().unwrap().remove("request_id");
    assert_eq!(one, other);
    ada.http.key("later").post(path, body).await.expect(201);
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_honoured_wherever_something_is_made() {
    let shop = Shop::start().await;
    for (path, body) in [
        ("/admin/v1/categories", json!({ "slug": "mugs", "name": "Mugs" })),
        ("/admin/v1/brands", json!({ "name": "Potters" })),
    ] {
        let first = shop.admin.key("once").post(path, body.clone()).await.expect(201);
        let again = shop.admin.key("once").post(path, body).await.expect(201);
        assert_eq!((again.header("idempotent-replayed"), &again.body), ("true", &first.body), "{path}");
    }
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_a_product_or_an_order_heeds_the_version_that_was_seen() {
    let shop = Shop::start().await;
    let (product, sku) = shop.product("Mug", 100, 5).await;
    let ada = shop.shopper().await;
    let mut body = order(100, later());
    body["lines"] = json!([{ "sku_id": sku, "quantity": 1 }]);
    let waiting = text(&ada.http.key("k").post("/store/v1/orders", body).await.expect(201).body["order"]["id"]);
    let paid = text(&ada.buy(&sku, 1, 100).await["id"]);
    let pay = json!({ "payment": card(GOOD_CARD) });
    let tries = [
        (&ada.http, "POST", format!("/store/v1/orders/{waiting}/pay"), pay),
        (&shop.admin, "POST", format!("/admin/v1/orders/{paid}/ship"), json!({})),
        (&shop.admin, "POST", format!("/admin/v1/orders/{paid}/deliver"), json!({})),
        (&shop.admin, "POST", format!("/admin/v1/orders/{paid}/refund"), json!({ "reason": "x" })),
        (&shop.admin, "POST", format!("/admin/v1/products/{product}/delist"), json!({})),
        (&shop.admin, "POST", format!("/admin/v1/products/{product}/list"), json!({})),
        (&shop.admin, "DELETE", format!("/admin/v1/products/{product}"), Value::Null),
    ];
    let mut deaf = Vec::new();
    for (http, verb, path, body) in tries {
        let answer = http.with("if-match", "\"99\"").key(&unique("stale")).send(verb, &path, body).await;
        if answer.status != 412 {
            deaf.push(format!("{verb} {path}: {}", answer.status));
        }
    }
    assert!(deaf.is_empty(), "{deaf:#?}");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_paths_beside_rest_keep_the_conventions_too() {
    let shop = Shop::start().await;
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/.well-known/jwks.json"] {
        assert_problem(&shop.http.post(path, json!({})).await, 405, "invalid", "method_not_allowed");
        assert_eq!(shop.http.with("x-request-id", "mine").get(path).await.header("x-request-id"), "mine", "{path}");
    }
    shop.stop().await;
}

// What the edge says of itself.

#[tokio::test(flavor = "multi_thread")]
async fn the_description_holds_every_route_of_the_contract() {
    let shop = Shop::start().await;
    let document = openapi(&shop).await;
    assert!(text(&document["openapi"]).starts_with("3."));
    let described: BTreeSet<_> =
        operations(&document).iter().map(|(verb, path, _)| format!("{verb} {}", nameless(path))).collect();
    let missing: Vec<_> =
        ROUTES.lines().filter(|line| !line.is_empty() && !described.contains(&nameless(line))).collect();
    assert!(missing.is_empty(), "{missing:?}");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reference_of_the_description_leads_somewhere_and_every_operation_is_complete() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                for (name, inner) in map {
                    match inner {
                        Value::String(target) if name == "$ref" => drop(found.insert(target.clone())),
                        inner => references(inner, found),
                    }
                }
            }
            Value::Array(list) => list.iter().for_each(|inner| references(inner, found)),
            _ => {}
        }
    }
    let shop = Shop::start().await;
    let document = openapi(&shop).await;
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 50, "{}", found.len());
    for target in found {
        let pointer = target.strip_prefix('#').unwrap_or_else(|| panic!("{target} leads out of the document"));
        assert!(document.pointer(pointer).is_some(), "{target} leads nowhere");
    }
    let mut ids = BTreeSet::new();
    for (verb, path, operation) in operations(&document) {
        assert!(ids.insert(text(&operation["operationId"])), "{} twice", operation["operationId"]);
        assert!(!text(&operation["summary"]).is_empty(), "{verb} {path}");
        let responses = operation["responses"].as_object().expect("responses");
        assert!(responses.keys().any(|status| status.starts_with('2')), "{verb} {path}");
        assert!(responses.contains_key("400") || responses.contains_key("default"), "{verb} {path}");
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let in_path: BTreeSet<_> = parameters.iter().filter(|p| p["in"] == "path").map(|p| text(&p["name"])).collect();
        let in_template: BTreeSet<_> =
            path.split('/').filter_map(|part| Some(part.strip_prefix('{')?.strip_suffix('}')?.to_owned())).collect();
        assert_eq!(in_path, in_template, "{verb} {path}");
        assert!(parameters.iter().filter(|p| p["in"] == "path").all(|p| p["required"] == true), "{verb} {path}");
    }
    // Fields for calls inside are nobody's business.
    let whole = document.to_string();
    for inside in ["card_token", "agreed_unit_price_nanos", "on_behalf_of"] {
        assert!(!whole.contains(inside), "{inside} is described");
    }
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_role_is_shut_to_everybody_without_it() {
    let shop = Shop::start().await;
    let (ada, bea) = (shop.shopper().await, shop.user_with(&["user", "seller"]).await);
    let document = openapi(&shop).await;
    let (mut guarded, mut operators) = (0, 0);
    for (verb, path, operation) in operations(&document) {
        let open = operation["security"].as_array().is_none_or(|ways| ways.iter().any(|way| way == &json!({})));
        let path = path.split('/').map(|part| if part.starts_with('{') { "x_1" } else { part }).collect::<Vec<_>>();
        let path = path.join("/");
        let body = if matches!(verb.as_str(), "POST" | "PUT" | "PATCH") { json!({}) } else { Value::Null };
        let inside = path.starts_with("/admin/") || path.starts_with("/seller/");
        assert!(!(open && inside), "{verb} {path} is open to everybody");
        if open {
            continue;
        }
        guarded += 1;
        let guest = shop.http.key("k").send(&verb, &path, body.clone()).await;
        assert_problem(&guest, 401, "unauthenticated", "unauthenticated");
        if inside {
            operators += 1;
            let shopper = ada.http.key("k").send(&verb, &path, body.clone()).await;
            assert_problem(&shopper, 403, "forbidden", "forbidden");
        }
        if path.starts_with("/admin/") {
            let seller = bea.http.key("k").send(&verb, &path, body).await;
            assert_problem(&seller, 403, "forbidden", "forbidden");
        }
    }
    assert!(guarded > 50 && operators > 30, "{guarded} {operators}");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_page_needs_no_other_host() {
    let shop = Shop::start().await;
    let page = shop.http.get("/docs").await.expect(200);
    assert!(page.header("content-type").starts_with("text/html"));
    let mut files = vec![text(&page.body)];
    let mut targets = BTreeSet::new();
    for attribute in ["src=\"", "href=\""] {
        for rest in files[0].split(attribute).skip(1) {
            targets.insert(rest.split('"').next().unwrap().to_owned());
        }
    }
    assert!(targets.contains("/openapi.json"), "{targets:?}");
    for target in targets {
        assert!(target.starts_with('/') && !target.starts_with("//"), "{target}");
        let answer = shop.http.get(&target).await.expect(200);
        if target != "/openapi.json" {
            files.push(text(&answer.body));
        }
    }
    for file in &files {
        for outside in ["http://", "https://", "\"//", "'//", "url(//", "@import"] {
            assert!(!file.contains(outside), "{outside} in\n{file}");
        }
    }
    let policy = page.header("content-security-policy");
    assert!(!policy.contains("http") && !policy.contains('*') && !policy.contains("unsafe"), "{policy}");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_readiness_and_metrics_are_there() {
    mallard_runtime::telemetry::init_metrics();
    let shop = Shop::start().await;
    shop.http.get("/healthz").await.expect(200);
    shop.http.get("/readyz").await.expect(200);
    shop.http.get("/store/v1/products").await.expect(200);
    shop.http.get("/store/v1/products/prod_x").await.expect(404);
    shop.http.get("/nowhere/at/all").await.expect(404);
    let metrics = text(&shop.http.get("/metrics").await.expect(200).body);
    let counted = |route: &str, status: &str| {
        metrics.lines().any(|line| {
            line.starts_with("mallard_http_requests_total{")
                && line.contains(&format!("route=\"{route}\""))
                && line.contains(&format!("status=\"{status}\""))
        })
    };
    assert!(counted("/store/v1/products", "200"), "{metrics}");
    assert!(counted("/store/v1/products/{id}", "404"), "a route is counted by its template");
    assert!(!metrics.contains("/nowhere"), "what clients make up must not become series");
    assert!(metrics.contains("mallard_http_request_duration_seconds"));
    let shutdown = shop.mall.shutdown();
    shutdown.begin();
    // Draining says so on connections that are still open, or takes none.
    if let Ok(answer) = shop.http.try_send("GET", "/readyz", Value::Null).await {
        assert_eq!(answer.status, 503);
    }
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_keys_are_public_and_one_of_them_signed_the_tokens() {
    let shop = Shop::start().await;
    let ada = shop.shopper().await;
    let document = shop.http.get("/.well-known/jwks.json").await.expect(200);
    assert!(document.header("content-type").contains("json"));
    let keys = document.body["keys"].as_array().expect("keys").clone();
    assert!(!keys.is_empty());
    for key in &keys {
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(key.get(private).is_none(), "a private part is published: {private}");
        }
        assert!(key["kty"].is_string() && key["kid"].is_string());
    }
    let token = text(&ada.tokens["access_token"]);
    let head = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).expect("base64");
    let head: Value = serde_json::from_slice(&head).expect("JSON");
    let key = keys.iter().find(|key| key["kid"] == head["kid"]).expect("the key of the token");
    assert_eq!((&key["kty"], &key["crv"], &head["alg"]), (&json!("OKP"), &json!("Ed25519"), &json!("EdDSA")));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_the_services_and_the_checks_of_their_books() {
    let shop = Shop::start().await;
    let services = async || shop.admin.get("/admin/v1/system/services").await.expect(200).body["services"].clone();
    // Each is given two seconds for a sign of life, which a busy machine may miss once.
    eventually("every service is up", async || {
        services().await.as_array().unwrap().iter().all(|service| service["ok"] == true)
    })
    .await;
    let services = services().await;
    let services = services.as_array().unwrap();
    let names: BTreeSet<_> = services.iter().map(|service| text(&service["name"])).collect();
    for name in ["identity", "catalog", "inventory", "cart", "promotion", "order", "payment"] {
        assert!(names.contains(name), "{name} is missing in {names:?}");
    }
    let check = shop.admin.get("/admin/v1/check").await.expect(200).body;
    assert_eq!(check["ok"], true, "{check}");
    for entry in check["checks"].as_array().unwrap() {
        assert!(entry["name"].is_string() && entry["ok"].is_boolean() && entry["detail"].is_string(), "{entry}");
    }
    assert_eq!(shop.admin.get("/admin/v1/system/dead-letters").await.expect(200).body["dead_letters"], json!([]));
    shop.stop().await;
}

// Fault 41: clients that mean harm.

#[tokio::test(flavor = "multi_thread")]
async fn nobody_names_a_price_of_its_own() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Gold bar", 5_000_000, 5).await;
    let ada = shop.shopper().await;
    let path = "/store/v1/orders";
    // Every way to say "one fen" that a hopeful client might try.
    let mut hopes = Vec::new();
    for (field, value) in [
        ("total", cny(1)),
        ("price", cny(1)),
        ("discount", cny(4_999_999)),
        ("subtotal", cny(1)),
        ("status", json!("paid")),
        ("payment_status", json!("captured")),
        ("amount", json!(1)),
        ("quote", json!({ "total": cny(1) })),
    ] {
        let mut body = order(5_000_000, card(GOOD_CARD));
        body["lines"] = json!([{ "sku_id": sku, "quantity": 1 }]);
        body[field] = value.clone();
        hopes.push((field.to_owned(), body));
        for (place, name) in [("payment", format!("payment.{field}")), ("line", format!("lines[0].{field}"))] {
            let mut body = order(5_000_000, card(GOOD_CARD));
            body["lines"] = json!([{ "sku_id": sku, "quantity": 1 }]);
            match place {
                "payment" => body["payment"][field] = value.clone(),
                _ => body["lines"][0][field] = value.clone(),
            }
            hopes.push((name, body));
        }
    }
    for (field, body) in hopes {
        let refused = ada.http.key(&unique("hope")).post(path, body).await;
        assert_problem(&refused, 400, "invalid", "unknown_field");
        assert_eq!(param(&refused), field);
    }
    for amount in [1, 0, -5_000_000, 4_999_999, i64::MAX, i64::MIN] {
        let mut body = order(amount, card(GOOD_CARD));
        body["lines"] = json!([{ "sku_id": sku, "quantity": 1 }]);
        let refused = ada.http.key(&unique("cheap")).post(path, body).await;
        assert_problem(&refused, 409, "conflict", "price_changed");
        assert_eq!(refused.body["error"]["details"]["quote"]["total"], cny(5_000_000));
    }
    for currency in ["JPY", "KRW", "USD"] {
        let mut body = order(5_000_000, card(GOOD_CARD));
        body["lines"] = json!([{ "sku_id": sku, "quantity": 1 }]);
        body["expected_total"]["currency"] = json!(currency);
        ada.http.key(&unique("soft")).post(path, body).await.expect(409);
    }
    for method in ["external", "free", "", "CARD", "balance", "alipay"] {
        let mut body = order(5_000_000, json!({ "method": method }));
        body["lines"] = json!([{ "sku_id": sku, "quantity": 1 }]);
        let refused = ada.http.key(&unique("method")).post(path, body).await;
        assert!(matches!(refused.status, 400 | 422), "{method}: {} {}", refused.status, refused.body);
    }
    eventually("nothing is held for refused methods", async || shop.stock(&sku).await == (5, 0)).await;
    let orders = ada.http.get("/store/v1/orders").await.expect(200).body["orders"].clone();
    let alive = orders.as_array().unwrap().iter().filter(|order| order["status"] != "cancelled").count();
    assert_eq!(alive, 0, "{orders}");
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_quantity_is_negative_and_no_sum_overflows() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 20_000).await;
    let (_, dear) = shop.product("Moon", 1_000_000_000_000, 20_000).await;
    let ada = shop.shopper().await;
    let quote = async |lines: Value| ada.http.post("/store/v1/checkout/quote", json!({ "lines": lines })).await;
    for quantity in [0, -1, 10_000, i64::from(i32::MAX) + 1, i64::MAX, i64::MIN] {
        let lines = json!([{ "sku_id": sku, "quantity": 5 }, { "sku_id": dear, "quantity": quantity }]);
        let refused = quote(lines.clone()).await;
        assert_problem(&refused, 400, "invalid", "quantity_out_of_range");
        assert_eq!(param(&refused), "lines[1].quantity", "{quantity}");
        let mut body = order(500, card(GOOD_CARD));
        body["lines"] = lines;
        let refused = ada.http.key(&unique("q")).post("/store/v1/orders", body).await;
        assert_problem(&refused, 400, "invalid", "quantity_out_of_range");
    }
    // A minus here and a plus there do not make a discount.
    let mixed = json!([{ "sku_id": sku, "quantity": 3 }, { "sku_id": sku, "quantity": -2 }]);
    quote(mixed).await.expect(400);
    // The dearest line there can be is counted exactly; a hundred of them still are.
    let most = quote(json!([{ "sku_id": dear, "quantity": 9_999 }])).await.expect(200).body;
    assert_eq!(most["quote"]["total"], cny(9_999_000_000_000_000));
    let hundred: Vec<_> = (0..100).map(|_| json!({ "sku_id": dear, "quantity": 9_999 })).collect();
    let sum = quote(json!(hundred)).await;
    match sum.status {
        200 => assert_eq!(sum.body["quote"]["total"], cny(999_900_000_000_000_000)),
        status => assert!(matches!(status, 400 | 409 | 422), "{status} {}", sum.body),
    }
    let more: Vec<_> = (0..101).map(|_| json!({ "sku_id": sku, "quantity": 1 })).collect();
    quote(json!(more)).await.expect(400);
    let huge: Vec<_> = (0..20_000).map(|i| json!({ "sku_id": format!("sku_{i}"), "quantity": 1 })).collect();
    quote(json!(huge)).await.expect(400);
    shop.stock_is(&sku, 20_000, 0).await;
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sku_on_many_lines_takes_no_more_than_there_is() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 5).await;
    let ada = shop.shopper().await;
    let mut body = order(600, card(GOOD_CARD));
    body["lines"] = json!([{ "sku_id": sku, "quantity": 3 }, { "sku_id": sku, "quantity": 3 }]);
    let refused = ada.http.key("six").post("/store/v1/orders", body).await;
    assert!(matches!(refused.status, 400 | 409), "{}", refused.body);
    shop.stock_is(&sku, 5, 0).await;
    let mut body = order(500, card(GOOD_CARD));
    body["lines"] = json!([{ "sku_id": sku, "quantity": 3 }, { "sku_id": sku, "quantity": 2 }]);
    let placed = ada.http.key("five").post("/store/v1/orders", body).await;
    if placed.status == 201 {
        shop.stock_is(&sku, 0, 0).await;
        assert_eq!(placed.body["order"]["total"], cny(500));
    } else {
        assert_eq!(placed.status, 400, "{}", placed.body);
    }
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_logged_out_opens_nothing_any_more() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 5).await;
    let ada = shop.shopper().await;
    ada.add(&sku, 1).await.expect(200);
    let mut body = order(100, card(GOOD_CARD));
    body["lines"] = json!([{ "sku_id": sku, "quantity": 1 }]);
    let placed = ada.http.key("k").post("/store/v1/orders", body.clone()).await.expect(201).body;
    let id = text(&placed["order"]["id"]);
    ada.http.post("/auth/v1/logout", json!({})).await.expect(204);
    let tries = join_all((0..20).map(|i| {
        let (http, body, id) = (ada.http.key(&format!("replay{}", i / 2)), body.clone(), id.clone());
        async move {
            match i % 4 {
                0 => http.post("/store/v1/orders", body).await,
                1 => http.get(&format!("/store/v1/orders/{id}")).await,
                2 => http.post("/store/v1/cart/lines", json!({ "sku_id": "x", "quantity": 1 })).await,
                _ => http.get("/store/v1/me").await,
            }
        }
    }))
    .await;
    for answer in tries {
        assert_problem(&answer, 401, "unauthenticated", "session_revoked");
    }
    // Not even the answer that the key remembers.
    ada.http.key("k").post("/store/v1/orders", body).await.expect(401);
    shop.stock_is(&sku, 4, 0).await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_texts_are_kept_as_they_are_or_refused_and_never_run() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 50).await;
    let ada = shop.shopper().await;
    for odd in [
        "'; DROP TABLE orders; --",
        "<script>alert(1)</script>",
        "{{7*7}} ${7*7} %s %n",
        "Ünïcödé 鸭子 🦆 \u{202e}evil",
        "\\u0000 \\ \" '",
        "line\nbreak\ttab",
    ] {
        let mut body = order(100, card(GOOD_CARD));
        body["lines"] = json!([{ "sku_id": sku, "quantity": 1 }]);
        body["note"] = json!(odd);
        body["address"]["street"] = json!(odd);
        let placed = ada.http.key(&unique("odd")).post("/store/v1/orders", body).await;
        if placed.status == 201 {
            let id = text(&placed.body["order"]["id"]);
            let kept = ada.http.get(&format!("/store/v1/orders/{id}")).await.expect(200).body["order"].clone();
            assert_eq!((&kept["note"], &kept["address"]["street"]), (&json!(odd), &json!(odd)));
        } else {
            assert_eq!((placed.status, &placed.body["error"]["type"]), (400, &json!("invalid")), "{odd:?}");
        }
        let path = format!("/store/v1/orders/{}", odd.bytes().map(|b| format!("%{b:02x}")).collect::<String>());
        ada.http.get(&path).await.expect(404);
    }
    for (field, value) in [
        ("note", json!("x".repeat(100_000))),
        ("address", json!({ "name": "x".repeat(100_000), "country": "CN", "street": "x" })),
        ("address", json!({ "country": "CN", "street": "x" })),
        ("address_id", json!("addr_unknown")),
    ] {
        let mut body = order(100, card(GOOD_CARD));
        body["lines"] = json!([{ "sku_id": sku, "quantity": 1 }]);
        body[field] = value;
        let refused = ada.http.key(&unique("long")).post("/store/v1/orders", body).await;
        assert!(matches!(refused.status, 400 | 404), "{field}: {} {}", refused.status, refused.body);
    }
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_never_loses_the_address_it_has() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 5).await;
    let ada = shop.shopper().await;
    let id = text(&ada.buy(&sku, 1, 100).await["id"]);
    let path = format!("/store/v1/orders/{id}");
    for part in ["name", "country", "street"] {
        let mut body = address();
        body[part] = json!(" ");
        let refused = ada.http.patch(&path, json!({ "address": body })).await;
        assert_problem(&refused, 400, "invalid", "required");
        assert_eq!(param(&refused), format!("address.{part}"));
    }
    for body in [
        json!({}),
        json!({ "address": {} }),
        json!({ "address": null }),
        json!({ "address": address(), "status": "paid" }),
    ] {
        assert_eq!(ada.http.patch(&path, body.clone()).await.status, 400, "{body}");
    }
    assert_eq!(shop.order(&id).await["address"], address());
    shop.stop().await;
}
