//! Everything this service refuses, with kind, code and parameter in one table. README.md prints the same codes.

use std::borrow::Cow;

use mallard_types::{Error, Kind};

use crate::domain::{ADDRESSES_MAX, PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN};

/// A typed "no". Turns into the shared error at the service's edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The text is not an e-mail address.
    EmailInvalid,
    /// Another account has this e-mail address, perhaps in other letter case.
    EmailTaken,
    /// Fewer characters than allowed.
    PasswordTooShort,
    /// More characters than allowed.
    PasswordTooLong,
    /// The password is the e-mail address.
    PasswordIsEmail,
    /// Password and confirmation differ.
    PasswordMismatch,
    /// Unknown e-mail address, wrong password, deleted account: nobody learns which.
    CredentialsInvalid,
    /// An operator has banned the account from signing in.
    AccountBanned,
    /// The refresh token is unknown, or its session has ended.
    RefreshTokenInvalid,
    /// The refresh token was used before; its session has been ended.
    RefreshTokenReused,
    /// The caller is not an operator.
    AdminOnly,
    /// The session does not exist or is somebody else's.
    SessionNotFound,
    /// The account does not exist or is deleted.
    UserNotFound,
    /// The address does not exist or is somebody else's.
    AddressNotFound,
    /// The address book has no room.
    AddressBookFull,
    /// The version the caller read is not the present one.
    VersionMismatch,
    /// Somebody else changed the account between read and write.
    ChangedMeanwhile,
    /// Not a role of the mall.
    RoleUnknown,
    /// An account needs at least one role.
    RolesEmpty,
    /// Nobody could operate the mall any more.
    LastAdmin,
    /// Not a ban level.
    BanLevelUnknown,
    /// The ban would be over before it begins.
    BanOver,
    /// Not a BCP 47 language tag.
    LanguageInvalid,
    /// A required text is blank.
    Required(&'static str),
    /// A text has more characters than allowed.
    TextTooLong(&'static str, usize),
    /// A text has control characters.
    TextInvalid(&'static str),
    /// Too many logins and registrations wait for a core.
    Busy,
}

/// How long a caller is asked to wait when password hashing has a queue, in milliseconds.
const BUSY_RETRY_AFTER_MS: u64 = 1_000;

impl Refusal {
    /// Returns kind, code, message and parameter.
    fn facts(&self) -> (Kind, &'static str, Cow<'static, str>, Option<&'static str>) {
        use Kind::{Conflict, Forbidden, Invalid, NotFound, Precondition, Refused, Unauthenticated, Unavailable};
        let (kind, code, message, param): (_, _, &'static str, _) = match self {
            Refusal::EmailInvalid => (Invalid, "invalid_email", "enter an e-mail address like name@example.com", Some("email")),
            Refusal::EmailTaken => (Conflict, "email_taken", "an account with this e-mail address exists; sign in instead", Some("email")),
            Refusal::PasswordTooShort => {
                let message = format!("the password needs at least {PASSWORD_CHARS_MIN} characters");
                return (Invalid, "password_too_short", Cow::Owned(message), Some("password"));
            }
            Refusal::PasswordTooLong => {
                let message = format!("the password may have at most {PASSWORD_CHARS_MAX} characters");
                return (Invalid, "password_too_long", Cow::Owned(message), Some("password"));
            }
            Refusal::PasswordIsEmail => (Invalid, "password_is_email", "the password must not be the e-mail address", Some("password")),
            Refusal::PasswordMismatch => {
                (Invalid, "password_mismatch", "the two passwords differ; enter the same one twice", Some("password_confirmation"))
            }
            Refusal::CredentialsInvalid => (Unauthenticated, "invalid_credentials", "the e-mail address or the password is wrong", None),
            Refusal::AccountBanned => (Forbidden, "account_banned", "this account may not sign in; ask the mall's operators", None),
            Refusal::RefreshTokenInvalid => (Unauthenticated, "invalid_refresh_token", "the session has ended; sign in again", None),
            Refusal::RefreshTokenReused => {
                (Unauthenticated, "refresh_token_reused", "the refresh token was used before, so its session was ended; sign in again", None)
            }
            Refusal::AdminOnly => (Forbidden, "admin_only", "only an operator of the mall may do this", None),
            Refusal::SessionNotFound => (NotFound, "session_not_found", "there is no such session", Some("id")),
            Refusal::UserNotFound => (NotFound, "user_not_found", "there is no such user", None),
            Refusal::AddressNotFound => (NotFound, "address_not_found", "there is no such address", Some("id")),
            Refusal::AddressBookFull => {
                let message = format!("the address book holds {ADDRESSES_MAX} addresses; delete one first");
                return (Refused, "address_book_full", Cow::Owned(message), None);
            }
            Refusal::VersionMismatch => (Precondition, "version_mismatch", "the profile has changed; read it again", None),
            Refusal::ChangedMeanwhile => (Conflict, "changed_meanwhile", "the account changed at the same moment; try again", None),
            Refusal::RoleUnknown => (Invalid, "unknown_role", "a role is one of user, seller, admin", Some("roles")),
            Refusal::RolesEmpty => (Invalid, "roles_empty", "an account needs at least one role", Some("roles")),
            Refusal::LastAdmin => (Conflict, "last_admin", "the mall needs an operator who can sign in; make another one first", None),
            Refusal::BanLevelUnknown => (Invalid, "unknown_ban_level", "a ban level is one of buy, login, all", Some("level")),
            Refusal::BanOver => (Invalid, "ban_over", "a ban must end in the future", Some("until")),
            Refusal::LanguageInvalid => (Invalid, "invalid_language", "a language is a BCP 47 tag such as en or zh-CN", Some("language")),
            Refusal::Required(param) => (Invalid, "required", "this must not be blank", Some(*param)),
            Refusal::TextInvalid(param) => (Invalid, "invalid_text", "this must not contain control characters", Some(*param)),
            Refusal::Busy => (Unavailable, "busy", "too many people are signing in; try again in a moment", None),
            Refusal::TextTooLong(param, chars_max) => {
                return (Invalid, "too_long", Cow::Owned(format!("this may have at most {chars_max} characters")), Some(*param));
            }
        };
        (kind, code, Cow::Borrowed(message), param)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        let (kind, code, message, param) = refusal.facts();
        let mut error = Error::new(kind, code, message);
        if let Some(param) = param {
            error = error.param(param);
        }
        if refusal == Refusal::Busy {
            error = error.retry_after_ms(BUSY_RETRY_AFTER_MS);
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Refusal; 27] = [
        Refusal::EmailInvalid,
        Refusal::EmailTaken,
        Refusal::PasswordTooShort,
        Refusal::PasswordTooLong,
        Refusal::PasswordIsEmail,
        Refusal::PasswordMismatch,
        Refusal::CredentialsInvalid,
        Refusal::AccountBanned,
        Refusal::RefreshTokenInvalid,
        Refusal::RefreshTokenReused,
        Refusal::AdminOnly,
        Refusal::SessionNotFound,
        Refusal::UserNotFound,
        Refusal::AddressNotFound,
        Refusal::AddressBookFull,
        Refusal::VersionMismatch,
        Refusal::ChangedMeanwhile,
        Refusal::RoleUnknown,
        Refusal::RolesEmpty,
        Refusal::LastAdmin,
        Refusal::BanLevelUnknown,
        Refusal::BanOver,
        Refusal::LanguageInvalid,
        Refusal::Required("name"),
        Refusal::TextTooLong("name", 100),
        Refusal::TextInvalid("name"),
        Refusal::Busy,
    ];

    /// One line of README's table of errors: `| kind | code | … |`.
    fn readme_codes() -> Vec<(String, String)> {
        let lines = include_str!("../README.md").lines().filter(|line| line.starts_with("| "));
        let cells = lines.map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect::<Vec<_>>());
        cells.filter(|cells| Kind::parse(&cells[1]).is_some()).map(|cells| (cells[1].clone(), cells[2].clone())).collect()
    }

    #[test]
    fn the_readme_lists_exactly_the_codes_of_this_table() {
        let mut ours: Vec<_> = ALL.iter().map(|r| (r.facts().0.as_str().to_owned(), r.facts().1.to_owned())).collect();
        let mut documented = readme_codes();
        ours.sort();
        documented.sort();
        assert_eq!(documented, ours);
    }
}
