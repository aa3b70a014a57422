//! What every service answers about its own workings, beside its contract.

use std::time::Duration;

use mallard_flow::FlowInfo;
use mallard_proto::Timestamp;
use mallard_proto::platform::v1::platform_service_server::PlatformService;
use mallard_proto::platform::v1::{
    Endpoint, Flow, FlowStep, ListBreakersRequest, ListBreakersResponse, ListFlowsRequest, ListFlowsResponse,
    ListSlowCallsRequest, ListSlowCallsResponse, MethodState, SlowCall, UnstickFlowRequest, UnstickFlowResponse,
};
use mallard_rpc::EndpointState;
use mallard_types::{Error, Micros, Result};
use serde_json::json;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::Context;

/// Flows listed when nothing is asked, and at most.
const FLOWS_DEFAULT: usize = 100;
const FLOWS_MAX: i32 = 1_000;

/// Answers operators and the mall itself for one service.
pub(crate) struct Platform {
    ctx: Context,
}

impl Platform {
    pub(crate) fn new(ctx: Context) -> Platform {
        Platform { ctx }
    }

    async fn flows(&self, request: ListFlowsRequest) -> Result<ListFlowsResponse> {
        for_operators()?;
        if !(0..=FLOWS_MAX).contains(&request.limit) {
            let message = format!("limit must be between 1 and {FLOWS_MAX}");
            return Err(Error::invalid("limit_out_of_range", message).param("limit"));
        }
        let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0).unwrap_or(FLOWS_DEFAULT);
        let flows = match self.ctx.try_flows() {
            Some(engine) => engine.list(request.stuck_only, limit).await?,
            None => Vec::new(),
        };
        let flows = flows.into_iter().map(|flow| flow_message(self.ctx.service(), flow)).collect();
        Ok(ListFlowsResponse { flows })
    }

    fn breakers(&self, service: &str) -> Result<ListBreakersResponse> {
        for_operators()?;
        let snapshot = self.ctx.snapshot();
        let (process, now) = (self.ctx.process(), self.ctx.clock().now());
        let is_meant = |of: &str| service.is_empty() || service == of;
        let endpoints = snapshot.endpoints.into_iter().filter(|endpoint| is_meant(&endpoint.service));
        let methods = snapshot.methods.into_iter().filter(|method| is_meant(&method.service));
        Ok(ListBreakersResponse {
            endpoints: endpoints.map(|endpoint| endpoint_message(process, endpoint, now)).collect(),
            methods: methods.map(|method| method_message(process, method)).collect(),
        })
    }

    fn slow_calls(&self) -> Result<ListSlowCallsResponse> {
        for_operators()?;
        let (process, now, clock) = (self.ctx.process(), Instant::now(), self.ctx.clock().now());
        let message = |call: mallard_rpc::SlowCall| {
            let ago = micros(now.saturating_duration_since(call.started));
            SlowCall {
                trace_id: format!("{:032x}", call.trace_id),
                process: process.to_owned(),
                name: call.name,
                started_at: Some(Timestamp::from_micros(clock.saturating_sub(ago))),
                duration_us: micros(call.took).unsigned_abs(),
                outcome: call.outcome.into_owned(),
            }
        };
        Ok(ListSlowCallsResponse { calls: self.ctx.slow_calls().latest().into_iter().map(message).collect() })
    }

    /// Lets a stuck flow go on, and records who did it.
    async fn unstick(&self, request: UnstickFlowRequest) -> Result<bool> {
        for_operators()?;
        let Some(db) = self.ctx.try_db() else { return Ok(false) };
        let (audit, now) = (self.ctx.audit(), self.ctx.clock().now());
        let unstuck = db.tx("flow.unstick", move |tx| {
            let (audit, request) = (audit.clone(), request.clone());
            async move {
                let unstuck = mallard_flow::unstick(&tx, &request.name, &request.key, now).await?;
                if unstuck {
                    let target = format!("{}/{}", request.name, request.key);
                    audit
                        .append(&tx, "flow.unstick", &target, || (json!({ "stuck": true }), json!({ "stuck": false })))
                        .await?;
                }
                Ok::<_, Error>(unstuck)
            }
        });
        unstuck.await
    }
}

#[tonic::async_trait]
impl PlatformService for Platform {
    async fn list_slow_calls(
        &self,
        _: Request<ListSlowCallsRequest>,
    ) -> Result<Response<ListSlowCallsResponse>, Status> {
        answer(self.slow_calls())
    }

    async fn list_flows(&self, request: Request<ListFlowsRequest>) -> Result<Response<ListFlowsResponse>, Status> {
        answer(self.flows(request.into_inner()).await)
    }

    async fn unstick_flow(
        &self,
        request: Request<UnstickFlowRequest>,
    ) -> Result<Response<UnstickFlowResponse>, Status> {
        answer(self.unstick(request.into_inner()).await.map(|unstuck| UnstickFlowResponse { unstuck }))
    }

    async fn list_breakers(
        &self,
        request: Request<ListBreakersRequest>,
    ) -> Result<Response<ListBreakersResponse>, Status> {
        answer(self.breakers(&request.into_inner().service))
    }
}

fn micros(time: Duration) -> Micros {
    Micros::try_from(time.as_micros()).unwrap_or(Micros::MAX)
}

fn answer<T>(result: Result<T>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(mallard_rpc::status)
}

/// Refuses everybody but operators and the mall itself.
fn for_operators() -> Result<()> {
    if mallard_rpc::with_current(|call| call.caller.is_admin() || call.caller.is_system()) {
        return Ok(());
    }
    Err(Error::forbidden("forbidden", "this is for operators"))
}

fn endpoint_message(process: &str, state: EndpointState, now: Micros) -> Endpoint {
    let open_until = state.open_for.map(|left| now + i64::try_from(left.as_micros()).unwrap_or(i64::MAX / 2));
    Endpoint {
        caller: process.to_owned(),
        service: state.service,
        endpoint: state.endpoint,
        version: state.version,
        zone: state.zone,
        weight: state.weight,
        state: state.state.to_owned(),
        reason: state.reason,
        calls: state.calls,
        failed: state.failed,
        slow: state.slow,
        in_flight: state.in_flight,
        average_us: state.average_us,
        open_until: open_until.map(Timestamp::from_micros),
        opened: state.opened,
    }
}

fn method_message(process: &str, state: mallard_rpc::MethodState) -> MethodState {
    MethodState {
        caller: process.to_owned(),
        service: state.service,
        method: state.method,
        state: state.state.to_owned(),
        reason: state.reason,
        calls: state.calls,
        retries: state.retries,
        hedges: state.hedges,
        fallbacks: state.fallbacks,
        rejected: state.rejected,
        policy: state.policy,
    }
}

fn flow_message(service: &str, flow: FlowInfo) -> Flow {
    Flow {
        service: service.to_owned(),
        name: flow.name,
        key: flow.key,
        state: flow.state,
        wake_at: flow.wake_at.map(Timestamp::from_micros),
        attempts: flow.attempts,
        last_error: flow.last_error.unwrap_or_default(),
        stuck: flow.stuck,
        created_at: Some(Timestamp::from_micros(flow.created_at)),
        updated_at: Some(Timestamp::from_micros(flow.updated_at)),
        history: flow.history.into_iter().map(step_message).collect(),
    }
}

fn step_message(step: mallard_flow::Step) -> FlowStep {
    FlowStep { at: Some(Timestamp::from_micros(step.at)), what: step.what.as_str().to_owned(), text: step.text }
}
