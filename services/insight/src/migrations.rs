//! Schema of the insight database.

use mallard_db::Migration;

/// Migrations, oldest first.
pub const MIGRATIONS: &[Migration] = &[Migration {
    version: 100,
    name: "facts and sums",
    // facts: what orders said, one row per order and version. amount is what was paid, or everything given back so far; goods
    //   is the sum of the lines. detail holds the lines until they are folded into the sums, and the sellers' shares of a
    //   refund for good. Placed orders need no money.
    // sales_days: a seller_id of '' stands for the whole mall.
    // visit_batches: ids of batches that were counted.
    // progress: how far the service has caught up with orders older than itself.
    sql: "CREATE TABLE facts (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            order_id TEXT NOT NULL,
            version INTEGER NOT NULL,
            kind TEXT NOT NULL,
            at_us INTEGER NOT NULL,
            day INTEGER NOT NULL,
            currency TEXT NOT NULL,
            amount INTEGER NOT NULL,
            units INTEGER NOT NULL,
            goods INTEGER NOT NULL,
            detail BLOB NOT NULL,
            folded INTEGER NOT NULL
          );
          CREATE UNIQUE INDEX facts_by_order ON facts (order_id, version);
          CREATE INDEX facts_open ON facts (seq) WHERE folded = 0;
          CREATE TABLE sales_days (
            seller_id TEXT NOT NULL,
            currency TEXT NOT NULL,
            day INTEGER NOT NULL,
            orders INTEGER NOT NULL,
            units INTEGER NOT NULL,
            revenue INTEGER NOT NULL,
            refunded INTEGER NOT NULL,
            PRIMARY KEY (seller_id, currency, day)
          );
          CREATE TABLE product_days (
            day INTEGER NOT NULL,
            currency TEXT NOT NULL,
            product_id TEXT NOT NULL,
            seller_id TEXT NOT NULL,
            units INTEGER NOT NULL,
            revenue INTEGER NOT NULL,
            PRIMARY KEY (day, currency, product_id, seller_id)
          );
          CREATE INDEX product_days_by_seller ON product_days (seller_id, currency, day);
          CREATE TABLE product_titles (
            product_id TEXT NOT NULL PRIMARY KEY,
            title TEXT NOT NULL,
            sold_at INTEGER NOT NULL,
            order_id TEXT NOT NULL
          );
          CREATE TABLE funnel_days (
            day INTEGER NOT NULL PRIMARY KEY,
            product_views INTEGER NOT NULL,
            cart_additions INTEGER NOT NULL,
            checkouts INTEGER NOT NULL,
            placed INTEGER NOT NULL,
            paid INTEGER NOT NULL
          );
          CREATE TABLE visit_batches (
            batch_id TEXT NOT NULL PRIMARY KEY,
            day INTEGER NOT NULL
          );
          CREATE INDEX visit_batches_by_day ON visit_batches (day, batch_id);
          CREATE TABLE progress (
            name TEXT NOT NULL PRIMARY KEY,
            reached TEXT NOT NULL
          )",
}];
