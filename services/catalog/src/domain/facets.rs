//! What found products have in common: which filter each facet leaves out, and how prices become ranges.

use std::collections::BTreeMap;

use mallard_types::Currency;

use super::Filter;

/// Ranges that prices are divided into at most.
const RANGES_MAX: i64 = 5;
/// First digits of round bounds, in tenths.
const ROUND_TENTHS: [i64; 9] = [10, 15, 20, 30, 40, 50, 60, 80, 100];

/// A way in which found products differ and by which a list can be narrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facet {
    /// Brand.
    Brand,
    /// Category with everything below it.
    Category,
    /// Lowest price.
    Price,
    /// Whether any variant can be bought.
    InStock,
}

/// Products whose lowest price is between two bounds, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceRange {
    /// Minor units.
    pub from: i64,
    /// Minor units.
    pub to: i64,
    /// Products.
    pub count: i64,
}

/// A found product, as far as facets look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Product.
    pub id: String,
    /// Empty for none.
    pub brand_id: String,
    /// Its categories and all above them.
    pub category_ids: Vec<String>,
    /// Lowest price in minor units.
    pub price: i64,
    /// Whether any variant can be bought.
    pub in_stock: bool,
}

/// Numbers of found products, each as if its own filter were not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By brand, the most first.
    pub brands: Vec<(String, i64)>,
    /// By category, the most first.
    pub categories: Vec<(String, i64)>,
    /// By price, the cheapest first.
    pub prices: Vec<PriceCount>,
    /// Of which any variant can be bought.
    pub in_stock: i64,
}

/// How many found products have a price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceCount {
    /// Lowest price in minor units.
    pub price: i64,
    /// Products.
    pub count: i64,
    /// One of them.
    pub product_id: String,
}

impl Counts {
    /// Counts products that were found without asking for any facet: at most so many brands and categories.
    pub fn of(found: &[Found], filter: &Filter, brands_max: usize, categories_max: usize) -> Counts {
        let [any_brand, any_category, any_price, any_stock] =
            [Facet::Brand, Facet::Category, Facet::Price, Facet::InStock].map(|facet| filter.without(facet));
        let (mut brands, mut categories) = (BTreeMap::new(), BTreeMap::new());
        let mut prices: BTreeMap<i64, (i64, &str)> = BTreeMap::new();
        let mut in_stock = 0;
        for product in found {
            if any_brand.admits(product) && !product.brand_id.is_empty() {
                *brands.entry(product.brand_id.as_str()).or_default() += 1;
            }
            if any_category.admits(product) {
                for id in &product.category_ids {
                    *categories.entry(id.as_str()).or_default() += 1;
                }
            }
            if any_price.admits(product) {
                let (count, id) = prices.entry(product.price).or_insert((0, &product.id));
                *count += 1;
                *id = (*id).min(&product.id);
            }
            in_stock += i64::from(product.in_stock && any_stock.admits(product));
        }
        let price = |(price, (count, id)): (i64, (i64, &str))| PriceCount { price, count, product_id: id.to_owned() };
        Counts {
            brands: most(brands, brands_max),
            categories: most(categories, categories_max),
            prices: prices.into_iter().map(price).collect(),
            in_stock,
        }
    }
}

/// Orders counts, the most first and alike ones by id, and keeps so many.
fn most(counts: BTreeMap<&str, i64>, max: usize) -> Vec<(String, i64)> {
    let mut counts: Vec<(String, i64)> = counts.into_iter().map(|(id, count)| (id.to_owned(), count)).collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.truncate(max);
    counts
}

impl Filter {
    /// Returns the filter as if no facet were asked for.
    pub fn without_facets(&self) -> Filter {
        let facets = [Facet::Brand, Facet::Category, Facet::Price, Facet::InStock];
        facets.into_iter().fold(self.clone(), |filter, facet| filter.without(facet))
    }

    /// Tells whether the facets that are asked for hold for a found product.
    fn admits(&self, product: &Found) -> bool {
        self.brand_id.as_ref().is_none_or(|id| *id == product.brand_id)
            && self.category_id.as_ref().is_none_or(|id| product.category_ids.contains(id))
            && self.price_gte.is_none_or(|least| product.price >= least)
            && self.price_lte.is_none_or(|most| product.price <= most)
            && self.in_stock.is_none_or(|in_stock| product.in_stock == in_stock)
    }

    /// Returns the filter as if this facet alone were not asked for: its counts say what another choice would show.
    pub fn without(&self, facet: Facet) -> Filter {
        let mut filter = self.clone();
        match facet {
            Facet::Brand => filter.brand_id = None,
            Facet::Category => filter.category_id = None,
            Facet::Price => (filter.price_gte, filter.price_lte) = (None, None),
            Facet::InStock => filter.in_stock = None,
        }
        filter
    }
}

