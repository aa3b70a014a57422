//! The two languages of the pages, and which one a visitor gets.

/// A language the pages are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lang {
    /// English.
    En,
    /// Chinese, simplified.
    Zh,
}

impl Lang {
    /// Every language, in the order in which they are offered.
    pub const ALL: [Lang; 2] = [Lang::En, Lang::Zh];

    /// Returns the tag that stands in paths and in the contracts.
    pub fn tag(self) -> &'static str {
        match self {
            Lang::En => "en",
            Lang::Zh => "zh",
        }
    }

    /// Returns the tag for the document, which says more to a screen reader.
    pub fn html(self) -> &'static str {
        match self {
            Lang::En => "en",
            Lang::Zh => "zh-Hans",
        }
    }

    /// Returns the language's own name.
    pub fn name(self) -> &'static str {
        match self {
            Lang::En => "English",
            Lang::Zh => "中文",
        }
    }

    /// Finds the language of a BCP 47 tag by its first part.
    pub fn of_tag(tag: &str) -> Option<Lang> {
        let first = tag.split('-').next().unwrap_or_default();
        Lang::ALL.into_iter().find(|lang| lang.tag().eq_ignore_ascii_case(first))
    }
}

/// Chooses by an `Accept-Language` header (RFC 9110, 12.5.4); English when it names none of ours.
pub fn negotiate(accept: &str) -> Lang {
    let mut best = (0u32, Lang::En);
    for range in accept.split(',').take(20) {
        let mut parts = range.split(';');
        let tag = parts.next().unwrap_or_default().trim();
        let weight = parts.find_map(|part| part.trim().strip_prefix("q=")).map_or(1_000, thousandths);
        // A later range of the same weight does not win: people write the one they like first.
        if let Some(lang) = Lang::of_tag(tag)
            && weight > best.0
        {
            best = (weight, lang);
        }
    }
    best.1
}

/// Reads a weight of at most three decimals in thousandths; what is none counts as nothing.
fn thousandths(weight: &str) -> u32 {
    let (whole, rest) = weight.trim().split_once('.').unwrap_or((weight.trim(), ""));
    let digits = format!("{rest:0<3}");
    match (whole, digits.get(..3).and_then(|digits| digits.parse::<u32>().ok())) {
        ("1", _) => 1_000,
        ("0", Some(rest)) => rest,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_language_of_ours_wins() {
        for (accept, lang) in [
            ("", Lang::En),
            ("*", Lang::En),
            ("zh-CN,zh;q=0.9,en;q=0.8", Lang::Zh),
            ("en-GB,en;q=0.9,zh;q=0.8", Lang::En),
            ("fr-CH, fr;q=0.9, zh;q=0.7, en;q=0.3", Lang::Zh),
            ("de", Lang::En),
            ("en;q=0.2, ZH-hant;q=0.3", Lang::Zh),
            ("zh;q=0, en;q=0.001", Lang::En),
            ("zh;q=x, en;q=0.1", Lang::En),
        ] {
            assert_eq!(negotiate(accept), lang, "{accept}");
        }
    }

    #[test]
    fn a_tag_is_known_by_its_first_part() {
        assert_eq!(Lang::of_tag("zh-Hant-TW"), Some(Lang::Zh));
        assert_eq!(Lang::of_tag("zhx"), None);
        assert_eq!(Lang::of_tag(""), None);
    }
}
