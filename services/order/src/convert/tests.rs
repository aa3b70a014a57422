use prost::Message;

use super::*;
use crate::domain::tests::{line, paid, units};

fn survives(order: &Order) -> Order {
    let bytes = order_to_row(order).encode_to_vec();
    order_from_proto(pb::Order::decode(bytes.as_slice()).unwrap()).unwrap()
}

#[test]
fn an_order_with_parcels_and_returns_survives_its_row_and_so_do_its_events() {
    let mut order = paid(vec![line("sku_a", "sel_a", 3, 100), line("sku_b", "sel_b", 1, 50)], 10);
    let decisions: [fn(&Order) -> EventKind; 7] = [
        |order| order.ship("SF", "1", Some(&[units("sku_a", 1)]), None).unwrap(),
        |order| order.ship("SF", "2", None, None).unwrap(),
        |order| order.request_return("ret_1", "key", &[units("sku_a", 2)], "too small").unwrap(),
        |order| order.approve_return("ret_1", "ref_1").unwrap().unwrap(),
        |order| order.refund("ref_1", order.refunding).unwrap(),
        |order| order.request_return("ret_2", "", &[units("sku_b", 1)], "too big").unwrap(),
        |order| order.refuse_return("ret_2", "no").unwrap().unwrap(),
    ];
    for decide in decisions {
        let (next, event) = order.then(decide(&order), 5, "usr_1");
        let row = event_to_proto("evt_1", &event).data.unwrap();
        let read = event_from_row(event.version, event.kind.as_str(), event.at, event.by.clone(), row).unwrap();
        assert_eq!(read, event);
        assert_eq!(survives(&next), next);
        order = next;
    }
    assert!(order_to_proto(&order).returns.is_empty(), "for rows only");
}

#[test]
fn a_row_of_before_there_were_parcels_says_that_everything_was_sent() {
    let order = paid(vec![line("sku_a", "", 3, 100)], 0);
    assert_eq!(survives(&order).lines[0].shipped, 0, "nothing was");
    let old = EventKind::Shipped { carrier: "post".into(), tracking_number: "1".into(), units: Vec::new() };
    let (shipped, _) = order.then(old, 3, "operator");
    let (delivered, _) = shipped.then(shipped.deliver().unwrap(), 4, "operator");
    let (asked, _) = delivered.then(delivered.request_refund("ref_1", None, None, "x").unwrap(), 5, "operator");
    let (refunded, _) = asked.then(asked.refund("ref_1", asked.total).unwrap(), 6, "system");
    for order in [shipped, delivered, asked, refunded] {
        let mut row = order_to_row(&order);
        row.lines.iter_mut().for_each(|line| line.shipped = 0);
        assert_eq!(order_from_proto(row).unwrap(), order, "{:?}", order.status);
    }
}
