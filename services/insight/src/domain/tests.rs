use std::collections::BTreeMap;

use proptest::prelude::*;

use super::sums::{DayKey, ProductKey, ProductSum, Steps};
use super::*;

const DAY: i64 = 86_400_000_000;

#[test]
fn days_are_written_one_way_only() {
    for (text, number) in [
        ("1970-01-01", 0),
        ("1969-12-31", -1),
        ("2026-11-21", 20_778),
        ("2024-02-29", 19_782),
        ("0001-01-01", -719_162),
        ("9999-12-31", 2_932_896),
    ] {
        let day = Day::parse(text, "from").unwrap();
        assert_eq!((day.number(), day.to_string().as_str()), (number, text));
    }
    for text in [
        "",
        "2026-1-1",
        "20261121",
        "2026-11-31",
        "2025-02-29",
        "2026-11-21T00:00",
        "2026/11/21",
        "0000-01-01",
        "today",
        "-026-11-21",
        "２026-11-2",
    ] {
        assert_eq!(Day::parse(text, "to"), Err(Refusal::BadDate("to")), "{text}");
    }
    assert_eq!((Day::of(DAY - 1), Day::of(DAY), Day::of(-1)), (Day::numbered(0), Day::numbered(1), Day::numbered(-1)));
}

#[test]
fn periods_end_today_and_have_thirty_days_unless_said_otherwise() {
    let today = Day::parse("2026-11-21", "").unwrap();
    let ends = |from: &str, to: &str| {
        Period::parse(from, to, today).map(|period| (period.from.to_string(), period.to.to_string()))
    };
    let period = |from: &str, to: &str| Ok((from.to_owned(), to.to_owned()));
    assert_eq!(ends("", ""), period("2026-10-23", "2026-11-21"));
    assert_eq!(ends("", "2026-03-01"), period("2026-01-31", "2026-03-01"));
    assert_eq!(ends("2026-11-21", ""), period("2026-11-21", "2026-11-21"));
    assert_eq!(ends("2026-11-22", ""), Err(Refusal::EmptyPeriod));
    assert_eq!(ends("2025-10-18", ""), period("2025-10-18", "2026-11-21"));
    assert_eq!(ends("2025-10-17", ""), Err(Refusal::LongPeriod));
    assert_eq!(ends("2026-11-20", "soon"), Err(Refusal::BadDate("to")));
    assert_eq!(ends("soon", ""), Err(Refusal::BadDate("from")));
    assert_eq!(Period::parse("", "", today).unwrap().days().count(), 30);
}

#[test]
fn visits_of_days_that_are_over_are_refused() {
    let today = Day::numbered(20_000);
    let visits = |day: i64| Visits {
        batch_id: "b".into(),
        day: Day::numbered(20_000 + day),
        product_views: 1,
        cart_additions: 0,
        checkouts: 0,
    };
    for day in [-7, 0, 1] {
        assert_eq!(visits(day).check(today, 7), Ok(()));
    }
    for day in [-8, 2] {
        assert_eq!(visits(day).check(today, 7), Err(Refusal::VisitsOutOfTime { days_max: 7 }));
    }
    let nameless = Visits { batch_id: String::new(), ..visits(0) };
    assert_eq!(nameless.check(today, 7), Err(Refusal::BadText("batch_id")));
    let negative = Visits { checkouts: -1, ..visits(0) };
    assert_eq!(negative.check(today, 7), Err(Refusal::BadCount("checkouts")));
    let endless = Visits { product_views: COUNT_MAX + 1, ..visits(0) };
    assert_eq!(endless.check(today, 7), Err(Refusal::BadCount("product_views")));
}

#[test]
fn a_refund_is_first_the_money_of_those_whose_goods_came_back() {
    let part = |seller: &str, amount, quantity, returned| Part { seller_id: seller.into(), amount, quantity, returned };
    let of = |parts: &[Part], total, refunded| -> Vec<i64> { shares(parts, total, refunded).into_values().collect() };
    // One of two units of the first seller's came back.
    let one_back = [part("a", 100, 2, 1), part("b", 100, 1, 0), part("", 50, 1, 0)];
    assert_eq!(of(&one_back, 260, 50), [50, 0]);
    assert_eq!(of(&one_back, 260, 20), [20, 0]);
    // More than its price: the rest is for all that is still out.
    assert_eq!(of(&one_back, 260, 92), [60, 20]);
    // Nothing came back: goodwill for the whole order.
    let goodwill = [part("a", 100, 2, 0), part("b", 100, 1, 0), part("", 50, 1, 0)];
    assert_eq!(of(&goodwill, 260, 26), [10, 10]);
    // All of it, with shipping and what is nobody's.
    assert_eq!(of(&goodwill, 260, 260), [100, 100]);
    assert_eq!(of(&one_back, 260, 260), [100, 100]);
    assert_eq!(of(&goodwill, 260, 0), [0, 0]);
    // Nothing was paid, nothing can come back.
    assert_eq!(of(&[part("a", 0, 1, 0)], 0, 0), [0]);
}

