//! Days of the calendar, UTC, and periods of them.

use std::fmt;

use jiff::civil::Date;
use mallard_types::Micros;

use super::Refusal;

/// Most days in a period.
pub const DAYS_MAX: i64 = 400;
/// Days in a period whose first day is not named.
const DAYS_DEFAULT: i64 = 30;
const MICROS_PER_DAY: i64 = 86_400_000_000;
/// First and last day of the years 1 to 9999, counted from 1970.
const FIRST: i64 = -719_162;
const LAST: i64 = 2_932_896;

/// A day, counted from 1970-01-01, UTC; of the years 1 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i64);

impl Day {
    /// Returns the day of a time.
    pub fn of(at: Micros) -> Day {
        Day::numbered(at.div_euclid(MICROS_PER_DAY))
    }

    /// Makes the day of this number; the nearest there is when there is none.
    pub fn numbered(number: i64) -> Day {
        Day(number.clamp(FIRST, LAST))
    }

    /// Returns its number.
    pub fn number(self) -> i64 {
        self.0
    }

    /// Returns the day so many days later.
    pub fn plus(self, days: i64) -> Day {
        Day::numbered(self.0.saturating_add(days))
    }

    /// Parses a day such as 2026-11-01.
    ///
    /// # Errors
    /// [`Refusal::BadDate`] with the parameter's name for anything else.
    pub fn parse(text: &str, param: &'static str) -> Result<Day, Refusal> {
        // Only the one form: jiff takes times and other spellings too.
        let bytes = text.as_bytes();
        let is_form = |(i, b): (usize, &u8)| if matches!(i, 4 | 7) { *b == b'-' } else { b.is_ascii_digit() };
        if bytes.len() != 10 || !bytes.iter().enumerate().all(is_form) {
            return Err(Refusal::BadDate(param));
        }
        let date: Date = text.parse().map_err(|_| Refusal::BadDate(param))?;
        let days = EPOCH.until(date).map_err(|_| Refusal::BadDate(param))?.get_days();
        if i64::from(days) < FIRST {
            return Err(Refusal::BadDate(param));
        }
        Ok(Day(i64::from(days)))
    }
}

const EPOCH: Date = Date::constant(1970, 1, 1);

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Within the years 1 to 9999, all of which jiff has.
        let date = EPOCH.saturating_add(jiff::Span::new().days(self.0));
        write!(f, "{:04}-{:02}-{:02}", date.year(), date.month(), date.day())
    }
}

/// Days from a first to a last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// First day.
    pub from: Day,
    /// Last day.
    pub to: Day,
}

impl Period {
    /// Reads the ends of a period. Left out, the last day is today and the first makes it 30 days.
    ///
    /// # Errors
    /// A bad date, no day at all, or more than [`DAYS_MAX`].
    pub fn parse(from: &str, to: &str, today: Day) -> Result<Period, Refusal> {
        let to = if to.is_empty() { today } else { Day::parse(to, "to")? };
        if from.is_empty() {
            return Ok(Period::last(DAYS_DEFAULT, to));
        }
        let from = Day::parse(from, "from")?;
        if from > to {
            return Err(Refusal::EmptyPeriod);
        }
        if to.0 - from.0 >= DAYS_MAX {
            return Err(Refusal::LongPeriod);
        }
        Ok(Period { from, to })
    }

    /// Returns the last so many days up to one.
    pub fn last(days: i64, to: Day) -> Period {
        Period { from: to.plus(1 - days), to }
    }

    /// Returns its days, oldest first.
    pub fn days(self) -> impl Iterator<Item = Day> {
        (self.from.0..=self.to.0).map(Day)
    }
}
