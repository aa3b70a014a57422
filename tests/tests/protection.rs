//! The mall protects itself: who asks too often, who comes from where it should not, what happens when it is full or a service
//! hangs. Scenarios 59 and 60.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mallard_rpc::{Fault, FaultAction};
use mallard_testkit::{Answer, eventually};
use mallard_tests::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Methods that hang while the switch is on.
struct Hangs {
    methods: &'static [&'static str],
    on: AtomicBool,
    /// How often one has begun to hang.
    begun: AtomicU64,
}

/// How long they hang: longer than anybody waits in a test.
const HANG: Duration = Duration::from_secs(3_600);

impl Fault for Hangs {
    fn decide(&self, _: &str, method: &str) -> FaultAction {
        if !self.methods.contains(&method) || !self.on.load(Ordering::SeqCst) {
            return FaultAction::Pass;
        }
        self.begun.fetch_add(1, Ordering::SeqCst);
        FaultAction::Delay(HANG)
    }
}

/// Starts a shop with settings of the gateway and a method that may be told to hang.
async fn shop_with(settings: &[(&str, Value)], methods: &'static [&'static str]) -> (Shop, Arc<Hangs>) {
    let hangs = Arc::new(Hangs { methods, on: AtomicBool::new(false), begun: AtomicU64::new(0) });
    let fault = Arc::clone(&hangs);
    let shop = Shop::start_with(|mut start| {
        start.fault = Some(fault);
        for (key, value) in settings {
            start.config = start.config.set(&format!("gateway.{key}"), value);
        }
        start
    })
    .await;
    (shop, hangs)
}

async fn shop(settings: &[(&str, Value)]) -> Shop {
    shop_with(settings, &[]).await.0
}

fn refusal(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.code())
}

