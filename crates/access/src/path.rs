//! One spelling for every path, so that no other spelling slips past a rule.
//!
//! The result is what a router that decodes segments sees: percent-encodings are decoded, except those that would change how
//! the path falls into segments or cannot be printed; slashes are single; there is none at the end. Dot segments stay, for
//! the router takes them literally, but nothing that has them is ever allowed.

use std::borrow::Cow;

/// Returns the canonical spelling of an undecoded path.
pub(crate) fn canonical(path: &str) -> Cow<'_, str> {
    if is_canonical(path) {
        return Cow::Borrowed(path);
    }
    let decoded = decode(path.as_bytes());
    let mut canonical = String::with_capacity(path.len() + 1);
    let mut rest = decoded.as_slice();
    while !rest.is_empty() {
        match std::str::from_utf8(rest) {
            Ok(text) => {
                push(&mut canonical, text);
                break;
            }
            Err(error) => {
                let (good, bad) = rest.split_at(error.valid_up_to());
                push(&mut canonical, &String::from_utf8_lossy(good));
                let bad_length = error.error_len().unwrap_or(bad.len());
                bad[..bad_length].iter().for_each(|byte| encode(&mut canonical, *byte));
                rest = &bad[bad_length..];
            }
        }
    }
    if canonical.len() > 1 && canonical.ends_with('/') {
        canonical.pop();
    }
    if !canonical.starts_with('/') {
        canonical.insert(0, '/');
    }
    Cow::Owned(canonical)
}

/// Tells whether a canonical path has a segment `.` or `..`, which a proxy may understand in another way than the router.
pub(crate) fn has_dots(path: &str) -> bool {
    path.contains("/.") && path.split('/').any(|segment| segment == "." || segment == "..")
}

fn is_canonical(path: &str) -> bool {
    let bytes = path.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'%';
    bytes.first() == Some(&b'/')
        && (bytes.len() == 1 || bytes.last() != Some(&b'/'))
        && bytes.iter().all(plain)
        && !bytes.windows(2).any(|pair| pair == b"//")
}

/// Decodes percent-encodings. A slash and a percent sign that were encoded stay so, and a percent sign that encodes nothing
/// becomes encoded: else two different paths had one spelling.
fn decode(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        let value = (byte == b'%').then(|| path.get(at + 1..at + 3)).flatten().and_then(hex);
        at += if value.is_some() { 3 } else { 1 };
        match value.unwrap_or(byte) {
            b'%' => decoded.extend(b"%25"),
            b'/' if value.is_some() => decoded.extend(b"%2F"),
            plain => decoded.push(plain),
        }
    }
    decoded
}

fn hex(digits: &[u8]) -> Option<u8> {
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Appends text: characters that do not print are encoded (a dot of a pattern does not match a line break), slashes that
/// follow a slash are left out.
fn push(canonical: &mut String, text: &str) {
    for character in text.chars() {
        if character == '/' && canonical.ends_with('/') {
            continue;
        }
        if character.is_control() {
            let mut buffer = [0; 4];
            character.encode_utf8(&mut buffer).bytes().for_each(|byte| encode(canonical, byte));
        } else {
            canonical.push(character);
        }
    }
}

fn encode(canonical: &mut String, byte: u8) {
    canonical.push_str(&format!("%{byte:02X}"));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_spelling_of_a_path_becomes_one() {
        for spelling in [
            "/admin/v1/orders",
            "/admin/v1/orders/",
            "/admin/v1/orders//",
            "/admin//v1///orders",
            "//admin/v1/orders",
            "/admin/v1/%6frders",
            "/admin/v1/%6Frders",
            "/%61dmin/v1/orders",
            "admin/v1/orders",
        ] {
            assert_eq!(canonical(spelling), "/admin/v1/orders", "{spelling}");
        }
    }

    #[test]
    fn different_paths_keep_different_spellings() {
        for (path, expected) in [
            ("/", "/"),
            ("", "/"),
            ("///", "/"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%252Fb", "/a%252Fb"),
            ("/a%zz", "/a%25zz"),
            ("/a%", "/a%25"),
            ("/a%2", "/a%252"),
            ("/a%+1", "/a%25+1"),
            ("/%E5%95%86%E5%93%81", "/商品"),
            ("/商品", "/商品"),
            ("/%ff/a", "/%FF/a"),
            ("/%E5%95", "/%E5%95"),
            ("/a%0Ab", "/a%0Ab"),
            ("/a%00", "/a%00"),
            ("/a%20b", "/a b"),
            ("/Admin", "/Admin"),
            ("/a/%2e%2e/b", "/a/../b"),
        ] {
            assert_eq!(canonical(path), expected, "{path}");
        }
    }

    #[test]
    fn dot_segments_are_seen() {
        for (path, dots) in
            [("/a/../b", true), ("/a/.", true), ("/..", true), ("/a/.b", false), ("/a/...", false), ("/a..", false)]
        {
            assert_eq!(has_dots(path), dots, "{path}");
        }
    }

    proptest! {
        #[test]
        fn encoding_any_letter_changes_nothing(path in "(/[a-z0-9_.é]{1,6}){1,4}", picks in any::<u64>()) {
            let mut spelt = String::new();
            for (index, character) in path.chars().enumerate() {
                if character != '/' && picks >> (index % 64) & 1 == 1 {
                    let mut buffer = [0; 4];
                    character.encode_utf8(&mut buffer).bytes().for_each(|byte| spelt.push_str(&format!("%{byte:02x}")));
                } else {
                    spelt.push(character);
                    if character == '/' && picks >> (63 - index % 64) & 1 == 1 {
                        spelt.push('/');
                    }
                }
            }
            prop_assert_eq!(canonical(&spelt), path);
        }

        #[test]
        fn any_bytes_are_borne_and_have_no_line_break(path in ".{0,40}") {
            let once = canonical(&path).into_owned();
            prop_assert!(once.starts_with('/') && !once.contains("//") && !once.contains('\n'));
        }
    }
}