/// What happens to one order, in order: seconds and what.
#[derive(Clone, Debug)]
struct Story {
    placed_day: i64,
    /// Days after which it was paid.
    paid_after: Option<i64>,
    currency: usize,
    shipping: i64,
    /// Seller, product, units and price.
    lines: Vec<(usize, usize, i64, i64)>,
    /// Days after the one before, and the share of what is left in percent.
    refunds: Vec<(i64, i64)>,
}

const CURRENCIES: [&str; 2] = ["CNY", "JPY"];
const SELLERS: [&str; 3] = ["", "sel_1", "sel_2"];

impl Story {
    fn total(&self) -> i64 {
        self.shipping + self.lines.iter().map(|(_, _, units, price)| units * price).sum::<i64>()
    }

    fn facts(&self, number: usize) -> Vec<Fact> {
        let order_id = format!("ord_{number:03}");
        let fact =
            |version, day: i64, what| Fact { order_id: order_id.clone(), version, at: day * DAY + number as i64, what };
        let currency = CURRENCIES[self.currency].to_owned();
        let mut facts = vec![fact(1, self.placed_day, What::Placed)];
        let Some(after) = self.paid_after else { return facts };
        let mut day = self.placed_day + after;
        let lines = self.lines.iter().map(|(seller, product, units, price)| SoldLine {
            seller_id: SELLERS[*seller].into(),
            product_id: format!("prod_{product}"),
            title: format!("{product} as in {number}"),
            units: *units,
            revenue: units * price,
        });
        facts.push(fact(2, day, What::Paid(Sale::new(currency.clone(), self.total(), lines))));
        let parts: Vec<Part> = self
            .lines
            .iter()
            .map(|(seller, _, units, price)| Part {
                seller_id: SELLERS[*seller].into(),
                amount: units * price,
                quantity: *units,
                returned: 0,
            })
            .collect();
        let mut so_far = 0;
        for (i, (after, percent)) in self.refunds.iter().enumerate() {
            day += after;
            so_far += (self.total() - so_far) * percent / 100;
            let sellers = shares(&parts, self.total(), so_far);
            let refunded = Refunded { currency: currency.clone(), total: so_far, sellers };
            // Requests lie between refunds.
            facts.push(fact(4 + 2 * i as i64, day, What::Refunded(refunded)));
        }
        facts
    }

    /// Adds the order to a naive account: what was sold, and each refund as what it gave back on its day.
    fn account(&self, number: usize, sums: &mut Sums) {
        sums.steps.entry(Day::numbered(self.placed_day)).or_default().placed += 1;
        let Some(after) = self.paid_after else { return };
        let mut day = self.placed_day + after;
        sums.steps.entry(Day::numbered(day)).or_default().paid += 1;
        let currency = CURRENCIES[self.currency].to_owned();
        let key = |seller: &str, day: i64| DayKey {
            seller_id: seller.into(),
            currency: currency.clone(),
            day: Day::numbered(day),
        };
        let units = self.lines.iter().map(|line| line.2).sum();
        let mall = DaySum { orders: 1, units, revenue: self.total(), refunded: 0 };
        sums.days.entry(key("", day)).or_default().add(mall);
        for seller in &SELLERS[1..] {
            let own: Vec<_> = self.lines.iter().filter(|line| SELLERS[line.0] == *seller).collect();
            if own.is_empty() {
                continue;
            }
            let units = own.iter().map(|line| line.2).sum();
            let revenue = own.iter().map(|line| line.2 * line.3).sum();
            sums.days.entry(key(seller, day)).or_default().add(DaySum { orders: 1, units, revenue, refunded: 0 });
        }
        for (seller, product, units, price) in &self.lines {
            let product_key = ProductKey {
                day: Day::numbered(day),
                currency: currency.clone(),
                product_id: format!("prod_{product}"),
                seller_id: SELLERS[*seller].into(),
            };
            let sum = sums.products.entry(product_key).or_default();
            *sum = ProductSum { units: sum.units + units, revenue: sum.revenue + units * price };
            let title = super::sums::Title {
                sold_at: day * DAY + number as i64,
                order_id: format!("ord_{number:03}"),
                title: format!("{product} as in {number}"),
            };
            let known = sums.titles.entry(format!("prod_{product}")).or_insert_with(|| title.clone());
            if *known < title {
                *known = title;
            }
        }
        let goods = |seller: &str| -> i64 {
            self.lines.iter().filter(|line| SELLERS[line.0] == seller).map(|line| line.2 * line.3).sum()
        };
        let (total, mut so_far) = (self.total(), 0);
        for (after, percent) in &self.refunds {
            day += after;
            let back = (total - so_far) * percent / 100;
            sums.days.entry(key("", day)).or_default().refunded += back;
            for seller in &SELLERS[1..] {
                // Nothing came back, so everybody gives alike.
                let share = |so_far: i64| if total == 0 { 0 } else { goods(seller) * so_far / total };
                sums.days.entry(key(seller, day)).or_default().refunded += share(so_far + back) - share(so_far);
            }
            so_far += back;
        }
    }
}

