//! Sessions on disk: found by a hash of the cookie, sealed with a key only the cookie gives.

use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use mallard_db::{Db, Tx, Unit, UnitError, params};
use mallard_types::{Error, Micros, Result};
use serde::{Deserialize, Serialize};

use crate::domain::Secret;

const NONCE_BYTES: usize = 12;

/// What the shop remembers of a visitor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// Who is signed in.
    pub user: Option<SignedIn>,
    /// Token of a guest's cart; empty without one.
    pub cart_token: String,
    /// Different things in the cart, as far as this shop has seen.
    pub cart_lines: u32,
    /// Keys of orders of lines chosen out of a cart, the latest last, at most [`CHOICES_MAX`].
    pub choices: Vec<ChoiceKey>,
}

/// Most keys of chosen lines that are remembered.
const CHOICES_MAX: usize = 20;

/// A key under which lines chosen out of a cart were ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChoiceKey {
    /// The key.
    pub key: String,
    /// The order it made; empty where that is not known.
    pub order_id: String,
    /// The order has failed or was cancelled: the same choice takes another key.
    pub over: bool,
}

impl Kept {
    /// Tells whether the order of a key has failed or was cancelled.
    pub fn is_over(&self, key: &str) -> bool {
        self.choices.iter().any(|one| one.over && one.key == key)
    }

    /// Notes the order of a key; false when it was noted before.
    pub fn note_choice(&mut self, key: &str, order_id: &str) -> bool {
        if self.choices.iter().any(|one| one.key == key) {
            return false;
        }
        self.push_choice(ChoiceKey { key: key.to_owned(), order_id: order_id.to_owned(), over: false });
        true
    }

    /// Notes that the order of a key has failed or was cancelled.
    pub fn end_choice(&mut self, key: &str) {
        match self.choices.iter_mut().find(|one| one.key == key) {
            Some(one) => one.over = true,
            None => self.push_choice(ChoiceKey { key: key.to_owned(), order_id: String::new(), over: true }),
        }
    }

    /// Notes that an order was cancelled.
    pub fn end_order(&mut self, order_id: &str) {
        for one in self.choices.iter_mut().filter(|one| !order_id.is_empty() && one.order_id == order_id) {
            one.over = true;
        }
    }

    fn push_choice(&mut self, one: ChoiceKey) {
        if self.choices.len() >= CHOICES_MAX {
            self.choices.remove(0);
        }
        self.choices.push(one);
    }

    /// Returns the refresh token, empty when nobody is signed in.
    pub fn refresh(&self) -> &str {
        self.user.as_ref().map_or("", |user| user.refresh.as_str())
    }
}

/// A signed-in shopper's tokens and what the pages show of the account.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SignedIn {
    /// Access token.
    pub access: String,
    /// Refresh token.
    pub refresh: String,
    /// When the access token ends.
    pub access_until: Micros,
    /// Name, or the e-mail address without one.
    pub name: String,
    /// Language of the profile.
    pub language: String,
}

impl std::fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignedIn")
    }
}

/// A session as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// What is remembered.
    pub kept: Kept,
    /// Grows by one with every change.
    pub version: i64,
}

/// Keeps sessions.
#[derive(Clone)]
pub struct Store {
    db: Db,
}

impl Store {
    /// Makes the store.
    pub fn new(db: Db) -> Store {
        Store { db }
    }

    /// Reads a session that is not over; one that cannot be opened counts as none.
    ///
    /// # Errors
    /// The database's.
    pub async fn find(&self, secret: &Secret, now: Micros) -> Result<Option<Stored>> {
        let sql = "SELECT sealed, version FROM sessions WHERE id = ? AND expires_at > ?";
        let Some(row) = self.db.query_opt(sql, params![secret.id(), now]).await? else { return Ok(None) };
        let sealed: Vec<u8> = row.get(0)?;
        Ok(open(secret, &sealed).map(|kept| Stored { kept, version: row.get(1).unwrap_or_default() }))
    }

    /// Writes a new session.
    ///
    /// # Errors
    /// The database's.
    pub async fn insert(
        &self,
        secret: &Secret,
        kept: &Kept,
        nonce: [u8; NONCE_BYTES],
        expires_at: Micros,
    ) -> Result<bool> {
        let sql = "INSERT INTO sessions (id, sealed, version, renewing_until, expires_at) VALUES (?, ?, 1, 0, ?) \
                   ON CONFLICT (id) DO NOTHING";
        let params = params![secret.id(), seal(secret, kept, nonce)?, expires_at];
        applied(self.db.apply(Unit::new("web.open_session").guard(sql, params, 1, 0)).await)
    }

