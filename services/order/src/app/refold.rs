//! Brings in line what an older program wrote: everything of before this one was installed, and while both run what the older
//! one goes on writing.

use std::sync::Arc;
use std::time::Duration;

use mallard_db::Tx;
use mallard_types::Result;
use tracing::{info, warn};

use super::App;
use crate::store::{self, Refolded};

/// Orders of one transaction.
const ROWS_MAX: i64 = 100;
/// Pause between two looks for what an older program wrote: one small read of an index that is empty most of the time.
const INTERVAL: Duration = Duration::from_secs(1);
/// Pause after a page that could not be written.
const FAILED_PAUSE: Duration = Duration::from_secs(5);

/// Works until shutdown. What a crash breaks off goes on where it stood.
pub async fn refold_until_shutdown(app: Arc<App>) {
    let shutdown = app.context.shutdown();
    let mut told = Vec::new();
    while !shutdown.is_set() {
        let pause = match refold_all(&app, &mut told).await {
            Ok(()) => INTERVAL,
            Err(error) => {
                warn!(%error, "orders that an older program wrote could not be brought in line; trying again");
                FAILED_PAUSE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.wait() => return,
        }
    }
}

/// Goes through all there are; `told` are those whose stream makes no order, which are told once.
async fn refold_all(app: &App, told: &mut Vec<String>) -> Result<()> {
    let (mut after_id, mut done) = (String::new(), 0);
    let shutdown = app.context.shutdown();
    while !shutdown.is_set() {
        let ids = store::unfolded(&app.db, &after_id, ROWS_MAX).await?;
        let Some(last) = ids.last().cloned() else { break };
        let shared = Arc::new(ids);
        let ids = shared.clone();
        let page = app.db.tx("order.refold", move |tx: Tx| {
            let ids = shared.clone();
            async move {
                let mut results = Vec::with_capacity(ids.len());
                for id in ids.iter() {
                    results.push(store::refold(&tx, id).await?);
                }
                Ok::<_, mallard_types::Error>(results)
            }
        });
        for (id, result) in ids.iter().zip(page.await?) {
            match result {
                Refolded::Done(_) => done += 1,
                // It comes again, at once or with the next look.
                Refolded::Moved => {}
                Refolded::Broken if told.contains(id) => {}
                Refolded::Broken => {
                    warn!(order_id = id, "the stream of an order that an older program wrote makes no order");
                    told.push(id.clone());
                }
            }
        }
        after_id = last;
    }
    if done > 0 {
        info!(orders = done, "orders that an older program wrote are in line with their streams");
    }
    Ok(())
}