fn story() -> impl Strategy<Value = Story> {
    let line = (0..3_usize, 0..4_usize, 1..5_i64, 0..1_000_i64);
    let refunds = proptest::collection::vec((0..3_i64, 1..=100_i64), 0..4);
    (
        0..5_i64,
        proptest::option::weighted(0.8, 0..3_i64),
        0..2_usize,
        0..50_i64,
        proptest::collection::vec(line, 1..4),
        refunds,
    )
        .prop_map(|(placed_day, paid_after, currency, shipping, lines, refunds)| Story {
            placed_day,
            paid_after,
            currency,
            shipping,
            lines,
            refunds,
        })
}

/// What the store does: takes a fact once, and folds what it took in batches.
#[derive(Default)]
struct Shelf {
    taken: BTreeMap<(String, i64), bool>,
    open: Vec<Fact>,
    refunds: BTreeMap<String, BTreeMap<i64, (Day, Refunded)>>,
    sums: Sums,
}

impl Shelf {
    fn take(&mut self, fact: &Fact) {
        if self.taken.insert((fact.order_id.clone(), fact.version), true).is_none() {
            self.open.push(fact.clone());
        }
    }

    fn fold(&mut self) {
        let new = std::mem::take(&mut self.open);
        let more = Sums::of(&new, &self.refunds);
        add(&mut self.sums, more);
        for fact in new {
            let day = fact.day();
            if let What::Refunded(so_far) = fact.what {
                self.refunds.entry(fact.order_id).or_default().insert(fact.version, (day, so_far));
            }
        }
    }
}

fn add(to: &mut Sums, more: Sums) {
    for (key, sum) in more.days {
        to.days.entry(key).or_default().add(sum);
    }
    for (key, sum) in more.products {
        let product = to.products.entry(key).or_default();
        *product = ProductSum { units: product.units + sum.units, revenue: product.revenue + sum.revenue };
    }
    for (product_id, title) in more.titles {
        let known = to.titles.entry(product_id).or_insert_with(|| title.clone());
        if *known < title {
            *known = title;
        }
    }
    for (day, steps) in more.steps {
        let sum = to.steps.entry(day).or_default();
        *sum = Steps { placed: sum.placed + steps.placed, paid: sum.paid + steps.paid };
    }
}

/// Nothing is there where nothing was sold.
fn tidy(mut sums: Sums) -> Sums {
    sums.days.retain(|_, sum| *sum != DaySum::default());
    sums
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Facts in any order, some twice, folded in batches of any size, make the sums of the orders themselves.
    #[test]
    fn sums_do_not_mind_order_repetition_or_batches(
        stories in proptest::collection::vec(story(), 1..8),
        moves in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..60),
        again in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        folds in proptest::collection::vec(1..6_usize, 1..40),
    ) {
        let mut expected = Sums::default();
        let mut facts = Vec::new();
        for (number, story) in stories.iter().enumerate() {
            story.account(number, &mut expected);
            facts.extend(story.facts(number));
        }
        let once = facts.clone();
        for index in again {
            facts.push(once[index.index(once.len())].clone());
        }
        for (a, b) in moves {
            let (a, b) = (a.index(facts.len()), b.index(facts.len()));
            facts.swap(a, b);
        }
        let mut shelf = Shelf::default();
        let mut sizes = folds.iter().cycle();
        let mut left = 0;
        for fact in &facts {
            shelf.take(fact);
            if left == 0 {
                shelf.fold();
                left = *sizes.next().unwrap();
            }
            left -= 1;
        }
        shelf.fold();
        prop_assert_eq!(tidy(shelf.sums), tidy(expected));
    }
}
