//! Slow requests are listed for operators, also while a service does not answer.

mod common;

use common::{admin, haunted_mall, token};
use mallard_testkit::eventually;
use serde_json::{Value, json};

#[tokio::test]
async fn slow_requests_are_listed_although_a_service_does_not_answer() {
    let (_mall, http) = haunted_mall(|config| config.set("rpc.slow_call_ms", 50)).await;
    let admin = http.token(&admin());
    let place = async |note: &str, trace: &str| {
        let body =
            json!({"payment": {"method": "later"}, "expected_total": {"amount": 1, "currency": "CNY"}, "note": note});
        let user =
            http.token(&token("usr_1", "sess_1")).with("traceparent", &format!("00-{trace}-b7ad6b7169203331-01"));
        user.key(note).post("/store/v1/orders", body).await.expect(201);
    };
    let traces = async || admin.get("/admin/v1/system/traces").await.expect(200).body["traces"].clone();
    let of =
        |traces: &Value, id: &str| traces.as_array().unwrap().iter().find(|trace| trace["trace_id"] == id).cloned();
    let first = "0af7651916cd43dd8448eb211c80319c";
    // Whatever only the first request of a user has to ask for is known then, however long it took.
    place("warm", "1af7651916cd43dd8448eb211c80319c").await;
    place("slow", first).await;
    eventually("the slow request is listed", async || of(&traces().await, first).is_some()).await;
    let found = of(&traces().await, first).unwrap();
    let names: Vec<&str> = found["calls"].as_array().unwrap().iter().filter_map(|call| call["name"].as_str()).collect();
    // Each once, although four services of this process remember the same.
    assert_eq!(names, ["POST /store/v1/orders", "order.PlaceOrder"], "{found}");
    assert_eq!(found["calls"][1]["process"], "identity,cart,order,gateway");

    http.get("/admin/v1/system/traces").await.expect(401);
    http.token(&token("usr_1", "sess_1")).get("/admin/v1/system/traces").await.expect(403);
    let refused = admin.get("/admin/v1/system/traces?limit=101").await.expect(400);
    assert_eq!(refused.code(), "limit_out_of_range");
    let one = admin.get("/admin/v1/system/traces?limit=1").await.expect(200);
    assert_eq!(one.body["traces"].as_array().unwrap().len(), 1);
}
