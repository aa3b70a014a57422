//! Refusals as the caller sees them: kind, code, message, parameter.

use mallard_types::Error;

use crate::domain::Refusal;

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::NoLines => Error::invalid("lines_required", "there is nothing to price").param("lines"),
            Refusal::TooManyLines(max) => {
                Error::invalid("cart_line_limit", format!("at most {max} lines can be priced at once")).param("lines")
            }
            Refusal::Quantity { line, max } => {
                Error::invalid("quantity_out_of_range", format!("the quantity must be between 1 and {max}"))
                    .param(format!("lines[{line}].quantity"))
            }
            Refusal::Price { line } => Error::invalid("price_out_of_range", "an agreed price cannot be below zero")
                .param(format!("lines[{line}].agreed_unit_price_nanos")),
            Refusal::Unknown { line } => {
                Error::not_found("sku_unknown", "there is no such product").param(format!("lines[{line}].sku_id"))
            }
            Refusal::NotSellable { line } => {
                Error::conflict("not_sellable", "this product is not for sale at the moment")
                    .param(format!("lines[{line}].sku_id"))
            }
            Refusal::MixedCurrencies { line } => {
                Error::refused("mixed_currencies", "all lines of an order must be priced in one currency")
                    .param(format!("lines[{line}].sku_id"))
            }
            Refusal::Overflow => Error::invalid("amount_overflow", "the total is too large").param("lines"),
            Refusal::CouponUnknown { coupon } => {
                Error::refused("coupon_unknown", "there is no such coupon").param(format!("coupon_codes[{coupon}]"))
            }
        }
    }
}
