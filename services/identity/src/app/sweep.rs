//! Removes what nobody will ask for again: sessions past their time and revocations past their last token.

use std::time::Duration;

use mallard_types::Result;
use tracing::{info, warn};

use super::App;
use crate::store;

/// Sessions removed in one transaction.
const BATCH_ROWS_MAX: usize = 200;

impl App {
    /// Sweeps at the configured interval until the service is told to end.
    pub async fn sweep_until_shutdown(self) {
        let interval = Duration::from_secs(u64::from(self.config.sweep_interval_s));
        let shutdown = self.ctx.shutdown();
        loop {
            tokio::select! {
                () = shutdown.wait() => return,
                () = tokio::time::sleep(interval) => {}
            }
            match self.sweep().await {
                Ok(0) => {}
                Ok(sessions) => info!(sessions, "expired sessions removed"),
                Err(error) => warn!(%error, "sweep of expired sessions failed, the next one tries again"),
            }
        }
    }

    /// Sweeps once and returns how many sessions went. Several instances may do so at once.
    ///
    /// # Errors
    /// The database fails.
    pub async fn sweep(&self) -> Result<usize> {
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
        self.tx(
            "identity.sweep",
            (),
            |work, ()| async move { store::remove_expired_revocations(&work.tx, work.now).await },
        )
        .await?;
        Ok(swept)
    }
}
