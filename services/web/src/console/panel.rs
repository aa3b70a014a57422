//! A part of a page that stands for itself: when its service does not answer, the rest of the page is still shown.

use mallard_types::{Error, Kind, Result};

/// A part of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Panel<T> {
    /// What it shows.
    Ready(T),
    /// Its service does not answer.
    Away,
    /// The visitor may not see it.
    Refused,
}

impl<T> Panel<T> {
    /// Makes a part of what was answered.
    ///
    /// # Errors
    /// What concerns the whole page: nobody is signed in, the account is banned, the request was wrong.
    pub fn of(answer: Result<T>) -> Result<Panel<T>> {
        match answer {
            Ok(answer) => Ok(Panel::Ready(answer)),
            Err(error) if is_away(&error) => {
                tracing::warn!(%error, "a part of a page is left out: its service does not answer");
                Ok(Panel::Away)
            }
            Err(error) if error.kind == Kind::Forbidden && error.code != "account_banned" => Ok(Panel::Refused),
            Err(error) => Err(error),
        }
    }

    /// Changes what is shown.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Panel<U> {
        match self {
            Panel::Ready(shown) => Panel::Ready(change(shown)),
            Panel::Away => Panel::Away,
            Panel::Refused => Panel::Refused,
        }
    }
}

fn is_away(error: &Error) -> bool {
    matches!(error.kind, Kind::Unavailable | Kind::Deadline | Kind::Internal | Kind::TooMany)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_concerns_the_part_stays_in_the_part() {
        let of = |error: Error| Panel::<()>::of(Err(error));
        assert_eq!(of(Error::unavailable("x", "x")).unwrap(), Panel::Away);
        assert_eq!(of(Error::internal("unimplemented", "x")).unwrap(), Panel::Away);
        assert_eq!(of(Error::forbidden("forbidden", "x")).unwrap(), Panel::Refused);
        assert_eq!(of(Error::forbidden("account_banned", "x")).unwrap_err().code, "account_banned");
        assert_eq!(of(Error::unauthenticated("unauthenticated", "x")).unwrap_err().kind, Kind::Unauthenticated);
        assert_eq!(of(Error::invalid("bad_cursor", "x")).unwrap_err().code, "bad_cursor");
        assert_eq!(Panel::Ready(2).map(|n| n * 2), Panel::Ready(4));
    }
}
