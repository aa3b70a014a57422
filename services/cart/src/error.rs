//! Refusals as the caller sees them: kind, code, message, parameter.

use mallard_types::Error;

use crate::domain::Refusal;

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::Quantity { max } => {
                Error::invalid("quantity_out_of_range", format!("the quantity must be between 1 and {max}"))
                    .param("quantity")
            }
            Refusal::Lines { max } => {
                Error::invalid("cart_line_limit", format!("a cart holds at most {max} lines; remove one first"))
                    .param("sku_id")
            }
            Refusal::Unknown => Error::not_found("sku_unknown", "there is no such product").param("sku_id"),
            Refusal::NotSellable => {
                Error::conflict("not_sellable", "this product is not for sale at the moment").param("sku_id")
            }
            Refusal::MixedCurrencies => {
                Error::refused("mixed_currencies", "all lines of a cart must be priced in one currency").param("sku_id")
            }
            Refusal::Overflow => Error::invalid("amount_overflow", "the total is too large").param("quantity"),
            Refusal::Version { found } => {
                Error::precondition("version_mismatch", format!("the cart is at version {found}; read it again"))
                    .param("If-Match")
            }
        }
    }
}

/// Says that a cart is somebody else's, as if it did not exist.
pub(crate) fn not_yours() -> Error {
    Error::not_found("cart_unknown", "there is no such cart")
}

/// Says that too many changes of one cart ran at once.
pub(crate) fn busy() -> Error {
    Error::unavailable("cart_busy", "this cart is being changed from many places; try again").retry_after_ms(100)
}

/// Says that units cannot be taken out once without knowing for which order.
pub(crate) fn order_id_required() -> Error {
    Error::invalid("order_id_required", "say which order took the units").param("order_id")
}
