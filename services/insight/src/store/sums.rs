//! Sums: written by folding, read by reports.

use mallard_db::{Error as DbError, Row, Tx, Unit, UnitError, Value, params};
use mallard_types::Result;

use super::{CHUNK_ROWS_MAX, Store, marks};
use crate::domain::{Day, DaySum, MALL, Period, Sums, Visits};

const ADD_DAYS: &str = " ON CONFLICT (seller_id, currency, day) DO UPDATE SET orders = sales_days.orders + excluded.orders, \
     units = sales_days.units + excluded.units, revenue = sales_days.revenue + excluded.revenue, \
     refunded = sales_days.refunded + excluded.refunded";
const ADD_PRODUCTS: &str = " ON CONFLICT (day, currency, product_id, seller_id) DO UPDATE SET \
     units = product_days.units + excluded.units, revenue = product_days.revenue + excluded.revenue";
const NAME: &str = " ON CONFLICT (product_id) DO UPDATE SET title = excluded.title, sold_at = excluded.sold_at, \
     order_id = excluded.order_id WHERE excluded.sold_at > product_titles.sold_at \
     OR (excluded.sold_at = product_titles.sold_at AND excluded.order_id > product_titles.order_id)";
const ADD_STEPS: &str = " ON CONFLICT (day) DO UPDATE SET placed = funnel_days.placed + excluded.placed, \
     paid = funnel_days.paid + excluded.paid";
const COUNT_VISITS: &str = "INSERT INTO funnel_days (day, product_views, cart_additions, checkouts, placed, paid) \
     VALUES (?, ?, ?, ?, 0, 0) ON CONFLICT (day) DO UPDATE SET \
     product_views = funnel_days.product_views + excluded.product_views, \
     cart_additions = funnel_days.cart_additions + excluded.cart_additions, \
     checkouts = funnel_days.checkouts + excluded.checkouts";

/// Tag of the guard that refuses a batch of visits that was counted.
const COUNTED: u32 = 1;

/// Adds to the sums. Rows go in the order of their keys, so that two instances never wait for each other in a circle.
pub(super) async fn add(tx: &Tx, sums: &Sums) -> Result<(), DbError> {
    let days = sums.days.iter().map(|(key, sum)| {
        let (day, DaySum { orders, units, revenue, refunded }) = (key.day.number(), *sum);
        params![&key.seller_id, &key.currency, day, orders, units, revenue, refunded]
    });
    upsert(
        tx,
        "INSERT INTO sales_days (seller_id, currency, day, orders, units, revenue, refunded) VALUES ",
        days.collect(),
        ADD_DAYS,
    )
    .await?;
    let products = sums.products.iter().map(|(key, sum)| {
        params![key.day.number(), &key.currency, &key.product_id, &key.seller_id, sum.units, sum.revenue]
    });
    upsert(
        tx,
        "INSERT INTO product_days (day, currency, product_id, seller_id, units, revenue) VALUES ",
        products.collect(),
        ADD_PRODUCTS,
    )
    .await?;
    let titles =
        sums.titles.iter().map(|(product_id, title)| params![product_id, &title.title, title.sold_at, &title.order_id]);
    upsert(tx, "INSERT INTO product_titles (product_id, title, sold_at, order_id) VALUES ", titles.collect(), NAME)
        .await?;
    let steps = sums.steps.iter().map(|(day, steps)| params![day.number(), 0, 0, 0, steps.placed, steps.paid]);
    upsert(
        tx,
        "INSERT INTO funnel_days (day, product_views, cart_additions, checkouts, placed, paid) VALUES ",
        steps.collect(),
        ADD_STEPS,
    )
    .await
}

async fn upsert(tx: &Tx, insert: &str, rows: Vec<Vec<Value>>, on_conflict: &str) -> Result<(), DbError> {
    for chunk in rows.chunks(CHUNK_ROWS_MAX) {
        let sql = format!("{insert}{}{on_conflict}", marks(chunk[0].len(), chunk.len()));
        tx.execute_dyn(sql, chunk.concat()).await?;
    }
    Ok(())
}

/// What was sold of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    pub product_id: String,
    pub title: String,
    pub units: i64,
    /// Minor units.
    pub revenue: i64,
}

