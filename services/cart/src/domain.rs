//! A cart and its rules: what may change, and how it is shown against today's prices and stock.

use std::collections::BTreeMap;

use mallard_types::{Currency, Money};

/// Orders a cart remembers so that their units are taken out once.
pub const APPLIED_ORDERS_MAX: usize = 64;

/// Most units of one line and most lines of a cart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Units per line.
    pub quantity_max: i64,
    /// Lines per cart.
    pub lines_max: usize,
}

impl Limits {
    /// What shoppers may do (api.md).
    pub const STORE: Limits = Limits { quantity_max: 9_999, lines_max: 100 };
    /// What other surfaces may do: imports carry wholesale orders.
    pub const INTERNAL: Limits = Limits { quantity_max: 1_000_000, lines_max: 2_000 };
}

/// What the catalog says of a SKU today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goods {
    /// SKU.
    pub sku_id: String,
    /// Product it belongs to.
    pub product_id: String,
    /// Product title.
    pub title: String,
    /// Option name to value.
    pub options: BTreeMap<String, String>,
    /// List price of one unit.
    pub price: Money,
    /// True while the product is listed.
    pub sellable: bool,
}

/// Some units of one SKU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// SKU; one line per SKU.
    pub sku_id: String,
    /// Product it belongs to.
    pub product_id: String,
    /// Title when it was last added or set; shown when the catalog no longer knows the SKU.
    pub title: String,
    /// Units, at least 1.
    pub quantity: i64,
    /// Price of one unit when it was last added or set.
    pub added_price: Money,
}

/// A cart, in the order its lines were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cart {
    /// Lines, one per SKU.
    pub lines: Vec<Line>,
    /// Orders whose units were taken out, oldest first, at most [`APPLIED_ORDERS_MAX`].
    pub applied_orders: Vec<String>,
}

/// Why a change is not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Less than one unit, or more than a line may hold.
    Quantity { max: i64 },
    /// More lines than a cart may hold.
    Lines { max: usize },
    /// No product has this SKU.
    Unknown,
    /// The product is not listed.
    NotSellable,
    /// The cart holds goods priced in another currency.
    MixedCurrencies,
    /// The line's total does not fit.
    Overflow,
    /// The cart is no longer the one the caller saw.
    Version { found: i64 },
}

/// Checks a quantity against the limit of a line.
///
/// # Errors
/// [`Refusal::Quantity`].
pub fn check_quantity(quantity: i64, limits: Limits) -> Result<(), Refusal> {
    if (1..=limits.quantity_max).contains(&quantity) {
        Ok(())
    } else {
        Err(Refusal::Quantity { max: limits.quantity_max })
    }
}

/// Checks that the catalog knows and sells a SKU.
///
/// # Errors
/// [`Refusal::Unknown`] or [`Refusal::NotSellable`].
pub fn check_sellable(goods: Option<&Goods>) -> Result<&Goods, Refusal> {
    let goods = goods.ok_or(Refusal::Unknown)?;
    if goods.sellable { Ok(goods) } else { Err(Refusal::NotSellable) }
}

/// Checks the version a caller saw against the present one.
///
/// # Errors
/// [`Refusal::Version`].
pub fn check_version(expected: Option<i64>, found: i64) -> Result<(), Refusal> {
    match expected {
        Some(expected) if expected != found => Err(Refusal::Version { found }),
        _ => Ok(()),
    }
}

impl Cart {
    /// Adds units to the line of a SKU, or makes the line.
    ///
    /// # Errors
    /// A limit, or another currency; the cart is then unchanged.
    pub fn add(&mut self, goods: &Goods, quantity: i64, limits: Limits) -> Result<(), Refusal> {
        check_quantity(quantity, limits)?;
        let held = self.quantity(&goods.sku_id);
        self.put(goods, held.checked_add(quantity).ok_or(Refusal::Quantity { max: limits.quantity_max })?, limits)
    }

    /// Sets the units of a SKU, making the line when there is none.
    ///
    /// # Errors
    /// A limit, or another currency; the cart is then unchanged.
    pub fn put(&mut self, goods: &Goods, quantity: i64, limits: Limits) -> Result<(), Refusal> {
        check_quantity(quantity, limits)?;
        goods.price.mul(quantity).map_err(|_| Refusal::Overflow)?;
        let mixed = |line: &Line| line.sku_id != goods.sku_id && line.added_price.currency != goods.price.currency;
        if self.lines.iter().any(mixed) {
            return Err(Refusal::MixedCurrencies);
        }
        let line = Line {
            sku_id: goods.sku_id.clone(),
            product_id: goods.product_id.clone(),
            title: goods.title.clone(),
            quantity,
            added_price: goods.price,
        };
        if let Some(held) = self.lines.iter_mut().find(|held| held.sku_id == goods.sku_id) {
            *held = line;
            return Ok(());
        }
        if self.lines.len() >= limits.lines_max {
            return Err(Refusal::Lines { max: limits.lines_max });
        }
        self.lines.push(line);
        Ok(())
    }

    /// Removes the line of a SKU; tells whether there was one.
    pub fn remove(&mut self, sku_id: &str) -> bool {
        let before = self.lines.len();
        self.lines.retain(|line| line.sku_id != sku_id);
        self.lines.len() != before
    }

    /// Removes every line; tells whether there was one.
    pub fn clear(&mut self) -> bool {
        let had_lines = !self.lines.is_empty();
        self.lines.clear();
        had_lines
    }

