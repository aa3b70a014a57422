//! What orders say, and the sums it makes. Pure: the same facts give the same sums, whatever their order and however often
//! they come.

mod day;
mod fact;
mod share;
mod sums;

pub use day::{DAYS_MAX, Day, Period};
pub use fact::{Fact, Points, Refunded, Sale, SoldLine, What};
pub use share::{Part, shares};
pub use sums::{DaySum, MALL, Sums};

/// Longest id and the like, in characters.
pub const TEXT_CHARS_MAX: usize = 200;
/// Most visits of one kind in a batch.
pub const COUNT_MAX: i64 = 1_000_000_000;

/// Why something is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not a day of the calendar, written as 2026-11-01.
    BadDate(&'static str),
    /// The last day comes before the first.
    EmptyPeriod,
    /// More days than one report has.
    LongPeriod,
    /// A text that is empty or too long.
    BadText(&'static str),
    /// Fewer than no visits, or more than there can be.
    BadCount(&'static str),
    /// Visits of a day that is long over or far away.
    VisitsOutOfTime {
        /// How many days back are counted.
        days_max: u32,
    },
}

/// What the pages saw on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visits {
    /// Names the batch; the same one counts once.
    pub batch_id: String,
    /// The day of the visits.
    pub day: Day,
    /// Product pages shown.
    pub product_views: i64,
    /// Carts a line was added to.
    pub cart_additions: i64,
    /// Checkouts shown.
    pub checkouts: i64,
}

impl Visits {
    /// Checks a batch that comes today. Batches of days whose ids are forgotten are refused, so none counts twice.
    ///
    /// # Errors
    /// A bad id or count, or a day that is over.
    pub fn check(&self, today: Day, days_max: u32) -> Result<(), Refusal> {
        if self.batch_id.is_empty() || self.batch_id.chars().count() > TEXT_CHARS_MAX {
            return Err(Refusal::BadText("batch_id"));
        }
        let counts = [
            ("product_views", self.product_views),
            ("cart_additions", self.cart_additions),
            ("checkouts", self.checkouts),
        ];
        if let Some((param, _)) = counts.into_iter().find(|(_, count)| !(0..=COUNT_MAX).contains(count)) {
            return Err(Refusal::BadCount(param));
        }
        // Another process's clock may be a little ahead at midnight.
        if self.day < today.plus(-i64::from(days_max)) || self.day > today.plus(1) {
            return Err(Refusal::VisitsOutOfTime { days_max });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
