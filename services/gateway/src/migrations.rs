//! Schema of the gateway: the answers kept under idempotency keys.

use mallard_db::Migration;

/// Versions below 100 belong to the platform.
pub const MIGRATIONS: &[Migration] = &[Migration {
    version: 100,
    name: "answers",
    sql: "CREATE TABLE answers (
    id TEXT PRIMARY KEY NOT NULL,
    body_hash TEXT NOT NULL,
    attempt TEXT NOT NULL,
    claimed_at INTEGER NOT NULL,
    status INTEGER,
    headers TEXT,
    body BLOB
);
CREATE INDEX answers_claimed_at ON answers (claimed_at, id)",
}];
