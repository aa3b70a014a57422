//! Proto to domain and back.

use std::sync::Arc;

use mallard_proto::Timestamp;
use mallard_proto::cart::v1::cart_service_server::CartService;
use mallard_proto::cart::v1::{
    self as pb, AddLineRequest, CartResponse, ClearCartRequest, GetCartRequest, GetLinesRequest, GetLinesResponse,
    MergeCartRequest, RemoveLineRequest, RemoveOrderedRequest, RemoveOrderedResponse, SetLineRequest,
};
use mallard_proto::common::v1::{Check, RunChecksRequest, RunChecksResponse};
use tonic::{Request, Response, Status};

use crate::app::{Answer, App};
use crate::domain::{LineState, ShownLine};

/// Serves the cart contract.
pub struct Rpc(Arc<App>);

impl Rpc {
    /// Makes the server of an application.
    pub fn new(app: Arc<App>) -> Rpc {
        Rpc(app)
    }
}

#[tonic::async_trait]
impl CartService for Rpc {
    async fn get_cart(&self, request: Request<GetCartRequest>) -> Result<Response<CartResponse>, Status> {
        respond(self.0.get(&request.into_inner().cart_token).await)
    }

    async fn add_line(&self, request: Request<AddLineRequest>) -> Result<Response<CartResponse>, Status> {
        let request = request.into_inner();
        respond(self.0.add_line(request.sku_id, request.quantity, &request.cart_token, request.if_version).await)
    }

    async fn set_line(&self, request: Request<SetLineRequest>) -> Result<Response<CartResponse>, Status> {
        let request = request.into_inner();
        respond(self.0.set_line(request.sku_id, request.quantity, &request.cart_token, request.if_version).await)
    }

    async fn remove_line(&self, request: Request<RemoveLineRequest>) -> Result<Response<CartResponse>, Status> {
        let request = request.into_inner();
        respond(self.0.remove_line(request.sku_id, &request.cart_token, request.if_version).await)
    }

    async fn clear_cart(&self, request: Request<ClearCartRequest>) -> Result<Response<CartResponse>, Status> {
        let request = request.into_inner();
        respond(self.0.clear(&request.cart_token, request.if_version).await)
    }

    async fn merge_cart(&self, request: Request<MergeCartRequest>) -> Result<Response<CartResponse>, Status> {
        respond(self.0.merge(&request.into_inner().cart_token).await)
    }

    async fn get_lines(&self, request: Request<GetLinesRequest>) -> Result<Response<GetLinesResponse>, Status> {
        let saved = self.0.lines(request.into_inner().user_id).await.map_err(mallard_rpc::status)?;
        let Some(saved) = saved else { return Ok(Response::new(GetLinesResponse::default())) };
        let lines =
            saved.cart.lines.into_iter().map(|line| pb::RawLine { sku_id: line.sku_id, quantity: line.quantity });
        Ok(Response::new(GetLinesResponse { lines: lines.collect(), cart_id: saved.id, version: saved.version }))
    }

    async fn remove_ordered(
        &self,
        request: Request<RemoveOrderedRequest>,
    ) -> Result<Response<RemoveOrderedResponse>, Status> {
        let request = request.into_inner();
        let ordered = request.lines.into_iter().map(|line| (line.sku_id, line.quantity)).collect();
        self.0.remove_ordered(request.user_id, request.order_id, ordered).await.map_err(mallard_rpc::status)?;
        Ok(Response::new(RemoveOrderedResponse {}))
    }

    async fn run_checks(&self, _: Request<RunChecksRequest>) -> Result<Response<RunChecksResponse>, Status> {
        mallard_rpc::with_current(|call| call.caller.require_system()).map_err(mallard_rpc::status)?;
        let checks = self.0.run_checks().await.map_err(mallard_rpc::status)?;
        let mut checks: Vec<Check> = checks
            .into_iter()
            .map(|check| Check { name: check.name.to_owned(), ok: check.ok, detail: check.detail })
            .collect();
        checks.extend(self.0.check_events().await.map_err(mallard_rpc::status)?);
        Ok(Response::new(RunChecksResponse { checks }))
    }
}

fn respond(answer: mallard_types::Result<Answer>) -> Result<Response<CartResponse>, Status> {
    let answer = answer.map_err(mallard_rpc::status)?;
    let cart = pb::Cart {
        id: answer.id,
        lines: answer.shown.lines.into_iter().map(line_message).collect(),
        total: Some(answer.shown.total.into()),
        version: answer.version,
        updated_at: answer.updated_at.map(Timestamp::from_micros),
    };
    Ok(Response::new(CartResponse { cart: Some(cart), cart_token: answer.cart_token }))
}

fn line_message(shown: ShownLine) -> pb::CartLine {
    pb::CartLine {
        sku_id: shown.line.sku_id,
        product_id: shown.line.product_id,
        title: shown.title,
        options: shown.options,
        quantity: shown.line.quantity,
        unit_price: Some(shown.unit_price.into()),
        line_total: Some(shown.line_total.into()),
        state: state_message(shown.state).into(),
        available: shown.available,
        added_price: shown.added_price.map(Into::into),
    }
}

fn state_message(state: LineState) -> pb::LineState {
    match state {
        LineState::Ok => pb::LineState::Ok,
        LineState::PriceChanged => pb::LineState::PriceChanged,
        LineState::SoldOut => pb::LineState::SoldOut,
        LineState::Delisted => pb::LineState::Delisted,
    }
}
