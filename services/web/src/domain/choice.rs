//! Which variant a visitor means: a value for each option, the rest filled in from what there is.

use std::collections::BTreeMap;

/// A variant as far as choosing goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice<'a> {
    /// SKU.
    pub sku_id: &'a str,
    /// Option name to value.
    pub options: &'a BTreeMap<String, String>,
    /// Whether it can be bought now.
    pub in_stock: bool,
}

/// Chooses among the variants: the SKU asked for, else the one that meets most of the wishes (option name to value), one in
/// stock before one that is not, the first before the later. Nothing when there are no variants.
pub fn choose<'a>(variants: &[Choice<'a>], sku_id: &str, wishes: &BTreeMap<String, String>) -> Option<&'a str> {
    if let Some(asked) = variants.iter().find(|variant| variant.sku_id == sku_id) {
        return Some(asked.sku_id);
    }
    let met =
        |variant: &Choice<'_>| wishes.iter().filter(|(name, value)| variant.options.get(*name) == Some(value)).count();
    let mut best: Option<(usize, bool, &'a str)> = None;
    for variant in variants {
        let rank = (met(variant), variant.in_stock);
        if best.is_none_or(|(most, stock, _)| rank > (most, stock)) {
            best = Some((rank.0, rank.1, variant.sku_id));
        }
    }
    best.map(|(_, _, sku_id)| sku_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_wish_counts_first_then_stock_then_order() {
        let (a, b, c) = (
            options(&[("Colour", "Ink"), ("Size", "S")]),
            options(&[("Colour", "Ink"), ("Size", "M")]),
            options(&[("Colour", "Oat"), ("Size", "S")]),
        );
        let variants = [
            Choice { sku_id: "a", options: &a, in_stock: false },
            Choice { sku_id: "b", options: &b, in_stock: true },
            Choice { sku_id: "c", options: &c, in_stock: true },
        ];
        let wish = |pairs: &[(&str, &str)]| options(pairs);
        assert_eq!(choose(&variants, "", &wish(&[])), Some("b"));
        assert_eq!(choose(&variants, "a", &wish(&[("Colour", "Oat")])), Some("a"));
        assert_eq!(choose(&variants, "", &wish(&[("Colour", "Ink"), ("Size", "S")])), Some("a"));
        assert_eq!(choose(&variants, "", &wish(&[("Colour", "Oat"), ("Size", "M")])), Some("b"));
        assert_eq!(choose(&variants, "nobody", &wish(&[("Colour", "Oat")])), Some("c"));
        assert_eq!(choose(&[], "", &wish(&[])), None);
    }
}
