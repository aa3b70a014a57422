//! What the service refuses, and how each refusal reads from outside.

use mallard_types::Error;
use serde_json::json;

/// A refusal with everything a caller needs to act on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A reservation or return without lines.
    NoLines,
    /// More lines than one call takes.
    TooManyLines,
    /// A quantity outside the allowed range; the index is the line's.
    BadQuantity(usize),
    /// A line that names no SKU; the index is the line's.
    NoSku(usize),
    /// A required text is empty or too long.
    BadText(&'static str),
    /// A list of ids longer than one call takes.
    TooManyIds(&'static str),
    /// An adjustment of nothing, or of more units than a warehouse holds.
    BadDelta,
    /// Nobody knows this SKU; the index is the line's where there are lines.
    SkuUnknown { sku_id: String, line: Option<usize> },
    /// Fewer units can be sold than were asked for.
    OutOfStock { sku_id: String, line: usize, available: i64 },
    /// The hold has ended: it was released or its time ran out.
    ReservationReleased,
    /// The units are sold; a return brings them back, a release does not.
    ReservationConfirmed,
    /// No reservation has this id.
    ReservationUnknown,
    /// More units would come back than were sold with the order.
    ReturnExceedsSold { sku_id: String, left: i64 },
    /// The adjustment would leave fewer units than are promised.
    BelowReserved { reserved: i64, on_hand: i64 },
    /// The idempotency key was used for another adjustment.
    KeyReused,
    /// The caller is no operator.
    AdminRequired,
    /// The caller is neither operator nor seller.
    SellerRequired,
    /// The rows changed under every attempt.
    Contended,
    /// The books contradict themselves; nothing was changed.
    BooksBroken,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::NoLines => Error::invalid("lines_required", "name at least one line").param("lines"),
            Refusal::TooManyLines => {
                Error::invalid("too_many_lines", "at most 10,000 lines in one call").param("lines")
            }
            Refusal::BadQuantity(i) => {
                Error::invalid("quantity_out_of_range", "quantity must be between 1 and 1,000,000,000")
                    .param(format!("lines[{i}].quantity"))
            }
            Refusal::NoSku(i) => {
                Error::invalid("sku_required", "name the SKU of the line").param(format!("lines[{i}].sku_id"))
            }
            Refusal::BadText(param) => Error::invalid("bad_text", format!("{param} is empty or too long")).param(param),
            Refusal::TooManyIds(param) => Error::invalid("too_many_ids", "ask for fewer ids in one call").param(param),
            Refusal::BadDelta => {
                Error::invalid("delta_out_of_range", "delta must not be 0 and at most 1,000,000,000 units either way")
                    .param("delta")
            }
            Refusal::SkuUnknown { sku_id, line } => {
                let error = Error::not_found("sku_unknown", "no stock is kept of this SKU")
                    .details(json!({ "sku_id": sku_id }));
                match line {
                    Some(i) => error.param(format!("lines[{i}].sku_id")),
                    None => error.param("sku_id"),
                }
            }
            Refusal::OutOfStock { sku_id, line, available } => {
                Error::conflict("out_of_stock", "not enough units are left")
                    .param(format!("lines[{line}]"))
                    .details(json!({ "sku_id": sku_id, "available": available }))
            }
            Refusal::ReservationReleased => {
                Error::conflict("reservation_released", "the hold on these units has ended")
            }
            Refusal::ReservationConfirmed => {
                Error::conflict("reservation_confirmed", "the units are sold; return them instead")
            }
            Refusal::ReservationUnknown => {
                Error::not_found("reservation_unknown", "no reservation has this id").param("id")
            }
            Refusal::ReturnExceedsSold { sku_id, left } => {
                Error::refused("return_exceeds_sold", "more units than this order sold and has not returned yet")
                    .param("lines")
                    .details(json!({ "sku_id": sku_id, "left": left }))
            }
            Refusal::BelowReserved { reserved, on_hand } => {
                Error::refused("below_reserved", "fewer units would be left than are promised to open orders")
                    .param("delta")
                    .details(json!({ "reserved": reserved, "on_hand": on_hand }))
            }
            Refusal::KeyReused => {
                Error::refused("idempotency_conflict", "this idempotency key was used for another adjustment")
            }
            Refusal::AdminRequired => Error::forbidden("admin_required", "only operators may do this"),
            Refusal::SellerRequired => Error::forbidden("seller_required", "only sellers and operators see stock"),
            Refusal::Contended => {
                Error::unavailable("stock_contended", "the stock changed under every attempt; try again")
                    .retry_after_ms(50)
            }
            Refusal::BooksBroken => Error::internal("books_broken", "the stock books contradict themselves"),
        }
    }
}
