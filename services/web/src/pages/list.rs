//! Lists: the shelves of a category, and what a search finds; with facets, order and pages by key.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use mallard_proto::catalog::v1::{ListProductsRequest, ListProductsResponse};
use mallard_types::{Currency, Error, Money, Result};

use crate::answer::Answer;
use crate::ask::Ask;
use crate::catalogue::{Directory, category_name};
use crate::domain::price;
use crate::text::fill;
use crate::view::{Card, Frame, card, variant_price};

/// Products of a page.
const PAGE: i32 = 24;
/// Products the facets are counted over; a longer list shows no counts.
const BASE: i32 = 100;
const Q_CHARS_MAX: usize = 100;

struct BrandFacet {
    id: String,
    name: String,
    /// Products of it; 0 when they were not all counted.
    count: usize,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "list.html")]
struct Page {
    f: Frame,
    heading: String,
    crumbs: Vec<(String, String)>,
    count: String,
    below: Vec<(String, String)>,
    is_search: bool,
    /// Nothing was asked yet.
    ask_first: bool,
    action: String,
    filtered: bool,
    sorts: Vec<(&'static str, &'static str, bool)>,
    brands: Vec<BrandFacet>,
    no_brand: bool,
    price_range: String,
    min: String,
    max: String,
    in_stock: bool,
    clear: String,
    cards: Vec<Card>,
    first: String,
    more: String,
}

/// What the list is of.
struct Subject {
    category: String,
    q: String,
    action: String,
}

/// Shows a category.
///
/// # Errors
/// `category_not_found`; the catalogue's.
pub async fn category(ask: &Ask, slug: &str) -> Result<Answer> {
    let site = &ask.site;
    let directory = ask.public(site.catalogue.directory()).await?;
    let Some(category) = directory.find(slug) else {
        return Err(Error::not_found("category_not_found", "there is no such category"));
    };
    let subject = Subject {
        category: category.id.clone(),
        q: String::new(),
        action: ask.link(&format!("/c/{}", category.slug)),
    };
    let link = |slug: &str| ask.link(&format!("/c/{slug}"));
    let name = category_name(category, ask.lang).to_owned();
    let mut page = page(ask, &directory, subject, name).await?;
    let line = directory.line(&category.id).into_iter();
    page.crumbs = line.map(|one| (link(&one.slug), category_name(one, ask.lang).to_owned())).collect();
    page.below = directory
        .below(&category.id)
        .map(|child| (link(&child.slug), category_name(child, ask.lang).to_owned()))
        .collect();
    Answer::page(&page)
}

/// Shows what a search finds.
///
/// # Errors
/// The catalogue's.
pub async fn search(ask: &Ask) -> Result<Answer> {
    let q: String = ask.query.get("q").chars().take(Q_CHARS_MAX).collect();
    let directory = ask.public(ask.site.catalogue.directory()).await?;
    let heading = if q.is_empty() { ask.t.search.to_owned() } else { fill(ask.t.search_results, &q) };
    let subject = Subject { category: String::new(), q, action: ask.link("/search") };
    Answer::page(&page(ask, &directory, subject, heading).await?)
}

