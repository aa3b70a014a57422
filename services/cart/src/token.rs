//! The guest's secret: `ct_` and 256 random bits in hex. Only its hash is kept.

use sha2::{Digest, Sha256};

const PREFIX: &str = "ct_";
const SECRET_BYTES: usize = 32;

/// Writes random bytes as a token.
pub fn make(random: [u8; SECRET_BYTES]) -> String {
    format!("{PREFIX}{}", hex(&random))
}

/// Returns the hash a token is found by; nothing for a text that cannot be a token.
pub fn hash(token: &str) -> Option<String> {
    let secret = token.strip_prefix(PREFIX)?;
    let well_formed =
        secret.len() == 2 * SECRET_BYTES && secret.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    well_formed.then(|| hex(&Sha256::digest(token.as_bytes())))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_hash_and_the_hash_is_not_the_token() {
        let token = make([7; 32]);
        let found = hash(&token).unwrap();
        assert_eq!(found.len(), 64);
        assert!(!token.contains(&found));
        assert_ne!(hash(&make([8; 32])).unwrap(), found);
    }

    #[test]
    fn a_text_that_no_token_looks_like_is_nobodys() {
        for text in ["", "ct_", "ct_zz", "cart_1", &format!("ct_{}", "A".repeat(64)), &format!("ct_{}", "a".repeat(65))]
        {
            assert_eq!(hash(text), None, "{text}");
        }
    }
}
