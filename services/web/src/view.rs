//! What templates show: the frame of every page, pictures, product cards, fields of forms, times.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use mallard_proto::catalog::v1::{Product, Variant};
use mallard_proto::common::v1::Money as MoneyMessage;
use mallard_types::{Money, Result};

use crate::ask::Ask;
use crate::assets::ASSETS;
use crate::catalogue::{Directory, category_name, title};
use crate::domain::{Lang, price};
use crate::text::Text;

/// Width and height of a picture whose size nobody told.
const PICTURE_PIXELS: i32 = 800;

/// What stands around every page.
pub struct Frame {
    pub t: &'static Text,
    pub lang: Lang,
    pub base: &'static str,
    /// This page in each language: tag for `hreflang`, own name, address, whether it is the present one.
    pub languages: Vec<(&'static str, &'static str, String, bool)>,
    pub title: String,
    pub csrf: String,
    pub signed_in: bool,
    pub name: String,
    pub cart_lines: u32,
    pub q: String,
    pub departments: Vec<(String, String)>,
    /// Shown above the page: what has just been done.
    pub notice: &'static str,
    pub request_id: String,
    /// Where to come back to after a sign-in.
    pub here: String,
    pub style: &'static str,
    pub htmx: &'static str,
    pub script: &'static str,
    pub mark: &'static str,
    pub hero: &'static str,
}

impl Frame {
    /// Makes the frame of a page with this title.
    pub fn new(ask: &Ask, title: impl Into<String>) -> Frame {
        let assets = &*ASSETS;
        let stored = ask.session.as_ref().map(|session| session.stored());
        let kept = stored.as_ref().map(|stored| &stored.kept);
        let user = kept.and_then(|kept| kept.user.as_ref());
        // A form cannot be read again: in another language, or after a sign-in, its page is.
        let here = match crate::pages::find(&ask.path).map(|route| route.readable()) {
            Some(readable) if !readable.is_empty() => readable,
            _ => ask.here(),
        };
        Frame {
            t: ask.t,
            lang: ask.lang,
            base: ask.base,
            languages: languages(&here, ask.lang),
            title: title.into(),
            csrf: ask.csrf.clone(),
            signed_in: user.is_some(),
            name: user.map(|user| user.name.clone()).unwrap_or_default(),
            cart_lines: kept.map_or(0, |kept| kept.cart_lines),
            q: String::new(),
            departments: Vec::new(),
            notice: "",
            request_id: ask.request_id.clone(),
            here,
            style: &assets.style.url,
            htmx: &assets.htmx.url,
            script: &assets.script.url,
            mark: &assets.mark.url,
            hero: &assets.hero.url,
        }
    }

    /// Says where this page is to be found again, where its path alone does not.
    pub fn at(mut self, here: String) -> Frame {
        self.languages = languages(&here, self.lang);
        self.here = here;
        self
    }

    /// Adds the departments, on pages that know them.
    pub fn with_departments(mut self, directory: &Arc<Directory>) -> Frame {
        let link = |slug: &str| format!("{}/c/{slug}", self.base);
        self.departments = directory
            .departments()
            .map(|category| (link(&category.slug), category_name(category, self.lang).to_owned()))
            .collect();
        self
    }
}

fn languages(here: &str, present: Lang) -> Vec<(&'static str, &'static str, String, bool)> {
    let link = |lang: Lang| (lang.html(), lang.name(), format!("/{}{here}", lang.tag()), lang == present);
    Lang::ALL.into_iter().map(link).collect()
}

/// A picture with its size, so that nothing moves when it arrives.
#[derive(Clone, Debug)]
pub struct Picture {
    pub url: String,
    pub alt: String,
    pub width: i32,
    pub height: i32,
}

/// Returns a picture of a product; a blank one where it has none, or one of another host, which pages do not ask.
pub fn picture(product: &Product, index: usize, alt: &str) -> Picture {
    let found = product.images.get(index).filter(|image| is_ours(&image.url));
    let Some(image) = found else { return blank(alt) };
    let size = |pixels: i32| if pixels > 0 { pixels } else { PICTURE_PIXELS };
    Picture { url: image.url.clone(), alt: alt.to_owned(), width: size(image.width), height: size(image.height) }
}

/// Returns a picture by its address only, as old orders keep it.
pub fn picture_at(url: &str, alt: &str) -> Picture {
    if !is_ours(url) {
        return blank(alt);
    }
    Picture { url: url.to_owned(), alt: alt.to_owned(), width: PICTURE_PIXELS, height: PICTURE_PIXELS }
}

