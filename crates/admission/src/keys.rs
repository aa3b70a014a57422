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
use tokio::time::Instant;

use crate::issuer::Issuer;

/// A token that names an unknown key makes it look for new keys at most this often.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Longest wait for the keys.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// Knows the keys that tokens are signed with.
pub struct Keys {
    identity: Issuer,
    known: RwLock<HashMap<String, Arc<DecodingKey>>>,
    looked: Mutex<Option<Instant>>,
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
        // One at a time: those who wait here find what the first one has fetched.
        let mut looked = self.looked.lock().await;
        if let Some(key) = self.known(kid) {
            return Ok(Some(key));
        }
        if looked.is_some_and(|at| at.elapsed() < LOOK_PAUSE) {
            return Ok(None);
        }
        self.look(&mut looked).await?;
        Ok(self.known(kid))
    }

    /// Reads the keys now: new ones come, and those that identity has dropped go.
    ///
    /// # Errors
    /// When identity cannot be asked.
    pub async fn refresh(&self) -> Result<()> {
        let mut looked = self.looked.lock().await;
        self.look(&mut looked).await
    }

    async fn look(&self, looked: &mut Option<Instant>) -> Result<()> {
        let fetched = self.fetch().await?;
        *looked = Some(Instant::now());
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

/// Asks identity for its keys as a JWKS document.
///
/// # Errors
/// When identity cannot be asked.
pub async fn jwks(identity: &Issuer) -> Result<String> {
    let mut client = identity.client();
    let answer = mallard_rpc::scope(identity.call(LOOK_TIMEOUT), client.get_keys(GetKeysRequest {})).await;
    Ok(answer.map_err(mallard_rpc::error)?.into_inner().jwks_json)
}
