//! What found products have in common, for the choices beside a list.

use std::sync::Arc;

use mallard_types::{Currency, Result};

use super::App;
use crate::domain::{Counts, Facet, Filter, Order, PriceCount, price_ranges};

/// Found products that are counted.
const FOUND_MAX: u32 = 10_000;
/// Most brands told.
const BRANDS_MAX: u32 = 50;
/// Most categories told.
const CATEGORIES_MAX: u32 = 100;

/// How many found products have a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Value {
    /// What to ask for.
    pub value: String,
    /// For people; empty where the value says it.
    pub label: String,
    /// Products.
    pub count: i64,
}

/// The counts, each as if its own filter were not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facets {
    /// Brand ids, the most products first.
    pub brands: Vec<Value>,
    /// Category slugs, the most products first.
    pub categories: Vec<Value>,
    /// Ranges of the lowest price in minor units, the cheapest first.
    pub prices: Vec<Value>,
    /// `true`, when any can be bought.
    pub in_stock: Vec<Value>,
}

impl App {
    /// Counts what the found products have in common, from memory when nothing has changed since.
    pub(super) async fn facets(&self, filter: &Filter) -> Result<Arc<Facets>> {
        let filter = Filter { order: Order::Newest, ..filter.clone() };
        let key = format!("{:?} {filter:?}", self.shelf.tide());
        self.facets.get_or_load(key, || async move { Ok(Arc::new(self.count_facets(&filter).await?)) }).await
    }

    async fn count_facets(&self, filter: &Filter) -> Result<Facets> {
        let counts =
            if filter.q.is_empty() { self.count_indexed(filter).await? } else { self.count_texts(filter).await? };
        Ok(Facets {
            brands: self.brand_values(counts.brands).await?,
            categories: self.category_values(counts.categories).await?,
            prices: self.price_values(&counts.prices).await?,
            in_stock: match counts.in_stock {
                0 => Vec::new(),
                count => vec![Value { value: "true".to_owned(), count, ..Value::default() }],
            },
        })
    }

    /// Counts in indexes, without reading a product.
    async fn count_indexed(&self, filter: &Filter) -> Result<Counts> {
        let without = |facet| filter.without(facet);
        Ok(Counts {
            brands: self.store.count_brands(&without(Facet::Brand), FOUND_MAX, BRANDS_MAX).await?,
            categories: self.store.count_categories(&without(Facet::Category), FOUND_MAX, CATEGORIES_MAX).await?,
            prices: self.store.count_prices(&without(Facet::Price), FOUND_MAX).await?,
            in_stock: self.store.count_in_stock(&without(Facet::InStock), FOUND_MAX).await?,
        })
    }

    /// Looks for a text once, not once per facet: it reads the texts of all products.
    async fn count_texts(&self, filter: &Filter) -> Result<Counts> {
        let found = self.store.found(&filter.without_facets(), FOUND_MAX).await?;
        Ok(Counts::of(&found, filter, BRANDS_MAX as usize, CATEGORIES_MAX as usize))
    }

    async fn brand_values(&self, counts: Vec<(String, i64)>) -> Result<Vec<Value>> {
        let listing = self.listing().await?;
        let value = |(id, count): (String, i64)| {
            let label = listing.brand(&id).map(|brand| brand.name.clone()).unwrap_or_default();
            Value { value: id, label, count }
        };
        Ok(counts.into_iter().map(value).collect())
    }

    /// A category that another process has just made goes by its id, which can be asked for too.
    async fn category_values(&self, counts: Vec<(String, i64)>) -> Result<Vec<Value>> {
        let listing = self.listing().await?;
        let value = |(id, count): (String, i64)| match listing.tree.get(&id) {
            Some(category) => Value { value: category.slug.clone(), label: category.name.clone(), count },
            None => Value { value: id, label: String::new(), count },
        };
        Ok(counts.into_iter().map(value).collect())
    }

    /// Divides the prices in the currency of one of the products: a shop's prices are in one, as its price filter takes them.
    async fn price_values(&self, counts: &[PriceCount]) -> Result<Vec<Value>> {
        let Some(first) = counts.first() else { return Ok(Vec::new()) };
        let product = self.shelf.product(&first.product_id).await?;
        let currency = product.and_then(|product| product.variants.first().map(|variant| variant.price.currency));
        let prices: Vec<(i64, i64)> = counts.iter().map(|count| (count.price, count.count)).collect();
        let ranges = price_ranges(&prices, currency.unwrap_or(Currency::CNY));
        let value = |range: &crate::domain::PriceRange| Value {
            value: format!("{}-{}", range.from, range.to),
            label: String::new(),
            count: range.count,
        };
        Ok(ranges.iter().map(value).collect())
    }
}
