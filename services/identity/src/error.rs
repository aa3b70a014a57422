//! Everything this service refuses, with kind, code and parameter in one place. README.md lists the same codes.

use mallard_types::Error;

use crate::domain::{
    ADDRESSES_MAX, ALLOW_LIST_MAX, PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN, POLICIES_MAX, ROLES_MAX, ROLES_PER_USER_MAX,
};

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
    /// The caller does not hold role admin itself.
    AdminRoleOnly,
    /// The caller's session has ended.
    SessionEnded,
    /// Too many wrong passwords; holds how long to wait, in milliseconds.
    AttemptsTooMany(u64),
    /// There is no such rule.
    PolicyNotFound,
    /// There are as many rules as may be.
    PoliciesFull,
    /// Not an effect of a rule.
    EffectUnknown,
    /// There is no such role.
    RoleNotFound,
    /// There are as many roles as may be.
    RolesFull,
    /// The role would inherit itself, by way of the one named.
    RoleCycle(String),
    /// Something is about the role still.
    RoleInUse(String),
    /// The role always exists.
    RoleBuiltIn,
    /// The allow-list is longer than may be.
    AllowListFull,
    /// Nobody could change the policies any more.
    WouldLockOut,
    /// As many signing keys are in use as may be.
    KeysFull,
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
    RoleUnknown(String),
    /// Not a role of the mall, so that none can inherit it.
    ParentUnknown(String),
    /// More roles than an account or a role may have.
    RolesTooMany,
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
            Refusal::VersionMismatch => Error::precondition("version_mismatch", "it has changed; read it again"),
            Refusal::ChangedMeanwhile => {
                Error::conflict("changed_meanwhile", "somebody else changed it at the same moment; try again")
            }
            Refusal::RoleUnknown(name) => {
                let message = format!("there is no role {name:?}; make it with PUT /admin/v1/roles/{{name}} first");
                Error::invalid("unknown_role", message).param("roles")
            }
            Refusal::ParentUnknown(name) => {
                let message = format!("there is no role {name:?} to inherit; make it first");
                Error::invalid("unknown_role", message).param("inherits")
            }
            Refusal::RolesTooMany => {
                let message =
                    format!("at most {ROLES_PER_USER_MAX} roles; put them together into one that inherits them");
                Error::invalid("too_many_roles", message).param("roles")
            }
            Refusal::AdminRoleOnly => Error::forbidden("admin_only", "only somebody with role admin may do this"),
            Refusal::SessionEnded => Error::unauthenticated("session_revoked", "this session has ended; sign in again"),
            Refusal::AttemptsTooMany(retry_after_ms) => {
                let message = "too many wrong passwords; wait before you try again";
                Error::too_many("too_many_attempts", message).retry_after_ms(retry_after_ms)
            }
            Refusal::PolicyNotFound => Error::not_found("policy_not_found", "there is no such policy").param("id"),
            Refusal::PoliciesFull => {
                Error::refused("policies_full", format!("there may be {POLICIES_MAX} policies; delete one first"))
            }
            Refusal::EffectUnknown => {
                Error::invalid("unknown_effect", "an effect is one of allow, deny").param("effect")
            }
            Refusal::RoleNotFound => Error::not_found("role_not_found", "there is no such role").param("name"),
            Refusal::RolesFull => {
                Error::refused("roles_full", format!("there may be {ROLES_MAX} roles; delete one first"))
            }
            Refusal::RoleCycle(parent) => {
                let message = format!("the role would inherit itself by way of {parent:?}; leave that out");
                Error::invalid("role_cycle", message).param("inherits")
            }
            Refusal::RoleInUse(by) => {
                Error::conflict("role_in_use", format!("the role is in use by {by}; change that first"))
            }
            Refusal::RoleBuiltIn => {
                Error::conflict("role_built_in", "user, seller, admin and anonymous always exist").param("name")
            }
            Refusal::AllowListFull => {
                let message = format!("the allow-list may have {ALLOW_LIST_MAX} paths; write patterns for several");
                Error::refused("allow_list_full", message).param("paths")
            }
            Refusal::WouldLockOut => {
                let message =
                    "after this change nobody with role admin could change the policies back; keep them a way in";
                Error::conflict("would_lock_out", message)
            }
            Refusal::KeysFull => {
                let message = "too many keys are in use; wait until the tokens of old ones have expired";
                Error::conflict("too_many_keys", message)
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
            Refusal::Required(param) => Error::invalid("required", "this must not be blank; fill it in").param(param),
            Refusal::TextTooLong(param, chars_max) => {
                Error::invalid("too_long", format!("this may have at most {chars_max} characters")).param(param)
            }
            Refusal::TextInvalid(param) => {
                Error::invalid("invalid_text", "this holds control characters or others nobody can see; type it anew")
                    .param(param)
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

    const ALL: [Refusal; 43] = [
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
        Refusal::RoleUnknown(String::new()),
        Refusal::ParentUnknown(String::new()),
        Refusal::RolesTooMany,
        Refusal::AdminRoleOnly,
        Refusal::SessionEnded,
        Refusal::AttemptsTooMany(1),
        Refusal::PolicyNotFound,
        Refusal::PoliciesFull,
        Refusal::EffectUnknown,
        Refusal::RoleNotFound,
        Refusal::RolesFull,
        Refusal::RoleCycle(String::new()),
        Refusal::RoleInUse(String::new()),
        Refusal::RoleBuiltIn,
        Refusal::AllowListFull,
        Refusal::WouldLockOut,
        Refusal::KeysFull,
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
