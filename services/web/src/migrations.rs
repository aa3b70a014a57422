//! Schema of the pages: their sessions.

use mallard_db::Migration;

/// Versions below 100 belong to the platform.
pub const MIGRATIONS: &[Migration] = &[Migration {
    version: 100,
    name: "sessions",
    sql: "CREATE TABLE sessions (
    id TEXT PRIMARY KEY NOT NULL,
    sealed BLOB NOT NULL,
    version INTEGER NOT NULL,
    renewing_until INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);
CREATE INDEX sessions_expires_at ON sessions (expires_at, id)",
}];
