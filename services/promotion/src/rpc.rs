//! Proto to domain and back.

use std::sync::Arc;

use mallard_proto::Timestamp;
use mallard_proto::promotion::v1::promotion_service_server::PromotionService;
use mallard_proto::promotion::v1::{self as pb, QuoteRequest, QuoteResponse};
use mallard_rpc::Caller;
use mallard_types::{Error, Micros};
use tonic::{Request, Response, Status};

use crate::app::App;
use crate::domain::{Discount, Priced, Quote, Wanted};

/// Serves the promotion contract.
pub struct Rpc(Arc<App>);

impl Rpc {
    /// Makes the server of an application.
    pub fn new(app: Arc<App>) -> Rpc {
        Rpc(app)
    }
}

#[tonic::async_trait]
impl PromotionService for Rpc {
    async fn quote(&self, request: Request<QuoteRequest>) -> Result<Response<QuoteResponse>, Status> {
        let request = request.into_inner();
        mallard_rpc::with_current(|call| check_caller(&call.caller, &request.user_id)).map_err(mallard_rpc::status)?;
        let wanted = request.lines.into_iter().map(wanted).collect();
        let (quote, expires_at) = self.0.quote(wanted, &request.coupon_codes).await.map_err(mallard_rpc::status)?;
        Ok(Response::new(QuoteResponse { quote: Some(quote_message(quote, expires_at)) }))
    }
}

/// Refuses calls without identity, and a user other than the one who asks.
fn check_caller(caller: &Caller, user_id: &str) -> mallard_types::Result<()> {
    caller.require_identity()?;
    if caller.is_system() || user_id.is_empty() || caller.require_user().is_ok_and(|own| own == user_id) {
        return Ok(());
    }
    Err(Error::forbidden("not_your_quote", "a quote is for the user who asks for it").param("user_id"))
}

fn wanted(line: pb::QuoteLineInput) -> Wanted {
    Wanted { sku_id: line.sku_id, quantity: line.quantity, agreed_unit_nanos: line.agreed_unit_price_nanos }
}

fn quote_message(quote: Quote, expires_at: Micros) -> pb::Quote {
    pb::Quote {
        lines: quote.lines.into_iter().map(line_message).collect(),
        subtotal: Some(quote.subtotal.into()),
        discount: Some(quote.discount.into()),
        shipping: Some(quote.shipping.into()),
        tax: Some(quote.tax.into()),
        total: Some(quote.total.into()),
        expires_at: Some(Timestamp::from_micros(expires_at)),
        discounts: quote.discounts.into_iter().map(discount_message).collect(),
    }
}

fn line_message(line: Priced) -> pb::QuoteLine {
    pb::QuoteLine {
        sku_id: line.wanted.sku_id,
        quantity: line.wanted.quantity,
        unit_price: Some(line.unit_price.into()),
        discounts: line.discounts.into_iter().map(discount_message).collect(),
        line_total: Some(line.line_total.into()),
        product_id: line.listing.product_id,
        title: line.listing.title,
        options: line.listing.options,
        seller_id: line.listing.seller_id,
        image_url: line.listing.image_url,
        rounding_nanos: line.rounding_nanos,
        code: line.listing.code,
    }
}

fn discount_message(discount: Discount) -> pb::Discount {
    pb::Discount { promotion_id: discount.promotion_id, label: discount.label, amount: Some(discount.amount.into()) }
}
