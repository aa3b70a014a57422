//! Money: integer minor units of one currency, added only to its own kind, divided only by allocation.

use std::fmt;

use crate::{Error, Result};

/// Active codes of ISO 4217 (list one, 2025), in order; funds, metals and test codes left out.
const CODES: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF \
    CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD \
    HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD \
    MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN \
    PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY \
    TTD TWD TZS UAH UGX USD UYI UYU UZS VED VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG";

/// An ISO 4217 currency code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

impl Currency {
    /// Chinese yuan.
    pub const CNY: Currency = Currency(*b"CNY");
    /// Pound sterling.
    pub const GBP: Currency = Currency(*b"GBP");
    /// United States dollar.
    pub const USD: Currency = Currency(*b"USD");
    /// Euro.
    pub const EUR: Currency = Currency(*b"EUR");
    /// Japanese yen (no minor unit).
    pub const JPY: Currency = Currency(*b"JPY");

    /// Parses an active code in upper case.
    ///
    /// # Errors
    /// `bad_currency` for anything else.
    pub fn parse(code: &str) -> Result<Currency> {
        match code.as_bytes() {
            [a, b, c] if CODES.as_bytes().chunks(4).any(|known| known.starts_with(&[*a, *b, *c])) => {
                Ok(Currency([*a, *b, *c]))
            }
            _ => Err(Error::invalid("bad_currency", "currency must be an ISO 4217 code such as CNY").param("currency")),
        }
    }

    /// Returns the code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }

    /// Returns the number of decimal places of the minor unit (ISO 4217).
    pub fn exponent(self) -> u32 {
        match &self.0 {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF" | b"UGX"
            | b"UYI" | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            _ => 2,
        }
    }

