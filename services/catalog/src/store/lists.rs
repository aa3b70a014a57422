//! Lists with filters, in a total order, in pages that begin after the last key seen.

use mallard_db::{Error, Row, Value};

use super::{Store, in_list};
use crate::domain::{Filter, Order};

/// Where a page ends: the value the list is ordered by, and the id that breaks ties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Sort value: a number or a title.
    pub value: String,
    /// Product.
    pub id: String,
}

/// A page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// Products in order.
    pub ids: Vec<String>,
    /// Key of the last one when there are more.
    pub next: Option<Key>,
    /// Products in all pages, when asked.
    pub count: Option<i64>,
}

impl Store {
    /// Reads a page of at most `rows` products.
    pub async fn list(
        &self,
        filter: &Filter,
        after: Option<&Key>,
        rows: usize,
        count: bool,
    ) -> Result<ListPage, Error> {
        let (column, down) = match filter.order {
            Order::Newest => ("created_at", true),
            Order::Oldest => ("created_at", false),
            Order::Price => ("min_price", false),
            Order::PriceDown => ("min_price", true),
            Order::Title => ("title_key", false),
        };
        let (mut condition, mut params) = conditions(filter);
        let count = match count {
            true => Some(self.count(&condition, params.clone()).await?),
            false => None,
        };
        if let Some(after) = after {
            condition += &format!(" AND (p.{column}, p.id) {} (?, ?)", if down { "<" } else { ">" });
            params.push(sort_value(filter.order, &after.value));
            params.push(Value::from(&after.id));
        }
        let direction = if down { "DESC" } else { "ASC" };
        let sql = format!(
            "SELECT p.id, p.{column} FROM products p WHERE {condition} ORDER BY p.{column} {direction}, p.id {direction} LIMIT ?"
        );
        // One more than the page, to know whether it is the last.
        params.push(Value::from(rows as i64 + 1));
        let mut found = self.db.query_dyn(sql, params).await?;
        let more = found.len() > rows;
        found.truncate(rows);
        let next = match found.last() {
            Some(last) if more => Some(key_of(filter.order, last)?),
            _ => None,
        };
        let ids = found.iter().map(|row| row.get(0)).collect::<Result<_, _>>()?;
        Ok(ListPage { ids, next, count })
    }

    async fn count(&self, condition: &str, params: Vec<Value>) -> Result<i64, Error> {
        let rows = self.db.query_dyn(format!("SELECT COUNT(*) FROM products p WHERE {condition}"), params).await?;
        rows.first().map_or(Ok(0), |row| row.get(0))
    }
}

/// Makes the condition that found products meet, and its parameters.
pub(super) fn conditions(filter: &Filter) -> (String, Vec<Value>) {
    let mut parts = Vec::new();
    let mut params = Vec::new();
    match filter.statuses.as_slice() {
        [] => parts.push("p.status <> 'deleted'".to_owned()),
        [one] => {
            parts.push("p.status = ?".to_owned());
            params.push(Value::from(one.as_str()));
        }
        several => {
            let names: Vec<&str> = several.iter().map(|status| status.as_str()).collect();
            let (list, values) = in_list(&names);
            parts.push(format!("p.status IN {list}"));
            params.extend(values);
        }
    }
    if let Some(pattern) = filter.pattern() {
        parts.push("p.words LIKE ? ESCAPE '\\'".to_owned());
        params.push(Value::from(pattern));
    }
    if let Some(category_id) = &filter.category_id {
        parts.push("p.id IN (SELECT c.product_id FROM product_categories c WHERE c.category_id = ?)".to_owned());
        params.push(Value::from(category_id));
    }
    for (column, wanted) in [("brand_id", &filter.brand_id), ("seller_id", &filter.seller_id)] {
        if let Some(wanted) = wanted {
            parts.push(format!("p.{column} = ?"));
            params.push(Value::from(wanted));
        }
    }
    for (comparison, bound) in [(">=", filter.price_gte), ("<=", filter.price_lte)] {
        if let Some(bound) = bound {
            parts.push(format!("p.min_price {comparison} ?"));
            params.push(Value::from(bound));
        }
    }
    if let Some(in_stock) = filter.in_stock {
        let not = if in_stock { "" } else { "NOT " };
        parts.push(format!("{not}EXISTS (SELECT 1 FROM product_skus s WHERE s.product_id = p.id AND s.in_stock = 1)"));
    }
    (parts.join(" AND "), params)
}

fn sort_value(order: Order, text: &str) -> Value {
    match order {
        Order::Title => Value::from(text),
        // A cursor nobody gave us begins nowhere in particular.
        Order::Newest | Order::Oldest | Order::Price | Order::PriceDown => {
            Value::from(text.parse::<i64>().unwrap_or(0))
        }
    }
}

fn key_of(order: Order, row: &Row) -> Result<Key, Error> {
    let value = match order {
        Order::Title => row.get::<String>(1)?,
        Order::Newest | Order::Oldest | Order::Price | Order::PriceDown => row.get::<i64>(1)?.to_string(),
    };
    Ok(Key { value, id: row.get(0)? })
}
