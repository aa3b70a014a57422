//! What the service refuses, with kind, code and remedy.

use mallard_types::Error;

use crate::domain::{DAYS_MAX, Refusal};

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::BadDate(param) => {
                Error::invalid("bad_date", format!("{param} must be a day such as 2026-11-01")).param(param)
            }
            Refusal::EmptyPeriod => {
                Error::invalid("bad_period", "from must not be after to; without to, not after today").param("from")
            }
            Refusal::LongPeriod => {
                Error::invalid("period_too_long", format!("ask for at most {DAYS_MAX} days")).param("from")
            }
            Refusal::BadText(param) => Error::invalid("bad_text", format!("{param} is empty or too long")).param(param),
            Refusal::BadCount(param) => {
                Error::invalid("count_out_of_range", format!("{param} must be between 0 and 1,000,000,000"))
                    .param(param)
            }
            Refusal::VisitsOutOfTime { days_max } => Error::refused(
                "visits_out_of_time",
                format!("visits are counted for the last {days_max} days, today and tomorrow"),
            )
            .param("date"),
        }
    }
}

/// The caller is neither operator nor seller.
pub fn seller_required() -> Error {
    Error::forbidden("seller_required", "only sellers and operators see sales")
}

/// The caller is no operator.
pub fn operators_only() -> Error {
    Error::forbidden("forbidden", "this needs the role admin")
}

/// An order that does not say what every order says.
pub fn bad_order(what: &'static str) -> Error {
    Error::internal("bad_order", format!("an order came without {what}"))
}