impl Store {
    /// Reads the days of a seller, or of the mall, on which anything was sold or given back, oldest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn sales(&self, seller_id: &str, currency: &str, period: Period) -> Result<Vec<(Day, DaySum)>> {
        const SQL: &str = "SELECT day, orders, units, revenue, refunded FROM sales_days \
             WHERE seller_id = ? AND currency = ? AND day >= ? AND day <= ? ORDER BY day";
        let params = params![seller_id, currency, period.from.number(), period.to.number()];
        let read = |row: &Row| {
            let sum = DaySum { orders: row.get(1)?, units: row.get(2)?, revenue: row.get(3)?, refunded: row.get(4)? };
            Ok((Day::numbered(row.get(0)?), sum))
        };
        Ok(self.db.query(SQL, params).await?.iter().map(read).collect::<Result<_, DbError>>()?)
    }

    /// Reads the products of a seller, or of the mall, of which most units were sold.
    ///
    /// # Errors
    /// The database's.
    pub async fn top(&self, seller_id: &str, currency: &str, period: Period, limit: usize) -> Result<Vec<Top>> {
        const ALL: &str = "SELECT sold.product_id, COALESCE(product_titles.title, ''), sold.units, sold.revenue FROM \
             (SELECT product_id, CAST(SUM(units) AS BIGINT) AS units, CAST(SUM(revenue) AS BIGINT) AS revenue \
              FROM product_days WHERE currency = ? AND day >= ? AND day <= ? GROUP BY product_id \
              ORDER BY 2 DESC, 3 DESC, 1 LIMIT ?) AS sold \
             LEFT JOIN product_titles ON product_titles.product_id = sold.product_id \
             ORDER BY sold.units DESC, sold.revenue DESC, sold.product_id";
        const OF_SELLER: &str = "SELECT sold.product_id, COALESCE(product_titles.title, ''), sold.units, sold.revenue FROM \
             (SELECT product_id, CAST(SUM(units) AS BIGINT) AS units, CAST(SUM(revenue) AS BIGINT) AS revenue \
              FROM product_days WHERE currency = ? AND day >= ? AND day <= ? AND seller_id = ? GROUP BY product_id \
              ORDER BY 2 DESC, 3 DESC, 1 LIMIT ?) AS sold \
             LEFT JOIN product_titles ON product_titles.product_id = sold.product_id \
             ORDER BY sold.units DESC, sold.revenue DESC, sold.product_id";
        let mut values = params![currency, period.from.number(), period.to.number()];
        let sql = if seller_id == MALL {
            ALL
        } else {
            values.push(seller_id.into());
            OF_SELLER
        };
        values.push(Value::Int(limit as i64));
        let read = |row: &Row| {
            Ok(Top { product_id: row.get(0)?, title: row.get(1)?, units: row.get(2)?, revenue: row.get(3)? })
        };
        Ok(self.db.query(sql, values).await?.iter().map(read).collect::<Result<_, DbError>>()?)
    }

    /// Reads the products of which most units were sold, in whatever currency.
    ///
    /// # Errors
    /// The database's.
    pub async fn best_sellers(&self, period: Period, limit: usize) -> Result<Vec<String>> {
        const SQL: &str = "SELECT product_id, CAST(SUM(units) AS BIGINT) AS units FROM product_days \
             WHERE day >= ? AND day <= ? GROUP BY product_id ORDER BY 2 DESC, 1 LIMIT ?";
        let rows = self.db.query(SQL, params![period.from.number(), period.to.number(), limit as i64]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect::<Result<_, DbError>>()?)
    }

    /// Reads how far visits went on days of which anything is known, oldest first: views, additions, checkouts, orders placed
    /// and paid.
    ///
    /// # Errors
    /// The database's.
    pub async fn funnel(&self, period: Period) -> Result<Vec<(Day, [i64; 5])>> {
        const SQL: &str = "SELECT day, product_views, cart_additions, checkouts, placed, paid FROM funnel_days \
             WHERE day >= ? AND day <= ? ORDER BY day";
        let read = |row: &Row| {
            let counts = [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?];
            Ok((Day::numbered(row.get(0)?), counts))
        };
        let rows = self.db.query(SQL, params![period.from.number(), period.to.number()]).await?;
        Ok(rows.iter().map(read).collect::<Result<_, DbError>>()?)
    }

    /// Counts a batch of visits unless it was counted before.
    ///
    /// # Errors
    /// The database's.
    pub async fn count_visits(&self, visits: &Visits) -> Result<()> {
        const BATCH: &str = "INSERT INTO visit_batches (batch_id, day) VALUES (?, ?) ON CONFLICT (batch_id) DO NOTHING";
        let Visits { batch_id, day, product_views, cart_additions, checkouts } = visits;
        let unit = Unit::new("insight.visits")
            .guard(BATCH, params![batch_id, day.number()], 1, COUNTED)
            .exec(COUNT_VISITS, params![day.number(), *product_views, *cart_additions, *checkouts]);
        match self.db.apply(unit).await {
            // Counted already is as good as counted.
            Ok(()) | Err(UnitError::Guard { tag: COUNTED, .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets ids of batches of days before this one.
    ///
    /// # Errors
    /// The database's.
    pub async fn forget_batches(&self, before: Day) -> Result<()> {
        const SQL: &str = "DELETE FROM visit_batches WHERE day < ?";
        Ok(self.db.apply(Unit::new("insight.prune").exec(SQL, params![before.number()])).await?)
    }
}
