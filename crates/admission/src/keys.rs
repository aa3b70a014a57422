//! The public keys of identity, by their ids.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::JwkSet;
use mallard_proto::identity::v1::GetKeysRequest;
use mallard_types::{Error, Result};
use parking_lot::RwLock;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::issuer::Issuer;

/// A token that names an unknown key makes it look for new keys at most this often.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Longest wait for the keys.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for a token that names an unknown key: whoever makes up tokens must not have the mall wait for long.
const LOOK_FOR_TOKEN_TIMEOUT: Duration = Duration::from_millis(500);

/// Knows the keys that tokens are signed with.
pub struct Keys {
    identity: Issuer,
    known: RwLock<HashMap<String, Arc<DecodingKey>>>,
    /// One look at a time.
    looked: Mutex<Option<Look>>,
}

/// The last look for keys.
#[derive(Clone, Copy)]
struct Look {
    at: Instant,
    failed: bool,
}

impl Keys {
    /// Makes an empty set; the first token fills it.
    pub fn new(identity: Issuer) -> Keys {
        Keys { identity, known: RwLock::default(), looked: Mutex::new(None) }
    }

    /// Finds a key; asks identity when it is not known.
    ///
    /// # Errors
    /// When identity cannot be asked.
    pub async fn find(&self, kid: &str) -> Result<Option<Arc<DecodingKey>>> {
        if let Some(key) = self.known(kid) {
            return Ok(Some(key));
        }
        // One at a time: those who wait here find what the first one has fetched. While identity is slow nobody waits in line.
        let Ok(mut looked) = timeout(LOOK_FOR_TOKEN_TIMEOUT, self.looked.lock()).await else { return Err(unknown()) };
        if let Some(key) = self.known(kid) {
            return Ok(Some(key));
        }
        // Where nothing is known yet every token asks: this process has just started.
        let knows = !self.known.read().is_empty();
        if let Some(look) = looked.filter(|look| knows && look.at.elapsed() < LOOK_PAUSE) {
            // After a look that failed nobody knows whether the token is good.
            return if look.failed { Err(unknown()) } else { Ok(None) };
        }
        match timeout(LOOK_FOR_TOKEN_TIMEOUT, self.look(&mut looked)).await {
            Ok(done) => done?,
            Err(_) => return Err(unknown()),
        }
        Ok(self.known(kid))
    }

    /// Tells whether a key is known, without asking.
    pub fn has(&self, kid: &str) -> bool {
        self.known.read().contains_key(kid)
    }

    /// Reads the keys unless some are known.
    ///
    /// # Errors
    /// When identity cannot be asked.
    pub async fn complete(&self) -> Result<()> {
        if self.known.read().is_empty() { self.refresh().await } else { Ok(()) }
    }

    /// Reads the keys now: new ones come, and those that identity has dropped go.
    ///
    /// # Errors
    /// When identity cannot be asked.
    pub async fn refresh(&self) -> Result<()> {
        let mut looked = self.looked.lock().await;
        self.look(&mut looked).await
    }

    async fn look(&self, looked: &mut Option<Look>) -> Result<()> {
        // Failed until it has not: this may be given up half-way.
        let look = looked.insert(Look { at: Instant::now(), failed: true });
        let fetched = self.fetch().await?;
        look.failed = false;
        *self.known.write() = fetched;
        Ok(())
    }

    fn known(&self, kid: &str) -> Option<Arc<DecodingKey>> {
        self.known.read().get(kid).cloned()
    }

    async fn fetch(&self) -> Result<HashMap<String, Arc<DecodingKey>>> {
        let set: JwkSet = serde_json::from_str(&jwks(&self.identity).await?)
            .map_err(|error| Error::internal("keys_unreadable", "the keys are no JWKS document").source(error))?;
        let mut keys = HashMap::new();
        for jwk in &set.keys {
            if let (Some(kid), Ok(key)) = (&jwk.common.key_id, DecodingKey::from_jwk(jwk)) {
                keys.insert(kid.clone(), Arc::new(key));
            }
        }
        Ok(keys)
    }
}

fn unknown() -> Error {
    Error::unavailable("keys_unavailable", "the keys of tokens cannot be read; try again in a moment")
        .retry_after_ms(1_000)
}

/// Asks identity for its keys as a JWKS document.
///
/// # Errors
/// When identity cannot be asked.
pub async fn jwks(identity: &Issuer) -> Result<String> {
    let mut client = identity.client();
    let answer = mallard_rpc::scope(identity.call(LOOK_TIMEOUT), client.get_keys(GetKeysRequest {})).await;
    Ok(answer.map_err(mallard_rpc::error)?.into_inner().jwks_json)
}
