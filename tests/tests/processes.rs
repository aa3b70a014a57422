//! The real binary: from an empty folder to a clean stop under load, killed under load, in several processes on SQLite and
//! on PostgreSQL, two of a kind at once, and what `check` says to a script.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use mallard_db::params;
use mallard_runtime::{Settings, Storage};
use mallard_testkit::{Answer, Http, eventually, pgtest::PgServer};
use mallard_tests::process::*;
use mallard_tests::*;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const OPERATOR: &str = "admin@mallard.local";
const PRICE: i64 = 990;

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of plain text")
}

fn up(folder: &Path, listen: SocketAddr) -> Process {
    Process::start(&["up", "--data-dir", text(folder), "--listen", &listen.to_string()], &[])
}

fn password_of(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("admin-password")).expect("the operator's password").trim().to_owned()
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// The body of an order of one unit, paid at once.
fn one(sku: &str, payment: Value) -> Value {
    let mut body = order(PRICE, payment);
    body["lines"] = json!([{ "sku_id": sku, "quantity": 1 }]);
    body
}

fn id_of(answer: &Answer) -> String {
    answer.body["order"]["id"].as_str().expect("an order id").to_owned()
}

async fn count_orders(operator: &Http) -> i64 {
    operator.get("/admin/v1/orders?count=true&limit=1").await.expect(200).body["count"].as_i64().expect("a count")
}

/// What came of a request under load.
#[derive(Debug)]
enum Came {
    /// Acknowledged: an order.
    Order(String),
    /// Another answer.
    Status(u16, String),
    /// No answer.
    Nothing { signalled: bool, reason: String },
}

