//! Checks of the parts of a product. Each refusal names the field at fault by its path in the request.

use std::collections::{BTreeMap, BTreeSet};

use mallard_types::Currency;
use mallard_types::text::{has_hidden, is_blank};

use super::product::VariantInput;
use crate::error::Refusal;

const TITLE_CHARS_MAX: usize = 200;
const DESCRIPTION_CHARS_MAX: usize = 20_000;
const VARIANTS_MAX: usize = 100;
const IMAGES_MAX: usize = 20;
const OPTIONS_MAX: usize = 10;
const VALUES_MAX: usize = 100;
const CATEGORIES_MAX: usize = 20;
const TRANSLATIONS_MAX: usize = 20;
const NAME_CHARS_MAX: usize = 100;
const URL_CHARS_MAX: usize = 2_000;
const PIXELS_MAX: i32 = 20_000;
/// Most minor units of a price; ten thousand lines of the largest quantity at this price still add up.
const PRICE_MAX: i64 = 1_000_000_000_000;
const STOCK_MAX: i64 = 1_000_000_000;

/// A picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// `https://…`, `http://…` or a path below `/media/`.
    pub url: String,
    /// Text for who cannot see it.
    pub alt: String,
    /// Pixels; 0 when not known.
    pub width: i32,
    /// Pixels; 0 when not known.
    pub height: i32,
}

/// A dimension in which variants differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProductOption {
    /// Name, e.g. `colour`.
    pub name: String,
    /// Values in the order in which they are shown.
    pub values: Vec<String>,
}

/// Texts in another language.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    /// Title.
    pub title: String,
    /// Description.
    pub description: String,
}

/// What the caller may do beyond a seller's rights: imports and operators may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Prices of 0 are allowed.
    pub free_prices: bool,
    /// New variants may bring their own ids.
    pub own_ids: bool,
}

pub(super) fn title(param: &str, title: &str) -> Result<(), Refusal> {
    let count = title.chars().count();
    if is_blank(title) || count > TITLE_CHARS_MAX {
        return Err(Refusal::bad("bad_title", param, "title must have 1 to 200 characters"));
    }
    legible(param, title)
}

/// Checks a short text that others read: nothing in it may make a page read as something else than it says.
///
/// # Errors
/// `invalid_text`.
pub(super) fn legible(param: impl Into<String>, text: &str) -> Result<(), Refusal> {
    if has_hidden(text) {
        let message = "this holds invisible characters, such as marks that turn the direction of writing; type it anew";
        return Err(Refusal::bad("invalid_text", param, message));
    }
    Ok(())
}

pub(super) fn description(param: &str, description: &str) -> Result<(), Refusal> {
    if description.chars().count() > DESCRIPTION_CHARS_MAX {
        return Err(Refusal::bad("bad_description", param, "description has at most 20,000 characters"));
    }
    Ok(())
}

pub(super) fn categories(ids: &[String]) -> Result<(), Refusal> {
    if ids.len() > CATEGORIES_MAX {
        return Err(Refusal::bad("too_many_categories", "category_ids", "a product is in at most 20 categories"));
    }
    Ok(())
}

/// Checks the pictures of a product.
///
/// # Errors
/// [`Refusal::Bad`] with the field at fault.
pub fn check_images(images: &[Image]) -> Result<(), Refusal> {
    if images.len() > IMAGES_MAX {
        return Err(Refusal::bad("too_many_images", "images", "a product has at most 20 images"));
    }
    for (i, image) in images.iter().enumerate() {
        if !is_url(&image.url) {
            let message = "url must begin with http:// or https://, or be a plain path such as /media/mug.png";
            return Err(Refusal::bad("bad_url", format!("images[{i}].url"), message));
        }
        if image.alt.chars().count() > TITLE_CHARS_MAX {
            return Err(Refusal::bad("bad_alt", format!("images[{i}].alt"), "alt has at most 200 characters"));
        }
        legible(format!("images[{i}].alt"), &image.alt)?;
        for (name, pixels) in [("width", image.width), ("height", image.height)] {
            if !(0..=PIXELS_MAX).contains(&pixels) {
                return Err(Refusal::bad("bad_size", format!("images[{i}].{name}"), "a side has 0 to 20,000 pixels"));
            }
        }
    }
    Ok(())
}

