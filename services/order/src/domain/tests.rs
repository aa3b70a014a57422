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
