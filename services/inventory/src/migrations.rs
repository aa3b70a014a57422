//! Schema of the service. Times are microseconds since the epoch, quantities are units.

use mallard_db::Migration;

/// Every version of the schema, oldest first.
pub const MIGRATIONS: &[Migration] = &[Migration {
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
}];
