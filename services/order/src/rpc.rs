//! Messages to use cases and back.

use std::sync::Arc;

use mallard_proto::common::v1::{RunChecksRequest, RunChecksResponse};
use mallard_proto::order::v1::order_service_server::OrderService;
use mallard_proto::order::v1::*;
use mallard_proto::payment::v1::{PaymentInput, Refund as RefundMessage, RefundStatus};
use mallard_types::{Error, Result};
use tonic::{Request, Response, Status};

use crate::app::{App, Page, PayWith, PlaceInput, Placed, RefundInput, Refunded, ReturnsPage, ShipInput, goods_of};
use crate::convert;
use crate::domain::{Order, Return};
use crate::peers::{Basket, WantedLine, timestamp};

/// Room for the largest real order and its answer.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

type Answer<T> = Result<Response<T>, Status>;

/// The service's RPCs.
pub struct Rpc {
    app: Arc<App>,
}

impl Rpc {
    /// Puts RPCs before the use cases.
    pub fn new(app: Arc<App>) -> Rpc {
        Rpc { app }
    }

    /// Replaces a card by its token, so that no other line of this service sees the number.
    async fn pay_with(&self, input: Option<PaymentInput>) -> Result<PayWith> {
        let input = input.ok_or_else(|| Error::invalid("required", "say how you pay").param("payment"))?;
        let method = input.method.clone();
        match method.as_str() {
            "card" if input.card_token.is_empty() => {
                Ok(PayWith { method, card_token: self.app.peers.tokenise(input).await? })
            }
            "card" => Ok(PayWith { method, card_token: input.card_token }),
            "external" if !mallard_rpc::current().caller.is_system() => Err(unknown_method(&method)),
            "later" | "external" => Ok(PayWith { method, card_token: String::new() }),
            "alipay" | "wechat_pay" | "balance" => Err(Error::refused(
                "payment_method_unavailable",
                format!("{method} is not offered here; use card or later"),
            )
            .param("payment.method")),
            "" => Err(Error::invalid("required", "say how you pay").param("payment.method")),
            _ => Err(unknown_method(&method)),
        }
    }
}

fn unknown_method(method: &str) -> Error {
    Error::invalid("payment_method_unknown", format!("there is no payment method {method}; use card or later"))
        .param("payment.method")
}

#[tonic::async_trait]
impl OrderService for Rpc {
    async fn quote(&self, request: Request<QuoteRequest>) -> Answer<QuoteResponse> {
        let request = request.into_inner();
        let basket = Basket {
            coupon_codes: request.coupon_codes,
            address: request.address.map(convert::address_from_proto),
            shipping_method: request.shipping_method,
            ..Basket::default()
        };
        let quote =
            self.app.quote(wanted(request.lines), basket, &request.address_id).await.map_err(mallard_rpc::status)?;
        let goods = goods_of(&quote.message);
        Ok(Response::new(QuoteResponse { quote: Some(quote.message), goods }))
    }

    async fn place_order(&self, request: Request<PlaceOrderRequest>) -> Answer<PlaceOrderResponse> {
        let request = request.into_inner();
        let place = async {
            let expected = request
                .expected_total
                .ok_or_else(|| Error::invalid("required", "send the total you saw").param("expected_total"))?;
            let expected_total = expected.try_into().map_err(|e: Error| e.param("expected_total.currency"))?;
            let pay = self.pay_with(request.payment).await?;
            self.app
                .place(PlaceInput {
                    lines: wanted(request.lines),
                    address_id: request.address_id,
                    address: request.address.map(convert::address_from_proto),
                    coupon_codes: request.coupon_codes,
                    shipping_method: request.shipping_method,
                    expected_total,
                    expected_goods: request.expected_goods,
                    note: request.note,
                    pay,
                    idempotency_key: request.idempotency_key,
                    on_behalf_of: request.on_behalf_of,
                    reference: request.reference,
                    customer: request.customer,
                })
                .await
        };
        let Placed { order, payment } = place.await.map_err(mallard_rpc::status)?;
        Ok(Response::new(PlaceOrderResponse {
            order: Some(convert::order_to_proto(&order)),
            payment: payment.map(|p| p.message),
        }))
    }

    async fn list_orders(&self, request: Request<ListOrdersRequest>) -> Answer<ListOrdersResponse> {
        let r = request.into_inner();
        answer_page(self.app.list(&r.status, r.limit, &r.cursor, r.count).await)
    }

    async fn get_order(&self, request: Request<GetOrderRequest>) -> Answer<GetOrderResponse> {
        let order = self.app.get(&request.into_inner().id).await.map_err(mallard_rpc::status)?;
        Ok(Response::new(GetOrderResponse { order: Some(convert::order_to_proto(&order)) }))
    }

    async fn list_order_events(&self, request: Request<ListOrderEventsRequest>) -> Answer<ListOrderEventsResponse> {
        answer_events(self.app.events(&request.into_inner().id).await)
    }

