//! Rows of the service. Rows are private to this folder; what leaves it are the domain's own types.
//!
//! | file | rows |
//! |---|---|
//! | `facts.rs` | what orders said: taken, read, marked as folded |
//! | `sums.rs` | sums: added to, read for reports; visits |
//! | `books.rs` | both side by side, for checks |

mod books;
mod facts;
mod sums;

pub use books::Known;
pub use facts::{FACTS_TOPIC, take};
pub use sums::Top;

use mallard_db::{Db, Value};

/// Rows in one statement that reads or writes many.
const CHUNK_ROWS_MAX: usize = 64;

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

    /// Returns the database, for its bell.
    pub fn db(&self) -> &Db {
        &self.db
    }
}

/// Makes `(?, …), (?, …)` for an insert of many rows.
fn marks(columns: usize, rows: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    vec![row; rows].join(", ")
}

/// Makes `(?, …)` for a list of values.
fn list(values: &[Value]) -> String {
    format!("({})", vec!["?"; values.len()].join(", "))
}
