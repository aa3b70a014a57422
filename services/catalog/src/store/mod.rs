//! Rows of the service. Rows are private to this folder; what leaves it are the domain's own types.
//!
//! | file | rows |
//! |---|---|
//! | `body.rs` | the stored form of a product |
//! | `products.rs` | products and their SKUs: read and write |
//! | `lists.rs` | lists with filters, order and pages |
//! | `facets.rs` | counts of what found products have in common |
//! | `directory.rs` | categories and brands |
//! | `images.rs` | pictures |

mod body;
mod directory;
mod facets;
mod images;
mod lists;
mod products;

pub use images::{ImageRow, Kept};
pub use lists::{Key, ListPage};
pub use products::{Created, Replaced, Stamp, Stocked};

use mallard_db::{Db, Value};

/// Rows in one statement that reads or writes many.
const CHUNK_ROWS_MAX: usize = 500;

/// The service's rows.
#[derive(Clone)]
pub struct Store {
    db: Db,
}

impl Store {
    /// Opens the rows of a database.
    pub fn new(db: Db) -> Store {
        Store { db }
    }
}

/// Makes `prefix (?, ?), (?, ?)` for this many rows.
fn rows_sql(prefix: &str, columns: usize, rows: usize) -> String {
    let one = format!("({})", vec!["?"; columns].join(", "));
    format!("{prefix} {}", vec![one.as_str(); rows].join(", "))
}

/// Makes `(?, ?, …)` and its parameters for an IN list. The length is rounded up to a power of two by repeating the last
/// value, so that few different statements have to be prepared.
fn in_list(ids: &[&str]) -> (String, Vec<Value>) {
    let length = ids.len().next_power_of_two();
    let mut params: Vec<Value> = ids.iter().map(|id| Value::from(*id)).collect();
    if let Some(last) = params.last().cloned() {
        params.resize(length, last);
    }
    (format!("({})", vec!["?"; length].join(", ")), params)
}
