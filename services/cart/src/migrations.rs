//! Schema of the cart's database.

use mallard_db::Migration;

/// Every migration, oldest first.
pub const ALL: &[Migration] = &[Migration {
    version: 100,
    name: "carts",
    // A user's cart has user_id; a guest's has token_hash and expires_at. Both keys are unique, so there is one cart each.
    sql: "
        CREATE TABLE carts (
            id TEXT NOT NULL PRIMARY KEY,
            user_id TEXT,
            token_hash TEXT,
            body BLOB NOT NULL,
            version INTEGER NOT NULL,
            merged_into TEXT,
            created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL,
            expires_at INTEGER
        );
        CREATE UNIQUE INDEX carts_user_id ON carts (user_id);
        CREATE UNIQUE INDEX carts_token_hash ON carts (token_hash);
        CREATE INDEX carts_expires_at ON carts (expires_at)
    ",
}];
