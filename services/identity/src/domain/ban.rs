//! Bans: what an account may not do, until when, why, and who said so.

use mallard_types::Micros;

use super::text;
use crate::error::Refusal;

const REASON_CHARS_MAX: usize = 500;

/// What a banned account may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BanLevel {
    /// Buy. It may sign in and look.
    Buy,
    /// Sign in; sessions it has are suspended.
    Login,
    /// Anything: every request is refused.
    All,
}

impl BanLevel {
    /// Parses a public name.
    ///
    /// # Errors
    /// `unknown_ban_level`.
    pub fn parse(name: &str) -> Result<BanLevel, Refusal> {
        let all = [BanLevel::Buy, BanLevel::Login, BanLevel::All];
        all.into_iter().find(|level| level.as_str() == name).ok_or(Refusal::BanLevelUnknown)
    }

    /// Returns the public name.
    pub fn as_str(self) -> &'static str {
        match self {
            BanLevel::Buy => "buy",
            BanLevel::Login => "login",
            BanLevel::All => "all",
        }
    }
}

/// An operator's decision against an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// What it forbids.
    pub level: BanLevel,
    /// When it ends by itself; never when not given.
    pub until: Option<Micros>,
    /// Why, for operators. Not blank, except in a ban of a mall that did not ask yet.
    pub reason: String,
    /// When it was imposed.
    pub at: Micros,
    /// Id of the operator, or the name of the service that imposed it.
    pub by: String,
}

impl Ban {
    /// Makes a ban.
    ///
    /// # Errors
    /// `ban_over` when it would end before it begins; `required`, `too_long`, `invalid_text` for the reason.
    pub fn new(level: BanLevel, until: Option<Micros>, reason: String, at: Micros, by: String) -> Result<Ban, Refusal> {
        if until.is_some_and(|until| until <= at) {
            return Err(Refusal::BanOver);
        }
        text::check_required("reason", &reason, REASON_CHARS_MAX)?;
        Ok(Ban { level, until, reason, at, by })
    }

    /// Tells whether the ban is in force at this time.
    pub fn stands(&self, now: Micros) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Tells whether another ban says the same, whoever said it when.
    pub fn says_the_same(&self, other: &Ban) -> bool {
        (self.level, self.until, &self.reason) == (other.level, other.until, &other.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_must_end_in_the_future() {
        let ban = |until| Ban::new(BanLevel::Buy, until, "spam".into(), 100, "usr_9".into());
        assert_eq!(ban(Some(100)), Err(Refusal::BanOver));
        assert!(ban(Some(101)).is_ok_and(|ban| ban.stands(100) && !ban.stands(101)));
        assert!(ban(None).is_ok_and(|ban| ban.stands(i64::MAX)));
    }

    #[test]
    fn a_ban_says_why() {
        for blank in ["", " \n\u{3000}"] {
            let ban = Ban::new(BanLevel::Buy, None, blank.into(), 100, "usr_9".into());
            assert_eq!(ban, Err(Refusal::Required("reason")), "{blank:?}");
        }
    }

    #[test]
    fn a_ban_is_the_same_whoever_says_it() {
        let ban = Ban::new(BanLevel::Buy, None, "spam".into(), 100, "usr_9".into()).unwrap();
        assert!(ban.says_the_same(&Ban { at: 200, by: "usr_8".into(), ..ban.clone() }));
        assert!(!ban.says_the_same(&Ban { reason: "fraud".into(), ..ban.clone() }));
    }
}
