//! Wrong passwords, counted for account and address. Checked before the costly hash and again with the success: of any
//! number of tries at once only as many are told right from wrong as the limit allows.

use mallard_types::{Error, Micros, Result};

use super::{App, Work};
use crate::domain::Attempt;
use crate::error::Refusal;
use crate::store;

const MICROS_PER_MILLI: Micros = 1_000;

impl App {
    /// Names the counters of a try to prove being an account, whether it exists or not.
    pub(super) fn attempt(&self, email: &str) -> Attempt {
        mallard_rpc::with_current(|call| {
            let address = call.origin.as_ref().map_or("", |origin| &origin.address);
            Attempt::new(email, address, self.config.login_limits())
        })
    }

    /// Refuses a try after too many failures.
    ///
    /// # Errors
    /// `too_many_attempts`.
    pub(super) async fn admit_attempt(&self, attempt: &Attempt) -> Result<()> {
        let counted = store::attempt_counts(&self.db, attempt).await?;
        refuse_after(attempt.wait(&counted, self.ctx.now()))
    }

    /// Counts a wrong password and returns what to answer: `invalid_credentials`, or `too_many_attempts` when as many others
    /// failed at the same moment.
    pub(super) async fn failed_attempt(&self, attempt: Attempt) -> Error {
        let counted = self
            .tx("identity.login_failed", attempt.clone(), |work, attempt| async move {
                let ends_at = work.now.saturating_add(work.app.config.login_window());
                store::count_failure(&work.tx, &attempt, work.now, ends_at).await?;
                store::attempt_counts(&work.tx, &attempt).await
            })
            .await;
        match counted {
            Ok(counted) => match refuse_after(attempt.wait_after_failure(&counted, self.ctx.now())) {
                Ok(()) => Refusal::CredentialsInvalid.into(),
                Err(too_many) => too_many,
            },
            Err(error) => error,
        }
    }
}

impl Work {
    /// Accepts a right password unless too many wrong ones came first, and forgets those for this account and address.
    ///
    /// # Errors
    /// `too_many_attempts`.
    pub(super) async fn passed(&self, attempt: &Attempt) -> Result<()> {
        let counted = store::attempt_counts(&self.tx, attempt).await?;
        refuse_after(attempt.wait(&counted, self.now))?;
        if counted.iter().any(|(key, ..)| key == attempt.own()) {
            store::clear_failures(&self.tx, attempt.own()).await?;
        }
        Ok(())
    }
}

fn refuse_after(wait: Option<Micros>) -> Result<()> {
    match wait {
        None => Ok(()),
        Some(wait) => {
            let millis = wait.max(0).unsigned_abs().div_ceil(MICROS_PER_MILLI.unsigned_abs());
            Err(Refusal::AttemptsTooMany(millis).into())
        }
    }
}
