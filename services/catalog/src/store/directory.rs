//! Categories and brands. They only grow, so their number tells whether a copy is up to date.

use mallard_db::{Error, Row, Unit, UnitError, Value, params};
use mallard_types::Micros;

use super::Store;
use crate::domain::{Brand, Category};

/// Rows read at once.
const PAGE_ROWS: usize = 1_000;

impl Store {
    /// Counts categories and brands.
    pub async fn directory_counts(&self) -> Result<(i64, i64), Error> {
        let sql = "SELECT (SELECT COUNT(*) FROM categories), (SELECT COUNT(*) FROM brands)";
        let row = self.db.query_opt(sql, params![]).await?;
        row.map_or(Ok((0, 0)), |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Reads all categories.
    pub async fn categories(&self) -> Result<Vec<Category>, Error> {
        const SQL: &str =
            "SELECT id, slug, name, parent_id, names, position FROM categories WHERE id > ? ORDER BY id LIMIT ?";
        let mut all: Vec<Category> = Vec::new();
        loop {
            let after = all.last().map_or("", |category| category.id.as_str());
            let rows = self.db.query(SQL, params![after, PAGE_ROWS as i64]).await?;
            let last = rows.len() < PAGE_ROWS;
            for row in &rows {
                all.push(category_from(row)?);
            }
            if last {
                return Ok(all);
            }
        }
    }

    /// Reads all brands in order of id.
    pub async fn brands(&self) -> Result<Vec<Brand>, Error> {
        const SQL: &str = "SELECT id, name FROM brands WHERE id > ? ORDER BY id LIMIT ?";
        let mut all: Vec<Brand> = Vec::new();
        loop {
            let after = all.last().map_or("", |brand| brand.id.as_str());
            let rows = self.db.query(SQL, params![after, PAGE_ROWS as i64]).await?;
            let last = rows.len() < PAGE_ROWS;
            for row in &rows {
                all.push(Brand { id: row.get(0)?, name: row.get(1)? });
            }
            if last {
                return Ok(all);
            }
        }
    }

    /// Writes a category, and what `add` adds to the unit of work; false when its id or slug is taken.
    pub async fn insert_category(
        &self,
        category: &Category,
        at: Micros,
        add: impl FnOnce(Unit) -> mallard_types::Result<Unit>,
    ) -> mallard_types::Result<bool> {
        const SQL: &str = "INSERT INTO categories (id, slug, name, parent_id, names, position, created_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
        let names =
            serde_json::to_string(&category.names).map_err(|e| Error::Type(format!("names of a category: {e}")))?;
        let (id, slug, name) = (category.id.clone(), category.slug.clone(), category.name.clone());
        let (parent_id, position) = (category.parent_id.clone(), category.position);
        let params = params![id, slug, name, parent_id, names, position, at];
        self.insert_once(add(directory_insert(SQL, params))?).await
    }

    /// Writes a brand, and what `add` adds to the unit of work; false when its id or name is taken.
    pub async fn insert_brand(
        &self,
        brand: &Brand,
        at: Micros,
        add: impl FnOnce(Unit) -> mallard_types::Result<Unit>,
    ) -> mallard_types::Result<bool> {
        const SQL: &str =
            "INSERT INTO brands (id, name, name_key, created_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING";
        let params = params![&brand.id, &brand.name, brand.name.trim().to_lowercase(), at];
        self.insert_once(add(directory_insert(SQL, params))?).await
    }

    async fn insert_once(&self, unit: Unit) -> mallard_types::Result<bool> {
        match self.db.apply(unit).await {
            Ok(()) => Ok(true),
            Err(UnitError::Guard { .. }) => Ok(false),
            Err(UnitError::Db(error)) => Err(error.into()),
        }
    }
}

fn directory_insert(sql: &'static str, params: Vec<Value>) -> Unit {
    Unit::new("catalog.directory").guard(sql, params, 1, 0)
}

fn category_from(row: &Row) -> Result<Category, Error> {
    let names: String = row.get(4)?;
    Ok(Category {
        id: row.get(0)?,
        slug: row.get(1)?,
        name: row.get(2)?,
        parent_id: row.get(3)?,
        names: serde_json::from_str(&names).map_err(|e| Error::Type(format!("names of a category: {e}")))?,
        position: row.get(5)?,
    })
}
