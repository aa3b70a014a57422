//! What a product, a variant and a category may be.
//!
//! | file | rules |
//! |---|---|
//! | `product.rs` | the product and how it changes |
//! | `validate.rs` | the checks of its parts |
//! | `category.rs` | the tree |
//! | `filter.rs` | what a list can be asked |
//! | `facets.rs` | what found products have in common |
//! | `picture.rs` | what an uploaded picture is, by its bytes |

mod category;
mod facets;
mod filter;
mod picture;
mod product;
mod validate;

pub use category::{Category, Tree, check_category};
pub use facets::{Counts, Facet, Found, PriceCount, PriceRange, price_ranges};
pub use filter::{Filter, Order};
pub use picture::{Picture, check_alt, kept_name, named_format, picture_url};
pub use product::{Change, Draft, FirstStock, Product, Status, Variant, VariantInput};
pub use validate::{Image, ProductOption, Rules, Translation, check_brand_name, check_images, check_own_id};

/// A brand, as products carry it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brand {
    /// `brand_…`
    pub id: String,
    /// Name as shown.
    pub name: String,
}

#[cfg(test)]
mod tests;
