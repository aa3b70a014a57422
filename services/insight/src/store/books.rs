//! Facts and sums side by side, for checks. What is compared is read by one statement: facts are folded in one transaction,
//! so every statement sees both sides before it or both after it.

use std::collections::BTreeMap;

use mallard_db::{Error as DbError, Row, Value, params};
use mallard_types::Result;

use super::{Store, list};
use crate::domain::Day;

/// What the service knows of one order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    pub placed: bool,
    /// What was paid, in minor units.
    pub paid: Option<i64>,
    /// What was given back so far, in minor units.
    pub refunded: i64,
}

/// One day and currency of the mall as facts, days and products tell it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayBooks {
    /// Orders, units and what was paid, and the lines alone, as the facts say.
    pub facts: (i64, i64, i64, i64),
    /// Orders, units and revenue of the day's sum.
    pub day: (i64, i64, i64),
    /// Units and revenue of all products.
    pub products: (i64, i64),
}

/// One day and currency of a seller as days and products tell it: units and revenue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SellerBooks {
    pub day: (i64, i64),
    pub products: (i64, i64),
}

impl Store {
    /// Reads what is known of orders; those of which nothing is known are left out.
    ///
    /// # Errors
    /// The database's.
    pub async fn known(&self, order_ids: &[&str]) -> Result<BTreeMap<String, Known>> {
        let mut known: BTreeMap<String, Known> = BTreeMap::new();
        if order_ids.is_empty() {
            return Ok(known);
        }
        let ids: Vec<Value> = order_ids.iter().map(|id| Value::from(*id)).collect();
        let sql = format!(
            "SELECT order_id, kind, amount FROM facts WHERE order_id IN {} ORDER BY order_id, version",
            list(&ids)
        );
        for row in self.db.query_dyn(sql, ids).await? {
            let order = known.entry(row.get(0)?).or_default();
            let amount = row.get(2)?;
            match row.get::<String>(1)?.as_str() {
                "placed" => order.placed = true,
                "paid" => order.paid = Some(amount),
                // In order of version, so the last one holds.
                _ => order.refunded = amount,
            }
        }
        Ok(known)
    }

    /// Reads every day of the mall three times.
    ///
    /// # Errors
    /// The database's.
    pub async fn day_books(&self) -> Result<BTreeMap<(Day, String), DayBooks>> {
        const SQL: &str = "SELECT 'facts' AS source, day, currency, COUNT(*) AS orders, CAST(SUM(units) AS BIGINT) AS units, \
                    CAST(SUM(amount) AS BIGINT) AS revenue, CAST(SUM(goods) AS BIGINT) AS goods \
             FROM facts WHERE kind = 'paid' AND folded = 1 GROUP BY day, currency \
             UNION ALL SELECT 'day', day, currency, orders, units, revenue, 0 FROM sales_days WHERE seller_id = '' \
             UNION ALL SELECT 'products', day, currency, 0, CAST(SUM(units) AS BIGINT), CAST(SUM(revenue) AS BIGINT), 0 \
             FROM product_days GROUP BY day, currency";
        let mut books: BTreeMap<(Day, String), DayBooks> = BTreeMap::new();
        for row in self.db.query(SQL, params![]).await? {
            let (orders, units, revenue, goods) = (row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?);
            let book = books.entry((Day::numbered(row.get(1)?), row.get(2)?)).or_default();
            match row.get::<String>(0)?.as_str() {
                "facts" => book.facts = (orders, units, revenue, goods),
                "day" => book.day = (orders, units, revenue),
                _ => book.products = (units, revenue),
            }
        }
        Ok(books)
    }

    /// Reads every day of every seller twice.
    ///
    /// # Errors
    /// The database's.
    pub async fn seller_books(&self) -> Result<BTreeMap<(String, Day, String), SellerBooks>> {
        const SQL: &str = "SELECT 'products' AS source, seller_id, day, currency, CAST(SUM(units) AS BIGINT) AS units, \
                    CAST(SUM(revenue) AS BIGINT) AS revenue FROM product_days WHERE seller_id <> '' \
             GROUP BY seller_id, day, currency \
             UNION ALL SELECT 'day', seller_id, day, currency, units, revenue FROM sales_days WHERE seller_id <> ''";
        let mut books: BTreeMap<(String, Day, String), SellerBooks> = BTreeMap::new();
        for row in self.db.query(SQL, params![]).await? {
            let sums = (row.get(4)?, row.get(5)?);
            let book = books.entry((row.get(1)?, Day::numbered(row.get(2)?), row.get(3)?)).or_default();
            match row.get::<String>(0)?.as_str() {
                "products" => book.products = sums,
                _ => book.day = sums,
            }
        }
        Ok(books)
    }

    /// Reads what was given back, per currency: by the last fact of every order, and by the sums.
    ///
    /// # Errors
    /// The database's.
    pub async fn refund_books(&self) -> Result<BTreeMap<String, (i64, i64)>> {
        const SQL: &str = "SELECT 'facts' AS source, currency, CAST(SUM(amount) AS BIGINT) AS refunded FROM facts AS last \
             WHERE kind = 'refunded' AND folded = 1 AND NOT EXISTS (SELECT 1 FROM facts AS later \
                 WHERE later.order_id = last.order_id AND later.version > last.version \
                 AND later.kind = 'refunded' AND later.folded = 1) GROUP BY currency \
             UNION ALL SELECT 'days', currency, CAST(SUM(refunded) AS BIGINT) FROM sales_days WHERE seller_id = '' \
             GROUP BY currency";
        self.two_sides(SQL).await
    }

    /// Counts orders placed: by facts, and by the sums. All days together, under one name.
    ///
    /// # Errors
    /// The database's.
    pub async fn step_books(&self) -> Result<BTreeMap<String, (i64, i64)>> {
        const SQL: &str = "SELECT 'facts' AS source, kind, COUNT(*) AS orders FROM facts \
             WHERE folded = 1 AND kind IN ('placed', 'paid') GROUP BY kind \
             UNION ALL SELECT 'days', 'placed', CAST(COALESCE(SUM(placed), 0) AS BIGINT) FROM funnel_days \
             UNION ALL SELECT 'days', 'paid', CAST(COALESCE(SUM(paid), 0) AS BIGINT) FROM funnel_days";
        self.two_sides(SQL).await
    }

    async fn two_sides(&self, sql: &'static str) -> Result<BTreeMap<String, (i64, i64)>> {
        let mut books: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        let add = |books: &mut BTreeMap<String, (i64, i64)>, row: &Row| -> Result<(), DbError> {
            let book = books.entry(row.get(1)?).or_default();
            match row.get::<String>(0)?.as_str() {
                "facts" => book.0 = row.get(2)?,
                _ => book.1 = row.get(2)?,
            }
            Ok(())
        };
        for row in self.db.query(sql, params![]).await? {
            add(&mut books, &row)?;
        }
        Ok(books)
    }
}
