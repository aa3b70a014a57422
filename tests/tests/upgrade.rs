//! Databases through versions of the program: made by the first schema and opened by the present one, opened by a newer one
//! and refused afterwards, migrated once however often and from wherever they are opened. On SQLite and PostgreSQL.
//!
//! `src/first_release.json` holds the rows of a small shop as the first release wrote them: products, a cart, orders in every
//! state, a payment and a refund. It is never written again once there was a release. Before, when the first schema itself
//! changes, `MALLARD_WRITE_FIRST_RELEASE=1 cargo test -p mallard-tests --test upgrade` writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mallard_db::{Db, DbConfig, Migration, Value, params};
use mallard_runtime::{Mall, Parts, ServiceSpec, Settings, Storage};
use mallard_testkit::{eventually, pgtest::PgServer};
use mallard_tests::*;
use serde_json::{Value as Json, json};

const FIRST_RELEASE: &str = include_str!("../src/first_release.json");
/// The version in which every service's own schema begins.
const FIRST_VERSION: u32 = 100;
/// The acquirer's database is opened by payment itself, so its first schema is repeated here.
const FIRST_ACQUIRER: &[Migration] = &[Migration {
    version: 100,
    name: "books",
    sql: "
        CREATE TABLE charges (
            charge_key TEXT PRIMARY KEY,
            state TEXT NOT NULL,
            code TEXT NOT NULL,
            amount INTEGER NOT NULL,
            refunded INTEGER NOT NULL,
            currency TEXT NOT NULL,
            card_brand TEXT NOT NULL,
            card_last4 TEXT NOT NULL,
            created_at INTEGER NOT NULL
        );
        CREATE TABLE repayments (
            repayment_key TEXT PRIMARY KEY,
            charge_key TEXT NOT NULL,
            amount INTEGER NOT NULL,
            currency TEXT NOT NULL,
            created_at INTEGER NOT NULL
        );
    ",
}];
/// Tables that a program fills by itself or that must not be published.
const LEFT_OUT: [&str; 6] = ["schema_migrations", "signing_keys", "sessions", "refresh_tokens", "leases", "answers"];

const PRICE: i64 = 990;
const SHOPPER: &str = "ada@first.test";

/// Engine and place of a mall's databases.
struct Place {
    storage: Storage,
    /// Kept as long as the place is in use.
    _server: Option<std::sync::Arc<PgServer>>,
    _folder: Option<tempfile::TempDir>,
}

/// Returns an empty place on each engine there is.
async fn places() -> Vec<Place> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut places =
        vec![Place { storage: Storage::Folder(folder.path().to_owned()), _server: None, _folder: Some(folder) }];
    if let Some(server) = PgServer::shared() {
        let storage = Storage::Postgres { url: server.fresh_url().await, pool_max: 3 };
        places.push(Place { storage, _server: Some(server), _folder: None });
    }
    places
}

impl Place {
    fn settings(&self, known: Vec<ServiceSpec>) -> Settings {
        let config = mallard_tests::config();
        Settings::new(known, config, self.storage.clone())
    }

    async fn start(&self, known: Vec<ServiceSpec>) -> anyhow::Result<Mall> {
        Mall::start(self.settings(known)).await
    }

    fn acquirer(&self) -> DbConfig {
        match &self.storage {
            Storage::Folder(dir) => DbConfig::Sqlite { dir: dir.clone(), synchronous_full: true },
            Storage::Postgres { url, pool_max } => DbConfig::Postgres { url: url.clone(), pool_max: *pool_max },
            Storage::Memory(disk) => DbConfig::Memory(disk.clone()),
        }
    }
}

