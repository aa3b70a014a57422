use super::*;
use proptest::prelude::*;

const STORE: Limits = Limits::STORE;

fn goods(sku: u8, price: i64) -> Goods {
    Goods {
        sku_id: format!("sku_{sku}"),
        product_id: format!("prod_{sku}"),
        title: format!("Mug {sku}"),
        options: BTreeMap::from([("Colour".to_owned(), "Sea blue".to_owned())]),
        price: Money::new(price, Currency::CNY),
        sellable: true,
    }
}

fn cart(lines: &[(u8, i64)]) -> Cart {
    let mut cart = Cart::default();
    for (sku, quantity) in lines {
        cart.put(&goods(*sku, 990), *quantity, Limits::INTERNAL).unwrap();
    }
    cart
}

fn shelf(goods: &[Goods]) -> BTreeMap<String, Goods> {
    goods.iter().map(|goods| (goods.sku_id.clone(), goods.clone())).collect()
}

fn stock(lines: &[(u8, i64)]) -> BTreeMap<String, i64> {
    lines.iter().map(|(sku, left)| (format!("sku_{sku}"), *left)).collect()
}

#[test]
fn two_adds_of_one_product_make_one_line_with_the_sum() {
    let mut cart = Cart::default();
    cart.add(&goods(1, 990), 2, STORE).unwrap();
    cart.add(&goods(1, 990), 3, STORE).unwrap();
    assert_eq!((cart.lines.len(), cart.quantity("sku_1")), (1, 5));
    let shown = show(&cart, Some(&shelf(&[goods(1, 990)])), Some(&stock(&[(1, 10)])), Currency::CNY).unwrap();
    assert_eq!(shown.total, Money::new(4_950, Currency::CNY));
}

#[test]
fn a_quantity_outside_the_limits_changes_nothing() {
    let mut cart = cart(&[(1, 9_998)]);
    let before = cart.clone();
    for quantity in [0, -1, 2, 10_000, 2_147_483_648, i64::MAX, i64::MIN] {
        assert_eq!(cart.add(&goods(1, 990), quantity, STORE), Err(Refusal::Quantity { max: 9_999 }), "{quantity}");
    }
    assert_eq!(cart.put(&goods(1, 990), 0, STORE), Err(Refusal::Quantity { max: 9_999 }));
    assert_eq!(cart.put(&goods(2, i64::MAX), 2, STORE), Err(Refusal::Overflow));
    assert_eq!(cart, before);
}

#[test]
fn the_hundred_and_first_line_is_refused_and_the_hundredth_can_still_grow() {
    let mut cart = Cart::default();
    for sku in 0..100 {
        cart.add(&goods(sku, 990), 1, STORE).unwrap();
    }
    assert_eq!(cart.add(&goods(100, 990), 1, STORE), Err(Refusal::Lines { max: 100 }));
    cart.add(&goods(99, 990), 1, STORE).unwrap();
    assert_eq!(cart.quantity("sku_99"), 2);
    cart.add(&goods(100, 990), 1, Limits::INTERNAL).unwrap();
}

#[test]
fn goods_of_another_currency_are_refused_unless_they_are_the_only_line() {
    let mut cart = cart(&[(1, 1)]);
    let pounds = |sku| Goods { price: Money::new(990, Currency::GBP), ..goods(sku, 0) };
    assert_eq!(cart.add(&pounds(2), 1, STORE), Err(Refusal::MixedCurrencies));
    cart.put(&pounds(1), 1, STORE).unwrap();
    assert_eq!(cart.lines[0].added_price.currency, Currency::GBP);
}

#[test]
fn removing_what_is_not_there_is_no_change() {
    let mut cart = cart(&[(1, 1)]);
    assert!(!cart.remove("sku_2"));
    assert!(cart.remove("sku_1"));
    assert!(!cart.clear());
}

#[test]
fn the_worst_state_wins_and_only_lines_that_can_be_bought_count() {
    let cart = cart(&[(1, 2), (2, 2), (3, 2), (4, 2), (5, 2)]);
    let delisted = Goods { sellable: false, ..goods(4, 500) };
    let shelf = shelf(&[goods(1, 990), goods(2, 1_090), goods(3, 1_090), delisted]);
    let stock = stock(&[(1, 2), (2, 2), (3, 1), (4, 0), (5, 9)]);
    let shown = show(&cart, Some(&shelf), Some(&stock), Currency::CNY).unwrap();
    let states: Vec<LineState> = shown.lines.iter().map(|line| line.state).collect();
    assert_eq!(
        states,
        [LineState::Ok, LineState::PriceChanged, LineState::SoldOut, LineState::Delisted, LineState::Delisted]
    );
    assert_eq!(shown.total.amount, 2 * 990 + 2 * 1_090);
    assert_eq!(shown.lines.iter().map(|line| line.available).collect::<Vec<_>>(), [None, None, Some(1), None, None]);
    assert_eq!(shown.lines[1].added_price, Some(Money::new(990, Currency::CNY)));
    assert_eq!(shown.lines[4].title, "Mug 5", "the kept title is shown for a SKU the catalog no longer knows");
}

