//! The product and how it changes. Every change makes a new value with the next version.

use std::collections::BTreeMap;

use mallard_types::{Micros, Money};

use super::Brand;
use super::validate::{self, Image, ProductOption, Rules, Translation};
use crate::error::Refusal;

/// Where a product stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Being written; shoppers do not see it.
    Draft,
    /// For sale.
    Listed,
    /// Taken out of the shop; it can be listed again.
    Delisted,
    /// Gone for everybody but the orders that hold a copy.
    Deleted,
}

impl Status {
    const ALL: [Status; 4] = [Status::Draft, Status::Listed, Status::Delisted, Status::Deleted];

    /// Returns the stored and public name.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Draft => "draft",
            Status::Listed => "listed",
            Status::Delisted => "delisted",
            Status::Deleted => "deleted",
        }
    }

    /// Parses a name.
    pub fn parse(name: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// One thing that can be bought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// `sku_…`
    pub id: String,
    /// Title, e.g. `red / L`.
    pub title: String,
    /// Option name to value.
    pub options: BTreeMap<String, String>,
    /// List price.
    pub price: Money,
    /// The seller's own code.
    pub code: String,
    /// Whether any unit can be sold; kept from stock events, not part of the product's version.
    pub in_stock: bool,
}

/// A product with everything a product page shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// `prod_…`
    pub id: String,
    /// Title.
    pub title: String,
    /// Description.
    pub description: String,
    /// Where it stands.
    pub status: Status,
    /// Whose it is.
    pub seller_id: String,
    /// Categories it was put in.
    pub category_ids: Vec<String>,
    /// Brand.
    pub brand: Option<Brand>,
    /// Pictures, the first is the main one.
    pub images: Vec<Image>,
    /// Dimensions in which variants differ.
    pub options: Vec<ProductOption>,
    /// What can be bought; never empty.
    pub variants: Vec<Variant>,
    /// Grows by one with every change.
    pub version: i64,
    /// When it was made.
    pub created_at: Micros,
    /// When it last changed.
    pub updated_at: Micros,
    /// Language tag to texts.
    pub translations: BTreeMap<String, Translation>,
}

/// A variant as a seller writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariantInput {
    /// Id of an existing variant to keep; empty makes a new one.
    pub id: String,
    /// Title; made from the options when empty.
    pub title: String,
    /// Option name to value.
    pub options: BTreeMap<String, String>,
    /// List price.
    pub price: Money,
    /// The seller's own code.
    pub code: String,
    /// Units on hand at the beginning; ignored for an existing variant.
    pub stock: i64,
}

/// A product as a seller writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Title.
    pub title: String,
    /// Description.
    pub description: String,
    /// `draft` or `listed`.
    pub status: Status,
    /// Whose it is.
    pub seller_id: String,
    /// Categories; the caller has looked them up.
    pub category_ids: Vec<String>,
    /// Brand; the caller has looked it up.
    pub brand: Option<Brand>,
    /// Pictures.
    pub images: Vec<Image>,
    /// Dimensions; read off the variants when empty.
    pub options: Vec<ProductOption>,
    /// Variants.
    pub variants: Vec<VariantInput>,
    /// Language tag to texts.
    pub translations: BTreeMap<String, Translation>,
}

/// What a seller changes; `None` and empty lists leave things as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Title.
    pub title: Option<String>,
    /// Description.
    pub description: Option<String>,
    /// Categories; the caller has looked them up.
    pub category_ids: Vec<String>,
    /// Brand, or `Some(None)` to take it away.
    pub brand: Option<Option<Brand>>,
    /// Pictures.
    pub images: Vec<Image>,
    /// Dimensions.
    pub options: Vec<ProductOption>,
    /// The variants become exactly these.
    pub variants: Vec<VariantInput>,
    /// Language tag to texts.
    pub translations: BTreeMap<String, Translation>,
}

/// Units of a new variant that are on hand at the beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstStock {
    /// SKU.
    pub sku_id: String,
    /// Units.
    pub quantity: i64,
}

impl Product {
    /// Returns the picture of a variant: one whose words name a value of its options, else the product's first.
    pub fn picture_of(&self, variant: &Variant) -> Option<&Image> {
        let names = |value: &String| self.images.iter().find(|image| image.alt.contains(value.as_str()));
        variant.options.values().find_map(names).or(self.images.first())
    }

    /// Makes a product of version 1 and says what stock its variants begin with.
    ///
    /// # Errors
    /// [`Refusal::Bad`] with the field at fault.
    pub fn create(
        id: String,
        draft: Draft,
        rules: Rules,
        now: Micros,
        new_sku: &mut dyn FnMut() -> String,
    ) -> Result<(Product, Vec<FirstStock>), Refusal> {
        validate::title("title", &draft.title)?;
        validate::description("description", &draft.description)?;
        validate::categories(&draft.category_ids)?;
        validate::check_images(&draft.images)?;
        validate::translations(&draft.translations)?;
        if !matches!(draft.status, Status::Draft | Status::Listed) {
            return Err(Refusal::bad("bad_status", "status", "a new product is draft or listed"));
        }
        let options = validate::variants(&draft.options, &[], &draft.variants, rules)?;
        let (variants, first_stock) = make_variants(draft.variants, &[], &options, &draft.title, rules, new_sku)?;
        let product = Product {
            id,
            title: draft.title,
            description: draft.description,
            status: draft.status,
            seller_id: draft.seller_id,
            category_ids: draft.category_ids,
            brand: draft.brand,
            images: draft.images,
            options,
            variants,
            version: 1,
            created_at: now,
            updated_at: now,
            translations: draft.translations,
        };
        Ok((product, first_stock))
    }