/// The services as far as their schema: the first one, and nothing that runs on it.
fn first_schema() -> Vec<ServiceSpec> {
    let first = |spec: ServiceSpec| {
        let first: Vec<_> =
            spec.migrations.iter().copied().filter(|migration| migration.version == FIRST_VERSION).collect();
        assert_eq!(
            first.len(),
            spec.migrations.len().min(1),
            "{}: the schema begins with version {FIRST_VERSION}",
            spec.name
        );
        ServiceSpec {
            migrations: Box::leak(first.into_boxed_slice()),
            subscribes: &[],
            start: |_| Box::pin(async { Ok(Parts::new(tonic::service::Routes::default())) }),
            ..spec
        }
    };
    mallard::services().into_iter().map(first).collect()
}

/// The present services with one more migration of the cart's: a newer program.
fn newer_program() -> Vec<ServiceSpec> {
    let newer = |spec: ServiceSpec| {
        if spec.name != "cart" {
            return spec;
        }
        let mut migrations = spec.migrations.to_vec();
        let version = migrations.iter().map(|migration| migration.version).max().unwrap_or(FIRST_VERSION) + 1;
        let sql = "ALTER TABLE carts ADD COLUMN gift_note TEXT; CREATE INDEX carts_gift_note ON carts (gift_note)";
        migrations.push(Migration { version, name: "gift notes", sql });
        ServiceSpec { migrations: Box::leak(migrations.into_boxed_slice()), ..spec }
    };
    mallard::services().into_iter().map(newer).collect()
}

