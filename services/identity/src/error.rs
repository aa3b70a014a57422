//! Everything this service refuses, with kind, code and parameter in one place. README.md lists the same codes.

use mallard_types::Error;

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

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::EmailInvalid => {
                Error::invalid("invalid_email", "enter an e-mail address like name@example.com").param("email")
            }
            Refusal::EmailTaken => {
                Error::conflict("email_taken", "an account with this e-mail address exists; sign in instead")
                    .param("email")
            }
            Refusal::PasswordTooShort => {
                let message = format!("the password needs at least {PASSWORD_CHARS_MIN} characters");
                Error::invalid("password_too_short", message).param("password")
            }
            Refusal::PasswordTooLong => {
                let message = format!("the password may have at most {PASSWORD_CHARS_MAX} characters");
                Error::invalid("password_too_long", message).param("password")
            }
            Refusal::PasswordIsEmail => {
                Error::invalid("password_is_email", "the password must not be the e-mail address").param("password")
            }
            Refusal::PasswordMismatch => {
                let message = "the two passwords differ; enter the same one twice";
                Error::invalid("password_mismatch", message).param("password_confirmation")
            }
            Refusal::CredentialsInvalid => {
                Error::unauthenticated("invalid_credentials", "the e-mail address or the password is wrong")
            }
            Refusal::AccountBanned => {
                Error::forbidden("account_banned", "this account may not sign in; ask the mall's operators")
            }
            Refusal::RefreshTokenInvalid => {
                Error::unauthenticated("invalid_refresh_token", "the session has ended; sign in again")
            }
            Refusal::RefreshTokenReused => {
                let message = "the refresh token was used before, so its session was ended; sign in again";
                Error::unauthenticated("refresh_token_reused", message)
            }
            Refusal::AdminOnly => Error::forbidden("admin_only", "only an operator of the mall may do this"),
            Refusal::SessionNotFound => Error::not_found("session_not_found", "there is no such session").param("id"),
            Refusal::UserNotFound => Error::not_found("user_not_found", "there is no such user"),
            Refusal::AddressNotFound => Error::not_found("address_not_found", "there is no such address").param("id"),
            Refusal::AddressBookFull => {
                let message = format!("the address book holds {ADDRESSES_MAX} addresses; delete one first");
                Error::refused("address_book_full", message)
            }
            Refusal::VersionMismatch => {
                Error::precondition("version_mismatch", "the profile has changed; read it again")
            }
            Refusal::ChangedMeanwhile => {
                Error::conflict("changed_meanwhile", "the account changed at the same moment; try again")
            }
            Refusal::RoleUnknown => {
                Error::invalid("unknown_role", "a role is one of user, seller, admin").param("roles")
            }
            Refusal::RolesEmpty => Error::invalid("roles_empty", "an account needs at least one role").param("roles"),
            Refusal::LastAdmin => {
                Error::conflict("last_admin", "the mall needs an operator who can sign in; make another one first")
            }
            Refusal::BanLevelUnknown => {
                Error::invalid("unknown_ban_level", "a ban level is one of buy, login, all").param("level")
            }
            Refusal::BanOver => Error::invalid("ban_over", "a ban must end in the future").param("until"),
            Refusal::LanguageInvalid => {
                Error::invalid("invalid_language", "a language is a BCP 47 tag such as en or zh-CN").param("language")
            }
            Refusal::Required(param) => Error::invalid("required", "this must not be blank").param(param),
            Refusal::TextTooLong(param, chars_max) => {
                Error::invalid("too_long", format!("this may have at most {chars_max} characters")).param(param)
            }
            Refusal::TextInvalid(param) => {
                Error::invalid("invalid_text", "this must not contain control characters").param(param)
            }
            Refusal::Busy => {
                let message = "too many people are signing in; try again in a moment";
                Error::unavailable("busy", message).retry_after_ms(BUSY_RETRY_AFTER_MS)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use mallard_types::Kind;

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

    /// Reads README's table of errors: `| kind | code | … |`.
    fn readme_codes() -> Vec<(String, String)> {
        let lines = include_str!("../README.md").lines().filter(|line| line.starts_with("| "));
        let cells =
            lines.map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect::<Vec<_>>());
        cells
            .filter(|cells| Kind::parse(&cells[1]).is_some())
            .map(|cells| (cells[1].clone(), cells[2].clone()))
            .collect()
    }

    #[test]
    fn the_readme_lists_exactly_these_codes() {
        let errors = ALL.into_iter().map(Error::from);
        let mut ours: Vec<_> = errors.map(|error| (error.kind.as_str().to_owned(), error.code.into_owned())).collect();
        let mut documented = readme_codes();
        ours.sort();
        documented.sort();
        assert_eq!(documented, ours);
    }
}