/// Sends one request over a connection that stays open, and reads the whole answer.
async fn exchange(connection: &mut TcpStream, request: &str) -> String {
    connection.write_all(request.as_bytes()).await.expect("the connection is open");
    let mut seen = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let count = connection.read(&mut buffer).await.expect("the connection is open");
        assert!(count > 0, "the mall hung up: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&seen).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return text;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_to_come_back_and_others_are_served() {
    mallard_runtime::telemetry::init_metrics();
    let limit = json!([{
        "name": "patience", "routes": ["/store/v1/me"], "verbs": ["GET"], "by": "user", "rate": 3, "per_s": 3600
    }]);
    let shop = shop(&[("limits", limit)]).await;
    let (ada, bea) = (shop.shopper().await, shop.shopper().await);
    for remaining in ["2", "1", "0"] {
        let answer = ada.http.get("/store/v1/me").await.expect(200);
        assert_eq!((answer.header("ratelimit-limit"), answer.header("ratelimit-remaining")), ("3", remaining));
        assert_eq!(answer.header("ratelimit-policy"), "3;w=3600;name=\"patience\"");
    }
    for _ in 0..20 {
        let refused = ada.http.get("/store/v1/me").await;
        assert_eq!(refusal(&refused), (429, "rate_limited"));
        assert_eq!(refused.body["error"]["details"]["rule"], "patience");
        let wait: u64 = refused.header("retry-after").parse().expect("seconds");
        assert!((1..=1_200).contains(&wait), "{wait}");
    }
    bea.http.get("/store/v1/me").await.expect(200);
    ada.http.get("/store/v1/cart").await.expect(200);

    // What was refused is counted, but never as something the mall did.
    let metrics = shop.http.get("/metrics").await.body;
    let text = metrics.as_str().expect("text");
    let value = |start: &str, has: &[&str]| {
        let mut lines =
            text.lines().filter(|line| line.starts_with(start) && has.iter().all(|part| line.contains(part)));
        lines.next().and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
    };
    assert_eq!(value("mallard_rate_limited_total", &["rule=\"patience\""]), Some(20.0));
    assert_eq!(value("mallard_http_requests_total", &["route=\"/store/v1/me\"", "status=\"429\""]), None);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_mall_says_why_and_keeps_the_connection() {
    let full = json!({"limit_min": 1, "limit_initial": 1, "limit_max": 1, "waiting_max": 0});
    let (shop, hangs) = shop_with(&[("concurrency", full)], &["GetOrder"]).await;
    let (ada, bea) = (shop.shopper().await, shop.shopper().await);
    hangs.on.store(true, Ordering::SeqCst);
    let stuck = tokio::spawn({
        let http = ada.http.clone();
        // The one place may not be free yet after the last answer, so this one asks until it is the one that holds it.
        async move {
            while let Ok(answer) = http.try_send("GET", "/store/v1/orders/ord_1", Value::Null).await
                && answer.status == 503
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    eventually("the mall is full", async || hangs.begun.load(Ordering::SeqCst) > 0).await;
    let shed = bea.http.get("/store/v1/cart").await;
    assert_eq!(refusal(&shed), (503, "overloaded"));
    assert_eq!(shed.header("x-mallard-shed"), "concurrency");
    let wait: u64 = shed.header("retry-after").parse().expect("seconds");
    assert!((1..=3).contains(&wait), "{wait}");

    // One connection: a request that is shed with its body unread, then others.
    let mut connection =
        TcpStream::connect(shop.mall.http_addr().expect("the gateway listens")).await.expect("it listens");
    let body = json!({ "sku_id": "sku_1", "quantity": 1 }).to_string();
    let post = format!(
        "POST /store/v1/cart/lines HTTP/1.1\r\nhost: mall\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    for _ in 0..2 {
        let answer = exchange(&mut connection, &post).await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("x-mallard-shed: concurrency"), "{answer}");
        let answer = exchange(&mut connection, "GET /healthz HTTP/1.1\r\nhost: mall\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    stuck.abort();
    let _ = stuck.await;
    eventually("the place is free again", async || bea.http.get("/store/v1/cart").await.status == 200).await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_hangs_does_not_make_the_page_hang() {
    let limit = [("read_timeout_ms", json!(2_000))];
    let (shop, hangs) = shop_with(&limit, &["GetCart", "AddLine", "Login", "UpdateMe", "AdminListOrders"]).await;
    let (product, sku) = shop.product("Lamp", 990, 5).await;
    let ada = shop.shopper().await;
    hangs.on.store(true, Ordering::SeqCst);
    let line = json!({ "sku_id": sku, "quantity": 1 });
    let login = json!({ "email": "ada@example.com", "password": "wrong horse battery" });
    for (client, verb, path, body) in [
        (&ada.http, "GET", "/store/v1/cart", Value::Null),
        (&ada.http, "POST", "/store/v1/cart/lines", line),
        (&ada.http, "PATCH", "/store/v1/me", json!({ "name": "Ada" })),
        (&shop.http, "POST", "/auth/v1/login", login),
        (&shop.admin, "GET", "/admin/v1/orders", Value::Null),
    ] {
        let begun = std::time::Instant::now();
        let answer = client.send(verb, path, body).await;
        assert!(matches!(answer.status, 503 | 504), "{verb} {path}: {} {}", answer.status, answer.body);
        // The two seconds of what is not about money, and some for a machine that is busy with other tests. What is about money
        // would take ten minutes here, the service an hour.
        assert!(begun.elapsed() < Duration::from_secs(60), "{verb} {path}: {:?}", begun.elapsed());
    }
    let page = format!("/store/v1/products/{product}");
    patiently("a page", async || ada.http.get(&page).await).await.expect(200);
    eventually("others are served", async || ada.http.get("/store/v1/me").await.status == 200).await;
    hangs.on.store(false, Ordering::SeqCst);
    eventually("the cart is back", async || ada.http.get("/store/v1/cart").await.status == 200).await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_door_opens_to_their_network_only() {
    let settings = [
        ("trusted_proxies", json!(["127.0.0.1/32"])),
        ("addresses", json!({ "deny": ["198.51.100.0/24"], "admin_allow": ["127.0.0.1", "10.0.0.0/8"] })),
    ];
    let shop = shop(&settings).await;
    let from = |address: &str| shop.admin.with("x-forwarded-for", address);
    shop.admin.get("/admin/v1/products").await.expect(200);
    from("10.1.2.3").get("/admin/v1/products").await.expect(200);
    assert_eq!(refusal(&from("203.0.113.5").get("/admin/v1/products").await), (403, "address_denied"));
    // The client wrote the first hop itself; the proxy the second.
    assert_eq!(refusal(&from("10.1.2.3, 203.0.113.5").get("/admin/v1/products").await), (403, "address_denied"));
    from("203.0.113.5").get("/store/v1/products").await.expect(200);
    assert_eq!(refusal(&from("198.51.100.9").get("/store/v1/products").await), (403, "address_denied"));
    shop.http.with("x-forwarded-for", "198.51.100.9").get("/healthz").await.expect(200);
    for path in ["/openapi.json", "/docs", "/.well-known/jwks.json", "/metrics"] {
        assert_eq!(refusal(&from("198.51.100.9").get(path).await), (403, "address_denied"), "{path}");
    }
    assert_eq!(refusal(&from("203.0.113.5").get("/metrics").await), (403, "address_denied"), "it is the operators'");
    from("203.0.113.5").get("/openapi.json").await.expect(200);
    from("10.1.2.3").get("/metrics").await.expect(200);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_may_call_when_it_is_named() {
    let shop = shop(&[("cors", json!({ "origins": ["https://shop.example"] }))]).await;
    let page = shop.http.with("origin", "https://shop.example");
    let preflight = page.with("access-control-request-method", "POST");
    let answer = preflight.send("OPTIONS", "/store/v1/orders", Value::Null).await.expect(204);
    assert_eq!(answer.header("access-control-allow-origin"), "https://shop.example");
    assert_eq!(answer.header("access-control-allow-methods"), "GET, POST, HEAD");
    let answer = page.get("/store/v1/products").await.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), "https://shop.example");
    assert!(answer.header("access-control-expose-headers").contains("X-Request-Id"));
    let stranger = shop.http.with("origin", "https://evil.example");
    let answer = stranger.get("/store/v1/products").await.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), "");
    let answer =
        stranger.with("access-control-request-method", "POST").send("OPTIONS", "/store/v1/orders", Value::Null).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (405, ""));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_is_named_in_the_answer_and_sticks() {
    let canaries = json!([
        { "service": "order", "version": "v2", "header": "X-Mallard-Canary" },
        { "service": "cart", "version": "next", "weight_percent": 50 },
    ]);
    let shop = shop(&[("canary", canaries)]).await;
    let asked = shop.http.with("x-mallard-canary", "v2").get("/store/v1/products").await.expect(200);
    assert!(asked.header("x-mallard-canary").contains("order=v2"), "{}", asked.header("x-mallard-canary"));
    let mut chosen = 0;
    for _ in 0..24 {
        let shopper = shop.shopper().await;
        // No instance has that version, so the ones there are answer.
        let first = shopper.http.get("/store/v1/cart").await.expect(200).header("x-mallard-canary").to_owned();
        let again = shopper.http.get("/store/v1/cart").await.expect(200).header("x-mallard-canary").to_owned();
        assert_eq!(first, again);
        assert!(first.is_empty() || first == "cart=next", "{first}");
        chosen += usize::from(!first.is_empty());
    }
    assert!((1..24).contains(&chosen), "{chosen} of 24 are about half");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_hot_route_an_order_costs_its_client_a_little_work() {
    let shop = shop(&[("friction", json!({ "routes": ["POST /store/v1/orders"], "difficulty_bits": 10 }))]).await;
    let (_, sku) = shop.product("Console", 990, 5).await;
    let ada = shop.shopper().await;
    ada.add(&sku, 1).await.expect(200);
    let refused = ada.place("hot", 990, card(GOOD_CARD)).await;
    assert_eq!(refusal(&refused), (403, "challenge_required"));
    let details = &refused.body["error"]["details"];
    assert_eq!((details["algorithm"].as_str(), details["difficulty_bits"].as_u64()), (Some("sha256"), Some(10)));
    let challenge = details["challenge"].as_str().expect("a challenge");
    let proofs = (0u64..).map(|nonce| format!("{challenge}.{nonce}"));
    let worked = |proof: &String| {
        let digest = Sha256::digest(proof);
        u16::from_be_bytes([digest[0], digest[1]]).leading_zeros() >= 10
    };
    let proof = proofs.into_iter().find(worked).expect("numbers do not end");
    let buyer = ada.http.with("x-mallard-proof", &proof);
    let body = order(990, card(GOOD_CARD));
    let placed = buyer.key("hot").post("/store/v1/orders", body.clone()).await.expect(201);
    assert_eq!(placed.body["order"]["status"], "paid");
    assert_eq!(refusal(&buyer.key("again").post("/store/v1/orders", body).await), (403, "challenge_required"));
    ada.http.get("/store/v1/orders").await.expect(200);
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_cannot_hold_stops_the_start_and_is_named() {
    for (key, value, named) in [
        (
            "limits",
            json!([{ "name": "a", "routes": ["/store/v1/nothing"], "by": "user", "rate": 1 }]),
            "/store/v1/nothing",
        ),
        ("limits", json!([{ "name": "a", "by": "moon", "rate": 1 }]), "gateway.limits[0].by"),
        ("friction", json!({ "routes": ["/nothing"] }), "friction.routes"),
        ("cors", json!({ "origins": ["*"], "credentials": true }), "gateway.cors.credentials"),
        ("canary", json!([{ "service": "moon", "version": "v2" }]), "gateway.canary[0].service"),
        ("trusted_proxies", json!(["everybody"]), "gateway.trusted_proxies"),
    ] {
        let config = mallard_testkit::config().set(&format!("gateway.{key}"), &value);
        let mut settings = mallard_testkit::settings(vec![mallard_gateway_spec()]);
        settings.config = config;
        let error = mallard_runtime::Mall::start(settings).await.err().map(|error| format!("{error:#}"));
        let error = error.unwrap_or_else(|| panic!("{key} = {value} is taken"));
        assert!(error.contains(named), "{key} = {value}: {error}");
    }
}

/// The gateway alone.
fn mallard_gateway_spec() -> mallard_runtime::ServiceSpec {
    let services = mallard::services();
    services.into_iter().find(|spec| spec.name == "gateway").expect("the mall has a gateway")
}
