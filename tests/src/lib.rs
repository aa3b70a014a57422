//! The mall as a black box: a shop in a test, spoken to over HTTP only.

use std::sync::atomic::{AtomicU64, Ordering};

use mallard_proto::identity::v1::CreateUserRequest;
use mallard_proto::identity::v1::identity_service_client::IdentityServiceClient;
use mallard_rpc::ServiceChannel;
use mallard_runtime::{Mall, Settings, Storage};
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
        let config = cheap(mallard_runtime::Config::defaults(mallard::DEFAULT_CONFIG));
        let settings = Settings::new(mallard::services(), config, Storage::Folder(dir.path().to_owned()));
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
        let tokens =
            http.post("/auth/v1/login", json!({ "email": ADMIN, "password": PASSWORD })).await.expect(200).body;
        let admin = http.token(tokens["tokens"]["access_token"].as_str().expect("a token"));
        Shop { mall, http, admin, _dir: dir }
    }

    /// Registers a shopper.
    pub async fn shopper(&self) -> Shopper {
        let email = format!("{}@shop.test", unique("shopper"));
        let answer = self
            .http
            .post("/auth/v1/register", json!({ "email": email, "password": PASSWORD, "name": "Ada" }))
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

/// Waits until a condition holds, for one second at most: what the acceptance page promises for changes made elsewhere.
///
/// # Panics
/// After a second, naming what was waited for.
pub async fn within_a_second<F, Fut>(what: &str, mut condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let begun = tokio::time::Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < std::time::Duration::from_secs(1), "took more than a second: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
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
