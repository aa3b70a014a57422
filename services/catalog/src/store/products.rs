//! Products and their SKUs: read and write.

use std::collections::{BTreeMap, BTreeSet};

use mallard_db::{Error, Tx, Unit, UnitError, Value, params};
use mallard_types::Micros;

use super::{CHUNK_ROWS_MAX, Store, body, images, in_list, rows_sql};
use crate::domain::{Product, kept_name};

const TAG_ID: u32 = 0;
const TAG_KEY: u32 = 1;
const TAG_VERSION: u32 = 2;
const TAG_IMAGE: u32 = 3;

const INSERT: &str = "INSERT INTO products (id, status, seller_id, brand_id, title_key, words, min_price, created_at, version, \
     stock_stamp, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?) ON CONFLICT (id) DO NOTHING";
const INSERT_KEY: &str = "INSERT INTO creations (idempotency_key, product_id, at, request_hash) VALUES (?, ?, ?, ?) \
     ON CONFLICT (idempotency_key) DO NOTHING";
const UPDATE: &str = "UPDATE products SET status = ?, brand_id = ?, title_key = ?, words = ?, min_price = ?, version = ?, \
     body = ? WHERE id = ? AND version = ?";
const INSERT_SKUS: &str = "INSERT INTO product_skus (sku_id, product_id, in_stock, stock_version) VALUES";
const INSERT_CATEGORIES: &str = "INSERT INTO product_categories (category_id, product_id) VALUES";

/// Counts the changes of a product and of its stock state; a greater one is newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Version of the product.
    pub version: i64,
    /// Number of stock events applied to it.
    pub stock: i64,
}

/// A product with the state of its stock, as read at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stocked {
    /// The product.
    pub product: Product,
    /// How new it is.
    pub stamp: Stamp,
}

/// What became of a creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The rows are written.
    Done,
    /// A product with this id exists.
    IdTaken,
    /// The idempotency key was used before.
    KeyTaken,
    /// A SKU belongs to another product.
    SkuTaken,
    /// A picture it names was removed meanwhile.
    ImageGone,
}

/// What became of a replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// The rows are written.
    Done,
    /// The product is no longer the one that was replaced.
    Moved,
    /// A picture it names was removed meanwhile.
    ImageGone,
}

impl Store {
    /// Begins the unit of work that makes a product. `categories` are those of the product and all above them.
    pub fn creation(
        product: &Product,
        categories: &BTreeSet<&str>,
        (key, request_hash): (&str, &[u8]),
        at: Micros,
    ) -> Result<Unit, Error> {
        let mut unit = Unit::new("catalog.create").guard(INSERT, insert_params(product)?, 1, TAG_ID);
        if !key.is_empty() {
            unit = unit.guard(INSERT_KEY, params![key, &product.id, at, request_hash.to_vec()], 1, TAG_KEY);
        }
        unit = with_images(unit, None, product);
        let skus: Vec<(&str, bool)> = product.variants.iter().map(|v| (v.id.as_str(), v.in_stock)).collect();
        unit = with_skus(unit, &product.id, &skus);
        Ok(with_categories(unit, &product.id, categories))
    }

    /// Runs a creation.
    pub async fn create(&self, unit: Unit) -> Result<Created, Error> {
        match self.db.apply(unit).await {
            Ok(()) => Ok(Created::Done),
            Err(UnitError::Guard { tag: TAG_KEY, .. }) => Ok(Created::KeyTaken),
            Err(UnitError::Guard { tag: TAG_IMAGE, .. }) => Ok(Created::ImageGone),
            Err(UnitError::Guard { .. }) => Ok(Created::IdTaken),
            Err(UnitError::Db(error)) if error.is_unique("product_skus_pkey") => Ok(Created::SkuTaken),
            Err(UnitError::Db(error)) => Err(error),
        }
    }

