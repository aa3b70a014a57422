//! Operators see which requests took long, and which calls of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mallard_rpc::{Fault, FaultAction};
use mallard_testkit::eventually;
use mallard_tests::browser::Browser;
use mallard_tests::*;
use serde_json::{Value, json};

/// A method that is slow while the switch is on.
struct Slow(&'static str, &'static str, Arc<AtomicBool>);

impl Fault for Slow {
    fn decide(&self, service: &str, method: &str) -> FaultAction {
        match (service, method) == (self.0, self.1) && self.2.load(Ordering::SeqCst) {
            true => FaultAction::Delay(Duration::from_millis(400)),
            false => FaultAction::Pass,
        }
    }
}

async fn trace(shop: &Shop, id: &str) -> Option<Value> {
    let answer = shop.admin.get("/admin/v1/system/traces?limit=100").await.expect(200).body;
    answer["traces"].as_array().expect("traces").iter().find(|trace| trace["trace_id"] == id).cloned()
}

fn names(trace: &Value) -> Vec<&str> {
    trace["calls"].as_array().expect("calls").iter().filter_map(|call| call["name"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upstream_shows_with_the_request_and_the_calls_it_held_up() {
    let switch = Arc::new(AtomicBool::new(false));
    let fault = Arc::new(Slow("promotion", "Quote", Arc::clone(&switch)));
    let shop = Shop::start_with(|mut start| {
        start.fault = Some(fault);
        start.config = start.config.set("rpc.slow_call_ms", 300);
        start
    })
    .await;
    let (_, sku) = shop.product("Lamp", 990, 5).await;
    let ada = shop.shopper().await;
    ada.add(&sku, 1).await.expect(200);
    switch.store(true, Ordering::SeqCst);
    let id = "0af7651916cd43dd8448eb211c80319c";
    let http = ada.http.with("traceparent", &format!("00-{id}-b7ad6b7169203331-01"));
    http.post("/store/v1/checkout/quote", json!({ "address": address() })).await.expect(200);
    switch.store(false, Ordering::SeqCst);

    // The edge remembers it when the answer is on its way already.
    eventually("the trace is listed", async || trace(&shop, id).await.is_some()).await;
    let found = trace(&shop, id).await.expect("it is listed");
    let calls = found["calls"].as_array().expect("calls");
    let took = |name: &str| {
        let call = calls.iter().find(|call| call["name"] == name);
        micros(&call.unwrap_or_else(|| panic!("no {name} in {found}"))["duration_us"])
    };
    let (whole, quote) = (took("POST /store/v1/checkout/quote"), took("order.Quote"));
    assert!(whole >= quote && quote >= 400_000, "{found}");
    assert_eq!((micros(&found["duration_us"]), names(&found)[0]), (whole, "POST /store/v1/checkout/quote"));
    for call in calls {
        // What was quick is left out; on a busy machine others may have been slow as well.
        assert!(micros(&call["duration_us"]) >= 300_000, "{call}");
        assert_eq!(call["outcome"], "ok", "{call}");
        assert!(call["process"].as_str().is_some_and(|process| process.contains("gateway")), "{call}");
        assert!(call["started_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{call}");
    }

    let refused = shop.admin.get("/admin/v1/system/traces?limit=101").await.expect(400);
    assert_eq!(refused.code(), "limit_out_of_range");
    ada.http.get("/admin/v1/system/traces").await.expect(403);
    shop.stop().await;
}

/// Reads a number, which JSON of the contracts may write as text.
fn micros(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_page_shows_with_its_path() {
    let switch = Arc::new(AtomicBool::new(false));
    let fault = Arc::new(Slow("catalog", "GetProduct", Arc::clone(&switch)));
    let shop = Shop::start_with(|mut start| {
        start.fault = Some(fault);
        start.config = start.config.set("rpc.slow_call_ms", 300);
        start
    })
    .await;
    let (product, _) = shop.product("Lamp", 990, 5).await;
    switch.store(true, Ordering::SeqCst);
    let id = "1bf7651916cd43dd8448eb211c80319c";
    let mut browser = Browser::new(&shop);
    browser.headers.push(("traceparent".into(), format!("00-{id}-b7ad6b7169203331-01")));
    browser.get(&format!("/p/{product}")).await.expect(200);
    eventually("the trace is listed", async || trace(&shop, id).await.is_some()).await;
    let found = trace(&shop, id).await.expect("it is listed");
    assert_eq!(names(&found)[0], format!("GET /p/{product}"), "{found}");
    shop.stop().await;
}
