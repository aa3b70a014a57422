//! How an account stands since its tokens were issued.

use mallard_types::Micros;

use super::{BanLevel, User};

/// Overrides what older tokens of an account say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The account.
    pub user_id: String,
    /// Names of the roles it has now.
    pub roles: Vec<String>,
    /// Seller it acts for now; empty when none.
    pub seller_id: String,
    /// The ban that stands and when it ends by itself, if ever.
    pub ban: Option<(BanLevel, Option<Micros>)>,
    /// After this no token is left that says otherwise; none while a ban stands.
    pub until: Option<Micros>,
    /// Whether the account is gone.
    pub deleted: bool,
}

impl Standing {
    /// Says how an account stands now, when the last token that may say otherwise ends at `last_token_ends`.
    pub fn of(user: &User, now: Micros, last_token_ends: Micros) -> Standing {
        let ban = user.ban.as_ref().filter(|ban| ban.stands(now)).map(|ban| (ban.level, ban.until));
        Standing {
            user_id: user.id.clone(),
            roles: user.roles.names(),
            seller_id: user.acting_seller().to_owned(),
            until: ban.is_none().then_some(last_token_ends),
            ban,
            deleted: user.deleted_at.is_some(),
        }
    }

    /// Returns when nobody needs to know it any more: after its last token, or, where a ban ends by itself, after the last
    /// token that was issued under it and speaks of it. None while that is open.
    pub fn over_at(&self, token_life: Micros) -> Option<Micros> {
        match (self.until, self.ban) {
            (Some(until), _) => Some(until),
            (None, Some((_, Some(ban_until)))) => Some(ban_until.saturating_add(token_life)),
            (None, _) => None,
        }
    }
}
