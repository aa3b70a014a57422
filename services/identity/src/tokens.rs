//! Access tokens: EdDSA JWTs that any service can verify with the public keys of `GetKeys`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use mallard_db::Db;
use mallard_types::{Error, Micros, Result};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::domain::{Session, User};
use crate::store::{self, StoredKey, TokenHash};

/// Issuer and audience of every token.
const NAME: &str = "mallard";
/// A longer text is no token of ours.
const TOKEN_BYTES_MAX: usize = 4_096;
/// An instance signs with what it knew of the keys at most this long ago, and a token that names an unknown key makes it
/// look at most this often.
const RELOAD_INTERVAL: Micros = 1_000_000;
/// How long before a key begins to sign it is there for all to see. Twice the time in which every instance has looked, so
/// that all change over at one moment and none meets a token of a key it cannot know yet.
pub const NOTICE: Micros = 2 * RELOAD_INTERVAL;
const MICROS_PER_SECOND: Micros = 1_000_000;
/// Length of an Ed25519 seed.
pub const SEED_BYTES: usize = 32;
/// How far the clocks of two instances may be apart.
pub const CLOCK_SKEW: Micros = 30 * MICROS_PER_SECOND;

/// What an access token says. Times are seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Issuer.
    pub iss: String,
    /// Audience.
    pub aud: String,
    /// The user's id.
    pub sub: String,
    /// The session's id.
    pub sid: String,
    /// The user's roles when the token was issued.
    pub roles: Vec<String>,
    /// The seller the user acts for; empty when none.
    pub seller: String,
    /// The user's language.
    pub lang: String,
    /// `buy` while the user may sign in but not buy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ban: Option<String>,
    /// When the user last gave the password, as OpenID Connect names it.
    #[serde(default)]
    pub auth_time: i64,
    /// When the token was issued.
    pub iat: i64,
    /// When it ceases to be good.
    pub exp: i64,
    /// The token's own id.
    pub jti: String,
}

impl Claims {
    /// Says what a token of this session may say now.
    pub fn new(user: &User, session: &Session, jti: String, now: Micros, ttl: Micros) -> Claims {
        Claims {
            iss: NAME.to_owned(),
            aud: NAME.to_owned(),
            sub: user.id.clone(),
            sid: session.id.clone(),
            roles: user.roles.names(),
            seller: user.acting_seller().to_owned(),
            lang: user.profile.language.clone(),
            ban: user.ban_level(now).map(|level| level.as_str().to_owned()),
            auth_time: session.authenticated_at.div_euclid(MICROS_PER_SECOND),
            iat: now.div_euclid(MICROS_PER_SECOND),
            exp: now.saturating_add(ttl).div_euclid(MICROS_PER_SECOND),
            jti,
        }
    }
}

/// Signs and verifies access tokens. Cheap to clone.
#[derive(Clone)]
pub struct Tokens {
    db: Db,
    access_ttl: Micros,
    ring: Arc<RwLock<Ring>>,
}

/// The keys in use, the one that signs first.
struct Ring {
    keys: Vec<Key>,
    loaded_at: Micros,
}

#[derive(Clone)]
struct Key {
    kid: String,
    signing: Arc<EncodingKey>,
    verifying: Arc<DecodingKey>,
    /// Public key as JWKS has it.
    x: String,
    signs_at: Micros,
    retired_at: Option<Micros>,
}

impl Tokens {
    /// Loads the signing keys; `fresh` becomes the first one of an empty database.
    ///
    /// # Errors
    /// The database fails, or holds a key that cannot be used.
    pub async fn open(db: Db, access_ttl: Micros, fresh: StoredKey) -> anyhow::Result<Tokens> {
        let now = fresh.created_at;
        let first = fresh.clone();
        db.tx("identity.signing_key", move |tx| {
            let first = first.clone();
            async move {
                // Of several first instances at once one makes the key.
                store::lock_keys(&tx).await?;
                if store::keys(&tx, now).await?.iter().any(|key| key.retired_at.is_none()) {
                    return Ok::<(), Error>(());
                }
                store::insert_key(&tx, &first).await
            }
        })
        .await?;
        let tokens = Tokens { db, access_ttl, ring: Arc::new(RwLock::new(Ring { keys: Vec::new(), loaded_at: now })) };
        tokens.reload(now).await.map_err(|error| match std::error::Error::source(&error) {
            Some(reason) => anyhow::anyhow!("{reason}"),
            None => anyhow::Error::from(error),
        })?;
        Ok(tokens)
    }

    /// Signs claims with the key whose turn it is.
    ///
    /// # Errors
    /// The database fails while it is asked for the keys; there is no key, which a start of the service rules out.
    pub async fn sign(&self, claims: &Claims, now: Micros) -> Result<String> {
        if now >= self.ring.read().loaded_at.saturating_add(RELOAD_INTERVAL) {
            self.reload(now).await?;
        }
        let key = self.ring.read().signing(now).cloned().ok_or_else(no_key)?;
        let header = Header { kid: Some(key.kid), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, claims, &key.signing).map_err(failed)
    }

