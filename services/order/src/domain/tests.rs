mod parcels;
mod returns;

use mallard_types::Currency;
use proptest::prelude::*;

use super::*;

pub(crate) fn money(amount: i64) -> Money {
    Money::new(amount, Currency::CNY)
}

pub(crate) fn line(sku_id: &str, seller_id: &str, quantity: i64, total: i64) -> Line {
    Line {
        id: "line_1".into(),
        sku_id: sku_id.into(),
        product_id: "prod_1".into(),
        seller_id: seller_id.into(),
        title: "Notebook".into(),
        options: BTreeMap::new(),
        quantity,
        unit_price: money(total),
        discount: money(0),
        line_total: money(total),
        image_url: String::new(),
        code: String::new(),
        rounding_nanos: 0,
        returned: 0,
        shipped: 0,
        returned_sent: 0,
    }
}

pub(crate) fn units(sku_id: &str, quantity: i64) -> Units {
    Units { sku_id: sku_id.into(), quantity }
}

fn order(total: i64) -> Order {
    order_of(vec![line("sku_1", "", 1, total)], 0)
}

/// Makes an order that is paid.
pub(crate) fn paid(lines: Vec<Line>, shipping: i64) -> Order {
    let start = order_of(lines, shipping);
    start.then(start.pay("pay_1", start.total).unwrap(), 2, "system").0
}

pub(crate) fn order_of(lines: Vec<Line>, shipping: i64) -> Order {
    let subtotal: i64 = lines.iter().map(|line| line.line_total.amount).sum();
    let total = subtotal + shipping;
    Order::placed(Order {
        id: "ord_00000000000000000000000000".into(),
        number: "1".into(),
        user_id: "usr_1".into(),
        status: Status::PendingPayment,
        payment_status: PaymentStatus::Pending,
        lines,
        subtotal: money(subtotal),
        discount: money(0),
        shipping: money(shipping),
        tax: money(0),
        total: money(total),
        refunded: money(0),
        refunding: money(0),
        before_refund: None,
        returns: Vec::new(),
        open_refunds: Vec::new(),
        address: None,
        note: String::new(),
        payment_id: String::new(),
        cancel_reason: String::new(),
        reference: String::new(),
        customer: String::new(),
        expires_at: 10,
        created_at: 1,
        updated_at: 1,
        version: 0,
    })
    .0
}

#[derive(Clone, Debug)]
enum Move {
    Pay,
    Fail,
    Cancel,
    Address,
    Ship,
    Deliver,
    RequestRefund(Option<i64>),
    Refund(i64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        Just(Move::Pay),
        Just(Move::Fail),
        Just(Move::Cancel),
        Just(Move::Address),
        Just(Move::Ship),
        Just(Move::Deliver),
        prop::option::of(1i64..1500).prop_map(Move::RequestRefund),
        (1i64..1500).prop_map(Move::Refund),
    ];
    prop::collection::vec(one, 0..30)
}

fn decide(order: &Order, step: &Move) -> Result<EventKind, Refusal> {
    match step {
        Move::Pay => order.pay("pay_1", order.total),
        Move::Fail => order.fail_payment("pay_1", "card_declined"),
        Move::Cancel => order.cancel("changed my mind"),
        Move::Address => order.change_address(Address::default()),
        Move::Ship => order.ship("post", "1", None, None),
        Move::Deliver => order.deliver(),
        Move::RequestRefund(amount) => order.request_refund("ref_1", amount.map(money), None, "broken"),
        Move::Refund(amount) => order.refund("ref_1", money(*amount)),
    }
}

#[test]
fn a_refund_is_the_same_when_amount_units_and_reason_are() {
    let (start, first) = Order::placed(order_of(vec![line("sku_1", "", 3, 900)], 100));
    let (paid, second) = start.then(start.pay("pay_1", start.total).unwrap(), 2, "system");
    let some = [units("sku_1", 1)];
    let (next, third) =
        paid.then(paid.request_refund("ref_1", Some(money(300)), Some(&some), "late").unwrap(), 3, "operator");
    let (_, fourth) = next.then(next.request_refund("ref_2", None, None, "all of it").unwrap(), 4, "operator");
    let stream = [first, second, third, fourth];
    let same = |id: &str, amount: Option<i64>, units: Option<&[Units]>, reason: &str| {
        Order::asked_the_same(&stream, id, amount.map(money), units, false, reason)
    };
    assert!(same("ref_1", Some(300), Some(&some), "late"));
    assert!(!same("ref_1", Some(200), Some(&some), "late"), "another amount");
    assert!(!same("ref_1", None, Some(&some), "late"), "everything instead of a part");
    assert!(!same("ref_1", Some(300), None, "late") && !same("ref_1", Some(300), Some(&[units("sku_1", 2)]), "late"));
    assert!(!same("ref_1", Some(300), Some(&some), "broken"), "another reason");
    // What was left when it was asked for is what counts, not what is left now.
    assert!(same("ref_2", None, None, "all of it") && same("ref_2", Some(700), None, "all of it"));
    assert!(!same("ref_3", None, None, "all of it"), "nobody asked for it");
}

