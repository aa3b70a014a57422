//! One suite for every engine: each scenario takes a fresh database and must give the same result everywhere.

pub mod basics;
pub mod races;
pub mod schema;
pub mod units;

use std::sync::Arc;

use mallard_db::pgtest::PgServer;
use mallard_db::{Db, DbConfig, MemoryDisk, Migration};

/// The engine under test, and what must live as long as it does.
pub struct Fixture {
    pub config: DbConfig,
    _dir: Option<tempfile::TempDir>,
    _server: Option<Arc<PgServer>>,
}

impl Fixture {
    pub async fn memory() -> Option<Fixture> {
        Some(Fixture { config: DbConfig::Memory(MemoryDisk::new()), _dir: None, _server: None })
    }

    pub async fn sqlite() -> Option<Fixture> {
        let dir = tempfile::tempdir().unwrap();
        let config = DbConfig::Sqlite { dir: dir.path().to_owned(), synchronous_full: true };
        Some(Fixture { config, _dir: Some(dir), _server: None })
    }

    pub async fn postgres() -> Option<Fixture> {
        let server = PgServer::shared()?;
        let config = DbConfig::Postgres { url: server.fresh_url().await, pool_max: 8 };
        Some(Fixture { config, _dir: None, _server: Some(server) })
    }

    pub async fn open(&self) -> Db {
        Db::open(&self.config, "shop", MIGRATIONS).await.unwrap()
    }
}

pub const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 100,
        name: "stock",
        sql: "CREATE TABLE stock (sku TEXT PRIMARY KEY NOT NULL, left_units INTEGER NOT NULL CHECK (left_units >= 0));
              CREATE TABLE sales (id TEXT PRIMARY KEY NOT NULL, sku TEXT NOT NULL, buyer TEXT NOT NULL, note TEXT, raw BLOB, big INTEGER);
              CREATE UNIQUE INDEX sales_one_per_buyer ON sales (buyer, sku)",
    },
    Migration {
        version: 101,
        name: "ticks",
        sql: "CREATE TABLE ticks (n INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL, UNIQUE (text))",
    },
];

pub const ADD_STOCK: &str = "INSERT INTO stock (sku, left_units) VALUES (?, ?)";
pub const TAKE_ONE: &str = "UPDATE stock SET left_units = left_units - 1 WHERE sku = ? AND left_units >= 1";
pub const LEFT: &str = "SELECT left_units FROM stock WHERE sku = ?";
pub const ADD_SALE: &str = "INSERT INTO sales (id, sku, buyer) VALUES (?, ?, ?)";

pub async fn left(db: &Db, sku: &str) -> i64 {
    db.query_opt(LEFT, mallard_db::params![sku]).await.unwrap().unwrap().get(0).unwrap()
}

pub async fn count(db: &Db, sql: &'static str) -> i64 {
    db.query_opt(sql, vec![]).await.unwrap().unwrap().get(0).unwrap()
}

pub async fn stocked(fixture: &Fixture, sku: &'static str, units: i64) -> Db {
    let db = fixture.open().await;
    db.apply(mallard_db::Unit::new("stock.add").exec(ADD_STOCK, mallard_db::params![sku, units])).await.unwrap();
    db
}
