//! Query strings and path segments: percent-encoding as HTML forms write it.

use std::borrow::Cow;

use mallard_types::{Error, Result};

/// Most parameters of one query.
const PARAMS_MAX: usize = 200;

/// Splits a query into decoded names and values, in order.
///
/// # Errors
/// `malformed_query` for broken percent-encoding or more than 200 parameters.
pub fn pairs(query: &str) -> Result<Vec<(Cow<'_, str>, Cow<'_, str>)>> {
    let mut pairs = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        if pairs.len() == PARAMS_MAX {
            return Err(Error::invalid("malformed_query", "the query has more than 200 parameters"));
        }
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        pairs.push((decode(name, true).ok_or_else(malformed)?, decode(value, true).ok_or_else(malformed)?));
    }
    Ok(pairs)
}

fn malformed() -> Error {
    Error::invalid("malformed_query", "the query is not percent-encoded UTF-8")
}

/// Decodes percent-encoding; with `plus`, `+` is a space. `None` when it is broken or not UTF-8.
pub fn decode(text: &str, plus: bool) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|byte| byte == b'%' || (plus && byte == b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let (high, low) = (bytes.next()?, bytes.next()?);
                hex(high)? << 4 | hex(low)?
            }
            b'+' if plus => b' ',
            byte => byte,
        });
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        let pairs = pairs("price%5Bgte%5D=100&q=red+mug%21&&flag").unwrap();
        let expected = [("price[gte]", "100"), ("q", "red mug!"), ("flag", "")];
        assert!(pairs.iter().map(|(a, b)| (a.as_ref(), b.as_ref())).eq(expected));
        assert_eq!(decode("a+b%2Fc", false).as_deref(), Some("a+b/c"));
    }

    #[test]
    fn broken_encoding_is_refused() {
        for query in ["a=%", "a=%4", "a=%zz", "%ff=1"] {
            assert_eq!(pairs(query).unwrap_err().code, "malformed_query", "{query}");
        }
        assert!(pairs(&"a&".repeat(201)).is_err());
    }
}
