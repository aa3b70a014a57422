//! What the service refuses, and how each refusal reads from outside.

use mallard_types::Error;
use serde_json::json;

/// A refusal with everything a caller needs to act on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A field does not hold what it must.
    Bad { code: &'static str, param: String, message: &'static str },
    /// No such product, or somebody else's.
    ProductNotFound,
    /// The version sent is not the present one.
    VersionMismatch { current: i64 },
    /// A SKU id that another product has.
    SkuTaken,
    /// The idempotency key came with another product.
    KeyUsed,
    /// A slug another category has.
    SlugTaken,
    /// A name another brand has.
    BrandTaken,
    /// The caller is neither operator nor seller.
    SellerRequired,
    /// The caller is no operator.
    AdminRequired,
    /// No picture has this name.
    ImageNotFound,
    /// The seller has as many pictures as may be kept.
    ImagesFull { images_max: u32 },
    /// All pictures of the mall take as many bytes as they may.
    ImageSpaceFull { bytes_max: i64 },
    /// Somebody else changed the product under every attempt.
    Contended,
}

impl Refusal {
    /// Refuses a field.
    pub fn bad(code: &'static str, param: impl Into<String>, message: &'static str) -> Refusal {
        Refusal::Bad { code, param: param.into(), message }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::Bad { code, param, message } => Error::invalid(code, message).param(param),
            Refusal::ProductNotFound => Error::not_found("product_not_found", "there is no such product"),
            Refusal::VersionMismatch { current } => {
                Error::precondition("version_mismatch", "the product has changed; read it again")
                    .details(json!({ "version": current }))
            }
            Refusal::SkuTaken => Error::conflict("sku_taken", "another product has this SKU").param("variants"),
            Refusal::KeyUsed => Error::refused(
                "idempotency_conflict",
                "this idempotency key was used for another product; use a new key",
            ),
            Refusal::SlugTaken => Error::conflict("slug_taken", "another category has this slug").param("slug"),
            Refusal::BrandTaken => Error::conflict("brand_taken", "another brand has this name").param("name"),
            Refusal::SellerRequired => Error::forbidden("seller_required", "only sellers and operators may do this"),
            Refusal::AdminRequired => Error::forbidden("admin_required", "only operators may do this"),
            Refusal::ImageNotFound => Error::not_found("image_not_found", "there is no such picture"),
            Refusal::ImagesFull { images_max } => Error::refused(
                "images_full",
                "as many pictures are kept for the seller as may be; use one that is there, or have the limit raised",
            )
            .param("content")
            .details(json!({ "images_max": images_max })),
            Refusal::ImageSpaceFull { bytes_max } => Error::refused(
                "image_space_full",
                "the mall's pictures take as much room as they may; use one that is there, or have the limit raised",
            )
            .param("content")
            .details(json!({ "bytes_max": bytes_max })),
            Refusal::Contended => {
                Error::unavailable("product_contended", "the product changed under every attempt; try again")
                    .retry_after_ms(50)
            }
        }
    }
}
