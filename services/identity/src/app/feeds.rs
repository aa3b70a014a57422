//! What gateways poll: public keys, revoked sessions, standings, and everything that decides who may do what.

use mallard_types::Result;

use super::App;
use super::caller::require_system;
use crate::domain::{Ruleset, Standing};
use crate::store::{self, Revocation};

/// Most entries in one answer; a reader that falls behind asks again.
const FEED_READ_MAX: usize = 1_000;

impl App {
    /// Returns the public keys as a JWKS document.
    ///
    /// # Errors
    /// The database fails.
    pub async fn jwks(&self) -> Result<String> {
        self.tokens.jwks(self.ctx.clock().now()).await
    }

    /// Returns the next revocations after this one.
    ///
    /// # Errors
    /// `internal_only`.
    pub async fn revocations(&self, after_seq: i64) -> Result<Vec<Revocation>> {
        require_system()?;
        store::revocations_page(&self.db, after_seq, FEED_READ_MAX).await
    }

    /// Returns the next standings after this number.
    ///
    /// # Errors
    /// `internal_only`.
    pub async fn standings(&self, after_seq: i64) -> Result<Vec<(i64, Standing)>> {
        require_system()?;
        store::standings_page(&self.db, after_seq, FEED_READ_MAX).await
    }

    /// Returns the rules, roles and allow-list in force, or none and their version where the caller has it.
    ///
    /// # Errors
    /// `internal_only`, `access_changing`.
    pub async fn access(&self, known_version: i64) -> Result<(i64, Option<Ruleset>)> {
        require_system()?;
        let version = store::access_version(&self.db).await?;
        if version == known_version {
            return Ok((version, None));
        }
        let rules = store::ruleset(&self.db).await?;
        Ok((rules.version, Some(rules)))
    }
}
