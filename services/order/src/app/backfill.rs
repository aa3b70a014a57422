//! Lists for their sellers the orders that were paid before there was such a list.

use std::sync::Arc;
use std::time::Duration;

use mallard_db::Tx;
use mallard_types::Result;
use tracing::{info, warn};

use super::App;
use crate::store;

/// Orders of one transaction.
const ROWS_MAX: i64 = 200;
/// Pause after a page that could not be written.
const PAUSE: Duration = Duration::from_secs(5);

/// Works through the orders of before, once in the life of a database, then rests until shutdown. What a crash breaks off
/// goes on where it stood.
pub async fn backfill_until_shutdown(app: Arc<App>) {
    let shutdown = app.context.shutdown();
    tokio::select! {
        () = shutdown.wait() => return,
        () = backfill(&app) => {}
    }
    shutdown.wait().await;
}

async fn backfill(app: &App) {
    loop {
        match next_page(app).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                warn!(%error, "orders could not be listed for their sellers; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    info!("every paid order is listed for its sellers");
}

/// Lists one page; false when there is none left.
async fn next_page(app: &App) -> Result<bool> {
    if store::backfilled_until(&app.db).await?.is_none() {
        return Ok(false);
    }
    app.db.tx("order.backfill", |tx: Tx| async move { store::backfill(&tx, ROWS_MAX).await }).await
}