    /// Begins the unit of work that replaces a product by its next version.
    pub fn replacement(before: &Product, next: &Product, categories: &BTreeSet<&str>) -> Result<Unit, Error> {
        let brand_id = next.brand.as_ref().map_or("", |brand| brand.id.as_str());
        let params = params![
            next.status.as_str(),
            brand_id,
            next.title_key(),
            next.words(),
            next.min_price(),
            next.version,
            body::encode(next)?,
            &next.id,
            before.version
        ];
        let mut unit = Unit::new("catalog.change").guard(UPDATE, params, 1, TAG_VERSION);
        unit = with_images(unit, Some(before), next);
        if before.category_ids != next.category_ids {
            unit = unit.exec("DELETE FROM product_categories WHERE product_id = ?", params![&next.id]);
            unit = with_categories(unit, &next.id, categories);
        }
        let gone: Vec<&str> =
            before.variants.iter().map(|v| v.id.as_str()).filter(|id| next.variant(id).is_none()).collect();
        if !gone.is_empty() {
            let (list, params) = in_list(&gone);
            unit = unit.exec_dyn(format!("DELETE FROM product_skus WHERE sku_id IN {list}"), params);
        }
        let new: Vec<(&str, bool)> = next
            .variants
            .iter()
            .filter(|variant| before.variant(&variant.id).is_none())
            .map(|variant| (variant.id.as_str(), variant.in_stock))
            .collect();
        Ok(if new.is_empty() { unit } else { with_skus(unit, &next.id, &new) })
    }

    /// Runs a replacement.
    pub async fn replace(&self, unit: Unit) -> Result<Replaced, Error> {
        match self.db.apply(unit).await {
            Ok(()) => Ok(Replaced::Done),
            Err(UnitError::Guard { tag: TAG_IMAGE, .. }) => Ok(Replaced::ImageGone),
            Err(UnitError::Guard { .. }) => Ok(Replaced::Moved),
            Err(UnitError::Db(error)) => Err(error),
        }
    }

    /// Reads the product an idempotency key made, and the hash of what it was asked with where that is known.
    pub async fn created_with(&self, key: &str) -> Result<Option<(String, Option<Vec<u8>>)>, Error> {
        const SQL: &str = "SELECT product_id, request_hash FROM creations WHERE idempotency_key = ?";
        let row = self.db.query_opt(SQL, params![key]).await?;
        row.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
    }

    /// Reads the products that exist among these ids, deleted ones included.
    pub async fn products(&self, ids: &[&str]) -> Result<Vec<Stocked>, Error> {
        let mut found = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(CHUNK_ROWS_MAX) {
            let (list, params) = in_list(chunk);
            let rows = self
                .db
                .query_dyn(format!("SELECT stock_stamp, body FROM products WHERE id IN {list}"), params.clone())
                .await?;
            if rows.is_empty() {
                continue;
            }
            // Read after the stamps: newer than they say at worst, and the next look at the stamps finds that out.
            let sql = format!("SELECT sku_id, in_stock FROM product_skus WHERE product_id IN {list}");
            let mut in_stock: BTreeMap<String, bool> = BTreeMap::new();
            for row in self.db.query_dyn(sql, params).await? {
                in_stock.insert(row.get(0)?, row.get(1)?);
            }
            for row in rows {
                let mut product = body::decode(&row.get::<Vec<u8>>(1)?)?;
                for variant in &mut product.variants {
                    variant.in_stock = in_stock.get(&variant.id).copied().unwrap_or(false);
                }
                let stamp = Stamp { version: product.version, stock: row.get(0)? };
                found.push(Stocked { product, stamp });
            }
        }
        Ok(found)
    }

    /// Reads how new products are.
    pub async fn stamps(&self, ids: &[&str]) -> Result<Vec<(String, Stamp)>, Error> {
        let mut stamps = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(CHUNK_ROWS_MAX) {
            let (list, params) = in_list(chunk);
            let sql = format!("SELECT id, version, stock_stamp FROM products WHERE id IN {list}");
            for row in self.db.query_dyn(sql, params).await? {
                stamps.push((row.get(0)?, Stamp { version: row.get(1)?, stock: row.get(2)? }));
            }
        }
        Ok(stamps)
    }

    /// Reads which product each SKU belongs to; unknown SKUs are left out.
    pub async fn products_of(&self, sku_ids: &[&str]) -> Result<Vec<(String, String)>, Error> {
        let mut found = Vec::with_capacity(sku_ids.len());
        for chunk in sku_ids.chunks(CHUNK_ROWS_MAX) {
            let (list, params) = in_list(chunk);
            let sql = format!("SELECT sku_id, product_id FROM product_skus WHERE sku_id IN {list}");
            for row in self.db.query_dyn(sql, params).await? {
                found.push((row.get(0)?, row.get(1)?));
            }
        }
        Ok(found)
    }

