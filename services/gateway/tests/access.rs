//! Who may do what at the gateway, with a fake identity behind it that each test has for itself.

mod common;

use common::{World, admin, deliver, mall_of, policy, token, token_by, token_with};
use mallard_proto::Timestamp;
use mallard_proto::identity::v1::{PolicyChanged, StandingChanged};
use mallard_runtime::Clock;
use mallard_testkit::{Http, eventually};
use serde_json::{Value, json};

const ME: &str = "/store/v1/me";
const SERVICES: &str = "/admin/v1/system/services";

fn order() -> Value {
    json!({"payment": {"method": "later"}, "expected_total": {"amount": 1, "currency": "CNY"}})
}

async fn code(http: &Http, path: &str) -> String {
    let answer = http.get(path).await;
    if answer.status == 200 { "ok".to_owned() } else { format!("{} {}", answer.status, answer.code()) }
}

/// Tells the time, in seconds since the epoch.
fn now_s() -> u64 {
    (Clock::System.now() / 1_000_000) as u64
}

fn fails(world: &World, methods: &[&'static str]) {
    *world.failing.lock() = methods.to_vec();
}

#[tokio::test]
async fn without_a_policy_only_public_routes_are_answered() {
    let world = common::world("unborn");
    fails(&world, &["get_access"]);
    let (_, _mall, http) = mall_of("unborn", |config| config.set("gateway.policy_poll_ms", 20)).await;
    let user = http.token(&token("usr_1", "sess_1"));
    assert_eq!(code(&user, ME).await, "503 policy_unavailable");
    assert_eq!(code(&http, ME).await, "503 policy_unavailable");
    assert_eq!(http.get("/readyz").await.status, 503);
    let login = json!({"email": "usr_unborn", "password": "x"});
    http.post("/auth/v1/login", login.clone()).await.expect(200);
    user.post("/auth/v1/login", login).await.expect(200);

    fails(&world, &[]);
    eventually("the gateway is ready", || async { http.get("/readyz").await.status == 200 }).await;
    assert_eq!(code(&user, ME).await, "ok");
    assert_eq!(code(&http, ME).await, "401 unauthenticated");
}

#[tokio::test]
async fn the_first_request_after_a_start_need_not_wait_for_the_next_look() {
    let world = common::world("early");
    fails(&world, &["get_access", "list_standings"]);
    let (_, _mall, http) = mall_of("early", |config| config).await;
    let user = http.token(&token("usr_1", "sess_1"));
    assert_eq!(user.get(ME).await.status, 503);
    fails(&world, &[]);
    assert_eq!(code(&user, ME).await, "ok");
}

#[tokio::test]
async fn a_gateway_that_cannot_refresh_keeps_the_last_good_policy() {
    let (world, _mall, http) = mall_of("kept", |config| config.set("gateway.policy_poll_ms", 20)).await;
    let user = http.token(&token("usr_1", "sess_1"));
    assert_eq!(code(&user, ME).await, "ok");
    fails(&world, &["get_access"]);
    world.govern(|access| access.policies.clear());
    world.looked_at("get_access").await;
    assert_eq!(code(&user, ME).await, "ok");
    assert_eq!(http.get("/readyz").await.status, 200);
    fails(&world, &[]);
    eventually("the policy is in force", || async { code(&user, ME).await == "403 forbidden" }).await;
}

#[tokio::test]
async fn a_policy_that_does_not_load_leaves_the_last_good_one_in_force() {
    let (world, _mall, http) = mall_of("unloadable", |config| config.set("gateway.policy_poll_ms", 20)).await;
    let user = http.token(&token("usr_1", "sess_1"));
    assert_eq!(code(&user, ME).await, "ok");
    let good = world.access.lock().policies.clone();
    world.govern(|access| access.policies = vec![policy("user", "^/store/[$", "deny")]);
    world.looked_at("get_access").await;
    assert_eq!(code(&user, ME).await, "ok");
    world.govern(|access| {
        access.policies = good.into_iter().chain([policy("user", "^/store/v1/me$", "deny")]).collect()
    });
    eventually("the next one is in force", || async { code(&user, ME).await == "403 forbidden" }).await;
}

#[tokio::test]
async fn an_event_brings_a_policy_and_this_gateways_own_change_holds_at_the_next_request() {
    let (world, mall, http) = mall_of("changed", |config| config).await;
    let support = http.token(&token_with("usr_1", "sess_1", json!({"roles": ["user", "support"]})));
    assert_eq!(code(&support, SERVICES).await, "403 forbidden");
    world.govern(|access| access.policies.push(policy("support", "^/admin/v1/system/.*$", "allow")));
    deliver(&mall, "policy.changed.v1", "access", &PolicyChanged { version: 2 }).await;
    eventually("the policy is in force", || async { code(&support, SERVICES).await == "ok" }).await;

    let rule = json!({"role": "support", "path": SERVICES, "effect": "deny"});
    http.token(&admin()).post("/admin/v1/policies", rule).await.expect(201);
    assert_eq!(code(&support, SERVICES).await, "403 forbidden");
    assert_eq!(code(&support, "/admin/v1/system/dead-letters").await, "ok");
}

#[tokio::test]
async fn a_rule_that_denies_wins_on_public_routes_and_over_admin() {
    let (world, _mall, http) = mall_of("denied", |config| config.set("gateway.policy_poll_ms", 20)).await;
    let login = json!({"email": "usr_denied", "password": "x"});
    http.post("/auth/v1/login", login.clone()).await.expect(200);
    world.govern(|access| {
        access.policies.push(policy("anonymous", "/auth/v1/login", "deny"));
        access.policies.push(policy("admin", "/admin/v1/system/*", "deny"));
    });
    let denied = || async { http.post("/auth/v1/login", login.clone()).await.status == 403 };
    eventually("strangers are kept out", denied).await;
    assert_eq!(http.post("/auth/v1/login", login.clone()).await.code(), "forbidden");
    // It is about those who are not signed in.
    http.token(&token("usr_1", "sess_1")).post("/auth/v1/login", login).await.expect(200);
    assert_eq!(code(&http.token(&admin()), SERVICES).await, "403 forbidden");
    for spelling in ["/admin/v1/system/%73ervices", "/admin/v1//system/services", "/admin/v1/system/services/"] {
        assert_ne!(http.token(&admin()).get(spelling).await.status, 200, "{spelling}");
    }
}

#[tokio::test]
async fn the_allow_list_opens_its_paths_for_strangers_and_makes_nobody_more_than_that() {
    let (world, _mall, http) = mall_of("listed", |config| config.set("gateway.policy_poll_ms", 20)).await;
    let user = http.token(&token("usr_1", "sess_1"));
    assert_eq!(code(&http, ME).await, "401 unauthenticated");
    world.govern(|access| access.allow_list = vec![format!("GET {ME}"), SERVICES.to_owned()]);
    eventually("the path is open", || async { http.get(ME).await.status == 200 }).await;
    // The fake answers with the caller it sees.
    assert_eq!(http.get(ME).await.body["user"]["id"], "");
    assert_eq!(user.get(ME).await.body["user"]["id"], "usr_1");
    assert_eq!(http.delete(ME).await.expect(401).code(), "unauthenticated");
    assert_eq!(code(&http, "/store/v1/me/addresses").await, "401 unauthenticated");
    // A shopper gets into the operators' path only as a stranger, whom the service refuses.
    assert_eq!(user.get(SERVICES).await.body["error"]["message"], "this is for operators");
    assert_eq!(code(&http.token(&admin()), SERVICES).await, "ok");
}

#[tokio::test]
async fn a_role_for_one_seller_counts_only_for_that_seller() {
    let (world, mall, http) = mall_of("domains", |config| config).await;
    world.govern(|access| access.policies.push(policy("clerk", "/seller/v1/*", "allow")));
    let of = |role: &str, seller: &str| {
        http.token(&token_with("usr_1", "sess_1", json!({"roles": ["user", role], "seller": seller})))
    };
    let admitted = async |http: Http| http.delete("/seller/v1/products/prod_1").await.status != 403;
    deliver(&mall, "policy.changed.v1", "access", &PolicyChanged { version: 2 }).await;
    eventually("the policy is in force", || async { admitted(of("clerk", "sel_1")).await }).await;
    assert!(admitted(of("clerk@sel_1", "sel_1")).await);
    assert!(!admitted(of("clerk@sel_1", "sel_2")).await);
    assert!(!admitted(of("clerk@sel_1", "")).await);
    assert!(!admitted(of("user", "sel_1")).await);
}

#[tokio::test]
async fn each_level_of_a_ban_takes_away_what_it_says_and_the_same_token_works_again_after_it() {
    let (world, mall, http) = mall_of("banned", |config| config).await;
    let banned = http.token(&token("usr_1", "sess_1"));
    let buys = async || banned.key("k").post("/store/v1/orders", order()).await.status;
    let looks = async || banned.post("/auth/v1/verify", json!({"token": "x"})).await;
    assert_eq!((code(&banned, ME).await.as_str(), buys().await), ("ok", 201));
    for (level, me, buying, looking) in [
        ("buy", "ok", 403, 501),
        ("login", "403 account_banned", 403, 501),
        ("all", "403 account_banned", 403, 403),
        ("something_new", "403 account_banned", 403, 403),
        ("", "ok", 201, 501),
    ] {
        let standing = world.stands("usr_1", |standing| standing.ban_level = level.into());
        deliver(&mall, "user.standing_changed.v1", "usr_1", &StandingChanged { standing: Some(standing) }).await;
        assert_eq!((code(&banned, ME).await.as_str(), buys().await), (me, buying), "{level}");
        // The fake knows no Verify: a request that reaches it is answered with an error of its own.
        assert_eq!(looks().await.status == 403, looking == 403, "{level}");
        assert_eq!(code(&http.token(&token("usr_2", "sess_2")), ME).await, "ok");
    }
    // Whatever the ban, a session can be ended.
    let standing = world.stands("usr_1", |standing| standing.ban_level = "all".into());
    deliver(&mall, "user.standing_changed.v1", "usr_1", &StandingChanged { standing: Some(standing) }).await;
    banned.post("/auth/v1/logout", json!({})).await.expect(204);
}

#[tokio::test]
async fn a_refusal_says_which_ban_and_until_when() {
    let world = common::world("told");
    let until = Some(Timestamp::from_micros(4_000_000_000_000_000));
    world.stands("usr_1", |standing| (standing.ban_level, standing.ban_until) = ("login".into(), until));
    let past = Some(Timestamp::from_micros((now_s() - 60) as i64 * 1_000_000));
    world.stands("usr_2", |standing| (standing.ban_level, standing.ban_until) = ("all".into(), past));
    let (_, _mall, http) = mall_of("told", |config| config).await;
    let refused = http.token(&token("usr_1", "sess_1")).get(ME).await.expect(403);
    assert_eq!(refused.body["error"]["details"], json!({"level": "login", "until": "2096-10-02T07:06:40Z"}));
    // A ban that has ended by itself is none, also where the token still says so.
    let over = http.token(&token_with("usr_2", "sess_2", json!({"ban": "all"})));
    assert_eq!(code(&over, ME).await, "ok");
}

#[tokio::test]
async fn a_token_that_says_so_itself_is_banned_until_a_standing_says_otherwise() {
    let (_world, _mall, http) = mall_of("claimed", |config| config).await;
    let banned = http.token(&token_with("usr_1", "sess_1", json!({"ban": "login"})));
    assert_eq!(code(&banned, ME).await, "403 account_banned");
    http.token(&admin()).post("/admin/v1/users/usr_1/unban", json!({})).await.expect(200);
    assert_eq!(code(&banned, ME).await, "ok");
}

#[tokio::test]
async fn what_an_operator_does_through_this_gateway_holds_before_it_is_answered() {
    let (world, _mall, http) = mall_of("passed_on", |config| config).await;
    let (admin, user) = (http.token(&admin()), http.token(&token("usr_1", "sess_1")));
    assert_eq!(code(&user, ME).await, "ok");
    admin.post("/admin/v1/users/usr_1/ban", json!({"level": "login", "reason": "spam"})).await.expect(200);
    assert_eq!(code(&user, ME).await, "403 account_banned");
    admin.post("/admin/v1/users/usr_1/unban", json!({})).await.expect(200);
    assert_eq!(code(&user, ME).await, "ok");
    admin.put("/admin/v1/users/usr_1/roles", json!({"roles": ["user", "admin"]})).await.expect(200);
    assert_eq!(code(&user, SERVICES).await, "ok");
    admin.put("/admin/v1/users/usr_1/roles", json!({"roles": ["user"]})).await.expect(200);
    assert_eq!(code(&user, SERVICES).await, "403 forbidden");
    let fresh = http.token(&token_with("usr_1", "sess_1", json!({"auth_time": 4_000_000_000_u64})));
    fresh.delete(ME).await.expect(204);
    assert_eq!(code(&user, ME).await, "401 session_revoked");
    assert_eq!(world.standings.lock().len(), 5);
}

#[tokio::test]
async fn without_events_the_list_of_standings_is_enough_and_a_start_reads_all_of_it() {
    let world = common::world("polled");
    for n in 0..5 {
        world.stands(&format!("usr_{n}"), |standing| standing.ban_level = "all".into());
    }
    let (_, _mall, http) = mall_of("polled", |config| config.set("gateway.standing_poll_ms", 20)).await;
    let user = http.token(&token("usr_4", "sess_4"));
    assert_eq!(code(&user, ME).await, "403 account_banned");
    world.stands("usr_4", |_| ());
    eventually("the ban is over", || async { code(&user, ME).await == "ok" }).await;
}

#[tokio::test]
async fn dangerous_actions_want_a_password_entered_lately() {
    let (_world, _mall, http) = mall_of("dangerous", |config| config.set("gateway.trust_s", 86_400)).await;
    let by = |claims: Value| http.token(&token_with("usr_1", "sess_1", claims));
    let now = now_s();
    for stale in [json!({}), json!({"auth_time": 0}), json!({"auth_time": now - 86_401})] {
        let refused = by(stale).delete(ME).await.expect(403);
        assert_eq!(refused.code(), "reauthentication_required");
        assert!(refused.body["error"]["message"].as_str().unwrap().contains("POST /auth/v1/reauthenticate"));
    }
    assert_eq!(http.delete(ME).await.expect(401).code(), "unauthenticated");
    // For everything else the old token is good, and who may not do it is not asked for a password.
    assert_eq!(code(&by(json!({})), ME).await, "ok");
    let roles = json!({"roles": ["user"]});
    assert_eq!(by(json!({})).put("/admin/v1/users/usr_2/roles", roles).await.expect(403).code(), "forbidden");
    by(json!({"auth_time": now - 60})).delete(ME).await.expect(204);
}

#[tokio::test]
async fn sessions_in_use_are_told_again_when_they_could_not_be_and_at_the_end() {
    let (world, mall, http) = mall_of("used", |config| config.set("gateway.touch_interval_ms", 20)).await;
    fails(&world, &["touch_sessions"]);
    assert_eq!(code(&http.token(&token("usr_1", "sess_used")), ME).await, "ok");
    assert_eq!(http.token(&token_with("usr_1", "sess_bad", json!({"exp": 1}))).get(ME).await.status, 401);
    world.looked_at("touch_sessions").await;
    assert!(world.uses.lock().is_empty());
    fails(&world, &[]);
    eventually("the use is told", || async { !world.uses.lock().is_empty() }).await;
    assert_eq!(*world.uses.lock(), ["sess_used"]);

    assert_eq!(code(&http.token(&token("usr_1", "sess_last")), ME).await, "ok");
    mall.shutdown().begin();
    eventually("the last use is told", || async { world.uses.lock().iter().any(|session| session == "sess_last") })
        .await;
}

#[tokio::test]
async fn a_new_key_is_known_at_once_and_a_dropped_one_is_not_trusted_for_long() {
    let (world, _mall, http) = mall_of("keys", |config| config.set("gateway.keys_poll_ms", 20)).await;
    let code_of =
        async |number: u8, session: &str| code(&http.token(&token_by(number, "usr_1", session, json!({}))), ME).await;
    assert_eq!(code_of(1, "sess_1").await, "ok");
    assert_eq!(code_of(3, "sess_1").await, "401 invalid_token");
    http.token(&admin()).post("/admin/v1/access/keys/rotate", json!({})).await.expect(200);
    assert_eq!(code_of(2, "sess_1").await, "ok");
    assert_eq!(code_of(1, "sess_2").await, "401 invalid_token");
    *world.keys.lock() = vec![4];
    // A token whose signature was checked before is remembered, so each look is a new one.
    let dropped = std::sync::atomic::AtomicU32::new(0);
    let next = || format!("sess_{}", dropped.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
    eventually("the dropped key is forgotten", || async { code_of(2, &next()).await == "401 invalid_token" }).await;
    assert_eq!(code_of(4, "sess_1").await, "ok");
}
