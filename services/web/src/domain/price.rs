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
        assert_eq!(shown(99_999_999_99, "CNY"), "¥99,999,999.99");
        assert_eq!(shown(999, "CHF"), "CHF\u{a0}9.99");
        assert_eq!(shown(i64::MIN, "JPY"), "-JP¥9,223,372,036,854,775,808");
    }
}