proptest! {
    #[test]
    fn replaying_the_stream_gives_the_same_order(steps in moves()) {
        let (mut now, first) = Order::placed(order(1000));
        let mut stream = vec![first];
        for (i, step) in steps.iter().enumerate() {
            if let Ok(kind) = decide(&now, step) {
                let (next, event) = now.then(kind, i as i64, "usr_1");
                stream.push(event);
                now = next;
            }
        }
        prop_assert_eq!(Order::fold(&stream), Some(now.clone()));
        prop_assert!(stream.windows(2).all(|w| w[0].at <= w[1].at && w[0].version + 1 == w[1].version));
        prop_assert!(now.refunded.amount <= now.total.amount);
        prop_assert_eq!(now.status == Status::Refunded, now.refunded == now.total);
    }

    #[test]
    fn a_cancelled_order_never_moves_again(steps in moves()) {
        let start = order(1000);
        let (cancelled, _) = start.then(start.cancel("late").unwrap(), 5, "system");
        for step in &steps {
            prop_assert!(decide(&cancelled, step).is_err(), "{:?}", step);
        }
    }
}

#[test]
fn a_paid_order_is_refunded_not_cancelled() {
    let start = order(1000);
    let (paid, _) = start.then(start.pay("pay_1", start.total).unwrap(), 2, "system");
    assert_eq!(paid.cancel("no"), Err(Refusal::IllegalTransition { from: Status::Paid, verb: "cancel" }));
    let (refunding, _) = paid.then(paid.request_refund("ref_1", None, None, "broken").unwrap(), 3, "operator");
    assert_eq!(refunding.status, Status::Refunding);
    let (refunded, _) = refunding.then(refunding.refund("ref_1", money(1000)).unwrap(), 4, "system");
    assert_eq!((refunded.status, refunded.payment_status), (Status::Refunded, PaymentStatus::Refunded));
}

#[test]
fn a_partial_refund_leaves_the_status() {
    let start = order(1000);
    let (paid, _) = start.then(start.pay("pay_1", start.total).unwrap(), 2, "system");
    let (asked, _) = paid.then(paid.request_refund("ref_1", Some(money(400)), None, "broken").unwrap(), 3, "operator");
    assert_eq!(asked.status, Status::Paid);
    let (back, _) = asked.then(asked.refund("ref_1", money(400)).unwrap(), 4, "system");
    assert_eq!((back.status, back.payment_status), (Status::Paid, PaymentStatus::PartiallyRefunded));
    assert_eq!(
        back.request_refund("ref_2", Some(money(601)), None, "x"),
        Err(Refusal::RefundExceedsPaid { refundable: money(600) })
    );
}

#[test]
fn no_more_units_come_back_than_went_out() {
    let start = order(1000);
    let (paid, _) = start.then(start.pay("pay_1", start.total).unwrap(), 2, "system");
    let one = [Units { sku_id: "sku_1".into(), quantity: 1 }];
    let (asked, _) =
        paid.then(paid.request_refund("ref_1", Some(money(400)), Some(&one), "broken").unwrap(), 3, "operator");
    assert_eq!(asked.units_out(), []);
    assert_eq!(
        asked.request_refund("ref_2", Some(money(1)), Some(&one), "broken"),
        Err(Refusal::ReturnExceedsSold { sku_id: "sku_1".into(), returnable: 0 })
    );
}

#[test]
fn a_part_of_an_order_that_cost_nothing_is_not_the_whole() {
    let paid = paid(vec![line("sku_a", "", 2, 0)], 0);
    let (part, _) =
        paid.then(paid.request_refund("ref_1", None, Some(&[units("sku_a", 1)]), "broken").unwrap(), 3, "operator");
    assert_eq!(part.status, Status::Paid);
    let (back, _) = part.then(part.refund("ref_1", money(0)).unwrap(), 4, "system");
    assert_eq!((back.status, back.lines[0].unsent()), (Status::Paid, 1));
    let (shipped, _) = back.then(back.ship("", "", None, None).unwrap(), 5, "operator");
    let (asked, _) = shipped.then(shipped.request_return("ret_1", "", &[units("sku_a", 1)], "x").unwrap(), 6, "usr_1");
    let (all, _) = asked.then(asked.approve_return("ret_1", "ref_2").unwrap().unwrap(), 7, "operator");
    assert_eq!(all.status, Status::Refunding, "the last unit is the whole");
    let (refunded, _) = all.then(all.refund("ref_2", money(0)).unwrap(), 8, "system");
    assert_eq!(refunded.status, Status::Refunded);
    // Where the stock is gone nothing comes back, and the order ends all the same.
    let gone = paid.request_refund("stock_gone", None, Some(&[]), "stock_gone").unwrap();
    assert_eq!(paid.then(gone, 3, "system").0.status, Status::Refunding);
}

#[test]
fn the_address_changes_until_the_order_ships() {
    let start = order(1000);
    assert!(start.change_address(Address::default()).is_ok());
    let (paid, _) = start.then(start.pay("pay_1", start.total).unwrap(), 2, "system");
    assert!(paid.change_address(Address::default()).is_ok());
    let (shipped, _) = paid.then(paid.ship("", "", None, None).unwrap(), 3, "operator");
    assert!(shipped.change_address(Address::default()).is_err());
}

#[test]
fn numbers_for_people_are_short_and_differ_with_the_id() {
    assert_eq!(number("ord_01jabcdefghjkmnpqrstvwxyz0"), "QRSTV-WXYZ0");
}
