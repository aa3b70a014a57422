//! The service's errors: kind, code, sentence. The public error table is made from these.

use mallard_types::{Error, Money};
use serde_json::json;

/// Code of the refusal that a capture, refund or cancellation meets in the wrong state.
pub const ILLEGAL_TRANSITION: &str = "illegal_transition";

/// The number has other characters than digits, a wrong length or a wrong check digit.
pub fn card_number_invalid() -> Error {
    Error::invalid("card_number_invalid", "the card number is not valid; check its digits").param("payment.number")
}

/// The cvc is not three digits (American Express: four).
pub fn card_cvc_invalid() -> Error {
    Error::invalid("card_cvc_invalid", "the security code must be 3 digits, 4 for American Express")
        .param("payment.cvc")
}

/// The expiry month is over.
pub fn card_expired() -> Error {
    Error::invalid("card_expired", "the card has expired; use another one").param("payment.exp_year")
}

/// The expiry is no month, or too far ahead. `param` names the field at fault.
pub fn card_expiry_invalid(param: &'static str) -> Error {
    Error::invalid("card_expiry_invalid", "the expiry must be a month from 1 to 12 and at most 20 years ahead")
        .param(param)
}

/// A real card in a demo shop.
pub fn test_card_required() -> Error {
    Error::refused("test_card_required", "this is a demo shop: use a public test card such as 4242 4242 4242 4242")
        .param("payment.number")
}

/// A test card in a real shop.
pub fn test_card_refused() -> Error {
    Error::refused("test_card_refused", "test cards are accepted in demo mode only").param("payment.number")
}

/// No card came with a card payment.
pub fn card_token_required() -> Error {
    Error::invalid("card_token_required", "a card payment needs a card").param("payment.card_token")
}

/// The card was entered too long ago, or the process that kept it has restarted.
pub fn card_token_expired() -> Error {
    Error::refused("card_token_expired", "the card was entered too long ago; enter it again")
        .param("payment.card_token")
}

/// Too many cards wait for their payment.
pub fn too_many_cards() -> Error {
    Error::unavailable("too_many_cards", "too many payments at once; try again in a moment").retry_after_ms(1_000)
}

/// A word that names no way to pay.
pub fn payment_method_invalid() -> Error {
    Error::invalid("payment_method_invalid", "the payment method must be card or later").param("payment.method")
}

/// A way to pay that this mall does not offer to this caller.
pub fn payment_method_unavailable() -> Error {
    Error::refused("payment_method_unavailable", "this payment method is not available; pay by card")
        .param("payment.method")
}

/// An amount that is missing or not positive.
pub fn amount_invalid() -> Error {
    Error::invalid("amount_invalid", "the amount must be positive").param("amount")
}

/// The order is paid in another currency.
pub fn currency_mismatch() -> Error {
    Error::refused("currency_mismatch", "the currency is not the one this order is paid in").param("amount.currency")
}

/// The order costs another amount.
pub fn amount_mismatch() -> Error {
    Error::refused("amount_mismatch", "the amount is not what this order costs").param("amount")
}

/// A field that must be there is empty.
pub fn required(param: &'static str) -> Error {
    Error::invalid("required", "this field is required").param(param)
}

/// A text or list beyond its limit.
pub fn too_long(param: &'static str) -> Error {
    Error::invalid("too_long", "this field is too long").param(param)
}

/// A status nobody knows in a filter.
pub fn status_invalid() -> Error {
    Error::invalid("status_invalid", "the status is not one of a payment's").param("status")
}

/// The order takes no more payments.
pub fn order_payments_closed() -> Error {
    Error::refused("order_payments_closed", "this order takes no more payments")
}

/// Another attempt to pay this order has no final answer yet.
pub fn payment_in_progress() -> Error {
    Error::conflict("payment_in_progress", "another payment of this order is being processed").retry_after_ms(1_000)
}

/// The provider has not said what became of the payment.
pub fn payment_unknown() -> Error {
    Error::unavailable("payment_unknown", "the payment provider has not answered; try again in a moment")
        .retry_after_ms(1_000)
}

/// Somebody else kept changing the same payment.
pub fn payment_busy() -> Error {
    Error::unavailable("payment_busy", "the payment is being changed by somebody else; try again").retry_after_ms(100)
}

/// There is no such payment, or it is somebody else's.
pub fn payment_not_found() -> Error {
    Error::not_found("payment_not_found", "there is no such payment")
}

/// A move the payment's state does not allow.
pub fn illegal_transition(status: &str, verb: &str) -> Error {
    Error::conflict(ILLEGAL_TRANSITION, format!("a payment that is {status} cannot be {verb}"))
}

/// More would be given back than was captured.
pub fn refund_exceeds_captured(refundable: Money) -> Error {
    let left = json!({"refundable": {"amount": refundable.amount, "currency": refundable.currency.as_str()}});
    Error::refused("refund_exceeds_captured", format!("at most {refundable} can be given back"))
        .param("amount")
        .details(left)
}

/// An idempotency id that came before with other content.
pub fn idempotency_conflict(param: &'static str) -> Error {
    Error::refused("idempotency_conflict", "this id was used before for something else").param(param)
}

/// The caller is neither an operator nor the mall itself.
pub fn operators_only() -> Error {
    Error::forbidden("forbidden", "only operators may do this")
}

/// A row holds what the code never writes.
pub fn broken_row(what: &str) -> Error {
    Error::internal("broken_row", format!("a stored {what} cannot be read"))
}

/// Returns the sentence a shopper reads for a decline code.
pub fn decline_sentence(code: &str) -> &'static str {
    match code {
        "insufficient_funds" => "The card has insufficient funds.",
        "expired_card" => "The card has expired.",
        "incorrect_cvc" => "The card's security code is incorrect.",
        "lost_card" | "stolen_card" | "card_declined" => "The card was declined.",
        "provider_no_answer" => "The payment provider did not take the payment. Nothing was charged.",
        _ => "The payment was declined.",
    }
}

/// The provider will not give the money back; an operator must.
pub fn refund_failed() -> Error {
    Error::conflict("refund_failed", "the payment provider refused the refund; give the money back by hand")
}

/// An operator's refund without an idempotency key.
pub fn idempotency_key_required() -> Error {
    Error::invalid("idempotency_key_required", "send an Idempotency-Key header").param("Idempotency-Key")
}

/// A cursor that this list did not give.
pub fn bad_cursor() -> Error {
    Error::invalid("bad_cursor", "the cursor is not one this list gave; leave it out to start anew").param("cursor")
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_code_stands_in_the_readme_with_its_kind() {
        let readme = include_str!("../README.md");
        let source = include_str!("error.rs");
        let mut codes = 0;
        for kind in
            ["invalid", "unauthenticated", "forbidden", "not_found", "conflict", "refused", "unavailable", "internal"]
        {
            for call in source.split(&format!("Error::{kind}(")).skip(1) {
                // The code is the first argument: a text, or the name of the constant above.
                let code = match call.strip_prefix('"') {
                    Some(rest) => rest.split('"').next(),
                    None => call.starts_with("ILLEGAL_TRANSITION").then_some(super::ILLEGAL_TRANSITION),
                };
                let Some(code) = code else { continue };
                codes += 1;
                assert!(
                    readme.contains(&format!("| `{code}` | {kind} |")),
                    "`{code}` ({kind}) is missing in README.md"
                );
            }
        }
        assert!(codes >= 25, "{codes}");
    }
}
