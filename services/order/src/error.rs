//! What the service refuses, with kind, code and remedy.

use mallard_types::{Error, Money};
use serde_json::json;

use crate::domain::{RETURNS_MAX, Refusal};

/// No such order, or somebody else's.
pub fn not_found() -> Error {
    Error::not_found("order_not_found", "there is no such order")
}

/// No such return.
pub fn return_not_found() -> Error {
    Error::not_found("return_not_found", "there is no such return")
}

/// The caller sells nothing.
pub fn seller_required() -> Error {
    Error::forbidden("seller_required", "only sellers have orders to ship")
}

/// A parcel with this number and content is in the order's stream already.
pub fn parcel_known(status: &str, tracking_number: &str) -> Error {
    Error::conflict("illegal_transition", "this parcel was recorded before; nothing was shipped again")
        .param("tracking_number")
        .details(json!({ "status": status, "tracking_number": tracking_number }))
}

/// The cart holds nothing and no lines were sent.
pub fn cart_empty() -> Error {
    Error::refused("cart_empty", "the cart is empty; add something or send lines")
}

/// No address was sent.
pub fn address_required() -> Error {
    Error::invalid("address_required", "send address_id or address").param("address_id")
}

/// The total differs from the one the shopper saw, or the goods do.
pub fn price_changed(expected: Money, total: Money, quote: serde_json::Value, goods: &str) -> Error {
    let details = json!({ "quote": quote, "goods": goods });
    if expected == total {
        let message = "the goods are no longer those you saw; look at the new quote and send its goods";
        return Error::conflict("price_changed", message).param("expected_goods").details(details);
    }
    Error::conflict(
        "price_changed",
        format!("the total is no longer {expected}; look at the new quote and send its total"),
    )
    .param("expected_total")
    .details(details)
}

/// This very cart has been ordered already.
pub fn cart_already_ordered(order_id: &str) -> Error {
    Error::conflict("cart_already_ordered", "this cart has been ordered; pay or cancel that order, or change the cart")
        .details(json!({ "order_id": order_id }))
}

/// The same key came with another request.
pub fn idempotency_conflict() -> Error {
    Error::refused("idempotency_conflict", "this Idempotency-Key was used for another request; use a new key")
}

/// The key is missing.
pub fn idempotency_key_required() -> Error {
    Error::invalid("idempotency_key_required", "send an Idempotency-Key header of 1 to 255 characters")
        .param("Idempotency-Key")
}

/// The version sent is not the present one.
pub fn version_mismatch(present: i64) -> Error {
    Error::precondition("version_mismatch", "the order has changed; read it again")
        .details(json!({ "version": present }))
}

/// The card was declined, or another definite no of the payment.
pub fn payment_failed(code: &str, message: &str, order_id: &str, payment_id: &str) -> Error {
    let code = if code.is_empty() { "payment_failed".to_owned() } else { code.to_owned() };
    let message =
        if message.is_empty() { "the payment was declined; try another card".to_owned() } else { message.to_owned() };
    Error::payment_failed(code, message).details(json!({ "order_id": order_id, "payment_id": payment_id }))
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::IllegalTransition { from, verb } => {
                Error::conflict("illegal_transition", format!("you cannot {verb} an order that is {}", from.as_str()))
                    .details(json!({ "status": from.as_str() }))
            }
            Refusal::NothingToShip { from } => {
                Error::conflict("illegal_transition", "nothing of this order is left to ship")
                    .details(json!({ "status": from.as_str() }))
            }
            Refusal::ShipsTooMany { from, sku_id, left } => {
                Error::conflict("illegal_transition", format!("at most {left} of {sku_id} can still be shipped"))
                    .param("lines")
                    .details(json!({ "status": from.as_str(), "sku_id": sku_id, "left": left }))
            }
            Refusal::TooManyReturns => Error::refused(
                "too_many_returns",
                format!("an order has at most {RETURNS_MAX} returns; ask the shop about the rest"),
            ),
            Refusal::ReturnUnknown => return_not_found(),
            Refusal::ReturnDecided { status, verb } => {
                Error::conflict("illegal_transition", format!("you cannot {verb} a return that is {}", status.as_str()))
                    .details(json!({ "status": status.as_str() }))
            }
            Refusal::RefundExceedsPaid { refundable } => Error::refused(
                "refund_exceeds_captured",
                format!("at most {refundable} can still be given back"),
            )
            .param("amount")
            .details(
                json!({ "refundable": { "amount": refundable.amount, "currency": refundable.currency.as_str() } }),
            ),
            Refusal::BadAmount => {
                Error::invalid("amount_invalid", "the amount must be positive and in the order's currency")
                    .param("amount")
            }
            Refusal::ReturnExceedsSold { sku_id, returnable } => {
                Error::refused("return_exceeds_sold", format!("at most {returnable} of {sku_id} can still come back"))
                    .param("lines")
                    .details(json!({ "sku_id": sku_id, "returnable": returnable }))
            }
        }
    }
}