    /// Returns the claims of a token that one of our keys signed and whose time is not over; none otherwise. Says nothing
    /// about the session.
    ///
    /// # Errors
    /// The database fails while it is asked for a new key.
    pub async fn verify(&self, token: &str, now: Micros) -> Result<Option<Claims>> {
        if token.len() > TOKEN_BYTES_MAX {
            return Ok(None);
        }
        let Some(kid) = jsonwebtoken::decode_header(token).ok().and_then(|header| header.kid) else { return Ok(None) };
        let Some(key) = self.find(&kid, now).await? else { return Ok(None) };
        let Ok(data) = jsonwebtoken::decode::<Claims>(token, &key.verifying, &validation()) else { return Ok(None) };
        let expires_at = data.claims.exp.saturating_mul(MICROS_PER_SECOND);
        Ok((now < expires_at).then_some(data.claims))
    }

    /// Returns the public keys as a JWKS document (RFC 7517, RFC 8037).
    ///
    /// # Errors
    /// The database fails.
    pub async fn jwks(&self, now: Micros) -> Result<String> {
        self.reload(now).await?;
        let ring = self.ring.read();
        let key = |key: &Key| json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": key.kid, "x": key.x});
        Ok(json!({"keys": ring.keys.iter().map(key).collect::<Vec<_>>()}).to_string())
    }

    async fn find(&self, kid: &str, now: Micros) -> Result<Option<Key>> {
        let known = |ring: &Ring| ring.keys.iter().find(|key| key.kid == kid).cloned();
        {
            let ring = self.ring.read();
            if let Some(key) = known(&ring) {
                return Ok(Some(key));
            }
            if now < ring.loaded_at.saturating_add(RELOAD_INTERVAL) {
                return Ok(None);
            }
        }
        self.reload(now).await?;
        Ok(known(&self.ring.read()))
    }

    /// Returns the time at which a key must have retired for none of its tokens to be left.
    pub fn forgotten_before(&self, now: Micros) -> Micros {
        now.saturating_sub(self.access_ttl).saturating_sub(CLOCK_SKEW)
    }

    /// Reads the keys again: those that sign, and those whose last token has not expired.
    async fn reload(&self, now: Micros) -> Result<()> {
        let stored = store::keys(&self.db, self.forgotten_before(now)).await?;
        let keys = stored.iter().map(Key::new).collect::<Result<Vec<_>>>()?;
        *self.ring.write() = Ring { keys, loaded_at: now };
        Ok(())
    }
}

impl Ring {
    /// Returns the key that signs at this time. Where the clock that made the keys is ahead of ours none has begun: then
    /// the one that is to begin first.
    fn signing(&self, now: Micros) -> Option<&Key> {
        let mut standing = self.keys.iter().filter(|key| key.retired_at.is_none_or(|at| now < at));
        let first = standing.clone().next_back();
        standing.find(|key| key.signs_at <= now).or(first)
    }
}

impl Key {
    fn new(stored: &StoredKey) -> Result<Key> {
        let unusable = |why: String| {
            let text = format!(
                "signing key {} in identity's table signing_keys cannot be used: {why}; restore the row from a backup, or \
                 delete it so that a start makes a new key (everybody who is signed in then renews the access token)",
                stored.kid
            );
            Error::internal("unusable_signing_key", "something went wrong on our side")
                .source(std::io::Error::other(text))
        };
        let seed: [u8; SEED_BYTES] = stored
            .secret
            .as_slice()
            .try_into()
            .map_err(|_| unusable(format!("the secret has {} bytes, not {SEED_BYTES}", stored.secret.len())))?;
        if seed.iter().all(|byte| *byte == seed[0]) {
            return Err(unusable("the secret is one byte over and over, which is no secret".to_owned()));
        }
        let pair = SigningKey::from_bytes(&seed);
        let document = pair.to_pkcs8_der().map_err(failed)?;
        let public = pair.verifying_key().to_bytes();
        Ok(Key {
            kid: stored.kid.clone(),
            signing: Arc::new(EncodingKey::from_ed_der(document.as_bytes())),
            verifying: Arc::new(DecodingKey::from_ed_der(&public)),
            x: URL_SAFE_NO_PAD.encode(public),
            signs_at: stored.signs_at,
            retired_at: stored.retired_at,
        })
    }
}

/// A refresh token: 256 random bits. Only its hash is stored.
#[derive(Clone)]
pub struct RefreshToken {
    /// What the client gets.
    pub text: String,
    /// What is stored.
    pub hash: TokenHash,
}

impl RefreshToken {
    /// Makes a token of random bytes.
    pub fn new(random: [u8; 32]) -> RefreshToken {
        let text = URL_SAFE_NO_PAD.encode(random);
        RefreshToken { hash: RefreshToken::hash(&text), text }
    }

    /// Returns the hash of what a client sent. A fast hash will do: 256 random bits cannot be guessed.
    pub fn hash(text: &str) -> TokenHash {
        Sha256::digest(text.as_bytes()).into()
    }
}

/// Signature, issuer and audience are checked here; the expiry against our own clock, not the machine's.
fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.validate_exp = false;
    validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
    validation.set_issuer(&[NAME]);
    validation.set_audience(&[NAME]);
    validation
}

fn no_key() -> Error {
    Error::internal("no_signing_key", "something went wrong on our side")
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("token", "something went wrong on our side").source(error)
}
