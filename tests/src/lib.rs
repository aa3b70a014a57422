//! The mall as a black box: a shop in a test, spoken to over HTTP only.

use std::sync::atomic::{AtomicU64, Ordering};

use mallard_proto::identity::v1::CreateUserRequest;
use mallard_proto::identity::v1::identity_service_client::IdentityServiceClient;
use mallard_rpc::ServiceChannel;
use mallard_runtime::{Config, Mall, Settings, Storage};
use mallard_testkit::{Answer, Http, as_system, cheap, eventually};
use serde_json::{Value, json};

/// E-mail of the operator of every test shop.
pub const ADMIN: &str = "admin@mallard.test";
/// Password of everybody in a test shop.
pub const PASSWORD: &str = "correct horse battery";
/// Pays.
pub const GOOD_CARD: &str = "4242 4242 4242 4242";
/// Is declined.
pub const DECLINED_CARD: &str = "4000 0000 0000 0002";
/// Times out after the money moved.
pub const TIMEOUT_CARD: &str = "4000 0000 0000 0119";

static NEXT: AtomicU64 = AtomicU64::new(1);

/// What keeps a busy machine from looking like a fault, as key and value: no time limit is near what a test does, however long
/// the disk or another process holds it up, and nobody is turned away because answers are slow. A test of such a limit sets
/// its own.
pub const PATIENT: [(&str, u64); 21] = [
    ("gateway.timeout_ms", 600_000),
    ("gateway.read_timeout_ms", 600_000),
    ("gateway.check_timeout_ms", 600_000),
    ("gateway.body_timeout_ms", 600_000),
    ("gateway.body_grace_ms", 600_000),
    ("gateway.copies.wait_ms", 600_000),
    ("gateway.copies.load_timeout_ms", 600_000),
    ("gateway.concurrency.limit_min", 4_096),
    ("gateway.concurrency.limit_initial", 4_096),
    ("gateway.concurrency.limit_max", 4_096),
    ("gateway.concurrency.one_service_percent", 100),
    ("web.read_timeout_ms", 600_000),
    ("web.write_timeout_ms", 600_000),
    ("http.header_read_timeout_ms", 600_000),
    ("http.idle_timeout_ms", 600_000),
    ("rpc.deadline_default_ms", 600_000),
    ("rpc.services.default.connect_timeout_ms", 60_000),
    ("rpc.services.default.keep_alive_timeout_ms", 600_000),
    ("identity.hash_waiting_max", 4_096),
    ("identity.trust_s", 86_400),
    ("gateway.trust_s", 86_400),
];

/// Returns the configuration of test shops: the default one, cheap and [`PATIENT`].
pub fn config() -> Config {
    let config = cheap(Config::defaults(mallard::DEFAULT_CONFIG));
    PATIENT.iter().fold(config, |config, (key, value)| config.set(key, value))
}

/// Returns a text that no other test uses.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A shop in a test.
pub struct Shop {
    /// The mall behind it.
    pub mall: Mall,
    /// Nobody's client.
    pub http: Http,
    /// The operator's client.
    pub admin: Http,
    _dir: Option<tempfile::TempDir>,
}

/// A signed-in shopper.
#[derive(Clone)]
pub struct Shopper {
    /// Client with the shopper's token.
    pub http: Http,
    /// `usr_…`
    pub id: String,
    /// E-mail.
    pub email: String,
    /// Access and refresh tokens.
    pub tokens: Value,
}

impl Shop {
    /// Starts a shop on SQLite files in a temporary folder, as `mallard up` does.
    pub async fn start() -> Shop {
        Shop::start_with(|settings| settings).await
    }

    /// Starts a shop with changed settings.
    pub async fn start_with(change: impl FnOnce(Settings) -> Settings) -> Shop {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let settings = Settings::new(mallard::services(), config(), Storage::Folder(dir.path().to_owned()));
        Shop::run(change(settings), Some(dir)).await
    }

    /// Starts a shop from complete settings.
    pub async fn run(mut settings: Settings, dir: Option<tempfile::TempDir>) -> Shop {
        settings.listen.get_or_insert("127.0.0.1:0".parse().expect("an address"));
        let mall = mallard_testkit::start(settings).await;
        let http = Http::new(mall.http_addr().expect("the gateway listens"));
        let mut identity: IdentityServiceClient<ServiceChannel> = mall.client();
        let request = CreateUserRequest {
            email: ADMIN.into(),
            password: PASSWORD.into(),
            name: "Operator".into(),
            language: "en".into(),
            roles: vec!["user".into(), "admin".into()],
            seller_id: String::new(),
        };
        as_system(identity.create_user(request)).await.expect("the operator is made");
        let login = json!({ "email": ADMIN, "password": PASSWORD });
        let tokens = patiently("the operator signs in", async || http.post("/auth/v1/login", login.clone()).await)
            .await
            .expect(200)
            .body;
        let admin = http.token(tokens["tokens"]["access_token"].as_str().expect("a token"));
        knows_the_keys(&admin).await;
        Shop { mall, http, admin, _dir: dir }
    }

