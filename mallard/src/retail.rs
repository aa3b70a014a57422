//! Real orders: the Online Retail data set (CSV, gzip or not) imported and lived again.
//!
//! Rows fall into four classes by what they say: an invoice number that begins with `C` is a cancellation, with `A` an
//! accounting entry; a price of zero is a stock adjustment; everything else is a sale.

mod import;
mod journal;
mod matching;
mod replay;
mod report;
mod rows;

use std::path::PathBuf;

pub use import::{Imported, import};
pub use replay::{Replayed, replay};
pub use report::write as write_reports;
pub use rows::{Class, Paper, Row, read};

/// How an import or a replay runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The CSV file.
    pub file: PathBuf,
    /// Papers in work at once.
    pub lanes: usize,
    /// Shows progress bars.
    pub progress: bool,
}

/// Makes an id that the same text always gives. The time part is the first day of the data.
fn derived_id(prefix: &str, text: &str) -> String {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(text.as_bytes());
    let mut random = [0; 10];
    random.copy_from_slice(&digest[..10]);
    mallard_types::id::make(prefix, rows::FIRST_DAY_MICROS, random)
}

/// Returns the SKU of a stock code. Codes differ by letter case.
fn sku_id(code: &str) -> String {
    derived_id("sku", &format!("online-retail sku {code}"))
}

fn bar(options: &Options, length: u64, what: &'static str) -> indicatif::ProgressBar {
    if !options.progress {
        return indicatif::ProgressBar::hidden();
    }
    let bar = indicatif::ProgressBar::new(length);
    // The template is a constant that parses.
    if let Ok(style) =
        indicatif::ProgressStyle::with_template("{msg:12} {bar:40} {human_pos}/{human_len} {per_sec} eta {eta}")
    {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}
