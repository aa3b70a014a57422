//! Scenarios 9 to 13 and 17 as operators and banned users meet them: bans, the allow-list, policies, a fresh password for what
//! is dangerous, sessions ended from elsewhere. In one process, and at two doors in processes of their own.

use std::net::SocketAddr;
use std::path::Path;

use futures_util::future::BoxFuture;
use mallard_runtime::Settings;
use mallard_testkit::{Answer, Http, eventually};
use mallard_tests::process::*;
use mallard_tests::*;
use serde_json::{Value, json};

const ME: &str = "/store/v1/me";
/// Public at the shop's own door; at this one it is for operators.
const CATEGORIES: &str = "/admin/v1/categories";
const POLICIES: &str = "/admin/v1/policies";
const ALLOW_LIST: &str = "/admin/v1/access/allow-list";

fn with(keys: &'static [(&'static str, u64)]) -> impl FnOnce(Settings) -> Settings {
    move |mut settings| {
        settings.config = keys.iter().fold(settings.config, |config, (key, value)| config.set(key, value));
        settings
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a text, not {value}")).to_owned()
}

/// Tells the status and, of a refusal, the code.
fn outcome(answer: &Answer) -> (u16, &str) {
    (answer.status, if answer.status < 400 { "" } else { answer.code() })
}

async fn set_roles(operator: &Http, user: &str, roles: &[&str]) {
    operator.put(&format!("/admin/v1/users/{user}/roles"), json!({ "roles": roles })).await.expect(200);
}

async fn add_policy(operator: &Http, role: &str, path: &str, effect: &str) -> String {
    let body = json!({ "role": role, "path": path, "effect": effect });
    text(&operator.post(POLICIES, body).await.expect(201).body["policy"]["id"])
}

/// Tells what the policies say of a request.
async fn explained(operator: &Http, role: &str, path: &str) -> bool {
    let body = json!({ "roles": [role], "method": "GET", "path": path });
    operator.post("/admin/v1/access/explain", body).await.expect(200).body["allowed"] == true
}

// Scenario 11.

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_users_valid_token_is_forbidden_and_works_again_when_the_ban_is_lifted() {
    let shop = Shop::start().await;
    let (product, sku) = shop.product("Mug", 100, 5).await;
    let (ada, bob) = (shop.shopper().await, shop.shopper().await);
    let user = format!("/admin/v1/users/{}", ada.id);
    let page = format!("/store/v1/products/{product}");
    ada.add(&sku, 1).await.expect(200);
    for (level, looks, signs_in, reads) in [
        ("all", 403, 403, (403, "account_banned")),
        ("login", 200, 403, (403, "account_banned")),
        ("buy", 200, 200, (200, "")),
    ] {
        let ban = json!({ "level": level, "reason": "chargebacks" });
        shop.admin.post(&format!("{user}/ban"), ban).await.expect(200);
        let mut me = ada.http.get(ME).await;
        assert_eq!(outcome(&me), reads, "{level}");
        if me.status == 403 {
            assert_eq!(me.body["error"]["details"]["level"].take(), level);
        }
        let bought = ada.place(&unique("k"), 100, card(GOOD_CARD)).await;
        assert_eq!(outcome(&bought), (403, "account_banned"), "{level}");
        assert_eq!(ada.http.get(&page).await.status, looks, "{level}");
        assert_eq!(shop.login(&ada.email, PASSWORD).await.status, signs_in, "{level}");
        // Others and strangers notice nothing.
        bob.http.get(ME).await.expect(200);
        shop.http.get(&page).await.expect(200);

        shop.admin.post(&format!("{user}/unban"), json!({})).await.expect(200);
        ada.http.get(ME).await.expect(200);
    }
    ada.place("after", 100, card(GOOD_CARD)).await.expect(201);
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_with_an_end_is_over_for_the_same_token_without_anybody_doing_anything() {
    let shop = Shop::start().await;
    let ada = shop.shopper().await;
    // A machine that sleeps through a ban tries a longer one.
    for seconds in [2, 10, 60] {
        let ends = shop.mall.context("identity").unwrap().now() + seconds * 1_000_000;
        let until = serde_json::to_value(mallard_proto::Timestamp::from_micros(ends)).unwrap();
        let ban = json!({ "level": "all", "until": until, "reason": "cool down" });
        let banned = shop.admin.post(&format!("/admin/v1/users/{}/ban", ada.id), ban).await;
        let refused = ada.http.get(ME).await;
        if shop.mall.context("identity").unwrap().now() < ends {
            banned.expect(200);
            assert_eq!(refused.expect(403).body["error"]["details"]["until"], until);
            break;
        }
        assert!(seconds < 60, "the machine slept through every ban");
    }
    eventually("the ban is over", async || ada.http.get(ME).await.status == 200).await;
    shop.stop().await;
}

// Scenario 12.

#[tokio::test(flavor = "multi_thread")]
async fn a_path_on_the_allow_list_needs_no_login_and_nothing_else_is_opened() {
    let shop = Shop::start().await;
    let ada = shop.shopper().await;
    assert_eq!(outcome(&shop.http.get(CATEGORIES).await), (401, "unauthenticated"));
    assert_eq!(outcome(&ada.http.get(CATEGORIES).await), (403, "forbidden"));
    let list = json!({ "paths": [format!("GET {CATEGORIES}"), "/admin/v1/users"] });
    shop.admin.put(ALLOW_LIST, list).await.expect(200);
    for http in [&shop.http, &ada.http, &shop.admin] {
        assert!(http.get(CATEGORIES).await.expect(200).body["categories"].is_array());
    }
    assert_eq!(shop.http.post(CATEGORIES, json!({ "name": "X" })).await.status, 401);

    for path in [ME, "/store/v1/orders", "/admin/v1/users/x", "/admin/v1/policies"] {
        assert_eq!(shop.http.get(path).await.status, 401, "{path}");
    }
    // The list opens a path for strangers and makes nobody an operator.
    assert!(matches!(shop.http.get("/admin/v1/users").await.status, 401 | 403));
    assert_ne!(ada.http.get("/admin/v1/users").await.status, 200);
    assert!(shop.admin.get("/admin/v1/users").await.expect(200).body["users"].is_array());

    shop.admin.put(ALLOW_LIST, json!({ "paths": [] })).await.expect(200);
    assert_eq!(outcome(&shop.http.get(CATEGORIES).await), (401, "unauthenticated"));
    for bad in ["/store/v1/orders/", "^/store", "get /store/v1/orders", "orders"] {
        let refused = shop.admin.put(ALLOW_LIST, json!({ "paths": [bad] })).await.expect(400);
        assert_eq!(refused.code(), "invalid_allowed_path", "{bad}");
    }
    shop.stop().await;
}

// Scenario 13.

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_may_what_the_regular_expression_says_and_the_next_request_obeys_a_change() {
    let shop = Shop::start().await;
    let (_, sku) = shop.product("Mug", 100, 5).await;
    let ada = shop.shopper().await;
    let id = add_policy(&shop.admin, "merchant", "^/api/merchant/.*$", "allow").await;
    assert!(explained(&shop.admin, "merchant", "/api/merchant/x").await);
    assert!(!explained(&shop.admin, "merchant", "/api/admin/x").await);
    assert!(!explained(&shop.admin, "merchant", "/x/api/merchant/x").await);
    shop.admin.delete(&format!("{POLICIES}/{id}")).await.expect(204);
    assert!(!explained(&shop.admin, "merchant", "/api/merchant/x").await);

    let stock = format!("/admin/v1/inventory/{sku}");
    let id = add_policy(&shop.admin, "merchant", "^/admin/v1/inventory/.*$", "allow").await;
    assert_eq!(outcome(&ada.http.get(&stock).await), (403, "forbidden"));
    // The token was issued before there was such a role.
    set_roles(&shop.admin, &ada.id, &["user", "merchant"]).await;
    assert_eq!(ada.http.get(&stock).await.expect(200).body["inventory"]["on_hand"], 5);
    for other in ["/admin/v1/users", "/admin/v1/policies", "/admin/v1/check"] {
        assert_eq!(outcome(&ada.http.get(other).await), (403, "forbidden"), "{other}");
    }
    shop.admin.delete(&format!("{POLICIES}/{id}")).await.expect(204);
    assert_eq!(outcome(&ada.http.get(&stock).await), (403, "forbidden"));
    let refused = shop.admin.post(POLICIES, json!({ "role": "merchant", "path": "^/admin" })).await.expect(400);
    assert_eq!(refused.code(), "invalid_policy");
    shop.check().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_denies_wins_whatever_the_spelling_of_the_path() {
    let shop = Shop::start().await;
    let second = shop.user_with(&["user", "admin"]).await.http;
    second.get("/admin/v1/orders").await.expect(200);
    let id = add_policy(&shop.admin, "admin", "/admin/v1/orders/*", "deny").await;
    let list = add_policy(&shop.admin, "admin", "/admin/v1/orders", "deny").await;
    let order = "/admin/v1/orders/ord_06b0000000000000000000000z";
    assert_eq!(outcome(&second.get("/admin/v1/orders").await), (403, "forbidden"));
    assert_eq!(outcome(&second.get(order).await), (403, "forbidden"));
    for spelling in [
        "/admin/v1/%6frders",
        "/admin//v1/orders",
        "/admin/v1/orders/",
        "/admin/v1/orders/ord%5f06b0000000000000000000000z",
        "/admin/v1/orders/%0aord_06b0000000000000000000000z",
        "/admin/v1/orders/%2e%2e",
    ] {
        let answer = second.get(spelling).await;
        assert!(
            matches!(answer.status, 403 | 404) && answer.code() != "order_not_found",
            "{spelling}: {}",
            answer.body
        );
    }
    for id in [id, list] {
        shop.admin.delete(&format!("{POLICIES}/{id}")).await.expect(204);
    }
    second.get("/admin/v1/orders").await.expect(200);

    // Strangers can be denied what the contracts make public.
    shop.http.get("/store/v1/products").await.expect(200);
    let id = add_policy(&shop.admin, "anonymous", "/store/v1/products", "deny").await;
    assert_eq!(outcome(&shop.http.get("/store/v1/products").await), (403, "forbidden"));
    shop.shopper().await.http.get("/store/v1/products").await.expect(200);
    shop.admin.delete(&format!("{POLICIES}/{id}")).await.expect(204);
    shop.http.get("/store/v1/products").await.expect(200);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dangerous_wants_the_password_again_after_a_while() {
    let shop = Shop::start_with(with(&[("gateway.trust_s", 2), ("identity.trust_s", 2)])).await;
    let ada = shop.shopper().await;
    let delete = async |http: &Http| http.delete(ME).await;
    let roles = format!("/admin/v1/users/{}/roles", ada.id);
    let promote = async |http: &Http| http.put(&roles, json!({ "roles": ["user", "seller"] })).await;
    // Signed in after the shopper: whose password is the last to be no longer fresh.
    let login = shop.login(ADMIN, PASSWORD).await.expect(200).body;
    let admin = shop.http.token(&text(&login["tokens"]["access_token"]));
    eventually("the operator's password is no longer fresh", async || {
        outcome(&promote(&admin).await) == (403, "reauthentication_required")
    })
    .await;
    // The token is good for everything else.
    admin.get("/admin/v1/users").await.expect(200);
    let wrong = admin.post("/auth/v1/reauthenticate", json!({ "password": "not it" })).await;
    assert!(matches!(wrong.status, 401 | 403 | 422), "{}", wrong.body);
    // Freshness lasts two seconds, which a busy machine may sleep through: then the password is entered again.
    let freshly = async |stale: &Http, act: &dyn Fn(Http) -> BoxFuture<'static, Answer>| {
        let mut done = None;
        for _ in 0..30 {
            let again = stale.post("/auth/v1/reauthenticate", json!({ "password": PASSWORD })).await.expect(200);
            let answer = act(shop.http.token(&text(&again.body["access_token"]))).await;
            let late = outcome(&answer) == (403, "reauthentication_required");
            done = Some(answer);
            if !late {
                break;
            }
        }
        done.expect("an answer")
    };
    let (path, body) = (roles.clone(), json!({ "roles": ["user", "seller"] }));
    freshly(&admin, &move |http| {
        let (path, body) = (path.clone(), body.clone());
        Box::pin(async move { http.put(&path, body).await })
    })
    .await
    .expect(200);
    // It is another token of the same session: the old one has not become fresh.
    assert_eq!(outcome(&promote(&admin).await), (403, "reauthentication_required"));

    assert_eq!(outcome(&delete(&ada.http).await), (403, "reauthentication_required"));
    ada.http.get(ME).await.expect(200);
    freshly(&ada.http, &|http| Box::pin(async move { http.delete(ME).await })).await.expect(204);
    assert_eq!(ada.http.get(ME).await.status, 401);
    shop.login(&ada.email, PASSWORD).await.expect(401);
    shop.stop().await;
}

// Scenario 9.

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_that_comes_twice_ends_its_family() {
    let shop = Shop::start().await;
    let ada = shop.shopper().await;
    let refresh = async |token: &Value| shop.http.post("/auth/v1/refresh", json!({ "refresh_token": token })).await;
    let first = ada.tokens["refresh_token"].clone();
    let renewed = refresh(&first).await.expect(200).body["tokens"].clone();
    assert_ne!(renewed["refresh_token"], first);
    let http = shop.http.token(&text(&renewed["access_token"]));
    http.get(ME).await.expect(200);
    refresh(&first).await.expect(401);
    refresh(&renewed["refresh_token"]).await.expect(401);
    for http in [&http, &ada.http] {
        shows("the session has ended", async || http.get(ME).await.status == 401).await;
    }
    shop.stop().await;
}

// Scenarios 10 to 13 and 17 at two doors.

const PLAN: [&[&str]; 4] =
    [&["identity"], &["catalog", "inventory", "promotion", "cart", "order", "payment"], &["gateway"], &["gateway"]];
const IDENTITY: usize = 0;
const DOORS: [usize; 2] = [2, 3];

struct Cluster {
    dir: tempfile::TempDir,
    rpc: Vec<SocketAddr>,
    http: Vec<SocketAddr>,
    processes: Vec<Process>,
}

impl Cluster {
    async fn start() -> Cluster {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = folder(dir.path(), IDENTITY);
        let user = ["user", "create", "--email", ADMIN, "--password", PASSWORD, "--role", "user", "--role", "admin"];
        let made = run(&[&["ctl", "--data-dir", &folder], user.as_slice()].concat(), &[]).await;
        assert_eq!(made.code, 0, "{}", made.err);
        let rpc = PLAN.iter().map(|_| free_address()).collect();
        let http = PLAN.iter().map(|_| free_address()).collect();
        let mut cluster = Cluster { dir, rpc, http, processes: Vec::new() };
        for part in 0..PLAN.len() {
            let process = cluster.serve(part);
            cluster.processes.push(process);
        }
        for process in &mut cluster.processes {
            process.says("rpc listening on ").await;
        }
        for door in cluster.doors() {
            eventually("the door is open", async || door.get("/readyz").await.status == 200).await;
        }
        cluster
    }

    fn serve(&self, part: usize) -> Process {
        let mut args: Vec<String> = vec!["serve".into()];
        args.extend(PLAN[part].iter().map(|service| (*service).to_owned()));
        args.extend(["--data-dir".into(), folder(self.dir.path(), part)]);
        args.extend([
            "--rpc-listen".into(),
            self.rpc[part].to_string(),
            "--listen".into(),
            self.http[part].to_string(),
        ]);
        for (at, services) in PLAN.iter().enumerate().take(DOORS[0]) {
            for service in *services {
                args.extend(["--at".into(), format!("{service}=http://{}", self.rpc[at])]);
            }
        }
        let doors = DOORS.map(|door| format!("http://{}", self.rpc[door])).join(",");
        args.extend(["--at".into(), format!("gateway={doors}")]);
        Process::start(&args.iter().map(String::as_str).collect::<Vec<_>>(), &[])
    }

    fn doors(&self) -> [Http; 2] {
        DOORS.map(|door| Http::new(self.http[door]))
    }
}

fn folder(dir: &Path, part: usize) -> String {
    dir.join(part.to_string()).to_str().expect("a path of plain text").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_doors_obey_within_a_second_and_keep_the_last_good_policy_while_identity_is_away() {
    let mut cluster = Cluster::start().await;
    let [here, there] = cluster.doors();
    let operator = operator_at(&here, ADMIN, PASSWORD).await;
    let ada = shopper_at(&here).await;
    let token = text(&ada.tokens["access_token"]);
    let both = [here.token(&token), there.token(&token)];
    for door in &both {
        knows_the_keys(door).await;
        door.get(ME).await.expect(200);
    }
    // Returns how long it took until both doors said so.
    let everywhere = async |what: &str, path: &str, expected: (u16, &str)| {
        let begun = tokio::time::Instant::now();
        for door in &both {
            shows(what, async || outcome(&door.get(path).await) == expected).await;
        }
        begun.elapsed()
    };
    let user = format!("/admin/v1/users/{}", ada.id);

    within_a_second("a ban holds, and is lifted, at both doors", async |_| {
        operator.post(&format!("{user}/ban"), json!({ "level": "login", "reason": "x" })).await.expect(200);
        let held = everywhere("the ban holds", ME, (403, "account_banned")).await;
        operator.post(&format!("{user}/unban"), json!({})).await.expect(200);
        held.max(everywhere("the ban is lifted", ME, (200, "")).await)
    })
    .await;

    // A rule makes its role; only then can somebody hold it.
    let rule = json!({ "role": "support", "path": "/admin/v1/check", "method": "GET" });
    operator.post(POLICIES, rule).await.expect(201);
    set_roles(&operator, &ada.id, &["user", "support"]).await;
    within_a_second("a rule holds, and is gone, at both doors", async |_| {
        let rule = json!({ "role": "support", "path": "/admin/v1/users", "method": "GET" });
        let id = text(&operator.post(POLICIES, rule).await.expect(201).body["policy"]["id"]);
        let held = everywhere("the rule holds", "/admin/v1/users", (200, "")).await;
        operator.delete(&format!("{POLICIES}/{id}")).await.expect(204);
        held.max(everywhere("the rule is gone", "/admin/v1/users", (403, "forbidden")).await)
    })
    .await;

    // Identity dies: the doors live, keep their policy and say how old it is; a login fails and nothing else.
    cluster.processes[IDENTITY].kill();
    for door in cluster.doors() {
        let login = door.post("/auth/v1/login", json!({ "email": ADMIN, "password": PASSWORD })).await;
        assert_eq!(login.status, 503, "{}", login.body);
        door.get("/healthz").await.expect(200);
        assert_eq!(outcome(&door.get(ME).await), (401, "unauthenticated"));
    }
    for door in &both {
        assert_eq!(outcome(&door.get("/admin/v1/users").await), (403, "forbidden"));
        door.get("/store/v1/cart").await.expect(200);
    }
    eventually("the policy grows old", async || {
        let metrics = here.get("/metrics").await.body;
        let age = |line: &str| line.strip_prefix("mallard_policy_age_seconds ").and_then(|age| age.parse::<f64>().ok());
        metrics.as_str().and_then(|text| text.lines().find_map(age)).is_some_and(|age| age > 1.0)
    })
    .await;

    cluster.processes[IDENTITY] = cluster.serve(IDENTITY);
    cluster.processes[IDENTITY].says("rpc listening on ").await;
    for door in cluster.doors() {
        eventually("a login works again", async || {
            door.post("/auth/v1/login", json!({ "email": ADMIN, "password": PASSWORD })).await.status == 200
        })
        .await;
    }
    let operator = operator_at(&there, ADMIN, PASSWORD).await;
    eventually("changes come again", async || {
        operator.post(&format!("{user}/ban"), json!({ "level": "all", "reason": "x" })).await.status == 200
            && both[0].get(ME).await.status == 403
    })
    .await;
    patiently("the ban ends", async || operator.post(&format!("{user}/unban"), json!({})).await).await.expect(200);
    everywhere("the ban is lifted", ME, (200, "")).await;
    operator.post(&format!("{user}/kick"), json!({})).await.expect(204);
    everywhere("the session has ended", ME, (401, "session_revoked")).await;
}
