//! What every service says of its own workings, put together: flows that wait, and letting a stuck one go on.

use std::time::Duration;

use futures_util::future::join_all;
use mallard_proto::ANSWER_BYTES_MAX;
use mallard_proto::platform::v1::platform_service_client::PlatformServiceClient;
use mallard_proto::platform::v1::{Flow, ListFlowsRequest, UnstickFlowRequest};
use mallard_rpc::{Call, ServiceChannel, current};
use mallard_types::{Error, Result};
use tokio::time::Instant;

use super::App;

/// Longest wait for what one service says. One that says nothing must not hold up what the others say.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Flows listed of each service when nothing is asked, and at most.
const FLOWS_DEFAULT: i32 = 100;
const FLOWS_MAX: i32 = 1_000;

impl App {
    /// Lists flows that wait or are stuck, of one service or of all. A service that does not answer is left out of the whole.
    ///
    /// # Errors
    /// `limit_out_of_range`, `service_not_found`; the service's own error when one service was asked for.
    pub async fn flows(&self, service: &str, stuck_only: bool, limit: i32) -> Result<Vec<Flow>> {
        if !(0..=FLOWS_MAX).contains(&limit) {
            let message = format!("limit must be between 1 and {FLOWS_MAX}");
            return Err(Error::invalid("limit_out_of_range", message).param("limit"));
        }
        let limit = if limit == 0 { FLOWS_DEFAULT } else { limit };
        if !service.is_empty() {
            self.known(service)?;
            return self.flows_of(service, stuck_only, limit).await;
        }
        let asked = self.ctx.services().iter().map(|name| self.flows_of(name, stuck_only, limit));
        let mut flows = Vec::new();
        for (name, answer) in self.ctx.services().iter().zip(join_all(asked).await) {
            match answer {
                Ok(answer) => flows.extend(answer),
                Err(error) => tracing::warn!(%error, service = name, "flows could not be listed"),
            }
        }
        Ok(flows)
    }

    async fn flows_of(&self, service: &str, stuck_only: bool, limit: i32) -> Result<Vec<Flow>> {
        let request = ListFlowsRequest { service: service.to_owned(), stuck_only, limit };
        let mut platform = self.platform(service);
        Ok(soon(platform.list_flows(request)).await.map_err(mallard_rpc::error)?.into_inner().flows)
    }

    /// Lets a stuck flow go on with the state it has; false when it is not stuck. The call travels as the operator's: the
    /// service records who it was, in the transaction that does it.
    ///
    /// # Errors
    /// `service_not_found`, or the service's own.
    pub async fn unstick_flow(&self, service: &str, name: &str, key: &str) -> Result<bool> {
        self.known(service)?;
        let request = UnstickFlowRequest { service: service.to_owned(), name: name.to_owned(), key: key.to_owned() };
        let answer = self.platform(service).unstick_flow(request).await.map_err(mallard_rpc::error)?;
        Ok(answer.into_inner().unstuck)
    }

    fn platform(&self, service: &str) -> PlatformServiceClient<ServiceChannel> {
        PlatformServiceClient::new(self.ctx.channel(service)).max_decoding_message_size(ANSWER_BYTES_MAX)
    }
}

/// Runs a call with little time, and as who asks.
async fn soon<F: Future>(work: F) -> F::Output {
    let now = current();
    let soon = Instant::now() + ANSWER_TIMEOUT;
    let deadline = Some(now.deadline.map_or(soon, |deadline| deadline.min(soon)));
    mallard_rpc::scope(Call { deadline, ..now }, work).await
}
