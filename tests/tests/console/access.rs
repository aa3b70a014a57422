//! What operators decide on an older page, what a part of the console shows, and the sums by currency.

use super::*;

#[tokio::test]
async fn of_two_operators_the_second_to_save_is_told() {
    let shop = Shop::start().await;
    let clerk = json!({ "name": "helper", "inherits": ["user"] });
    shop.admin.put("/admin/v1/roles/helper", clerk).await.expect(200);
    let ben = shop.user_with(&["user", "helper"]).await;
    let mut admin = operator(&shop).await;
    let path = format!("/operator/users/{}", ben.id);
    let roles = format!("{path}/roles");
    let older = hidden_of(&admin.get(&path).await.expect(200), &roles, "version");
    admin.post(&roles, &[("version", &older), ("roles", "user"), ("seller_id", "")]).await.expect(303);
    for _ in 0..2 {
        let late = [("version", older.as_str()), ("roles", "user helper seller"), ("seller_id", "")];
        let refused = admin.post(&roles, &late).await.expect(409);
        assert!(refused.has("Load it as it is now") && refused.has("value=\"user helper seller\""), "{}", refused.body);
        assert_eq!(hidden_of(&refused, &roles, "version"), older, "it is refused until it is loaded anew");
    }
    let now = shop.admin.get(&format!("/admin/v1/users/{}", ben.id)).await.expect(200).body["user"].clone();
    assert_eq!(now["roles"], json!(["user"]));

    // Role definitions and the open paths alike.
    let seen = admin.get("/operator/roles").await.expect(200).hidden("version");
    let put = [("version", &*seen), ("name", "helper"), ("inherits", "user seller"), ("note", "")];
    admin.post("/operator/roles", &put).await.expect(303);
    admin.post("/operator/roles", &put).await.expect(303);
    let late = [("version", &*seen), ("name", "helper"), ("inherits", "user"), ("note", "")];
    assert!(admin.post("/operator/roles", &late).await.expect(409).has("Load it as it is now"));
    let seen = admin.get("/operator/allow-list").await.expect(200).hidden("version");
    admin.post("/operator/allow-list", &[("version", &seen), ("paths", "GET /admin/v1/categories")]).await.expect(303);
    let refused = admin.post("/operator/allow-list", &[("version", &seen), ("paths", "/store/v1/x")]).await.expect(409);
    assert!(refused.has("Load it as it is now") && refused.has("/store/v1/x"), "{}", refused.body);
    assert!(admin.get("/operator/allow-list").await.expect(200).has("GET /admin/v1/categories"));
    shop.stop().await;
}

#[tokio::test]
async fn a_seller_is_given_to_an_account_and_taken_from_it() {
    let shop = Shop::start().await;
    let ben = shop.user_with(&["user"]).await;
    let mut admin = operator(&shop).await;
    let path = format!("/operator/users/{}", ben.id);
    for (roles, seller) in [("user seller", "sel_ben"), ("user", "sel_ben"), ("user", "")] {
        let page = admin.get(&path).await.expect(200);
        let version = hidden_of(&page, &format!("{path}/roles"), "version");
        let fields = [("version", version.as_str()), ("roles", roles), ("seller_id", seller)];
        admin.post(&format!("{path}/roles"), &fields).await.expect(303);
        let page = admin.get(&path).await.expect(200);
        assert!(page.has(&format!("name=\"seller_id\" type=\"text\" value=\"{seller}\"")), "{}", page.body);
    }
    let user = shop.admin.get(&format!("/admin/v1/users/{}", ben.id)).await.expect(200).body["user"].clone();
    assert_eq!(text(&user["seller_id"]), "", "{user}");
    shop.stop().await;
}

