//! Card rules: digits, check digit, brand, security code, expiry. A number and its code never show in `Debug`.

use std::fmt;

use mallard_types::{Micros, Result};

use crate::error;

/// Shortest and longest card number, in digits.
const NUMBER_DIGITS: std::ops::RangeInclusive<usize> = 12..=19;
/// Furthest expiry, in years from now.
const EXPIRY_YEARS_MAX: i32 = 20;
/// Length of what a shopper may type into a number field, separators included.
const TYPED_CHARS_MAX: usize = 64;
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Public test numbers that a demo shop accepts, with what the acquirer simulator does with them.
pub const TEST_NUMBERS: &[(&str, TestBehaviour)] = &[
    ("4242424242424242", TestBehaviour::Succeeds),
    ("4012888888881881", TestBehaviour::Succeeds),
    ("4111111111111111", TestBehaviour::Succeeds),
    ("4000056655665556", TestBehaviour::Succeeds),
    ("5555555555554444", TestBehaviour::Succeeds),
    ("5105105105105100", TestBehaviour::Succeeds),
    ("5200828282828210", TestBehaviour::Succeeds),
    ("2223003122003222", TestBehaviour::Succeeds),
    ("378282246310005", TestBehaviour::Succeeds),
    ("371449635398431", TestBehaviour::Succeeds),
    ("6011111111111117", TestBehaviour::Succeeds),
    ("6011000990139424", TestBehaviour::Succeeds),
    ("3530111333300000", TestBehaviour::Succeeds),
    ("3566002020360505", TestBehaviour::Succeeds),
    ("30569309025904", TestBehaviour::Succeeds),
    ("38520000023237", TestBehaviour::Succeeds),
    ("36227206271667", TestBehaviour::Succeeds),
    ("6200000000000005", TestBehaviour::Succeeds),
    ("4000000000000002", TestBehaviour::Declines("card_declined")),
    ("4000000000009995", TestBehaviour::Declines("insufficient_funds")),
    ("4000000000009987", TestBehaviour::Declines("lost_card")),
    ("4000000000009979", TestBehaviour::Declines("stolen_card")),
    ("4000000000000069", TestBehaviour::Declines("expired_card")),
    ("4000000000000127", TestBehaviour::Declines("incorrect_cvc")),
    ("4000000000000119", TestBehaviour::TimesOutAfterCapture),
];

/// What a test card does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestBehaviour {
    /// The money moves.
    Succeeds,
    /// The issuer says no, with this code.
    Declines(&'static str),
    /// The money moves, but the answer is lost.
    TimesOutAfterCapture,
}

/// A card as it was typed. `Debug` shows nothing of it.
pub struct CardInput {
    /// Number with or without spaces and dashes.
    pub number: String,
    /// 1 to 12.
    pub exp_month: i32,
    /// Four digits; two mean this century.
    pub exp_year: i32,
    /// Kept as text: a leading zero matters.
    pub cvc: String,
}

impl fmt::Debug for CardInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CardInput(hidden)")
    }
}

/// A text that must not be shown, logged or stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// Returns the text; for the provider only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// Network a card belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brand {
    /// Numbers from 4.
    Visa,
    /// 51-55 and 2221-2720.
    Mastercard,
    /// 34 and 37.
    Amex,
    /// 6011, 644-649, 65.
    Discover,
    /// 300-305, 3095, 36, 38, 39.
    Diners,
    /// 3528-3589.
    Jcb,
    /// 62 and 81.
    UnionPay,
    /// None of the above.
    Unknown,
}

impl Brand {
    /// Finds the brand by the first digits.
    pub fn of(number: &str) -> Brand {
        let prefix = |digits: usize| number.get(..digits).and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
        match (prefix(1), prefix(2), prefix(3), prefix(4)) {
            (4, ..) => Brand::Visa,
            (_, 51..=55, ..) | (.., 2221..=2720) => Brand::Mastercard,
            (_, 34 | 37, ..) => Brand::Amex,
            (_, 65, ..) | (_, _, 644..=649, _) | (.., 6011) => Brand::Discover,
            (.., 3528..=3589) => Brand::Jcb,
            (_, 36 | 38 | 39, ..) | (_, _, 300..=305, _) | (.., 3095) => Brand::Diners,
            (_, 62 | 81, ..) => Brand::UnionPay,
            _ => Brand::Unknown,
        }
    }

    /// Returns the public name.
    pub fn as_str(self) -> &'static str {
        match self {
            Brand::Visa => "visa",
            Brand::Mastercard => "mastercard",
            Brand::Amex => "amex",
            Brand::Discover => "discover",
            Brand::Diners => "diners",
            Brand::Jcb => "jcb",
            Brand::UnionPay => "unionpay",
            Brand::Unknown => "unknown",
        }
    }

    fn has_length(self, digits: usize) -> bool {
        match self {
            Brand::Visa => matches!(digits, 13 | 16 | 19),
            Brand::Mastercard => digits == 16,
            Brand::Amex => digits == 15,
            Brand::Diners => (14..=19).contains(&digits),
            Brand::Discover | Brand::Jcb | Brand::UnionPay => (16..=19).contains(&digits),
            Brand::Unknown => NUMBER_DIGITS.contains(&digits),
        }
    }

    fn cvc_digits(self) -> usize {
        if self == Brand::Amex { 4 } else { 3 }
    }
}

