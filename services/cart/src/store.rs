//! Carts in the database: one row each. A read is one statement, a change is one read and one guarded write.

use mallard_db::{Db, Row, Tx, params};
use mallard_types::{Currency, Error, Micros, Money, Result};
use prost::Message;

use crate::domain::{Cart, Line};

/// Whose cart is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A signed-in user, by id.
    User(String),
    /// A guest, by the hash of the token.
    Guest(String),
    /// A guest who has no cart yet.
    Nobody,
}

/// A cart with its place in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// `cart_…`
    pub id: String,
    /// Grows by one with every change; 0 before the first.
    pub version: i64,
    /// When it last changed.
    pub updated_at: Micros,
    /// The cart.
    pub cart: Cart,
}

/// What a first change needs to make the row.
#[derive(Clone, Debug)]
pub struct Birth {
    /// Id of the cart, if one is made.
    pub id: String,
    /// Hash of the token a new guest will get.
    pub token_hash: String,
    /// Now.
    pub now: Micros,
    /// When an untouched guest cart may be removed.
    pub guest_expires_at: Micros,
}

/// How a change ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was to be written; nothing at all when there was no cart.
    Unchanged(Option<Saved>),
    /// Written to the owner's row.
    Written(Saved),
    /// Written to a new row; a guest's is found by [`Birth::token_hash`] from now on.
    Made(Saved),
    /// Somebody else changed the cart in between; nothing is written. Try again.
    Raced,
}

/// Reads and writes carts.
#[derive(Clone)]
pub struct Store {
    db: Db,
}

const FIND_USER: &str = "SELECT id, body, version, updated_at, user_id, merged_into FROM carts WHERE user_id = ?";
const FIND_GUEST: &str = "SELECT id, body, version, updated_at, user_id, merged_into FROM carts WHERE token_hash = ?";
const FIND_BOTH: &str =
    "SELECT id, body, version, updated_at, user_id, merged_into FROM carts WHERE user_id = ? OR token_hash = ?";
const INSERT_USER: &str = "INSERT INTO carts (id, user_id, token_hash, body, version, created_at, updated_at, expires_at) \
     VALUES (?, ?, ?, ?, 1, ?, ?, ?) ON CONFLICT (user_id) DO NOTHING";
const UPDATE: &str =
    "UPDATE carts SET body = ?, version = version + 1, updated_at = ?, expires_at = ? WHERE id = ? AND version = ?";
const MARK_MERGED: &str = "UPDATE carts SET body = ?, version = version + 1, updated_at = ?, merged_into = ? WHERE id = ? AND version = ? AND merged_into IS NULL";
const FIND_OLD: &str = "SELECT id FROM carts WHERE expires_at < ? ORDER BY expires_at LIMIT ?";
const FORGET: &str = "DELETE FROM carts WHERE user_id = ?";
const SCAN: &str =
    "SELECT id, body, version, updated_at, user_id, merged_into FROM carts WHERE id > ? ORDER BY id LIMIT ?";
const OWNED_TWICE: &str =
    "SELECT user_id FROM carts WHERE user_id IS NOT NULL GROUP BY user_id HAVING COUNT(*) > 1 ORDER BY user_id LIMIT ?";

impl Store {
    /// Makes the store over the service's database.
    pub fn new(db: Db) -> Store {
        Store { db }
    }

    /// Finds the owner's cart. A guest's cart that was merged is nobody's.
    ///
    /// # Errors
    /// The database is away, or the row cannot be read.
    pub async fn find(&self, owner: &Owner) -> Result<Option<Saved>> {
        let row = match owner {
            Owner::User(user_id) => self.db.query_opt(FIND_USER, params![user_id.as_str()]).await?,
            Owner::Guest(token_hash) => self.db.query_opt(FIND_GUEST, params![token_hash.as_str()]).await?,
            Owner::Nobody => None,
        };
        Ok(row.map(Found::read).transpose()?.and_then(Found::live))
    }