    /// Makes the next version with a change in it.
    ///
    /// # Errors
    /// [`Refusal::Bad`] with the field at fault, [`Refusal::ProductNotFound`] when it is deleted.
    pub fn change(
        &self,
        change: Change,
        rules: Rules,
        now: Micros,
        new_sku: &mut dyn FnMut() -> String,
    ) -> Result<(Product, Vec<FirstStock>), Refusal> {
        let mut next = self.next(now)?;
        if let Some(title) = change.title {
            validate::title("title", &title)?;
            next.title = title;
        }
        if let Some(description) = change.description {
            validate::description("description", &description)?;
            next.description = description;
        }
        if !change.category_ids.is_empty() {
            validate::categories(&change.category_ids)?;
            next.category_ids = change.category_ids;
        }
        if let Some(brand) = change.brand {
            next.brand = brand;
        }
        if !change.images.is_empty() {
            validate::check_images(&change.images)?;
            next.images = change.images;
        }
        if !change.translations.is_empty() {
            validate::translations(&change.translations)?;
            next.translations = change.translations;
        }
        if change.variants.is_empty() && change.options.is_empty() {
            return Ok((next, Vec::new()));
        }
        let inputs = if change.variants.is_empty() { self.as_inputs() } else { change.variants };
        next.options = validate::variants(&change.options, &self.options, &inputs, rules)?;
        let (variants, first_stock) =
            make_variants(inputs, &self.variants, &next.options, &next.title, rules, new_sku)?;
        next.variants = variants;
        Ok((next, first_stock))
    }

    /// Makes the next version with another status; `None` when it has that status already.
    ///
    /// # Errors
    /// [`Refusal::ProductNotFound`] when it is deleted and asked to come back.
    pub fn with_status(&self, status: Status, now: Micros) -> Result<Option<Product>, Refusal> {
        if self.status == status {
            return Ok(None);
        }
        let mut next = self.next(now)?;
        next.status = status;
        Ok(Some(next))
    }

    fn next(&self, now: Micros) -> Result<Product, Refusal> {
        if self.status == Status::Deleted {
            return Err(Refusal::ProductNotFound);
        }
        Ok(Product { version: self.version + 1, updated_at: now.max(self.updated_at), ..self.clone() })
    }

    fn as_inputs(&self) -> Vec<VariantInput> {
        let input = |variant: &Variant| VariantInput {
            id: variant.id.clone(),
            title: variant.title.clone(),
            options: variant.options.clone(),
            price: variant.price,
            code: variant.code.clone(),
            stock: 0,
        };
        self.variants.iter().map(input).collect()
    }

    /// Returns the lowest price in minor units, for order and filters.
    pub fn min_price(&self) -> i64 {
        self.variants.iter().map(|variant| variant.price.amount).min().unwrap_or(0)
    }

    /// Returns the variant with this id.
    pub fn variant(&self, sku_id: &str) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.id == sku_id)
    }

    /// Returns the title in a language, a tag such as `zh` or `zh-CN`; the first title where there is none in it.
    pub fn title_in(&self, language: &str) -> &str {
        let primary = language.split('-').next().unwrap_or_default();
        // Tags are compared without letter case (RFC 5646, section 2.1.1).
        let of = |tag: &str| self.translations.iter().find(|(own, _)| own.eq_ignore_ascii_case(tag));
        let texts = of(language).or_else(|| of(primary)).map(|(_, texts)| texts);
        texts.map_or(&self.title, |texts| &texts.title)
    }

    /// Returns the text that `q` is looked for in: titles and descriptions in every language, lower case.
    pub fn words(&self) -> String {
        let mut words = format!("{}\n{}", self.title, self.description);
        for texts in self.translations.values() {
            words.push('\n');
            words.push_str(&texts.title);
            words.push('\n');
            words.push_str(&texts.description);
        }
        words.to_lowercase()
    }

    /// Returns the key by which lists are ordered by title.
    pub fn title_key(&self) -> String {
        self.title.trim().to_lowercase()
    }
}

fn make_variants(
    inputs: Vec<VariantInput>,
    before: &[Variant],
    options: &[ProductOption],
    product_title: &str,
    rules: Rules,
    new_sku: &mut dyn FnMut() -> String,
) -> Result<(Vec<Variant>, Vec<FirstStock>), Refusal> {
    let mut variants = Vec::with_capacity(inputs.len());
    let mut first_stock = Vec::new();
    for (i, input) in inputs.into_iter().enumerate() {
        let existing = before.iter().find(|variant| variant.id == input.id);
        let id = match (existing, input.id.is_empty()) {
            (Some(existing), _) => existing.id.clone(),
            (None, true) => new_sku(),
            (None, false) if rules.own_ids && validate::is_own_id("sku", &input.id) => input.id,
            (None, false) => {
                return Err(Refusal::bad(
                    "variant_unknown",
                    format!("variants[{i}].id"),
                    "the product has no such variant",
                ));
            }
        };
        if existing.is_none() {
            first_stock.push(FirstStock { sku_id: id.clone(), quantity: input.stock });
        }
        let title = if input.title.trim().is_empty() {
            default_title(options, &input.options, product_title)
        } else {
            input.title
        };
        let in_stock = existing.map_or(input.stock > 0, |variant| variant.in_stock);
        variants.push(Variant { id, title, options: input.options, price: input.price, code: input.code, in_stock });
    }
    Ok((variants, first_stock))
}

fn default_title(options: &[ProductOption], values: &BTreeMap<String, String>, product_title: &str) -> String {
    if options.is_empty() {
        return product_title.to_owned();
    }
    let values: Vec<&str> = options.iter().filter_map(|option| values.get(&option.name)).map(String::as_str).collect();
    values.join(" / ")
}
