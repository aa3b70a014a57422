//! The page of a product: pictures, variants, stock, and into the cart.

use std::collections::BTreeMap;

use askama::Template;
use mallard_proto::catalog::v1::{Product, Variant};
use mallard_types::Result;

use crate::answer::Answer;
use crate::ask::Ask;
use crate::catalogue::{category_name, description, title};
use crate::domain::{Choice, choose, price};
use crate::view::{Frame, Picture, picture, variant_price};

struct Value {
    name: String,
    href: String,
    in_stock: bool,
    current: bool,
}

struct Choosing {
    name: String,
    chosen: String,
    values: Vec<Value>,
}

struct Thumb {
    href: String,
    picture: Picture,
    current: bool,
}

#[derive(Template)]
#[template(path = "product.html")]
struct Page {
    f: Frame,
    id: String,
    title: String,
    brand: String,
    brand_href: String,
    crumbs: Vec<(String, String)>,
    big: Picture,
    thumbs: Vec<Thumb>,
    price: String,
    options: Vec<Choosing>,
    sku: String,
    in_stock: bool,
    description: Vec<String>,
}

/// Shows a product.
///
/// # Errors
/// `product_not_found`; the catalogue's.
pub async fn show(ask: &Ask, id: &str) -> Result<Answer> {
    let site = &ask.site;
    let (directory, product) =
        ask.public(async { tokio::try_join!(site.catalogue.directory(), site.catalogue.product(id)) }).await?;
    let wishes = BTreeMap::new();
    let chosen = choose(&choices(&product.variants), ask.query.get("sku"), &wishes);
    let variant = product.variants.iter().find(|variant| Some(variant.id.as_str()) == chosen);
    let title = title(&product, ask.lang).to_owned();
    let line = product.category_ids.first().map(|id| directory.line(id)).unwrap_or_default();
    let mut f = Frame::new(ask, title.clone()).with_departments(&directory);
    if ask.query.get("added") == "1" {
        f.notice = ask.t.added;
    }
    let brand = product.brand.as_ref();
    let shelf = line.last().map(|category| category.slug.as_str()).unwrap_or_default();
    let current = shown_picture(ask, &product, variant);
    let page = Page {
        f,
        id: product.id.clone(),
        brand: brand.map(|brand| brand.name.clone()).unwrap_or_default(),
        brand_href: brand.map(|brand| ask.link(&brand_link(shelf, &brand.id))).unwrap_or_default(),
        crumbs: line
            .iter()
            .map(|one| (ask.link(&format!("/c/{}", one.slug)), category_name(one, ask.lang).to_owned()))
            .collect(),
        big: picture(&product, current, &title),
        thumbs: thumbs(ask, &product, variant, current, &title),
        price: variant.map(variant_price).transpose()?.map(price).unwrap_or_default(),
        options: variant.map(|variant| options(ask, &product, variant)).unwrap_or_default(),
        sku: variant.map(|variant| variant.id.clone()).unwrap_or_default(),
        in_stock: variant.is_some_and(|variant| variant.in_stock),
        description: description(&product, ask.lang)
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect(),
        title,
    };
    Answer::page(&page)
}

/// Leads to what a brand has on the product's shelf, or everywhere for a product on none.
fn brand_link(shelf: &str, brand_id: &str) -> String {
    if shelf.is_empty() { format!("/search?brand={brand_id}") } else { format!("/c/{shelf}?brand={brand_id}") }
}

fn choices(variants: &[Variant]) -> Vec<Choice<'_>> {
    variants
        .iter()
        .map(|variant| Choice { sku_id: &variant.id, options: &variant.options, in_stock: variant.in_stock })
        .collect()
}

/// Lists every option with the variant that each of its values leads to, the others kept where they can be.
fn options(ask: &Ask, product: &Product, current: &Variant) -> Vec<Choosing> {
    let all = choices(&product.variants);
    let mut out = Vec::new();
    for option in &product.options {
        let mut values = Vec::new();
        for name in &option.values {
            let with: Vec<Choice<'_>> =
                all.iter().filter(|choice| choice.options.get(&option.name) == Some(name)).cloned().collect();
            let Some(sku) = choose(&with, "", &current.options) else { continue };
            let in_stock = with.iter().any(|choice| choice.sku_id == sku && choice.in_stock);
            values.push(Value {
                name: name.clone(),
                href: ask.link(&format!("/p/{}?sku={sku}", product.id)),
                in_stock,
                current: current.options.get(&option.name) == Some(name),
            });
        }
        let chosen = current.options.get(&option.name).cloned().unwrap_or_default();
        out.push(Choosing { name: option.name.clone(), chosen, values });
    }
    out
}

/// Chooses the picture: the one asked for, else the one whose words name the variant's first option, else the first.
fn shown_picture(ask: &Ask, product: &Product, variant: Option<&Variant>) -> usize {
    if let Some(asked) = ask.query.number("picture").and_then(|index| usize::try_from(index).ok())
        && asked < product.images.len()
    {
        return asked;
    }
    let first = product.options.first().zip(variant).and_then(|(option, variant)| variant.options.get(&option.name));
    first.and_then(|value| product.images.iter().position(|image| image.alt.contains(value.as_str()))).unwrap_or(0)
}

fn thumbs(ask: &Ask, product: &Product, variant: Option<&Variant>, current: usize, title: &str) -> Vec<Thumb> {
    let sku = variant.map(|variant| variant.id.as_str()).unwrap_or_default();
    let thumb = |index: usize, alt: &str| Thumb {
        href: ask.link(&format!("/p/{}?sku={sku}&picture={index}", product.id)),
        picture: picture(product, index, if alt.is_empty() { title } else { alt }),
        current: index == current,
    };
    product.images.iter().enumerate().map(|(index, image)| thumb(index, &image.alt)).collect()
}
