//! What a list of products can be asked: filters and order.

use crate::error::Refusal;

use super::Status;

const Q_CHARS_MAX: usize = 200;

/// Order of a list. Ties are broken by id, so that every order is total and pages neither overlap nor skip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Newest first.
    #[default]
    Newest,
    /// Oldest first.
    Oldest,
    /// Cheapest first.
    Price,
    /// Dearest first.
    PriceDown,
    /// By title.
    Title,
}

impl Order {
    /// Parses the public name; empty means newest.
    ///
    /// # Errors
    /// [`Refusal::Bad`] for another name.
    pub fn parse(name: &str) -> Result<Order, Refusal> {
        match name {
            "" | "newest" => Ok(Order::Newest),
            "oldest" => Ok(Order::Oldest),
            "price" => Ok(Order::Price),
            "-price" => Ok(Order::PriceDown),
            "title" => Ok(Order::Title),
            _ => Err(Refusal::bad("bad_order", "order", "order must be newest, oldest, price, -price or title")),
        }
    }

    /// Returns the public name.
    pub fn as_str(self) -> &'static str {
        match self {
            Order::Newest => "newest",
            Order::Oldest => "oldest",
            Order::Price => "price",
            Order::PriceDown => "-price",
            Order::Title => "title",
        }
    }
}

/// Which products a list shows. Everything named must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Any of these; empty means all but deleted.
    pub statuses: Vec<Status>,
    /// Part of a title or description, lower case.
    pub q: String,
    /// Category with everything below it.
    pub category_id: Option<String>,
    /// Brand.
    pub brand_id: Option<String>,
    /// Seller.
    pub seller_id: Option<String>,
    /// Lowest price at least this many minor units.
    pub price_gte: Option<i64>,
    /// Lowest price at most this many minor units.
    pub price_lte: Option<i64>,
    /// Whether any variant can be bought.
    pub in_stock: Option<bool>,
    /// Order.
    pub order: Order,
}

impl Filter {
    /// Takes a search text: surrounding blanks and letter case do not count.
    ///
    /// # Errors
    /// [`Refusal::Bad`] over 200 characters.
    pub fn with_q(mut self, q: &str) -> Result<Filter, Refusal> {
        if q.chars().count() > Q_CHARS_MAX {
            return Err(Refusal::bad("bad_q", "q", "q has at most 200 characters"));
        }
        self.q = q.trim().to_lowercase();
        Ok(self)
    }

    /// Returns `q` as a LIKE pattern in which `%`, `_` and the escape `\` stand for themselves.
    pub fn pattern(&self) -> Option<String> {
        if self.q.is_empty() {
            return None;
        }
        let mut pattern = String::with_capacity(self.q.len() + 2);
        pattern.push('%');
        for c in self.q.chars() {
            if matches!(c, '%' | '_' | '\\') {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern.push('%');
        Some(pattern)
    }
}
