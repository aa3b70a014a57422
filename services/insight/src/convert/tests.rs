use mallard_proto::Timestamp;
use mallard_proto::common::v1::Money;

use super::*;

fn money(amount: i64) -> Option<Money> {
    Some(Money { amount, currency: "CNY".into() })
}

fn line(sku: &str, seller: &str, quantity: i64, total: i64) -> pb::OrderLine {
    pb::OrderLine {
        sku_id: sku.into(),
        product_id: format!("prod_{sku}"),
        seller_id: seller.into(),
        title: sku.into(),
        quantity,
        line_total: money(total),
        ..Default::default()
    }
}

/// Two lines of the same SKU and one of another seller's, with 100 for shipping.
fn order() -> pb::Order {
    pb::Order {
        id: "ord_1".into(),
        version: 1,
        lines: vec![line("a", "sel_1", 2, 1_000), line("a", "sel_1", 1, 500), line("b", "sel_2", 1, 400)],
        total: money(2_000),
        refunded: money(0),
        ..Default::default()
    }
}

fn event(kind: &str, at: i64, amount: i64, units: &[(&str, i64)]) -> pb::OrderEvent {
    let units = units.iter().map(|(sku, quantity)| pb::LineInput {
        sku_id: (*sku).into(),
        quantity: *quantity,
        ..Default::default()
    });
    let data = pb::OrderEventData { amount: money(amount), lines: units.collect(), ..Default::default() };
    pb::OrderEvent { r#type: kind.into(), at: Some(Timestamp::from_micros(at)), data: Some(data), ..Default::default() }
}

/// The stream says the same as the events that carry the order as it was at each of them.
#[test]
fn a_stream_gives_the_facts_its_events_gave() {
    let stream = [
        event("placed", 1, 0, &[]),
        event("paid", 2, 2_000, &[]),
        event("refund_requested", 3, 500, &[("a", 1)]),
        event("refund_requested", 4, 700, &[("a", 2)]),
        event("refunded", 5, 500, &[]),
        event("refund_refused", 6, 700, &[("a", 2)]),
        event("shipped", 7, 0, &[]),
        event("refund_requested", 8, 1_500, &[("a", 2), ("b", 1)]),
        event("refunded", 9, 1_500, &[]),
    ];
    let mut after_first = pb::Order { version: 5, refunded: money(500), ..order() };
    after_first.lines[0].returned = 2;
    after_first.lines[1].returned = 1;
    let mut after_all = pb::Order { version: 9, refunded: money(2_000), ..order() };
    for line in &mut after_all.lines {
        line.returned = line.quantity;
    }
    let expected = [
        of_event(ORDER_PLACED_V1, 1, &order()).unwrap(),
        of_event(ORDER_PAID_V1, 2, &pb::Order { version: 2, ..order() }).unwrap(),
        of_event(ORDER_REFUNDED_V1, 5, &after_first).unwrap(),
        of_event(ORDER_REFUNDED_V1, 9, &after_all).unwrap(),
    ];
    assert_eq!(of_stream(&after_all, &stream).unwrap(), expected);
    let What::Refunded(last) = &expected[3].what else { panic!("a refund") };
    // Shipping is nobody's: the sellers give back what their lines cost.
    assert_eq!(last.sellers, [("sel_1".to_owned(), 1_500), ("sel_2".to_owned(), 400)].into());
}

#[test]
fn an_order_without_its_sums_is_refused() {
    for order in [
        pb::Order { total: None, ..order() },
        pb::Order { id: String::new(), ..order() },
        pb::Order { version: 0, ..order() },
        pb::Order { lines: vec![pb::OrderLine::default()], ..order() },
    ] {
        assert_eq!(of_event(ORDER_PAID_V1, 1, &order).unwrap_err().code, "bad_order");
    }
    assert_eq!(of_event(ORDER_REFUNDED_V1, 1, &pb::Order { refunded: None, ..order() }).unwrap_err().code, "bad_order");
    assert_eq!(of_event("order.shipped.v1", 1, &order()).unwrap_err().code, "bad_order");
}
