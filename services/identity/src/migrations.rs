//! Schema of this service's database. Versions below 100 belong to the platform's tables.

use mallard_db::Migration;

/// Every step from an empty database to the present schema. Steps are only ever added.
pub const MIGRATIONS: &[Migration] = &[Migration {
    version: 100,
    name: "accounts",
    sql: "
CREATE TABLE users (
    id TEXT PRIMARY KEY,
    email TEXT,                                -- lower case; null once deleted, so that the address is free again
    password_hash TEXT,                        -- PHC string; null: no login with a password
    name TEXT NOT NULL,
    language TEXT NOT NULL,
    roles TEXT NOT NULL,                       -- names joined by commas
    is_admin INTEGER NOT NULL,                 -- 1 when admin is among the roles, for the index
    seller_id TEXT NOT NULL,
    ban_level TEXT,
    ban_until INTEGER,
    ban_reason TEXT,
    last_login_at INTEGER,
    address_book_version INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    version INTEGER NOT NULL
);
CREATE UNIQUE INDEX users_email ON users (email);
CREATE INDEX users_created ON users (created_at, id);
CREATE INDEX users_admin ON users (is_admin, id);

CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER
);
CREATE INDEX sessions_user ON sessions (user_id, id);
CREATE INDEX sessions_expires ON sessions (expires_at);

CREATE TABLE refresh_tokens (
    hash BLOB PRIMARY KEY,                     -- SHA-256 of the token; the token itself is never stored
    session_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    used_at INTEGER
);
CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id);

CREATE TABLE revocations (
    seq INTEGER PRIMARY KEY,                   -- grows in commit order, without gaps
    session_id TEXT NOT NULL,
    until INTEGER NOT NULL
);
CREATE INDEX revocations_until ON revocations (until);

CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
);
INSERT INTO counters (name, value) VALUES ('revocations', 0), ('operators', 0);

CREATE TABLE addresses (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    phone TEXT NOT NULL,
    country TEXT NOT NULL,
    province TEXT NOT NULL,
    city TEXT NOT NULL,
    district TEXT NOT NULL,
    street TEXT NOT NULL,
    postal_code TEXT NOT NULL,
    is_default INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE INDEX addresses_user ON addresses (user_id, created_at, id);

CREATE TABLE signing_keys (
    kid TEXT PRIMARY KEY,
    secret BLOB NOT NULL,                      -- Ed25519 seed, 32 bytes
    created_at INTEGER NOT NULL,
    retired_at INTEGER                         -- signs no more; verifies until its last token has expired
);
",
}];