    /// Replaces a session when nobody changed it since `version`; tells whether it did. A renewal that is under way goes on,
    /// unless this ends it: `renewed` says that other tokens are written.
    ///
    /// # Errors
    /// The database's.
    pub async fn replace(
        &self,
        secret: &Secret,
        kept: &Kept,
        version: i64,
        nonce: [u8; NONCE_BYTES],
        expires_at: Micros,
        renewed: bool,
    ) -> Result<bool> {
        let sql = if renewed {
            "UPDATE sessions SET sealed = ?, version = version + 1, renewing_until = 0, expires_at = ? \
             WHERE id = ? AND version = ?"
        } else {
            "UPDATE sessions SET sealed = ?, version = version + 1, expires_at = ? WHERE id = ? AND version = ?"
        };
        let params = params![seal(secret, kept, nonce)?, expires_at, secret.id(), version];
        applied(self.db.apply(Unit::new("web.change_session").guard(sql, params, 1, 0)).await)
    }

    /// Claims the renewal of a session's tokens until a time; false when somebody else renews or has changed it.
    ///
    /// # Errors
    /// The database's.
    pub async fn claim_renewal(&self, secret: &Secret, version: i64, now: Micros, until: Micros) -> Result<bool> {
        let sql = "UPDATE sessions SET renewing_until = ? WHERE id = ? AND version = ? AND renewing_until < ?";
        let params = params![until, secret.id(), version, now];
        applied(self.db.apply(Unit::new("web.claim_renewal").guard(sql, params, 1, 0)).await)
    }

    /// Removes a session; one that is not there is success.
    ///
    /// # Errors
    /// The database's.
    pub async fn remove(&self, secret: &Secret) -> Result<()> {
        let unit = Unit::new("web.end_session").exec("DELETE FROM sessions WHERE id = ?", params![secret.id()]);
        Ok(self.db.apply(unit).await?)
    }

    /// Removes sessions that are over, at most `rows_max`; returns how many.
    ///
    /// # Errors
    /// The database's.
    pub async fn prune(&self, now: Micros, rows_max: u32) -> Result<u64> {
        let sql = "DELETE FROM sessions WHERE id IN \
                   (SELECT id FROM sessions WHERE expires_at <= ? ORDER BY expires_at, id LIMIT ?)";
        let rows =
            self.db
                .tx("web.prune_sessions", move |tx: Tx| async move {
                    tx.execute(sql, params![now, i64::from(rows_max)]).await
                })
                .await;
        rows.map_err(|error: mallard_db::Error| error.into())
    }
}