/// First parts of paths that are no pictures: the API's.
const DOORS: [&str; 4] = ["auth", "store", "seller", "admin"];

fn is_url(url: &str) -> bool {
    let elsewhere = url.starts_with("https://") || url.starts_with("http://");
    (elsewhere || url.strip_prefix('/').is_some_and(is_plain_path))
        && url.len() <= URL_CHARS_MAX
        && !url.chars().any(|c| c.is_control() || c.is_whitespace() || "\"<>\\".contains(c))
}

/// Tells whether a path means to browsers what it says. Every visitor's browser asks this mall for it, signed in as it is, so
/// it must lead to none of the doors: no dots that go up, none that are written as `%2e`. Pictures of the mall's own are looked
/// for by their path, so of those nothing may stand behind it.
fn is_plain_path(path: &str) -> bool {
    let (first, own) = (path.split('/').next().unwrap_or_default(), path.strip_prefix("media/"));
    let is_plain = |part: &str| {
        let goes_up = matches!(part.to_ascii_lowercase().replace("%2e", ".").as_str(), "" | "." | "..");
        let is_simple = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        !goes_up && (own.is_none() || part.bytes().all(is_simple))
    };
    let end = path.find(['?', '#']).unwrap_or(path.len());
    let path = if own.is_some() { path } else { &path[..end] };
    path.split('/').all(is_plain) && !DOORS.contains(&first)
}

pub(super) fn translations(translations: &BTreeMap<String, Translation>) -> Result<(), Refusal> {
    if translations.len() > TRANSLATIONS_MAX {
        return Err(Refusal::bad("too_many_translations", "translations", "a product has at most 20 translations"));
    }
    for (tag, texts) in translations {
        let shaped = (2..=35).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !shaped {
            return Err(Refusal::bad(
                "bad_language",
                format!("translations.{tag}"),
                "key must be a language tag such as zh",
            ));
        }
        title(&format!("translations.{tag}.title"), &texts.title)?;
        description(&format!("translations.{tag}.description"), &texts.description)?;
    }
    Ok(())
}

/// Checks options and variants together and returns the options. Options nobody sent are read off the variants, those that
/// were there before first.
pub(super) fn variants(
    sent: &[ProductOption],
    before: &[ProductOption],
    variants: &[VariantInput],
    rules: Rules,
) -> Result<Vec<ProductOption>, Refusal> {
    if variants.is_empty() || variants.len() > VARIANTS_MAX {
        return Err(Refusal::bad("bad_variants", "variants", "a product has 1 to 100 variants"));
    }
    let options = if sent.is_empty() { options_of(before, variants) } else { sent.to_vec() };
    check_options(&options)?;
    let mut combinations = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for (i, variant) in variants.iter().enumerate() {
        check_variant(i, variant, &options, rules, variants[0].price.currency)?;
        if !variant.id.is_empty() && !ids.insert(variant.id.as_str()) {
            return Err(Refusal::bad(
                "variant_repeated",
                format!("variants[{i}].id"),
                "the same variant stands here twice",
            ));
        }
        if !combinations.insert(&variant.options) {
            return Err(Refusal::bad(
                "variants_alike",
                format!("variants[{i}].options"),
                "two variants have the same options",
            ));
        }
    }
    Ok(options)
}

fn options_of(before: &[ProductOption], variants: &[VariantInput]) -> Vec<ProductOption> {
    let mut options: Vec<ProductOption> = Vec::new();
    let used = |name: &str| variants.iter().any(|variant| variant.options.contains_key(name));
    for option in before.iter().filter(|option| used(&option.name)) {
        options.push(ProductOption { name: option.name.clone(), values: Vec::new() });
    }
    for variant in variants {
        for (name, value) in &variant.options {
            let at = match options.iter().position(|option| option.name == *name) {
                Some(at) => at,
                None => {
                    options.push(ProductOption { name: name.clone(), values: Vec::new() });
                    options.len() - 1
                }
            };
            if !options[at].values.contains(value) {
                options[at].values.push(value.clone());
            }
        }
    }
    options
}