async fn page(ask: &Ask, directory: &Arc<Directory>, subject: Subject, heading: String) -> Result<Page> {
    let t = ask.t;
    let is_search = subject.category.is_empty();
    let mut page = Page {
        f: Frame::new(ask, heading.clone()).with_departments(directory),
        heading,
        crumbs: Vec::new(),
        count: String::new(),
        below: Vec::new(),
        is_search,
        ask_first: is_search && subject.q.is_empty(),
        action: subject.action.clone(),
        filtered: false,
        sorts: Vec::new(),
        brands: Vec::new(),
        no_brand: true,
        price_range: String::new(),
        min: String::new(),
        max: String::new(),
        in_stock: ask.query.get("stock") == "1",
        clear: subject.action.clone(),
        cards: Vec::new(),
        first: String::new(),
        more: String::new(),
    };
    page.f.q = subject.q.clone();
    if page.ask_first {
        return Ok(page);
    }
    if is_search {
        page.clear = with(&subject.action, &[("q", &subject.q)]);
    }
    let site = &ask.site;
    let base = ListProductsRequest {
        q: subject.q.clone(),
        category: subject.category.clone(),
        limit: BASE,
        ..ListProductsRequest::default()
    };
    let sort = ask.query.get("sort");
    let sorts =
        [("newest", t.sort_newest), ("price", t.sort_price), ("-price", t.sort_price_down), ("title", t.sort_title)];
    let sort = sorts.iter().find(|(name, _)| *name == sort).map_or("newest", |(name, _)| name);
    page.sorts = sorts.into_iter().map(|(name, label)| (name, label, name == sort)).collect();
    let brand = ask.query.get("brand").to_owned();
    (page.min, page.max) = (ask.query.get("min").to_owned(), ask.query.get("max").to_owned());
    // Every price of this shop is in one currency: the first product says which. It is in memory when anything is.
    let currency = Currency::CNY;
    let (low, high) = (minor(&page.min, currency), minor(&page.max, currency));
    let narrowed = ListProductsRequest {
        brand: brand.clone(),
        price_gte: low,
        price_lte: high,
        in_stock: page.in_stock.then_some(true),
        order: sort.to_owned(),
        limit: PAGE,
        cursor: ask.query.get("after").to_owned(),
        ..base.clone()
    };
    let (base, found) =
        ask.public(async { tokio::try_join!(site.catalogue.list(base), site.catalogue.list(narrowed)) }).await?;
    page.filtered = !brand.is_empty() || low.is_some() || high.is_some() || page.in_stock;
    page.no_brand = brand.is_empty();
    (page.brands, page.price_range) = facets(&base, &brand)?;
    if !page.filtered && base.next_cursor.is_empty() {
        page.count = counted(ask, base.products.len());
    }
    page.cards = found.products.iter().map(|product| card(ask, product)).collect::<Result<_>>()?;
    let keep = |after: &str| {
        let stock = if page.in_stock { "1" } else { "" };
        let fields = [
            ("q", subject.q.as_str()),
            ("sort", if sort == "newest" { "" } else { sort }),
            ("brand", brand.as_str()),
            ("min", page.min.as_str()),
            ("max", page.max.as_str()),
            ("stock", stock),
            ("after", after),
        ];
        with(&subject.action, &fields)
    };
    if !found.next_cursor.is_empty() {
        page.more = keep(&found.next_cursor);
    }
    if !ask.query.get("after").is_empty() {
        page.first = keep("");
    }
    Ok(page)
}

fn counted(ask: &Ask, count: usize) -> String {
    if count == 1 { ask.t.count_one.to_owned() } else { fill(ask.t.count_many, count) }
}

/// Finds the brands and the span of prices of a list.
fn facets(base: &ListProductsResponse, chosen: &str) -> Result<(Vec<BrandFacet>, String)> {
    let mut brands: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut span: Option<(Money, Money)> = None;
    for product in &base.products {
        if let Some(brand) = &product.brand {
            *brands.entry((brand.name.clone(), brand.id.clone())).or_default() += 1;
        }
        for variant in &product.variants {
            let money = variant_price(variant)?;
            span = Some(match span {
                None => (money, money),
                Some((low, high)) if low.currency == money.currency => (
                    if money.amount < low.amount { money } else { low },
                    if money.amount > high.amount { money } else { high },
                ),
                Some(span) => span,
            });
        }
    }
    let is_whole = base.next_cursor.is_empty();
    let facets = brands
        .into_iter()
        .map(|((name, id), count)| BrandFacet {
            chosen: id == chosen,
            count: if is_whole { count } else { 0 },
            id,
            name,
        })
        .collect();
    let range = match span {
        Some((low, high)) if is_whole => format!("{} – {}", price(low), price(high)),
        _ => String::new(),
    };
    Ok((facets, range))
}

/// Reads an amount as people type it, e.g. `12.50`, in minor units; nothing for what is none.
fn minor(text: &str, currency: Currency) -> Option<i64> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let places = currency.exponent() as usize;
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(rest) || rest.len() > places {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let rest: i64 = format!("{rest:0<places$}0").parse::<i64>().ok()? / 10;
    whole.checked_mul(10i64.checked_pow(currency.exponent())?)?.checked_add(rest)
}

/// Writes an address with those fields that hold something.
fn with(path: &str, fields: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    match query.finish() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_type_them() {
        let kwd = Currency::parse("KWD").unwrap();
        for (text, currency, amount) in [
            ("12", Currency::CNY, Some(1_200)),
            ("12.5", Currency::CNY, Some(1_250)),
            ("0.05", Currency::CNY, Some(5)),
            ("12.345", Currency::CNY, None),
            ("-1", Currency::CNY, None),
            ("abc", Currency::CNY, None),
            ("", Currency::CNY, None),
            (".5", Currency::CNY, None),
            ("99999999999999999999", Currency::CNY, None),
            ("1500", Currency::JPY, Some(1_500)),
            ("1.5", Currency::JPY, None),
            ("1.234", kwd, Some(1_234)),
        ] {
            assert_eq!(minor(text, currency), amount, "{text}");
        }
    }

    #[test]
    fn empty_fields_stay_out_of_addresses() {
        assert_eq!(with("/search", &[("q", "a b&c"), ("brand", "")]), "/search?q=a+b%26c");
        assert_eq!(with("/c/x", &[("q", "")]), "/c/x");
    }
}
