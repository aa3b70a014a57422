//! What a replay remembers beside the books: papers done, plans of cancellations, rows set aside. It makes a replay that was
//! killed go on where it was.

use std::collections::HashSet;

use mallard_db::{Db, Migration, Tx, params};
use mallard_types::{Error, Result};
use serde::{Deserialize, Serialize};

const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "replay journal",
    sql: "
CREATE TABLE done (paper TEXT NOT NULL PRIMARY KEY);
CREATE TABLE plans (paper TEXT NOT NULL PRIMARY KEY, plan TEXT NOT NULL);
CREATE TABLE set_aside (
    row_number INTEGER NOT NULL PRIMARY KEY,
    invoice TEXT NOT NULL,
    code TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    price_nanos INTEGER NOT NULL,
    at INTEGER NOT NULL,
    customer TEXT NOT NULL,
    country TEXT NOT NULL
);
CREATE TABLE facts (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL);
",
}];

/// The journal's database.
#[derive(Clone)]
pub struct Journal {
    db: Db,
}

/// Part of a cancellation's row that goes back to one order, or to none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub row: i64,
    pub code: String,
    /// Empty when no earlier purchase was found.
    pub order_id: String,
    /// Positive.
    pub units: i64,
    /// Pennies, positive.
    pub amount: i64,
}

/// An accounting row, counted and set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    pub row: i64,
    pub invoice: String,
    pub code: String,
    pub quantity: i64,
    pub price_nanos: i64,
    pub at: i64,
    pub customer: String,
    pub country: String,
}

impl Journal {
    /// Opens the journal beside the mall's databases.
    pub async fn open(context: &mallard_runtime::Context) -> anyhow::Result<Journal> {
        Ok(Journal { db: context.open_db("replay", MIGRATIONS).await? })
    }

    /// Reads the names of every paper that is done.
    pub async fn done(&self) -> Result<HashSet<String>> {
        let rows = self.db.query("SELECT paper FROM done", params![]).await?;
        rows.iter().map(|row| Ok(row.get(0)?)).collect()
    }

    /// Notes that a paper is done.
    pub async fn finish(&self, paper: &str) -> Result<()> {
        self.execute(
            "replay.done",
            "INSERT INTO done (paper) VALUES (?) ON CONFLICT (paper) DO NOTHING",
            paper.to_owned(),
        )
        .await
    }

    /// Refuses a second file on the same mall; the first is known by its fingerprint.
    pub async fn claim(&self, fingerprint: &str) -> anyhow::Result<()> {
        let found = self.db.query_opt("SELECT value FROM facts WHERE name = 'file'", params![]).await?;
        match found {
            Some(row) if row.get::<String>(0)? != fingerprint => {
                anyhow::bail!("this data folder holds the replay of another file; use a new folder with --data-dir")
            }
            Some(_) => Ok(()),
            None => Ok(self
                .execute("replay.file", "INSERT INTO facts (name, value) VALUES ('file', ?)", fingerprint.to_owned())
                .await?),
        }
    }

    async fn execute(&self, name: &'static str, sql: &'static str, text: String) -> Result<()> {
        self.db
            .tx(name, move |tx: Tx| {
                let text = text.clone();
                async move {
                    tx.execute(sql, params![text]).await?;
                    Ok::<_, Error>(())
                }
            })
            .await
    }

    /// Reads the plan of a cancellation, when it has one.
    pub async fn plan(&self, paper: &str) -> Result<Option<Vec<Part>>> {
        let row = self.db.query_opt("SELECT plan FROM plans WHERE paper = ?", params![paper]).await?;
        row.map(|row| serde_json::from_str(&row.get::<String>(0)?).map_err(corrupt)).transpose()
    }

    /// Keeps the plan of a cancellation before any of it is done.
    pub async fn keep_plan(&self, paper: &str, plan: &[Part]) -> Result<()> {
        let (paper, plan) = (paper.to_owned(), serde_json::to_string(plan).map_err(corrupt)?);
        self.db
            .tx("replay.plan", move |tx: Tx| {
                let (paper, plan) = (paper.clone(), plan.clone());
                async move {
                    tx.execute("INSERT INTO plans (paper, plan) VALUES (?, ?)", params![paper, plan]).await?;
                    Ok(())
                }
            })
            .await
    }

    /// Sets an accounting row aside.
    pub async fn set_aside(&self, aside: Aside) -> Result<()> {
        self.db
            .tx("replay.set_aside", move |tx: Tx| {
                let a = aside.clone();
                async move {
                    tx.execute(
                        "INSERT INTO set_aside (row_number, invoice, code, quantity, price_nanos, at, customer, country)
                         VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (row_number) DO NOTHING",
                        params![a.row, a.invoice, a.code, a.quantity, a.price_nanos, a.at, a.customer, a.country],
                    )
                    .await?;
                    Ok(())
                }
            })
            .await
    }

    /// Reads the rows set aside.
    pub async fn asides(&self) -> Result<Vec<Aside>> {
        let sql = "SELECT row_number, invoice, code, quantity, price_nanos, at, customer, country FROM set_aside ORDER BY row_number";
        let rows = self.db.query(sql, params![]).await?;
        rows.iter()
            .map(|row| {
                Ok(Aside {
                    row: row.get(0)?,
                    invoice: row.get(1)?,
                    code: row.get(2)?,
                    quantity: row.get(3)?,
                    price_nanos: row.get(4)?,
                    at: row.get(5)?,
                    customer: row.get(6)?,
                    country: row.get(7)?,
                })
            })
            .collect()
    }
}

fn corrupt(error: serde_json::Error) -> Error {
    Error::internal("corrupt_plan", "a plan of the replay journal cannot be read").source(error)
}
