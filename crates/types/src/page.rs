//! Lists page by key: a limit and an opaque cursor that holds the last key seen.

use crate::{Error, Result};

/// Rows in a page when nothing is asked.
pub const LIMIT_DEFAULT: usize = 20;
/// Most rows in a page.
pub const LIMIT_MAX: usize = 100;

/// Checks a requested limit; 0 means the default.
///
/// # Errors
/// `limit_out_of_range` outside 1 to 100.
pub fn limit(requested: i32) -> Result<usize> {
    match requested {
        0 => Ok(LIMIT_DEFAULT),
        1..=100 => Ok(requested as usize),
        _ => Err(Error::invalid("limit_out_of_range", "limit must be between 1 and 100").param("limit")),
    }
}

/// Packs the key parts of the last row into an opaque text (lower-case hex of the parts joined by NUL).
pub fn encode_cursor(parts: &[&str]) -> String {
    let mut out = String::new();
    for byte in parts.join("\0").bytes() {
        out.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        out.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    out
}

/// Unpacks a cursor into exactly `parts` key parts.
///
/// # Errors
/// `bad_cursor` when the text did not come from [`encode_cursor`].
pub fn decode_cursor(cursor: &str, parts: usize) -> Result<Vec<String>> {
    let bad = || {
        Error::invalid("bad_cursor", "the cursor is not one this list gave; leave it out to start anew").param("cursor")
    };
    if !cursor.len().is_multiple_of(2) || !cursor.is_ascii() {
        return Err(bad());
    }
    let mut bytes = Vec::with_capacity(cursor.len() / 2);
    for i in (0..cursor.len()).step_by(2) {
        bytes.push(u8::from_str_radix(&cursor[i..i + 2], 16).map_err(|_| bad())?);
    }
    let text = String::from_utf8(bytes).map_err(|_| bad())?;
    let found: Vec<String> = text.split('\0').map(str::to_owned).collect();
    if found.len() == parts { Ok(found) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_round_trip() {
        let cursor = encode_cursor(&["1700", "ord_1"]);
        assert_eq!(decode_cursor(&cursor, 2).unwrap(), ["1700", "ord_1"]);
        assert_eq!(decode_cursor(&cursor, 1).unwrap_err().code, "bad_cursor");
        assert_eq!(decode_cursor("zz", 1).unwrap_err().code, "bad_cursor");
        assert_eq!(decode_cursor("é", 1).unwrap_err().code, "bad_cursor");
    }

    #[test]
    fn limits_are_kept() {
        assert_eq!(limit(0).unwrap(), LIMIT_DEFAULT);
        assert_eq!(limit(100).unwrap(), LIMIT_MAX);
        assert_eq!(limit(101).unwrap_err().param.as_deref(), Some("limit"));
        assert_eq!(limit(-1).unwrap_err().code, "limit_out_of_range");
    }
}
