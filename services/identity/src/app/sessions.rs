//! Logging in and out, renewing and verifying tokens.

use mallard_types::Result;
use tracing::warn;

use super::{App, caller_id};
use crate::domain::{Email, Renewal, Session, User};
use crate::error::Refusal;
use crate::store::{self, Revocation};
use crate::tokens::{Claims, RefreshToken};

/// Most sessions that a user sees.
const SESSIONS_SHOWN_MAX: usize = 100;
/// Most revocations in one answer; a reader that falls behind asks again.
const REVOCATIONS_READ_MAX: usize = 1_000;

/// What a client signs its requests with, and what it renews that with.
#[derive(Clone)]
pub struct TokenPair {
    /// JWT.
    pub access: String,
    /// Opaque, good for one renewal.
    pub refresh: String,
    /// Seconds until the access token expires.
    pub expires_in_s: i64,
}

/// What a refresh token led to.
enum Renewed {
    Granted(User, Session),
    Reused(Session),
    Over,
}

impl App {
    /// Signs in. Unknown address, wrong password and deleted account get the same answer after the same work.
    ///
    /// # Errors
    /// `invalid_credentials`, `account_banned`, `busy`.
    pub async fn login(&self, email: &str, password: String, user_agent: &str) -> Result<(User, TokenPair)> {
        let known = match Email::parse(email) {
            Ok(email) => store::user_by_email(&self.db, &email).await?,
            Err(_) => None,
        };
        let hash = known.as_ref().and_then(|user| user.password_hash.clone());
        let verified = self.passwords.verify(password, hash).await?;
        let Some(verified) = known.filter(|_| verified) else { return Err(Refusal::CredentialsInvalid.into()) };
        let (session, token) = self.new_session(&verified.id, user_agent);
        let input = (verified, session.clone(), token.hash);
        let user = self
            .tx("identity.login", input, |work, (verified, session, token)| async move {
                // Held until the session stands: a ban, a change of roles or a deletion sees the session, or is seen here.
                if !store::lock_for_login(&work.tx, &verified.id, work.now).await? {
                    return Err(Refusal::CredentialsInvalid.into());
                }
                let user = store::user(&work.tx, &verified.id).await?;
                if user.password_hash != verified.password_hash {
                    return Err(Refusal::CredentialsInvalid.into());
                }
                user.admit(work.now)?;
                store::insert_session(&work.tx, &session, &token).await?;
                let keep = work.app.config.sessions_per_user_max;
                let surplus = store::surplus_sessions(&work.tx, &user.id, work.now, keep).await?;
                work.revoke(&user.id, &surplus).await?;
                Ok(user)
            })
            .await?;
        let tokens = self.token_pair(&user, &session, &token)?;
        Ok((user, tokens))
    }

    /// Exchanges a refresh token for a new pair. A token that was exchanged before ends its session: somebody has a copy.
    ///
    /// # Errors
    /// `invalid_refresh_token`, `refresh_token_reused`, `account_banned`.
    pub async fn refresh(&self, refresh_token: &str) -> Result<TokenPair> {
        let next = RefreshToken::new(self.ctx.random_bytes());
        let input = (RefreshToken::hash(refresh_token), next.hash);
        let renewed = self
            .tx("identity.refresh", input, |work, (presented, next)| async move {
                let Some((mut session, used)) = store::session_of_token(&work.tx, &presented).await? else {
                    return Ok(Renewed::Over);
                };
                let mut renewal = session.renewal(used, work.now);
                if renewal == Renewal::Granted && !store::use_refresh_token(&work.tx, &presented, work.now).await? {
                    renewal = Renewal::Reused;
                }
                match renewal {
                    Renewal::Over => return Ok(Renewed::Over),
                    Renewal::Reused => {
                        if session.is_live(work.now) {
                            work.revoke(&session.user_id, std::slice::from_ref(&session.id)).await?;
                        }
                        // Not an error here: that would roll the revocation back.
                        return Ok(Renewed::Reused(session));
                    }
                    Renewal::Granted => {}
                }
                let user = store::user(&work.tx, &session.user_id).await?;
                user.admit(work.now)?;
                session.renew(work.now, work.app.config.session_ttl());
                if !store::save_renewal(&work.tx, &session).await? {
                    return Err(Refusal::RefreshTokenInvalid.into());
                }
                store::insert_refresh_token(&work.tx, &session.id, &next, work.now).await?;
                Ok(Renewed::Granted(user, session))
            })
            .await?;
        match renewed {
            Renewed::Granted(user, session) => self.token_pair(&user, &session, &next),
            Renewed::Over => Err(Refusal::RefreshTokenInvalid.into()),
            Renewed::Reused(session) => {
                warn!(session_id = session.id, user_id = session.user_id, "refresh token used twice, session ended");
                Err(Refusal::RefreshTokenReused.into())
            }
        }
    }

