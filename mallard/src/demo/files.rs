//! The shop's files as they are written. Unknown keys are refused.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The mall's own file.
pub(super) const MALL: &str = include_str!("shop/mall.toml");

/// One file per category.
pub(super) const SHELVES: [&str; 12] = [
    include_str!("shop/tableware.toml"),
    include_str!("shop/kitchen.toml"),
    include_str!("shop/lighting.toml"),
    include_str!("shop/furniture.toml"),
    include_str!("shop/clothing.toml"),
    include_str!("shop/shoes.toml"),
    include_str!("shop/bags.toml"),
    include_str!("shop/audio.toml"),
    include_str!("shop/computing.toml"),
    include_str!("shop/pantry.toml"),
    include_str!("shop/plants.toml"),
    include_str!("shop/stationery.toml"),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MallFile {
    pub seller: Vec<SellerEntry>,
    pub brand: Vec<BrandEntry>,
    pub category: Vec<CategoryEntry>,
    /// Name to `#rrggbb`.
    pub colours: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SellerEntry {
    pub slug: String,
    pub name: String,
    pub email: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BrandEntry {
    pub slug: String,
    pub name: String,
    /// Slug of who sells it.
    pub seller: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CategoryEntry {
    pub slug: String,
    pub name: String,
    pub zh: String,
    /// Slug of the category above; written before this one.
    #[serde(default)]
    pub parent: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShelfFile {
    /// Slug of the category of every product in the file.
    pub category: String,
    pub product: Vec<ProductEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProductEntry {
    pub slug: String,
    pub brand: String,
    pub title: String,
    pub zh: String,
    pub text: String,
    pub text_zh: String,
    /// Price of the plainest variant, in fen.
    pub price: i64,
    pub options: Vec<OptionEntry>,
    /// Units on hand by variant: the last option changes fastest.
    pub stock: Vec<i64>,
    pub art: ArtEntry,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OptionEntry {
    pub name: String,
    pub values: Vec<String>,
    /// What each value adds to the price, in fen; nothing when left out.
    #[serde(default)]
    pub plus: Vec<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArtEntry {
    pub kind: String,
    /// Main colour, for a product whose variants do not differ in colour.
    #[serde(default)]
    pub colour: String,
    #[serde(default)]
    pub accent: String,
    #[serde(default)]
    pub motif: String,
    #[serde(default)]
    pub emblem: String,
}
