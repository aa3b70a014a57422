//! What free text may be: bounded, without characters nobody can see, otherwise kept exactly as it was entered.

use mallard_types::text::{has_hidden, is_blank};

use crate::error::Refusal;

/// Checks an optional text; line breaks are allowed because streets have them.
///
/// # Errors
/// `too_long`, `invalid_text`.
pub(super) fn check(param: &'static str, text: &str, chars_max: usize) -> Result<(), Refusal> {
    if text.chars().nth(chars_max).is_some() {
        return Err(Refusal::TextTooLong(param, chars_max));
    }
    if text.contains(['\t', '\r']) || has_hidden(text) {
        return Err(Refusal::TextInvalid(param));
    }
    Ok(())
}

/// Checks a text that must not be blank.
///
/// # Errors
/// `required`, `too_long`, `invalid_text`.
pub(super) fn check_required(param: &'static str, text: &str, chars_max: usize) -> Result<(), Refusal> {
    if is_blank(text) {
        return Err(Refusal::Required(param));
    }
    check(param, text, chars_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_measured_in_characters_not_bytes() {
        assert_eq!(check("city", &"湖".repeat(4), 4), Ok(()));
        assert_eq!(check("city", &"湖".repeat(5), 4), Err(Refusal::TextTooLong("city", 4)));
    }

    #[test]
    fn control_characters_are_refused_and_line_breaks_are_not() {
        for text in ["a\0b", "a\tb", "a\rb", "a\u{202E}b", "\u{2066}a"] {
            assert_eq!(check("street", text, 10), Err(Refusal::TextInvalid("street")), "{text:?}");
        }
        assert_eq!(check("name", "می\u{200C}خواهم", 20), Ok(()));
        assert_eq!(check("street", "Long Lane 1\nBack door", 100), Ok(()));
    }

    #[test]
    fn blank_is_not_given() {
        assert_eq!(check_required("name", " \u{3000}", 10), Err(Refusal::Required("name")));
    }
}