    /// Changes the owner's cart, or makes it: reads it, lets `decide` change it (or refuse, or leave it alone by answering
    /// `false`) and writes it under the version read. `decide` may run more than once.
    ///
    /// # Errors
    /// What `decide` refuses; the database is away.
    pub async fn change<F>(&self, name: &'static str, owner: Owner, birth: Birth, decide: F) -> Result<Outcome>
    where
        F: Fn(&mut Cart, i64) -> Result<bool> + Clone + Send + Sync + 'static,
    {
        self.db
            .tx(name, move |tx| {
                let (owner, birth, decide) = (owner.clone(), birth.clone(), decide.clone());
                async move { change(&tx, &owner, &birth, decide).await }
            })
            .await
    }

    /// Moves a guest's lines into the user's cart and marks the guest's cart as merged, in one transaction. A guest's cart
    /// that is unknown or merged already changes nothing.
    ///
    /// # Errors
    /// The database is away.
    pub async fn merge<F>(&self, user_id: String, token_hash: String, birth: Birth, decide: F) -> Result<Outcome>
    where
        F: Fn(&mut Cart, &mut Cart) -> bool + Clone + Send + Sync + 'static,
    {
        let merged = self
            .db
            .tx("cart.merge", move |tx| {
                let (user_id, token_hash, birth, decide) =
                    (user_id.clone(), token_hash.clone(), birth.clone(), decide.clone());
                async move { merge(&tx, user_id, token_hash, &birth, decide).await }
            })
            .await;
        match merged {
            Ok(outcome) => Ok(outcome),
            Err(Undone::Raced) => Ok(Outcome::Raced),
            Err(Undone::Failed(error)) => Err(error),
        }
    }

    /// Removes up to `rows_max` guest carts that expired before `now`; returns how many it saw.
    ///
    /// # Errors
    /// The database is away.
    pub async fn prune(&self, now: Micros, rows_max: u32) -> Result<usize> {
        let rows = self.db.query(FIND_OLD, params![now, rows_max]).await?;
        let mut ids = Vec::with_capacity(rows.len() + 1);
        for row in &rows {
            ids.push(row.get::<String>(0)?);
        }
        if ids.is_empty() {
            return Ok(0);
        }
        // The time is asked again: a cart touched in between lives on.
        let sql = format!("DELETE FROM carts WHERE id IN ({}) AND expires_at < ?", vec!["?"; ids.len()].join(", "));
        self.db
            .tx("cart.prune", move |tx| {
                let (sql, ids) = (sql.clone(), ids.clone());
                async move {
                    let mut values: Vec<_> = ids.into_iter().map(mallard_db::Value::from).collect();
                    values.push(now.into());
                    tx.execute_dyn(sql, values).await.map_err(Error::from)
                }
            })
            .await?;
        Ok(rows.len())
    }

    /// Reads carts in order of id, for the books.
    ///
    /// # Errors
    /// The database is away, or a row cannot be read.
    pub async fn scan(&self, after_id: &str, rows_max: u32) -> Result<Vec<Scanned>> {
        let rows = self.db.query(SCAN, params![after_id, rows_max]).await?;
        rows.into_iter()
            .map(|row| Found::read(row).map(|found| Scanned { merged: found.merged, saved: found.saved }))
            .collect()
    }

    /// Returns users that own more than one cart, at most `rows_max`.
    ///
    /// # Errors
    /// The database is away.
    pub async fn owned_twice(&self, rows_max: u32) -> Result<Vec<String>> {
        let rows = self.db.query(OWNED_TWICE, params![rows_max]).await?;
        rows.iter().map(|row| Ok(row.get::<String>(0)?)).collect()
    }
}

/// A row as the books see it.
#[derive(Clone, Debug)]
pub struct Scanned {
    /// True for a guest's cart that was merged into a user's.
    pub merged: bool,
    /// The cart.
    pub saved: Saved,
}

/// Removes a deleted user's cart within the transaction of the event.
///
/// # Errors
/// The database is away.
pub async fn forget(tx: &Tx, user_id: &str) -> Result<()> {
    tx.execute(FORGET, params![user_id]).await?;
    Ok(())
}

async fn change<F>(tx: &Tx, owner: &Owner, birth: &Birth, decide: F) -> Result<Outcome>
where
    F: Fn(&mut Cart, i64) -> Result<bool>,
{
    let row = match owner {
        Owner::User(user_id) => tx.query_opt(FIND_USER, params![user_id.as_str()]).await?,
        Owner::Guest(token_hash) => tx.query_opt(FIND_GUEST, params![token_hash.as_str()]).await?,
        Owner::Nobody => None,
    };
    if let Some(mut saved) = row.map(Found::read).transpose()?.and_then(Found::live) {
        if !decide(&mut saved.cart, saved.version)? {
            return Ok(Outcome::Unchanged(Some(saved)));
        }
        let is_guest = !matches!(owner, Owner::User(_));
        return update(tx, saved, birth, is_guest).await;
    }
    let mut cart = Cart::default();
    if !decide(&mut cart, 0)? {
        return Ok(Outcome::Unchanged(None));
    }
    let user_id = if let Owner::User(user_id) = owner { Some(user_id.as_str()) } else { None };
    insert(tx, user_id, cart, birth).await
}

/// Why a merge is rolled back as a whole: half of it must never stay.
enum Undone {
    Raced,
    Failed(Error),
}

impl From<Error> for Undone {
    fn from(error: Error) -> Undone {
        Undone::Failed(error)
    }
}

impl From<mallard_db::Error> for Undone {
    fn from(error: mallard_db::Error) -> Undone {
        Undone::Failed(error.into())
    }
}

async fn merge<F>(tx: &Tx, user_id: String, token_hash: String, birth: &Birth, decide: F) -> Result<Outcome, Undone>
where
    F: Fn(&mut Cart, &mut Cart) -> bool,
{
    let (mut own, mut guest) = (None, None);
    for row in tx.query(FIND_BOTH, params![user_id.as_str(), token_hash.as_str()]).await? {
        let found = Found::read(row)?;
        if found.user_id.is_some() {
            own = Some(found.saved);
        } else {
            guest = found.live();
        }
    }
    let Some(mut guest) = guest else { return Ok(Outcome::Unchanged(own)) };
    let mut cart = own.as_ref().map(|own| own.cart.clone()).unwrap_or_default();
    let taken = decide(&mut cart, &mut guest.cart);

    let into = own.as_ref().map_or(birth.id.as_str(), |own| own.id.as_str()).to_owned();
    let marked =
        tx.execute(MARK_MERGED, params![encode(&guest.cart), birth.now, into, guest.id, guest.version]).await?;
    if marked == 0 {
        return Err(Undone::Raced);
    }
    let outcome = match own {
        Some(own) if !taken => Outcome::Unchanged(Some(own)),
        Some(own) => update(tx, Saved { cart, ..own }, birth, false).await?,
        None => insert(tx, Some(&user_id), cart, birth).await?,
    };
    // The mark must not stay without the lines.
    if outcome == Outcome::Raced { Err(Undone::Raced) } else { Ok(outcome) }
}

async fn update(tx: &Tx, saved: Saved, birth: &Birth, is_guest: bool) -> Result<Outcome> {
    let expires_at = is_guest.then_some(birth.guest_expires_at);
    let values = params![encode(&saved.cart), birth.now, expires_at, saved.id.as_str(), saved.version];
    if tx.execute(UPDATE, values).await? == 0 {
        return Ok(Outcome::Raced);
    }
    Ok(Outcome::Written(Saved { version: saved.version + 1, updated_at: birth.now, ..saved }))
}

async fn insert(tx: &Tx, user_id: Option<&str>, cart: Cart, birth: &Birth) -> Result<Outcome> {
    let (token_hash, expires_at) = match user_id {
        Some(_) => (None, None),
        None => (Some(birth.token_hash.as_str()), Some(birth.guest_expires_at)),
    };
    let user_id = user_id.map(str::to_owned);
    let token_hash = token_hash.map(str::to_owned);
    let values = params![birth.id.as_str(), user_id, token_hash, encode(&cart), birth.now, birth.now, expires_at];
    if tx.execute(INSERT_USER, values).await? == 0 {
        return Ok(Outcome::Raced);
    }
    Ok(Outcome::Made(Saved { id: birth.id.clone(), version: 1, updated_at: birth.now, cart }))
}

struct Found {
    saved: Saved,
    user_id: Option<String>,
    merged: bool,
}

impl Found {
    fn read(row: Row) -> Result<Found> {
        Ok(Found {
            saved: Saved {
                id: row.get(0)?,
                cart: decode(&row.get::<Vec<u8>>(1)?)?,
                version: row.get(2)?,
                updated_at: row.get(3)?,
            },
            user_id: row.get(4)?,
            merged: row.get::<Option<String>>(5)?.is_some(),
        })
    }

