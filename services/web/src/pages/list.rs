//! Lists: the shelves of a category, what a search finds, everything there is; with facets, order and pages by key.

use std::sync::Arc;

use askama::Template;
use mallard_proto::catalog::v1::{Facet, Facets, ListProductsRequest};
use mallard_types::{Currency, Error, Money, Result};

use crate::answer::Answer;
use crate::ask::Ask;
use crate::catalogue::{Directory, category_name};
use crate::domain::{minor, short, typed};
use crate::text::{Text, fill};
use crate::view::{Card, Frame, card};

/// Products of a page.
const PAGE: i32 = 24;
const Q_CHARS_MAX: usize = 100;
/// Most values of a facet that are offered.
const VALUES_MAX: usize = 12;

/// A value that can be chosen, with how many products have it.
struct Value {
    value: String,
    label: String,
    count: i64,
    chosen: bool,
}

/// A span of prices, one click away.
struct Span {
    href: String,
    label: String,
    count: i64,
    current: bool,
}

#[derive(Template)]
#[template(path = "list.html")]
struct Page {
    f: Frame,
    heading: String,
    trouble: &'static str,
    crumbs: Vec<(String, String)>,
    count: String,
    below: Vec<(String, String)>,
    is_search: bool,
    action: String,
    filtered: bool,
    sorts: Vec<(&'static str, &'static str, bool)>,
    categories: Vec<Value>,
    no_category: bool,
    brands: Vec<Value>,
    no_brand: bool,
    spans: Vec<Span>,
    min: String,
    max: String,
    in_stock: bool,
    /// Empty when it is not known.
    in_stock_count: String,
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
    is_search: bool,
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
        is_search: false,
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
    let heading = if q.is_empty() { ask.t.all_products.to_owned() } else { fill(ask.t.search_results, &q) };
    let asked = directory.find(ask.query.get("category"));
    let subject = Subject {
        category: asked.map(|category| category.slug.clone()).unwrap_or_default(),
        q,
        action: ask.link("/search"),
        is_search: true,
    };
    Answer::page(&page(ask, &directory, subject, heading).await?)
}

async fn page(ask: &Ask, directory: &Arc<Directory>, subject: Subject, heading: String) -> Result<Page> {
    let t = ask.t;
    let get = |name| ask.query.get(name);
    let sorts =
        [("newest", t.sort_newest), ("price", t.sort_price), ("-price", t.sort_price_down), ("title", t.sort_title)];
    let sort = sorts.iter().find(|(name, _)| *name == get("sort")).map_or("newest", |(name, _)| name);
    let currency = ask.site.catalogue.currency();
    let (low, high) = (minor(get("min"), currency), minor(get("max"), currency));
    let is_unread = [("min", low), ("max", high)].iter().any(|(name, read)| read.is_none() && !get(name).is_empty());
    let in_stock = get("stock") == "1";
    let request = ListProductsRequest {
        q: subject.q.clone(),
        category: subject.category.clone(),
        brand: get("brand").to_owned(),
        price_gte: low,
        price_lte: high,
        in_stock: in_stock.then_some(true),
        order: sort.to_owned(),
        limit: PAGE,
        cursor: get("after").to_owned(),
        count: true,
        facets: true,
        ..ListProductsRequest::default()
    };
    let found = ask.public(ask.site.catalogue.list(request)).await?;
    let searched = if subject.is_search { subject.category.as_str() } else { "" };
    let link = |min: &str, max: &str, after: &str| {
        let fields = [
            ("q", subject.q.as_str()),
            ("sort", if sort == "newest" { "" } else { sort }),
            ("category", searched),
            ("brand", get("brand")),
            ("min", min),
            ("max", max),
            ("stock", if in_stock { "1" } else { "" }),
            ("after", after),
        ];
        with(&subject.action, &fields)
    };
    let facets = found.facets.clone().unwrap_or_default();
    let name = |slug: &str| directory.find(slug).map(|category| category_name(category, ask.lang).to_owned());
    let chosen_span = (low, high);
    let page = Page {
        count: found.count.map(|count| counted(ask, count)).unwrap_or_default(),
        filtered: !get("brand").is_empty() || !searched.is_empty() || low.is_some() || high.is_some() || in_stock,
        sorts: sorts.into_iter().map(|(name, label)| (name, label, name == sort)).collect(),
        categories: if subject.is_search { values(&facets.categories, searched, name) } else { Vec::new() },
        no_category: searched.is_empty(),
        brands: values(&facets.brands, get("brand"), |_| None),
        no_brand: get("brand").is_empty(),
        spans: spans(t, &facets, currency, chosen_span, |min, max| link(min, max, "")),
        min: get("min").to_owned(),
        max: get("max").to_owned(),
        in_stock,
        in_stock_count: facets.in_stock.iter().find(|facet| facet.value == "true").map(of_them).unwrap_or_default(),
        clear: with(&subject.action, &[("q", &subject.q)]),
        cards: found.products.iter().map(|product| card(ask, product)).collect::<Result<_>>()?,
        first: if get("after").is_empty() { String::new() } else { link(get("min"), get("max"), "") },
        more: match found.next_cursor.as_str() {
            "" => String::new(),
            after => link(get("min"), get("max"), after),
        },
        f: Frame { q: subject.q, ..Frame::new(ask, heading.clone()).with_departments(directory) },
        heading,
        trouble: if is_unread { t.price_unread } else { "" },
        crumbs: Vec::new(),
        below: Vec::new(),
        is_search: subject.is_search,
        action: subject.action,
    };
    Ok(page)
}