#[test]
fn adding_again_accepts_the_new_price() {
    let mut cart = cart(&[(1, 1)]);
    cart.add(&goods(1, 1_290), 1, STORE).unwrap();
    let shown = show(&cart, Some(&shelf(&[goods(1, 1_290)])), None, Currency::CNY).unwrap();
    assert_eq!((shown.lines[0].state, shown.total.amount), (LineState::Ok, 2_580));
}

#[test]
fn a_cart_answers_while_its_neighbours_are_away() {
    let cart = cart(&[(1, 2)]);
    let shown = show(&cart, Some(&shelf(&[goods(1, 990)])), None, Currency::CNY).unwrap();
    assert_eq!((shown.lines[0].state, shown.lines[0].available), (LineState::Ok, None));
    let shown = show(&cart, None, None, Currency::CNY).unwrap();
    assert_eq!((shown.lines[0].state, shown.total.amount), (LineState::Ok, 1_980));
    assert_eq!(show(&Cart::default(), None, None, Currency::GBP).unwrap().total, Money::zero(Currency::GBP));
}

#[test]
fn merging_keeps_every_line_and_stops_at_the_limits() {
    let (mut user, mut guest) = (cart(&[(1, 9_000), (2, 1)]), cart(&[(1, 2_000), (3, 4)]));
    assert!(user.merge(&mut guest, STORE));
    assert_eq!((user.quantity("sku_1"), user.quantity("sku_2"), user.quantity("sku_3")), (9_999, 1, 4));
    assert!(guest.lines.is_empty());
    let after = user.clone();
    assert!(!user.merge(&mut guest, STORE), "a repeat takes nothing");
    assert_eq!(user, after);
}

#[test]
fn merging_never_shrinks_a_line_that_another_surface_made_larger() {
    let (mut user, mut guest) = (cart(&[(1, 50_000)]), cart(&[(1, 5)]));
    user.merge(&mut guest, STORE);
    assert_eq!(user.quantity("sku_1"), 50_000);
}

#[test]
fn an_order_takes_its_units_once_and_leaves_what_was_added_meanwhile() {
    let mut cart = cart(&[(1, 5), (2, 1), (3, 7)]);
    let ordered = [("sku_1".to_owned(), 2), ("sku_2".to_owned(), 1), ("sku_9".to_owned(), 4)];
    assert!(cart.remove_ordered("ord_1", &ordered));
    assert_eq!((cart.quantity("sku_1"), cart.quantity("sku_2"), cart.quantity("sku_3")), (3, 0, 7));
    cart.add(&goods(2, 990), 1, STORE).unwrap();
    assert!(!cart.remove_ordered("ord_1", &ordered));
    assert_eq!(cart.quantity("sku_2"), 1);
    assert!(cart.remove_ordered("ord_2", &[("sku_1".to_owned(), 9)]));
    assert_eq!(cart.quantity("sku_1"), 0);
}

#[test]
fn the_last_sixty_four_orders_are_remembered() {
    let mut cart = cart(&[(1, 1_000)]);
    for order in 0..100 {
        assert!(cart.remove_ordered(&format!("ord_{order}"), &[("sku_1".to_owned(), 1)]));
    }
    assert_eq!(cart.applied_orders.len(), APPLIED_ORDERS_MAX);
    assert!(!cart.remove_ordered("ord_36", &[("sku_1".to_owned(), 1)]));
    assert_eq!(cart.quantity("sku_1"), 900);
}

#[derive(Clone, Debug)]
enum Step {
    Add(u8, i64),
    Put(u8, i64),
    Remove(u8),
    Clear,
    Merge(Vec<(u8, i64)>),
    Order(u8, Vec<(u8, i64)>),
}

