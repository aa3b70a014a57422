use super::*;
use proptest::prelude::*;

fn listing(price: i64, currency: Currency) -> Listing {
    Listing {
        product_id: "prod_1".into(),
        seller_id: "sel_1".into(),
        title: "Harbour mug".into(),
        options: BTreeMap::new(),
        price: Money::new(price, currency),
        sellable: true,
        image_url: String::new(),
        code: String::new(),
    }
}

fn want(sku_id: &str, quantity: i64) -> Wanted {
    Wanted { sku_id: sku_id.into(), quantity, agreed_unit_nanos: None }
}

fn free(_: Currency) -> Shipping {
    Shipping::default()
}

fn shelf(prices: &[i64]) -> BTreeMap<String, Listing> {
    prices.iter().enumerate().map(|(i, price)| (format!("sku_{i}"), listing(*price, Currency::CNY))).collect()
}

#[test]
fn two_mugs_and_a_shirt_cost_what_the_tags_say() {
    let quote = quote(&[want("sku_0", 2), want("sku_1", 1)], &shelf(&[990, 660]), free).unwrap();
    assert_eq!(quote.lines[0].line_total, Money::new(1_980, Currency::CNY));
    assert_eq!(quote.total, Money::new(2_640, Currency::CNY));
    assert_eq!((quote.shipping.amount, quote.tax.amount, quote.discount.amount), (0, 0, 0));
}

#[test]
fn an_agreed_price_below_a_penny_keeps_what_the_rounding_took() {
    let shelf = BTreeMap::from([("sku_0".to_owned(), listing(200, Currency::GBP))]);
    let mut line = want("sku_0", 3);
    line.agreed_unit_nanos = Some(1_234_567_890);
    let quote = quote(&[line], &shelf, free).unwrap();
    assert_eq!(quote.lines[0].unit_price.amount, 123);
    assert_eq!(quote.lines[0].line_total.amount, 370);
    assert_eq!(quote.lines[0].rounding_nanos, 3_703_703_670 - 3_700_000_000);
}

#[test]
fn the_same_sku_at_two_agreed_prices_stays_two_lines() {
    let (mut first, mut second) = (want("sku_0", 1), want("sku_0", 1));
    first.agreed_unit_nanos = Some(1_000_000_000);
    second.agreed_unit_nanos = Some(2_000_000_000);
    let quote = quote(&[first, second], &shelf(&[990]), free).unwrap();
    assert_eq!(quote.lines.iter().map(|line| line.line_total.amount).collect::<Vec<_>>(), [100, 200]);
}

#[test]
fn what_cannot_be_sold_is_refused_by_line() {
    let mut shelf = shelf(&[990, 500]);
    assert_eq!(quote(&[want("sku_0", 1), want("sku_9", 1)], &shelf, free), Err(Refusal::Unknown { line: 1 }));
    shelf.get_mut("sku_1").unwrap().sellable = false;
    assert_eq!(quote(&[want("sku_0", 1), want("sku_1", 1)], &shelf, free), Err(Refusal::NotSellable { line: 1 }));
    shelf.insert("sku_1".into(), listing(500, Currency::USD));
    assert_eq!(quote(&[want("sku_0", 1), want("sku_1", 1)], &shelf, free), Err(Refusal::MixedCurrencies { line: 1 }));
}

#[test]
fn sums_that_do_not_fit_are_refused_not_wrapped() {
    assert_eq!(quote(&[want("sku_0", 2)], &shelf(&[i64::MAX]), free), Err(Refusal::Overflow));
    assert_eq!(quote(&[want("sku_0", 1), want("sku_1", 1)], &shelf(&[i64::MAX, 1]), free), Err(Refusal::Overflow));
}

#[test]
fn shipping_is_free_from_the_threshold_on() {
    let rule = |_| Shipping { fee_minor: 800, free_from_minor: Some(9_900) };
    assert_eq!(quote(&[want("sku_0", 1)], &shelf(&[9_899]), rule).unwrap().total.amount, 10_699);
    assert_eq!(quote(&[want("sku_0", 1)], &shelf(&[9_900]), rule).unwrap().total.amount, 9_900);
}

#[test]
fn a_basket_outside_the_limits_is_refused_before_anyone_is_asked() {
    let store = Limits::STORE;
    assert_eq!(check(&[], 0, store), Err(Refusal::NoLines));
    for quantity in [0, -1, 10_000, 2_147_483_648, i64::MIN] {
        assert_eq!(check(&[want("sku_0", quantity)], 0, store), Err(Refusal::Quantity { line: 0, max: 9_999 }));
    }
    assert_eq!(check(&vec![want("sku_0", 1); 101], 0, store), Err(Refusal::TooManyLines(100)));
    assert_eq!(check(&vec![want("sku_0", 10_000); 101], 0, Limits::INTERNAL), Ok(()));
    assert_eq!(check(&[want("sku_0", 1)], 1, store), Err(Refusal::CouponUnknown { coupon: 0 }));
    let agreed = Wanted { agreed_unit_nanos: Some(-1), ..want("sku_0", 1) };
    assert_eq!(check(&[agreed], 0, store), Err(Refusal::Price { line: 0 }));
}

fn basket() -> impl Strategy<Value = (Vec<i64>, Vec<Wanted>)> {
    (1usize..12).prop_flat_map(|shelf_len| {
        let prices = prop::collection::vec(0i64..10_000_000, shelf_len);
        let line = (0..shelf_len, 1i64..10_000, prop::option::of(0i64..100_000_000_000_000));
        let lines = prop::collection::vec(line, 1..40).prop_map(|lines| {
            lines
                .into_iter()
                .map(|(sku, quantity, agreed_unit_nanos)| Wanted {
                    sku_id: format!("sku_{sku}"),
                    quantity,
                    agreed_unit_nanos,
                })
                .collect()
        });
        (prices, lines)
    })
}

proptest! {
    /// Invariant 15: the total is the sum over the lines and nothing else, in integers.
    #[test]
    fn the_total_is_a_pure_function_of_the_lines((prices, lines) in basket(), fee in 0i64..5_000) {
        let shelf = shelf(&prices);
        let rule = |_| Shipping { fee_minor: fee, free_from_minor: None };
        let first = quote(&lines, &shelf, rule).unwrap();
        let naive: i128 = lines.iter().map(|line| {
            let list = shelf[&line.sku_id].price.amount;
            match line.agreed_unit_nanos {
                None => i128::from(list) * i128::from(line.quantity),
                Some(nanos) => (i128::from(nanos) * i128::from(line.quantity) * 2 + 10_000_000).div_euclid(20_000_000),
            }
        }).sum();
        prop_assert_eq!(i128::from(first.subtotal.amount), naive);
        prop_assert_eq!(i128::from(first.total.amount), naive + i128::from(fee));
        prop_assert_eq!(&quote(&lines, &shelf, rule).unwrap(), &first);

        let mut turned = lines.clone();
        turned.reverse();
        prop_assert_eq!(quote(&turned, &shelf, rule).unwrap().total, first.total);
    }

    /// Lines that the caller sums cost the same as lines it keeps apart, when they are at list price.
    #[test]
    fn splitting_a_line_does_not_change_the_total(price in 0i64..1_000_000, left in 1i64..5_000, right in 1i64..4_999) {
        let shelf = shelf(&[price]);
        let whole = quote(&[want("sku_0", left + right)], &shelf, free).unwrap();
        let split = quote(&[want("sku_0", left), want("sku_0", right)], &shelf, free).unwrap();
        prop_assert_eq!(whole.total, split.total);
    }
}