    async fn cancel_order(&self, request: Request<CancelOrderRequest>) -> Answer<CancelOrderResponse> {
        let r = request.into_inner();
        let order = self.app.cancel(&r.id, &r.reason, r.if_version).await.map_err(mallard_rpc::status)?;
        Ok(Response::new(CancelOrderResponse { order: Some(convert::order_to_proto(&order)) }))
    }

    async fn update_order(&self, request: Request<UpdateOrderRequest>) -> Answer<UpdateOrderResponse> {
        let r = request.into_inner();
        let Some(address) = r.address else {
            return Err(mallard_rpc::status(Error::invalid("required", "send the new address").param("address")));
        };
        let address = convert::address_from_proto(address);
        let order = self.app.change_address(&r.id, address, r.if_version).await.map_err(mallard_rpc::status)?;
        Ok(Response::new(UpdateOrderResponse { order: Some(convert::order_to_proto(&order)) }))
    }

    async fn pay_order(&self, request: Request<PayOrderRequest>) -> Answer<PayOrderResponse> {
        let r = request.into_inner();
        let pay = async {
            // Whose order it is comes before what is wrong with the card.
            self.app.get(&r.id).await?;
            let pay = self.pay_with(r.payment).await?;
            self.app.pay(&r.id, pay, &r.idempotency_key, r.if_version).await
        };
        let Placed { order, payment } = pay.await.map_err(mallard_rpc::status)?;
        Ok(Response::new(PayOrderResponse {
            order: Some(convert::order_to_proto(&order)),
            payment: payment.map(|p| p.message),
        }))
    }

    async fn admin_list_orders(&self, request: Request<AdminListOrdersRequest>) -> Answer<ListOrdersResponse> {
        let r = request.into_inner();
        answer_page(self.app.admin_list(&r.status, &r.user_id, &r.number, r.limit, &r.cursor, r.count).await)
    }

    async fn admin_get_order(&self, request: Request<GetOrderRequest>) -> Answer<AdminOrderResponse> {
        answer_order(self.app.admin_get(&request.into_inner().id).await)
    }

    async fn admin_list_order_events(
        &self,
        request: Request<ListOrderEventsRequest>,
    ) -> Answer<ListOrderEventsResponse> {
        answer_events(self.app.admin_events(&request.into_inner().id).await)
    }

    async fn admin_cancel_order(&self, request: Request<CancelOrderRequest>) -> Answer<AdminOrderResponse> {
        let r = request.into_inner();
        answer_order(self.app.admin_cancel(&r.id, &r.reason, r.if_version).await)
    }

    async fn admin_ship_order(&self, request: Request<AdminShipOrderRequest>) -> Answer<AdminOrderResponse> {
        answer_order(self.app.ship(parcel(request.into_inner())).await)
    }

    async fn admin_deliver_order(&self, request: Request<AdminDeliverOrderRequest>) -> Answer<AdminOrderResponse> {
        let r = request.into_inner();
        answer_order(self.app.deliver(&r.id, r.if_version).await)
    }

    async fn admin_refund_order(&self, request: Request<AdminRefundOrderRequest>) -> Answer<AdminRefundOrderResponse> {
        let r = request.into_inner();
        let refund = async {
            let amount = r.amount.map(|m| m.try_into().map_err(|e: Error| e.param("amount.currency"))).transpose()?;
            self.app
                .refund(RefundInput {
                    order_id: r.id,
                    amount,
                    reason: r.reason,
                    idempotency_key: r.idempotency_key,
                    units: r.lines.into_iter().map(convert::units_from_proto).collect(),
                    reference: r.reference,
                    customer: r.customer,
                    country: r.country,
                    lines: r.refund_lines,
                    if_version: r.if_version,
                    units_sent: r.units_sent,
                })
                .await
        };
        let refunded = refund.await.map_err(mallard_rpc::status)?;
        Ok(Response::new(AdminRefundOrderResponse {
            order: Some(convert::order_to_proto(&refunded.order)),
            refund: Some(refund_message(refunded)),
        }))
    }

    async fn seller_list_orders(&self, request: Request<SellerListOrdersRequest>) -> Answer<ListOrdersResponse> {
        let r = request.into_inner();
        let list = async {
            let (page, seller_id) = self.app.seller_list(r.to_ship, r.limit, &r.cursor).await?;
            let orders = page.orders.iter().map(|order| convert::order_to_seller(order, &seller_id));
            Ok(ListOrdersResponse {
                orders: orders.collect::<Result<_>>()?,
                next_cursor: page.next_cursor,
                count: None,
            })
        };
        Ok(Response::new(list.await.map_err(mallard_rpc::status)?))
    }

    async fn seller_get_order(&self, request: Request<GetOrderRequest>) -> Answer<AdminOrderResponse> {
        answer_seller(self.app.seller_get(&request.into_inner().id).await)
    }

    async fn seller_ship_order(&self, request: Request<AdminShipOrderRequest>) -> Answer<AdminOrderResponse> {
        answer_seller(self.app.seller_ship(parcel(request.into_inner())).await)
    }