    /// Ends the caller's session, or all of them. Ending what has ended is success.
    ///
    /// # Errors
    /// `unauthenticated`.
    pub async fn logout(&self, all_devices: bool) -> Result<()> {
        let user_id = caller_id()?;
        let session_id = mallard_rpc::with_current(|call| call.caller.session_id.clone());
        self.tx("identity.logout", (user_id, session_id), move |work, (user_id, session_id)| async move {
            if all_devices {
                return work.revoke_all(&user_id).await;
            }
            match store::session(&work.tx, &session_id).await? {
                Some(session) if session.user_id == user_id && session.is_live(work.now) => {
                    work.revoke(&user_id, &[session_id]).await
                }
                _ => Ok(()),
            }
        })
        .await
    }

    /// Returns the claims of an access token that is good now: signed by us, in time, its session live. None otherwise.
    ///
    /// # Errors
    /// The database fails.
    pub async fn verify(&self, token: &str) -> Result<Option<Claims>> {
        let now = self.ctx.now();
        let Some(claims) = self.tokens.verify(token, now).await? else { return Ok(None) };
        let session = store::session(&self.db, &claims.sid).await?;
        let good = session.is_some_and(|session| session.user_id == claims.sub && session.is_live(now));
        Ok(good.then_some(claims))
    }

    /// Returns the caller's newest live sessions and the id of the present one.
    ///
    /// # Errors
    /// `unauthenticated`.
    pub async fn sessions(&self) -> Result<(Vec<Session>, String)> {
        let sessions = store::live_sessions(&self.db, &caller_id()?, self.ctx.now(), SESSIONS_SHOWN_MAX).await?;
        Ok((sessions, mallard_rpc::with_current(|call| call.caller.session_id.clone())))
    }

    /// Ends one of the caller's sessions. Ending what has ended is success.
    ///
    /// # Errors
    /// `unauthenticated`, `session_not_found` also for somebody else's.
    pub async fn revoke_session(&self, id: String) -> Result<()> {
        self.tx("identity.revoke_session", (caller_id()?, id), |work, (user_id, id)| async move {
            match store::session(&work.tx, &id).await? {
                Some(session) if session.user_id == user_id && session.is_live(work.now) => {
                    work.revoke(&user_id, &[id]).await
                }
                Some(session) if session.user_id == user_id => Ok(()),
                _ => Err(Refusal::SessionNotFound.into()),
            }
        })
        .await
    }

    /// Returns the public keys as a JWKS document.
    ///
    /// # Errors
    /// The database fails.
    pub async fn jwks(&self) -> Result<String> {
        self.tokens.jwks(self.ctx.now()).await
    }

    /// Returns the next revocations after this one.
    ///
    /// # Errors
    /// The database fails.
    pub async fn revocations(&self, after_seq: i64) -> Result<Vec<Revocation>> {
        store::revocations_page(&self.db, after_seq, REVOCATIONS_READ_MAX).await
    }

    pub(super) fn new_session(&self, user_id: &str, user_agent: &str) -> (Session, RefreshToken) {
        let ttl = self.config.session_ttl();
        let session = Session::open(self.ctx.id("sess"), user_id.to_owned(), user_agent, self.ctx.now(), ttl);
        (session, RefreshToken::new(self.ctx.random_bytes()))
    }

    pub(super) fn token_pair(&self, user: &User, session: &Session, refresh: &RefreshToken) -> Result<TokenPair> {
        let claims = Claims::new(user, session, self.ctx.id("jti"), self.ctx.now(), self.config.access_ttl());
        Ok(TokenPair {
            access: self.tokens.sign(&claims)?,
            refresh: refresh.text.clone(),
            expires_in_s: i64::from(self.config.access_token_ttl_s),
        })
    }
}
