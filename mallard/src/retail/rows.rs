//! Reads the file and sorts its rows into papers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, bail, ensure};

/// 2009-12-01T00:00:00Z, the first day of the whole data set.
pub const FIRST_DAY_MICROS: i64 = 1_259_625_600_000_000;
/// Billionths of a pound in a penny.
pub const NANOS_PER_PENNY: i64 = 10_000_000;

const COLUMNS: [&str; 8] =
    ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"];

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    Accounting,
    Cancellation,
    Sale,
    StockAdjustment,
}

impl Class {
    /// Returns the name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Accounting => "accounting",
            Class::Cancellation => "cancellation",
            Class::Sale => "sale",
            Class::StockAdjustment => "stock_adjustment",
        }
    }

    fn of(invoice: &str, price_nanos: i64) -> Class {
        match invoice.as_bytes().first() {
            Some(b'C') => Class::Cancellation,
            Some(b'A') => Class::Accounting,
            _ if price_nanos == 0 => Class::StockAdjustment,
            _ => Class::Sale,
        }
    }
}

/// One row of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Line of the file, the header being 1.
    pub number: i64,
    pub code: String,
    pub description: String,
    pub quantity: i64,
    /// Microseconds since the epoch; the file's times are taken as UTC.
    pub at: i64,
    /// Billionths of a pound.
    pub price_nanos: i64,
}

/// The rows of one class of one invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paper {
    pub invoice: String,
    pub class: Class,
    pub customer: String,
    pub country: String,
    /// Earliest time of its rows.
    pub at: i64,
    pub rows: Vec<Row>,
}

impl Paper {
    /// Names the paper in keys and references.
    pub fn name(&self) -> String {
        format!("{}/{}", self.invoice, self.class.as_str())
    }
}

/// Reads every paper in order of first appearance.
///
/// # Errors
/// The file cannot be read, or a row is none; the line is named.
pub fn read(path: &Path) -> anyhow::Result<Vec<Paper>> {
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut file = BufReader::new(file);
    let mut magic = [0; 2];
    let gzip = file.read(&mut magic).context("the file is empty")? == 2 && magic == [0x1f, 0x8b];
    let file = BufReader::new(File::open(path)?);
    let input: Box<dyn Read> = if gzip { Box::new(flate2::read::GzDecoder::new(file)) } else { Box::new(file) };
    let mut reader = csv::ReaderBuilder::new().from_reader(input);
    let header = reader.headers().context("the file has no header")?;
    ensure!(
        header.iter().eq(COLUMNS),
        "{} is no Online Retail file: the header must be {}",
        path.display(),
        COLUMNS.join(",")
    );
    let mut papers: Vec<Paper> = Vec::new();
    let mut known: BTreeMap<(String, Class), usize> = BTreeMap::new();
    let mut record = csv::StringRecord::new();
    let mut number = 1;
    while reader.read_record(&mut record).with_context(|| format!("after line {number}"))? {
        number += 1;
        let (invoice, class, customer, country, row) =
            parse(&record, number).with_context(|| format!("row {number} of {}", path.display()))?;
        let slot = *known.entry((invoice.clone(), class)).or_insert_with(|| {
            papers.push(Paper { invoice, class, customer, country, at: row.at, rows: Vec::new() });
            papers.len() - 1
        });
        papers[slot].at = papers[slot].at.min(row.at);
        papers[slot].rows.push(row);
    }
    Ok(papers)
}

