//! Sessions: seeing them, ending them, noting their use.

use std::collections::BTreeMap;

use mallard_types::{Error, Micros, Result};

use super::caller::{caller_id, caller_session, require_operator, require_system};
use super::{App, Work};
use crate::domain::{Moment, Session};
use crate::error::Refusal;
use crate::store;
use crate::tokens::Claims;

/// Most sessions that are shown of one user.
const SESSIONS_SHOWN_MAX: usize = 100;
/// Most uses in one report.
const USES_MAX: usize = 1_000;

impl App {
    /// Ends the caller's session, or all of them. Ending what has ended is success.
    ///
    /// # Errors
    /// `unauthenticated`.
    pub async fn logout(&self, all_devices: bool) -> Result<()> {
        let user_id = caller_id()?;
        self.tx("identity.logout", (user_id, caller_session()), move |work, (user_id, session_id)| async move {
            if all_devices {
                return work.revoke_all(&user_id).await.map(|_| ());
            }
            match work.end_session(&user_id, session_id).await {
                Err(error) if error.code == "session_not_found" => Ok(()),
                other => other.map(|_| ()),
            }
        })
        .await
    }

    /// Returns the claims of an access token that is good now: signed by us, in time, its session live, its account there
    /// and not kept from signing in. Roles and seller are the account's present ones. None otherwise.
    ///
    /// # Errors
    /// The database fails.
    pub async fn verify(&self, token: &str) -> Result<Option<Claims>> {
        let now = self.ctx.now();
        let Some(claims) = self.tokens.verify(token, now).await? else { return Ok(None) };
        let at = self.moment(now);
        let session = store::session(&self.db, &claims.sid).await?;
        if !session.is_some_and(|session| session.user_id == claims.sub && session.is_live(at)) {
            return Ok(None);
        }
        let user = store::user(&self.db, &claims.sub).await?;
        if user.admit(now).is_err() {
            return Ok(None);
        }
        Ok(Some(Claims { roles: user.roles.names(), seller: user.acting_seller().to_owned(), ..claims }))
    }

    /// Returns the caller's newest live sessions and the id of the present one.
    ///
    /// # Errors
    /// `unauthenticated`.
    pub async fn sessions(&self) -> Result<(Vec<Session>, String)> {
        let at = self.moment(self.ctx.now());
        let sessions = store::live_sessions(&self.db, &caller_id()?, at, SESSIONS_SHOWN_MAX).await?;
        Ok((sessions, caller_session()))
    }

    /// Returns anybody's newest live sessions and the id of the caller's own.
    ///
    /// # Errors
    /// `admin_only`, `user_not_found`.
    pub async fn sessions_of(&self, user_id: &str) -> Result<(Vec<Session>, String)> {
        require_operator()?;
        let user = store::user(&self.db, user_id).await?;
        let at = self.moment(self.ctx.now());
        let sessions = store::live_sessions(&self.db, &user.id, at, SESSIONS_SHOWN_MAX).await?;
        Ok((sessions, caller_session()))
    }

    /// Ends one of the caller's sessions. Ending what has ended is success.
    ///
    /// # Errors
    /// `unauthenticated`, `session_not_found` also for somebody else's.
    pub async fn revoke_session(&self, id: String) -> Result<()> {
        self.tx("identity.revoke_session", (caller_id()?, id), |work, (user_id, id)| async move {
            work.end_session(&user_id, id).await.map(|_| ())
        })
        .await
    }

    /// Ends one of a user's sessions. Ending what has ended is success.
    ///
    /// # Errors
    /// `admin_only`, `user_not_found`, `session_not_found` also for another user's.
    pub async fn revoke_session_of(&self, user_id: String, id: String) -> Result<()> {
        require_operator()?;
        self.tx("identity.revoke_session", (user_id, id), |work, (user_id, id)| async move {
            let user = store::user(&work.tx, &user_id).await?;
            work.may_touch(&user).await?;
            if work.end_session(&user.id, id.clone()).await? {
                let ended = serde_json::json!({"session_id": id});
                work.record("session.revoke", &user.id, Some(ended), None).await?;
            }
            Ok(())
        })
        .await
    }

    /// Notes when sessions were used: never backwards, never later than now, and not those that had idled too long. Sessions
    /// that are unknown or have ended are passed over.
    ///
    /// # Errors
    /// `internal_only`, `too_many_uses`.
    pub async fn touch_sessions(&self, uses: Vec<(String, Micros)>) -> Result<()> {
        require_system()?;
        if uses.len() > USES_MAX {
            let message = format!("at most {USES_MAX} uses at once; send several reports");
            return Err(Error::invalid("too_many_uses", message).param("uses"));
        }
        let now = self.ctx.clock().now();
        let mut latest: BTreeMap<String, Micros> = BTreeMap::new();
        for (id, at) in uses {
            let used = latest.entry(id).or_insert(at);
            *used = at.max(*used).min(now);
        }
        let uses: Vec<(String, Moment)> = latest.into_iter().map(|(id, at)| (id, self.moment(at))).collect();
        if uses.is_empty() {
            return Ok(());
        }
        self.db.apply(store::touch_sessions(&uses)).await.map_err(|error| match error {
            mallard_db::UnitError::Db(error) => error.into(),
            guard => Error::internal("touch_sessions", "something went wrong on our side").source(guard),
        })
    }
}

impl Work {
    /// Ends a session of a user unless it has ended; tells whether it had not.
    async fn end_session(&self, user_id: &str, id: String) -> Result<bool> {
        match store::session(&self.tx, &id).await? {
            // Whether it idles is nobody's question here: it stands in the table.
            Some(session) if session.user_id == user_id && session.is_live(Moment::new(self.now, None)) => {
                self.revoke(user_id, &[id]).await?;
                Ok(true)
            }
            Some(session) if session.user_id == user_id => Ok(false),
            _ => Err(Refusal::SessionNotFound.into()),
        }
    }
}