fn counted(ask: &Ask, count: i64) -> String {
    if count == 1 { ask.t.count_one.to_owned() } else { fill(ask.t.count_many, count) }
}

fn of_them(facet: &Facet) -> String {
    format!("({})", facet.count)
}

/// Offers the values of a facet; `name` knows better words for them than the catalogue.
fn values(facets: &[Facet], chosen: &str, name: impl Fn(&str) -> Option<String>) -> Vec<Value> {
    let value = |facet: &Facet| Value {
        value: facet.value.clone(),
        label: name(&facet.value).unwrap_or_else(|| facet.label.clone()),
        count: facet.count,
        chosen: facet.value == chosen,
    };
    let mut out: Vec<Value> = facets.iter().map(value).filter(|value| !value.label.is_empty()).collect();
    // What is chosen is shown, however few have it.
    let chosen = out.iter().position(|value| value.chosen).filter(|place| *place >= VALUES_MAX);
    if let Some(place) = chosen {
        let value = out.remove(place);
        out.insert(VALUES_MAX - 1, value);
    }
    out.truncate(VALUES_MAX);
    out
}

/// Offers spans of prices as links.
fn spans(
    t: &'static Text,
    facets: &Facets,
    currency: Currency,
    chosen: (Option<i64>, Option<i64>),
    link: impl Fn(&str, &str) -> String,
) -> Vec<Span> {
    let mut out = Vec::new();
    for facet in facets.prices.iter().take(VALUES_MAX) {
        let Some((low, high)) = facet.value.split_once('-') else { continue };
        let (low, high): (Option<i64>, Option<i64>) = (low.parse().ok(), high.parse().ok());
        let write = |amount: Option<i64>| amount.map(|amount| typed(Money::new(amount, currency))).unwrap_or_default();
        let words = |amount: i64| short(Money::new(amount, currency));
        let label = match (low, high) {
            (Some(low), Some(high)) => format!("{} – {}", words(low), words(high)),
            (Some(low), None) => fill(t.price_at_least, words(low)),
            (None, Some(high)) => fill(t.price_at_most, words(high)),
            (None, None) => continue,
        };
        let current = (low, high) == chosen;
        // A second click takes it back.
        let href = if current { link("", "") } else { link(&write(low), &write(high)) };
        out.push(Span { href, label, count: facet.count, current });
    }
    out
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
    fn empty_fields_stay_out_of_addresses() {
        assert_eq!(with("/search", &[("q", "a b&c"), ("brand", "")]), "/search?q=a+b%26c");
        assert_eq!(with("/c/x", &[("q", "")]), "/c/x");
    }
}