    /// Registers a shopper.
    pub async fn shopper(&self) -> Shopper {
        let mut email = String::new();
        let answer = patiently("somebody registers", async || {
            email = format!("{}@shop.test", unique("shopper"));
            let form = json!({ "email": email, "password": PASSWORD, "name": "Ada" });
            self.http.post("/auth/v1/register", form).await
        })
        .await
        .expect(201);
        let tokens = answer.body["tokens"].clone();
        let http = self.http.token(tokens["access_token"].as_str().expect("a token"));
        Shopper { http, id: answer.body["user"]["id"].as_str().expect("an id").into(), email, tokens }
    }

    /// Lists a product with one variant in CNY; returns its product and SKU ids.
    pub async fn product(&self, title: &str, price: i64, stock: i64) -> (String, String) {
        let body = json!({
            "title": title,
            "description": format!("{title} for a test"),
            "status": "listed",
            "variants": [{ "title": title, "price": { "amount": price, "currency": "CNY" }, "stock": stock }],
        });
        let product = self.admin.post("/admin/v1/products", body).await.expect(201).body["product"].clone();
        let sku = product["variants"][0]["id"].as_str().expect("a sku").to_owned();
        let id = product["id"].as_str().expect("an id").to_owned();
        self.stock_is(&sku, stock, 0).await;
        (id, sku)
    }

    /// Reads units on hand and reserved.
    pub async fn stock(&self, sku: &str) -> (i64, i64) {
        let answer = self.admin.get(&format!("/admin/v1/inventory/{sku}")).await;
        let stock = &answer.body["inventory"];
        (stock["on_hand"].as_i64().unwrap_or(-1), stock["reserved"].as_i64().unwrap_or(-1))
    }

    /// Waits until the stock is this.
    pub async fn stock_is(&self, sku: &str, on_hand: i64, reserved: i64) {
        eventually(&format!("stock of {sku} is {on_hand} with {reserved} reserved"), async || {
            self.stock(sku).await == (on_hand, reserved)
        })
        .await;
    }

    /// Waits until an order has a status, as the operator sees it.
    pub async fn order_is(&self, id: &str, status: &str) -> Value {
        eventually(&format!("order {id} is {status}"), async || self.order(id).await["status"] == status).await;
        self.order(id).await
    }

    /// Reads an order as the operator.
    pub async fn order(&self, id: &str) -> Value {
        self.admin.get(&format!("/admin/v1/orders/{id}")).await.body["order"].clone()
    }

    /// Asserts that the books balance.
    pub async fn check(&self) {
        let answer = self.admin.get("/admin/v1/check").await.expect(200).body;
        assert_eq!(answer["ok"], true, "{}", red(&answer));
    }

    /// Stops in order.
    pub async fn stop(self) {
        self.mall.stop().await;
    }
}

