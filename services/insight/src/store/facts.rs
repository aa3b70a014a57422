//! What orders said. A fact is inserted once, marked as folded once, and then never changes.

use std::collections::BTreeMap;

use mallard_db::{Error as DbError, Row, Tx, Value, params};
use mallard_types::{Error, Result};
use prost::Message;

use super::{CHUNK_ROWS_MAX, Store, list, marks};
use crate::domain::{Day, Fact, Points, Refunded, Sale, SoldLine, Sums, What};

/// Topic that says facts were taken.
pub const FACTS_TOPIC: &str = "insight.facts";

const PLACED: &str = "placed";
const PAID: &str = "paid";
const REFUNDED: &str = "refunded";

const INSERT: &str =
    "INSERT INTO facts (order_id, version, kind, at_us, day, currency, amount, units, goods, detail, folded) VALUES ";
const COLUMNS: usize = 11;
const OPEN: &str = "SELECT seq, order_id, version, kind, at_us, currency, amount, detail FROM facts \
     WHERE folded = 0 ORDER BY seq LIMIT ?";

/// Stored form of what was sold of one product.
#[derive(Clone, PartialEq, Message)]
struct LineRow {
    #[prost(string, tag = "1")]
    seller_id: String,
    #[prost(string, tag = "2")]
    product_id: String,
    #[prost(string, tag = "3")]
    title: String,
    #[prost(int64, tag = "4")]
    units: i64,
    #[prost(int64, tag = "5")]
    revenue: i64,
}

/// Stored form of what columns have no place for.
#[derive(Clone, PartialEq, Message)]
struct Detail {
    #[prost(message, repeated, tag = "1")]
    lines: Vec<LineRow>,
    #[prost(btree_map = "string, int64", tag = "2")]
    sellers: BTreeMap<String, i64>,
}

/// Writes facts down, each once: one statement for up to 64.
pub async fn take(tx: &Tx, facts: &[Fact]) -> Result<(), DbError> {
    for chunk in facts.chunks(CHUNK_ROWS_MAX) {
        // A fact that is written twice is written once, so the last may fill up a number of rows that is prepared already.
        let rows = chunk.len().next_power_of_two();
        let values = chunk.iter().chain(std::iter::repeat_n(&chunk[chunk.len() - 1], rows - chunk.len())).flat_map(row);
        let sql = format!("{INSERT}{} ON CONFLICT (order_id, version) DO NOTHING", marks(COLUMNS, rows));
        if tx.execute_dyn(sql, values.collect()).await? > 0 {
            tx.wake(FACTS_TOPIC);
        }
    }
    Ok(())
}

fn row(fact: &Fact) -> Vec<Value> {
    let (kind, currency, amount, units, goods, detail) = columns(&fact.what);
    params![
        &fact.order_id,
        fact.version,
        kind,
        fact.at,
        fact.day().number(),
        currency,
        amount,
        units,
        goods,
        detail.encode_to_vec(),
        0
    ]
}

fn columns(what: &What) -> (&'static str, &str, i64, i64, i64, Detail) {
    match what {
        What::Placed => (PLACED, "", 0, 0, 0, Detail::default()),
        What::Paid(sale) => {
            let row = |line: &SoldLine| LineRow {
                seller_id: line.seller_id.clone(),
                product_id: line.product_id.clone(),
                title: line.title.clone(),
                units: line.units,
                revenue: line.revenue,
            };
            let detail = Detail { lines: sale.lines.iter().map(row).collect(), ..Detail::default() };
            (PAID, &sale.currency, sale.total, sale.units(), sale.goods(), detail)
        }
        What::Refunded(so_far) => {
            let detail = Detail { sellers: so_far.sellers.clone(), ..Detail::default() };
            (REFUNDED, &so_far.currency, so_far.total, 0, 0, detail)
        }
    }
}

fn what_of(kind: &str, currency: String, amount: i64, detail: &[u8]) -> Result<What, DbError> {
    let detail = Detail::decode(detail).map_err(|error| DbError::Type(format!("detail of a fact: {error}")))?;
    match kind {
        PLACED => Ok(What::Placed),
        PAID => {
            let line = |row: LineRow| SoldLine {
                seller_id: row.seller_id,
                product_id: row.product_id,
                title: row.title,
                units: row.units,
                revenue: row.revenue,
            };
            Ok(What::Paid(Sale { currency, total: amount, lines: detail.lines.into_iter().map(line).collect() }))
        }
        REFUNDED => Ok(What::Refunded(Refunded { currency, total: amount, sellers: detail.sellers })),
        other => Err(DbError::Type(format!("a fact of kind {other}"))),
    }
}

impl Store {
    /// Writes facts down, together with how far the service has caught up.
    ///
    /// # Errors
    /// The database's.
    pub async fn catch_up(&self, facts: Vec<Fact>, reached: String) -> Result<()> {
        const REACHED: &str = "INSERT INTO progress (name, reached) VALUES ('orders', ?) \
             ON CONFLICT (name) DO UPDATE SET reached = excluded.reached";
        let shared = std::sync::Arc::new((facts, reached));
        let written = self.db.tx("insight.catch_up", move |tx| {
            let shared = shared.clone();
            async move {
                take(&tx, &shared.0).await?;
                tx.execute(REACHED, params![&shared.1]).await?;
                Ok::<_, DbError>(())
            }
        });
        Ok(written.await?)
    }

