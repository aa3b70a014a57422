//! The demo shop: invented brands, products in two languages, stock, and pictures that the program draws itself.
//!
//! | looking for | go to |
//! |---|---|
//! | the products, shelf by shelf | `shop/*.toml`; sellers, brands, categories and colours are in `shop/mall.toml` |
//! | how the files are read and checked | `files.rs`, `shop.rs` |
//! | the pictures | `art.rs` and `art/` |
//! | how the shop gets into a mall | `seed.rs` |
//! | the accounts of its sellers | `sellers.rs` |
//!
//! Ids come from slugs, so that seeding twice changes nothing and every demo shop has the same ones.

pub mod art;

mod files;
mod pages;
mod seed;
mod sellers;
mod shop;

pub use pages::pages;
pub use seed::{seed, seed_catalog};
pub use sellers::{seller_email, sellers};
pub use shop::{Brand, Category, Choice, Picture, Product, Seller, Shop, Text, Variant, shop};

/// Path under which the pictures are served; a picture's address is this, its name and `.svg`.
pub const MEDIA_PATH: &str = "/media/demo/";

/// Draws the picture of a name, e.g. `harbour-enamel-mug`, or `harbour-enamel-mug--2` for its second colour.
/// Nothing for a name that no demo product has.
pub fn svg(slug: &str) -> Option<String> {
    let shop = shop();
    let (product, picture) = shop.picture(slug)?;
    art::draw(&art::Picture {
        kind: &product.kind,
        colour: picture.colour,
        accent: product.accent,
        motif: &product.motif,
        emblem: &product.emblem,
        seed: &product.slug,
    })
}

#[cfg(test)]
mod tests;