fn red(answer: &Value) -> String {
    let checks = answer["checks"].as_array().cloned().unwrap_or_default();
    checks.iter().filter(|check| check["ok"] != true).map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl Shopper {
    /// Adds to the cart.
    pub async fn add(&self, sku: &str, quantity: i64) -> Answer {
        self.http.post("/store/v1/cart/lines", json!({ "sku_id": sku, "quantity": quantity })).await
    }

    /// Reads the cart.
    pub async fn cart(&self) -> Value {
        self.http.get("/store/v1/cart").await.expect(200).body["cart"].clone()
    }

    /// Places an order for the whole cart.
    pub async fn place(&self, key: &str, total: i64, payment: Value) -> Answer {
        self.http.key(key).post("/store/v1/orders", order(total, payment)).await
    }

    /// Buys some units at once; returns the paid order.
    pub async fn buy(&self, sku: &str, quantity: i64, total: i64) -> Value {
        self.add(sku, quantity).await.expect(200);
        self.place(&unique("key"), total, card(GOOD_CARD)).await.expect(201).body["order"].clone()
    }
}

/// Returns the body of an order for the whole cart in CNY.
pub fn order(total: i64, payment: Value) -> Value {
    json!({ "address": address(), "payment": payment, "expected_total": { "amount": total, "currency": "CNY" } })
}

/// Returns a card.
pub fn card(number: &str) -> Value {
    json!({ "method": "card", "number": number, "exp_month": 12, "exp_year": 2030, "cvc": "012" })
}

/// Returns the choice to pay later.
pub fn later() -> Value {
    json!({ "method": "later" })
}

/// Returns an address with everything in it.
pub fn address() -> Value {
    json!({
        "name": "Ada King-Lovelace", "phone": "+86 10 5555 0100", "country": "CN", "province": "北京市", "city": "北京市",
        "district": "海淀区", "street": "1 Analytical Road", "postal_code": "01234",
    })
}

impl Shop {
    /// Returns the whole address of a path, for requests that the JSON client cannot make.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.mall.http_addr().expect("the gateway listens"))
    }

    /// Signs in; returns the answer, which may be a refusal.
    pub async fn login(&self, email: &str, password: &str) -> Answer {
        self.http.post("/auth/v1/login", json!({ "email": email, "password": password })).await
    }

    /// Makes a user with these roles, as the command line does, and signs it in.
    pub async fn user_with(&self, roles: &[&str]) -> Shopper {
        let email = format!("{}@shop.test", unique("user"));
        let mut identity: IdentityServiceClient<ServiceChannel> = self.mall.client();
        let request = CreateUserRequest {
            email: email.clone(),
            password: PASSWORD.into(),
            name: "Grace".into(),
            language: "en".into(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            seller_id: String::new(),
        };
        as_system(identity.create_user(request)).await.expect("the user is made");
        let answer = self.login(&email, PASSWORD).await.expect(200).body;
        let http = self.http.token(answer["tokens"]["access_token"].as_str().expect("a token"));
        Shopper {
            http,
            id: answer["user"]["id"].as_str().expect("an id").into(),
            email,
            tokens: answer["tokens"].clone(),
        }
    }

    /// Changes the price of a product with one variant.
    pub async fn price(&self, product: &str, sku: &str, price: i64) {
        let variant = json!({ "id": sku, "price": { "amount": price, "currency": "CNY" } });
        self.admin.patch(&format!("/admin/v1/products/{product}"), json!({ "variants": [variant] })).await.expect(200);
    }
}

/// Waits until a door can read tokens. It looks for the keys with the first token that comes, for half a second at most, and
/// says 503 when identity took longer.
pub async fn knows_the_keys(signed_in: &Http) {
    eventually("the door knows the keys", async || signed_in.get("/store/v1/me").await.status != 503).await;
}

/// Waits until a test of some minutes does not meet midnight (UTC), when the sums of a day end.
pub async fn away_from_midnight(mall: &Mall) {
    const DAY_S: i64 = 24 * 60 * 60;
    const TEST_S: i64 = 5 * 60;
    let now_s = mall.context("identity").expect("identity runs here").now() / 1_000_000;
    let left_s = DAY_S - now_s % DAY_S;
    if left_s < TEST_S {
        tokio::time::sleep(std::time::Duration::from_secs(left_s.unsigned_abs() + 1)).await;
    }
}

/// Sends until the answer is neither that a service was late or away nor that the same key is under way: what a patient client
/// does, who comes back when he is told to.
///
/// # Panics
/// After two minutes.
pub async fn patiently(what: &str, mut send: impl AsyncFnMut() -> Answer) -> Answer {
    let begun = tokio::time::Instant::now();
    loop {
        let answer = send().await;
        if !matches!(answer.status, 503 | 504) && answer.code() != "idempotency_in_flight" {
            return answer;
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(120), "{what}: {}", answer.body);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Waits until a change shows that was made elsewhere and need not show at once. The acceptance page promises it within a second;
/// that what decides about it takes no longer, a test in `copies.rs` reads from the default configuration, because here a
/// disk or another process may hold up everything for longer than that.
///
/// # Panics
/// When it never shows.
pub async fn shows<F, Fut>(what: &str, condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    eventually(what, condition).await;
}

/// Makes changes until one showed within a second, and three at least. A busy machine makes some rounds late, but not thirty.
///
/// # Panics
/// When every round took longer.
pub async fn within_a_second(what: &str, mut round: impl AsyncFnMut(u32) -> std::time::Duration) {
    let mut soonest = std::time::Duration::MAX;
    for n in 0..30 {
        soonest = soonest.min(round(n).await);
        if n >= 2 && soonest < std::time::Duration::from_secs(1) {
            return;
        }
    }
    panic!("{what}: took more than a second every time, at least {soonest:?}");
}

/// Every log line of this process, of every level and crate, since the first call of [`Logs::capture`].
#[derive(Clone, Default)]
pub struct Logs(std::sync::Arc<parking_lot::Mutex<Vec<u8>>>);

impl Logs {
    /// Starts to keep log lines; a second call returns the same ones.
    pub fn capture() -> Logs {
        static LOGS: std::sync::OnceLock<Logs> = std::sync::OnceLock::new();
        let start = || {
            let logs = Logs::default();
            let writer = logs.clone();
            tracing_subscriber::fmt()
                .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
                .with_span_events(tracing_subscriber::fmt::format::FmtSpan::NEW)
                .with_ansi(false)
                .with_writer(move || writer.clone())
                .try_init()
                .expect("no test of this process logs elsewhere");
            logs
        };
        LOGS.get_or_init(start).clone()
    }

    /// Returns what was logged so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock()).into_owned()
    }
}

impl std::io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub mod browser;
pub mod process;
pub mod world;
