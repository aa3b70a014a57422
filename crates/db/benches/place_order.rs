//! Measures the "place an order" unit (order, three lines, three guarded stock updates, outbox row) on SQLite with every
//! commit on disk, as a closure and as a unit of data, against two baselines of the same run: the same writer without
//! group commit, and the bare disk (append 512 bytes, fdatasync).
//!
//! `cargo bench -p mallard-db --bench place_order`; `MALLARD_BENCH_MS` sets the time per figure (default 1000 ms).

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mallard_db::{BatchLimits, Db, DbConfig, Error, Migration, Tx, Unit, Value, params};

const MIGRATIONS: &[Migration] = &[Migration {
    version: 100,
    name: "orders",
    sql: "CREATE TABLE orders (id TEXT PRIMARY KEY NOT NULL, buyer TEXT NOT NULL, total INTEGER NOT NULL, state TEXT NOT NULL, at INTEGER NOT NULL);
          CREATE TABLE lines (order_id TEXT NOT NULL, n INTEGER NOT NULL, sku TEXT NOT NULL, units INTEGER NOT NULL, price INTEGER NOT NULL, PRIMARY KEY (order_id, n));
          CREATE TABLE stock (sku TEXT PRIMARY KEY NOT NULL, left_units INTEGER NOT NULL);
          CREATE TABLE outbox (n INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, order_id TEXT NOT NULL, payload BLOB NOT NULL)",
}];
const SKUS: u64 = 10_000;
const ORDER: &str = "INSERT INTO orders (id, buyer, total, state, at) VALUES (?, ?, ?, 'placed', ?)";
const LINES: &str =
    "INSERT INTO lines (order_id, n, sku, units, price) VALUES (?, 1, ?, 1, 990), (?, 2, ?, 1, 990), (?, 3, ?, 1, 990)";
const TAKE: &str = "UPDATE stock SET left_units = left_units - ? WHERE sku = ? AND left_units >= ?";
const OUTBOX: &str = "INSERT INTO outbox (kind, order_id, payload) VALUES ('order.placed.v1', ?, ?)";

#[derive(Clone, Copy)]
enum Way {
    Closure,
    Unit,
}

struct Order {
    id: String,
    skus: [String; 3],
}

impl Order {
    /// The `n`th order: an id that grows, and three SKUs spread by a multiplicative hash.
    fn nth(n: u64) -> Order {
        let sku = |i: u64| format!("sku{:05}", (n * 3 + i).wrapping_mul(0x9E37_79B9_7F4A_7C15) % SKUS);
        let mut skus = [sku(0), sku(1), sku(2)];
        skus.sort();
        Order { id: format!("ord_{n:022}"), skus }
    }

    fn lines(&self) -> Vec<Value> {
        let [a, b, c] = &self.skus;
        params![&self.id, a, &self.id, b, &self.id, c]
    }

    fn unit(&self) -> Unit {
        let mut unit = Unit::new("order.place")
            .exec(ORDER, params![&self.id, "usr_1", 2_970, 1_700_000_000_000_000i64])
            .exec(LINES, self.lines());
        for (tag, sku) in (0..).zip(&self.skus) {
            unit = unit.guard(TAKE, params![1, sku, 1], 1, tag).order_by_key(sku);
        }
        unit.exec(OUTBOX, params![&self.id, vec![7u8; 200]])
    }

    async fn place(&self, tx: &Tx) -> Result<(), Error> {
        tx.execute(ORDER, params![&self.id, "usr_1", 2_970, 1_700_000_000_000_000i64]).await?;
        tx.execute(LINES, self.lines()).await?;
        for sku in &self.skus {
            if tx.execute(TAKE, params![1, sku, 1]).await? != 1 {
                return Err(Error::Sql("sold out".to_owned()));
            }
        }
        tx.execute(OUTBOX, params![&self.id, vec![7u8; 200]]).await?;
        Ok(())
    }
}

async fn open(dir: &Path, limits: BatchLimits) -> Db {
    let config = DbConfig::Sqlite { dir: dir.to_owned(), synchronous_full: true };
    let db = Db::open_with_limits(&config, "bench", MIGRATIONS, limits).await.expect("the database opens");
    for from in (0..SKUS).step_by(500) {
        let rows = ["(?, 1000000000)"; 500].join(", ");
        let skus = (from..from + 500).map(|n| Value::from(format!("sku{n:05}"))).collect();
        let unit = Unit::new("stock.fill").exec_dyn(format!("INSERT INTO stock (sku, left_units) VALUES {rows}"), skus);
        db.apply(unit).await.expect("the stock is filled");
    }
    db
}

/// Measures orders per second.
async fn orders_per_second(clients: usize, limits: BatchLimits, way: Way, time: Duration) -> f64 {
    let dir = tempfile::tempdir_in(target_dir()).expect("a temporary folder");
    let db = open(dir.path(), limits).await;
    let next = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let running: Vec<_> = (0..clients)
        .map(|_| {
            let (db, next) = (db.clone(), next.clone());
            tokio::spawn(async move {
                let mut placed = 0u64;
                while started.elapsed() < time {
                    let order = Arc::new(Order::nth(next.fetch_add(1, Ordering::Relaxed)));
                    match way {
                        Way::Unit => db.apply(order.unit()).await.expect("the order is placed"),
                        Way::Closure => db
                            .tx("order.place", move |tx| {
                                let order = order.clone();
                                async move { order.place(&tx).await }
                            })
                            .await
                            .expect("the order is placed"),
                    }
                    placed += 1;
                }
                placed
            })
        })
        .collect();
    let mut placed = 0;
    for client in running {
        placed += client.await.expect("the client ends");
    }
    let per_second = placed as f64 / started.elapsed().as_secs_f64();
    db.close().await;
    per_second
}

/// Measures the bare disk: appended writes of 512 bytes, each made durable.
fn syncs_per_second(time: Duration) -> f64 {
    let dir = tempfile::tempdir_in(target_dir()).expect("a temporary folder");
    let mut file = OpenOptions::new().append(true).create(true).open(dir.path().join("log")).expect("a file");
    let started = Instant::now();
    let mut writes = 0u64;
    while started.elapsed() < time {
        file.write_all(&[7; 512]).expect("a write");
        file.sync_data().expect("a sync");
        writes += 1;
    }
    writes as f64 / started.elapsed().as_secs_f64()
}

/// Not /tmp, which may be in memory.
fn target_dir() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

fn main() {
    let ms = std::env::var("MALLARD_BENCH_MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(1_000);
    let time = Duration::from_millis(ms);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let syncs = syncs_per_second(time);
    println!("bare disk: {syncs:.0} appended and synced writes of 512 bytes per second");
    println!("{:>7} {:>8} {:>12} {:>12} {:>8} {:>12}", "clients", "way", "one by one", "grouped", "ratio", "per sync");
    let alone = BatchLimits { jobs_max: 1, ..BatchLimits::default() };
    for clients in [1, 8, 64] {
        for (name, way) in [("closure", Way::Closure), ("unit", Way::Unit)] {
            let single = runtime.block_on(orders_per_second(clients, alone, way, time));
            let grouped = runtime.block_on(orders_per_second(clients, BatchLimits::default(), way, time));
            let (ratio, per_sync) = (grouped / single, grouped / syncs);
            println!("{clients:>7} {name:>8} {single:>10.0}/s {grouped:>10.0}/s {ratio:>7.1}x {per_sync:>11.2}x");
        }
    }
}