    /// Returns the last order the service has caught up with; empty before the first.
    ///
    /// # Errors
    /// The database's.
    pub async fn reached(&self) -> Result<String> {
        let row = self.db.query_opt("SELECT reached FROM progress WHERE name = 'orders'", params![]).await?;
        Ok(row.map(|row| row.get(0)).transpose()?.unwrap_or_default())
    }

    /// Adds facts to the sums that are not in them yet, the oldest ones; returns how many. `twice` plants a bug.
    ///
    /// # Errors
    /// The database's; `facts_moved` (try again) when another instance folded them at the same moment.
    pub async fn fold(&self, rows_max: u32, twice: bool) -> Result<usize> {
        let rows = self.db.query(OPEN, params![rows_max]).await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let facts = rows.iter().map(fact_of).collect::<Result<Vec<_>, DbError>>()?;
        let seqs = rows.iter().map(|row| Ok(Value::Int(row.get(0)?))).collect::<Result<Vec<_>, DbError>>()?;
        let count = facts.len();
        let shared = std::sync::Arc::new((facts, seqs));
        let folded = self.db.tx("insight.fold", move |tx| {
            let shared = shared.clone();
            async move {
                let (facts, seqs) = &*shared;
                mark(&tx, seqs).await?;
                let known = known_refunds(&tx, facts).await?;
                let sums = Sums::of(facts, &known);
                super::sums::add(&tx, &sums).await?;
                if twice {
                    super::sums::add(&tx, &sums).await?;
                }
                Ok::<_, Error>(())
            }
        });
        folded.await?;
        Ok(count)
    }

    /// Returns the number of the newest fact, and of the oldest that is not folded yet.
    ///
    /// # Errors
    /// The database's.
    pub async fn newest_and_open(&self) -> Result<(i64, Option<i64>)> {
        let newest = self.db.query_opt("SELECT MAX(seq) FROM facts", params![]).await?;
        let newest: Option<i64> = newest.map(|row| row.get(0)).transpose()?.flatten();
        let open = self.db.query_opt("SELECT MIN(seq) FROM facts WHERE folded = 0", params![]).await?;
        Ok((newest.unwrap_or(0), open.map(|row| row.get(0)).transpose()?.flatten()))
    }
}

fn fact_of(row: &Row) -> Result<Fact, DbError> {
    let what = what_of(&row.get::<String>(3)?, row.get(5)?, row.get(6)?, &row.get::<Vec<u8>>(7)?)?;
    Ok(Fact { order_id: row.get(1)?, version: row.get(2)?, at: row.get(4)?, what })
}

/// Marks facts as folded. The count decides between two instances that want the same ones: of two that read overlapping facts
/// only one marks all of its own.
async fn mark(tx: &Tx, seqs: &[Value]) -> Result<()> {
    let sql = format!(
        "UPDATE facts SET folded = 1, detail = CASE WHEN kind = 'refunded' THEN detail ELSE ? END \
         WHERE folded = 0 AND seq IN {}",
        list(seqs)
    );
    let mut values = params![Vec::<u8>::new()];
    values.extend_from_slice(seqs);
    if tx.execute_dyn(sql, values).await? == seqs.len() as u64 {
        return Ok(());
    }
    Err(Error::unavailable("facts_moved", "another instance folded the same facts; try again"))
}

/// Reads the refunds that are in the sums already, of the orders that have new ones.
async fn known_refunds(tx: &Tx, new: &[Fact]) -> Result<BTreeMap<String, Points>, DbError> {
    let mut orders: Vec<&str> =
        new.iter().filter(|fact| matches!(fact.what, What::Refunded(_))).map(|fact| fact.order_id.as_str()).collect();
    orders.sort_unstable();
    orders.dedup();
    let mut known: BTreeMap<String, Points> = BTreeMap::new();
    if orders.is_empty() {
        return Ok(known);
    }
    let orders: Vec<Value> = orders.into_iter().map(Value::from).collect();
    let sql = format!(
        "SELECT order_id, version, kind, day, currency, amount, detail FROM facts \
         WHERE kind = 'refunded' AND folded = 1 AND order_id IN {} ORDER BY order_id, version",
        list(&orders)
    );
    for row in tx.query_dyn(sql, orders).await? {
        let version: i64 = row.get(1)?;
        // The new ones are marked already.
        if new.iter().any(|fact| fact.order_id == row.get::<String>(0).unwrap_or_default() && fact.version == version) {
            continue;
        }
        let what = what_of(&row.get::<String>(2)?, row.get(4)?, row.get(5)?, &row.get::<Vec<u8>>(6)?)?;
        if let What::Refunded(so_far) = what {
            let day = Day::numbered(row.get(3)?);
            known.entry(row.get(0)?).or_default().insert(version, (day, so_far));
        }
    }
    Ok(known)
}
