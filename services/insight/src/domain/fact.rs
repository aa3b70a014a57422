//! What an order's event says that sums need.

use std::collections::BTreeMap;

use mallard_types::Micros;

use super::Day;

/// One thing that happened to an order. Order and version name it: however often it comes, it is the same fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Whose.
    pub order_id: String,
    /// Position in the order's stream.
    pub version: i64,
    /// When it happened.
    pub at: Micros,
    /// What happened.
    pub what: What,
}

impl Fact {
    /// Returns the day it counts on.
    pub fn day(&self) -> Day {
        Day::of(self.at)
    }
}

/// What happened to an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It was placed.
    Placed,
    /// It was paid.
    Paid(Sale),
    /// Money went back.
    Refunded(Refunded),
}

/// A paid order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sale {
    /// ISO 4217 code.
    pub currency: String,
    /// What was paid, in minor units.
    pub total: i64,
    /// What was sold, one entry per product and seller.
    pub lines: Vec<SoldLine>,
}

impl Sale {
    /// Makes a sale; lines of one product and seller become one.
    pub fn new(currency: String, total: i64, lines: impl IntoIterator<Item = SoldLine>) -> Sale {
        let mut merged: BTreeMap<(String, String), SoldLine> = BTreeMap::new();
        for line in lines {
            let key = (line.product_id.clone(), line.seller_id.clone());
            match merged.get_mut(&key) {
                Some(known) => {
                    known.units += line.units;
                    known.revenue += line.revenue;
                }
                None => drop(merged.insert(key, line)),
            }
        }
        Sale { currency, total, lines: merged.into_values().collect() }
    }

    /// Counts the units.
    pub fn units(&self) -> i64 {
        self.lines.iter().map(|line| line.units).sum()
    }

    /// Sums the lines, in minor units: the total without shipping and tax.
    pub fn goods(&self) -> i64 {
        self.lines.iter().map(|line| line.revenue).sum()
    }
}

/// What was sold of one product.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SoldLine {
    /// Whose product; empty when it is nobody's in particular.
    pub seller_id: String,
    pub product_id: String,
    /// As it was called when it was ordered.
    pub title: String,
    pub units: i64,
    /// Line totals in minor units.
    pub revenue: i64,
}

/// What had been given back of an order after a refund, all refunds so far together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refunded {
    /// ISO 4217 code.
    pub currency: String,
    /// Minor units.
    pub total: i64,
    /// Each seller's part of it.
    pub sellers: BTreeMap<String, i64>,
}

/// What is known of the refunds of one order, by version: how much had been given back when. What one refund gave back is the
/// difference to the one before it, so a refund that is heard of late takes its part out of the next one's.
pub type Points = BTreeMap<i64, (Day, Refunded)>;
