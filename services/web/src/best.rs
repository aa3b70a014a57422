//! Which products sell best, asked in the background: no page waits for the sums of sales, and none fails without them.

use std::sync::Arc;
use std::time::Duration;

use mallard_proto::insight::v1::ListBestSellersRequest;
use mallard_proto::insight::v1::insight_service_client::InsightServiceClient;
use mallard_rpc::{Call, ServiceChannel};
use mallard_runtime::Context;
use mallard_types::Result;
use parking_lot::RwLock;
use tokio::time::{Instant, sleep};

/// Products asked for: more than are shown, because some are no longer sold.
const WANTED: i32 = 24;
const TIMEOUT: Duration = Duration::from_secs(2);

/// Ids of the products that sell best, the best first; none until the first answer.
pub struct BestSellers {
    ctx: Context,
    client: InsightServiceClient<ServiceChannel>,
    interval: Duration,
    ids: RwLock<Arc<Vec<String>>>,
}

impl BestSellers {
    /// Makes an empty list; `interval` is the pause between questions.
    pub fn new(ctx: Context, interval: Duration) -> BestSellers {
        BestSellers { client: ctx.client(), interval, ids: RwLock::default(), ctx }
    }

    /// Returns the ids.
    pub fn ids(&self) -> Arc<Vec<String>> {
        Arc::clone(&self.ids.read())
    }

    /// Asks again and again until shutdown. What was known stays while nobody answers.
    pub async fn keep_fresh(self: Arc<Self>) {
        let shutdown = self.ctx.shutdown();
        loop {
            match self.ask().await {
                Ok(ids) => *self.ids.write() = Arc::new(ids),
                Err(error) => tracing::debug!(%error, "the best sellers are not known"),
            }
            tokio::select! {
                () = sleep(self.interval) => {}
                () = shutdown.wait() => return,
            }
        }
    }

    async fn ask(&self) -> Result<Vec<String>> {
        let call = Call { deadline: Some(Instant::now() + TIMEOUT), ..Call::system(self.ctx.service()) };
        let request = ListBestSellersRequest { limit: WANTED };
        let answer = mallard_rpc::scope(call, self.client.clone().list_best_sellers(request)).await;
        Ok(answer.map_err(mallard_rpc::error)?.into_inner().product_ids)
    }
}