fn check_options(options: &[ProductOption]) -> Result<(), Refusal> {
    if options.len() > OPTIONS_MAX {
        return Err(Refusal::bad("too_many_options", "options", "a product has at most 10 options"));
    }
    let mut names = BTreeSet::new();
    for (i, option) in options.iter().enumerate() {
        if !is_name(&option.name) || !names.insert(option.name.as_str()) {
            let message = "an option has a name of 1 to 100 characters that no other has";
            return Err(Refusal::bad("bad_option", format!("options[{i}].name"), message));
        }
        legible(format!("options[{i}].name"), &option.name)?;
        let distinct: BTreeSet<&String> = option.values.iter().collect();
        let good = (1..=VALUES_MAX).contains(&option.values.len()) && distinct.len() == option.values.len();
        if !good || !option.values.iter().all(|value| is_name(value)) {
            let message = "an option has 1 to 100 different values of 1 to 100 characters";
            return Err(Refusal::bad("bad_option_values", format!("options[{i}].values"), message));
        }
        for value in &option.values {
            legible(format!("options[{i}].values"), value)?;
        }
    }
    Ok(())
}

fn check_variant(
    i: usize,
    variant: &VariantInput,
    options: &[ProductOption],
    rules: Rules,
    currency: Currency,
) -> Result<(), Refusal> {
    let at = |field: &str| format!("variants[{i}].{field}");
    if variant.title.chars().count() > TITLE_CHARS_MAX || variant.code.chars().count() > NAME_CHARS_MAX {
        return Err(Refusal::bad("bad_variant", at("title"), "title has at most 200 characters, code at most 100"));
    }
    legible(at("title"), &variant.title)?;
    legible(at("code"), &variant.code)?;
    for option in options {
        match variant.options.get(&option.name) {
            None => {
                return Err(Refusal::bad("option_missing", at("options"), "a variant gives a value for every option"));
            }
            Some(value) if !option.values.contains(value) => {
                return Err(Refusal::bad("option_value_unknown", at("options"), "the option does not have this value"));
            }
            Some(_) => {}
        }
    }
    if variant.options.len() != options.len() {
        return Err(Refusal::bad("option_unknown", at("options"), "the product does not have this option"));
    }
    let price_min = if rules.free_prices { 0 } else { 1 };
    if !(price_min..=PRICE_MAX).contains(&variant.price.amount) {
        return Err(Refusal::bad("bad_price", at("price.amount"), "price must be at least 1 minor unit"));
    }
    if variant.price.currency != currency {
        return Err(Refusal::bad("currency_mismatch", at("price.currency"), "all variants are priced in one currency"));
    }
    if !(0..=STOCK_MAX).contains(&variant.stock) {
        return Err(Refusal::bad("bad_stock", at("stock"), "stock must be 0 to 1,000,000,000 units"));
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    !is_blank(name) && name.chars().count() <= NAME_CHARS_MAX
}

/// Checks the name of a brand.
///
/// # Errors
/// `bad_name`, `invalid_text`.
pub fn check_brand_name(name: &str) -> Result<(), Refusal> {
    if !is_name(name) {
        return Err(Refusal::bad("bad_name", "name", "name must have 1 to 100 characters"));
    }
    legible("name", name)
}

/// Tells whether a text can be an id that an import chose.
pub(super) fn is_own_id(prefix: &str, id: &str) -> bool {
    let Some(body) = id.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')) else { return false };
    (1..=80).contains(&body.len()) && body.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

/// Checks an id that an import chose.
///
/// # Errors
/// [`Refusal::Bad`].
pub fn check_own_id(prefix: &str, id: &str) -> Result<(), Refusal> {
    if is_own_id(prefix, id) {
        return Ok(());
    }
    Err(Refusal::bad("bad_id", "id", "an id is its prefix, _ and 1 to 80 letters, digits, _, - and ."))
}
