//! Schema of this service's database. Versions below 100 belong to the platform's tables.

use mallard_db::Migration;

/// Every step from an empty database to the present schema. Steps are only ever added.
pub const MIGRATIONS: &[Migration] = &[
    Migration { version: 100, name: "accounts", sql: ACCOUNTS },
    Migration { version: 101, name: "access_control", sql: ACCESS_CONTROL },
    Migration { version: 102, name: "session_networks", sql: SESSION_NETWORKS },
];

const ACCOUNTS: &str = "
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
";

const ACCESS_CONTROL: &str = "
ALTER TABLE users ADD COLUMN ban_at INTEGER NOT NULL DEFAULT 0;        -- 0: never banned, or the ban was lifted
ALTER TABLE users ADD COLUMN ban_by TEXT NOT NULL DEFAULT '';
UPDATE users SET ban_at = updated_at WHERE ban_level IS NOT NULL;
CREATE INDEX users_banned ON users (ban_at, id);

CREATE TABLE user_roles (                      -- who holds roles that operators define; the built-in ones are not here
    role TEXT NOT NULL,                        -- name without a domain
    user_id TEXT NOT NULL,
    PRIMARY KEY (role, user_id)
);
CREATE INDEX user_roles_user ON user_roles (user_id);

ALTER TABLE sessions ADD COLUMN device TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN authenticated_at INTEGER NOT NULL DEFAULT 0;
UPDATE sessions SET authenticated_at = created_at;
CREATE INDEX sessions_idle ON sessions (revoked_at, last_used_at);

CREATE TABLE standings (                       -- the latest standing of each account that tokens may not know yet
    seq INTEGER PRIMARY KEY,                   -- grows in commit order, without gaps
    user_id TEXT NOT NULL,
    roles TEXT NOT NULL,                       -- names joined by commas
    seller_id TEXT NOT NULL,
    ban_level TEXT,
    ban_until INTEGER,
    until INTEGER,                             -- after this no token is left that says otherwise; null while a ban stands
    deleted INTEGER NOT NULL,
    over_at INTEGER                            -- when the row may go; null: not yet known
);
CREATE UNIQUE INDEX standings_user ON standings (user_id);
CREATE INDEX standings_over ON standings (over_at);

