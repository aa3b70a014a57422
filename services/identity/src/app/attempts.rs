//! Wrong passwords, counted at the login for account and network, and afterwards for the session. Checked before the costly
//! hash and again with the success: of any number of tries at once only as many are told right from wrong as the limit
//! allows.

use mallard_rpc::Call;
use mallard_types::{Error, Micros, Result};
use tracing::Instrument as _;

use super::{App, Work};
use crate::domain::{Attempt, PasswordHash, Verdict};
use crate::error::Refusal;
use crate::store;

const MICROS_PER_MILLI: Micros = 1_000;

impl App {
    /// Names the counters of a login, whether the account exists or not.
    pub(super) fn login_attempt(&self, email: &str) -> Attempt {
        mallard_rpc::with_current(|call| {
            let address = call.origin.as_ref().map_or("", |origin| &origin.address);
            Attempt::at_login(email, address, self.config.login_limits())
        })
    }

    /// Names the counter of a try in a session.
    pub(super) fn session_attempt(&self, user_id: &str, session_id: &str) -> Attempt {
        Attempt::in_session(user_id, session_id, self.config.login_limits())
    }

    /// Verifies a password unless too many were wrong before, and counts a wrong one. `user_id` and `hash` are empty and none
    /// where there is no such account. What has begun goes on when the caller goes away: who cuts every try short would guess
    /// uncounted, at our cost.
    ///
    /// # Errors
    /// `invalid_credentials`, `too_many_attempts`, `busy`.
    pub(super) async fn prove(
        &self,
        attempt: &Attempt,
        user_id: &str,
        hash: Option<PasswordHash>,
        password: String,
    ) -> Result<()> {
        let counted = store::attempt_counts(&self.db, attempt).await?;
        let now = self.ctx.now();
        refuse(&self.db, attempt.verdict(&counted, now, false), attempt, user_id, now).await?;
        let place = self.passwords.place()?;
        let (app, attempt, user_id) = (self.clone(), attempt.clone(), user_id.to_owned());
        // Nothing of it waits for the caller, so nothing of it is over when the caller's time is.
        let call = Call { deadline: None, ..mallard_rpc::current() };
        let proof = async move {
            if app.passwords.verify(place, password, hash).await? {
                return Ok(());
            }
            Err(app.failed_attempt(attempt, user_id).await)
        };
        let lost = |error| Error::internal("password_check", "something went wrong on our side").source(error);
        tokio::spawn(mallard_rpc::scope(call, proof).in_current_span()).await.map_err(lost)?
    }

    /// Counts a wrong password and returns what to answer: `invalid_credentials`, or `too_many_attempts` when as many others
    /// failed at the same moment.
    async fn failed_attempt(&self, attempt: Attempt, user_id: String) -> Error {
        let answer = self
            .tx("identity.login_failed", (attempt, user_id), |work, (attempt, user_id)| async move {
                let ends_at = work.now.saturating_add(work.app.config.login_window());
                store::count_failure(&work.tx, &attempt, work.now, ends_at).await?;
                let counted = store::attempt_counts(&work.tx, &attempt).await?;
                let verdict = attempt.verdict(&counted, work.now, true);
                // Not an error here: that would take the count back.
                Ok(refuse(&work.tx, verdict, &attempt, &user_id, work.now).await)
            })
            .await;
        match answer {
            Ok(Ok(())) => Refusal::CredentialsInvalid.into(),
            Ok(Err(error)) | Err(error) => error,
        }
    }
}

impl Work {
    /// Accepts a right password unless too many wrong ones came first, and forgets those for this account and network, or
    /// this session.
    ///
    /// # Errors
    /// `too_many_attempts`.
    pub(super) async fn passed(&self, attempt: &Attempt, user_id: &str) -> Result<()> {
        let counted = store::attempt_counts(&self.tx, attempt).await?;
        refuse(&self.tx, attempt.verdict(&counted, self.now, false), attempt, user_id, self.now).await?;
        if counted.iter().any(|(key, ..)| key == attempt.own()) {
            store::clear_failures(&self.tx, attempt.own()).await?;
        }
        Ok(())
    }
}

/// Refuses a try that is not allowed; what others fail elsewhere keeps nobody out of a network it has signed in from lately.
async fn refuse(
    from: &impl store::Read,
    verdict: Verdict,
    attempt: &Attempt,
    user_id: &str,
    now: Micros,
) -> Result<()> {
    let wait = match verdict {
        Verdict::Pass => return Ok(()),
        // Asked for accounts that do not exist, too: the same work.
        Verdict::OnlyAtHome(_) if store::has_signed_in_from(from, user_id, attempt.network(), now).await? => {
            return Ok(());
        }
        Verdict::OnlyAtHome(wait) | Verdict::Wait(wait) => wait,
    };
    let millis = wait.max(0).unsigned_abs().div_ceil(MICROS_PER_MILLI.unsigned_abs());
    Err(Refusal::AttemptsTooMany(millis).into())
}
