//! The simulator's durable books: one row per key, whatever became of it.

use mallard_db::{Db, Row, Unit, UnitError, params};
use mallard_types::{Currency, Money, Result};

use super::{Book, Movement, Repayment};
use crate::domain::CardFace;
use crate::error;

/// What became of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The money moved.
    Captured,
    /// The issuer said no.
    Declined,
    /// It was withdrawn before money moved.
    Withdrawn,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            State::Captured => "captured",
            State::Declined => "declined",
            State::Withdrawn => "withdrawn",
        }
    }
}

/// A row of the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Idempotency key.
    pub key: String,
    /// What became of it.
    pub state: State,
    /// Decline code.
    pub code: String,
    /// What was asked for; none for a withdrawal that came first.
    pub amount: Option<Money>,
    /// Card it was asked from.
    pub card: Option<CardFace>,
    /// Business time.
    pub at: i64,
}

/// Returns the acquirer's own name of the charge of a key.
pub fn provider_ref(key: &str) -> String {
    format!("{REF_PREFIX}{key}")
}

fn charge_key(provider_ref: &str) -> Option<&str> {
    provider_ref.strip_prefix(REF_PREFIX)
}

/// What became of a repayment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is in the books, now or since before.
    Done,
    /// The capture does not have that much left.
    TooMuch,
}

const REF_PREFIX: &str = "acq_";
const TAG_KEY: u32 = 1;
const TAG_LEFT: u32 = 2;

/// The books.
#[derive(Clone)]
pub struct Books {
    db: Db,
}

impl Books {
    /// Opens the books on their database.
    pub fn new(db: Db) -> Books {
        Books { db }
    }

    /// Writes a line unless its key is known; returns the line that counts.
    ///
    /// # Errors
    /// The database's.
    pub async fn write(&self, line: Line) -> Result<Line> {
        let card = line.card.clone().unwrap_or(CardFace { brand: String::new(), last4: String::new() });
        let (amount, currency) = line.amount.map_or((0, String::new()), |m| (m.amount, m.currency.as_str().to_owned()));
        let unit = Unit::new("acquirer.charge").guard(
            "INSERT INTO charges (charge_key, state, code, amount, refunded, currency, card_brand, card_last4, created_at) \
             VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?) ON CONFLICT (charge_key) DO NOTHING",
            params![
                line.key.clone(),
                line.state.as_str(),
                line.code.clone(),
                amount,
                currency,
                card.brand,
                card.last4,
                line.at
            ],
            1,
            TAG_KEY,
        );
        match self.db.apply(unit).await {
            Ok(()) => Ok(line),
            // A key in the books stays there.
            Err(UnitError::Guard { .. }) => self.find(&line.key).await?.ok_or_else(|| error::broken_row("charge")),
            Err(UnitError::Db(e)) => Err(e.into()),
        }
    }

    /// Finds the line of a key.
    ///
    /// # Errors
    /// The database's.
    pub async fn find(&self, key: &str) -> Result<Option<Line>> {
        let sql = "SELECT charge_key, state, code, amount, currency, card_brand, card_last4, created_at \
                   FROM charges WHERE charge_key = ?";
        match self.db.query_opt(sql, params![key]).await? {
            Some(row) => Ok(Some(line(&row)?)),
            None => Ok(None),
        }
    }

    /// Gives back part of a capture, once per key.
    ///
    /// # Errors
    /// The database's.
    pub async fn give_back(&self, repayment: &Repayment) -> Result<Written> {
        let currency = repayment.amount.currency.as_str();
        let amount = repayment.amount.amount;
        let Some(charge_key) = charge_key(&repayment.provider_ref) else { return Ok(Written::TooMuch) };
        let unit = Unit::new("acquirer.refund")
            .guard(
                "INSERT INTO repayments (repayment_key, charge_key, amount, currency, created_at) VALUES (?, ?, ?, ?, ?) \
                 ON CONFLICT (repayment_key) DO NOTHING",
                params![repayment.key.clone(), charge_key, amount, currency, repayment.at],
                1,
                TAG_KEY,
            )
            .guard(
                "UPDATE charges SET refunded = refunded + ? WHERE charge_key = ? AND state = 'captured' AND currency = ? AND refunded + ? <= amount",
                params![amount, charge_key, currency, amount],
                1,
                TAG_LEFT,
            );
        match self.db.apply(unit).await {
            Ok(()) | Err(UnitError::Guard { tag: TAG_KEY, .. }) => Ok(Written::Done),
            Err(UnitError::Guard { .. }) => Ok(Written::TooMuch),
            Err(UnitError::Db(e)) => Err(e.into()),
        }
    }

    /// Lists movements after a key, in order of key.
    ///
    /// # Errors
    /// The database's.
    pub async fn list(&self, book: Book, after_key: &str, limit: usize) -> Result<Vec<Movement>> {
        let sql = match book {
            Book::Captures => {
                "SELECT charge_key, amount, currency FROM charges WHERE charge_key > ? AND state = 'captured' ORDER BY charge_key LIMIT ?"
            }
            Book::Refunds => {
                "SELECT repayment_key, amount, currency FROM repayments WHERE repayment_key > ? ORDER BY repayment_key LIMIT ?"
            }
        };
        let rows = self.db.query(sql, params![after_key, limit as i64]).await?;
        rows.iter()
            .map(|row| Ok(Movement { key: row.get(0)?, amount: money(row.get(1)?, &row.get::<String>(2)?)? }))
            .collect()
    }
}

fn line(row: &Row) -> Result<Line> {
    let state = match row.get::<String>(1)?.as_str() {
        "captured" => State::Captured,
        "declined" => State::Declined,
        "withdrawn" => State::Withdrawn,
        _ => return Err(error::broken_row("charge")),
    };
    let currency: String = row.get(4)?;
    let brand: String = row.get(5)?;
    Ok(Line {
        key: row.get(0)?,
        state,
        code: row.get(2)?,
        amount: if currency.is_empty() { None } else { Some(money(row.get(3)?, &currency)?) },
        card: if brand.is_empty() { None } else { Some(CardFace { brand, last4: row.get(6)? }) },
        at: row.get(7)?,
    })
}

fn money(amount: i64, currency: &str) -> Result<Money> {
    Ok(Money::new(amount, Currency::parse(currency)?))
}
