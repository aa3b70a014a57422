//! Pictures. A row is written once and never changed.

use std::collections::BTreeMap;

use mallard_db::{Error, Unit, UnitError, params};
use mallard_types::Micros;

use super::{CHUNK_ROWS_MAX, Store, in_list};

const TAG_NAME: u32 = 0;
const TAG_COUNT: u32 = 1;

const INSERT: &str = "INSERT INTO images (name, seller_id, width, height, created_at, content) \
     VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING";
const FIRST_COUNT: &str =
    "INSERT INTO image_counts (seller_id, images) VALUES (?, 0) ON CONFLICT (seller_id) DO NOTHING";
const COUNT: &str = "UPDATE image_counts SET images = images + 1 WHERE seller_id = ? AND images < ?";

/// A picture to be kept.
pub struct ImageRow<'a> {
    /// Hash of the bytes and ending.
    pub name: &'a str,
    /// Who brings it.
    pub seller_id: &'a str,
    /// Pixels.
    pub width: i32,
    /// Pixels.
    pub height: i32,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// What became of keeping a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is there now.
    Done,
    /// It was there before.
    Before,
    /// The seller has as many as it may have.
    Full,
}

impl Store {
    /// Begins the unit of work that keeps a picture. The name is taken before the seller's count, so that uploads wait for
    /// each other in one order.
    pub fn keeping(row: ImageRow<'_>, images_max: u32, at: Micros) -> Unit {
        let values = params![row.name, row.seller_id, row.width, row.height, at, row.content];
        Unit::new("catalog.keep_image")
            .guard(INSERT, values, 1, TAG_NAME)
            .exec(FIRST_COUNT, params![row.seller_id])
            .guard(COUNT, params![row.seller_id, images_max], 1, TAG_COUNT)
    }

    /// Runs it.
    pub async fn keep(&self, unit: Unit) -> Result<Kept, Error> {
        match self.db.apply(unit).await {
            Ok(()) => Ok(Kept::Done),
            Err(UnitError::Guard { tag: TAG_NAME, .. }) => Ok(Kept::Before),
            Err(UnitError::Guard { .. }) => Ok(Kept::Full),
            Err(UnitError::Db(error)) => Err(error),
        }
    }

    /// Reads the bytes of a picture.
    pub async fn image(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let row = self.db.query_opt("SELECT content FROM images WHERE name = ?", params![name]).await?;
        row.map(|row| row.get(0)).transpose()
    }

    /// Reads width and height of the pictures that exist among these names.
    pub async fn image_sizes(&self, names: &[&str]) -> Result<BTreeMap<String, (i32, i32)>, Error> {
        let mut sizes = BTreeMap::new();
        for chunk in names.chunks(CHUNK_ROWS_MAX) {
            let (list, params) = in_list(chunk);
            let sql = format!("SELECT name, width, height FROM images WHERE name IN {list}");
            for row in self.db.query_dyn(sql, params).await? {
                sizes.insert(row.get(0)?, (row.get(1)?, row.get(2)?));
            }
        }
        Ok(sizes)
    }

    /// Reads how many pictures every seller is said to have and how many there are, where the two differ: at most
    /// `rows_max` of them. One statement sees one moment.
    pub async fn images_miscounted(&self, rows_max: usize) -> Result<Vec<(String, i64, i64)>, Error> {
        const SQL: &str = "SELECT t.seller_id, CAST(SUM(t.said) AS BIGINT), CAST(SUM(t.found) AS BIGINT) FROM ( \
                 SELECT seller_id, images AS said, 0 AS found FROM image_counts \
                 UNION ALL SELECT seller_id, 0, COUNT(*) FROM images GROUP BY seller_id) t \
             GROUP BY t.seller_id HAVING SUM(t.said) <> SUM(t.found) ORDER BY t.seller_id LIMIT ?";
        let rows = self.db.query(SQL, params![rows_max as i64]).await?;
        rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).collect()
    }

    /// Counts the pictures.
    pub async fn images_count(&self) -> Result<i64, Error> {
        let row = self.db.query_opt("SELECT COUNT(*) FROM images", params![]).await?;
        row.map_or(Ok(0), |row| row.get(0))
    }
}
