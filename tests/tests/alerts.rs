//! Stock alerts: the operator sees what runs out as it is sold, and no longer when it is back.

use mallard_testkit::Http;
use mallard_tests::*;
use serde_json::json;

/// Returns SKU and units of all alerts, the latest first, page by page.
async fn alerts(admin: &Http, limit: u32) -> Vec<(String, i64)> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let body = admin.get(&format!("/admin/v1/stock-alerts?limit={limit}&cursor={cursor}")).await.expect(200).body;
        for alert in body["alerts"].as_array().expect("a list") {
            assert!(alert["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{alert}");
            found.push((alert["sku_id"].as_str().unwrap().to_owned(), alert["available"].as_i64().unwrap()));
        }
        cursor = body["next_cursor"].as_str().unwrap_or("").to_owned();
        if cursor.is_empty() {
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_out_is_told_while_it_does() {
    let shop = Shop::start().await;
    let (_, tea) = shop.product("Tea", 100, 6).await;
    let (_, pot) = shop.product("Pot", 100, 60).await;
    assert_eq!(alerts(&shop.admin, 10).await, []);
    let ada = shop.shopper().await;
    // Held for an order that is not paid: nobody else can have the units.
    ada.add(&tea, 2).await.expect(200);
    let placed = ada.place(&unique("key"), 200, later()).await.expect(201).body["order"].clone();
    assert_eq!(alerts(&shop.admin, 10).await, [(tea.clone(), 4)]);
    let cancel = format!("/store/v1/orders/{}/cancel", placed["id"].as_str().unwrap());
    ada.http.post(&cancel, json!({})).await.expect(200);
    shop.stock_is(&tea, 6, 0).await;
    assert_eq!(alerts(&shop.admin, 10).await, []);

    let bea = shop.shopper().await;
    bea.buy(&tea, 6, 600).await;
    assert_eq!(alerts(&shop.admin, 10).await, [(tea.clone(), 0)]);
    bea.buy(&pot, 57, 5_700).await;
    assert_eq!(alerts(&shop.admin, 1).await, [(pot.clone(), 3), (tea.clone(), 0)], "the latest first, in pages of one");
    let only = shop.admin.get(&format!("/admin/v1/stock-alerts?sku_ids={tea}")).await.expect(200).body;
    assert_eq!(only["alerts"].as_array().unwrap().len(), 1);

    let adjust = format!("/admin/v1/inventory/{tea}/adjust");
    shop.admin.post(&adjust, json!({ "delta": 5, "reason": "delivery" })).await.expect(200);
    assert_eq!(alerts(&shop.admin, 10).await, [(pot, 3)]);
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_operators_is_told() {
    let shop = Shop::start().await;
    let path = "/admin/v1/stock-alerts";
    shop.http.get(path).await.expect(401);
    shop.shopper().await.http.get(path).await.expect(403);
    shop.user_with(&["user", "seller"]).await.http.get(path).await.expect(403);
    assert_eq!(
        shop.admin.get(&format!("{path}?limit=101")).await.expect(400).body["error"]["code"],
        "limit_out_of_range"
    );
    shop.stop().await;
}
