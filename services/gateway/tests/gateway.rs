//! The gateway over HTTP, with fake services behind it.

mod common;

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{MERGED, admin, mall, mall_of, mall_with, token, token_by, token_with, world};
use mallard_proto::bus::v1::event_intake_client::EventIntakeClient;
use mallard_proto::bus::v1::{DeliverRequest, Event};
use mallard_proto::identity::v1::SessionRevoked;
use mallard_testkit::{as_system, eventually};
use prost::Message;
use serde_json::json;

const ME: &str = "/store/v1/me";

fn order(note: &str) -> serde_json::Value {
    json!({"payment": {"method": "later"}, "expected_total": {"amount": 1, "currency": "CNY"}, "note": note})
}

#[tokio::test]
async fn a_good_token_names_the_caller() {
    let (_mall, http) = mall().await;
    let me = http.token(&token("usr_1", "sess_1")).get(ME).await.expect(200);
    assert_eq!(
        (me.body["user"]["id"].as_str(), me.body["user"]["roles"].as_array().unwrap().len()),
        (Some("usr_1"), 1)
    );
    assert_eq!(me.body["user"]["language"], "en");
    assert_eq!(me.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn what_is_no_good_token_is_refused() {
    let (_mall, http) = mall().await;
    let code = async |token: &str| http.token(token).get(ME).await.expect(401).code().to_owned();
    let good = token("usr_1", "sess_1");
    let (head, rest) = good.split_once('.').unwrap();
    let (claims, signature) = rest.split_once('.').unwrap();
    let other = token("usr_2", "sess_1");
    let stolen = format!("{head}.{}.{signature}", other.split('.').nth(1).unwrap());
    assert_eq!(code(&stolen).await, "invalid_token");
    assert_eq!(code(&format!("eyJhbGciOiJub25lIn0.{claims}.")).await, "invalid_token");
    assert_eq!(code("nonsense").await, "invalid_token");
    assert_eq!(code(&token_with("usr_1", "sess_1", json!({"iss": "mallet"}))).await, "invalid_token");
    assert_eq!(code(&token_with("usr_1", "sess_1", json!({"aud": "mallet"}))).await, "invalid_token");
    assert_eq!(code(&token_with("usr_1", "sess_1", json!({"exp": 1_700_000_000}))).await, "token_expired");
    assert_eq!(http.get(ME).await.expect(401).code(), "unauthenticated");
    assert_eq!(http.with("authorization", "Basic x").get(ME).await.expect(401).code(), "invalid_token");
}

#[tokio::test]
async fn made_up_tokens_do_not_make_honest_clients_wait_while_identity_hangs() {
    let (identity, _mall, http) = mall_of("keys_hang", |config| config).await;
    let honest = http.token(&token("usr_1", "sess_1"));
    honest.get(ME).await.expect(200);
    identity.keys_hang.store(true, Ordering::SeqCst);
    let made_up = token_by(9, "usr_1", "sess_1", json!({}));
    // One after the other they take 25 seconds every time, side by side one: a busy machine makes some of the floods late.
    let mut shortest = Duration::MAX;
    for _ in 0..10 {
        let flood = futures_util::future::join_all((0..50).map(|_| {
            let http = http.token(&made_up);
            async move { http.get(ME).await }
        }));
        let begun = std::time::Instant::now();
        for answer in flood.await {
            let code = answer.code();
            assert!(matches!(code, "keys_unavailable" | "invalid_token"), "{} {code}", answer.status);
        }
        shortest = shortest.min(begun.elapsed());
        if shortest < Duration::from_secs(5) {
            break;
        }
    }
    assert!(shortest < Duration::from_secs(5), "{shortest:?}");
    honest.get(ME).await.expect(200);
}

#[tokio::test]
async fn a_logout_takes_hold_before_it_is_answered() {
    let (_mall, http) = mall_with(|config| config.set("gateway.revocation_poll_ms", 3_600_000)).await;
    let http = http.token(&token("usr_1", "sess_logout"));
    http.get(ME).await.expect(200);
    http.post("/auth/v1/logout", json!({})).await.expect(204);
    assert_eq!(http.get(ME).await.expect(401).code(), "session_revoked");
}

#[tokio::test]
async fn an_event_revokes_a_session() {
    let (mall, http) = mall_with(|config| config.set("gateway.revocation_poll_ms", 3_600_000)).await;
    let http = http.token(&token("usr_1", "sess_event"));
    http.get(ME).await.expect(200);
    let revoked =
        SessionRevoked { user_id: "usr_1".into(), session_ids: vec!["sess_event".into()], until_micros: i64::MAX };
    let event = Event {
        id: "evt_1".into(),
        r#type: "user.session_revoked.v1".into(),
        key: "usr_1".into(),
        payload: revoked.encode_to_vec(),
        ..Default::default()
    };
    let request = DeliverRequest { subscriber: "gateway".into(), events: vec![event] };
    let mut intake = EventIntakeClient::new(mall.channel("gateway"));
    let accepted = as_system(intake.deliver(request)).await.unwrap().into_inner().accepted_ids;
    assert_eq!(accepted, ["evt_1"]);
    assert_eq!(http.get(ME).await.expect(401).code(), "session_revoked");
}

#[tokio::test]
async fn without_events_the_list_of_revocations_is_enough() {
    let (_mall, http) = mall_with(|config| config.set("gateway.revocation_poll_ms", 20)).await;
    let http = http.token(&token("usr_1", "sess_list"));
    http.get(ME).await.expect(200);
    world("").revoked.lock().extend(["sess_other_1", "sess_other_2", "sess_other_3", "sess_list"].map(String::from));
    eventually("the session is revoked", || async { http.get(ME).await.status == 401 }).await;
}

#[tokio::test]
async fn a_gateway_that_starts_knows_who_was_revoked_before() {
    world("").revoked.lock().push("sess_before".into());
    let (_mall, http) = mall_with(|config| config.set("gateway.revocation_poll_ms", 3_600_000)).await;
    assert_eq!(http.token(&token("usr_1", "sess_before")).get(ME).await.expect(401).code(), "session_revoked");
}

#[tokio::test]
async fn a_guests_cart_becomes_the_users_at_sign_in() {
    let (_mall, http) = mall().await;
    let login = json!({"email": "usr_merge", "password": "x"});
    http.with("x-cart-token", "ct_1").post("/auth/v1/login", login.clone()).await.expect(200);
    http.post("/auth/v1/login", login).await.expect(200);
    let merged: Vec<_> = MERGED.lock().iter().filter(|(user, _)| user == "usr_merge").cloned().collect();
    assert_eq!(merged, [("usr_merge".to_owned(), "ct_1".to_owned())]);
    let broken = json!({"email": "usr_broken", "password": "x"});
    http.with("x-cart-token", "ct_broken").post("/auth/v1/login", broken).await.expect(200);
}

#[tokio::test]
async fn who_is_banned_from_buying_may_look_but_not_order() {
    let (_mall, http) = mall().await;
    let banned = http.token(&token_with("usr_1", "sess_1", json!({"ban": "buy"})));
    banned.get(ME).await.expect(200);
    assert_eq!(banned.key("k").post("/store/v1/orders", order("")).await.expect(403).code(), "account_banned");
    http.token(&token("usr_1", "sess_1")).key("k").post("/store/v1/orders", order("")).await.expect(201);
}

#[tokio::test]
async fn a_repeat_with_the_same_key_is_answered_from_the_store() {
    let (_mall, http) = mall().await;
    let http = http.token(&token("usr_1", "sess_1")).key("repeat");
    let first = http.post("/store/v1/orders", order("a")).await.expect(201);
    let again = http.post("/store/v1/orders", order("a")).await.expect(201);
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), ("", "true"));
    assert_eq!(first.body, again.body);
    assert_eq!(http.post("/store/v1/orders", order("b")).await.expect(422).code(), "idempotency_conflict");
}

