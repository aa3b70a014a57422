//! Characters that make a text read as something else than it says.

/// Tells whether a text holds characters that cannot be seen and change how it reads, or how what stands beside it does:
/// control characters other than line breaks and tabs, marks that turn the direction of writing around, and others that
/// only programs see. The joiners U+200C and U+200D are not among them: emoji, Persian and Indic scripts are written with
/// them. Neither is U+200B, which stands between words of scripts without blanks.
pub fn has_hidden(text: &str) -> bool {
    text.chars().any(is_hidden)
}

/// Takes the marks of direction out of a phone number: address books wrap numbers in them, and who pastes one sees nothing.
pub fn without_direction(phone: &str) -> String {
    phone.chars().filter(|c| !is_direction(*c)).collect()
}

/// Tells marks, embeddings and overrides, and isolates.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

fn is_hidden(c: char) -> bool {
    match c {
        '\n' | '\r' | '\t' => false,
        c if is_direction(c) => true,
        // Line and paragraph separators, invisible operators, shaping that nobody uses any more, byte order mark, annotations,
        // language tag.
        '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{2065}' | '\u{206A}'..='\u{206F}' => true,
        '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0001}' => true,
        c => c.is_control(),
    }
}

/// Tells whether nothing of a text can be seen: it is empty, or blanks, joiners and hidden characters only.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || is_hidden(c) || matches!(c, '\u{200B}'..='\u{200D}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_writing_around_or_cannot_be_seen_is_hidden() {
        let hidden = "\u{202A}\u{202B}\u{202C}\u{202D}\u{202E}\u{2066}\u{2067}\u{2068}\u{2069}\u{200E}\u{200F}\u{061C}\
            \u{2028}\u{2029}\u{2060}\u{2064}\u{206A}\u{206F}\u{FEFF}\u{FFF9}\u{FFFB}\u{E0001}\0\u{7}\u{1b}\u{7f}\u{85}";
        for c in hidden.chars() {
            assert!(has_hidden(&format!("Mug {c}12")), "{c:?}");
        }
    }

    #[test]
    fn what_people_write_is_not() {
        let family = "\u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467}";
        let england = "\u{1F3F4}\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}";
        for text in [
            "",
            "青瓷茶杯，200 毫升",
            "می\u{200C}خواهم",
            "क्\u{200D}ष",
            "ភាសា\u{200B}ខ្មែរ",
            "שלום mug",
            "fi\u{AD}ne \u{2764}\u{FE0F}",
            "Lane 1\r\nBack\tdoor",
            family,
            england,
        ] {
            assert!(!has_hidden(text), "{text:?}");
        }
    }

    #[test]
    fn a_pasted_number_is_what_can_be_seen_of_it() {
        assert_eq!(without_direction("\u{202A}+86 138 0000 0000\u{202C}"), "+86 138 0000 0000");
        assert!(has_hidden(&without_direction("1\u{0}2")), "what else is hidden stays, to be refused");
    }

    #[test]
    fn a_text_of_which_nothing_can_be_seen_is_blank() {
        for text in ["", " \u{3000}\n", "\u{200B}\u{200D}", "\u{202E}\u{FEFF}"] {
            assert!(is_blank(text), "{text:?}");
        }
        assert!(!is_blank(" \u{202E}a"));
    }
}
