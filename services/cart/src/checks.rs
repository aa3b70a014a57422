//! The cart's books: what must be true of its rows.

use mallard_types::Result;

use crate::store::Store;

const PAGE_ROWS: u32 = 500;
const SHOWN_ROWS_MAX: usize = 10;

/// One check and how it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Stable name.
    pub name: &'static str,
    /// Whether the rule holds.
    pub ok: bool,
    /// What was counted, or the first rows that break the rule.
    pub detail: String,
}

/// Runs every check, reading carts page by page.
///
/// # Errors
/// The database is away.
pub async fn run(store: &Store) -> Result<Vec<Check>> {
    let (mut cart_count, mut line_count) = (0u64, 0u64);
    let mut not_positive = Broken::default();
    let mut merged_with_lines = Broken::default();
    let mut after = String::new();
    loop {
        let page = store.scan(&after, PAGE_ROWS).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.saved.id);
        for row in &page {
            cart_count += 1;
            line_count += row.saved.cart.lines.len() as u64;
            for line in row.saved.cart.lines.iter().filter(|line| line.quantity < 1) {
                not_positive.add(|| format!("{} holds {} of {}", row.saved.id, line.quantity, line.sku_id));
            }
            if row.merged && !row.saved.cart.lines.is_empty() {
                merged_with_lines
                    .add(|| format!("{} was merged and holds {} lines", row.saved.id, row.saved.cart.lines.len()));
            }
        }
    }
    let mut owned_twice = Broken::default();
    for user_id in store.owned_twice(SHOWN_ROWS_MAX as u32).await? {
        owned_twice.add(|| format!("{user_id} owns more than one cart"));
    }
    let counted = format!("{cart_count} carts, {line_count} lines");
    Ok(vec![
        not_positive.check("cart.quantities_positive", &counted),
        owned_twice.check("cart.one_cart_per_user", &counted),
        merged_with_lines.check("cart.merged_carts_are_empty", &counted),
    ])
}

/// Rows that break a rule: all counted, the first ones told.
#[derive(Default)]
struct Broken {
    count: u64,
    rows: Vec<String>,
}

impl Broken {
    fn add(&mut self, row: impl FnOnce() -> String) {
        self.count += 1;
        if self.rows.len() < SHOWN_ROWS_MAX {
            self.rows.push(row());
        }
    }

    fn check(self, name: &'static str, counted: &str) -> Check {
        let ok = self.count == 0;
        let detail = if ok { counted.to_owned() } else { format!("{} broken: {}", self.count, self.rows.join("; ")) };
        Check { name, ok, detail }
    }
}