    async fn create_return(&self, request: Request<CreateReturnRequest>) -> Answer<ReturnResponse> {
        let r = request.into_inner();
        let units = r.lines.into_iter().map(convert::units_from_proto).collect();
        answer_return(self.app.request_return(&r.id, units, &r.reason, &r.idempotency_key).await)
    }

    async fn list_order_returns(&self, request: Request<ListOrderReturnsRequest>) -> Answer<ListReturnsResponse> {
        answer_returns(self.app.order_returns(&request.into_inner().id).await)
    }

    async fn admin_list_returns(&self, request: Request<AdminListReturnsRequest>) -> Answer<ListReturnsResponse> {
        let r = request.into_inner();
        answer_returns(self.app.admin_returns(&r.status, r.limit, &r.cursor).await)
    }

    async fn admin_approve_return(&self, request: Request<AdminApproveReturnRequest>) -> Answer<ReturnResponse> {
        let r = request.into_inner();
        answer_return(self.app.approve_return(&r.id, &r.idempotency_key).await)
    }

    async fn admin_refuse_return(&self, request: Request<AdminRefuseReturnRequest>) -> Answer<ReturnResponse> {
        let r = request.into_inner();
        answer_return(self.app.refuse_return(&r.id, &r.answer).await)
    }

    async fn scan_orders(&self, request: Request<ScanOrdersRequest>) -> Answer<ScanOrdersResponse> {
        let r = request.into_inner();
        let orders = self.app.scan(&r.after_id, r.limit).await.map_err(mallard_rpc::status)?;
        Ok(Response::new(ScanOrdersResponse { orders: orders.iter().map(convert::order_to_proto).collect() }))
    }

    async fn run_checks(&self, _: Request<RunChecksRequest>) -> Answer<RunChecksResponse> {
        let checks = crate::checks::run(&self.app).await.map_err(mallard_rpc::status)?;
        Ok(Response::new(RunChecksResponse { checks }))
    }
}

fn wanted(lines: Vec<LineInput>) -> Vec<WantedLine> {
    lines
        .into_iter()
        .map(|l| WantedLine {
            sku_id: l.sku_id,
            quantity: l.quantity,
            agreed_unit_price_nanos: l.agreed_unit_price_nanos,
        })
        .collect()
}

fn answer_order(order: Result<Order>) -> Answer<AdminOrderResponse> {
    let order = order.map_err(mallard_rpc::status)?;
    Ok(Response::new(AdminOrderResponse { order: Some(convert::order_to_proto(&order)) }))
}

fn parcel(r: AdminShipOrderRequest) -> ShipInput {
    ShipInput {
        order_id: r.id,
        carrier: r.carrier,
        tracking_number: r.tracking_number,
        units: r.lines.into_iter().map(convert::units_from_proto).collect(),
        if_version: r.if_version,
    }
}

fn answer_seller(answer: Result<(Order, String)>) -> Answer<AdminOrderResponse> {
    let order = answer.and_then(|(order, seller_id)| convert::order_to_seller(&order, &seller_id));
    Ok(Response::new(AdminOrderResponse { order: Some(order.map_err(mallard_rpc::status)?) }))
}

fn answer_return(answer: Result<(Order, Return)>) -> Answer<ReturnResponse> {
    let (order, of) = answer.map_err(mallard_rpc::status)?;
    Ok(Response::new(ReturnResponse { r#return: Some(convert::return_to_proto(&order, &of)) }))
}

fn answer_returns(page: Result<ReturnsPage>) -> Answer<ListReturnsResponse> {
    let page = page.map_err(mallard_rpc::status)?;
    Ok(Response::new(ListReturnsResponse {
        returns: page.returns.iter().map(|(order, of)| convert::return_to_proto(order, of)).collect(),
        next_cursor: page.next_cursor,
    }))
}

fn answer_page(page: Result<Page>) -> Answer<ListOrdersResponse> {
    let page = page.map_err(mallard_rpc::status)?;
    Ok(Response::new(ListOrdersResponse {
        orders: page.orders.iter().map(convert::order_to_proto).collect(),
        next_cursor: page.next_cursor,
        count: page.count,
    }))
}

fn answer_events(events: Result<Vec<(String, crate::domain::Event)>>) -> Answer<ListOrderEventsResponse> {
    let events = events.map_err(mallard_rpc::status)?;
    Ok(Response::new(ListOrderEventsResponse {
        events: events.iter().map(|(id, event)| convert::event_to_proto(id, event)).collect(),
    }))
}

fn refund_message(refunded: Refunded) -> RefundMessage {
    RefundMessage {
        id: refunded.refund_id,
        payment_id: refunded.order.payment_id.clone(),
        order_id: refunded.order.id.clone(),
        amount: Some(refunded.amount.into()),
        status: if refunded.done { RefundStatus::Succeeded } else { RefundStatus::Pending } as i32,
        reason: refunded.reason,
        created_at: timestamp(refunded.requested_at),
        ..RefundMessage::default()
    }
}