    /// Takes the lines of a guest's cart over: quantities add up to the limit of a line, and lines that no longer fit the
    /// limit of the cart are left behind. Empties the guest's cart. Tells whether anything was taken.
    pub fn merge(&mut self, guest: &mut Cart, limits: Limits) -> bool {
        let mut taken = false;
        for line in guest.lines.drain(..) {
            if let Some(held) = self.lines.iter_mut().find(|held| held.sku_id == line.sku_id) {
                let sum = held.quantity.saturating_add(line.quantity).min(limits.quantity_max.max(held.quantity));
                taken |= sum != held.quantity;
                held.quantity = sum;
            } else if self.lines.len() < limits.lines_max {
                self.lines.push(Line { quantity: line.quantity.min(limits.quantity_max), ..line });
                taken = true;
            }
        }
        taken
    }

    /// Takes ordered units out, once per order: never more than a line holds, never from a line that was not ordered.
    /// Tells whether this is the first time.
    pub fn remove_ordered(&mut self, order_id: &str, ordered: &[(String, i64)]) -> bool {
        if self.applied_orders.iter().any(|applied| applied == order_id) {
            return false;
        }
        for (sku_id, quantity) in ordered {
            if let Some(line) = self.lines.iter_mut().find(|line| line.sku_id == *sku_id) {
                line.quantity = line.quantity.saturating_sub((*quantity).max(0));
            }
        }
        self.lines.retain(|line| line.quantity > 0);
        self.applied_orders.push(order_id.to_owned());
        let surplus = self.applied_orders.len().saturating_sub(APPLIED_ORDERS_MAX);
        self.applied_orders.drain(..surplus);
        true
    }

    /// Returns the units of a SKU.
    pub fn quantity(&self, sku_id: &str) -> i64 {
        self.lines.iter().find(|line| line.sku_id == sku_id).map_or(0, |line| line.quantity)
    }
}

/// What a line is worth to a buyer now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineState {
    /// It can be bought at the price it was added for.
    Ok,
    /// It can be bought at another price.
    PriceChanged,
    /// Fewer units than the line holds are left.
    SoldOut,
    /// The product is not listed any more.
    Delisted,
}

/// A line against today's catalog and stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownLine {
    /// The line.
    pub line: Line,
    /// Today's title, or the kept one when the catalog does not know the SKU.
    pub title: String,
    /// Option name to value.
    pub options: BTreeMap<String, String>,
    /// Today's price of one unit.
    pub unit_price: Money,
    /// Today's price of all units.
    pub line_total: Money,
    /// State; the worst that applies.
    pub state: LineState,
    /// Units left, when fewer than the line holds.
    pub available: Option<i64>,
    /// The price when the line was added, when it has changed since.
    pub added_price: Option<Money>,
}

/// A cart against today's catalog and stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Lines in cart order.
    pub lines: Vec<ShownLine>,
    /// Sum of the lines that can be bought.
    pub total: Money,
}

/// Shows a cart. Without `goods` (the catalog is away) the kept titles and prices are shown; without `stock` (the
/// inventory is away) no line is sold out.
///
/// # Errors
/// [`Refusal::Overflow`] when today's prices do not add up within 64 bits.
pub fn show(
    cart: &Cart,
    goods: Option<&BTreeMap<String, Goods>>,
    stock: Option<&BTreeMap<String, i64>>,
    currency_of_nothing: Currency,
) -> Result<Shown, Refusal> {
    let mut lines = Vec::with_capacity(cart.lines.len());
    for line in &cart.lines {
        let left = stock.map(|stock| stock.get(&line.sku_id).copied().unwrap_or(0));
        lines.push(match goods {
            Some(goods) => show_line(line, goods.get(&line.sku_id), left)?,
            None => show_line(line, Some(&kept(line)), left)?,
        });
    }
    let bought = |line: &&ShownLine| matches!(line.state, LineState::Ok | LineState::PriceChanged);
    let currency =
        lines.iter().find(bought).or(lines.first()).map_or(currency_of_nothing, |line| line.unit_price.currency);
    // A merge may bring in another currency; such lines stay visible and out of the sum, which knows one currency.
    let summed =
        lines.iter().filter(bought).filter(|line| line.unit_price.currency == currency).map(|line| line.line_total);
    let total = Money::sum(currency, summed).map_err(|_| Refusal::Overflow)?;
    Ok(Shown { lines, total })
}

fn show_line(line: &Line, goods: Option<&Goods>, left: Option<i64>) -> Result<ShownLine, Refusal> {
    let unit_price = goods.map_or(line.added_price, |goods| goods.price);
    let sellable = goods.is_some_and(|goods| goods.sellable);
    let short = left.filter(|left| sellable && *left < line.quantity);
    let changed = unit_price != line.added_price;
    let state = match (sellable, short, changed) {
        (false, _, _) => LineState::Delisted,
        (true, Some(_), _) => LineState::SoldOut,
        (true, None, true) => LineState::PriceChanged,
        (true, None, false) => LineState::Ok,
    };
    Ok(ShownLine {
        line: line.clone(),
        title: goods.map_or_else(|| line.title.clone(), |goods| goods.title.clone()),
        options: goods.map(|goods| goods.options.clone()).unwrap_or_default(),
        unit_price,
        line_total: unit_price.mul(line.quantity).map_err(|_| Refusal::Overflow)?,
        state,
        available: short.map(|left| left.max(0)),
        added_price: changed.then_some(line.added_price),
    })
}

fn kept(line: &Line) -> Goods {
    Goods {
        sku_id: line.sku_id.clone(),
        product_id: line.product_id.clone(),
        title: line.title.clone(),
        options: BTreeMap::new(),
        price: line.added_price,
        sellable: true,
    }
}

#[cfg(test)]
#[path = "domain_tests.rs"]
mod tests;
