//! Pictures. What is behind a name never changes; a picture that no product has ever named is removed after a while.

use std::collections::BTreeMap;

use mallard_db::{Error, Unit, UnitError, params};
use mallard_types::Micros;

use super::{CHUNK_ROWS_MAX, Store, in_list};

const TAG_NAME: u32 = 0;
const TAG_COUNT: u32 = 1;
const TAG_BYTES: u32 = 2;
const TAG_GONE: u32 = 3;

/// Whose count is that of the whole mall.
const MALL: &str = "";

const INSERT: &str = "INSERT INTO images (name, seller_id, width, height, created_at, named, content) \
     VALUES (?, ?, ?, ?, ?, 0, ?) ON CONFLICT (name) DO NOTHING";
const FIRST_COUNTS: &str = "INSERT INTO image_counts (seller_id, images, bytes) VALUES (?, 0, 0), (?, 0, 0) ON CONFLICT (seller_id) DO NOTHING";
const COUNT: &str = "UPDATE image_counts SET images = images + 1, bytes = bytes + ? WHERE seller_id = ? AND images < ?";
const COUNT_ALL: &str =
    "UPDATE image_counts SET images = images + 1, bytes = bytes + ? WHERE seller_id = ? AND bytes + ? <= ?";
const UNCOUNT: &str = "UPDATE image_counts SET images = images - 1, bytes = bytes - ? WHERE seller_id = ?";
/// Keeps a picture for good: a product names it.
pub(super) const NAME: &str = "UPDATE images SET named = 1 WHERE name = ?";

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
    /// All pictures together take as many bytes as they may.
    FullOfBytes,
}

/// A picture that no product has named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unnamed {
    name: String,
    seller_id: String,
    bytes: i64,
}

impl Store {
    /// Begins the unit of work that keeps a picture. The name is taken before the seller's count and that before the mall's,
    /// so that uploads wait for each other in one order.
    pub fn keeping(row: ImageRow<'_>, images_max: u32, bytes_max: i64, at: Micros) -> Unit {
        // A picture has at most 2 MiB.
        let bytes = i64::try_from(row.content.len()).unwrap_or(i64::MAX);
        let values = params![row.name, row.seller_id, row.width, row.height, at, row.content];
        Unit::new("catalog.keep_image")
            .guard(INSERT, values, 1, TAG_NAME)
            .exec(FIRST_COUNTS, params![row.seller_id, MALL])
            .guard(COUNT, params![bytes, row.seller_id, images_max], 1, TAG_COUNT)
            .guard(COUNT_ALL, params![bytes, MALL, bytes, bytes_max], 1, TAG_BYTES)
    }

    /// Lets the time of a picture that is brought again begin anew; false when it is not there any more.
    pub async fn renew_image(&self, name: &str, at: Micros) -> Result<bool, Error> {
        let unit = Unit::new("catalog.renew_image").guard(
            "UPDATE images SET created_at = CASE WHEN named = 0 THEN ? ELSE created_at END WHERE name = ?",
            params![at, name],
            1,
            TAG_GONE,
        );
        match self.db.apply(unit).await {
            Ok(()) => Ok(true),
            Err(UnitError::Guard { .. }) => Ok(false),
            Err(UnitError::Db(error)) => Err(error),
        }
    }

    /// Finds pictures of before a time that no product has named, the oldest first.
    pub async fn unnamed_images(&self, before: Micros, rows_max: usize) -> Result<Vec<Unnamed>, Error> {
        const SQL: &str = "SELECT name, seller_id, CAST(LENGTH(content) AS BIGINT) FROM images WHERE named = 0 AND created_at < ? \
             ORDER BY created_at LIMIT ?";
        let rows = self.db.query(SQL, params![before, rows_max as i64]).await?;
        rows.iter().map(|row| Ok(Unnamed { name: row.get(0)?, seller_id: row.get(1)?, bytes: row.get(2)? })).collect()
    }

    /// Removes a picture, unless a product has named it or somebody has brought it again meanwhile; tells whether it did.
    pub async fn remove_image(&self, image: &Unnamed, before: Micros) -> Result<bool, Error> {
        const DELETE: &str = "DELETE FROM images WHERE name = ? AND named = 0 AND created_at < ?";
        let unit = Unit::new("catalog.remove_image")
            .guard(DELETE, params![image.name.as_str(), before], 1, TAG_GONE)
            .exec(UNCOUNT, params![image.bytes, image.seller_id.as_str()])
            .exec(UNCOUNT, params![image.bytes, MALL]);
        match self.db.apply(unit).await {
            Ok(()) => Ok(true),
            Err(UnitError::Guard { .. }) => Ok(false),
            Err(UnitError::Db(error)) => Err(error),
        }
    }

    /// Runs it.
    pub async fn keep(&self, unit: Unit) -> Result<Kept, Error> {
        match self.db.apply(unit).await {
            Ok(()) => Ok(Kept::Done),
            Err(UnitError::Guard { tag: TAG_NAME, .. }) => Ok(Kept::Before),
            Err(UnitError::Guard { tag: TAG_BYTES, .. }) => Ok(Kept::FullOfBytes),
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

    /// Reads how many pictures and bytes every seller, and the mall (''), is said to have and how many there are, where they
    /// differ: at most `rows_max` of them. One statement sees one moment.
    pub async fn images_miscounted(&self, rows_max: usize) -> Result<Vec<(String, [i64; 4])>, Error> {
        const SQL: &str = "SELECT t.seller_id, CAST(SUM(t.said) AS BIGINT), CAST(SUM(t.found) AS BIGINT), \
                 CAST(SUM(t.bytes_said) AS BIGINT), CAST(SUM(t.bytes) AS BIGINT) FROM ( \
                 SELECT seller_id, images AS said, 0 AS found, bytes AS bytes_said, 0 AS bytes FROM image_counts \
                 UNION ALL SELECT seller_id, 0, COUNT(*), 0, SUM(LENGTH(content)) FROM images GROUP BY seller_id \
                 UNION ALL SELECT '', 0, COUNT(*), 0, COALESCE(SUM(LENGTH(content)), 0) FROM images) t \
             GROUP BY t.seller_id HAVING SUM(t.said) <> SUM(t.found) OR SUM(t.bytes_said) <> SUM(t.bytes) \
             ORDER BY t.seller_id LIMIT ?";
        let rows = self.db.query(SQL, params![rows_max as i64]).await?;
        rows.iter().map(|row| Ok((row.get(0)?, [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?]))).collect()
    }

    /// Counts the pictures.
    pub async fn images_count(&self) -> Result<i64, Error> {
        let row = self.db.query_opt("SELECT COUNT(*) FROM images", params![]).await?;
        row.map_or(Ok(0), |row| row.get(0))
    }
}
