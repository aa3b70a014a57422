//! Proving once more who is there: before dangerous actions, and for a new password.

use mallard_types::{Micros, Result};

use super::App;
use super::caller::{caller_id, caller_session};
use crate::domain::{Attempt, Password, Session, User};
use crate::error::Refusal;
use crate::store;

/// An access token with which dangerous actions are allowed for a while.
pub struct Trusted {
    /// JWT.
    pub access: String,
    /// Seconds until it expires.
    pub expires_in_s: i64,
    /// Until when dangerous actions are allowed.
    pub until: Micros,
}

impl App {
    /// Asks for the password again and issues an access token that says when.
    ///
    /// # Errors
    /// `unauthenticated`, `invalid_credentials`, `too_many_attempts`, `account_banned`, `session_revoked`, `busy`.
    pub async fn reauthenticate(&self, password: String) -> Result<Trusted> {
        let (user_id, session_id) = (caller_id()?, caller_session());
        let (verified, attempt) = self.prove_again(&user_id, &session_id, password).await?;
        let input = (verified, session_id, attempt);
        let (user, session, at) = self
            .tx("identity.reauthenticate", input, |work, (verified, session_id, attempt)| async move {
                work.passed(&attempt, &verified.id).await?;
                let user = work.user(&verified.id).await?;
                if user.password_hash != verified.password_hash {
                    return Err(Refusal::CredentialsInvalid.into());
                }
                user.admit(work.now)?;
                let session = store::session(&work.tx, &session_id).await?.ok_or(Refusal::SessionEnded)?;
                if session.user_id != user.id {
                    return Err(Refusal::SessionEnded.into());
                }
                // Two at once: the later one counts.
                let authenticated_at = session.authenticated_at.max(work.now);
                let session = Session { authenticated_at, ..session };
                if !store::save_authentication(&work.tx, &session, work.app.moment(work.now)).await? {
                    return Err(Refusal::SessionEnded.into());
                }
                Ok((user, session, work.now))
            })
            .await?;
        Ok(Trusted {
            access: self.access_token(&user, &session, at).await?,
            expires_in_s: i64::from(self.config.access_token_ttl_s),
            until: session.authenticated_at.saturating_add(self.config.trust()),
        })
    }

    /// Replaces the caller's password and ends every other session.
    ///
    /// # Errors
    /// `unauthenticated`, `invalid_credentials`, `too_many_attempts`, `password_too_short`, `password_too_long`,
    /// `password_is_email`, `changed_meanwhile`, `busy`.
    pub async fn change_password(&self, current: String, new: String) -> Result<()> {
        let (user_id, session_id) = (caller_id()?, caller_session());
        let (verified, attempt) = self.prove_again(&user_id, &session_id, current).await?;
        let email = verified.email.as_ref().ok_or(Refusal::CredentialsInvalid)?;
        let new = Password::parse(new, email)?;
        let hash = self.passwords.hash(new, self.ctx.random_bytes()).await?;
        let input = (verified, session_id, attempt, hash);
        self.tx("identity.change_password", input, |work, (verified, session_id, attempt, hash)| async move {
            work.passed(&attempt, &verified.id).await?;
            let before = work.user(&verified.id).await?;
            if before.password_hash != verified.password_hash {
                return Err(Refusal::CredentialsInvalid.into());
            }
            let mut user = before.clone();
            user.change_password(hash, work.now);
            work.save(&before, &user).await?;
            work.revoke_all_but(&user.id, &session_id).await.map(|_| ())
        })
        .await
    }

    /// Verifies the password of an account, counted for its session alone: others who guess at the login must not keep the
    /// owner from changing the password.
    async fn prove_again(&self, user_id: &str, session_id: &str, password: String) -> Result<(User, Attempt)> {
        let user = store::user(&self.db, user_id).await?;
        let attempt = self.session_attempt(user_id, session_id);
        self.prove(&attempt, user_id, user.password_hash.clone(), password).await?;
        Ok((user, attempt))
    }
}
