//! What every service says of its own workings, put together: flows, breakers, instances; and what this edge lets in.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use mallard_proto::ANSWER_BYTES_MAX;
use mallard_proto::gateway::v1::{GetProtectionResponse, ListBreakersResponse, RateLimit, TierState};
use mallard_proto::platform::v1::platform_service_client::PlatformServiceClient;
use mallard_proto::platform::v1::{
    Endpoint, Flow, ListBreakersRequest, ListFlowsRequest, MethodState, UnstickFlowRequest,
};
use mallard_rpc::{Call, ServiceChannel, current};
use mallard_types::{Error, Result};
use tokio::time::Instant;

use super::App;

/// Longest wait for what one service says. One that says nothing must not hold up what the others say.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Endpoint of a service in the process that calls it.
const LOCAL: &str = "local";
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

    /// Lists the endpoints and methods with policies that the processes of the mall call, as each of them sees them; all, or
    /// those of one service. A process that does not answer is left out.
    ///
    /// # Errors
    /// `service_not_found`.
    pub async fn breakers(&self, service: &str) -> Result<ListBreakersResponse> {
        if !service.is_empty() {
            self.known(service)?;
        }
        let asked = self.ctx.services().iter().map(|name| async {
            let request = ListBreakersRequest { service: service.to_owned() };
            soon(self.platform(name).list_breakers(request)).await.map_err(mallard_rpc::error)
        });
        let mut all = ListBreakersResponse::default();
        // Services of one process share its channels and say the same.
        let (mut endpoints, mut methods) = (BTreeSet::new(), BTreeSet::new());
        for (name, answer) in self.ctx.services().iter().zip(join_all(asked).await) {
            let answer = match answer {
                Ok(answer) => answer.into_inner(),
                Err(error) => {
                    tracing::warn!(%error, service = name, "breakers could not be listed");
                    continue;
                }
            };
            let new = |e: &Endpoint| endpoints.insert((e.caller.clone(), e.service.clone(), e.endpoint.clone()));
            all.endpoints.extend(answer.endpoints.into_iter().filter(new));
            let new = |m: &MethodState| methods.insert((m.caller.clone(), m.service.clone(), m.method.clone()));
            all.methods.extend(answer.methods.into_iter().filter(new));
        }
        Ok(all)
    }

    /// Lists the instances of every service: each address once, as the first process that calls it sees it. A service that
    /// only its own process calls is `local`.
    ///
    /// # Errors
    /// None at present.
    pub async fn instances(&self) -> Result<Vec<Endpoint>> {
        let mut seen = self.breakers("").await?.endpoints;
        let remote: BTreeSet<String> = seen
            .iter()
            .filter(|instance| instance.endpoint != LOCAL)
            .map(|instance| instance.service.clone())
            .collect();
        let mut listed = BTreeSet::new();
        seen.retain(|instance| {
            let is_local = instance.endpoint == LOCAL;
            // What others call by its address is the same instance that its own process calls local.
            let is_listed_by_others = is_local && remote.contains(&instance.service);
            let place = if is_local { &instance.caller } else { &instance.endpoint };
            !is_listed_by_others && listed.insert((instance.service.clone(), place.clone()))
        });
        seen.sort_by(|a, b| (&a.service, &a.endpoint).cmp(&(&b.service, &b.endpoint)));
        Ok(seen)
    }

    /// Shows what this edge lets in and turns away, and which policies it goes by.
    pub fn protection(&self) -> GetProtectionResponse {
        let protection = self.edge.protection();
        let (policy_version, age) = self.policies.age().unwrap_or_default();
        let rate_limits = protection.rate_limits.into_iter().map(|limit| RateLimit {
            name: limit.name,
            rule: limit.rule,
            allowed: limit.allowed,
            limited: limit.limited,
            keys: limit.keys,
        });
        let tiers = protection.tiers.into_iter().map(|tier| TierState {
            name: tier.name.to_owned(),
            admitted: tier.admitted,
            shed: tier.shed,
        });
        GetProtectionResponse {
            rate_limits: rate_limits.collect(),
            tiers: tiers.collect(),
            in_flight: protection.in_flight,
            limit: protection.limit,
            policy_version,
            policy_age_ms: i64::try_from(age.as_millis()).unwrap_or(i64::MAX),
        }
    }

    pub(super) fn platform(&self, service: &str) -> PlatformServiceClient<ServiceChannel> {
        PlatformServiceClient::new(self.ctx.channel(service)).max_decoding_message_size(ANSWER_BYTES_MAX)
    }
}

/// Runs a call with little time, and as who asks.
pub(super) async fn soon<F: Future>(work: F) -> F::Output {
    let now = current();
    let soon = Instant::now() + ANSWER_TIMEOUT;
    let deadline = Some(now.deadline.map_or(soon, |deadline| deadline.min(soon)));
    mallard_rpc::scope(Call { deadline, ..now }, work).await
}