CREATE TABLE policies (
    id TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    domain TEXT NOT NULL,
    path TEXT NOT NULL,
    method TEXT NOT NULL,
    effect TEXT NOT NULL,
    note TEXT NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX policies_rule ON policies (role, domain, path, method, effect);

CREATE TABLE roles (
    name TEXT PRIMARY KEY,
    inherits TEXT NOT NULL,                    -- names joined by commas
    note TEXT NOT NULL
);

CREATE TABLE allow_list (
    position INTEGER PRIMARY KEY,
    path TEXT NOT NULL
);

CREATE TABLE login_attempts (
    key BLOB PRIMARY KEY,                      -- SHA-256 of account, address or both; neither is stored in clear
    failures INTEGER NOT NULL,
    ends_at INTEGER NOT NULL                   -- when the window ends and counting begins anew
);
CREATE INDEX login_attempts_ends ON login_attempts (ends_at);

ALTER TABLE signing_keys ADD COLUMN signs_at INTEGER NOT NULL DEFAULT 0;   -- begins to sign, after every instance knows it
UPDATE signing_keys SET signs_at = created_at;

CREATE TABLE audit (                           -- rows are only ever added
    seq INTEGER PRIMARY KEY,                   -- grows in commit order, without gaps
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    session_id TEXT NOT NULL,
    address TEXT NOT NULL,
    request_id TEXT NOT NULL,
    service TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    was TEXT NOT NULL,                         -- JSON; empty: there was nothing
    became TEXT NOT NULL,                      -- JSON; empty: it is gone
    hash BLOB NOT NULL                         -- SHA-256 over the row and the hash of the row before
);
CREATE INDEX audit_actor ON audit (actor, seq);
CREATE INDEX audit_target ON audit (target, seq);
CREATE INDEX audit_action ON audit (action, seq);
CREATE INDEX audit_service ON audit (service, seq);

INSERT INTO counters (name, value) VALUES ('standings', 0), ('access', 0), ('keys', 0), ('audit', 0);
";

const SESSION_NETWORKS: &str = "
ALTER TABLE sessions ADD COLUMN network TEXT NOT NULL DEFAULT '';      -- of the address, of IPv6 the first 64 bits
UPDATE sessions SET network = address WHERE address NOT LIKE '%:%';    -- the others count from their next login
CREATE INDEX sessions_network ON sessions (user_id, network);
";

#[cfg(test)]
mod tests {
    use mallard_db::{Db, DbConfig, Error, MemoryDisk, params};

    use super::*;
    use crate::domain::{Client, Moment};
    use crate::store;

    #[tokio::test]
    async fn a_mall_of_the_first_version_keeps_its_bans_sessions_and_keys() {
        let config = DbConfig::Memory(MemoryDisk::new());
        let old = Db::open(&config, "identity", &MIGRATIONS[..1]).await.unwrap();
        let filled = old.tx("test.fill", |tx| async move {
            let sql = "INSERT INTO users (id, email, name, language, roles, is_admin, seller_id, ban_level, ban_reason, \
                       created_at, updated_at, version) VALUES ('usr_1', 'a@b.c', 'Mei', 'en', 'seller,user', 0, 'sel_1', ?, ?, 5, 7, 2)";
            tx.execute(sql, params!["buy", "spam"]).await?;
            let sql = "INSERT INTO sessions (id, user_id, user_agent, created_at, last_used_at, expires_at) \
                       VALUES ('sess_1', 'usr_1', 'curl', 5, 6, 1000)";
            tx.execute(sql, params![]).await?;
            tx.execute("INSERT INTO signing_keys (kid, secret, created_at) VALUES ('key_1', ?, 5)", params![vec![1u8; 32]])
                .await
        });
        filled.await.map_err(|error: Error| error).unwrap();
        old.close().await;
        let old = Db::open(&config, "identity", &MIGRATIONS[..2]).await.unwrap();
        let filled = old.tx("test.fill", |tx| async move {
            let sql = "INSERT INTO sessions (id, user_id, user_agent, address, created_at, last_used_at, expires_at) \
                       VALUES ('sess_2', 'usr_2', '', '10.0.0.1', 5, 6, 1000), ('sess_3', 'usr_2', '', '2001:db8::1', 5, 6, 1000)";
            tx.execute(sql, params![]).await
        });
        filled.await.map_err(|error: Error| error).unwrap();
        old.close().await;

        let db = Db::open(&config, "identity", MIGRATIONS).await.unwrap();
        let user = store::user(&db, "usr_1").await.unwrap();
        let ban = user.ban.unwrap();
        assert_eq!((ban.reason.as_str(), ban.at, ban.by.as_str()), ("spam", 7, ""));
        assert_eq!((user.roles.names(), user.seller_id.as_str()), (vec!["seller".to_owned(), "user".into()], "sel_1"));
        assert_eq!(store::banned_page(&db, 10, (i64::MAX, ""), 10).await.unwrap().len(), 1);
        for (network, known) in [("10.0.0.1", true), ("10.0.0.2", false), ("2001:db8::1", false), ("", false)] {
            assert_eq!(store::has_signed_in_from(&db, "usr_2", network, 10).await.unwrap(), known, "{network}");
        }
        let sessions = store::live_sessions(&db, "usr_1", Moment::new(10, None), 10).await.unwrap();
        assert_eq!(sessions[0].authenticated_at, 5);
        assert_eq!(sessions[0].client, Client { user_agent: "curl".into(), ..Client::default() });
        let keys = store::keys(&db, 0).await.unwrap();
        assert_eq!((keys[0].signs_at, keys[0].retired_at), (5, None));
        assert_eq!(store::access_version(&db).await.unwrap(), 0, "the start fills in what the contracts say");
    }
}