fn step() -> impl Strategy<Value = Step> {
    let units = prop_oneof![4 => 1i64..50, 1 => -2i64..2, 1 => 9_990i64..10_010, 1 => Just(i64::MAX)];
    let few = prop::collection::vec((0u8..6, 1i64..6_000), 0..5);
    prop_oneof![
        4 => (0u8..6, units.clone()).prop_map(|(sku, units)| Step::Add(sku, units)),
        2 => (0u8..6, units).prop_map(|(sku, units)| Step::Put(sku, units)),
        1 => (0u8..6).prop_map(Step::Remove),
        1 => Just(Step::Clear),
        2 => few.clone().prop_map(Step::Merge),
        2 => (0u8..4, few).prop_map(|(order, lines)| Step::Order(order, lines)),
    ]
}

/// The naive model: a map of quantities and a set of orders.
#[derive(Default)]
struct Model {
    units: BTreeMap<u8, i64>,
    orders: Vec<u8>,
}

impl Model {
    fn run(&mut self, step: &Step, max: i64) {
        match step {
            Step::Add(sku, units) => {
                let sum = i128::from(self.units.get(sku).copied().unwrap_or(0)) + i128::from(*units);
                if *units >= 1 && *units <= max && sum <= i128::from(max) {
                    self.units.insert(*sku, sum as i64);
                }
            }
            Step::Put(sku, units) if (1..=max).contains(units) => {
                self.units.insert(*sku, *units);
            }
            Step::Put(..) => {}
            Step::Remove(sku) => {
                self.units.remove(sku);
            }
            Step::Clear => self.units.clear(),
            Step::Merge(lines) => {
                for (sku, units) in guest(lines) {
                    let sum = (self.units.get(&sku).copied().unwrap_or(0) + units).min(max);
                    self.units.insert(sku, sum);
                }
            }
            Step::Order(order, lines) => {
                if self.orders.contains(order) {
                    return;
                }
                self.orders.push(*order);
                for (sku, units) in lines {
                    if let Some(held) = self.units.get_mut(sku) {
                        *held = (*held - units).max(0);
                    }
                }
                self.units.retain(|_, held| *held > 0);
            }
        }
    }
}

/// What a guest cart holds after its lines were set one after another.
fn guest(lines: &[(u8, i64)]) -> BTreeMap<u8, i64> {
    lines.iter().copied().collect()
}

proptest! {
    /// Invariants 29 to 31: whatever is done, the cart holds what a map of quantities would hold.
    #[test]
    fn a_cart_behaves_as_a_map_of_quantities(steps in prop::collection::vec(step(), 0..60)) {
        let (mut cart, mut model) = (Cart::default(), Model::default());
        for step in &steps {
            model.run(step, STORE.quantity_max);
            match step {
                Step::Add(sku, units) => {
                    let _ = cart.add(&goods(*sku, 990), *units, STORE);
                }
                Step::Put(sku, units) => {
                    let _ = cart.put(&goods(*sku, 990), *units, STORE);
                }
                Step::Remove(sku) => {
                    cart.remove(&format!("sku_{sku}"));
                }
                Step::Clear => {
                    cart.clear();
                }
                Step::Merge(lines) => {
                    let mut other = self::cart(&guest(lines).into_iter().collect::<Vec<_>>());
                    cart.merge(&mut other, STORE);
                    prop_assert!(other.lines.is_empty());
                }
                Step::Order(order, lines) => {
                    let lines: Vec<_> = lines.iter().map(|(sku, units)| (format!("sku_{sku}"), *units)).collect();
                    cart.remove_ordered(&format!("ord_{order}"), &lines);
                }
            }
            let held: BTreeMap<String, i64> = cart.lines.iter().map(|line| (line.sku_id.clone(), line.quantity)).collect();
            let wanted: BTreeMap<String, i64> = model.units.iter().map(|(sku, units)| (format!("sku_{sku}"), *units)).collect();
            prop_assert_eq!(held.len(), cart.lines.len(), "one line per SKU");
            prop_assert_eq!(held, wanted);
        }
    }

    /// The order in which two devices add does not matter.
    #[test]
    fn adds_from_two_devices_commute(mut adds in prop::collection::vec((0u8..4, 1i64..100), 0..30)) {
        let sum = |adds: &[(u8, i64)]| {
            let mut cart = Cart::default();
            for (sku, units) in adds {
                cart.add(&goods(*sku, 990), *units, STORE).unwrap();
            }
            cart.lines.iter().map(|line| (line.sku_id.clone(), line.quantity)).collect::<BTreeMap<_, _>>()
        };
        let forwards = sum(&adds);
        adds.reverse();
        prop_assert_eq!(forwards, sum(&adds));
    }
}
