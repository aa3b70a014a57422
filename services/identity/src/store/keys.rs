//! Keys that sign access tokens.

use std::fmt;

use mallard_db::{Tx, params};
use mallard_types::{Micros, Result};

use super::{Read, lock_counter};

/// Most keys in use at once; each rotation adds one until the old one's last token has expired.
pub const KEYS_MAX: usize = 16;

/// A stored signing key.
#[derive(Clone)]
pub struct StoredKey {
    /// Key id, `key_…`.
    pub kid: String,
    /// Ed25519 seed; 32 bytes unless the row is damaged.
    pub secret: Vec<u8>,
    /// When it was made.
    pub created_at: Micros,
    /// When it begins to sign.
    pub signs_at: Micros,
    /// When it ceases to sign.
    pub retired_at: Option<Micros>,
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// Keeps everybody else from making keys until this transaction ends.
pub async fn lock_keys(tx: &Tx) -> Result<()> {
    Ok(lock_counter(tx, "keys").await?)
}

/// Inserts a signing key.
pub async fn insert_key(tx: &Tx, key: &StoredKey) -> Result<()> {
    let sql = "INSERT INTO signing_keys (kid, secret, created_at, signs_at, retired_at) VALUES (?, ?, ?, ?, ?)";
    let values = params![key.kid.as_str(), &key.secret[..], key.created_at, key.signs_at, key.retired_at];
    tx.execute(sql, values).await?;
    Ok(())
}

/// Retires every key that is not retired.
pub async fn retire_keys(tx: &Tx, at: Micros) -> Result<()> {
    tx.execute("UPDATE signing_keys SET retired_at = ? WHERE retired_at IS NULL", params![at]).await?;
    Ok(())
}

/// Loads the keys that sign, or that retired after this time, newest first.
pub async fn keys(from: &impl Read, retired_after: Micros) -> Result<Vec<StoredKey>> {
    let sql = "SELECT kid, secret, created_at, signs_at, retired_at FROM signing_keys \
               WHERE retired_at IS NULL OR retired_at > ? ORDER BY signs_at DESC, kid DESC LIMIT ?";
    let mut keys = Vec::new();
    for row in from.rows(sql, params![retired_after, KEYS_MAX as i64]).await? {
        keys.push(StoredKey {
            kid: row.get(0)?,
            secret: row.get(1)?,
            created_at: row.get(2)?,
            signs_at: row.get(3)?,
            retired_at: row.get(4)?,
        });
    }
    Ok(keys)
}

/// Removes the secrets of keys that retired at this time or before; returns how many.
pub async fn remove_retired_keys(tx: &Tx, retired_before: Micros) -> Result<u64> {
    Ok(tx.execute("DELETE FROM signing_keys WHERE retired_at <= ?", params![retired_before]).await?)
}
