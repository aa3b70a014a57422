//! Keys that sign access tokens: listed, and replaced without anybody being signed out.

use mallard_proto::Timestamp;
use mallard_types::Result;
use serde_json::json;
use tracing::info;

use super::caller::{require_admin_role, require_operator};
use super::{App, new_key};
use crate::error::Refusal;
use crate::store::{self, KEYS_MAX, StoredKey};
use crate::tokens::NOTICE;

impl App {
    /// Returns the keys in use, newest first: those that sign or will, and those whose last token has not expired.
    ///
    /// # Errors
    /// `admin_only`.
    pub async fn keys(&self) -> Result<Vec<StoredKey>> {
        require_operator()?;
        self.keys_in_use().await
    }

    /// Makes a new key and retires the present one, both a moment from now so that every instance changes over at once. Of
    /// two rotations at the same moment one makes the key and both return it.
    ///
    /// # Errors
    /// `admin_only`, `too_many_keys`.
    pub async fn rotate_keys(&self) -> Result<StoredKey> {
        require_admin_role()?;
        let present = self.keys_in_use().await?.into_iter().find(|key| key.retired_at.is_none());
        self.rotate(present.map(|key| key.kid)).await
    }

    /// Replaces the signing key when it is old enough; several instances may try at once.
    ///
    /// # Errors
    /// `too_many_keys`, or the database fails.
    pub(super) async fn rotate_old_key(&self) -> Result<()> {
        let Some(age) = self.config.signing_key_age() else { return Ok(()) };
        let newest = self.keys_in_use().await?.into_iter().find(|key| key.retired_at.is_none());
        let Some(newest) = newest else { return Ok(()) };
        if self.ctx.clock().now() < newest.created_at.saturating_add(age) {
            return Ok(());
        }
        let key = self.rotate(Some(newest.kid)).await?;
        info!(kid = key.kid, "signing key replaced because of its age");
        Ok(())
    }

    async fn keys_in_use(&self) -> Result<Vec<StoredKey>> {
        store::keys(&self.db, self.tokens.forgotten_before(self.ctx.clock().now())).await
    }

    /// Replaces the key with this id; returns the one that replaced it when somebody else was faster.
    async fn rotate(&self, present: Option<String>) -> Result<StoredKey> {
        let now = self.ctx.clock().now();
        let fresh = new_key(&self.ctx, now, now.saturating_add(NOTICE));
        self.tx("identity.rotate_keys", (present, fresh), |work, (present, fresh)| async move {
            store::lock_keys(&work.tx).await?;
            let keys = store::keys(&work.tx, work.app.tokens.forgotten_before(fresh.created_at)).await?;
            match keys.iter().find(|key| key.retired_at.is_none()) {
                Some(newest) if Some(&newest.kid) != present.as_ref() => return Ok(newest.clone()),
                _ => {}
            }
            if keys.len() >= KEYS_MAX {
                return Err(Refusal::KeysFull.into());
            }
            store::retire_keys(&work.tx, fresh.signs_at).await?;
            store::insert_key(&work.tx, &fresh).await?;
            let retired_at = Timestamp::from_micros(fresh.signs_at).to_string();
            let was = present.map(|kid| json!({"kid": kid, "retired_at": retired_at}));
            work.record("key.rotate", &fresh.kid, was, Some(json!({"kid": fresh.kid}))).await?;
            Ok(fresh)
        })
        .await
    }
}
