//! Keys that sign access tokens.

use std::fmt;

use mallard_db::{Tx, params};
use mallard_types::{Error, Micros, Result};

use super::Read;

/// Most keys in use at once; each rotation adds one until the old one's last token has expired.
const KEYS_READ_MAX: i64 = 16;

/// A stored signing key.
#[derive(Clone)]
pub struct StoredKey {
    /// Key id, `key_…`.
    pub kid: String,
    /// Ed25519 seed.
    pub secret: [u8; 32],
    /// When it was made.
    pub created_at: Micros,
    /// When it ceased to sign.
    pub retired_at: Option<Micros>,
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// Inserts a signing key.
pub async fn insert_key(tx: &Tx, key: &StoredKey) -> Result<()> {
    let sql = "INSERT INTO signing_keys (kid, secret, created_at, retired_at) VALUES (?, ?, ?, ?)";
    tx.execute(sql, params![key.kid.as_str(), &key.secret[..], key.created_at, key.retired_at]).await?;
    Ok(())
}

/// Loads the keys that sign, or that retired after this time, newest first.
pub async fn keys(from: &impl Read, retired_after: Micros) -> Result<Vec<StoredKey>> {
    let sql = "SELECT kid, secret, created_at, retired_at FROM signing_keys WHERE retired_at IS NULL OR retired_at > ? \
               ORDER BY created_at DESC, kid DESC LIMIT ?";
    let mut keys = Vec::new();
    for row in from.rows(sql, params![retired_after, KEYS_READ_MAX]).await? {
        let secret: Vec<u8> = row.get(1)?;
        let secret =
            secret.try_into().map_err(|_| Error::internal("broken_row", "something went wrong on our side"))?;
        keys.push(StoredKey { kid: row.get(0)?, secret, created_at: row.get(2)?, retired_at: row.get(3)? });
    }
    Ok(keys)
}
