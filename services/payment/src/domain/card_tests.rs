use mallard_types::Kind;
use proptest::prelude::*;

use super::card::*;

/// 2026-11-21T00:00:00Z.
const NOW: i64 = 1_795_219_200_000_000;

fn input(number: &str, month: i32, year: i32, cvc: &str) -> CardInput {
    CardInput { number: number.into(), exp_month: month, exp_year: year, cvc: cvc.into() }
}

#[track_caller]
fn refused(card: CardInput, code: &str, param: &str) {
    let error = Card::check(&card, NOW, true).unwrap_err();
    assert_eq!((error.code.as_ref(), error.param.as_deref()), (code, Some(param)));
}

#[test]
fn the_clock_of_these_tests_is_november_2026() {
    assert_eq!(year_and_month(NOW), (2026, 11));
    assert_eq!(year_and_month(0), (1970, 1));
    assert_eq!(year_and_month(-1), (1969, 12));
    assert_eq!(year_and_month(1_709_164_800_000_000), (2024, 2)); // 29 February 2024
    assert_eq!(year_and_month(1_709_251_200_000_000), (2024, 3));
}

#[test]
fn a_test_card_is_accepted_with_spaces_and_dashes_and_a_leading_zero_in_the_code() {
    let card = Card::check(&input("4242 4242-4242 4242", 11, 2026, "012"), NOW, true).unwrap();
    assert_eq!(card.face(), CardFace { brand: "visa".into(), last4: "4242".into() });
    assert_eq!(card.cvc().expose(), "012");
    assert_eq!(card.number().expose(), "4242424242424242");
}

#[test]
fn every_test_number_passes_the_check_digit_and_has_its_brand() {
    let brands = [
        ("4242424242424242", "visa"),
        ("4012888888881881", "visa"),
        ("5555555555554444", "mastercard"),
        ("2223003122003222", "mastercard"),
        ("378282246310005", "amex"),
        ("6011111111111117", "discover"),
        ("3530111333300000", "jcb"),
        ("30569309025904", "diners"),
        ("6200000000000005", "unionpay"),
    ];
    for (number, _) in TEST_NUMBERS {
        let cvc = if Brand::of(number) == Brand::Amex { "1234" } else { "123" };
        let card = Card::check(&input(number, 12, 2030, cvc), NOW, true).unwrap_or_else(|e| panic!("{number}: {e}"));
        if let Some((_, brand)) = brands.iter().find(|(known, _)| known == number) {
            assert_eq!(card.face().brand, *brand, "{number}");
        }
        assert_ne!(card.brand, Brand::Unknown, "{number}");
    }
}

#[test]
fn numbers_with_letters_wrong_lengths_or_wrong_check_digits_are_invalid() {
    for number in [
        "aaaaaaaaaaaaaaaa",
        "",
        "4242424242424241",
        "42424242424",
        "42424242424242424242",
        "4242 4242 4242 424x",
        "٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢",
    ] {
        refused(input(number, 12, 2030, "123"), "card_number_invalid", "payment.number");
    }
    refused(input(&"4242 ".repeat(100), 12, 2030, "123"), "card_number_invalid", "payment.number");
    // Fifteen digits that keep the check digit, but no Visa has fifteen.
    refused(input("424242424242426", 12, 2030, "123"), "card_number_invalid", "payment.number");
}

#[test]
fn the_security_code_has_three_digits_and_four_for_american_express() {
    for cvc in ["", "12", "1234", "12a", "１２３"] {
        refused(input("4242424242424242", 12, 2030, cvc), "card_cvc_invalid", "payment.cvc");
    }
    refused(input("378282246310005", 12, 2030, "123"), "card_cvc_invalid", "payment.cvc");
    assert!(Card::check(&input("378282246310005", 12, 2030, "0123"), NOW, true).is_ok());
}

#[test]
fn a_card_is_good_through_its_last_month_and_at_most_twenty_years_ahead() {
    let number = "4242424242424242";
    for (month, year) in [(11, 2026), (12, 2026), (1, 2027), (11, 2046), (11, 26), (1, 30)] {
        assert!(Card::check(&input(number, month, year, "123"), NOW, true).is_ok(), "{month}/{year}");
    }
    refused(input(number, 10, 2026, "123"), "card_expired", "payment.exp_year");
    refused(input(number, 12, 2025, "123"), "card_expired", "payment.exp_year");
    refused(input(number, 12, 2046, "123"), "card_expiry_invalid", "payment.exp_year");
    refused(input(number, 1, 0, "123"), "card_expiry_invalid", "payment.exp_year");
    refused(input(number, 1, -5, "123"), "card_expiry_invalid", "payment.exp_year");
    refused(input(number, 1, 100, "123"), "card_expiry_invalid", "payment.exp_year");
    refused(input(number, 0, 2030, "123"), "card_expiry_invalid", "payment.exp_month");
    refused(input(number, 13, 2030, "123"), "card_expiry_invalid", "payment.exp_month");
}

#[test]
fn a_demo_shop_takes_test_cards_only_and_a_real_shop_takes_none() {
    let real = input("4539578763621486", 12, 2030, "123");
    let error = Card::check(&real, NOW, true).unwrap_err();
    assert_eq!((error.kind, error.code.as_ref()), (Kind::Refused, "test_card_required"));
    assert!(Card::check(&real, NOW, false).is_ok());
    let error = Card::check(&input("4242424242424242", 12, 2030, "123"), NOW, false).unwrap_err();
    assert_eq!((error.kind, error.code.as_ref()), (Kind::Refused, "test_card_refused"));
}

#[test]
fn nothing_of_a_card_shows_in_debug_text() {
    let typed = input("4242424242424242", 12, 2030, "987");
    let card = Card::check(&typed, NOW, true).unwrap();
    let text = format!("{typed:?} {card:?} {:?} {:?}", card.number(), card.cvc());
    assert!(!text.contains("4242") && !text.contains("987"), "{text}");
}

proptest! {
    #[test]
    fn any_text_is_either_a_card_or_a_refusal(number in ".{0,40}", month in any::<i32>(), year in any::<i32>(), cvc in ".{0,6}", now in any::<i64>()) {
        let _ = Card::check(&input(&number, month, year, &cvc), now, false);
    }

    #[test]
    fn one_wrong_digit_never_passes_the_check_digit(body in "[0-9]{11,18}", at in any::<prop::sample::Index>(), change in 1u8..10) {
        let Some(check) = (b'0'..=b'9').find(|d| luhn(&format!("{body}{}", *d as char))) else {
            return Err(TestCaseError::fail("no check digit"));
        };
        let good = format!("{body}{}", check as char);
        let mut bad = good.clone().into_bytes();
        let i = at.index(bad.len());
        bad[i] = b'0' + (bad[i] - b'0' + change) % 10;
        prop_assert!(luhn(&good));
        prop_assert!(!luhn(&String::from_utf8(bad).unwrap()));
    }

    #[test]
    fn months_follow_each_other(day in -200_000i64..200_000) {
        let (year, month) = year_and_month(day * 86_400_000_000);
        let (next_year, next_month) = year_and_month((day + 1) * 86_400_000_000);
        let steps = (next_year * 12 + next_month) - (year * 12 + month);
        prop_assert!((1..=12).contains(&month));
        prop_assert!(steps == 0 || steps == 1);
    }
}