/// Reads what was applied, per service: version, name, time.
async fn applied(mall: &Mall) -> BTreeMap<&'static str, Vec<(i64, String, i64)>> {
    let mut all = BTreeMap::new();
    for service in mall.services() {
        let has_database = mallard::services().iter().any(|spec| spec.name == service && !spec.migrations.is_empty());
        if !has_database {
            continue;
        }
        let db = mall.context(service).expect("it runs here").db();
        let sql = "SELECT version, name, applied_at FROM schema_migrations ORDER BY version";
        let rows = db.query(sql, params![]).await.expect("the versions");
        let read = |row: &mallard_db::Row| {
            (row.get(0).expect("a version"), row.get(1).expect("a name"), row.get(2).expect("a time"))
        };
        all.insert(service, rows.iter().map(read).collect());
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_the_first_release_opens_with_the_present_program_and_keeps_everything() {
    let rows: Json = serde_json::from_str(FIRST_RELEASE).expect("the rows of the first release");
    for place in places().await {
        let old = place.start(first_schema()).await.expect("the first schema");
        let acquirer =
            Db::open(&place.acquirer(), "acquirer", FIRST_ACQUIRER).await.expect("the acquirer's first schema");
        for (service, tables) in rows.as_object().expect("services") {
            let db =
                if service == "acquirer" { acquirer.clone() } else { old.context(service).expect("a service").db() };
            load(&db, tables).await;
        }
        acquirer.close().await;
        old.stop().await;

        let shop = Shop::run(place.settings(mallard::services()), None).await;
        for (service, versions) in applied(&shop.mall).await {
            let wanted =
                mallard::services().into_iter().find(|spec| spec.name == service).expect("a service").migrations;
            let have: BTreeSet<_> = versions.iter().map(|(version, _, _)| *version).collect();
            assert!(
                wanted.iter().all(|migration| have.contains(&i64::from(migration.version))),
                "{service}: {versions:?}"
            );
        }
        // The password, the orders, the cart and the stock are what they were.
        let login = shop.login(SHOPPER, PASSWORD).await.expect(200).body;
        let http = shop.http.token(login["tokens"]["access_token"].as_str().expect("a token"));
        let mine = http.get("/store/v1/orders").await.expect(200).body["orders"].clone();
        let state = |order: &Json| json!([order["note"], order["status"], order["total"]["amount"]]);
        let mut states: Vec<_> = mine.as_array().expect("orders").iter().map(state).collect();
        states.sort_by_key(ToString::to_string);
        let waits = states.iter().find(|state| state[0] == "waits").expect("the order that waits").clone();
        assert!(
            waits[1] == "pending_payment" || waits[1] == "cancelled",
            "its deadline has passed, and its flow goes on: {waits}"
        );
        states.retain(|state| state[0] != "waits");
        let expected = [
            json!(["cancelled", "cancelled", PRICE]),
            json!(["paid", "paid", 2 * PRICE]),
            json!(["refunded", "refunded", PRICE]),
            json!(["shipped", "shipped", 3 * PRICE]),
        ];
        assert_eq!(states, expected);
        let waiting =
            mine.as_array().expect("orders").iter().find(|order| order["note"] == "waits").expect("it").clone();
        shop.order_is(waiting["id"].as_str().expect("an id"), "cancelled").await;
        let cart = http.get("/store/v1/cart").await.expect(200).body["cart"].clone();
        assert_eq!((&cart["lines"][0]["quantity"], &cart["lines"][0]["title"]), (&json!(4), &json!("Mug")));
        let sku = cart["lines"][0]["sku_id"].as_str().expect("a sku").to_owned();
        shop.stock_is(&sku, 50 - 2 - 3, 0).await;
        shop.check().await;

        // And the shop goes on: the order key of then is known, a new order is sold, an old one given back.
        let paid = mine.as_array().expect("orders").iter().find(|order| order["note"] == "paid").expect("it").clone();
        let mut again = order(2 * PRICE, card(GOOD_CARD));
        (again["lines"], again["note"]) = (json!([{ "sku_id": sku, "quantity": 2 }]), json!("paid"));
        assert_eq!(http.key("paid").post("/store/v1/orders", again).await.expect(201).body["order"]["id"], paid["id"]);
        let sold = http.key("new").post("/store/v1/orders", order(4 * PRICE, card(GOOD_CARD))).await.expect(201).body;
        assert_eq!(sold["order"]["status"], "paid");
        let path = format!("/admin/v1/orders/{}/refund", paid["id"].as_str().expect("an id"));
        shop.admin.key("r").post(&path, json!({ "reason": "late" })).await.expect(200);
        shop.stock_is(&sku, 50 - 3 - 4, 0).await;
        shop.check().await;
        shop.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_program_adds_what_is_missing_and_an_older_one_refuses_its_database() {
    for place in places().await {
        let shop = Shop::run(place.settings(mallard::services()), None).await;
        let (_, sku) = shop.product("Mug", PRICE, 5).await;
        let ada = shop.shopper().await;
        ada.add(&sku, 2).await.expect(200);
        let before = applied(&shop.mall).await;
        shop.stop().await;

        let newer = place.start(newer_program()).await.expect("a newer program");
        let after = applied(&newer).await;
        assert_eq!(after["cart"].len(), before["cart"].len() + 1, "one step");
        assert_eq!(after["cart"][..before["cart"].len()], before["cart"], "the others are not applied again");
        assert_eq!(after["order"], before["order"]);
        let carts = newer.context("cart").expect("it runs here").db();
        let row = carts
            .query_opt("SELECT COUNT(*), COUNT(gift_note) FROM carts", params![])
            .await
            .expect("the column")
            .expect("a row");
        assert_eq!((row.get::<i64>(0), row.get::<i64>(1)), (Ok(1), Ok(0)), "the cart is there");
        newer.stop().await;

        // Back to the present program: it does not touch what it does not know.
        let Err(refused) = place.start(mallard::services()).await else {
            panic!("a database of a newer program was opened")
        };
        let said = format!("{refused:#}");
        let version = after["cart"].last().expect("a version").0;
        for part in ["database of service cart", &format!("version {version}"), "use a newer program"] {
            assert!(said.contains(part), "{said:?} does not say {part:?}");
        }
        if let Storage::Folder(folder) = &place.storage {
            the_binary_says_so(folder, version).await;
        }
        // And forth: nothing was harmed.
        let newer = place.start(newer_program()).await.expect("a newer program");
        assert_eq!(applied(&newer).await, after);
        newer.stop().await;
    }
}

async fn the_binary_says_so(folder: &Path, version: i64) {
    let folder = folder.to_str().expect("a path of plain text");
    for command in ["up", "check"] {
        let mut args = vec![command, "--data-dir", folder];
        if command == "up" {
            args.extend(["--listen", "127.0.0.1:0"]);
        }
        let ran = process::run(&args, &[]).await;
        assert_eq!(ran.code, 1, "{command}: {}", ran.err);
        assert!(
            ran.err.contains(&format!("version {version}")) && ran.err.contains("use a newer program"),
            "{command}: {}",
            ran.err
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_run_once_however_often_the_mall_starts() {
    for place in places().await {
        let first = place.start(mallard::services()).await.expect("the first start");
        let before = applied(&first).await;
        first.stop().await;
        for (service, versions) in &before {
            let own =
                mallard::services().into_iter().find(|spec| spec.name == *service).expect("a service").migrations.len();
            let numbers: BTreeSet<_> = versions.iter().map(|(version, _, _)| version).collect();
            assert!(numbers.len() == versions.len() && versions.len() > own, "{service}: {versions:?}");
            assert!(versions.iter().all(|(_, name, at)| !name.is_empty() && *at > 0), "{service}: {versions:?}");
        }
        for _ in 0..2 {
            let next = place.start(mallard::services()).await.expect("another start");
            assert_eq!(applied(&next).await, before);
            next.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malls_that_start_at_once_on_one_postgresql_migrate_it_once() {
    let Some(server) = PgServer::shared() else { return };
    let storage = Storage::Postgres { url: server.fresh_url().await, pool_max: 2 };
    let place = Place { storage, _server: Some(server), _folder: None };
    let starts = (0..4).map(|_| place.start(mallard::services()));
    let malls: Vec<_> =
        futures_util::future::join_all(starts).await.into_iter().map(|mall| mall.expect("each starts")).collect();
    let seen = applied(&malls[0]).await;
    for mall in &malls[1..] {
        assert_eq!(applied(mall).await, seen);
    }
    for mall in malls {
        mall.stop().await;
    }
}

/// Writes rows into tables; numbers that the database gives are given again.
async fn load(db: &Db, tables: &Json) {
    for (table, content) in tables.as_object().expect("tables") {
        let columns: Vec<_> =
            content["columns"].as_array().expect("columns").iter().map(|name| name.as_str().expect("a name")).collect();
        let marks = vec!["?"; columns.len()].join(", ");
        // What the schema itself puts there is replaced.
        let clear = format!("DELETE FROM {table}");
        let sql = format!("INSERT INTO {table} ({}) VALUES ({marks})", columns.join(", "));
        let rows: Vec<Vec<Value>> = content["rows"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| row.as_array().expect("values").iter().map(decode).collect())
            .collect();
        let loaded = db.tx("test.load", move |tx| {
            let (clear, sql, rows) = (clear.clone(), sql.clone(), rows.clone());
            async move {
                tx.execute_dyn(clear, params![]).await?;
                for row in rows {
                    tx.execute_dyn(sql.clone(), row).await?;
                }
                Ok::<_, mallard_db::Error>(())
            }
        });
        loaded.await.unwrap_or_else(|error| panic!("{}.{table}: {error}", db.service()));
    }
}

fn decode(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Number(number) => Value::Int(number.as_i64().expect("an integer")),
        Json::String(text) => Value::Text(text.clone()),
        Json::Object(bytes) => Value::Bytes(unhex(bytes["hex"].as_str().expect("bytes"))),
        other => panic!("{other} is no value"),
    }
}

fn encode(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Int(number) => json!(number),
        Value::Text(text) => json!(text),
        Value::Bytes(bytes) => json!({ "hex": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() }),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("two digits");
    (0..text.len()).step_by(2).map(digit).collect()
}

/// Reads every table of a SQLite database, without the numbers that the database gives by itself.
async fn dump(db: &Db) -> Json {
    let sql = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
    let mut tables = serde_json::Map::new();
    for row in db.query(sql, params![]).await.expect("tables") {
        let (table, ddl): (String, String) = (row.get(0).expect("a name"), row.get(1).expect("its text"));
        if LEFT_OUT.contains(&table.as_str()) {
            continue;
        }
        let numbered = ddl.contains("seq INTEGER PRIMARY KEY AUTOINCREMENT");
        let columns = db
            .query("SELECT name FROM pragma_table_info(?) ORDER BY cid", params![table.as_str()])
            .await
            .expect("columns");
        let columns: Vec<String> =
            columns.iter().map(|row| row.get(0).expect("a name")).filter(|name| !(numbered && name == "seq")).collect();
        let rows = db
            .query_dyn(format!("SELECT {} FROM {table} ORDER BY 1, 2", columns.join(", ")), params![])
            .await
            .expect("rows");
        let rows: Vec<Vec<Json>> = rows.into_iter().map(|row| row.into_values().iter().map(encode).collect()).collect();
        if !rows.is_empty() {
            tables.insert(table, json!({ "columns": columns, "rows": rows }));
        }
    }
    Json::Object(tables)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_the_first_release_are_written_when_asked_for() {
    if std::env::var_os("MALLARD_WRITE_FIRST_RELEASE").is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place { storage: Storage::Folder(folder.path().to_owned()), _server: None, _folder: None };
    let mut settings = place.settings(mallard::services());
    // Long past when the rows are read.
    settings.config = settings.config.set("order.payment_timeout_s", 60);
    let shop = Shop::run(settings, None).await;
    let (_, sku) = shop.product("Mug", PRICE, 50).await;
    let registration = json!({ "email": SHOPPER, "password": PASSWORD, "name": "Ada" });
    let registered = shop.http.post("/auth/v1/register", registration).await.expect(201).body;
    let http = shop.http.token(registered["tokens"]["access_token"].as_str().expect("a token"));
    http.post("/store/v1/me/addresses", address()).await.expect(201);
    let place_order = async |note: &str, quantity: i64, payment: Json| {
        let mut body = order(quantity * PRICE, payment);
        (body["lines"], body["note"]) = (json!([{ "sku_id": sku, "quantity": quantity }]), json!(note));
        let placed = http.key(note).post("/store/v1/orders", body).await.expect(201).body;
        placed["order"]["id"].as_str().expect("an id").to_owned()
    };
    place_order("paid", 2, card(GOOD_CARD)).await;
    place_order("waits", 1, later()).await;
    let cancelled = place_order("cancelled", 1, later()).await;
    http.post(&format!("/store/v1/orders/{cancelled}/cancel"), json!({})).await.expect(200);
    let shipped = place_order("shipped", 3, card(GOOD_CARD)).await;
    let ship = json!({ "carrier": "post", "tracking_number": "1" });
    shop.admin.post(&format!("/admin/v1/orders/{shipped}/ship"), ship).await.expect(200);
    let refunded = place_order("refunded", 1, card(GOOD_CARD)).await;
    shop.admin
        .key("r")
        .post(&format!("/admin/v1/orders/{refunded}/refund"), json!({ "reason": "broken" }))
        .await
        .expect(200);
    http.post("/store/v1/cart/lines", json!({ "sku_id": sku, "quantity": 4 })).await.expect(200);
    eventually("every book balances", async || mallard::check::all_green(&mallard::check::run(&shop.mall).await)).await;
    let mut rows = serde_json::Map::new();
    for spec in mallard::services().into_iter().filter(|spec| !spec.migrations.is_empty()) {
        rows.insert(spec.name.to_owned(), dump(&shop.mall.context(spec.name).expect("it runs here").db()).await);
    }
    shop.stop().await;
    let acquirer = Db::open(&place.acquirer(), "acquirer", FIRST_ACQUIRER).await.expect("the acquirer's first schema");
    rows.insert("acquirer".to_owned(), dump(&acquirer).await);
    let text = serde_json::to_string_pretty(&Json::Object(rows)).expect("JSON");
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/first_release.json"), text + "\n")
        .expect("the file is written");
}