fn applied(outcome: std::result::Result<(), UnitError>) -> Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(UnitError::Guard { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn seal(secret: &Secret, kept: &Kept, nonce: [u8; NONCE_BYTES]) -> Result<Vec<u8>> {
    let unsealable = || Error::internal("session_unsealable", "the session could not be sealed");
    let text = serde_json::to_vec(kept).map_err(|error| unsealable().source(error))?;
    let cipher = ChaCha20Poly1305::new(&Key::from(secret.key()));
    let mut sealed = nonce.to_vec();
    sealed.extend(cipher.encrypt(&Nonce::from(nonce), text.as_slice()).map_err(|_| unsealable())?);
    Ok(sealed)
}

fn open(secret: &Secret, sealed: &[u8]) -> Option<Kept> {
    let (nonce, text) = sealed.split_at_checked(NONCE_BYTES)?;
    let nonce: [u8; NONCE_BYTES] = nonce.try_into().ok()?;
    let text = ChaCha20Poly1305::new(&Key::from(secret.key())).decrypt(&Nonce::from(nonce), text).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use mallard_db::{DbConfig, MemoryDisk};

    use super::*;

    async fn store() -> Store {
        let db = Db::open(&DbConfig::Memory(MemoryDisk::new()), "web", crate::migrations::MIGRATIONS).await.unwrap();
        Store::new(db)
    }

    fn kept() -> Kept {
        let user = SignedIn { access: "at_secret".into(), refresh: "rt_secret".into(), ..SignedIn::default() };
        Kept { user: Some(user), cart_token: "ct_1".into(), cart_lines: 2, choices: Vec::new() }
    }

    #[tokio::test]
    async fn a_session_is_readable_with_its_cookie_only() {
        let store = store().await;
        let secret = Secret::new([1; 32]);
        assert!(store.insert(&secret, &kept(), [9; 12], 100).await.unwrap());
        assert_eq!(store.find(&secret, 1).await.unwrap().unwrap().kept, kept());
        assert!(store.find(&Secret::new([2; 32]), 1).await.unwrap().is_none());
        assert!(store.find(&secret, 100).await.unwrap().is_none(), "its time is over");
        let row = store.db.query_opt("SELECT id, sealed FROM sessions", params![]).await.unwrap().unwrap();
        let (id, sealed): (String, Vec<u8>) = (row.get(0).unwrap(), row.get(1).unwrap());
        assert_ne!(id, secret.cookie());
        assert!(!String::from_utf8_lossy(&sealed).contains("secret"));
        assert_eq!(open(&Secret::new([2; 32]), &sealed), None);
        let mut torn = sealed.clone();
        torn[20] ^= 1;
        assert_eq!(open(&secret, &torn), None);
        assert_eq!(open(&secret, &sealed[..5]), None);
    }

    #[tokio::test]
    async fn of_two_changes_of_one_version_one_wins() {
        let store = store().await;
        let secret = Secret::new([1; 32]);
        store.insert(&secret, &kept(), [9; 12], 100).await.unwrap();
        assert!(!store.insert(&secret, &kept(), [9; 12], 100).await.unwrap());
        assert!(store.replace(&secret, &Kept::default(), 1, [8; 12], 100, false).await.unwrap());
        assert!(!store.replace(&secret, &kept(), 1, [7; 12], 100, false).await.unwrap());
        let stored = store.find(&secret, 1).await.unwrap().unwrap();
        assert_eq!((stored.kept, stored.version), (Kept::default(), 2));
    }

    #[tokio::test]
    async fn one_renews_at_a_time_and_a_claim_ends_by_itself() {
        let store = store().await;
        let secret = Secret::new([1; 32]);
        store.insert(&secret, &kept(), [9; 12], 1_000).await.unwrap();
        assert!(store.claim_renewal(&secret, 1, 10, 60).await.unwrap());
        assert!(!store.claim_renewal(&secret, 1, 20, 70).await.unwrap());
        assert!(store.claim_renewal(&secret, 1, 61, 111).await.unwrap());
        assert!(!store.claim_renewal(&secret, 2, 200, 250).await.unwrap());
    }

    #[tokio::test]
    async fn a_change_beside_a_renewal_does_not_end_it() {
        let store = store().await;
        let secret = Secret::new([1; 32]);
        store.insert(&secret, &kept(), [9; 12], 1_000).await.unwrap();
        assert!(store.claim_renewal(&secret, 1, 10, 60).await.unwrap());
        assert!(store.replace(&secret, &kept(), 1, [8; 12], 1_000, false).await.unwrap());
        assert!(!store.claim_renewal(&secret, 2, 20, 70).await.unwrap(), "somebody renews still");
        assert!(store.replace(&secret, &kept(), 2, [7; 12], 1_000, true).await.unwrap());
        assert!(store.claim_renewal(&secret, 3, 30, 80).await.unwrap());
    }

    #[test]
    fn a_choice_keeps_its_key_until_its_order_is_over() {
        let mut kept = Kept::default();
        assert!(kept.note_choice("a", "ord_1") && !kept.note_choice("a", "ord_1"));
        kept.end_choice("b");
        assert!(!kept.is_over("a") && kept.is_over("b"));
        kept.end_order("ord_2");
        kept.end_order("");
        assert!(!kept.is_over("a"));
        kept.end_order("ord_1");
        assert!(kept.is_over("a"));
        for i in 0..100 {
            kept.end_choice(&i.to_string());
        }
        assert_eq!(kept.choices.len(), CHOICES_MAX);
        assert!(kept.is_over("99") && !kept.is_over("0"));
    }

    #[tokio::test]
    async fn sessions_that_are_over_are_removed_in_batches() {
        let store = store().await;
        for i in 0..5 {
            store.insert(&Secret::new([i; 32]), &kept(), [9; 12], i64::from(i)).await.unwrap();
        }
        assert_eq!(store.prune(3, 2).await.unwrap(), 2);
        assert_eq!(store.prune(3, 10).await.unwrap(), 2);
        assert!(store.find(&Secret::new([4; 32]), 3).await.unwrap().is_some());
    }
}
