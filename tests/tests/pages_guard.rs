//! Pages are protected as the API is: by rate limits, lists of networks, and shedding.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mallard_rpc::{Fault, FaultAction};
use mallard_testkit::eventually;
use mallard_tests::browser::{Browser, Page};
use mallard_tests::*;
use serde_json::{Value, json};

/// A method that hangs while the switch is on.
struct Hangs {
    method: &'static str,
    on: AtomicBool,
    /// How often it has begun to hang.
    begun: AtomicU64,
}

impl Fault for Hangs {
    fn decide(&self, _: &str, method: &str) -> FaultAction {
        if method != self.method || !self.on.load(Ordering::SeqCst) {
            return FaultAction::Pass;
        }
        self.begun.fetch_add(1, Ordering::SeqCst);
        FaultAction::Delay(Duration::from_secs(3_600))
    }
}

async fn shop(settings: &[(&str, Value)], method: &'static str) -> (Shop, Arc<Hangs>) {
    let hangs = Arc::new(Hangs { method, on: AtomicBool::new(false), begun: AtomicU64::new(0) });
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

/// Opens a browser at an address, which the proxy in front tells.
fn browser_at(shop: &Shop, address: &str) -> Browser {
    let mut browser = Browser::new(shop);
    browser.headers.push(("x-forwarded-for".into(), address.into()));
    browser
}

fn is_small_page(page: &Page) -> bool {
    page.header("content-type") == "text/html; charset=utf-8" && page.has("lang=\"zh\"") && !page.has("_csrf")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_sign_ins_from_one_address_is_limited_like_the_api() {
    let limit = json!([{
        "name": "patience", "routes": ["/auth/v1/login"], "verbs": ["POST"], "by": "address", "rate": 3, "per_s": 3600
    }]);
    let (shop, _) = shop(&[("trusted_proxies", json!(["127.0.0.1/32"])), ("limits", limit)], "nothing").await;
    let mut ada = browser_at(&shop, "203.0.113.5");
    ada.get("/sign-in").await.expect(200);
    let fields = [("email", "ada@shop.test"), ("password", "wrong password"), ("next", "/")];
    for remaining in ["2", "1", "0"] {
        let page = ada.post("/sign-in", &fields).await.expect(422);
        assert_eq!(page.header("ratelimit-remaining"), remaining);
    }
    for _ in 0..5 {
        let page = ada.post("/sign-in", &fields).await.expect(429);
        assert!(is_small_page(&page), "{}", page.body);
        let wait: u64 = page.header("retry-after").parse().expect("seconds");
        assert!((1..=1_200).contains(&wait), "{wait}");
    }
    // In another language, and through the API: the same limit.
    ada.post("/zh/sign-in", &fields).await.expect(429);
    let login = json!({ "email": "ada@shop.test", "password": "wrong password" });
    let api = shop.http.with("x-forwarded-for", "203.0.113.5").post("/auth/v1/login", login).await;
    assert_eq!((api.status, api.code()), (429, "rate_limited"));
    // Who floods may still look, and others may sign in.
    ada.get("/").await.expect(200);
    let mut bea = browser_at(&shop, "203.0.113.6");
    bea.get("/sign-in").await.expect(200);
    bea.post("/sign-in", &fields).await.expect(422);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_by_user_holds_for_pages_wherever_the_user_is() {
    let limit = json!([{
        "name": "orders", "routes": ["/store/v1/orders"], "verbs": ["GET"], "by": "user", "rate": 3, "per_s": 3600
    }]);
    let (shop, _) = shop(&[("trusted_proxies", json!(["127.0.0.1/32"])), ("limits", limit)], "nothing").await;
    let mut ada = browser_at(&shop, "203.0.113.5");
    ada.sign_up().await;
    let mut elsewhere = ada.clone();
    elsewhere.headers.retain(|(name, _)| name != "x-forwarded-for");
    elsewhere.headers.push(("x-forwarded-for".into(), "203.0.113.9".into()));
    for _ in 0..2 {
        ada.get("/orders").await.expect(200);
    }
    elsewhere.get("/orders").await.expect(200);
    for browser in [&mut ada, &mut elsewhere] {
        let page = browser.get("/orders").await.expect(429);
        assert_ne!(page.header("retry-after"), "");
        browser.get("/account").await.expect(200);
    }
    let mut bea = browser_at(&shop, "203.0.113.5");
    bea.sign_up().await;
    bea.get("/orders").await.expect(200);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_network_sees_no_page_and_no_file_and_the_console_is_for_the_operators_network() {
    let settings = [
        ("trusted_proxies", json!(["127.0.0.1/32"])),
        ("addresses", json!({ "deny": ["198.51.100.0/24"], "admin_allow": ["127.0.0.1", "10.0.0.0/8"] })),
    ];
    let (shop, _) = shop(&settings, "nothing").await;
    let mut allowed = browser_at(&shop, "203.0.113.5");
    let home = allowed.get("/").await.expect(200);
    let style = home.loads().into_iter().find(|url| url.contains("/assets/")).expect("a style sheet");
    allowed.get(&style).await.expect(200);

    let mut denied = browser_at(&shop, "198.51.100.9");
    for path in ["/", "/zh/cart", "/sign-in", "/nothing", &style] {
        let page = denied.get(path).await.expect(403);
        assert!(is_small_page(&page), "{path}: {}", page.body);
        assert_ne!(page.header("x-request-id"), "", "{path}");
        assert_eq!(page.header("set-cookie"), "", "{path}");
    }
    let page = allowed.get("/operator").await.expect(403);
    assert!(is_small_page(&page), "{}", page.body);
    let page = browser_at(&shop, "10.1.2.3").get("/operator").await;
    assert!(!is_small_page(&page), "the operators' network is let in: {} {}", page.status, page.body);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_mall_sheds_pages_with_a_word_when_to_come_back() {
    let full = json!({"limit_min": 1, "limit_initial": 1, "limit_max": 1, "waiting_max": 0});
    let (shop, hangs) = shop(&[("concurrency", full)], "GetOrder").await;
    let ada = shop.shopper().await;
    let mut bea = Browser::new(&shop);
    eventually("there is room", async || bea.clone().get("/").await.status == 200).await;
    hangs.on.store(true, Ordering::SeqCst);
    let stuck = tokio::spawn({
        let http = ada.http.clone();
        // The place of the last answer may not be free yet.
        async move { while http.get("/store/v1/orders/ord_1").await.status == 503 {} }
    });
    eventually("the mall is full", async || hangs.begun.load(Ordering::SeqCst) > 0).await;
    let page = bea.get("/").await.expect(503);
    assert!(is_small_page(&page), "{}", page.body);
    assert_eq!(page.header("x-mallard-shed"), "concurrency");
    let wait: u64 = page.header("retry-after").parse().expect("seconds");
    assert!((1..=3).contains(&wait), "{wait}");
    // A program that asks for a page gets JSON.
    bea.headers.retain(|(name, _)| name != "accept");
    let program = bea.get("/").await.expect(503);
    assert!(program.has("\"overloaded\""), "{}", program.body);
    stuck.abort();
    let _ = stuck.await;
    hangs.on.store(false, Ordering::SeqCst);
    eventually("there is room again", async || Browser::new(&shop).get("/").await.status == 200).await;
    shop.stop().await;
}