#[tokio::test]
async fn the_check_gathers_every_service_and_fails_for_the_silent_ones() {
    let (_mall, http) = mall().await;
    http.get("/admin/v1/check").await.expect(401);
    http.token(&token("usr_1", "sess_1")).get("/admin/v1/check").await.expect(403);
    let check = http.token(&admin()).get("/admin/v1/check").await.expect(200);
    assert_eq!(check.body["ok"], false);
    let checks = check.body["checks"].as_array().unwrap();
    let named = |name: &str| {
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name} in {checks:?}"))
    };
    assert_eq!(*named("users.unique"), json!({"name": "users.unique", "ok": true, "detail": "3 users"}));
    assert_eq!(named("inventory.answers")["ok"], false);
}

#[tokio::test]
async fn operators_see_services_and_dead_letters() {
    let (_mall, http) = mall().await;
    let http = http.token(&admin());
    let services = http.get("/admin/v1/system/services").await.expect(200);
    let names: Vec<_> = services.body["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (s["name"].as_str().unwrap(), s["ok"] == true))
        .collect();
    assert_eq!(names, [("identity", true), ("cart", true), ("order", true), ("gateway", true)]);
    let letters = http.get("/admin/v1/system/dead-letters").await.expect(200);
    assert_eq!(letters.body["dead_letters"], json!([]));
    assert_eq!(http.get("/admin/v1/system/dead-letters?service=none").await.expect(404).code(), "service_not_found");
    assert_eq!(http.get("/admin/v1/system/dead-letters?limit=1000").await.expect(400).code(), "limit_out_of_range");
}

#[tokio::test]
async fn the_paths_beside_rest_answer() {
    let (mall, http) = mall().await;
    http.get("/healthz").await.expect(200);
    http.get("/readyz").await.expect(200);
    http.get("/metrics").await.expect(200);
    let description = http.get("/openapi.json").await.expect(200);
    assert!(description.body["paths"]["/admin/v1/check"]["get"].is_object());
    let keys = http.get("/.well-known/jwks.json").await.expect(200);
    assert_eq!(keys.body["keys"][0]["kid"], "k1");
    for (path, kind) in [("/docs", "text/html"), ("/docs/page.js", "text/javascript"), ("/docs/page.css", "text/css")] {
        let page = http.get(path).await.expect(200);
        assert!(page.header("content-type").starts_with(kind), "{path}");
        assert!(page.header("content-security-policy").contains("default-src 'none'"), "{path}");
    }
    assert_eq!(http.get("/nothing").await.expect(404).code(), "route_not_found");
    mall.shutdown().begin();
    // The door may close before the question comes.
    if let Ok(answer) = http.try_send("GET", "/readyz", serde_json::Value::Null).await {
        assert_eq!(answer.status, 503);
    }
}
