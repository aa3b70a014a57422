//! The gateway's own contract.

use std::sync::Arc;

use mallard_proto::gateway::v1::gateway_service_server::GatewayService;
use mallard_proto::gateway::v1::*;
use mallard_types::Error;
use tonic::{Request, Response, Status};

use crate::app::App;

/// Answers operators and the mall itself.
pub struct Rpc(Arc<App>);

impl Rpc {
    /// Makes the server.
    pub fn new(app: Arc<App>) -> Rpc {
        Rpc(app)
    }
}

fn for_operators() -> Result<(), Status> {
    if mallard_rpc::with_current(|call| call.caller.is_admin() || call.caller.is_system()) {
        return Ok(());
    }
    Err(mallard_rpc::status(Error::forbidden("forbidden", "this is for operators")))
}

#[tonic::async_trait]
impl GatewayService for Rpc {
    async fn list_traces(&self, request: Request<ListTracesRequest>) -> Result<Response<ListTracesResponse>, Status> {
        for_operators()?;
        let traces = self.0.traces(request.into_inner().limit).await.map_err(mallard_rpc::status)?;
        Ok(Response::new(ListTracesResponse { traces }))
    }

    async fn check(&self, _: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        for_operators()?;
        Ok(Response::new(self.0.check().await))
    }

    async fn list_services(&self, _: Request<ListServicesRequest>) -> Result<Response<ListServicesResponse>, Status> {
        for_operators()?;
        Ok(Response::new(ListServicesResponse { services: self.0.services().await }))
    }

    async fn list_dead_letters(
        &self,
        request: Request<ListDeadLettersRequest>,
    ) -> Result<Response<ListDeadLettersResponse>, Status> {
        for_operators()?;
        let request = request.into_inner();
        let dead_letters = self.0.dead_letters(&request.service, request.limit).await.map_err(mallard_rpc::status)?;
        Ok(Response::new(ListDeadLettersResponse { dead_letters }))
    }

    async fn retry_dead_letter(
        &self,
        request: Request<RetryDeadLetterRequest>,
    ) -> Result<Response<RetryDeadLetterResponse>, Status> {
        for_operators()?;
        let request = request.into_inner();
        let retried = self.0.retry_dead_letter(&request.service, &request.event_id).await;
        Ok(Response::new(RetryDeadLetterResponse { applied: retried.map_err(mallard_rpc::status)? }))
    }

    async fn list_breakers(
        &self,
        request: Request<ListBreakersRequest>,
    ) -> Result<Response<ListBreakersResponse>, Status> {
        for_operators()?;
        let breakers = self.0.breakers(&request.into_inner().service).await.map_err(mallard_rpc::status)?;
        Ok(Response::new(breakers))
    }

    async fn list_instances(
        &self,
        _: Request<ListInstancesRequest>,
    ) -> Result<Response<ListInstancesResponse>, Status> {
        for_operators()?;
        let instances = self.0.instances().await.map_err(mallard_rpc::status)?;
        Ok(Response::new(ListInstancesResponse { instances }))
    }

    async fn get_protection(
        &self,
        _: Request<GetProtectionRequest>,
    ) -> Result<Response<GetProtectionResponse>, Status> {
        for_operators()?;
        Ok(Response::new(self.0.protection()))
    }

    async fn list_flows(&self, request: Request<ListFlowsRequest>) -> Result<Response<ListFlowsResponse>, Status> {
        for_operators()?;
        let request = request.into_inner();
        let flows = self.0.flows(&request.service, request.stuck, request.limit).await;
        Ok(Response::new(ListFlowsResponse { flows: flows.map_err(mallard_rpc::status)? }))
    }

    async fn unstick_flow(
        &self,
        request: Request<UnstickFlowRequest>,
    ) -> Result<Response<UnstickFlowResponse>, Status> {
        for_operators()?;
        let request = request.into_inner();
        let unstuck = self.0.unstick_flow(&request.service, &request.name, &request.key).await;
        Ok(Response::new(UnstickFlowResponse { unstuck: unstuck.map_err(mallard_rpc::status)? }))
    }
}