fn blank(alt: &str) -> Picture {
    Picture { url: ASSETS.blank.url.clone(), alt: alt.to_owned(), width: PICTURE_PIXELS, height: PICTURE_PIXELS }
}

fn is_ours(url: &str) -> bool {
    url.starts_with('/') && !url.starts_with("//")
}

/// A product in a list.
#[derive(Clone, Debug)]
pub struct Card {
    pub href: String,
    pub title: String,
    pub brand: String,
    pub picture: Picture,
    pub price: String,
    /// Other variants cost more.
    pub is_from: bool,
    pub sold_out: bool,
}

/// Makes the card of a product.
///
/// # Errors
/// An amount in no currency we know.
pub fn card(ask: &Ask, product: &Product) -> Result<Card> {
    let title = title(product, ask.lang).to_owned();
    let mut prices = Vec::with_capacity(product.variants.len());
    for variant in &product.variants {
        prices.push(variant_price(variant)?);
    }
    let lowest = prices.iter().min_by_key(|money| money.amount);
    Ok(Card {
        href: ask.link(&format!("/p/{}", product.id)),
        brand: product.brand.as_ref().map(|brand| brand.name.clone()).unwrap_or_default(),
        picture: picture(product, 0, &title),
        price: lowest.map(|money| price(*money)).unwrap_or_default(),
        is_from: lowest.is_some_and(|low| prices.iter().any(|money| money.amount > low.amount)),
        sold_out: !product.variants.iter().any(|variant| variant.in_stock),
        title,
    })
}

/// Returns what a variant costs.
///
/// # Errors
/// An amount in no currency we know.
pub fn variant_price(variant: &Variant) -> Result<Money> {
    Money::try_from(variant.price.clone().unwrap_or_default())
}

/// Writes an amount of a message; nothing where there is none.
pub fn shown(money: &Option<MoneyMessage>) -> String {
    money.as_ref().and_then(|money| Money::try_from(money).ok()).map(price).unwrap_or_default()
}

/// Tells whether an amount is there and not nothing.
pub fn is_some(money: &Option<MoneyMessage>) -> bool {
    money.as_ref().is_some_and(|money| money.amount != 0)
}

/// Writes options as `Ink · 42`.
pub fn options<'a>(options: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let values: Vec<&str> = options.into_iter().map(|(_, value)| value.as_str()).collect();
    values.join(" · ")
}

/// Writes a time in UTC, to the minute.
pub fn moment(micros: i64, lang: Lang) -> String {
    let Ok(stamp) = Timestamp::from_microsecond(micros) else { return String::new() };
    let time = stamp.to_zoned(TimeZone::UTC);
    match lang {
        Lang::En => time.strftime("%-d %b %Y, %H:%M UTC").to_string(),
        Lang::Zh => time.strftime("%Y年%-m月%-d日 %H:%M UTC").to_string(),
    }
}

/// Writes a time for programs.
pub fn stamp(micros: i64) -> String {
    Timestamp::from_microsecond(micros).map(|stamp| stamp.to_string()).unwrap_or_default()
}

/// One field of a form: what was typed, and what is wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Field {
    pub name: &'static str,
    pub label: &'static str,
    pub value: String,
    pub error: &'static str,
    /// Type of the input.
    pub kind: &'static str,
    pub autocomplete: &'static str,
    pub required: bool,
    pub maxlength: u32,
    pub inputmode: &'static str,
    pub placeholder: &'static str,
    pub hint: &'static str,
}

impl Field {
    /// Makes a text field.
    pub fn text(
        name: &'static str,
        label: &'static str,
        value: impl Into<String>,
        autocomplete: &'static str,
    ) -> Field {
        Field { name, label, value: value.into(), kind: "text", autocomplete, maxlength: 200, ..Field::default() }
    }

    /// Makes the browser ask for it.
    pub fn required(mut self) -> Field {
        self.required = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_both_languages() {
        assert_eq!(moment(1_767_225_600_000_000, Lang::En), "1 Jan 2026, 00:00 UTC");
        assert_eq!(moment(1_767_225_600_000_000, Lang::Zh), "2026年1月1日 00:00 UTC");
        assert_eq!(stamp(1_767_225_600_000_000), "2026-01-01T00:00:00Z");
    }

    #[test]
    fn pictures_of_other_hosts_are_not_asked_for() {
        assert!(is_ours("/media/demo/a.svg"));
        for other in ["https://x.example/a.png", "//x.example/a.png", "data:image/png;base64,", ""] {
            assert!(!is_ours(other));
        }
    }
}
