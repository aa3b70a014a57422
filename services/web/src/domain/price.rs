//! Money as people of the currency write it.

use mallard_types::{Currency, Money};

/// Signs of the currencies that have one of their own; the others are written with their code.
const SIGNS: [(&str, &str); 11] = [
    ("CNY", "¥"),
    ("USD", "$"),
    ("EUR", "€"),
    ("GBP", "£"),
    ("JPY", "JP¥"),
    ("KRW", "₩"),
    ("INR", "₹"),
    ("HKD", "HK$"),
    ("TWD", "NT$"),
    ("AUD", "A$"),
    ("CAD", "CA$"),
];

/// Writes an amount: sign or code, thousands in groups, as many decimals as the currency has.
pub fn price(money: Money) -> String {
    let sign = SIGNS.iter().find(|(code, _)| *code == money.currency.as_str()).map(|(_, sign)| *sign);
    let minus = if money.amount < 0 { "-" } else { "" };
    let number = number(money.amount.unsigned_abs(), money.currency);
    match sign {
        Some(sign) => format!("{minus}{sign}{number}"),
        // A no-break space: the code belongs to the number.
        None => format!("{minus}{}\u{a0}{number}", money.currency),
    }
}

fn number(magnitude: u64, currency: Currency) -> String {
    let places = currency.exponent() as usize;
    let scale = 10u64.pow(currency.exponent());
    let whole = (magnitude / scale).to_string();
    let mut out = String::with_capacity(whole.len() + whole.len() / 3 + places + 1);
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if places > 0 {
        out.push_str(&format!(".{:0places$}", magnitude % scale));
    }
    out
}

/// Writes an amount in few characters: as [`price`], without decimals that say nothing.
pub fn short(money: Money) -> String {
    let full = price(money);
    match full.rsplit_once('.') {
        Some((whole, rest)) if rest.bytes().all(|byte| byte == b'0') => whole.to_owned(),
        _ => full,
    }
}

/// Reads an amount as people type it, e.g. `12.50`, in minor units; nothing for what is none.
pub fn minor(text: &str, currency: Currency) -> Option<i64> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let places = currency.exponent() as usize;
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(rest) || rest.len() > places {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let rest: i64 = format!("{rest:0<places$}0").parse::<i64>().ok()? / 10;
    whole.checked_mul(10i64.checked_pow(currency.exponent())?)?.checked_add(rest)
}

/// Writes an amount as people type it: no sign, no groups, no decimals that say nothing.
pub fn typed(money: Money) -> String {
    let number = number(money.amount.unsigned_abs(), money.currency).replace(',', "");
    match number.split_once('.') {
        Some((whole, rest)) if rest.bytes().all(|byte| byte == b'0') => whole.to_owned(),
        _ => number,
    }
}

/// Returns the next round amount at or above this one: 1, 2 or 5 times a power of ten.
pub fn round_up(amount: i64) -> i64 {
    let mut step: i64 = 1;
    loop {
        for factor in [1, 2, 5] {
            let round = step.saturating_mul(factor);
            if round >= amount {
                return round;
            }
        }
        step = step.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(amount: i64, code: &str) -> String {
        price(Money::new(amount, Currency::parse(code).unwrap()))
    }

    #[test]
    fn prices_are_written_in_the_form_of_their_currency() {
        assert_eq!(shown(129_900, "CNY"), "¥1,299.00");
        assert_eq!(shown(1_230, "USD"), "$12.30");
        assert_eq!(shown(1_500, "JPY"), "JP¥1,500");
        assert_eq!(shown(1_234, "KWD"), "KWD\u{a0}1.234");
        assert_eq!(shown(5, "GBP"), "£0.05");
        assert_eq!(shown(0, "EUR"), "€0.00");
        assert_eq!(shown(-9_900, "CNY"), "-¥99.00");
        assert_eq!(shown(9_999_999_999, "CNY"), "¥99,999,999.99");
        assert_eq!(shown(999, "CHF"), "CHF\u{a0}9.99");
        assert_eq!(shown(i64::MIN, "JPY"), "-JP¥9,223,372,036,854,775,808");
    }

    #[test]
    fn amounts_are_read_as_people_type_them() {
        let kwd = Currency::parse("KWD").unwrap();
        for (text, currency, amount) in [
            ("12", Currency::CNY, Some(1_200)),
            ("12.5", Currency::CNY, Some(1_250)),
            ("0.05", Currency::CNY, Some(5)),
            ("12.345", Currency::CNY, None),
            ("-1", Currency::CNY, None),
            ("abc", Currency::CNY, None),
            ("", Currency::CNY, None),
            (".5", Currency::CNY, None),
            ("99999999999999999999", Currency::CNY, None),
            ("1500", Currency::JPY, Some(1_500)),
            ("1.5", Currency::JPY, None),
            ("1.234", kwd, Some(1_234)),
        ] {
            assert_eq!(minor(text, currency), amount, "{text}");
        }
    }

    #[test]
    fn an_amount_is_typed_back_as_it_was_read() {
        for (amount, text) in [(1_200, "12"), (1_250, "12.50"), (5, "0.05"), (123_456_700, "1234567")] {
            assert_eq!(typed(Money::new(amount, Currency::CNY)), text);
            assert_eq!(minor(text, Currency::CNY), Some(amount));
        }
        assert_eq!(typed(Money::new(1_500, Currency::JPY)), "1500");
        assert_eq!(short(Money::new(123_456_700, Currency::CNY)), "¥1,234,567");
        assert_eq!(short(Money::new(1_250, Currency::CNY)), "¥12.50");
    }

    #[test]
    fn a_round_amount_is_never_below() {
        for (amount, round) in
            [(0, 1), (1, 1), (3, 5), (9_900, 10_000), (10_000, 10_000), (10_001, 20_000), (20_001, 50_000)]
        {
            assert_eq!(round_up(amount), round);
        }
        assert_eq!(round_up(i64::MAX), i64::MAX);
    }
}