async fn place(http: &Http, key: &str, body: Value, signalled: &AtomicBool) -> Came {
    match http.key(key).try_send("POST", "/store/v1/orders", body).await {
        Ok(answer) if answer.status == 201 => Came::Order(id_of(&answer)),
        Ok(answer) => Came::Status(answer.status, answer.body.to_string()),
        Err(error) => Came::Nothing { signalled: signalled.load(Ordering::SeqCst), reason: format!("{error:?}") },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn up_goes_from_an_empty_folder_to_a_clean_stop_under_load() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut folder = dir.path().join("new");
    let mut begun = Instant::now();
    let mut process = up(&folder, any_port());
    let mut http = Http::new(process.opens().await);
    // Scenario 63: open in two minutes on a laptop, in release. A machine that is busy with other things tries again.
    for n in 0..3 {
        if begun.elapsed() < Duration::from_secs(60) {
            break;
        }
        process.kill();
        folder = dir.path().join(format!("new{n}"));
        begun = Instant::now();
        process = up(&folder, any_port());
        http = Http::new(process.opens().await);
    }
    assert!(begun.elapsed() < Duration::from_secs(120), "open after {:?}", begun.elapsed());
    let products = http.get("/store/v1/products?count=true&limit=1").await.expect(200).body;
    let seeded = products["count"].as_i64().expect("a count");
    assert!(seeded > 50, "the shop opens with products: {seeded}");
    let mode = std::fs::metadata(folder.join("admin-password")).expect("the password file").permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
    process.says("  operator ").await;
    assert!(process.out().contains(&password_of(&folder)), "the password is shown once");
    eventually("it is ready", async || http.get("/readyz").await.status == 200).await;

    // A demo product is bought over HTTP.
    let shopper = shopper_at(&http).await;
    let variants = products["products"][0]["variants"].as_array().expect("variants").clone();
    let sku = variants.iter().find(|variant| variant["in_stock"] == true).expect("one in stock")["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let lines = json!([{ "sku_id": sku, "quantity": 1 }]);
    let quote =
        shopper.http.post("/store/v1/checkout/quote", json!({ "lines": lines })).await.expect(200).body["quote"]
            .clone();
    let mut body = order(0, card(GOOD_CARD));
    (body["lines"], body["expected_total"]) = (lines, quote["total"].clone());
    let bought = shopper.http.key("first").post("/store/v1/orders", body.clone()).await.expect(201);
    assert_eq!(bought.body["order"]["status"], "paid");

    // Twenty clients place orders when the signal comes.
    let operator = operator_at(&http, OPERATOR, &password_of(&folder)).await;
    let sku = product_at(&operator, "Mug", PRICE, 100_000).await;
    let (signalled, acked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut clients = JoinSet::new();
    for client in 0..20 {
        let shopper = shopper_at(&Http::new(http_address(&process))).await;
        let (sku, signalled, acked) = (sku.clone(), Arc::clone(&signalled), Arc::clone(&acked));
        clients.spawn(async move {
            let mut said = Vec::new();
            for i in 0.. {
                let came = place(&shopper.http, &format!("{client}-{i}"), one(&sku, card(GOOD_CARD)), &signalled).await;
                let gone = matches!(came, Came::Nothing { .. });
                acked.fetch_add(u64::from(matches!(came, Came::Order(_))), Ordering::Relaxed);
                said.push(came);
                if gone {
                    break;
                }
            }
            said
        });
    }
    eventually("a hundred orders are placed", async || acked.load(Ordering::Relaxed) >= 100).await;
    signalled.store(true, Ordering::SeqCst);
    process.terminate();
    let said = clients.join_all().await.into_iter().flatten();
    assert_eq!(process.ends().await, 0, "{}", process.err());
    let (mut orders, mut broken) = (Vec::new(), 0);
    for came in said {
        match came {
            Came::Order(id) => orders.push(id),
            Came::Status(status, body) => panic!("{status} under load: {body}"),
            Came::Nothing { signalled, reason } => {
                assert!(signalled, "a connection broke before the signal: {reason}");
                broken += i32::from(!reason.contains("ConnectionRefused"));
            }
        }
    }

    // Everything that was acknowledged is there, and nothing else: no request was taken and left without an answer.
    let mut process = up(&folder, any_port());
    let http = Http::new(process.opens().await);
    process.says("  operator ").await;
    assert!(!process.out().contains(&password_of(&folder)), "the password is not shown again");
    let operator = operator_at(&http, OPERATOR, &password_of(&folder)).await;
    for id in &orders {
        let order = operator.get(&format!("/admin/v1/orders/{id}")).await.expect(200).body;
        assert_eq!(order["order"]["status"], "paid", "{id} was acknowledged as paid");
    }
    assert_eq!(count_orders(&operator).await, orders.len() as i64 + 1, "orders were made whose answer was lost");
    let again = http.get("/store/v1/products?count=true&limit=1").await.expect(200).body["count"].clone();
    assert_eq!(again, json!(seeded + 1), "the demo shop is seeded once");
    let replay = http.token(shopper.tokens["access_token"].as_str().expect("a token")).key("first");
    let replayed = replay.post("/store/v1/orders", body).await.expect(201);
    assert_eq!(
        (id_of(&replayed), replayed.header("idempotent-replayed")),
        (id_of(&bought), "true"),
        "keys outlive a restart"
    );
    check_at(&operator).await;
    let checked = run(&["check", "--data-dir", text(&folder)], &[]).await;
    assert_eq!(checked.code, 0, "{}{}", checked.out, checked.err);
    process.terminate();
    assert_eq!(process.ends().await, 0);
    println!("{} orders acknowledged around the signal, {broken} requests never taken up", orders.len());
}

fn http_address(process: &Process) -> SocketAddr {
    let out = process.out();
    let rest = out.split("mallard is open at http://").nth(1).expect("it is open");
    rest.split_whitespace().next().and_then(|address| address.parse().ok()).expect("an address")
}

/// What shoppers were told while the mall was killed again and again.
#[derive(Default)]
struct Told {
    /// Key to order and its status, as acknowledged.
    orders: Mutex<BTreeMap<(usize, String), (String, String)>>,
    /// How many of them had died with a process before.
    retried: AtomicU64,
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_under_load_three_times_nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().expect("a folder");
    let address = free_address();
    let mut process = up(dir.path(), address);
    let http = Http::new(process.opens().await);
    let operator = operator_at(&http, OPERATOR, &password_of(dir.path())).await;
    let sku = product_at(&operator, "Mug", PRICE, 100_000).await;
    let told = Arc::new(Told::default());
    let done = Arc::new(AtomicBool::new(false));
    let mut shoppers = Vec::new();
    for _ in 0..8 {
        shoppers.push(shopper_at(&Http::new(address)).await);
    }
    let mut clients = JoinSet::new();
    for (client, shopper) in shoppers.iter().cloned().enumerate() {
        let (sku, told, done) = (sku.clone(), Arc::clone(&told), Arc::clone(&done));
        clients.spawn(async move {
            for i in 0.. {
                let key = format!("{client}-{i}");
                let mut broken = false;
                loop {
                    if done.load(Ordering::SeqCst) {
                        return;
                    }
                    let sent =
                        shopper.http.key(&key).try_send("POST", "/store/v1/orders", one(&sku, payment_of(&key))).await;
                    match sent {
                        Ok(answer) if answer.status == 201 => {
                            told.retried.fetch_add(u64::from(broken), Ordering::Relaxed);
                            let status = answer.body["order"]["status"].as_str().unwrap_or_default().to_owned();
                            told.orders.lock().insert((client, key.clone()), (id_of(&answer), status));
                            break;
                        }
                        // A process that has just started may take a moment to learn the keys of tokens.
                        Ok(answer) if (answer.status, answer.code()) == (503, "keys_unavailable") => {}
                        Ok(answer) => panic!("{key} {}: {}", answer.status, answer.body),
                        // Refused while nobody listens, or broken off: the same again.
                        Err(error) => broken |= !error.is_connect(),
                    }
                    sleep(Duration::from_millis(20)).await;
                }
            }
        });
    }
    for _ in 0..3 {
        let before = told.orders.lock().len();
        eventually("orders are placed", async || told.orders.lock().len() >= before + 60).await;
        process.kill();
        process = up(dir.path(), address);
        process.opens().await;
    }
    let before = told.orders.lock().len();
    eventually("orders are placed again", async || told.orders.lock().len() >= before + 20).await;
    done.store(true, Ordering::SeqCst);
    while let Some(client) = clients.join_next().await {
        client.expect("no client met anything else");
    }
    let acknowledged = told.orders.lock().clone();
    let retried = told.retried.load(Ordering::Relaxed);
    println!(
        "{} orders acknowledged, {retried} of them asked for again after their process had died",
        acknowledged.len()
    );
    assert!(retried > 0, "a kill under load breaks some requests off");

    // Whether the money of a request that died had moved is known within seconds.
    let operator = operator_at(&http, OPERATOR, &password_of(dir.path())).await;
    eventually("every book balances", async || operator.get("/admin/v1/check").await.expect(200).body["ok"] == true)
        .await;
    for ((client, key), (id, status)) in &acknowledged {
        let http = &shoppers[*client].http;
        let found = http.get(&format!("/store/v1/orders/{id}")).await.expect(200).body["order"]["status"].clone();
        let came_true =
            found == status.as_str() || (status == "pending_payment" && found == "paid" && !pays_later(key));
        assert!(came_true, "{key} {id}: acknowledged as {status}, is {found}");
        let again = http.key(key).post("/store/v1/orders", one(&sku, payment_of(key))).await.expect(201);
        assert_eq!(&id_of(&again), id, "{key}: one key, two orders");
    }
    let ids: std::collections::BTreeSet<_> = acknowledged.values().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), acknowledged.len(), "two keys share an order");
    // Each client was stopped with at most one request unanswered.
    let surplus = count_orders(&operator).await - ids.len() as i64;
    assert!((0..=shoppers.len() as i64).contains(&surplus), "{surplus} orders that nobody asked for");
    check_at(&operator).await;
}

fn pays_later(key: &str) -> bool {
    key.ends_with('4') || key.ends_with('9')
}

fn payment_of(key: &str) -> Value {
    if pays_later(key) { later() } else { card(GOOD_CARD) }
}

/// A mall in several processes: which services run where.
struct Cluster {
    parts: Vec<Part>,
    /// Where each service is, for `--at`.
    at: Vec<String>,
    store: Store,
    env: Vec<(&'static str, String)>,
}

struct Part {
    services: &'static [&'static str],
    rpc: SocketAddr,
    http: SocketAddr,
    process: Option<Process>,
}

#[derive(Clone)]
enum Store {
    /// A folder for each process, below this one.
    Sqlite(std::path::PathBuf),
    Postgres(String),
}

impl Cluster {
    /// Plans a mall; a service in two parts has two endpoints.
    fn new(store: Store, plan: &[&'static [&'static str]]) -> Cluster {
        let part = |services: &&'static [&'static str]| Part {
            services,
            rpc: free_address(),
            http: free_address(),
            process: None,
        };
        let parts: Vec<Part> = plan.iter().map(part).collect();
        let mut endpoints: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for part in &parts {
            for service in part.services {
                endpoints.entry(service).or_default().push(format!("http://{}", part.rpc));
            }
        }
        let at = endpoints.iter().map(|(service, urls)| format!("{service}={}", urls.join(","))).collect();
        Cluster { parts, at, store, env: Vec::new() }
    }

    fn storage(&self, part: usize) -> Vec<String> {
        match &self.store {
            Store::Sqlite(folder) => vec!["--data-dir".into(), text(&folder.join(part.to_string())).into()],
            Store::Postgres(url) => vec!["--database-url".into(), url.clone()],
        }
    }

    /// Makes the operator, on the storage of the part that runs identity.
    async fn operator(&self) {
        let part =
            self.parts.iter().position(|part| part.services.contains(&"identity")).expect("identity runs somewhere");
        let mut args = vec!["ctl".to_owned()];
        args.extend(self.storage(part));
        args.extend(
            ["user", "create", "--email", ADMIN, "--password", PASSWORD, "--role", "user", "--role", "admin"]
                .map(str::to_owned),
        );
        let made = run(&args.iter().map(String::as_str).collect::<Vec<_>>(), &[]).await;
        assert_eq!(made.code, 0, "{}", made.err);
        assert!(made.out.contains("user,admin") || made.out.contains("admin,user"), "{}", made.out);
    }

    fn start(&mut self, part: usize) {
        let mut args: Vec<String> = vec!["serve".into()];
        args.extend(self.parts[part].services.iter().map(|service| (*service).to_owned()));
        args.extend(self.storage(part));
        if matches!(self.store, Store::Postgres(_)) {
            // Nobody waits for a connection: that would be told as busy, which is not what is asked here.
            args.extend(["--database-pool".into(), "12".into()]);
        }
        for at in &self.at {
            args.extend(["--at".into(), at.clone()]);
        }
        args.extend([
            "--rpc-listen".into(),
            self.parts[part].rpc.to_string(),
            "--listen".into(),
            self.parts[part].http.to_string(),
        ]);
        let env: Vec<(&str, &str)> = self.env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.parts[part].process = Some(Process::start(&args.iter().map(String::as_str).collect::<Vec<_>>(), &env));
    }

    async fn started(&mut self, part: usize) {
        let process = self.parts[part].process.as_mut().expect("it was started");
        process.says("http listening on ").await;
        process.says("rpc listening on ").await;
    }

    /// Starts every part and waits until the door is open.
    async fn run(&mut self) -> Http {
        for part in 0..self.parts.len() {
            self.start(part);
        }
        for part in 0..self.parts.len() {
            self.started(part).await;
        }
        let door = self.parts.iter().find(|part| part.services.contains(&"gateway")).expect("a gateway");
        let http = Http::new(door.http);
        eventually("the door is open", async || http.get("/readyz").await.status == 200).await;
        http
    }

    fn process(&mut self, part: usize) -> &mut Process {
        self.parts[part].process.as_mut().expect("it runs")
    }

    /// Stops every part in order.
    async fn stop(&mut self) {
        for part in &self.parts {
            part.process.as_ref().expect("it runs").terminate();
        }
        for part in &mut self.parts {
            let process = part.process.as_mut().expect("it runs");
            assert_eq!(process.ends().await, 0, "{:?}: {}", part.services, process.err());
        }
    }
}