    /// Returns billionths of the major unit in one minor unit (10,000,000 for two decimals).
    pub fn nanos_per_minor(self) -> i64 {
        10i64.pow(9 - self.exponent())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An amount in minor units of a currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Money {
    /// Minor units.
    pub amount: i64,
    /// Currency of the amount.
    pub currency: Currency,
}

impl Money {
    /// Makes an amount of minor units.
    pub const fn new(amount: i64, currency: Currency) -> Money {
        Money { amount, currency }
    }

    /// Makes nothing of a currency.
    pub const fn zero(currency: Currency) -> Money {
        Money { amount: 0, currency }
    }

    /// Adds an amount of the same currency.
    ///
    /// # Errors
    /// `currency_mismatch` or `amount_overflow`.
    pub fn add(self, other: Money) -> Result<Money> {
        self.same(other)?;
        self.amount.checked_add(other.amount).map(|a| Money::new(a, self.currency)).ok_or_else(overflow)
    }

    /// Subtracts an amount of the same currency.
    ///
    /// # Errors
    /// `currency_mismatch` or `amount_overflow`.
    pub fn sub(self, other: Money) -> Result<Money> {
        self.same(other)?;
        self.amount.checked_sub(other.amount).map(|a| Money::new(a, self.currency)).ok_or_else(overflow)
    }

    /// Multiplies by a whole number.
    ///
    /// # Errors
    /// `amount_overflow`.
    pub fn mul(self, by: i64) -> Result<Money> {
        self.amount.checked_mul(by).map(|a| Money::new(a, self.currency)).ok_or_else(overflow)
    }

    /// Sums amounts; `zero` gives the currency of an empty sum.
    ///
    /// # Errors
    /// `currency_mismatch` or `amount_overflow`.
    pub fn sum(zero: Currency, amounts: impl IntoIterator<Item = Money>) -> Result<Money> {
        amounts.into_iter().try_fold(Money::zero(zero), Money::add)
    }

    /// Splits the amount by non-negative weights so that the parts add up exactly (largest remainder; the earlier part
    /// wins a tie). All weights zero gives everything to the first part.
    ///
    /// # Errors
    /// `bad_allocation` without weights or with a negative one.
    pub fn allocate(self, weights: &[i64]) -> Result<Vec<Money>> {
        if weights.is_empty() || weights.iter().any(|w| *w < 0) {
            return Err(Error::invalid("bad_allocation", "weights must be non-negative and at least one"));
        }
        let total: i128 = weights.iter().map(|w| i128::from(*w)).sum();
        if total == 0 {
            let mut parts = vec![Money::zero(self.currency); weights.len()];
            parts[0] = self;
            return Ok(parts);
        }
        let sign = if self.amount < 0 { -1 } else { 1 };
        let amount = i128::from(self.amount).abs();
        let mut parts: Vec<i128> = weights.iter().map(|w| amount * i128::from(*w) / total).collect();
        let mut rest = amount - parts.iter().sum::<i128>();
        let mut order: Vec<usize> = (0..weights.len()).collect();
        order.sort_by_key(|i| (std::cmp::Reverse(amount * i128::from(weights[*i]) % total), *i));
        for i in order {
            if rest == 0 {
                break;
            }
            parts[i] += 1;
            rest -= 1;
        }
        // Each part is at most |amount|, so it fits.
        Ok(parts.into_iter().map(|part| Money::new((sign * part) as i64, self.currency)).collect())
    }

    /// Prices a quantity at a unit price in billionths of the major unit: the exact value rounded half up to the minor
    /// unit, and what the rounding took away (exact minus rounded) in billionths.
    ///
    /// # Errors
    /// `amount_overflow`.
    pub fn from_nanos(unit_nanos: i64, quantity: i64, currency: Currency) -> Result<(Money, i64)> {
        let exact = i128::from(unit_nanos) * i128::from(quantity);
        let per = i128::from(currency.nanos_per_minor());
        let minor = (exact + per / 2).div_euclid(per);
        let rounding = exact - minor * per;
        Ok((Money::new(i64::try_from(minor).map_err(|_| overflow())?, currency), rounding as i64))
    }

    fn same(self, other: Money) -> Result<()> {
        if self.currency == other.currency {
            return Ok(());
        }
        Err(Error::invalid("currency_mismatch", format!("{} cannot be added to {}", other.currency, self.currency)))
    }
}

fn overflow() -> Error {
    Error::invalid("amount_overflow", "the amount is too large")
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = self.currency.exponent() as usize;
        if places == 0 {
            return write!(f, "{} {}", self.amount, self.currency);
        }
        let scale = 10u64.pow(places as u32);
        let magnitude = self.amount.unsigned_abs();
        let sign = if self.amount < 0 { "-" } else { "" };
        write!(f, "{sign}{}.{:0places$} {}", magnitude / scale, magnitude % scale, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_print_in_the_form_of_their_currency() {
        assert_eq!(Money::new(990, Currency::CNY).to_string(), "9.90 CNY");
        assert_eq!(Money::new(-5, Currency::GBP).to_string(), "-0.05 GBP");
        assert_eq!(Money::new(500, Currency::JPY).to_string(), "500 JPY");
        assert_eq!(Money::new(1234, Currency::parse("KWD").unwrap()).to_string(), "1.234 KWD");
    }

    #[test]
    fn currencies_do_not_mix_and_sums_do_not_wrap() {
        let a = Money::new(1, Currency::CNY);
        assert_eq!(a.add(Money::new(1, Currency::GBP)).unwrap_err().code, "currency_mismatch");
        assert_eq!(Money::new(i64::MAX, Currency::CNY).add(a).unwrap_err().code, "amount_overflow");
        assert_eq!(Money::new(i64::MAX, Currency::CNY).mul(2).unwrap_err().code, "amount_overflow");
    }

    #[test]
    fn ten_million_orders_of_nine_ninety_sum_exactly() {
        let price = Money::new(990, Currency::CNY);
        let mut sum = Money::zero(Currency::CNY);
        for _ in 0..10_000_000 {
            sum = sum.add(price).unwrap();
        }
        assert_eq!(sum.to_string(), "99000000.00 CNY");
    }

    #[test]
    fn prices_below_a_penny_round_half_up_and_keep_the_difference() {
        let (money, rounding) = Money::from_nanos(1_000_000, 1, Currency::GBP).unwrap();
        assert_eq!((money.amount, rounding), (0, 1_000_000));
        let (money, rounding) = Money::from_nanos(5_000_000, 1, Currency::GBP).unwrap();
        assert_eq!((money.amount, rounding), (1, -5_000_000));
    }

    proptest! {
        #[test]
        fn allocation_gives_away_exactly_the_amount(amount in -1_000_000_000i64..1_000_000_000, weights in prop::collection::vec(0i64..10_000, 1..20)) {
            let parts = Money::new(amount, Currency::CNY).allocate(&weights).unwrap();
            prop_assert_eq!(parts.iter().map(|p| p.amount).sum::<i64>(), amount);
            let total: i64 = weights.iter().sum();
            if total > 0 {
                for (part, weight) in parts.iter().zip(&weights) {
                    let exact = amount as i128 * *weight as i128;
                    prop_assert!((part.amount as i128 * total as i128 - exact).abs() < total as i128);
                }
            }
        }

        #[test]
        fn rounding_and_money_add_up_to_the_exact_price(nanos in 0i64..10_000_000_000_000, quantity in 0i64..100_000) {
            let (money, rounding) = Money::from_nanos(nanos, quantity, Currency::GBP).unwrap();
            prop_assert_eq!(i128::from(money.amount) * 10_000_000 + i128::from(rounding), i128::from(nanos) * i128::from(quantity));
        }
    }
}
