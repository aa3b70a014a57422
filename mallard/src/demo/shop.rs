//! The demo shop as values: read from its files once, every reference followed.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use anyhow::{Context, ensure};
use mallard_types::{Currency, Money, id};

use super::art::{Colour, hash};
use super::files::{ArtEntry, MALL, MallFile, OptionEntry, ProductEntry, SHELVES, ShelfFile};

/// Every id carries this time, 2026-01-01T00:00:00Z in microseconds since the epoch.
const BIRTH: i64 = 1_767_225_600_000_000;
const CURRENCY: Currency = Currency::CNY;

/// A text in the shop's two languages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// English, the default.
    pub en: String,
    /// Chinese.
    pub zh: String,
}

/// Who sells.
#[derive(Clone, Debug)]
pub struct Seller {
    /// `sel_…`
    pub id: String,
    /// Short name.
    pub slug: String,
    /// Name as shown.
    pub name: String,
    /// E-mail of the account that acts for it.
    pub email: String,
}

/// An invented brand.
#[derive(Clone, Debug)]
pub struct Brand {
    /// `brand_…`
    pub id: String,
    /// Short name.
    pub slug: String,
    /// Name as shown.
    pub name: String,
    /// Id of who sells it.
    pub seller_id: String,
}

/// A shelf.
#[derive(Clone, Debug)]
pub struct Category {
    /// `cat_…`
    pub id: String,
    /// Name in addresses.
    pub slug: String,
    /// Name as shown.
    pub name: Text,
    /// Id of the category above; empty for a department. The category above stands earlier in the list.
    pub parent_id: String,
    /// Place among its siblings.
    pub position: i32,
}

/// A dimension in which variants differ.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Name, e.g. `Colour`.
    pub name: String,
    /// Values in order.
    pub values: Vec<String>,
}

/// One thing that can be bought.
#[derive(Clone, Debug)]
pub struct Variant {
    /// `sku_…`
    pub id: String,
    /// The seller's own code.
    pub code: String,
    /// Option name to value.
    pub options: BTreeMap<String, String>,
    /// Price of one unit.
    pub price: Money,
    /// Units on hand at the beginning.
    pub stock: i64,
}

/// A picture of a product in one of its colours.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Name without `.svg`: the product's slug, and `--2` and so on for further colours.
    pub name: String,
    /// Text for who cannot see it.
    pub alt: String,
    /// Main colour.
    pub colour: Colour,
}

/// A product with its variants and pictures.
#[derive(Clone, Debug)]
pub struct Product {
    /// `prod_…`
    pub id: String,
    /// Name in addresses.
    pub slug: String,
    /// Id of its brand.
    pub brand_id: String,
    /// Id of who sells it.
    pub seller_id: String,
    /// Id of its category.
    pub category_id: String,
    /// Title.
    pub title: Text,
    /// Description.
    pub description: Text,
    /// Dimensions in which the variants differ.
    pub choices: Vec<Choice>,
    /// Every combination of the choices.
    pub variants: Vec<Variant>,
    /// One per colour; the first is the main one.
    pub pictures: Vec<Picture>,
    /// What is drawn.
    pub kind: String,
    /// Second colour of the drawing.
    pub accent: Option<Colour>,
    /// Pattern of the drawing.
    pub motif: String,
    /// Emblem of the drawing.
    pub emblem: String,
}

/// Everything in the shop.
#[derive(Clone, Debug, Default)]
pub struct Shop {
    /// Who sells.
    pub sellers: Vec<Seller>,
    /// Brands.
    pub brands: Vec<Brand>,
    /// Shelves, parents before children.
    pub categories: Vec<Category>,
    /// Products, shelf by shelf.
    pub products: Vec<Product>,
    by_picture: BTreeMap<String, (usize, usize)>,
}

impl Shop {
    /// Finds a picture by its name, with its product.
    pub fn picture(&self, name: &str) -> Option<(&Product, &Picture)> {
        let (product, picture) = self.by_picture.get(name)?;
        let product = self.products.get(*product)?;
        Some((product, product.pictures.get(*picture)?))
    }
}

static SHOP: LazyLock<Shop> = LazyLock::new(|| {
    // The files are inside the binary and a test reads them, so this cannot fail in a binary that passed.
    read().unwrap_or_else(|error| panic!("the demo shop's files are wrong: {error:#}"))
});

/// Returns the demo shop, read from the files inside the binary.
pub fn shop() -> &'static Shop {
    &SHOP
}

/// Reads and checks the files.
pub(super) fn read() -> anyhow::Result<Shop> {
    let mall: MallFile = toml::from_str(MALL).context("mall.toml")?;
    let mut reader = Reader { colours: colours(&mall.colours)?, shop: Shop::default() };
    for seller in mall.seller {
        let id = make_id("sel", &seller.slug);
        reader.shop.sellers.push(Seller { id, slug: seller.slug, name: seller.name, email: seller.email });
    }
    for brand in mall.brand {
        let known = reader.shop.sellers.iter().any(|seller| seller.slug == brand.seller);
        ensure!(known, "brand {} has an unknown seller", brand.slug);
        let (id, seller_id) = (make_id("brand", &brand.slug), make_id("sel", &brand.seller));
        reader.shop.brands.push(Brand { id, slug: brand.slug, name: brand.name, seller_id });
    }
    for (position, category) in (0i32..).zip(mall.category) {
        let known =
            category.parent.is_empty() || reader.shop.categories.iter().any(|above| above.slug == category.parent);
        ensure!(known, "category {} stands before the category above it", category.slug);
        reader.shop.categories.push(Category {
            id: make_id("cat", &category.slug),
            parent_id: if category.parent.is_empty() { String::new() } else { make_id("cat", &category.parent) },
            slug: category.slug,
            name: Text { en: category.name, zh: category.zh },
            position,
        });
    }
    for file in SHELVES {
        let shelf: ShelfFile = toml::from_str(file).context("a shelf")?;
        ensure!(
            reader.shop.categories.iter().any(|known| known.slug == shelf.category),
            "category {} is unknown",
            shelf.category
        );
        for product in shelf.product {
            let slug = product.slug.clone();
            reader.product(&shelf.category, product).with_context(|| format!("product {slug}"))?;
        }
    }
    Ok(reader.shop)
}