#[tokio::test]
async fn who_may_read_the_rules_but_not_ask_for_reasons_reads_the_rules() {
    let shop = Shop::start().await;
    shop.admin.put("/admin/v1/roles/clerk", json!({ "name": "clerk", "inherits": ["user"] })).await.expect(200);
    for path in ["/admin/v1/policies", "/admin/v1/orders"] {
        let rule = json!({ "role": "clerk", "path": path, "method": "GET" });
        shop.admin.post("/admin/v1/policies", rule).await.expect(201);
    }
    let clerk = shop.user_with(&["user", "clerk"]).await;
    let mut browser = enter(&shop, &clerk.email).await;
    let page = browser.get("/operator/policies?path=/store/v1/orders&roles=user").await.expect(200);
    assert!(page.has("do not let your account see this part") && page.has("/admin/v1/policies"), "{}", page.body);
    // What runs out is not for the clerk: the dashboard says so at once and does not ask for it again and again.
    let page = browser.get("/operator").await.expect(200);
    assert!(page.has("Not for your account") && !page.has("hx-get=\"/operator/stock-alerts"), "{}", page.body);
    browser.get("/operator/stock-alerts?part=1").await.expect(403);
    shop.stop().await;
}

#[tokio::test]
async fn the_dashboard_says_which_currency_it_sums_and_looks_again_by_itself() {
    let shop = Shop::start().await;
    let mut admin = operator(&shop).await;
    let page = admin.get("/operator").await.expect(200);
    assert!(page.has("Sales, last 30 days (CNY)") && page.has("<option value=\"CNY\" selected>"), "{}", page.body);
    for (part, when) in [
        ("/operator/live", "load, every 5s"),
        ("/operator/stock-alerts?part=1", "load, every 30s"),
        ("/operator/live?part=sales", "every 60s"),
        ("/operator/live?part=funnel", "every 60s"),
    ] {
        let asks = |page: &Page, when: &str| {
            page.has(&format!("hx-get=\"{part}\" hx-swap=\"outerHTML\" hx-trigger=\"{when}\""))
        };
        assert!(asks(&page, when), "{part}: {}", page.body);
        // Each part brings what asks for it the next time.
        let piece = admin.get(part).await.expect(200);
        assert!(asks(&piece, when.trim_start_matches("load, ")) && !piece.has("<html"), "{}", piece.body);
    }
    // Without scripts the page is looked at again by hand.
    assert!(page.has("href=\"/operator\">Look again</a>"), "{}", page.body);
    let yen = admin.get("/operator?currency=JPY").await.expect(200);
    assert!(
        yen.has("Sales, last 30 days (JPY)") && yen.has("/operator/live?part=sales&#38;currency=JPY"),
        "{}",
        yen.body
    );
    assert!(admin.get("/operator/live?part=sales&currency=JPY").await.expect(200).has("days (JPY)"));
    let mut grace = seller(&shop, "sel_grace").await;
    assert!(grace.get("/seller?currency=USD").await.expect(200).has("Your sales, last 30 days (USD)"));
    assert!(grace.get("/seller?currency=nonsense").await.expect(200).has("Your sales, last 30 days (CNY)"));
    shop.stop().await;
}

#[tokio::test]
async fn a_flow_that_waits_says_what_it_has_been_through() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Harbour mug", PRICE, 5).await;
    let ada = shop.shopper().await;
    ada.add(&sku, 1).await.expect(200);
    let order = ada.place("k", PRICE, later()).await.expect(201).body["order"].clone();
    let mut admin = operator(&shop).await;
    // A service that says nothing for two seconds is left out of the list.
    let mut page = admin.get("/operator/system/flows").await.expect(200);
    for _ in 0..20 {
        if page.has(&text(&order["id"])) {
            break;
        }
        page = admin.get("/operator/system/flows").await.expect(200);
    }
    let row = page.body.split("<tr>").find(|row| row.contains(&text(&order["id"]))).expect("its row");
    let story = row.split("<pre").nth(1).expect("its story");
    assert!(story.contains("  Made\n") && story.contains("  reached: ") && story.contains("  moved last ("), "{story}");
    shop.stop().await;
}
