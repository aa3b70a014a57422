//! E-mail addresses and passwords. None of these types shows its content in a log.

use std::fmt;

use crate::error::Refusal;

/// Fewest characters of a password.
pub const PASSWORD_CHARS_MIN: usize = 8;
/// Most characters of a password.
pub const PASSWORD_CHARS_MAX: usize = 128;
/// RFC 5321 limits.
const EMAIL_BYTES_MAX: usize = 254;
const LOCAL_PART_BYTES_MAX: usize = 64;
const LABEL_BYTES_MAX: usize = 63;

/// An e-mail address in the one form that is stored and compared: trimmed, lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Email(String);

impl Email {
    /// Brings an e-mail address into its one form.
    ///
    /// The shape is checked, not the grammar of RFC 5322: the only proof of an address is a letter that arrives.
    ///
    /// # Errors
    /// `invalid_email`.
    pub fn parse(raw: &str) -> Result<Email, Refusal> {
        let email = raw.trim().to_lowercase();
        let (local, domain) = email.rsplit_once('@').ok_or(Refusal::EmailInvalid)?;
        if email.len() > EMAIL_BYTES_MAX || !is_local_part(local) || !is_domain(domain) {
            return Err(Refusal::EmailInvalid);
        }
        Ok(Email(email))
    }

    /// Returns the address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_local_part(local: &str) -> bool {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || "\"(),:;<>@[\\]".contains(c);
    !local.is_empty() && local.len() <= LOCAL_PART_BYTES_MAX && !local.contains(forbidden)
}

fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    domain.contains('.') && domain.split('.').all(is_label)
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(…)")
    }
}

/// A password that may be set.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// Checks a new password of the account with this e-mail address.
    ///
    /// # Errors
    /// `password_too_short`, `password_too_long`, `password_is_email`.
    pub fn parse(raw: String, email: &Email) -> Result<Password, Refusal> {
        let chars = raw.chars().count();
        if chars < PASSWORD_CHARS_MIN {
            return Err(Refusal::PasswordTooShort);
        }
        if chars > PASSWORD_CHARS_MAX {
            return Err(Refusal::PasswordTooLong);
        }
        if raw.trim().to_lowercase() == email.as_str() {
            return Err(Refusal::PasswordIsEmail);
        }
        Ok(Password(raw))
    }

    /// Checks what was typed the second time.
    ///
    /// # Errors
    /// `password_mismatch`.
    pub fn confirm(&self, again: &str) -> Result<(), Refusal> {
        if self.0 == again { Ok(()) } else { Err(Refusal::PasswordMismatch) }
    }

    /// Gives the text away, to be hashed.
    pub fn into_text(self) -> String {
        self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A slow salted hash of a password, as a PHC string.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn email(text: &str) -> Email {
        Email::parse(text).unwrap()
    }

    #[test]
    fn ordinary_addresses_are_accepted_in_one_form() {
        for (raw, expected) in [
            ("  Mei.Lin+shop@Example.COM\n", "mei.lin+shop@example.com"),
            ("admin@mallard.local", "admin@mallard.local"),
            ("o'brien@sub-domain.example.co.uk", "o'brien@sub-domain.example.co.uk"),
            ("买家@例子.中国", "买家@例子.中国"),
        ] {
            assert_eq!(email(raw).as_str(), expected);
        }
    }

    #[test]
    fn malformed_addresses_are_refused() {
        let long_local = format!("{}@example.com", "a".repeat(65));
        let long = format!("a@{}com", "example.".repeat(40));
        for raw in [
            "",
            " ",
            "plain",
            "@example.com",
            "a@",
            "a@localhost",
            "a@@example.com",
            "a b@example.com",
            "a@exa mple.com",
            "a@-example.com",
            "a@example..com",
            "a@.com",
            "a@example.com.",
            "<a@example.com>",
            &long_local,
            &long,
        ] {
            assert_eq!(Email::parse(raw), Err(Refusal::EmailInvalid), "{raw:?}");
        }
    }

    #[test]
    fn password_limits_count_characters() {
        let me = email("me@example.com");
        let parse = |text: &str| Password::parse(text.to_owned(), &me).map(|_| ());
        assert_eq!(parse("1234567"), Err(Refusal::PasswordTooShort));
        assert_eq!(parse("密码密码密码密码"), Ok(()));
        assert_eq!(parse(&"x".repeat(128)), Ok(()));
        assert_eq!(parse(&"x".repeat(129)), Err(Refusal::PasswordTooLong));
        assert_eq!(parse("Me@Example.com"), Err(Refusal::PasswordIsEmail));
    }

    #[test]
    fn the_confirmation_must_be_the_same() {
        let password = Password::parse("correct horse".into(), &email("me@example.com")).unwrap();
        assert_eq!(password.confirm("correct horse"), Ok(()));
        assert_eq!(password.confirm("correct horsf"), Err(Refusal::PasswordMismatch));
    }

    #[test]
    fn nothing_secret_shows_in_debug_output() {
        let me = email("me@example.com");
        let password = Password::parse("correct horse".into(), &me).unwrap();
        let shown = format!("{me:?} {password:?} {:?}", PasswordHash("$argon2id$x".into()));
        for secret in ["me@", "horse", "argon2id"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn the_one_form_is_a_fixed_point_and_ignores_case(local in "[a-zA-Z0-9.+_-]{1,20}", domain in "[a-zA-Z0-9]{1,10}", pad in "[ \t]{0,3}") {
            let raw = format!("{pad}{local}@{domain}.Example{pad}");
            let once = Email::parse(&raw).unwrap();
            prop_assert_eq!(&Email::parse(once.as_str()).unwrap(), &once);
            prop_assert_eq!(&Email::parse(&raw.to_uppercase()).unwrap(), &once);
        }

        #[test]
        fn no_text_whatever_panics_or_escapes_the_limits(raw in any::<String>()) {
            if let Ok(email) = Email::parse(&raw) {
                prop_assert!(email.as_str().len() <= EMAIL_BYTES_MAX);
                prop_assert!(!email.as_str().contains(char::is_whitespace));
            }
        }
    }
}
