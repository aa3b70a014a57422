//! Sums, and what facts add to them.

use std::collections::{BTreeMap, BTreeSet};

use mallard_types::Micros;

use super::{Day, Fact, Points, Sale, What};

/// Stands for the whole mall where a seller's id would be.
pub const MALL: &str = "";

/// Whose sums of which day.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DayKey {
    /// [`MALL`] for everything that was sold.
    pub seller_id: String,
    pub currency: String,
    pub day: Day,
}

/// Sales of a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DaySum {
    /// Orders paid; a seller's, those with a line of its own.
    pub orders: i64,
    pub units: i64,
    /// Minor units: order totals; a seller's, its line totals.
    pub revenue: i64,
    /// Minor units given back on the day.
    pub refunded: i64,
}

impl DaySum {
    /// Adds another day's.
    pub fn add(&mut self, other: DaySum) {
        self.orders += other.orders;
        self.units += other.units;
        self.revenue += other.revenue;
        self.refunded += other.refunded;
    }
}

/// Which product on which day.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProductKey {
    pub day: Day,
    pub currency: String,
    pub product_id: String,
    pub seller_id: String,
}

/// Sales of a product on a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProductSum {
    pub units: i64,
    /// Line totals in minor units.
    pub revenue: i64,
}

/// What a product was called when it was last sold. The later one holds; of two at one time, the greater order's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Title {
    pub sold_at: Micros,
    pub order_id: String,
    pub title: String,
}

/// How far visits of a day went, as orders tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    pub placed: i64,
    pub paid: i64,
}

/// What facts add to the sums; from nothing, the sums themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub days: BTreeMap<DayKey, DaySum>,
    pub products: BTreeMap<ProductKey, ProductSum>,
    pub titles: BTreeMap<String, Title>,
    pub steps: BTreeMap<Day, Steps>,
}

impl Sums {
    /// Returns what facts that are new add to the sums of those that are known. `known` holds the known refunds of the new
    /// facts' orders; nothing else of what is known matters.
    pub fn of(new: &[Fact], known: &BTreeMap<String, Points>) -> Sums {
        let mut sums = Sums::default();
        let mut refunded: BTreeMap<&str, Points> = BTreeMap::new();
        for fact in new {
            match &fact.what {
                What::Placed => sums.steps.entry(fact.day()).or_default().placed += 1,
                What::Paid(sale) => sums.add_sale(fact, sale),
                What::Refunded(so_far) => {
                    let before = || known.get(&fact.order_id).cloned().unwrap_or_default();
                    let points = refunded.entry(&fact.order_id).or_insert_with(before);
                    points.insert(fact.version, (fact.day(), so_far.clone()));
                }
            }
        }
        for (order_id, points) in refunded {
            sums.add_refunds(&points, 1);
            if let Some(before) = known.get(order_id) {
                sums.add_refunds(before, -1);
            }
        }
        sums.days.retain(|_, sum| *sum != DaySum::default());
        sums
    }

    fn add_sale(&mut self, fact: &Fact, sale: &Sale) {
        let day = fact.day();
        self.steps.entry(day).or_default().paid += 1;
        let all = DaySum { orders: 1, units: sale.units(), revenue: sale.total, refunded: 0 };
        self.day(MALL, &sale.currency, day).add(all);
        let mut sellers: BTreeSet<&str> = BTreeSet::new();
        for line in &sale.lines {
            let key = ProductKey {
                day,
                currency: sale.currency.clone(),
                product_id: line.product_id.clone(),
                seller_id: line.seller_id.clone(),
            };
            let product = self.products.entry(key).or_default();
            product.units += line.units;
            product.revenue += line.revenue;
            self.name(fact, &line.product_id, &line.title);
            if line.seller_id != MALL {
                let orders = i64::from(sellers.insert(&line.seller_id));
                let own = DaySum { orders, units: line.units, revenue: line.revenue, refunded: 0 };
                self.day(&line.seller_id, &sale.currency, day).add(own);
            }
        }
    }

    /// Adds every refund of an order, or with a sign of -1 takes them away again.
    fn add_refunds(&mut self, points: &Points, sign: i64) {
        let mut total = 0;
        let mut shares: BTreeMap<&str, i64> = BTreeMap::new();
        for (day, so_far) in points.values() {
            self.day(MALL, &so_far.currency, *day).refunded += sign * (so_far.total - total);
            total = so_far.total;
            for (seller_id, share) in &so_far.sellers {
                let before = shares.insert(seller_id, *share).unwrap_or(0);
                self.day(seller_id, &so_far.currency, *day).refunded += sign * (share - before);
            }
        }
    }

    fn name(&mut self, fact: &Fact, product_id: &str, title: &str) {
        let new = Title { sold_at: fact.at, order_id: fact.order_id.clone(), title: title.to_owned() };
        let known = self.titles.entry(product_id.to_owned()).or_insert_with(|| new.clone());
        if *known < new {
            *known = new;
        }
    }

    fn day(&mut self, seller_id: &str, currency: &str, day: Day) -> &mut DaySum {
        let key = DayKey { seller_id: seller_id.to_owned(), currency: currency.to_owned(), day };
        self.days.entry(key).or_default()
    }
}
