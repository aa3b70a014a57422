//! Who a request comes from: access tokens verified in this process.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use mallard_rpc::{Caller, CallerKind};
use mallard_runtime::Shutdown;
use mallard_types::{Error, Micros, Result};
use serde::Deserialize;
use tokio::sync::Notify;

use crate::bans::{self, Level};
use crate::cache::{Cache, Now, Verified};
use crate::feed;
use crate::keys::Keys;
use crate::revocations::Revocations;

/// Issuer and audience of every token.
const NAME: &str = "mallard";
/// A longer text is no token of ours.
const TOKEN_BYTES_MAX: usize = 4_096;
const MICROS_PER_SECOND: Micros = 1_000_000;

#[derive(Deserialize)]
struct Claims {
    sub: String,
    sid: String,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    seller: String,
    #[serde(default)]
    lang: String,
    #[serde(default)]
    ban: Option<String>,
    /// When the password was last entered, in seconds since the epoch; old tokens do not say.
    #[serde(default)]
    auth_time: i64,
    exp: i64,
}

/// Verifies access tokens.
pub struct Tokens {
    keys: Keys,
    revocations: Arc<Revocations>,
    now: Now,
    cache: Cache,
    validation: Validation,
}

impl Tokens {
    /// Makes the verifier; it remembers at most `cache_max` good tokens.
    pub fn new(keys: Keys, revocations: Arc<Revocations>, now: Now, cache_max: usize) -> Tokens {
        let mut validation = Validation::new(Algorithm::EdDSA);
        // The expiry is compared with the mall's clock, not the machine's.
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        validation.set_issuer(&[NAME]);
        validation.set_audience(&[NAME]);
        Tokens { keys, revocations, now, cache: Cache::new(cache_max), validation }
    }

    /// Returns who a token speaks for.
    ///
    /// # Errors
    /// `invalid_token`, `token_expired`, `session_revoked`; identity's own when it has to be asked and cannot be.
    pub async fn verify(&self, token: &str) -> Result<Arc<Verified>> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(invalid());
        }
        let hash = Cache::hash(token);
        let verified = match self.cache.get(&hash).filter(|verified| self.keys.has(&verified.kid)) {
            Some(verified) => verified,
            None => {
                let verified = Arc::new(self.check(token).await?);
                self.cache.put(hash, Arc::clone(&verified));
                verified
            }
        };
        if verified.expires_at <= (self.now)() {
            return Err(Error::unauthenticated("token_expired", "the access token has expired; refresh it"));
        }
        self.revocations.complete().await?;
        if self.revocations.contains(&verified.caller.session_id) {
            return Err(Error::unauthenticated("session_revoked", "this session has ended; sign in again"));
        }
        Ok(verified)
    }

    /// Reads the keys and the list of revoked sessions unless they were read before.
    ///
    /// # Errors
    /// When identity cannot be asked.
    pub async fn complete(&self) -> Result<()> {
        self.keys.complete().await?;
        self.revocations.complete().await
    }

    /// Reads what is new on the list of revoked sessions.
    ///
    /// # Errors
    /// When identity cannot be asked.
    pub async fn read_revocations(&self) -> Result<()> {
        self.revocations.read().await
    }

    /// Reads identity's keys now.
    ///
    /// # Errors
    /// When identity cannot be asked.
    pub async fn refresh_keys(&self) -> Result<()> {
        self.keys.refresh().await
    }

    /// Reads identity's keys again and again, until shutdown: a new one is known before it signs, a dropped one is not
    /// trusted any longer.
    pub async fn keep_keys_fresh(self: Arc<Self>, pause: Duration, shutdown: Shutdown) {
        let never = Notify::new();
        feed::keep_fresh("keys", pause, &never, &shutdown, || self.refresh_keys(), || {}).await;
    }

    async fn check(&self, token: &str) -> Result<Verified> {
        let kid = decode_header(token).ok().and_then(|header| header.kid).ok_or_else(invalid)?;
        let key = self.keys.find(&kid).await?.ok_or_else(invalid)?;
        let claims = decode::<Claims>(token, &key, &self.validation).map_err(|_| invalid())?.claims;
        let mut roles = claims.roles;
        // A role that only identity may give must not come from a ban, nor the other way round.
        roles.retain(|role| !role.starts_with(bans::PREFIX));
        if let Some(level) = claims.ban.as_deref().and_then(Level::parse) {
            roles.push(level.role().to_owned());
        }
        Ok(Verified {
            kid,
            caller: Caller {
                kind: CallerKind::User,
                user_id: claims.sub,
                session_id: claims.sid,
                roles,
                seller_id: claims.seller,
                language: claims.lang,
                ..Caller::default()
            },
            authenticated_at: claims.auth_time.saturating_mul(MICROS_PER_SECOND),
            expires_at: claims.exp.saturating_mul(MICROS_PER_SECOND),
        })
    }
}

fn invalid() -> Error {
    Error::unauthenticated("invalid_token", "the access token is not one of ours")
}