/// What may be shown and stored of a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardFace {
    /// Public name of the brand.
    pub brand: String,
    /// Last four digits.
    pub last4: String,
}

/// A card that keeps the rules. Lives in memory only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    number: Secret,
    cvc: Secret,
    /// 1 to 12.
    pub exp_month: i32,
    /// Four digits.
    pub exp_year: i32,
    /// Network it belongs to.
    pub brand: Brand,
}

impl Card {
    /// Checks a typed card at a time, in a demo shop or a real one.
    ///
    /// # Errors
    /// `card_number_invalid`, `card_expiry_invalid`, `card_expired`, `card_cvc_invalid`; `test_card_required` for a real
    /// card in a demo shop, `test_card_refused` for the opposite.
    pub fn check(input: &CardInput, now: Micros, demo: bool) -> Result<Card> {
        let number = digits(&input.number).ok_or_else(error::card_number_invalid)?;
        let brand = Brand::of(&number);
        if !NUMBER_DIGITS.contains(&number.len()) || !brand.has_length(number.len()) || !luhn(&number) {
            return Err(error::card_number_invalid());
        }
        let exp_year = check_expiry(input.exp_month, input.exp_year, now)?;
        let cvc = input.cvc.trim();
        if cvc.len() != brand.cvc_digits() || !cvc.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error::card_cvc_invalid());
        }
        let is_test = TEST_NUMBERS.iter().any(|(test, _)| *test == number);
        match (demo, is_test) {
            (true, false) => Err(error::test_card_required()),
            (false, true) => Err(error::test_card_refused()),
            _ => {
                let cvc = Secret::new(cvc.to_owned());
                Ok(Card { number: Secret::new(number), cvc, exp_month: input.exp_month, exp_year, brand })
            }
        }
    }

    /// Returns the number, digits only; for the provider only.
    pub fn number(&self) -> &Secret {
        &self.number
    }

    /// Returns the security code; for the provider only.
    pub fn cvc(&self) -> &Secret {
        &self.cvc
    }

    /// Returns what may be shown and stored.
    pub fn face(&self) -> CardFace {
        let number = self.number.expose();
        // A checked number has at least twelve ASCII digits.
        let last4 = number.get(number.len().saturating_sub(4)..).unwrap_or_default();
        CardFace { brand: self.brand.as_str().to_owned(), last4: last4.to_owned() }
    }

    /// Returns what the acquirer simulator does with this card; a card that is no test card succeeds.
    pub fn test_behaviour(&self) -> TestBehaviour {
        let known = TEST_NUMBERS.iter().find(|(number, _)| *number == self.number.expose());
        known.map_or(TestBehaviour::Succeeds, |(_, behaviour)| *behaviour)
    }
}

/// Strips spaces and dashes; `None` when anything but digits is left.
fn digits(typed: &str) -> Option<String> {
    if typed.len() > TYPED_CHARS_MAX {
        return None;
    }
    let number: String = typed.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
    number.bytes().all(|b| b.is_ascii_digit()).then_some(number)
}

/// Tells whether the last digit is the check digit of the others (ISO/IEC 7812).
pub fn luhn(number: &str) -> bool {
    let sum: u32 = number
        .bytes()
        .rev()
        .enumerate()
        .map(|(i, byte)| {
            let digit = u32::from(byte.wrapping_sub(b'0'));
            let weighted = if i % 2 == 1 { digit * 2 } else { digit };
            if weighted > 9 { weighted - 9 } else { weighted }
        })
        .sum();
    !number.is_empty() && sum.is_multiple_of(10)
}

/// Checks the expiry month (UTC, good through its last day); returns the year with four digits.
fn check_expiry(month: i32, year: i32, now: Micros) -> Result<i32> {
    if !(1..=12).contains(&month) {
        return Err(error::card_expiry_invalid("payment.exp_month"));
    }
    let year = match year {
        1..=99 => 2_000 + year,
        1_000..=9_999 => year,
        _ => return Err(error::card_expiry_invalid("payment.exp_year")),
    };
    let (this_year, this_month) = year_and_month(now);
    if (year, month) < (this_year, this_month) {
        return Err(error::card_expired());
    }
    if (year, month) > (this_year + EXPIRY_YEARS_MAX, this_month) {
        return Err(error::card_expiry_invalid("payment.exp_year"));
    }
    Ok(year)
}

/// Returns year and month of a time, UTC, in the proleptic Gregorian calendar (Hinnant, "chrono-compatible low-level date
/// algorithms": years start in March so that the leap day comes last).
pub fn year_and_month(at: Micros) -> (i32, i32) {
    let days = at.div_euclid(MICROS_PER_DAY) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    // An i64 of microseconds spans 600,000 years.
    (year as i32, month as i32)
}
