//! What this service asks of others, in its own words.

use mallard_proto::Timestamp;
use mallard_proto::cart::v1::cart_service_client::CartServiceClient;
use mallard_proto::cart::v1::{GetLinesRequest, RawLine, RemoveOrderedRequest};
use mallard_proto::common::v1::Address as PbAddress;
use mallard_proto::identity::v1::GetAddressRequest;
use mallard_proto::identity::v1::identity_service_client::IdentityServiceClient;
use mallard_proto::inventory::v1 as stock;
use mallard_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use mallard_proto::payment::v1 as pay;
use mallard_proto::payment::v1::payment_service_client::PaymentServiceClient;
use mallard_proto::promotion::v1 as promo;
use mallard_proto::promotion::v1::promotion_service_client::PromotionServiceClient;
use mallard_rpc::{Call, Caller, ServiceChannel};
use mallard_runtime::Context;
use mallard_types::{Error, Kind, Micros, Money, Result};

use crate::convert;
use crate::domain::{Address, Line, Units};

/// A line that a shopper, or an import, wants to buy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedLine {
    pub sku_id: String,
    pub quantity: i64,
    /// Price agreed outside the list, in billionths of the major unit (import).
    pub agreed_unit_price_nanos: Option<i64>,
}

/// Everything that decides a price.
#[derive(Clone, Debug, Default)]
pub struct Basket {
    pub lines: Vec<WantedLine>,
    pub coupon_codes: Vec<String>,
    pub address: Option<Address>,
    pub shipping_method: String,
    pub user_id: String,
}

/// A priced basket.
#[derive(Clone, Debug)]
pub struct Quote {
    pub subtotal: Money,
    pub discount: Money,
    pub shipping: Money,
    pub tax: Money,
    pub total: Money,
    /// The quote as the shopper sees it.
    pub message: promo::Quote,
}

/// What became of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Captured,
    /// Waits for the shopper.
    Pending,
    /// The provider has not given a final answer.
    Unknown,
    Failed {
        code: String,
        message: String,
    },
}

/// A payment as its service tells it.
#[derive(Clone, Debug)]
pub struct Payment {
    pub id: String,
    pub amount: Money,
    pub outcome: Outcome,
    /// The payment as the shopper sees it.
    pub message: pay::Payment,
}

/// What became of a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundAnswer {
    Done,
    /// The provider refused for good.
    Failed,
    /// The provider has not answered for good.
    Unknown,
}

/// A payment to start.
#[derive(Clone, Debug)]
pub struct Charge {
    pub payment_id: String,
    pub order_id: String,
    pub user_id: String,
    pub amount: Money,
    pub method: String,
    pub card_token: String,
    pub rounding_nanos: i64,
}

/// The services an order needs.
#[derive(Clone)]
pub struct Peers {
    cart: CartServiceClient<ServiceChannel>,
    identity: IdentityServiceClient<ServiceChannel>,
    inventory: InventoryServiceClient<ServiceChannel>,
    payment: PaymentServiceClient<ServiceChannel>,
    promotion: PromotionServiceClient<ServiceChannel>,
}

impl Peers {
    /// Takes the clients from the context.
    pub fn new(context: &Context) -> Peers {
        Peers {
            cart: context.client(),
            identity: context.client(),
            inventory: context.client(),
            payment: context.client(),
            promotion: context.client(),
        }
    }

    /// Reads a user's cart: its lines and what names this state of it.
    pub async fn cart_lines(&self, user_id: &str) -> Result<(Vec<WantedLine>, Option<String>)> {
        let answer = self
            .cart
            .clone()
            .get_lines(GetLinesRequest { user_id: user_id.into() })
            .await
            .map_err(mallard_rpc::error)?
            .into_inner();
        let cart_ref = (!answer.cart_id.is_empty()).then(|| format!("{}:{}", answer.cart_id, answer.version));
        let lines = answer
            .lines
            .into_iter()
            .map(|line| WantedLine { sku_id: line.sku_id, quantity: line.quantity, agreed_unit_price_nanos: None })
            .collect();
        Ok((lines, cart_ref))
    }

