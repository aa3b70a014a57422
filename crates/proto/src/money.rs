//! Money between the contract and the mall's own type.

use mallard_types::{Currency, Error, Money};

use crate::common::v1;

impl From<Money> for v1::Money {
    fn from(money: Money) -> Self {
        v1::Money { amount: money.amount, currency: money.currency.as_str().to_owned() }
    }
}

impl From<&Money> for v1::Money {
    fn from(money: &Money) -> Self {
        (*money).into()
    }
}

impl TryFrom<&v1::Money> for Money {
    type Error = Error;

    /// # Errors
    /// `bad_currency` when the currency is no ISO 4217 code.
    fn try_from(money: &v1::Money) -> Result<Money, Error> {
        Ok(Money::new(money.amount, Currency::parse(&money.currency)?))
    }
}

impl TryFrom<v1::Money> for Money {
    type Error = Error;

    /// # Errors
    /// `bad_currency` when the currency is no ISO 4217 code.
    fn try_from(money: v1::Money) -> Result<Money, Error> {
        Money::try_from(&money)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_survives_the_way_there_and_back() {
        let money = Money::new(-990, Currency::CNY);
        assert_eq!(Money::try_from(v1::Money::from(money)).unwrap(), money);
        let bad = v1::Money { amount: 1, currency: "yuan".into() };
        assert_eq!(Money::try_from(bad).unwrap_err().code, "bad_currency");
    }
}
