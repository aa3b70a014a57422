//! Ends and removes what is over: sessions that idle or are past their time, entries of the feeds past the last token,
//! counts of wrong passwords, keys past their last token. Replaces the signing key when it is old.

use std::collections::BTreeMap;
use std::time::Duration;

use mallard_rpc::Call;
use mallard_types::Result;
use tokio::time::Instant;
use tracing::{info, warn};

use super::App;
use crate::store;

/// Sessions ended or removed in one transaction.
const BATCH_ROWS_MAX: usize = 200;

impl App {
    /// Sweeps at the configured interval until the service is told to end; sessions that idle are looked for more often
    /// where their limit is short.
    pub async fn sweep_until_shutdown(self) {
        let all = Duration::from_secs(u64::from(self.config.sweep_interval_s));
        let idle = Duration::from_secs(u64::from(self.config.sweep_interval_s()));
        let shutdown = self.ctx.shutdown();
        // The key's age does not wait: a process may never live as long as an interval.
        if let Err(error) = self.as_itself(self.rotate_old_key()).await {
            warn!(%error, "the age of the signing key could not be looked at, the next sweep tries again");
        }
        let mut swept_at = Instant::now();
        loop {
            tokio::select! {
                () = shutdown.wait() => return,
                () = tokio::time::sleep(idle) => {}
            }
            if let Err(error) = self.as_itself(self.end_idle_sessions()).await {
                warn!(%error, "idle sessions could not be ended, the next sweep tries again");
            }
            if swept_at.elapsed() < all {
                continue;
            }
            swept_at = Instant::now();
            match self.as_itself(self.sweep()).await {
                Ok(0) => {}
                Ok(sessions) => info!(sessions, "expired sessions removed"),
                Err(error) => warn!(%error, "sweep of what is over failed, the next one tries again"),
            }
        }
    }

    /// Runs work as this service, for the log.
    async fn as_itself<F: Future>(&self, work: F) -> F::Output {
        mallard_rpc::scope(Call::system(self.ctx.service()), work).await
    }

    /// Ends the sessions that have idled too long, so that their access tokens are refused, too. Several instances may do so
    /// at once.
    ///
    /// # Errors
    /// The database fails.
    async fn end_idle_sessions(&self) -> Result<()> {
        if self.config.idle().is_none() {
            return Ok(());
        }
        loop {
            let ended = self
                .tx("identity.end_idle", (), |work, ()| async move {
                    let at = work.app.moment(work.now);
                    let mut by_user: BTreeMap<String, Vec<String>> = BTreeMap::new();
                    for (user_id, id) in store::idle_sessions(&work.tx, at, BATCH_ROWS_MAX).await? {
                        by_user.entry(user_id).or_default().push(id);
                    }
                    for (user_id, ids) in &by_user {
                        work.revoke(user_id, ids).await?;
                    }
                    Ok(by_user.values().map(Vec::len).sum::<usize>())
                })
                .await?;
            if ended > 0 {
                info!(sessions = ended, "idle sessions ended");
            }
            if ended < BATCH_ROWS_MAX || self.ctx.shutdown().is_set() {
                return Ok(());
            }
        }
    }

    /// Sweeps once and returns how many sessions went. Several instances may do so at once.
    ///
    /// # Errors
    /// The database fails.
    async fn sweep(&self) -> Result<usize> {
        let mut swept = 0;
        loop {
            let removed = self
                .tx("identity.sweep", (), |work, ()| async move {
                    store::remove_expired_sessions(&work.tx, work.now, BATCH_ROWS_MAX).await
                })
                .await?;
            swept += removed;
            if removed < BATCH_ROWS_MAX || self.ctx.shutdown().is_set() {
                break;
            }
        }
        self.tx("identity.sweep", (), |work, ()| async move {
            store::remove_over(&work.tx, work.now).await?;
            store::remove_expired_attempts(&work.tx, work.now).await?;
            store::remove_retired_keys(&work.tx, work.app.tokens.forgotten_before(work.now)).await
        })
        .await?;
        self.rotate_old_key().await?;
        Ok(swept)
    }
}
