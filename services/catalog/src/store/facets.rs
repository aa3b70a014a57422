//! Counts of what found products have in common. Each reads at most so many found products, the newest first.

use mallard_db::{Error, Row, Value};

use super::Store;
use super::lists::conditions;
use crate::domain::Filter;

/// A price, how many found products have it, and one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceCount {
    /// Lowest price in minor units.
    pub price: i64,
    /// Products.
    pub count: i64,
    /// One of them.
    pub product_id: String,
}

impl Store {
    /// Counts found products by brand, the most first; those without a brand are left out.
    pub async fn count_brands(
        &self,
        filter: &Filter,
        found_max: u32,
        rows_max: u32,
    ) -> Result<Vec<(String, i64)>, Error> {
        let (found, mut params) = found(filter, found_max);
        let sql = format!(
            "SELECT f.brand_id, COUNT(*) AS products FROM ({found}) f WHERE f.brand_id <> '' \
             GROUP BY f.brand_id ORDER BY products DESC, f.brand_id LIMIT ?"
        );
        params.push(Value::from(rows_max));
        self.db.query_dyn(sql, params).await?.iter().map(counted).collect()
    }

    /// Counts found products by category, the most first. A product counts for all categories above its own.
    pub async fn count_categories(
        &self,
        filter: &Filter,
        found_max: u32,
        rows_max: u32,
    ) -> Result<Vec<(String, i64)>, Error> {
        let (found, mut params) = found(filter, found_max);
        let sql = format!(
            "SELECT c.category_id, COUNT(*) AS products FROM ({found}) f \
             JOIN product_categories c ON c.product_id = f.id \
             GROUP BY c.category_id ORDER BY products DESC, c.category_id LIMIT ?"
        );
        params.push(Value::from(rows_max));
        self.db.query_dyn(sql, params).await?.iter().map(counted).collect()
    }

    /// Counts found products by price, the cheapest first: at most `found_max` rows.
    pub async fn count_prices(&self, filter: &Filter, found_max: u32) -> Result<Vec<PriceCount>, Error> {
        let (found, params) = found(filter, found_max);
        let sql = format!(
            "SELECT f.min_price, COUNT(*), MIN(f.id) FROM ({found}) f GROUP BY f.min_price ORDER BY f.min_price"
        );
        let rows = self.db.query_dyn(sql, params).await?;
        rows.iter()
            .map(|row| Ok(PriceCount { price: row.get(0)?, count: row.get(1)?, product_id: row.get(2)? }))
            .collect()
    }

    /// Counts found products of which any variant can be bought.
    pub async fn count_in_stock(&self, filter: &Filter, found_max: u32) -> Result<i64, Error> {
        let (found, params) = found(filter, found_max);
        let sql = format!(
            "SELECT COUNT(*) FROM ({found}) f \
             WHERE EXISTS (SELECT 1 FROM product_skus s WHERE s.product_id = f.id AND s.in_stock = 1)"
        );
        self.db.query_dyn(sql, params).await?.first().map_or(Ok(0), |row| row.get(0))
    }
}

/// Makes the statement that finds products, the newest first, and its parameters.
fn found(filter: &Filter, found_max: u32) -> (String, Vec<Value>) {
    let (condition, mut params) = conditions(filter);
    params.push(Value::from(found_max));
    let sql = format!(
        "SELECT p.id, p.brand_id, p.min_price FROM products p WHERE {condition} \
         ORDER BY p.created_at DESC, p.id DESC LIMIT ?"
    );
    (sql, params)
}

fn counted(row: &Row) -> Result<(String, i64), Error> {
    Ok((row.get(0)?, row.get(1)?))
}