    fn live(self) -> Option<Saved> {
        (!self.merged).then_some(self.saved)
    }
}

/// The cart's lines as the row keeps them. Fields are only ever added.
#[derive(Clone, PartialEq, Message)]
struct Body {
    #[prost(message, repeated, tag = "1")]
    lines: Vec<BodyLine>,
    #[prost(string, repeated, tag = "2")]
    applied_orders: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct BodyLine {
    #[prost(string, tag = "1")]
    sku_id: String,
    #[prost(string, tag = "2")]
    product_id: String,
    #[prost(string, tag = "3")]
    title: String,
    #[prost(int64, tag = "4")]
    quantity: i64,
    #[prost(int64, tag = "5")]
    added_amount: i64,
    #[prost(string, tag = "6")]
    added_currency: String,
}

fn encode(cart: &Cart) -> Vec<u8> {
    let lines = cart.lines.iter().map(|line| BodyLine {
        sku_id: line.sku_id.clone(),
        product_id: line.product_id.clone(),
        title: line.title.clone(),
        quantity: line.quantity,
        added_amount: line.added_price.amount,
        added_currency: line.added_price.currency.as_str().to_owned(),
    });
    Body { lines: lines.collect(), applied_orders: cart.applied_orders.clone() }.encode_to_vec()
}

fn decode(bytes: &[u8]) -> Result<Cart> {
    let broken = |e: prost::DecodeError| Error::internal("cart_unreadable", "a stored cart cannot be read").source(e);
    let body = Body::decode(bytes).map_err(broken)?;
    let mut lines = Vec::with_capacity(body.lines.len());
    for line in body.lines {
        lines.push(Line {
            sku_id: line.sku_id,
            product_id: line.product_id,
            title: line.title,
            quantity: line.quantity,
            added_price: Money::new(line.added_amount, Currency::parse(&line.added_currency)?),
        });
    }
    Ok(Cart { lines, applied_orders: body.applied_orders })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cart_survives_its_row() {
        let line = Line {
            sku_id: "sku_1".into(),
            product_id: "prod_1".into(),
            title: "茶罐 tea tin".into(),
            quantity: 9_999,
            added_price: Money::new(-1, Currency::JPY),
        };
        let cart = Cart { lines: vec![line], applied_orders: vec!["ord_1".into(), "ord_2".into()] };
        assert_eq!(decode(&encode(&cart)).unwrap(), cart);
        assert_eq!(decode(&[]).unwrap(), Cart::default());
        assert_eq!(decode(&[7, 7, 7]).unwrap_err().code, "cart_unreadable");
    }
}