struct Reader {
    colours: BTreeMap<String, Colour>,
    shop: Shop,
}

impl Reader {
    fn product(&mut self, category: &str, entry: ProductEntry) -> anyhow::Result<()> {
        let brand = self.shop.brands.iter().find(|brand| brand.slug == entry.brand).context("its brand is unknown")?;
        let product = Product {
            id: make_id("prod", &entry.slug),
            brand_id: brand.id.clone(),
            seller_id: brand.seller_id.clone(),
            category_id: make_id("cat", category),
            variants: variants(&entry)?,
            pictures: self.pictures(&entry)?,
            accent: self.accent(&entry.art)?,
            slug: entry.slug,
            title: Text { en: entry.title, zh: entry.zh },
            description: Text { en: entry.text, zh: entry.text_zh },
            choices: entry
                .options
                .into_iter()
                .map(|option| Choice { name: option.name, values: option.values })
                .collect(),
            kind: entry.art.kind,
            motif: entry.art.motif,
            emblem: entry.art.emblem,
        };
        let at = self.shop.products.len();
        for (i, picture) in product.pictures.iter().enumerate() {
            ensure!(
                self.shop.by_picture.insert(picture.name.clone(), (at, i)).is_none(),
                "picture {} is there twice",
                picture.name
            );
        }
        self.shop.products.push(product);
        Ok(())
    }

    /// Makes one picture per value of the option whose values are colours, or one in the colour the entry names.
    fn pictures(&self, entry: &ProductEntry) -> anyhow::Result<Vec<Picture>> {
        let coloured = |option: &&OptionEntry| option.values.iter().all(|value| self.colours.contains_key(value));
        let Some(option) = entry.options.iter().find(coloured) else {
            let colour = *self.colours.get(&entry.art.colour).context("it has no colour")?;
            return Ok(vec![Picture { name: entry.slug.clone(), alt: entry.title.clone(), colour }]);
        };
        let mut pictures = Vec::with_capacity(option.values.len());
        for (i, value) in option.values.iter().enumerate() {
            let name = if i == 0 { entry.slug.clone() } else { format!("{}--{}", entry.slug, i + 1) };
            let colour = *self.colours.get(value).context("a colour is unknown")?;
            pictures.push(Picture { name, alt: format!("{}, {value}", entry.title), colour });
        }
        Ok(pictures)
    }

    fn accent(&self, art: &ArtEntry) -> anyhow::Result<Option<Colour>> {
        if art.accent.is_empty() {
            return Ok(None);
        }
        Ok(Some(*self.colours.get(&art.accent).context("its accent is unknown")?))
    }
}

fn variants(entry: &ProductEntry) -> anyhow::Result<Vec<Variant>> {
    let mut combinations = vec![(BTreeMap::new(), entry.price)];
    for option in &entry.options {
        ensure!(
            option.plus.is_empty() || option.plus.len() == option.values.len(),
            "option {} has a price per value or none",
            option.name
        );
        let mut wider = Vec::with_capacity(combinations.len() * option.values.len());
        for (chosen, price) in &combinations {
            for (i, value) in option.values.iter().enumerate() {
                let mut chosen = chosen.clone();
                chosen.insert(option.name.clone(), value.clone());
                wider.push((chosen, price + option.plus.get(i).copied().unwrap_or(0)));
            }
        }
        combinations = wider;
    }
    ensure!(
        combinations.len() == entry.stock.len(),
        "{} variants, but stock for {}",
        combinations.len(),
        entry.stock.len()
    );
    let mut variants = Vec::with_capacity(combinations.len());
    for (i, ((options, price), stock)) in combinations.into_iter().zip(&entry.stock).enumerate() {
        ensure!(price > 0 && *stock >= 0, "a price must be positive and stock not negative");
        let values: Vec<&str> = options.values().map(String::as_str).collect();
        variants.push(Variant {
            // The values rather than the place, so that a value added later moves no id.
            id: make_id("sku", &format!("{}/{}", entry.slug, values.join("/"))),
            code: format!("{}-{:02}", entry.slug, i + 1),
            options,
            price: Money::new(price, CURRENCY),
            stock: *stock,
        });
    }
    Ok(variants)
}

fn colours(table: &BTreeMap<String, String>) -> anyhow::Result<BTreeMap<String, Colour>> {
    let mut colours = BTreeMap::new();
    for (name, text) in table {
        colours.insert(name.clone(), Colour::parse(text).with_context(|| format!("colour {name} is not #rrggbb"))?);
    }
    Ok(colours)
}

/// Makes the id that a slug always has.
fn make_id(prefix: &str, slug: &str) -> String {
    let mut random = [0; 10];
    random[1..9].copy_from_slice(&hash(&format!("{prefix}/{slug}")).to_be_bytes());
    id::make(prefix, BIRTH, random)
}
