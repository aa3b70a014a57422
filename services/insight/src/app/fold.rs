//! Facts into sums, many at a time: an order costs one insert when it is heard of, and its share of a few statements here.

use std::sync::Arc;
use std::time::Duration;

use mallard_types::Result;
use tracing::{debug, warn};

use super::App;
use crate::SWITCH_FOLD_TWICE;
use crate::store::FACTS_TOPIC;

/// Pause after a failure.
const FAILED_PAUSE: Duration = Duration::from_millis(500);

impl App {
    /// Folds a batch of facts; returns whether there may be more.
    async fn fold(&self) -> Result<bool> {
        let rows_max = self.config.fold_rows_max.max(1);
        let folded = self.store.fold(rows_max, self.ctx.switch(SWITCH_FOLD_TWICE)).await?;
        Ok(folded == rows_max as usize)
    }
}

/// Folds facts as they come, until shutdown.
pub async fn fold_loop(app: Arc<App>) {
    let shutdown = app.ctx.shutdown();
    let bell = app.store.db().woken(FACTS_TOPIC);
    let linger = Duration::from_millis(app.config.fold_linger_ms);
    let interval = Duration::from_millis(app.config.fold_interval_ms.max(1));
    while !shutdown.is_set() {
        match app.fold().await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => {
                if error.is_retryable() {
                    debug!(%error, "facts were not folded, will try again");
                } else {
                    warn!(%error, "facts were not folded, will try again");
                }
                tokio::select! {
                    () = tokio::time::sleep(FAILED_PAUSE) => continue,
                    () = shutdown.wait() => return,
                }
            }
        }
        tokio::select! {
            () = bell.notified() => {}
            () = tokio::time::sleep(interval) => continue,
            () = shutdown.wait() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(linger) => {}
            () = shutdown.wait() => return,
        }
    }
}