    /// Takes ordered units out of the user's cart, once per order.
    pub async fn remove_ordered(&self, user_id: &str, order_id: &str, units: &[Units]) -> Result<()> {
        let lines = units.iter().map(|u| RawLine { sku_id: u.sku_id.clone(), quantity: u.quantity }).collect();
        let request = RemoveOrderedRequest { user_id: user_id.into(), order_id: order_id.into(), lines };
        self.cart.clone().remove_ordered(request).await.map_err(mallard_rpc::error)?;
        Ok(())
    }

    /// Reads an address of the caller's book.
    pub async fn address(&self, id: &str) -> Result<Address> {
        let answer = self
            .identity
            .clone()
            .get_address(GetAddressRequest { id: id.into() })
            .await
            .map_err(mallard_rpc::error)?
            .into_inner();
        let found = answer.address.unwrap_or_default();
        Ok(convert::address_from_proto(PbAddress {
            name: found.name,
            phone: found.phone,
            country: found.country,
            province: found.province,
            city: found.city,
            district: found.district,
            street: found.street,
            postal_code: found.postal_code,
        }))
    }

    /// Prices a basket.
    pub async fn quote(&self, basket: &Basket) -> Result<Quote> {
        let request = promo::QuoteRequest {
            lines: basket
                .lines
                .iter()
                .map(|line| promo::QuoteLineInput {
                    sku_id: line.sku_id.clone(),
                    quantity: line.quantity,
                    agreed_unit_price_nanos: line.agreed_unit_price_nanos,
                })
                .collect(),
            coupon_codes: basket.coupon_codes.clone(),
            address: basket.address.as_ref().map(convert::address_to_proto),
            shipping_method: basket.shipping_method.clone(),
            user_id: basket.user_id.clone(),
        };
        let answer = self.promotion.clone().quote(request).await.map_err(mallard_rpc::error)?.into_inner();
        let message =
            answer.quote.ok_or_else(|| Error::internal("bad_answer", "promotion answered without a quote"))?;
        Ok(Quote {
            subtotal: convert::money(message.subtotal.clone())?,
            discount: convert::money(message.discount.clone())?,
            shipping: convert::money(message.shipping.clone())?,
            tax: convert::money(message.tax.clone())?,
            total: convert::money(message.total.clone())?,
            message,
        })
    }

    /// Holds stock for an order: all of it or none.
    pub async fn reserve(&self, order_id: &str, units: &[Units], expires_at: Micros) -> Result<()> {
        let request =
            stock::ReserveRequest { id: order_id.into(), lines: stock_lines(units), expires_at_micros: expires_at };
        // Stock is promised to orders: the shopper's word is not asked for.
        as_mall(self.inventory.clone().reserve(request)).await.map_err(mallard_rpc::error)?;
        Ok(())
    }

