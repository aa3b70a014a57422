//! Visits, counted in batches by those who show the pages.

use std::sync::Arc;
use std::time::Duration;

use mallard_rpc::with_current;
use mallard_types::Result;
use tracing::warn;

use super::App;
use crate::domain::Visits;

impl App {
    /// Counts a batch of visits; the same one again counts nothing more.
    ///
    /// # Errors
    /// `internal_only`, `visits_out_of_time`, a malformed request.
    pub async fn count_visits(&self, visits: &Visits) -> Result<()> {
        with_current(|call| call.caller.require_system())?;
        visits.check(self.today(), self.config.visits_days_max)?;
        self.store.count_visits(visits).await
    }

    /// Forgets ids of batches that would be refused anyway.
    async fn prune(&self) -> Result<()> {
        // A day more than is counted: another instance's clock may be a little behind at midnight.
        let kept = i64::from(self.config.visits_days_max) + 1;
        self.store.forget_batches(self.today().plus(-kept)).await
    }
}

/// Forgets old batches from time to time, until shutdown.
pub async fn prune_loop(app: Arc<App>) {
    let shutdown = app.ctx.shutdown();
    let interval = Duration::from_secs(app.config.prune_interval_s.max(1));
    while !shutdown.is_set() {
        if let Err(error) = app.prune().await {
            warn!(%error, "old batches of visits were not removed, will try again");
        }
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = shutdown.wait() => {}
        }
    }
}
