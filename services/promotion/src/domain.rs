//! Pricing rules. A quote is a pure function of the wanted lines, what the catalog says of them and the shipping rule.

use std::collections::BTreeMap;

use mallard_types::{Currency, Money};

/// Most units of one line and most lines of one basket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Units per line.
    pub quantity_max: i64,
    /// Lines per basket.
    pub lines_max: usize,
}

impl Limits {
    /// What shoppers may ask for (api.md).
    pub const STORE: Limits = Limits { quantity_max: 9_999, lines_max: 100 };
    /// What other services may ask for: imports carry wholesale orders.
    pub const INTERNAL: Limits = Limits { quantity_max: 1_000_000, lines_max: 2_000 };
}

/// One line of the basket as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// SKU to price.
    pub sku_id: String,
    /// Units, at least 1.
    pub quantity: i64,
    /// Unit price agreed outside the list, in billionths of the major unit.
    pub agreed_unit_nanos: Option<i64>,
}

/// What the catalog says of a SKU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Product the SKU belongs to.
    pub product_id: String,
    /// Who sells it.
    pub seller_id: String,
    /// Product title.
    pub title: String,
    /// Option name to value.
    pub options: BTreeMap<String, String>,
    /// List price of one unit.
    pub price: Money,
    /// True while the product is listed.
    pub sellable: bool,
    /// Address of its picture; empty when it has none.
    pub image_url: String,
    /// The seller's own code.
    pub code: String,
}

/// Shipping fee of an order in its currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shipping {
    /// Fee in minor units.
    pub fee_minor: i64,
    /// Goods worth at least this ship free, in minor units.
    pub free_from_minor: Option<i64>,
}

impl Shipping {
    /// Returns the fee for goods of this value.
    pub fn fee(self, goods: Money) -> Money {
        match self.free_from_minor {
            Some(free_from) if goods.amount >= free_from => Money::zero(goods.currency),
            _ => Money::new(self.fee_minor, goods.currency),
        }
    }
}

/// A money amount taken off, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discount {
    /// Rule it comes from.
    pub promotion_id: String,
    /// Text for the shopper.
    pub label: String,
    /// Amount taken off, not negative.
    pub amount: Money,
}

/// A line with its price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Priced {
    /// The line as asked for.
    pub wanted: Wanted,
    /// What the catalog says of it.
    pub listing: Listing,
    /// Price of one unit, rounded half up to the minor unit.
    pub unit_price: Money,
    /// Taken off this line.
    pub discounts: Vec<Discount>,
    /// Price of all units minus discounts.
    pub line_total: Money,
    /// Exact line total minus the rounded one, in billionths of the major unit.
    pub rounding_nanos: i64,
}

/// A priced basket: `total = subtotal - discount + shipping + tax`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// One line per wanted line, in the same order.
    pub lines: Vec<Priced>,
    /// Goods before discounts.
    pub subtotal: Money,
    /// Sum of all discounts.
    pub discount: Money,
    /// Shipping fee.
    pub shipping: Money,
    /// Tax on top of the prices.
    pub tax: Money,
    /// What is to be paid, never negative.
    pub total: Money,
    /// Discounts of the whole basket.
    pub discounts: Vec<Discount>,
}

/// Why a basket has no price. Indexes are those of the wanted lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is nothing to price.
    NoLines,
    /// More lines than allowed.
    TooManyLines(usize),
    /// Less than one unit or more than allowed.
    Quantity { line: usize, max: i64 },
    /// An agreed price below zero.
    Price { line: usize },
    /// No product has this SKU.
    Unknown { line: usize },
    /// The product is not listed.
    NotSellable { line: usize },
    /// Lines are priced in different currencies.
    MixedCurrencies { line: usize },
    /// The sum does not fit.
    Overflow,
    /// No such coupon.
    CouponUnknown { coupon: usize },
}

/// Checks the shape of a basket before anyone is asked about it.
///
/// # Errors
/// The first refusal, in order of the lines.
pub fn check(wanted: &[Wanted], coupon_count: usize, limits: Limits) -> Result<(), Refusal> {
    if wanted.is_empty() {
        return Err(Refusal::NoLines);
    }
    if wanted.len() > limits.lines_max {
        return Err(Refusal::TooManyLines(limits.lines_max));
    }
    for (line, want) in wanted.iter().enumerate() {
        if !(1..=limits.quantity_max).contains(&want.quantity) {
            return Err(Refusal::Quantity { line, max: limits.quantity_max });
        }
        if want.agreed_unit_nanos.is_some_and(|nanos| nanos < 0) {
            return Err(Refusal::Price { line });
        }
    }
    // Coupons are not issued yet, so no code can be one.
    if coupon_count > 0 {
        return Err(Refusal::CouponUnknown { coupon: 0 });
    }
    Ok(())
}

/// Prices a basket that passed [`check`].
///
/// # Errors
/// The first refusal, in order of the lines.
pub fn quote(
    wanted: &[Wanted],
    listings: &BTreeMap<String, Listing>,
    shipping: impl Fn(Currency) -> Shipping,
) -> Result<Quote, Refusal> {
    let mut lines: Vec<Priced> = Vec::with_capacity(wanted.len());
    for (line, want) in wanted.iter().enumerate() {
        let listing = listings.get(&want.sku_id).ok_or(Refusal::Unknown { line })?;
        if !listing.sellable {
            return Err(Refusal::NotSellable { line });
        }
        if lines.first().is_some_and(|first| first.listing.price.currency != listing.price.currency) {
            return Err(Refusal::MixedCurrencies { line });
        }
        lines.push(price(want, listing)?);
    }
    let currency = lines.first().ok_or(Refusal::NoLines)?.listing.price.currency;
    let subtotal = Money::sum(currency, lines.iter().map(|line| line.line_total)).map_err(|_| Refusal::Overflow)?;
    let discount = Money::zero(currency);
    let shipping = shipping(currency).fee(subtotal);
    let tax = Money::zero(currency);
    let total = subtotal
        .sub(discount)
        .and_then(|sum| sum.add(shipping))
        .and_then(|sum| sum.add(tax))
        .map_err(|_| Refusal::Overflow)?;
    Ok(Quote { lines, subtotal, discount, shipping, tax, total, discounts: Vec::new() })
}

fn price(want: &Wanted, listing: &Listing) -> Result<Priced, Refusal> {
    let currency = listing.price.currency;
    let (unit_price, line_total, rounding_nanos) = match want.agreed_unit_nanos {
        None => (listing.price, listing.price.mul(want.quantity).map_err(|_| Refusal::Overflow)?, 0),
        Some(nanos) => {
            let (unit_price, _) = Money::from_nanos(nanos, 1, currency).map_err(|_| Refusal::Overflow)?;
            let (line_total, rounding) =
                Money::from_nanos(nanos, want.quantity, currency).map_err(|_| Refusal::Overflow)?;
            (unit_price, line_total, rounding)
        }
    };
    Ok(Priced {
        wanted: want.clone(),
        listing: listing.clone(),
        unit_price,
        discounts: Vec::new(),
        line_total,
        rounding_nanos,
    })
}

#[cfg(test)]
#[path = "domain_tests.rs"]
mod tests;