    /// Turns held units into sold ones. False when the hold has ended.
    pub async fn confirm(&self, order_id: &str) -> Result<bool> {
        match self
            .inventory
            .clone()
            .confirm(stock::ConfirmRequest { id: order_id.into() })
            .await
            .map_err(mallard_rpc::error)
        {
            Ok(_) => Ok(true),
            Err(error) if error.kind == Kind::Conflict && error.code == "reservation_released" => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives held units back.
    pub async fn release(&self, order_id: &str) -> Result<()> {
        let request = stock::ReleaseRequest { id: order_id.into() };
        as_mall(self.inventory.clone().release(request)).await.map_err(mallard_rpc::error)?;
        Ok(())
    }

    /// Puts sold units back on hand.
    pub async fn return_units(&self, order_id: &str, return_id: &str, units: &[Units], reason: &str) -> Result<()> {
        let request = stock::ReturnRequest {
            id: order_id.into(),
            return_id: return_id.into(),
            lines: stock_lines(units),
            reason: reason.into(),
        };
        self.inventory.clone().r#return(request).await.map_err(mallard_rpc::error)?;
        Ok(())
    }

    /// Turns a card into a token; checks the card on the way.
    pub async fn tokenise(&self, input: pay::PaymentInput) -> Result<String> {
        let request = pay::TokeniseRequest { input: Some(input) };
        Ok(self.payment.clone().tokenise(request).await.map_err(mallard_rpc::error)?.into_inner().card_token)
    }

    /// Starts a payment; for a card the answer is usually final.
    pub async fn charge(&self, charge: &Charge) -> Result<Payment> {
        let request = pay::StartPaymentRequest {
            payment_id: charge.payment_id.clone(),
            order_id: charge.order_id.clone(),
            user_id: charge.user_id.clone(),
            amount: Some(charge.amount.into()),
            method: charge.method.clone(),
            card_token: charge.card_token.clone(),
            rounding_nanos: charge.rounding_nanos,
        };
        let answer = self.payment.clone().start_payment(request).await.map_err(mallard_rpc::error)?.into_inner();
        payment(
            answer.payment.ok_or_else(|| Error::internal("bad_answer", "payment answered without a payment"))?,
            false,
        )
    }

    /// Asks what became of an order's payments.
    pub async fn resolve(&self, order_id: &str) -> Result<Option<Payment>> {
        let request = pay::ResolvePaymentRequest { order_id: order_id.into() };
        let answer = self.payment.clone().resolve_payment(request).await.map_err(mallard_rpc::error)?.into_inner();
        answer.payment.map(|message| payment(message, answer.unknown)).transpose()
    }

    /// Ends an order's payments and gives back what was captured. False while the provider has not answered for good.
    pub async fn close_payments(&self, order_id: &str, reason: &str) -> Result<bool> {
        let request = pay::CloseOrderPaymentsRequest { order_id: order_id.into(), reason: reason.into() };
        Ok(!self.payment.clone().close_order_payments(request).await.map_err(mallard_rpc::error)?.into_inner().unknown)
    }

    /// Gives money back.
    pub async fn refund(&self, request: pay::RefundOrderRequest) -> Result<RefundAnswer> {
        let answer = self.payment.clone().refund_order(request).await.map_err(mallard_rpc::error)?.into_inner();
        Ok(match answer.refund.map(|refund| refund.status()) {
            Some(pay::RefundStatus::Succeeded) => RefundAnswer::Done,
            Some(pay::RefundStatus::Failed) => RefundAnswer::Failed,
            Some(pay::RefundStatus::Pending) | None => RefundAnswer::Unknown,
        })
    }
}

/// Runs a call as the mall itself, with everything else as it is in the present one.
async fn as_mall<F: Future>(work: F) -> F::Output {
    mallard_rpc::scope(Call { caller: Caller::system("order"), ..mallard_rpc::current() }, work).await
}

/// Makes the order's lines of a quote.
pub fn lines_of(quote: &promo::Quote, mut line_id: impl FnMut() -> String) -> Result<Vec<Line>> {
    quote
        .lines
        .iter()
        .map(|line| {
            let unit_price = convert::money(line.unit_price.clone())?;
            let discounts =
                line.discounts.iter().map(|d| convert::money(d.amount.clone())).collect::<Result<Vec<_>>>()?;
            Ok(Line {
                id: line_id(),
                sku_id: line.sku_id.clone(),
                product_id: line.product_id.clone(),
                seller_id: line.seller_id.clone(),
                title: line.title.clone(),
                options: line.options.clone(),
                quantity: line.quantity,
                unit_price,
                discount: Money::sum(unit_price.currency, discounts)?,
                line_total: convert::money(line.line_total.clone())?,
                image_url: line.image_url.clone(),
                code: line.code.clone(),
                rounding_nanos: line.rounding_nanos,
                returned: 0,
                shipped: 0,
                returned_sent: 0,
            })
        })
        .collect()
}

fn payment(message: pay::Payment, unknown: bool) -> Result<Payment> {
    use pay::PaymentStatus as S;
    let outcome = match message.status() {
        S::Captured | S::PartiallyRefunded | S::Refunded => Outcome::Captured,
        S::Failed | S::Cancelled => {
            let failure = message.failure.clone().unwrap_or_default();
            Outcome::Failed { code: failure.code, message: failure.message }
        }
        S::Pending | S::Authorised if unknown || message.method == "card" => Outcome::Unknown,
        S::Pending | S::Authorised => Outcome::Pending,
    };
    Ok(Payment { id: message.id.clone(), amount: convert::money(message.amount.clone())?, outcome, message })
}

fn stock_lines(units: &[Units]) -> Vec<stock::Line> {
    units.iter().map(|u| stock::Line { sku_id: u.sku_id.clone(), quantity: u.quantity }).collect()
}

/// Formats a time for the answer of a refund.
pub fn timestamp(at: Micros) -> Option<Timestamp> {
    Some(Timestamp::from_micros(at))
}
