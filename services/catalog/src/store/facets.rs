//! Counts of what found products have in common. Each reads at most so many found products, the newest first.

use std::collections::HashMap;

use mallard_db::{Error, Row, Value};

use super::lists::conditions;
use super::{CHUNK_ROWS_MAX, Store, in_list};
use crate::domain::{Filter, Found, PriceCount};

impl Store {
    /// Reads found products, the newest first, with what facets count: one look at the products, and one at the categories of
    /// every 500 of them.
    pub async fn found(&self, filter: &Filter, found_max: u32) -> Result<Vec<Found>, Error> {
        let (condition, mut params) = conditions(filter);
        params.push(Value::from(found_max));
        let sql = format!(
            "SELECT p.id, p.brand_id, p.min_price, CAST(CASE WHEN EXISTS \
                 (SELECT 1 FROM product_skus s WHERE s.product_id = p.id AND s.in_stock = 1) THEN 1 ELSE 0 END AS BIGINT) \
             FROM products p WHERE {condition} ORDER BY p.created_at DESC, p.id DESC LIMIT ?"
        );
        let mut found = Vec::new();
        for row in self.db.query_dyn(sql, params).await? {
            let in_stock = row.get::<i64>(3)? == 1;
            let (id, brand_id, price) = (row.get(0)?, row.get(1)?, row.get(2)?);
            found.push(Found { id, brand_id, category_ids: Vec::new(), price, in_stock });
        }
        for chunk in found.chunks_mut(CHUNK_ROWS_MAX) {
            let ids: Vec<&str> = chunk.iter().map(|product| product.id.as_str()).collect();
            let (list, params) = in_list(&ids);
            let sql = format!("SELECT product_id, category_id FROM product_categories WHERE product_id IN {list}");
            let mut categories: HashMap<String, Vec<String>> = HashMap::new();
            for row in self.db.query_dyn(sql, params).await? {
                categories.entry(row.get(0)?).or_default().push(row.get(1)?);
            }
            for product in chunk {
                product.category_ids = categories.remove(&product.id).unwrap_or_default();
            }
        }
        Ok(found)
    }

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