/// Divides prices, each with the number of its products, in ascending order, into at most five ranges of about as many
/// products. Bounds are round, and whole major units where a price has any. A product whose price is the bound of two ranges
/// is in both, as in the lists the ranges ask for. Prices that are all alike are not divided.
pub fn price_ranges(prices: &[(i64, i64)], currency: Currency) -> Vec<PriceRange> {
    let (Some((lowest, _)), Some((highest, _))) = (prices.first(), prices.last()) else { return Vec::new() };
    let major = 10i64.pow(currency.exponent());
    let total: i64 = prices.iter().map(|(_, count)| count).sum();
    let mut bounds = vec![0];
    let (mut passed, mut share) = (0, 1);
    for (price, count) in prices {
        passed += count;
        while share < RANGES_MAX && passed * RANGES_MAX >= total * share {
            // A bound at the lowest price would have nothing below it.
            let bound = next_round((*price).max(lowest + 1), major);
            if bound < *highest && bounds.last().is_none_or(|last| *last < bound) {
                bounds.push(bound);
            }
            share += 1;
        }
    }
    if bounds.len() < 2 {
        return Vec::new();
    }
    bounds.push(next_round(*highest, major));
    let ranges = bounds.windows(2).filter(|pair| pair[0] < pair[1]).map(|pair| {
        let (from, to) = (pair[0], pair[1]);
        let within = prices.iter().filter(|(price, _)| (from..=to).contains(price));
        PriceRange { from, to, count: within.map(|(_, count)| count).sum() }
    });
    ranges.filter(|range| range.count > 0).collect()
}

/// Returns the least round amount that is not below a price.
fn next_round(price: i64, major: i64) -> i64 {
    let magnitude = 10i64.pow(price.max(1).ilog10());
    let is_round = |amount: &i64| *amount < major || amount % major == 0;
    let tenfold = ROUND_TENTHS.into_iter().map(|tenths| tenths * magnitude).filter(|tenfold| tenfold % 10 == 0);
    tenfold.map(|tenfold| tenfold / 10).filter(is_round).find(|amount| *amount >= price).unwrap_or(price)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(prices: &[i64], currency: Currency) -> Vec<(i64, i64, i64)> {
        let mut sorted = prices.to_vec();
        sorted.sort_unstable();
        let counted: Vec<(i64, i64)> =
            sorted.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as i64)).collect();
        price_ranges(&counted, currency).iter().map(|range| (range.from, range.to, range.count)).collect()
    }

    #[test]
    fn prices_fall_into_round_ranges_of_about_as_many_products() {
        let prices: Vec<i64> = (1..=100).map(|n| n * 990).collect();
        let fifths = [(0, 20_000, 20), (20_000, 40_000, 20), (40_000, 60_000, 20), (60_000, 80_000, 20)];
        assert_eq!(told(&prices, Currency::CNY), [fifths.as_slice(), &[(80_000, 100_000, 20)]].concat());
        // Most are cheap, one is dear.
        assert_eq!(
            told(&[990, 1_290, 1_490, 1_990, 2_490, 499_000], Currency::CNY),
            [(0, 1_500, 3), (1_500, 2_000, 1), (2_000, 3_000, 1), (3_000, 500_000, 1)]
        );
    }

    #[test]
    fn bounds_are_whole_major_units_where_there_are_any() {
        assert_eq!(told(&[110, 150, 160, 390], Currency::JPY), [(0, 150, 2), (150, 200, 2), (200, 400, 1)]);
        assert_eq!(told(&[110, 150, 160, 390], Currency::CNY), [(0, 200, 3), (200, 400, 1)]);
        assert_eq!(told(&[12, 40], Currency::CNY), [(0, 15, 1), (15, 40, 1)]);
    }

    #[test]
    fn a_bound_is_in_both_its_ranges_as_in_the_lists_they_ask_for() {
        assert_eq!(told(&[1_000, 2_000, 5_000], Currency::CNY), [(0, 1_500, 1), (1_500, 2_000, 1), (2_000, 5_000, 2)]);
    }

    #[test]
    fn prices_that_are_alike_are_not_divided() {
        assert_eq!(told(&[], Currency::CNY), []);
        assert_eq!(told(&[990], Currency::CNY), []);
        assert_eq!(told(&[990; 50], Currency::CNY), []);
        assert_eq!(told(&[0, 0], Currency::CNY), []);
        // No round amount is between them.
        assert_eq!(told(&[101, 102], Currency::CNY), []);
    }

    #[test]
    fn a_filter_leaves_out_one_facet_and_keeps_the_others() {
        let filter = Filter {
            q: "tea".into(),
            brand_id: Some("b".into()),
            category_id: Some("c".into()),
            price_gte: Some(1),
            price_lte: Some(2),
            in_stock: Some(true),
            ..Filter::default()
        };
        assert_eq!(filter.without(Facet::Brand), Filter { brand_id: None, ..filter.clone() });
        assert_eq!(filter.without(Facet::Category), Filter { category_id: None, ..filter.clone() });
        assert_eq!(filter.without(Facet::Price), Filter { price_gte: None, price_lte: None, ..filter.clone() });
        assert_eq!(filter.without(Facet::InStock), Filter { in_stock: None, ..filter.clone() });
    }

    proptest! {
        #[test]
        fn every_price_is_in_a_range_and_bounds_are_round(
            prices in prop::collection::vec(0..1_000_000_000_000i64, 1..200),
            currency in prop::sample::select(vec![Currency::CNY, Currency::JPY]),
        ) {
            let ranges = told(&prices, currency);
            prop_assert!(ranges.len() <= RANGES_MAX as usize && ranges.len() != 1);
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0));
            if !ranges.is_empty() {
                for price in &prices {
                    prop_assert!(ranges.iter().any(|(from, to, _)| (from..=to).contains(&price)), "{price} {ranges:?}");
                }
            }
            let major = 10i64.pow(currency.exponent());
            for (from, to, count) in ranges {
                let counted = prices.iter().filter(|price| (from..=to).contains(price)).count() as i64;
                prop_assert_eq!(count, counted);
                for bound in [from, to] {
                    prop_assert!(bound < major || bound % major == 0);
                    prop_assert!(bound.to_string().trim_end_matches('0').len() <= 2, "{bound}");
                }
            }
        }
    }
}
