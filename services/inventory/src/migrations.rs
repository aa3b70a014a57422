//! Schema of the service. Times are microseconds since the epoch, quantities are units.

use mallard_db::Migration;

/// Every version of the schema, oldest first.
pub const MIGRATIONS: &[Migration] = &[FIRST, ALERTS];

const FIRST: Migration = Migration {
    version: 100,
    name: "stock, reservations, ledger",
    sql: "
        CREATE TABLE stock (
            sku_id TEXT NOT NULL PRIMARY KEY,
            on_hand INTEGER NOT NULL,
            reserved INTEGER NOT NULL,
            received INTEGER NOT NULL,
            sold INTEGER NOT NULL,
            returned INTEGER NOT NULL,
            adjusted INTEGER NOT NULL,
            in_stock INTEGER NOT NULL,
            version INTEGER NOT NULL,
            CONSTRAINT stock_reserved_within_on_hand CHECK (reserved >= 0 AND reserved <= on_hand)
        );
        CREATE TABLE reservations (
            id TEXT NOT NULL PRIMARY KEY,
            state TEXT NOT NULL,
            line_rows BLOB NOT NULL,
            expires_at INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            version INTEGER NOT NULL
        );
        CREATE INDEX reservations_by_expiry ON reservations (state, expires_at);
        CREATE TABLE stock_ledger (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            sku_id TEXT NOT NULL,
            kind TEXT NOT NULL,
            delta INTEGER NOT NULL,
            reason TEXT NOT NULL,
            reference TEXT NOT NULL,
            at INTEGER NOT NULL
        );
        CREATE INDEX stock_ledger_by_sku ON stock_ledger (sku_id, seq);
        CREATE TABLE returns (
            id TEXT NOT NULL PRIMARY KEY,
            reservation_id TEXT NOT NULL,
            line_rows BLOB NOT NULL,
            at INTEGER NOT NULL
        );
        CREATE INDEX returns_by_reservation ON returns (reservation_id);
        CREATE TABLE adjustments (
            idempotency_key TEXT NOT NULL PRIMARY KEY,
            sku_id TEXT NOT NULL,
            delta INTEGER NOT NULL,
            at INTEGER NOT NULL
        )
    ",
};

/// Since when little is left to sell, 0 while there is enough. What is low already is so since its last entry in the ledger;
/// 5 is the default of `alert_below`, and another one is brought in line when the service starts. The index holds the alerts
/// only, so that it costs nothing to move stock of which there is enough.
const ALERTS: Migration = Migration {
    version: 101,
    name: "stock alerts",
    sql: "
        ALTER TABLE stock ADD COLUMN low_since INTEGER NOT NULL DEFAULT 0;
        UPDATE stock SET low_since = COALESCE((SELECT MAX(l.at) FROM stock_ledger l WHERE l.sku_id = stock.sku_id), 1)
            WHERE on_hand - reserved < 5;
        CREATE INDEX stock_low ON stock (low_since, sku_id) WHERE low_since > 0
    ",
};
