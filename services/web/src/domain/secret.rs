//! The secret of a session: 256 random bits that only the visitor's cookie holds. Everything else is derived from it, so
//! that what the database keeps is worth nothing without the cookie.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What the cookie of a session holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Makes a secret of random bytes.
    pub fn new(random: [u8; 32]) -> Secret {
        Secret(random)
    }

    /// Reads a cookie's value; nothing for what we would not have written.
    pub fn parse(cookie: &str) -> Option<Secret> {
        URL_SAFE_NO_PAD.decode(cookie).ok()?.try_into().ok().map(Secret)
    }

    /// Returns the cookie's value.
    pub fn cookie(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Returns the id the session's row has.
    pub fn id(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.derive("id"))
    }

    /// Returns the key that seals the row.
    pub fn key(&self) -> [u8; 32] {
        self.derive("key")
    }

    /// Returns the token every form of the session carries.
    pub fn csrf(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.derive("csrf")[..18])
    }

    fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"mallard web session ");
        hash.update(purpose.as_bytes());
        hash.update([0]);
        hash.update(self.0);
        hash.finalize().into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Compares two texts in a time that does not tell where they differ.
pub fn constant_eq(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_read_back_and_nothing_else_is_taken_for_one() {
        let secret = Secret::new([7; 32]);
        assert_eq!(Secret::parse(&secret.cookie()), Some(secret.clone()));
        for bad in ["", "abc", &"A".repeat(44), &format!("{}=", secret.cookie()), &"*".repeat(43)] {
            assert_eq!(Secret::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_derived_differs_by_purpose_and_by_secret() {
        let (one, other) = (Secret::new([1; 32]), Secret::new([2; 32]));
        let all = [one.cookie(), one.id(), one.csrf(), other.cookie(), other.id(), other.csrf()];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert!(!format!("{one:?}").contains(&one.cookie()));
    }
}