fn parse(record: &csv::StringRecord, number: i64) -> anyhow::Result<(String, Class, String, String, Row)> {
    let field = |i: usize| record.get(i).unwrap_or_default();
    let (invoice, code) = (field(0), field(1));
    ensure!(!invoice.is_empty() && !code.is_empty(), "invoice number and stock code are needed");
    let quantity: i64 = field(3).parse().with_context(|| format!("quantity {}", field(3)))?;
    ensure!(quantity != 0, "a quantity of zero says nothing");
    let price_nanos = nanos(field(5)).with_context(|| format!("price {}", field(5)))?;
    let class = Class::of(invoice, price_nanos);
    match class {
        Class::Sale if quantity < 0 || price_nanos < 0 => bail!("a sale needs a positive quantity and price"),
        Class::Cancellation if quantity > 0 || price_nanos < 0 => {
            bail!("a cancellation needs a negative quantity and a price")
        }
        _ => {}
    }
    let row = Row {
        number,
        code: code.to_owned(),
        description: field(2).to_owned(),
        quantity,
        at: time(field(4)).with_context(|| format!("time {}", field(4)))?,
        price_nanos,
    };
    Ok((invoice.to_owned(), class, field(6).to_owned(), field(7).to_owned(), row))
}

/// Parses a decimal number of pounds into billionths.
pub fn nanos(text: &str) -> anyhow::Result<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    ensure!(!whole.is_empty() && fraction.len() <= 9, "not a price");
    ensure!(whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()), "not a price");
    let whole: i64 = whole.parse()?;
    let fraction: i64 = format!("{fraction:0<9}").parse()?;
    let value = whole.checked_mul(1_000_000_000).and_then(|nanos| nanos.checked_add(fraction)).context("too large")?;
    Ok(sign * value)
}

/// Parses `2010-12-01 08:26:00` as UTC into microseconds since the epoch.
pub fn time(text: &str) -> anyhow::Result<i64> {
    let time: jiff::civil::DateTime = text.parse()?;
    Ok(time.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp().as_microsecond())
}

/// Prints microseconds since the epoch as the file does.
pub fn show_time(at: i64) -> String {
    jiff::Timestamp::from_microsecond(at).map(|t| t.strftime("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default()
}

/// Prints billionths of a pound with at least two decimals and no more than needed.
pub fn show_nanos(nanos: i128) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let magnitude = nanos.unsigned_abs();
    let fraction = format!("{:09}", magnitude % 1_000_000_000);
    let kept = fraction.trim_end_matches('0').len().max(2);
    format!("{sign}{}.{}", magnitude / 1_000_000_000, &fraction[..kept])
}

/// Tells whether a stock code is a product: five digits to begin with, or a `DCGS` code. The others are postage, fees, gift
/// vouchers, discounts and manual entries.
pub fn is_product(code: &str) -> bool {
    (code.len() >= 5 && code.bytes().take(5).all(|b| b.is_ascii_digit())) || code.starts_with("DCGS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_exact() {
        assert_eq!(nanos("2.55").unwrap(), 2_550_000_000);
        assert_eq!(nanos("0.001").unwrap(), 1_000_000);
        assert_eq!(nanos("-11062.06").unwrap(), -11_062_060_000_000);
        assert!(nanos("1e3").is_err() && nanos("").is_err() && nanos("1.2.3").is_err());
    }

    #[test]
    fn amounts_print_with_two_decimals_or_what_they_need() {
        assert_eq!(show_nanos(139_120_000_000), "139.12");
        assert_eq!(show_nanos(0), "0.00");
        assert_eq!(show_nanos(2_042_761_000_000), "2042.761");
        assert_eq!(show_nanos(-50_000_000), "-0.05");
    }

    #[test]
    fn times_survive_the_round_trip() {
        assert_eq!(show_time(time("2010-12-01 08:26:00").unwrap()), "2010-12-01 08:26:00");
    }

    #[test]
    fn rows_fall_into_their_classes() {
        assert_eq!(Class::of("536365", 1), Class::Sale);
        assert_eq!(Class::of("C536379", 1), Class::Cancellation);
        assert_eq!(Class::of("A563185", -1), Class::Accounting);
        assert_eq!(Class::of("536414", 0), Class::StockAdjustment);
        assert!(is_product("85123A") && is_product("DCGS0003") && !is_product("POST") && !is_product("gift_0001_50"));
    }
}
