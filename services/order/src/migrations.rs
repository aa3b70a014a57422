//! Schema of the order database.

use mallard_db::Migration;

/// Migrations, oldest first.
pub const MIGRATIONS: &[Migration] = &[
    Migration { version: 100, name: "orders", sql: ORDERS },
    Migration { version: 101, name: "sellers' orders and returns", sql: SELLERS_AND_RETURNS },
    Migration { version: 102, name: "who wrote a row", sql: FOLDED },
];

const ORDERS: &str = "
CREATE TABLE orders (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    number TEXT NOT NULL,
    status TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    request_hash BLOB NOT NULL,
    cart_ref TEXT,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    state BLOB NOT NULL
);
CREATE UNIQUE INDEX orders_idempotency ON orders (user_id, idempotency_key);
CREATE UNIQUE INDEX orders_cart_ref ON orders (cart_ref);
CREATE UNIQUE INDEX orders_number ON orders (number);
CREATE INDEX orders_by_user ON orders (user_id, id);
CREATE INDEX orders_by_status ON orders (status, id);
CREATE TABLE order_events (
    order_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (order_id, version)
);
CREATE UNIQUE INDEX order_events_subject ON order_events (order_id, kind, subject);
";

const SELLERS_AND_RETURNS: &str = "
CREATE TABLE seller_orders (                   -- paid orders by seller: what the orders say, for lists
    order_id TEXT NOT NULL,
    seller_id TEXT NOT NULL,
    to_ship INTEGER NOT NULL,                  -- 1: units of the seller are still to be sent
    PRIMARY KEY (order_id, seller_id)
);
CREATE INDEX seller_orders_by_seller ON seller_orders (seller_id, order_id);
CREATE INDEX seller_orders_to_ship ON seller_orders (seller_id, to_ship, order_id);

CREATE TABLE returns (                         -- returns by status: what the orders say, for lists
    id TEXT NOT NULL PRIMARY KEY,
    order_id TEXT NOT NULL,
    status TEXT NOT NULL
);
CREATE INDEX returns_by_order ON returns (order_id);
CREATE INDEX returns_by_status ON returns (status, id);
";

/// What an older program writes has another `folded_version` than `version`, as has everything it wrote before: the program
/// makes those rows anew out of their streams (`store/refold.rs`), and lists them.
const FOLDED: &str = "
ALTER TABLE orders ADD COLUMN folded_version INTEGER NOT NULL DEFAULT 0;
CREATE INDEX orders_unfolded ON orders (id) WHERE folded_version <> version;
";