const TRADE: &[&str] = &["order", "payment"];
const REST: &[&str] = &["identity", "catalog", "inventory", "promotion", "cart", "insight"];
const DOOR: &[&str] = &["gateway"];

async fn three_processes(store: Store) {
    let mut cluster = Cluster::new(store, &[TRADE, REST, DOOR]);
    cluster.operator().await;
    let http = cluster.run().await;
    let operator = operator_at(&http, ADMIN, PASSWORD).await;
    let sku = product_at(&operator, "Mug", PRICE, 50).await;
    stock_at(&operator, &sku, 50, 0).await;
    let shopper = shopper_at(&http).await;
    let listed = http.get("/store/v1/products").await.expect(200).body;
    assert_eq!(listed["products"][0]["variants"][0]["id"], sku.as_str());
    shopper.add(&sku, 2).await.expect(200);
    let placed = shopper.place("k", 2 * PRICE, later()).await.expect(201);
    assert_eq!(placed.body["order"]["status"], "pending_payment");
    let id = id_of(&placed);
    stock_at(&operator, &sku, 50, 2).await;

    // The process that has the order dies; the others live, and say so within two seconds.
    let mut soonest = Duration::MAX;
    // A machine that is busy may be late with saying it, but not each time.
    for n in 0..10 {
        if n > 0 {
            patiently("it is back", async || shopper.http.get(&format!("/store/v1/orders/{id}")).await)
                .await
                .expect(200);
        }
        cluster.process(0).kill();
        let begun = Instant::now();
        let away = shopper.http.get(&format!("/store/v1/orders/{id}")).await;
        soonest = soonest.min(begun.elapsed());
        assert_eq!(away.status, 503, "{}", away.body);
        http.get("/store/v1/products").await.expect(200);
        shopper.http.get("/store/v1/cart").await.expect(200);
        cluster.start(0);
        cluster.started(0).await;
        if soonest < Duration::from_secs(2) {
            break;
        }
    }
    assert!(soonest < Duration::from_secs(2), "a dead service is told after {soonest:?}");
    let path = format!("/store/v1/orders/{id}/pay");
    let paid =
        patiently("paying", async || shopper.http.key("p").post(&path, json!({ "payment": card(GOOD_CARD) })).await)
            .await
            .expect(200);
    assert_eq!(paid.body["order"]["status"], "paid");
    stock_at(&operator, &sku, 48, 0).await;
    eventually("the cart is empty", async || shopper.cart().await["lines"] == json!([])).await;
    let same = shopper.http.key("k").post("/store/v1/orders", order(2 * PRICE, later())).await.expect(201);
    assert_eq!(id_of(&same), id, "the key that placed it");

    let refund = json!({ "reason": "broken" });
    let refunded = operator.key("r").post(&format!("/admin/v1/orders/{id}/refund"), refund).await.expect(200);
    assert_eq!(
        (&refunded.body["order"]["status"], &refunded.body["refund"]["status"]),
        (&json!("refunded"), &json!("succeeded"))
    );
    stock_at(&operator, &sku, 50, 0).await;
    // Signed out in one process, refused in another within a second.
    shopper.http.post("/auth/v1/logout", json!({})).await;
    eventually("the token is refused", async || shopper.http.get("/store/v1/orders").await.status == 401).await;
    check_at(&operator).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_processes_on_sqlite_sell_and_survive_the_death_of_one() {
    let dir = tempfile::tempdir().expect("a folder");
    three_processes(Store::Sqlite(dir.path().to_owned())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_processes_on_postgresql_sell_and_survive_the_death_of_one() {
    let Some(server) = PgServer::shared() else { return };
    three_processes(Store::Postgres(server.fresh_url().await)).await;
}

/// Reads a counter of a process, summed over its labels that contain `filter`.
async fn counter(address: SocketAddr, name: &str, filter: &str) -> f64 {
    let metrics = Http::new(address).get("/metrics").await.expect(200).body;
    let lines =
        metrics.as_str().unwrap_or_default().lines().filter(|line| line.starts_with(name) && line.contains(filter));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_order_processes_behind_one_door_share_the_work_and_cancel_once() {
    const CHECKOUTS: usize = 200;
    const UNPAID: usize = 10;
    let Some(server) = PgServer::shared() else { return };
    let mut cluster = Cluster::new(Store::Postgres(server.fresh_url().await), &[TRADE, TRADE, REST, DOOR]);
    cluster.env.push(("MALLARD_ORDER__PAYMENT_TIMEOUT_S", "20".into()));
    cluster.operator().await;
    let http = cluster.run().await;
    let operator = operator_at(&http, ADMIN, PASSWORD).await;
    let stock = 100_000;
    let sku = product_at(&operator, "Mug", PRICE, stock).await;
    stock_at(&operator, &sku, stock, 0).await;
    let mut shoppers = Vec::new();
    for _ in 0..10 {
        shoppers.push(shopper_at(&http).await);
    }
    let unpaid = async |round: usize| {
        let place = (0..UNPAID).map(|i| {
            let (shopper, sku) = (shoppers[i].clone(), sku.clone());
            async move {
                let http = shopper.http.key(&format!("unpaid{round}"));
                let body = one(&sku, later());
                let answer = patiently("an order", async || http.post("/store/v1/orders", body.clone()).await).await;
                answer.expect(201).body["order"].clone()
            }
        });
        join_all(place).await
    };
    let mut waiting = unpaid(0).await;
    let lanes = |round: usize| {
        let sku = &sku;
        let lanes = shoppers.iter().enumerate().map(move |(lane, shopper)| async move {
            let mut paid = Vec::new();
            for i in 0..CHECKOUTS / 10 {
                let key = format!("{round}-{lane}-{i}");
                let body = one(sku, card(GOOD_CARD));
                let answer = patiently("a checkout", async || {
                    shopper.http.key(&key).post("/store/v1/orders", body.clone()).await
                })
                .await
                .expect(201);
                assert_eq!(answer.body["order"]["status"], "paid", "{}", answer.body);
                paid.push(id_of(&answer));
            }
            paid
        });
        join_all(lanes)
    };
    // Work goes to whoever is quicker, so one that a busy machine held up gets little of it for a while, but not for ever.
    let mut paid = Vec::new();
    let mut work = [0.0; 2];
    for round in 0..20 {
        paid.extend(lanes(round).await.concat());
        for (part, captured) in work.iter_mut().enumerate() {
            *captured = counter(cluster.parts[part].http, "mallard_payments_total", "captured").await;
        }
        if work[0] >= 20.0 && work[1] >= 20.0 {
            break;
        }
    }
    let made = paid.len();
    paid.sort();
    paid.dedup();
    assert_eq!(paid.len(), made);
    assert_eq!((work[0] + work[1]).round() as usize, made, "{work:?}");
    assert!(work[0] >= 20.0 && work[1] >= 20.0, "one process did nearly everything: {work:?}");
    let made = i64::try_from(made).expect("some orders");

    let micros = |value: &Value| -> i64 {
        let stamp: mallard_proto::Timestamp = serde_json::from_value(value.clone()).expect("a time");
        stamp.micros()
    };
    // Within five seconds of the deadline; a busy machine may be later with some, but not each time.
    for round in 1.. {
        let mut latest = 0;
        for order in &waiting {
            let path = format!("/admin/v1/orders/{}", order["id"].as_str().expect("an id"));
            eventually("an unpaid order is cancelled", async || {
                operator.get(&path).await.body["order"]["status"] == "cancelled"
            })
            .await;
            let events = operator.get(&format!("{path}/events")).await.expect(200).body;
            let events = events["events"].as_array().expect("events");
            let types: Vec<_> = events.iter().map(|event| event["type"].clone()).collect();
            assert_eq!(types, [json!("placed"), json!("cancelled")], "cancelled exactly once");
            latest = latest.max(micros(&events[1]["at"]) - micros(&order["expires_at"]));
        }
        if latest < 5_000_000 {
            break;
        }
        assert!(round < 10, "cancelled {latest} microseconds after the deadline, at best");
        waiting = unpaid(round).await;
    }
    stock_at(&operator, &sku, stock - made, 0).await;
    check_at(&operator).await;

    // One of the two is stopped in order, under load, and comes back: nobody notices.
    let stopped = AtomicBool::new(false);
    let lanes = shoppers.iter().enumerate().map(|(lane, shopper)| {
        let (sku, stopped) = (sku.clone(), &stopped);
        async move {
            let mut made = 0;
            while !stopped.load(Ordering::SeqCst) {
                let key = format!("drain-{lane}-{made}");
                let answer =
                    shopper.http.key(&key).post("/store/v1/orders", one(&sku, card(GOOD_CARD))).await.expect(201);
                assert_eq!(answer.body["order"]["status"], "paid", "{}", answer.body);
                made += 1;
            }
            made
        }
    });
    let stop = async {
        sleep(Duration::from_millis(300)).await;
        cluster.process(0).terminate();
        let code = cluster.process(0).ends().await;
        sleep(Duration::from_millis(300)).await;
        cluster.start(0);
        cluster.started(0).await;
        sleep(Duration::from_millis(300)).await;
        stopped.store(true, Ordering::SeqCst);
        code
    };
    let (each, code) = tokio::join!(join_all(lanes), stop);
    let drained: i64 = each.iter().sum();
    assert_eq!(code, 0, "{}", cluster.process(0).err());

    // One of the two dies: the other goes on, and the door notices by itself.
    cluster.process(0).kill();
    for i in 0..10 {
        let (key, body) = (format!("alone-{i}"), one(&sku, card(GOOD_CARD)));
        let answer = patiently("one process alone", async || {
            shoppers[0].http.key(&key).post("/store/v1/orders", body.clone()).await
        })
        .await;
        assert_eq!(answer.expect(201).body["order"]["status"], "paid");
    }
    stock_at(&operator, &sku, stock - made - drained - 10, 0).await;
    check_at(&operator).await;
    println!("captured by each: {work:?}; {drained} orders while one was stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_mall_on_the_same_folder_is_refused_and_the_first_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut first = up(dir.path(), any_port());
    let http = Http::new(first.opens().await);
    for args in [["up", "--listen", "127.0.0.1:0"], ["serve", "--listen", "127.0.0.1:0"], ["ctl", "dead", "list"]] {
        let mut args = args.to_vec();
        args.splice(1..1, ["--data-dir", text(dir.path())]);
        let second = run(&args, &[]).await;
        assert_eq!(second.code, 1, "{args:?}: {}", second.err);
        assert!(
            second.err.contains("another mallard works in") && second.err.contains("--data-dir"),
            "{args:?}: {}",
            second.err
        );
    }
    http.get("/store/v1/products").await.expect(200);
    // A port that is taken is named, with what to do.
    let other = tempfile::tempdir().expect("a folder");
    let address = http_address(&first).to_string();
    let second = run(&["up", "--data-dir", text(other.path()), "--listen", &address], &[]).await;
    assert_eq!(second.code, 1);
    assert!(
        second.err.contains(&format!("cannot listen on {address}")) && second.err.contains("--listen"),
        "{}",
        second.err
    );
    first.kill();
    // A folder that was left by a kill is free at once.
    let mut next = up(dir.path(), any_port());
    next.opens().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_a_script_by_its_exit_code() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = text(dir.path());
    let mut process = up(dir.path(), any_port());
    let address = process.opens().await;
    let http = Http::new(address);
    let operator = operator_at(&http, OPERATOR, &password_of(dir.path())).await;
    let sku = product_at(&operator, "Mug", PRICE, 50).await;
    let shopper = shopper_at(&http).await;
    shopper.http.key("k").post("/store/v1/orders", one(&sku, card(GOOD_CARD))).await.expect(201);

    let password = password_of(dir.path());
    let url = format!("http://{address}");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let running = run(&["check", "--data-dir", folder], &[]).await;
    assert_eq!(running.code, 0, "a running mall: {}{}", running.out, running.err);
    assert!(running.out.contains("checks are green"), "{}", running.out);
    let by_url = run(
        &["check", "--url", &url, "--data-dir", text(elsewhere.path()), "--json"],
        &[("MALLARD_PASSWORD", &password)],
    )
    .await;
    assert_eq!(by_url.code, 0, "{}", by_url.err);
    let report: Value = serde_json::from_str(&by_url.out).expect("one JSON document");
    assert_eq!(report["ok"], true);
    assert!(report["checks"].as_array().is_some_and(|checks| checks.len() > 20), "{report}");
    let wrong =
        run(&["check", "--url", &url, "--data-dir", text(elsewhere.path())], &[("MALLARD_PASSWORD", "wrong password")])
            .await;
    assert_ne!(wrong.code, 0);
    process.terminate();
    assert_eq!(process.ends().await, 0);
    let away =
        run(&["check", "--url", &url, "--data-dir", text(elsewhere.path())], &[("MALLARD_PASSWORD", &password)]).await;
    assert_ne!(away.code, 0, "nobody answers there");
    let stopped = run(&["check", "--data-dir", folder], &[]).await;
    assert_eq!(stopped.code, 0, "a folder at rest: {}{}", stopped.out, stopped.err);

    // One unit appears from nowhere.
    let settings =
        Settings::new(mallard::services(), mallard_testkit::config(), Storage::Folder(dir.path().to_owned()));
    let mall = mallard_testkit::start(settings).await;
    let db = mall.context("inventory").expect("it runs here").db();
    let changed = db.tx("test.damage", move |tx| {
        let sku = sku.clone();
        async move { tx.execute("UPDATE stock SET on_hand = on_hand + 1 WHERE sku_id = ?", params![sku]).await }
    });
    assert_eq!(changed.await.expect("the row is changed"), 1);
    mall.stop().await;
    let red = run(&["check", "--data-dir", folder, "--json"], &[]).await;
    assert_eq!(red.code, 1, "{}{}", red.out, red.err);
    let report: Value = serde_json::from_str(&red.out).expect("one JSON document");
    let names: Vec<_> = report["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter(|check| check["ok"] == false)
        .map(|check| check["name"].clone())
        .collect();
    assert_eq!((&report["ok"], names), (&json!(false), vec![json!("stock.conservation")]));
    let mut process = up(dir.path(), any_port());
    process.opens().await;
    let running = run(&["check", "--data-dir", folder], &[]).await;
    assert_eq!(running.code, 1, "a running mall with broken books: {}", running.out);
    assert!(running.out.contains("RED") && running.out.contains("stock.conservation"), "{}", running.out);

    let nowhere = run(&["check", "--data-dir", text(&dir.path().join("nowhere"))], &[]).await;
    assert_ne!(nowhere.code, 0);
    assert!(nowhere.err.contains("there is no data folder"), "{}", nowhere.err);
    assert!(!dir.path().join("nowhere").exists(), "a check makes nothing");
}
