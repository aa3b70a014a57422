//! The timer that leaves nothing unsettled: payments and refunds without a final answer are asked about again, with
//! back-off, until there is one. It needs no flow engine because the rows themselves say what is due and when; any number of
//! instances may do it at once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tracing::warn;

use crate::app::App;

/// Rows settled at the same time.
const PARALLEL_MAX: usize = 8;

/// Looks for what is due until the process stops.
pub async fn settle_until_shutdown(app: Arc<App>) {
    let shutdown = app.ctx.shutdown();
    let interval = Duration::from_millis(u64::from(app.config.sweep_interval_ms));
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            () = tokio::time::sleep(interval) => {}
        }
        let call = mallard_rpc::Call::system(crate::NAME);
        tokio::select! {
            () = shutdown.wait() => return,
            () = mallard_rpc::scope(call, settle_due(&app)) => {}
        }
    }
}

/// Brings forward everything that is due now, one look's worth.
pub async fn settle_due(app: &App) {
    app.forget_old_cards();
    let due = match app.due().await {
        Ok(due) => due,
        Err(error) => {
            warn!(%error, "could not look for unsettled payments");
            return;
        }
    };
    stream::iter(due).for_each_concurrent(PARALLEL_MAX, |due| app.bring_forward(due)).await;
}