    /// Takes in a stock event inside its inbox transaction; an older one than the last changes nothing. The product's row is
    /// locked before the SKU's, as every change of a product does.
    pub async fn take_availability(tx: &Tx, sku_id: &str, in_stock: bool, version: i64) -> Result<(), Error> {
        const SKU: &str =
            "UPDATE product_skus SET in_stock = ?, stock_version = ? WHERE sku_id = ? AND stock_version < ?";
        if tx.execute(STAMP, params![sku_id, version]).await? == 1 {
            tx.execute(SKU, params![in_stock, version, sku_id, version]).await?;
        }
        Ok(())
    }

    /// Corrects SKUs no stock event has spoken of yet.
    pub async fn correct_first_state(&self, states: Vec<(String, bool)>) -> Result<(), Error> {
        const SKU: &str = "UPDATE product_skus SET in_stock = ? WHERE sku_id = ? AND stock_version = 0";
        let mut unit = Unit::new("catalog.first_state");
        for (sku_id, in_stock) in states {
            unit = unit.exec(STAMP, params![&sku_id, 1]).exec(SKU, params![in_stock, sku_id]);
        }
        match self.db.apply(unit).await {
            Ok(()) => Ok(()),
            // There is no guard in it.
            Err(UnitError::Guard { .. }) => Ok(()),
            Err(UnitError::Db(error)) => Err(error),
        }
    }

    /// Reads SKU rows (SKU, product) in order of SKU, after this one.
    pub async fn skus_after(&self, after: &str, rows_max: usize) -> Result<Vec<(String, String)>, Error> {
        const SQL: &str = "SELECT sku_id, product_id FROM product_skus WHERE sku_id > ? ORDER BY sku_id LIMIT ?";
        let rows = self.db.query(SQL, params![after, rows_max as i64]).await?;
        rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
    }

    /// Reads ids of products in order, after this one.
    pub async fn ids_after(&self, after: &str, rows_max: usize) -> Result<Vec<String>, Error> {
        const SQL: &str = "SELECT id FROM products WHERE id > ? ORDER BY id LIMIT ?";
        self.db.query(SQL, params![after, rows_max as i64]).await?.iter().map(|row| row.get(0)).collect()
    }
}

/// Counts a stock event that is newer than the SKU's last.
const STAMP: &str = "UPDATE products SET stock_stamp = stock_stamp + 1 \
     WHERE id = (SELECT product_id FROM product_skus WHERE sku_id = ? AND stock_version < ?)";

fn insert_params(product: &Product) -> Result<Vec<Value>, Error> {
    let brand_id = product.brand.as_ref().map_or("", |brand| brand.id.as_str());
    Ok(params![
        &product.id,
        product.status.as_str(),
        &product.seller_id,
        brand_id,
        product.title_key(),
        product.words(),
        product.min_price(),
        product.created_at,
        product.version,
        body::encode(product)?
    ])
}

/// Keeps the pictures for good that a product begins to name; one that is not there any more guards it. In order of their
/// names, so that two that name the same ones never wait for each other.
fn with_images(mut unit: Unit, before: Option<&Product>, next: &Product) -> Unit {
    let names = |product: &Product| -> BTreeSet<String> {
        product.images.iter().filter_map(|image| kept_name(&image.url)).map(str::to_owned).collect()
    };
    let known = before.map(names).unwrap_or_default();
    for name in names(next).difference(&known) {
        unit = unit.guard(images::NAME, params![name.as_str()], 1, TAG_IMAGE);
    }
    unit
}

fn with_skus(unit: Unit, product_id: &str, skus: &[(&str, bool)]) -> Unit {
    let mut values = Vec::with_capacity(skus.len() * 4);
    for (sku_id, in_stock) in skus {
        values.extend(params![*sku_id, product_id, *in_stock, 0]);
    }
    unit.exec_dyn(rows_sql(INSERT_SKUS, 4, skus.len()), values)
}

fn with_categories(unit: Unit, product_id: &str, categories: &BTreeSet<&str>) -> Unit {
    if categories.is_empty() {
        return unit;
    }
    let mut values = Vec::with_capacity(categories.len() * 2);
    for category_id in categories {
        values.extend(params![*category_id, product_id]);
    }
    unit.exec_dyn(rows_sql(INSERT_CATEGORIES, 2, categories.len()), values)
}
